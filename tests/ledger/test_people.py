"""Keys of people: what is sealed opens with one key alone, and a key that is destroyed is gone."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from ledger.entry import Blob, Draft
from ledger.journal import Broken, Refused
from ledger.stores.people import STRANGER, People, key_id, load_secret, make_secret, people_path
from ledger.stores.personal import PersonalJournal
from receiver.commands import checks_of_ledger
from receiver.commands.findings import FAIL, WARN
from receiver.commands.init import write_folder
from receiver.settings import load_settings
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, clock
from tests.ledger.house import ENVIRONMENT, House

SECRET = bytes(32)
WORDS = b"my grandmother is ill tonight"


def heard(id: str, person: str | None, words: bytes = WORDS) -> Draft:
    return Draft(id, "HEARD", "carrier:whatsapp", body={"person": person}, blobs=(Blob("text", words),))


def sealed(people: People, draft: Draft, tenant: str = "default") -> bytes:
    return people.sealed(tenant, draft).blobs[0].data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db.people"


def test_what_is_sealed_opens_again_after_a_restart_with_the_same_secret(path: Path) -> None:
    data = sealed(People(path, SECRET), heard("h", "tendai"))
    assert WORDS not in data
    assert People(path, SECRET).opened(data) == WORDS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Broken, match="not under this secret"):
        People(path, bytes(31) + b"\x01")


def test_the_same_post_is_the_same_bytes_and_no_other_is(path: Path) -> None:
    people = People(path, SECRET)
    data = sealed(people, heard("h", "tendai"))
    assert sealed(people, heard("h", "tendai")) == data
    others = [
        sealed(people, heard("another", "tendai")),
        sealed(people, heard("h", "tendai", WORDS + b"!")),
        sealed(people, heard("h", "rudo")),
        sealed(people, heard("h", None)),
        sealed(people, heard("h", "tendai"), "another"),
    ]
    assert len({data, *others}) == 6
    assert len({each[12:24] for each in (data, *others)}) == 6  # the nonces
    assert people.names("default") == [STRANGER, "rudo", "tendai"]


def test_only_blobs_of_messages_are_sealed(path: Path) -> None:
    people = People(path, SECRET)
    draft = Draft("r", "RECEIVED", "alertmanager", blobs=(Blob("text", b"x"), Blob("content", b"y")))
    assert people.sealed("default", draft) is draft
    assert not path.exists()


def test_a_changed_byte_anywhere_opens_nothing(path: Path) -> None:
    people = People(path, SECRET)
    data = sealed(people, heard("h", "tendai"))
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert people.opened(changed) is None, at


def test_a_destroyed_key_leaves_the_others_and_no_trace(path: Path) -> None:
    people = People(path, SECRET)
    gone, kept = sealed(people, heard("h", "tendai")), sealed(people, heard("h", "rudo"))
    mac = people.digest_key("default", "tendai")
    key = people.find("default", "tendai")
    assert key is not None
    with path.open("rb") as before:  # whoever has the file of before open sees it overwritten
        assert people.destroy(key.id)
        assert set(before.read()) == {0}
    assert not people.destroy(key.id)
    for found in (people, People(path, SECRET)):
        assert (found.opened(gone), found.opened(kept)) == (None, WORDS)
    assert key.id.hex() not in path.read_text()
    again = sealed(people, heard("h", "tendai"))  # who comes back gets another key
    assert (people.opened(again), people.opened(gone)) == (WORDS, None)
    assert people.digest_key("default", "tendai") != mac


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keys": [{"tenant": "x"}]}', b'{"keys": [1]}', b"\xff"])
def test_a_file_that_is_none_is_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Broken, match=r"people: not a file of personal keys"):
        People(path, SECRET)


def test_the_secret_is_made_once_and_read_strictly(tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "secrets/personal.key"
    assert len(load_secret(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_secret(path)
    for content in (b"", b"c2hvcnQ=", b"not base64!"):
        path.write_bytes(content)
        with pytest.raises(Broken, match="personal key"):
            load_secret(path)
    with pytest.raises(Broken, match="counterfoil init"):
        load_secret(tmp_path / "nowhere")


def test_check_says_whether_what_people_wrote_can_be_opened(tmp_path: Path) -> None:
    house = House(tmp_path)
    settings = load_settings(house.config, ENVIRONMENT)
    assert list(checks_of_ledger.personal(settings)) == []
    house.ledger.path.touch()
    (lost,) = checks_of_ledger.personal(settings)
    assert (lost.state, "is not there" in lost.message) == (WARN, True)
    People(people_path(house.ledger.path), load_secret(house.ledger.personal_key_file)).ensure("default", ["tendai"])
    assert list(checks_of_ledger.personal(settings)) == []
    house.ledger.personal_key_file.unlink()
    make_secret(house.ledger.personal_key_file)
    (other,) = checks_of_ledger.personal(settings)
    assert (other.state, "not under this secret" in other.message) == (FAIL, True)


async def journal_at(folder: Path, people: People) -> PersonalJournal:
    given: dict[str, Any] = {"origin": ORIGIN, "key": KEY, "anchor_path": None, "clock": clock, "tenants": ["default"]}
    journal = await PersonalJournal.open(folder / "ledger.db", **given, durable=False)
    journal.people = people
    return journal


async def test_a_post_that_is_repeated_is_a_duplicate_and_reads_as_it_was_said(path: Path) -> None:
    journal = await journal_at(path.parent, People(path, SECRET))
    first = await journal.post("default", [heard("h", "tendai")])
    assert (await journal.post("default", [heard("h", "tendai")])).duplicate
    digest = first.entries[0].blobs[0].digest
    assert await journal.blob("default", digest) == WORDS
    await journal.close()


async def test_a_page_opens_what_is_sealed(path: Path) -> None:
    journal = await journal_at(path.parent, People(path, SECRET))
    await journal.post("default", [heard("h", "rudo"), heard("s", None)])
    page = await journal.page("default", after=0, limit=10, blobs=("text",))
    assert list(page.blobs.values()) == [WORDS, WORDS]
    await journal.close()


async def test_a_crash_between_erased_and_the_key_is_mended_at_the_start(path: Path) -> None:
    people = People(path, SECRET)
    journal = await journal_at(path.parent, people)
    digest = (await journal.post("default", [heard("h", "tendai")])).entries[0].blobs[0].digest
    key = people.find("default", "tendai")
    assert key is not None
    erased = Draft("erase", "ERASED", "operator:root", body={"person": "tendai", "key": key.id.hex()})
    await journal.post("default", [erased])
    assert await journal.blob("default", digest) == WORDS
    await journal.finish_erasing("default")
    assert await journal.blob("default", digest) == b'{"erased": "with the key of tendai, by entry 2"}'
    assert People(path, SECRET).names("default") == []
    await journal.close()


async def test_a_key_that_is_merely_not_there_is_not_called_erased(path: Path) -> None:
    journal = await journal_at(path.parent, People(path, SECRET))
    data = (await journal.post("default", [heard("h", "tendai")])).entries[0].blobs[0]
    journal.people = People(path.with_name("another"), SECRET)
    raw = await journal.blob("default", data.digest)
    assert raw is not None
    assert raw.startswith(b'{"unreadable": "no key ')
    assert key_id(raw) is None
    with pytest.raises(Refused):  # a policy erases nobody
        await journal.post("default", [Draft("e", "ERASED", "policy", body={})])
    await journal.close()
