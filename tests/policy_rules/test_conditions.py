"""Three-valued logic, exact comparison, and the score."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.conditions import BadTerm, Value, judge, parse_term, score, values
from policy_rules.numbers import number, shortest
from policy_rules.readings import Reading, ReadingState
from policy_rules.rulebook import All, AnyOf, Not, ScorePart, Term
from policy_rules.verdict import Finding
from tests.policy_rules.helpers import NOW, alert, policy, reading

NAMES = ("a", "b", "c")
TERMS = st.sampled_from([Term(name, ">=", "1") for name in NAMES])
CONDITIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda of: All(tuple(of))),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: AnyOf(tuple(of))),
        inner.map(Not),
    ),
    max_leaves=7,
)
THREE = st.sampled_from([True, False, None])
KNOWN = st.fixed_dictionaries(dict.fromkeys(NAMES, THREE))


def as_values(known):
    return {name: Value(None if truth is None else "1" if truth else "0") for name, truth in known.items()}


def two_valued(condition, known):
    """What the condition is in ordinary logic, written without a look at the code under test."""
    match condition:
        case Term(name=name):
            return known[name]
        case Not(of=of):
            return not two_valued(of, known)
        case All(of=of):
            return all(two_valued(part, known) for part in of)
        case AnyOf(of=of):
            return any(two_valued(part, known) for part in of)


@given(CONDITIONS, KNOWN)
def test_what_is_decided_stays_so_whatever_the_unknown_turns_out_to_be(condition, known):
    verdict = judge(condition, as_values(known)).holds
    unknown = [name for name in NAMES if known[name] is None]
    completions = [
        two_valued(condition, {**known, **dict(zip(unknown, truths, strict=True))})
        for truths in product([True, False], repeat=len(unknown))
    ]
    if verdict is not None:
        assert set(completions) == {verdict}
    if not unknown:
        assert verdict is completions[0]


@given(st.lists(THREE, min_size=1, max_size=4))
def test_kleene(parts):
    terms = [Term(f"n{index}", ">=", "1") for index in range(len(parts))]
    known = as_values({f"n{index}": truth for index, truth in enumerate(parts)})
    assert judge(All(tuple(terms)), known).holds is (False if False in parts else None if None in parts else True)
    assert judge(AnyOf(tuple(terms)), known).holds is (True if True in parts else None if None in parts else False)


@given(CONDITIONS, KNOWN)
def test_negation_turns_the_answer_and_keeps_every_finding(condition, known):
    plain, negated = judge(condition, as_values(known)), judge(Not(condition), as_values(known))
    assert negated.holds is (None if plain.holds is None else not plain.holds)
    assert negated.findings == plain.findings


@given(CONDITIONS, KNOWN)
def test_a_judgement_names_at_least_one_finding_that_decided(condition, known):
    judgement = judge(condition, as_values(known))
    assert judgement.deciders
    assert set(judgement.deciders) <= set(judgement.findings)
    assert judgement.text()
    if judgement.holds is None:
        assert all(finding.holds is None for finding in judgement.deciders)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1000, max_value=1000),
    st.sampled_from([">=", "<=", "==", "!=", ">", "<"]),
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1000, max_value=1000),
)
def test_comparison_is_exact(left, operator, right):
    exact_left, exact_right = Fraction(left), Fraction(right)
    expected = {
        ">=": exact_left >= exact_right,
        "<=": exact_left <= exact_right,
        "==": exact_left == exact_right,
        "!=": exact_left != exact_right,
        ">": exact_left > exact_right,
        "<": exact_left < exact_right,
    }[operator]
    judgement = judge(Term("x", operator, f"{right:f}"), {"x": Value(f"{left:f}")})
    assert judgement.holds is expected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("0.05", True),
        ("0.05000000000000000277", True),
        ("0.04999999999999999999", False),
        ("5e-2", True),
        ("+Inf", True),
        ("-Inf", False),
        ("NaN", None),
        ("", None),
        ("0x10", None),
        ("1_000", None),
        ("١", None),
        (" 1", None),
        ("1e9999", None),
        ("9" * 500, None),
    ],
)
def test_the_string_that_prometheus_sent_is_what_is_compared(text, holds):
    rulebook = policy()
    known = values(rulebook, [], [reading(text)], NOW)
    assert judge(Term("error_ratio", ">=", "0.05"), known).holds is holds


@given(st.floats(allow_nan=False))
def test_every_number_that_prometheus_can_write_is_read(value):
    for text in (repr(value).replace("inf", "Inf"), f"{value:f}".replace("inf", "Inf")):
        assert number(text) is not None


@pytest.mark.parametrize("state", [state for state in ReadingState if state is not ReadingState.VALUE])
def test_what_is_no_value_is_unknown_even_with_a_number_beside_it(state):
    answer = Reading("error_ratio", "", state, "0.5", NOW, NOW)
    known = values(policy(), [], [answer], NOW)
    assert known["error_ratio"].value is None
    assert state.value in known["error_ratio"].detail


def test_old_repeated_and_missing_readings_are_unknown():
    rulebook = policy()
    old = reading("0.5", NOW - timedelta(seconds=121))
    fresh = reading("0.5", NOW - timedelta(seconds=120))
    assert values(rulebook, [], [old], NOW)["error_ratio"].value is None
    assert values(rulebook, [], [fresh], NOW)["error_ratio"].value == "0.5"
    assert values(rulebook, [], [fresh, fresh], NOW)["error_ratio"].value is None
    assert values(rulebook, [], [fresh, fresh], NOW)["error_ratio"].detail == "asked twice"
    assert values(rulebook, [], [], NOW)["error_ratio"].value is None


def test_counts_are_of_the_incidents_own_alerts():
    known = values(policy(), [alert(), alert(fingerprint="f2"), alert(firing=False, fingerprint="f3")], [], NOW)
    assert (known["alerts.firing"].value, known["alerts.resolved"].value) == ("2", "1")


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ('alerts.firing{severity="page"} >= 2', "2", True),
        ('alerts.firing{severity="page",service=~"wall.*"} >= 1', "0", False),
        ('alerts.resolved{service!="checkout"} == 0', "0", True),
        ("alerts.age_seconds >= 300", "300", True),
        ('alerts.age_seconds{service="nobody"} > 0', "0", False),
    ],
)
def test_terms_about_some_of_the_alerts(text, value, holds):
    found = [alert(), alert(fingerprint="f2"), alert(firing=False, fingerprint="f3")]
    (finding,) = judge(parse_term(text), values(policy(), found, [], NOW)).findings
    assert (finding.value, finding.holds) == (value, holds)
    assert finding.name == text.partition(" ")[0]


def test_the_age_is_of_the_oldest_that_fires():
    old = replace(alert(fingerprint="f2"), starts_at=NOW - timedelta(hours=1))
    ended = replace(alert(fingerprint="f3", firing=False), starts_at=NOW - timedelta(hours=2))
    assert values(policy(), [alert(), old, ended], [], NOW)["alerts.age_seconds"].value == "3600"
    ahead = replace(alert(), starts_at=NOW + timedelta(minutes=1))
    assert values(policy(), [ahead], [], NOW)["alerts.age_seconds"].value == "0"


PARTS = (ScorePart("e", "0.7", "0.01", "0.10"), ScorePart("p", "0.3", "0.5", "2.0"))
NUMBERS = st.floats(allow_nan=False).map(lambda value: repr(value).replace("inf", "Inf"))


@given(NUMBERS, NUMBERS)
def test_the_score_is_between_0_and_100(error, latency):
    found = number(score(PARTS, {"e": Value(error), "p": Value(latency)}).value)
    assert found is not None
    assert 0 <= found <= 100


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3))
def test_the_score_never_rises_when_a_part_gets_worse(one, other, latency):
    better, worse = sorted((one, other))
    scores = [number(score(PARTS, {"e": Value(repr(e)), "p": Value(repr(latency))}).value) for e in (better, worse)]
    assert scores[0] >= scores[1]


@pytest.mark.parametrize(
    ("error", "latency", "expected"),
    [
        ("0.01", "0.5", "100"),
        ("0.10", "2.0", "0"),
        ("0", "0", "100"),
        ("1", "99", "0"),
        ("0.055", "1.25", "50"),
        ("0.01", "2", "70"),
        ("0.04", "0.5", "76.6667"),
        ("0.5", None, None),
        (None, "0.5", None),
        ("NaN", "0.5", None),
    ],
)
def test_score_examples(error, latency, expected):
    assert score(PARTS, {"e": Value(error), "p": Value(latency)}).value == expected


def test_an_unknown_part_says_which():
    assert "p: no_data" in score(PARTS, {"e": Value("0"), "p": Value(None, "no_data")}).detail


@pytest.mark.parametrize(
    "text", ["a", "a >=", ">= 1", "a => 1", "a = 1", "a >= b", "a >= 1 b", "a >= 0x1", "1 < a", "a≥1"]
)
def test_what_is_no_term(text):
    with pytest.raises(BadTerm):
        parse_term(text)


@pytest.mark.parametrize("text", ["a>=1", " alerts.firing  >=  1 ", "a < -0.5", "a == 1e-3", "a != +2"])
def test_what_is_a_term(text):
    assert number(parse_term(text).threshold) is not None


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 10))
def test_a_short_number_never_contradicts_the_comparison(value, threshold):
    text = repr(value)
    finding = judge(Term("x", ">=", f"{threshold:f}"), {"x": Value(text)}).findings[0]
    shown = finding.text().split()[1]
    assert (number(shown) >= number(finding.threshold)) is finding.holds


@pytest.mark.parametrize(
    ("value", "shown"),
    [("0.3103448275862069", "0.31"), ("12", "12"), ("1250", "1250"), ("0.00000042", "4.2e-7"), ("+Inf", "+Inf")],
)
def test_short_numbers(value, shown):
    assert shortest(number(value)) == shown


def test_a_finding_in_words():
    assert Finding("x", ">=", "0.05", "0.04999", False).text() == "x 0.04999 not >= 0.05"
    assert Finding("x", ">=", "0.05", None, None, "no_data").text() == "x unknown (no_data)"
