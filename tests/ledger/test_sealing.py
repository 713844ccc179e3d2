"""A ledger is ended and another goes on from it: the link, what stands against it, and a crash at every step."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ledger import checkpoint as notes
from ledger.audit import read_entries
from ledger.carried import CARRIED_MAX, Opening
from ledger.entry import Back, Blob, Draft, format_time
from ledger.journal import Broken, Refused
from ledger.stores import rotation, sealing
from ledger.stores.locks import Locks
from receiver.commands.ledger.carrying import opening_in
from receiver.settings import load_settings
from tests.ledger.house import ENVIRONMENT, House
from tests.ledger.verifiers import load_script

QUIET = (
    Draft("r", "RECEIVED", "alertmanager"),
    Draft("e", "EVALUATED", "policy", settles=Back(0)),
    Draft("n", "NOTED", "system"),
)
OPEN = (Draft("h", "HALTED", "operator:root", reason="maintenance"),)

SCRIPT = load_script()
COMMAND = import_module("receiver.commands.ledger.seal")


def carries(place: int) -> Draft:
    """A HALTED that says that it stands for the entry `place`, of which it has nothing but the number."""
    return Draft(f"x{place}", "HALTED", "operator:root", body={"carried": {"index": place}})


def read_by_the_script(house: House) -> None:
    """What `contrib/verify_export.py` makes of the entries. Raises its Fault."""
    ledger = SCRIPT.Ledger()
    for entry in read_entries(house.ledger.path, "default"):
        ledger.post(SCRIPT.read_entry(entry.raw, entry.index, f"{entry.ledger}/default"))
    ledger.end()


def die(*_: object) -> None:
    raise KeyboardInterrupt


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


async def test_what_is_in_flight_is_listed_and_nothing_is_sealed(house: House) -> None:
    await house.write(*OPEN, Draft("r2", "RECEIVED", "alertmanager", reason="a page"))
    before = house.ledger.path.read_bytes()
    result = seal(house)
    assert result.exit_code == 1
    assert "alerts:     5" in result.stderr
    assert "a page" in result.stderr
    assert "maintenance" not in result.stderr  # a halt is carried forward
    assert "1 obligations are in flight" in result.stderr
    assert house.ledger.path.read_bytes() == before
    assert list(house.config.parent.glob("next*")) == []
    await house.write(Draft("e2", "EVALUATED", "policy", settles=5))
    assert seal(house).exit_code == 0


async def test_a_halt_holds_from_the_first_post_of_the_next_log_and_takes_another_person_to_end(house: House) -> None:
    await house.write(*OPEN)
    sealed = seal(house)
    assert "default: carried forward: halts: 4" in sealed.output
    (told,) = [line for line in house.run("reconcile").output.splitlines() if "carried forward" in line]
    assert told == "carried forward to example/2/default: halts: 4"
    assert json.loads(house.run("reconcile", "--json").output)["carried"] == {
        "to": "example/2/default",
        "halts": [4],
    }
    former = go_on(house, sealed.output)
    with pytest.raises(Refused, match="resume: takes another person"):
        await house.write(Draft("u", "RESUMED", "engineer:root", settles=1))
    shown = json.loads(house.run("show", "--json", "--stage", "halted").output)
    assert (shown["index"], shown["actor"], shown["reason"]) == (1, "operator:root", "maintenance")
    assert shown["body"]["carried"]["at"] == "2026-11-23T08:00:00.000000Z"
    for _ in range(2):  # while it holds, and when it has ended
        assert house.run("verify", "--former", str(former)).exit_code == 0
        assert house.run("reconcile").exit_code == 0
        await house.write(Draft("u", "RESUMED", "engineer:another", settles=1))


@pytest.mark.parametrize("where", ["begin", "the name of the new file"])
async def test_a_seal_that_was_cut_off_is_ended_by_the_next_call(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await house.write(*OPEN)
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
    halts = [json.loads(line) for line in house.run("show", "--json", "--stage", "halted").output.splitlines()]
    assert [(halt["index"], halt["body"]["carried"]["index"]) for halt in halts] == [(1, 4)]


@pytest.mark.parametrize("where", ["while the new file is made", "before the old one is sealed"])
async def test_before_the_seal_stands_the_old_log_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await house.write(*OPEN)
    before = house.ledger.path.read_bytes()
    real, calls = rotation.commit, []

    def dies_at(*given: Any) -> None:
        calls.append(given)
        if len(calls) == (1 if where.startswith("while") else 2):
            raise KeyboardInterrupt
        real(*given)

    monkeypatch.setattr(rotation, "commit", dies_at)
    assert seal(house).exit_code != 0
    monkeypatch.undo()
    assert house.ledger.path.read_bytes() == before
    await house.write(Draft("u", "RESUMED", "operator:another", settles=4))
    assert house.run("verify").output.startswith("OK: 6 entries")
    result = seal(house)
    assert (result.exit_code, "carried forward" in result.output) == (0, False)


def lies(opening: Opening, which: str) -> Opening:
    (halt,) = opening.drafts
    mark = halt.body["carried"]
    if which == "left out":
        return replace(opening, carries={}, drafts=())
    if which == "altered":
        return replace(opening, drafts=(replace(halt, actor="operator:another"),))
    if which == "another time":
        changed = {**halt.body, "carried": {**mark, "at": "2026-11-23T07:00:00.000000Z"}}
        return replace(opening, drafts=(replace(halt, body=changed),))
    if which == "another state":
        return replace(opening, blobs=(Blob("carried", b'{"alerts":[],"form":1,"incidents":{},"runs":[]}'),))
    if which == "one more entry":
        note = Draft("note", "NOTED", "operator:root", body={"carried": mark})
        return replace(opening, drafts=(halt, note))
    other = replace(halt, id="carried:2", body={**halt.body, "carried": {**mark, "index": 2}})
    return replace(opening, carries={"halts": [4, 2]}, drafts=(halt, other))


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ("left out", "entry 4 of the former log, HALTED by operator:root, was not carried forward (halts)"),
        ("invented", "entry 2 carries forward 2, which did not stand outstanding in the former log"),
        ("altered", "entry 1 is not what entry 4 of the former log says: another actor"),
        ("another time", "entry 1 is not what entry 4 of the former log says: another body"),
        ("another state", "entry 0 brings another state of incidents, runs and alerts than the former log comes to"),
        ("one more entry", "it carries 2 entries forward, and the former log 1"),
    ],
)
async def test_with_the_former_log_at_hand_every_lie_about_what_stood_open_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch, which: str, found: str
) -> None:
    await house.write(*OPEN)
    monkeypatch.setattr(COMMAND, "opening_in", lambda path, tenant: lies(opening_in(path, tenant), which))
    monkeypatch.setattr(COMMAND, "_refuse_in_flight", lambda *_: None)
    former = go_on(house, seal(house).output)
    monkeypatch.undo()
    assert house.run("verify").exit_code == 0  # by itself it tells no lie
    result = house.run("verify", "--former", str(former))
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, f"FAULT: default: {former}: {found}")


@pytest.mark.parametrize(
    ("opening", "found"),
    [
        (Opening({"halts": [4]}), "it lists {'halts': [4]}, and what stands behind it {}"),
        (Opening({}, (carries(0),)), "it lists {}, and what stands behind it {'halts': [0]}"),
        (Opening({"halts": [1]}, (carries(0),)), "it lists {'halts': [1]}, and what stands behind it {'halts': [0]}"),
        (Opening({}, (Draft("x", "RECEIVED", "alertmanager", body={"carried": {"index": 1}}),)), "a RECEIVED that"),
        (Opening({}, (Draft("x", "NOTED", "system", body={"carried": 1}),)), "a NOTED that carries 1 forward"),
        (Opening({}, (Draft("x", "NOTED", "system"), carries(1))), "does not stand first"),
    ],
)
async def test_a_log_that_carries_otherwise_than_it_lists_does_not_hold(
    house: House, monkeypatch: pytest.MonkeyPatch, opening: Opening, found: str
) -> None:
    monkeypatch.setattr(COMMAND, "opening_in", lambda path, tenant: opening)
    go_on(house, seal(house).output)
    result = house.run("verify")
    assert (result.exit_code, found in result.output) == (1, True), result.output
    with pytest.raises(SCRIPT.Fault):
        read_by_the_script(house)


async def test_as_many_as_may_be_carried_fit_into_the_two_entries_that_list_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = list(range(10**9 - CARRIED_MAX, 10**9))
    monkeypatch.setattr(COMMAND, "opening_in", lambda path, tenant: Opening({"halts": most}))
    assert seal(house).exit_code == 0
    assert len(read_entries(house.ledger.path, "default")[-1].raw) > 10 * CARRIED_MAX


async def test_a_reason_that_fits_into_no_entry_seals_nothing(house: House) -> None:
    before = house.ledger.path.read_bytes()
    path = str(house.config.parent / "next.db")
    result = house.run("seal", path, "--origin", "example/2", "--by", "root", "--reason", "x" * 70_000)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the entry that seals default cannot be written" in result.stderr
    assert house.ledger.path.read_bytes() == before


async def test_nothing_is_carried_without_a_log_before(house: House) -> None:
    await house.write(carries(0))
    result = house.run("verify")
    told = "it says that it was carried forward, and does not stand first"
    assert (result.exit_code, told in result.output) == (1, True)
    with pytest.raises(SCRIPT.Fault, match="does not stand first"):
        read_by_the_script(house)


async def test_nothing_is_dispatched_while_a_carried_halt_stands(house: House) -> None:
    """The whole way of an execution in the next log, up to what the halt forbids."""
    await house.write(*OPEN)
    go_on(house, seal(house).output)
    later = format_time(datetime.now(UTC) + timedelta(minutes=10))  # a log's time is never before that of its seal
    asked = {"digest": "a" * 64, "quorum": 1, "approvers": ["tendai"], "expires_at": later, "authorize_until": later}
    way = (
        Draft("w", "WATCHED", "policy"),
        Draft("d", "DETECTED", "policy", "inc-1", settles=Back(0)),
        Draft("p", "PROPOSED", "policy", "inc-1", body=asked),
        Draft("h", "HEARD", "carrier:whatsapp"),
        Draft("y", "APPROVED", "engineer:tendai", "inc-1", settles=Back(3), cites=(Back(2),)),
        Draft("a", "AUTHORIZED", "engineer:tendai", "inc-1", settles=Back(2), cites=(Back(4),)),
    )
    await house.write(*way)
    dispatched = Draft("x", "DISPATCHED", "policy", "inc-1", settles=7, body={"digest": "a" * 64})
    with pytest.raises(Refused, match="dispatch: halted"):
        await house.write(dispatched)
    await house.write(Draft("u", "RESUMED", "engineer:another", settles=1), dispatched)
    assert house.run("verify").output.startswith("OK: 10 entries")


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
    assert (busy.exit_code, "another service governs this tenant: stop it first" in busy.stderr) == (2, True)
    running.release()
    house.tamper("UPDATE entry SET bytes = replace(bytes, 'system', 'Xystem') WHERE n = 0")
    damaged = house.ledger.path.read_bytes()
    assert seal(house).exit_code == 1
    assert (house.ledger.path.read_bytes(), before != damaged) == (damaged, True)
    assert (house.config.parent / "taken.db").read_text() == "precious"
