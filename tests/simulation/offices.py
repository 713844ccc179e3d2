"""The ports of the service, faked: each is slow, wrong or gone when the seed says so, and writes down what it saw."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Draft, canonical
from ledger.journal import Journal, Receipt, Unavailable
from policy_rules.readings import Query, Reading, ReadingState
from receiver.authorization.message_list import Listed
from receiver.papers import (
    NOTICE,
    SMS,
    VOICE,
    WHATSAPP,
    CaseFile,
    Claim,
    Diagnosis,
    ExecutionOutcome,
    ExecutionResult,
    Exhibit,
    Gathered,
    Inquiry,
    NoDiagnosis,
    NotSent,
    Order,
    OutgoingMessage,
    RenderedRequest,
    Sent,
    Usage,
)
from tests.simulation.model import Model
from tests.simulation.terms import PUBLIC_URL
from tests.simulation.world import Knock, Read, Site, Text, World

SIDS = {"voice": "CA", "notice": "notice-"}
SEND_SECONDS = 10.0  # the service's own time-out for the carrier and for an executor
# What happens seldom is where a crash is seldom tried, so there it is tried more often.
RARE = {
    *("ACKNOWLEDGED", "CLEARED", "CLOSED", "CONFIRMED", "DECLINED", "EXPIRED", "FAILED", "HALTED", "NOTED", "READ"),
    *("REJECTED", "REMINDED", "RESUMED", "UNCONFIRMED", "UNRESOLVED", "VOIDED", "WAIVED", "WRITTEN_OFF"),
}
RARE_CRASHES = 0.08
RAREST = {"VOIDED", "WAIVED", "WITHDRAWN", "WRITTEN_OFF"}
RAREST_CRASHES = 0.3
# Claude takes its time in some histories: until after the tap, the close, or when nobody waits any more.
LATE = {"diagnosis: late": 25.0, "diagnosis: never": 1200.0}
_BROKEN = ("error", "no_data", "nan", "many_series", "stale")


class SimPrometheus:
    """What a shop's number is, or one of the ways in which it is not to be had."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.latest: dict[str, Reading] = {}

    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        world = self.site.world
        world.alive()
        too_slow = await world.hold("prometheus: slow", 0.05, timeout_seconds)
        return tuple(self._answer(query, fresh_seconds, too_slow) for query in queries)

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        """Whatever it answers, and however late, decides nothing: its chances are those of Claude."""
        world = self.site.world
        world.alive()
        if not self.site.prometheus_up:
            return Gathered(cut=("the policy's signals: it does not answer",))
        shown = Exhibit(
            "", "workers_busy", "workers_busy", world.clock.now(), {"now": "7", "z": "12"}, kind="candidate"
        )
        return Gathered(candidates=(shown,))

    def _answer(self, query: Query, fresh_seconds: float, too_slow: bool) -> Reading:
        world = self.site.world
        now = world.clock.now()
        before = self.latest.get(query.promql)
        if before is not None and timedelta(0) <= now - before.asked_at <= timedelta(seconds=fresh_seconds):
            return before
        service = query.promql.partition('service="')[2].partition('"')[0]
        state, sampled = ReadingState.VALUE, now
        if too_slow or not self.site.prometheus_up or world.fault("prometheus: unreachable", 0.03):
            state = ReadingState.UNREACHABLE
        elif (wrong := world.rng.choice(_BROKEN)) and world.fault(f"prometheus: {wrong}", 0.05):
            # Some servers answer with an old sample and leave it to whoever asked to notice.
            state = ReadingState(wrong) if wrong != "stale" or world.rng.random() < 0.5 else ReadingState.VALUE
            sampled = now - timedelta(minutes=3) if wrong == "stale" else now
        value = self.site.shops[service].health if state is ReadingState.VALUE else None
        known = state.value if sampled == now else "stale"
        world.reads.append(Read(self.site.tenant, service, known, value, now))
        reading = Reading(query.name, query.promql, state, value, sampled if value else None, now)
        if value is not None:
            self.latest[query.promql] = reading
        return reading


class SimAlertmanager:
    def __init__(self, site: Site) -> None:
        self.site = site

    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        self.site.world.alive()
        if self.site.world.fault("alertmanager: unreachable", 0.1):
            return None
        return [alert for alert in self.site.alerts() if alert["status"] == "firing"]


