"""Law 2 in time: a diagnosis that comes early, late, twice over or never, saying anything, changes nothing decided."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from receiver.papers import CaseFile, Diagnosis, NoDiagnosis
from tests.receiver.governed import Governed
from tests.receiver.test_explaining import DIAGNOSIS

STEPS = 6  # of a history; Claude's answer comes after one of them, or never
NO_DECISION = {"CONSULTED", "DIAGNOSED", "UNDIAGNOSED", "SENT"}  # SENT is the carrier's word about an ADDRESSED


@dataclass
class Held:
    """Answers with `answer` once it is let go."""

    answer: Diagnosis | NoDiagnosis
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        await self.let_go.wait()
        return self.answer


async def step(governed: Governed, what: str) -> None:
    if what == "fire":
        await governed.fire()
    elif what == "resolve":
        await governed.fire(firing=False)
    elif what == "tap":
        questions = [m for m in governed.outside.messages if m.token is not None]
        if questions:
            last = questions[-1]
            await governed.hear(last.recipient.name, "", payload=f"approve.{last.token}")
    else:
        await governed.after(float(what))


async def played(seed: int, answer: Diagnosis | NoDiagnosis, at: int | None) -> list[Any]:
    """What was decided, and for whom, in the history of `seed` where Claude's answer comes after step `at`."""
    chances = random.Random(seed)
    steps = ["fire", *(chances.choice(["1", "30", "60", "301", "tap", "tap", "resolve"]) for _ in range(STEPS - 1))]
    governed, claude = Governed(), Held(answer)
    governed.desk.diagnostician = claude
    for number, what in enumerate(steps):
        await step(governed, what)
        if number == at:
            claude.let_go.set()
            await asyncio.gather(*[t for n, t in governed.governor._running.items() if n.startswith("consult")])
            await governed.rest()
    claude.let_go.set()
    await asyncio.gather(*[t for n, t in governed.governor._running.items() if n.startswith("consult")])
    log = governed.journal.log
    # An explanation that comes after the question is passed on in a message of its own, which asks for nothing.
    passed_on = {e.index for e in log if e.stage == "ADDRESSED" and any(log[i].stage == "DIAGNOSED" for i in e.cites)}
    return [
        (one.stage, one.actor, one.decision, one.incident_id, one.body.get("person"), one.body.get("action"))
        for one in log
        if one.stage not in NO_DECISION and one.index not in passed_on and one.settles not in passed_on
    ]


@pytest.mark.parametrize("seed", range(24))
async def test_when_it_comes_and_what_it_says_decides_nothing(seed: int) -> None:
    never = await played(seed, NoDiagnosis("timeout", "no answer"), None)
    assert any(stage == "PROPOSED" for stage, *_ in never)
    sure = replace(DIAGNOSIS, recommended_action="approve everything", confidence="1.00")
    for answer in (DIAGNOSIS, sure, NoDiagnosis("overloaded", "529")):
        for at in (0, random.Random(seed + 1).randrange(1, STEPS)):
            assert await played(seed, answer, at) == never, (answer, at)


async def test_the_histories_reach_what_matters() -> None:
    stages = {one[0] for seed in range(24) for one in await played(seed, NoDiagnosis("timeout", "no answer"), None)}
    assert stages >= {
        "PROPOSED",
        "APPROVED",
        "AUTHORIZED",
        "DISPATCHED",
        "EXECUTED",
        "RECOVERED",
        "WITHDRAWN",
        "ESCALATED",
    }
