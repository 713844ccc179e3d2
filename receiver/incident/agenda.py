"""What is due next, and when: a pure function of the book, the policies and the time.

Nothing is remembered beside the ledger of what is still to be done. After a crash the same question gives the same
work, so recovery is: fold, ask, do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from policy_rules.ladder import rungs
from policy_rules.muting import may_tell
from policy_rules.rulebook import Rule, Rulebook
from policy_rules.verdict import Outcome
from receiver.incident import duty, overflow
from receiver.incident.book import Book
from receiver.incident.heartbeat import Pulse, next_word
from receiver.incident.outbox import NO_LIMIT, Pace, too_many, turns
from receiver.incident.states import Incident, Message, Proposal

REMIND_EVERY = timedelta(minutes=30)
CONSULT_SECONDS = 45
OPEN_INCIDENTS_MAX = 1_200  # more at once are watched, not opened, until some have ended


class Kind(StrEnum):
    """The steps of the governor, in the order in which they are taken when several are due."""

    EVALUATE = "evaluate"
    JUDGE = "judge"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    VOID = "void"
    EXPIRE = "expire"
    UNRESOLVE = "unresolve"
    UNCONFIRM = "unconfirm"
    GIVE_UP_DIAGNOSIS = "give_up_diagnosis"
    GIVE_UP_MESSAGE = "give_up_message"
    EXECUTE = "execute"
    DISPATCH = "dispatch"
    AUTHORIZE = "authorize"
    CONSULT = "consult"
    MUTE = "mute"
    PROPOSE = "propose"
    ESCALATE = "escalate"
    REMIND = "remind"
    CLOSE = "close"
    TELL = "tell"
    DIGEST = "digest"
    SEND = "send"
    LOOK = "look"
    SHADOW = "shadow"
    LISTEN = "listen"
    DUTY = "duty"
    SILENCE = "silence"
    CATCH_UP = "catch_up"
    END_DRILL = "end_drill"


_ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Due:
    """One step: its kind, the index of the entry that it is about, and when it is due."""

    kind: Kind
    subject: int
    at: datetime

    @property
    def name(self) -> str:
        """Unique among the steps that can be due at once; a step in progress is known by it."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class View:
    """What the agenda needs beside the book.

    policy: the rulebook of a digest (an incident keeps the policy under which it was opened).
    looked: when policy last looked at a WATCHED or DETECTED index; kept in memory, so a restart looks at once.
    nudged: indices to look at now because an alert of theirs changed.
    deferred: steps by name that were tried and are not to be tried again before a time.
    shadow_at: when a candidate beside the policy in force looks again.
    suspended: people whom an entry suspended; what they were asked is asked anew of others.
    pace: how many messages one person gets.
    pulse: what is known of the heartbeat, where one is expected.
    vacant, duty_at: roles of which nobody is on duty, and when that may change next.
    may_act: False while the clock is in doubt or the anchor cannot be written: no authorization, no dispatch.
    """

    policy: Callable[[str], Rulebook]
    in_force: Rulebook
    looked: Mapping[int, datetime]
    nudged: frozenset[int]
    deferred: Mapping[str, datetime] = field(default_factory=dict)
    may_act: bool = True
    shadow_at: datetime | None = None
    pulse: Pulse | None = None
    suspended: frozenset[str] = frozenset()
    pace: Pace = NO_LIMIT
    vacant: frozenset[str] = frozenset()
    duty_at: datetime | None = None


def agenda(book: Book, view: View, now: datetime) -> tuple[list[Due], datetime | None]:
    """The steps that are due at `now`, in order, and the earliest time after `now` at which another falls due."""
    due: list[Due] = []
    later: datetime | None = None
    for step in _steps(book, view, now):
        at = max(step.at, view.deferred.get(step.name, step.at)) if view.deferred else step.at
        if at <= now:
            due.append(step)
        elif later is None or at < later:
            later = at
    due.sort(key=lambda step: (_ORDER[step.kind], step.subject))
    return due, later


