"""Alertmanager's time intervals at their edges, and against a plain walk over the calendar."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.intervals import TimeInterval
from policy_rules.loading import PolicyErrors, load


def interval(text):
    """The time interval that `text`, a flow mapping, stands for."""
    whole = f"policy: {{name: a, version: b}}\nrules: []\ntime_intervals:\n  - name: x\n    time_intervals: [{text}]\n"
    (found,) = load(whole, file="p", environment={}).intervals["x"]
    return found


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("{}", ["2026-01-01T00:00:00"], []),
        (
            "{times: [{start_time: '09:00', end_time: '17:00'}]}",
            ["2026-01-01T09:00:00", "2026-01-01T16:59:59"],
            ["2026-01-01T08:59:59", "2026-01-01T17:00:00"],
        ),
        (
            "{times: [{start_time: '18:00', end_time: '24:00'}]}",
            ["2026-01-01T23:59:59.999999", "2026-01-01T18:00:00"],
            ["2026-01-02T00:00:00", "2026-01-01T17:59:00"],
        ),
        ("{days_of_month: ['-1']}", ["2026-02-28T12:00:00", "2028-02-29T00:00:00"], ["2028-02-28T12:00:00"]),
        ("{days_of_month: ['-3:-1']}", ["2026-04-28T00:00:00", "2026-04-30T00:00:00"], ["2026-04-27T23:59:00"]),
        ("{days_of_month: ['15:-1']}", ["2026-02-15T00:00:00", "2026-02-28T00:00:00"], ["2026-02-14T00:00:00"]),
        ("{days_of_month: ['31']}", ["2026-01-31T00:00:00"], ["2026-02-28T00:00:00", "2026-04-30T00:00:00"]),
        ("{days_of_month: ['29:31']}", ["2026-01-30T00:00:00"], ["2026-02-28T00:00:00"]),
        ("{days_of_month: ['-31:-30']}", ["2026-01-01T00:00:00", "2026-04-01T00:00:00"], ["2026-02-01T00:00:00"]),
        ("{days_of_month: [1, '5:7']}", ["2026-01-01T00:00:00", "2026-01-07T00:00:00"], ["2026-01-04T00:00:00"]),
        (
            "{weekdays: ['monday:friday']}",
            ["2026-01-05T00:00:00", "2026-01-09T23:59:00"],
            ["2026-01-10T00:00:00", "2026-01-11T00:00:00"],
        ),
        ("{weekdays: [Sunday, saturday]}", ["2026-01-10T00:00:00", "2026-01-11T00:00:00"], ["2026-01-12T00:00:00"]),
        (
            "{months: ['1:3', 'may:august', december]}",
            ["2026-03-31T00:00:00", "2026-12-01T00:00:00"],
            ["2026-04-01T00:00:00"],
        ),
        ("{years: ['2026:2027']}", ["2027-12-31T23:59:00"], ["2025-12-31T23:59:00", "2028-01-01T00:00:00"]),
        # Two hours ahead of UTC: its last day of the month begins and ends two hours before ours.
        (
            "{days_of_month: ['-1'], location: Africa/Harare}",
            ["2026-01-30T22:00:00", "2026-01-31T21:59:00"],
            ["2026-01-30T21:59:00", "2026-01-31T22:00:00"],
        ),
        # The clocks of Berlin jump from 02:00 to 03:00 on 29 March 2026, so the span is over at 01:00 UTC.
        (
            "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
            ["2026-03-28T01:30:00", "2026-03-30T00:30:00"],
            ["2026-03-29T00:30:00", "2026-03-29T01:30:00"],
        ),
        # And 02:00 to 03:00 comes twice on 25 October.
        (
            "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
            ["2026-10-25T00:30:00", "2026-10-25T01:30:00"],
            ["2026-10-25T02:30:00"],
        ),
        # Every field must hold, and within a field one range is enough.
        (
            "{weekdays: [monday], times: [{start_time: '00:00', end_time: '01:00'}, "
            "{start_time: '22:00', end_time: '23:00'}]}",
            ["2026-01-05T00:30:00", "2026-01-05T22:30:00"],
            ["2026-01-05T12:00:00", "2026-01-06T00:30:00"],
        ),
        # A list without an item is a field that nothing satisfies, as in Alertmanager.
        ("{months: []}", [], ["2026-01-01T00:00:00"]),
    ],
)
def test_edges(text, inside, outside):
    found = interval(text)
    assert [moment for moment in inside if not found.contains(at(moment))] == []
    assert [moment for moment in outside if found.contains(at(moment))] == []


DAYS = st.integers(-31, 31).filter(bool)


@given(DAYS, DAYS, st.integers(1970, 2100), st.integers(1, 12))
def test_days_of_month_against_a_walk_over_the_month(begin, end, year, month):
    length = monthrange(year, month)[1]
    ordered = list(range(1, length + 1))
    first = begin if begin > 0 else length + begin + 1
    last = end if end > 0 else length + end + 1
    expected = [day for day in ordered if first <= day <= last]
    found = TimeInterval(days_of_month=((begin, end),))
    start = datetime(year, month, 1, 12, tzinfo=UTC)
    assert [day for day in ordered if found.contains(start + timedelta(days=day - 1))] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{days_of_month: ['0']}", "no day of the month"),
        ("{days_of_month: ['32']}", "no day of the month"),
        ("{days_of_month: ['-32']}", "no day of the month"),
        ("{days_of_month: ['-1:5']}", "count from the end"),
        ("{days_of_month: ['5:1']}", "always before"),
        ("{days_of_month: ['30:-10']}", "always before"),
        ("{days_of_month: [monday]}", "no day of the month"),
        ("{weekdays: ['friday:monday']}", "is before"),
        ("{weekdays: [tusday]}", "did you mean 'tuesday'"),
        ("{months: ['13']}", "no month"),
        ("{months: ['august:may']}", "is before"),
        ("{months: [mai]}", "did you mean"),
        ("{years: ['26']}", "no year"),
        ("{years: ['2027:2026']}", "is before"),
        ("{times: [{start_time: '9:00', end_time: '17:00'}]}", "HH:MM"),
        ("{times: [{start_time: '17:00', end_time: '09:00'}]}", "after start_time"),
        ("{times: [{start_time: '10:00', end_time: '10:00'}]}", "after start_time"),
        ("{times: [{start_time: '10:00', end_time: '24:01'}]}", "HH:MM"),
        ("{times: [{start_time: '10:00'}]}", "end_time is missing"),
        ("{times: [{start_time: 10:00, end_time: '11:00'}]}", "base 60"),
        ("{location: Harare}", "no time zone"),
        ("{location: Local}", "no time zone"),
        ("{location: ../../etc/passwd}", "no time zone"),
        ("{location: America}", "no time zone"),
        ("{day_of_month: ['1']}", "did you mean 'days_of_month'"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(PolicyErrors) as caught:
        interval(text)
    assert message in str(caught.value)
    assert {problem.line for problem in caught.value.problems} == {5}