class SimClaude:
    """Says anything, with any confidence, or nothing."""

    def __init__(self, world: World, *, prompt: bool) -> None:
        self.world = world
        self.prompt = prompt

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        world = self.world
        world.alive()
        if not self.prompt and await world.hold("diagnosis: slow", 0.15, timeout_seconds):
            return NoDiagnosis("timeout", "no answer in time")
        for name, seconds in LATE.items():
            # The port must not do this, and the governor counts on it in nothing.
            if not self.prompt and name in world.chances:
                await world.hold(name, 0.0, seconds, stubborn=True)
        # Its own chances: what Claude says must not shift what else happens.
        for outcome in ("overloaded", "refusal", "timeout", "bad_answer"):
            if not world.calm and world.claude.random() < 0.08:
                world.reached.faults[f"diagnosis: {outcome}"] += 1
                return NoDiagnosis(outcome, outcome)
        action = world.claude.choice([*case.actions, "approve everything", None])
        confidence = world.claude.choice(["0", "0.5", "1"])
        claim = Claim("error_ratio is high", ("q1",))
        return Diagnosis("s", "c", (claim,), action, confidence, "", 0, "m", "r", Usage(), 0.1, "p", "a")


class SimCarrier:
    """Takes messages to phones; it may lose its answer after it took one."""

    def __init__(self, site: Site, model: Model) -> None:
        self.site = site
        self.model = model

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        world = self.site.world
        world.alive()
        if world.fault("carrier: refuses", 0.03):
            return NotSent("opted_out", "blocked")
        if world.fault("carrier: limit", 0.03):
            return NotSent("daily_limit", "the limit of the day is reached", 60.0)
        if world.fault("carrier: unreachable", 0.05):
            return NotSent("unreachable", "no answer", 5.0)
        if message.channel == VOICE and world.fault("call: not placed", 0.08):
            return NotSent("unreachable", "the carrier took the call and said failed at once", 10.0)
        too_slow = await world.hold("carrier: slow", 0.06, SEND_SECONDS)
        tenant, _, index = message.message_id.rpartition("-")
        number = hashlib.sha256(f"{message.message_id}:{len(world.texts)}".encode()).hexdigest()[:32]
        sid = f"{SIDS.get(message.channel, 'SM')}{number}"
        page = message.variables.get("page", "").removeprefix(PUBLIC_URL)
        text = Text(
            tenant,
            int(index),
            message.recipient.name,
            message.recipient.address,
            message.kind.value,
            message.token if message.channel == WHATSAPP else None,  # a call has no buttons
            message.variables.get("code"),
            sid,
            world.clock.now(),
            message.channel,
            page if message.channel == WHATSAPP and page else None,
            world.clock.elsewhere(),
        )
        ways = {VOICE: message.recipient.phone, SMS: message.recipient.phone}
        notices = message.recipient.notices[0] if message.recipient.notices else None
        to = notices if message.channel == NOTICE else ways.get(message.channel, message.recipient.address)
        self.model.text(text, to)
        world.texts.append(text)
        if too_slow or world.fault("carrier: loses the answer", 0.05):
            return NotSent("unreachable", "time-out after it was taken", 5.0)
        if message.channel == NOTICE:
            world.said[f"DELIVERED {tenant} {index}"] += 1
        return Sent(sid, "", "")


