"""`counterfoil ledger`: verify, reconcile, show and checkpoint, read-only and beside a running service."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import click

from ledger import checkpoint as notes
from ledger.accounts import STAGES
from ledger.audit import HARMLESS, NotALedger, read_entries, verify_store
from ledger.entry import Entry
from ledger.reconcile import findings, trial_balance
from ledger.stores import schema
from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors

tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose log.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def ledger() -> None:
    """What was recorded: verify it, balance its books, read it. Nothing here writes."""


@ledger.command()
@json_option
@click.pass_obj
def verify(config: Path, as_json: bool) -> None:
    """Check every byte, leaf, root, checkpoint, blob and posting rule of every tenant.

    Prints "OK: N entries, root …", or the first fault and where it is, and then exits with 1.
    """
    settings = _settings(config)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        audits = verify_store(
            settings.ledger.path,
            origin=settings.ledger.origin,
            public=public,
            anchor_path=settings.ledger.anchor_file,
        )
    except (NotALedger, notes.BadKey) as error:
        _fail(str(error), 2)
    if not audits:
        _fail(f"{settings.ledger.path}: it holds no entries; `counterfoil serve` begins the log of each tenant", 1)
    if as_json:
        rows = [
            {"tenant": a.tenant, "entries": a.entries, "root": a.root, "fault": str(a.fault) if a.fault else None}
            for a in audits
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        for audit in audits:
            click.echo(f"{audit.tenant}: {audit}" if len(audits) > 1 else str(audit))
    sys.exit(1 if any(audit.fault for audit in audits) else 0)


@ledger.command()
@tenant_option
@json_option
@click.pass_obj
def reconcile(config: Path, tenant: str, as_json: bool) -> None:
    """The trial balance of every book, and the findings; exit code 1 if a book does not balance or there is one."""
    entries = _entries(_settings(config), tenant)
    balance, found = trial_balance(entries), findings(entries)
    if as_json:
        click.echo(json.dumps({**balance.to_json(), "findings": [f.to_json() for f in found]}, indent=2))
    else:
        click.echo(str(balance))
        for finding in found:
            click.echo(f"finding: {finding}")
        click.echo("the books balance" if balance.balanced else "the books DO NOT BALANCE")
    bad = [finding for finding in found if finding.rule not in HARMLESS]
    sys.exit(1 if bad or not balance.balanced else 0)


@ledger.command()
@tenant_option
@click.option("--incident", help="Only of this incident.")
@click.option(
    "--stage", type=click.Choice(STAGES, case_sensitive=False), metavar="STAGE", help="Only of this one: AUTHORIZED."
)
@click.option("--limit", type=click.IntRange(1), help="Only the last so many.")
@json_option
@click.pass_obj
def show(config: Path, tenant: str, incident: str | None, stage: str | None, limit: int | None, as_json: bool) -> None:
    """The entries, oldest first, one line each; with --json one object a line."""
    entries = [
        entry
        for entry in _entries(_settings(config), tenant)
        if (incident is None or entry.incident_id == incident) and stage in (None, entry.stage)
    ]
    for entry in entries[-limit:] if limit else entries:
        click.echo(json.dumps(entry.to_json()) if as_json else line_of(entry))


@ledger.command()
@tenant_option
@click.pass_obj
def checkpoint(config: Path, tenant: str) -> None:
    """The newest signed checkpoint, and the key that verifies it (on standard error)."""
    settings = _settings(config)
    path = settings.ledger.path
    if not path.is_file():
        _fail(f"{path}: no such file", 2)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        with closing(schema.connect(path)) as store:
            sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
            row = store.execute(sql, (tenant,)).fetchone()
    except (sqlite3.Error, notes.BadKey) as error:
        _fail(str(error) if isinstance(error, notes.BadKey) else f"{path}: {error}", 2)
    if row is None:
        _fail(f"there is no tenant {tenant} in {path}", 2)
    name = notes.log_origin(settings.ledger.origin, tenant)
    click.echo(notes.verifier_key(name, public), err=True)
    click.echo(row[0], nl=False)


def line_of(entry: Entry) -> str:
    """One entry as one line: index, time, stage, actor, what it settles, and why. Nothing in it moves the cursor."""
    settles = f" settles {entry.settles}" if entry.settles is not None else ""
    incident = f" {entry.incident_id}" if entry.incident_id else ""
    at = entry.timestamp.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    line = f"{entry.index:>5} {at} {entry.stage:<12} {entry.actor:<20}{incident}{settles}  {entry.reason}"
    return "".join(character if character.isprintable() else " " for character in line).rstrip()


def _settings(config: Path) -> Settings:
    try:
        return load_settings(config, os.environ)
    except SettingsErrors as error:
        _fail(str(error), 2)


def _entries(settings: Settings, tenant: str) -> list[Entry]:
    try:
        found = read_entries(settings.ledger.path, tenant)
    except NotALedger as error:
        _fail(str(error), 2)
    if not found:
        _fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
    return found


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"counterfoil: {message}", err=True)
    sys.exit(code)
