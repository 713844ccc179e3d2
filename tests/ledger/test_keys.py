"""Keys that come and go: each vouched for by the one before, and what is signed with any other is found and refused."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.audit import verify_store
from ledger.checkpoint import BadCheckpoint, Checkpoint
from ledger.entry import Draft, Entry
from ledger.journal import Refused
from ledger.keys import KeyFault, Keyring
from ledger.stores import opening, rotation
from ledger.stores.locks import Locks
from receiver.commands import checks_of_ledger
from receiver.commands.findings import FAIL, OK, Finding
from receiver.settings import load_settings
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, THIRD_KEY, Files, clock, note
from tests.ledger.house import ENVIRONMENT, STORY, House

NAME = f"{ORIGIN}/default"
THIEF = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)


@pytest.fixture
async def rotated(tmp_path: Path) -> Files:
    """Eight entries under KEY, the ninth retires it for OTHER_KEY, two more follow."""
    files = Files(tmp_path)
    await files.story()
    files.rotate(KEY, OTHER_KEY)
    await later(files, OTHER_KEY, "after")
    return files


async def later(files: Files, key: Ed25519PrivateKey, *ids: str) -> None:
    journal = await files.open(key=key)
    for id in ids:
        await journal.post("default", [note(id), note(f"{id} too")])
    await journal.close()


def rekeyed(files: Files) -> int:
    (row,) = files.rows("SELECT n FROM entry WHERE stage = 'REKEYED'")
    index: int = row[0]
    return index


def signed(files: Files, size: int) -> str:
    (row,) = files.rows(f"SELECT note FROM checkpoint WHERE size = {size}")
    text: str = row[0]
    return text


def replace_note(files: Files, size: int, text: str) -> None:
    with files.without_rules() as store:
        store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (text, size))


async def test_a_rotated_ledger_verifies_from_the_first_key_alone_and_from_any_later(rotated: Files) -> None:
    rotated.rotate(OTHER_KEY, THIRD_KEY)
    await later(rotated, THIRD_KEY, "at the end")
    for key in (KEY, OTHER_KEY, THIRD_KEY):
        found = rotated.verify(key)
        assert (found.fault, found.entries) == (None, 14)
    assert rotated.verify(THIRD_KEY, newest=True).fault is None
    assert "was retired" in str(rotated.verify(KEY, newest=True).fault)
    assert "none of its keys" in str(rotated.verify(THIEF).fault)


async def test_the_old_key_vouches_for_the_new_one_once(rotated: Files) -> None:
    index = rekeyed(rotated)
    first, second = signed(rotated, index + 1), signed(rotated, index + 3)
    for key in (KEY, OTHER_KEY):
        assert notes.verify(first, NAME, key.public_key()).size == index + 1
    assert len(notes.signer_ids(second, NAME)) == 1
    notes.verify(second, NAME, OTHER_KEY.public_key())
    anchored = notes.Anchor(rotated.anchor).read()
    assert anchored == second


async def test_the_service_starts_on_the_new_key_alone(rotated: Files) -> None:
    assert await rotated.refusal(key=OTHER_KEY) is None
    for key, why in ((KEY, "retired the key of the configuration"), (THIEF, "none of default's")):
        assert why in (await rotated.refusal(key=key) or "")


async def test_only_a_rotation_brings_a_key_into_force(rotated: Files) -> None:
    journal = await rotated.open(key=OTHER_KEY)
    body = {
        "key": notes.verifier_key(NAME, THIEF.public_key()),
        "retires": notes.verifier_key(NAME, OTHER_KEY.public_key()),
    }
    with pytest.raises(Refused, match="rotate-key"):
        await journal.post("default", [Draft("rekey:x", "REKEYED", "operator:root", body=body)])
    await journal.close()


def by_a_thief(files: Files) -> tuple[int, str]:
    """A checkpoint under a key that the log never had."""
    size = rekeyed(files) + 3
    replace_note(files, size, notes.sign(checkpoint_at(files, size), NAME, THIEF))
    return size - 1, "unknown key"


def by_the_retired(files: Files) -> tuple[int, str]:
    size = rekeyed(files) + 3
    replace_note(files, size, notes.sign(checkpoint_at(files, size), NAME, KEY))
    return size - 1, f"retired by entry {rekeyed(files)}"


def too_early(files: Files) -> tuple[int, str]:
    """The new key signs what stood before it came."""
    size = rekeyed(files)
    replace_note(files, size, notes.sign(checkpoint_at(files, size), NAME, OTHER_KEY))
    return size - 1, f"not in force before entry {rekeyed(files)}"


def without_a_voucher(files: Files) -> tuple[int, str]:
    size = rekeyed(files) + 1
    replace_note(files, size, notes.sign(checkpoint_at(files, size), NAME, OTHER_KEY))
    return size - 1, "does not vouch"


def by_the_old_alone(files: Files) -> tuple[int, str]:
    size = rekeyed(files) + 1
    replace_note(files, size, notes.sign(checkpoint_at(files, size), NAME, KEY))
    return size - 1, "retired by entry"


def a_key_of_the_thiefs_own(files: Files) -> tuple[int, str]:
    """REKEYED names the thief's key, who signs all that follows; nobody vouches for it."""
    index = rekeyed(files)
    theirs, ours = (notes.verifier_key(NAME, key.public_key()) for key in (THIEF, OTHER_KEY))
    with files.without_rules() as store:
        store.execute("UPDATE entry SET bytes = replace(bytes, ?, ?) WHERE n = ?", (ours, theirs, index))
    return index, "signed with the key"


