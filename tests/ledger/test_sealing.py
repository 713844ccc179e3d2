"""A ledger is ended and another goes on from it: the link, what stands against it, and a crash at every step."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from click.testing import Result

from ledger import checkpoint as notes
from ledger.entry import Back, Draft
from ledger.journal import Broken
from ledger.stores import sealing
from ledger.stores.locks import Locks
from receiver.settings import load_settings
from tests.ledger.house import ENVIRONMENT, House

QUIET = (
    Draft("r", "RECEIVED", "alertmanager"),
    Draft("e", "EVALUATED", "policy", settles=Back(0)),
    Draft("n", "NOTED", "system"),
)
OPEN = (Draft("h", "HALTED", "operator:root", reason="maintenance"),)


@pytest.fixture
async def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    await found.write(*QUIET)
    return found


def seal(house: House, file: str = "next.db", origin: str = "example/2") -> Result:
    path = str(house.config.parent / file)
    return house.run("seal", path, "--origin", origin, "--by", "root", "--reason", "a year is over")


def go_on(house: House, said: str) -> Path:
    """Write what the command printed into the configuration; the former ledger's file."""
    former = house.ledger.path
    text = house.config.read_text(encoding="utf-8")
    for line in said.splitlines():
        if line.startswith("  "):
            name, _, value = line.strip().partition(": ")
            (old,) = [row for row in text.splitlines() if row.startswith(f"  {name}: ")]
            text = text.replace(old, f"  {name}: {value}")
    house.config.write_text(text, encoding="utf-8")
    house.ledger = load_settings(house.config, ENVIRONMENT).ledger
    return former


async def test_a_sealed_ledger_goes_on_in_another_that_verifies_with_it(house: House) -> None:
    key = notes.load_key_file(house.ledger.key_file)
    assert house.run("rotate-key", "--by", "root", "--reason", "so that it had two keys").exit_code == 0
    sealed = seal(house)
    assert sealed.exit_code == 0, sealed.output
    assert "entry 5 of default: sealed by operator:root" in sealed.output
    assert house.run("verify").output.startswith("OK: 6 entries")
    former = go_on(house, sealed.output)
    await house.write(Draft("first", "NOTED", "system"))
    result = house.run("verify", "--former", str(former))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("OK: 2 entries")
    assert f"it goes on from the 6 entries in {former}, which hold" in result.output
    assert notes.load_key_file(house.ledger.key_file).public_key() != key.public_key()
    folder = house.config.parent / "export"
    assert house.run("export", str(folder)).exit_code == 0
    assert house.run("verify", "--export", str(folder)).exit_code == 0
    shown = house.run("show", "--json", "--stage", "opened").output
    assert "/default\\n6\\n" in shown  # the old checkpoint, as a note


async def test_nothing_more_is_written_to_what_is_sealed(house: House) -> None:
    assert seal(house).exit_code == 0
    before = house.ledger.path.read_bytes()
    with pytest.raises(Broken, match="was sealed by entry 4; the log goes on as example/2/default"):
        await house.write(Draft("more", "NOTED", "system"))
    again = house.run("rotate-key", "--by", "root", "--reason", "x")
    assert (again.exit_code, "was sealed" in again.stderr) == (1, True)
    assert house.ledger.path.read_bytes() == before
    assert house.run("backup", str(house.config.parent / "copy.db")).exit_code == 0


async def test_what_is_outstanding_is_listed_and_nothing_is_sealed(house: House) -> None:
    await house.write(*OPEN)
    before = house.ledger.path.read_bytes()
    result = seal(house)
    assert result.exit_code == 1
    assert "halts:     4" in result.stderr
    assert "maintenance" in result.stderr
    assert "1 obligations are outstanding" in result.stderr
    assert house.ledger.path.read_bytes() == before
    assert list(house.config.parent.glob("next*")) == []
    await house.write(Draft("u", "RESUMED", "operator:another", settles=4))
    assert seal(house).exit_code == 0


@pytest.mark.parametrize("where", ["begin", "commit of the new file"])
async def test_a_seal_that_was_cut_off_is_ended_by_the_next_call(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    if where == "begin":
        monkeypatch.setattr(sealing, "begin", die)
    else:
        monkeypatch.setattr(sealing.os, "link", die)
    assert seal(house).exit_code != 0
    monkeypatch.undo()
    other = seal(house, origin="example/3")
    assert (other.exit_code, "is sealed for example/2/default" in other.stderr) == (1, True)
    result = seal(house)
    assert result.exit_code == 0, result.output
    former = go_on(house, result.output)
    await house.write(Draft("first", "NOTED", "system"))
    assert house.run("verify", "--former", str(former)).exit_code == 0


async def test_another_ledger_than_the_one_that_was_sealed_is_found(house: House, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    result = seal(house)
    former = go_on(house, result.output)
    await house.write(Draft("first", "NOTED", "system"))

    shorter = house.run("verify", "--former", str(copy))
    assert (shorter.exit_code, "4 stand there" in shorter.output) == (1, True)
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    await other.write(*QUIET)
    assert seal(other).exit_code == 0
    foreign = house.run("verify", "--former", str(other.ledger.path))
    assert (foreign.exit_code, "FAULT" in foreign.output) == (1, True)
    damaged = House(tmp_path / "other")
    shutil.copy(former, damaged.ledger.path)
    damaged.tamper("UPDATE entry SET bytes = replace(bytes, 'a year is over', 'a day is over!') WHERE n = 4")
    assert house.run("verify", "--former", str(damaged.ledger.path)).exit_code == 1
    nothing = house.run("verify", "--former", str(tmp_path / "nowhere"))
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (2, 1)


async def test_a_ledger_that_goes_on_from_none_says_so(house: House) -> None:
    result = house.run("verify", "--former", str(house.ledger.path))
    assert (result.exit_code, "it continues no other log" in result.output) == (1, True)


async def test_what_is_refused_changes_nothing(house: House) -> None:
    before = house.ledger.path.read_bytes()
    assert seal(house, origin=house.ledger.origin).exit_code == 2
    assert seal(house, origin="with space").exit_code == 2
    (house.config.parent / "taken.db").write_text("precious")
    assert seal(house, file="taken.db").exit_code == 2
    running = Locks(house.ledger.path)
    running.take(["default"])
    busy = await asyncio.to_thread(seal, house)
    assert (busy.exit_code, "another service" in busy.stderr) == (1, True)
    running.release()
    house.tamper("UPDATE entry SET bytes = replace(bytes, 'system', 'Xystem') WHERE n = 0")
    damaged = house.ledger.path.read_bytes()
    assert seal(house).exit_code == 1
    assert (house.ledger.path.read_bytes(), before != damaged) == (damaged, True)
    assert (house.config.parent / "taken.db").read_text() == "precious"
