"""The tree against published roots, and its proofs against every size up to 64 and every flipped bit."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import (
    BLOCK,
    EMPTY_ROOT,
    Frontier,
    Subtrees,
    blocks_of,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    perfect_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The test leaves and roots that Certificate Transparency implementations share (RFC 6962 reference tests).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
HASHES = [leaf_hash(b"%d" % number) for number in range(64)]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it is written there and without a frontier."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size: int) -> None:
    assert tree_root([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size]


def test_leaf_and_node_are_told_apart() -> None:
    assert leaf_hash(b"").hex() == ROOTS[1]
    assert node_hash(leaf_hash(LEAVES[0]), leaf_hash(LEAVES[1])).hex() == ROOTS[2]
    assert leaf_hash(b"ab") != node_hash(b"a", b"b")
    assert Frontier().root == EMPTY_ROOT


@pytest.mark.parametrize("size", range(65))
def test_a_frontier_has_the_root_of_the_definition(size: int) -> None:
    frontier = Frontier()
    for leaf in HASHES[:size]:
        frontier = frontier.appended(leaf)
    assert frontier.size == size
    assert frontier.root == by_definition(HASHES[:size])
    assert len(frontier.roots) == size.bit_count()


@pytest.mark.parametrize("size", range(1, 65))
def test_every_leaf_of_every_size_is_proved_and_at_no_other_place(size: int) -> None:
    root = tree_root(HASHES[:size])
    for index in range(size):
        proof = inclusion_proof(HASHES[:size], index)
        assert verify_inclusion(HASHES[index], index, size, proof, root)
        assert not verify_inclusion(HASHES[index], index + 1, size, proof, root)
        assert not verify_inclusion(HASHES[index], index, size, [*proof, root], root)
        assert not proof or not verify_inclusion(HASHES[index], index, size, proof[:-1], root)


@pytest.mark.parametrize("new", range(1, 65))
def test_every_smaller_tree_is_proved_to_be_a_prefix(new: int) -> None:
    root = tree_root(HASHES[:new])
    for old in range(1, new + 1):
        proof = consistency_proof(HASHES[:new], old)
        old_root = tree_root(HASHES[:old])
        assert verify_consistency(old, new, old_root, root, proof)
        assert not verify_consistency(old, new, tree_root([*HASHES[1:old], HASHES[0]]), root, proof) or old == 1
        assert not verify_consistency(old, new, old_root, root, [*proof, root])
        assert not proof or not verify_consistency(old, new, old_root, root, proof[:-1])


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@given(data=st.data(), size=st.integers(1, 64), bit=st.integers(0, 255))
def test_an_inclusion_proof_with_any_bit_flipped_fails(data: st.DataObject, size: int, bit: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(HASHES[:size], index), tree_root(HASHES[:size])
    assert not verify_inclusion(flipped(HASHES[index], bit), index, size, proof, root)
    assert not verify_inclusion(HASHES[index], index, size, proof, flipped(root, bit))
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        proof[place] = flipped(proof[place], bit)
        assert not verify_inclusion(HASHES[index], index, size, proof, root)


@given(data=st.data(), new=st.integers(2, 64), bit=st.integers(0, 255))
def test_a_consistency_proof_with_any_bit_flipped_fails(data: st.DataObject, new: int, bit: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof, before, after = consistency_proof(HASHES[:new], old), tree_root(HASHES[:old]), tree_root(HASHES[:new])
    assert not verify_consistency(old, new, flipped(before, bit), after, proof)
    assert not verify_consistency(old, new, before, flipped(after, bit), proof)
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] = flipped(proof[place], bit)
    assert not verify_consistency(old, new, before, after, proof)


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_what_is_not_in_the_tree_has_no_proof(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(HASHES[:3], index)
    assert not verify_inclusion(HASHES[0], index, 3, inclusion_proof(HASHES[:3], 0), tree_root(HASHES[:3]))


@pytest.mark.parametrize("old", [-1, 0, 4])
def test_there_is_no_consistency_with_nothing_or_with_the_future(old: int) -> None:
    with pytest.raises(IndexError):
        consistency_proof(HASHES[:3], old)
    assert not verify_consistency(old, 3, tree_root(HASHES[:3]), tree_root(HASHES[:3]), [HASHES[0]])


def test_the_same_size_is_consistent_with_itself_alone() -> None:
    root = tree_root(HASHES[:3])
    assert verify_consistency(3, 3, root, root, [])
    assert not verify_consistency(3, 3, root, EMPTY_ROOT, [])
    assert not verify_consistency(3, 3, root, root, [root])


# The paths that Certificate Transparency implementations share: (index, size) and (old, size), over LEAVES.
N01, N23, N45, N67, N03 = (
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)
L0, L1, L4 = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
)
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [L1, N23, N47]), (5, 8, [L4, N67, N03]), (2, 3, [N01]), (1, 5, [L0, N23, L4])],
)
def test_the_published_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert [step.hex() for step in inclusion_proof(leaves, index)] == path
    assert verify_inclusion(leaves[index], index, size, [bytes.fromhex(step) for step in path], tree_root(leaves))


@pytest.mark.parametrize(
    ("old", "size", "path"),
    [(1, 1, []), (1, 8, [L1, N23, N47]), (6, 8, [N45, N67, N03]), (2, 5, [N23, L4]), (4, 8, [N47])],
)
def test_the_published_consistency_proofs(old: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert [step.hex() for step in consistency_proof(leaves, old)] == path
    roots = tree_root(leaves[:old]), tree_root(leaves)
    assert verify_consistency(old, size, *roots, [bytes.fromhex(step) for step in path])


def test_the_example_of_the_rfc() -> None:
    """RFC 9162, 2.1.5: seven leaves; a to f, g to l are written as the leaves that they are made of."""
    c, d, f, i, j, g, h, k, m = (2, 3), (3, 4), (5, 6), (4, 6), (6, 7), (0, 2), (2, 4), (0, 4), (4, 7)
    assert inclusion_ranges(0, 7) == [(1, 2), h, m]
    assert inclusion_ranges(3, 7) == [c, g, m]
    assert inclusion_ranges(4, 7) == [f, j, k]
    assert inclusion_ranges(6, 7) == [i, k]
    assert consistency_ranges(3, 7) == [c, d, g, m]
    assert consistency_ranges(4, 7) == [m]
    assert consistency_ranges(6, 7) == [i, j, k]


MANY = [leaf_hash(b"%d" % number) for number in range(5 * BLOCK + 3)]
EDGES = (1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7, 4 * BLOCK, 4 * BLOCK + 129, 5 * BLOCK + 3)


def subtrees(size: int) -> Subtrees:
    """What is known of the first `size` of MANY, taken in pieces."""
    known = Subtrees()
    for first in range(0, size - size % BLOCK, BLOCK):
        known.take(MANY[first : first + BLOCK])
    return known


def roots(size: int, ranges: list[tuple[int, int]]) -> list[bytes]:
    blocks = {number: MANY[number * BLOCK : min((number + 1) * BLOCK, size)] for number in blocks_of(ranges)}
    assert len(blocks) <= 2 * len(ranges)
    known = subtrees(size)
    assert known.size == size - size % BLOCK
    return [known.hash_of(leaves, blocks) for leaves in ranges]


@pytest.mark.parametrize("level", range(10))
def test_a_perfect_tree_is_hashed_a_level_at_a_time(level: int) -> None:
    leaves = MANY[: 1 << level]
    assert perfect_root(leaves) == tree_root(leaves)
    with pytest.raises(ValueError, match="no perfect tree"):
        perfect_root(MANY[: (1 << level) + 1] if level else [])


@pytest.mark.parametrize("size", EDGES)
def test_known_subtrees_and_two_blocks_give_every_proof_and_root(size: int) -> None:
    leaves = MANY[:size]
    assert roots(size, [(0, size)]) == [tree_root(leaves)]
    known = subtrees(size)
    assert known.frontier(leaves[known.size :]) == Frontier().extended(leaves)
    for place in sorted({0, size - 1, size // 2, *(edge for edge in EDGES if edge < size)}):
        inclusion = inclusion_ranges(place, size)
        assert roots(size, inclusion) == inclusion_proof(leaves, place)
        assert len(blocks_of(inclusion)) <= 2
        assert roots(size, [(0, place)]) == [tree_root(leaves[:place])]
        if place:
            consistency = consistency_ranges(place, size)
            assert roots(size, consistency) == consistency_proof(leaves, place)
            assert len(blocks_of(consistency)) <= 2


def test_subtrees_are_of_whole_blocks_and_end_where_the_log_does() -> None:
    known = subtrees(BLOCK)
    with pytest.raises(ValueError, match="no whole blocks"):
        known.take(MANY[:3])
    with pytest.raises(IndexError):
        known.hash_of((0, 2 * BLOCK), {})
    with pytest.raises(IndexError):
        known.hash_of((BLOCK, BLOCK + 2), {1: MANY[:1]})
