"""The tree against published roots, and its proofs against every size up to 64 and every flipped bit."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
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
