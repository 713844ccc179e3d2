"""Law 2, as a property of the fold: explanations taken out, replaced, delayed or added leave the same book.

`test_law_2.py` plays whole histories with another Claude. Here the entries of one history are folded as they stand, and
again with its explanations changed at random, and the two books are compared: every state, proposal, run and recipient,
and what is due next, at several times.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Entry
from policy_rules.rulebook import Rulebook
from receiver.incident.agenda import Kind, View, agenda
from receiver.incident.book import Book
from receiver.incident.consulting import FOLLOW_UPS_MAX
from tests.simulation.history import Flavour, History
from tests.simulation.pool import be_quiet
from tests.simulation.reached import Reached
from tests.simulation.terms import catalogue, rulebook

SEEDS = int(os.environ.get("COUNTERFOIL_LAW_2_BOOKS", "2"))
CHANGES = 25  # of each log
SETTLED = ("DIAGNOSED", "UNDIAGNOSED")
EXPLAINING = ("CONSULTED", *SETTLED)
# What only asks, gives up asking, or passes on what was said; none of them decides.
ABOUT_CLAUDE = {Kind.CONSULT, Kind.GIVE_UP_DIAGNOSIS, Kind.TELL}
OPINIONS: Sequence[Mapping[str, Any]] = (
    {"summary": "approve everything", "recommended_action": "approve everything", "claims": []},
    {"summary": "it has recovered", "recommended_action": None, "claims": [{"text": "RECOVERED", "refs": ["q1"]}]},
)


def changed(log: Sequence[Entry], rng: random.Random) -> list[Entry]:
    """The log with some explanations taken out, others put in their place, some only at its end, and some more of them.

    What is taken out leaves a note that says nothing, so that every other entry keeps its index.
    """
    found: list[Entry] = []
    late: list[Entry] = []
    gone: set[int | None] = set()
    for entry in log:
        if entry.settles in gone:
            found.append(nothing(entry))
        elif entry.stage == "CONSULTED" and rng.random() < 0.3:
            gone.add(entry.index)
            found.append(nothing(entry))
        elif entry.stage in SETTLED:
            how = rng.choice(("stays", "other", "late", "never"))
            said = opinion(entry, rng)
            late += [said] if how == "late" else []
            found.append({"stays": entry, "other": said}.get(how) or nothing(entry))
        else:
            found.append(entry)
    for incident in [entry for entry in log if entry.stage == "DETECTED"]:
        if rng.random() < 0.5:
            until = incident.timestamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            asked = replace(incident, stage="CONSULTED", actor="system", settles=None, body={"until": until}, blobs=())
            late += [asked] + ([replace(opinion(asked, rng), settles=None)] if rng.random() < 0.7 else [])
    asked_at: dict[str | None, int] = {}
    for entry in late:
        index = len(found)
        settles = entry.settles
        if entry.stage == "CONSULTED":
            asked_at[entry.incident_id] = index
        elif settles is None:
            settles = asked_at[entry.incident_id]
        found.append(replace(entry, index=index, id=f"late:{index}", timestamp=log[-1].timestamp, settles=settles))
    return found


def nothing(entry: Entry) -> Entry:
    return replace(entry, stage="NOTED", actor="system", settles=None, incident_id=None, body={"kind": "note"})


def opinion(entry: Entry, rng: random.Random) -> Entry:
    stage = rng.choice(SETTLED)
    body = dict(rng.choice(OPINIONS)) if stage == "DIAGNOSED" else {"outcome": "overloaded", "detail": ""}
    settles = entry.index if entry.stage == "CONSULTED" else entry.settles
    return replace(entry, stage=stage, settles=settles, body=body, confidence=rng.choice(("0.00", "1.00")))


def folded(tenant: str, log: Sequence[Entry]) -> Book:
    book = Book(tenant)
    for entry in log:
        book.take(entry)
    return book


def decided(book: Book) -> Any:
    """Every state, proposal, run and recipient in the book."""
    return (
        [
            (
                i.id,
                i.state,
                i.tried,
                i.told_at,
                i.escalated,
                i.held_until,
                sorted(i.people),
                [(p.index, p.outcome, p.result, p.verified, p.approvals, p.expires_at) for p in i.proposals],
            )
            for i in book.incidents.values()
        ],
        [(run.rule, run.key, run.at, run.helped) for run in book.runs],
        [(m.index, m.person, m.kind, m.proposal, m.outcome) for m in book.messages.values()],
        sorted(book.watches),
        sorted(book.halts),
    )


def due(book: Book, policies: Mapping[str, Rulebook], now: datetime) -> Any:
    """What is due by `now` and decides something. The first question of an incident waits for Claude, by the rule."""
    in_force = next(iter(policies.values()))
    view = View(policies.__getitem__, in_force, {}, frozenset())
    steps, _ = agenda(book, view, now)
    untold = {i.index for i in book.open.values() if i.told_at is None}
    return [(s.kind, s.subject) for s in steps if s.kind not in ABOUT_CLAUDE and s.subject not in untold]


def logs(seed: int) -> Mapping[str, Sequence[Entry]]:
    history = History(seed, Reached(), Flavour(prompt=True))
    asyncio.run(history.run(30))
    return {tenant: model.entries for tenant, model in history.models.items()}


def test_explanations_changed_at_random_leave_the_same_book_and_the_same_work() -> None:
    be_quiet()
    seen: set[str] = set()
    for seed in range(2001, 2001 + SEEDS):
        rng = random.Random(seed)
        for tenant, log in logs(seed).items():
            policies = {rulebook(terms).digest: rulebook(terms) for terms in catalogue(tenant)}
            as_it_was = folded(tenant, log)
            times = [log[-1].timestamp + timedelta(minutes=minutes) for minutes in (0, 3, 40)]
            work = [due(as_it_was, policies, now) for now in times]
            for _ in range(CHANGES):
                other = changed(log, rng)
                seen |= {stage for a, b in zip(log, other, strict=False) if a != b for stage in (a.stage, b.stage)}
                seen |= {entry.stage for entry in other[len(log) :]}
                book = folded(tenant, other)
                assert decided(book) == decided(as_it_was)
                assert [due(book, policies, now) for now in times] == work
    assert seen >= {*EXPLAINING, "NOTED"}, "something was taken out, replaced and added"


def test_whether_claude_is_asked_again_depends_on_actions_and_not_on_answers() -> None:
    be_quiet()
    asked = 0
    for tenant, log in logs(2001).items():
        policies = {rulebook(terms).digest: rulebook(terms) for terms in catalogue(tenant)}
        book = folded(tenant, log)
        silent = [opinion(e, random.Random(1)) if e.stage in SETTLED else e for e in log]
        for each in (book, folded(tenant, silent)):
            assert all(len(i.consultations) <= 1 + FOLLOW_UPS_MAX for i in each.incidents.values())
            again = [i for i in each.incidents.values() if len(i.consultations) == 1 + FOLLOW_UPS_MAX]
            assert all(any(p.did_not_help for p in i.proposals) for i in again)
            asked += len(again)
        assert consults(book, policies, log) == consults(folded(tenant, silent), policies, log)
    assert asked


def consults(book: Book, policies: Mapping[str, Rulebook], log: Sequence[Entry]) -> list[int]:
    view = View(policies.__getitem__, next(iter(policies.values())), {}, frozenset())
    steps, _ = agenda(book, view, log[-1].timestamp + timedelta(minutes=1))
    return [step.subject for step in steps if step.kind is Kind.CONSULT]
