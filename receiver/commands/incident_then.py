"""`counterfoil incident show --at`: an incident as it stood then, rebuilt from the ledger's file, service or none."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import click

from ledger.audit import NotALedger
from ledger.entry import Entry
from ledger.logfile import LogFile, open_log
from receiver.auditor.questions import BadQuestion, moment
from receiver.auditor.report import Report
from receiver.auditor.timeline import Then, report, then
from receiver.commands.client import fail
from receiver.settings import load_settings
from receiver.settings_values import SettingsErrors


class FileLog:
    """A log in a file, asked as a journal is."""

    def __init__(self, log: LogFile) -> None:
        self._log = log

    async def entries(
        self,
        tenant: str,
        *,
        after: int = -1,
        limit: int = 1000,
        incident: str | None = None,
        stage: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]:
        found = self._log.entries(after, incident, stage)
        return list(islice((entry for entry in found if actor in (None, entry.actor)), limit))

    async def get(self, tenant: str, index: int) -> Entry | None:
        return self._at(index)

    def last(self, at: int | datetime) -> Entry | None:
        """The newest entry that stood at an index or a time."""
        if isinstance(at, int):
            return self._at(min(at, self._log.size - 1))
        low, high = 0, self._log.size  # times never step back
        while low < high:
            middle = (low + high) // 2
            entry = self._at(middle)
            low, high = (middle + 1, high) if entry is not None and entry.timestamp <= at else (low, middle)
        return self._at(low - 1)

    def _at(self, index: int) -> Entry | None:
        return Entry.parse(self._log.raw(index, index + 1)[0]) if 0 <= index < self._log.size else None


def report_on(config: Path, incident_id: str, tenant: str, at: str | None) -> Report:
    """The report from the ledger's file; exit code 2 where the call is wrong, or there was no such incident."""
    try:
        settings = load_settings(config, os.environ)
        when = moment({"at": at}) if at is not None else None
        with open_log(settings.ledger.path, tenant) as log:
            source = FileLog(log)
            last = source.last(log.size if when is None else when)
            found = asyncio.run(report(source, tenant, incident_id, last, when)) if last is not None else None
    except (SettingsErrors, BadQuestion, NotALedger, ValueError) as error:
        fail(str(error), 2)
    if found is None:
        fail(f"there is no incident {incident_id} of {tenant}" + (f" at {at}" if at else ""), 2)
    return found


def show_then(config: Path, incident_id: str, tenant: str, at: str, *, as_json: bool) -> None:
    """Print it; exit code 2 where the call is wrong, or there was no such incident then."""
    try:
        settings = load_settings(config, os.environ)
        when = moment({"at": at})
        with open_log(settings.ledger.path, tenant) as log:
            source = FileLog(log)
            last = source.last(when) if when is not None else None
            found = asyncio.run(then(source, tenant, incident_id, when, last)) if when is not None and last else None
    except (SettingsErrors, BadQuestion, NotALedger, ValueError) as error:
        fail(str(error), 2)
    if found is None:
        fail(f"there was no incident {incident_id} of {tenant} at {at}", 2)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    for line in _lines(found):
        click.echo("".join(character if character.isprintable() else " " for character in line).rstrip())


def _lines(found: Then) -> Iterator[str]:
    view, last = found.view, found.last
    then = f"as of entry {last.index}, {last.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{view.id}: {view.title}, {view.state.value} {then}"
    yield f"{view.reason} (policy {view.policy_version})"
    in_force = found.adopted.policy_version if found.adopted is not None else "none"
    halts = ", ".join(f"halted at {entry.index} by {entry.actor}" for entry in found.halts) or "no halt"
    yield f"in force: policy {in_force}, {halts}"
    yield f"open: {', '.join(f'{entry.stage} {entry.index}' for entry in found.outstanding) or 'nothing'}"
    for entry in view.entries:
        yield f"{entry.index:>5} {entry.timestamp:%H:%M:%S} {entry.stage:<12} {entry.actor:<20} {entry.reason}"
