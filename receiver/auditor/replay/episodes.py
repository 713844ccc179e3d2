"""What a log knows of each watch and incident: the looks whose readings were kept, and what was asked of policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ledger.carried import is_carried
from ledger.entry import Entry, parse_time
from policy_rules.detection import assign
from policy_rules.permission import PastRun, Person
from policy_rules.readings import Alert, Reading, ReadingState
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Outcome
from receiver.auditor.charters import Archive
from receiver.auditor.replay.difference import Difference
from receiver.auditor.replay.looks import STAGES, subject_of
from receiver.auditor.replay.permissions import past_runs
from receiver.auditor.replay.replaying import Replay
from receiver.incident.assigned import assigned_of
from receiver.incident.basis import Basis
from receiver.incident.states import Key, Watch


@dataclass(frozen=True, slots=True)
class Look:
    """One look whose readings were kept. outcome: what it came to, "persist" for one."""

    at: datetime
    alerts: Sequence[Alert]
    readings: Sequence[Reading]
    outcome: str
    stage: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A moment at which policy was asked what may be done. in_force, people: of that moment."""

    at: datetime
    stage: str  # DETECTED, PROPOSED or AUTHORIZED
    alerts: Sequence[Alert]
    in_force: Rulebook
    people: Sequence[Person]
    past: Sequence[PastRun]
    halted: bool
    readings: Sequence[Reading]
    action: str = ""
    approved_by: Sequence[str] = ()


@dataclass(slots=True)
class Episode:
    """One key from the first look to the end: of a watch that was cleared, or of an incident."""

    index: int  # of WATCHED
    rule: str
    key: Key
    rulebook: Rulebook
    began: datetime
    incident: str | None = None
    opened_at: datetime | None = None
    ended: str | None = None  # CLEARED, RECOVERED or CLOSED; None while it goes on
    ended_at: datetime | None = None
    looks: list[Look] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)


class History(Replay):
    """A walk through a log that collects its episodes, on the books that its verdicts were decided on."""

    def __init__(self, archive: Archive, candidate: Rulebook, tell: Callable[[int], None] = lambda index: None) -> None:
        """tell: called with the index of each entry, for progress."""
        super().__init__(archive)
        self._candidate = candidate
        self._tell = tell
        self._running: dict[int, Episode] = {}  # WATCHED, then DETECTED → episode
        self.episodes: list[Episode] = []
        self.unwatched: dict[str, Alert] = {}  # fingerprint → alert that the candidate alone would watch

    def collect(self) -> list[Difference]:
        """Walk through the whole log. Returns what could not be read of it; `episodes` are then complete."""
        return list(self.differences())

    def _again(self, entry: Entry) -> Iterator[Difference]:
        if entry.stage in STAGES:
            self._look(entry)
        elif entry.stage in ("PROPOSED", "AUTHORIZED"):
            self._ask(entry)
        yield from ()

    def _fold(self, entry: Entry) -> None:
        self._tell(entry.index)
        if entry.stage == "WATCHED" and "requested_by" not in entry.body:  # no rule opens what is asked for by hand
            rulebook = self._charters.rulebook(entry.policy_digest)
            key = tuple(sorted(entry.body["key"].items()))
            found = Episode(entry.index, entry.body["rule"], key, rulebook, entry.timestamp)
            self._running[entry.index] = found
            self.episodes.append(found)
        elif entry.stage in ("DETECTED", "CLEARED", "RECOVERED", "CLOSED"):
            self._settle(entry)
        elif entry.stage == "EVALUATED":
            self._take(entry)

    def _settle(self, entry: Entry) -> None:
        episode = self._running.pop(entry.settles if entry.settles is not None else -1, None)
        if episode is None:
            return
        if is_carried(entry):
            self.episodes.remove(episode)  # the looks that it was decided on are in the former log
        elif entry.stage == "DETECTED":
            episode.incident, episode.opened_at = entry.incident_id, entry.timestamp
            self._running[entry.index] = episode
        else:
            episode.ended, episode.ended_at = entry.stage, entry.timestamp

    def _look(self, entry: Entry) -> None:
        subject = subject_of(entry, self._book)
        episode = self._running.get(subject.index) if subject is not None else None
        if subject is None or episode is None:
            return
        verdict = entry.body["verdict"]
        basis = Basis.of(verdict)
        alerts = self._book.alerts_of(subject.rule, subject.key)
        if entry.stage == "RECOVERED":
            since = episode.looks[-1].at if episode.looks else episode.began
            rows = [row for row in entry.body["hold"] if since < parse_time(row["at"]) < basis.now]
            episode.looks += [_of_hold(row, alerts) for row in rows]
        episode.looks.append(Look(basis.now, alerts, basis.readings, verdict["outcome"], entry.stage))
        if isinstance(subject, Watch) and entry.stage == "DETECTED":
            episode.asked.append(self._asked("DETECTED", basis, alerts))

    def _ask(self, entry: Entry) -> None:
        incident = self._book.incidents.get(entry.incident_id or "")
        episode = self._running.get(incident.index) if incident is not None else None
        if incident is None or episode is None:
            return
        basis = Basis.of(entry.body["verdict"])
        asked = self._asked(entry.stage, basis, self._book.alerts_of(incident.rule, incident.key))
        if entry.stage == "PROPOSED":
            asked = replace(asked, action=entry.body["action"])
        else:
            action = self._book.proposals[entry.settles if entry.settles is not None else -1].body["action"]
            asked = replace(asked, action=action, approved_by=tuple(entry.body["approved_by"]))
        episode.asked.append(asked)

    def _asked(self, stage: str, basis: Basis, alerts: Sequence[Alert]) -> Asked:
        book, charters = self._book, self._charters
        in_force, people = charters.in_force(), charters.people()
        return Asked(basis.now, stage, alerts, in_force, people, past_runs(book), book.halted(), basis.readings)

    def _take(self, entry: Entry) -> None:
        for row in assigned_of(entry, self._archive.blob):
            if row.alert.firing and not row.assignments and assign(self._candidate, row.alert):
                self.unwatched.setdefault(row.alert.fingerprint, row.alert)


def _of_hold(row: Mapping[str, Any], alerts: Sequence[Alert]) -> Look:
    """A look of the hold that RECOVERED carries: the values of what the rule named."""
    at = parse_time(row["at"])
    readings = [
        Reading(name, "", ReadingState.VALUE if value != "unknown" else ReadingState.NO_DATA, value, at, at, "")
        for name, value in row["values"].items()
    ]
    return Look(at, alerts, readings, Outcome.HOLD.value, "LOOKED")
