"""The report on an incident: from the ledger alone, the same offline and as the service says, times from one place."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from receiver.__main__ import counterfoil
from receiver.auditor.reading import Reader
from receiver.auditor.report import Report
from receiver.auditor.report_text import first, markdown
from receiver.auditor.timeline import report as report_on
from receiver.governor.changes import GovernorChanges
from receiver.incident.times import STEPS
from receiver.metrics import INCIDENT_STEPS, Metrics
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.running import TENANT, _Run, roster_for
from tests.ledger.house import ENVIRONMENT, House
from tests.receiver.governed import Governed
from tests.receiver.insider import house
from tests.receiver.test_explanation import SHOWN
from tests.receiver.test_replay import entry_of, story


def reports(file: str, case: int) -> list[Report]:
    """Of every incident of one of the shown cases, the oldest oldest."""
    found = read_cases((SHOWN / file).read_bytes(), file)
    book = load((SHOWN / found.policy).read_text(), file=found.policy, environment={})

    async def run() -> list[Report]:
        played = _Run(found.cases[case], book, found.people or roster_for(found.cases[case], book))
        await played.run()
        reader = Reader(played.journal)
        views, _ = await reader.incidents(TENANT, before=10**9, limit=100)
        made = [await reader.report(TENANT, view.id) for view in reversed(views)]
        return [report for report in made if report is not None]

    return asyncio.run(run())


def run(found: House, *words: str) -> Result:
    return CliRunner(env=ENVIRONMENT).invoke(counterfoil, ["incident", *words, "--config", str(found.config)])


def test_what_did_not_help_is_told_with_who_approved_it_and_how_long_each_part_took() -> None:
    oldest = reports("breaker.cases.yml", 0)[0]
    assert oldest.times == {"detect": 0.0, "notify": 10.0, "decide": 50.0, "execute": 0.0, "recover": 240.0}
    (attempt,) = oldest.attempts
    assert (attempt.action, attempt.outcome, attempt.helped) == ("restart", "UNCONFIRMED", "no")
    assert [line.stage for line in attempt.course] == [
        "APPROVED",
        "AUTHORIZED",
        "DISPATCHED",
        "EXECUTED",
        "UNCONFIRMED",
    ]
    assert {line.actor for line in oldest.people} == {"engineer:tendai"}
    assert [(row.name, row.value, row.compared) for row in oldest.opened.readings] == [
        ("error_ratio", "0.06", ">= 0.05")
    ]
    assert oldest.ended is not None
    assert [row.value for row in oldest.ended.readings] == ["0.01"]
    text = markdown(oldest)
    assert "| to recover: from the incident to policy's word | 4 min 0 s | 21 |" in text
    assert "| error_ratio | 0.06 | >= 0.05 | yes |" in text
    assert "- did it help: no" in text


def test_what_is_open_has_no_times_that_did_not_end() -> None:
    last = reports("breaker.cases.yml", 0)[-1]
    assert (last.times["decide"], last.times["recover"], last.ended) == (None, None, None)
    assert [attempt.helped for attempt in last.attempts] == ["it did not run"]
    text = markdown(last)
    assert "| did not end |" in text
    assert "It is still open." in text
    assert "No person decided anything." in text


def test_what_broke_again_is_one_incident_and_says_so() -> None:
    found = reports("reopen.cases.yml", 0)
    assert len(found) == 2
    for number, report in enumerate(found):
        assert [part.incident_id for part in report.parts] == [one.view.id for one in found]
        assert f"{number + 1}. `{report.view.id}` (this report)" in markdown(report)
        assert "It broke again: one incident in 2 parts" in markdown(report)
    assert reports("breaker.cases.yml", 0)[0].parts[1:] == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[here](https://x.example)", r"\[here\](https\://x.example)"),
        ("# no\nheading", r"\# no heading"),
        ("- no point", r"\- no point"),
        ("1. no list, 12", r"1\. no list, 12"),
        ("<b>&lt;</b>", r"\<b>\&lt;\</b>"),
        ("a|b", r"a\|b"),
        ("`code` *bold* _soft_ ~~gone~~", r"\`code\` \*bold\* \_soft\_ \~\~gone\~\~"),
        ("error_ratio 0.06 >= 0.05", "error_ratio 0.06 >= 0.05"),
        ("me@x.example www.x.example $x$", r"me\@x.example www\.x.example \$x\$"),
        ("\u202egnp\x1b", r"\\u202egnp\\u001b"),
    ],
)
def test_text_from_outside_stays_text(text: str, told: str) -> None:
    assert first(text) == told


def test_the_file_is_enough_and_says_what_the_service_says(tmp_path: Path) -> None:
    found = house(tmp_path, story())
    incident = entry_of("DETECTED").incident_id or ""
    result = run(found, "report", incident)
    assert result.exit_code == 0, result.output
    asked = run(found, "report", incident, "--format", "json")
    data = json.loads(asked.output)

    async def read() -> Report | None:
        log = story().log
        served = MemoryJournal(log[0].tenant_id, lambda: log[-1].timestamp)
        served.log = list(log)
        return await report_on(served, served.log[0].tenant_id, incident, log[-1])

    report = asyncio.run(read())
    assert report is not None
    same: dict[str, Any] = json.loads(json.dumps(report.to_json()))
    assert {k: v for k, v in data.items() if k not in ("ledger", "tenant")} == {
        k: v for k, v in same.items() if k not in ("ledger", "tenant")
    }
    assert data["state"] == "recovered"
    assert set(data["times"]) == set(STEPS)
    assert data["attempts"][0]["helped"] == "yes"
    assert data["attempts"][0]["quorum"] == 2
    for index in data["ended_by"].values():
        assert f"| {index} |" in result.output


def test_as_it_stood_then(tmp_path: Path) -> None:
    found = house(tmp_path, story())
    incident, asked = entry_of("DETECTED").incident_id or "", entry_of("PROPOSED")
    data = json.loads(run(found, "report", incident, "--format", "json", "--at", str(asked.index)).output)
    assert (data["last"], data["state"], data["times"]["decide"]) == (asked.index, "proposed", None)
    assert run(found, "report", incident, "--at", "3").exit_code == 2
    nothing = run(found, "report", "inc-none")
    said = "there is no incident inc-none of default: `counterfoil incident list --all` has them"
    assert (nothing.exit_code, nothing.stderr) == (2, f"counterfoil: {said}\n")


def observed(metrics: Metrics) -> dict[str, tuple[float, float]]:
    """Count and sum, by step."""
    family = next(f for f in metrics.registry.collect() if f.name == "counterfoil_incident_step_seconds")
    found: dict[str, dict[str, float]] = {}
    for sample in family.samples:
        kind = sample.name.rpartition("_")[2]
        if kind in ("count", "sum"):
            found.setdefault(sample.labels["step"], {})[kind] = sample.value
    return {step: (row["count"], row["sum"]) for step, row in found.items()}


async def test_the_same_times_are_metrics_each_once() -> None:
    assert INCIDENT_STEPS == STEPS
    governed = Governed()
    await governed.governor.start()
    await governed.fire()
    await governed.after(30)
    await governed.hear("tendai", "a " + governed.question("tendai").variables["code"])
    await governed.after(60)
    await governed.fire(firing=False)
    await governed.after(30)
    (incident,) = governed.desk.book.incidents.values()
    report = await Reader(governed.journal).report("default", incident.id)
    assert report is not None
    assert report.view.state.value == "recovered"
    assert observed(governed.desk.metrics) == {step: (1.0, took) for step, took in report.times.items()}
    assert report.times["decide"] == 30.0
    assert report.times["recover"] == 90.0
    # Folded again, as after a restart, it is not observed again.
    again = Governed(journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    assert {count for count, _ in observed(again.desk.metrics).values()} == {0.0}


async def test_closed_by_hand_is_no_recovery() -> None:
    governed = Governed()
    await governed.governor.start()
    await governed.fire()
    (incident,) = governed.desk.book.incidents.values()
    await GovernorChanges(governed.desk).close(incident.id, "ruth", "the disk was replaced")
    report = await Reader(governed.journal).report("default", incident.id)
    assert report is not None
    assert (report.closed_by, report.ended, report.times["recover"]) == ("engineer:ruth", None, None)
    assert "Closed by engineer:ruth (entry" in markdown(report)
    assert "Policy did not say that it recovered." in markdown(report)
