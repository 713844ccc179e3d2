"""Proofs as files, checkpoints that were kept, and roots on phones: what holds, and that nothing else does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint as notes
from ledger import proofs, witness
from ledger.audit import NotALedger
from ledger.entry import Draft, Entry
from ledger.logfile import open_log
from ledger.merkle import BLOCK
from receiver.__main__ import counterfoil
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, THIRD_KEY, Files, note
from tests.ledger.house import STORY, House

NAME = f"{ORIGIN}/default"
FIRST, SECOND, THIRD = (notes.verifier_key(NAME, key.public_key()) for key in (KEY, OTHER_KEY, THIRD_KEY))


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    await found.story()
    return found


def proof(files: Files, index: int) -> str:
    with open_log(files.path, "default") as log:
        return proofs.prove(log, ORIGIN, index).text()


async def rotated(files: Files) -> Files:
    files.rotate(KEY, OTHER_KEY)
    files.rotate(OTHER_KEY, THIRD_KEY)
    journal = await files.open(key=THIRD_KEY)
    await journal.post("default", [note("after")])
    await journal.close()
    return files


# --- proofs ----------------------------------------------------------------------------------------------------------


async def test_every_entry_is_proved_by_the_key_alone(files: Files) -> None:
    for index, (raw,) in enumerate(files.rows("SELECT bytes FROM entry ORDER BY n")):
        proved = proofs.verify(proof(files, index), FIRST)
        assert proved.entry == Entry.parse(raw.encode())
        assert (proved.checkpoint.origin, proved.checkpoint.size) == (NAME, 8)


async def test_a_proof_in_a_log_of_several_blocks(tmp_path: Path) -> None:
    files = Files(tmp_path)
    await files.post([note(str(number)) for number in range(2 * BLOCK + 100)])
    for index in (0, BLOCK - 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 100):
        assert proofs.verify(proof(files, index), FIRST).entry.index == index


async def test_a_proof_is_the_format_of_c2sp(files: Files) -> None:
    lines = proof(files, 5).split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    word, extra = lines[1].split(" ")
    (raw,) = files.rows("SELECT bytes FROM entry WHERE n = 5")
    assert (word, base64.b64decode(extra).decode()) == ("extra", raw[0])
    assert lines[2] == "index 5"
    assert [len(base64.b64decode(line)) for line in lines[3:6]] == [32, 32, 32]
    (newest, *_) = files.rows("SELECT note FROM checkpoint ORDER BY size DESC")
    assert "\n".join(lines[6:]) == f"\n{newest[0]}"


async def test_after_rotations_every_key_that_the_log_had_is_enough(files: Files) -> None:
    await rotated(files)
    for index in (0, 7, 8, 9, 10):
        for vkey in (FIRST, SECOND, THIRD):
            assert proofs.verify(proof(files, index), vkey).entry.index == index
    with pytest.raises(proofs.BadProof, match="no signature"):
        proofs.verify(proof(files, 0), notes.verifier_key(NAME, thief().public_key()))


def thief() -> notes.Ed25519PrivateKey:
    return notes.Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)


async def test_a_rotation_that_the_old_key_did_not_sign_leads_nowhere(files: Files) -> None:
    """A thief's log that names the first key and goes on with the thief's own: nobody vouches for it."""
    files.rotate(KEY, OTHER_KEY)
    journal = await files.open(key=OTHER_KEY)
    await journal.post("default", [note("after")])
    await journal.close()
    whole = proofs.parse(proof(files, 3))
    (rotation,) = whole.rotations
    step = proofs.parse(rotation)
    body, _, lines = step.note.partition("\n\n")
    own = next(line for line in lines.splitlines() if notes.signer_ids(f"\n\n{line}\n", NAME) != [first_id()])
    alone = proofs.Proof(step.raw, step.index, step.path, f"{body}\n\n{own}\n")
    forged = proofs.Proof(whole.raw, whole.index, whole.path, whole.note, (alone.text(),))
    assert proofs.verify(forged.text(), SECOND).entry.index == 3
    with pytest.raises(proofs.BadProof, match="no signature"):
        proofs.verify(forged.text(), FIRST)
    no_rotation = proofs.Proof(whole.raw, whole.index, whole.path, whole.note)
    with pytest.raises(proofs.BadProof, match="no signature"):
        proofs.verify(no_rotation.text(), FIRST)
    other = proofs.Proof(whole.raw, whole.index, whole.path, whole.note, (proof(files, 2),))
    with pytest.raises(proofs.BadProof, match="no REKEYED"):
        proofs.verify(other.text(), FIRST)


def first_id() -> bytes:
    return notes.key_id(NAME, KEY.public_key())


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A proof with two rotations in it."""

    async def made() -> str:
        files = Files(tmp_path_factory.mktemp("proof"))
        await files.story()
        await rotated(files)
        return proof(files, 4)

    return asyncio.run(made())


