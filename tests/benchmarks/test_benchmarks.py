"""Every benchmark runs, at its smallest, and prints the figures that it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.audit import verify_store
from ledger.stores.sqlite import SqliteJournal
from receiver.incident.book import Book
from tests.benchmarks import case_file, histories, ledger, policy, reaching, service, storm


def test_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    service.main(["--requests", "40", "--incidents", "2"])
    said = capsys.readouterr().out
    for figure in ("start to ready", "memory at rest", "durable acknowledgements", "webhook in", "tap in"):
        assert figure in said


def test_how_a_team_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    reaching.main(["--recipients", "2", "--incidents", "1"])
    said = capsys.readouterr().out
    for figure in ("2 recipients", "alert in to the last addressed", "times the probe", "tap to decision message"):
        assert figure in said


def test_a_storm(capsys: pytest.CaptureFixture[str]) -> None:
    storm.main(["--incidents", "4", "--within", "1", "--after", "1"])
    said = capsys.readouterr().out
    for figure in ("4 open after", "intake:", "tap to webhook: ", "page:", "queries/s", "memory:"):
        assert figure in said
    assert "ended with" not in said


def test_the_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    ledger.main(["--posts", "5", "--entries", "600", "--open", "3"])
    said = capsys.readouterr().out
    for figure in ("1 writer", "32 writer", "bytes on disk", "3 incidents open", "inclusion proof", "verify:"):
        assert figure in said


async def test_the_incidents_of_the_large_ledger_are_taken_by_every_rule(tmp_path: Path) -> None:
    outage, clock = await histories.Outage.play(), histories.Clock()
    key = Ed25519PrivateKey.generate()
    journal = await SqliteJournal.open(
        tmp_path / "ledger.db", origin="a.example", key=key, anchor_path=None, clock=clock, tenants=["a"], durable=False
    )
    for drafts in histories.posts(outage, clock, 1, 200, 2):
        await journal.post("a", drafts)
    book = Book("a")
    for entry in await journal.entries("a"):
        book.take(entry)
    stages = {entry.stage for entry in await journal.entries("a")}
    await journal.close()
    (audit,) = verify_store(tmp_path / "ledger.db", origin="a.example", public=key.public_key(), anchor_path=None)
    assert audit.fault is None
    assert len(book.open) == 2
    assert {"RECEIVED", "LOOKED", "DIAGNOSED", "APPROVED", "EXECUTED", "RECOVERED", "DELIVERED"} <= stages


def test_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    policy.main(["--rules", "2", "--cases", "2"])
    said = capsys.readouterr().out
    for figure in ("2 rules, 100 alerts", "verdicts/s", "policy test, 2 cases"):
        assert figure in said


def test_the_case_file(capsys: pytest.CaptureFixture[str], tool: Callable[[str], Path]) -> None:
    case_file.main(["--outages", "1", "--rounds", "2"], tool)
    said = capsys.readouterr().out
    for figure in ("case file gathered", "bytes in the ledger", "shown to Claude", "tokens"):
        assert figure in said
