"""What people are told of what was explained, when Claude is asked, and what its word is worth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from policy_rules.readings import Query, Reading
from receiver.authorization.templates import BODY_UNITS
from receiver.authorization.wording import units_of
from receiver.governor.explained import LONG_UNITS
from receiver.governor.wording import LINE_UNITS
from receiver.incident.consulting import FOLLOW_UPS_MAX
from receiver.incident.past import PAST_MAX
from receiver.papers import CaseFile, Claim, Diagnosis, Exhibit, Gathered, Inquiry, NoDiagnosis, Usage
from tests.receiver.governed import NOW, Governed

POLICY = """\
policy: {name: p, version: '1'}
rules:
  - name: disk
    matchers: ['alertname="DiskFilling"']
    group_by: [host]
    recover: {when: [alerts.firing == 0]}
    diagnosis_wait: 10s
    actions:
      clean: {executor: clean, title: remove old files, approvers: {roles: [oncall]}, verify: {within: 5m}}
      grow: {executor: grow, title: grow the disk, approvers: {roles: [oncall]}, verify: {within: 5m}}
"""
DIAGNOSIS = Diagnosis(
    summary="The disk fills because a replication slot holds the log",
    likely_cause="a slot that nobody reads",
    claims=(Claim("the log of slot reports grew to 38 GB", ("q2",)), Claim("the disk is at 97", ("q1", "q2"))),
    recommended_action="clean",
    confidence="0.80",
    falsified_by="the slot is read, or the log is small",
    dropped_claims=1,
    model="claude-x",
    request_id="req_1",
    usage=Usage(1200, 300, 0, 900, "0.005400"),
    duration_seconds=2.5,
    prompt='{"model":"claude-x"}',
    answer='{"summary":"…"}',
)


def moved(name: str, minutes: int, **labels: str) -> Exhibit:
    at = (NOW - timedelta(minutes=minutes)).isoformat(timespec="seconds")
    values = {"now": "19", "before": "3", "z": "8.2", "moved_at": at}
    return Exhibit("", name, f"{{__name__={name!r}}}", NOW, values, kind="candidate", labels=labels)


@dataclass
class Surroundings:
    """What Prometheus would say: nothing that policy reads, and what moved around the incident."""

    found: Gathered = field(default_factory=Gathered)
    asked: list[Inquiry] = field(default_factory=list)
    waits: asyncio.Event | None = None

    async def ask(self, queries: Sequence[Query], **how: float) -> tuple[Reading, ...]:
        raise AssertionError("this policy reads nothing")

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        self.asked.append(inquiry)
        if self.waits is not None:
            await self.waits.wait()
        return self.found


@dataclass
class Claude:
    """Answers each question with the next of `answers`, at once; the last one for good. None: not at all."""

    answers: list[Diagnosis | NoDiagnosis | None]
    cases: list[CaseFile] = field(default_factory=list)

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        self.cases.append(case)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer


NO_KEY = NoDiagnosis("no_key", "diagnosis.api_key is not set")


class Clinic(Governed):
    """A governor with a Claude and a Prometheus that say what a test has them say."""

    def __init__(self, *answers: Diagnosis | NoDiagnosis | None, found: Gathered | None = None) -> None:
        super().__init__(POLICY)
        self.claude = Claude(list(answers))
        self.prometheus = Surroundings(found or Gathered(candidates=(moved("wal_bytes", 7, slot="reports"),)))
        self.desk.diagnostician, self.desk.evidence = self.claude, self.prometheus
        self.desk.model = "claude-x"

    async def rest(self) -> None:
        """Until nothing is due and nothing is under way but questions that nobody answers."""
        quiet = 0
        while quiet < 3:
            taken, _ = await self.governor.turn()
            for _ in range(6):
                await asyncio.sleep(0)
            quiet = 0 if taken else quiet + 1

    async def broken(self, host: str = "db1") -> Any:
        await self.fire(host, since=self.clock.now())
        return next(reversed(self.desk.book.incidents.values()))

    async def approve(self) -> None:
        await self.hear("tendai", "a " + self.question("tendai").variables["code"])

    async def over(self, host: str = "db1") -> None:
        await self.after(60)
        await self.fire(host, firing=False)
        await self.after(60)


@pytest.fixture
async def told() -> Any:
    made: list[Clinic] = []

    async def begin(*answers: Diagnosis | NoDiagnosis | None, found: Gathered | None = None) -> Clinic:
        clinic = Clinic(*answers, found=found)
        await clinic.governor.start()
        made.append(clinic)
        return clinic

    yield begin
    for clinic in made:
        for task in clinic.governor._running.values():
            task.cancel()
        await clinic.governor.drain()


# --- without Claude --------------------------------------------------------------------------------------------------


async def test_without_a_key_what_moved_first_is_the_message_and_it_says_so(told: Any) -> None:
    clinic = await told(NO_KEY)
    await clinic.broken()
    said = clinic.question("tendai").variables["diagnosis"]
    assert said == "no diagnosis: no key; what moved first: wal_bytes slot=reports 3 → 19, 7 min before"


async def test_where_nothing_moved_that_is_said(told: Any) -> None:
    clinic = await told(NoDiagnosis("overloaded", "529"), found=Gathered(cut=("no prometheus is configured",)))
    await clinic.broken()
    said = clinic.question("tendai").variables["diagnosis"]
    assert said == "no diagnosis: overloaded; nothing was found that moved"


async def test_a_model_that_takes_its_time_delays_no_question_beyond_the_rules_wait(told: Any) -> None:
    clinic = await told(None)
    await clinic.broken()
    assert clinic.outside.messages == []
    await clinic.after(10)
    said = clinic.question("tendai").variables["diagnosis"]
    assert said.startswith("no diagnosis yet: it is still being made; what moved first: wal_bytes")


async def test_a_prometheus_that_hangs_delays_no_question_beyond_the_rules_wait(told: Any) -> None:
    clinic = await told(NO_KEY)
    clinic.prometheus.waits = asyncio.Event()
    await clinic.broken()
    await clinic.after(10)
    assert clinic.entries("CONSULTED") == []
    assert clinic.question("tendai").variables["diagnosis"] == "no diagnosis yet: it is still being made"


async def test_an_incident_that_ends_while_its_case_is_gathered_is_not_explained(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    clinic.prometheus.waits = asyncio.Event()
    await clinic.broken()
    await clinic.over()
    assert len(clinic.entries("RECOVERED")) == 1
    clinic.prometheus.waits.set()
    await clinic.rest()
    assert clinic.entries("CONSULTED") == []
    assert clinic.claude.cases == []


async def test_long_names_and_many_candidates_stay_within_the_template(told: Any) -> None:
    crowd = tuple(moved("m" * 300, at, pod="p" * 300) for at in range(10))
    clinic = await told(NO_KEY, found=Gathered(candidates=crowd, cut=("c" * 500,) * 40))
    incident = await clinic.broken()
    said = clinic.question("tendai").variables["diagnosis"]
    assert units_of(said) <= LINE_UNITS < BODY_UNITS
    (consulted,) = clinic.entries("CONSULTED")
    assert len(consulted.raw) < 16_000
    await clinic.hear("ruth", f"detail {incident.id}")
    assert units_of(clinic.told("ruth")[-1]) < 1_000


async def test_text_from_outside_that_is_no_text_is_booked_all_the_same(told: Any) -> None:
    odd = moved("\ud800 <b>\u202e\x00", 3, pod="\udfff")
    clinic = await told(NO_KEY, found=Gathered(candidates=(odd,), cut=("\ud800",)))
    await clinic.broken()
    (consulted,) = clinic.entries("CONSULTED")
    assert consulted.body["case"]["moved"][0]["what"] == "<b> pod="


# --- what is in the case ---------------------------------------------------------------------------------------------


async def test_a_candidate_of_the_configuration_takes_the_labels_of_the_incident(told: Any) -> None:
    clinic = await told(NO_KEY)
    clinic.desk.candidates = ('disk_io{host="$host"}', 'queue{topic="$topic"}')
    clinic.desk.deploys = ('version{host="$host"}',)
    await clinic.broken('db"1')
    (inquiry,) = clinic.prometheus.asked
    assert inquiry.candidates == ('disk_io{host="db\\"1"}',)
    assert inquiry.deploys == ('version{host="db\\"1"}',)
    assert inquiry.labels == {"alertname": "DiskFilling", "host": 'db"1', "severity": "critical"}
    (case,) = clinic.claude.cases
    assert case.cut == ('diagnosis.candidates: queue{topic="$topic"}: the incident has no topic',)


async def test_other_alerts_and_former_incidents_are_shown(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    await clinic.broken()
    await clinic.approve()
    await clinic.over()
    await clinic.broken("db2")
    await clinic.broken("db1")
    case = clinic.claude.cases[-1]
    kinds = {kind: [one for one in case.exhibits if one.kind == kind] for kind in ("alert", "incident")}
    assert [one.labels["host"] for one in kinds["alert"]] == ["db2"]
    former, worth = kinds["incident"]
    assert former.values["approved_1"] == "clean: confirmed"
    assert former.values["ended"] == "recovered"
    assert "tendai" not in str(former)
    assert worth.values == {"made": "1", "tried": "1", "confirmed": "1"}


# --- once more -------------------------------------------------------------------------------------------------------


async def test_claude_is_asked_once_more_when_an_action_did_not_help(told: Any) -> None:
    clinic = await told(DIAGNOSIS, replace(DIAGNOSIS, summary="It is something else", recommended_action="grow"))
    incident = await clinic.broken()
    await clinic.approve()
    assert len(clinic.claude.cases) == 1
    await clinic.after(5 * 60 + 1)  # the disk fills on: UNCONFIRMED
    assert len(clinic.entries("UNCONFIRMED")) == 1
    first, second = clinic.claude.cases
    assert (first.follow_up, second.follow_up) == (False, True)
    (tried,) = [one for one in second.exhibits if one.kind == "tried"]
    assert tried.title == "tried and did not help: remove old files"
    assert tried.values == {"action": "clean", "result": "unconfirmed"}
    assert clinic.entries("CONSULTED")[-1].reason == "claude-x is asked again: an action did not help"
    assert any("It is something else" in text for text in clinic.told("tendai"))
    # The next action does not help either: two are enough.
    await clinic.approve()
    await clinic.after(5 * 60 + 1)
    assert len(clinic.entries("UNCONFIRMED")) == 2
    assert len(incident.consultations) == 1 + FOLLOW_UPS_MAX == len(clinic.claude.cases)


async def test_an_action_that_helped_asks_for_no_more(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    await clinic.broken()
    await clinic.approve()
    await clinic.over()
    await clinic.after(3_600)
    assert len(clinic.entries("CONSULTED")) == 1


async def test_an_action_that_failed_asks_once_more(told: Any) -> None:
    clinic = await told(NO_KEY)
    clinic.outside.executor = "fails"
    await clinic.broken()
    await clinic.approve()
    await clinic.rest()
    assert len(clinic.entries("FAILED")) == 1
    assert len(clinic.entries("CONSULTED")) == 2


# --- what its word is worth, and the longer form ---------------------------------------------------------------------


async def test_beside_its_confidence_stands_what_its_earlier_diagnoses_were_worth(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    said = []
    for helps in (True, False, True):
        await clinic.broken()
        said.append(clinic.question("tendai").variables["diagnosis"])
        await clinic.approve()
        await clinic.after(1 if helps else 5 * 60 + 1)
        await clinic.over()
        await clinic.after(3_600)
    await clinic.broken()
    said.append(clinic.question("tendai").variables["diagnosis"])
    own = f"{DIAGNOSIS.summary} (model's own confidence 0.80"
    assert said[0] == f"{own})"
    assert said[1] == f"{own}; 1 of 1 earlier ones confirmed)"
    # The second was asked again in its incident, and named the action that had not helped before.
    assert said[3] == f"{own}; 2 of 3 earlier ones confirmed)"


async def test_of_another_key_nothing_is_said(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    await clinic.broken()
    await clinic.approve()
    await clinic.over()
    await clinic.broken("db2")
    assert "earlier" not in clinic.question("tendai").variables["diagnosis"]


async def test_a_long_summary_leaves_room_for_what_it_is_worth(told: Any) -> None:
    clinic = await told(replace(DIAGNOSIS, summary="word " * 60))
    await clinic.broken()
    said = clinic.question("tendai").variables["diagnosis"]
    assert said.endswith("… (model's own confidence 0.80)")
    assert units_of(said) <= LINE_UNITS


async def test_why_and_detail_give_the_claims_the_readings_and_what_would_falsify_them(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    incident = await clinic.broken()
    for word in ("why", "detail"):
        await clinic.hear("ruth", f"{word} {incident.id}")
        text = clinic.told("ruth")[-1]
        assert "Claude: The disk fills because a replication slot holds the log (model's own confidence 0.80)" in text
        assert "the log of slot reports grew to 38 GB [q2]" in text
        assert "Read: q2 wal_bytes slot=reports 19; q1 what policy found" in text
        assert "Wrong if: the slot is read, or the log is small" in text
    # Whoever may answer gets the question again, and the longer form beside it.
    await clinic.hear("tendai", "detail")
    assert any("Wrong if" in text for text in clinic.told("tendai")[-2:])


async def test_the_longer_form_without_a_diagnosis_says_what_moved_and_what_was_not_looked_at(told: Any) -> None:
    found = Gathered(candidates=tuple(moved(f"m{at}", at) for at in range(1, 9)), cut=("the server is large",))
    clinic = await told(NO_KEY, found=found)
    incident = await clinic.broken()
    await clinic.hear("ruth", f"why {incident.id}")
    text = clinic.told("ruth")[-1]
    assert "no diagnosis: no key; what moved first: m1 3 → 19, 1 min before; m2" in text
    assert "m5" in text
    assert "m6" not in text
    assert text.endswith("Not looked at: the server is large.")
    assert units_of(text) <= LONG_UNITS * 2


async def test_every_diagnosis_stands_in_the_ledger_with_prompt_model_usage_cost_and_duration(told: Any) -> None:
    clinic = await told(DIAGNOSIS)
    await clinic.broken()
    (entry,) = clinic.entries("DIAGNOSED")
    assert {blob.name for blob in entry.blobs} == {"prompt", "answer"}
    assert entry.body["model"] == "claude-x"
    assert entry.body["usage"]["cost_usd"] == "0.005400"
    assert entry.body["duration_ms"] == 2_500
    (consulted,) = clinic.entries("CONSULTED")
    assert [blob.name for blob in consulted.blobs] == ["case"]


async def test_of_many_former_incidents_the_last_five_are_shown_the_newest_first(told: Any) -> None:
    clinic = await told(NO_KEY)
    for _ in range(7):
        await clinic.broken()
        await clinic.over()
        await clinic.after(3_600)
    incident = await clinic.broken()
    shown = [one for one in clinic.claude.cases[-1].exhibits if one.kind == "incident"]
    former = [one.opened_at for one in clinic.desk.book.incidents.values() if one is not incident]
    assert [one.taken_at for one in shown] == former[: -PAST_MAX - 1 : -1]
    assert len(shown) == PAST_MAX
