"""What every step of a governor works with: the book, the journal, the offices, the policies and the roster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Back, Blob, Draft, canonical
from ledger.journal import Journal, Receipt
from policy_rules.loading import load
from policy_rules.permission import PastRun, Person
from policy_rules.readings import Alert, Reading
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Memory, Verdict
from receiver.governor.folding import fold_on
from receiver.governor.ports import AlertSource, Carrier, Clock, Diagnostician, Evidence, Executors, Silencer
from receiver.governor.remembering import Memos
from receiver.incident.basis import Basis, Decided
from receiver.incident.book import Book
from receiver.incident.duty import NO_DUTY, Duty
from receiver.incident.forgetting import KEPT_CLOSED
from receiver.incident.heartbeat import Heartbeat, Pulse
from receiver.incident.outbox import NO_LIMIT, Pace
from receiver.incident.shadowed import Shadow
from receiver.incident.states import Incident, Key, Proposal
from receiver.metrics import Metrics
from receiver.papers import WHATSAPP, ExecutionResult, Recipient

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A person of the roster: how to reach them and what they may be asked."""

    recipient: Recipient
    roles: frozenset[str]
    address_hmac: str
    suspended: bool = False
    off_duty: frozenset[str] = frozenset()  # roles that are somebody else's turn
    pin: str | None = field(default=None, repr=False)  # a slow hash of it

    def person(self) -> Person:
        return Person(self.recipient.name, self.roles, self.suspended, self.off_duty, self.pin is not None)


@dataclass(frozen=True, slots=True)
class Charter:
    """What is in force for a tenant: the policy, the people and the executors that an ADOPTED names.

    executors: name → url, or all of its settings but the secrets. observe: nothing is proposed. shadow: a candidate
    that decides beside the policy and moves nothing. heartbeat: the alert that must keep arriving. link_origins: where
    links of messages lead. duty: who takes turns at which role.
    """

    rulebook: Rulebook
    people: Mapping[str, Member]
    executors: Mapping[str, Any]
    observe: bool = False
    shadow: Rulebook | None = None
    heartbeat: Heartbeat | None = None
    link_origins: frozenset[str] = frozenset()
    duty: Duty = NO_DUTY

    def roster_bytes(self) -> bytes:
        rows: dict[str, dict[str, Any]] = {}
        for name, member in self.people.items():
            rows[name] = {"roles": sorted(member.roles), "address_hmac": member.address_hmac}
            if member.suspended:
                rows[name]["suspended"] = True
            if member.pin is not None:
                rows[name]["pin"] = True
            if member.off_duty:
                rows[name]["off_duty"] = sorted(member.off_duty)
        return canonical(rows)


