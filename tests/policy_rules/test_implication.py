"""`implies` against every value that could contradict it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.conditions import Value, judge, parse_term
from policy_rules.implication import implies
from policy_rules.rulebook import All, AnyOf, Condition, Not, Term

NAMES, NUMBERS = ("a", "b"), ("-1", "0", "0.5", "1")
VALUES = ("-2", "-1", "-0.5", "0", "0.2", "0.5", "0.7", "1", "1.5", None)
TERMS = st.builds(
    Term, st.sampled_from(NAMES), st.sampled_from((">=", "<=", "==", "!=", ">", "<")), st.sampled_from(NUMBERS)
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    TERMS,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        *(st.builds(kind, st.lists(parts, min_size=1, max_size=3).map(tuple)) for kind in (All, AnyOf)),
    ),
    max_leaves=5,
)


def contradicted(one: Condition, other: Condition) -> bool:
    for values in product(VALUES, repeat=len(NAMES)):
        known = {name: Value(value) for name, value in zip(NAMES, values, strict=True)}
        if judge(one, known).holds and not judge(other, known).holds:
            return True
    return False


@given(CONDITIONS, CONDITIONS)
def test_what_is_implied_is_never_contradicted(one: Condition, other: Condition) -> None:
    if implies(one, other):
        assert not contradicted(one, other)


@given(TERMS, TERMS)
def test_of_two_terms_nothing_is_missed(one: Term, other: Term) -> None:
    assert implies(one, other) is not contradicted(one, other)


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        ("a >= 0.10", "a >= 0.05", True),
        ("a >= 0.05", "a >= 0.10", False),
        ("a > 0.05", "a >= 0.05", True),
        ("a >= 0.05", "a > 0.05", False),
        ("a < 1", "a < 2", True),
        ("a == 3", "a > 2", True),
        ("a >= 0.1", "b >= 0.1", False),
    ],
)
def test_thresholds(one: str, other: str, *, holds: bool) -> None:
    assert implies(parse_term(one), parse_term(other)) is holds


def test_more_conditions_are_stricter_and_fewer_alternatives_too() -> None:
    a, b = parse_term("a > 1"), parse_term("b > 1")
    assert implies(All((a, b)), a)
    assert not implies(a, All((a, b)))
    assert implies(a, AnyOf((a, b)))
    assert not implies(AnyOf((a, b)), a)
    assert implies(Not(a), Not(a))
