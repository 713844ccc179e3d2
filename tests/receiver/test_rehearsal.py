"""`counterfoil policy test`: the real governor plays the cases, and a failure says what was expected and what came."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from policy_rules.rulebook import Rulebook
from receiver.__main__ import counterfoil
from receiver.rehearsal.running import Outcome, run_case
from tests.policy_rules.helpers import POLICY

HEAD = """
policy: policy.yml
people: {tendai: [oncall], rudo: [oncall], farai: [guests]}
tests:
  - name: a case
    labels: {alertname: HighErrorRate, severity: critical, service: checkout}
"""
BREAKS = HEAD + "    signals: {error_ratio: 0.004x3 0.06x9 0.019x12, p95_seconds: 0.3x26}\n"
STAYS_BROKEN = HEAD + "    signals: {error_ratio: 0.004x3 0.06x90, p95_seconds: 0.3x90}\n"


AT_ONCE = POLICY.replace("for: 1m, if_unknown", "for: 0s, if_unknown").replace(
    "error_ratio < 0.02]", "error_ratio < 0.02, score > 70]"
)


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return load(AT_ONCE, file="policy.yml", environment={})


@pytest.fixture
def played(book: Rulebook) -> Callable[[str], Outcome]:
    def play(text: str) -> Outcome:
        found = read_cases(text, "cases.yml")
        return run_case(found.cases[0], book, found.people)

    return play


def stages(outcome: Outcome) -> list[str]:
    return [entry.stage for entry in outcome.log]


def test_the_example_of_the_handbook(played: Callable[[str], Outcome]) -> None:
    outcome = played(
        BREAKS
        + """
    events:
      - {at: 4m, answer: approve, action: restart, by: tendai}
      - {at: 5m, diagnosis: {recommend: restart, confidence: 1.0}}
    expect:
      - {at: 1m, state: none}
      - {at: 2m, state: detected, rule: checkout-errors, by: policy, reason: error_ratio 0.06 >= 0.05}
      - {at: 3m, state: proposed, action: restart, asked: [tendai, rudo]}
      - {at: 5m, state: verifying, question: authorized, by: restart}
      - {at: 10m, state: recovered, by: policy, told: Recovered}
      - {never: [unresolved, closed]}
"""
    )
    assert outcome.missed == ()
    assert outcome.reached.rules == {"checkout-errors"}
    assert outcome.reached.actions == {("checkout-errors", "restart")}


def test_what_comes_out_otherwise_is_told_with_what_decided(played: Callable[[str], Outcome]) -> None:
    outcome = played(
        BREAKS
        + """
    expect:
      - {at: 1m, state: detected}
      - {at: 3m, state: none, rule: other, by: tendai, reason: p95, action: none, asked: [rudo], question: expired}
      - {at: 3m, told: nobody ever says this}
      - {at: 3m, never: [proposed]}
