"""An action that a person asks for, without an alert: others approve it, and everything else holds as for any."""

from __future__ import annotations

from typing import cast

import pytest

from ledger.journal import Journal
from policy_rules.loading import load
from receiver.auditor.reading import Reader
from receiver.auditor.replay import Replay
from receiver.auditor.report_text import markdown
from receiver.governor.changes import GovernorChanges
from receiver.governor.phrases import said as english
from receiver.incident.requested import Wanted, wanted
from receiver.papers import ChangeRefused, Words
from tests.receiver.governed import POLICY, Governed
from tests.simulation.audited import Copy

LIMITED = POLICY.replace("expires: 15m}", "expires: 15m, limit: {max: 1, per: 1h}, verify: {within: 5m}}")
TWO = """\
policy: {name: p, version: '1'}
rules:
  - name: disk
    matchers: ['alertname="DiskFilling"']
    group_by: [host, mount]
    recover: {when: [alerts.firing == 0]}
    actions:
      clean: {executor: clean, title: remove old files, approvers: {roles: [oncall, leads]}}
      grow: {executor: grow, title: grow the disk, approvers: {roles: [leads]}}
  - name: cache
    matchers: ['alertname="CacheFull"']
    group_by: [service]
    recover: {when: [alerts.firing == 0]}
    actions:
      Clean: {executor: clean, title: empty the cache, approvers: {roles: [oncall]}}
      drain: {executor: drain, title: drain, approvers: {roles: [oncall]}}
"""


async def started(policy: str = POLICY, **people: tuple[str, ...]) -> Governed:
    governed = Governed(policy, people or {"tendai": ("oncall",), "ruth": ("leads",)})
    await governed.governor.start()
    return governed


def stages(governed: Governed) -> str:
    skipped = {"OPENED", "ADOPTED", "ADDRESSED", "SENT", "DELIVERED", "HEARD", "HEEDED", "REFUSED"}
    return " ".join(entry.stage for entry in governed.journal.log if entry.stage not in skipped)


def last(governed: Governed, person: str) -> str:
    return governed.told(person)[-1]


async def approves(governed: Governed, person: str) -> None:
    await governed.hear(person, "a " + governed.question(person).variables["code"])


async def differences(governed: Governed) -> tuple[list[str], Replay]:
    """Every verdict, decided again from the log alone."""
    replay = Replay(await Copy.of(cast(Journal, governed.journal), "default", governed.journal.log))
    return [str(difference) for difference in replay.differences()], replay


async def test_others_are_asked_and_it_runs_once_and_ends_by_itself() -> None:
    governed = await started()
    heard = await governed.hear("tendai", "RUN clean db1")
    assert last(governed, "tendai").startswith("Asked for: the others are asked now. inc-")
    (asks,) = governed.entries("NOTED")
    assert (asks.actor, asks.cites) == ("engineer:tendai", (heard.index,))
    assert asks.body == {"kind": "request", "rule": "disk", "action": "clean", "key": {"host": "db1"}}
    (detected,) = governed.entries("DETECTED")
    assert (detected.actor, detected.decision) == ("policy", "request")
    (proposed,) = governed.entries("PROPOSED")
    assert (proposed.body["approvers"], proposed.body["requested_by"]) == (["ruth"], "tendai")
    assert governed.question("ruth").variables["diagnosis"] == "none: tendai asks for this by hand"
    await approves(governed, "ruth")
    await governed.after(0)
    assert stages(governed) == (
        "NOTED WATCHED DETECTED PROPOSED APPROVED AUTHORIZED DISPATCHED EXECUTED CONFIRMED RECOVERED"
    )
    assert len(governed.executors.ran) == 1
    assert not governed.desk.book.open
    await governed.after(7200)
    assert len(governed.entries("PROPOSED")) == 1
    assert "Recovered, says policy" in last(governed, "tendai")
    found, replay = await differences(governed)
    assert found == []
    assert replay.verdicts["DETECTED"] == 1
    report = await Reader(governed.journal).report("default", detected.incident_id or "")
    assert report is not None
    assert "asked for by hand, by tendai: no alert opened it" in markdown(report)


