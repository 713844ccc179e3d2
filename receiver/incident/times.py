"""How long each part of an incident took: defined here, and nowhere else. Pure.

| step | from | to |
|---|---|---|
| detect | RECEIVED, the notification that began the watch; WATCHED where none did | DETECTED |
| notify | DETECTED | the first SENT about it: a carrier took a message to a person |
| decide | the first PROPOSED | the first AUTHORIZED or REJECTED: people decided |
| execute | the first AUTHORIZED that was dispatched | its EXECUTED or FAILED, also where a person settled a doubt |
| recover | DETECTED | RECOVERED: policy says so; a closing by hand is no recovery |

Each is measured once, between times that the ledger gave, and is missing where its end did not come. Of an incident
that was carried forward from a sealed log only its recovery is, for what came before stands there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ledger.carried import began, is_carried
from ledger.entry import Entry

STEPS = ("detect", "notify", "decide", "execute", "recover")


@dataclass(frozen=True, slots=True)
class Took:
    """One step of one incident: between which times, and the index of the entry that ended it."""

    step: str
    since: datetime
    until: datetime
    index: int

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


@dataclass(slots=True)
class Times:
    """The fold of one incident's own entries, DETECTED first. heard_at: of the notification, or of the watch."""

    heard_at: datetime | None
    took: dict[str, Took] = field(default_factory=dict)
    _detected: datetime | None = None
    _carried: bool = False
    _asked: datetime | None = None
    _authorized: dict[int, datetime] = field(default_factory=dict)  # AUTHORIZED → when
    _runs: dict[int, datetime] = field(default_factory=dict)  # DISPATCHED and UNRESOLVED → when it was authorized

    def take(self, entry: Entry) -> None:
        stage, at, settles = entry.stage, entry.timestamp, entry.settles
        if stage == "DETECTED" and is_carried(entry):
            self._detected, self._carried = began(entry), True
        elif self._carried and stage != "RECOVERED":
            return
        elif stage == "DETECTED":
            self._detected = at
            self._end("detect", self.heard_at, entry)
        elif stage == "SENT":
            self._end("notify", self._detected, entry)
        elif stage == "PROPOSED":
            self._asked = self._asked or at
        elif stage in ("AUTHORIZED", "REJECTED"):
            self._end("decide", self._asked, entry)
            if stage == "AUTHORIZED":
                self._authorized[entry.index] = at
        elif stage == "DISPATCHED" and settles in self._authorized:
            self._runs[entry.index] = self._authorized[settles]
        elif stage == "UNRESOLVED" and settles in self._runs:
            self._runs[entry.index] = self._runs[settles]
        elif stage in ("EXECUTED", "FAILED") and settles in self._runs:
            self._end("execute", self._runs[settles], entry)
        elif stage == "RECOVERED":
            self._end("recover", self._detected, entry)

    def ended_by(self, index: int) -> list[Took]:
        """The steps that the entry of this index ended."""
        return [took for took in self.took.values() if took.index == index]

    def _end(self, step: str, since: datetime | None, entry: Entry) -> None:
        if since is not None and step not in self.took:
            self.took[step] = Took(step, since, entry.timestamp, entry.index)
