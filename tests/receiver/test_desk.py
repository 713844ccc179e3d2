"""The desk: the governor and a request fold the same log at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.entry import Draft, Entry
from policy_rules.casebook.cases import Case
from policy_rules.loading import load
from receiver.governor.changes import GovernorChanges
from receiver.governor.desk import Charter, Desk
from receiver.metrics import Metrics
from receiver.papers import ExecutionOutcome, ExecutionResult, RenderedRequest
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock, CaseExecutors, Outside
from tests.receiver import governed as governed_
from tests.receiver.governed import Governed

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
POLICY = "policy: {name: p, version: '1'}\nrules: []\n"


class SlowJournal(MemoryJournal):
    """Reading takes a moment, in which somebody else may read too."""

    async def entries(self, tenant: str, **chosen: Any) -> list[Entry]:
        found = await super().entries(tenant, **chosen)
        await asyncio.sleep(0)
        return found


def desk_of(journal: MemoryJournal, clock: CaseClock) -> Desk:
    case = Case("none", 1, NOW, 30, (), {}, (), ())
    outside = Outside(case, clock)
    return Desk(
        tenant="default",
        journal=journal,
        clock=clock,
        evidence=outside,
        alert_source=outside,
        diagnostician=outside,
        carrier=outside,
        executors=CaseExecutors(outside),
        charter=Charter(load(POLICY, file="p", environment={}), {}, {}),
        metrics=Metrics(),
        secret=b"desk",
    )


def notes(count: int) -> Sequence[Draft]:
    return [Draft(id=f"note:{n}", stage="NOTED", actor="system", body={"kind": "note"}) for n in range(count)]


async def test_folds_at_the_same_time_take_each_entry_once() -> None:
    clock = CaseClock(NOW)
    journal = SlowJournal("default", clock.now)
    desk = desk_of(journal, clock)
    await journal.post("default", notes(20))
    folded = await asyncio.gather(*(desk.fold() for _ in range(5)))
    assert sum(folded) == desk.book.size == 20


def kept(desk: Desk) -> list[int]:
    """How much the desk keeps of watches, incidents and runs."""
    of_each = (desk.looked, desk.memories, desk.holds, desk.decided, desk.nudged, desk.attempts, desk.accepted)
    return [len(one) for one in of_each]


async def test_what_has_ended_is_forgotten() -> None:
    governed = Governed(governed_.POLICY.replace("firing == 0]", "firing == 0], for: 1m"))
    desk = governed.desk
    await governed.governor.start()
    for number in range(3):
        await governed.fire(f"db{number}")
    (recovering, *_), opened = desk.book.open.values(), len(desk.book.open)
    await governed.hear("ruth", "Approve", payload=f"approve.{governed.question('ruth').token}")
    await governed.fire("db0", firing=False)
    await governed.after(30)
    assert recovering.open
    assert len(desk.looked) == len(desk.memories) == len(desk.decided) == opened == 3
    assert list(desk.holds) == [recovering.index]
    await governed.after(60)
    assert not recovering.open
    assert recovering.index not in desk.looked
    for incident in list(desk.book.open):
        await GovernorChanges(desk).close(incident, "ruth", "over")
    await governed.rest()
    assert kept(desk) == [0] * 7


async def test_a_watch_that_is_cleared_is_forgotten() -> None:
    text = governed_.POLICY.replace("    recover:", "    detect: {when: [alerts.firing >= 1], for: 5m}\n    recover:")
    governed = Governed(text)
    await governed.governor.start()
    await governed.fire("db0")
    (watch,) = governed.desk.book.watches
    assert list(governed.desk.looked) == list(governed.desk.holds) == [watch]
    await governed.fire("db0", firing=False)
    assert not governed.desk.book.watches
    assert kept(governed.desk) == [0] * 7


class OnceDeaf(CaseExecutors):
    """The first attempt reaches nobody."""

    async def send(
        self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: str | None = None
    ) -> ExecutionResult:
        result = await super().send(request, webhook_id=webhook_id, deadline=deadline, proof=proof)
        first = len(self.ran) == 1
        return ExecutionResult(ExecutionOutcome.NOT_SENT, "the connection is refused") if first else result


async def test_how_often_a_run_was_tried_is_forgotten_with_it() -> None:
    governed = Governed()
    governed.desk.executors = OnceDeaf(governed.outside)
    await governed.governor.start()
    await governed.fire("db0")
    await governed.hear("ruth", "Approve", payload=f"approve.{governed.question('ruth').token}")
    assert list(governed.desk.attempts.values()) == [1]
    await governed.after(10)
    assert governed.entries("EXECUTED")
    assert governed.desk.attempts == {}
