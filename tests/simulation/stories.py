"""Histories that are written and not drawn: a world in which nothing fails unless the story says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.entry import Entry
from tests.simulation import happenings, terms
from tests.simulation.audited import Copy
from tests.simulation.history import History
from tests.simulation.reached import Reached
from tests.simulation.terms import Terms
from tests.simulation.world import Site

TENANT = "acme"
ASKED = ("tendai", "rudo", "chipo")


class Told(History):
    """A history of one tenant whose first policy is given, and in which nothing is drawn."""

    def __init__(self, **agreed: Any) -> None:
        super().__init__(1, Reached(), tenants=(TENANT,))
        self.world.calm = True
        self.site.terms = Terms(TENANT, **agreed)
        # farai leads, and may approve what the others may; the story is shorter without.
        self.site.staff = {name: terms.staff(TENANT)[name] for name in ASKED}

    @property
    def site(self) -> Site:
        return self.world.sites[TENANT]

    @property
    def log(self) -> Sequence[Entry]:
        return self.models[TENANT].entries

    async def breaks(self, name: str = "checkout") -> None:
        self.site.breaks(name)
        await happenings.notify(self, self.site)

    async def heals(self, name: str = "checkout") -> None:
        self.site.heals(name)
        await happenings.notify(self, self.site)

    async def passes(self, seconds: int) -> None:
        for _ in range(0, seconds, 10):
            self.world.clock.advance(10)
            await self.rest()

    async def approves(self, person: str) -> None:
        """That person taps Approve on the newest question that they were asked."""
        text = [text for text in self.world.texts if text.token and text.name == person][-1]
        form = happenings.button("approve", text.token, text.sid)
        await happenings.say(self, text.phone, form, "approve", text, original=text.sid)

    async def copy(self) -> Copy:
        return await Copy.of(self.real, TENANT, self.log)


async def recovery(quorum: int = 1) -> Copy:
    """A recovery from alert to end, with a hold, and a halt before the dispatch; then an alarm that was none."""
    told = Told(quorum=quorum)
    await told.begin()
    await told.breaks()
    await told.passes(60)
    for person in ASKED[: quorum - 1]:
        await told.approves(person)
    await happenings.by_hand(told, told.site, "halt", "chipo")
    await told.approves(ASKED[quorum - 1])
    await told.rest()
    await told.passes(30)
    await happenings.by_hand(told, told.site, "resume", "tendai")
    await told.passes(20)
    await happenings.notify(told, told.site)
    await told.passes(180)
    await told.heals()
    await told.passes(90)
    await told.breaks()
    await told.passes(10)
    await told.heals()
    await told.passes(20)
    told.check()
    copy = await told.copy()
    await told.over()
    return copy
