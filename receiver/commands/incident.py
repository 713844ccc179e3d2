"""`counterfoil incident`: list, show, close, note and settle, through the running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from receiver.auditor.explanation import Asked, Explanation
from receiver.auditor.report_text import markdown
from receiver.commands.client import call
from receiver.commands.incident_then import report_on, show_then

tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose incidents.")
by_option = click.option("--by", required=True, help="Who does it: a name of the roster, or of an operator.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def incident() -> None:
    """What is broken, what was decided and by whom."""


@incident.command("list")
@tenant_option
@click.option("--all", "everything", is_flag=True, help="Those that have ended, too.")
@json_option
@click.pass_obj
def list_(config: Path, tenant: str, everything: bool, as_json: bool) -> None:
    """The incidents, the newest first."""
    found: list[dict[str, Any]] = call(config, "GET", "/api/v1/incidents", tenant=tenant)["incidents"]
    shown = [row for row in found if everything or row["state"] not in ("recovered", "closed")]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    elif not shown:
        click.echo("no open incident" if not everything else "no incident")
    for row in [] if as_json else shown:
        opened = row["opened_at"][:19].replace("T", " ")
        click.echo(f"{row['incident_id']}  {row['state']:<10} {opened}  {row['title']}: {row['reason']}")


@incident.command()
@click.argument("incident_id")
@tenant_option
@click.option("--at", metavar="TIME|INDEX", help="As it stood then, rebuilt from the ledger's file alone.")
@click.option("--why", is_flag=True, help="Every verdict: what was asked, answered and compared, and by which policy.")
@json_option
@click.pass_obj
def show(config: Path, incident_id: str, tenant: str, at: str | None, why: bool, as_json: bool) -> None:
    """One incident and everything that was decided about it: as the service sees it, or as it stood then."""
    if why:
        _show_why(config, incident_id, tenant, at, as_json=as_json)
        return
    if at is not None:
        show_then(config, incident_id, tenant, at, as_json=as_json)
        return
    data = call(config, "GET", f"/api/v1/incidents/{quote(incident_id, safe='')}", tenant=tenant)
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    click.echo(f"{data['incident_id']}: {data['title']}, {data['state']}")
    click.echo(f"{data['reason']} (policy {data['policy_version']})")
    if data["continues"]:
        click.echo(f"continues {data['continues']}")
    for entry in data["timeline"]:
        at_time = entry["timestamp"][11:19]
        click.echo(
            f"{entry['index']:>5} {at_time} {entry['stage']:<12} {entry['actor']:<20} {entry['reason']}".rstrip()
        )


def _show_why(config: Path, incident_id: str, tenant: str, at: str | None, *, as_json: bool) -> None:
    path = f"/api/v1/incidents/{quote(incident_id, safe='')}/why" + (f"?at={quote(at, safe='')}" if at else "")
    data = call(config, "GET", path, tenant=tenant)
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    for number, row in enumerate(data["verdicts"]):
        readings = tuple(Asked(**reading) for reading in row["readings"])
        found = Explanation(**{**row, "readings": readings, "findings": tuple(row["findings"])})
        for line in ["", *found.lines()] if number else found.lines():
            click.echo("".join(character if character.isprintable() else " " for character in line).rstrip())


@incident.command()
@click.argument("incident_id")
@tenant_option
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
@click.option("--at", metavar="TIME|INDEX", help="As it stood then.")
@click.pass_obj
def report(config: Path, incident_id: str, tenant: str, form: str, at: str | None) -> None:
    """What happened, who decided what, what helped and how long it took: from the ledger's file, service or none."""
    found = report_on(config, incident_id, tenant, at)
    click.echo(markdown(found) if form == "markdown" else json.dumps(found.to_json(), indent=2), nl=form == "json")


@incident.command()
@click.argument("incident_id")
@by_option
@click.option("--reason", required=True, help="Why it is over; it stands in the ledger.")
@tenant_option
@click.pass_obj
def close(config: Path, incident_id: str, by: str, reason: str, tenant: str) -> None:
    """Close an incident by hand. Policy alone says "recovered"; this says that a person ended it."""
    _change(config, f"/api/v1/incidents/{quote(incident_id, safe='')}/close", tenant, {"by": by, "reason": reason})


@incident.command()
@click.argument("incident_id")
@by_option
@click.option("--text", required=True, help="The note; it stands in the ledger.")
@tenant_option
@click.pass_obj
def note(config: Path, incident_id: str, by: str, text: str, tenant: str) -> None:
    """Put a note to an incident."""
    _change(config, f"/api/v1/incidents/{quote(incident_id, safe='')}/notes", tenant, {"by": by, "text": text})


@incident.command()
@click.argument("incident_id")
@by_option
@click.option("--outcome", type=click.Choice(["ran", "did_not_run", "written_off"]), required=True)
@click.option("--text", required=True, help="How you know.")
@tenant_option
@click.pass_obj
def settle(config: Path, incident_id: str, by: str, outcome: str, text: str, tenant: str) -> None:
    """Say what became of an execution that is UNRESOLVED: it ran, it did not, or nobody can tell."""
    body = {"by": by, "outcome": outcome, "text": text}
    _change(config, f"/api/v1/incidents/{quote(incident_id, safe='')}/resolutions", tenant, body)


def _change(config: Path, path: str, tenant: str, body: dict[str, str]) -> None:
    for entry in call(config, "POST", path, tenant=tenant, body=body)["entries"]:
        click.echo(f"entry {entry['index']}: {entry['stage']} by {entry['actor']}")
