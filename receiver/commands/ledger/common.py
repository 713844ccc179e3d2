"""What the commands of the ledger share: options, the configuration, the entries, and one line on what is wrong."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ledger.audit import NotALedger, read_entries
from ledger.entry import Entry
from ledger.journal import Broken
from ledger.stores.locks import Locks
from receiver.commands.client import fail
from receiver.configuration import take_locks
from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")  # of an operator, as the API takes it


class Moment(click.ParamType[datetime]):
    """A time with its zone, as in RFC 3339, or a day of UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value)
        try:
            moment = datetime.fromisoformat(text if "T" in text or " " in text else f"{text}T00:00:00Z")
        except ValueError:
            self.fail(f"{text!r} is neither a time like 2026-11-23T08:58:38Z nor a day like 2026-11-23", param, ctx)
        if moment.tzinfo is None:
            self.fail("a time needs its zone, as in 2026-11-23T08:58:38Z", param, ctx)
        return moment.astimezone(UTC)


def _named(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no name: letters, digits and _ . @ -, as in --by root")
    return value


def _told(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("it is empty, and stands in the ledger: say why")
    return value


by_option = click.option("--by", required=True, callback=_named, help="Which operator does it.")
reason_option = click.option("--reason", required=True, callback=_told, help="Why; it stands in the ledger.")
tenant_option = click.option("--tenant", default="default", show_default=True, help="Whose log.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def settings_of(config: Path) -> Settings:
    """The configuration, or every problem with it and exit code 2."""
    try:
        return load_settings(config, os.environ)
    except SettingsErrors as error:
        fail(str(error), 2)


@contextmanager
def stopped(settings: Settings) -> Iterator[None]:
    """No service writes meanwhile; exit code 2 where one runs."""
    locks = Locks(settings.ledger.path)
    try:
        take_locks(locks, settings.tenants)
    except Broken as error:
        fail(str(error), 2)
    try:
        yield
    finally:
        locks.release()


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
