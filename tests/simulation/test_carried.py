"""What is carried forward goes on as it stood: random histories are cut where nothing is in flight, and go on.

The log up to the cut is folded, and so is the first post of the log that would go on from it. Every halt, watch and
incident, what limits count, and what is due next must be the same in both; and that log must stand by itself: under the
rules of the database, before the auditor, and decided again.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from ledger.carried import Opening, differences, is_carried
from ledger.entry import Entry
from receiver.incident.agenda import View, agenda
from receiver.incident.assigned import assigned_of
from receiver.incident.book import Book
from receiver.incident.carrying import opening_of, state_of
from tests.simulation import audited
from tests.simulation.audited import Copy
from tests.simulation.carrying import next_log, taken_by_others
from tests.simulation.history import History
from tests.simulation.pool import be_quiet
from tests.simulation.reached import Reached
from tests.simulation.terms import catalogue, rulebook

SEEDS = int(os.environ.get("COUNTERFOIL_CARRIED_HISTORIES", "6"))
CUTS = 2  # of each kind, at the most
IN_FLIGHT = ("received", "heard", "authorizations", "executions", "suspense", "verifications", "consultations")


class Kept(History):
    """One whose logs are still there when it is over."""

    async def over(self) -> None:
        self.copies = [await Copy.of(self.real, model.site.tenant, model.entries) for model in self.models.values()]
        await super().over()


def fold(book: Book, copy: Copy, entry: Entry) -> Book:
    book.take(entry, assigned_of(entry, copy.blob), state_of(entry, copy.blob))
    return book


def in_flight(book: Book) -> bool:
    """Beside messages, which are on their way for most of a history, and change nothing of what is carried."""
    return any(p.open for p in book.proposals.values()) or any(getattr(book, name) for name in IN_FLIGHT)


def cuts(copy: Copy, rng: random.Random) -> list[int]:
    """Sizes of the log at which something stands and nothing is in flight: of each kind of such places a few."""
    book, found = Book(copy.tenant), defaultdict(list)
    for entry in copy.log:
        fold(book, copy, entry)
        asked = sum(len(incident.proposals) for incident in book.open.values())
        what = (
            bool(book.halts),
            bool(book.watches),
            len(book.open),
            asked,
            bool(book.runs),
            len(book.enrolled.suspended),
        )
        if any(what) and not in_flight(book):
            found[what].append(book.size)
    return [size for sizes in found.values() for size in rng.sample(sizes, min(CUTS, len(sizes)))]


async def goes_on(copy: Copy, opening: Opening) -> Copy:
    """The first post of the log that goes on from `copy`."""
    at = copy.log[-1].timestamp + timedelta(minutes=3)
    journal = await next_log(copy.tenant, opening, lambda: at)
    return await Copy.of(journal, copy.tenant, journal.log)


def stands(book: Book) -> Any:
    """Everything that is carried, without the indices at which it stands."""
    return (
        {
            i.id: (
                (i.rule, i.key, i.title, i.summary, i.severity, i.reason, i.opened_at, i.policy_digest, i.state),
                (i.told_at, i.reminders, i.reminded_at, i.escalated, i.held_until, i.ladder_from, i.muted, i.mutes),
                (i.tried, i.people, i.gone, i.unreached, i.part, i.continues, i.asks_claude, i.requested_by),
                [(p.body, p.proposed_at, p.outcome, p.decided_by, p.result, p.verified, p.ran) for p in i.proposals],
                [(c.outcome, c.body, c.confidence, c.earlier) for c in i.consultations],
                sorted(book.alerts_of(i.rule, i.key), key=lambda alert: alert.fingerprint),
            )
            for i in book.open.values()
        },
        sorted(
            (w.rule, w.key, w.since, w.policy_digest, len(book.alerts_of(w.rule, w.key))) for w in book.watches.values()
        ),
        {
            of: (i.id, i.closed, i.closed_at, i.closed_with, i.part, i.tried, i.people, i.held_until)
            for of, i in book.last_of.items()
            if i.closed
        },
        [run.as_past() for run in book.runs],
        sorted(book.halts.values()),
        (book.enrolled.suspended, book.enrolled.opted_out),
    )


def due(book: Book, tenant: str) -> Iterator[Any]:
    """What is due at several times, by what it is about."""
    policies = {rulebook(terms).digest: rulebook(terms) for terms in catalogue(tenant)}
    named = {i.index: i.id for i in book.open.values()} | {w.index: str((w.rule, w.key)) for w in book.watches.values()}
    digest = book.adopted.policy_digest if book.adopted is not None else None
    in_force = policies[digest or next(iter(policies))]
    began = max((i.opened_at for i in book.open.values()), default=None)
    for minutes in (0, 1, 5, 29, 31, 70) if began is not None else ():
        steps, _ = agenda(
            book, View(policies.__getitem__, in_force, {}, frozenset()), began + timedelta(minutes=minutes)
        )
        yield sorted((step.kind, named[step.subject], step.at) for step in steps if step.subject in named)


def test_what_is_carried_goes_on_as_it_stood_and_stands_by_itself() -> None:
    be_quiet()
    seen: dict[str, int] = {}
    for seed in range(3001, 3001 + SEEDS):
        history = Kept(seed, Reached())
        asyncio.run(history.run(40))
        rng = random.Random(seed)
        for whole in history.copies:
            for size in cuts(whole, rng):
                copy = Copy(whole.tenant, whole.log[:size], whole.blobs)
                compare(copy, seen, f"seed {seed}, {whole.tenant}, {size} entries")
    print(seen)
    assert all(seen.get(book) for book in ("halts", "incidents", "watches", "runs", "ended", "questions")), seen


def compare(copy: Copy, seen: dict[str, int], where: str) -> None:
    before, after = Book(copy.tenant), Book(copy.tenant)
    for entry in copy.log:
        fold(before, copy, entry)
    opening = opening_of(copy.tenant, copy.log, copy.blob)
    again = asyncio.run(goes_on(copy, opening))
    for entry in again.log:
        fold(after, again, entry)
    assert stands(after) == stands(before), where
    assert list(due(after, copy.tenant)) == list(due(before, copy.tenant)), where
    settled = {entry.settles for entry in copy.log}
    books = {"HALTED": "halts", "WATCHED": "watches", "DETECTED": "incidents"}
    standing = {e.index: (books[e.stage], e) for e in copy.log if e.stage in books and e.index not in settled}
    assert list(differences(standing, again.log)) == [], where
    taken_by_others(again)
    assert audited.findings(again) == [], where
    assert audited.differences(again) == [], where
    # Carried once more, it is the same again: nothing of it grows or wears out.
    second = asyncio.run(goes_on(again, opening_of(copy.tenant, again.log, again.blob)))
    third = Book(copy.tenant)
    for entry in second.log:
        fold(third, second, entry)
    assert stands(third) == stands(before), where
    assert [e.stage for e in second.log if is_carried(e)] == [e.stage for e in again.log if is_carried(e)], where
    for book, indices in opening.carries.items():
        seen[book] = seen.get(book, 0) + len(indices)
    seen["runs"] = seen.get("runs", 0) + len(before.runs)
    seen["ended"] = seen.get("ended", 0) + sum(not incident.open for incident in after.last_of.values())
    seen["questions"] = seen.get("questions", 0) + sum(len(i.proposals) for i in before.open.values())
