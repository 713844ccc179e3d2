"""Each warning of `policy check`: a policy that deserves it, and the same one that does not."""

from __future__ import annotations

import pytest

from policy_rules.loading import warnings
from tests.policy_rules.helpers import GUEST, LEAD, ONCALL, policy

FAILURES = 'sum(rate(http{service="$service",code=~"5.."}[5m]))'
ALL = 'sum(rate(http{service="$service"}[5m]))'
RATIO = 'sum(rate(errors{service="$service"}[5m])) / sum(rate(all{service="$service"}[5m]))'
SHADOW = "rules:\n  - {{name: first, matchers: {matchers}, group_by: []{more}}}\n"


def said(*edits, roster=(ONCALL, LEAD, GUEST), executors=("restart",)):
    return [(problem.line, problem.message) for problem in warnings(policy(*edits), roster, executors)]


def test_the_small_policy_deserves_none():
    assert said() == []


@pytest.mark.parametrize(
    ("edits", "line", "message"),
    [
        ([("error_ratio < 0.02", "error_ratio < 0.05")], 16, "no gap between detect"),
        ([("error_ratio < 0.02", "error_ratio <= 0.06")], 16, "no gap between detect"),
        ([("error_ratio >= 0.05", "score < 50"), ("error_ratio < 0.02", "{all: [score >= 50]}")], 16, "no gap"),
        ([(RATIO, f"{FAILURES} / {ALL}")], 3, "or vector(0)"),
        ([(RATIO, f"(({FAILURES}) / {ALL})")], 3, "or vector(0)"),
        (
            [('["role:oncall"]', '["role:oncall", "role:audit"]')],
            30,
            "the role audit is notified and can",
        ),
        ([('["role:oncall"]}', '["role:oncall"]}, {after: 15m, notify: [everyone]}')], 30, "the question has expired"),
        ([("within: 10m", "within: 2m")], 29, "not longer than recover.for"),
        ([("quorum: 1", "quorum: 3")], 24, "restart needs 3 to approve, and only rudo, tendai can"),
        ([("[oncall, leads]", "[oncal]"), ('"role:oncall"', "everyone")], 24, "needs 1 to approve, and nobody can"),
        ([("executor: restart", "executor: restrat")], 20, "did you mean 'restart'?"),
        ([('"role:oncall"', '"person:nobody"')], 30, "person:nobody is nobody in the roster"),
        ([("rules:\n", SHADOW.format(matchers="[]", more=""))], 14, "takes nothing: first above"),
        (
            [("rules:\n", SHADOW.format(matchers="['alertname=~\"High.*\"']", more=""))],
            14,
            "takes nothing: first above",
        ),
        ([("rules:\n", SHADOW.format(matchers="['severity=~\"critical|page\"']", more=""))], 14, "takes nothing"),
    ],
)
def test_each_warning(edits, line, message):
    found = said(*edits)
    assert any(at == line and message in text for at, text in found), found


@pytest.mark.parametrize(
    "edits",
    [
        [("error_ratio < 0.02", "error_ratio < 0.049")],
        [("error_ratio < 0.02", "{any: [error_ratio < 0.05, alerts.firing == 0]}")],
        [(RATIO, f"({FAILURES} or vector(0)) / {ALL}")],
        [(RATIO, f"{ALL} / {FAILURES}")],
        [('["role:oncall"]}', '["role:oncall"]}, {after: 14m, notify: [everyone]}')],
        [("within: 10m", "within: 3m")],
        [("quorum: 1", "quorum: 2")],
        [("rules:\n", SHADOW.format(matchers="[]", more=", continue: true"))],
        [("rules:\n", SHADOW.format(matchers="['alertname=~\"Low.*\"']", more=""))],
        [("rules:\n", SHADOW.format(matchers="['zone=\"x\"']", more=""))],
    ],
)
def test_what_is_no_reason_to_warn(edits):
    assert said(*edits) == []


def test_without_a_roster_nothing_is_said_about_people_and_executors():
    edits = [("quorum: 1", "quorum: 3"), ("executor: restart", "executor: other")]
    assert warnings(policy(*edits)) == ()


def test_a_step_by_a_channel_that_does_not_reach_everybody_is_named():
    by_voice = policy(('["role:oncall"]}', '["role:oncall"]}, {after: 5m, notify: [everyone], channel: voice}'))
    reached = {"tendai": {"whatsapp", "voice"}, "rudo": {"whatsapp"}, "guest": {"whatsapp", "voice"}}
    (problem,) = warnings(by_voice, (ONCALL, LEAD, GUEST), ("restart",), reached)
    assert (problem.line, problem.message) == (
        30,
        "rudo cannot be reached by voice: the ladder passes over them there",
    )
    everybody = {name: {"whatsapp", "voice"} for name in reached}
    assert warnings(by_voice, (ONCALL, LEAD, GUEST), ("restart",), everybody) == ()
