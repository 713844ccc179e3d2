"""An execution of which nobody knows whether it ran: people hear what is known, and one of them says which."""

from __future__ import annotations

import pytest

from receiver.auditor import telling
from receiver.auditor.presenting import Pages
from receiver.auditor.reading import Reader
from receiver.governor.changes import GovernorChanges
from receiver.papers import ChangeRefused, ExecutionOutcome, ExecutionResult
from tests.receiver.governed import POLICY, Governed

PEOPLE = {"tendai": ("oncall",), "ruth": ("leads",), "john": ("support",)}
UNKNOWN = ExecutionResult(ExecutionOutcome.UNKNOWN, "no answer within 10 s")


async def in_doubt(policy: str = POLICY, hosts: tuple[str, ...] = ("db1",)) -> tuple[Governed, list[str]]:
    """Everything that was approved is in doubt; the ids of the incidents."""
    governed = Governed(policy, PEOPLE)

    async def no_answer(*given: object, **named: object) -> ExecutionResult:
        return UNKNOWN

    governed.desk.executors.send = no_answer  # type: ignore[method-assign]
    await governed.governor.start()
    for host in hosts:
        await governed.fire(host)
        await governed.hear("tendai", "a " + governed.question("tendai").variables["code"])
        await governed.rest()
    assert len(governed.entries("UNRESOLVED")) == len(hosts)
    return governed, [entry.incident_id or "" for entry in governed.entries("UNRESOLVED")]


def last(governed: Governed, person: str) -> str:
    return governed.told(person)[-1]


async def test_people_hear_what_is_known_and_what_they_may_say() -> None:
    governed, (incident,) = await in_doubt()
    for person in ("tendai", "ruth"):
        text = last(governed, person)
        assert "it is not known whether it ran (no answer within 10 s)" in text
        for word in ("RAN", "DIDNOT", "WRITEOFF"):
            assert f"{word} {incident}" in text
    await governed.after(1801)
    assert f"Look, then send RAN {incident} or DIDNOT {incident}" in last(governed, "ruth")


async def test_the_page_shows_what_is_known_and_the_ways_out() -> None:
    governed, (incident,) = await in_doubt()
    view = await Reader(governed.journal).incident("default", incident)
    assert view is not None
    found = telling.doubt(view)
    assert found is not None
    assert (found.title, found.why, found.may) == ("remove old files", "no answer within 10 s", ("ruth", "tendai"))
    dispatched = governed.entries("DISPATCHED")[0]
    assert (found.dispatched, found.webhook_id) == (dispatched.index, dispatched.body["webhook_id"])
    values = {"incident": view, "at": "", "steps": telling.steps(view), "moments": telling.moments(view)}
    page = Pages().render(
        "incident.html",
        200,
        {
            **values,
            "policy": None,
            "followed": None,
            "requested_by": "",
            "doubt": found,
            "tenant": "default",
            "tenants": ["default"],
        },
    )
    for words in (f"DIDNOT {incident}", f"counterfoil incident settle {incident} --outcome", found.webhook_id):
        assert words.encode() in (page.body or b"")
    await governed.hear("ruth", f"RAN {incident}")
    settled = await Reader(governed.journal).incident("default", incident)
    assert settled is not None
    assert telling.doubt(settled) is None


@pytest.mark.parametrize(
    ("word", "stage", "state"),
    [("RAN", "EXECUTED", "verifying"), ("didnot", "FAILED", "proposed"), ("WriteOff", "WRITTEN_OFF", "proposed")],
)
async def test_each_way_out_is_an_entry_by_the_person(word: str, stage: str, state: str) -> None:
    governed, (incident,) = await in_doubt()
    doubt = governed.entries("UNRESOLVED")[0]
    heard = await governed.hear("ruth", f"{word} {incident} I looked at the machine")
    (settled,) = [entry for entry in governed.journal.log if entry.settles == doubt.index]
    assert (settled.stage, settled.actor, settled.incident_id) == (stage, "engineer:ruth", incident)
    assert f"the words stand with entry {heard.index}" in settled.reason
    assert not governed.desk.book.suspense
    assert governed.desk.book.open[incident].state.value == state
    assert any(text.startswith("Noted: ") for text in governed.told("ruth"))
    # It is settled once.
    await governed.hear("tendai", f"RAN {incident}")
    assert last(governed, "tendai") == "Nothing is in doubt."
    assert len([entry for entry in governed.journal.log if entry.settles == doubt.index]) == 1


async def test_only_who_was_asked_may_say_so() -> None:
    governed, (incident,) = await in_doubt()
    await governed.hear("john", f"DIDNOT {incident}")
    assert last(governed, "john") == "Not counted: only ruth, tendai may say what became of it."
    assert governed.entries("REFUSED")[-1].body["why"].startswith("only ruth, tendai")
    assert len(governed.desk.book.suspense) == 1


async def test_which_one_is_asked_where_several_are_in_doubt() -> None:
    each = POLICY.replace("expires: 15m}", "params: {host: {label: host, allow: [db1, db2]}}}")
    governed, ids = await in_doubt(each, hosts=("db1", "db2"))
    await governed.hear("ruth", "didnot")
    assert last(governed, "ruth") == f"Which one? Say it with the id: {', '.join(sorted(ids))}."
    await governed.hear("ruth", f"didnot {ids[1].removeprefix('inc-')[:6]}")
    assert [p.incident_id for p in governed.desk.book.suspense.values()] == [ids[0]]
    await governed.hear("ruth", "didnot")  # there is one left
    assert not governed.desk.book.suspense


async def test_it_is_never_repeated_by_itself() -> None:
    governed, _ = await in_doubt()
    await governed.after(4 * 3600)
    assert len(governed.entries("DISPATCHED")) == 1
    assert len(governed.entries("PROPOSED")) == 1
    with pytest.raises(ChangeRefused, match="has no unresolved execution"):
        await GovernorChanges(governed.desk).settle(await other(governed), "ruth", "ran", "x")


async def other(governed: Governed) -> str:
    """An incident without a doubt."""
    await governed.fire("db9")
    return list(governed.desk.book.open)[-1]


async def test_at_the_keyboard_it_is_the_same_entry() -> None:
    governed, (incident,) = await in_doubt()
    receipt = await GovernorChanges(governed.desk).settle(incident, "ruth", "did_not_run", "its log says so")
    (entry,) = receipt.entries
    assert (entry.stage, entry.actor, entry.reason) == ("FAILED", "engineer:ruth", "its log says so")
    assert entry.body["detail"] == "ruth says that it did not run"
