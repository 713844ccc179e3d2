"""The desk: the governor and a request fold the same log at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.entry import Draft, Entry
from policy_rules.casebook.cases import Case
from policy_rules.loading import load
from receiver.governor.desk import Charter, Desk
from receiver.metrics import Metrics
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock, CaseExecutors, Outside

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
