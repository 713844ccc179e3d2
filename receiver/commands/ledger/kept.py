"""What people kept of a log, for `counterfoil ledger verify`: checkpoints in a file, and messages on phones."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ledger import checkpoint as notes
from ledger import witness
from ledger.audit import NotALedger
from ledger.keys import size_said
from ledger.logfile import open_log
from ledger.stores import restoring, sealing
from receiver.commands.client import fail
from receiver.commands.ledger.carrying import carried_fault
from receiver.settings import Settings

_WITNESSED = re.compile(r"(\d{1,15}):([0-9a-fA-F]{8,64})", re.ASCII)


class Witnessed(click.ParamType[tuple[int, str]]):
    """INDEX:HEX, as it stands in a message."""

    name = "index:hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, str]:
        match = _WITNESSED.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not INDEX:HEX as in a message, like 124:9f3c21ab", param, ctx)
        return int(match[1]), match[2].lower()


@dataclass(frozen=True, slots=True)
class Remark:
    """What something that was kept says of one log. `fault` is None where they agree."""

    tenant: str
    about: str
    fault: str | None

    def __str__(self) -> str:
        return f"FAULT: {self.tenant}: {self.about}: {self.fault}" if self.fault else f"OK: {self.tenant}: {self.about}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def against_checkpoints(settings: Settings, path: Path, tenants: Iterable[str]) -> list[Remark]:
    """Each log against the checkpoints of it in a file. Exits with 2 where the file has none."""
    try:
        kept = witness.split_notes(path.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{path}: {error.strerror}", 2)
    except UnicodeDecodeError:
        fail(f"{path}: it is no text, and so no checkpoint", 2)
    logs = {notes.log_origin(settings.ledger.origin, tenant): tenant for tenant in tenants}
    by_log: defaultdict[str, list[str]] = defaultdict(list)
    for note in kept:
        by_log[witness.origin_of(note)].append(note)
    if not kept:
        fail(f"{path}: it holds no checkpoint", 2)
    remarks = []
    for name, own in by_log.items():
        if name not in logs:
            remarks.append(Remark(name, f"{path}", "there is no such log in this ledger"))
            continue
        try:
            with open_log(settings.ledger.path, logs[name]) as log:
                found = witness.compare(log, log.keys(settings.ledger.origin), own)
        except NotALedger as error:
            remarks.append(Remark(logs[name], f"{path}", str(error)))
            continue
        count = f"{found.checkpoints} checkpoint{'' if found.checkpoints == 1 else 's'}"
        about = f"it goes on from {count} in {path}, the last of {found.newest} entries"
        remarks.append(Remark(logs[name], f"{path}" if found.fault else about, found.fault))
    return remarks


def restores(settings: Settings) -> list[Remark]:
    """What was lost when somebody went on from a backup: no fault, and nothing to be silent about."""
    return [
        Remark(
            entry.tenant_id,
            f"entry {entry.index}: {entry.actor} went on from a backup; entries {entry.index} to "
            f"{size_said(str(entry.body['lost'])) - 1} of another history are lost",
            None,
        )
        for entry in restoring.acceptances(settings.ledger.path)
    ]


def against_former(settings: Settings, former: Path, tenants: Iterable[str]) -> list[Remark]:
    """Whether each log goes on from the one in a sealed file. Exits with 2 where that is no ledger."""
    if not former.is_file():
        fail(f"{former}: no such file", 2)
    remarks = []
    for tenant in tenants:
        try:
            fault, entries = sealing.link_fault(settings.ledger.path, former, tenant)
            fault = fault or carried_fault(settings.ledger.path, former, tenant)
        except sqlite3.Error as error:
            fail(f"{former}: {error}", 2)
        about = f"it goes on from the {entries} entries in {former}, which hold"
        remarks.append(Remark(tenant, f"{former}" if fault else about, fault))
    return remarks


def against_messages(settings: Settings, tenant: str, witnessed: Iterable[tuple[int, str]]) -> list[Remark]:
    """One log against what messages say. Raises NotALedger."""
    remarks = []
    for index, digits in witnessed:
        with open_log(settings.ledger.path, tenant) as log:
            if not log.size:
                fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
            fault = witness.witnessed(log, index, digits)
        about = f"the message with {index}:{digits}"
        remarks.append(Remark(tenant, about if fault else f"{about} tells of this log", fault))
    return remarks
