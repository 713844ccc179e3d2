"""What is outside of the service, made up for a rehearsal: clock, Prometheus, carrier, executor, model."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import canonical
from policy_rules.casebook.cases import Case
from policy_rules.casebook.series import Sample
from policy_rules.readings import Query, Reading, ReadingState
from receiver.evidence.around import nothing
from receiver.papers import (
    CaseFile,
    Diagnosis,
    ExecutionOutcome,
    ExecutionResult,
    Gathered,
    Inquiry,
    NoDiagnosis,
    NotSent,
    Order,
    OutgoingMessage,
    RenderedRequest,
    Sent,
    words,
)

_RESULTS = {
    "succeeds": ExecutionResult(ExecutionOutcome.EXECUTED, "the case says that it succeeds", 200),
    "fails": ExecutionResult(ExecutionOutcome.FAILED, "the case says that it fails", 500),
    "is silent": ExecutionResult(ExecutionOutcome.UNKNOWN, "the case says that it is silent"),
    "accepts": ExecutionResult(ExecutionOutcome.ACCEPTED, "the case says that it accepts", 202),
}


@dataclass(slots=True)
class CaseClock:
    """A clock that only `advance` moves."""

    wall: datetime
    elapsed: float = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, to: datetime) -> None:
        self.elapsed += (to - self.wall).total_seconds()
        self.wall = to


@dataclass(slots=True)
class Outside:
    """One made-up outside. It stands for every office that the governor reaches, and keeps what they were told.

    own: the samples of an alert that brings its own, by (signal, query). answers: the last readings by query.
    """

    case: Case
    clock: CaseClock
    own: dict[tuple[str, str], tuple[Sample, ...]] = field(default_factory=dict)
    prometheus_up: bool = True
    executor: str = "succeeds"
    diagnosis: Diagnosis | None = None
    diagnosed: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[OutgoingMessage] = field(default_factory=list)
    readings: dict[tuple[str, str], Reading] = field(default_factory=dict)

    # --- Prometheus ---------------------------------------------------------------------------------------------------

    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        found = tuple(self._reading(query) for query in queries)
        self.readings |= {(reading.name, reading.promql): reading for reading in found}
        return found

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        """A case says what policy reads, and nothing of what went on beside it."""
        return nothing(words("rehearsed"))

    def _reading(self, query: Query) -> Reading:
        now = self.clock.now()
        sample = self._sample(query, now) if self.prometheus_up else Sample(ReadingState.UNREACHABLE)
        at = now if sample.state is ReadingState.VALUE else None
        return Reading(query.name, query.promql, sample.state, sample.value, at, now)

    def _sample(self, query: Query, now: datetime) -> Sample:
        """The newest sample at `now`; before the first and after the last interval there is none."""
        series = self.own.get((query.name, query.promql), self.case.signals.get(query.name, ()))
        place = int((now - self.case.start) / timedelta(seconds=self.case.interval_seconds))
        return series[place] if 0 <= place < len(series) else Sample(ReadingState.NO_DATA)

    # --- Alertmanager, the model, the carrier -------------------------------------------------------------------------

    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        return None

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        """The diagnosis of the case, at the time of its event; nobody waits for it longer than for the real one."""
        await self.diagnosed.wait()
        return self.diagnosis or NoDiagnosis("none", "the case has no diagnosis")

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        self.messages.append(message)
        sid = "SM" + hashlib.sha256(message.message_id.encode()).hexdigest()[:32]
        return Sent(sid, "", "")


class CaseExecutors:
    """Every executor of a rehearsal: does what the case says, and keeps what was run."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.ran: list[str] = []

    def render(self, order: Order) -> RenderedRequest:
        body = canonical({"id": order.webhook_id, "action": order.action, "params": dict(order.params)}).decode()
        parts = {"executor": order.executor, "method": "POST", "address": "http://rehearsal.example/", "body": body}
        digest = hashlib.sha256(canonical(parts)).hexdigest()
        return RenderedRequest(order.executor, "POST", parts["address"], body, digest)

    async def send(
        self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: str | None = None
    ) -> ExecutionResult:
        self.ran.append(webhook_id)
        return _RESULTS[self._outside.executor]

    async def poll(
        self, request: RenderedRequest, address: str, *, webhook_id: str, deadline: datetime
    ) -> ExecutionResult:
        return _RESULTS[self._outside.executor]
