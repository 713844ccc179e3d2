"""`counterfoil ledger seal`: end a ledger, and begin the one that goes on from it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.audit import NotALedger, verify_store
from ledger.carried import Opening
from ledger.journal import Broken
from ledger.keys import KeyFault
from ledger.stores import opening, sealing
from receiver.commands.client import fail
from receiver.commands.ledger.carrying import opening_in
from receiver.commands.ledger.common import by_option, line_of, reason_option, settings_of, stopped
from receiver.incident.carrying import CannotCarry
from receiver.settings import Settings

SHOWN = 20
_ORIGIN = re.compile(r"[!-*,-~]{1,200}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--origin", required=True, help="The new ledger's name in all that it signs; another than the old one's.")
@by_option
@reason_option
@click.pass_obj
def seal(config: Path, file: Path, origin: str, by: str, reason: str) -> None:
    """End the ledger, and begin another in FILE that goes on from it. The service must be stopped.

    Each log gets a last entry that names the new log and its key; each new log begins with an OPENED that holds the old
    one's last checkpoint. The old file is never written again, and stays verifiable: keep it with its key.

    Halts, open incidents and watches are carried forward, with what limits and cool-downs count and whose PIN is
    locked. Nothing may be in flight: a question, an execution, a message, a drill. What is, is listed, and the running
    service or a person settles it first. What the new ledger does not know: whose day at WhatsApp is open, who
    enrolled, and which alerts were closed by hand more than a week ago. If it is cut off, call it again with the
    same FILE and origin.
    """
    settings = settings_of(config)
    path = settings.ledger.path
    if not path.is_file():
        fail(f"{path}: no such file; there is nothing to seal", 2)
    if file.exists():
        fail(f"{file}: is there already, and nothing is overwritten", 2)
    if origin == settings.ledger.origin or not _ORIGIN.fullmatch(origin):
        fail(f"{origin!r}: the new ledger needs a name of its own, printable ASCII without space or plus", 2)
    try:
        with stopped(settings):
            _seal(settings, file, origin, by, reason)
    except (Broken, CannotCarry, NotALedger, notes.BadKey, KeyFault) as error:
        fail(str(error), 1)
    except sqlite3.Error as error:
        fail(f"{path}: {error}", 1)


def _seal(settings: Settings, file: Path, origin: str, by: str, reason: str) -> None:
    ledger = settings.ledger
    key = notes.load_key_file(ledger.key_file)
    sealed = bool(sealing.seals(ledger.path))
    if not sealed:
        given, public = ledger.anchor_file, key.public_key()
        for audit in verify_store(ledger.path, origin=ledger.origin, public=public, newest=True, anchor_path=given):
            if audit.fault is not None:
                fail(f"the ledger does not hold: {audit.fault}", 1)
    openings = {tenant: opening_in(ledger.path, tenant) for tenant in sealing.tenants(ledger.path)}
    if not sealed:
        _refuse_in_flight(ledger.path, openings)
    fresh = ledger.key_file.with_name(f"{file.stem}.key")
    # Crash here: a key that signs nothing. The next call takes it.
    new = notes.load_key_file(fresh) if fresh.exists() else notes.make_key_file(fresh)
    if new.public_key() == key.public_key():
        fail(f"{fresh} is the key of the old ledger: call FILE otherwise", 2)
    if not sealed:
        store = opening.Store(ledger.path, ledger.origin, key.public_key())
        posted = sealing.seal(
            store,
            key,
            anchor_path=ledger.anchor_file,
            tenants=settings.tenants,
            clock=lambda: datetime.now(UTC),
            successor=origin,
            new=new,
            by=by,
            reason=reason,
            openings=openings,
            target=file,
        )
        for entry in posted:
            click.echo(f"entry {entry.index} of {entry.tenant_id}: sealed by {entry.actor}")
    # Crash here: sealed, and nothing goes on yet. The next call makes the file.
    sealing.begin(ledger.path, file, origin, new, lambda: datetime.now(UTC), openings)
    for tenant, brought in openings.items():
        for book, found in brought.carries.items():
            click.echo(f"{tenant}: carried forward: {book}: {', '.join(map(str, found))}")
    click.echo(f"{file} goes on from it. Write into the section ledger of the configuration, then start the service:")
    click.echo(f"  url: sqlite:///{file.absolute()}")
    click.echo(f"  origin: {origin}")
    click.echo(f"  key_file: {fresh.absolute()}")
    click.echo(f"  anchor_file: {ledger.anchor_file.absolute().with_name(f'{file.stem}.anchor')}")
    click.echo(f"Keep {ledger.path} with {ledger.key_file}; `counterfoil ledger verify --former` checks the link.")


def _refuse_in_flight(path: Path, openings: Mapping[str, Opening]) -> None:
    """What is not carried forward ends first, by the service or a person."""
    found = [
        f"{entry.tenant_id}: {book}: {line_of(entry)}"
        for book, entry in sealing.outstanding(path)
        if entry.index not in openings[entry.tenant_id].carries.get(book, ())
    ]
    found += [f"{tenant}: {line}" for tenant, brought in openings.items() for line in brought.waits]
    if not found:
        return
    for line in found[:SHOWN]:
        click.echo(line, err=True)
    more = f" (the first {SHOWN} are shown)" if len(found) > SHOWN else ""
    fail(
        f"{len(found)} obligations are in flight{more}: let the service or a person settle them, then seal; "
        f"`counterfoil ledger reconcile` says how. Watches, open incidents and halts are carried forward",
        1,
    )
