"""Finding a rule by what it demands gives what asking every rule gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy_rules.candidates import Candidates
from policy_rules.matchers import Matcher, matches, parse_matchers

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["", "x", "y", "xy", "\ufffd"])
MATCHERS = st.lists(st.tuples(NAMES, st.sampled_from(["=", "!=", "=~", "!~"]), VALUES), max_size=3)
LABELS = st.dictionaries(NAMES, st.sampled_from(["", "x", "y", "xy", "\ud800"]), max_size=3)


def matchers(drawn: list[tuple[str, str, str]]) -> tuple[Matcher, ...]:
    return tuple(m for name, operator, value in drawn for m in parse_matchers(f'{name}{operator}"{value}"'))


@given(st.lists(MATCHERS, max_size=12), LABELS)
def test_every_rule_that_matches_is_a_candidate_in_order(
    drawn: list[list[tuple[str, str, str]]], labels: dict[str, str]
) -> None:
    lists = [matchers(one) for one in drawn]
    found = Candidates(lists).of(labels)
    plain = [number for number, one in enumerate(lists) if matches(one, labels)]
    assert [number for number in found if matches(lists[number], labels)] == plain
    assert found == sorted(set(found))


def test_few_are_asked_where_each_demands_a_value_of_its_own() -> None:
    lists = [parse_matchers(f'alertname="Broken",service="s{number}"') for number in range(1000)]
    found = Candidates([*lists, parse_matchers('severity=~"page|critical"')]).of(
        {"alertname": "Broken", "service": "s7"}
    )
    assert found == [7, 1000]
