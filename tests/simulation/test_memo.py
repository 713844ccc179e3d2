"""A fold that goes on from a memo comes to the same book as one from the beginning, wherever the memo was made.

The logs are those of random histories, cut at many places; the books are compared field by field, with the order and
the sharing of what is in them, and by what is due next. COUNTERFOIL_MEMO_HISTORIES: how many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policy_rules.loading import load
from receiver.governor import memo as memos
from receiver.governor.memo import Memo
from receiver.incident import states
from receiver.incident.agenda import View, agenda
from receiver.incident.book import Book
from tests.receiver.dumped import differing
from tests.simulation.audited import Copy
from tests.simulation.pool import be_quiet, flavour_of
from tests.simulation.reached import Reached
from tests.simulation.stories import recovery
from tests.simulation.test_carried import Kept, fold

SEEDS = int(os.environ.get("COUNTERFOIL_MEMO_HISTORIES", "6"))
CUTS = 12  # of each log
KEY, ROOT, CODE = b"k" * 32, b"r" * 32, "code"

Through = Callable[[Book], Book]


def through_memo(book: Book) -> Book:
    """The book as a memo keeps it."""
    return Memo.opened(Memo.of(book, ROOT, CODE).sealed(KEY), KEY).read()


def of_histories() -> Iterator[Copy]:
    for seed in range(5001, 5001 + SEEDS):
        history = Kept(seed, Reached(), flavour_of(seed))
        asyncio.run(history.run(40))
        yield from history.copies


def wrong(copy: Copy, size: int, whole: Book, through: Through = through_memo) -> list[str]:
    """By which fields the book differs where a memo was made of the first `size` entries."""
    book = Book(copy.tenant)
    for entry in copy.log[:size]:
        fold(book, copy, entry)
    book = through(book)
    for entry in copy.log[size:]:
        fold(book, copy, entry)
    found = differing(book, whole)
    return found + (["due"] if due(book, copy) != due(whole, copy) else [])


def due(book: Book, copy: Copy) -> list[Any]:
    """Every step of the agenda at several times, and when it is asked again."""
    if book.adopted is None or book.last_time is None:
        return []
    policies = {d: load(copy.blobs[blob].decode(), file="p", environment={}) for d, blob in book.policies.items()}
    view = View(policies.__getitem__, policies[book.adopted.policy_digest or ""], {}, frozenset())
    return [agenda(book, view, book.last_time + timedelta(minutes=minutes)) for minutes in (0, 1, 31, 90)]


def folded(copy: Copy) -> Book:
    book = Book(copy.tenant)
    for entry in copy.log:
        fold(book, copy, entry)
    return book


def test_a_fold_goes_on_from_a_memo_as_if_from_the_beginning() -> None:
    be_quiet()
    cuts = 0
    for copy in of_histories():
        step = max(1, len(copy.log) // CUTS)
        for size in (*range(1, len(copy.log), step), len(copy.log)):
            # A look at an outbox makes one, so each comparison has a book of its own.
            assert wrong(copy, size, folded(copy)) == [], (copy.tenant, size)
            cuts += 1
    assert cuts >= SEEDS * CUTS


def test_a_story_is_cut_behind_every_entry() -> None:
    copy = asyncio.run(recovery(quorum=2))
    for size in range(1, len(copy.log) + 1):
        assert wrong(copy, size, folded(copy)) == [], size


# --- the comparison finds what is wrong ------------------------------------------------------------------------------


def unshared(book: Book) -> Book:
    """Each part is written by itself, so that what stood in two places stands in neither as the other's."""
    made = through_memo(book)
    made.proposals = through_memo(book).proposals
    return made


def in_another_order(book: Book) -> Book:
    book.messages = dict(reversed(book.messages.items()))
    return book


def without_a_record(book: Book) -> Book:
    book.runs = book.runs[:-1]
    return book


@pytest.mark.parametrize("through", [unshared, in_another_order, without_a_record])
def test_what_a_memo_could_do_wrong_is_found(through: Through) -> None:
    copy = asyncio.run(recovery(quorum=2))
    sizes = range(1, len(copy.log) + 1)
    assert any(wrong(copy, size, folded(copy), through) for size in sizes)


@pytest.mark.parametrize("field", ["called", "told_at", "proposals", "closed_with", "times", "memory", "people"])
def test_a_field_that_is_left_out_is_found(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memos._REDUCED[states.Incident]
    names = list(states.Incident.__dataclass_fields__)
    empty = states.Incident("", 0, "", (), "", "", "", "", datetime.now(UTC), "", "")

    def reduced(made: Any) -> Any:
        record, values = whole(made)
        place = names.index(field)
        return record, (*values[:place], getattr(empty, field), *values[place + 1 :])

    monkeypatch.setitem(memos._REDUCED, states.Incident, reduced)
    copy = asyncio.run(recovery(quorum=2))
    assert any(wrong(copy, size, folded(copy)) for size in range(1, len(copy.log) + 1))
