"""Single changes of an export, at random: what was changed, and the first entry that is damaged by it."""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger import checkpoint as notes
from ledger.entry import Entry, canonical
from ledger.merkle import leaf_hash, tree_root
from tests.ledger.exports import NAME, Exported
from tests.ledger.files import OTHER_KEY

UNKNOWN = -1  # the first damaged entry cannot be told from the folder
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Change:
    """One change. files: the new bytes of a path, or None where it is gone.

    index: the first damaged entry; None where the change is of no entry, UNKNOWN where that cannot be known.
    """

    what: str
    files: Mapping[str, bytes | None]
    index: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file that belong to one entry, or to none."""

    begin: int
    end: int
    index: int | None


class Map:
    """Which bytes of which file are of which entry."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.lines = files["entries.jsonl"].splitlines(keepends=True)
        self.entries = [Entry.parse(line) for line in self.lines]
        self.size = len(self.lines)
        self.parts = {path: list(self._parts(path, data)) for path, data in files.items()}

    def at(self, path: str, offset: int) -> int | None:
        """The entry that the byte at `offset` is of; at the end of the file the one that would come next."""
        parts = self.parts[path]
        if offset >= len(self.files[path]):
            return self.after(path)
        return parts[bisect_right([part.begin for part in parts], offset) - 1].index

    def after(self, path: str) -> int | None:
        """The entry that would come after the end of the file."""
        last = self.parts[path][-1].index
        return None if last is None or path.startswith(("blobs/", "policies/")) else last + self._span(path)

    def _span(self, path: str) -> int:
        level = path.split("/")[1] if path.startswith("tile/") else "0"
        return 256 ** int(level) if level.isdigit() else 1

    def _parts(self, path: str, data: bytes) -> Iterator[Part]:
        kind, _, rest = path.partition("/")
        if path == "entries.jsonl":
            yield from _joined(map(len, self.lines), 0)
        elif path == "entries.csv":
            rows = data.splitlines(keepends=True)
            yield Part(0, len(rows[0]), None)
            yield from _joined(map(len, rows[1:]), len(rows[0]))
        elif path == "books.beancount":
            yield from self._transactions(data)
        elif kind == "tile" and rest.startswith("entries/"):
            first = 256 * int(rest[8:11])
            lengths = [len(line) + 1 for line in self.lines[first : first + 256]]
            yield from (replace(part, index=(part.index or 0) + first) for part in _joined(lengths, 0))
        elif kind == "tile":
            level, number = int(rest[0]), int(rest[2:5])
            for place in range(0, len(data), 32):
                yield Part(place, place + 32, (number * 256 + place // 32) * 256**level)
        else:
            yield Part(0, len(data), self._first_to_name(path))

    def _transactions(self, data: bytes) -> Iterator[Part]:
        begin, index = 0, None
        for found in re.finditer(rb"\n(?=\n)", data):
            yield Part(begin, found.end(), index)
            begin = found.end()
            own = re.match(rb'\n[^\n]*" \^(\d+)', data[begin:])
            index = int(own[1]) if own else None
        yield Part(begin, len(data), None)

    def _first_to_name(self, path: str) -> int | None:
        kind, _, name = path.partition("/")
        for entry in self.entries:
            if kind == "blobs" and name in {blob.digest for blob in entry.blobs}:
                return entry.index
            if kind == "policies" and entry.stage == "ADOPTED" and name == f"{entry.policy_digest}.yml":
                return entry.index
        return None


def _joined(lengths: Iterator[int] | Sequence[int], begin: int) -> Iterator[Part]:
    for index, length in enumerate(lengths):
        yield Part(begin, begin + length, index)
        begin += length


class Changes:
    """Draws one change after the other. other: an export of another log, to splice from. paths: what is changed."""

    def __init__(self, export: Exported, other: Exported, seed: int, paths: Callable[[str], bool] = bool) -> None:
        self.map = Map(export.bytes())
        self._key_in_force = export.key
        self._keyed = [entry.index for entry in self.map.entries if entry.stage == "REKEYED"]
        self._other = Map(other.bytes())
        self._random = random.Random(seed)
        self._paths = sorted(filter(paths, self.map.files))
        self._kinds: Sequence[Callable[[], Change | None]] = (
            *(self._bit, self._bit, self._byte, self._field, self._swap, self._drop, self._duplicate, self._truncate),
            *(self._insert, self._splice, self._file, self._checkpoint, self._key, self._another_name),
        )

    def draw(self, kind: str | None = None) -> Change:
        """A change that changes something; of a kind: "bit", "swap" …"""
        kinds = [draw for draw in self._kinds if kind in (None, draw.__name__.strip("_"))]
        while True:
            found = self._random.choice(kinds)()
            if found is not None and any(self.map.files.get(path) != data for path, data in found.files.items()):
                # Of a checkpoint that vouches for a key, the entry is named that it vouches for, or the file alone.
                vouches = any(path.startswith("checkpoints/") for path in found.files)
                return replace(found, index=UNKNOWN) if vouches else found

    def _path(self) -> str:
        """The large files as often as all the small ones together, which would hide them."""
        large = [path for path in self._paths if len(self.map.parts[path]) > 1]
        return self._random.choice(large if self._random.random() < 0.7 else self._paths)

    def _edited(self, what: str, path: str, begin: int, end: int, data: bytes, index: int | None) -> Change:
        old = self.map.files[path]
        return Change(f"{what} in {path}", {path: old[:begin] + data + old[end:]}, index)

    def _bit(self) -> Change:
        path = self._path()
        place = self._random.randrange(len(self.map.files[path]))
        flipped = bytes([self.map.files[path][place] ^ 1 << self._random.randrange(8)])
        return self._edited("a bit", path, place, place + 1, flipped, self.map.at(path, place))

    def _byte(self) -> Change:
        path = self._path()
        place = self._random.randrange(len(self.map.files[path]))
        other = bytes([self._random.randrange(256)])
        return self._edited("a byte", path, place, place + 1, other, self.map.at(path, place))

    def _field(self) -> Change:
        """One field of an entry, in canonical bytes, where the entry stands as a line or in a bundle."""
        entry = self._random.choice(self.map.entries)
        document = json.loads(entry.raw)
        name = self._random.choice(sorted(document))
        values = ["", "x", None, 0, 1, 7, [], [0], {}, "system", "policy", "NOTED", "engineer:rudo", True, "0" * 64]
        document[name] = self._random.choice(values)
        raw = canonical(document)
        if self._random.random() < 0.5:
            part = self.map.parts["entries.jsonl"][entry.index]
            return self._edited(name, "entries.jsonl", part.begin, part.end, raw + b"\n", entry.index)
        (path,) = [p for p in self._paths if p.startswith(f"tile/entries/{entry.index // 256:03}")]
        part = self.map.parts[path][entry.index % 256]
        return self._edited(name, path, part.begin, part.end, len(raw).to_bytes(2, "big") + raw, entry.index)

    def _two(self) -> tuple[str, Part, Part]:
        """A file of several parts, and two of them that are of entries, in order."""
        path = self._random.choice([p for p in self._paths if len(self._of_entries(p)) > 1])
        first, second = sorted(self._random.sample(self._of_entries(path), 2), key=lambda part: part.begin)
        return path, first, second

    def _of_entries(self, path: str) -> list[Part]:
        return [part for part in self.map.parts[path] if part.index is not None]

    def _swap(self) -> Change:
        path, first, second = self._two()
        old = self.map.files[path]
        one, between, two = old[first.begin : first.end], old[first.end : second.begin], old[second.begin : second.end]
        return self._edited("a swap", path, first.begin, second.end, two + between + one, first.index)

    def _drop(self) -> Change:
        path, first, _ = self._two()
        return self._edited("a drop", path, first.begin, first.end, b"", first.index)

    def _duplicate(self) -> Change:
        path, first, _ = self._two()
        twice = self.map.files[path][first.begin : first.end] * 2
        return self._edited("a double", path, first.begin, first.end, twice, self.map.at(path, first.end))

    def _truncate(self) -> Change:
        path = self._path()
        place = self._random.randrange(len(self.map.files[path]))
        return self._edited("an end", path, place, len(self.map.files[path]), b"", self.map.at(path, place))

    def _insert(self) -> Change:
        path = self._path()
        place = self._random.randrange(len(self.map.files[path]) + 1)
        more = self._random.randbytes(self._random.randrange(1, 40))
        return self._edited("more", path, place, place, more, UNKNOWN)

    def _splice(self) -> Change | None:
        """A part, a tail or a whole file of another log: the first difference is where it begins, or after."""
        path = self._random.choice([p for p in self._paths if p in self._other.files])
        ours, theirs = self.map.parts[path], self._other.parts[path]
        place = self._random.randrange(min(len(ours), len(theirs)))
        old, new = self.map.files[path], self._other.files[path]
        if self._random.random() < 0.5:
            end, data = len(old), new[theirs[place].begin :]
        else:
            end, data = ours[place].end, new[theirs[place].begin : theirs[place].end]
        begin = ours[place].begin
        same = next((i for i, (a, b) in enumerate(zip(old[begin:end], data, strict=False)) if a != b), None)
        if same is None:
            return None
        index = UNKNOWN if path.startswith("checkpoint") else self.map.at(path, begin + same)  # signed by our key, too
        return self._edited("a splice", path, begin, end, data, index)

    def _file(self) -> Change:
        """A file is gone, another has its name, or there is one more."""
        path, other = self._random.sample(self._paths, 2)
        kind = self._random.randrange(3)
        if kind == 0:
            return Change(f"without {path}", {path: None}, self._missed_by(path))
        if kind == 1:
            return Change(f"{path} is {other}", {path: self.map.files[other]}, UNKNOWN)
        name = self._random.choice(["more", f"blobs/{'0' * 64}", "tile/entries/999", "tile/9/000", ".hidden"])
        return Change(f"also {name}", {name: self.map.files[other]}, None)

    def _missed_by(self, path: str) -> int | None:
        """The first entry that misses a file; the file of all entries is told of by its name."""
        return None if path == "entries.jsonl" else self.map.at(path, 0)

    def _checkpoint(self) -> Change:
        """Signed with our key, and so found by what stands under it alone; or with another, or of another log."""
        size = self._random.randrange(self.map.size + 2)
        leaves = [leaf_hash(entry.raw) for entry in self.map.entries[:size]]
        older = notes.Checkpoint(NAME, size, tree_root(leaves))
        kind = self._random.randrange(5)
        if kind == 0:
            index = size if max(self._keyed, default=0) < size < self.map.size else UNKNOWN
            note = notes.sign(older, NAME, self._key_in_force)
            return Change("an older checkpoint", {"checkpoint": note.encode()}, index)
        forged = notes.Checkpoint(NAME, self.map.size, self._random.randbytes(32))
        new = {
            1: notes.sign(forged, NAME, self._key_in_force),
            2: notes.sign(older, NAME, OTHER_KEY),
            3: self._other.files["checkpoint"].decode(),
            4: notes.sign(replace(older, origin=f"{NAME}x"), NAME, self._key_in_force),
        }[kind]
        return Change("another checkpoint", {"checkpoint": new.encode()}, UNKNOWN)

    def _key(self) -> Change:
        """Another key in the folder, perhaps with a checkpoint that it signed."""
        vkey = notes.verifier_key(NAME, OTHER_KEY.public_key())
        files: dict[str, bytes | None] = {"keys.txt": f"{vkey}\n".encode()}
        if self._random.random() < 0.5:
            leaves = [leaf_hash(entry.raw) for entry in self.map.entries]
            head = notes.Checkpoint(NAME, self.map.size, tree_root(leaves))
            files["checkpoint"] = notes.sign(head, NAME, OTHER_KEY).encode()
        return Change("another key", files, None)

    def _another_name(self) -> Change:
        """A file under another name."""
        path = self._random.choice(self._paths)
        moved = {path: None, f"{path}.old": self.map.files[path]}
        return Change(f"{path} is called otherwise", moved, UNKNOWN)


def put(folder: Path, change: Change) -> None:
    """Change the folder."""
    for path, data in change.files.items():
        target = folder / path
        if data is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def undo(folder: Path, change: Change, files: Files) -> None:
    """Make the folder again what it was."""
    for path in change.files:
        target = folder / path
        if path in files:
            target.write_bytes(files[path])
        else:
            target.unlink()
            for parent in target.relative_to(folder).parents:
                if parent != Path() and not any((folder / parent).iterdir()):
                    (folder / parent).rmdir()
