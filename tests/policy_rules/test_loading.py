"""A policy that is right: what is read, its defaults, its digest, and substitution."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.conditions import parse_term
from policy_rules.durations import duration, parse_duration
from policy_rules.loading import load, warnings
from policy_rules.loading_actions import _KEYS as _KEYS_OF_ACTIONS
from policy_rules.loading_rules import _KEYS as _KEYS_OF_RULES
from policy_rules.problems import FileErrors
from policy_rules.rulebook import All, AnyOf, Limit, Not, Param, Step, Term
from policy_rules.strict_yaml import read
from policy_rules.unknown import DETECT, PROCEED, WAIT
from tests.policy_rules.helpers import ONCALL, POLICY, policy

STARTER = files("policy_rules").joinpath("starter.yml").read_text(encoding="utf-8")

SMALL = """\
policy: {name: small, version: "1"}
rules:
  - name: any-alert
    matchers: []
    group_by: []
    actions:
      page: {executor: pager, title: page somebody, approvers: {people: [tendai]}}
"""


def test_every_default():
    rulebook = policy(text=SMALL)
    (rule,) = rulebook.rules
    action = rule.actions["page"]
    assert (rulebook.unmatched, rulebook.score, dict(rulebook.signals), dict(rulebook.intervals)) == (
        "notify",
        (),
        {},
        {},
    )
    assert rule.detect.when == All((parse_term("alerts.firing >= 1"),))
    assert (rule.detect.for_seconds, rule.detect.if_unknown, rule.detect.unknown_after_seconds) == (0, DETECT, 60)
    assert (rule.recover.when, rule.recover.for_seconds) == (All((parse_term("alerts.firing == 0"),)), 0)
    assert (rule.continue_, rule.record, rule.diagnosis_wait_seconds, rule.evaluate_every_seconds) == (
        False,
        False,
        10,
        30,
    )
    assert (rule.escalation, rule.reopen_within_seconds, rulebook.mutes) == ((), 0, ())
    assert (action.approvers.quorum, action.approvers.roles, action.approvers.people) == (1, (), ("tendai",))
    assert (action.expires_seconds, action.limit, action.blocked_during, action.params) == (900, Limit(), (), ())
    assert (action.idempotent, action.if_unknown, action.risk) == (False, PROCEED, "not stated")
    assert (action.when, action.when_unknown) == (None, WAIT)
    assert (action.verify_within_seconds, action.execute_within_seconds) == (600, 300)


def test_everything_that_is_written_is_read():
    rulebook = policy()
    rule = rulebook.rule("checkout-errors")
    action = rule.actions["restart"]
    assert (rulebook.name, rulebook.version) == ("payments", "1.4.0")
    assert [str(matcher) for matcher in rule.matchers] == ['alertname="HighErrorRate"', 'severity=~"critical|page"']
    assert (rule.detect.for_seconds, rule.recover.for_seconds) == (60, 120)
    assert action.params == (Param("service", label="service", allow=("checkout", "wallet")),)
    assert action.limit == Limit(max=2, per_seconds=3600, cooldown_seconds=600)
    assert rule.escalation == (Step(0, ("role:oncall",), "whatsapp"),)
    assert rulebook.signals["error_ratio"].labels == {"service"}


def test_conditions_nest():
    rulebook = policy(
        ("[error_ratio >= 0.05]", "[error_ratio >= 0.05, {any: [alerts.firing >= 3, {not: score > 40}]}]")
    )
    assert rulebook.rules[0].detect.when == All(
        (
            Term("error_ratio", ">=", "0.05"),
            AnyOf((parse_term("alerts.firing >= 3"), Not(Term("score", ">", "40", parts=rulebook.score)))),
        )
    )


def test_the_digest_is_of_the_text_after_substitution_and_reading_that_again_changes_nothing():
    text = POLICY.replace("0.05", "${THRESHOLD:-0.05}").replace("15m", "${EXPIRES}")
    rulebook = load(text, file="policy.yml", environment={"EXPIRES": "5m", "THRESHOLD": ""})
    assert rulebook.text == POLICY.replace("15m", "5m")
    assert rulebook.digest == hashlib.sha256(rulebook.text.encode()).hexdigest()
    assert load(rulebook.text, file="elsewhere", environment={"THRESHOLD": "9"}) == rulebook
    other = load(text, file="policy.yml", environment={"EXPIRES": "5m", "THRESHOLD": "0.06"})
    assert other.rules[0].detect.when == All((Term("error_ratio", ">=", "0.06"),))
    assert other.digest != rulebook.digest


def test_bytes_and_text_are_the_same_policy():
    assert load(POLICY.encode(), file="p", environment={}) == load(POLICY, file="p", environment={})


def test_the_starter_is_read_without_a_warning():
    text = STARTER
    rulebook = load(text, file="starter.yml", environment={})
    assert warnings(rulebook, [ONCALL], ["restart"]) == ()
    assert [rule.name for rule in rulebook.rules] == ["watchdog", "checkout-errors"]
    quick = load(text, file="starter.yml", environment={"COUNTERFOIL_RECOVER_FOR": "10s"})
    assert (rulebook.rules[1].recover.for_seconds, quick.rules[1].recover.for_seconds) == (120, 10)


def test_the_example_of_the_readme_is_read_and_its_keys_are_all_there_are():
    readme = files("policy_rules").joinpath("README.md").read_text(encoding="utf-8")
    example = readme.split("```yaml\n")[1].split("```")[0]
    rulebook = load(example, file="README.md", environment={})
    assert warnings(rulebook) == ()
    keys = (
        set(re.findall(r"[a-z_]+(?=:)", re.sub(r"#.*", "", STARTER) + POLICY))
        | set(_KEYS_OF_RULES)
        | set(_KEYS_OF_ACTIONS)
    )
    unsaid = {key for key in keys if f"{key}:" not in example and f"`{key}`" not in readme} - {"role"}
    assert unsaid == set()


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\x85"), max_size=8)
DATA = st.recursive(
    st.one_of(st.booleans(), st.none(), st.integers(-(10**17), 10**17), KEYS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(DATA, st.booleans())
def test_yaml_that_another_writer_wrote_reads_back_or_is_refused(data, flow):
    plain = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True, width=10**6)
    quoted = yaml.safe_dump(as_text(data), default_flow_style=flow, default_style='"', width=10**6)
    assert read(quoted, "x.yml")[0] == as_text(data)
    found = None
    try:
        found, _ = read(plain, "x.yml")
    except FileErrors:
        return  # a scalar that the writer did not quote and readers differ about
    assert found == data


def as_text(data):
    """`data` with every scalar as text."""
    if isinstance(data, dict):
        return {key: as_text(value) for key, value in data.items()}
    return [as_text(item) for item in data] if isinstance(data, list) else str(data)


def test_positions_are_those_of_keys_and_items():
    _, positions = read("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "x.yml")
    assert positions["a", "b"] == (2, 3)
    assert positions["a", "c", 1] == (5, 7)
    assert positions["a", "c", 1, "d"] == (5, 8)


SURPRISES = """yes No on OFF 012 0x1f 0o7 0b1 1_000 12:30 1:5 2026-01-01 2026-01-01T10:00:00Z .inf -.Inf .nan 1. .5 +5
+263771234567 111111111111111111111111111111 1e9999 1e3 1.5E+2"""


@pytest.mark.parametrize("text", SURPRISES.split())
def test_scalars_that_readers_differ_about_are_refused(text):
    with pytest.raises(FileErrors):
        read(f"a: {text}", "x.yml")
    assert read(f"a: '{text}'", "x.yml")[0] == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1:9877", "127.0.0.1:9877"),
        ("1h30m", "1h30m"),
        ("0.5", 0.5),
        ("-3", -3),
        ("~", None),
        ("", None),
        ("true", True),
        ("1.4.0", "1.4.0"),
        ("2m", "2m"),
        ("a >= 1", "a >= 1"),
    ],
)
def test_plain_scalars(text, value):
    assert read(f"a: {text}", "x.yml")[0] == {"a": value}


@given(st.integers(0, 10**12))
def test_durations_read_back(milliseconds):
    assert round(parse_duration(duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1h30m", 5400), ("1d", 86400), ("1w", 604800), ("1y", 31536000), ("250ms", 0.25), ("1s500ms", 1.5)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "5 m", "m", "1m1h", "-1m", "1.5h", "1M", "٣m", "1m1m", "1min", "9999999999s"]
)
def test_what_is_no_duration(text):
    assert parse_duration(text) is None
