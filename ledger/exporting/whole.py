"""A whole log as a folder. What writes it also compares one: the difference is the `Place` that it is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ledger.entry import MAX_ENTRY_BYTES, BlobRef, Entry
from ledger.exporting import beancount, figures, sheet
from ledger.exporting.place import Fault, Place
from ledger.exporting.source import Source
from ledger.exporting.tiles import Tiles
from ledger.reconcile import Tally

PROGRESS_EVERY = 1_000
README, CHECKPOINT, KEYS = "README.txt", "checkpoint", "keys.txt"
ENTRIES, SHEET, BOOKS = "entries.jsonl", "entries.csv", "books.beancount"
TABLE, FIGURES = "balance.txt", "balance.json"

Progress = Callable[[int, int], None]  # how many entries are done, of how many
Watch = Callable[[Entry, Tiles], None]  # sees each entry when it stands in the tree, and may raise a Fault


def quiet(done: int, size: int) -> None:
    """For those who do not want to know how far it is."""


def unwatched(entry: Entry, tiles: Tiles) -> None:
    """For those who write what was verified when it was posted."""


def put(place: Place, path: str, data: bytes) -> None:
    file = place.file(path)
    file.write(data)
    file.close()


def write_head(source: Source, place: Place) -> None:
    """What every folder has: how to verify it, the signed checkpoint, and the verifier keys."""
    put(place, README, source.readme)
    put(place, CHECKPOINT, source.note.encode())
    put(place, KEYS, "".join(f"{key}\n" for key in source.keys).encode())


def voucher_path(size: int) -> str:
    """Where the checkpoint over `size` entries stands, in which a key vouches for the next."""
    return f"checkpoints/{size}"


def write_whole(source: Source, place: Place, progress: Progress = quiet, watch: Watch = unwatched) -> None:
    """Every entry under the checkpoint. Raises Fault where what stands is not what was signed."""
    head = source.head
    write_head(source, place)
    for size, note in source.vouchers.items():
        put(place, voucher_path(size), note.encode())
    tiles, tally = Tiles(place, head.size), Tally()
    lines, rows, books = place.file(ENTRIES), place.file(SHEET), place.file(BOOKS)
    rows.write(sheet.HEAD)
    last: Entry | None = None
    count = 0
    for raw in source.entries():
        if count == head.size:
            raise Fault(count, f"it and what follows is under no checkpoint: {head.size} entries were signed")
        entry = parse(raw, count)
        leaf = tiles.add(raw)
        watch(entry, tiles)
        lines.write(raw + b"\n", count)
        rows.write(sheet.row(entry, leaf), count)
        if last is None:
            books.write(beancount.head(head.origin, entry.timestamp))
        books.write(beancount.transaction(entry, *tally.add(entry)), count)
        write_blobs(source, place, entry)
        last, count = entry, count + 1
        if count % PROGRESS_EVERY == 0 or count == head.size:
            progress(count, head.size)
    if last is None or count < head.size:
        raise Fault(count, f"it is missing: {head.size} entries were signed and {count} stand")
    if tiles.root() != head.root:
        raise Fault(None, "the root over the entries is not the signed one")
    tiles.finish()
    balance = tally.balance()
    books.write(beancount.tail(balance, last.timestamp))
    for file in (lines, rows, books):
        file.close(count)
    put(place, TABLE, figures.table(balance, head))
    put(place, FIGURES, figures.document(balance, head))


def parse(raw: bytes, index: int | None) -> Entry:
    """The entry with these bytes, with fields of their types, which is to stand at `index`, if given. Raises Fault."""
    try:
        entry = Entry.parse(raw)
    except ValueError as error:
        raise Fault(index, f"it is not an entry: {error}") from error
    if not entry.well_formed:
        raise Fault(index, "it is not an entry: a field is of another type")
    if index not in (None, entry.index) or len(raw) > MAX_ENTRY_BYTES:
        raise Fault(index, f"it says it is entry {entry.index}, in {len(raw)} bytes")
    return entry


def write_blobs(source: Source, place: Place, entry: Entry) -> None:
    """The blobs of an entry by their digests; the text of a policy also by the name under which entries know it."""
    for blob in entry.blobs:
        data = checked(source.blob(blob.digest), blob, entry.index)
        place.once(f"blobs/{blob.digest}", data, entry.index)
        if entry.stage == "ADOPTED" and blob.name == "policy" and blob.digest == entry.policy_digest:
            place.once(f"policies/{blob.digest}.yml", data, entry.index)


def checked(data: bytes | None, blob: BlobRef, index: int) -> bytes:
    """The blob's bytes, if they are what the entry names. Raises Fault."""
    if data is None:
        raise Fault(index, f"its blob {blob.name} is missing")
    if hashlib.sha256(data).hexdigest() != blob.digest or len(data) != blob.length:
        raise Fault(index, f"its blob {blob.name} was changed")
    return data
