"""A small world with its own clock: a service that breaks, offices that fail, people who answer, and crashes.

Everything random comes from one seed, so a history that fails can be run again. The journal is the real one.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.entry import Draft, canonical
from ledger.journal import Journal, Receipt, Unavailable
from policy_rules.readings import Query, Reading, ReadingState
from receiver.papers import (
    CaseFile,
    Claim,
    Diagnosis,
    ExecutionOutcome,
    ExecutionResult,
    NoDiagnosis,
    NotSent,
    Order,
    OutgoingMessage,
    RenderedRequest,
    Sent,
    Usage,
)

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Crash(BaseException):
    """The process is killed here. Not an Exception: nothing may handle it."""


@dataclass
class SimClock:
    """A wall clock that can be stepped, and a monotonic one that cannot."""

    wall: datetime = START
    elapsed: float = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.elapsed += seconds

    def step(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@dataclass
class Reached:
    """What a run of histories has reached: a fault or a refusal that never happened was not tested."""

    stages: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Reached) -> None:
        """Count in what another run has reached."""
        self.stages.update(other.stages)
        self.refusals.update(other.refusals)
        self.faults.update(other.faults)


@dataclass
class Sending:
    """One time that the executor's door was knocked at."""

    webhook_id: str
    digest: str
    at: datetime
    halted: bool
    dispatched: bool