class SimList:
    """The carrier's own list of messages, by its own clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def since(self, moment: datetime, known: Callable[[str], bool]) -> list[Listed] | NotSent:
        world = self.world
        world.alive()
        if world.fault("list: unreachable", 0.1):
            return NotSent("unreachable", "no answer", 5.0)
        heard = [
            Listed(row.sid, True, row.sender, row.body, "received", "", row.at)
            for row in world.listed
            if row.shown <= world.clock.elapsed
        ]
        ours = [
            Listed(text.sid, False, "whatsapp:+1", "", *world.statuses.get(text.sid, ("sent", "")), text.listed_at)
            for text in world.texts
        ]
        rows = [row for row in (*heard, *ours) if row.at >= moment and not known(row.sid)]
        return sorted(rows, key=lambda row: row.at)


class SimExecutors:
    """What stands behind the webhooks: it restarts a shop, and every knock is written down."""

    def __init__(self, site: Site, model: Model) -> None:
        self.site = site
        self.model = model

    def render(self, order: Order) -> RenderedRequest:
        body = canonical(
            {"id": order.webhook_id, "tenant": order.tenant, "action": order.action, "params": dict(order.params)}
        ).decode()
        address = self.site.executors[order.executor]
        parts = {"executor": order.executor, "method": "POST", "address": address, "body": body}
        return RenderedRequest(**parts, digest=hashlib.sha256(canonical(parts)).hexdigest())

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime) -> ExecutionResult:
        world, site = self.site.world, self.site
        world.alive()
        if site.executors.get(request.executor) != request.address:
            return ExecutionResult(ExecutionOutcome.FAILED, "it is configured differently now")
        if world.fault("executor: refuses the connection", 0.25):
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "connection refused")
        knock = Knock(
            webhook_id,
            request.digest,
            site.tenant,
            world.clock.now(),
            deadline,
        )
        world.knocks.append(knock)
        self.model.knocked(knock, request)
        if world.fault("executor: busy", 0.05):
            world.knocks.remove(knock)  # it says that it did not take it
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "the executor is busy", 503, "", 3.0)
        if world.fault("executor: request lost", 0.05):
            return ExecutionResult(ExecutionOutcome.UNKNOWN, "time-out after the request was written")
        result = self._run(webhook_id, request)
        if world.fault("process: killed while the executor is asked", 0.06):
            raise world.kill("between the request and its answer")
        if await world.hold("executor: slow", 0.15, SEND_SECONDS) or world.fault("executor: answer lost", 0.06):
            return ExecutionResult(ExecutionOutcome.UNKNOWN, "time-out after the request was written")
        if world.fault("executor: gateway error", 0.04):
            return ExecutionResult(ExecutionOutcome.UNKNOWN, "a gateway before the executor answered 502", 502)
        if result.outcome in (ExecutionOutcome.EXECUTED, ExecutionOutcome.FAILED):
            site.told.add(webhook_id)
        return result

    def _run(self, webhook_id: str, request: RenderedRequest) -> ExecutionResult:
        world, site = self.site.world, self.site
        site.ran[webhook_id] += 1
        shop = request.body.partition('"service":"')[2].partition('"')[0]
        if world.fault("executor: fails", 0.12):
            site.finished.append((webhook_id, False))
            return ExecutionResult(ExecutionOutcome.FAILED, "exit code 1", 200)
        if world.fault("executor: accepts", 0.15):
            site.running.append((webhook_id, shop))
            return ExecutionResult(ExecutionOutcome.ACCEPTED, "202", 202)
        site.finished.append((webhook_id, True))
        if not world.fault("executor: does not help", 0.25):
            site.heals(shop)
        return ExecutionResult(ExecutionOutcome.EXECUTED, "exit code 0", 200, "restarted")


class SimJournal:
    """The real journal, with crashes before and after a post, a disk that is full, and an answer that is lost."""

    def __init__(self, journal: Journal, world: World) -> None:
        self._journal = journal
        self._world = world
        self.crashes = 0.0
        self.full = 0.0
        self.hears_only = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def _turn(self) -> None:
        """Others may come first: a journal of the real kind answers from a thread."""
        for _ in range(self._world.ticks.choice((0, 0, 0, 1, 2, 5))):
            await asyncio.sleep(0)
        self._world.alive()

    async def entries(self, tenant: str, **how: Any) -> list[Any]:
        await self._turn()
        found = await self._journal.entries(tenant, **how)
        await self._turn()
        return found

    async def page(self, tenant: str, **how: Any) -> Any:
        await self._turn()
        found = await self._journal.page(tenant, **how)
        await self._turn()
        return found

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        await self._turn()
        return await self._journal.blob(tenant, digest)

    async def get(self, tenant: str, index: int) -> Any:
        await self._turn()
        return await self._journal.get(tenant, index)

    async def find(self, tenant: str, id: str) -> Any:
        await self._turn()
        return await self._journal.find(tenant, id)

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        world = self._world
        await self._turn()
        world.papers.update((blob.digest, blob.data) for d in drafts if d.stage == "RECEIVED" for blob in d.blobs)
        stages = sorted({draft.stage for draft in drafts})
        if world.fault("disk: full", self.full) or (self.hears_only and stages != ["HEARD"]):
            raise Unavailable("no space left on the device")
        rare = RAREST_CRASHES if RAREST & set(stages) else RARE_CRASHES if RARE & set(stages) else 0.0
        chance = 0.0 if world.calm else max(self.crashes, rare)
        if world.rng.random() < chance:
            self._count("before", stages)
            raise world.kill(f"before {stages}")
        receipt = await self._journal.post(tenant, drafts)
        if world.rng.random() < chance:
            self._count("after", stages)
            raise world.kill(f"after {stages}")
        await self._turn()
        if world.fault("disk: answer lost", 0.004):
            raise Unavailable("it is not known whether it was written")
        return receipt

    def _count(self, when: str, stages: Sequence[str]) -> None:
        self._world.reached.crashes.update(f"{when} {stage}" for stage in stages)
