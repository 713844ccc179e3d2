"""The keys of an exported log: each vouches for the next, so whoever trusts one of them can follow the rest."""

from __future__ import annotations

from ledger import checkpoint as notes
from ledger.entry import Entry
from ledger.exporting.place import Fault
from ledger.exporting.source import Source
from ledger.exporting.tiles import Tiles
from ledger.keys import STAGES, KeyFault, Keyring


class Keys:
    """Follows the keys through the entries."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._entries: list[Entry] = []
        self._roots: dict[int, bytes] = {}

    def see(self, entry: Entry, tiles: Tiles) -> None:
        """The next entry, which stands in `tiles` already."""
        if entry.stage in STAGES:
            self._entries.append(entry)
        size = entry.index + 1
        if size in self._source.vouchers:
            self._roots[size] = tiles.root()

    def check(self) -> None:
        """The keys are those that the entries name, and each is vouched for over the same history. Raises Fault."""
        source = self._source
        try:
            ring = Keyring.of(source.head.origin, self._entries)
        except KeyFault as error:
            raise Fault(error.index, str(error)) from error
        if tuple(key.vkey for key in ring.keys) != source.keys:
            raise Fault(None, "the keys of the log are others: its entries name them")
        unused = set(source.vouchers)
        for key in ring.keys[1:]:
            size = min((size for size in source.vouchers if size > key.first), default=None)
            if size is None:
                raise Fault(key.first, "there is no checkpoint in which the key before it vouches for the next")
            unused.discard(size)
            try:
                found = ring.verify(source.vouchers[size])
                ring.vouch(source.vouchers[size], after=key.first)
            except notes.BadCheckpoint as error:
                raise Fault(key.first, f"the checkpoint after it: {error}") from error
            if (found.size, found.root) != (size, self._roots.get(size)):
                raise Fault(size - 1, "the root differs from the one in which a key vouches for the next")
        if unused:
            raise Fault(None, f"in the checkpoint over {min(unused)} entries no key vouches for another")
        try:
            ring.verify(source.note)
        except notes.BadCheckpoint as error:
            raise Fault(None, f"the checkpoint: {error}") from error
