"""Looks of policy, decided again: LOOKED, DETECTED, CLEARED, RECOVERED, and the look before a dispatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ledger.entry import Entry, parse_time
from policy_rules import detection, recovery
from policy_rules.conditions import Value, judge
from policy_rules.detection import GAP_SLACK_SECONDS
from policy_rules.rulebook import Rule
from policy_rules.verdict import Memory, Outcome, Verdict
from receiver.auditor.charters import Charters
from receiver.auditor.replay.difference import Difference, unlike
from receiver.incident.basis import Basis
from receiver.incident.book import Book
from receiver.incident.states import Incident, Watch

REASON_CHARACTERS = 500  # of an entry
HOLD_LOOKS_MAX = 60  # of a longer hold RECOVERED carries the first look and the latest
FRESH = timedelta(seconds=5)  # between the look before an authorization and its permission nothing is awaited
STAGES = ("LOOKED", "DETECTED", "CLEARED", "RECOVERED")
_SAYS = {"DETECTED": Outcome.DETECT.value, "RECOVERED": Outcome.RECOVER.value, "CLEARED": "clear"}


def again(entry: Entry, book: Book, charters: Charters) -> Iterator[Difference]:
    """What comes out otherwise in an entry of STAGES. book, charters: as they stood when it was decided."""
    body: Mapping[str, Any] = entry.body["verdict"]
    says = _SAYS.get(entry.stage, str(body.get("outcome")))
    subject = subject_of(entry, book)
    if subject is None:
        yield Difference(entry.index, entry.stage, says, "nothing", "what it is about was not open then")
        return
    verdict = decide(subject, Basis.of(body), book, charters)
    if entry.stage == "CLEARED":
        # An alert that is gone from every Alertmanager does not fire any more, although no resolved came.
        gone = entry.body.get("gone", ())
        alerts = book.alerts_of(subject.rule, subject.key)
        firing = sum(alert.firing and alert.fingerprint not in gone for alert in alerts)
        replayed, why = ("clear" if not firing else verdict.outcome.value), f"alerts.firing is {firing}"
    else:
        replayed, why = verdict.outcome.value, verdict.reason
    told = entry.reason == f"{subject.rule}: {verdict.reason}"[:REASON_CHARACTERS] or entry.stage == "CLEARED"
    if replayed != says:
        yield Difference(entry.index, entry.stage, says, replayed, why)
    elif entry.decision != says:
        yield Difference(entry.index, entry.stage, str(entry.decision), replayed, why)
    elif entry.policy_digest != subject.policy_digest:
        why = f"it names the policy {entry.policy_digest}, and was to be decided by {subject.policy_digest}"
        yield Difference(entry.index, entry.stage, says, replayed, why)
    elif (other := unlike(body, verdict.to_body())) is not None:
        yield Difference(entry.index, entry.stage, says, replayed, other)
    elif not told:
        yield Difference(entry.index, entry.stage, says, replayed, f"its reason says {entry.reason!r}, and is {why!r}")
    elif (wrong := _memory(Basis.of(body), subject) or _reopened(entry, subject, book, charters)) is not None:
        yield Difference(entry.index, entry.stage, says, replayed, wrong)
    elif entry.stage == "RECOVERED":
        rule = charters.rulebook(subject.policy_digest).rule(subject.rule)
        wrong = _hold(entry.body["hold"], rule, verdict.memory.true_since, Basis.of(body).now)
        if wrong is not None:
            yield Difference(entry.index, entry.stage, says, replayed, wrong)


def _reopened(entry: Entry, subject: Watch | Incident, book: Book, charters: Charters) -> str | None:
    """What is wrong with the incident that a DETECTED counts as a part of, by the policy that detected it."""
    if entry.stage != "DETECTED":
        return None
    rule = charters.rulebook(subject.policy_digest).rule(subject.rule)
    ours = book.again(rule, subject.key, Basis.of(entry.body["verdict"]).now)
    theirs = {name: entry.body[name] for name in ("continues", "part", "reopened") if name in entry.body}
    if theirs == ours:
        return None
    return f"it says that it continues {theirs.get('continues')}, and policy says {ours.get('continues')}"


def service_again(entry: Entry, incident: Incident, book: Book, charters: Charters) -> tuple[Verdict, str | None]:
    """The look before an authorization or a dispatch; and in what the recorded one differs from it."""
    body = entry.body["service"]
    basis, then = Basis.of(body), Basis.of(entry.body["verdict"])
    verdict = decide(incident, basis, book, charters)
    if basis.entries != then.entries or not timedelta() <= then.now - basis.now <= FRESH:
        return verdict, f"policy looked at {basis.now}, and it was permitted at {then.now}"
    return verdict, unlike(body, verdict.to_body()) or _memory(basis, incident)


def subject_of(entry: Entry, book: Book) -> Watch | Incident | None:
    if entry.stage == "LOOKED":
        index = entry.body["subject"]
        return book.watches.get(index) if entry.body["purpose"] == "detect" else _open(book.by_index.get(index))
    settles = entry.settles if entry.settles is not None else -1
    return _open(book.by_index.get(settles)) if entry.stage == "RECOVERED" else book.watches.get(settles)


def _open(incident: Incident | None) -> Incident | None:
    return incident if incident is not None and incident.open else None


def decide(subject: Watch | Incident, basis: Basis, book: Book, charters: Charters) -> Verdict:
    """What policy says of the subject on that basis. Raises Unreadable and KeyError."""
    rulebook = charters.rulebook(subject.policy_digest)
    rule = rulebook.rule(subject.rule)
    question = detection.should_detect if isinstance(subject, Watch) else recovery.should_recover
    alerts = book.alerts_of(subject.rule, subject.key)
    return question(rulebook, rule, alerts, basis.readings, basis.now, basis.memory)


def _memory(basis: Basis, subject: Watch | Incident) -> str | None:
    """What a look claims to remember, and the looks in the ledger do not bear out.

    Looks that change nothing are not posted, so it may remember more than the last one that stands, from after it.
    """
    began = subject.carried_at or (subject.since if isinstance(subject, Watch) else subject.opened_at)
    known = subject.memory if subject.looks else Memory()
    after = known.looked_at or began
    for name, claimed, stands in (
        ("true", basis.memory.true_since, known.true_since),
        ("unknown", basis.memory.unknown_since, known.unknown_since),
    ):
        if claimed is not None and claimed < (stands or after):
            return f"it remembers that it was {name} since {claimed}, and the ledger says since {stands or after}"
    looked = basis.memory.looked_at
    if looked is not None and looked < after:
        return f"it remembers a look at {looked}, and the last one before it was at {after}"
    return None


def _hold(rows: Sequence[Mapping[str, Any]], rule: Rule, since: datetime | None, now: datetime) -> str | None:
    """What is wrong with the looks of the whole hold that RECOVERED carries."""
    if since is None or not rows:
        return "it carries no look of its hold"
    times = [parse_time(row["at"]) for row in rows]
    for row, at in zip(rows, times, strict=True):
        known = {n: Value(None if v == "unknown" else v, "unknown") for n, v in row["values"].items()}
        judgement = judge(rule.recover.when, known)
        if judgement.holds is not True:
            return f"at {at} of its hold: {judgement.text()}"
    if times[0] < since or times[-1] != now or times != sorted(times):
        return f"the looks of its hold are from {times[0]} to {times[-1]}, and it lasted from {since} to {now}"
    widest = timedelta(seconds=2 * rule.evaluate_every_seconds + GAP_SLACK_SECONDS)
    for place, (one, following) in enumerate(pairwise(times)):
        if following - one > widest and not (place == 0 and len(times) >= HOLD_LOOKS_MAX):
            return f"nobody looked from {one} to {following} of its hold"
    return None
