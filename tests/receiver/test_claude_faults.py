"""Whatever goes wrong with Claude: the incident opens, the person is asked in time, ledger and metrics name it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from receiver.demo.claude import ClaudeStandIn
from receiver.diagnosis import claude as claude_module
from receiver.diagnosis.claude import Claude
from receiver.diagnosis.dialogue import Limits
from receiver.papers import Answered, Exhibit
from tests.receiver.governed import NOW
from tests.receiver.test_injections import KEY, Around, Attack, World, moved, sent

PATIENCE = Around((moved("pool_in_use"),))


class Shelf:
    async def series(self, promql: str, **_: object) -> Answered:
        return Answered((Exhibit("", "pool_in_use", promql, NOW, {"now": "20"}),))


@pytest.fixture
async def vendor() -> AsyncIterator[ClaudeStandIn]:
    stand_in = ClaudeStandIn(api_key=KEY)
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
async def office(vendor: ClaudeStandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Claude]:
    monkeypatch.setattr(claude_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(claude_module, "QUERY_SECONDS_MIN", 0.5)
    claude = Claude(
        api_key=KEY,
        model="claude-sonnet-5-5",
        base_url=vendor.url,
        daily_budget_usd=5,
        clock=lambda: NOW,
        limits=Limits(),
        asks=lambda tenant: Shelf(),
    )
    yield claude
    await claude.close()


def named(world: World, outcome: str) -> None:
    """The incident is open, a person has a question with buttons, and why there is no diagnosis is said everywhere."""
    governed = world.governed
    (detected,) = governed.entries("DETECTED")
    assert detected.incident_id in governed.desk.book.open
    question = governed.question("tendai")
    (proposed,) = governed.entries("PROPOSED")
    assert (proposed.timestamp - detected.timestamp).total_seconds() <= 10
    (ended,) = [*governed.entries("DIAGNOSED"), *governed.entries("UNDIAGNOSED")]
    assert (ended.decision if ended.stage == "UNDIAGNOSED" else "diagnosed") == outcome, ended.reason
    count = governed.desk.metrics.diagnoses.labels(outcome)._value.get()
    assert count == 1
    if outcome == "timeout":  # it was asked before that was known
        assert "no diagnosis yet" in sent(question)
    elif outcome != "diagnosed":
        assert f"no diagnosis: {outcome.replace('_', ' ')}" in sent(question)
        assert ended.reason.startswith("no diagnosis: ")


@pytest.mark.parametrize(
    ("kinds", "outcome"),
    [
        (["rate_limited", "rate_limited"], "rate_limited"),
        (["rate_limited"], "diagnosed"),
        (["overloaded", "overloaded"], "overloaded"),
        (["server_error", "server_error"], "api_error"),
        (["drop", "drop"], "unreachable"),
        (["spend_limit"], "spend_limit"),
        (["billing"], "spend_limit"),
        (["html"], "bad_answer"),
        (["truncated_json"], "bad_answer"),
        (["enormous"], "bad_answer"),
        (["refusal"], "refusal"),
        (["max_tokens"], "truncated"),
        (["context_exceeded"], "truncated"),
        (["thinking_first"], "diagnosed"),
        (["unknown_blocks"], "diagnosed"),
        (["only_unknown"], "bad_answer"),
        (["pause_turn"], "bad_answer"),
        (["tool_loop"], "bad_answer"),
        (["tool_use", "tool_use"], "diagnosed"),
        (["tool_use", "overloaded", "overloaded"], "overloaded"),
        (["bad_tool_input"], "diagnosed"),
        (["wrong_numbers"], "no_claims"),
    ],
)
async def test_a_fault_costs_no_incident(vendor: ClaudeStandIn, office: Claude, kinds: list[str], outcome: str) -> None:
    faults = vendor.script(kinds)
    world = World(office)
    await world.play(Attack(around=PATIENCE))
    assert all(fault.met.is_set() for fault in faults)
    named(world, outcome)


async def test_a_long_retry_after_is_not_waited_for(vendor: ClaudeStandIn, office: Claude) -> None:
    vendor.next("rate_limited", retry_after="3600")
    world = World(office)
    await world.play(Attack(around=PATIENCE))
    named(world, "rate_limited")
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("kind", ["drip", "hang"])
async def test_a_person_is_asked_while_claude_takes_its_time(vendor: ClaudeStandIn, office: Claude, kind: str) -> None:
    world, fault = World(office), vendor.next(kind)
    await world.begin(Attack(around=PATIENCE))
    await fault.met.wait()
    governed = world.governed
    await governed.after(10)
    assert governed.question("tendai").token is not None
    assert governed.entries("UNDIAGNOSED") == []
    await governed.after(40)
    named(world, "timeout")
    fault.release.set()
    await asyncio.gather(*world.consulting())  # what comes too late settles nothing
    await governed.rest()
    named(world, "timeout")
