"""The report on one incident for those who look back at it, from the ledger alone. Pure.

Times are defined in receiver/incident/times.py. What was tried is told proposal by proposal, with every answer that a
person gave to it and what policy saw afterwards; what the model said is told as its own opinion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ledger.entry import Entry, format_time
from receiver.auditor.standing import IncidentView
from receiver.auditor.telling import ON_THE_WAY, said
from receiver.incident.times import STEPS, Times

# What a person decided: everything that an engineer or an operator may post of an incident.
BY_PEOPLE = ("engineer", "operator")
HELPED = {"CONFIRMED": "yes", "UNCONFIRMED": "no", "FAILED": "no"}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry in one line; `index` says where it stands."""

    index: int
    at: datetime
    stage: str
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison of a verdict, or one number that it was shown."""

    name: str
    value: str
    compared: str  # "< 0.02", empty where it was not compared
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policy said when the incident opened or ended, and the readings that it said it on."""

    index: int
    at: datetime
    reason: str
    readings: tuple[Reading, ...]
    looks: int = 1  # how many looks of the hold the entry shows


@dataclass(frozen=True, slots=True)
class Attempt:
    """One proposal and what became of it.

    outcome: the stage in which it ended, PROPOSED while it is open. helped: yes, no, or why it cannot be said.
    """

    index: int
    action: str
    title: str
    executor: str
    params: Mapping[str, str]
    requested_by: str
    asked: tuple[str, ...]
    quorum: int
    outcome: str
    helped: str
    course: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What a model said, as its own opinion. recommended: the action; proposed: whether policy proposed that one."""

    index: int
    model: str
    confidence: str
    summary: str
    likely_cause: str
    falsified_by: str
    recommended: str
    proposed: bool
    claims: tuple[tuple[str, tuple[str, ...]], ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an incident that broke again within its rule's `reopen_within`."""

    incident_id: str
    index: int
    opened_at: datetime
    ended_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. times: seconds by step, None where the end of the step did not come."""

    ledger: str
    tenant: str
    last: int
    as_of: datetime
    view: IncidentView
    key: Mapping[str, str]
    policy: str
    requested_by: str
    times: Mapping[str, float | None]
    ended_by: Mapping[str, int]
    parts: tuple[Part, ...]
    opened: Verdict
    ended: Verdict | None
    closed_by: str
    attempts: tuple[Attempt, ...]
    people: tuple[Line, ...]
    diagnosis: Explained | None
    no_diagnosis: str
    timeline: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """For programs: times as in the ledger, entries by their index."""
        data = {name: value for name, value in asdict(self).items() if name != "view"}
        data = {**self.view.to_json(timeline=False), **data}
        plain: dict[str, Any] = _plain(data)
        return plain


def report_of(view: IncidentView, last: Entry, policy: str, parts: Sequence[Part] = ()) -> Report:
    """The report on `view`, which has its timeline. last: the newest entry that stood; policy: its name and version.

    parts: all parts of the incident in order, where it has several.
    """
    own = [entry for entry in view.entries if entry.incident_id == view.id]
    detected = next(entry for entry in own if entry.index == view.index)
    times = times_of(view.entries, [entry for entry in own if entry.index >= view.index])
    end = next((entry for entry in own if entry.stage in ("RECOVERED", "CLOSED")), None)
    attempts = tuple(_attempts(own))
    undiagnosed = next((entry for entry in reversed(own) if entry.stage == "UNDIAGNOSED"), None)
    told = [entry for entry in view.entries if entry.stage not in ON_THE_WAY]
    return Report(
        ledger=last.ledger,
        tenant=last.tenant_id,
        last=last.index,
        as_of=last.timestamp,
        view=view,
        key=_texts(detected.body.get("key")),
        policy=policy,
        requested_by=_text(detected.body, "requested_by"),
        times={step: times[step].seconds if step in times else None for step in STEPS},
        ended_by={step: took.index for step, took in times.items()},
        parts=tuple(parts),
        opened=_verdict(detected),
        ended=_verdict(end) if end is not None and end.stage == "RECOVERED" else None,
        closed_by=end.actor if end is not None and end.stage == "CLOSED" else "",
        attempts=attempts,
        people=tuple(_line(entry) for entry in view.entries if entry.actor.partition(":")[0] in BY_PEOPLE),
        diagnosis=_explained(own, {attempt.action for attempt in attempts}),
        no_diagnosis=_text(undiagnosed.body, "outcome") if undiagnosed is not None else "",
        timeline=tuple(_line(entry) for entry in told),
    )


def times_of(entries: Iterable[Entry], own: Sequence[Entry]) -> Mapping[str, Any]:
    """The steps of an incident. entries: its own and what they rest on. own: those from its DETECTED on."""
    detected = own[0]
    around = {entry.index: entry for entry in entries}
    begun = around.get(detected.settles if detected.settles is not None else -1)
    heard = next((around[i] for i in begun.cites if i in around), None) if begun is not None else None
    if heard is not None and heard.stage != "RECEIVED":
        heard = None
    first = heard or begun
    times = Times(first.timestamp if first is not None else None)
    for entry in own:
        times.take(entry)
    return times.took


def _verdict(entry: Entry) -> Verdict:
    body = entry.body.get("verdict")
    body = body if isinstance(body, Mapping) else {}
    hold = entry.body.get("hold")
    looks = len(hold) if isinstance(hold, list) and hold else 1
    return Verdict(entry.index, entry.timestamp, entry.reason, tuple(_readings(body)), looks)


def _readings(verdict: Mapping[str, Any]) -> Iterator[Reading]:
    for row in _list(verdict.get("findings")):
        if isinstance(row, Mapping):
            value = row.get("value")
            compared = f"{row.get('operator')} {row.get('threshold')}"
            yield Reading(str(row.get("name")), "unknown" if value is None else str(value), compared, row.get("holds"))


def _attempts(own: Sequence[Entry]) -> Iterator[Attempt]:
    for proposed in (entry for entry in own if entry.stage == "PROPOSED"):
        course = list(_course(proposed, own))
        stages = [entry.stage for entry in course]
        outcome = next((s for s in reversed(stages) if s not in ("APPROVED", "DECLINED", "ACKNOWLEDGED")), "PROPOSED")
        body, quorum = proposed.body, proposed.body.get("quorum")
        yield Attempt(
            index=proposed.index,
            action=_text(body, "action"),
            title=_text(body, "title"),
            executor=_text(body, "executor"),
            params=_texts(body.get("params")),
            requested_by=_text(body, "requested_by"),
            asked=tuple(map(str, _list(body.get("approvers")))),
            quorum=quorum if isinstance(quorum, int) else 1,
            outcome=outcome,
            helped=HELPED.get(outcome, _unsaid(stages)),
            course=tuple(_line(entry) for entry in course),
        )


def _course(proposed: Entry, own: Sequence[Entry]) -> Iterator[Entry]:
    """The answers to a proposal, and each entry that settles it or what came of it."""
    course = {proposed.index}
    for entry in own:
        if entry.settles in course:
            course.add(entry.index)
            yield entry
        elif entry.stage in ("APPROVED", "DECLINED", "ACKNOWLEDGED") and proposed.index in entry.cites[:1]:
            yield entry


def _unsaid(stages: Sequence[str]) -> str:
    if "DISPATCHED" not in stages:
        return "it did not run"
    last = stages[-1]
    return {
        "UNRESOLVED": "it is not known whether it ran",
        "WRITTEN_OFF": "it was never known whether it ran",
        "WAIVED": "nobody waited for its effect",
        "DISPATCHED": "it is under way",
        "EXECUTED": "policy still looks",
    }.get(last, "it cannot be said")


def _explained(own: Sequence[Entry], proposed: set[str]) -> Explained | None:
    entry = next((entry for entry in reversed(own) if entry.stage == "DIAGNOSED"), None)
    if entry is None:
        return None
    body = entry.body
    rows = [row for row in _list(body.get("claims")) if isinstance(row, Mapping)]
    dropped = body.get("dropped_claims")
    recommended = _text(body, "recommended_action")
    return Explained(
        index=entry.index,
        model=_text(body, "model"),
        confidence=entry.confidence or "",
        summary=_text(body, "summary"),
        likely_cause=_text(body, "likely_cause"),
        falsified_by=_text(body, "falsified_by"),
        recommended=recommended,
        proposed=recommended in proposed,
        claims=tuple((_text(row, "text"), tuple(map(str, _list(row.get("refs"))))) for row in rows),
        dropped=dropped if isinstance(dropped, int) else 0,
    )


def _line(entry: Entry) -> Line:
    return Line(entry.index, entry.timestamp, entry.stage, entry.actor, said(entry))


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _texts(value: object) -> Mapping[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
