"""`counterfoil init`: what it writes, that it keeps what is there, and that what it writes works."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from policy_rules.loading import load
from receiver.__main__ import counterfoil
from receiver.commands.init import PLACEHOLDER_TOKEN
from receiver.execution.runner_config import load_runner_config
from receiver.papers import SANDBOX_SENDER
from receiver.settings import load_settings
from tests.tools import ROOT

WRITTEN = {
    "alertmanager-receiver.yml",
    "counterfoil.yml",
    "executor.yml",
    "nginx.conf",
    "policy.yml",
    "secrets/admin.token",
    "secrets/default.token",
    "secrets/ledger.key",
    "secrets/personal.key",
    "secrets/restart.whsec",
    "secrets/twilio.token",
    "systemd/counterfoil-executor.service",
    "systemd/counterfoil.service",
}


def init(*words: str) -> Result:
    return CliRunner().invoke(counterfoil, ["init", *words])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_everything_and_secrets_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = init(str(folder))
    assert result.exit_code == 0, result.output
    assert set(contents(folder)) == WRITTEN
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    for path in (folder / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert f"counterfoil --config {folder}/counterfoil.yml check" in result.output


def test_what_it_writes_is_read_without_a_problem(tmp_path: Path) -> None:
    init(str(tmp_path))
    settings = load_settings(tmp_path / "counterfoil.yml", {})
    tenant = settings.tenants["default"]
    assert tenant.policy == tmp_path / "policy.yml"
    assert set(tenant.executors) == {"restart"}
    assert settings.twilio.auth_token.get_secret_value() == PLACEHOLDER_TOKEN
    assert not [
        name
        for name, text in contents(tmp_path).items()
        if b"@" in text.replace(b"@system", b"").replace(b"@privileged", b"").replace(b"@resources", b"")
    ]


def test_the_executor_takes_what_it_writes(tmp_path: Path) -> None:
    init(str(tmp_path))
    config = load_runner_config(tmp_path / "executor.yml")
    assert set(config.actions) == {"restart"}
    ours = load_settings(tmp_path / "counterfoil.yml", {}).tenants["default"].executors["restart"]
    assert config.actions["restart"].secrets == (ours.secret.get_secret_value(),)
    assert ours.url == f"http://{config.host}:{config.port}/run/restart"
    assert ours.timeout > config.actions["restart"].timeout_seconds
    rules = load((tmp_path / "policy.yml").read_text(), file="policy.yml", environment={}).rules
    proposed = [action for rule in rules for action in rule.actions.values()]
    assert proposed
    for action in proposed:
        assert action.executor in config.actions
        for values in (
            {param.name: value for param in action.params} for param in action.params for value in param.allow
        ):
            assert isinstance(config.actions[action.executor].arguments(values), tuple)


def test_no_two_installations_share_a_secret(tmp_path: Path) -> None:
    init(str(tmp_path / "a"))
    init(str(tmp_path / "b"))
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    made = {"secrets/admin.token", "secrets/default.token", "secrets/restart.whsec", "secrets/ledger.key"} | {
        "secrets/personal.key"
    }
    assert all(a[name] != b[name] for name in made)
    assert len({a[name] for name in made}) == len(made)


def test_it_never_overwrites_and_completes_what_is_missing(tmp_path: Path) -> None:
    init(str(tmp_path))
    (tmp_path / "counterfoil.yml").write_text("mine")
    (tmp_path / "nginx.conf").unlink()
    before = contents(tmp_path)
    result = init(str(tmp_path))
    after = contents(tmp_path)
    assert result.exit_code == 0
    assert set(after) == WRITTEN
    assert {name: after[name] for name in before} == before
    assert result.output.count("it was there already") == len(WRITTEN) - 1


def test_the_sandbox_needs_no_sender_of_ones_own(tmp_path: Path) -> None:
    result = init(str(tmp_path), "--sandbox")
    assert load_settings(tmp_path / "counterfoil.yml", {}).twilio.sender == SANDBOX_SENDER
    assert 'texts "join …"' in result.output


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = init(str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output


def test_contrib_has_the_units_that_it_writes() -> None:
    words = {"DIR": "/var/lib/counterfoil", "USER": "counterfoil", "COUNTERFOIL": "/opt/counterfoil/bin/counterfoil"}
    for name in ("counterfoil.service", "counterfoil-executor.service"):
        text = (ROOT / "receiver/commands/templates" / name).read_text()
        for word, meaning in words.items():
            text = text.replace(f"@{word}@", meaning)
        assert (ROOT / "contrib/systemd" / name).read_text() == text


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """A small alertmanager.yml into which the snippet was pasted where it says."""
    init(str(tmp_path))
    text = (tmp_path / "alertmanager-receiver.yml").read_text()
    receivers, routes = text.split("# Under `route: routes:`")
    receiver = [line for line in receivers.splitlines() if not line.startswith("#")]
    route = [line for line in routes.splitlines()[1:] if not line.startswith("#")]
    lines = ["route:", "  receiver: other", "  routes:", *route, "receivers:", "  - name: other", *receiver]
    (tmp_path / "alertmanager.yml").write_text("\n".join(lines) + "\n")
    return tmp_path / "alertmanager.yml"


def test_the_snippet_is_what_alertmanager_accepts(pasted: Path, tool: Callable[[str], Path]) -> None:
    assert yaml.safe_load(pasted.read_text())["route"]["routes"][0]["receiver"] == "counterfoil"
    result = subprocess.run(
        [tool("amtool"), "check-config", pasted], capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_root_gets_units_for_a_user_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    init(str(tmp_path))
    assert "User=counterfoil\n" in (tmp_path / "systemd/counterfoil.service").read_text()
