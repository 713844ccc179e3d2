"""A long log is hashed by several processes: they find what one finds, and where they cannot, one does it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.merkle import BLOCK, Frontier, leaf_hash
from ledger.stores import hashing, schema
from tests.ledger.files import Files, note

NOTES = 5 * BLOCK + 9  # beside OPENED; so a process of three has one block, and the others two
SIZE = NOTES + 1


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    await files.post([note(f"n{number}") for number in range(NOTES)])
    return files


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with three cores, where it pays from the first entry on."""
    monkeypatch.setattr(hashing, "BESIDE_FROM", 0)
    monkeypatch.setattr(hashing.os, "cpu_count", lambda: 3)


def frontier(files: Files) -> Frontier:
    with closing(schema.connect(files.path)) as store:
        size = hashing.size_of(store, "default")
        known = hashing.subtrees_of(store, files.path, "default", size)
        assert (size, known.size) == (SIZE, 5 * BLOCK)
        return known.frontier(hashing.leaves_of(store, "default", known.size, size))


def alone(files: Files) -> Frontier:
    rows = files.rows("SELECT bytes FROM entry ORDER BY n")
    return Frontier().extended(leaf_hash(text.encode()) for (text,) in rows)


async def test_one_process_finds_the_tree(files: Files) -> None:
    assert frontier(files) == alone(files)


async def test_several_processes_find_the_same(files: Files, processes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    roots = hashing._roots

    def counted(store: object, tenant: str, first: int, end: int) -> Iterator[bytes]:
        hashed.append((first, end))
        return roots(store, tenant, first, end)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "_roots", counted)
    assert frontier(files) == alone(files)
    assert hashed == [(0, 1)]  # the others were hashed elsewhere


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false", "/bin/true"])
async def test_where_no_other_process_does_it_this_one_does(
    files: Files, processes: None, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    assert frontier(files) == alone(files)


@pytest.mark.parametrize("gap", [0, 1, BLOCK, 3 * BLOCK - 1, 4 * BLOCK + 5, SIZE - 2])
async def test_a_start_says_what_is_missing_wherever_it_is_hashed(files: Files, processes: None, gap: int) -> None:
    with files.without_rules() as store:
        store.execute("DELETE FROM entry WHERE n >= ? AND n < ?", (gap, gap + 1 if gap < SIZE - 2 else SIZE - 1))
    refusal = await files.refusal()
    assert refusal is not None
    # Entry 0 names the key, and without it nothing else is looked at.
    assert (f"entry {gap} of default is missing" if gap else "names no key") in refusal


@pytest.mark.parametrize("changed", [1, BLOCK, 3 * BLOCK - 1, 4 * BLOCK + 5, SIZE - 1])
async def test_a_start_is_refused_wherever_an_entry_was_changed(files: Files, processes: None, changed: int) -> None:
    with files.without_rules() as store:
        store.execute("UPDATE entry SET bytes = replace(bytes, 'note', 'nope') WHERE n = ?", (changed,))
    assert "another history" in (await files.refusal() or "")


async def test_numbers_far_beyond_the_log_are_a_gap(files: Files, processes: None) -> None:
    with files.without_rules() as store:
        store.execute("UPDATE entry SET n = ? WHERE n = ?", (2**62, SIZE - 1))
    assert f"entry {SIZE - 1} of default is missing" in (await files.refusal() or "")


async def test_a_number_below_the_first_is_a_fault(files: Files, processes: None) -> None:
    with files.without_rules() as store:
        other = 'replace(bytes, \'"id":"\', \'"id":"x\')'
        store.execute(f"INSERT INTO entry (tenant, n, bytes) SELECT tenant, -1, {other} FROM entry WHERE n = 5")
    assert "entry 0 of default is missing" in (await files.refusal() or "")


async def test_the_first_proof_after_a_start_reads_two_blocks(files: Files) -> None:
    journal = await files.open()
    read = []
    former = journal._forest._read

    async def reading(tenant: str, first: int, end: int) -> object:
        read.append(end - first)
        return await former(tenant, first, end)

    journal._forest._read = reading  # type: ignore[assignment]
    (root,) = await journal.tree_hashes("default", [(0, SIZE)])
    await journal.close()
    assert root == alone(files).root
    assert sum(read) <= 2 * BLOCK
