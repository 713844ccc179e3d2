"""Who is on duty: by the calendar over changes of the clocks, by overrides and handovers; what policy makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint
from ledger.entry import Draft, Entry, canonical
from ledger.findings import Finding
from ledger.stores.sqlite import SqliteJournal
from receiver.__main__ import counterfoil
from receiver.auditor.permitted import Permitted
from receiver.commands.init import write_folder
from receiver.configuration import load_config
from receiver.incident.duty import AGAIN, Duty, Handover, Override, Rotation, duty_from_body
from tests.receiver.governed import NOW, TENANT, Governed
from tests.simulation.audited import Copy, differences

WEEKLY = Rotation("primary", "oncall", ("tendai", "rudo", "farai"), date(2026, 11, 16), 7, 9 * 60, "Africa/Harare")
PEOPLE = {"tendai": (), "rudo": (), "farai": (), "ruth": ("leads",)}
MONDAY = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)  # 09:00 in Harare: rudo's shift begins
NEXT_MONDAY = MONDAY + timedelta(days=7)


def utc(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# --- the calendar -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "first", "minute", "number", "begins", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 23), 540, 0, "2026-03-23T08:00", 167),  # the clocks go forward on the 29th
        ("Europe/Berlin", date(2026, 10, 19), 540, 0, "2026-10-19T07:00", 169),  # and back on 25 October
        ("America/New_York", date(2026, 3, 1), 150, 1, "2026-03-08T07:30", 167),  # 02:30 is not there: 03:30
        ("America/New_York", date(2026, 10, 25), 90, 1, "2026-11-01T05:30", 169),  # 01:30 comes twice: the first
        ("Africa/Harare", date(2026, 3, 23), 540, 0, "2026-03-23T07:00", 168),
    ],
)
def test_a_shift_begins_by_the_clock_on_the_wall(
    zone: str, first: date, minute: int, number: int, begins: str, hours: int
) -> None:
    rotation = Rotation("r", "oncall", ("a", "b"), first, 7, minute, zone)
    at = datetime.fromisoformat(begins).replace(tzinfo=UTC)
    assert rotation.begins(number) == at
    assert rotation.begins(number + 1) - at == timedelta(hours=hours)
    tick = timedelta(microseconds=1)
    assert rotation.number(at) == number == rotation.number(rotation.begins(number + 1) - tick)
    assert rotation.number(at - tick) == number - 1
    assert rotation.next_change(at - tick) == at


@given(
    st.sampled_from(["Africa/Harare", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.dates(date(2010, 1, 1), date(2030, 1, 1)),
    st.integers(1, 15),
    st.integers(0, 1439),
    st.integers(0, 3000 * 24 * 60),
)
def test_every_moment_is_in_the_one_shift_that_the_wall_says(
    zone: str, first: date, days: int, minute: int, later: int
) -> None:
    """Beside days on which the clocks change: there, a time on the wall may be missing or come twice."""
    rotation = Rotation("r", "oncall", ("a", "b", "c"), first, days, minute, zone)
    at = datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=1, minutes=later)
    number = rotation.number(at)
    assert rotation.begins(number) <= at < rotation.begins(number + 1)
    wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    offsets = {(at + timedelta(hours=h)).astimezone(ZoneInfo(zone)).utcoffset() for h in range(-26, 27)}
    if len(offsets) == 1:
        begun = wall - timedelta(minutes=minute) - datetime.combine(first, datetime.min.time())
        assert number == begun.days // days
    shift = rotation.shift(at)
    assert (shift is None) == (number < 0)
    assert shift is None or shift.person == "abc"[number % 3]


def test_an_override_stands_in_the_place_of_the_rotation_and_nobody_comes_before_the_first_shift() -> None:
    cover = Override("oncall", "ruth", MONDAY + timedelta(days=1), MONDAY + timedelta(days=2))
    duty = Duty((WEEKLY,), (cover,))
    second = replace(WEEKLY, name="secondary", people=("farai",))
    assert duty.on_duty("oncall", MONDAY) == ("rudo",)
    assert duty.on_duty("oncall", cover.since) == ("ruth",)
    assert duty.on_duty("oncall", cover.until) == ("rudo",)
    assert duty.on_duty("oncall", datetime(2026, 11, 16, 6, 59, tzinfo=UTC)) == ()
    assert Duty((WEEKLY, second)).on_duty("oncall", MONDAY) == ("farai", "rudo")
    assert duty.next_change(MONDAY) == cover.since
    assert duty.ends("oncall", "rudo", MONDAY) == cover.since
    assert duty.ends("oncall", "ruth", cover.since) == cover.until
    assert duty_from_body(json.loads(canonical(duty.to_body()))) == duty


def test_duty_that_was_handed_over_goes_back_when_the_shift_ends() -> None:
    duty = Duty((WEEKLY,))
    noon = MONDAY + timedelta(hours=5)
    end = duty.ends("oncall", "rudo", noon)
    assert end == NEXT_MONDAY
    first = Handover("oncall", "rudo", "farai", noon, end)
    again = Handover("oncall", "farai", "tendai", noon + timedelta(hours=1), end)
    late = Handover("oncall", "rudo", "farai", noon + timedelta(hours=2), end)  # who has it no more hands nothing over
    handed = (first, again, late)
    times = [noon - timedelta(1), noon, again.at, late.at, end - timedelta(1), end]
    holders = [duty.on_duty("oncall", at, handed) for at in times]
    assert holders == [("tendai",) if times[0] < MONDAY else ("rudo",), ("farai",), *[("tendai",)] * 3, ("farai",)]
    assert duty.ends("oncall", "tendai", late.at, handed) == end


# --- in the service ---------------------------------------------------------------------------------------------------


async def governed(duty: Duty | None = None, people: Any = None, **more: Any) -> Governed:
    """NOW is Monday 11:00 in Harare, so it is rudo's turn."""
    made = Governed(people=people or PEOPLE, **more)
    made.governor.reload(replace(made.desk.charter, duty=duty or Duty((WEEKLY,))))
    await made.governor.start()
    await made.rest()
    return made


