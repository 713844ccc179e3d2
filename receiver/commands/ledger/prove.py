"""`counterfoil ledger prove`: that one entry is in the log, as a file; read-only and beside a running service."""

from __future__ import annotations

from pathlib import Path

import click

from ledger import proofs
from ledger.audit import NotALedger
from ledger.logfile import open_log
from receiver.commands.client import fail
from receiver.commands.ledger.common import settings_of, tenant_option


@click.command()
@click.argument("index", type=click.IntRange(0))
@click.option("--output", type=click.Path(path_type=Path), help="Where to write it, a new file; else standard output.")
@tenant_option
@click.pass_obj
def prove(config: Path, index: int, output: Path | None, tenant: str) -> None:
    """Write a proof that the entry INDEX is in the log: the entry, its path, and the signed checkpoint.

    `counterfoil ledger verify --proof FILE --key VKEY` checks it, without a ledger and without a configuration.
    """
    settings = settings_of(config)
    try:
        with open_log(settings.ledger.path, tenant) as log:
            if not log.size:
                fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
            if index >= log.size:
                fail(f"there is no entry {index}: the log of {tenant} has {log.size}", 2)
            text = proofs.prove(log, settings.ledger.origin, index).text()
    except NotALedger as error:
        fail(str(error), 2)
    except proofs.BadProof as error:
        fail(str(error), 1)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{output}: {error.strerror}", 2)
    click.echo(f"{output}: entry {index} of {tenant}")
