"""`counterfoil halt` and `counterfoil resume`: the kill switch, through the running service."""

from __future__ import annotations

from pathlib import Path

import click

from receiver.commands.client import call

by_option = click.option("--by", required=True, help="Who does it: a name of the roster, or of an operator.")
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose dispatch.")


@click.command()
@by_option
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@tenant_option
@click.pass_obj
def halt(config: Path, by: str, reason: str, tenant: str) -> None:
    """Stop all dispatch until somebody else resumes. What is already sent is not called back."""
    _change(config, "/api/v1/halts", tenant, by, reason)


@click.command()
@by_option
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@tenant_option
@click.pass_obj
def resume(config: Path, by: str, reason: str, tenant: str) -> None:
    """End every halt of others. Whoever halted cannot resume."""
    _change(config, "/api/v1/resumes", tenant, by, reason)


def _change(config: Path, path: str, tenant: str, by: str, reason: str) -> None:
    for entry in call(config, "POST", path, tenant=tenant, body={"by": by, "reason": reason})["entries"]:
        click.echo(f"entry {entry['index']}: {entry['stage']} by {entry['actor']}")
