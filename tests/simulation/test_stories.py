"""Each story plays once what chance would bring in a thousand histories."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.entry import Draft
from ledger.journal import Receipt
from tests.simulation import happenings
from tests.simulation.audited import differences
from tests.simulation.stories import TENANT, Told


async def reloads(told: Told) -> None:
    told.site.terms = replace(told.site.terms, version=told.site.terms.version + 1)
    told.governors[TENANT].reload(told.site.charter())


async def test_a_doubt_from_an_older_policy_is_settled_after_a_restart() -> None:
    told = Told()
    await told.begin()
    await told.breaks()
    await told.passes(60)
    told.world.fault = lambda name, chance: name == "executor: answer lost"  # type: ignore[method-assign]
    await told.approves("rudo")
    await told.rest()
    told.world.fault = lambda name, chance: False  # type: ignore[method-assign]
    await told.heals()
    await told.passes(120)
    book = told.desks[TENANT].book
    assert not book.open
    assert not book.watches
    assert book.suspense
    await reloads(told)
    await told.passes(60)
    await told.bury()
    await told.boot()
    book = told.desks[TENANT].book
    (proposal,) = book.suspense.values()
    assert await happenings.by_hand(told, told.site, "resolve", "rudo", proposal.incident_id) == 200
    await told.rest()
    assert not book.suspense
    assert not book.news
    told.check()
    await told.over()


async def test_what_is_decided_while_another_policy_is_adopted_is_decided_anew() -> None:
    """The tap is in, policy looks once more, and at that moment another policy comes into force."""
    told = Told()
    await told.begin()
    await told.breaks()
    await told.passes(60)
    asked, answer = asyncio.Event(), asyncio.Event()
    evidence = told.desks[TENANT].evidence
    ask, post = evidence.ask, told.journal.post

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

    evidence.ask = ask_slowly  # type: ignore[method-assign]
    told.journal.post = post_slowly  # type: ignore[method-assign]
    await told.approves("rudo")
    for _ in range(5):
        await told.governors[TENANT].turn()
    async with asyncio.timeout(5):
        await asked.wait()
    await reloads(told)
    await told.rest()
    stages = [entry.stage for entry in told.log]
    assert "APPROVED" in stages[: stages.index("ADOPTED", 2)]
    assert "WITHDRAWN" in stages  # an answer counts for the policy that it was asked under
    assert differences(await told.copy()) == []
    assert "AUTHORIZED" not in stages
    told.check()
    await told.over()


async def test_what_claude_says_after_the_close_is_booked_and_moves_nothing() -> None:
    told = Told()
    told.world.fault = lambda name, chance: name == "diagnosis: slow"  # type: ignore[method-assign]
    told.world.release = lambda: False  # type: ignore[method-assign]
    await told.begin()
    await told.breaks()
    while not told.world.held:
        await told.passes(10)
    (incident,) = told.models[TENANT].cases
    assert await happenings.by_hand(told, told.site, "close", "rudo", incident) == 200
    await told.rest()
    size = len(told.log)
    told.world.held[0].gate.set_result(None)
    await told.rest()
    assert [entry.stage for entry in told.log[size:]] == ["DIAGNOSED"]
    assert told.reached.explained == {"DIAGNOSED after the end": 1}
    told.check()
    await told.over()
