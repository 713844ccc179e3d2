"""`counterfoil ledger accept-restored`: go on from a backup, and say in the ledger what was lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.audit import NotALedger, verify_store
from ledger.journal import Broken
from ledger.keys import KeyFault, size_said
from ledger.stores import opening, restoring
from receiver.commands.client import fail
from receiver.commands.ledger.common import by_option, reason_option, settings_of, stopped
from receiver.commands.ledger.rotate_key import change_key, fresh_key, in_force, put_in_place
from receiver.settings import Settings


@click.command("accept-restored")
@by_option
@reason_option
@click.pass_obj
def accept_restored(config: Path, by: str, reason: str) -> None:
    """Go on from a backup that is older than its anchor. The service must be stopped.

    For when the newest ledger is gone for good: what was decided after the backup is lost, and this says so. The backup
    is verified first. Each log then gets an entry REKEYED that names the checkpoint of what was lost, and a new signing
    key, so that nothing signed or asked in the lost entries counts in the new ones; the anchors follow. A ledger with
    another history than its anchor's is refused. If it is cut off, call it again.
    """
    settings = settings_of(config)
    if not settings.ledger.path.is_file():
        fail(f"{settings.ledger.path}: no such file; put the backup there first", 2)
    try:
        with stopped(settings):
            _accept(settings, by, reason)
    except (Broken, NotALedger, notes.BadKey, KeyFault) as error:
        fail(str(error), 1)
    except sqlite3.Error as error:
        fail(f"{settings.ledger.path}: {error}", 1)


def _accept(settings: Settings, by: str, reason: str) -> None:
    ledger, tenants = settings.ledger, tuple(settings.tenants)
    old = notes.load_key_file(ledger.key_file)
    new = fresh_key(ledger.key_file)
    if in_force(settings, new):
        click.echo("the ledger is under the new key already: an acceptance before this one was cut off")
    else:
        store = opening.Store(ledger.path, ledger.origin, old.public_key())
        lost = restoring.lost_of(store, ledger.anchor_file, tenants)
        if not lost:
            fail("there is nothing to accept: no log is behind its anchor", 1)
        for audit in verify_store(ledger.path, origin=ledger.origin, public=old.public_key()):
            if audit.fault is not None:
                fail(f"the copy does not hold: {audit.fault}; put another one there", 1)
        for entry in change_key(settings, old, new, by, reason, lost):
            if entry.tenant_id in lost:
                size = size_said(lost[entry.tenant_id])
                click.echo(
                    f"{entry.tenant_id}: entries {entry.index} to {size - 1} are lost, as entry {entry.index} says"
                )
    # Crash here: the anchors say what was lost. The next call writes them.
    restoring.level(opening.Store(ledger.path, ledger.origin, new.public_key()), ledger.anchor_file, tenants)
    put_in_place(settings, old)
