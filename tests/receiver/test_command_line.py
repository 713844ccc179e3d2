"""The command line from outside: what it prints, its exit codes, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from receiver import __main__ as command_line
from tests.tools import ROOT


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "receiver", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from receiver import __main__ as m\n"
        "try: m.main()\n"
        "except SystemExit as e: print(e.code, [n for n in ('anthropic', 'twilio', 'aiohttp') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "0 []"
    for name in command_line.COMMANDS:
        assert f"\n  {name} " in result.stdout


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("counterfoil ")


@pytest.mark.parametrize("words", [("nonsense",), ("--nonsense",), ("check", "--nonsense"), ("check", "extra")])
def test_a_wrong_call_is_one_line_and_exit_2(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("counterfoil: ")
    assert result.stderr.count("\n") == 1


def test_no_command_at_all_shows_help_and_exits_2() -> None:
    result = run()
    assert result.returncode == 2
    assert "Commands:" in result.stdout + result.stderr


def test_the_configuration_is_named_before_or_after_the_command_or_by_the_environment(tmp_path: Path) -> None:
    before = run("--config", "a.yml", "check", cwd=tmp_path)
    after = run("check", "--config", "b.yml", cwd=tmp_path)
    both = run("--config", "a.yml", "check", "--config", "b.yml", cwd=tmp_path)
    environment = run("check", cwd=tmp_path, COUNTERFOIL_CONFIG="c.yml")
    default = run("check", cwd=tmp_path)
    told = [result.stdout.splitlines()[0] for result in (before, after, both, environment, default)]
    assert [line.split()[2] for line in told] == ["a.yml:", "b.yml:", "b.yml:", "c.yml:", "counterfoil.yml:"]
    assert all(result.returncode == 1 for result in (before, after, both, environment, default))


def test_a_foreign_ledger_package_is_refused(tmp_path: Path) -> None:
    """Other distributions install a `ledger` too; whichever comes first on the path would be taken."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from receiver.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--version"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2
    assert result.stderr.startswith("counterfoil: these packages belong to different installations")
    assert result.stderr.count("\n") == 1


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    assert "is missing" in (command_line.strangers() or "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (
            PermissionError(13, "Permission denied", "counterfoil.db"),
            2,
            "counterfoil: counterfoil.db: Permission denied\n",
        ),
        (click.ClickException("it is so"), 1, "counterfoil: it is so\n"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(command_line.counterfoil, "main", fail)
    with pytest.raises(SystemExit) as caught:
        command_line.main()
    assert caught.value.code == code
    assert capsys.readouterr().err == said


def test_config_is_given_to_the_commands_of_a_group_and_not_twice() -> None:
    @click.group()
    def group() -> None: ...

    @group.command()
    @click.pass_obj
    def plain(config: Path) -> None:
        click.echo(config)

    @group.command()
    @click.option("--config")
    def own(config: str) -> None:
        click.echo(f"own {config}")

    for _ in range(2):
        command_line.accept_config(group)
    runner = CliRunner()
    assert runner.invoke(group, ["plain", "--config", "x.yml"]).output == "x.yml\n"
    assert runner.invoke(group, ["own", "--config", "x.yml"]).output == "own x.yml\n"
    assert [option for parameter in plain.params for option in parameter.opts] == ["--config"]


@pytest.mark.parametrize(
    "words",
    [
        "serve",
        "policy check",
        "policy show",
        "incident list",
        "incident show inc-1",
        "incident close inc-1 --by a --reason b",
        "halt --by a --reason b",
        "resume --by a --reason b",
        "ledger verify",
        "ledger reconcile",
        "ledger show",
        "executor serve",
    ],
)
def test_a_configuration_that_is_not_there_is_one_line_and_exit_2(tmp_path: Path, words: str) -> None:
    result = run(*words.split(), cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("counterfoil: ")
    assert result.stderr.count("\n") == 1
    assert ".yml" in result.stderr


def test_a_pin_is_asked_for_at_a_terminal_alone(tmp_path: Path) -> None:
    """Elsewhere it would be echoed, and what is piped in stands in a file or a history."""
    result = subprocess.run(
        [sys.executable, "-m", "receiver", "person", "pin", "tendai"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="481516\n481516\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,  # which has no terminal
    )
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("counterfoil: a PIN is asked for at a terminal")


def test_a_demo_that_does_not_come_to_its_end_says_what_was_missed_and_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from receiver.commands import demo

    monkeypatch.setattr(demo, "MESSAGE_SECONDS", 0.01)
    monkeypatch.setenv("PATH", "")  # the stand-ins of Prometheus and Alertmanager start at once
    result = CliRunner().invoke(demo.demo, ["--auto"])
    assert result.exit_code == 1
    assert "ADOPTED" in result.output
    assert result.output.splitlines()[-1] == "something did NOT hold: no question came to tendai's phone in 0.01 s"
