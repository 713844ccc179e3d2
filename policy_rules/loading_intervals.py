"""The time_intervals of a policy: Alertmanager's syntax, read strictly.

Source of the rules: Alertmanager's configuration documentation and its observed refusals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from policy_rules.fields import Fields, read_text
from policy_rules.intervals import MONTHS, WEEKDAYS, Range, TimeInterval, is_location
from policy_rules.problems import nearest

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_KEYS = ("times", "weekdays", "days_of_month", "months", "years", "location")
SHORTEST_MONTH = 28


class _BadRange(Exception):
    """The message says why a text is no range."""


def read_intervals(top: Fields) -> dict[str, tuple[TimeInterval, ...]]:
    """The named intervals. Each name holds several; it contains what one of them contains."""
    found: dict[str, tuple[TimeInterval, ...]] = {}
    for path, item in top.items("time_intervals"):
        fields = Fields(top.notes, path, item, ("name", "time_intervals"))
        name = fields.text("name")
        fields.required("time_intervals")
        intervals = tuple(_interval(Fields(top.notes, p, v, _KEYS)) for p, v in fields.items("time_intervals"))
        if name in found:
            fields.wrong("name", f"a time interval {name!r} stands above already")
        if name:
            found[name] = intervals
    return found


def _interval(fields: Fields) -> TimeInterval:
    location = fields.text("location", "UTC")
    if location and not is_location(location):
        fields.wrong("location", f"location {location!r} is no time zone of the IANA database, like Africa/Harare")
        location = "UTC"
    return TimeInterval(
        times=_times(fields),
        weekdays=_ranges(fields, "weekdays", lambda text: _named(text, WEEKDAYS, "weekday")),
        days_of_month=_ranges(fields, "days_of_month", _day, _check_days),
        months=_ranges(fields, "months", _month),
        years=_ranges(fields, "years", _year),
        location=location or "UTC",
    )


def _times(fields: Fields) -> tuple[Range, ...] | None:
    if "times" not in fields:
        return None
    found: list[Range] = []
    for path, item in fields.items("times"):
        times = Fields(fields.notes, path, item, ("start_time", "end_time"))
        hint = "a time of day is HH:MM, at most 24:00"
        start, end = (times.text(name, pattern=_TIME.pattern, hint=hint) for name in ("start_time", "end_time"))
        if start and end:
            begin, stop = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
            if begin >= stop:
                times.wrong("end_time", "end_time must be after start_time; a span over midnight is two intervals")
            found.append((begin, stop))
    return tuple(found)


def _ranges(
    fields: Fields, name: str, read: Callable[[str], int], check: Callable[[Range], None] | None = None
) -> tuple[Range, ...] | None:
    """A list of `A` or `A:B`."""
    if name not in fields:
        return None
    found: list[Range] = []
    for path, item in fields.items(name):
        plain = isinstance(item, int) and not isinstance(item, bool)
        text = str(item) if plain else read_text(fields.notes, path, item)
        if text is None:
            continue
        try:
            found.append(_range(text, read, check))
        except _BadRange as error:
            fields.notes.add(path, f"{name}: {error}")
    return tuple(found)


def _range(text: str, read: Callable[[str], int], check: Callable[[Range], None] | None) -> Range:
    begin, colon, end = (part.strip().lower() for part in text.partition(":"))
    found = (read(begin), read(end if colon else begin))
    if check is not None:
        check(found)
    elif found[0] > found[1]:
        raise _BadRange(f"{end} is before {begin}; write two ranges")
    return found


def _check_days(days: Range) -> None:
    begin, end = days
    if begin < 0 < end:
        raise _BadRange("the end must count from the end of the month too, when the start does")
    first, last = (SHORTEST_MONTH + day if day < 0 else day for day in days)
    if first > last:
        raise _BadRange(f"day {end} is always before day {begin}")


def _day(text: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,2}", text) is None or not 1 <= abs(int(text)) <= 31:
        raise _BadRange(f"{text!r} is no day of the month; it is 1 to 31, or -1 to -31 from the end")
    return int(text)


def _month(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,2}", text) and 1 <= int(text) <= 12:
        return int(text)
    return _named(text, MONTHS, "month")


def _year(text: str) -> int:
    if re.fullmatch(r"[0-9]{4}", text) is None:
        raise _BadRange(f"{text!r} is no year")
    return int(text)


def _named(text: str, names: Mapping[str, int], what: str) -> int:
    if text not in names:
        raise _BadRange(f"{text!r} is no {what}{nearest(text, names)}")
    return names[text]
