"""Alertmanager's matchers, against a model that renders and matches by itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.matchers import BadMatcher, Matcher, matches, parse_matchers

CLASSIC_NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,6}", fullmatch=True)
UTF8_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SMALL = st.text("abx.", max_size=4)
# Regular expressions on which RE2 and Python agree: literals, classes, groups and repetition over a small alphabet.
PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "x", r"\.", ".", "[ab]", "[^a]", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        inner.map(lambda one: f"(?:{one})*"),
        inner.map(lambda one: f"(?:{one})?"),
    ),
    max_leaves=6,
)


def go_quoted(text: str) -> str:
    """`text` as a Go string literal in which every unusual character is an escape."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def plainly_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@given(CLASSIC_NAMES, st.sampled_from(["=", "!="]), VALUES, st.dictionaries(CLASSIC_NAMES, VALUES, max_size=3))
def test_equality_is_equality_with_a_missing_label_empty(name, operator, value, labels):
    (matcher,) = parse_matchers(f"{name}{operator}{plainly_quoted(value)}")
    assert (matcher.name, matcher.operator, matcher.value) == (name, operator, value)
    assert matcher.matches(labels) == ((labels.get(name, "") == value) == (operator == "="))


@given(UTF8_NAMES, VALUES)
def test_quoted_names_are_read_as_go_reads_them(name, value):
    text = f"{go_quoted(name)} = {go_quoted(value)}"
    (matcher,) = parse_matchers(text)
    assert matcher.matches({name: value})
    if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):  # else the classic reading, without \U, would count
        assert (matcher.name, matcher.value) == (name, value)


@given(st.lists(st.tuples(CLASSIC_NAMES, st.sampled_from(["=", "!="]), VALUES), min_size=1, max_size=4), st.booleans())
def test_several_in_one_text_with_or_without_braces(parts, braces):
    text = " , ".join(f"{name} {operator} {plainly_quoted(value)}" for name, operator, value in parts)
    text = f"{{{text},}}" if braces else text
    assert [(m.name, m.operator, m.value) for m in parse_matchers(text)] == parts


@given(PATTERNS, st.sampled_from(["=~", "!~"]), SMALL)
def test_regular_expressions_are_anchored_at_both_ends(pattern, operator, value):
    (matcher,) = parse_matchers(f"name{operator}{plainly_quoted(pattern)}")
    expected = re.fullmatch(pattern, value) is not None
    assert matcher.matches({"name": value}) == (expected == (operator == "=~"))


@given(st.lists(st.tuples(CLASSIC_NAMES, st.sampled_from(["=", "!=", "=~", "!~"]), SMALL), max_size=3))
def test_a_written_matcher_reads_back_the_same(parts):
    found = tuple(m for name, op, value in parts for m in parse_matchers(f"{name}{op}{plainly_quoted(value)}"))
    assert parse_matchers(",".join(map(str, found))) == found


@given(st.text(max_size=30))
def test_no_text_does_more_than_refuse(text):
    message = ""
    try:
        parse_matchers(text)
    except BadMatcher as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "name", "operator", "value"),
    [
        ("foo=bar", "foo", "=", "bar"),
        ("foo=", "foo", "=", ""),
        ('foo=""', "foo", "=", ""),
        (' foo != "bar" ', "foo", "!=", "bar"),
        ('{foo="bar"}', "foo", "=", "bar"),
        ('foo="bar",', "foo", "=", "bar"),
        ('"foo"="bar"', "foo", "=", "bar"),
        ('"foo bar"="b"', "foo bar", "=", "b"),
        ('"a\\tb"="c"', "a\tb", "=", "c"),
        ("host=ünïcode", "host", "=", "ünïcode"),
        ("🙂=smile", "🙂", "=", "smile"),
        # Only the classic grammar knows a backslash that stands for itself, and it is what people write.
        (r'instance=~"web\.example"', "instance", "=~", r"web\.example"),
        ("foo=~[a-z]+", "foo", "=~", "[a-z]+"),
        ("foo=a!b", "foo", "=", "a!b"),
        # Both can read it and differ: the classic reading counts, as in Alertmanager's default mode.
        (r'foo="\x41"', "foo", "=", r"\x41"),
        (r'"my label"="\x41"', "my label", "=", "A"),
        ('foo="a,b"', "foo", "=", "a,b"),
        ('foo="say \\"hi\\""', "foo", "=", 'say "hi"'),
    ],
)
def test_examples(text, name, operator, value):
    (matcher,) = parse_matchers(text)
    assert (matcher.name, matcher.operator, matcher.value) == (name, operator, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", None),
        ("{}", None),
        ("foo", "no operator"),
        ("=bar", "no label name"),
        ('""="x"', "empty label name"),
        ("foo==bar", None),
        ('foo="bar', "double quotes"),
        ('foo="a"b"', "double quotes"),
        ('foo="bar" baz="x"', "comma"),
        ('foo=~"("', "RE2"),
        (r'foo=~"(?=a)"', "RE2"),
        (r'foo=~"(a)\1"', "RE2"),
        ('"f\\oo"="x"', "escape"),
        ('"f\\ud800"="x"', "no character"),
        ('"f\\xff"="x"', "UTF-8"),
        ("foo=\ud800", "UTF-8"),
        ("a" * 5000 + "=b", "characters long"),
    ],
)
def test_refusals(text, message):
    if message is None:
        assert all(isinstance(found, Matcher) for found in parse_matchers(text))
        return
    with pytest.raises(BadMatcher, match=message):
        parse_matchers(text)


def test_no_matchers_match_everything_and_one_that_fails_is_enough():
    assert matches((), {})
    assert not matches(parse_matchers('a="1",b="2"'), {"a": "1"})
    assert matches(parse_matchers('a="1",b=""'), {"a": "1"})


def test_half_a_surrogate_pair_in_a_label_is_read_as_alertmanager_reads_it():
    (matcher,) = parse_matchers('a=~"x."')
    assert matcher.matches({"a": "x\ud800"})
    (matcher,) = parse_matchers('a="x\ufffd"')
    assert matcher.matches({"a": "x\ud800"})


def test_a_pattern_that_would_ruin_a_backtracking_engine_is_answered_at_once():
    (matcher,) = parse_matchers('a=~"(a*)*b"')
    assert not matcher.matches({"a": "a" * 50_000})
