"""`counterfoil check`: one line for each thing that is right, doubtful or wrong, with what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path

import click

from receiver.commands import checks_of_files
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors

NOT_CHECKED_OFFLINE = (
    "Prometheus",
    "Alertmanager",
    "executors",
    "the public address",
    "Twilio's sender, templates, callback address and clock",
    "each person's 24-hour window",
    "Claude (all of these with --online)",
)


@click.command()
@click.option(
    "--online",
    is_flag=True,
    help="Also ask everything that it depends on: Twilio, Prometheus …",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_obj
@click.pass_context
def check(ctx: click.Context, config: Path, *, online: bool, as_json: bool) -> None:
    """Say what is right and wrong with a configuration: ok, warn or FAIL, and the remedy.

    With --online all that the service depends on is asked as well. Nothing is sent to a person, and nothing runs.
    Exit code 1 where anything is FAIL.
    """
    findings, settings = _configuration(config)
    if settings is not None:
        findings += checks_of_files.all_of(settings, config, os.environ)
        if online:
            from receiver.commands import checks_online

            findings += asyncio.run(checks_online.all_of(settings))
    unchecked = () if online else NOT_CHECKED_OFFLINE
    failed = any(finding.state == FAIL for finding in findings)
    click.echo(_as_json(findings, unchecked, failed) if as_json else _as_lines(findings, unchecked))
    ctx.exit(1 if failed else 0)


def _configuration(config: Path) -> tuple[list[Finding], Settings | None]:
    try:
        settings = load_settings(config, os.environ)
    except SettingsErrors as error:
        return [Finding("configuration", FAIL, str(problem)) for problem in error.problems], None
    people = sum(len(tenant.people) for tenant in settings.tenants.values())
    text = f"{config}: {len(settings.tenants)} tenant(s), {people} person(s)"
    return [Finding("configuration", OK, text)], settings


def _as_lines(findings: Iterable[Finding], unchecked: Iterable[str]) -> str:
    lines = [str(finding) for finding in findings]
    left = "; ".join(unchecked)
    return "\n".join([*lines, *([f"not checked: {left}"] if left else [])])


def _as_json(findings: Iterable[Finding], unchecked: Iterable[str], failed: bool) -> str:
    rows = [
        {"check": finding.check, "state": finding.state, "message": finding.message, "remedy": finding.remedy}
        for finding in findings
    ]
    states = [row["state"] for row in rows]
    counts = {state: states.count(state) for state in (OK, WARN, FAIL)}
    return json.dumps({"ok": not failed, "counts": counts, "findings": rows, "not_checked": list(unchecked)}, indent=2)
