"""What a person may say besides an answer, and what is said back."""

from __future__ import annotations

import pytest

from receiver.governor.changes import GovernorChanges
from receiver.governor.reply_phrases import REPLIES
from receiver.governor.words import QUESTIONS_AGAIN
from tests.receiver.governed import Governed

HELP = REPLIES["help"]["en"]


@pytest.fixture
async def governed() -> Governed:
    made = Governed()
    await made.governor.start()
    return made


def heeded(governed: Governed) -> list[str]:
    return [entry.body["what"] for entry in governed.entries("HEEDED")]


def last(governed: Governed, person: str) -> str:
    return governed.told(person)[-1]


async def test_status_names_each_incident_by_the_id_that_why_takes(governed: Governed) -> None:
    await governed.hear("tendai", "status")
    assert last(governed, "tendai") == "No open incident."
    for at in range(7):
        await governed.fire(f"db{at}")
    await governed.hear("tendai", "Status.")
    text = last(governed, "tendai")
    newest = list(governed.desk.book.open)[-1]
    assert text.startswith(f"{newest} proposed: ")
    assert text.endswith("And 2 more: STATUS 2.")
    await governed.hear("tendai", "Status 2")
    first, second = list(governed.desk.book.open.values())[1::-1]
    assert last(governed, "tendai") == f"{first.id} {first.title}. {second.id} {second.title}."
    await governed.hear("tendai", "STATUS 3")
    assert last(governed, "tendai") == "No more open incident."


async def test_why_tells_every_decision_by_whom_and_its_entry(governed: Governed) -> None:
    await governed.fire()
    (incident,) = governed.desk.book.open.values()
    await governed.hear("tendai", "a " + governed.question("tendai").variables["code"])
    await governed.hear("ruth", f"WHY {incident.id}")
    text = last(governed, "ruth")
    assert text.startswith(f"Policy 1. 09:00 DETECTED by policy ({incident.index}): ")
    for words in ("PROPOSED by policy", "APPROVED by tendai", "AUTHORIZED by tendai", "DISPATCHED by policy"):
        assert words in text
    await governed.hear("ruth", "why")
    assert last(governed, "ruth") == text


async def test_which_incident_is_asked_where_several_may_be_meant(governed: Governed) -> None:
    await governed.hear("tendai", "why")
    assert last(governed, "tendai") == "Which incident? Say WHY and its id. None is open."
    await governed.fire("db1")
    await governed.fire("db2")
    await governed.hear("tendai", "detail")
    first, second = governed.desk.book.open
    assert last(governed, "tendai") == f"Which incident? Say DETAIL and its id. Open now: {second}, {first}."
    await governed.hear("tendai", f"why {first.removeprefix('inc-')[:8]}")
    assert "DETECTED" in last(governed, "tendai")
    assert heeded(governed) == ["why of nothing", "detail of nothing", "why"]


async def test_detail_asks_again_whoever_may_answer_and_no_more_than_so_often(governed: Governed) -> None:
    await governed.fire()
    (incident,) = governed.desk.book.open.values()
    before = governed.question("tendai")
    for _ in range(QUESTIONS_AGAIN + 2):
        await governed.hear("tendai", "detail")
    mine = [m for m in governed.outside.messages if m.recipient.name == "tendai"]
    asked = [m for m in mine if m.token is not None]
    assert len(asked) == 1 + QUESTIONS_AGAIN
    assert {m.variables["code"] for m in asked} == {before.variables["code"]}
    assert len({m.token for m in asked}) == len(asked)
    assert last(governed, "tendai") == "You have that question already."
    # A tap on any of them counts, once.
    await governed.hear("tendai", "Approve", payload=f"approve.{asked[2].token}")
    assert [e.actor for e in governed.entries("APPROVED")] == ["engineer:tendai"]
    assert len(governed.executors.ran) == 1
    await governed.hear("tendai", f"detail {incident.id}")
    assert last(governed, "tendai").startswith("Verifying, open for 0 s: DiskFilling host=db1")


async def test_a_note_stands_with_the_incident_and_its_words_do_not(governed: Governed) -> None:
    await governed.fire()
    (incident,) = governed.desk.book.open.values()
    heard = await governed.hear("tendai", f"NOTE {incident.id} the disk was moved on Friday")
    (noted,) = governed.entries("NOTED")
    assert (noted.actor, noted.incident_id, noted.cites) == ("engineer:tendai", incident.id, (heard.index,))
    assert all(b"Friday" not in entry.raw for entry in governed.journal.log)
    assert last(governed, "tendai") == "Noted."


async def test_unknown_words_get_help_once_in_an_hour(governed: Governed) -> None:
    for _ in range(30):
        await governed.hear("tendai", "yes")
    assert governed.told("tendai") == [HELP]
    assert heeded(governed) == ["help"] + ["no answer"] * 29
    await governed.after(3600)
    await governed.hear("tendai", "ok")
    assert governed.told("tendai") == [HELP, HELP]


async def test_nobody_can_make_it_talk_all_night(governed: Governed) -> None:
    for _ in range(30):
        await governed.hear("tendai", "help")
    assert len(governed.told("tendai")) == 12


async def test_who_opts_out_is_called_no_more_and_the_others_hear_of_it(governed: Governed) -> None:
    await governed.hear("tendai", "STOP")
    assert governed.told("tendai") == []
    assert last(governed, "ruth").startswith("tendai opted out of messages")
    await governed.fire()
    assert governed.told("tendai") == []
    assert len(governed.told("ruth")) == 2
    gone = [entry for entry in governed.entries("UNDELIVERED") if entry.decision == "opted_out"]
    assert len(gone) == 1
    await governed.hear("tendai", "STOP")
    await governed.hear("tendai", "start")
    assert last(governed, "tendai") == "Welcome back: you are called again from now on."
    await governed.fire("db2")
    assert len(governed.told("tendai")) == 2
    assert heeded(governed) == ["opted out", "opted out already", "opted in"]


async def test_an_answer_counts_also_of_who_opted_out(governed: Governed) -> None:
    await governed.fire()
    code = governed.question("tendai").variables["code"]
    await governed.hear("tendai", "unsubscribe")
    await governed.hear("tendai", f"A {code}")
    assert [entry.actor for entry in governed.entries("APPROVED")] == ["engineer:tendai"]


async def test_everybody_else_hears_of_a_halt_once_and_of_its_end(governed: Governed) -> None:
    await governed.hear("tendai", "HALT the disks are being moved")
    (said,) = governed.told("ruth")
    assert said.startswith("HALTED by tendai at 09:00 UTC: nothing is dispatched")
    await governed.hear("tendai", "HALT again")
    await governed.hear("tendai", "HALT and again")
    assert governed.told("ruth") == [said]
    await governed.hear("ruth", "RESUME")
    assert "Resumed by ruth at 09:00 UTC: what is approved is dispatched again." in governed.told("tendai")[-1]


async def test_a_halt_through_the_api_is_told_with_its_reason(governed: Governed) -> None:
    changes = GovernorChanges(governed.desk)
    await changes.halt("ops", "migration")
    await governed.rest()
    assert all("HALTED by ops" in governed.told(name)[-1] for name in ("tendai", "ruth"))
    assert "migration" in governed.told("ruth")[-1]
    await changes.resume("ruth", "it is done")
    await governed.rest()
    assert governed.told("tendai")[-1].endswith("it is done")
    assert "Resumed" not in governed.told("ruth")[-1]
