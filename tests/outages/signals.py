"""Noisy series with a seed: gauges, counters and histograms that drift, jitter and change.

Only +, -, *, / and `random.Random` are used (no sine, no logarithm), so the bytes are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

DAY = 86_400.0
PAGE = 4096
NEVER = 1e12
REQUEST_TIMEOUT = 30.0  # seconds: no request of the town takes longer
NOT_A_NUMBER = "NaN"


@dataclass(frozen=True)
class Change:
    """From `at` on a value moves, over `over` seconds, to `times` itself plus `plus`; from `until` on it goes back.

    back: how many seconds that takes; as long as the way there if it is not given.
    """

    at: float
    over: float = 60.0
    times: float = 1.0
    plus: float = 0.0
    until: float = NEVER
    back: float | None = None

    def share(self, second: float) -> float:
        """0 before it begins, 1 when it is whole."""
        if second < self.at:
            return 0.0
        if second >= self.until:
            back = self.over if self.back is None else self.back
            return max(0.0, 1.0 - (second - self.until) / back) if back > 0 else 0.0
        return min(1.0, (second - self.at) / self.over) if self.over > 0 else 1.0


@dataclass(frozen=True)
class Beat:
    """The scrapes of one target: (seconds since the window began, the time as it is written, whether it was missed)."""

    ticks: Sequence[tuple[float, str, bool]]
    first_clock: float  # Unix seconds of the window's beginning
    restarts: Sequence[float] = ()


def white(random: Random) -> float:
    """Mean 0, deviation 1, never beyond 3."""
    return 2.0 * (random.random() + random.random() + random.random() - 1.5)


def wave(turns: float) -> float:
    """A parabola's stand-in for the sine: -1 to 1, once a turn."""
    part = turns % 1.0
    return 16.0 * part * (0.5 - part) if part < 0.5 else -16.0 * (part - 0.5) * (1.0 - part)


@dataclass
class Signal:
    """A value that has a level, a daily drift, slow jitter, noise and changes."""

    base: float
    noise: float = 0.03
    jitter: float = 0.02
    drift: float = 0.08
    floor: float = 0.0
    cap: float = NEVER
    changes: list[Change] = field(default_factory=list)

    def values(self, beat: Beat, random: Random) -> Iterator[float]:
        """One a tick, missed ones too."""
        slow, phase = 0.0, random.random()
        for second, _, _ in beat.ticks:
            slow = 0.95 * slow + 0.31 * white(random)
            shake = self.noise * white(random)
            day = self.drift * wave((beat.first_clock + second) / DAY + phase)
            value = self.base * (1.0 + day + self.jitter * slow + shake)
            for change in self.changes:
                share = change.share(second)
                if share:
                    value = value * (1.0 + (change.times - 1.0) * share) + change.plus * share * (1.0 + shake)
            yield min(self.cap, max(self.floor, value))


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


@dataclass
class Gauge:
    """grain: what the value is a multiple of; 0 for a fraction with six digits. Present from `since` until `gone`."""

    name: str
    labels: dict[str, str]
    signal: Signal
    grain: float = 0.0
    since: float = 0.0
    gone: float = NEVER
    kind: str = "gauge"

    def lines(self, beat: Beat, random: Random) -> Iterator[str]:
        """Its samples, oldest first."""
        head = self.name + _labels(self.labels)
        for (second, clock, missed), value in zip(beat.ticks, self.signal.values(beat, random), strict=True):
            if missed or not self.since <= second < self.gone:
                continue
            text = f"{value:.6f}" if not self.grain else f"{int(value / self.grain + 0.5) * self.grain:.0f}"
            yield f"{head} {text} {clock}"


@dataclass
class Unset:
    """A series that is scraped and is never a number."""

    name: str
    labels: dict[str, str]
    kind: str = "gauge"

    def lines(self, beat: Beat, random: Random) -> Iterator[str]:
        """Its samples, oldest first."""
        head = self.name + _labels(self.labels)
        for _, clock, missed in beat.ticks:
            if not missed:
                yield f"{head} {NOT_A_NUMBER} {clock}"


@dataclass
class Counter:
    """signal: its rate a second; whole: whether it counts things, or adds up seconds."""

    name: str  # with `_total`
    labels: dict[str, str]
    signal: Signal
    whole: bool = True
    kind: str = "counter"

    def lines(self, beat: Beat, random: Random) -> Iterator[str]:
        """Its samples, oldest first."""
        head = self.name + _labels(self.labels)
        total = self.signal.base * (20_000.0 + 60_000.0 * random.random())
        before, restarts = 0.0, sorted(beat.restarts)
        for (second, clock, missed), rate in zip(beat.ticks, self.signal.values(beat, random), strict=True):
            total += rate * (second - before)
            before = second
            if restarts and second >= restarts[0]:
                total = rate * (second - restarts.pop(0))
            if not missed:
                yield f"{head} {int(total)} {clock}" if self.whole else f"{head} {total:.6f} {clock}"


@dataclass
class Histogram:
    """signal: requests a second; median: seconds. Of n requests, n·x³/(1+x³) take less than x medians."""

    name: str
    labels: dict[str, str]
    signal: Signal
    median: Signal
    bounds: tuple[float, ...] = (0.1, 0.5, 1.0, 2.5)
    kind: str = "histogram"

    def lines(self, beat: Beat, random: Random) -> Iterator[str]:
        """Its samples, oldest first, one series after the other."""
        heads = [f"{self.name}_bucket{_labels({**self.labels, 'le': str(bound)})}" for bound in self.bounds]
        heads.append(f"{self.name}_bucket{_labels({**self.labels, 'le': '+Inf'})}")
        heads += [f"{self.name}_{end}{_labels(self.labels)}" for end in ("count", "sum")]
        begun = self.signal.base * (20_000.0 + 60_000.0 * random.random())
        totals = self._added(begun, self.median.base)
        before, restarts = 0.0, sorted(beat.restarts)
        rows: list[list[str]] = [[] for _ in heads]
        rates, medians = self.signal.values(beat, random), self.median.values(beat, random)
        for (second, clock, missed), rate, median in zip(beat.ticks, rates, medians, strict=True):
            gap, before = second - before, second
            if restarts and second >= restarts[0]:
                totals, gap = [0.0] * len(heads), second - restarts.pop(0)
            totals = [old + new for old, new in zip(totals, self._added(rate * gap, median), strict=True)]
            if missed:
                continue
            for row, head, total in zip(rows, heads, totals[:-1], strict=False):
                row.append(f"{head} {int(total)} {clock}")
            rows[-1].append(f"{heads[-1]} {totals[-1]:.6f} {clock}")
        for row in rows:
            yield from row

    def _added(self, requests: float, median: float) -> list[float]:
        cubes = [(bound / median) * (bound / median) * (bound / median) for bound in self.bounds]
        below = [requests * cube / (1.0 + cube) for cube in cubes]
        return [*below, requests, requests, requests * min(1.2 * median, REQUEST_TIMEOUT)]


Series = Gauge | Unset | Counter | Histogram
