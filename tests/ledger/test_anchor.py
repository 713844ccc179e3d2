"""The anchor: two slots, written in turn, torn at every byte, moved by somebody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ledger.checkpoint import SLOT_BYTES, Anchor, BadCheckpoint


def written(path: Path, *notes: str) -> Anchor:
    anchor = Anchor(path)
    anchor.read()
    for note in notes:
        anchor.write(note)
    return anchor


def test_the_newest_note_is_read_back_by_others(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    assert Anchor(path).read() is None
    for count in range(1, 6):
        written(path, f"note {count}")
        assert Anchor(path).read() == f"note {count}"
    assert path.stat().st_size == 2 * SLOT_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["anchor"]


def test_the_slot_of_the_newest_note_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    anchor = written(path, "note 0")
    for count in range(1, 9):
        before = path.read_bytes()
        anchor.write(f"note {count}")
        after = path.read_bytes()
        kept = [n for n in (0, SLOT_BYTES) if before[n : n + SLOT_BYTES] == after[n : n + SLOT_BYTES]]
        assert len(kept) == 1
        assert f"note {count - 1}".encode() in after[kept[0] : kept[0] + SLOT_BYTES]


@pytest.mark.parametrize("writes", [2, 3])
def test_a_write_torn_at_any_byte_leaves_the_note_before_or_the_new_one(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "anchor"
    anchor = written(path, *(f"note {count}" for count in range(writes)))
    before = path.read_bytes()
    anchor.write("the new note, which is longer")
    after = path.read_bytes()
    start = 0 if before[:SLOT_BYTES] != after[:SLOT_BYTES] else SLOT_BYTES
    seen = set()
    for cut in range(SLOT_BYTES + 1):
        for torn in (
            after[: start + cut] + before[start + cut :],  # the beginning reached the disk
            before[: start + cut] + after[start + cut : start + SLOT_BYTES] + before[start + SLOT_BYTES :],  # the end
        ):
            path.write_bytes(torn)
            note = Anchor(path).read()
            assert note in (f"note {writes - 1}", "the new note, which is longer")
            seen.add(note)
    assert len(seen) == 2


def test_a_damaged_byte_is_never_read_as_another_note(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    written(path, "note 0", "note 1")
    whole = path.read_bytes()
    for place in range(2 * SLOT_BYTES):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        assert Anchor(path).read() in ("note 0", "note 1")


@pytest.mark.parametrize("data", [b"", b"x", bytes(2 * SLOT_BYTES), b"CFA1" * 512, b"\xff" * 5000])
def test_no_whole_slot_is_said_and_not_taken_for_a_new_ledger(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "anchor"
    path.write_bytes(data)
    with pytest.raises(BadCheckpoint, match="no slot"):
        Anchor(path).read()


def test_one_whole_slot_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    written(path, "note 0")
    whole = path.read_bytes()
    path.write_bytes(whole[:SLOT_BYTES])
    assert Anchor(path).read() == "note 0"


def test_a_second_process_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    first = written(path, "note 0")
    second = written(path, "note 1")
    with pytest.raises(OSError, match="another process"):
        first.write("note 1, ours")
    second.write("note 2")
    assert Anchor(path).read() == "note 2"


def test_two_that_begin_at_once(tmp_path: Path) -> None:
    first, second = Anchor(tmp_path / "anchor"), Anchor(tmp_path / "anchor")
    assert (first.read(), second.read()) == (None, None)
    first.write("note 0")
    with pytest.raises(OSError, match="another process"):
        second.write("note 0, ours")
    assert first.read() == "note 0"


def test_a_note_that_does_not_fit_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    anchor = written(tmp_path / "anchor", "note 0")
    with pytest.raises(OSError, match="does not fit"):
        anchor.write("x" * SLOT_BYTES)
    assert anchor.read() == "note 0"
