"""What is known of one tenant's log, beside the service: every entry at its commit, and what it must obey.

It shares no code with the governor or the policy: it reads entries, `Terms`, and what the world wrote down. What it
finds wrong it keeps, and the history fails with it. The laws themselves are in laws.py, answers.py and waiting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.accounts import OPENS
from ledger.entry import Entry, parse_time
from receiver.papers import RenderedRequest
from tests.simulation import terms
from tests.simulation.terms import Terms
from tests.simulation.world import Agreement, Knock, Site, Text

FRESH = timedelta(seconds=20)
NO_EXECUTOR = "there is no such executor"
# What the people of an incident must hear of. The end of an incident is the news, not what it took along.
NEWS = {"REJECTED", "EXPIRED", "DISPATCHED", "FAILED", "UNRESOLVED", "UNCONFIRMED", "RECOVERED", "CLOSED"}

NEWS_OF_A_REQUEST = {"DISPATCHED", "UNRESOLVED", "RECOVERED", "CLOSED"}  # whatever else came of it, its end says


@dataclass
class Question:
    """A PROPOSED and what became of it."""

    entry: Entry
    case: Case
    approvals: dict[str, int] = field(default_factory=dict)
    outcome: Entry | None = None
    voided: bool = False
    dispatched: Entry | None = None
    result: Entry | None = None

    @property
    def action(self) -> str:
        return str(self.entry.body["action"])

    @property
    def live(self) -> bool:
        """Whether no other question may stand beside it."""
        if self.outcome is None:
            return True
        if self.outcome.stage != "AUTHORIZED" or self.voided:
            return False
        return self.result is None or self.result.stage == "UNRESOLVED"

    def until(self, name: str) -> datetime:
        return parse_time(self.entry.body[name])


@dataclass
class Case:
    """A DETECTED. service: None where no rule of ours took the alert."""

    entry: Entry
    service: str | None
    terms: Terms
    questions: list[Question] = field(default_factory=list)
    ended: Entry | None = None
    told_of: datetime | None = None  # when its service broke, of all that the ledger had been told when it ended
    told: dict[str, datetime] = field(default_factory=dict)  # when each person was first written to
    last_told: datetime | None = None
    reminded: list[datetime] = field(default_factory=list)
    acknowledged: bool = False
    climbed: tuple[int, int] = (-1, -1)  # the steps of the ladder before, and with, its last ESCALATED

    @property
    def rule(self) -> str:
        return str(self.entry.body["rule"])

    @property
    def requested_by(self) -> str:
        """Who asked for it by hand; empty where an alert opened it."""
        return str(self.entry.body.get("requested_by", ""))


class Model:
    """One tenant's log as it must be. `problems` says where it is not."""

    def __init__(self, site: Site, rules: Mapping[str, Rule]) -> None:
        self.site = site
        self.world = site.world
        self.rules = rules
        self.entries: list[Entry] = []
        self.standing: dict[int, Entry] = {}
        self.halts: dict[int, str] = {}  # HALTED → who
        self.agreed = Agreement(site.terms, {}, {})
        self.changed_at: dict[str, datetime] = {}  # since when each person is in the roster as they are
        self.in_force = ""
        self.known_terms: dict[str, Terms] = {}
        self.cases: dict[str, Case] = {}
        self.questions: dict[int, Question] = {}
        self.by_webhook: dict[str, Question] = {}
        self.sids: dict[str, set[int]] = {}  # the carrier's id → the messages that the ledger knows by it
        self.wrong_codes: list[tuple[str, datetime]] = []
        self.heard: dict[str, Entry] = {}  # HEARD by its id
        self.judged: dict[int, Entry] = {}  # HEARD → what settled it
        self.boots: list[int] = []  # the size of the log at each start of the process
        self.broke: dict[str, datetime] = {}  # when each service broke last, of what was evaluated
        self.untold: dict[int, Entry] = {}  # news that no message to anybody cites yet
        self.late_since: dict[str, float] = {}
        self.problems: list[str] = []

    @property
    def size(self) -> int:
        return len(self.entries)

    def wrong(self, about: Entry | None, law: str) -> None:
        place = f"{about.index} {about.stage}: " if about is not None else ""
        self.problems.append(f"{self.site.tenant}: {place}{law}")

    def need(self, holds: bool, about: Entry | None, law: str) -> None:
        if not holds:
            self.wrong(about, law)

    def case(self, entry: Entry) -> Case:
        return self.cases[entry.incident_id or ""]

    def take(self, post: Sequence[Entry]) -> None:
        """Judge one post at its commit, and remember it."""
        for entry in post:
            self.need(entry.index == self.size, entry, f"law 5: it does not follow {self.size - 1}")
            self.need(entry.tenant_id == self.site.tenant, entry, f"tenants: it is of {entry.tenant_id}")
            self.need(entry.actor != "claude" or entry.stage == "DIAGNOSED", entry, "law 2: claude posted it")
            settled = self.standing.pop(entry.settles, None) if entry.settles is not None else None
            self.need(entry.settles is None or settled is not None, entry, "law 5: it settles what is not open")
            if entry.stage in OPENS:
                self.standing[entry.index] = entry
            self.entries.append(entry)
            case = self.cases.get(entry.incident_id or "")
            if (
                entry.stage in (NEWS if case is None or not case.requested_by else NEWS_OF_A_REQUEST)
                and case is not None
            ):
                self.untold[entry.index] = entry
            rule = self.rules.get(entry.stage)
            if rule is not None:
                rule(self, entry, post)

    # --- what several laws ask ----------------------------------------------------------------------------------------

    def lately(self, service: str | None, within: timedelta = FRESH) -> list[str | None]:
        """What Prometheus said of the service within the last seconds, the latest first; None for no answer."""
        now = self.world.clock.now()
        return [
            read.value if read.state == "value" else None
            for read in reversed(self.world.reads)
            if (read.tenant, read.service) == (self.site.tenant, service) and abs(now - read.at) <= within
        ]

    def able(self, case: Case, action: str) -> list[str]:
        """Who may approve the action, under the incident's policy and under the one in force."""
        both = (case.terms, self.agreed.terms)
        others = {name: p for name, p in self.agreed.staff.items() if name != case.requested_by}
        return sorted(name for name, p in others.items() if all(terms.eligible(t, action, p) for t in both))

    def denials(self, case: Case, action: str, now: datetime) -> list[str]:
        """Why policy forbids the action at `now`, under the incident's terms or those in force."""
        both = (case.terms, self.agreed.terms)
        if not all(t.has(case.rule, action) for t in both):
            return ["there is no such action"]
        found = []
        if both[0].runs() != both[1].runs() or (both[0].retries(action) and not both[1].retries(action)):
            found.append("the two policies mean different things")
        if any(t.frozen(action, now) for t in both):
            found.append("it is a blocked time")
        runs = [
            q.dispatched.timestamp
            for q in self.questions.values()
            if q.dispatched and (q.case.rule, q.action, q.case.service) == (case.rule, action, case.service)
        ]
        for t in both if action != "rollback" else ():
            if sum(now - at < timedelta(hours=1) for at in runs) >= t.limit:
                found.append("the limit is reached")
            if runs and now - max(runs) < timedelta(minutes=t.cooldown_minutes):
                found.append("the cool-down is not over")
        if not all(case.service in t.allow for t in both):
            found.append("the parameter is not allowed")
        if len(self.able(case, action)) < max(t.quorum_of(action) for t in both):
            found.append("too few can approve")
        if self.agreed.terms.executor not in self.agreed.executors:
            found.append(NO_EXECUTOR)
        return found

    def quorum(self, question: Question) -> int:
        """How many must have approved now: what was asked, or what either policy asks, if that is more."""
        both = (question.case.terms, self.agreed.terms)
        return max(int(question.entry.body["quorum"]), *(t.quorum_of(question.action) for t in both))

    def too_few(self, question: Question) -> bool:
        """Whether fewer than the quorum of those who may approve now have approved."""
        return len(set(question.approvals) & set(self.able(question.case, question.action))) < self.quorum(question)

    def restarted_since(self, index: int) -> bool:
        return any(size > index for size in self.boots)

    def clock_is_right(self) -> bool:
        """Whether no clock stepped lately, as far as a process could know that has just begun."""
        last = self.entries[-1].timestamp if self.entries else None
        return last is None or (last - self.world.clock.now()).total_seconds() <= 5

    # --- messages and knocks -----------------------------------------------------------------------------------------

    def text(self, text: Text, to: str | None) -> None:
        """A message that reached the carrier, for `to`: it was posted before, to this person of this tenant."""
        entry = self.entries[text.index] if text.index < self.size else None
        if text.tenant != self.site.tenant or entry is None or entry.stage != "ADDRESSED":
            self.wrong(None, f"law 5: message {text.index} of {text.tenant} was sent and not posted")
            return
        people = [a.staff[text.name] for a in self.site.agreements.values() if text.name in a.staff]
        theirs = {(person.phone, person.at(text.channel)) for person in people}
        known = entry.body["person"] == text.name and (text.phone, to) in theirs
        self.need(known, entry, "law 3: sent to somebody else")
        self.need(entry.body["channel"] == text.channel, entry, f"law 5: sent by {text.channel}")

    def knocked(self, knock: Knock, request: RenderedRequest) -> None:
        """A request that reached an executor: authorized, posted, in time, not while halted, and not settled."""
        question = self.by_webhook.get(knock.webhook_id)
        if question is None or question.dispatched is None:
            self.wrong(None, f"law 3: {knock.webhook_id} was sent without its DISPATCHED")
            return
        about = question.dispatched
        self.need(not self.halts, about, "law 3: sent while halted")
        self.need(about.body["digest"] == request.digest, about, "law 3: another request than the one authorized")
        self.need(f'"tenant":"{self.site.tenant}"' in request.body, about, "tenants: another tenant's request")
        self.need(about.index in self.standing, about, "law 4: sent after its execution was settled")
        self.need(knock.at < parse_time(about.body["until"]), about, "law 4: sent after its deadline")
        self.need(self.clock_is_right(), about, "law 5: sent while the clock is behind the ledger")

    def end(self) -> None:
        """What is judged once, when all is over."""
        for webhook_id, question in self.by_webhook.items():
            knocks = [k for k in self.world.knocks if k.webhook_id == webhook_id]
            if len(knocks) > 1 and not question.entry.body["idempotent"]:
                self.wrong(question.entry, f"law 4: sent {len(knocks)} times")
        self.need(not self.standing, None, f"law 5: left open: {[e.stage for e in self.standing.values()]}")


Rule = Callable[[Model, Entry, Sequence[Entry]], None]
