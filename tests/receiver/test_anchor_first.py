"""Nothing leaves before its anchor is written: an entry stands, and is acknowledged, before that."""

from __future__ import annotations

import asyncio

from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock
from tests.receiver.governed import NOW, TENANT, Governed


class Late(MemoryJournal):
    """One whose entries are read before their anchor is written."""

    def __init__(self, clock: CaseClock) -> None:
        super().__init__(TENANT, clock.now)
        self.written = asyncio.Event()

    async def anchored(self, tenant: str, index: int) -> bool:
        await self.written.wait()
        return True


async def test_a_dispatch_that_is_read_before_it_is_anchored_is_not_sent() -> None:
    clock = CaseClock(NOW)
    journal = Late(clock)
    governed = Governed(journal=journal, clock=clock)
    await governed.fire()
    mine = (m for m in governed.outside.messages if m.recipient.name == "tendai" and m.token is not None)
    question = next(mine)
    working = asyncio.create_task(governed.hear("tendai", "Approve", payload=f"approve.{question.token}"))
    for _ in range(100):
        await asyncio.sleep(0)
    assert "DISPATCHED" in [entry.stage for entry in journal.log]
    assert governed.executors.ran == []
    journal.written.set()
    await working
    assert len(governed.executors.ran) == 1
    assert "EXECUTED" in [entry.stage for entry in journal.log]


class Hung(MemoryJournal):
    """One whose anchor gave no answer when it was asked about the dispatch, and is well when that is known."""

    def __init__(self, clock: CaseClock) -> None:
        super().__init__(TENANT, clock.now)
        self.covers = False
        self.asked = 0

    async def anchored(self, tenant: str, index: int) -> bool:
        self.asked += 1
        return self.covers


async def test_a_dispatch_whose_anchor_gave_no_answer_waits_until_it_does() -> None:
    clock = CaseClock(NOW)
    journal = Hung(clock)
    governed = Governed(journal=journal, clock=clock)
    await governed.fire()
    question = next(m for m in governed.outside.messages if m.recipient.name == "tendai" and m.token is not None)
    await governed.hear("tendai", "Approve", payload=f"approve.{question.token}")
    assert journal.asked == 1
    assert governed.executors.ran == []
    journal.covers = True
    await governed.after(10)
    assert len(governed.executors.ran) == 1
    assert "EXECUTED" in [entry.stage for entry in journal.log]
