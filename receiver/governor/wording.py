"""What the governor says to people, each in their language and by their clock, in plain text.

The sentences stand in phrases.py. The carrier cleans, shortens and dresses them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.checkpoint import WITNESSED_DIGITS
from policy_rules.approval import Levels, levels_of
from policy_rules.rulebook import NOT_STATED
from receiver.authorization.wording import shorten, units_of
from receiver.governor.cause_phrases import NO_DIAGNOSIS
from receiver.governor.phrases import ENGLISH, phrase, recorded, said
from receiver.incident.moved import Moved, moves
from receiver.incident.states import Incident, Proposal
from receiver.papers import Recipient, Words, words

DRILL_LINES = ("incident", "summary", "finding", "diagnosis", "action", "risk")
LINE_UNITS = 240  # what the first message has room for
MOVED_IN_LINE = 3
PLAIN = Recipient("", "")  # whoever reads the ledger: English, and UTC


def headline(incident: Incident, language: str = ENGLISH) -> str:
    """One line that says what is wrong: "HighErrorRate service=checkout: error_ratio 0.31 >= 0.05."."""
    return phrase(language, "headline", title=title(incident, language), finding=finding(incident, language))


def title(incident: Incident, language: str = ENGLISH) -> str:
    """What the incident is called; what we say of it there is said in the reader's language."""
    called = incident.title
    marks: list[str] = []
    for key in ("again", "no key"):
        mark = phrase(ENGLISH, key, title="", part=incident.part)
        if called.endswith(mark):
            called = called.removesuffix(mark)
            marks.insert(0, key)
    for key in marks:
        called = phrase(language, key, title=called, part=incident.part)
    return called


def summary(incident: Incident, language: str = ENGLISH) -> str:
    """The alert's own words."""
    return phrase(language, "no alert opened it") if incident.requested_by else incident.summary


def finding(incident: Incident, language: str = ENGLISH) -> str:
    """Why it is an incident; as it was recorded, where no more is known of that."""
    if incident.requested_by:
        return phrase(language, "asked by hand", by=incident.requested_by)
    return said(language, recorded(incident.said, incident.reason.partition(": ")[2] or incident.reason))


def local(reader: Recipient, moment: datetime) -> str:
    """A time as the reader's own clock shows it: "14:32 CAT"."""
    return moment.astimezone(ZoneInfo(reader.timezone)).strftime("%H:%M %Z")


def diagnosis_line(incident: Incident, language: str = ENGLISH) -> str:
    """Claude's words, with its own confidence and what its earlier ones were worth; or why there are none.

    Where no model answers, what moved first is the message, and it says that it is no diagnosis.
    """
    diagnosis = incident.diagnosis
    if incident.requested_by:
        return phrase(language, "by hand", by=incident.requested_by)
    if diagnosis is None:
        return shorten(why_none(incident, language) + moved(incident, language), LINE_UNITS)
    if not diagnosis.confidence:
        return shorten(str(diagnosis.body["summary"]), LINE_UNITS)
    worth = diagnosis.earlier
    key = "diagnosis worth" if worth.tried else "diagnosis"
    values = {"confidence": diagnosis.confidence, "confirmed": worth.confirmed, "tried": worth.tried}
    room = LINE_UNITS - units_of(phrase(language, key, summary="", **values))
    return phrase(language, key, summary=shorten(str(diagnosis.body["summary"]), room), **values)


def why_none(incident: Incident, language: str = ENGLISH) -> str:
    last = incident.consultations[-1] if incident.consultations else None
    if last is not None and last.outcome == "UNDIAGNOSED":
        outcome = str(last.body["outcome"])
        why = words(outcome) if outcome in NO_DIAGNOSIS else outcome.replace("_", " ")
        return phrase(language, "no diagnosis", why=why)
    return phrase(language, "diagnosis pending")


def moved(incident: Incident, language: str, most: int = MOVED_IN_LINE) -> str:
    """What moved first, and how long before it opened; empty where nothing was gathered yet."""
    last = incident.consultations[-1] if incident.consultations else None
    if last is None or not last.case:
        return ""
    found = moves(last.case, incident.opened_at, most)
    if not found:
        return phrase(language, "nothing moved")
    return phrase(language, "moved first", moved="; ".join(one.named + _lead(one, language) for one in found))


def _lead(one: Moved, language: str) -> str:
    if one.minutes is None:
        return ""
    key = "minutes before" if one.minutes > 0 else "minutes after" if one.minutes else "as it opened"
    return phrase(language, key, minutes=abs(one.minutes))


def with_quorum(action: str, quorum: int, levels: Sequence[Levels], language: str = ENGLISH) -> str:
    """The action as it is shown, and how many must approve it, where one is not enough."""
    if quorum == 1:
        return action
    of = "".join(
        phrase(language, "level", quorum=level.second_quorum, names=", ".join(sorted(level.second))) for level in levels
    )
    return phrase(language, "quorum", title=action, quorum=quorum, levels=of)


def still_missing(proposal: Proposal, approved: Collection[str], language: str = ENGLISH) -> str:
    """Who must approve beside `approved`; empty where they are enough."""
    missing = int(proposal.body["quorum"]) - len(approved)
    if missing > 0:
        return phrase(
            language,
            "missing",
            missing=missing,
            names=", ".join(who for who in proposal.body["approvers"] if who not in approved),
        )
    for level in levels_of(proposal.body):
        for quorum, who in ((level.quorum, level.first), (level.second_quorum, level.second)):
            if len(who & set(approved)) < quorum:
                return phrase(language, "missing level", names=", ".join(sorted(who)), quorum=quorum)
    return ""


