"""`counterfoil ledger verify`: read-only and beside a running service."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ledger import checkpoint as notes
from ledger.audit import NotALedger, verify_store
from receiver.commands.client import fail
from receiver.commands.ledger.common import json_option, settings_of


@click.command()
@json_option
@click.pass_obj
def verify(config: Path, as_json: bool) -> None:
    """Check every byte, leaf, root, checkpoint, blob and posting rule of every tenant.

    Prints "OK: N entries, root …", or the first fault and where it is, and then exits with 1.
    """
    settings = settings_of(config)
    try:
        public = notes.load_key_file(settings.ledger.key_file).public_key()
        audits = verify_store(
            settings.ledger.path,
            origin=settings.ledger.origin,
            public=public,
            newest=True,
            anchor_path=settings.ledger.anchor_file,
        )
    except (NotALedger, notes.BadKey) as error:
        fail(str(error), 2)
    if not audits:
        fail(f"{settings.ledger.path}: it holds no entries; `counterfoil serve` begins the log of each tenant", 1)
    if as_json:
        rows = [
            {"tenant": a.tenant, "entries": a.entries, "root": a.root, "fault": str(a.fault) if a.fault else None}
            for a in audits
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        for audit in audits:
            click.echo(f"{audit.tenant}: {audit}" if len(audits) > 1 else str(audit))
    sys.exit(1 if any(audit.fault for audit in audits) else 0)
