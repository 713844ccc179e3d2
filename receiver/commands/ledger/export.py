"""`counterfoil ledger export`: a log as a folder for an auditor, read-only and beside a running service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.exporting.export import Format
from ledger.exporting.export import export as export_log
from ledger.exporting.part import Choice
from ledger.exporting.place import Fault
from ledger.exporting.source import NoExport, stored
from receiver.commands import why
from receiver.commands.client import fail
from receiver.commands.ledger.common import Moment, progress_on_terminal, settings_of, tenant_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@tenant_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(Format), case_sensitive=False),
    default=Format.TILES,
    show_default=True,
    help="All of it, which can be verified; or one file of it.",
)
@click.option("--incident", help="Only the entries of this one, each with its proof.")
@click.option("--since", type=Moment(), help="Only entries from this time on, each with its proof.")
@click.option("--until", type=Moment(), help="Only entries before this time, each with its proof.")
@click.pass_obj
def export(
    config: Path,
    folder: Path,
    tenant: str,
    form: Format,
    incident: str | None,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Write the log of a tenant into DIR, a new folder, for an auditor.

    The folder has the entries, what they name, the tree and its signed root, the trial balance, and the books for a
    spreadsheet and for beancount. `counterfoil ledger verify --export DIR` verifies it, and so do verifiers that we
    did not write; its README.txt says how.
    """
    settings = settings_of(config)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        with stored(settings.ledger.path, settings.ledger.origin, tenant, public) as source:
            export_log(source, folder, Choice(incident, since, until), form, progress_on_terminal())
            click.echo(f"{folder}: from {source.head.size} entries, root {source.head.root.hex()}")
    except notes.BadKey as error:
        fail(str(error), 2)
    except NoExport as error:
        fail(str(error), 1 if isinstance(error.__cause__, Fault | notes.BadCheckpoint) else 2)
    except OSError as error:
        fail(f"{folder}: nothing was exported: {why(error)}; make room there, or name another folder", 2)
