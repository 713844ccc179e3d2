"""`counterfoil ledger reconcile`: the trial balance and the findings, read-only and beside a running service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ledger import checkpoint as notes
from ledger.audit import Audit, NotALedger
from ledger.findings import HARMLESS, Finding
from ledger.findings.faults import FAULTS, of_fault
from ledger.logfile import LogFile, open_log
from ledger.stores.opening import is_seal
from receiver.auditor.counting import Books, Count
from receiver.auditor.outside import BadRecord
from receiver.auditor.outside.message_log import Logged, read_messages
from receiver.auditor.outside.messages import Messages
from receiver.auditor.outside.receipts import Receipts, read_receipts
from receiver.commands.client import fail
from receiver.commands.ledger.common import Moment, json_option, settings_of, tenant_option
from receiver.commands.ledger.verify import audits_of
from receiver.settings import Settings

_file = click.Path(path_type=Path)


@click.command()
@tenant_option
@click.option("--receipts", metavar="FILE", type=_file, help="An executor's log_file: compare with what it ran.")
@click.option(
    "--executor", "executors", metavar="NAME", multiple=True, help="Whose log that is; else every executor's."
)
@click.option(
    "--messages",
    metavar="FILE",
    type=_file,
    multiple=True,
    help="Twilio's message log, as JSON or CSV: compare with it.",
)
@click.option("--as-of", metavar="TIME", type=Moment(), help="Of a copy: when nothing may be overdue. Default: now.")
@click.option("--key", metavar="VKEY", help="A verifier key that you trust, or a file with it; else our own.")
@json_option
@click.pass_obj
def reconcile(
    config: Path,
    tenant: str,
    receipts: Path | None,
    executors: tuple[str, ...],
    messages: tuple[Path, ...],
    as_of: datetime | None,
    key: str | None,
    as_json: bool,
) -> None:
    """The trial balance of every book, and what an auditor would ask about, each with what to do.

    The exit code is 1 if a book does not balance or there is a finding.
    """
    settings = settings_of(config)
    try:
        audits = audits_of(settings, key)
        with open_log(settings.ledger.path, tenant) as log:
            if not log.size:
                fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
            outside = list(_outside(settings, log, receipts, executors, messages))
            books = _books(log, audits, outside, as_of or datetime.now(UTC))
            forward = _forward(log)
    except (NotALedger, notes.BadKey, BadRecord) as error:
        fail(str(error), 2)
    told = [each.told() for each in outside]
    if as_json:
        found = [finding.to_json() for finding in books.findings]
        data = {"entries": books.size, **books.balance.to_json(), "findings": found, "compared": told, **forward}
        click.echo(json.dumps(data, indent=2))
    else:
        _print(books, told)
        for book, indices in forward.get("carried", {}).items():
            if book != "to":
                numbers = ", ".join(map(str, indices))
                click.echo(f"carried forward to {forward['carried']['to']}: {book}: {numbers}")
    bad = [finding for finding in books.findings if finding.rule not in HARMLESS]
    sys.exit(1 if bad or not books.balance.balanced else 0)


def _outside(
    settings: Settings, log: LogFile, receipts: Path | None, executors: tuple[str, ...], exports: tuple[Path, ...]
) -> Iterator[Receipts | Messages]:
    """What others recorded, ready to be compared. Raises BadRecord."""
    if receipts is None and not exports:
        return
    unknown = set(executors) - {name for tenant in settings.tenants.values() for name in tenant.executors}
    if unknown:
        fail(f"there is no executor {', '.join(sorted(unknown))} in the configuration", 2)
    bodies = [entry.body for other in log.others() for entry in other.entries() if entry.well_formed]
    if receipts is not None:
        ids = {str(body["webhook_id"]) for body in bodies if "webhook_id" in body}
        yield Receipts(read_receipts(receipts), executors, ids)
    if exports:
        logged: dict[str, Logged] = {}
        for path in exports:
            found, more = read_messages(path)
            logged |= found
            if more:
                click.echo(f"counterfoil: {path} is one page of several: give the others, too", err=True)
        people = settings.tenants[log.tenant].people.values() if log.tenant in settings.tenants else ()
        sids = {str(body["sid"]) for body in bodies if body.get("sid")}
        yield Messages(logged, settings.twilio.sender, [person.whatsapp for person in people], sids)


def _books(log: LogFile, audits: Sequence[Audit], outside: Sequence[Receipts | Messages], now: datetime) -> Books:
    """Everything that can be found. Raises NotALedger where an entry cannot be read and no fault says so."""
    fault = next((audit.fault for audit in audits if audit.tenant == log.tenant), None)
    more = [finding for finding in [of_fault(fault) if fault is not None else None] if finding is not None]
    count = Count(log.blob)
    try:
        for entry in log.entries():
            count.take(entry)
            for each in outside:
                each.take(entry)
            for blob in entry.blobs if entry.well_formed else ():
                if not log.has_blob(blob.digest) and not any((f.index, f.rule) == (entry.index, "blob") for f in more):
                    detail = f"its blob {blob.name} is missing"
                    more.append(Finding(entry.index, "blob", detail, FAULTS["blob"][1]))
    except NotALedger:
        if fault is None:
            raise
    return count.books(now, [*more, *(finding for each in outside for finding in each.findings())])


def _forward(log: LogFile) -> dict[str, Any]:
    """Of a sealed log: where what stands open goes on, and which it is by book. Raises NotALedger."""
    last = next(log.entries(log.size - 2), None)
    carries = last.body.get("carries") if last is not None and is_seal(last) else None
    return {"carried": {"to": last.body["origin"], **carries}} if last is not None and carries else {}


def _print(books: Books, told: Sequence[str]) -> None:
    click.echo(str(books.balance))
    for line in told:
        click.echo(line)
    for finding in books.findings:
        click.echo(f"finding: {finding}")
    click.echo("the books balance" if books.balance.balanced else "the books DO NOT BALANCE")
