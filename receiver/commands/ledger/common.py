"""What the commands of the ledger share: options, the configuration, the entries, and one line on what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ledger.audit import NotALedger, read_entries
from ledger.entry import Entry
from receiver.commands.client import fail
from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors

tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose log.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def settings_of(config: Path) -> Settings:
    """The configuration, or every problem with it and exit code 2."""
    try:
        return load_settings(config, os.environ)
    except SettingsErrors as error:
        fail(str(error), 2)


def entries_of(settings: Settings, tenant: str) -> list[Entry]:
    """Every entry of one tenant, unverified; exit code 2 where there is none."""
    try:
        found = read_entries(settings.ledger.path, tenant)
    except NotALedger as error:
        fail(str(error), 2)
    if not found:
        fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
    return found


def progress_on_terminal() -> Callable[[int, int], None]:
    """Says how many entries are done, of how many, on a terminal's standard error, and nothing elsewhere."""

    def tell(done: int, size: int) -> None:
        click.echo(f"\r{done:,} of {size:,} entries", err=True, nl=done == size)

    return tell if sys.stderr.isatty() else lambda done, size: None


def line_of(entry: Entry) -> str:
    """One entry as one line: index, time, stage, actor, what it settles, and why. Nothing in it moves the cursor."""
    settles = f" settles {entry.settles}" if entry.settles is not None else ""
    incident = f" {entry.incident_id}" if entry.incident_id else ""
    at = entry.timestamp.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    line = f"{entry.index:>5} {at} {entry.stage:<12} {entry.actor:<20}{incident}{settles}  {entry.reason}"
    return "".join(character if character.isprintable() else " " for character in line).rstrip()
