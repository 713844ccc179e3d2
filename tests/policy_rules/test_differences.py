"""`policy diff`: what changed in words, and nothing that changes a decision is passed over."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import pytest
from click.testing import CliRunner

from policy_rules.differences import differences
from policy_rules.intervals import TimeInterval
from policy_rules.matchers import Matcher
from policy_rules.rulebook import All, Approvers, Breaker, Limit, Param, ScorePart, Step, Term
from policy_rules.unknown import OnUnknown
from receiver.__main__ import counterfoil
from tests.policy_rules.helpers import POLICY, policy


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("error_ratio >= 0.05", "error_ratio >= 0.10", "checkout-errors: detects at error_ratio >= 0.10, was >= 0.05"),
        ("error_ratio < 0.02", "error_ratio <= 0.02", "checkout-errors: recovers at error_ratio <= 0.02, was < 0.02"),
        (
            "[error_ratio < 0.02]",
            "[error_ratio < 0.02, score > 70]",
            "checkout-errors: recovers when error_ratio < 0.02 and score > 70, was error_ratio < 0.02",
        ),
        ("for: 2m", "for: 5m", "checkout-errors: recovers after 5m, was 2m"),
        ("quorum: 1", "quorum: 2", "checkout-errors: restart: is approved by 2 of role oncall, role leads, was 1 of"),
        ("cooldown: 10m", "cooldown: 20m", "may run 2 times in 1h, with 20m between, was 2 times in 1h, with 10m"),
        ("idempotent: false", "idempotent: true", "may be sent again after a doubt: yes, was no"),
        ("name: checkout-errors", "name: wallet-errors", "checkout-errors: is gone"),
        (
            "{label: service, allow: [checkout, wallet]}",
            "{signal: p95_seconds, min: 1, max: 9}",
            "is given service from p95_seconds, 1 to 9, was service from service",
        ),
        ("[checkout, wallet]", "[checkout]", "is given service from service, one of checkout, was"),
        ("[5m]", "[1m]", "signals: error_ratio asks"),
        ("end_time: '24:00'", "end_time: '23:00'", "time_intervals: month-end covers other times"),
        ("weight: 0.7", "weight: 0.8", "score: weighs error_ratio 0.8"),
        (
            "    recover:",
            "    score: [{signal: error_ratio, weight: 1, good: 0, bad: 1}]\n    recover:",
            "checkout-errors: its score weighs error_ratio 1 from 1 (bad) to 0 (good), was as the policy's",
        ),
        ("unmatched: notify", "unmatched: record", "alerts that no rule takes: record, was notify"),
    ],
)
def test_in_words(before, after, says):
    found = differences(policy(), policy((before, after)))
    assert any(says in line for line in found), found


def test_layout_and_version_are_no_difference():
    assert (
        differences(policy(), policy(("unmatched: notify", "# a comment\nunmatched: notify"), ("1.4.0", "1.5.0"))) == []
    )


OTHER = {
    str: "other",
    bool: True,
    int: 7,
    float: 7.5,
    tuple: (),
    "when": All((Term("alerts.firing", ">=", "9"),)),
    "matchers": (Matcher("a", "=", "b"),),
    "score": (ScorePart("error_ratio", "1", "0", "1"),),
    "params": (Param("p", constant="c"),),
    "approvers": Approvers(people=("somebody",), quorum=3),
    "breaker": Breaker(9),
    "limit": Limit(9, 9.0, 9.0),
    "limits": (Limit(9, 9.0, 9.0, "tenant"),),
    "escalation": (Step(99.0, ("everyone",), "voice"),),
    "repeat_max": 2,
    "group_by": ("other",),
    "if_unknown": OnUnknown("other"),
    "when_unknown": OnUnknown("other"),
    "blocked_during": ("other",),
}


def others(value):
    """`value` with each of its fields changed, one at a time."""
    for field in dataclasses.fields(value):
        was = getattr(value, field.name)
        now = OTHER.get(field.name, OTHER.get(type(was)))
        if now is not None and now != was and field.name != "name":
            yield field.name, dataclasses.replace(value, **{field.name: now})


def test_no_field_of_a_rule_or_an_action_is_passed_over():
    """A field that comes later and is forgotten in the comparison fails here."""
    old = policy()
    rule = old.rules[0]
    tried = set()
    for part in ("detect", "recover"):
        for name, changed in others(getattr(rule, part)):
            tried.add(f"{part}.{name}")
            new = dataclasses.replace(old, rules=(dataclasses.replace(rule, **{part: changed}),))
            assert differences(old, new), f"{part}.{name}"
    for name, changed in others(rule):
        tried.add(name)
        assert differences(old, dataclasses.replace(old, rules=(changed,))), name
    for name, changed in others(rule.actions["restart"]):
        tried.add(f"action.{name}")
        actions = MappingProxyType({"restart": changed})
        assert differences(old, dataclasses.replace(old, rules=(dataclasses.replace(rule, actions=actions),))), name
    for name, changed in others(old.signals["error_ratio"]):
        if name != "labels":  # read from the query
            signals = MappingProxyType({**old.signals, "error_ratio": changed})
            assert differences(old, dataclasses.replace(old, signals=signals)), name
    fields = {f.name for f in dataclasses.fields(rule)} - {"name", "detect", "recover", "actions"}
    fields |= {f"action.{f.name}" for f in dataclasses.fields(rule.actions["restart"])} - {"action.name"}
    assert fields <= tried, fields - tried
    intervals = MappingProxyType({"month-end": (TimeInterval(weekdays=((1, 2),)),)})
    assert differences(old, dataclasses.replace(old, intervals=intervals))


def test_the_command(tmp_path):
    old, new = tmp_path / "old.yml", tmp_path / "new.yml"
    old.write_text(POLICY)
    new.write_text(POLICY.replace("error_ratio >= 0.05", "error_ratio >= 0.10"))
    run = CliRunner().invoke
    result = run(counterfoil, ["policy", "diff", str(old), str(new)])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "checkout-errors: detects at error_ratio >= 0.10, was >= 0.05",
        "payments 1.4.0 → payments 1.4.0: 1 difference(s)",
        "raise the version: the same version with other contents is refused",
    ]
    assert run(counterfoil, ["policy", "diff", str(old), str(old)]).exit_code == 0
    assert '"same": false' in run(counterfoil, ["policy", "diff", str(old), str(new), "--json"]).output
    new.write_text("rules: [")
    assert run(counterfoil, ["policy", "diff", str(old), str(new)]).exit_code == 2
