"""What the book holds of a tenant: one record for each thing that is open, was open, or was decided.

Records are the fold's own working copies of what stands in the ledger. Nothing here is a second source of truth: a
start reads the ledger and makes the same records again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from policy_rules.approval import levels_of
from policy_rules.readings import Alert
from policy_rules.verdict import Memory
from receiver.incident.consulting import FOLLOW_UPS_MAX, Consultation
from receiver.incident.times import Times

Key = tuple[tuple[str, str], ...]
RESUMED_ACTION = "resumed action"  # the kind of the NOTED by which a person lets an action be proposed again
TAKEN = "taken"  # the kind of the NOTED that an executor took a request, and where its result is asked for


def key_of(labels: Mapping[str, str]) -> Key:
    """The group key as a hashable value, sorted by label name."""
    return tuple(sorted(labels.items()))


class IncidentState(StrEnum):
    """One word for where an incident stands; derived, never stored."""

    DETECTED = "detected"
    PROPOSED = "proposed"
    AUTHORIZED = "authorized"
    EXECUTING = "executing"
    UNRESOLVED = "unresolved"
    VERIFYING = "verifying"
    RECOVERED = "recovered"
    CLOSED = "closed"


@dataclass(slots=True)
class KnownAlert:
    """The last word on one fingerprint. `ended_at` stays when it fires again, to tell old news from new.

    number: how many fingerprints were known before it first came.
    """

    alert: Alert
    assignments: tuple[tuple[str, Key], ...]
    ended_at: datetime | None = None
    number: int = 0


@dataclass(slots=True)
class Watch:
    """An outstanding WATCHED: policy looks until it is an incident or clear."""

    index: int
    rule: str
    key: Key
    since: datetime
    heard_at: datetime  # when what began it came: the notification, where one did
    received: int
    policy_digest: str
    carried_at: datetime | None = None  # when it was carried forward from a sealed log
    looks: int = 0
    memory: Memory = field(default_factory=Memory)
    hold: Sequence[Mapping[str, Any]] = ()  # the looks of a hold that runs, as far as they stand in the ledger
    outcome: str = ""


@dataclass(slots=True)
class Message:
    """An ADDRESSED and what became of it. `sids`: every carrier id known to be a copy of it."""

    index: int
    person: str
    kind: str
    incident_id: str | None
    proposal: int | None
    until: datetime
    addressed_at: datetime
    content_digest: str
    reply_to: int | None = None
    channel: str = "whatsapp"
    digest: bool = False  # it stands for others that were not sent
    wanted: bool = False  # its person has just asked for the question that it puts
    drill: int | None = None  # the entry that began the drill that it asks about
    sids: set[str] = field(default_factory=set)
    outcome: str | None = None

    @property
    def subject(self) -> int | None:
        """What a tap on it is about: a PROPOSED, or the beginning of a drill."""
        return self.proposal if self.proposal is not None else self.drill


@dataclass(frozen=True, slots=True)
class Taken:
    """The executor took the request, and is asked for its result at `poll`, from `at` on and until `until`."""

    poll: str
    at: datetime
    until: datetime


@dataclass(slots=True)
class Proposal:
    """A PROPOSED, its answers, and its authorization and execution while these are open."""

    index: int
    incident_id: str
    number: int
    body: Mapping[str, Any]
    request_digest: str
    proposed_at: datetime
    expires_at: datetime
    authorize_until: datetime
    approvals: dict[str, int] = field(default_factory=dict)
    declined_by: str | None = None
    outcome: str | None = None  # the stage that settled it
    outcome_index: int | None = None
    decided_by: str | None = None
    authorization: int | None = None  # index of AUTHORIZED
    dispatched: int | None = None  # index of DISPATCHED
    dispatched_at: datetime | None = None
    execute_until: datetime | None = None
    taken: Taken | None = None
    result: str | None = None  # EXECUTED, FAILED, UNRESOLVED, WRITTEN_OFF, VOIDED
    result_index: int | None = None  # the entry that says so
    ran: bool = True  # False where it is certain that the action never began
    verify_until: datetime | None = None
    verified: str | None = None  # CONFIRMED, UNCONFIRMED, WAIVED

    @property
    def open(self) -> bool:
        return self.outcome is None

    @property
    def authorized(self) -> bool:
        """AUTHORIZED stands and is neither dispatched nor voided."""
        return self.authorization is not None and self.dispatched is None and self.result is None

    @property
    def executing(self) -> bool:
        return self.dispatched is not None and self.result is None

    @property
    def in_suspense(self) -> bool:
        return self.result == "UNRESOLVED"

    @property
    def verifying(self) -> bool:
        return self.result == "EXECUTED" and self.verified is None

    @property
    def live(self) -> bool:
        """While this is true no second proposal of the incident may stand beside it."""
        return self.open or self.authorized or self.executing or self.in_suspense

    @property
    def did_not_help(self) -> bool:
        """It ran, and failed or the service did not recover in time."""
        return (self.result == "FAILED" and self.ran) or self.verified == "UNCONFIRMED"

    @property
    def quorum_met(self) -> bool:
        return self.many_approved and all(level.met(self.approvals) for level in levels_of(self.body))

    @property
    def many_approved(self) -> bool:
        """As many as the quorum asks, of whichever level."""
        return len(self.approvals) >= int(self.body["quorum"])


@dataclass(slots=True)
class Incident:
    id: str
    index: int  # of DETECTED
    rule: str
    key: Key
    title: str
    summary: str
    severity: str
    reason: str
    opened_at: datetime
    policy_version: str
    policy_digest: str
    carried_at: datetime | None = None  # when it was carried forward from a sealed log
    proposals: list[Proposal] = field(default_factory=list)
    consultations: list[Consultation] = field(default_factory=list)
    told_at: datetime | None = None  # the first PROPOSED or ESCALATED
    escalated: int = -1  # the last step of the ladder that was taken
    reminders: int = 0
    reminded_at: datetime | None = None
    held_until: datetime | None = None  # somebody is "on it"
    called: set[int] = field(default_factory=set)  # messages of the last step that may still reach somebody
    lost: int = 0  # messages of the last step that did not
    ladder_from: datetime | None = None  # where the first word was muted: when it came
    mutes: int = 0  # how often it was noted that nobody is told
    muted: bool = False  # since the last word
    looks: int = 0
    memory: Memory = field(default_factory=Memory)
    hold: Sequence[Mapping[str, Any]] = ()  # the looks of a hold that runs, as far as they stand in the ledger
    outcome: str = ""  # of the last look
    closed: str | None = None  # RECOVERED or CLOSED
    closed_index: int | None = None
    closed_at: datetime | None = None
    closed_with: Mapping[str, datetime] = field(default_factory=dict)  # by fingerprint: when its alerts had begun
    continues: str | None = None  # the incident that it counts as a part of
    part: int = 1
    tried_before: frozenset[str] = frozenset()  # in the parts before
    people: set[str] = field(default_factory=set)  # everyone who was written to about it
    gone: set[str] = field(default_factory=set)  # fingerprints that vanished without a resolved
    requested_by: str = ""  # who asked for it by hand; empty where an alert opened it
    requested_action: str = ""
    said: object = None  # what `reason` says, as the DETECTED keeps it for people
    times: Times = field(default_factory=lambda: Times(None))

    @property
    def open(self) -> bool:
        return self.closed is None

    @property
    def unreached(self) -> bool:
        """Nobody of those who were called last could be reached."""
        return self.lost > 0 and not self.called

    @property
    def tried(self) -> frozenset[str]:
        """Actions that ran and did not help since the last reminder; a reminder may ask for them again.

        What was tried before it broke again counts, too, for it is the same incident.
        """
        since = self.reminded_at
        return (self.tried_before if since is None else frozenset()) | {
            proposal.body["action"]
            for proposal in self.proposals
            if proposal.did_not_help and (since is None or proposal.proposed_at > since)
        }

    @property
    def last(self) -> Proposal | None:
        return self.proposals[-1] if self.proposals else None

    @property
    def diagnosis(self) -> Consultation | None:
        """The last consultation that brought a diagnosis."""
        return next((c for c in reversed(self.consultations) if c.outcome == "DIAGNOSED"), None)

    @property
    def asks_claude(self) -> bool:
        """When it opens; and once more when an action did not help. Law 2: what was answered has no part in it."""
        if not self.consultations:
            return True
        if self.consultations[-1].outcome is None or len(self.consultations) > FOLLOW_UPS_MAX:
            return False
        return any(proposal.did_not_help for proposal in self.proposals)

    @property
    def state(self) -> IncidentState:
        if self.closed:
            return IncidentState(self.closed.lower())
        last = self.last
        if last is None:
            return IncidentState.DETECTED
        for reached, state in (
            (last.open, IncidentState.PROPOSED),
            (last.authorized, IncidentState.AUTHORIZED),
            (last.executing, IncidentState.EXECUTING),
            (last.in_suspense, IncidentState.UNRESOLVED),
            (last.verifying, IncidentState.VERIFYING),
        ):
            if reached:
                return state
        return IncidentState.DETECTED


@dataclass(frozen=True, slots=True)
class News:
    """An entry that the people of its incident have not been told of yet."""

    index: int
    stage: str
    incident_id: str
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An outstanding HEARD, as it was posted."""

    index: int
    at: datetime
    body: Mapping[str, Any]
    incident_id: str | None
