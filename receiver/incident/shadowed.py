"""A candidate policy beside the one in force: what the ledger says of it, and what a process remembers of its looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Entry
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Memory
from receiver.incident.states import Key, key_of

SHADOW = "shadow"  # the kinds of the NOTED of a candidate: what it would do
SHADOW_ADOPTED = "shadow adopted"  # and which one it is from now on
Subject = tuple[str, Key]  # a rule of the candidate, and a key


@dataclass(slots=True)
class Shadowed:
    """The fold of a candidate's entries.

    digest: of the candidate that stands beside, if any. open: what it would have open → the entry that says so.
    missed: incidents of the policy in force (their DETECTED) of which it said that it would not have opened them yet.
    noted: how many entries there are.
    """

    digest: str | None = None
    open: dict[Subject, int] = field(default_factory=dict)
    missed: set[int] = field(default_factory=set)
    noted: int = 0

    def take(self, entry: Entry) -> None:
        """Fold a NOTED of a candidate."""
        body: Mapping[str, Any] = entry.body
        self.noted += 1
        if body["kind"] == SHADOW_ADOPTED:
            self.digest = body["policy"]["digest"] if body["policy"] is not None else None
            self.open.clear()
            self.missed.clear()
            return
        subject = (str(body["rule"]), key_of(body["key"]))
        if body["event"] == "detect":
            self.open[subject] = entry.index
        elif body["event"] == "recover":
            self.open.pop(subject, None)
        else:
            self.missed.update(body["in_force"])


@dataclass(slots=True)
class Shadow:
    """What this process remembers of the candidate's looks. evaluated: how many EVALUATED it has looked after."""

    rulebook: Rulebook
    memories: dict[Subject, Memory] = field(default_factory=dict)
    looked: dict[Subject, datetime] = field(default_factory=dict)
    evaluated: int = -1

    def next_look(self, evaluated: int, now: datetime) -> datetime | None:
        """When it looks again: at once where alerts changed, None while there is nothing to look at."""
        if self.evaluated != evaluated:
            return now
        return min((at + self._every(subject) for subject, at in self.looked.items()), default=None)

    def due(self, subject: Subject, now: datetime) -> bool:
        last = self.looked.get(subject)
        return last is None or last + self._every(subject) <= now

    def _every(self, subject: Subject) -> timedelta:
        return timedelta(seconds=self.rulebook.rule(subject[0]).evaluate_every_seconds)
