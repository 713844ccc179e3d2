"""The heartbeat: an alert that must keep arriving, because whoever watches for silence needs somebody who speaks.

Pure. That it is missing, and that it is back, are entries; when it was last heard is known to this process alone, for a
repeated notification is no entry. A restart therefore waits for it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.entry import Entry, parse_time
from policy_rules.matchers import Matcher, matches
from policy_rules.readings import Alert

MISSING, BACK = "heartbeat missing", "heartbeat back"  # the kinds of the NOTED entries
AGAIN = timedelta(hours=1)  # while it is missing, it is said again so often


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What is expected: one of the lists of matchers matches a firing alert at least once in `within_seconds`.

    notify: whom to tell, "role:NAME", "person:NAME" or "everyone".
    """

    matchers: tuple[tuple[Matcher, ...], ...]
    within_seconds: float
    notify: tuple[str, ...]

    def beats(self, alerts: Iterable[Alert]) -> bool:
        """Whether one of `alerts` is it: it fires, and every matcher holds for its labels."""
        wanted = tuple(matcher for group in self.matchers for matcher in group)
        return any(alert.firing and matches(wanted, alert.labels) for alert in alerts)


@dataclass(slots=True)
class Silence:
    """The heartbeat is missing, as the ledger says: since when, how often it was said, and when last."""

    index: int
    since: datetime
    said_at: datetime
    number: int = 1


def fold(silence: Silence | None, entry: Entry) -> Silence | None:
    """The silence after a NOTED entry of one of the two kinds."""
    if entry.body["kind"] == BACK:
        return None
    if silence is None:
        return Silence(entry.index, parse_time(entry.body["since"]), entry.timestamp)
    silence.said_at, silence.number = entry.timestamp, silence.number + 1
    return silence


@dataclass(frozen=True, slots=True)
class Pulse:
    """What this process knows of it. heard_ago: seconds since it was last heard; None: not since the start."""

    heartbeat: Heartbeat
    heard_ago: float | None
    running_for: float

    @property
    def quiet_for(self) -> float:
        return self.running_for if self.heard_ago is None else self.heard_ago

    @property
    def missing(self) -> bool:
        return self.quiet_for >= self.heartbeat.within_seconds


def next_word(pulse: Pulse, silence: Silence | None, now: datetime) -> datetime:
    """When something is to be said of the heartbeat: that it is missing, that it still is, or that it is back."""
    if silence is not None and pulse.heard_ago is not None and not pulse.missing:
        return now
    overdue = now + timedelta(seconds=pulse.heartbeat.within_seconds - pulse.quiet_for)
    return overdue if silence is None else max(overdue, silence.said_at + AGAIN)