@given(data=st.data())
def test_a_proof_with_any_change_fails_or_shows_the_same(texts: str, data: st.DataObject) -> None:
    before = proofs.verify(texts, FIRST)
    place = data.draw(st.integers(0, len(texts) - 1))
    change = data.draw(st.sampled_from(["drop", "double", "cut", "flip"]))
    changed = {
        "drop": texts[:place] + texts[place + 1 :],
        "double": texts[:place] + texts[place] + texts[place:],
        "cut": texts[:place],
        "flip": texts[:place] + chr(ord(texts[place]) ^ 1 << data.draw(st.integers(0, 6))) + texts[place + 1 :],
    }[change]
    try:
        assert proofs.verify(changed, FIRST) == before  # spare bits of base64, or a voucher's neighbour
    except proofs.BadProof:
        return


@given(st.one_of(st.text(), st.text(alphabet="\nextra index0129+/=A ").map(lambda text: f"{proofs.HEAD}\n{text}")))
def test_what_is_no_proof_is_a_bad_one(text: str) -> None:
    with pytest.raises(proofs.BadProof):
        proofs.verify(text, FIRST)


async def test_another_entry_index_or_log_is_not_proved(files: Files) -> None:
    mine, other = (proofs.parse(proof(files, index)) for index in (3, 4))
    for changed in (
        proofs.Proof(other.raw, mine.index, mine.path, mine.note),
        proofs.Proof(mine.raw, other.index, mine.path, mine.note),
        proofs.Proof(mine.raw, mine.index, other.path, mine.note),
        proofs.Proof(mine.raw, mine.index, mine.path[:-1], mine.note),
        proofs.Proof(b"{}", mine.index, mine.path, mine.note),
    ):
        with pytest.raises(proofs.BadProof):
            proofs.verify(changed.text(), FIRST)
    with pytest.raises(proofs.BadProof):
        proofs.verify(mine.text(), notes.verifier_key("elsewhere/default", KEY.public_key()))
    with pytest.raises(notes.BadKey):
        proofs.verify(mine.text(), "no key")


async def test_of_a_damaged_log_nothing_is_proved(files: Files) -> None:
    with files.without_rules() as store:
        store.execute('UPDATE entry SET bytes = replace(bytes, \'"reason":""\', \'"reason":"x"\') WHERE n = 2')
    for index in (2, 5):
        with pytest.raises(proofs.BadProof, match="not what was signed"):
            proof(files, index)
    with files.without_rules() as store:
        store.execute("DELETE FROM entry WHERE n = 3")
    with pytest.raises(NotALedger, match="missing"):
        proof(files, 5)


# --- checkpoints that were kept --------------------------------------------------------------------------------------


def kept(files: Files) -> list[str]:
    return [text for (text,) in files.rows("SELECT note FROM checkpoint ORDER BY size")]


def compared(files: Files, *texts: str) -> witness.Kept:
    with open_log(files.path, "default") as log:
        return witness.compare(log, log.keys(ORIGIN), texts)


async def test_a_log_goes_on_from_every_checkpoint_of_its_own(files: Files) -> None:
    before = kept(files)
    await rotated(files)
    assert compared(files, *before, *kept(files)) == witness.Kept(len(kept(files)), 11, None)
    assert compared(files) == witness.Kept(0, 0, None)


