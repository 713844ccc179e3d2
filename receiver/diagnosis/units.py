"""Units of measure: what a number may be written in, what an exhibit is in, and how a value is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from receiver.papers import Exhibit

DIGITS_SHOWN = 4  # significant ones, of a value that is rendered


@dataclass(frozen=True, slots=True)
class Unit:
    """dimension: what it measures; "" of a bare number. factor: how many of the dimension's own unit it is."""

    dimension: str
    factor: Decimal = Decimal(1)

    def per(self, seconds: int) -> Unit:
        """The rate of it over so many seconds; a count's is "1/s"."""
        of = "" if self.dimension in ("", "count") else f"{self.dimension} "
        return Unit(f"{of}1/s", self.factor / seconds)


BARE, COUNT, RATIO, PERCENT = Unit(""), Unit("count"), Unit("ratio"), Unit("ratio", Decimal("0.01"))
SECOND, BYTE, CORE, TIMESTAMP = Unit("seconds"), Unit("bytes"), Unit("cores"), Unit("timestamp")
LASTING: Mapping[str, int] = {
    "second": 1,
    "sec": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "h": 3600,
    "day": 86_400,
}


def _lasting() -> dict[str, Unit]:
    words: dict[str, Unit] = {}
    for factor, names in (
        ("1e-9", "ns nanosecond nanoseconds"),
        ("1e-6", "us µs μs microsecond microseconds"),
        ("1e-3", "ms msec millisecond milliseconds"),
        ("1", "s sec secs second seconds"),
        ("60", "min mins minute minutes m"),
        ("3600", "h hr hrs hour hours"),
        ("86400", "d day days"),
        ("604800", "week weeks"),
    ):
        words |= dict.fromkeys(names.split(), Unit("seconds", Decimal(factor)))
    return words


def _sizes() -> dict[str, Unit]:
    words = dict.fromkeys(("B", "byte", "bytes"), BYTE)
    for power, (short, ten, two) in enumerate((("K", "kilo", "kibi"), ("M", "mega", "mebi"), ("G", "giga", "gibi"))):
        words |= _size(power + 1, short, ten, two)
    return words | _size(4, "T", "tera", "tebi")


def _size(power: int, short: str, ten: str, two: str) -> dict[str, Unit]:
    of_ten, of_two = Unit("bytes", Decimal(1000) ** power), Unit("bytes", Decimal(1024) ** power)
    names = {f"{short}B": of_ten, f"{short.lower()}B": of_ten, f"{ten}byte": of_ten, f"{ten}bytes": of_ten}
    return names | {f"{short}iB": of_two, f"{short}i": of_two, f"{two}byte": of_two, f"{two}bytes": of_two}


WORDS: Mapping[str, Unit] = {
    **_lasting(),
    **_sizes(),
    **dict.fromkeys(("%", "percent", "pct", "points"), PERCENT),
    **dict.fromkeys(("core", "cores"), CORE),
}
_RATE = re.compile(r"(.*?)\s*(?:/|\bper\b)\s*(s|sec|second|min|minute|h|hour)")
_TITLE_UNITS = (("percent", PERCENT), ("ratio", RATIO), ("share", RATIO), ("seconds", SECOND), ("bytes", BYTE))
_TIMES = (("86400", "d"), ("3600", "h"), ("60", "min"), ("1", "s"), ("0.001", "ms"), ("0.000001", "µs"))
_SIZES = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "bytes"))


def read_unit(text: str) -> Unit | None:
    """The unit that a text names, such as "ms" or "requests/s"; None for a word that is none."""
    rate = _RATE.fullmatch(text)
    if rate is not None:
        inner = WORDS.get(rate[1].strip(), COUNT)
        return inner.per(LASTING[rate[2]])
    if text in ("count", "ratio", "timestamp"):
        return Unit(text)
    return WORDS.get(text) or WORDS.get(text.lower() if len(text) > 3 else text)


def unit_of(exhibit: Exhibit) -> Unit:
    """What the values of `exhibit` are in: as it says, else as its title does, else bare numbers."""
    if exhibit.unit:
        return read_unit(exhibit.unit) or COUNT
    words = re.findall(r"[a-z]+", exhibit.title.lower())
    named = (unit for word, unit in _TITLE_UNITS if word in words)
    return BARE if "per" in words else next(named, BARE)


def number(text: str) -> Decimal | None:
    """A finite number as Prometheus writes it."""
    try:
        value = Decimal(text)
    except (InvalidOperation, ValueError):
        return None
    return value if value.is_finite() and abs(value.adjusted()) < 400 else None


def rendered(exhibit: Exhibit, name: str) -> str:
    """The value `name` of `exhibit` for a person: short, and in the unit that the exhibit says that it is in."""
    text = exhibit.values[name]
    value = number(text)
    if value is None or not exhibit.unit or name == "z":
        return text
    unit = unit_of(exhibit)
    if unit == TIMESTAMP:
        moment = moment_of(value)
        return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else text
    if unit.dimension == "ratio":
        return f"{short(value * unit.factor * 100)}%"
    if unit.dimension == "seconds":
        return _scaled(value * unit.factor, [(Decimal(size), word) for size, word in _TIMES])
    if unit.dimension == "bytes":
        return _scaled(value * unit.factor, [(Decimal(size), word) for size, word in _SIZES])
    return short(value) if unit == COUNT else f"{short(value)} {exhibit.unit}"


def moment_of(value: Decimal) -> datetime | None:
    """A Unix time, where it is one."""
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _scaled(value: Decimal, scale: list[tuple[Decimal, str]]) -> str:
    base = next(one for one in scale if one[0] == 1)
    size, word = next((one for one in scale if abs(value) >= one[0]), scale[-1]) if value else base
    return f"{short(value / size)} {word}"


def short(value: Decimal) -> str:
    """At most DIGITS_SHOWN significant digits, but every digit of a whole number; never in powers of ten."""
    places = max(0, DIGITS_SHOWN - 1 - value.adjusted()) if value else 0
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
