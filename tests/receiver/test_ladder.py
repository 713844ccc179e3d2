"""The ladder is climbed early when nobody of the step before can be reached."""

from __future__ import annotations

import pytest

from receiver.governor.changes import GovernorChanges
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


ONE_STEP = POLICY.replace("roles: [oncall, leads]", "roles: [oncall]").replace(
    '      - {after: 5m, notify: ["role:leads"]}\n', ""
)


async def test_where_all_who_were_written_to_are_suspended_others_hear_more_of_it() -> None:
    governed = Governed(ONE_STEP)
    await governed.governor.start()
    await governed.fire()
    assert governed.told("ruth") == []
    before = len(governed.told("tendai"))
    await GovernorChanges(governed.desk).suspend("operator", "tendai", "on leave")
    await governed.rest()
    assert "tendai may not answer any more" in governed.told("ruth")[-1]
    await governed.after(1800)
    assert governed.told("ruth")[-1].startswith("Still open")
    await governed.fire(firing=False)
    assert "recovered" in governed.told("ruth")[-1].lower()
    assert len(governed.told("tendai")) == before


async def test_where_all_who_were_written_to_opted_out_those_hear_more_whom_the_rule_asks_first() -> None:
    governed = Governed(ONE_STEP)
    await governed.governor.start()
    await governed.fire()
    await governed.hear("tendai", "STOP")
    before = len(governed.told("ruth"))
    others = Governed(ONE_STEP, {"tendai": ("oncall",), "ruth": ("leads",), "farai": ("oncall",)})
    governed.governor.reload(others.desk.charter)
    await governed.after(60)
    await governed.fire(firing=False)
    assert "recovered" in governed.told("farai")[-1].lower()
    assert len(governed.told("ruth")) == before