async def audited(made: Governed) -> Copy:
    return await Copy.of(made.journal, TENANT, made.journal.log)


async def wrong(made: Governed) -> list[Any]:
    """What an auditor finds of who was permitted, and every verdict that comes out otherwise."""
    copy = await audited(made)
    permitted = Permitted(copy.blob)
    return [*(finding for entry in copy.log for finding in permitted.take(entry)), *differences(copy)]


async def test_a_role_means_whoever_is_on_duty_and_a_new_shift_is_a_new_roster() -> None:
    made = await governed()
    await made.fire("db1")
    assert [entry.body["approvers"] for entry in made.entries("PROPOSED")] == [["rudo", "ruth"]]
    assert made.told("tendai") == made.told("farai") == []
    await made.after((NEXT_MONDAY - NOW).total_seconds())
    assert [e.body["duty"]["on_duty"] for e in made.entries("ADOPTED")] == [{"oncall": ["rudo"]}, {"oncall": ["farai"]}]
    assert "on duty for oncall: farai" in made.entries("ADOPTED")[-1].reason
    assert any(
        text.startswith("You are on duty now for oncall until Mon 07:00 UTC. 1 open") for text in made.told("farai")
    )
    await made.fire("db2")
    assert made.entries("PROPOSED")[-1].body["approvers"] == ["farai", "ruth"]
    assert await wrong(made) == []


async def test_the_governor_wakes_when_a_shift_begins() -> None:
    made = await governed()
    _, later = await made.governor.turn()
    assert later == NEXT_MONDAY


async def test_who_was_asked_before_the_shift_ended_may_still_answer_and_nobody_else_may() -> None:
    made = await governed()
    made.clock.advance(NEXT_MONDAY - timedelta(minutes=5))
    await made.fire()
    asked, code = made.question("rudo"), made.question("rudo").variables["code"]
    await made.after(360)
    assert made.desk.charter.people["rudo"].roles == frozenset()
    await made.hear("farai", f"A {code}")  # it is farai's turn, and it was not farai who was asked
    assert made.entries("APPROVED") == []
    await made.hear("rudo", "Approve", payload=f"approve.{asked.token}")
    assert [entry.actor for entry in made.entries("AUTHORIZED")] == ["engineer:rudo"]
    assert len(made.executors.ran) == 1
    assert await wrong(made) == []


async def test_who_left_the_rotation_may_not_answer_any_more() -> None:
    made = await governed()
    await made.fire()
    asked = made.question("rudo")
    other = replace(WEEKLY, people=("tendai", "farai", "farai"))
    made.governor.reload(replace(made.governor._given, duty=Duty((other,))))
    await made.rest()
    await made.hear("rudo", "Approve", payload=f"approve.{asked.token}")
    assert [entry.body["why"] for entry in made.entries("REFUSED")] == [
        "the policy in force does not let you approve it"
    ]
    assert made.executors.ran == []


