"""Each kind of mistake in a policy: the line that is named and the words that are said."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.loading import PolicyErrors, load
from tests.policy_rules.helpers import POLICY

BLOCKED = "        blocked_during"
# what is replaced, by what, the line of the problem, and words of its message
WRONG = [
    # the file as a whole
    ("policy: {name: payments", "polices: {name: payments", 1, "unknown key 'polices'; did you mean 'policy'?"),
    ('version: "1.4.0"', "version: 1.4", 1, "version must be text; 1.4 is a number: quote it"),
    ('version: "1.4.0"', 'version: ""', 1, "version is empty"),
    ('version: "1.4.0"', 'version: "1 4"', 1, "is not allowed"),
    (', version: "1.4.0"', "", 1, "version is missing"),
    ('policy: {name: payments, version: "1.4.0"}', "policy: payments", 1, "must be a mapping"),
    ("name: payments", 'name: "a:b"', 1, "is not allowed"),
    ("unmatched: notify", "unmatched: notfy", 10, "did you mean 'notify'?"),
    ("unmatched: notify", "unmatched: true", 10, "unmatched must be text; this is true"),
    # limits
    (BLOCKED, "        limits: [{of: key, max: 1, per: 1h}]\n" + BLOCKED, 27, "of is 'key'; it is one of action"),
    (BLOCKED, "        limits: [{of: rule}]\n" + BLOCKED, 27, "limits nothing"),
    (BLOCKED, "        limits: [{max: 1, per: 1h}]\n" + BLOCKED, 27, "of is missing"),
    (BLOCKED, "        limits: [{of: rule, max: 1}]\n" + BLOCKED, 27, "belong together"),
    # YAML and its surprises
    ("unmatched: notify", "unmatched: notify\nunmatched: record", 11, "the key 'unmatched' is repeated"),
    ("idempotent: false", "idempotent: no", 28, "truth value"),
    ("idempotent: false", "idempotent: 'false'", 28, "must be true or false"),
    ("quorum: 1", "quorum: 01", 24, "octal"),
    ("quorum: 1", "quorum: 1_0", 24, "quote it"),
    ("start_time: '18:00'", "start_time: 18:00", 34, "base 60"),
    ("unmatched: notify", "unmatched: 2026-01-01", 10, "date"),
    ("unmatched: notify", "unmatched: !!str notify", 10, "tag"),
    ("unmatched: notify", "unmatched: &x notify", 10, "anchor"),
    ("unmatched: notify", "unmatched: *x", 10, "alias"),
    ("unmatched: notify", "<<: {unmatched: notify}", 10, "merge key"),
    ("unmatched: notify", "unmatched: [notify", 11, "not YAML"),
    ("unmatched: notify", "\tunmatched: notify", 10, "not YAML"),
    ("unmatched: notify", "unmatched: notify\n---\nb: 1", 11, "only one document"),
    ("unmatched: notify", 'unmatched: "\\0"', 10, "control character"),
    ("unmatched: notify", "1: notify", 10, "is not text"),
    ("unmatched: notify", "unmatched: " + "[" * 30 + "]" * 30, 10, "nested deeper"),
    # variables
    ("unmatched: notify", "unmatched: ${COUNTERFOIL_NO_SUCH}", 10, "COUNTERFOIL_NO_SUCH is not set"),
    ("unmatched: notify", "unmatched: ${not a name}", 10, "begins a variable"),
    # signals
    ("max_age: 2m\n", "max_age: 2 minutes\n", 4, "max_age must be a duration like 90s"),
    ("max_age: 2m\n", "max_age: 120\n", 4, "did you mean 120s?"),
    ("max_age: 2m\n", "max_age: 0s\n", 4, "must be from 1s"),
    ("max_age: 2m\n", "maxage: 2m\n", 4, "did you mean 'max_age'?"),
    ("promql: sum(rate(errors", "promql: sum(rat(errors", 5, "not PromQL"),
    ('rate(errors{service="$service"}[5m])', 'rate(errors{service=~"$service"}[5m])', 5, "whole quoted value"),
    ('rate(errors{service="$service"}[5m])', 'rate(errors{service="x-$service"}[5m])', 5, "whole quoted value"),
    ('rate(errors{service="$service"}[5m])', 'rate(errors{zone="$zone"}[5m])', 14, "add zone to it"),
    ('max(p95{service="$service"})', 'p95{service="$service"}[5m]', 6, "matrix"),
    ('max(p95{service="$service"})', "max(" * 30 + "a" + ")" * 30, 6, "nested deeper"),
    ("{max_age: 2m, promql: 'max(p95{service=\"$service\"})'}", "{max_age: 2m}", 6, "promql is missing"),
    ("{max_age: 2m, promql: 'max(p95{service=\"$service\"})'}", "up", 6, "must be a mapping"),
    # score
    ("signal: p95_seconds", "signal: p95_second", 9, "did you mean 'p95_seconds'?"),
    ("signal: p95_seconds", "signal: error_ratio", 9, "a part of the score already"),
    ("weight: 0.3", "weight: -0.3", 9, "greater than 0"),
    ("good: 0.5, bad: 2.0", "good: 2, bad: 2.0", 9, "must differ"),
    ("good: 0.5", "good: low", 9, "good must be a number"),
    (", good: 0.5", "", 9, "good is missing"),
    ("    evaluate_every: 30s", "    score: []\n    evaluate_every: 30s", 17, "an empty score says nothing"),
    # rules
    ("name: checkout-errors", "name: unmatched", 12, "built-in rule"),
    ("name: checkout-errors", "name: a/b", 12, "is not allowed"),
    ("- name: checkout-errors\n    matchers", "- matchers", 12, "name is missing"),
    ("    group_by: [service]\n", "", 12, "group_by is missing"),
    ("group_by: [service]", "group_by: service", 14, "group_by must be a list"),
    ("group_by: [service]", "group_by: [service, service]", 14, "twice"),
    ("group_by: [service]", "group_by: [service, ...]", 14, "must name labels"),
    ('alertname="HighErrorRate"', 'alertname=="HighErrorRate"', 13, "matcher"),
    ('severity=~"critical|page"', 'severity=~"(critical"', 13, "RE2"),
    ('severity=~"critical|page"', "", 13, "is empty"),
    ('severity=~"critical|page"', "{}", 13, "names no label"),
    ("    group_by: [service]", "    group_by: [service]\n    record: true", 16, "has no meaning here"),
    ("evaluate_every: 30s", "evaluate_every: 0s", 17, "must be from 1s"),
    # conditions
    ("error_ratio >= 0.05", "error_rate >= 0.05", 15, "did you mean 'error_ratio'?"),
    ("error_ratio >= 0.05", "error_ratio => 0.05", 15, "NAME OPERATOR NUMBER"),
    ("error_ratio >= 0.05", "error_ratio = 0.05", 15, "NAME OPERATOR NUMBER"),
    ("error_ratio >= 0.05", "error_ratio >= five", 15, "NAME OPERATOR NUMBER"),
    ("error_ratio >= 0.05", "alerts.fireing >= 1", 15, "did you mean 'alerts.firing'?"),
    ("when: [error_ratio >= 0.05]", "when: []", 15, "an empty list decides nothing"),
    ("when: [error_ratio >= 0.05]", "when: {some: [error_ratio >= 0.05]}", 15, "any, all and not"),
    ("when: [error_ratio >= 0.05]", "when: {any: error_ratio >= 0.05}", 15, "any takes a list"),
    ("when: [error_ratio >= 0.05]", "when: [0.05]", 15, "must be text"),
    ("when: [error_ratio >= 0.05], for", "for", 15, "when is missing"),
    ("if_unknown: detect", "if_unknown: page", 15, "it is one of detect, hold, ignore"),
    ("unknown_after: 1m", "unknown_afer: 1m", 15, "did you mean 'unknown_after'?"),
    ("    recover: {when: [error_ratio < 0.02], for: 2m}\n", "", 12, "recover is missing"),
    ("for: 2m", "for: -2m", 16, "must be a duration"),
    ("if_unknown: detect", "if_unknown: {nan: page}", 15, "it is one of detect, hold, ignore"),
    ("if_unknown: detect", "if_unknown: {nam: hold}", 15, "did you mean 'nan'?"),
    ("if_unknown: detect", "if_unknown: {}", 15, "names no kind of the unknown"),
    ("if_unknown: detect", "if_unknown: {else: hold}", 15, "names no kind of the unknown"),
    ("if_unknown: detect", "if_unknown: [hold]", 15, "must be text"),
    # actions
    ("idempotent: false", "when: [error_rate >= 0.2]", 28, "did you mean 'error_ratio'?"),
    ("idempotent: false", "when: []", 28, "an empty list decides nothing"),
    ("idempotent: false", "when_unknown: wait", 28, "when_unknown belongs to when"),
    ("idempotent: false", "when: [score < 9]\n        when_unknown: refuse", 29, "it is one of propose, wait"),
    ("      restart:\n", "      re start:\n", 19, "is not a name here"),
    ("        executor: restart\n", "", 19, "executor is missing"),
    ("        title: restart the checkout service\n", "", 19, "title is missing"),
    ("title: restart the checkout service", "title: " + "x" * 121, 21, "one line of at most 120"),
    ("label: service", "label: instance", 23, "not in group_by"),
    (", allow: [checkout, wallet]", "", 23, "allow is missing"),
    ("allow: [checkout, wallet]", "allow: []", 23, "allow is empty"),
    ("allow: [checkout, wallet]", "allow: [1]", 23, "1 is a number: quote it"),
    ("        approvers: {roles: [oncall, leads], quorum: 1}\n", "", 19, "approvers is missing"),
    ("roles: [oncall, leads], ", "", 24, "names nobody"),
    ("quorum: 1", "quorum: 0", 24, "whole number from 1 to 20"),
    ("quorum: 1", "quorum: 1.5", 24, "whole number from 1 to 20"),
    ("quorum: 1", "quorum: 1, second: {quorum: 1}", 24, "second names nobody"),
    ("quorum: 1", "quorum: 1, second: {roles: [leads], quorum: 0}", 24, "whole number from 1 to 20"),
    ("quorum: 1", "quorum: 1, second: [leads]", 24, "second must be a mapping"),
    ("quorum: 1", "quorum: 1, second: {roles: [leads], second: {roles: [leads]}}", 24, "unknown key 'second'"),
    ("expires: 15m", "expires: 5s", 25, "must be from 1m"),
    ("max: 2, per: 1h", "max: 2", 26, "belong together"),
    *(
        ("{label: service, allow: [checkout, wallet]}", wrong, 23, words)
        for wrong, words in (
            ("{signal: error_rato, min: 1, max: 2}", "did you mean 'error_ratio'?"),
            ("{signal: error_ratio, max: 2}", "min is missing"),
            ("{signal: error_ratio, min: 1}", "max is missing"),
            ("{signal: error_ratio, min: 3, max: 2}", "must not be less than min"),
            ("{signal: error_ratio, min: -1, max: 2}", "whole number from 0"),
            ("{signal: error_ratio, min: 1, max: 2, allow: [a]}", "unknown key 'allow'"),
        )
    ),
    ("idempotent: false", "breaker: {of: key}", 28, "failures is missing"),
    ("idempotent: false", "breaker: {failures: 0}", 28, "whole number from 1 to 100"),
    ("idempotent: false", "breaker: {failures: 3, of: rule}", 28, "it is one of action, key"),
    ("[month-end]", "[month-ends]", 27, "did you mean 'month-end'?"),
    ("verify: {within: 10m}", "verify: 10m", 29, "must be a mapping"),
    # the ladder and the intervals
    ('"role:oncall"', "oncall", 30, "did you mean 'role:oncall'?"),
    ("{after: 0s, ", "{", 30, "after is missing"),
    ('notify: ["role:oncall"]', "notify: []", 30, "notify names nobody"),
    ('["role:oncall"]}', '["role:oncall"], channel: pager}', 30, "it is one of notice, sms, voice, whatsapp"),
    (
        '{after: 0s, notify: ["role:oncall"]}',
        "{after: 5m, notify: [everyone]}, {after: 1m, notify: [everyone]}",
        30,
        "no step may come before",
    ),
    ("location: Africa/Harare", "location: Harare", 34, "no time zone"),
    ("  - name: month-end\n    time", "  - time", 32, "name is missing"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG)
def test_the_line_and_the_words(old, new, line, message):
    assert old in POLICY
    with pytest.raises(PolicyErrors) as caught:
        load(POLICY.replace(old, new, 1), file="policy.yml", environment={})
    found = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in text for at, text in found), found
    assert all("\n" not in text for _, text in found)


def test_all_mistakes_are_said_at_once_and_in_order():
    text = POLICY
    for old, new in (
        ("notify\n", "notfy\n"),
        ("quorum: 1", "quorum: 0"),
        ("expires: 15m", "expires: 5"),
        ("idempotent: false", "idempotent: no"),
    ):
        text = text.replace(old, new, 1)
    with pytest.raises(PolicyErrors) as caught:
        load(text, file="policy.yml", environment={})
    assert [problem.line for problem in caught.value.problems] == [10, 24, 25, 28]
    assert str(caught.value).startswith("policy.yml:10:1: unmatched is 'notfy'")


def test_a_signal_that_cannot_be_read_is_one_mistake_and_not_three():
    with pytest.raises(PolicyErrors) as caught:
        load(POLICY.replace("sum(rate(errors", "sum((rate(errors"), file="policy.yml", environment={})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("text", ["", "\n", "# nothing", "[]", "a", "null", "1"])
def test_what_is_no_policy_at_all(text):
    with pytest.raises(PolicyErrors, match="the file must hold a mapping"):
        load(text, file="policy.yml", environment={})


def test_bytes_that_are_not_text():
    with pytest.raises(PolicyErrors, match="not UTF-8"):
        load(b"policy: \xff", file="policy.yml", environment={})
    with pytest.raises(PolicyErrors, match="not UTF-8"):
        load("policy: \ud800", file="policy.yml", environment={})
    with pytest.raises(PolicyErrors, match="at most 1048576"):
        load("#" * 1_100_000, file="policy.yml", environment={})


def test_of_a_repeated_key_the_first_value_is_read_on_and_the_second_is_one_mistake():
    with pytest.raises(PolicyErrors) as caught:
        load(POLICY + "unmatched: [nonsense]\n", file="policy.yml", environment={})
    assert [problem.line for problem in caught.value.problems] == [35]


def test_a_policy_has_limits():
    signals = "".join(f"  s{number}: {{promql: up}}\n" for number in range(201))
    rules = "".join(f"  - {{name: r{number}, matchers: [], group_by: []}}\n" for number in range(2001))
    with pytest.raises(PolicyErrors) as caught:
        load(f"policy: {{name: a, version: b}}\nsignals:\n{signals}rules:\n{rules}", file="p", environment={})
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (203, "a policy has at most 200 signals"),
        (2205, "a policy has at most 2000 rules"),
    ]


def test_a_flood_of_mistakes_is_cut_short_in_words():
    with pytest.raises(PolicyErrors) as caught:
        load("a: 1\n" * 500, file="p", environment={})
    assert str(caught.value).endswith("more")
    assert len(str(caught.value).splitlines()) == 101


def attempt(text, environment=None):
    """Load `text`; whatever it is, only PolicyErrors may come of it."""
    try:
        return load(text, file="policy.yml", environment=environment or {})
    except PolicyErrors as error:
        return error.problems


YAML_TEXT = st.text(
    st.sampled_from(list("abc:{}[]-,#&*!|>'\"%@`?\\ \n\t0123456789.~<=$uUx\x85\u2028\ufeff")), max_size=60
)


@given(st.one_of(st.text(), st.binary(), YAML_TEXT))
def test_no_text_and_no_bytes_do_more_than_refuse(text):
    assert attempt(text)


@given(st.integers(0, len(POLICY)), st.integers(0, 30), YAML_TEXT)
def test_a_policy_with_a_part_torn_out_or_put_in_is_read_or_refused(start, length, inserted):
    attempt(POLICY[:start] + inserted + POLICY[start + length :])


# Every key that a policy may have, so that data of the right words in the wrong places is made.
WORDS = sorted(set(re.findall(r"[a-z_]+(?=:)", POLICY)) | {"any", "all", "not", "for", "people", "record", "continue"})
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-9, 9), st.text("ab:=\"'~ $1", max_size=6))
WRONG_DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)),
    max_leaves=25,
)


@given(WRONG_DATA)
def test_right_words_in_wrong_places_are_refused(data):
    assert attempt(json.dumps(data))


@pytest.mark.parametrize(
    "text",
    [
        '"\\UFFFFFFFF"',
        '"\\uD800"',
        "%YAML 9999999999999999999999.1\n---\na",
        "? [a]\n: b",
        "? {a: b}",
        "{[a]: b}",
        "!<tag:x> a",
        "- &a [*a]",
        "a: *b",
        "\x00",
        "a: \x85b",
        "{" * 3000,
    ],
)
def test_corners_of_yaml(text):
    assert attempt(text)


@given(
    st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=12)),
    st.sampled_from(["${A}", "${A:-x}", "'${B:-}'", "$${A:-{A}}", "${A}${B:-${A}}"]),
)
def test_substitution_never_raises_anything_else(environment, value):
    attempt(POLICY.replace("notify\n", f"{value}\n"), environment)