async def test_a_shorter_log_and_a_fork_are_told_from_each_other(files: Files, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    fork, shorter = Files(tmp_path / "other"), kept(files)[-1]
    await fork.post([note("another story")])
    found = compared(fork, shorter)
    assert "8 entries were signed, and 2 stand" in (found.fault or "")
    await fork.post([note(str(number)) for number in range(9)])
    found = compared(fork, *kept(files))
    assert (found.fault or "").startswith("FORK: the first 1 entries")


async def test_a_checkpoint_of_others_is_not_ours(files: Files) -> None:
    head = notes.verify(kept(files)[-1], NAME, KEY.public_key())
    found = compared(files, notes.sign(head, NAME, OTHER_KEY))
    assert "unknown key" in (found.fault or "")


async def test_checkpoints_are_found_in_a_file_of_many(files: Files) -> None:
    own = kept(files)
    torn = own[0][:-20]
    for text in (
        "".join(own),
        "\n".join(own),
        "\n\n".join(own) + "\n",
        f"a heading\n\n{own[0]}\n{torn}\n\n{''.join(own[1:])}",
        f"{torn}\n{''.join(own)}",
        "".join(own) + own[0][:20],
        "".join(own) + own[0][:10] + "\n\n",
    ):
        assert witness.split_notes(text) == own
    assert witness.split_notes(own[0].removesuffix("\n")) == [own[0]]
    assert witness.split_notes("".join(own).removesuffix("\n")) == own[:-1]  # it may have been cut off
    both = files.rows("SELECT note FROM checkpoint WHERE size = 1")[0][0] + "\u2014 witness.example AAAA\n"
    assert witness.split_notes(both) == [own[0]]
    assert witness.split_notes("") == witness.split_notes("\n\n\n") == []


# --- what stands on phones -------------------------------------------------------------------------------------------


def on_a_phone(files: Files, index: int, digits: str) -> str | None:
    with open_log(files.path, "default") as log:
        return witness.witnessed(log, index, digits)


async def test_a_message_bears_the_root_of_the_tree_that_ends_with_its_entry(files: Files) -> None:
    for size, text in files.rows("SELECT size, note FROM checkpoint"):
        root = notes.verify(text, NAME, KEY.public_key()).root.hex()
        assert on_a_phone(files, size - 1, root[:8]) is None
        assert on_a_phone(files, size - 1, root.upper()) is None
        assert "was rewritten" in (on_a_phone(files, size - 1, f"{int(root[:8], 16) ^ 1:08x}") or "")
    assert "cut off" in (on_a_phone(files, 8, "00000000") or "")


# --- the commands ----------------------------------------------------------------------------------------------------


async def test_a_tree_is_hashed_for_who_has_read_an_entry_whose_head_is_not_known_yet(files: Files) -> None:
    journal = await files.open()
    try:
        before = journal._heads["default"]
        receipt = await journal.post("default", [note("one more")])
        index = receipt.entries[0].index
        wanted = await journal.tree_hashes("default", [(0, index + 1)])
        journal._heads["default"] = before  # as it is between the commit and the word of it
        assert [entry.index for entry in await journal.entries("default", after=index - 1)] == [index]
        assert await journal.tree_hashes("default", [(0, index + 1)]) == wanted
        with pytest.raises(IndexError):
            await journal.tree_hashes("default", [(0, index + 2)])
    finally:
        await journal.close()


@pytest.fixture
async def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    await found.write(*STORY)
    return found


def vkey_of(house: House) -> str:
    return house.run("checkpoint").stderr.strip()


async def test_prove_writes_what_verify_accepts_without_any_ledger(house: House, tmp_path: Path) -> None:
    file, key = tmp_path / "4.tlog-proof", vkey_of(house)
    assert house.run("prove", "4", "--output", str(file)).output == f"{file}: entry 4 of default\n"
    assert house.run("prove", "4").stdout == file.read_text(encoding="utf-8")
    alone = CliRunner().invoke(counterfoil, ["ledger", "verify", "--proof", str(file), "--key", key])
    first, second = alone.output.splitlines()
    assert (alone.exit_code, first.split(", root ")[0]) == (0, f"OK: entry 4 of the 6 in {house.ledger.origin}/default")
    assert "DETECTED" in second
    (tmp_path / "key").write_text(key + "\n")
    assert house.run("verify", "--proof", str(file), "--key", str(tmp_path / "key")).exit_code == 0
    assert json.loads(house.run("verify", "--proof", str(file), "--json").output)["entry"]["index"] == 4


async def test_a_proof_that_does_not_hold_ends_with_1(house: House, tmp_path: Path) -> None:
    file = tmp_path / "4.tlog-proof"
    house.run("prove", "4", "--output", str(file))
    file.write_text(file.read_text().replace("index 4", "index 3"))
    result = house.run("verify", "--proof", str(file))
    assert (result.exit_code, result.output.startswith("FAULT: ")) == (1, True)
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    assert house.run("prove", "5").exit_code == 1


async def test_what_cannot_be_proved_or_read_ends_with_2(house: House, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for words in (
        ["prove", "6"],
        ["prove", "-1"],
        ["prove", "0", "--tenant", "nobody"],
        ["prove", "0", "--output", str(taken)],
        ["verify", "--proof", str(tmp_path / "none")],
        ["verify", "--proof", str(taken), "--key", "x"],
        ["verify", "--key", "x"],
        ["verify", "--from", str(tmp_path / "none")],
        ["verify", "--from", str(taken)],
        ["verify", "--witnessed", "5"],
        ["verify", "--witnessed", "5:1234"],
        ["verify", "--witnessed", "5:12345678", "--tenant", "nobody"],
    ):
        assert house.run(*words).exit_code == 2, words
    assert taken.read_text() == "mine"


async def test_verify_from_a_checkpoint_that_was_kept(house: House, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text(house.run("checkpoint").stdout, encoding="utf-8")
    await house.write(Draft("later", "NOTED", "system"))
    result = house.run("verify", "--from", str(file))
    assert result.exit_code == 0
    assert (
        result.output.splitlines()[1] == f"OK: default: it goes on from 1 checkpoint in {file}, the last of 6 entries"
    )
    (row,) = json.loads(house.run("verify", "--from", str(file), "--json").output)
    assert (row["fault"], row["kept"][0]["fault"]) == (None, None)


def older(house: House) -> None:
    house.tamper("DELETE FROM entry WHERE n = 5")
    house.tamper("DELETE FROM checkpoint")


def gone(house: House) -> None:
    house.tamper("DELETE FROM entry WHERE n = 2")


def edited(house: House) -> None:
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")


@pytest.mark.parametrize(("damage", "words"), [(older, "5 stand"), (gone, "missing"), (edited, "FORK")])
async def test_verify_from_tells_what_became_of_it(
    house: House, tmp_path: Path, damage: Callable[[House], None], words: str
) -> None:
    file = tmp_path / "kept"
    file.write_text(house.run("checkpoint").stdout, encoding="utf-8")
    damage(house)
    result = house.run("verify", "--from", str(file))
    (line,) = [line for line in result.output.splitlines() if str(file) in line]
    assert (result.exit_code, line.startswith("FAULT: default: "), words in line) == (1, True, True), line


async def test_a_checkpoint_of_a_log_that_is_gone(house: House, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text(house.run("checkpoint").stdout.replace("/default\n", "/payments\n"), encoding="utf-8")
    result = house.run("verify", "--from", str(file))
    assert (result.exit_code, "there is no such log" in result.output) == (1, True)


async def test_verify_against_a_message(house: House) -> None:
    root = house.run("verify").output.split()[-1]
    result = house.run("verify", "--witnessed", f"5:{root[:8]}")
    assert (result.exit_code, result.output.splitlines()[1]) == (
        0,
        f"OK: default: the message with 5:{root[:8]} tells of this log",
    )
    assert house.run("verify", "--witnessed", f"4:{root[:8]}").exit_code == 1
    assert house.run("verify", "--witnessed", f"9:{root[:8]}").exit_code == 1
