"""`counterfoil policy check` and `show`, as a user meets them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from policy_rules.loading import load
from receiver.__main__ import counterfoil
from tests.policy_rules.helpers import POLICY


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERFOIL_CONFIG", raising=False)
    runner = CliRunner()
    return lambda *words: runner.invoke(counterfoil, ["policy", *words])


def test_check_of_a_good_policy(run, tmp_path):
    (tmp_path / "policy.yml").write_text(POLICY)
    result = run("check", "policy.yml")
    assert result.exit_code == 0
    assert result.output.startswith("policy.yml: ok, payments 1.4.0, 1 rule(s), 2 signal(s), sha256 ")


def test_check_says_every_error_and_warning_with_its_line(run, tmp_path):
    (tmp_path / "bad.yml").write_text(POLICY.replace("unmatched: notify", "unmached: notify").replace("15m", "15"))
    (tmp_path / "doubtful.yml").write_text(POLICY.replace("error_ratio < 0.02", "error_ratio < 0.05"))
    result = run("check", "bad.yml", "doubtful.yml")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "bad.yml:10:1: error: unknown key 'unmached'; did you mean 'unmatched'?"
    assert lines[1].startswith("bad.yml:25:9: error: expires must be a duration")
    assert lines[2] == "bad.yml: FAIL, 2 error(s)"
    assert lines[3].startswith("doubtful.yml:16:5: warning: no gap")
    assert lines[4].startswith("doubtful.yml: ok")


def test_check_as_json(run, tmp_path):
    (tmp_path / "policy.yml").write_text(POLICY)
    result = run("check", "policy.yml", "--json")
    found = json.loads(result.output)
    assert found["ok"] is True
    assert found["policies"][0]["version"] == "1.4.0"
    (tmp_path / "policy.yml").write_text("rules: [")
    result = run("check", "policy.yml", "--json")
    assert (result.exit_code, json.loads(result.output)["ok"]) == (1, False)


def test_show_prints_the_effective_text(run, tmp_path, monkeypatch):
    monkeypatch.setenv("THRESHOLD", "0.07")
    (tmp_path / "policy.yml").write_text(POLICY.replace("0.05", "${THRESHOLD:-0.05}"))
    effective = POLICY.replace("0.05", "0.07")
    digest = load(effective, file="x", environment={}).digest
    result = run("show", "policy.yml")
    assert result.exit_code == 0
    assert result.output == f"# policy.yml: payments 1.4.0, sha256 {digest}\n{effective}"
    found = json.loads(run("show", "policy.yml", "--json").output)
    assert (found["policies"][0]["digest"], found["policies"][0]["text"]) == (digest, effective)


@pytest.mark.parametrize("words", [("check", "nothing.yml"), ("show", "nothing.yml"), ("check",), ("show",)])
def test_what_cannot_be_read_is_exit_code_2_and_one_line(run, words):
    result = run(*words)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1


def test_show_of_a_wrong_policy_is_exit_code_2(run, tmp_path):
    (tmp_path / "policy.yml").write_text("rules: []")
    result = run("show", "policy.yml")
    assert result.exit_code == 2
    assert "policy is missing" in result.output


def test_without_a_file_the_policies_of_the_configuration_are_checked_against_its_people(run, tmp_path):
    made = CliRunner().invoke(counterfoil, ["init", "."])
    assert made.exit_code == 0, made.output
    result = run("check")
    assert result.exit_code == 0, result.output
    assert "ok, starter 1.0.0" in result.output
    assert "warning" not in result.output
    assert run("show").exit_code == 0
