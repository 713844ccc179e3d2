"""`counterfoil ledger export`: what is in the folder, byte for byte, and what is never in it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from base64 import b64decode, b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger import checkpoint as notes
from ledger import proofs
from ledger.entry import Entry
from ledger.exporting.export import Format
from ledger.exporting.part import Choice
from ledger.exporting.source import NoExport, stored
from ledger.exporting.text import cell, plain
from ledger.exporting.tiles import tile_path
from ledger.merkle import leaf_hash, tree_root, verify_inclusion
from ledger.reconcile import trial_balance
from tests.ledger.books import ORIGIN, START
from tests.ledger.exports import NAME, NASTY, POLICY, VKEY, Exported, exported
from tests.ledger.files import KEY, OTHER_KEY


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """More than two tiles."""
    return exported(tmp_path_factory.mktemp("large"), stories=20)


# --- the whole log ---------------------------------------------------------------------------------------------------


def test_the_entries_are_the_exact_bytes(small: Exported) -> None:
    rows = small.files.rows("SELECT CAST(bytes AS BLOB) FROM entry ORDER BY n")
    assert small.bytes()["entries.jsonl"] == b"".join(row[0] + b"\n" for row in rows)


def test_the_checkpoint_is_the_newest_and_the_key_opens_it(small: Exported) -> None:
    assert small.text("keys.txt") == f"{VKEY}\n"
    head = notes.verify(small.text("checkpoint"), NAME, KEY.public_key())
    assert (head.size, head.root) == (len(small.lines()), tree_root([leaf_hash(raw) for raw in small.lines()]))


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (273, 112, "tile/0/273.p/112"),
        (999, 1, "tile/0/999.p/1"),
        (1000, 256, "tile/0/x001/000"),
        (1234067, 256, "tile/0/x001/x234/067"),
    ],
)
def test_the_path_of_a_tile_is_that_of_the_specification(number: int, width: int, path: str) -> None:
    assert tile_path(0, number, width) == path


def test_the_tiles_hold_the_hashes_of_each_level(large: Exported) -> None:
    leaves = [leaf_hash(raw) for raw in large.lines()]
    files = {path: data for path, data in large.bytes().items() if path.startswith("tile/")}
    blocks = [leaves[first : first + 256] for first in range(0, len(leaves), 256)]
    rest = len(blocks[-1])
    assert len(blocks) == 3
    assert set(files) == {
        *("tile/0/000", "tile/0/001", f"tile/0/002.p/{rest}", "tile/1/000.p/2"),
        *("tile/entries/000", "tile/entries/001", f"tile/entries/002.p/{rest}"),
    }
    for number, block in enumerate(blocks):
        (path,) = [path for path in files if path.startswith(f"tile/0/00{number}")]
        assert files[path] == b"".join(block)
    assert files["tile/1/000.p/2"] == b"".join(tree_root(block) for block in blocks[:2])


def test_the_bundles_hold_the_entries_after_their_lengths(large: Exported) -> None:
    files = sorted((p, d) for p, d in large.bytes().items() if p.startswith("tile/entries/"))
    data = b"".join(data for _, data in files)
    assert data == b"".join(len(raw).to_bytes(2, "big") + raw for raw in large.lines())


@pytest.mark.parametrize("stories", [0, 8])  # 8: 256 entries and some; the first tile is full
def test_of_any_size(tmp_path: Path, stories: int) -> None:
    found = exported(tmp_path, stories)
    assert len(found.lines()) == 2 + 30 * stories


def test_every_blob_stands_under_its_digest_once(small: Exported) -> None:
    named = {blob.digest for raw in small.lines() for blob in Entry.parse(raw).blobs}
    blobs = {p.removeprefix("blobs/"): data for p, data in small.bytes().items() if p.startswith("blobs/")}
    assert set(blobs) == named
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())


def test_a_policy_stands_under_the_digest_that_decisions_name(small: Exported) -> None:
    assert small.bytes()[f"policies/{POLICY.digest}.yml"] == POLICY.data


def test_exporting_twice_gives_the_same_bytes(small: Exported, tmp_path: Path) -> None:
    assert small.again(tmp_path / "again").bytes() == small.bytes()


def test_the_trial_balance_is_that_of_reconcile(small: Exported) -> None:
    balance = trial_balance([Entry.parse(raw) for raw in small.lines()])
    figures = json.loads(small.text("balance.json"))
    assert figures["balanced"] is balance.balanced is True
    for book in balance.books:
        expected = {"opened": book.opened, "settled": dict(book.settled), "open": book.outstanding}
        assert figures["books"][book.book] == expected
    assert small.text("balance.txt").endswith("\nThe books balance.\n")
    assert max(map(len, small.text("balance.txt").splitlines())) <= 80


# --- the spreadsheet -------------------------------------------------------------------------------------------------


def test_the_sheet_has_a_row_for_each_entry(small: Exported) -> None:
    text = (small.folder / "entries.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for raw, row in zip(small.lines(), rows, strict=True):
        entry = Entry.parse(raw)
        assert row["index"] == str(entry.index)
        assert (row["stage"], row["actor"], row["id"]) == (entry.stage, entry.actor, entry.id)
        assert row["settles"] == ("" if entry.settles is None else str(entry.settles))
        assert row["cites"] == " ".join(map(str, entry.cites))
        assert row["leaf_hash"] == leaf_hash(raw).hex()


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r+", "\n-", "  =", "＝", "＋", "－", "＠", "\ufeff="])
def test_no_cell_of_the_sheet_is_a_formula(begin: str) -> None:
    for text in (f"{begin}cmd|' /C calc'!A0", f"harmless;{begin}1"):
        (row,) = csv.reader(io.StringIO(cell(text), newline=""))
        for part in row[0].split(";"):
            assert part.strip()[0] in "'h", row


def test_a_cell_is_one_line_that_says_the_same() -> None:
    assert cell('a "b", c') == '"a ""b"", c"'
    assert "\n" not in cell(NASTY)
    assert plain(NASTY).isprintable()
    assert plain("naïve 日本 -3") == "naïve 日本 -3"


# --- one file, one incident, one period ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name"),
    [(Format.JSONL, "entries.jsonl"), (Format.CSV, "entries.csv"), (Format.BEANCOUNT, "books.beancount")],
)
def test_one_file_of_it(small: Exported, tmp_path: Path, form: Format, name: str) -> None:
    assert small.again(tmp_path / "one", form=form).bytes() == {name: small.bytes()[name]}


def chosen(small: Exported, choice: Choice) -> list[bytes]:
    return [raw for raw in small.lines() if choice.takes(Entry.parse(raw))]


@pytest.mark.parametrize(
    "choice",
    [
        Choice(incident="inc:2"),
        Choice(since=START + timedelta(seconds=20)),
        Choice(until=START + timedelta(seconds=3)),
        Choice("inc:2", START + timedelta(seconds=9), START + timedelta(seconds=12)),
    ],
)
def test_a_part_has_its_entries_each_with_its_proof(large: Exported, tmp_path: Path, choice: Choice) -> None:
    part = large.again(tmp_path / "part", choice)
    expected = chosen(large, choice)
    assert 0 < len(expected) < len(large.lines())
    assert list(part.lines()) == expected
    head = notes.verify(part.text("checkpoint"), NAME, KEY.public_key())
    files = part.bytes()
    for raw in expected:
        entry = Entry.parse(raw)
        text = files.pop(f"proofs/{entry.index}.tlog-proof").decode()
        first, _, note = text.partition("\n\n")
        kind, extra, index, *path = first.split("\n")
        assert (kind, index, note) == ("c2sp.org/tlog-proof@v1", f"index {entry.index}", part.text("checkpoint"))
        assert extra == f"extra {b64encode(raw).decode()}"
        proof = [b64decode(step) for step in path]
        assert verify_inclusion(leaf_hash(raw), entry.index, head.size, proof, head.root)
        assert proofs.verify(text, VKEY).entry == entry
        assert all(files.pop(f"blobs/{blob.digest}", True) for blob in entry.blobs)
    assert files.pop(f"policies/{POLICY.digest}.yml") == POLICY.data
    assert set(files) == {"README.txt", "checkpoint", "keys.txt", "entries.jsonl", "entries.csv"}
    assert files["entries.csv"].count(b"\r\n") == len(expected) + 1


def test_a_part_of_nothing_and_books_of_a_part_are_refused(small: Exported, tmp_path: Path) -> None:
    with pytest.raises(NoExport, match="no entry"):
        small.again(tmp_path / "part", Choice("inc:9"))
    with pytest.raises(NoExport, match="whole log"):
        small.again(tmp_path / "part", Choice("inc:2"), Format.BEANCOUNT)
    assert list(tmp_path.iterdir()) == []


# --- where it is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a file", "a folder with something", "a link"])
def test_nothing_is_overwritten(small: Exported, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "export"
    if kind == "a file":
        target.write_text("mine")
    elif kind == "a link":
        target.symlink_to(tmp_path)
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NoExport, match="there already"):
        small.again(target)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken_and_is_the_owners_alone(small: Exported, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir(mode=0o755)
    small.again(tmp_path / "export")
    assert list(tmp_path.iterdir()) == [tmp_path / "export"]
    assert (tmp_path / "export").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("UPDATE entry SET bytes = replace(bytes, 'because', 'for fun') WHERE n = 7", "root"),
        ("UPDATE entry SET bytes = '{}' WHERE n = 7", "entry 7: it is not an entry"),
        ("UPDATE entry SET bytes = replace(bytes, '\"claude\"', '7') WHERE n = 7", "entry 7: it is not an entry"),
        ("DELETE FROM entry WHERE n = 7", "is missing"),
        ("DELETE FROM entry WHERE n > 20", "entry 21: it is missing"),
        ("DELETE FROM blob", "entry 1: its blob policy is missing"),
        ("UPDATE blob SET data = x'00'", "entry 1: its blob policy was changed"),
        ("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)", "under no checkpoint"),
        ("UPDATE checkpoint SET note = substr(note, 1, length(note) - 9) || 'AAAAAAA=' || char(10)", "ledger verify"),
        ("DELETE FROM checkpoint", "no tenant"),
    ],
)
def test_what_was_not_signed_is_not_exported(small: Exported, tmp_path: Path, edit: str, says: str) -> None:
    copy = Exported(small.files.__class__(tmp_path / "ledger"), tmp_path)
    shutil.copytree(small.files.folder, copy.files.folder)
    with copy.files.without_rules() as store:
        assert store.execute(edit).rowcount > 0
    with pytest.raises(NoExport, match=says):
        copy.again(tmp_path / "export")
    assert list(tmp_path.iterdir()) == [copy.files.folder]


def test_a_ledger_of_another_key_or_name_or_place(small: Exported, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"public": OTHER_KEY.public_key()}, "another key"),
        ({"origin": "other.example"}, "of another log"),
        ({"tenant": "nobody"}, "no tenant"),
        ({"path": tmp_path / "no.db"}, "no such file"),
    ]
    usual = {"path": small.files.path, "origin": ORIGIN, "tenant": "default", "public": KEY.public_key()}
    for changed, says in cases:
        with pytest.raises(NoExport, match=says), stored(**usual | changed):
            pass
