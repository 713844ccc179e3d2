"""Run one case: the real governor, on a made-up outside, with the clock in the case's hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from ledger.entry import Entry
from policy_rules import conditions, detection, permission
from policy_rules.approval import needed
from policy_rules.casebook.cases import Case, CaseAlert, Event, Expectation
from policy_rules.readings import Alert, Query
from policy_rules.rulebook import EVERYONE, Rule, Rulebook
from policy_rules.verdict import Finding, Verdict
from receiver.governor.desk import Charter, Desk, Member
from receiver.governor.loop import Governor
from receiver.incident.states import Incident
from receiver.metrics import Metrics
from receiver.papers import Recipient
from receiver.rehearsal.expecting import Missed, compare
from receiver.rehearsal.happening import Happenings
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock, CaseExecutors, Outside

TENANT = "rehearsal"
TURNS_MAX = 500
REST_SECONDS = 60.0  # with nothing due, the clock goes on in steps of at most this
ROUNDS = 4  # of the event loop, in which a step beside the turn comes to its end: nothing outside makes it wait


@dataclass(frozen=True, slots=True)
class Reached:
    """What a case reached of its policy: rules that opened something, terms by their value, actions proposed."""

    rules: frozenset[str]
    terms: frozenset[tuple[str, str, bool]]  # (rule, "NAME OPERATOR NUMBER", value)
    actions: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: `missed` is empty where everything held. log: every entry, in order."""

    case: Case
    missed: tuple[Missed, ...]
    reached: Reached
    log: tuple[Entry, ...] = field(repr=False)  # asyncio writes down what a task came to, and a log is long


def run_case(case: Case, rulebook: Rulebook, people: Mapping[str, tuple[str, ...]] | None) -> Outcome:
    """Run `case` under `rulebook`. people: name → roles; None for a roster of everyone whom policy or case names."""
    return asyncio.run(_Run(case, rulebook, people or roster_for(case, rulebook)).run())


def roster_for(case: Case, rulebook: Rulebook) -> dict[str, tuple[str, ...]]:
    """A roster for a case that has none: everyone whom the policy or the case names, with every role there is."""
    roles, names = set[str](), {event.by for event in case.events if event.by}
    for rule in rulebook.rules:
        for action in rule.actions.values():
            for level in (action.approvers, action.approvers.second):
                roles |= set(level.roles) if level is not None else set()
                names |= set(level.people) if level is not None else set()
        for wanted in (word for step in rule.escalation for word in step.notify if word != EVERYONE):
            kind, _, name = wanted.partition(":")
            (roles if kind == "role" else names).add(name)
    quorum = max((needed(a) for r in rulebook.rules for a in r.actions.values()), default=1)
    names |= {f"person-{number}" for number in range(1, max(1, quorum) + 1)} if len(names) < quorum else set()
    return {name: tuple(sorted(roles)) for name in sorted(names) or ["person-1"]}


@dataclass(slots=True)
class _CaseDesk(Desk):
    """A desk that keeps the value of every comparison that policy makes at a look. terms: as in Reached."""

    terms: set[tuple[str, str, bool]] = field(default_factory=set)

    def looked_at(self, subject: int, verdict: Verdict, now: datetime) -> None:
        Desk.looked_at(self, subject, verdict, now)
        self.keep(verdict.rule, verdict.findings)

    def keep(self, rule: str, findings: Iterable[Finding]) -> None:
        self.terms |= {(rule, term_text(found), found.holds) for found in findings if found.holds is not None}


