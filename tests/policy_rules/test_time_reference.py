"""Time, against another calendar: what the system's own `date` says of a moment in a zone, and plain counting of days.

Zones that change their clocks by an hour, by half an hour, and not at all; leap days, the ends of months and years.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from policy_rules.intervals import TimeInterval
from receiver.__main__ import counterfoil

ZONES = {
    # zone → the days on which its clocks change, and nothing else happens
    "Africa/Harare": (),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Asia/Kathmandu": (),
}
EDGES = ("2024-02-29", "2026-02-28", "2026-04-30", "2026-12-31", "2028-02-29", "2100-02-28")
INTERVALS = 60


@dataclass(frozen=True)
class Clock:
    """A moment as `date` tells it in a zone."""

    minute: int
    weekday: int  # 0 is Sunday
    day: date

    def day_from_the_end(self) -> int:
        """-1 on the last day of the month, by counting."""
        day, left = self.day, -1
        while (day + timedelta(days=1)).month == self.day.month:
            day, left = day + timedelta(days=1), left - 1
        return left


def moments(zone: str) -> list[datetime]:
    """Every 17 minutes of the three days around each day that matters; never on the border of a minute alone."""
    days = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (*EDGES, *ZONES[zone])]
    return [day + timedelta(minutes=minute, seconds=minute % 60) for day in days for minute in range(-1440, 2880, 17)]


def told(zone: str, when: Sequence[datetime]) -> Iterator[Clock]:
    program = shutil.which("date")
    if program is None or b"GNU" not in subprocess.run([program, "--version"], capture_output=True, check=False).stdout:
        pytest.skip("GNU date is not on this machine")
    lines = "".join(f"@{int(moment.timestamp())}\n" for moment in when)
    done = subprocess.run(
        [program, "--file=-", "+%H %M %w %Y-%m-%d"],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": zone, "LC_ALL": "C"},
        timeout=60,
    )
    for line in done.stdout.splitlines():
        hour, minute, weekday, day = line.split()
        yield Clock(int(hour) * 60 + int(minute), int(weekday), date.fromisoformat(day))


def drawn(rng: random.Random, zone: str) -> TimeInterval:
    def some(least: int, most: int) -> tuple[tuple[int, int], ...] | None:
        if rng.random() < 0.5:
            return None
        pairs = [sorted((rng.randint(least, most), rng.randint(least, most))) for _ in range(rng.choice((1, 2)))]
        return tuple((first, last) for first, last in pairs)

    times = some(0, 1440)
    days = some(1, 31) if rng.random() < 0.5 else some(-31, -1)
    return TimeInterval(
        times=tuple((begin, end) for begin, end in times if begin < end) if times is not None else None,
        weekdays=some(0, 6),
        days_of_month=days,
        months=some(1, 12),
        years=some(2024, 2028),
        location=zone,
    )


def holds(interval: TimeInterval, clock: Clock) -> bool:
    """What Alertmanager's documentation says, said plainly. Here the days of a range are of one sign."""
    if interval.times is not None and not any(a <= clock.minute < b for a, b in interval.times):
        return False
    for ranges, value in (
        (interval.weekdays, clock.weekday),
        (interval.months, clock.day.month),
        (interval.years, clock.day.year),
    ):
        if ranges is not None and not any(value in range(a, b + 1) for a, b in ranges):
            return False
    if interval.days_of_month is None:
        return True
    value = clock.day.day if interval.days_of_month[0][0] > 0 else clock.day_from_the_end()
    return any(value in range(a, b + 1) for a, b in interval.days_of_month)


@pytest.mark.parametrize("zone", ZONES)
def test_intervals_on_the_clock_of_a_zone(zone: str) -> None:
    rng, when = random.Random(zone), moments(zone)
    clocks = list(told(zone, when))
    assert len(clocks) == len(when)
    reached = set()
    for _ in range(INTERVALS):
        interval = drawn(rng, zone)
        for moment, clock in zip(when, clocks, strict=True):
            expected = holds(interval, clock)
            assert interval.contains(moment) is expected, (interval, moment, clock)
            reached.add((expected, clock.day))
    days = {clock.day for clock in clocks}
    assert {day for hit, day in reached if hit} == days == {day for hit, day in reached if not hit}


@pytest.mark.parametrize("zone", [zone for zone, days in ZONES.items() if days])
def test_the_change_of_the_clocks_is_among_what_was_compared(zone: str) -> None:
    when = moments(zone)
    clocks = list(told(zone, when))
    offsets = {
        (clock.minute - moment.hour * 60 - moment.minute) % 1440 for moment, clock in zip(when, clocks, strict=True)
    }
    assert len(offsets) == 2


HOLDING = """\
policy: {name: holding, version: "1"}
signals: {broken: {max_age: 2m, promql: 'broken'}}
rules:
  - name: holding
    matchers: ['alertname="Broken"']
    group_by: [service]
    detect: {when: [broken >= 1], for: 5m}
    recover: {when: [broken < 1], for: 5m}
"""
CASES = """\
policy: holding.yml
tests:
  - name: five minutes are five minutes
    start: START
    interval: 30s
    labels: {alertname: Broken, service: shop}
    signals: {broken: '1x19 0x40'}
    expect:
      - {at: 4m30s, state: none}
      - {at: 5m30s, state: detected}
      - {at: 14m30s, state: detected}
      - {at: 16m, state: recovered, by: policy}
"""


@pytest.mark.parametrize(
    "start",
    [
        *("2026-03-29T00:57:30Z", "2026-10-25T00:57:30Z", "2026-03-08T06:57:30Z", "2026-04-04T14:57:30Z"),
        *("2028-02-28T23:57:30Z", "2028-02-29T23:57:30Z", "2026-12-31T23:57:30Z", "2016-12-31T23:57:30Z"),
    ],
)
def test_a_hold_is_as_long_as_it_says_whatever_the_clocks_on_the_wall_do(start: str, tmp_path: Path) -> None:
    (tmp_path / "holding.yml").write_text(HOLDING, encoding="utf-8")
    cases = tmp_path / "holding.cases.yml"
    cases.write_text(CASES.replace("START", start), encoding="utf-8")
    result = CliRunner().invoke(counterfoil, ["policy", "test", str(cases)])
    assert result.exit_code == 0, result.output
