"""`counterfoil halt` and `counterfoil resume`: the kill switch, through the running service."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import click

from ledger.entry import Entry
from ledger.stores import sealing
from receiver.commands.client import call
from receiver.commands.incident_then import printable
from receiver.settings import load_settings

by_option = click.option("--by", required=True, help="Who does it: a name of the roster, or of an operator.")
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose dispatch.")


@click.command()
@by_option
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@tenant_option
@click.pass_obj
def halt(config: Path, by: str, reason: str, tenant: str) -> None:
    """Stop all dispatch until somebody else resumes. What is already sent is not called back."""
    _change(config, "/api/v1/halts", tenant, by, reason)


@click.command()
@by_option
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@click.option("--action", help="Only let this action be proposed again, which its breaker holds back.")
@tenant_option
@click.pass_obj
def resume(config: Path, by: str, reason: str, action: str | None, tenant: str) -> None:
    """End every halt of others. Whoever halted cannot resume. What stays halted is said.

    With --action: what `breaker` of a policy holds back after too many runs that did not help is offered again.
    """
    path = f"/api/v1/actions/{quote(action, safe='')}/resumes" if action is not None else "/api/v1/resumes"
    _change(config, path, tenant, by, reason)
    for line in _left(config, tenant):
        click.echo(line)


def _left(config: Path, tenant: str) -> Iterator[str]:
    """What is halted still, as the ledger's file has it: of this tenant, and of the others."""
    path = load_settings(config, os.environ).ledger.path
    try:
        found = [entry for book, entry in sealing.outstanding(path) if book == "halts"]
    except (sqlite3.Error, ValueError) as error:
        yield f"whether anything is halted still cannot be read: {path}: {error}"
        return
    own = [entry for entry in found if entry.tenant_id == tenant]
    yield from (f"still halted: {_standing(entry)}" for entry in own)
    if not own:
        yield f"nothing of {tenant} is halted any more"
    others = [entry for entry in found if entry.tenant_id != tenant]
    yield from (f"halted too, and resumed by --tenant {e.tenant_id}: {_standing(e)}" for e in others)


def _standing(entry: Entry) -> str:
    name = entry.actor.partition(":")[2]
    text = f"entry {entry.index} by {entry.actor}, {entry.timestamp:%Y-%m-%d %H:%M:%S} UTC: {entry.reason}"
    return f"{printable(text)}; somebody else than {name} must resume it"


def _change(config: Path, path: str, tenant: str, by: str, reason: str) -> None:
    for entry in call(config, "POST", path, tenant=tenant, body={"by": by, "reason": reason})["entries"]:
        click.echo(f"entry {entry['index']}: {entry['stage']} by {entry['actor']}")
