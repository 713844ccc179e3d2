"""What became of former incidents of the same key, and of the diagnoses that were made of them. Pure.

Claude's confidence in itself says little. Beside it stands what its earlier diagnoses for this key were worth: how
often the action that it named was run, and how often the service recovered then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from receiver.incident.consulting import Consultation, Standing
from receiver.incident.states import Incident, Proposal

PAST_MAX = 5


def past_incidents(of_key: Sequence[Incident], incident: Incident) -> list[Incident]:
    """The last PAST_MAX before `incident`, the newest first. of_key: those of its rule and key, the oldest first."""
    former = [one for one in of_key if one.index < incident.index]
    return former[: -PAST_MAX - 1 : -1]


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
