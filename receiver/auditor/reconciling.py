"""The service's own auditor: the books are reconciled again and again, and what is found is a metric to alert on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from ledger.journal import LedgerError
from receiver.auditor.reading import Reader
from receiver.metrics import Metrics

log = logging.getLogger(__name__)

FIRST_SECONDS = 5.0  # after the start, which has other things to do
EVERY_SECONDS = 900.0


async def reconcile_forever(
    reader: Reader,
    tenants: Callable[[], Iterable[str]],
    metrics: Metrics,
    *,
    first_seconds: float = FIRST_SECONDS,
    every_seconds: float = EVERY_SECONDS,
) -> None:
    """Reconcile each tenant's books until cancelled. A ledger that cannot be read is said so, and tried again."""
    await asyncio.sleep(first_seconds)
    while True:
        for tenant in tenants():
            await reconcile(reader, tenant, metrics)
        await asyncio.sleep(every_seconds)


async def reconcile(reader: Reader, tenant: str, metrics: Metrics) -> None:
    """Count the books of `tenant` once, and set `ledger_findings`: a book that does not balance is one more."""
    try:
        books = await reader.books(tenant)
    except LedgerError as error:
        log.warning("tenant %s: the books cannot be read: %s", tenant, error)
        return
    found = len(books.findings) + sum(not book.balanced for book in books.balance.books)
    metrics.ledger_findings.labels(tenant).set(found)
    metrics.reconcile_last_run_timestamp_seconds.set_to_current_time()
    if found:
        log.error("tenant %s: %s finding(s) in the ledger: counterfoil ledger reconcile names them", tenant, found)
