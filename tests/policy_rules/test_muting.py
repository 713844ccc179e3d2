"""What is muted: against a slow reader, and what is refused at load."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.differences import differences
from policy_rules.loading import PolicyErrors, load
from policy_rules.muting import may_tell
from policy_rules.readings import Alert
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Outcome
from tests.policy_rules.helpers import NOW, POLICY, policy

NIGHT = """
  - name: night
    time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}, {start_time: '00:00', end_time: '06:00'}]}]
  - name: sunday
    time_intervals: [{weekdays: [sunday]}]
"""
MUTE = """mute: [{matchers: ['severity=~"info|warning"', 'team!="payments"'], during: [night, sunday]}]\n"""
AT_NIGHT = datetime(2026, 1, 5, 23, 0, tzinfo=UTC)  # a Monday


def muting(text: str = MUTE) -> Rulebook:
    return policy(text=POLICY.rstrip("\n") + NIGHT + text)


def of(severity: str, team: str = "shop", *, firing: bool = True) -> Alert:
    labels = {"severity": severity, "team": team}
    return Alert(f"{severity}{team}{firing}", labels, {}, firing, NOW, None if firing else NOW)


def test_what_is_said_of_it():
    found = may_tell(muting(), muting(), [of("warning")], AT_NIGHT)
    assert found.outcome is Outcome.DENY
    assert found.reason == 'muted during night, sunday: severity=~"info|warning", team!="payments"'
    shown = [(f.name, f.operator, f.threshold, f.value, f.holds) for f in found.findings]
    assert shown == [
        ('alerts without severity=~"info|warning", team!="payments"', "==", "0", "0", True),
        ("muted during night, sunday", "==", "inside", "inside", True),
    ]


def test_both_policies_must_mute():
    loud = policy()
    for books in ((muting(), loud), (loud, muting()), (loud, loud)):
        assert may_tell(*books, [of("warning")], AT_NIGHT).outcome is Outcome.PERMIT


SEVERITIES = st.sampled_from(["info", "warning", "critical", ""])
ALERTS = st.lists(st.builds(of, SEVERITIES, st.sampled_from(["shop", "payments"]), firing=st.booleans()), max_size=4)
TIMES = st.integers(0, 60 * 86400).map(lambda at: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at))


@given(ALERTS, TIMES)
def test_against_a_slow_reader(alerts: Sequence[Alert], now: datetime) -> None:
    minutes = now.hour * 60 + now.minute
    quiet_time = minutes >= 22 * 60 or minutes < 6 * 60 or now.strftime("%A") == "Sunday"
    counted = [a for a in alerts if a.firing]
    if not counted:
        counted = list(alerts)
    low = [a for a in counted if a.labels["severity"] in ("info", "warning") and a.labels["team"] != "payments"]
    wanted = quiet_time and len(counted) > 0 and len(low) == len(counted)
    assert (may_tell(muting(), muting(), alerts, now).outcome is Outcome.DENY) is wanted


@given(TIMES)
def test_one_that_is_not_low_is_told_at_any_time(now: datetime) -> None:
    assert may_tell(muting(), muting(), [of("warning"), of("critical")], now).outcome is Outcome.PERMIT


def test_it_ends_with_the_minute_that_it_says():
    for seconds, outcome in ((-1, Outcome.DENY), (0, Outcome.PERMIT)):
        at = datetime(2026, 1, 6, 6, 0, tzinfo=UTC) + timedelta(seconds=seconds)
        assert may_tell(muting(), muting(), [of("info")], at).outcome is outcome


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("""matchers: ['severity=~"info|warning"', 'team!="payments"'], """, "", "matchers is missing"),
        ("""['severity=~"info|warning"', 'team!="payments"']""", "[]", "would let the worst of them wait"),
        (", during: [night, sunday]", "", "during is missing"),
        ("[night, sunday]", "[]", "names no time interval"),
        ("[night, sunday]", "[nigth]", "did you mean 'night'?"),
        ("severity=~", "severity=~~", "matcher"),
        ("during", "durin", "did you mean 'during'?"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    text = POLICY.rstrip("\n") + NIGHT + MUTE
    assert old in MUTE
    with pytest.raises(PolicyErrors) as caught:
        load(text.replace(MUTE, MUTE.replace(old, new)), file="p", environment={})
    assert message in str(caught.value)
    assert all(problem.line == len(text.splitlines()) for problem in caught.value.problems)


def test_what_changes_is_said():
    old = policy(text=POLICY.rstrip("\n") + NIGHT)
    assert differences(old, muting()) == [
        'mute: lets wait severity=~"info|warning", team!="payments" during night, sunday, was nothing'
    ]
