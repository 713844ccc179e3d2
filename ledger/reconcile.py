"""The trial balance. Pure: entries in, figures out. What an auditor looks for beside it is in findings.py."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.accounts import BOOKS, OPENS, SETTLES
from ledger.entry import Entry
from ledger.findings import Finding, findings

__all__ = ["Balance", "BookBalance", "Equality", "Finding", "Tally", "findings", "trial_balance"]


@dataclass(frozen=True, slots=True)
class BookBalance:
    """One book: what was opened, what settled it (by stage), what is outstanding."""

    book: str
    opened: int
    settled: Mapping[str, int]
    outstanding: int

    @property
    def balanced(self) -> bool:
        return self.opened == sum(self.settled.values()) + self.outstanding


@dataclass(frozen=True, slots=True)
class Equality:
    """Two figures of different books that must be the same."""

    left: str
    left_figure: int
    right: str
    right_figure: int

    @property
    def holds(self) -> bool:
        return self.left_figure == self.right_figure


@dataclass(frozen=True, slots=True)
class Balance:
    books: tuple[BookBalance, ...]
    across: tuple[Equality, ...]

    @property
    def balanced(self) -> bool:
        return all(book.balanced for book in self.books) and all(equality.holds for equality in self.across)

    def __str__(self) -> str:
        """A table of at most 80 columns."""
        lines = [f"{'book':<15}{'opened':>7}{'open':>6}  settled by"]
        for book in self.books:
            settled = ", ".join(f"{stage} {number}" for stage, number in book.settled.items() if number) or "-"
            mark = "" if book.balanced else "DOES NOT BALANCE: "
            # A figure too wide for its column moves the others; a line too long goes on under its beginning.
            head = f"{book.book:<15}{book.opened:>7} {book.outstanding:>5}  "
            lines += textwrap.wrap(f"{head}{mark}{settled}", 80, subsequent_indent=" " * 30, drop_whitespace=True)
        for equality in self.across:
            sign = "=" if equality.holds else "DIFFERS FROM"
            text = f"{equality.left} {equality.left_figure} {sign} {equality.right_figure} {equality.right}"
            lines += textwrap.wrap(text, 80, subsequent_indent="  ")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "balanced": self.balanced,
            "books": {
                b.book: {"opened": b.opened, "settled": dict(b.settled), "outstanding": b.outstanding}
                for b in self.books
            },
            "across": [
                {"left": e.left, "left_figure": e.left_figure, "right": e.right, "right_figure": e.right_figure}
                for e in self.across
            ],
        }


class Tally:
    """The trial balance as it grows, entry by entry, in order: it keeps a few bytes of each obligation and no entry."""

    def __init__(self) -> None:
        self._books: dict[int, str] = {}  # by the index of the entry that opened an obligation
        self._outstanding: set[int] = set()
        self._opened: Counter[str] = Counter()
        self._settled: dict[str, Counter[str]] = {book: Counter() for book in BOOKS}

    def add(self, entry: Entry) -> tuple[str | None, str | None]:
        """Take the next entry; the book in which it opens an obligation, and the one in which it settles one."""
        book = OPENS.get(entry.stage)
        if book is not None:
            self._books[entry.index] = book
            self._outstanding.add(entry.index)
            self._opened[book] += 1
        settled = self._books.get(entry.settles) if entry.settles is not None else None
        if settled is not None and entry.settles is not None:
            self._settled[settled][entry.stage] += 1
            self._outstanding.discard(entry.settles)
        return book, settled

    def balance(self) -> Balance:
        """Every book opened = settled + outstanding, and the equalities across books."""
        opened, settled = self._opened, self._settled
        outstanding = Counter(self._books[index] for index in self._outstanding)
        books = tuple(
            BookBalance(book, opened[book], {s: settled[book][s] for s in SETTLES[book]}, outstanding[book])
            for book in BOOKS
        )
        executed = settled["executions"]["EXECUTED"] + settled["suspense"]["EXECUTED"]
        across = (
            Equality(
                "proposals AUTHORIZED", settled["proposals"]["AUTHORIZED"], "authorizations", opened["authorizations"]
            ),
            Equality(
                "authorizations DISPATCHED", settled["authorizations"]["DISPATCHED"], "executions", opened["executions"]
            ),
            Equality("EXECUTED", executed, "verifications", opened["verifications"]),
            Equality("executions UNRESOLVED", settled["executions"]["UNRESOLVED"], "suspense", opened["suspense"]),
        )
        return Balance(books, across)


def trial_balance(entries: Iterable[Entry]) -> Balance:
    """Every book opened = settled + outstanding, and the equalities across books."""
    tally = Tally()
    for entry in entries:
        tally.add(entry)
    return tally.balance()
