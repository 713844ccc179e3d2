"""What a sealed log hands on to the next, as its governor meets it: limits, people, and what cannot be carried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.carried import Opening
from ledger.entry import Draft
from ledger.journal import Broken
from policy_rules.readings import Alert
from policy_rules.rulebook import REOPEN_WITHIN_MOST_SECONDS
from receiver.governor.changes import GovernorChanges
from receiver.governor.desk import Charter
from receiver.governor.enrolling import CODE_TRIES
from receiver.governor.pins import PIN_TRIES
from receiver.incident import carrying
from receiver.incident.carried import read_state, write_state
from receiver.incident.carrying import CannotCarry, opening_of
from receiver.incident.consulting import Consultation, Standing
from receiver.incident.drills import DRILL
from receiver.incident.enrolled import CODE_WINDOW, PIN_WINDOW
from receiver.incident.runs import Run
from receiver.incident.states import Incident, KnownAlert, Proposal
from tests.receiver.governed import POLICY, TENANT, Governed
from tests.receiver.test_pins import RISKY
from tests.receiver.test_pins import governed as with_pin
from tests.simulation.audited import Copy, differences, findings
from tests.simulation.carrying import next_log, taken_by_others

LIMITED = POLICY.replace("expires: 15m}", "expires: 15m, limit: {max: 1, per: 1h}, verify: {within: 5m}}")
REOPENED = POLICY.replace("    diagnosis_wait: 0s", "    diagnosis_wait: 0s\n    reopen_within: 1h").replace(
    "expires: 15m}", "expires: 15m, verify: {within: 5m}}"
)
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
# Form 1, byte for byte: what sealed ledgers hold, and what `verify --former` makes again in every later version.
FORM_1 = (
    '{"alerts":[{"alert":{"annotations":{},"assignments":[{"key":{"host":"db1"},"rule":"disk"}],"ends_at":null,'
    '"fingerprint":"f","firing":true,"generator_url":"","labels":{"host":"db1"},'
    '"starts_at":"2026-11-23T09:00:00.000000Z"},"ended_at":null}],"form":1,"incidents":{"inc-1":{"called":true,'
    '"consultations":[{"body":{},"case":{},"confidence":"0.80","earlier":[3,2,1],"index":-60,"outcome":"DIAGNOSED",'
    '"until":"2026-11-23T09:00:00.000000Z"}],"continues":null,"escalated":1,"gone":[],"held_until":null,'
    '"ladder_from":null,"lost":0,"muted":false,"mutes":0,"part":1,"people":["ruth","tendai"],"proposals":[PROPOSAL],'
    '"reminded_at":null,"reminders":2,"told_at":"2026-11-23T09:00:00.000000Z","tried_before":["grow"]}},'
    '"runs":[{"at":"2026-11-23T09:00:00.000000Z","forgiven":false,"key":{"host":"db1"},"proposal":PROPOSAL,'
    '"rule":"disk"}]}'
).replace(
    "PROPOSAL",
    '{"approvals":{"ruth":-45},"authorization":-44,"authorize_until":"2026-11-23T09:00:00.000000Z",'
    '"body":{"action":"clean","executor":"clean","params":{}},"decided_by":"ruth","declined_by":null,'
    '"dispatched":-43,"dispatched_at":null,"execute_until":null,"expires_at":"2026-11-23T09:00:00.000000Z",'
    '"incident_id":"inc-1","number":0,"outcome":"AUTHORIZED","outcome_index":-44,'
    '"proposed_at":"2026-11-23T09:00:00.000000Z","ran":true,"result":"EXECUTED","result_index":-42,'
    '"verified":"UNCONFIRMED","verify_until":null}',
)

# What stands in it only where there is any.
OPTIONAL = (
    '{"alerts":[],"ended":[{"closed":"RECOVERED","closed_at":"2026-11-23T09:00:00.000000Z",'
    '"closed_with":{"f":"2026-11-23T09:00:00.000000Z"},"held_until":null,"id":"inc-1","key":{"host":"db1"},"part":1,'
    '"people":["ruth","tendai"],"rule":"disk","tried":["clean","grow"]}],"form":1,"incidents":{},"runs":[],'
    '"wrong_codes":{"":["2026-11-23T09:00:00.000000Z","2026-11-23T09:00:00.000000Z"]},'
    '"wrong_pins":{"ruth":["2026-11-23T09:00:00.000000Z"]}}'
)


async def started(policy: str = POLICY) -> Governed:
    governed = Governed(policy)
    await governed.governor.start()
    return governed


async def copied(governed: Governed, size: int | None = None) -> Copy:
    return await Copy.of(governed.journal, TENANT, governed.journal.log[:size])


async def sealed(governed: Governed, policy: str = POLICY, charter: Charter | None = None) -> Governed:
    """The governor of the log that goes on, three minutes later."""
    copy = await copied(governed)
    opening = opening_of(TENANT, copy.log, copy.blob)
    governed.clock.advance(governed.clock.now() + (AT.replace(minute=3) - AT))
    journal = await next_log(TENANT, opening, governed.clock.now)
    after = Governed(policy, journal=journal, clock=governed.clock)
    if charter is not None:
        after.governor.reload(charter)
    await after.governor.start()
    await after.rest()
    return after


async def test_a_limit_does_not_begin_anew() -> None:
    governed = await started(LIMITED)
    await governed.hear("tendai", "run clean db1")
    await governed.hear("ruth", "a " + governed.question("ruth").variables["code"])
    await governed.after(0)
    assert len(governed.executors.ran) == 1
    after = await sealed(governed, LIMITED)
    await after.hear("ruth", "run clean db1")
    assert after.told("ruth")[-1] == "Not counted: limit: 1 runs in 1h, 1 are allowed."
    await after.after(3_600)
    await after.hear("ruth", "run clean db1")
    assert len(after.entries("PROPOSED")) == 1
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def test_an_incident_goes_on_up_the_ladder_and_recovers() -> None:
    governed = await started()
    await governed.fire("db1")
    await governed.hear("ruth", "r " + governed.question("ruth").variables["code"])
    assert governed.entries("REJECTED")
    after = await sealed(governed)
    (incident,) = after.desk.book.open.values()
    assert (incident.id, incident.opened_at) == (governed.entries("DETECTED")[0].incident_id, AT)
    await after.after(26 * 60)
    assert not after.entries("REMINDED")  # it was said three minutes before the seal
    await after.after(2 * 60)
    assert len(after.entries("REMINDED")) == 1
    assert not after.entries("PROPOSED")  # a person rejected it, and a seal changes nothing of that
    await after.fire("db1", firing=False)
    (recovered,) = after.entries("RECOVERED")
    assert recovered.incident_id == incident.id
    times = after.desk.book.incidents[incident.id].times.took
    assert {name: took.seconds for name, took in times.items()} == {"recover": 31 * 60}
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def test_an_explained_incident_is_asked_about_again_and_claude_is_not() -> None:
    """Its question expired in the former log: it comes again with the reminder, and cites OPENED for the diagnosis."""
    governed = await started()
    await governed.fire("db1")
    (consulted,) = governed.entries("CONSULTED")
    body: dict[str, Any] = {
        "summary": "a log grew",
        "likely_cause": "debug logging",
        "recommended_action": "clean",
        "claims": [],
    }
    tokens = dict.fromkeys(("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens"), 1)
    body |= {"duration_ms": 900, "usage": {**tokens, "cost_usd": "0.01"}, "model": "m"}
    said = Draft(
        "d", "DIAGNOSED", "claude", consulted.incident_id, settles=consulted.index, body=body, confidence="0.80"
    )
    await governed.desk.post(said)
    await governed.after(20 * 60)
    assert governed.entries("EXPIRED")
    after = await sealed(governed)
    await after.after(30 * 60)
    assert len(after.entries("REMINDED")) == 1
    (asked,) = after.entries("PROPOSED")
    assert asked.cites == (after.entries("DETECTED")[0].index, 0)
    assert not after.entries("CONSULTED")
    copy = await copied(after)
    taken_by_others(copy)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def test_whoever_is_suspended_stays_so() -> None:
    governed = await started()
    await GovernorChanges(governed.desk).suspend("root", "tendai", "the phone was stolen")
    await governed.rest()
    after = await sealed(governed)
    await after.fire("db1")
    assert [entry.body["approvers"] for entry in after.entries("PROPOSED")] == [["ruth"]]
    assert after.desk.book.enrolled.suspended == {"tendai": governed.desk.book.enrolled.suspended["tendai"]}
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def broken_again(governed: Governed) -> tuple[Any, ...]:
    """What becomes of an alert that comes now about the same host."""
    asked = len(governed.entries("PROPOSED"))
    await governed.fire("db1", since=governed.clock.now())
    await governed.after(0)
    body = governed.entries("DETECTED")[-1].body
    (incident,) = governed.desk.book.open.values()
    reopened = {name: value for name, value in body.get("reopened", {}).items() if name not in ("end", "value")}
    return (
        (body["title"], body.get("continues"), body.get("part"), reopened),
        (incident.tried, incident.people, incident.held_until),
        len(governed.entries("PROPOSED")) - asked,
    )


async def without_help() -> Governed:
    """An incident that recovered by itself, after an action that did not help."""
    governed = await started(REOPENED)
    await governed.fire("db1")
    await governed.hear("ruth", "a " + governed.question("ruth").variables["code"])
    await governed.after(301)
    assert governed.entries("UNCONFIRMED")
    await governed.fire("db1", firing=False)
    await governed.after(60)
    return governed


async def test_what_did_not_help_is_not_asked_again_when_it_breaks_again() -> None:
    control = await without_help()
    await control.after(180)
    governed = await without_help()
    (ended,) = governed.entries("RECOVERED")
    after = await sealed(governed, REOPENED)
    assert after.desk.book.incidents == {}
    went_on = await broken_again(after)
    assert went_on == await broken_again(control)
    assert went_on[0][1:3] == (ended.incident_id, 2)
    assert went_on[2] == 0
    assert after.entries("DETECTED")[-1].cites[1] == 0
    third = await sealed(after, REOPENED)
    assert [i.part for i in third.desk.book.open.values()] == [2]
    await third.fire("db1", firing=False)
    await third.after(60)
    assert (await broken_again(await sealed(third, REOPENED)))[0][2] == 3
    for each in (after, third):
        copy = await copied(each)
        taken_by_others(copy)
        assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


@pytest.mark.parametrize(("seconds", "carried"), [(REOPEN_WITHIN_MOST_SECONDS - 1, 1), (REOPEN_WITHIN_MOST_SECONDS, 0)])
async def test_what_no_policy_can_reopen_is_left_behind(seconds: int, carried: int) -> None:
    governed = await without_help()
    governed.clock.advance(governed.entries("RECOVERED")[0].timestamp + timedelta(seconds=seconds))
    await GovernorChanges(governed.desk).halt("root", "its time is that of the end of the log")
    copy = await copied(governed)
    (brought,) = opening_of(TENANT, copy.log, copy.blob).blobs
    assert len(read_state(brought.data).ended) == carried


async def test_an_episode_that_a_person_closed_opens_nothing_in_the_next_log() -> None:
    governed = await started()
    await governed.fire("db1")
    await governed.hear("ruth", "r " + governed.question("ruth").variables["code"])
    (detected,) = governed.entries("DETECTED")
    await GovernorChanges(governed.desk).close(detected.incident_id or "", "root", "the host is thrown away")
    await governed.after(60)
    after = await sealed(governed)
    await after.fire("db1")
    assert not after.entries("WATCHED")
    await after.fire("db1", since=after.clock.now())
    assert len(after.entries("DETECTED")) == 1
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def lock(governed: Governed, person: str, word: str, pin: str = "") -> None:
    """Until no try counts any more; then the incident ends, so that nothing is in flight."""
    for _ in range(max(PIN_TRIES, CODE_TRIES)):
        await governed.hear(person, word, pin=pin)
    await governed.fire(firing=False)
    await governed.after(60)


async def test_a_locked_pin_stays_locked_and_for_no_longer() -> None:
    governed = await with_pin("tendai")
    await lock(governed, "tendai", f"A {governed.question('tendai').variables['code']} 481517", "wrong")
    charter = governed.governor._given
    assert charter is not None
    after = await sealed(governed, RISKY, charter)
    await after.fire(since=after.clock.now())
    await after.hear("tendai", f"A {after.question('tendai').variables['code']} 481516", pin="right")
    assert [entry.body["why"] for entry in after.entries("REFUSED")] == ["PIN locked"]
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])
    book = governed.desk.book
    assert len(book.wrong_pins["tendai"]) == PIN_TRIES
    governed.clock.advance(book.wrong_pins["tendai"][-1] + PIN_WINDOW)
    await governed.fire("db2", since=governed.clock.now())
    opened = next(iter(opening_of(TENANT, (whole := await copied(governed)).log, whole.blob).blobs))
    assert not any(read_state(opened.data).tries.values())


async def test_whoever_sent_wrong_codes_stays_locked_and_for_no_longer() -> None:
    governed = await started()
    await governed.fire()
    await lock(governed, "ruth", "A YYYY")
    after = await sealed(governed)
    await after.fire(since=after.clock.now())
    await after.hear("ruth", "a " + after.question("ruth").variables["code"])
    assert not after.entries("APPROVED")
    await after.after(CODE_WINDOW.total_seconds())
    await after.fire("db2", since=after.clock.now())
    await after.hear("ruth", "a " + after.question("ruth").variables["code"])
    assert after.entries("APPROVED")
    copy = await copied(after)
    assert (differences(copy), [str(f) for f in findings(copy) if f.rule != "overdue"]) == ([], [])


async def test_a_start_without_what_opened_brings_is_refused() -> None:
    governed = await started(LIMITED)
    await governed.hear("tendai", "run clean db1")
    await governed.hear("ruth", "a " + governed.question("ruth").variables["code"])
    await governed.after(0)
    after = await sealed(governed, LIMITED)
    (named,) = after.journal.log[0].blobs
    del after.journal._blobs[named.digest]
    said = f"entry 0 carries forward from the sealed log cannot be read: the blob {named.digest} is missing"
    with pytest.raises(Broken, match=said):
        await Governed(LIMITED, journal=after.journal, clock=governed.clock).governor.start()
    copy = await copied(after)
    del copy.blobs[named.digest]
    with pytest.raises(ValueError, match=f"the blob {named.digest} is missing"):
        opening_of(TENANT, copy.log, copy.blob)
    assert next(str(found) for found in differences(copy)).endswith(f"ValueError('the blob {named.digest} is missing')")


async def test_a_drill_that_is_not_over_waits() -> None:
    governed = await started()
    await GovernorChanges(governed.desk).drill("root", "tendai")
    await governed.rest()
    copy = await copied(governed)
    (begun,) = (entry for entry in governed.entries("NOTED") if entry.body["kind"] == DRILL)
    assert opening_of(TENANT, copy.log, copy.blob).waits == (f"entry {begun.index}: the drill of tendai is not over",)


async def test_keys_that_wait_for_a_watch_are_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.governor.watching.KEYS_MAX", 1)
    governed = await started()
    await governed.fire("db1", "db2")
    (evaluated,) = governed.entries("EVALUATED")
    copy = await copied(governed, evaluated.index + 2)
    (line,) = opening_of(TENANT, copy.log, copy.blob).waits
    assert line == f"entry {evaluated.index}: more keys than may be watched at once wait for a watch"


async def test_what_people_have_not_been_told_is_not_left_behind() -> None:
    governed = await started()
    await governed.fire("db1")
    await governed.fire("db1", firing=False)
    copy = await copied(governed, governed.entries("RECOVERED")[0].index + 1)
    opening = opening_of(TENANT, copy.log, copy.blob)
    (incident,) = {entry.incident_id for entry in governed.entries("RECOVERED")}
    assert opening.waits[-1].endswith(f"RECOVERED of {incident}: people have not been told of it")
    whole = await copied(governed)
    assert opening_of(TENANT, whole.log, whole.blob).waits == ()


async def test_what_cannot_be_carried_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    governed = await started()
    await governed.fire("db1")
    copy = await copied(governed)
    policy = next(blob for entry in copy.log for blob in entry.blobs if blob.name == "policy")
    without = {digest: data for digest, data in copy.blobs.items() if digest != policy.digest}
    with pytest.raises(CannotCarry, match="the policy of entry 0 is missing"):
        opening_of(TENANT, copy.log, without.get)
    nothing = [replace(e, stage="NOTED", body={}) if e.stage == "ADOPTED" else e for e in copy.log]
    with pytest.raises(CannotCarry, match="which decides on what stands open, was not adopted"):
        opening_of(TENANT, nothing, copy.blob)
    monkeypatch.setattr(carrying, "CARRIED_MAX", 0)
    with pytest.raises(CannotCarry, match="1 halts, watches and incidents stand, and at most 0 can be carried"):
        opening_of(TENANT, copy.log, copy.blob)


async def test_a_log_in_which_nothing_was_done_hands_nothing_on() -> None:
    copy = await copied(await started())
    assert opening_of(TENANT, copy.log, copy.blob) == Opening()


def test_the_form_of_what_is_carried_is_the_first_and_no_other_is_read() -> None:
    key = (("host", "db1"),)
    proposal = Proposal(
        *(40, "inc-1", 0, {"action": "clean", "executor": "clean", "params": {}}, "", AT, AT, AT),
        approvals={"ruth": 55},
        outcome="AUTHORIZED",
        outcome_index=56,
        decided_by="ruth",
        authorization=56,
        dispatched=57,
        result="EXECUTED",
        result_index=58,
        verified="UNCONFIRMED",
    )
    incident = Incident("inc-1", 30, "disk", key, "", "", "", "", AT, "1", "d", told_at=AT, escalated=1, reminders=2)
    incident.proposals, incident.people, incident.called = [proposal], {"tendai", "ruth"}, {70}
    incident.tried_before = frozenset({"grow"})
    incident.consultations = [Consultation(40, AT, "DIAGNOSED", 41, {}, "0.80", {}, Standing(3, 2, 1))]
    known = KnownAlert(Alert("f", {"host": "db1"}, {}, True, AT, None), (("disk", key),))
    written = write_state([known], [Run("disk", key, AT, proposal)], [incident], 100)
    assert written.decode() == FORM_1
    read = read_state(written)
    assert (read.alerts["f"], [run.as_past() for run in read.runs]) == (
        known,
        [Run("disk", key, AT, proposal).as_past()],
    )
    incident.closed, incident.closed_at, incident.closed_with = "RECOVERED", AT, {"f": AT}
    tries = {"wrong_pins": {"ruth": [AT]}, "wrong_codes": {"": [AT, AT]}}
    written = write_state([], [], [], 100, tries=tries, ended=[incident])
    assert written.decode() == OPTIONAL
    read = read_state(written)
    assert (read.tries, read.ended[0].tried, read.ended[0].open) == (tries, {"clean", "grow"}, False)
    assert write_state([], [], [], 50, tries=read.tries, ended=read.ended) == written
    with pytest.raises(ValueError, match="form 2, and this version reads 1"):
        read_state(b'{"form":2}')
