"""Some entries of a log as a folder: those of an incident or of a period, each with the proof that it is in the log."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.entry import Entry
from ledger.exporting import sheet
from ledger.exporting.place import Fault, Place
from ledger.exporting.source import NoExport, Source
from ledger.exporting.whole import (
    ENTRIES,
    PROGRESS_EVERY,
    SHEET,
    Progress,
    parse,
    put,
    quiet,
    write_blobs,
    write_head,
)
from ledger.merkle import BLOCK, Range, Subtrees, blocks_of, inclusion_ranges, leaf_hash

PROOF_HEAD = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries: those of `incident`, and those from `since` to before `until`; None for no bound."""

    incident: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return (self.incident, self.since, self.until) != (None, None, None)

    def takes(self, entry: Entry) -> bool:
        return (
            (self.incident is None or entry.incident_id == self.incident)
            and (self.since is None or entry.timestamp >= self.since)
            and (self.until is None or entry.timestamp < self.until)
        )


def proof_path(index: int) -> str:
    return f"proofs/{index}.tlog-proof"


def proof_text(index: int, path: Iterable[bytes], note: str) -> str:
    """An inclusion proof as https://c2sp.org/tlog-proof has it. path: from the leaf's sibling upwards."""
    hashes = "".join(f"{base64.b64encode(step).decode()}\n" for step in path)
    return f"{PROOF_HEAD}\nindex {index}\n{hashes}\n{note}"


def write_part(source: Source, place: Place, choice: Choice, progress: Progress = quiet) -> None:
    """The entries that are chosen. Raises Fault where what stands is not what was signed, NoExport where none is."""
    write_head(source, place)
    tree, size = _Tree(), source.head.size
    lines, rows = place.file(ENTRIES), place.file(SHEET)
    rows.write(sheet.HEAD)
    chosen: list[int] = []
    for index, raw in enumerate(source.entries()):
        entry = parse(raw, index)
        leaf = leaf_hash(raw)
        taken = choice.takes(entry)
        tree.add(leaf, wanted=taken)
        if taken:
            chosen.append(index)
            lines.write(raw + b"\n", index)
            rows.write(sheet.row(entry, leaf), index)
            write_blobs(source, place, entry)
            if entry.policy_digest is not None and (text := source.blob(entry.policy_digest)) is not None:
                place.once(f"policies/{entry.policy_digest}.yml", text, index)
        if (index + 1) % PROGRESS_EVERY == 0 or index + 1 == size:
            progress(index + 1, size)
    if tree.size != size:
        raise Fault(min(tree.size, size), f"{size} entries were signed and {tree.size} stand")
    if tree.root() != source.head.root:
        raise Fault(None, "the root over the entries is not the signed one")
    if not chosen:
        raise NoExport("no entry is of that incident and that time")
    for file in (lines, rows):
        file.close()
    for index in chosen:
        put(place, proof_path(index), proof_text(index, tree.path(index), source.note).encode())


class _Tree:
    """Of a whole log what the proofs of some entries need: 64 bytes a block, and the leaves of their blocks."""

    def __init__(self) -> None:
        self.size = 0
        self._known = Subtrees()
        self._blocks: dict[int, Sequence[bytes]] = {}
        self._block: list[bytes] = []
        self._wanted = False

    def add(self, leaf: bytes, *, wanted: bool) -> None:
        self._block.append(leaf)
        self._wanted |= wanted
        self.size += 1
        if len(self._block) == BLOCK:
            self._known.take(self._block)
            if self._wanted:
                self._blocks[self.size // BLOCK - 1] = self._block
            self._block, self._wanted = [], False

    def root(self) -> bytes:
        return self._hash((0, self.size))

    def path(self, index: int) -> list[bytes]:
        """The audit path of an entry that was wanted."""
        return [self._hash(leaves) for leaves in inclusion_ranges(index, self.size)]

    def _hash(self, leaves: Range) -> bytes:
        wanted = blocks_of([leaves])
        blocks = {number: self._blocks.get(number, self._block) for number in wanted}
        return self._known.hash_of(leaves, blocks)