"""
    )
    got = {(m.at_seconds, m.what): (m.expected, m.got) for m in outcome.missed}
    assert got[(60, "state")] == ("detected", "none")
    assert got[(180, "state")] == ("none", "proposed")
    assert got[(180, "rule")] == ("other", "checkout-errors")
    assert got[(180, "by")] == ("tendai", "policy")
    assert got[(180, "asked")] == ("rudo", "rudo, tendai")
    assert got[(180, "question")] == ("expired", "open")
    assert got[(180, "never")][1].startswith("proposed at 10:02:10")
    assert {what for _, what in got} == {
        "state",
        "rule",
        "by",
        "reason",
        "action",
        "asked",
        "question",
        "told",
        "never",
    }
    first = next(m for m in outcome.missed if m.at_seconds == 60)
    assert "error_ratio 0.004 not >= 0.05" in first.decided


@pytest.mark.parametrize(
    ("events", "expect", "stage"),
    [
        ("{at: 3m, answer: reject, by: rudo}", "{at: 4m, state: detected, question: rejected}", "DECLINED"),
        ("{at: 3m, answer: onit, by: rudo}", "{at: 4m, state: proposed}", "ACKNOWLEDGED"),
        ("{at: 0s, executor: fails}, {at: 3m, answer: approve, by: rudo}", "{at: 4m, never: [verifying]}", "FAILED"),
        (
            "{at: 0s, executor: is silent}, {at: 3m, answer: approve, by: rudo}",
            "{at: 4m, state: unresolved}",
            "UNRESOLVED",
        ),
        (
            "{at: 0s, executor: accepts}, {at: 3m, answer: approve, by: rudo}",
            "{at: 4m, state: executing}",
            "DISPATCHED",
        ),
        (
            "{at: 1m, halt: moving the database, by: tendai}, {at: 3m, answer: approve, by: rudo}",
            "{at: 4m, never: [executing], told: halted}",
            "HALTED",
        ),
        ("{at: 3m, close: known, by: rudo}", "{at: 4m, state: closed, by: rudo, reason: known}", "CLOSED"),
        ("{at: 3m, resolve: {alertname: HighErrorRate, service: checkout}}", "{at: 4m, state: proposed}", "EVALUATED"),
        # What a person says did not run was not tried: it is asked again as soon as the cool-down lets it.
        (
            "{at: 0s, executor: is silent}, {at: 3m, answer: approve, by: rudo},"
            "{at: 4m, settle: did_not_run, by: rudo}",
            "{at: 4m, state: detected}, {at: 14m, state: proposed}",
            "FAILED",
        ),
        # What ran and did not help is not asked again before a reminder.
        (
            "{at: 0s, executor: fails}, {at: 3m, answer: approve, by: rudo}",
            "{at: 14m, state: detected}",
            "FAILED",
        ),
        ("{at: 0s, prometheus: down}", "{at: 2m, state: proposed, reason: the alert's word counts}", "DETECTED"),
    ],
)
def test_what_may_happen(played: Callable[[str], Outcome], events: str, expect: str, stage: str) -> None:
    if "halt" in events:  # a halt before the question: nothing can be proposed at all, so nobody can answer
        events = events.partition(", {at: 3m")[0]
    outcome = played(f"{STAYS_BROKEN}    events: [{events}]\n    expect: [{expect}]\n")
    assert outcome.missed == ()
    assert stage in stages(outcome)


def test_an_event_that_cannot_happen_fails_the_case(played: Callable[[str], Outcome]) -> None:
    for event, why in (
        ("{at: 3m, answer: approve, by: farai}", "farai was asked nothing"),
        ("{at: 3m, answer: approve, action: reboot, by: rudo}", "about restart, not about reboot"),
        ("{at: 1m, close: no reason, by: rudo}", "no incident is open"),
        ("{at: 1m, resume: why, by: rudo}", "halt"),
    ):
        outcome = played(f"{BREAKS}    events: [{event}]\n    expect: [{{never: [executing]}}]\n")
        assert [why in missed.got for missed in outcome.missed] == [True], event


def test_each_alert_may_bring_its_own_signals_and_a_key_chooses_the_incident(book: Rulebook) -> None:
    text = """
policy: policy.yml
tests:
  - name: two services
    signals: {error_ratio: 0.004x20, p95_seconds: 0.3x20}
    alerts:
      - labels: {alertname: HighErrorRate, severity: page, service: checkout}
      - labels: {alertname: HighErrorRate, severity: page, service: wallet}
        from: 30s
        signals: {error_ratio: 0.5x20}
    expect:
      - {at: 2m, key: {service: checkout}, state: none}
      - {at: 2m, key: {service: wallet}, state: proposed}
