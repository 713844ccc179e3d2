"""Alertmanager's time intervals: when they contain a moment. `loading` reads them from the file.

Source: Alertmanager's configuration documentation. Every field that is given must hold; within a field one range is
enough. Times of day are half open, all other ranges include both ends. Days of the month below zero count from its
end, and are clamped to the month.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Range = tuple[int, int]

WEEKDAYS: Mapping[str, int] = {
    "sunday": 0,
    "monday": 1,
    "tuesday": 2,
    "wednesday": 3,
    "thursday": 4,
    "friday": 5,
    "saturday": 6,
}
MONTHS: Mapping[str, int] = {
    "january": 1,
    "february": 2,
    "march": 3,
    "april": 4,
    "may": 5,
    "june": 6,
    "july": 7,
    "august": 8,
    "september": 9,
    "october": 10,
    "november": 11,
    "december": 12,
}


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """One interval; None is a field that was not given.

    times: minutes since midnight. weekdays: 0 is Sunday. location: an IANA name.
    """

    times: tuple[Range, ...] | None = None
    weekdays: tuple[Range, ...] | None = None
    days_of_month: tuple[Range, ...] | None = None
    months: tuple[Range, ...] | None = None
    years: tuple[Range, ...] | None = None
    location: str = "UTC"

    def contains(self, moment: datetime) -> bool:
        """Whether `moment` (aware) is within the interval, on the clock of its location."""
        local = moment.astimezone(ZoneInfo(self.location))
        minute = local.hour * 60 + local.minute
        return (
            (self.times is None or any(begin <= minute < end for begin, end in self.times))
            and _within(self.weekdays, local.isoweekday() % 7)
            and (self.days_of_month is None or any(_on_day(days, local) for days in self.days_of_month))
            and _within(self.months, local.month)
            and _within(self.years, local.year)
        )


def is_location(name: str) -> bool:
    """Whether `name` is a time zone that can be loaded; the machine's own ("Local") is none, for it may change."""
    if name == "Local":
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _within(ranges: tuple[Range, ...] | None, value: int) -> bool:
    return ranges is None or any(begin <= value <= end for begin, end in ranges)


def _on_day(days: Range, local: datetime) -> bool:
    length = monthrange(local.year, local.month)[1]
    begin, end = (day if day > 0 else length + day + 1 for day in days)
    return begin <= local.day <= end
