"""Drills: a real message and a real tap, about nothing. Pure.

A drill is no incident: only a verdict of policy opens one. So no rule, limit, breaker or book of incidents, proposals
or executions ever sees it, and nothing of it can be taken for what happened in earnest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ledger.entry import Entry, parse_time

DRILL = "drill"  # somebody asked for one
ANSWERED, RAN, OVER = "drill answered", "drill ran", "drill over"
KINDS = (DRILL, ANSWERED, RAN, OVER)
OUTCOMES = ("approved", "rejected", "expired")


@dataclass(slots=True)
class Drill:
    """index: of the entry that began it. outcome: one of OUTCOMES once it is over."""

    index: int
    id: str
    person: str
    until: datetime
    outcome: str | None = None


@dataclass(slots=True)
class Drills:
    """By the index of the entry that began each."""

    known: dict[int, Drill] = field(default_factory=dict)
    open: dict[int, Drill] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Fold a NOTED of one of KINDS."""
        body = entry.body
        if body["kind"] == DRILL:
            drill = Drill(entry.index, body["drill"], body["person"], parse_time(body["until"]))
            self.known[entry.index] = self.open[entry.index] = drill
        elif body["kind"] == OVER:
            self.open.pop(entry.cites[0], None)
            self.known[entry.cites[0]].outcome = body["outcome"]

    def of(self, person: str) -> Drill | None:
        """The drill that `person` has not answered yet."""
        return next((drill for drill in self.open.values() if drill.person == person), None)
