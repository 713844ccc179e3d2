"""`counterfoil person`: whose words and numbers the ledger still holds readable, and erasing them."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import warnings
from contextlib import closing
from getpass import GetPassWarning
from pathlib import Path
from typing import Any

import click

from ledger.audit import NotALedger
from ledger.entry import Entry
from ledger.journal import Broken
from ledger.logfile import open_log
from ledger.stores import schema
from ledger.stores.people import STRANGER
from receiver.authorization import pins
from receiver.commands.client import call, fail
from receiver.commands.incident_then import printable
from receiver.commands.ledger.common import json_option, settings_of
from receiver.configuration import people_of
from receiver.incident import enrolled
from receiver.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose people.")


@click.group()
def person() -> None:
    """People, and what the ledger holds of them: names, and under a key of each their numbers and messages."""


@person.command("list")
@tenant_option
@json_option
@click.pass_obj
def list_people(config: Path, tenant: str, as_json: bool) -> None:
    """Say of whom messages can be read, who is suspended or opted out, and who was erased. Asks no service."""
    settings = settings_of(config)
    if tenant not in settings.tenants:
        fail(f"there is no tenant {tenant} in {config}", 2)
    try:
        rows = _rows(settings, tenant)
    except (Broken, NotALedger) as error:
        fail(str(error), 2)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        roles = f" ({', '.join(row['roles'])})" if row["roles"] else ""
        back = f"; {row['suspended']} (`person enrol` is the way back)" if row["suspended"] else ""
        out = "; opted out, until they send START" if row["opted_out"] else ""
        click.echo(printable(f"{row['person']:<20} {row['state']}{roles}{back}{out}"))


@person.command()
@click.argument("name")
@click.option("--by", required=True, help="Which operator does it.")
@tenant_option
@click.pass_obj
def erase(config: Path, name: str, by: str, tenant: str) -> None:
    """Destroy the key of what was written to and by NAME, and of their numbers, through the running service.

    Take them out of counterfoil.yml and reload first. The ledger gets an entry ERASED; every entry and proof stays as
    it is, and verifies, for the digests are over what nobody can read now. What stays: the name, and what was decided
    under it. "(stranger)" is the key of all who are in no roster.

    Copies of the file LEDGER.people that were made before hold the key still: replace them.
    """
    settings_of(config)
    for entry in call(config, "POST", "/api/v1/erasures", tenant=tenant, body={"by": by, "person": name})["entries"]:
        click.echo(f"entry {entry['index']}: {entry['stage']} by {entry['actor']}: {name}")
    click.echo("Older copies of the people file still hold the key: replace each with a new one.")


@person.command()
@click.argument("name")
@click.option("--by", required=True, help="Which operator does it.")
@tenant_option
@click.pass_obj
def enrol(config: Path, name: str, by: str, tenant: str) -> None:
    """Print the word that NAME is to text from their phone, through the running service.

    It holds for a day, and once. Whoever texts it from the number in the roster is enrolled with that number and with
    the carrier's own id for them; an answer from the number under another id then suspends them. It is also the way
    back of whoever is suspended.
    """
    settings_of(config)
    said = call(config, "POST", f"/api/v1/people/{name}/enrolments", tenant=tenant, body={"by": by})
    click.echo(f"{name} sends this to {settings_of(config).twilio.sender.removeprefix('whatsapp:')} within a day:")
    click.echo(f"  {said['text']}")


@person.command()
@click.argument("name")
@click.option("--by", required=True, help="Which operator does it.")
@click.option("--reason", required=True, help="Why.")
@tenant_option
@click.pass_obj
def suspend(config: Path, name: str, by: str, reason: str, tenant: str) -> None:
    """Let nothing of NAME count until they enrol again, through the running service.

    Questions that are open to them are withdrawn and asked anew of the others.
    """
    settings_of(config)
    body = {"by": by, "reason": reason}
    for entry in call(config, "POST", f"/api/v1/people/{name}/suspensions", tenant=tenant, body=body)["entries"]:
        click.echo(f"entry {entry['index']}: {entry['reason']}")


@person.command("pin")
@click.argument("name")
@click.option(
    "--file", type=click.Path(path_type=Path), help="Where to [default: secrets/NAME.pin beside the configuration]."
)
@click.pass_obj
def set_pin(config: Path, name: str, file: Path | None) -> None:
    """Ask for NAME's PIN, twice, and write a slow salted hash of it, for actions whose policy says `pin: true`.

    The PIN itself is kept nowhere. The file takes the place of an older one; SIGHUP or `POST /-/reload` reads it.
    """
    if not _NAME.fullmatch(name):
        fail(f"{name!r} is no name of a person", 2)
    path = file or config.parent / "secrets" / f"{name}.pin"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            pin = click.prompt(f"PIN of {name}, 6 to 12 digits", hide_input=True, confirmation_prompt=True)
    except GetPassWarning:
        fail("a PIN is asked for at a terminal, where nobody sees it, and there is none: call this from one", 2)
    why = pins.weakness(pin)
    if why is not None:
        fail(why, 2)
    new = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(pins.hashed(pin) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(path)
    except OSError as error:
        fail(f"{path}: {error.strerror}", 2)
    click.echo(f"{path} holds a hash of it. In counterfoil.yml, at {name}: pin_file: {_relative(path, config)}")


def _relative(path: Path, config: Path) -> Path:
    folder = config.parent.resolve()
    return path.resolve().relative_to(folder) if path.resolve().is_relative_to(folder) else path.resolve()


def _rows(settings: Settings, tenant: str) -> list[dict[str, Any]]:
    """Everybody of the roster, of the keys, and of the erased, in that order. Raises Broken and NotALedger."""
    ledger, roster = settings.ledger, settings.tenants[tenant].people
    keys, known = people_of(ledger).names(tenant), _enrolled(ledger.path, tenant)
    rows: list[dict[str, Any]] = []
    for name in [*roster, *(name for name in keys if name not in roster)]:
        state = "readable" if name in keys else "nothing is held yet"
        if name in keys and name not in roster and name != STRANGER:
            state = "readable, and no longer in the roster: can be erased"
        away = {"suspended": known.suspended.get(name), "opted_out": name in known.opted_out}
        roles = list(roster[name].roles) if name in roster else []
        rows.append({"person": name, "state": state, "roles": roles, **away})
    for entry in _erased(ledger.path, tenant):
        at = entry.timestamp.strftime("%Y-%m-%d %H:%M:%S")
        state = f"erased {at} by {entry.actor}, entry {entry.index}"
        away = {"suspended": None, "opted_out": False}
        rows.append({"person": str(entry.body.get("person")), "state": state, "roles": [], **away})
    return rows


def _enrolled(path: Path, tenant: str) -> enrolled.Enrolled:
    """Who is suspended, and who opted out; nobody where there is no ledger yet."""
    found = enrolled.Enrolled()
    if path.is_file():
        with open_log(path, tenant) as log:
            for entry in log.entries(stage="NOTED"):
                if entry.body.get("kind") in enrolled.KINDS:
                    found.take(entry)
    return found


def _erased(path: Path, tenant: str) -> list[Entry]:
    if not path.is_file():
        return []
    try:
        with closing(schema.connect(path)) as store:
            sql = "SELECT bytes FROM entry WHERE +tenant = ? AND stage = 'ERASED' ORDER BY n"
            return [Entry.parse(raw.encode()) for (raw,) in store.execute(sql, (tenant,))]
    except (sqlite3.Error, ValueError) as error:
        raise NotALedger(f"{path}: {error}") from error
