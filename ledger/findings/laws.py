"""Laws 3 and 4 in the entries: what was asked, answered, authorized and dispatched, and what stood beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from ledger.accounts import LIVE, ONLY_WHILE_OPEN
from ledger.entry import Entry, format_time, parse_time
from ledger.findings.finding import INTRUSION, THE_CLOCK, WHO_WROTE, Finding
from ledger.findings.standing import Obligation, Question, Standing

GRACE = timedelta(minutes=2)  # authorize_until is at the latest so long after expires_at
DIGEST_CHARACTERS = 64


# Stages that need an incident in some state.
_OF_INCIDENTS = frozenset({*ONLY_WHILE_OPEN, "DETECTED", "RECOVERED", "CLOSED"})


def _of_its_incident(entry: Entry, standing: Standing) -> Iterator[Finding]:
    open_stages = standing.stages_of(entry.incident_id)
    if entry.stage in ONLY_WHILE_OPEN and "DETECTED" not in open_stages:
        yield Finding(entry.index, "incident", f"{entry.stage} for an incident that is not open", WHO_WROTE)
    if entry.stage == "DETECTED" and (entry.incident_id is None or entry.incident_id in standing.detected):
        yield Finding(entry.index, "incident", f"{entry.incident_id} was detected before, or is none", WHO_WROTE)
    left = sorted(open_stages & {"PROPOSED", "AUTHORIZED"})
    if entry.stage in ("RECOVERED", "CLOSED") and left:
        yield Finding(entry.index, "incident", f"{entry.stage} over an open {' and '.join(left)}", WHO_WROTE)


def after(before: Entry, entry: Entry | None) -> Iterator[Finding]:
    """DECLINED comes together with the REJECTED of its proposal. entry: what follows, or None at the end."""
    if before.stage != "DECLINED":
        return
    if entry is None or entry.stage != "REJECTED" or (entry.settles,) != before.cites[:1]:
        yield Finding(before.index, "declined", "its proposal was not rejected with it", WHO_WROTE)


def of_its_stage(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    """target: the outstanding obligation that the entry settles. Of a stage that is not in JUDGED nothing must hold."""
    if entry.stage in _OF_INCIDENTS:
        yield from _of_its_incident(entry, standing)
    check = _CHECKS.get(entry.stage)
    if check is not None:
        yield from check(entry, target, standing)


def _proposed(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    beside = sorted(standing.stages_of(entry.incident_id) & set(LIVE))
    if beside:
        detail = f"a second question beside an open {' and '.join(beside)}"
        yield Finding(entry.index, "one at a time", detail, WHO_WROTE)
    elsewhere = sorted(standing.asked_beside(entry.incident_id))
    if elsewhere:
        detail = f"another incident of the same target has an open {' and '.join(elsewhere)}"
        yield Finding(entry.index, "one at a time", detail, "close one of the two incidents")
    wrong = _form(entry)
    if wrong is not None:
        yield Finding(entry.index, "question", wrong, WHO_WROTE)


def _form(entry: Entry) -> str | None:
    """What a proposal does not say as it must."""
    body = entry.body
    digest, quorum, approvers = body.get("digest"), body.get("quorum"), body.get("approvers")
    if not isinstance(digest, str) or len(digest) != DIGEST_CHARACTERS:
        return "it has no digest of what would run"
    if not isinstance(approvers, list) or not all(isinstance(name, str) for name in approvers):
        return "it names no approvers"
    if type(quorum) is not int or not 1 <= quorum <= len(set(approvers)):  # True is no number here
        return f"its quorum of {quorum} cannot be met"
    try:
        expires, until = parse_time(body["expires_at"]), parse_time(body["authorize_until"])
    except (KeyError, TypeError, ValueError):
        return "it does not say until when"
    if not (entry.timestamp < expires <= until and until - expires <= GRACE):
        return "it does not expire as it must"
    return None


def _answered(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    question = standing.question_of(entry)
    if question is None or not question.open or question.incident != entry.incident_id:
        yield Finding(entry.index, "answer", "an answer to nothing that is open", INTRUSION)
        return
    if entry.actor.partition(":")[2] not in question.approvers:
        yield Finding(entry.index, "answer", f"{entry.actor} is not an approver", INTRUSION)
    if _time(entry) >= question.expires_at:
        yield Finding(entry.index, "late", "answered after the question had expired", THE_CLOCK)


def _authorized(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    if entry.settles in standing.declined:
        yield Finding(entry.index, "declined", f"{entry.settles} had been declined", INTRUSION)
    question = standing.questions.get(target.index) if target is not None else None
    if question is None:
        yield Finding(entry.index, "law 3", "an authorization of nothing", INTRUSION)
        return
    people = question.approved_by(entry.cites)
    if question.needed is None or len(people) < question.needed:
        yield Finding(entry.index, "law 3", f"{len(people)} of {question.quorum} approved", INTRUSION)
    if entry.actor not in people:
        yield Finding(entry.index, "law 3", f"{entry.actor} did not approve", INTRUSION)
    if _time(entry) > question.authorize_until:
        yield Finding(entry.index, "late", "authorized after its time", THE_CLOCK)


def _dispatched(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    if standing.halts:
        yield Finding(entry.index, "halt", f"dispatched while {_numbers(standing.halts)} halted", INTRUSION)
    running = sorted(standing.stages_of(entry.incident_id) & {"DISPATCHED", "UNRESOLVED"})
    if running:
        yield Finding(entry.index, "one at a time", f"dispatched beside an open {' and '.join(running)}", WHO_WROTE)
    if target is None or target.stage != "AUTHORIZED":
        yield Finding(entry.index, "law 3", "an execution without authorization", INTRUSION)
        return
    question = standing.authorizations.get(target.index)
    if question is None or question.digest != entry.body.get("digest"):
        yield Finding(entry.index, "law 3", "the request is not the proposed one", INTRUSION)
    elif _time(entry) > question.authorize_until:
        yield Finding(entry.index, "late", "dispatched after its authorization had run out", THE_CLOCK)


def _expired(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    question: Question | None = standing.questions.get(target.index) if target is not None else None
    if question is None:
        return
    met = question.needed is not None and len(question.approved_by()) >= question.needed
    if _time(entry) < question.expires_at:
        yield Finding(entry.index, "early", "expired before its time", THE_CLOCK)
    elif met and _time(entry) <= question.authorize_until:
        yield Finding(entry.index, "early", "expired while what was approved could be authorized", THE_CLOCK)


def _resumed(entry: Entry, target: Obligation | None, standing: Standing) -> Iterator[Finding]:
    if target is not None and entry.actor.partition(":")[2] == target.actor.partition(":")[2]:
        yield Finding(entry.index, "halt", f"{entry.actor} ended a halt of the same person", INTRUSION)


def _numbers(indices: set[int]) -> str:
    return ", ".join(map(str, sorted(indices)))


def _time(entry: Entry) -> str:
    return format_time(entry.timestamp)


_Check = Callable[[Entry, Obligation | None, Standing], Iterator[Finding]]
_CHECKS: Mapping[str, _Check] = {
    "PROPOSED": _proposed,
    "APPROVED": _answered,
    "DECLINED": _answered,
    "AUTHORIZED": _authorized,
    "DISPATCHED": _dispatched,
    "EXPIRED": _expired,
    "RESUMED": _resumed,
}
JUDGED = _OF_INCIDENTS | _CHECKS.keys()
