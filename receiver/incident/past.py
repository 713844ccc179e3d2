"""What became of former incidents of the same key, and of the diagnoses that were made of them. Pure.

Claude's confidence in itself says little. Beside it stands what its earlier diagnoses for this key were worth: how
often the action that it named was run, and how often the service recovered then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from receiver.incident.consulting import Consultation, Standing
from receiver.incident.states import Incident, Proposal

PAST_MAX = 5
RUNS_MAX = 3  # of one of them


@dataclass(frozen=True, slots=True)
class Former:
    """What is told of a former incident. runs: the first that people let run, and whether each helped."""

    index: int  # of DETECTED
    opened_at: datetime
    reason: str
    closed: str | None
    closed_at: datetime | None
    runs: tuple[tuple[str, bool | None], ...]

    @classmethod
    def of(cls, incident: Incident) -> Former:
        runs = [(str(proposal.body["action"]), helped(proposal)) for proposal in approved(incident)]
        ended = incident.closed, incident.closed_at
        return cls(incident.index, incident.opened_at, incident.reason, *ended, tuple(runs[:RUNS_MAX]))


def past_incidents(of_key: Iterable[Former], before: int) -> list[Former]:
    """The last PAST_MAX of those that were opened before the entry `before`, the newest first."""
    former = [one for one in of_key if one.index < before]
    return sorted(former, key=lambda one: one.index, reverse=True)[:PAST_MAX]


def standing(of_key: Iterable[Incident], before: int) -> Standing:
    """What became of the diagnoses that were made before the entry `before`. of_key: the incidents of one key.

    A diagnosis is judged by the first run of the action that it named, once that run has an end that says something:
    CONFIRMED, UNCONFIRMED, or FAILED after it began. One that named no action, or whose action nobody let run, is made
    and not tried.
    """
    fates = [
        fate
        for one in of_key
        for consultation in one.consultations
        if consultation.outcome_index is not None and consultation.outcome_index < before
        for fate in _fate(one, consultation)
    ]
    tried = [fate for fate in fates if fate is not None]
    return Standing(len(fates), len(tried), sum(tried))


@dataclass(slots=True)
class Tally:
    """`standing` for one key, asked again and again: an incident of which nothing can change any more is seen once.

    Without this a fold would look at every former incident of a key at each diagnosis.
    """

    _known: Standing = field(default_factory=Standing)  # of those that are looked at no more
    _open: list[Incident] = field(default_factory=list)

    def add(self, incident: Incident) -> None:
        self._open.append(incident)

    def standing(self, before: int, oldest: int) -> Standing:
        """oldest: the CONSULTED that is outstanding for the longest; nobody asks for a `before` below it any more."""
        self.settle(oldest)
        return self.so_far(before)

    def so_far(self, before: int) -> Standing:
        return _sum(self._known, standing(self._open, before))

    @property
    def made(self) -> int:
        """How many diagnoses were made in those that are looked at no more."""
        return self._known.made

    def settle(self, oldest: int) -> None:
        """Look no more at what is final."""
        still = []
        for one in self._open:
            if is_final(one, oldest):
                self._known = _sum(self._known, standing([one], oldest))
            else:
                still.append(one)
        self._open = still


def is_final(incident: Incident, oldest: int) -> bool:
    """Whether everything that was asked about it was answered before `oldest`, and every run of it has its end."""
    return (
        not incident.open
        and not any(proposal.live or proposal.verifying for proposal in incident.proposals)
        and all(c.outcome is not None and (c.outcome_index or 0) < oldest for c in incident.consultations)
    )


def _sum(one: Standing, other: Standing) -> Standing:
    return Standing(one.made + other.made, one.tried + other.tried, one.confirmed + other.confirmed)


def _fate(incident: Incident, consultation: Consultation) -> Iterator[bool | None]:
    """Whether what was recommended helped, None where that is not known; nothing where nothing was diagnosed."""
    if consultation.outcome != "DIAGNOSED":
        return
    named = consultation.body.get("recommended_action")
    runs = (
        helped(p)
        for p in incident.proposals
        if p.body["action"] == named and p.dispatched is not None and p.dispatched > consultation.index
    )
    yield next((fate for fate in runs if fate is not None), None)


def helped(proposal: Proposal) -> bool | None:
    """Whether the service recovered after the action ran; None where it did not run, or that is not known."""
    if proposal.verified == "CONFIRMED":
        return True
    return False if proposal.did_not_help else None


def approved(incident: Incident) -> Iterable[Proposal]:
    """What people let run in the incident, in order."""
    return (proposal for proposal in incident.proposals if proposal.authorization is not None)
