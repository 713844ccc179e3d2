"""The tree of RFC 6962 and RFC 9162: leaf and node hashes, the compact frontier, inclusion and consistency. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
BLOCK_LEVEL = 8
BLOCK = 1 << BLOCK_LEVEL  # leaves in a block, as in a tile of C2SP tlog-tiles

Range = tuple[int, int]  # the leaves from the first number to before the second


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The compact form of a tree: its size, and the roots of its perfect subtrees, the largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def appended(self, leaf: bytes) -> Frontier:
        """The frontier with one more leaf hash."""
        return self.extended((leaf,))

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier with more leaf hashes: as in binary addition, equal subtrees are joined."""
        roots, size = list(self.roots), self.size
        for leaf in leaves:
            joined, count = leaf, size
            while count & 1:
                joined = sha256(b"\x01" + roots.pop() + joined).digest()  # `node_hash`, for each of many
                count >>= 1
            roots.append(joined)
            size += 1
        return Frontier(size, tuple(roots))

    @property
    def root(self) -> bytes:
        if not self.roots:
            return EMPTY_ROOT
        root = self.roots[-1]
        for left in self.roots[-2::-1]:
            root = sha256(b"\x01" + left + root).digest()
        return root


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (RFC 9162, 2.1.1)."""
    return Frontier().extended(leaves).root


def perfect_root(leaves: Sequence[bytes]) -> bytes:
    """The root over as many leaf hashes as a power of two: a level at a time, faster than one by one."""
    if not leaves or len(leaves) & (len(leaves) - 1):
        raise ValueError(f"{len(leaves)} leaves are no perfect tree")
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        leaves = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return leaves[0]


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """What the audit path of `index` in a tree of `size` leaves is made of (RFC 9162, 2.1.3.1). Raises IndexError.

    Each range [begin, end) of leaves is a subtree, and its root is one hash of the path, from the leaf upwards.
    """
    if not 0 <= index < size:
        raise IndexError(f"{index} is not in a tree of {size}")
    ranges, begin, end = [], 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    return ranges[::-1]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of `index` in the tree over all of `leaves` (RFC 9162, 2.1.3.1). Raises IndexError."""
    return [tree_root(leaves[begin:end]) for begin, end in inclusion_ranges(index, len(leaves))]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` stands at `index` of the tree with `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            current = node_hash(sibling, current)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and current == root


def consistency_ranges(old: int, size: int) -> list[Range]:
    """What a proof that `old` leaves are a prefix of `size` is made of (RFC 9162, 2.1.4.1), as in `inclusion_ranges`.

    Raises IndexError.
    """
    if not 0 < old <= size:
        raise IndexError(f"{old} is not a size below {size}")
    ranges, begin, end = [], 0, size
    while old < end:
        split = begin + _split(end - begin)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    return [*([(begin, end)] if begin else []), *ranges[::-1]]


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """That the tree over the first `old` leaves is a prefix of the whole (RFC 9162, 2.1.4.1). Raises IndexError."""
    return [tree_root(leaves[begin:end]) for begin, end in consistency_ranges(old, len(leaves))]


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `old` leaves is a prefix of the tree of `new` (RFC 9162, 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if not 0 < old < new or not proof:
        return False
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    left = right = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            left, right = node_hash(sibling, left), node_hash(sibling, right)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            right = node_hash(right, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and left == old_root and right == new_root


class Subtrees:
    """The roots of all perfect subtrees of a block and more, so that a proof reads two blocks and not the whole log.

    It costs 64 bytes for each block of 256 leaves. A cache: whoever holds the leaves can make it again.
    """

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]  # from BLOCK_LEVEL upwards; each from the left

    @property
    def size(self) -> int:
        """How many leaves it knows of: whole blocks."""
        return len(self._levels[0]) * BLOCK

    def take(self, leaves: Sequence[bytes]) -> None:
        """Go on with the hashes of the next leaves, whole blocks of them."""
        if len(leaves) % BLOCK:
            raise ValueError(f"{len(leaves)} leaves are no whole blocks")
        self.take_blocks(perfect_root(leaves[begin : begin + BLOCK]) for begin in range(0, len(leaves), BLOCK))

    def take_blocks(self, roots: Iterable[bytes]) -> None:
        """Go on with the roots over the next whole blocks."""
        for root in roots:
            self._add(root)

    def frontier(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier of the tree over all that is known and then `leaves`."""
        roots = tuple(self._levels[level - BLOCK_LEVEL][number] for level, number in _perfect((0, self.size)))
        return Frontier(self.size, roots).extended(leaves)

    def _add(self, root: bytes) -> None:
        self._levels[0].append(root)
        for level, roots in enumerate(self._levels):
            if len(roots) % 2:
                return
            if level + 1 == len(self._levels):
                self._levels.append([])  # the loop goes on to it
            self._levels[level + 1].append(node_hash(roots[-2], roots[-1]))

    def hash_of(self, leaves: Range, blocks: Mapping[int, Sequence[bytes]]) -> bytes:
        """The root over a range that a proof asks for.

        blocks: the leaf hashes of each of `blocks_of` that range, by the block's number. Raises IndexError where the
        range goes beyond what is known.
        """
        root = b""
        for level, number in reversed(list(_perfect(leaves))):
            if level >= BLOCK_LEVEL:
                left = self._levels[level - BLOCK_LEVEL][number]
            else:
                first = (number << level) % BLOCK
                found = blocks[number << level >> BLOCK_LEVEL][first : first + (1 << level)]
                if len(found) != 1 << level:
                    raise IndexError(f"a block does not reach to leaf {(number + 1 << level) - 1}")
                left = tree_root(found)
            root = node_hash(left, root) if root else left
        return root or EMPTY_ROOT


def blocks_of(ranges: Iterable[Range]) -> set[int]:
    """The numbers of the blocks whose leaves are needed for the roots over `ranges`, beside the known subtrees."""
    small = (part for leaves in ranges for part in _perfect(leaves) if part[0] < BLOCK_LEVEL)
    return {number << level >> BLOCK_LEVEL for level, number in small}


def _perfect(leaves: Range) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that a subtree's leaves are made of, from the left: (level, number on that level)."""
    begin, end = leaves
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
