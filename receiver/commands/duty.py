"""`counterfoil duty`: who is on duty, from the configuration and what the ledger holds of handovers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from ledger.audit import NotALedger
from ledger.logfile import open_log
from receiver.commands.client import fail
from receiver.commands.ledger.common import Moment, json_option, settings_of, tenant_option
from receiver.configuration import duty_of
from receiver.incident import duty as duties
from receiver.incident import enrolled
from receiver.settings import Settings


@click.group()
def duty() -> None:
    """Who is on duty, by rotations, overrides and handovers."""


@duty.command("show")
@click.option("--at", metavar="TIME", type=Moment(), help="Then, and not now, as in 2026-12-24T18:00:00+02:00.")
@tenant_option
@json_option
@click.pass_obj
def show(config: Path, at: datetime | None, tenant: str, as_json: bool) -> None:
    """Say who has each role that people take turns at, until when, and who is next. Asks no service.

    What was handed over by message is read from the ledger as it stands, also for a time to come. Exit code 1 where
    nobody is on duty who can be asked and told.
    """
    settings = settings_of(config)
    if tenant not in settings.tenants:
        fail(f"there is no tenant {tenant} in {config}", 2)
    try:
        held, people = _ledger(settings, tenant)
    except NotALedger as error:
        fail(str(error), 2)
    rows = _rows(settings, tenant, at or datetime.now(UTC), held, people)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo(f"nobody takes turns: tenants.{tenant}.rotations has none, so roles are held at all times")
    else:
        for row in rows:
            click.echo(_line(settings, tenant, row))
    if any(not row["on_duty"] for row in rows):
        raise SystemExit(1)


def _ledger(settings: Settings, tenant: str) -> tuple[duties.Duties, enrolled.Enrolled]:
    """What was handed over, and who is suspended or opted out; nothing where there is no ledger yet."""
    held, people = duties.Duties(), enrolled.Enrolled()
    if settings.ledger.path.is_file():
        with open_log(settings.ledger.path, tenant) as log:
            for entry in log.entries(stage="NOTED"):
                if entry.body.get("kind") == duties.HANDED_OVER:
                    held.take(entry)
                elif entry.body.get("kind") in enrolled.KINDS:
                    people.take(entry)
    return held, people


def _rows(
    settings: Settings, tenant: str, at: datetime, held: duties.Duties, people: enrolled.Enrolled
) -> list[dict[str, Any]]:
    """One row a role: who has it, who of them cannot be asked or told, from and until when, and who has it then."""
    found, gone = duty_of(settings.tenants[tenant]), {*people.suspended, *people.opted_out}
    rows = []
    for role in found.roles:
        names = found.on_duty(role, at, held.handovers)
        ends = [end for name in names or ("",) if (end := found.ends(role, name, at, held.handovers)) is not None]
        until = min(ends, default=None)
        rows.append(
            {
                "role": role,
                "on_duty": [name for name in names if name not in gone],
                "away": [name for name in names if name in gone],
                "until": until.isoformat() if until is not None else None,
                "next": list(found.on_duty(role, until, held.handovers)) if until is not None else [],
            }
        )
    return rows


def _line(settings: Settings, tenant: str, row: dict[str, Any]) -> str:
    zone = next(r.timezone for r in settings.tenants[tenant].rotations.values() if r.role == row["role"])
    until = ""
    if row["until"] is not None:
        local = datetime.fromisoformat(row["until"]).astimezone(ZoneInfo(zone))
        until = f" until {local:%a %Y-%m-%d %H:%M %Z}, then {', '.join(row['next']) or 'nobody'}"
    away = f" ({', '.join(row['away'])} suspended or opted out)" if row["away"] else ""
    return f"{row['role']:<16} {', '.join(row['on_duty']) or 'nobody'}{away}{until}"