"""
    found = read_cases(text, "cases.yml")
    assert run_case(found.cases[0], book, found.people).missed == ()


def test_the_same_cases_give_the_same_logs_in_every_process() -> None:
    """Verdicts among them, byte for byte: of every case that policy_rules/README.md is shown by."""
    script = (
        "from tests.receiver.test_rehearsal import *\n"
        "events = '    events: [{at: 4m, answer: approve, by: rudo}]\\n'\n"
        "found = read_cases(BREAKS + events + '    expect: [{never: [closed]}]\\n', 'c')\n"
        "out = run_case(found.cases[0], load(AT_ONCE, file='p', environment={}), found.people)\n"
        "import hashlib, re\n"
        "shown, logs = Path('tests/policy_rules/shown'), [out.log]\n"
        "for file in sorted(shown.glob('*.cases.yml')):\n"
        "    found = read_cases(file.read_bytes(), file.name)\n"
        "    book = load((shown / found.policy).read_bytes(), file=found.policy, environment={})\n"
        "    logs += [run_case(case, book, found.people).log for case in found.cases]\n"
        "raw = b''.join(entry.raw for log in logs for entry in log)\n"
        "raw = re.sub(rb'(halt|note):[0-9a-f]{16}', rb'', raw)  # what a person does by hand is named at random\n"
        "print(hashlib.sha256(raw).hexdigest(), len(logs))\n"
    )
    seen = set()
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        seen.add(result.stdout)
    assert len(seen) == 1


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yml").write_text(AT_ONCE)
    return lambda *words: CliRunner().invoke(counterfoil, ["policy", "test", *words])


def test_a_run_says_what_failed_and_what_was_not_reached(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "cases.yml").write_text(
        BREAKS + "    expect: [{at: 1m, state: detected}]\n"
        "  - name: another\n    labels: {alertname: HighErrorRate, severity: page, service: wallet}\n"
        "    signals: {error_ratio: 0.5x20, p95_seconds: 3x20}\n    expect: [{at: 1m, state: proposed}]\n"
    )
    result = run("cases.yml", "--junit", "out.xml", "-v")
    assert result.exit_code == 1, result.output
    assert "FAIL cases.yml:5 a case" in result.output
    assert "  at 1m, state: expected 'detected', got 'none' (line 8)" in result.output
    assert "ok   cases.yml:9 another" in result.output
    assert "error_ratio < 0.02 is never true" in result.output
    assert "2 case(s), 1 failed" in result.output
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["a case", "another"]
    assert run("cases.yml", "-k", "another").exit_code == 0
    assert run("cases.yml", "-k", "another", "--fail-uncovered").exit_code == 1


def test_first_cases_pass_as_they_are_written(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("--init", "policy.yml").exit_code == 0
    text = (tmp_path / "policy.cases.yml").read_text()
    assert "state: recovered" in text
    result = run("policy.cases.yml", "-v")
    assert result.exit_code == 0, result.output
    again = run("--init", "policy.yml")
    assert again.exit_code != 0
    assert (tmp_path / "policy.cases.yml").read_text() == text


def test_a_mistake_is_one_line_and_exit_code_2(run: Callable[..., Result], tmp_path: Path) -> None:
    for name, text, says in (
        ("typo.yml", BREAKS + "    expct: []\n", "did you mean 'expect'?"),
        ("gone.yml", BREAKS.replace("policy.yml", "nowhere.yml") + "    expect: [{at: 1m, state: none}]\n", "nowhere"),
        ("signal.yml", BREAKS.replace("p95_", "p99_") + "    expect: [{at: 1m, state: none}]\n", "no signal"),
        ("rule.yml", BREAKS + "    expect: [{at: 1m, rule: nothing}]\n", "no rule 'nothing'"),
    ):
        (tmp_path / name).write_text(text)
        result = run(name)
        assert result.exit_code == 2, (name, result.output)
        assert says in result.output
    assert run("absent.yml").exit_code == 2


def test_many_cases_run_beside_each_other(run: Callable[..., Result], tmp_path: Path) -> None:
    case = BREAKS.partition("  - name")[2]
    text = BREAKS.partition("  - name")[0]
    for number in range(60):
        text += f"  - name{case.replace('a case', f'case {number}')}    expect: [{{at: 3m, state: proposed}}]\n"
    (tmp_path / "cases.yml").write_text(text)
    result = run("cases.yml")
    assert result.exit_code == 0, result.output
    assert "60 case(s), 0 failed" in result.output