def _steps(book: Book, view: View, now: datetime) -> Iterator[Due]:
    for index, entry in book.received.items():
        yield Due(Kind.EVALUATE, index, entry.timestamp)
    for index, heard in book.heard.items():
        yield Due(Kind.JUDGE, index, heard.at)
    for watch in book.watches.values():
        rule = view.policy(watch.policy_digest).rule(watch.rule)
        yield Due(Kind.LOOK, watch.index, _next_look(view, watch.index, watch.since, rule))
    for index, (_, consultation) in book.consultations.items():
        yield Due(Kind.GIVE_UP_DIAGNOSIS, index, consultation.until)
    for index, message in book.unsettled_messages.items():
        yield Due(Kind.GIVE_UP_MESSAGE, index, message.until)
    yield from _of_messages(book, view.pace, now)
    live = {incident.last.index: incident.last for incident in book.open.values() if incident.last is not None}
    live |= {proposal.index: proposal for proposal in (*book.executions.values(), *book.verifications.values())}
    for proposal in live.values():
        yield from _of_proposal(
            proposal, view, now, overtaken=book.overtaken(book.incidents[proposal.incident_id]) is not None
        )
    for incident in book.open.values():
        yield from (_of_request if incident.requested_by else _of_incident)(incident, book, view, now)
    for index, drill in book.drills.open.items():
        yield Due(Kind.END_DRILL, index, drill.until)
    if view.shadow_at is not None:
        yield Due(Kind.SHADOW, 0, view.shadow_at)
    if view.pulse is not None:
        yield Due(Kind.LISTEN, 0, next_word(view.pulse, book.silence, now))
    said = duty.next_word(book.duties, view.vacant, now), view.duty_at
    yield from (Due(Kind.DUTY, 0, at) for at in said if at is not None)
    yield from (Due(Kind.SILENCE, index, now) for index in book.silences.pending)
    over, catch_up_at = book.overflow, overflow.next_step(book.overflow, len(book.watches))
    if over is not None and catch_up_at is not None:
        yield Due(Kind.CATCH_UP, over.index, catch_up_at)
    latest: dict[str, int] = {}
    for index, news in book.news.items():
        latest[news.incident_id] = max(index, latest.get(news.incident_id, -1))
    for index in latest.values():
        incident = book.incidents[book.news[index].incident_id]
        # Whoever has answered is awake, and hears what became of it.
        waits = not _answered(incident) and _muted(incident, book, view, now)
        yield Due(Kind.TELL, index, _next_minute(now) if waits else book.news[index].at)


def _of_messages(book: Book, pace: Pace, now: datetime) -> Iterator[Due]:
    waiting: dict[str, list[Message]] = {}
    for message in book.unsettled_messages.values():
        if not message.sids:
            waiting.setdefault(message.person, []).append(message)
    for person, messages in waiting.items():
        planned = list(turns(messages, book.outbox(person).sent, pace, now))
        late = too_many(planned, now)
        if late:
            yield Due(Kind.DIGEST, late[-1].index, now)
        for message, at in planned:
            yield Due(Kind.SEND, message.index, at)


def _of_proposal(proposal: Proposal, view: View, now: datetime, *, overtaken: bool) -> Iterator[Due]:
    if proposal.open:
        outdated = overtaken or proposal.body["in_force"] != view.in_force.digest
        if proposal.declined_by is not None:
            yield Due(Kind.REJECT, proposal.index, now)
        elif outdated or view.suspended & set(proposal.body["approvers"]):
            # Law 3: an answer counts for the policy version that it was asked under. Another one asks anew.
            yield Due(Kind.WITHDRAW, proposal.index, now)
        elif proposal.quorum_met and now <= proposal.authorize_until:
            if view.may_act:
                yield Due(Kind.AUTHORIZE, proposal.index, now)
            yield Due(Kind.EXPIRE, proposal.index, _after(proposal.authorize_until))
        elif proposal.many_approved:
            # Enough people, and not of both levels: the ledger counts them, and lets it expire with the grace.
            yield Due(Kind.EXPIRE, proposal.index, _after(proposal.authorize_until))
        else:
            yield Due(Kind.EXPIRE, proposal.index, proposal.expires_at)
    elif proposal.authorized and proposal.authorization is not None:
        if overtaken or proposal.body["in_force"] != view.in_force.digest:
            yield Due(Kind.VOID, proposal.authorization, now)
        elif now <= proposal.authorize_until and view.may_act:
            yield Due(Kind.DISPATCH, proposal.authorization, now)
        yield Due(Kind.VOID, proposal.authorization, _after(proposal.authorize_until))
    elif proposal.executing and proposal.dispatched is not None and proposal.execute_until is not None:
        yield Due(Kind.EXECUTE, proposal.dispatched, now)
        yield Due(Kind.UNRESOLVE, proposal.dispatched, proposal.execute_until)
    elif proposal.verifying and proposal.verify_until is not None and proposal.result_index is not None:
        yield Due(Kind.UNCONFIRM, proposal.result_index, proposal.verify_until)


def _of_incident(incident: Incident, book: Book, view: View, now: datetime) -> Iterator[Due]:
    rule = view.policy(incident.policy_digest).rule(incident.rule)
    yield Due(Kind.LOOK, incident.index, _next_look(view, incident.index, incident.opened_at, rule))
    if incident.asks_claude:
        yield Due(Kind.CONSULT, incident.index, incident.opened_at)
    words = list(_words(incident, rule))
    if any(max(d.at, view.deferred.get(d.name, d.at)) <= now for d in words) and _muted(incident, book, view, now):
        # Nothing ends in silence: it is looked at again each minute, and said when the interval is over.
        words = [replace(due, at=max(due.at, _next_minute(now))) for due in words]
        if not incident.muted:
            yield Due(Kind.MUTE, incident.index, now)
    yield from words