async def test_whoever_asks_cannot_approve() -> None:
    governed = await started()
    await governed.hear("tendai", "run clean db1")
    code = governed.question("ruth").variables["code"]
    await governed.hear("tendai", f"a {code}")
    assert governed.entries("REFUSED")[-1].body["why"] == "wrong code"
    assert not governed.entries("AUTHORIZED")


async def test_with_nobody_else_it_is_refused_with_the_reason() -> None:
    governed = await started(tendai=("oncall",), john=("support",))
    await governed.hear("tendai", "run clean db1")
    assert last(governed, "tendai") == "Not counted: 1 must approve, and only 0 can."
    assert stages(governed) == ""
    # Somebody who may approve nothing may ask.
    await governed.hear("john", "run clean db1")
    assert governed.entries("PROPOSED")[0].body["approvers"] == ["tendai"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("run", None),  # a bare word is none of ours
        ("run everything", "there is no action everything; there are clean host."),
        ("run clean", "disk needs host: one value each."),
        ("run clean db1 db2", "disk needs host: one value each."),
        ("run clean host=", "disk needs host."),
        ("run disk/clean db1", ""),
        ("run DISK/Clean host=db1", ""),
        ("run other/clean db1", "there is no action other/clean; there are clean host."),
    ],
)
async def test_the_words(words: str, reason: str | None) -> None:
    governed = await started()
    await governed.hear("tendai", words)
    if reason is None:
        assert last(governed, "tendai").startswith("I take:")
    elif reason:
        assert last(governed, "tendai") == f"Not counted: {reason}"
    assert len(governed.entries("PROPOSED")) == (reason == "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("grow db1 /var", Wanted("disk", "grow", {"host": "db1", "mount": "/var"})),
        ("grow mount=/var db1", Wanted("disk", "grow", {"host": "db1", "mount": "/var"})),
        ("RUN: grow db1 x=y", Wanted("disk", "grow", {"host": "db1", "mount": "x=y"})),
        ("clean wallet", Wanted("cache", "Clean", {"service": "wallet"})),
        ("cache/clean Wallet", Wanted("cache", "Clean", {"service": "Wallet"})),
        ("drain", "cache needs service: one value each"),
        ("clean a b c", "disk needs host mount: one value each"),
        (" ".join("x" * 13), "say RUN, an action and its key: clean host mount, "),
    ],
)
def test_words_become_an_action_of_a_rule_for_a_key(text: str, found: Wanted | str) -> None:
    said = wanted(load(TWO, file="p.yml", environment={}), text)
    assert said == found or (isinstance(said, Words) and english("en", said).startswith(str(found)))


async def test_two_rules_that_fit_are_told_apart() -> None:
    policy = TWO.replace("group_by: [service]", "group_by: [service, zone]")
    said = wanted(load(policy, file="p.yml", environment={}), "clean a b")
    assert isinstance(said, Words)
    assert english("en", said) == "several rules have it: say one of disk/clean, cache/clean"


async def test_a_rejection_an_expiry_and_a_failure_end_it_and_ask_nobody_again() -> None:
    governed = await started()
    await governed.hear("tendai", "run clean db1")
    await governed.hear("ruth", "r " + governed.question("ruth").variables["code"])
    assert stages(governed).endswith("PROPOSED DECLINED REJECTED CLOSED")
    closed = governed.entries("CLOSED")[0]
    assert (closed.actor, closed.reason) == ("policy", "tendai asked for it by hand: rejected by ruth")
    assert last(governed, "tendai").startswith(
        "clean host=db1: It is over: tendai asked for it by hand: rejected by ruth."
    )
    await governed.hear("tendai", "run clean db1")
    await governed.after(901)
    assert governed.entries("CLOSED")[1].reason == "tendai asked for it by hand: nobody decided in time"
    await governed.after(7200)
    assert len(governed.entries("PROPOSED")) == 2
    assert not governed.entries("REMINDED")
    assert not governed.entries("ESCALATED")
    assert (await differences(governed))[0] == []