async def test_handover_passes_duty_until_the_end_of_the_shift_and_the_other_hears_of_it() -> None:
    made = await governed()
    await made.fire("db1")
    heard = await made.hear("rudo", "Handover to Farai.")
    noted = next(entry for entry in made.entries("NOTED") if entry.body["kind"] == "handover")
    assert (noted.actor, noted.cites) == ("engineer:rudo", (heard.index,))
    assert noted.body["until"] == {"oncall": "2026-11-30T07:00:00.000000Z"}
    assert made.told("rudo")[-1] == "farai is on duty for oncall until Mon 07:00 UTC."
    assert made.told("farai") == [
        "rudo handed duty over to you: oncall until Mon 07:00 UTC. What rudo was asked, they may answer. "
        "1 open incident: STATUS names them."
    ]
    await made.fire("db2")
    assert made.entries("PROPOSED")[-1].body["approvers"] == ["farai", "ruth"]
    again = Governed(people=PEOPLE, journal=made.journal, clock=made.clock)
    again.governor.reload(replace(again.desk.charter, duty=Duty((WEEKLY,))))
    await again.governor.start()
    assert again.desk.charter.people["farai"].roles == {"oncall"}  # a restart remembers, and adopts nothing anew
    assert len(again.entries("ADOPTED")) == 2
    await again.after((NEXT_MONDAY - NOW).total_seconds())
    assert again.entries("ADOPTED")[-1].body["duty"]["on_duty"] == {"oncall": ["farai"]}
    assert await wrong(made) == []


@pytest.mark.parametrize(
    ("person", "text", "said"),
    [
        ("rudo", "handover", "Say HANDOVER and a name. On duty for oncall: rudo."),
        ("rudo", "handover chipo", "There is no chipo here. Say HANDOVER and a name. On duty for oncall: rudo."),
        ("rudo", "handover ruth", "ruth is not among those who may have the duty of oncall. On duty for oncall: rudo."),
        ("tendai", "handover farai", "You are not on duty. On duty for oncall: rudo."),
        (
            "rudo",
            "handover rudo",
            "Say HANDOVER and the name of somebody else; your own takes a duty that nobody has. "
            "On duty for oncall: rudo.",
        ),
    ],
)
async def test_a_handover_that_cannot_be_is_answered_and_changes_nothing(person: str, text: str, said: str) -> None:
    made = await governed()
    await made.hear(person, text)
    assert made.told(person) == [said]
    assert made.entries("NOTED") == []
    assert len(made.entries("ADOPTED")) == 1


async def test_no_word_that_is_no_name_stands_in_an_entry() -> None:
    made = await governed()
    await made.hear("rudo", "handover grandmother")
    assert all(b"grandmother" not in entry.raw for entry in made.journal.log)


async def test_nobody_on_duty_is_said_at_once_and_again_and_can_be_taken() -> None:
    made = await governed(Duty((replace(WEEKLY, first=date(2026, 12, 7)),)))
    await made.fire()
    assert made.entries("PROPOSED")[-1].body["approvers"] == ["ruth"]  # who leads decides; nobody else is asked
    for name in ("tendai", "rudo", "farai"):
        assert made.told(name)[0].startswith("Nobody is on duty for oncall")
    made.governor.measure()
    gauge = made.desk.metrics.duty_vacant.labels(TENANT, "oncall")
    assert gauge._value.get() == 1
    await made.after(AGAIN.total_seconds() - 1)
    kinds = [entry.body["kind"] for entry in made.entries("NOTED")]
    assert kinds == ["nobody on duty"]
    await made.after(2)
    await made.hear("ruth", "handover ruth")
    assert made.told("ruth")[-1].startswith("Say HANDOVER and the name of somebody else")
    await made.hear("farai", "handover farai")
    assert made.desk.charter.people["farai"].roles == {"oncall"}
    kinds = [entry.body["kind"] for entry in made.entries("NOTED")]
    assert kinds == ["nobody on duty", "nobody on duty", "handover", "somebody on duty"]
    assert made.told("tendai")[-1] == "farai is on duty for oncall again."
    made.governor.measure()
    assert gauge._value.get() == 0
    assert await wrong(made) == []


async def test_whoever_is_on_duty_and_cannot_be_called_is_nobody() -> None:
    made = await governed()
    await made.hear("rudo", "STOP")
    assert any(text.startswith("Nobody is on duty for oncall") for text in made.told("tendai"))
    await made.hear("rudo", "START")
    assert made.told("tendai")[-1] == "rudo is on duty for oncall again."


