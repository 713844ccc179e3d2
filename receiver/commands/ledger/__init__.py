"""`counterfoil ledger`: one file a command; `common.py` has what they share."""

from __future__ import annotations

import click

from receiver.commands.ledger.accept_restored import accept_restored
from receiver.commands.ledger.backup import backup
from receiver.commands.ledger.export import export
from receiver.commands.ledger.prove import prove
from receiver.commands.ledger.reconcile import reconcile
from receiver.commands.ledger.rotate_key import rotate_key
from receiver.commands.ledger.seal import seal
from receiver.commands.ledger.show import checkpoint, show
from receiver.commands.ledger.verify import verify


@click.group()
def ledger() -> None:
    """What was recorded: verify it, balance its books, read it. Only rotate-key, accept-restored and seal write."""


for command in (verify, reconcile, show, checkpoint, prove, export, backup, rotate_key, accept_restored, seal):
    ledger.add_command(command)
