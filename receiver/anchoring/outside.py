"""Checkpoints outside of the ledger's own files, where whoever holds its key and its disk cannot change them.

Each outside place gets the newest checkpoint of each log in its own time. Nothing that is posted waits for it, and what
cannot be placed now is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from receiver.metrics import Metrics

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0  # after the first failure; doubled after each
AGAIN_SECONDS_MAX = 600.0
LAST_WORDS_SECONDS = 10.0


class NotPlaced(Exception):
    """The checkpoint did not get there this time; the message says why."""


class Outside(Protocol):
    """A place for checkpoints."""

    kind: str  # in the metrics
    every_seconds: float  # between two checkpoints of one log
    last_words: bool  # whether it gets the last one when the service stops

    async def place(self, tenant: str, note: str) -> None:
        """Put a signed checkpoint there. The same one again is no mistake. Raises NotPlaced."""


class Checkpoints(Protocol):
    """What is needed of a journal."""

    async def checkpoint(self, tenant: str) -> str | None: ...


class Anchoring:
    """Takes the newest checkpoint of each log to one outside place, until it is stopped."""

    def __init__(
        self,
        outside: Outside,
        journal: Checkpoints,
        tenants: Sequence[str],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._outside = outside
        self._journal = journal
        self._tenants = tenants
        self._metrics = metrics
        self._now = now
        self._placed: dict[str, str] = {}
        self._failures = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        metrics.know_outside(tenants, outside.kind)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"anchoring {self._outside.kind}")
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        """End it, with the last words if this place gets them. The ledger is closed by then, and nothing follows."""
        if self._task is None:
            return
        self._stopping.set()
        if self._outside.last_words:
            await asyncio.wait([self._task], timeout=LAST_WORDS_SECONDS)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await self.round()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pause()):
                    await self._stopping.wait()
        if self._outside.last_words:
            await self.round()

    async def round(self) -> None:
        """Place each log's newest checkpoint, unless it is there already."""
        well = True
        for tenant in self._tenants:
            well &= await self._place(tenant)
        self._failures = 0 if well else self._failures + 1

    async def _place(self, tenant: str) -> bool:
        note = await self._journal.checkpoint(tenant)
        if note is not None and note != self._placed.get(tenant):
            try:
                await self._outside.place(tenant, note)
            except NotPlaced as error:
                if not self._failures:
                    log.warning("%s: the checkpoint of %s is not placed: %s", self._outside.kind, tenant, error)
                self._metrics.outside_anchors.labels(self._outside.kind, "failed").inc()
                return False
            self._placed[tenant] = note
            self._metrics.outside_anchors.labels(self._outside.kind, "placed").inc()
        level = self._metrics.outside_anchor_last_success_timestamp_seconds
        level.labels(tenant, self._outside.kind).set(self._now().timestamp())
        return True

    def pause(self) -> float:
        """Seconds until the next round."""
        if not self._failures:
            return self._outside.every_seconds
        return min(AGAIN_SECONDS * (1 << min(self._failures - 1, 10)), AGAIN_SECONDS_MAX, self._outside.every_seconds)


def _ended(task: asyncio.Task[None]) -> None:
    """A mistake of ours ends one task, and neither the service nor in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has ended", task.get_name(), exc_info=error)
