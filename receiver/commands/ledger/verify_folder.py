"""`counterfoil ledger verify --export`: a folder that `ledger export` wrote, offline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from ledger import checkpoint as notes
from ledger.exporting.place import Fault
from ledger.exporting.source import NoExport
from ledger.exporting.verify import Verified, verify_export
from ledger.exporting.whole import CHECKPOINT
from receiver.commands import why
from receiver.commands.client import fail
from receiver.commands.ledger import replayed
from receiver.commands.ledger.common import progress_on_terminal, settings_of


def verify_folder(config: Path, folder: Path, vkey: str | None, *, replay: bool, as_json: bool) -> NoReturn:
    """Say OK and the root, or the first fault, and exit with 1 then. replay: let policy decide again, too."""
    try:
        found, fault = verify_export(folder, vkey or _configured(config, folder), progress_on_terminal()), None
    except Fault as error:
        found, fault = None, error
    except NoExport as error:
        fail(str(error), 2)
    except OSError as error:
        fail(why(error), 2)
    again = _again(folder, found) if replay and found is not None else None
    if as_json:
        held = {"entries": found.entries, "size": found.size, "root": found.root} if found is not None else {}
        where = {"fault": str(fault), "index": fault.index} if fault is not None else {"fault": None, "index": None}
        more = {"replay": again.to_json()} if again is not None else {}
        click.echo(json.dumps(held | where | more, indent=2))
    else:
        click.echo(f"FAULT: {fault}" if fault is not None else str(found))
        if again is not None:
            click.echo(str(again))
    sys.exit(1 if fault is not None or (again is not None and again.differences) else 0)


def _again(folder: Path, found: Verified) -> replayed.Replayed:
    if found.entries < found.size:
        fail(f"{folder} holds {found.entries} of {found.size} entries: only a whole export can be decided again", 2)
    return replayed.replay(replayed.Folder(folder))


def _configured(config: Path, folder: Path) -> str:
    """The key of the configuration, for the log that the folder says it is. A key is never taken from the folder."""
    if not config.is_file():
        fail("say with --key under which verifier key: the one in the folder proves nothing", 2)
    settings = settings_of(config).ledger
    if not (folder / CHECKPOINT).is_file():
        what = f"no folder that `counterfoil ledger export` wrote: it has no {CHECKPOINT}"
        fail(f"{folder}: {what if folder.is_dir() else 'no such folder'}", 2)
    try:
        with (folder / CHECKPOINT).open(encoding="utf-8", errors="replace") as file:
            name = file.readline(1_000).rstrip("\n")
        public = notes.load_key_file(settings.key_file).public_key()
    except OSError as error:
        fail(why(error), 2)
    except notes.BadKey as error:
        fail(str(error), 2)
    if not name.startswith(f"{settings.origin}/"):
        fail(f"{folder} is of {name!a}, and {config} of {settings.origin}: say with --key under which key", 2)
    return notes.verifier_key(name, public)
