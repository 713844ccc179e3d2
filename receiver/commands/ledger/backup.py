"""`counterfoil ledger backup`: a verified copy, beside a running service."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.audit import NotALedger
from ledger.stores.backup import BadCopy, back_up
from ledger.stores.people import people_path
from receiver.commands import why
from receiver.commands.client import fail
from receiver.commands.ledger.common import settings_of
from receiver.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.pass_obj
def backup(config: Path, file: Path) -> None:
    """Copy the whole ledger, with its blobs, to FILE, also while the service runs, and verify the copy.

    FILE must not exist, gets mode 0600, and stands only once every byte of it was verified. What else a restore needs
    is listed: the key, the configuration and what it names. The anchor is not copied: it stays where it is, ahead of
    every backup, so that an old copy cannot pass for the ledger.

    To restore, stop the service, put FILE in the ledger's place (and remove the files NAME-wal and NAME-shm beside it),
    then `counterfoil ledger verify`. Where the ledger that was lost had more entries, the service refuses to start, and
    `counterfoil ledger accept-restored` is how to go on knowingly.
    """
    settings = settings_of(config)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        audits = back_up(settings.ledger.path, file, origin=settings.ledger.origin, public=public, progress=_progress())
    except FileExistsError as error:
        hint = "" if error.filename == str(file) else ": another backup runs, or one was cut off; remove it then"
        fail(f"{error.filename}: is there already, and nothing is overwritten{hint}", 2)
    except (NotALedger, notes.BadKey) as error:
        fail(str(error), 2)
    except BadCopy as error:
        fail(f"{file}: no backup was made, the copy does not hold: {error}; see `counterfoil ledger verify`", 1)
    except OSError as error:
        fail(f"{file}: no backup was made: {why(error)}; make room there, or name another place", 2)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            fail(f"{file}: no backup was made: the disk is full; make room there, or name another place", 2)
        fail(f"{file}: no backup was made: {error}", 1)
    for audit in audits:
        click.echo(f"{audit.tenant}: {audit}")
    click.echo(f"{file}: {file.stat().st_size:,} bytes, verified")
    click.echo("A restore needs these too, which it does not hold; keep them elsewhere, apart from it:")
    for line in _needed(config, settings):
        click.echo(f"  {line}")


def _needed(config: Path, settings: Settings) -> list[str]:
    ledger = settings.ledger
    lines = [
        f"{ledger.key_file}: the key; nothing can be appended without it",
        f"{config}: the configuration, the policies and the secrets that it names",
    ]
    lines.append(
        f"{people_path(ledger.path)} and {ledger.personal_key_file}: without them nobody reads what was written to "
        f"and by people; keep only the newest copy, so that whoever was erased stays so"
    )
    if ledger.timestamps is not None:
        lines.append(f"{ledger.timestamps_folder}: the time-stamps")
    if ledger.witness_file is not None:
        lines.append(f"{ledger.witness_file}: the checkpoints that were placed there")
    return [*lines, f"{ledger.anchor_file}.*: the anchors stay where they are; never put an old one back"]


def _progress() -> Callable[[int, int], None]:
    """Says how much is copied, on a terminal's standard error, and nothing elsewhere."""

    def tell(done: int, pages: int) -> None:
        click.echo(f"\r{done:,} of {pages:,} pages copied", err=True, nl=False)
        if done == pages:
            click.echo("; verifying", err=True)

    return tell if sys.stderr.isatty() else lambda done, pages: None
