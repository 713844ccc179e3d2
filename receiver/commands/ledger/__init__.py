"""`counterfoil ledger`: one file a command; `common.py` has what they share."""

from __future__ import annotations

import click

from receiver.commands.ledger.export import export
from receiver.commands.ledger.prove import prove
from receiver.commands.ledger.reconcile import reconcile
from receiver.commands.ledger.rotate_key import rotate_key
from receiver.commands.ledger.show import checkpoint, show
from receiver.commands.ledger.verify import verify


@click.group()
def ledger() -> None:
    """What was recorded: verify it, balance its books, read it. Only rotate-key writes."""


for command in (verify, reconcile, show, checkpoint, prove, export, rotate_key):
    ledger.add_command(command)
