"""A book that forgets decides as one that keeps all: random histories, drawn out over years, are folded into both.

The entries of a history stand hours apart in all; here weeks pass at random places between them, so that there is old
beside new of every kind, settled and not. After each entry both books must say the same of what is due, what limits and
breakers count, what broke again, and what people and Claude are told of what was before.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from ledger.entry import Entry
from policy_rules.past import by_range, failed_in_a_row
from policy_rules.readings import Alert
from receiver.auditor.replay import Replay
from receiver.governor.memo import Memo
from receiver.governor.watching import _begins
from receiver.incident import forgetting
from receiver.incident.agenda import View, agenda
from receiver.incident.assigned import Assigned, assigned_of
from receiver.incident.book import Book
from receiver.incident.carrying import CannotCarry, opening_of, state_of
from receiver.incident.forgetting import KEPT_CLOSED, KEPT_RUNS
from receiver.incident.past import standing
from receiver.incident.states import Message
from receiver.incident.today import paid_on, sent_on
from tests.receiver.dumped import differing
from tests.simulation.audited import Copy
from tests.simulation.pool import be_quiet
from tests.simulation.reached import Reached
from tests.simulation.terms import catalogue, rulebook
from tests.simulation.test_carried import Kept
from tests.simulation.world import START

SEEDS = int(os.environ.get("COUNTERFOIL_FORGOTTEN_HISTORIES", "6"))
DRAWN_OUT = 3  # times, each history
REPEATED = 5  # times, in each of them
PLACES = ("subject", "message", "proposal")  # fields of a body that are the index of an entry
NAMES = ("webhook_id", "sid", "continues")  # and those that name one thing alone
OUTSTANDING = (
    *("received", "watches", "open", "authorizations", "executions", "suspense", "verifications", "consultations"),
    *("unsettled_messages", "heard", "news", "halts"),
)


@cache
def histories() -> list[Copy]:
    """The logs of some histories, one after the other in each: what broke breaks again."""
    be_quiet()
    found: list[Copy] = []
    for seed in range(5001, 5001 + SEEDS):
        history = Kept(seed, Reached())
        asyncio.run(history.run(60))
        found += history.copies
    return found


@dataclass(frozen=True)
class Long:
    """A log, and the rows of each of its EVALUATED. No ledger would take it: it is for the fold alone."""

    tenant: str
    log: list[Entry]
    rows: dict[int, list[Assigned]]
    copy: Copy

    def fold(self, book: Book, entry: Entry) -> None:
        book.take(entry, self.rows.get(entry.index, ()), state_of(entry, self.copy.blob))


def drawn_out(copy: Copy, rng: random.Random) -> Long:
    """The same entries again and again, between which days, weeks or a year pass at some places."""
    made = Long(copy.tenant, [], {}, copy)
    later, often = timedelta(), rng.choice((0.01, 0.04, 0.2))
    for number in range(REPEATED):
        first = len(made.log)
        later += copy.log[-1].timestamp - copy.log[0].timestamp if number else timedelta()
        for entry in copy.log:
            if rng.random() < often:
                later += timedelta(days=rng.choice((1, 6, 29, 31, 45, 400)), seconds=rng.randrange(86_400))
            rows = assigned_of(entry, copy.blob)
            made.rows[first + entry.index] = [replace(row, alert=_moved(row.alert, later)) for row in rows]
            made.log.append(_again(replace(entry, timestamp=entry.timestamp + later), first, number))
    return made


def _again(entry: Entry, first: int, number: int) -> Entry:
    """The entry at its place behind `first` others, of incidents, messages and requests of its own."""
    if number and entry.stage == "OPENED":
        entry = replace(entry, stage="NOTED", body={"kind": "note"}, blobs=())
    named = {name: f"{entry.body[name]}-{number}" for name in NAMES if entry.body.get(name)}
    placed = {name: entry.body[name] + first for name in PLACES if type(entry.body.get(name)) is int}
    return replace(
        entry,
        index=entry.index + first,
        incident_id=f"{entry.incident_id}-{number}" if entry.incident_id else None,
        settles=None if entry.settles is None else entry.settles + first,
        cites=tuple(index + first for index in entry.cites),
        body=deepcopy(dict(entry.body)) | named | placed,  # each entry is read for itself
    )


def _moved(alert: Alert, later: timedelta) -> Alert:
    ends = alert.ends_at + later if alert.ends_at is not None else None
    return replace(alert, starts_at=alert.starts_at + later, ends_at=ends)


@cache
def views(tenant: str) -> tuple[dict[str, Any], Any]:
    policies = {rulebook(terms).digest: rulebook(terms) for terms in catalogue(tenant)}
    return policies, next(iter(policies.values()))


def due(book: Book) -> Iterator[Any]:
    policies, first = views(book.tenant)
    digest = book.adopted.policy_digest if book.adopted is not None else None
    view = View(policies.__getitem__, policies.get(digest or "", first), {}, frozenset())
    for later in (timedelta(), timedelta(minutes=31), timedelta(days=2)):
        steps, then = agenda(book, view, (book.last_time or START) + later)
        yield [(step.kind, step.subject, step.at) for step in steps], then


def counted(book: Book, ever: Sequence[Any]) -> Iterator[Any]:
    """What limits, cool-downs and breakers look at, for each action that ever ran. ever: rule, action and key."""
    past, now = [run.as_past() for run in book.runs], book.last_time or START
    for rule, action, key in ever:
        for of, runs in by_range(past, rule, action, dict(key)).items():
            late = [run.at for run in runs if now - run.at < KEPT_RUNS]
            yield of, late, max((run.at for run in runs), default=None), failed_in_a_row(runs)
    yield {action: book.held_back(action) for _, action, _ in ever}
    yield [run for run in past if run.open]


def reopened(book: Book, keys: Sequence[Any], alerts: Sequence[Alert], places: Any) -> Iterator[Any]:
    """Which alerts begin a watch, of those that were ever known; and what an incident would continue."""
    _, first = views(book.tenant)
    desk: Any = SimpleNamespace(book=book)
    for rule, key in keys:
        yield [_begins(desk, rule, key, alert) for alert in alerts]
        named = [one.rule(rule) for one in (first, *places) if any(r.name == rule for r in one.rules)]
        yield [book.again(one, key, book.last_time or START) for one in named]
        yield [(a.fingerprint, a.firing, a.starts_at, a.ends_at, a.labels) for a in book.alerts_of(rule, key)]


def told(book: Book, kept: Book) -> Iterator[Any]:
    """What is said of what was before, of each open incident; what was used of a day; who is silent or locked out."""
    now = book.last_time or START
    for incident in book.open.values():
        of = incident.rule, incident.key
        yield [former for former in book.past(incident) if former.opened_at >= now - KEPT_RUNS]
        yield book.tallies[of].so_far(book.size) == standing(kept.of_key[of], kept.size)
        yield book.silences.silent(incident.id, now)
        yield incident
    yield sent_on(book, now.date()), paid_on(book, now.date())
    yield {person: [at for at in times if now - at < timedelta(days=1)] for person, times in book.wrong_pins.items()}
    yield book.enrolled, book.duties, book.drills.open, book.silences.pending, book.silence, book.shadow.open


def compare(kept: Book, book: Book, ever: dict[str, Any]) -> None:
    for name in OUTSTANDING:
        assert getattr(book, name) == getattr(kept, name), name
    places = views(book.tenant)[0].values()
    assert list(due(book)) == list(due(kept)), "due"
    assert list(counted(book, ever["runs"])) == list(counted(kept, ever["runs"])), "counted"
    keys, alerts = list(kept.of_key), [known.alert for known in kept.alerts.values()]
    again = [replace(alert, firing=True) for alert in alerts]
    assert list(reopened(book, keys, again, places)) == list(reopened(kept, keys, again, places)), "reopened"
    assert list(told(book, kept)) == list(told(kept, kept)), "told"
    for index, message in book.messages.items():
        assert message == kept.messages[index]
        assert message.subject is None or index in book.questions[message.person]
        assert message.proposal is None or message.proposal in book.proposals
        assert message.drill is None or message.drill in book.drills.known
        assert all(book.by_sid[sid].index >= index for sid in message.sids)
    assert sum(map(len, book.questions.values())) == sum(m.subject is not None for m in book.messages.values())
    for message in kept.messages.values():
        assert forgotten_rightly(message, book, kept), f"message {message.index}"
    for incident in kept.incidents.values():
        assert incident.id in book.incidents or incident.closed_at < (book.last_time - KEPT_CLOSED), incident.id


def forgotten_rightly(message: Message, book: Book, kept: Book) -> bool:
    old = message.addressed_at < book.last_time - KEPT_CLOSED
    return message.index in book.messages or (old and message.outcome is not None)


def both(copy: Long, rng: random.Random, seen: dict[str, int], *, every: int = 1) -> None:
    """Fold into both, and compare after each entry; raises AssertionError, and KeyError where the fold cannot go on."""
    kept, book = Book(copy.tenant), Book(copy.tenant, kept=KEPT_CLOSED)
    ever: dict[str, Any] = {"runs": []}
    for entry in copy.log:
        copy.fold(kept, entry)
        copy.fold(book, entry)
        if entry.stage == "DISPATCHED":
            run = kept.runs[-1]
            if (of := (run.rule, run.proposal.body["action"], run.key)) not in ever["runs"]:
                ever["runs"].append(of)
        if rng.random() < 0.02:
            book = pickle.loads(pickle.dumps(book))
        if entry.index % every == 0:
            compare(kept, book, ever)
    for name in ("incidents", "messages", "proposals", "runs", "by_webhook"):
        seen[name] = seen.get(name, 0) + len(getattr(kept, name)) - len(getattr(book, name))


def test_a_book_that_forgets_decides_as_one_that_keeps_all() -> None:
    seen = all_histories(every=1)
    print(seen)
    assert all(seen.values()), seen


def test_whoever_folds_the_same_entries_has_the_same_book() -> None:
    formers = 0
    for number, copy in enumerate(histories()):
        rng = random.Random(number)
        long = drawn_out(copy, rng)
        one, other = (Book(copy.tenant, kept=KEPT_CLOSED) for _ in range(2))
        for entry in long.log:
            long.fold(one, entry)
            long.fold(other, entry)
            if rng.random() < 0.1:
                other = Memo.of(other, bytes(32), "code").read()  # at a start, which goes on with the fold
        assert differing(one, other) == []
        formers += len(one.former)
    assert formers


def test_whoever_seals_a_log_or_decides_it_again_folds_it_into_a_book_that_keeps_all() -> None:
    """They compare with what was done by others, maybe with versions that forget otherwise, or nothing."""
    never = AssertionError("an auditor forgets")
    for copy in histories():
        months = [replace(entry, timestamp=entry.timestamp + timedelta(days=entry.index)) for entry in copy.log]
        long = Copy(copy.tenant, months, copy.blobs)
        with patch.object(forgetting, "forget", side_effect=never):
            list(Replay(long).differences())
            with suppress(CannotCarry):
                opening_of(copy.tenant, long.log, long.blob)


MISTAKES: dict[str, Callable[[], Any]] = {}


def mistake(make: Callable[[], Any]) -> Callable[[], Any]:
    MISTAKES[make.__name__] = make
    return make


@mistake
def forgets_after_five_days() -> Any:
    real = forgetting._incidents
    return patch.object(forgetting, "_incidents", lambda book, before: real(book, before + timedelta(days=25)))


@mistake
def forgets_what_a_message_rests_on() -> Any:
    real = forgetting._incidents

    def incidents(book: Book, before: datetime) -> set[str]:
        with patch.object(book, "unsettled_messages", {}):
            return real(book, before)

    return patch.object(forgetting, "_incidents", incidents)


@mistake
def forgets_messages_that_are_not_settled() -> Any:
    real = forgetting._messages

    def messages(book: Book, before: datetime) -> None:
        with patch.object(book, "unsettled_messages", {}):
            real(book, before)

    return patch.object(forgetting, "_messages", messages)


@mistake
def forgets_every_old_run() -> Any:
    return patch.object(forgetting, "needed", lambda runs, since: [run for run in runs if run.at >= since])


@mistake
def forgets_old_failures() -> Any:
    real = forgetting.needed
    return patch.object(
        forgetting,
        "needed",
        lambda runs, since: [run for run in real(runs, since) if run.at >= since or run.helped is not False],
    )


@mistake
def forgets_runs_after_a_month() -> Any:
    return patch.object(forgetting, "KEPT_RUNS", timedelta(days=30))


@mistake
def forgets_that_a_person_closed_it() -> Any:
    real = forgetting._incident

    def incident(book: Book, one: Any) -> None:
        real(book, one)
        book.last_of.pop((one.rule, one.key), None)

    return patch.object(forgetting, "_incident", incident)


@mistake
def forgets_what_diagnoses_were_worth() -> Any:
    real = forgetting._incident

    def incident(book: Book, one: Any) -> None:
        real(book, one)
        book.tallies.pop((one.rule, one.key), None)
        if book.of_key.get((one.rule, one.key)):
            book.tallies[one.rule, one.key] = type(next(iter(book.tallies.values())))()

    return patch.object(forgetting, "_incident", incident)


@mistake
def forgets_former_incidents() -> Any:
    real = forgetting._incident

    def incident(book: Book, one: Any) -> None:
        real(book, one)
        book.former.pop((one.rule, one.key), None)

    return patch.object(forgetting, "_incident", incident)


@mistake
def forgets_the_alerts_that_a_rule_takes() -> Any:
    real = forgetting._alerts

    def alerts(book: Book, before: datetime, now: datetime) -> None:
        real(book, before, now)
        for fingerprint, known in list(book.alerts.items()):
            if not known.alert.firing and (known.ended_at or now) < before:
                for taker in known.assignments:
                    book._taken_by[taker].discard(fingerprint)
                del book.alerts[fingerprint]

    return patch.object(forgetting, "_alerts", alerts)


def all_histories(every: int) -> dict[str, int]:
    """All of them, in both books; how much less of each the one held that forgets."""
    seen: dict[str, int] = {}
    for number, copy in enumerate(histories()):
        for time in range(DRAWN_OUT):
            rng = random.Random(number * DRAWN_OUT + time)
            both(drawn_out(copy, rng), rng, seen, every=every)
    return seen


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(name: str) -> None:
    with MISTAKES[name](), pytest.raises((AssertionError, KeyError)):
        all_histories(every=3)