def another_retired(files: Files) -> tuple[int, str]:
    index = rekeyed(files)
    with files.without_rules() as store:
        store.execute('UPDATE entry SET bytes = replace(bytes, \'"retires":"test\', \'"retires":"best\')')
    return index, "another key than the one in force"


def checkpoint_at(files: Files, size: int) -> Checkpoint:
    key = KEY if size <= rekeyed(files) else OTHER_KEY
    return notes.verify(signed(files, size), NAME, key.public_key())


Attack = Callable[[Files], tuple[int, str]]  # what it returns: where it must be found, and as what
NEWEST = (by_a_thief, by_the_retired, without_a_voucher, a_key_of_the_thiefs_own, another_retired, by_the_old_alone)


@pytest.mark.parametrize("attack", [*NEWEST, too_early])
async def test_an_unknown_or_retired_key_is_a_finding(rotated: Files, attack: Attack) -> None:
    index, why = attack(rotated)
    for key in (KEY, OTHER_KEY):
        fault = rotated.verify(key).fault
        assert fault is not None
        if fault.index is None:  # the trusted key was taken out of the log
            assert "none of its keys" in fault.message
        else:
            assert fault.index == index
            assert why in fault.message


@pytest.mark.parametrize("attack", NEWEST)
async def test_it_refuses_the_start(rotated: Files, attack: Attack) -> None:
    attack(rotated)
    assert await rotated.refusal(key=OTHER_KEY) is not None


def vkey(key: Ed25519PrivateKey, name: str = NAME) -> str:
    return notes.verifier_key(name, key.public_key())


def opened(**body: Any) -> Entry:
    return entry(0, "OPENED", body)


def entry(index: int, stage: str, body: dict[str, Any]) -> Entry:
    draft = Draft(f"{stage}:{index}", stage, "operator:root", body=body)
    given = {"ledger": ORIGIN, "tenant_id": "default", "index": index, "timestamp": "2026-11-23T08:00:00.000000Z"}
    return Entry.parse(json.dumps(draft.document(0) | given | {"salt": ""}).encode())


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "names no key"),
        ([opened()], "names no key"),
        ([opened(key=5)], "names no key"),
        ([entry(7, "OPENED", {"key": vkey(KEY)})], "from there"),
        (
            [opened(key=vkey(KEY)), entry(0, "REKEYED", {"key": vkey(OTHER_KEY), "retires": vkey(KEY)})],
            "from there",
        ),
        ([opened(key="x+00000000+AAAA")], "names no key"),
        ([opened(key=vkey(KEY, "elsewhere"))], "of another log"),
        ([entry(0, "REKEYED", {"key": vkey(KEY)})], "names no key here"),
        ([opened(key=vkey(KEY)), entry(3, "OPENED", {"key": vkey(OTHER_KEY)})], "names no key here"),
        ([opened(key=vkey(KEY)), entry(3, "REKEYED", {"key": vkey(OTHER_KEY)})], "another key than"),
        ([opened(key=vkey(KEY)), entry(3, "REKEYED", {"key": vkey(KEY), "retires": vkey(KEY)})], "in force before"),
    ],
)
def test_what_names_no_key(entries: list[Entry], why: str) -> None:
    with pytest.raises(KeyFault, match=why):
        Keyring.of(NAME, entries)


