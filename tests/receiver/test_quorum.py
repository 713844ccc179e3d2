"""Several who must approve: each sees who has and how many are missing; one no ends it; nobody counts twice."""

from __future__ import annotations

import pytest

from tests.receiver.governed import POLICY, Governed

TWO = POLICY.replace("[oncall, leads]", "[oncall, leads], quorum: 2")
PEOPLE = {"tendai": ("oncall",), "farai": ("oncall",), "ruth": ("leads",)}


@pytest.fixture
async def governed() -> Governed:
    made = Governed(TWO, PEOPLE)
    await made.governor.start()
    await made.fire()
    return made


async def test_everybody_who_was_asked_sees_who_has_approved_and_who_is_missing(governed: Governed) -> None:
    await governed.hear("tendai", f"A {governed.question('tendai').variables['code']}")
    assert governed.told("tendai")[-1] == "Counted. 1 more of farai, ruth must approve."
    for name in ("farai", "ruth"):
        assert governed.told(name)[-1] == "tendai approved remove old files. 1 more of farai, ruth must approve."
    await governed.hear("ruth", "detail")
    assert governed.question("ruth").variables["action"] == (
        "remove old files (2 people must approve); approved by tendai"
    )
    assert governed.executors.ran == []
    await governed.hear("ruth", "Approve", payload=f"approve.{governed.question('ruth').token}")
    assert [entry.body["approved_by"] for entry in governed.entries("AUTHORIZED")] == [["ruth", "tendai"]]
    assert len(governed.executors.ran) == 1


async def test_one_no_ends_it_whoever_approved_before(governed: Governed) -> None:
    await governed.hear("tendai", f"A {governed.question('tendai').variables['code']}")
    await governed.hear("farai", f"R {governed.question('farai').variables['code']}")
    await governed.hear("ruth", f"A {governed.question('ruth').variables['code']}")
    assert [entry.reason for entry in governed.entries("REJECTED")] == ["declined by farai"]
    assert governed.told("ruth")[-1].startswith("Not counted: already rejected by farai")
    assert governed.executors.ran == []


async def test_the_same_person_counts_once(governed: Governed) -> None:
    code = governed.question("tendai").variables["code"]
    for _ in range(3):
        await governed.hear("tendai", f"A {code}")
    assert len(governed.entries("APPROVED")) == 1
    assert governed.told("tendai")[-1] == "Not counted: you have approved this already."
    assert governed.executors.ran == []
