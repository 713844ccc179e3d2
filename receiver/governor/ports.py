"""What the governor needs of the offices. Each office is reached through one of these protocols and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from policy_rules.readings import Query, Reading
from receiver.papers import (
    CaseFile,
    Diagnosis,
    ExecutionResult,
    Gathered,
    Inquiry,
    NoDiagnosis,
    NotSent,
    NotSilenced,
    Order,
    OutgoingMessage,
    RenderedRequest,
    Sent,
    Silence,
)


class Clock(Protocol):
    """Both clocks of the machine, handed in so that a test holds them."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never step back."""


class Evidence(Protocol):
    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        """One reading a query, in order; never raises: a server that does not answer is a reading of that state.

        fresh_seconds: an answer to the same query that is at most this old may be shared instead of asked again.
        """

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        """What was going on around an incident, as far as it is found in time; never raises. Nothing rests on it."""


class AlertSource(Protocol):
    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        """The alerts that fire and are not suppressed, in the shape of a webhook payload's `alerts[]`.

        None where not every Alertmanager answered: then absence says nothing.
        """


class Silencer(Protocol):
    async def silence(self, silence: Silence) -> str | NotSilenced:
        """The id under which Alertmanager has it, the same however often it is asked for. Never raises."""


class Diagnostician(Protocol):
    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        """Never raises and never takes longer than `timeout_seconds`."""


class Carrier(Protocol):
    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Hand one message to the carrier. Never raises."""


class Executors(Protocol):
    def render(self, order: Order) -> RenderedRequest:
        """The exact request for `order`, the same bytes for the same order.

        Raises KeyError on an unknown executor, Unrenderable where the parameters make no request.
        """

    async def send(
        self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: str | None = None
    ) -> ExecutionResult:
        """One attempt, signed; never raises, never repeats by itself, gives up at `deadline`.

        proof: that the request was authorized, where the request says that it goes with it.
        """

    async def poll(
        self, request: RenderedRequest, address: str, *, webhook_id: str, deadline: datetime
    ) -> ExecutionResult:
        """Ask once, at `address`, what became of a request that was taken: ACCEPTED where that is not known yet."""
