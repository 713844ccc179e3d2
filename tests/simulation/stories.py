"""Histories that are written and not drawn: a world in which nothing fails unless the story says so."""

from __future__ import annotations

from tests.simulation import history
from tests.simulation.audited import Copy
from tests.simulation.history import KEY, TENANT, History
from tests.simulation.inline import InlineJournal
from tests.simulation.world import Reached


async def begun(seed: int = 1, quorum: int = 1) -> History:
    """A history at its beginning, in a world in which nothing fails unless the story says so."""
    told = History(seed, Reached())
    told.quorum, told.idempotent = quorum, False
    told.world.fault = lambda name, chance: False  # type: ignore[method-assign]
    told.real = await InlineJournal.open(
        ":memory:",
        origin="sim.example",
        key=KEY,
        anchor_path=None,
        clock=told.world.clock.now,
        tenants=[TENANT],
        durable=False,
    )
    await told.boot()
    return told


async def passes(told: History, seconds: int) -> None:
    for _ in range(0, seconds, 10):
        told.world.clock.advance(10)
        await told.rest()


async def recovery(quorum: int = 1) -> Copy:
    """A recovery from alert to end, with a hold, and a halt before the dispatch; then an alarm that was none."""
    told = await begun(quorum=quorum)
    await history.breaks(told)
    await passes(told, 60)
    for person in history.PEOPLE[:quorum]:
        await answers(told, person)
    await history.GovernorChanges(told.desk).halt("chipo", "wait")
    await told.rest()
    await passes(told, 30)
    await history.GovernorChanges(told.desk).resume("tendai", "go on")
    await passes(told, 20)
    await history.notify(told)
    await passes(told, 180)
    await history.heals(told)
    await passes(told, 90)
    await history.breaks(told)
    await passes(told, 10)
    await history.heals(told)
    await passes(told, 20)
    entries = await told.entries()
    copy = await Copy.of(told.real, TENANT, entries)
    await told.real.close()
    return copy


async def answers(told: History, person: str) -> None:
    """That person taps Approve on the newest question that they were asked, and nothing is judged yet."""
    message = [m for m in told.world.inbox if m.token and m.recipient.name == person][-1]
    told.number += 1
    body = history._answer(told, message, person, "approve")
    draft = history.Draft(id=f"heard:SM{told.number}", stage="HEARD", actor="carrier:whatsapp", body=body)
    await told.journal.post(TENANT, [draft])
