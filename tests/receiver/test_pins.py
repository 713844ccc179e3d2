"""The PIN of who approves an action of high risk: made, compared, asked for, locked, and found nowhere afterwards."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.entry import Entry, canonical
from receiver.__main__ import counterfoil
from receiver.auditor.permitted import Permitted
from receiver.authorization import pins
from receiver.authorization.codes import parse_answer
from receiver.commands.init import write_folder
from receiver.configuration import ConfigErrors, load_config
from receiver.governor.changes import GovernorChanges
from receiver.governor.pins import PIN_TRIES, PIN_WITHIN
from receiver.incident.enrolled import PIN_WINDOW
from tests.receiver.governed import POLICY, TENANT, Governed
from tests.simulation.audited import Copy, differences

RISKY = POLICY.replace("title: remove old files,", "title: remove old files, pin: true,")
PEOPLE = {"tendai": ("oncall",), "ruth": ("leads",), "farai": ("leads",)}


async def governed(*with_pin: str, policy: str = RISKY) -> Governed:
    made = Governed(policy, PEOPLE)
    people = {
        name: replace(member, pin="a hash" if name in with_pin else None)
        for name, member in made.desk.charter.people.items()
    }
    made.governor.reload(replace(made.desk.charter, people=people))
    await made.governor.start()
    await made.fire()
    return made


def code(made: Governed, person: str) -> str:
    return made.question(person).variables["code"]


async def wrong(made: Governed) -> list[Any]:
    copy = await Copy.of(made.journal, TENANT, made.journal.log)
    permitted = Permitted(copy.blob)
    return [*(finding for entry in copy.log for finding in permitted.take(entry)), *differences(copy)]


def why(made: Governed) -> list[str]:
    return [entry.body["why"] for entry in made.entries("REFUSED")]


# --- what is kept of it -----------------------------------------------------------------------------------------------


def test_a_hash_is_slow_salted_and_fits_its_pin_alone() -> None:
    kept, again = pins.hashed("481516"), pins.hashed("481516")
    assert kept != again
    assert "481516" not in kept
    assert pins.is_hash(kept)
    assert pins.fits(kept, "481516")
    assert pins.fits(again, "481516")
    assert not pins.fits(kept, "481517")
    assert not pins.fits("481516", "481516")


@pytest.mark.parametrize(
    "pin", ["", "12345", "1234567890123", "abcdef", "111111", "123456", "987654", "890123", "482482"]
)
def test_what_five_tries_may_find_is_no_pin(pin: str) -> None:
    assert pins.weakness(pin) is not None


def test_a_pin_that_will_do() -> None:
    assert [pins.weakness(pin) for pin in ("481516", "246813", "90210742")] == [None] * 3


@pytest.mark.parametrize(
    ("text", "verb", "code_", "pin"),
    [
        ("A 7K3P 481516", "approve", "7K3P", "481516"),
        ("approve 7k3p, 481516.", "approve", "7K3P", "481516"),
        ("A 7K3P", "approve", "7K3P", None),
        ("481516", "pin", None, "481516"),
        ("PIN 481516", "pin", None, "481516"),
        ("481 516", "other", None, None),
        ("1", "other", None, None),
    ],
)
def test_how_a_pin_is_read(text: str, verb: str, code_: str | None, pin: str | None) -> None:
    answer = parse_answer(text, None)
    assert (answer.verb, answer.code, answer.pin) == (verb, code_, pin)
    assert "481516" not in repr(answer)


def test_person_pin_writes_a_hash_that_the_configuration_takes_and_says_the_pin_nowhere(tmp_path: Path) -> None:
    write_folder(tmp_path / "here")
    config = tmp_path / "here/counterfoil.yml"
    said = CliRunner().invoke(
        counterfoil, ["person", "pin", "tendai", "--config", str(config)], input="481516\n481516\n"
    )
    assert said.exit_code == 0, said.output
    assert said.output.endswith("In counterfoil.yml, at tendai: pin_file: secrets/tendai.pin\n")
    file = tmp_path / "here/secrets/tendai.pin"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "481516" not in said.output + file.read_text()
    text = config.read_text().replace("language: en}   # CHANGE", "language: en, pin_file: secrets/tendai.pin}")
    config.write_text(text)
    member = load_config(config, {}).charters["default"].people["tendai"]
    assert member.pin is not None
    assert pins.fits(member.pin, "481516")
    assert member.pin not in repr(member)
    file.write_text("481516\n")
    with pytest.raises(ConfigErrors, match=r"that is not what `counterfoil person pin NAME` writes") as caught:
        load_config(config, {})
    assert "481516" not in str(caught.value)
    weak = CliRunner().invoke(
        counterfoil, ["person", "pin", "tendai", "--config", str(config)], input="111111\n111111\n"
    )
    assert weak.exit_code == 2
    assert file.read_text() == "481516\n"


# --- what it is worth -------------------------------------------------------------------------------------------------


async def test_only_who_has_a_pin_is_asked_what_needs_one() -> None:
    made = await governed("tendai")
    (proposed,) = made.entries("PROPOSED")
    assert (proposed.body["approvers"], proposed.body["pin"]) == (["tendai"], True)
    assert await wrong(made) == []
    none = await governed()
    assert none.entries("PROPOSED") == []
    assert any("1 must approve, and only 0 can" in text for text in none.told("tendai"))


async def test_a_tap_is_whole_with_the_pin_that_is_asked_for() -> None:
    made = await governed("tendai")
    await made.hear("tendai", "Approve", payload=f"approve.{made.question('tendai').token}")
    assert made.entries("APPROVED") == []
    assert made.told("tendai")[-1] == "remove old files: this needs your PIN. Send it within 5 min, then delete it."
    await made.hear("tendai", "Approve", payload=f"approve.{made.question('tendai').token}")  # again: not asked again
    assert len(made.told("tendai")) == 2
    await made.hear("tendai", "481516", pin="right")
    assert len(made.executors.ran) == 1
    assert await wrong(made) == []


async def test_a_code_and_the_pin_in_one_message() -> None:
    made = await governed("tendai")
    await made.hear("tendai", f"A {code(made, 'tendai')} 481516", pin="right")
    assert len(made.executors.ran) == 1


async def test_digits_that_nobody_asked_for_and_those_that_come_late_are_nothing() -> None:
    made = await governed("tendai")
    await made.hear("tendai", "481516", pin="right")
    await made.hear("tendai", f"A {code(made, 'tendai')}")
    await made.after(PIN_WITHIN.total_seconds() + 1)
    await made.hear("tendai", "481516", pin="right")
    assert [entry.body["what"] for entry in made.entries("HEEDED")] == ["no answer", "pin wanted", "no answer"]
    assert made.executors.ran == []


async def test_a_question_that_ended_meanwhile_takes_no_pin() -> None:
    made = await governed("tendai")
    await made.hear("tendai", f"A {code(made, 'tendai')}")
    await made.fire(firing=False)
    await made.hear("tendai", "481516", pin="right")
    assert why(made) == ["already withdrawn"]
    assert made.executors.ran == []


async def test_wrong_ones_are_counted_lock_it_and_the_others_hear_of_it() -> None:
    made = await governed("tendai")
    word = f"A {code(made, 'tendai')} 481517"
    for left in range(PIN_TRIES - 1, 0, -1):
        await made.hear("tendai", word, pin="wrong")
        assert made.told("tendai")[-1] == f"Not counted: that is not your PIN; {left} tries are left."
    await made.hear("tendai", word, pin="wrong")
    assert made.told("tendai")[-1] == "Not counted: that is not your PIN, and it is locked now."
    assert made.told("ruth")[-1].startswith("tendai sent 5 wrong PINs, and it is locked.")
    await made.hear("tendai", word, pin="right")
    assert why(made) == ["wrong PIN"] * PIN_TRIES + ["PIN locked"]
    assert made.executors.ran == []
    again = Governed(RISKY, PEOPLE, journal=made.journal, clock=made.clock)
    again.governor.reload(made.governor._given)
    again._heard = made._heard
    await again.governor.start()
    await again.hear("tendai", word, pin="right")  # a restart forgets nothing
    assert again.executors.ran == []
    join, _ = await GovernorChanges(again.desk).enrol("operator", "tendai")
    await again.hear("tendai", f"JOIN {join}")
    await again.hear("tendai", word, pin="right")
    assert len(again.executors.ran) == 1


async def test_a_day_unlocks_it() -> None:
    made = await governed("tendai")
    for _ in range(PIN_TRIES):
        await made.hear("tendai", f"A {code(made, 'tendai')} 481517", pin="wrong")
    await made.after(PIN_WINDOW.total_seconds() + 1)
    await made.hear("tendai", f"A {code(made, 'tendai')} 481516", pin="right")
    assert why(made)[-1] != "PIN locked"


async def test_no_pin_is_needed_to_say_no_and_of_others_none_is_asked() -> None:
    made = await governed("tendai")
    await made.hear("tendai", f"R {code(made, 'tendai')}")
    assert [entry.reason for entry in made.entries("REJECTED")] == ["declined by tendai"]
    plain = await governed("tendai", policy=POLICY)
    await plain.hear("ruth", f"A {code(plain, 'ruth')}")
    assert len(plain.executors.ran) == 1


async def test_an_auditor_finds_an_approval_without_its_pin() -> None:
    made = await governed("tendai")
    await made.hear("tendai", f"A {code(made, 'tendai')} 481516", pin="right")
    copy = await Copy.of(made.journal, TENANT, made.journal.log)
    documents = [json.loads(entry.raw) for entry in copy.log]
    for document in documents:
        document["body"].pop("pin", None) if document["stage"] == "HEARD" else None
    permitted = Permitted(copy.blob)
    found = [one for document in documents for one in permitted.take(Entry.parse(canonical(document)))]
    assert [one.detail for one in found] == ["tendai approved clean without the PIN that it asks for"]


async def test_what_is_compared_is_compared_beside_the_loop() -> None:
    kept = pins.hashed("481516")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    assert await asyncio.to_thread(pins.fits, kept, "481516")
    ticking.cancel()
    assert ticks > 10