async def test_limits_halts_and_suspensions_hold() -> None:
    governed = await started(LIMITED)
    await governed.hear("tendai", "run clean db1")
    await approves(governed, "ruth")
    await governed.after(0)
    await governed.hear("ruth", "run clean db1")
    assert last(governed, "ruth") == "Not counted: limit: 1 runs in 1h, 1 are allowed."
    await governed.hear("ruth", "run clean db2")  # another key
    assert len(governed.entries("PROPOSED")) == 2
    await governed.hear("tendai", "halt now")
    await governed.hear("tendai", "run clean db3")
    assert last(governed, "tendai") == "Not counted: halted: nothing is dispatched."
    # What was asked for before stays open, is approved, and is not run while the halt stands.
    await approves(governed, "tendai")
    assert len(governed.executors.ran) == 1
    await governed.hear("ruth", "resume")
    await governed.after(3)
    assert len(governed.executors.ran) == 2
    assert (await differences(governed))[0] == []


async def test_one_question_at_a_time_about_one_thing() -> None:
    governed = await started()
    await governed.hear("tendai", "run clean db1")
    first = governed.entries("DETECTED")[0].incident_id
    await governed.hear("ruth", "run clean db1")
    assert last(governed, "ruth") == f"Not counted: tendai asked for it already: {first}."
    # An alert opens an incident of its own, which asks from then on.
    await governed.fire("db1")
    assert governed.entries("WITHDRAWN")[0].reason.startswith("an alert opened inc-")
    assert governed.entries("CLOSED")[0].incident_id == first
    (alert,) = governed.desk.book.open.values()
    assert alert.requested_by == ""
    assert governed.entries("PROPOSED")[-1].body["approvers"] == ["ruth", "tendai"]
    await governed.hear("ruth", "run clean db1")
    assert last(governed, "ruth").startswith(f"Not counted: {alert.id} is open about it and has its own question")
    # Once nobody is asked in it any more, somebody may ask by hand, and the alert's incident waits meanwhile.
    await governed.hear("ruth", "r " + governed.question("ruth").variables["code"])
    await governed.hear("ruth", "run clean db1")
    assert governed.entries("PROPOSED")[-1].body["requested_by"] == "ruth"
    await governed.after(300)
    assert governed.entries("PROPOSED")[-1].body["requested_by"] == "ruth"
    assert (await differences(governed))[0] == []


async def test_what_the_rule_calls_recovered_must_follow_the_run() -> None:
    policy = POLICY.replace("alerts.firing == 0", "alerts.resolved >= 1").replace(
        "expires: 15m}", "verify: {within: 5m}}"
    )
    governed = await started(policy)
    await governed.hear("tendai", "run clean db1")
    await approves(governed, "ruth")
    await governed.after(301)
    assert stages(governed).endswith("EXECUTED LOOKED UNCONFIRMED CLOSED")
    assert "did not come in time" in governed.entries("CLOSED")[0].reason


