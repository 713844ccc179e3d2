"""`counterfoil ledger rotate-key`: the one command of this group that writes, and only while the service is stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import Entry
from ledger.journal import Broken
from ledger.keys import KeyFault
from ledger.stores import opening, rotation, schema
from receiver.commands.client import fail
from receiver.commands.ledger.common import by_option, reason_option, settings_of, stopped
from receiver.settings import Settings


@click.command("rotate-key")
@by_option
@reason_option
@click.option("--now", is_flag=True, help="Also while questions are open, whose buttons and codes then count no more.")
@click.pass_obj
def rotate_key(config: Path, by: str, reason: str, now: bool) -> None:
    """Make a new signing key, and let the old one vouch for it. The service must be stopped.

    Every log gets an entry REKEYED, under a checkpoint that both keys sign. If it is cut off, call it again.
    """
    settings = settings_of(config)
    if not settings.ledger.path.is_file():
        fail(f"{settings.ledger.path}: no such file; before there is a ledger, `counterfoil init` makes its key", 2)
    try:
        with stopped(settings):
            _rotate(settings, by, reason, now)
    except (Broken, notes.BadKey, KeyFault) as error:
        fail(str(error), 1)
    except sqlite3.Error as error:
        fail(f"{settings.ledger.path}: {error}", 1)


def _rotate(settings: Settings, by: str, reason: str, now: bool) -> None:
    old = notes.load_key_file(settings.ledger.key_file)
    new = fresh_key(settings.ledger.key_file)
    if in_force(settings, new):
        click.echo("the ledger is under the new key already: a rotation before this one was cut off")
    else:
        _refuse_open_questions(settings, now)
        change_key(settings, old, new, by, reason, {})
    # Crash here: the ledger asks for a key that still stands under its first name. The next call goes on.
    put_in_place(settings, old)


def fresh_key(path: Path) -> Ed25519PrivateKey:
    """The key that is to follow the one at `path`: made, or left by a call that was cut off. Raises BadKey."""
    fresh = path.with_name(f"{path.name}.new")
    # Crash here: a key that signs nothing. The next call takes it.
    return notes.load_key_file(fresh) if fresh.exists() else notes.make_key_file(fresh)


def change_key(
    settings: Settings,
    old: Ed25519PrivateKey,
    new: Ed25519PrivateKey,
    by: str,
    reason: str,
    lost: Mapping[str, str],
) -> list[Entry]:
    """Post the REKEYED of every log and say so. lost: as in `ledger.stores.rotation.rotate`, with its errors."""
    posted = rotation.rotate(
        opening.Store(settings.ledger.path, settings.ledger.origin, old.public_key()),
        old,
        new,
        anchor_path=settings.ledger.anchor_file,
        tenants=settings.tenants,
        clock=lambda: datetime.now(UTC),
        by=by,
        reason=reason,
        lost=lost,
    )
    for entry in posted:
        click.echo(f"entry {entry.index} of {entry.tenant_id}: REKEYED by {entry.actor}")
    return posted


def in_force(settings: Settings, key: Ed25519PrivateKey) -> bool:
    """Whether every log names `key` as its newest. One transaction rotates all, so it is all of them or none."""
    with closing(schema.connect(settings.ledger.path)) as store:
        newest = [
            opening.keys_of(store, settings.ledger.origin, tenant).newest.public for tenant in opening.tenants(store)
        ]
    return bool(newest) and all(public == key.public_key() for public in newest)


def put_in_place(settings: Settings, old: Ed25519PrivateKey) -> None:
    """Put the new key where the configuration has it, keep the old one beside it, and say so. Raises OSError."""
    path = settings.ledger.key_file
    name = notes.log_origin(settings.ledger.origin, next(iter(settings.tenants)))
    retired = path.with_name(f"{path.name}.retired-{notes.key_id(name, old.public_key()).hex()}")
    rotation.exchange(path, path.with_name(f"{path.name}.new"), retired)
    click.echo(f"{path} is the new key: copy it to its second place, then start the service")
    click.echo(f"{retired} is the old one: it goes with older backups; who holds it could rewrite what it signed")


def _refuse_open_questions(settings: Settings, now: bool) -> None:
    """The codes in the messages that ask are made from the key, so a question that is open could not be answered."""
    if now:
        return
    with closing(schema.connect(settings.ledger.path)) as store:
        sql = "SELECT tenant, n FROM outstanding WHERE book = 'proposals' ORDER BY tenant, n"
        found = [f"{n} of {tenant}" for tenant, n in store.execute(sql)]
    if found:
        fail(
            f"a question is open (entry {', '.join(found)}), and its buttons and codes would count no more: "
            f"wait until it is decided, or say --now",
            1,
        )