# --- on the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose ledger is not there yet."""
    write_folder(tmp_path / "here")
    file = tmp_path / "here/counterfoil.yml"
    text = file.read_text(encoding="utf-8")
    turns = (
        "    rotations:\n      primary: {role: oncall, people: [tendai, rudo], handover: monday 09:00,"
        ' timezone: Africa/Harare, every: 1w, from: "2026-11-16"}\n'
    )
    file.write_text(text.replace("    people:\n", f"{turns}    people:\n"), encoding="utf-8")
    return file


async def test_duty_show_says_who_and_until_when_and_who_is_next(config: Path) -> None:
    def show(*words: str) -> Any:
        return CliRunner().invoke(counterfoil, ["duty", "show", "--config", str(config), *words])

    said = show("--at", "2026-11-23T07:00:00Z")
    assert (said.exit_code, said.output) == (0, "oncall           rudo until Mon 2026-11-30 09:00 CAT, then tendai\n")
    before = show("--at", "2026-11-16T08:59:59+02:00")
    assert (before.exit_code, before.output) == (
        1,
        "oncall           nobody until Mon 2026-11-16 09:00 CAT, then tendai\n",
    )
    assert show("--at", "soon").exit_code == show("--at", "3").exit_code == show("--tenant", "x").exit_code == 2
    loaded = load_config(config, {})
    journal = await SqliteJournal.open(
        loaded.settings.ledger.path,
        origin=loaded.settings.ledger.origin,
        key=checkpoint.load_key_file(loaded.settings.ledger.key_file),
        anchor_path=loaded.settings.ledger.anchor_file,
        clock=lambda: NOW,
        tenants=["default"],
    )
    body = {"kind": "handover", "from": "rudo", "person": "tendai", "until": {"oncall": "2026-11-30T07:00:00.000000Z"}}
    await journal.post("default", [Draft(id="handover:1", stage="NOTED", actor="engineer:rudo", body=body)])
    row = json.loads((await asyncio.to_thread(show, "--json", "--at", "2026-11-24T07:00:00Z")).output)
    assert row == [
        {"role": "oncall", "on_duty": ["tendai"], "away": [], "until": "2026-11-30T07:00:00+00:00", "next": ["tendai"]}
    ]
    body = {"kind": "suspended", "person": "tendai", "text": "gone"}
    await journal.post("default", [Draft(id="suspend:1", stage="NOTED", actor="operator:x", body=body)])
    await journal.close()
    said = show("--at", "2026-11-24T07:00:00Z")
    assert said.exit_code == 1
    assert said.output.startswith("oncall           nobody (tendai suspended or opted out) until")


# --- what an auditor finds --------------------------------------------------------------------------------------------

Change = Callable[[list[dict[str, Any]]], None]


def entry_of(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(d for d in documents if d["stage"] == kind or d["body"].get("kind") == kind)


def _another_on_duty(documents: list[dict[str, Any]]) -> None:
    entry_of(documents, "ADOPTED")["body"]["duty"]["on_duty"] = {"oncall": ["farai"]}


def _another_time(documents: list[dict[str, Any]]) -> None:
    entry_of(documents, "ADOPTED")["body"]["duty"]["at"] = "2026-11-30T07:00:00.000000Z"


def _says_nothing(documents: list[dict[str, Any]]) -> None:
    del entry_of(documents, "ADOPTED")["body"]["duty"]


def _not_theirs(documents: list[dict[str, Any]]) -> None:
    entry_of(documents, "handover")["body"]["from"] = "tendai"


def _to_one_who_may_not(documents: list[dict[str, Any]]) -> None:
    entry_of(documents, "handover")["body"]["person"] = "ruth"


def _unreadable(documents: list[dict[str, Any]]) -> None:
    entry_of(documents, "handover")["body"]["until"] = "tomorrow"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_another_on_duty, "it says that farai had the duty of oncall, and it was rudo"),
        (_another_time, "it was decided for 2026-11-30"),
        (_says_nothing, "not by which rotations"),
        (_not_theirs, "rudo did not have the duty of oncall"),
        (_to_one_who_may_not, "ruth may not have the duty of oncall"),
        (_unreadable, "cannot be read"),
    ],
)
async def test_a_changed_duty_is_found(change: Change, words: str) -> None:
    made = await governed()
    await made.hear("rudo", "handover farai")
    copy = await audited(made)
    documents = [json.loads(entry.raw) for entry in copy.log]
    change(documents)
    permitted = Permitted(copy.blob)
    found: list[Finding] = []
    for document in documents:
        found += permitted.take(Entry.parse(canonical(document)))
    assert any(one.rule == "duty" and words in one.detail for one in found), found
