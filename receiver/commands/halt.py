"""`counterfoil halt` and `counterfoil resume`: the kill switch, through the running service."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

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
@click.option("--action", help="Only let this action be proposed again, which its breaker holds back.")
@tenant_option
@click.pass_obj
def resume(config: Path, by: str, reason: str, action: str | None, tenant: str) -> None:
    """End every halt of others. Whoever halted cannot resume.

    With --action: what `breaker` of a policy holds back after too many runs that did not help is offered again.
    """
    path = f"/api/v1/actions/{quote(action, safe='')}/resumes" if action is not None else "/api/v1/resumes"
    _change(config, path, tenant, by, reason)


def _change(config: Path, path: str, tenant: str, by: str, reason: str) -> None:
    for entry in call(config, "POST", path, tenant=tenant, body={"by": by, "reason": reason})["entries"]:
        click.echo(f"entry {entry['index']}: {entry['stage']} by {entry['actor']}")