class World:
    """The outside: one shop, one executor, phones, Prometheus, Alertmanager and Claude."""

    def __init__(self, rng: random.Random, reached: Reached) -> None:
        self.rng = rng
        self.reached = reached
        self.model = random.Random(rng.random())
        self.clock = SimClock()
        self.broken = False
        self.prometheus_up = True
        self.calm = False  # no more faults: the end of a history
        self.alerts: list[dict[str, Any]] = []
        self.inbox: list[OutgoingMessage] = []
        self.sids: dict[str, str] = {}
        self.sendings: list[Sending] = []
        self.ran: Counter[str] = Counter()
        self.running: list[str] = []  # accepted with 202, result to come
        self.halted = False
        self.dispatched: dict[str, str] = {}  # webhook_id → digest, as posted
        self.episode = 0
        self.dead = False  # the process was killed: whatever it still tries must not happen

    def fault(self, name: str, chance: float) -> bool:
        """Whether this fault strikes now; counted when it does."""
        if self.calm or self.rng.random() >= chance:
            return False
        self.reached.faults[name] += 1
        return True

    # --- the shop -----------------------------------------------------------------------------------------------------

    def breaks(self) -> None:
        if not self.broken:
            self.broken = True
            self.episode += 1
            self.alerts = [self._alert("firing")]

    def heals(self) -> None:
        self.broken = False
        self.alerts = [{**alert, "status": "resolved", "endsAt": rfc(self.clock.now())} for alert in self.alerts]

    def _alert(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "labels": {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"},
            "annotations": {"summary": "checkout answers with errors"},
            "startsAt": rfc(self.clock.now()),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "00000000000000aa",
        }

    # --- Prometheus -----------------------------------------------------------------------------------------------

    def alive(self) -> None:
        """Nothing leaves a process that was killed."""
        if self.dead:
            raise Crash("dead")

    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        now = self.clock.now()
        state, value = ReadingState.VALUE, "0.31" if self.broken else "0.004"
        if not self.prometheus_up or self.fault("prometheus unreachable", 0.05):
            state = ReadingState.UNREACHABLE
        elif self.fault("no series", 0.02):
            state = ReadingState.NO_DATA
        elif self.fault("nan", 0.02):
            state = ReadingState.NAN
        shown = value if state is ReadingState.VALUE else None
        return tuple(Reading(q.name, q.promql, state, shown, now if shown else None, now) for q in queries)

    # --- Alertmanager ---------------------------------------------------------------------------------------------

    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        if self.fault("alertmanager unreachable", 0.1):
            return None
        return [alert for alert in self.alerts if alert["status"] == "firing"]

    # --- Claude ---------------------------------------------------------------------------------------------------

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        # Its own chances: what Claude says must not shift what else happens (law 2 is tested by changing it).
        for outcome in ("overloaded", "refusal", "timeout", "bad_answer"):
            if not self.calm and self.model.random() < 0.08:
                self.reached.faults[f"diagnosis {outcome}"] += 1
                return NoDiagnosis(outcome, outcome)
        action = self.model.choice([*case.actions, "approve everything", None])
        confidence = self.model.choice(["0", "0.5", "1"])
        claim = Claim("error_ratio is high", ("q1",))
        return Diagnosis("s", "c", (claim,), action, confidence, "", 0, "m", "r", Usage(), 0.1, "p", "a")

    # --- the carrier ----------------------------------------------------------------------------------------------

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        self.alive()
        if self.fault("carrier refuses", 0.05):
            return NotSent("opted_out", "blocked")
        if self.fault("carrier unreachable", 0.08):
            return NotSent("unreachable", "no answer", 5.0)
        self.inbox.append(message)
        if self.fault("carrier loses the answer", 0.05):
            return NotSent("unreachable", "time-out after it was taken", 5.0)
        sid = "SM" + hashlib.sha256(f"{message.message_id}:{len(self.inbox)}".encode()).hexdigest()[:32]
        self.sids[message.message_id] = sid
        return Sent(sid, "", "")


class SimExecutors:
    """The executor behind the webhook. It restarts the shop, and keeps a record of every knock."""

    def __init__(self, world: World) -> None:
        self.world = world

    def render(self, order: Order) -> RenderedRequest:
        body = canonical({"id": order.webhook_id, "action": order.action, "params": dict(order.params)}).decode()
        parts = {"executor": order.executor, "method": "POST", "address": "http://127.0.0.1/run", "body": body}
        return RenderedRequest(**parts, digest=hashlib.sha256(canonical(parts)).hexdigest())

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime) -> ExecutionResult:
        world = self.world
        world.alive()
        if world.fault("executor refuses the connection", 0.3):
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "connection refused")
        known = world.dispatched.get(webhook_id) == request.digest
        world.sendings.append(Sending(webhook_id, request.digest, world.clock.now(), world.halted, known))
        if world.fault("request lost on the way", 0.05):
            return ExecutionResult(ExecutionOutcome.UNKNOWN, "time-out after the request was written")
        world.ran[webhook_id] += 1
        if world.fault("action fails", 0.15):
            return ExecutionResult(ExecutionOutcome.FAILED, "exit code 1", 200)
        if world.fault("accepted, result later", 0.1):
            world.running.append(webhook_id)
            return ExecutionResult(ExecutionOutcome.ACCEPTED, "202", 202)
        if not world.fault("action does not help", 0.1):
            world.heals()
        if world.fault("killed while the request is out", 0.1):
            world.dead = True
            raise Crash("between the request and its answer")
        if world.fault("answer lost", 0.1):
            return ExecutionResult(ExecutionOutcome.UNKNOWN, "time-out after the request was written")
        return ExecutionResult(ExecutionOutcome.EXECUTED, "exit code 0", 200, "restarted")


class SimJournal:
    """The real journal, with crashes before and after a post, and a disk that is full for a while."""

    def __init__(self, journal: Journal, world: World) -> None:
        self._journal = journal
        self._world = world
        self.crashes = 0.0
        self.full = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        world = self._world
        world.alive()
        stages = "+".join(sorted({draft.stage for draft in drafts}))
        if world.fault("disk full", self.full):
            raise Unavailable("no space left on the device")
        if world.fault("crash before a post", self.crashes):
            world.dead = True
            raise Crash(f"before {stages}")
        receipt = await self._journal.post(tenant, drafts)
        for entry in receipt.entries:
            if entry.stage == "DISPATCHED":
                world.dispatched[entry.body["webhook_id"]] = entry.body["digest"]
            elif entry.stage == "HALTED":
                world.halted = True
            elif entry.stage == "RESUMED":
                world.halted = bool([e for e in await self._journal.outstanding(tenant) if e.stage == "HALTED"])
        if world.fault("crash after a post", self.crashes):
            world.dead = True
            raise Crash(f"after {stages}")
        return receipt


def rfc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
