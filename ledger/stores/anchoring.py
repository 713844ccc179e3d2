"""Brings the anchors up to the logs: a moment after a commit, and at once where somebody waits for it.

A post does not wait for it: a ledger ahead of its anchor is fine, and whoever sends something outside asks first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from ledger import checkpoint as notes
from ledger.stores.batch import Head

log = logging.getLogger(__name__)

ANCHOR_WITHIN_SECONDS = 0.05  # after a commit; those of a busy moment come under one write
ANCHOR_AGAIN_SECONDS = 1.0  # where it could not be written
ANCHOR_SLOW_SECONDS = 5.0  # a write that takes longer, as on a share that hangs, is told as one that fails


class Anchoring:
    """The anchors of one ledger. `start` begins to keep them level; `close` ends it, with all of them level.

    errors: by tenant, why its anchor could not be written last. task: what keeps them level, once it was started.
    """

    def __init__(self, anchors: Mapping[str, notes.Anchor], heads: Callable[[], Mapping[str, Head]]) -> None:
        """heads: the end of each log as it is committed, whenever asked."""
        self.anchors = anchors
        self.errors: dict[str, str] = {}
        self.alone = asyncio.Lock()  # held by whoever reads or writes the files
        self._heads = heads
        self._sizes: dict[str, int] = {}  # how many entries each of them covers
        self._behind = asyncio.Event()
        self._at_once = asyncio.Event()
        self._round = asyncio.Event()  # set when the next round of writing has ended, or cannot for now
        self._under_way = self._round
        self._hangs = False  # a write that is told as failed, and may still come to its end
        self._closing = False
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._keep(), name="ledger anchors")

    def committed(self) -> None:
        """A log has grown."""
        self._behind.set()

    async def covers(self, tenant: str, index: int) -> bool:
        """Whether the anchor of `tenant` covers the entry `index`, which is committed, once it does; else see `errors`.

        Where a tenant has no anchor there is nothing to wait for, and nothing that could be behind.
        """
        while tenant in self.anchors and self._sizes.get(tenant, 0) <= index and not self._closing:
            ended = self._round  # not the one that has begun, which may have looked before this was committed
            self._behind.set()
            self._at_once.set()
            if not self._hangs:
                await ended.wait()
            if tenant in self.errors or self._hangs:
                break
        return tenant not in self.anchors or self._sizes.get(tenant, 0) > index

    async def level(self) -> None:
        """Write each anchor that is behind its log. What cannot be written is one of `errors`."""
        async with self.alone:
            for tenant, head in list(self._heads().items()):
                anchor = self.anchors.get(tenant)
                if anchor is not None and (anchor.note != head.note or tenant in self.errors):
                    await self._write(tenant, anchor, head)
                self._sizes[tenant] = self._sizes.get(tenant, 0) if tenant in self.errors else head.frontier.size

    async def close(self) -> None:
        self._closing = True
        self._behind.set()
        self._at_once.set()
        if self.task is not None:
            await asyncio.wait([self.task])

    async def _keep(self) -> None:
        try:
            while not self._closing:
                await self._behind.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANCHOR_AGAIN_SECONDS if self.errors else ANCHOR_WITHIN_SECONDS):
                        await self._at_once.wait()
                self._behind.clear()
                self._at_once.clear()
                self._under_way, self._round = self._round, asyncio.Event()
                try:
                    await self.level()
                finally:
                    self._under_way.set()
                if self.errors:
                    self._behind.set()
            await self.level()  # what was committed since the last round began
        finally:
            if not self._closing:  # nothing may be sent any more by what the files cannot say
                self.errors |= {tenant: f"the anchor of {tenant} is not kept any more" for tenant in self.anchors}
            self._closing = True
            self._round.set()

    async def _write(self, tenant: str, anchor: notes.Anchor, head: Head) -> None:
        writing = asyncio.create_task(asyncio.to_thread(anchor.write, head.note))
        await asyncio.wait([writing], timeout=ANCHOR_SLOW_SECONDS)
        if not writing.done():
            self._hangs = True
            self._failed(tenant, f"no answer for {ANCHOR_SLOW_SECONDS:g} s")
            for waited in (self._under_way, self._round):
                waited.set()
            self._round = asyncio.Event()
        try:
            await writing
        except OSError as error:
            self._failed(tenant, error)
        else:
            self.errors.pop(tenant, None)
        finally:
            self._hangs = False

    def _failed(self, tenant: str, why: object) -> None:
        if tenant not in self.errors:
            log.error("the anchor of %s cannot be written: %s", tenant, why)
        self.errors[tenant] = f"the anchor of {tenant} cannot be written: {why}"
