"""The ladder is climbed early when nobody of the step before can be reached."""

from __future__ import annotations

import pytest

from receiver.papers import NotSent
from tests.receiver.governed import POLICY, Governed

BLOCKED = NotSent("opted_out", "63014")


@pytest.fixture
async def governed() -> Governed:
    # The question goes to tendai alone, and the leads are called after five minutes.
    made = Governed(POLICY.replace("roles: [oncall, leads]", "roles: [oncall]"))
    await made.governor.start()
    return made


def steps(governed: Governed) -> list[int]:
    return [entry.body["step"] for entry in governed.entries("ESCALATED")]


async def test_it_waits_for_whoever_may_still_be_reached(governed: Governed) -> None:
    await governed.fire()
    await governed.after(299)
    assert governed.told("ruth") == []
    await governed.after(1)
    (said,) = governed.told("ruth")
    assert "Open for 5 min, since 09:00 UTC, and nobody has decided." in said
    assert "could be reached" not in said


async def test_it_waits_for_nobody_who_cannot_be(governed: Governed) -> None:
    governed.outside.refuses["tendai"] = BLOCKED
    await governed.fire()
    (said,) = governed.told("ruth")
    assert said.endswith("None of those who were called before could be reached.")
    assert steps(governed) == [0, 1]
    await governed.after(1500)
    assert steps(governed) == [0, 1]


async def test_one_of_two_who_can_be_reached_is_enough_to_wait_for() -> None:
    governed = Governed(
        POLICY.replace("roles: [oncall, leads]", "roles: [oncall]"),
        {"tendai": ("oncall",), "farai": ("oncall",), "ruth": ("leads",)},
    )
    await governed.governor.start()
    governed.outside.refuses["tendai"] = BLOCKED
    await governed.fire()
    await governed.after(60)
    assert governed.told("ruth") == []


async def test_whoever_can_be_tried_again_is_waited_for(governed: Governed) -> None:
    governed.outside.refuses["tendai"] = NotSent("unreachable", "no answer", 10.0)
    await governed.fire()
    await governed.after(60)
    assert governed.told("ruth") == []