@dataclass(slots=True)
class _Run:
    case: Case
    rulebook: Rulebook
    people: Mapping[str, tuple[str, ...]]
    missed: list[Missed] = field(default_factory=list)
    rules: set[str] = field(default_factory=set)
    states: list[tuple[datetime, Incident, str]] = field(default_factory=list)
    clock: CaseClock = field(init=False)
    outside: Outside = field(init=False)
    journal: MemoryJournal = field(init=False)
    desk: _CaseDesk = field(init=False)
    governor: Governor = field(init=False)
    happenings: Happenings = field(init=False)

    def __post_init__(self) -> None:
        self.clock = CaseClock(self.case.start)
        self.outside = Outside(self.case, self.clock)
        self.journal = MemoryJournal(TENANT, self.clock.now)
        members = {
            name: Member(
                Recipient(name, f"whatsapp:+100000000{place:02}"), frozenset(roles), f"{place:064x}", pin="has one"
            )
            for place, (name, roles) in enumerate(sorted(self.people.items()))
        }
        executors = {a.executor: "http://rehearsal.example/" for r in self.rulebook.rules for a in r.actions.values()}
        self.desk = _CaseDesk(
            tenant=TENANT,
            journal=self.journal,
            clock=self.clock,
            evidence=self.outside,
            alert_source=self.outside,
            diagnostician=self.outside,
            carrier=self.outside,
            executors=CaseExecutors(self.outside),
            charter=Charter(self.rulebook, members, executors),
            metrics=_metrics(),
            secret=b"rehearsal",
            model="none",
        )
        self.governor = Governor(self.desk, poll=False)
        self.happenings = Happenings(self.desk, self.outside)

    async def run(self) -> Outcome:
        await self.governor.start()
        try:
            await self._play()
        finally:
            self.outside.diagnosed.set()
            await self.governor.drain()
        actions = frozenset(
            (self.desk.book.incidents[p.incident_id].rule, str(p.body["action"]))
            for p in self.desk.book.proposals.values()
        )
        reached = Reached(frozenset(self.rules), frozenset(self.desk.terms), actions)
        return Outcome(self.case, tuple(self.missed), reached, tuple(self.journal.log))

    async def _play(self) -> None:
        """Take every moment of the case in order: its events, then whatever is due, then what is expected."""
        case = self.case
        plan: dict[datetime, list[Event | Expectation]] = {}
        for alert in case.alerts:
            labels = alert.labels
            plan.setdefault(self._at(alert.from_seconds), []).append(
                Event(alert.from_seconds, "fire", "", details=labels)
            )
            if alert.until_seconds is not None:
                plan.setdefault(self._at(alert.until_seconds), []).append(
                    Event(alert.until_seconds, "resolve", "", details=labels)
                )
            self._own_signals(alert)
        for event in case.events:
            plan.setdefault(self._at(event.at_seconds), []).append(event)
        times = [event.at_seconds for event in case.events]
        times += [expected.at_seconds for expected in case.expectations if expected.at_seconds is not None]
        end = max(times, default=0)
        for expectation in case.expectations:
            at = self._at(expectation.at_seconds if expectation.at_seconds is not None else end)
            plan.setdefault(at, []).append(expectation)
        for moment in sorted(plan):
            await self._until(moment)
            for item in plan[moment]:
                if isinstance(item, Event):
                    await self._happen(item)
                    await self._rest()
            await self._rest()
            for item in plan[moment]:
                if isinstance(item, Expectation):
                    self.missed += compare(item, self.desk.book, self.journal.log, self.outside.messages, self.states)

    def _at(self, seconds: float) -> datetime:
        return self.case.start + timedelta(seconds=seconds)

    def _own_signals(self, alert: CaseAlert) -> None:
        """The samples that an alert brings with it answer the queries that are made for its key."""
        seen = Alert("0", alert.labels, {}, True, self.case.start, None)
        for assigned in detection.assign(self.rulebook, seen):
            rule = self.rulebook.rule(assigned.rule)
            for query in (*detection.queries(self.rulebook, rule, assigned.key), *self._wanted(rule, assigned.key)):
                if query.name in alert.signals:
                    self.outside.own[(query.name, query.promql)] = alert.signals[query.name]

    def _wanted(self, rule: Rule, key: Mapping[str, str]) -> Iterator[Query]:
        """What the rule's actions ask for conditions of their own."""
        for action in rule.actions:
            yield from permission.may_ask(self.rulebook, self.rulebook, rule.name, action, key)

    # --- time -----------------------------------------------------------------------------------------------------

    async def _until(self, moment: datetime) -> None:
        """Let the clock run to `moment`, stopping wherever something falls due."""
        while self.clock.now() < moment:
            later = await self._rest()
            step = self.clock.now() + timedelta(seconds=REST_SECONDS)
            self.clock.advance(min(moment, step, max(later or step, self.clock.now() + timedelta(milliseconds=1))))

    async def _rest(self) -> datetime | None:
        """Turn until nothing is due; when the next thing will be. What waits for a diagnosis is not waited for."""
        for _ in range(TURNS_MAX):
            before = len(self.journal.log)
            taken, later = await self.governor.turn()
            for _ in range(ROUNDS):
                if not self.governor.busy(waiting_for_claude=bool(taken) or self.outside.diagnosed.is_set()):
                    break
                await asyncio.sleep(0)  # the steps beside the turn go on
            self._look()
            if not taken and len(self.journal.log) == before:
                return later
            for incident in self.desk.book.open.values():
                self._judge_actions(incident)
        raise RuntimeError(f"case {self.case.name!r}: the agenda does not come to rest")

    def _look(self) -> None:
        """Keep what was reached: every state of every incident."""
        now = self.clock.now()
        for incident in self.desk.book.incidents.values():
            state = incident.state.value
            known = next((s for _, i, s in reversed(self.states) if i is incident), None)
            if state != known:
                self.states.append((now, incident, state))
                self.rules.add(incident.rule)

    def _judge_actions(self, incident: Incident) -> None:
        """The conditions of the actions, by what was last read for them."""
        rule, key = self.rulebook.rule(incident.rule), dict(incident.key)
        readings = [r for q in self._wanted(rule, key) if (r := self.outside.readings.get((q.name, q.promql)))]
        alerts = self.desk.book.alerts_of(incident.rule, incident.key)
        known = conditions.values(self.rulebook, alerts, tuple(dict.fromkeys(readings)), self.clock.now())
        for action in rule.actions.values():
            if action.when is not None:
                self.desk.keep(rule.name, conditions.judge(action.when, known).findings)

    async def _happen(self, event: Event) -> None:
        why = await self.happenings.happen(event)
        if why is not None:
            at = (self.clock.now() - self.case.start).total_seconds()
            self.missed.append(Missed(self.case.line, at, event.what, event.value, f"impossible: {why}"))


@cache
def _metrics() -> Metrics:
    """One for all cases of a process: they are counted, and nobody asks for the numbers."""
    return Metrics()


def term_text(finding: Finding) -> str:
    return f"{finding.name} {finding.operator} {finding.threshold}"
