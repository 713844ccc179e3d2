"""Each story plays once what chance would bring in a thousand histories."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ledger.entry import Draft
from ledger.journal import Receipt
from tests.simulation import history
from tests.simulation.audited import Copy, differences
from tests.simulation.history import TENANT
from tests.simulation.stories import begun, passes


async def test_a_doubt_from_an_older_policy_is_settled_after_a_restart() -> None:
    told = await begun()
    await history.breaks(told)
    await passes(told, 60)
    told.world.fault = lambda name, chance: name == "answer lost"  # type: ignore[method-assign]
    await history.approve(told)
    await told.rest()
    told.world.fault = lambda name, chance: False  # type: ignore[method-assign]
    await history.heals(told)
    await passes(told, 120)
    assert not told.desk.book.open
    assert not told.desk.book.watches
    assert told.desk.book.suspense
    await history.reload(told)
    await passes(told, 60)
    await told.boot()
    (proposal,) = told.desk.book.suspense.values()
    changes = history.GovernorChanges(told.desk)
    await changes.settle(proposal.incident_id, "rudo", "did_not_run", "looked at the machine")
    await told.rest()
    assert not told.desk.book.suspense
    assert not told.desk.book.news
    await told.real.close()


async def test_what_is_decided_while_another_policy_is_adopted_is_decided_anew() -> None:
    """The tap is in, policy looks once more, and at that moment another policy comes into force."""
    told = await begun()
    await history.breaks(told)
    await passes(told, 60)
    asked, answer = asyncio.Event(), asyncio.Event()
    ask, post = told.world.ask, told.journal.post

    async def ask_slowly(*given: Any, **how: Any) -> Any:
        asked.set()
        await answer.wait()
        return await ask(*given, **how)

    async def post_slowly(tenant: str, drafts: Sequence[Draft]) -> Receipt:
        receipt = await post(tenant, drafts)
        if drafts[0].stage == "ADOPTED":  # it stands, and the governor does not know yet
            answer.set()
            for _ in range(20):
                await asyncio.sleep(0)
        return receipt

    told.world.ask = ask_slowly  # type: ignore[method-assign]
    told.journal.post = post_slowly  # type: ignore[method-assign]
    await history.approve(told)
    for _ in range(5):
        await told.governor.turn()
    async with asyncio.timeout(5):
        await asked.wait()
    await history.reload(told)
    await told.rest()
    entries = await told.entries()
    stages = [entry.stage for entry in entries]
    assert "APPROVED" in stages[: stages.index("ADOPTED", 2)]
    assert "WITHDRAWN" in stages  # an answer counts for the policy that it was asked under
    assert differences(await Copy.of(told.real, TENANT, entries)) == []
    assert "AUTHORIZED" not in stages
    await told.real.close()
