"""Who holds the phone: enrolling by a word, an identity that changed, and being suspended."""

from __future__ import annotations

import pytest

from receiver.authorization import codes
from receiver.governor.changes import ENROL_SECONDS, GovernorChanges
from receiver.governor.enrolling import CODE_TRIES
from receiver.incident.enrolled import CODE_WINDOW
from receiver.papers import ChangeRefused, UnknownSubject
from tests.receiver.governed import SECRET, TENANT, Governed


@pytest.fixture
async def governed() -> Governed:
    made = Governed()
    await made.governor.start()
    return made


async def enrolled(governed: Governed, identity: str = "the first") -> None:
    word, _ = await GovernorChanges(governed.desk).enrol("operator", "tendai")
    await governed.hear("tendai", f"join {word.lower()}", identity=identity)


def refused(governed: Governed) -> list[str]:
    return [entry.body["why"] for entry in governed.entries("REFUSED")]


def roster(governed: Governed) -> dict[str, bool]:
    return {name: member.suspended for name, member in governed.desk.charter.people.items()}


async def test_the_word_is_in_no_entry_and_holds_once(governed: Governed) -> None:
    word, receipt = await GovernorChanges(governed.desk).enrol("operator", "tendai")
    nonce = receipt.entries[0].body["nonce"]
    assert word == codes.join_code(SECRET, TENANT, "tendai", nonce)
    await governed.hear("ruth", f"JOIN {word}")
    assert governed.told("ruth") == ["No enrolment is open for you. Ask an operator: counterfoil person enrol"]
    await governed.hear("tendai", f"JOIN {word}", identity="x")
    assert governed.told("tendai") == ["Welcome tendai (oncall): this phone is yours now. Send HELP for what I take."]
    assert governed.desk.book.enrolled.identities == {"tendai": "x"}
    await governed.hear("tendai", f"JOIN {word}", identity="y")
    assert governed.desk.book.enrolled.identities == {"tendai": "x"}
    said = b"".join(entry.raw for entry in governed.journal.log if entry.stage != "HEARD")
    assert word.encode() not in said


async def test_a_newer_word_voids_the_older_and_a_day_ends_it(governed: Governed) -> None:
    changes = GovernorChanges(governed.desk)
    first, _ = await changes.enrol("operator", "tendai")
    second, _ = await changes.enrol("operator", "tendai")
    await governed.hear("tendai", f"JOIN {first}")
    assert refused(governed) == ["wrong code"]
    await governed.after(ENROL_SECONDS + 1)
    await governed.hear("tendai", f"JOIN {second}")
    assert governed.desk.book.enrolled.identities == {}
    with pytest.raises(UnknownSubject):
        await changes.enrol("operator", "nobody")


async def test_a_word_is_tried_five_times_an_hour(governed: Governed) -> None:
    """Else whoever took over the number finds it among all words within the day that it holds, and is enrolled."""
    word, _ = await GovernorChanges(governed.desk).enrol("operator", "tendai")
    wrong = [w for letter in codes.ALPHABET if (w := f"AAA{letter}") != word]
    for guess in wrong[:CODE_TRIES]:
        await governed.hear("tendai", f"JOIN {guess}", identity="a thief")
    await governed.hear("tendai", f"JOIN {word}", identity="a thief")
    assert governed.desk.book.enrolled.identities == {}
    assert governed.told("tendai")[-1].startswith("Too many wrong words")
    assert refused(governed) == ["wrong code"] * CODE_TRIES
    await governed.after(CODE_WINDOW.total_seconds() + 1)
    await governed.hear("tendai", f"JOIN {word}", identity="the first")
    assert governed.desk.book.enrolled.identities == {"tendai": "the first"}


async def test_another_identity_suspends_and_nothing_of_it_counts(governed: Governed) -> None:
    await enrolled(governed)
    await governed.fire()
    question = governed.question("tendai")
    await governed.hear("tendai", "Approve", payload=f"approve.{question.token}", identity="another")
    assert (governed.entries("APPROVED"), governed.executors.ran) == ([], [])
    assert refused(governed) == ["another identity"]
    assert roster(governed) == {"tendai": True, "ruth": False}
    assert any("tendai is suspended" in text for text in governed.told("ruth"))
    # What tendai was asked is withdrawn, and asked anew of those who may still answer.
    assert [entry.reason for entry in governed.entries("WITHDRAWN")] == ["tendai may not answer any more"]
    first, second = governed.entries("PROPOSED")
    assert (first.body["approvers"], second.body["approvers"]) == (["ruth", "tendai"], ["ruth"])
    # The roster in force says so too, for whoever audits what was decided under it.
    assert len(governed.entries("ADOPTED")) == 2
    await governed.hear("tendai", f"A {question.variables['code']}", identity="the first")
    assert refused(governed) == ["another identity", "suspended"]


async def test_the_same_identity_and_none_at_all_count(governed: Governed) -> None:
    await enrolled(governed)
    for host, identity in (("db1", "the first"), ("db2", "")):
        await governed.fire(host)
        question = governed.question("tendai")
        await governed.hear("tendai", "Approve", payload=f"approve.{question.token}", identity=identity)
    assert len(governed.executors.ran) == 2
    assert refused(governed) == []


async def test_halt_by_another_identity_halts_nothing(governed: Governed) -> None:
    await enrolled(governed)
    await governed.hear("tendai", "HALT now", identity="another")
    assert governed.entries("HALTED") == []


async def test_whoever_enrols_again_is_back(governed: Governed) -> None:
    await enrolled(governed)
    await governed.hear("tendai", "status", identity="another")
    assert roster(governed)["tendai"]
    await governed.hear("tendai", "status", identity="another")
    assert refused(governed) == ["another identity", "suspended"]
    await enrolled(governed, "another")
    assert roster(governed) == {"tendai": False, "ruth": False}
    await governed.hear("tendai", "status", identity="another")
    assert governed.told("tendai")[-1] == "No open incident."


async def test_an_operator_suspends_by_name_and_a_restart_remembers(governed: Governed) -> None:
    changes = GovernorChanges(governed.desk)
    await governed.fire()
    await changes.suspend("operator", "tendai", "on leave")
    await governed.rest()
    assert [entry.stage for entry in governed.entries("WITHDRAWN")] == ["WITHDRAWN"]
    assert roster(governed)["tendai"]
    with pytest.raises(ChangeRefused):
        await changes.suspend("operator", "tendai", "twice")
    again = Governed(journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    await again.rest()
    assert roster(again) == {"tendai": True, "ruth": False}
    assert len(again.entries("ADOPTED")) == 2
