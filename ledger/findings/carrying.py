"""What a log carries forward, as far as it tells by itself: it stands first, and OPENED lists it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ledger import carried
from ledger.accounts import OPENS
from ledger.entry import Entry
from ledger.findings.finding import INTRUSION, Finding

RULE = "carried"


class Carrying:
    """One log as it is walked through. Whether the former log bears it out is for whoever has that at hand.

    begins: whether the first post may still go on; after it an entry that does not say `carried` need not be shown.
    """

    def __init__(self) -> None:
        self._listed: object = {}
        self.begins = True
        self._found: dict[int, tuple[str, object]] = {}  # of the first post: what it opened, and which it stands for

    def take(self, entry: Entry) -> Iterator[Finding]:
        if entry.index == 0:
            self._listed = entry.body.get("carries", {})
            if self._listed and not isinstance(entry.body.get("continues"), str):
                yield Finding(0, RULE, "it carries forward and goes on from no other log", INTRUSION)
        elif not carried.is_carried(entry):
            yield from self.end()
            self.begins = False
        elif not self.begins:
            yield Finding(entry.index, RULE, "it says that it was carried forward, and does not stand first", INTRUSION)
        else:
            yield from self._first(entry)

    def end(self) -> Iterator[Finding]:
        """What shows when the first post is over."""
        if not self.begins:
            return
        books: defaultdict[str, list[object]] = defaultdict(list)
        for book, index in self._found.values():
            books[book].append(index)
        if dict(books) != self._listed:
            yield Finding(0, RULE, f"it lists {self._listed}, and what stands behind it {dict(books)}", INTRUSION)

    def _first(self, entry: Entry) -> Iterator[Finding]:
        said = entry.body["carried"]
        if not isinstance(said, Mapping) or entry.stage not in carried.STAGES:
            yield Finding(entry.index, RULE, f"a {entry.stage} that carries {said!r} forward", INTRUSION)
            return
        if entry.settles is not None:
            self._found.pop(entry.settles, None)
        if entry.stage in OPENS:
            self._found[entry.index] = OPENS[entry.stage], said.get("index")
