"""PromQL of a policy: what is refused, and that no label value can leave its quotes."""

from __future__ import annotations

import time

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.signals import BadSignal, labels_of, quote, substitute_labels

RATIO = 'sum(rate(e{service="$service",code=~"5.."}[5m])) / sum(rate(a{service=\'$service\',zone=`$zone`}[5m]))'
HOSTILE = st.text(st.sampled_from(list("\"'`\\\n\r\t{}()=$#,a\x00\x1f\x7f\u2028é🙂")), max_size=12)


def parsed_matchers(promql):
    found = []

    def note(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.extend((m.name, str(m.op), m.value) for m in node.matchers.matchers)

    promql_parser.walk(promql_parser.parse(promql), pre_visit=note)
    return found


@given(st.one_of(HOSTILE, st.text(max_size=20)), st.one_of(HOSTILE, st.text(max_size=20)))
def test_a_value_parses_back_to_itself_and_changes_nothing_else(service, zone):
    service, zone = (value.encode(errors="ignore").decode() for value in (service, zone))
    after = parsed_matchers(substitute_labels(RATIO, {"service": service, "zone": zone}))
    expected = {"$service": service, "$zone": zone}
    assert after == [(name, op, expected.get(value, value)) for name, op, value in parsed_matchers(RATIO)]


@given(st.text(max_size=20))
def test_a_quoted_value_is_one_string_literal(value):
    literal = promql_parser.parse(quote(value))
    assert isinstance(literal, promql_parser.StringLiteral)


def test_labels_are_found_and_a_missing_one_is_empty():
    assert labels_of(RATIO) == {"service", "zone"}
    assert 'zone=""' in substitute_labels(RATIO, {"service": "x"})
    assert labels_of("up == 1") == frozenset()
    assert labels_of('sum(rate(a{code=~"5..$"}[5m]))') == frozenset()
    assert labels_of('label_replace(up, "a", "$1", "b", "(.*)")') == frozenset()


def test_a_value_that_looks_like_a_label_is_not_replaced_again():
    assert substitute_labels('a{b="$b",c="$c"}', {"b": "$c", "c": '"$b"'}) == 'a{b="$c",c="\\"$b\\""}'


@pytest.mark.parametrize(
    "promql",
    [
        'a{b=~"$b"}',
        'a{b!="$b"}',
        'a{b!~"$b"}',
        'a{b="x-$b"}',
        'a{b="$b-x"}',
        'a{b="$b$c"}',
        "a{b=$b}",
        'label_replace(a, "x", "$b", "y", "")',
        'a{b="$b"} # "$c"',
        'a{b="$b"} or a{c=~"$b"}',
        'a{b="$b"} or label_replace(a, "x", "$b", "y", "")',
        'a{b="\\x24b"} # "$b"',
        "$b",
        "a[$b]",
        "sum by ($b) (a)",
        'a{b="$b"} + $b',
    ],
)
def test_a_label_anywhere_else_is_refused(promql):
    with pytest.raises(BadSignal):
        labels_of(promql)


@pytest.mark.parametrize(
    ("promql", "message"),
    [
        ("sum(", "not PromQL"),
        ("", "not PromQL"),
        ("{}", "not PromQL"),
        ("nosuch(a)", "not PromQL"),
        ("a[5m]", "matrix"),
        ("(a[5m])", "matrix"),
        ("a[5m:1m]", "matrix"),
        ('"text"', "string"),
        ("a" * 1001, "1001 characters"),
        ("(" * 26 + "a" + ")" * 26, "nested deeper than 25"),
        ("(" * 450 + "a" + ")" * 450, "nested deeper"),
        ("1" + "+1" * 400, "more than 40 operators"),
        ("a or " * 190 + "a", "more than 40 operators"),
        ("1 # it's\n" + "+1" * 400, "more than 40 operators"),
    ],
)
def test_what_is_no_number_or_too_much_is_refused(promql, message):
    with pytest.raises(BadSignal, match=message):
        labels_of(promql)


def test_the_largest_expression_that_is_read_costs_little():
    started = time.perf_counter()
    labels_of('a{b="$b"}' + " + a" * 40)
    labels_of("abs(" * 25 + "a" + ")" * 25)
    assert time.perf_counter() - started < 2


@given(st.text(max_size=60))
def test_no_text_does_more_than_refuse(text):
    message = ""
    try:
        labels_of(text)
    except BadSignal as error:
        message = str(error)
    assert "\n" not in message
