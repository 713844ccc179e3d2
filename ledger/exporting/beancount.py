"""The books for an accountant's own program: https://beancount.github.io/docs/beancount_language_syntax.html. Pure.

An obligation is a lot of one unit, which costs one COUNT and is labelled with the index of the entry that opened it.
What was opened is income, what was settled is an expense by its outcome, and what is outstanding is left as an asset:
so the balance sheet of the file is the trial balance, and its last directives say what each account must come to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from ledger.accounts import BOOKS, SETTLES
from ledger.entry import Entry
from ledger.exporting.text import plain, quoted
from ledger.reconcile import Balance

_TAG = "counterfoil"  # on every transaction; one that is not taken off at the end says that the file was cut off


def head(title: str, moment: datetime) -> bytes:
    """Options, and every account. title: the log's origin. moment: of its first entry."""
    day = moment.astimezone(UTC).date()
    lines = [f"; The books of {plain(title)}", f'option "title" {quoted(title)}', 'option "operating_currency" "COUNT"']
    lines += [f"{day} open {account} {unit}" for account, unit in _accounts()]
    return _joined([*lines, f"pushtag #{_TAG}"])


def transaction(entry: Entry, opened: str | None, settled: str | None) -> bytes:
    """The entry's postings; no bytes where it neither opens nor settles. opened, settled: the books."""
    postings = []
    if settled is not None:
        postings += [
            f'  {_asset(settled)} -1 OBLIGATION {{1 COUNT, "{entry.settles}"}}',
            f"  {_expense(settled, entry.stage)} 1 COUNT",
        ]
    if opened is not None:
        postings += [f'  {_asset(opened)} 1 OBLIGATION {{1 COUNT, "{entry.index}"}}', f"  {_income(opened)} -1 COUNT"]
    if not postings:
        return b""
    moment = entry.timestamp.astimezone(UTC)
    narration = quoted(f"{entry.stage} {entry.reason}".rstrip())
    links = f"^{entry.index}" + (f" ^{entry.settles}" if settled is not None else "")
    about = [f'  time: "{moment.time().isoformat("microseconds")}Z"']
    if entry.incident_id is not None:
        about.append(f"  incident: {quoted(entry.incident_id)}")
    return _joined(["", f"{moment.date()} * {quoted(entry.actor)} {narration} {links}", *about, *postings])


def tail(balance: Balance, moment: datetime) -> bytes:
    """What each account comes to, on the day after the last entry. moment: of that entry."""
    day = moment.astimezone(UTC).date()
    day = day + timedelta(days=1) if day < date.max else day
    lines = [""]
    for book in balance.books:
        lines.append(f"{day} balance {_asset(book.book)} {book.outstanding} OBLIGATION")
        lines.append(f"{day} balance {_income(book.book)} {-book.opened} COUNT")
        lines += [
            f"{day} balance {_expense(book.book, stage)} {book.settled[stage]} COUNT" for stage in SETTLES[book.book]
        ]
    return _joined([*lines, f"poptag #{_TAG}"])


def _accounts() -> Iterator[tuple[str, str]]:
    """Every account and what it holds; a lot may leave only where it was put."""
    for book in BOOKS:
        yield _asset(book), 'OBLIGATION "STRICT"'
        yield _income(book), "COUNT"
        for stage in SETTLES[book]:
            yield _expense(book, stage), "COUNT"


def _asset(book: str) -> str:
    return f"Assets:{book.title()}"


def _income(book: str) -> str:
    return f"Income:{book.title()}"


def _expense(book: str, stage: str) -> str:
    return f"Expenses:{book.title()}:{stage.title().replace('_', '-')}"


def _joined(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
