"""`counterfoil diagnosis preview`: exactly what would be sent to Claude about an incident, without sending it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ledger.entry import Entry
from receiver.app import make_claude
from receiver.commands.client import fail
from receiver.commands.incident_then import FileLog, from_file
from receiver.diagnosis.budget import dollars
from receiver.diagnosis.claude import Claude
from receiver.diagnosis.tool import Asks
from receiver.governor.kept import case_of
from receiver.papers import Answered, CaseFile
from receiver.settings import load_settings

CHARACTERS_PER_TOKEN = 4  # of English and JSON, about


class Offered:
    """Stands for the tenant's Prometheus: the tool is offered, and nothing is asked."""

    async def series(self, promql: str, *, end: datetime, seconds: int, timeout_seconds: float) -> Answered:
        return Answered(fault="a preview asks nothing")


@click.group()
def diagnosis() -> None:
    """What Claude is told."""


@diagnosis.command()
@click.argument("incident_id")
@click.option("--tenant", default="default", show_default=True, help="Whose incident.")
@click.option("--json", "as_json", is_flag=True, help="The request alone, for programs.")
@click.pass_obj
def preview(config: Path, incident_id: str, tenant: str, as_json: bool) -> None:
    """Show what would be sent about an incident's last case file, its size and its cost; nothing is sent.

    From the ledger's file and today's configuration, so that a change of what may leave is seen before it counts.
    """

    async def found(source: FileLog) -> CaseFile | None:
        entries = await source.entries(tenant, incident=incident_id, stage="CONSULTED")
        return await kept_case(source, tenant, entries[-1]) if entries else None

    with from_file(config, tenant) as (source, _):
        case = asyncio.run(found(source))
        settings = load_settings(config, os.environ)
    if case is None:
        fail(f"the ledger holds no case file of {incident_id} in {tenant}: was Claude to be asked about it?", 2)
    offered: Asks | None = Offered() if settings.tenants[tenant].prometheus is not None else None
    claude = make_claude(settings, lambda: datetime.now(UTC), lambda _: offered)
    shown = previewed(claude, case)
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=True))
        return
    click.echo(json.dumps(shown["request"], indent=2, ensure_ascii=True))
    click.echo(
        f"{shown['bytes']:,} bytes, about {shown['tokens']:,} tokens in and {shown['tokens_out']:,} out at the most"
    )
    click.echo(f"costs at most {shown['cost_usd']} USD a round by the price table; nothing was sent")
    click.echo(f"redacted: {', '.join(f'{count} {kind}' for kind, count in shown['redacted'].items()) or 'nothing'}")


async def kept_case(source: FileLog, tenant: str, consulted: Entry) -> CaseFile | None:
    """The case file that stands with a CONSULTED; None where it has none, or where it was erased."""
    digest = next((blob.digest for blob in consulted.blobs if blob.name == "case"), None)
    text = await source.blob(tenant, digest) if digest is not None else None
    return case_of(text, tenant) if text is not None else None


def previewed(claude: Claude, case: CaseFile) -> Mapping[str, Any]:
    """The first request as it would be sent, and what it comes to. tokens, cost_usd: estimates."""
    talk = claude.begin(case)
    request = talk.question(last=False)
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    tokens = len(text) // CHARACTERS_PER_TOKEN
    return {
        "request": request,
        "bytes": len(text.encode()),
        "tokens": tokens,
        "tokens_out": request["max_tokens"],
        "cost_usd": dollars(claude.price.most(tokens, request["max_tokens"])),
        "redacted": dict(talk.redactor.counts),
    }
