"""What an edit can do in one direction alone: a stricter policy never opens, recovers or permits more than a looser."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from policy_rules.detection import should_detect
from policy_rules.permission import PastRun, may_propose
from policy_rules.recovery import should_recover
from policy_rules.verdict import Memory, Outcome
from tests.policy_rules.helpers import GUEST, KEY, LEAD, NOW, ONCALL, alert, policy, reading

NUMBERS = ["0", "0.01", "0.019999", "0.02", "0.05", "0.050001", "0.1", "1e-9", "2.5", "+Inf"]
UNKNOWN = [None, "NaN"]
SECONDS = st.integers(5, 120)
LOOKS = st.lists(st.tuples(SECONDS, st.sampled_from(NUMBERS + UNKNOWN)), min_size=1, max_size=20)
KNOWN_LOOKS = st.lists(st.tuples(SECONDS, st.sampled_from(NUMBERS)), min_size=1, max_size=20)
TWO = st.tuples(*[st.sampled_from(NUMBERS[:-1])] * 2).map(lambda two: sorted(two, key=float))
HOLDS = st.tuples(st.sampled_from([0, 1, 2, 5]), st.sampled_from([0, 1, 2, 5])).map(sorted)
IF_UNKNOWN = st.sampled_from(["detect", "hold", "ignore"])


@cache
def bent(*edits):
    return policy(*edits)


def first(decide, wanted, looks, *edits):
    """The number of the first look that comes to `wanted`; one behind the last where none does."""
    rulebook = bent(*edits)
    memory, now = Memory(), NOW
    for number, (seconds, value) in enumerate(looks):
        now += timedelta(seconds=seconds)
        verdict = decide(rulebook, rulebook.rules[0], [alert()], [reading(value, now)], now, memory)
        if verdict.outcome is wanted:
            return number
        memory = verdict.memory
    return len(looks)


def detected(looks, *edits):
    return first(should_detect, Outcome.DETECT, looks, *edits)


def recovered(looks, *edits):
    return first(should_recover, Outcome.RECOVER, looks, *edits)


@given(LOOKS, TWO, st.sampled_from([">=", ">"]), IF_UNKNOWN)
def test_a_higher_threshold_never_opens_more_and_never_sooner(looks, two, operator, if_unknown):
    more = ("if_unknown: detect", f"if_unknown: {if_unknown}")
    low, high = (detected(looks, ("error_ratio >= 0.05", f"error_ratio {operator} {at}"), more) for at in two)
    assert low <= high


@given(LOOKS, TWO, st.sampled_from(["<=", "<"]))
def test_a_lower_threshold_never_recovers_sooner(looks, two, operator):
    strict, loose = (recovered(looks, ("error_ratio < 0.02", f"error_ratio {operator} {at}")) for at in two)
    assert loose <= strict


@given(KNOWN_LOOKS, HOLDS)
def test_a_longer_hold_never_decides_sooner(looks, holds):
    """Of what is known: where it cannot be told, the alert's word counts after `unknown_after`, whatever `for` says."""
    short, long = (detected(looks, ("for: 1m", f"for: {minutes}m")) for minutes in holds)
    assert short <= long
    short, long = (recovered(looks, ("for: 2m", f"for: {minutes}m")) for minutes in holds)
    assert short <= long


@given(KNOWN_LOOKS, st.sampled_from(NUMBERS[:-1]))
def test_another_condition_never_opens_more_and_another_alternative_never_less(looks, at):
    plain = detected(looks)
    assert plain <= detected(looks, ("[error_ratio >= 0.05]", f"[error_ratio >= 0.05, error_ratio != {at}]"))
    assert plain >= detected(looks, ("[error_ratio >= 0.05]", f"[{{any: [error_ratio >= 0.05, error_ratio < {at}]}}]"))


def permitted(*, most=2, quorum=1, ago=(), halted=False, people=(ONCALL, LEAD, GUEST)):
    book = bent(("max: 2", f"max: {most}"), ("quorum: 1", f"quorum: {quorum}"))
    past = [PastRun("checkout-errors", "restart", KEY, NOW - timedelta(minutes=m)) for m in ago]
    answer = may_propose(book, book, "checkout-errors", "restart", KEY, [alert()], people, past, halted, NOW)
    return answer.outcome is Outcome.PERMIT


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted),
    st.tuples(st.integers(1, 3), st.integers(1, 3)).map(sorted),
    st.lists(st.integers(0, 90), max_size=4),
    st.integers(0, 90),
    st.sets(st.sampled_from(["tendai", "rudo"])),
)
def test_stricter_is_never_permitted_where_looser_is_not(most, quorums, ago, another, suspended):
    everybody = (ONCALL, LEAD, GUEST)
    fewer = tuple(replace(person, suspended=person.name in suspended) for person in everybody)
    for looser, stricter in (
        ({"most": most[1], "ago": ago}, {"most": most[0], "ago": ago}),
        ({"ago": ago}, {"ago": [*ago, another]}),
        ({"quorum": quorums[0]}, {"quorum": quorums[1]}),
        ({"ago": ago, "quorum": quorums[0]}, {"ago": ago, "quorum": quorums[0], "people": fewer}),
        ({"ago": ago}, {"ago": ago, "halted": True}),
    ):
        assert permitted(**looser) or not permitted(**stricter), (looser, stricter)


def test_what_is_compared_is_not_always_the_same():
    """The facts above would hold of a policy that never decides, too."""
    looks = [(30, "0.05")] * 4 + [(30, "0.01")] * 6
    assert detected(looks) < detected(looks, ("error_ratio >= 0.05", "error_ratio > 0.05")) == len(looks)
    assert recovered(looks) < recovered(looks, ("error_ratio < 0.02", "error_ratio < 0.01")) == len(looks)
    assert permitted(ago=[30])
    assert not permitted(ago=[30], most=1)
    assert not permitted(people=(GUEST,))
