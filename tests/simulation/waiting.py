"""What may not wait: judged each time that nothing is due any more, against the model's own deadlines.

Something may be tried again after a failure, so it is a fault only where it is still late at a later rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ledger.entry import parse_time
from tests.simulation import terms
from tests.simulation.model import Case, Model

PATIENCE_SECONDS = 75.0  # two looks and a try more
FIRST_WORD_SECONDS = 5.0  # the first word waits for nobody
NOBODY_TOLD = "is open, and nobody was told"
REMIND_EVERY = timedelta(minutes=30)
LADDER = ((timedelta(minutes=5), "leads"), (timedelta(minutes=9), None))  # None: everyone


def at_rest(model: Model) -> None:
    """Judge a process that is up, writes, and has nothing to do now."""
    now = max(model.world.clock.now(), *(e.timestamp for e in model.entries[-1:]))
    elapsed = model.world.clock.elapsed
    late = set(_late(model, now))
    for name in set(model.late_since) - late:
        del model.late_since[name]
    for name in late:
        since = model.late_since.setdefault(name, elapsed)
        if elapsed - since > (FIRST_WORD_SECONDS if NOBODY_TOLD in name else PATIENCE_SECONDS):
            model.wrong(None, f"at {now:%H:%M:%S}: {name}")


def forgive(model: Model) -> None:
    """The ledger could not be written, or the process has just begun: what is late is late from now on."""
    model.late_since.clear()


def _late(model: Model, now: datetime) -> Iterator[str]:
    slow = {held.name for held in model.world.held}
    yield from _obligations(model, now, slow)
    for incident_id, case in model.cases.items():
        if case.ended is None:
            yield from _told(model, incident_id, case, now)
    for index, question in model.questions.items():
        met = len(question.approvals) >= question.entry.body["quorum"]
        if question.outcome is None and met and now <= question.until("authorize_until") and _clock_even(model):
            yield f"{index}: the quorum is met, and nothing follows"
    for index, entry in model.untold.items():
        yield f"{index}: nobody was told of {entry.stage}"


def _obligations(model: Model, now: datetime, slow: set[str]) -> Iterator[str]:
    for entry in model.standing.values():
        body, stage = entry.body, entry.stage
        if stage in ("HEARD", "RECEIVED"):
            yield f"{entry.index}: {stage} lies there"
        elif stage == "PROPOSED":
            met = len(model.questions[entry.index].approvals) >= body["quorum"]
            if now > parse_time(body["authorize_until" if met else "expires_at"]):
                yield f"{entry.index}: the question should have expired"
        elif stage == "AUTHORIZED":
            if now > model.questions[entry.settles or 0].until("authorize_until"):
                yield f"{entry.index}: the authorization should be void"
        elif stage == "DISPATCHED" and now > parse_time(body["until"]) and "executor: slow" not in slow:
            yield f"{entry.index}: the execution should be in doubt"
        elif stage == "EXECUTED" and now > parse_time(body["verify_until"]):
            yield f"{entry.index}: the action should be unconfirmed"
        elif stage == "CONSULTED" and now > parse_time(body["until"]) and "diagnosis: slow" not in slow:
            yield f"{entry.index}: the diagnosis should be given up"
        elif stage == "ADDRESSED" and now > parse_time(body["until"]) and "carrier: slow" not in slow:
            yield f"{entry.index}: the message should be given up"


def _told(model: Model, incident_id: str, case: Case, now: datetime) -> Iterator[str]:
    """Who must have been written to about an open incident by now, and how lately."""
    opened = case.entry.timestamp
    if not case.told and now - opened > timedelta(seconds=terms.DIAGNOSIS_WAIT_SECONDS):
        yield f"{incident_id} {NOBODY_TOLD}"
    decided = any(q.outcome is not None and q.outcome.stage in ("AUTHORIZED", "REJECTED") for q in case.questions)
    if case.told and case.service is not None and not case.requested_by and not decided and not case.acknowledged:
        for after, role in LADDER:
            # Of whoever came, or came back, after a step only the next step or reminder speaks.
            here = [p for p in model.agreed.staff.values() if model.changed_at[p.name] <= opened + after]
            people = [p for p in here if role is None or role in p.roles]
            missed = sorted(p.name for p in people if not p.suspended and p.name not in case.told)
            if now - opened > after and missed:
                yield f"{incident_id}: nobody decided for {after}, and {', '.join(missed)} never heard of it"
    if case.last_told is None:
        return
    waits = [q.until("authorize_until") for q in case.questions if q.live and q.outcome is None]
    doubts = [q for q in case.questions if q.result is not None and q.result.stage == "UNRESOLVED"]
    running = any(q.live and q.outcome is not None for q in case.questions) and not doubts
    checking = any(e.stage == "EXECUTED" and e.incident_id == incident_id for e in model.standing.values())
    if not waits and not running and not checking and now - case.last_told > REMIND_EVERY + timedelta(minutes=2):
        yield f"{incident_id} is open, and it is silent since {case.last_told:%H:%M:%S}"


def _clock_even(model: Model) -> bool:
    """Whether the service may trust the clock: it is not behind the ledger and has not jumped for two minutes."""
    jumped = model.world.jumped_at
    return model.clock_is_right() and (jumped is None or model.world.clock.elapsed - jumped > 130)
