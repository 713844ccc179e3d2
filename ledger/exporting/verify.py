"""Verify an export, offline and under a key that did not come with it: the first fault, and the entry where it is.

A whole log is verified by writing it again from its entries and comparing every file on the way, while the rules of the
books are decided again. contrib/verify_export.py does all of this without us.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ledger import checkpoint as notes
from ledger import proofs
from ledger.entry import Entry, NotCanonical, canonical
from ledger.exporting import sheet
from ledger.exporting.kept import Kept
from ledger.exporting.keychain import Keys
from ledger.exporting.part import proof_path
from ledger.exporting.place import Compared, Fault
from ledger.exporting.tiles import Tiles
from ledger.exporting.whole import (
    ENTRIES,
    SHEET,
    Progress,
    parse,
    quiet,
    write_blobs,
    write_head,
    write_whole,
)
from ledger.findings import HARMLESS, Examiner, Finding
from ledger.merkle import leaf_hash


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified: how many entries, of how many in the log, under which root (hex)."""

    entries: int
    size: int
    root: str

    def __str__(self) -> str:
        if self.entries == self.size:
            return f"OK: {self.entries} entries, root {self.root}"
        return (
            f"OK: {self.entries} of {self.size} entries, each in the log with root {self.root}; "
            "what is left out cannot be seen"
        )


def verify_export(folder: Path, vkey: str, progress: Progress = quiet) -> Verified:
    """Verify what `export` wrote into `folder`, under the verifier key.

    Raises Fault on the first thing that does not hold, and NoExport where there is no folder or no key.
    """
    source = Kept(folder, vkey)
    head = source.head
    with closing(Compared(folder)) as place:
        if (folder / "proofs").is_dir():
            entries = _verify_part(source, place)
        else:
            entries = head.size
            _verify_whole(source, place, progress)
        place.finish()
    return Verified(entries, head.size, head.root.hex())


@dataclass(frozen=True, slots=True)
class _Rules:
    """What every entry must keep beside the rules of the books: its bytes, whose it is, and its policy's text."""

    head: notes.Checkpoint

    def form(self, entry: Entry) -> None:
        try:
            exact = canonical(json.loads(entry.raw)) == entry.raw
        except NotCanonical as error:
            raise Fault(entry.index, f"it is not an entry: {error}") from error
        if not exact:
            raise Fault(entry.index, "its bytes are not canonical")
        if notes.log_origin(entry.ledger, entry.tenant_id) != self.head.origin:
            raise Fault(entry.index, f"it is of {entry.tenant_id} in {entry.ledger}")

    def policy(self, entry: Entry) -> None:
        texts = [blob.digest for blob in entry.blobs if blob.name == "policy"]
        if entry.stage == "ADOPTED" and texts != [entry.policy_digest]:
            raise Fault(entry.index, "the text of the policy is not among its blobs")


def _verify_whole(source: Kept, place: Compared, progress: Progress) -> None:
    rules, keys, examiner = _Rules(source.head), Keys(source), Examiner()

    def watch(entry: Entry, tiles: Tiles) -> None:
        rules.form(entry)
        _raise_for(examiner.take(entry))
        rules.policy(entry)
        keys.see(entry, tiles)

    write_whole(source, place, progress, watch)
    _raise_for(examiner.end())
    keys.check()


def _raise_for(found: Iterable[Finding]) -> None:
    for finding in found:
        if finding.rule not in HARMLESS:
            raise Fault(finding.index, f"{finding.rule}: {finding.detail}")


def _verify_part(source: Kept, place: Compared) -> int:
    """How many entries there are."""
    rules = _Rules(source.head)
    write_head(source, place)
    rows = place.file(SHEET)
    place.know(ENTRIES)
    rows.write(sheet.HEAD)
    before: Entry | None = None
    count = 0
    for raw in source.entries():
        entry = parse(raw, None)
        rules.form(entry)
        if before is not None and (entry.index <= before.index or entry.timestamp < before.timestamp):
            raise Fault(entry.index, f"it stands after entry {before.index}")
        _proven(source, place, entry)
        if entry.policy_digest is not None:
            source.policy(place, entry.policy_digest, entry.index)
        rows.write(sheet.row(entry, leaf_hash(raw)), entry.index)
        write_blobs(source, place, entry)
        before, count = entry, count + 1
    rows.close()
    if not count:
        raise Fault(None, f"{ENTRIES} is empty")
    return count


def _proven(source: Kept, place: Compared, entry: Entry) -> None:
    """The proof of the entry leads from its hash to the signed root, and from the first key to the one in force."""
    path = proof_path(entry.index)
    try:
        text = source.file(place, path, entry.index).decode()
        proof = proofs.parse(text)
        if (proof.raw, proof.index, proof.note, proof.text()) != (entry.raw, entry.index, source.note, text):
            raise proofs.BadProof("it is not of this entry under this checkpoint, or has another form")
        source.rotations(proof.rotations)
        proofs.verify(text, source.keys[0])
    except ValueError as error:
        raise Fault(entry.index, f"{path}: {error}") from error
