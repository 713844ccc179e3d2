"""`counterfoil ledger show` and `checkpoint`: the entries and the signed head, read-only."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.accounts import STAGES
from ledger.stores import schema
from receiver.commands.client import fail
from receiver.commands.ledger.common import entries_of, json_option, line_of, settings_of, tenant_option


@click.command()
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
        entry for entry in entries_of(settings_of(config), tenant) if incident is None or entry.incident_id == incident
    ]
    if not entries:
        fail(f"no entry of {tenant} is of an incident {incident}: `counterfoil incident list --all` has them", 2)
    entries = [entry for entry in entries if stage in (None, entry.stage)]
    if not entries:
        click.echo(f"counterfoil: no entry there is {stage}", err=True)
    for entry in entries[-limit:] if limit else entries:
        click.echo(json.dumps(entry.to_json()) if as_json else line_of(entry))


@click.command()
@tenant_option
@click.pass_obj
def checkpoint(config: Path, tenant: str) -> None:
    """The newest signed checkpoint, and the key that verifies it (on standard error)."""
    settings = settings_of(config)
    path = settings.ledger.path
    if not path.is_file():
        fail(f"{path}: no such file", 2)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        with closing(schema.connect(path)) as store:
            sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
            row = store.execute(sql, (tenant,)).fetchone()
    except (sqlite3.Error, notes.BadKey) as error:
        fail(str(error) if isinstance(error, notes.BadKey) else f"{path}: {error}", 2)
    if row is None:
        fail(f"there is no tenant {tenant} in {path}", 2)
    name = notes.log_origin(settings.ledger.origin, tenant)
    click.echo(notes.verifier_key(name, public), err=True)
    click.echo(row[0], nl=False)
