"""The trial balance, and what an auditor looks for. Pure: entries in, figures and findings out."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.accounts import BOOKS, OFFICES, OPENS, SETTLES, must_settle
from ledger.entry import Entry


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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: the entry, the rule it breaks, and what to do."""

    index: int
    rule: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"entry {self.index}: {self.rule}: {self.detail} ({self.remedy})"

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "rule": self.rule, "detail": self.detail, "remedy": self.remedy}


def trial_balance(entries: Sequence[Entry]) -> Balance:
    """Every book opened = settled + outstanding, and the equalities across books."""
    by_index = {entry.index: entry for entry in entries}
    opened: Counter[str] = Counter()
    settled: dict[str, Counter[str]] = {book: Counter() for book in BOOKS}
    done = set()
    for entry in entries:
        if entry.stage in OPENS:
            opened[OPENS[entry.stage]] += 1
        if entry.settles is not None:
            target = by_index.get(entry.settles)
            book = OPENS.get(target.stage, "") if target is not None else ""
            if book in settled:
                settled[book][entry.stage] += 1
                done.add(entry.settles)
    outstanding = Counter(OPENS[e.stage] for e in entries if e.stage in OPENS and e.index not in done)
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


def findings(entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """What an auditor looks for, decided again from the entries alone, without the database's own rules."""
    by_index = {entry.index: entry for entry in entries}
    found = list(_of_the_log(entries))
    for entry in entries:
        check = _CHECKS.get(entry.stage)
        if check is not None:
            found += check(entry, by_index, entries)
    return tuple(sorted(found, key=lambda finding: finding.index))


def _of_the_log(entries: Sequence[Entry]) -> Iterator[Finding]:
    settled: dict[int, int] = {}
    digests: dict[tuple[str, str], str] = {}
    tenants = {entry.tenant_id for entry in entries}
    for place, entry in enumerate(entries):
        if entry.index != place:
            yield Finding(entry.index, "gap", f"entry {place} is missing", "restore the newest copy of the ledger")
            return
        if place and entry.timestamp < entries[place - 1].timestamp:
            yield Finding(entry.index, "clock", "its time is before that of the entry before it", "check the clock")
        if entry.stage == "REGRESSED":
            yield Finding(entry.index, "clock stepped", entry.reason, "check NTP; nothing was dispatched meanwhile")
        if entry.actor.partition(":")[0] not in OFFICES.get(entry.stage, ()):
            yield Finding(
                entry.index, "office", f"{entry.actor} posted {entry.stage}", "find who wrote to the database"
            )
        if entry.settles is None and must_settle(entry.stage):
            yield Finding(entry.index, "settlement", f"{entry.stage} settles nothing", "find who wrote to the database")
        if entry.settles is not None:
            yield from _of_a_settlement(entry, entries, settled, tenants)
        if entry.stage == "ADOPTED":
            version = (str(entry.body.get("name")), entry.policy_version or "")
            if digests.setdefault(version, entry.policy_digest or "") != entry.policy_digest:
                yield Finding(
                    entry.index, "policy version", f"{version[1]} stands with two digests", "raise the version"
                )
        elif entry.policy_digest and entry.policy_digest not in digests.values():
            yield Finding(entry.index, "policy unknown", f"{entry.policy_version} was never adopted", "find its text")


def _of_a_settlement(
    entry: Entry, entries: Sequence[Entry], settled: dict[int, int], tenants: set[str]
) -> Iterator[Finding]:
    remedy = "find who wrote to the database"
    target = entries[entry.settles] if entry.settles is not None and 0 <= entry.settles < entry.index else None
    if target is None:
        yield Finding(entry.index, "settlement", f"it settles {entry.settles}, which is not before it", remedy)
        return
    if entry.stage not in SETTLES.get(OPENS.get(target.stage, ""), ()):
        yield Finding(entry.index, "settlement", f"{entry.stage} cannot settle {target.stage}", remedy)
    if target.index in settled:
        yield Finding(entry.index, "settlement", f"{target.index} was settled by {settled[target.index]}", remedy)
    settled[target.index] = entry.index
    if target.incident_id is not None and target.incident_id != entry.incident_id:
        yield Finding(entry.index, "settlement", f"{target.index} is of {target.incident_id}", remedy)
    if len(tenants) > 1:
        yield Finding(entry.index, "tenant", "entries of several tenants stand in one log", remedy)


def _dispatched(entry: Entry, by_index: Mapping[int, Entry], entries: Sequence[Entry]) -> Iterator[Finding]:
    authorized = by_index.get(entry.settles if entry.settles is not None else -1)
    if authorized is None or authorized.stage != "AUTHORIZED":
        yield Finding(entry.index, "law 3", "an execution without authorization", "treat it as an intrusion")
        return
    proposed = by_index.get(authorized.settles if authorized.settles is not None else -1)
    if proposed is None or proposed.body.get("digest") != entry.body.get("digest"):
        yield Finding(entry.index, "law 3", "the request is not the proposed one", "treat it as an intrusion")
        return
    if _text(entry) > _until(proposed, "authorize_until"):
        yield Finding(entry.index, "late", "dispatched after its authorization had run out", "check the clock")
    halted = [e.index for e in entries[: entry.index] if e.stage == "HALTED"]
    resumed = {e.settles for e in entries[: entry.index] if e.stage == "RESUMED"}
    if set(halted) - resumed:
        yield Finding(entry.index, "halt", "dispatched while halted", "treat it as an intrusion")


def _authorized(entry: Entry, by_index: Mapping[int, Entry], entries: Sequence[Entry]) -> Iterator[Finding]:
    proposed = by_index.get(entry.settles if entry.settles is not None else -1)
    if proposed is None or proposed.stage != "PROPOSED":
        yield Finding(entry.index, "law 3", "an authorization of nothing", "treat it as an intrusion")
        return
    approvals = [by_index[c] for c in entry.cites if c in by_index and by_index[c].stage == "APPROVED"]
    people = {a.actor for a in approvals if a.cites and a.cites[0] == proposed.index}
    quorum = proposed.body.get("quorum")
    if not isinstance(quorum, int) or len(people) < max(quorum, 1):
        yield Finding(entry.index, "law 3", f"{len(people)} of {quorum} approved", "treat it as an intrusion")
    if entry.actor not in people:
        yield Finding(entry.index, "law 3", f"{entry.actor} did not approve", "treat it as an intrusion")
    if _text(entry) > _until(proposed, "authorize_until"):
        yield Finding(entry.index, "late", "authorized after its time", "check the clock")


def _answered(entry: Entry, by_index: Mapping[int, Entry], entries: Sequence[Entry]) -> Iterator[Finding]:
    proposed = by_index.get(entry.cites[0] if entry.cites else -1)
    if proposed is None or proposed.stage != "PROPOSED":
        yield Finding(entry.index, "law 3", "an answer to nothing", "treat it as an intrusion")
        return
    approvers = proposed.body.get("approvers")
    if not isinstance(approvers, list) or entry.actor.partition(":")[2] not in approvers:
        yield Finding(entry.index, "law 3", f"{entry.actor} is not an approver", "treat it as an intrusion")
    if _text(entry) >= _until(proposed, "expires_at"):
        yield Finding(entry.index, "late", "answered after the question had expired", "check the clock")


def _until(proposed: Entry, name: str) -> str:
    """A time of a proposal; where it states none, everything comes after it."""
    moment = proposed.body.get(name)
    return moment if isinstance(moment, str) else ""


def _text(entry: Entry) -> str:
    return entry.timestamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_Check = Callable[[Entry, Mapping[int, Entry], Sequence[Entry]], Iterator[Finding]]
_CHECKS: Mapping[str, _Check] = {
    "DISPATCHED": _dispatched,
    "AUTHORIZED": _authorized,
    "APPROVED": _answered,
    "DECLINED": _answered,
}
