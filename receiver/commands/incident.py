"""`counterfoil incident`: list, show and report from the ledger's file; the rest through the running service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import click

from receiver.auditor.explanation import Explanation
from receiver.auditor.report_text import markdown
from receiver.auditor.standing import ENDED, IncidentView
from receiver.commands.client import call
from receiver.commands.incident_then import incident_of, incidents_of, printable, report_on, show_then

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
    shown = [view for view in incidents_of(config, tenant) if everything or view.state not in ENDED]
    if as_json:
        click.echo(json.dumps([view.to_json(timeline=False) for view in shown], indent=2))
    elif not shown:
        click.echo("no open incident" if not everything else "no incident")
    for view in [] if as_json else shown:
        opened = f"{view.opened_at:%Y-%m-%d %H:%M:%S}"
        click.echo(printable(f"{view.id}  {view.state.value:<10} {opened}  {view.title}: {view.reason}"))


@incident.command()
@click.argument("incident_id")
@tenant_option
@click.option("--at", metavar="TIME|INDEX", help="As it stood then.")
@click.option("--why", is_flag=True, help="Every verdict: what was asked, answered and compared, and by which policy.")
@json_option
@click.pass_obj
def show(config: Path, incident_id: str, tenant: str, at: str | None, why: bool, as_json: bool) -> None:
    """One incident and everything that was decided about it, now or as it stood then, with the service or without."""
    if at is not None and not why:
        show_then(config, incident_id, tenant, at, as_json=as_json)
        return
    view, verdicts = incident_of(config, incident_id, tenant, at)
    if as_json:
        data = {"verdicts": [one.to_json() for one in verdicts]} if why else view.to_json(timeline=True)
        click.echo(json.dumps(data, indent=2))
        return
    for line in _why(verdicts) if why else _timeline(view):
        click.echo(printable(line))


def _why(verdicts: Sequence[Explanation]) -> Iterator[str]:
    for number, verdict in enumerate(verdicts):
        yield from ["", *verdict.lines()] if number else verdict.lines()


def _timeline(view: IncidentView) -> Iterator[str]:
    yield f"{view.id}: {view.title}, {view.state.value}"
    yield f"{view.reason} (policy {view.policy_version})"
    if view.continues:
        yield f"continues {view.continues}"
    for entry in view.entries:
        yield f"{entry.index:>5} {entry.timestamp:%H:%M:%S} {entry.stage:<12} {entry.actor:<20} {entry.reason}"


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
@click.argument("words", nargs=-1, required=True, metavar="ACTION [VALUE]...")
@by_option
@tenant_option
@click.pass_obj
def request(config: Path, words: tuple[str, ...], by: str, tenant: str) -> None:
    """Ask for an action by hand, without an alert: others are asked to approve it, as for any action.

    ACTION may be RULE/ACTION. A VALUE is that of the rule's next group_by label, or LABEL=VALUE.
    """
    _change(config, "/api/v1/requests", tenant, {"by": by, "text": " ".join(words)})


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
