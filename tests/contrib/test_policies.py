"""Each policy of contrib/policies is checked without a word, has cases for every part of it, and is in README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load, warnings
from policy_rules.permission import Person
from policy_rules.rulebook import Rulebook
from policy_rules.signals import parse, selectors
from receiver.__main__ import counterfoil
from tests.tools import ROOT

FOLDER = ROOT / "contrib" / "policies"
POLICIES = tuple(path for path in sorted(FOLDER.glob("*.yml")) if not path.name.endswith(".cases.yml"))
each_policy = pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)


def run(*words: str) -> Result:
    return CliRunner().invoke(counterfoil, ["policy", *words])


def read(path: Path) -> Rulebook:
    return load(path.read_text(encoding="utf-8"), file=path.name, environment={})


def cases_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.cases.yml")


def uncovered(cases: Path) -> Result:
    return run("test", "--fail-uncovered", str(cases))


def test_there_are_policies_and_no_cases_without_one() -> None:
    assert POLICIES
    assert {path.name for path in FOLDER.glob("*.cases.yml")} == {cases_of(path).name for path in POLICIES}


@each_policy
def test_a_policy_is_ready(path: Path, tmp_path: Path) -> None:
    """No error and no warning, also of what only a roster and executors can tell; and its name is the file's."""
    result = run("check", "--config", str(tmp_path / "absent.yml"), str(path))
    assert (result.exit_code, result.output.count("\n")) == (0, 1), result.output
    assert "warning" not in result.output
    book = read(path)
    cases = read_cases(cases_of(path).read_bytes(), path.name)
    assert cases.people is not None, "the cases say who may approve"
    roster = [Person(name, frozenset(roles)) for name, roles in cases.people.items()]
    executors = {action.executor for rule in book.rules for action in rule.actions.values()}
    assert warnings(book, roster, executors) == ()
    assert (book.name, cases.policy) == (path.stem, path.name)


@each_policy
def test_its_cases_hold_and_reach_every_part_of_it(path: Path) -> None:
    result = uncovered(cases_of(path))
    assert result.exit_code == 0, result.output
    assert "not reached" not in result.output


@each_policy
def test_its_cases_tell_the_whole_story(path: Path) -> None:
    """It opens and does not, recovers and stays open on the unknown, an action is approved and one is denied."""
    cases = read_cases(cases_of(path).read_bytes(), path.name).cases
    wanted = [(expected, case) for case in cases for expected in case.expectations]
    states = {expected.wanted["state"] for expected, _ in wanted if "state" in expected.wanted}
    assert states >= {"none", "detected", "proposed", "verifying", "recovered"}
    samples = {sample.state.value for case in cases for series in case.signals.values() for sample in series}
    assert samples - {"value"}, "no signal is ever unknown"
    never = {state for expected, _ in wanted for state in expected.never}
    assert never >= {"detected", "recovered", "proposed"}
    assert any("not in allow" in expected.wanted.get("told", "") for expected, _ in wanted), "nothing is denied"


def test_a_policy_whose_cases_miss_a_part_is_found(tmp_path: Path) -> None:
    path = POLICIES[0]
    text = path.read_text(encoding="utf-8")
    rule = "\nrules:\n  - {name: added, matchers: ['alertname=\"Added\"'], group_by: []}\n"
    (tmp_path / path.name).write_text(text.replace("\nrules:\n", rule), encoding="utf-8")
    cases = tmp_path / cases_of(path).name
    cases.write_text(cases_of(path).read_text(encoding="utf-8"), encoding="utf-8")
    result = uncovered(cases)
    assert result.exit_code == 1, result.output
    assert "rule added" in result.output


def test_all_of_them_stand_together_in_one_policy(tmp_path: Path) -> None:
    """No two names meet and no rule takes another's alert: every case holds, whatever rules stand beside its own."""
    whole: dict[str, Any] = {
        "policy": {"name": "all", "version": "1"},
        "signals": {},
        "rules": [],
        "time_intervals": [],
    }
    for path in POLICIES:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert not found["signals"].keys() & whole["signals"].keys(), path.name
        whole["signals"] |= found["signals"]
        whole["rules"] += found["rules"]
        whole["time_intervals"] += found.get("time_intervals", [])
        text = cases_of(path).read_text(encoding="utf-8")
        (tmp_path / cases_of(path).name).write_text(text.replace(f"policy: {path.name}", "policy: all.yml", 1))
    (tmp_path / "all.yml").write_text(json.dumps(whole), encoding="utf-8")
    assert warnings(read(tmp_path / "all.yml")) == ()
    result = run("test", "--fail-uncovered", *(str(file) for file in sorted(tmp_path.glob("*.cases.yml"))))
    assert result.exit_code == 0, result.output
    assert ", 0 failed" in result.output


@each_policy
def test_what_a_reader_must_edit_is_marked(path: Path) -> None:
    """Matchers, thresholds, executors, who may approve and is told, and every list of allowed values."""
    mine = ("executor:", "matchers: [", "approvers:", "allow:", "notify:")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if any(word in line.partition("#")[0] for word in mine):
            assert "# EDIT" in line, f"{path.name}:{number}"


@each_policy
def test_the_readme_names_it_with_every_metric_that_it_reads(path: Path) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"[{path.name}]({path.name})" in readme
    for signal in read(path).signals.values():
        for name in metrics(signal.promql):
            assert f"`{name}`" in readme, name


def metrics(promql: str) -> set[str]:
    return {name for name, _ in selectors(parse(promql)) if name}
