"""The log as C2SP tlog-tiles (https://c2sp.org/tlog-tiles): bundles of entries, and tiles of hashes."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.exporting.place import File, Place
from ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash, tree_root

WIDTH = 256  # entries in a bundle, hashes in a tile


def tile_path(level: int | str, number: int, width: int) -> str:
    """The path of a tile: `tile/0/x001/x234/067`, and `….p/W` where it is not full. level: "entries" for a bundle."""
    name = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        name = f"x{number % 1000:03}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


class Tiles:
    """Bundles and tiles of a log of `size` entries, as the entries come; the name of a partial tile has its width."""

    def __init__(self, place: Place, size: int) -> None:
        self._place = place
        self._size = size
        self._bundle: File | None = None
        self._files: list[File] = []  # the tile that grows on each level
        self._hashes: list[list[bytes]] = []  # what stands in it
        self._numbers: list[int] = []  # how many full ones there are before it
        self._count = 0

    def add(self, raw: bytes) -> bytes:
        """Take the next entry's bytes; their leaf hash."""
        index = self._count
        if index % WIDTH == 0:
            self._bundle = self._file("entries", index // WIDTH, self._size, index)
        if self._bundle is None:
            raise AssertionError("a bundle is open from its first entry to its last")
        self._bundle.write(len(raw).to_bytes(2, "big") + raw, index)
        leaf = leaf_hash(raw)
        self._count += 1
        self._put(0, leaf)
        if self._count % WIDTH == 0 or self._count == self._size:
            self._bundle.close(self._count)
        return leaf

    def _put(self, level: int, hash: bytes) -> None:
        span = WIDTH**level  # the entries under one hash
        if level == len(self._files):
            self._files.append(self._file(level, 0, self._size // span, 0))
            self._hashes.append([])
            self._numbers.append(0)
        elif not self._hashes[level]:
            number = self._numbers[level]
            self._files[level] = self._file(level, number, self._size // span, number * WIDTH * span)
        hashes = self._hashes[level]
        self._files[level].write(hash, (self._numbers[level] * WIDTH + len(hashes)) * span)
        hashes.append(hash)
        if len(hashes) == WIDTH:
            self._numbers[level] += 1
            self._files[level].close(self._numbers[level] * WIDTH * span)
            root = tree_root(hashes)
            hashes.clear()
            self._put(level + 1, root)

    def _file(self, level: int | str, number: int, count: int, index: int) -> File:
        return self._place.file(tile_path(level, number, min(count - number * WIDTH, WIDTH)), index)

    def root(self) -> bytes:
        """The root over everything that came until now."""
        return _root(self._hashes)

    def finish(self) -> None:
        """Nothing more comes."""
        for level, hashes in enumerate(self._hashes):
            if hashes:
                self._files[level].close((self._numbers[level] * WIDTH + len(hashes)) * WIDTH**level)


def _root(levels: Sequence[Sequence[bytes]]) -> bytes:
    """The root over the hashes that stand in the last tile of each level, the lowest first."""
    roots = [root for hashes in reversed(levels) for root in Frontier().extended(hashes).roots]
    if not roots:
        return EMPTY_ROOT
    found = roots[-1]
    for left in reversed(roots[:-1]):
        found = node_hash(left, found)
    return found
