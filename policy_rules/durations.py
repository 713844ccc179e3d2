"""Durations as Prometheus writes them: "1h30m", "90s", "250ms", "0"."""

from __future__ import annotations

import re

_UNITS = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> float | None:
    """The seconds in `text` (a whole number as an int), or None where it is no duration."""
    match = _DURATION.fullmatch(text)
    if text == "0":
        return 0
    if not text or match is None:
        return None
    parts = match.groupdict(default="0")
    milliseconds = sum(int(parts[unit]) * round(seconds * 1000) for unit, seconds in _UNITS.items())
    whole, rest = divmod(milliseconds, 1000)
    return milliseconds / 1000 if rest else whole


def duration(seconds: float) -> str:
    """`seconds` as Prometheus writes it, without weeks and years: 5400 is "1h30m"."""
    milliseconds = round(seconds * 1000)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, round(_UNITS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
