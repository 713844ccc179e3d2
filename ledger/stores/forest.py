"""The trees of a ledger's logs, so that a proof costs two blocks of entries and not the whole log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ledger.merkle import BLOCK, Range, Subtrees, blocks_of, leaf_hash

PAGE_BLOCKS = 16  # read at a time when it has to catch up with a log

# The bytes of the entries of a tenant, from an index to before another, in order.
Read = Callable[[str, int, int], Awaitable[Sequence[bytes]]]


@dataclass(slots=True)
class _Tree:
    known: Subtrees = field(default_factory=Subtrees)
    growing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Forest:
    """What is known of each log: 64 bytes a block. What was not planted is read by the first question.

    read: of a committed entry it must give the bytes, for they never change afterwards.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._trees: defaultdict[str, _Tree] = defaultdict(_Tree)

    def plant(self, tenant: str, known: Subtrees) -> None:
        """Begin with what a start has hashed of a log."""
        tree = self._trees[tenant]
        if tree.known.size < known.size and not tree.growing.locked():
            tree.known = known

    async def hashes(self, tenant: str, size: int, ranges: Sequence[Range]) -> list[bytes]:
        """The root over each of `ranges` of entries, none of which goes beyond `size`. Raises IndexError."""
        tree = self._trees[tenant]
        async with tree.growing:
            await self._grow(tenant, tree.known, size)
        blocks = {}
        for number in blocks_of(ranges):
            first = number * BLOCK
            blocks[number] = _leaves(await self._read(tenant, first, min(first + BLOCK, size)))
        return [tree.known.hash_of(leaves, blocks) for leaves in ranges]

    async def _grow(self, tenant: str, known: Subtrees, size: int) -> None:
        whole = size - size % BLOCK
        while known.size < whole:
            page = await self._read(tenant, known.size, min(whole, known.size + PAGE_BLOCKS * BLOCK))
            known.take(await asyncio.to_thread(_leaves, page))


def _leaves(entries: Sequence[bytes]) -> list[bytes]:
    return [leaf_hash(raw) for raw in entries]
