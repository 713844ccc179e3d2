"""What an executor recorded (`log_file` of `counterfoil executor serve`) against what the ledger dispatched."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.entry import Entry
from ledger.findings.finding import INTRUSION, Finding
from receiver.auditor.outside import BadRecord

CLOCKS_APART = timedelta(seconds=60)  # two machines' clocks; more is said
_STOLEN = "change the executor's secret: somebody who has it called it past the service"
_WHO_ANSWERED = "see who answered in the executor's place; where it is another machine's log, name its executor"


@dataclass(slots=True)
class Receipt:
    """One webhook-id in an executor's log. exit_code: None where no end is recorded. begun: how many times."""

    id: str
    action: str
    at: datetime
    exit_code: int | None = None
    begun: int = 0


@dataclass(slots=True)
class _Run:
    """A DISPATCHED and what became of it."""

    index: int
    executor: str
    at: datetime
    stage: str = "DISPATCHED"  # the newest entry about it, and what that says
    said_at: int = -1
    actor: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


def read_receipts(path: Path) -> dict[str, Receipt]:
    """Every webhook-id in the log at `path`, which is only read. Raises BadRecord.

    A last line without its end is left out: the executor had not begun what it says.
    """
    found: dict[str, Receipt] = {}
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise BadRecord(f"{path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            at = datetime.fromisoformat(row["at"]).astimezone(UTC)
            receipt = found.setdefault(str(row["id"]), Receipt(str(row["id"]), str(row.get("action", "")), at))
            if row.get("begun"):
                receipt.begun += 1
            if row.get("result") is not None:
                receipt.exit_code = int(row["result"]["exit_code"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = "give the log_file of `counterfoil executor serve`"
            raise BadRecord(f"{path}: line {number} is none of an executor's log: {what}") from error
    return found


class Receipts:
    """One log against the receipts, entry by entry.

    executors: whose log it is, by name; empty for every executor. elsewhere: webhook-ids that other tenants dispatched.
    """

    def __init__(
        self, receipts: Mapping[str, Receipt], executors: Collection[str] = (), elsewhere: Collection[str] = ()
    ) -> None:
        self._receipts = receipts
        self._executors = frozenset(executors)
        self._elsewhere = elsewhere
        self._proposed: dict[str, int] = {}  # webhook-id → PROPOSED
        self._runs: dict[str, _Run] = {}  # by webhook-id
        self._open: dict[int, _Run] = {}  # by the entry that is to be settled

    def take(self, entry: Entry) -> None:
        if not entry.well_formed:
            return
        webhook_id = entry.body.get("webhook_id")
        if entry.stage == "PROPOSED" and isinstance(webhook_id, str):
            self._proposed[webhook_id] = entry.index
        elif entry.stage == "DISPATCHED" and isinstance(webhook_id, str):
            executor = str(entry.body.get("executor"))
            self._runs[webhook_id] = self._open[entry.index] = _Run(entry.index, executor, entry.timestamp)
        run = self._open.pop(entry.settles, None) if entry.settles is not None else None
        if run is not None:
            run.stage, run.said_at, run.actor, run.body = entry.stage, entry.index, entry.actor, entry.body
            if entry.stage == "UNRESOLVED":
                self._open[entry.index] = run

    def findings(self) -> Iterator[Finding]:
        for receipt in self._receipts.values():
            yield from self._of_a_receipt(receipt)
        for webhook_id, run in self._runs.items():
            if webhook_id not in self._receipts and (not self._executors or run.executor in self._executors):
                yield from _without_a_receipt(webhook_id, run)

    def told(self) -> str:
        both = len(self._runs.keys() & self._receipts.keys())
        return f"executor's log: {len(self._receipts)} runs, and {both} of the {len(self._runs)} dispatched here"

    def _of_a_receipt(self, receipt: Receipt) -> Iterator[Finding]:
        if receipt.begun > 1:
            detail = f"{receipt.id} was begun {receipt.begun} times"
            yield Finding(None, "receipt", detail, "see what ran twice, and whether two executors share the log")
        run = self._runs.get(receipt.id)
        if run is not None:
            yield from _together(receipt, run)
        elif receipt.id not in self._elsewhere:
            index = self._proposed.get(receipt.id)
            what = "it was proposed and never dispatched" if index is not None else "no entry names it"
            detail = f"the executor ran {receipt.action} as {receipt.id} at {receipt.at}, and {what}"
            yield Finding(index, "receipt", detail, f"{INTRUSION}; {_STOLEN}")


def _together(receipt: Receipt, run: _Run) -> Iterator[Finding]:
    """What both know of one run."""
    place = run.said_at if run.said_at >= 0 else run.index
    ended = "no end" if receipt.exit_code is None else f"exit code {receipt.exit_code}"
    if run.at - receipt.at > CLOCKS_APART:
        detail = f"the executor began {receipt.id} at {receipt.at}, before it was dispatched at {run.at}"
        yield Finding(run.index, "receipt", detail, f"compare the clocks of both machines; else {_STOLEN}")
    if run.stage == "EXECUTED" and receipt.exit_code != 0:
        detail = f"the ledger says that it worked, and the executor's log has {ended}"
        yield Finding(place, "receipt", detail, _WHO_ANSWERED)
    elif run.stage == "FAILED" and run.body.get("ran", True) is False:
        detail = f"the ledger says that it never ran, and the executor began it at {receipt.at} ({ended})"
        yield Finding(place, "receipt", detail, "look at what it did, and note it to the incident")
    elif run.stage == "FAILED" and receipt.exit_code == 0:
        detail = f"the ledger says that it failed, and the executor's log has {ended}"
        yield Finding(place, "receipt", detail, _WHO_ANSWERED)
    elif run.stage in ("UNRESOLVED", "WRITTEN_OFF") and receipt.exit_code is not None:
        outcome = "ran" if receipt.exit_code == 0 else "did_not_run"
        detail = f"nobody knew how it ended, and the executor's log has {ended}"
        remedy = f"`counterfoil incident settle --outcome {outcome}`" if run.stage == "UNRESOLVED" else "note it"
        yield Finding(place, "receipt", detail, remedy)


def _without_a_receipt(webhook_id: str, run: _Run) -> Iterator[Finding]:
    if run.stage == "EXECUTED":
        said = "says that it ran" if run.actor.startswith("executor:") else f"has {run.actor}'s word that it ran"
        detail = f"the ledger {said}, and the executor's log does not know {webhook_id}"
        yield Finding(run.said_at, "receipt", detail, _WHO_ANSWERED)
    elif run.stage == "UNRESOLVED":
        detail = f"nobody knows how it ended, and the executor never began {webhook_id}"
        yield Finding(run.said_at, "receipt", detail, "`counterfoil incident settle --outcome did_not_run`")
