"""Synthetic outages with a known cause, as a noisy Prometheus would have scraped them. Made from a seed, and frozen.

They were written without the code that ranks causes. `test_generator.py` pins the bytes: an outage is added, none is
altered. `python -m tests.outages` lists them; with a name it prints that outage's OpenMetrics text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Cause:
    """An acceptable answer: any series whose sample name is `metric` and whose labels include these."""

    metric: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Outage:
    """A two-hour window that ends ten minutes after the alert. Times are UTC."""

    name: str
    story: str
    started_at: datetime  # when the cause began to move
    alert_at: datetime
    labels: Mapping[str, str]  # the alert's
    symptom: str  # PromQL of the signal that fired
    cause: tuple[Cause, ...]  # any of them is right
    _lines: Callable[[], Iterator[str]] = field(repr=False, compare=False)

    def samples(self) -> Iterator[str]:
        """OpenMetrics lines without line ends; the last one is `# EOF`."""
        return self._lines()

    def text(self) -> str:
        """What `promtool tsdb create-blocks-from openmetrics` takes."""
        return "\n".join(self.samples()) + "\n"


def outages() -> Mapping[str, Outage]:
    """All of them by name, in the order of their making."""
    from tests.outages import stores, workloads  # here, since they are made of the classes above

    return {made.name: made for made in (*workloads.OUTAGES, *stores.OUTAGES)}