@dataclass(slots=True)
class Desk:
    """One tenant's working place. Everything mutable here is a cache, or is about this process alone.

    looked, decided, memories, holds: when policy looked last, what it said, its memory, and the verdicts of the hold
    that runs, by subject.
    opening: watches whose DETECTED is being posted, or is not folded yet. spoilt: the entry that was folded by half.
    deferred: steps that are not to be tried again before a time. mine: proposals whose DISPATCHED this process
    posts, or has posted, and has not sent yet; an execution that is not in it was left by a crash. answered: by
    DISPATCHED, what an attempt came to and whether it was the first, until it is booked. began, heard_at: of the
    monotonic clock, when this process began to listen for the heartbeat, and when it heard it last. candidates,
    deploys: PromQL of the configuration that a case file asks beside what it finds by itself. memos: what a first fold
    begins with, where there is a file for it.
    """

    tenant: str
    journal: Journal
    clock: Clock
    evidence: Evidence
    alert_source: AlertSource
    diagnostician: Diagnostician
    carrier: Carrier
    executors: Executors
    charter: Charter
    metrics: Metrics
    secret: bytes = field(repr=False)
    public_url: str = ""
    pace: Pace = NO_LIMIT
    model: str = ""
    silencer: Silencer | None = None
    candidates: tuple[str, ...] = ()
    deploys: tuple[str, ...] = ()
    memos: Memos | None = None
    book: Book = field(init=False)
    policies: dict[str, Rulebook] = field(default_factory=dict)
    looked: dict[int, datetime] = field(default_factory=dict)
    decided: dict[int, Decided] = field(default_factory=dict)
    memories: dict[int, Memory] = field(default_factory=dict)
    holds: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    nudged: set[int] = field(default_factory=set)
    opening: set[int] = field(default_factory=set)
    deferred: dict[str, datetime] = field(default_factory=dict)
    mine: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    answered: dict[int, tuple[ExecutionResult, bool]] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    spoilt: int | None = None
    trusted: bool = True
    began: float = 0.0
    heard_at: float | None = None
    shadow: Shadow | None = None
    folding: asyncio.Lock = field(default_factory=asyncio.Lock)
    decision: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.book = Book(self.tenant, kept=KEPT_CLOSED)
        self.began = self.clock.monotonic()

    # --- the ledger ------------------------------------------------------------------------------------------------

    async def post(self, *drafts: Draft) -> Receipt:
        """Post all of `drafts` or nothing. Raises the journal's errors; the caller's step is then planned anew."""
        return await self.journal.post(self.tenant, drafts)

    async def fold(self) -> int:
        """Fold what is new in the log; by how many entries the book grew.

        One at a time: the governor's turn and whoever asks through the API read the same page, and it is folded once.
        """
        async with self.folding:
            return await fold_on(self)

    async def level(self) -> None:
        """Fold until the book holds every entry that was committed before this returns."""
        while await self.journal.size(self.tenant) > self.book.size:
            await self.fold()

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[None]:
        """Level with the log, and alone until the post: what is decided inside rests on what stands at its commit.

        Steps run beside each other and beside requests. Without this a result could come to an incident that ends in
        the post before it, and a policy could be replaced between a check and its post.
        """
        async with self.decision:
            await self.level()
            yield

    async def load_policies(self) -> None:
        """Read the text of every policy that an outstanding watch or incident was opened under."""
        wanted = {watch.policy_digest for watch in self.book.watches.values()}
        wanted |= {incident.policy_digest for incident in self.book.open.values()}
        for runs in (self.book.verifications, self.book.executions, self.book.suspense):
            wanted |= {self.book.incidents[p.incident_id].policy_digest for p in runs.values()}
        wanted |= {self.book.incidents[news.incident_id].policy_digest for news in self.book.news.values()}
        for digest in wanted - set(self.policies) - {self.charter.rulebook.digest}:
            blob = await self.journal.blob(self.tenant, self.book.policies[digest])
            self.policies[digest] = load((blob or b"").decode(), file=f"policy {digest[:8]}", environment={})

    def policy(self, digest: str) -> Rulebook:
        """The rulebook of `digest`. Raises KeyError if it was never adopted."""
        in_force = self.charter.rulebook
        return in_force if digest == in_force.digest else self.policies[digest]

    def policy_or_in_force(self, digest: str) -> Rulebook:
        """The rulebook of `digest`, or the one in force where a closed incident's is no longer in memory."""
        return self.policies.get(digest, self.charter.rulebook)

    def looked_at(self, subject: int, verdict: Verdict, now: datetime) -> None:
        """Policy looked at a watch or an incident: what the next look needs to know, and one more verdict counted."""
        self.memories[subject] = verdict.memory
        self.looked[subject] = now
        self.nudged.discard(subject)
        self.metrics.policy_decisions.labels(self.tenant, verdict.rule, verdict.outcome.value).inc()

    # --- questions that several steps ask -----------------------------------------------------------------------------

    def now(self) -> datetime:
        """The governor's time: never behind the ledger."""
        wall = self.clock.now()
        return wall if self.book.last_time is None else max(wall, self.book.last_time)

    def persons(self) -> tuple[Person, ...]:
        return tuple(member.person() for _, member in sorted(self.charter.people.items()))

    def past_runs(self) -> tuple[PastRun, ...]:
        return tuple(run.as_past() for run in self.book.runs)

    def alerts_of(self, incident: Incident) -> list[Alert]:
        return self.book.alerts_of(incident.rule, incident.key)

    def may_act(self) -> bool:
        """Law 5: no authorization and no dispatch while time or the anchor is in doubt."""
        return self.trusted and self.journal.anchor_error() is None

    def pulse(self) -> Pulse | None:
        """What is known of the heartbeat; None where none is expected."""
        if self.charter.heartbeat is None:
            return None
        now = self.clock.monotonic()
        heard = None if self.heard_at is None else now - self.heard_at
        return Pulse(self.charter.heartbeat, heard, now - self.began)

    def basis(self, now: datetime, memory: Memory | None = None, readings: Sequence[Reading] = ()) -> Basis:
        """What is decided on at `now`: the book as it is folded, and what a look knows beside it."""
        return Basis(self.book.size, now, memory or Memory(), tuple(readings))

    def defer(self, name: str, seconds: float) -> None:
        self.deferred[name] = self.now() + timedelta(seconds=seconds)


def by_policy(rulebook: Rulebook, **fields: Any) -> Draft:
    """A draft by `policy` that names the version and digest that made it."""
    return Draft(actor="policy", policy_version=rulebook.version, policy_digest=rulebook.digest, **fields)


def addressed(
    about: str,
    person: str,
    kind: str,
    variables: Mapping[str, str],
    *,
    until: datetime,
    subject: str,
    incident_id: str | None,
    cites: tuple[int | Back, ...],
    channel: str = WHATSAPP,
) -> Draft:
    """ADDRESSED: one message to one person. What it says stands in the blob; codes and tokens never do."""
    return Draft(
        id=f"address:{about}:{person}",
        stage="ADDRESSED",
        actor="system",
        incident_id=incident_id,
        reason=subject,
        cites=cites,
        body={
            "person": person,
            "kind": kind,
            "channel": channel,
            "until": stamp(until),
            "subject": subject,
        },
        blobs=(Blob("content", canonical(dict(variables))),),
    )


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def key_text(key: Key) -> str:
    """How a person reads a key: "service=checkout"."""
    return ", ".join(f"{name}={value}" for name, value in key) or "(no key)"


def incident_of(desk: Desk, proposal: Proposal) -> Incident:
    return desk.book.incidents[proposal.incident_id]