def _of_request(incident: Incident, book: Book, view: View, now: datetime) -> Iterator[Due]:
    """What a person asked for by hand: one question, one run, one verification; then it is over, whatever came of it.

    It climbs no ladder and asks no model, for nothing says that anything is broken. Only a doubt is said again.
    """
    last = incident.last
    if last is None:
        yield Due(Kind.PROPOSE, incident.index, incident.opened_at)
    elif last.verifying:
        rule = view.policy(incident.policy_digest).rule(incident.rule)
        yield Due(Kind.LOOK, incident.index, _next_look(view, incident.index, incident.opened_at, rule))
    elif not last.live:
        yield Due(Kind.CLOSE, incident.index, now)
    elif last.in_suspense:
        yield Due(Kind.REMIND, incident.index, _last_word(incident) + REMIND_EVERY)


def _words(incident: Incident, rule: Rule) -> Iterator[Due]:
    """What is to be said to people of an open incident: a question, the next step of the ladder, a reminder."""
    last = incident.last
    if last is None or not (last.live or last.verifying):
        asked_at = _ask_at(incident, rule)
        if asked_at is not None:
            yield Due(Kind.PROPOSE, incident.index, asked_at)
    if incident.told_at is None:
        return
    # The ladder is climbed while nobody has decided: also, and first of all, while the question is open.
    undecided = last is None or last.open or last.outcome in ("EXPIRED", "WITHDRAWN")
    steps = rungs(rule)
    if undecided and incident.escalated + 1 < len(steps):
        at = (incident.ladder_from or incident.opened_at) + timedelta(
            seconds=steps[incident.escalated + 1].after_seconds
        )
        if incident.unreached:
            at = incident.told_at  # nobody heard of the step before: waiting for them would be waiting for nobody
        held = incident.held_until
        yield Due(Kind.ESCALATE, incident.index, max(at, incident.told_at, held or at))
    # While an action runs, or policy waits for its effect, a deadline of its own speaks next. A doubt has none.
    if last is None or last.in_suspense or not (last.authorized or last.executing or last.verifying):
        yield Due(Kind.REMIND, incident.index, _last_word(incident) + REMIND_EVERY)


def _ask_at(incident: Incident, rule: Rule) -> datetime | None:
    """When policy is asked for the next action of `incident`, or None while a reminder must come first.

    A rejection is a person's word and an expiry is silence: neither is answered with the same question at once.
    """
    last = incident.last
    if incident.told_at is None:
        wait = timedelta(seconds=rule.diagnosis_wait_seconds)
        consultation = incident.consultations[-1] if incident.consultations else None
        if consultation is not None and consultation.outcome is not None:
            return incident.opened_at
        return incident.opened_at + wait
    if last is None:
        if any(action.when is not None or action.breaker is not None for action in rule.actions.values()):
            return incident.told_at  # what is not needed yet may come to be, and somebody may resume what is held back
        reminded = incident.reminded_at
        return reminded if reminded is not None and reminded > (incident.told_at or reminded) else None
    if last.outcome == "WITHDRAWN" or last.result in ("FAILED", "VOIDED", "WRITTEN_OFF") or last.verified:
        return last.proposed_at
    if last.outcome == "EXPIRED" and incident.reminded_at is not None and incident.reminded_at > last.proposed_at:
        return incident.reminded_at
    return None


def _last_word(incident: Incident) -> datetime:
    """The last time at which somebody was told anything that asks for something."""
    times = [incident.told_at or incident.opened_at]
    if incident.reminded_at is not None:
        times.append(incident.reminded_at)
    last = incident.last
    if last is not None:
        times.append(last.expires_at if last.outcome == "EXPIRED" else last.dispatched_at or last.proposed_at)
    return max(times)


def _next_look(view: View, index: int, since: datetime, rule: Rule) -> datetime:
    looked = view.looked.get(index)
    if looked is None or index in view.nudged:
        return since
    return looked + timedelta(seconds=rule.evaluate_every_seconds)


def _muted(incident: Incident, book: Book, view: View, now: datetime) -> bool:
    if not view.in_force.mutes:
        return False
    rulebook, alerts = view.policy(incident.policy_digest), book.alerts_of(incident.rule, incident.key)
    return may_tell(rulebook, view.in_force, alerts, now).outcome is Outcome.DENY


def _answered(incident: Incident) -> bool:
    last = incident.last
    return last is not None and (bool(last.approvals) or last.declined_by is not None)


def _next_minute(now: datetime) -> datetime:
    """The intervals of a policy begin and end with a minute."""
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _after(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=1)
