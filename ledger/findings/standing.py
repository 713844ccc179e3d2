"""What stands open at a place of a log: obligations, incidents, questions. It keeps little of what has ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.accounts import OPENS
from ledger.entry import Entry, canonical, format_time

PROMPTLY = timedelta(minutes=5)  # what has no deadline of its own and is work for the service alone
_LAST = datetime.max.replace(tzinfo=UTC) - PROMPTLY  # from which on a time has no later one
_DEADLINES = {
    "CONSULTED": "until",
    "PROPOSED": "authorize_until",
    "DISPATCHED": "until",
    "EXECUTED": "verify_until",
    "ADDRESSED": "until",
}


@dataclass(slots=True)
class Question:
    """A PROPOSED whose way has not ended. Times are text, as the ledger writes them; "" where it says none."""

    index: int
    incident: str | None
    digest: object
    quorum: object
    approvers: tuple[object, ...]
    expires_at: str
    authorize_until: str
    approvals: dict[int, str] = field(default_factory=dict)  # APPROVED → who
    open: bool = True

    def approved_by(self, cited: tuple[int, ...] | None = None) -> set[str]:
        """Who approved, by any of their entries, or by those that are cited."""
        return {who for index, who in self.approvals.items() if cited is None or index in cited}

    @property
    def needed(self) -> int | None:
        """How many must approve, or None where it does not say so."""
        return self.quorum if type(self.quorum) is int and self.quorum >= 1 else None


@dataclass(slots=True)  # not frozen, which takes twice as long to make: there is one for two entries
class Obligation:
    """An entry that nothing has settled. deadline: text, or "" where there is none."""

    index: int
    stage: str
    actor: str
    tenant: str
    incident: str | None
    deadline: str


class Standing:
    """The books as they stand after the last entry that was taken."""

    def __init__(self) -> None:
        self.outstanding: dict[int, Obligation] = {}
        self.of_incident: defaultdict[str | None, dict[int, str]] = defaultdict(dict)  # open: index → stage
        self.detected: set[str | None] = set()
        self._targets: dict[str | None, bytes] = {}  # of open incidents: what they are about
        self._about: defaultdict[bytes, set[str | None]] = defaultdict(set)  # the same, by what they are about
        self.questions: dict[int, Question] = {}
        self.authorizations: dict[int, Question] = {}  # by AUTHORIZED
        self.declined: set[int] = set()
        self.halts: set[int] = set()

    def stages_of(self, incident: str | None) -> set[str]:
        """The stages of what is open of an incident; none where there is no incident."""
        return set(self.of_incident[incident].values()) if incident in self.of_incident else set()

    def asked_beside(self, incident: str | None) -> set[str]:
        """The live questions of other open incidents about the same target."""
        target = self._targets.get(incident)
        found: set[str] = set()
        for other in self._about.get(target, ()) if target is not None else ():
            if other != incident:
                found |= self.stages_of(other) & {"PROPOSED", "AUTHORIZED"}
        return found

    def take(self, entry: Entry) -> None:
        settled = self.outstanding.pop(entry.settles, None) if entry.settles is not None else None
        if settled is not None:
            self._settle(entry, settled)
        if entry.stage in OPENS:
            self._open(entry)
        if entry.stage == "APPROVED" and (question := self.question_of(entry)) is not None:
            question.approvals[entry.index] = entry.actor
        elif entry.stage == "DECLINED" and entry.cites:
            self.declined.add(entry.cites[0])

    def question_of(self, answer: Entry) -> Question | None:
        """The question that an answer cites first."""
        return self.questions.get(answer.cites[0]) if answer.cites else None

    def _open(self, entry: Entry) -> None:
        self.outstanding[entry.index] = Obligation(
            entry.index, entry.stage, entry.actor, entry.tenant_id, entry.incident_id, self._deadline(entry)
        )
        if entry.incident_id is not None:
            self.of_incident[entry.incident_id][entry.index] = entry.stage
        if entry.stage == "DETECTED":
            self.detected.add(entry.incident_id)
            self._is_about(entry.incident_id, _target(entry))
        elif entry.stage == "PROPOSED":
            self.questions[entry.index] = _question(entry)
        elif entry.stage == "HALTED":
            self.halts.add(entry.index)

    def _settle(self, entry: Entry, settled: Obligation) -> None:
        here = self.of_incident.get(settled.incident)
        if here is not None:
            here.pop(settled.index, None)
            if not here:
                del self.of_incident[settled.incident]
        if settled.stage == "DETECTED":
            self._is_about(settled.incident, None)
        elif settled.stage == "HALTED":
            self.halts.discard(settled.index)
        elif settled.stage == "PROPOSED" and entry.stage == "AUTHORIZED":
            question = self.questions.get(settled.index)
            if question is not None:
                question.open = False
                self.authorizations[entry.index] = question
        elif settled.stage == "PROPOSED":
            self.questions.pop(settled.index, None)
        elif settled.stage == "AUTHORIZED":
            question = self.authorizations.pop(settled.index, None)
            if question is not None:
                self.questions.pop(question.index, None)

    def _is_about(self, incident: str | None, target: bytes | None) -> None:
        """Its target from now on; None where it is not open any more."""
        former = self._targets.pop(incident, None)
        if former is not None:
            self._about[former].discard(incident)
            if not self._about[former]:
                del self._about[former]
        if target is not None:
            self._targets[incident] = target
            self._about[target].add(incident)

    def _deadline(self, entry: Entry) -> str:
        if entry.stage in ("RECEIVED", "HEARD"):
            return format_time(min(entry.timestamp, _LAST) + PROMPTLY)
        if entry.stage == "AUTHORIZED":
            question = self.authorizations.get(entry.index)
            return question.authorize_until if question is not None else ""
        return text(entry.body.get(_DEADLINES.get(entry.stage, "")))


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _question(entry: Entry) -> Question:
    body = entry.body
    approvers: Any = body.get("approvers")
    return Question(
        entry.index,
        entry.incident_id,
        body.get("digest"),
        body.get("quorum"),
        tuple(approvers) if isinstance(approvers, list) else (),
        text(body.get("expires_at")),
        text(body.get("authorize_until")),
    )


def _target(entry: Entry) -> bytes:
    """What an incident is about: its rule and key, which two open incidents never share; else the incident itself."""
    about = entry.body.get("rule"), entry.body.get("key")
    return canonical(about if None not in about else entry.incident_id)
