"""`counterfoil incident list`, `show` and `report`: rebuilt from the ledger's file, service or none."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NoReturn

import click

from ledger.audit import NotALedger
from ledger.entry import Entry
from ledger.logfile import LogFile, open_log
from receiver.auditor.explanation import Explanation
from receiver.auditor.questions import BadQuestion, moment
from receiver.auditor.reading import Incidents
from receiver.auditor.report import Report
from receiver.auditor.standing import IncidentView
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

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        return self._log.blob(digest)

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


@contextmanager
def from_file(config: Path, tenant: str) -> Iterator[tuple[FileLog, LogFile]]:
    """The log of `tenant` as its file has it; what is wrong with the call or the file ends the command with 2."""
    try:
        settings = load_settings(config, os.environ)
        with open_log(settings.ledger.path, tenant) as log:
            yield FileLog(log), log
    except (SettingsErrors, BadQuestion, NotALedger, ValueError) as error:
        fail(str(error), 2)


def incidents_of(config: Path, tenant: str) -> list[IncidentView]:
    """Every incident of the log, the newest first."""
    with from_file(config, tenant) as (source, log):
        if not log.size:
            fail(f"the ledger has no log of {tenant}", 2)
        found, _ = asyncio.run(Incidents(source).incidents(tenant, before=log.size, limit=log.size))
        return found


def incident_of(config: Path, incident_id: str, tenant: str, at: str | None) -> tuple[IncidentView, list[Explanation]]:
    """One incident as it stands, or stood then, and its verdicts explained."""

    async def asked(source: FileLog, when: int | datetime | None) -> tuple[IncidentView, list[Explanation]] | None:
        incidents = Incidents(source)
        view = await incidents.incident(tenant, incident_id, when)
        return (view, await incidents.why(tenant, view)) if view is not None else None

    with from_file(config, tenant) as (source, log):
        when = moment({"at": at}) if at is not None else None
        found = asyncio.run(asked(source, when)) or _none(incident_id, tenant, at)
        _say_end(log, when)
        return found


def report_on(config: Path, incident_id: str, tenant: str, at: str | None) -> Report:
    """The report from the ledger's file; exit code 2 where the call is wrong, or there was no such incident."""
    with from_file(config, tenant) as (source, log):
        when = moment({"at": at}) if at is not None else None
        last = source.last(log.size if when is None else when)
        found = asyncio.run(report(source, tenant, incident_id, last, when)) if last is not None else None
        found = found or _none(incident_id, tenant, at)
        _say_end(log, when)
        return found


def show_then(config: Path, incident_id: str, tenant: str, at: str, *, as_json: bool) -> None:
    """Print it; exit code 2 where the call is wrong, or there was no such incident then."""
    with from_file(config, tenant) as (source, log):
        when = moment({"at": at})
        last = source.last(when) if when is not None else None
        found = asyncio.run(then(source, tenant, incident_id, when, last)) if when is not None and last else None
        found = found or _none(incident_id, tenant, at)
        _say_end(log, when)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    for line in _lines(found):
        click.echo(printable(line))


def printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line).rstrip()


def _say_end(log: LogFile, when: int | datetime | None) -> None:
    """An index after the end of the log is the end."""
    if isinstance(when, int) and when >= log.size:
        click.echo(f"counterfoil: the log of {log.tenant} ends with entry {log.size - 1}: as of that one", err=True)


def _none(incident_id: str, tenant: str, at: str | None) -> NoReturn:
    moment_said = f" at {at}" if at else ""
    fail(f"there is no incident {incident_id} of {tenant}{moment_said}: `counterfoil incident list --all` has them", 2)


def _lines(found: Then) -> Iterator[str]:
    view, last = found.view, found.last
    then = f"as of entry {last.index}, {last.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{view.id}: {view.title}, {view.state.value} {then}"
    yield f"{view.reason} (policy {view.policy_version})"
    if view.carried_from is not None:
        opened = f"{view.opened_at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"opened {opened}, carried forward from entry {view.carried_from} of the sealed log before"
    in_force = found.adopted.policy_version if found.adopted is not None else "none"
    halts = ", ".join(f"halted at {entry.index} by {entry.actor}" for entry in found.halts) or "no halt"
    yield f"in force: policy {in_force}, {halts}"
    yield f"open: {', '.join(f'{entry.stage} {entry.index}' for entry in found.outstanding) or 'nothing'}"
    for entry in view.entries:
        yield f"{entry.index:>5} {entry.timestamp:%H:%M:%S} {entry.stage:<12} {entry.actor:<20} {entry.reason}"