@pytest.mark.parametrize(
    "text", ["", "a", "a\n\n", "a\n-1\n", f"a\n{'9' * 17}\n", "a\n٣\n", f"{NAME}\n1\n\n\u2014 {NAME} !\n"]
)
def test_what_is_no_note_is_a_bad_checkpoint(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        Keyring.of(NAME, [opened(key=vkey(KEY))]).verify(text)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    await found.write(*STORY)
    return found


def rotate(house: House, *more: str) -> tuple[int, str]:
    result = house.run("rotate-key", "--by", "root", "--reason", "a year has passed", *more)
    return result.exit_code, result.output


async def test_rotate_key_leaves_a_ledger_that_goes_on_and_verifies(house: House) -> None:
    path = house.ledger.key_file
    first = notes.load_key_file(path).public_key()
    code, said = rotate(house)
    assert code == 0, said
    assert "entry 6 of default: REKEYED by operator:root" in said
    assert notes.load_key_file(path).public_key() != first
    (retired,) = path.parent.glob("ledger.key.retired-*")
    assert notes.load_key_file(retired).public_key() == first
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(retired.stat().st_mode) == 0o600
    assert not path.with_name("ledger.key.new").exists()
    await house.write(Draft("later", "NOTED", "system"))
    assert house.run("verify").output.startswith("OK: 8 entries")
    (found,) = verify_store(house.ledger.path, origin=house.ledger.origin, public=first)
    assert found.fault is None
    printed = notes.parse_verifier_key(house.run("checkpoint").stderr)
    assert printed[1] == notes.load_key_file(path).public_key()


def ledger_findings(house: House) -> list[Finding]:
    return list(checks_of_ledger.ledger(load_settings(house.config, ENVIRONMENT)))


async def test_a_rotation_that_was_cut_off_is_ended_by_the_next_call(house: House) -> None:
    path, folder = house.ledger.key_file, house.ledger.key_file.parent
    old, fresh = notes.load_key_file(path), notes.make_key_file(folder / "ledger.key.new")
    store = opening.Store(house.ledger.path, house.ledger.origin, old.public_key())
    given: dict[str, Any] = {"anchor_path": house.ledger.anchor_file, "tenants": ("default",), "clock": clock}
    rotation.rotate(store, old, fresh, **given, by="root", reason="")
    assert "was retired" in house.run("verify").output
    assert [finding.state for finding in ledger_findings(house)] == [FAIL]
    os.link(
        path, folder / f"ledger.key.retired-{notes.key_id(f'{house.ledger.origin}/default', old.public_key()).hex()}"
    )
    code, said = rotate(house)
    assert (code, "cut off" in said) == (0, True), said
    assert notes.load_key_file(path).public_key() == fresh.public_key()
    assert house.run("verify").output.startswith("OK: 7 entries")
    assert [finding.state for finding in ledger_findings(house)] == [OK]


async def test_a_key_that_signed_nothing_yet_is_taken(house: House) -> None:
    fresh = notes.make_key_file(house.ledger.key_file.with_name("ledger.key.new"))
    assert rotate(house)[0] == 0
    assert notes.load_key_file(house.ledger.key_file).public_key() == fresh.public_key()


async def test_a_rotation_waits_until_the_service_has_stopped(house: House) -> None:
    running = Locks(house.ledger.path)
    running.take(["default"])
    before = house.ledger.key_file.read_bytes()
    code, said = rotate(house)
    assert (code, "another service governs this tenant: stop it first" in said) == (2, True)
    assert (house.ledger.key_file.read_bytes(), house.run("verify").exit_code) == (before, 0)
    running.release()
    assert rotate(house)[0] == 0


async def test_a_rotation_waits_until_no_question_is_open(house: House) -> None:
    body = {"digest": "a" * 64, "quorum": 1, "approvers": ["tendai"]}
    times = {"expires_at": "2026-11-23T08:15:00.000000Z", "authorize_until": "2026-11-23T08:17:00.000000Z"}
    await house.write(Draft("p", "PROPOSED", "policy", incident_id="inc-1", body=body | times))
    code, said = rotate(house)
    assert (code, "entry 6 of default" in said) == (1, True)
    assert rotate(house, "--now")[0] == 0


def test_there_is_nothing_to_rotate_before_there_is_a_ledger(tmp_path: Path) -> None:
    assert rotate(House(tmp_path))[0] == 2


async def test_a_damaged_ledger_gets_no_new_key(house: House) -> None:
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    before = house.ledger.key_file.read_bytes()
    assert rotate(house)[0] == 1
    assert house.ledger.key_file.read_bytes() == before