def approved_so_far(proposal: Proposal, approved: Collection[str], language: str = ENGLISH) -> str:
    """Who has approved, in their order, and who must beside them; for those who were asked as well."""
    missing = still_missing(proposal, approved, language)
    action = str(proposal.body["title"])
    return phrase(language, "approved so far", names=", ".join(approved), title=action, missing=missing)


def opened(
    incident: Incident,
    body: Mapping[str, Any],
    expires_at: datetime,
    reader: Recipient,
    links: str = "",
    approved: Sequence[str] = (),
) -> dict[str, str]:
    """The variables of the message that asks for a decision; the code is added when it is sent.

    body: of the PROPOSED. links: of the alerts, those that lead where the configuration allows. approved: who did.
    """
    action = with_quorum(body["title"], int(body["quorum"]), levels_of(body), reader.language)
    if approved:
        action = phrase(reader.language, "approved by", title=action, names=", ".join(approved))
    return {
        "incident": title(incident, reader.language),
        "summary": summary(incident, reader.language),
        "finding": _finding(incident, reader.language),
        "diagnosis": diagnosis_line(incident, reader.language),
        "action": action,
        "risk": risk(body),
        "links": links,
        "expires": local(reader, expires_at),
        "reference": incident.id,
    }


def risk(body: Mapping[str, Any]) -> str:
    """The risk of an action, in the words of the configuration; empty where it states none."""
    return "" if body["risk"] == NOT_STATED else str(body["risk"])


def _finding(incident: Incident, language: str) -> str:
    """Why it is an incident, and what was tried already without effect."""
    found = finding(incident, language)
    tried = [str(p.body["title"]) for p in incident.proposals if p.did_not_help]
    # Of an earlier part only the names of its actions are at hand.
    own = {str(p.body["action"]) for p in incident.proposals}
    tried += sorted(incident.tried_before - own)
    return phrase(language, "tried", finding=found, titles=", ".join(dict.fromkeys(tried))) if tried else found


def asked(incident: Incident, names: Iterable[str], reader: Recipient) -> str:
    """For those of the ladder's first step who cannot approve: who can."""
    return phrase(reader.language, "asked", headline=headline(incident, reader.language), names=", ".join(names))


def nothing_proposed(incident: Incident, denials: Sequence[Words], reader: Recipient) -> str:
    language = reader.language
    why = all_of(denials, language) if denials else phrase(language, "no action")
    diagnosis = diagnosis_line(incident, language)
    return phrase(language, "nothing proposed", headline=headline(incident, language), diagnosis=diagnosis, why=why)


def all_of(denials: Sequence[Words], language: str = ENGLISH) -> str:
    return "; ".join(said(language, denial) for denial in denials)


def escalated(incident: Incident, now: datetime, reader: Recipient) -> str:
    """For the next step of the ladder."""
    text = phrase(
        reader.language, "escalated", headline=headline(incident, reader.language), **_since(incident, now, reader)
    )
    return phrase(reader.language, "unreached", escalated=text) if incident.unreached else text


def reminder(incident: Incident, now: datetime, reader: Recipient = PLAIN) -> str:
    """What is said every half hour of an open incident; of one in doubt, what is asked of people."""
    last = incident.last
    text = phrase(
        reader.language, "reminder", headline=headline(incident, reader.language), **_since(incident, now, reader)
    )
    if last is not None and last.in_suspense:
        return phrase(reader.language, "in doubt", reminder=text, title=last.body["title"], id=incident.id)
    return text


def _since(incident: Incident, now: datetime, reader: Recipient) -> dict[str, str]:
    return {"span": span(now - incident.opened_at), "since": local(reader, incident.opened_at)}


def news(
    incident: Incident,
    proposal: Proposal | None,
    stage: str,
    actor: str,
    reason: Words | str,
    reader: Recipient = PLAIN,
) -> str:
    """What became of it, for everyone who was asked. proposal: the one that the news is about, if it is about one."""
    who = actor.partition(":")[2] or actor
    language = reader.language
    by_hand = stage == "CLOSED" and incident.requested_by and actor == "policy"
    return phrase(
        language,
        "CLOSED by hand" if by_hand else stage,
        incident=title(incident, language),
        id=incident.id,
        action=proposal.body["title"] if proposal is not None else phrase(language, "the action"),
        by=proposal.decided_by if proposal is not None and proposal.decided_by else who,
        who=who,
        reason=reason,
        diagnosis=diagnosis_line(incident, language),
    )


def halted(stage: str, actor: str, at: datetime, reason: str, reader: Recipient) -> str:
    """That nothing is dispatched any more, or is again. stage: HALTED or RESUMED."""
    who = actor.partition(":")[2] or actor
    return phrase(reader.language, stage.lower(), who=who, at=local(reader, at), reason=reason)


def drill(drill_id: str, by: str, until: datetime, reader: Recipient) -> dict[str, str]:
    """The variables of a question about nothing: every line of it says that it is a drill."""
    language = reader.language
    told = {name: phrase(language, f"drill: {name}", by=by) for name in DRILL_LINES}
    return {**told, "links": "", "expires": local(reader, until), "reference": drill_id}


def witnessed(incident_id: str, index: int, root: bytes) -> str:
    """The reference of a message that tells of a decision: "inc-7f3a9c0012, ledger 124:9f3c21ab".

    root: of the tree that ends with the entry `index`. Whoever gets the message is a witness of the log up to there;
    `counterfoil ledger verify --witnessed 124:9f3c21ab` asks.
    """
    return f"{incident_id}, ledger {index}:{root.hex()[:WITNESSED_DIGITS]}"


def span(length: timedelta) -> str:
    """A duration as people say it: "45 s", "12 min", "3 h 5 min"."""
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
