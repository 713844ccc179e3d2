"""The service reconciles its own books, measures its posts, and can be stopped when it did not start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Draft
from ledger.journal import Broken
from ledger.stores.sqlite import SqliteJournal
from receiver.app import Service, SystemClock
from receiver.auditor.reading import Reader
from receiver.auditor.reconciling import reconcile, reconcile_forever
from receiver.commands.init import write_folder
from receiver.configuration import load_config
from receiver.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.know_tenant("default")
    return metrics


@pytest.fixture
async def journal(metrics: Metrics) -> AsyncIterator[SqliteJournal]:
    journal = await SqliteJournal.open(
        Path(":memory:"),
        origin="reconciling.example",
        key=Ed25519PrivateKey.generate(),
        anchor_path=None,
        clock=SystemClock().now,
        tenants=["default"],
        durable=False,
        observe=metrics.ledger_append_duration_seconds.observe,
    )
    yield journal
    await journal.close()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"counterfoil_{name}", labels)
    assert found is not None, name
    return found


async def test_findings_and_the_time_of_the_last_run_are_metrics(journal: SqliteJournal, metrics: Metrics) -> None:
    reader = Reader(journal)
    await reconcile(reader, "default", metrics)
    assert value(metrics, "ledger_findings", tenant="default") == 0
    assert value(metrics, "reconcile_last_run_timestamp_seconds") > 0
    regressed = {"ledger_time": None, "wall_time": "2026-11-23T08:58:38.000000Z"}
    await journal.post("default", [Draft(id="regress:1", stage="REGRESSED", actor="system", body=regressed)])
    await reconcile(reader, "default", metrics)
    assert value(metrics, "ledger_findings", tenant="default") == 1


async def test_it_goes_on_by_itself(journal: SqliteJournal, metrics: Metrics) -> None:
    task = asyncio.create_task(
        reconcile_forever(Reader(journal), lambda: ["default"], metrics, first_seconds=0, every_seconds=0.01)
    )
    runs = set[float]()
    async with asyncio.timeout(20):
        while len(runs) < 3:
            await asyncio.sleep(0.01)
            runs.add(value(metrics, "reconcile_last_run_timestamp_seconds"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_every_post_is_measured(journal: SqliteJournal, metrics: Metrics) -> None:
    before = value(metrics, "ledger_append_duration_seconds_count")
    await journal.post("default", [Draft(id="note:1", stage="NOTED", actor="system", body={"kind": "note"})])
    assert value(metrics, "ledger_append_duration_seconds_count") == before + 1


async def test_a_service_that_did_not_start_can_be_stopped(tmp_path: Path) -> None:
    write_folder(tmp_path / "installation")
    (tmp_path / "installation/counterfoil.db").write_bytes(b"no database" * 1000)
    service = Service(load_config(tmp_path / "installation/counterfoil.yml", {}))
    with pytest.raises(Broken):
        await service.start()
    await service.stop()
