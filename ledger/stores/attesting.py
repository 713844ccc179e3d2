"""What a journal signed since it last said so, log by log, and the entries by which it says so (`ledger.attested`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from ledger.attested import EVERY, Run
from ledger.journal import LedgerError, Receipt
from ledger.stores.batch import Head, Job, Signed

log = logging.getLogger(__name__)


class Attesting:
    """It speaks of what it saw signed by this process alone, and never of what it would read from the file.

    every: after how many checkpoints of a log it speaks of them; else EVERY.
    """

    def __init__(self, every: int | None = None) -> None:
        self._every = EVERY if every is None else every
        self._runs: dict[str, Run] = {}
        self._ended: list[tuple[str, Run]] = []  # of which an entry is to speak

    def begin(self, heads: Mapping[str, Head]) -> None:
        """From these ends on. What was signed before and not spoken of is left to its signatures."""
        self._runs = {tenant: Run(head.frontier.size) for tenant, head in heads.items()}
        self._ended = []

    def due(self) -> list[Job]:
        """The posts that are due, for the next transaction. Nobody waits for them."""
        loop = asyncio.get_running_loop()
        return [Job(tenant, (run.draft(),), loop.create_future()) for tenant, run in self._ended]

    def committed(
        self, posted: Sequence[Job], results: Iterable[Receipt | LedgerError], signed: Iterable[Signed]
    ) -> None:
        """A transaction stands. posted: what `due` gave for it. signed: its checkpoints, in their order."""
        for result in results:
            if not isinstance(result, Receipt):
                log.error("the ledger refused what it says of its own checkpoints: %s", result)
        del self._ended[: len(posted)]
        for tenant, size, note in signed:
            run = self._runs.setdefault(tenant, Run(0))
            run.take(size, note)
            if run.checkpoints >= self._every:
                self._ended.append((tenant, run))
                self._runs[tenant] = Run(size)
