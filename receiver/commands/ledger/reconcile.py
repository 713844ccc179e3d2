"""`counterfoil ledger reconcile`: the trial balance and the findings, read-only and beside a running service."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ledger.audit import HARMLESS
from ledger.reconcile import findings, trial_balance
from receiver.commands.ledger.common import entries_of, json_option, settings_of, tenant_option


@click.command()
@tenant_option
@json_option
@click.pass_obj
def reconcile(config: Path, tenant: str, as_json: bool) -> None:
    """The trial balance of every book, and the findings; exit code 1 if a book does not balance or there is one."""
    entries = entries_of(settings_of(config), tenant)
    balance, found = trial_balance(entries), findings(entries)
    if as_json:
        click.echo(json.dumps({**balance.to_json(), "findings": [f.to_json() for f in found]}, indent=2))
    else:
        click.echo(str(balance))
        for finding in found:
            click.echo(f"finding: {finding}")
        click.echo("the books balance" if balance.balanced else "the books DO NOT BALANCE")
    bad = [finding for finding in found if finding.rule not in HARMLESS]
    sys.exit(1 if bad or not balance.balanced else 0)
