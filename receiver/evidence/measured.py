"""How what was measured over time is told: a few values that may be cited, and the points behind them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.evidence.grid import Grid
from receiver.evidence.moving import number
from receiver.papers import Exhibit

UNKNOWN = "unknown"
TEXT_CHARACTERS_MAX = 200
DIGITS = 6  # of a number that we worked out; what Prometheus sent stays as it is
_UNITS = ("seconds", "milliseconds", "bytes", "ratio", "percent", "celsius", "volts", "joules", "meters")


def measured(title: str, query: str, texts: Sequence[str], grid: Grid, *, kind: str = "signal") -> Exhibit:
    """The exhibit of one series. now, at_start, min and max are samples as they were sent; mean is worked out."""
    known = [(value, place) for place, text in enumerate(texts) if (value := number(text)) is not None]
    values = {"now": texts[-1] if texts and number(texts[-1]) is not None else UNKNOWN}
    if known:
        (least, least_at), (most, most_at) = min(known), max(known)
        values |= {
            "at_start": texts[known[0][1]],
            "min": texts[least_at],
            "max": texts[most_at],
            "mean": short(sum(value for value, _ in known) / len(known)),
        }
        if least != most:
            values["peak_at"] = grid.at(most_at).isoformat(timespec="seconds")
    return Exhibit(
        ref="",
        title=title,
        query=query,
        taken_at=grid.end,
        values=values,
        kind=kind,
        points=tuple(texts) if known else (),
        since=grid.since if known else None,
        step_seconds=grid.step_seconds if known else 0,
    )


def short(value: float) -> str:
    """A number that we worked out, without what is noise: "0.0312", "12345.7", never in powers of ten."""
    text = f"{value:.{DIGITS}g}"
    return f"{float(text):.12f}".rstrip("0").rstrip(".") if "e" in text else text


def unit_of(name: str) -> str:
    """The unit that a metric's name ends with, as Prometheus's conventions have it; empty where it names none."""
    if name.endswith("_count"):
        return ""
    last = name.removesuffix("_total").removesuffix("_sum").rpartition("_")[2]
    return last if last in _UNITS else ""


def trimmed(value: object) -> str:
    """What a server said, in one line of text."""
    return " ".join(str("" if value is None else value).split())[:TEXT_CHARACTERS_MAX]