async def test_a_restart_between_the_request_and_the_question_asks_it() -> None:
    governed = await started()
    made = await GovernorChanges(governed.desk).request("tendai", "clean db1")
    assert [entry.stage for entry in made.entries] == ["NOTED", "WATCHED", "DETECTED"]
    again = Governed(journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    await again.rest()
    assert [m.recipient.name for m in again.outside.messages if m.token is not None] == ["ruth"]


async def test_an_alert_that_asks_before_the_request_was_put_takes_its_place() -> None:
    """The process died before the question by hand was posted; meanwhile an alert opened an incident, which asks."""
    governed = await started()
    made = await GovernorChanges(governed.desk).request("tendai", "clean db1")
    by_hand = made.entries[-1]
    governed.desk.defer(f"propose:{by_hand.index}", 60)
    await governed.fire("db1")
    (proposed,) = governed.entries("PROPOSED")
    assert proposed.incident_id != by_hand.incident_id
    await governed.after(61)
    assert len(governed.entries("PROPOSED")) == 1
    (closed,) = governed.entries("CLOSED")
    assert closed.incident_id == by_hand.incident_id
    assert closed.reason.endswith(f"{proposed.incident_id} is about the same, and is asked about")
    assert (await differences(governed))[0] == []


async def test_two_actions_for_one_thing_are_not_asked_for_at_once() -> None:
    governed = await started(TWO)
    await governed.hear("ruth", "run clean db1 /var")
    first = governed.entries("DETECTED")[0].incident_id
    await governed.hear("tendai", "run grow db1 /var")
    assert last(governed, "tendai") == f"Not counted: ruth asked for clean already: {first}."
    await governed.hear("tendai", "run grow db1 /srv")
    assert last(governed, "tendai").startswith("Asked for")
    await approves(governed, "tendai")
    await governed.after(0)
    assert len(governed.entries("DISPATCHED")) == 1


async def test_nothing_is_asked_for_before_the_question_of_an_alert_that_is_about_to_be_put() -> None:
    """Otherwise that one would wait, and nobody would hear of its incident."""
    governed = await started(POLICY.replace("diagnosis_wait: 0s", "diagnosis_wait: 10s"))
    await governed.fire("db1")
    (alert,) = governed.desk.book.open.values()
    await governed.hear("tendai", "run clean db1")
    assert last(governed, "tendai") == f"Not counted: {alert.id} is open about it, and its own question comes at once."
    await governed.after(11)
    assert governed.entries("PROPOSED")[0].incident_id == alert.id


async def test_who_must_hear_of_an_incident_hears_of_it_while_a_question_by_hand_is_open() -> None:
    """Muted until the night is over, and somebody asks by hand meanwhile."""
    night = """mute: [{matchers: ['severity="critical"'], during: [night]}]
time_intervals: [{name: night, time_intervals: [{times: [{start_time: '08:00', end_time: '09:05'}]}]}]
"""
    governed = await started(POLICY + night)
    await governed.fire("db1")
    (alert,) = governed.desk.book.open.values()
    assert (alert.muted, alert.told_at) == (True, None)
    await governed.hear("tendai", "run clean db1")
    (asked,) = governed.entries("PROPOSED")
    assert asked.body["requested_by"] == "tendai"
    await governed.after(301)
    assert alert.told_at is not None
    assert len(governed.entries("PROPOSED")) == 1
    assert f"tendai asks for it by hand in {asked.incident_id}" in last(governed, "tendai")
    assert (await differences(governed))[0] == []


async def test_through_the_service_it_takes_a_person_of_the_roster() -> None:
    governed = await started()
    changes = GovernorChanges(governed.desk)
    with pytest.raises(ChangeRefused, match="root is not in the roster"):
        await changes.request("root", "clean db1")
    with pytest.raises(ChangeRefused, match="there is no action reboot"):
        await changes.request("tendai", "reboot db1")
    await changes.suspend("root", "tendai", "on leave")
    await governed.rest()
    with pytest.raises(ChangeRefused, match="tendai is not in the roster, or is suspended"):
        await changes.request("tendai", "clean db1")
    assert not governed.entries("DETECTED")


async def test_a_person_may_close_it_with_a_reason() -> None:
    governed = await started()
    await governed.hear("tendai", "run clean db1")
    (incident,) = governed.desk.book.open.values()
    await GovernorChanges(governed.desk).close(incident.id, "tendai", "not needed any more")
    await governed.rest()
    assert stages(governed).endswith("PROPOSED WITHDRAWN CLOSED")
    assert governed.entries("CLOSED")[0].actor == "engineer:tendai"
