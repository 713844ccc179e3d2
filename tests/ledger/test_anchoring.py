"""The anchors follow the log: a moment after a commit, at once where somebody waits, and level at the end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.journal import Unavailable
from ledger.stores import anchoring
from ledger.stores.sqlite import SqliteJournal
from tests.ledger.files import Files, note

PATIENCE = 30.0  # seconds, after which something that was waited for does not come


class Writes:
    """The real writes of anchors: told of each, and held back while `may` is not set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.may.set()
        self.fault: Exception | None = None
        self.tried: list[str] = []
        self.written: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()
        real = notes.Anchor.write

        def write(anchor: notes.Anchor, note: str) -> None:
            self.tried.append(note)
            self._loop.call_soon_threadsafe(self._more.set)
            assert self.may.wait(PATIENCE)
            if self.fault is not None:
                raise self.fault
            real(anchor, note)
            self.written.append(note)
            self._loop.call_soon_threadsafe(self._more.set)

        monkeypatch.setattr(notes.Anchor, "write", write)

    async def more(self) -> None:
        """Return at the beginning or the end of the next write."""
        async with asyncio.timeout(PATIENCE):
            await self._more.wait()
        self._more.clear()


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    await made.story()
    return made


@pytest.fixture
async def writes(files: Files, monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


def anchored(files: Files) -> str | None:
    return notes.Anchor(files.anchor).read()


async def test_a_post_is_answered_before_its_anchor_is_written_and_who_waits_is_not(
    files: Files, writes: Writes
) -> None:
    journal = await files.open()
    before = anchored(files)
    writes.may.clear()
    first = (await journal.post("default", [note("a")])).entries[0].index
    waiting = asyncio.create_task(journal.anchored("default", first))
    await writes.more()
    second = (await journal.post("default", [note("b")])).entries[0].index
    later = asyncio.create_task(journal.anchored("default", second))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not later.done()
    assert anchored(files) == before
    writes.may.set()
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(waiting, later) == [True, True]
    assert journal.anchor_error() is None
    assert anchored(files) == await journal.checkpoint("default")
    assert len(writes.written) == 2
    await journal.close()


async def test_what_nobody_waits_for_is_anchored_soon(files: Files, writes: Writes) -> None:
    journal = await files.open()
    await journal.post("default", [note("a")])
    while not writes.written:
        await writes.more()
    assert anchored(files) == await journal.checkpoint("default")
    await journal.close()


async def test_the_commits_of_a_busy_moment_come_under_few_writes(files: Files, writes: Writes) -> None:
    journal = await files.open()
    writes.may.clear()
    for number in range(200):
        await journal.post("default", [note(f"busy:{number}")])
    writes.may.set()
    await journal.close()
    assert len(writes.written) <= 2  # the one that was under way, and the last
    assert anchored(files) == await journal.checkpoint("default")
    assert files.verify().fault is None


async def test_what_is_anchored_already_is_not_written_again(files: Files, writes: Writes) -> None:
    journal = await files.open()
    size = await journal.size("default")
    for index in range(size):
        assert await journal.anchored("default", index)
    await journal.close()
    assert writes.tried == []


async def test_the_end_leaves_it_level_also_where_a_write_is_under_way(files: Files, writes: Writes) -> None:
    journal = await files.open()
    writes.may.clear()
    await journal.post("default", [note("a")])
    await writes.more()
    await journal.post("default", [note("b")])
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    writes.may.set()
    async with asyncio.timeout(PATIENCE):
        await closing
    assert anchored(files) == await journal.checkpoint("default")


async def test_one_that_could_not_be_written_is_tried_again_though_nobody_posts(files: Files, writes: Writes) -> None:
    journal = await files.open()
    writes.fault = OSError(28, "No space left on device")
    index = (await journal.post("default", [note("a")])).entries[0].index
    async with asyncio.timeout(PATIENCE):
        assert not await journal.anchored("default", index)
    assert journal.anchor_error() == ("the anchor of default cannot be written: [Errno 28] No space left on device")
    writes.fault = None
    while not writes.written:
        await writes.more()
    async with asyncio.timeout(PATIENCE):
        assert await journal.anchored("default", index)
    assert journal.anchor_error() is None
    assert anchored(files) == await journal.checkpoint("default")
    await journal.close()


async def test_a_share_that_hangs_is_said_and_goes_on_when_it_answers(
    files: Files, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await files.open()
    monkeypatch.setattr(anchoring, "ANCHOR_SLOW_SECONDS", 0.02)
    writes.may.clear()
    index = (await journal.post("default", [note("a")])).entries[0].index
    async with asyncio.timeout(PATIENCE):
        assert not await journal.anchored("default", index)
        assert journal.anchor_error() == "the anchor of default cannot be written: no answer for 0.02 s"
        assert (await journal.post("default", [note("b")])).entries[0].index == index + 1
        assert not await journal.anchored("default", index + 1)  # it is known to hang, and nobody else waits for it
        writes.may.set()
        await journal.close()
    assert journal.anchor_error() is None
    assert anchored(files) == await journal.checkpoint("default")


async def test_who_stops_waiting_leaves_the_others_waiting(files: Files, writes: Writes) -> None:
    journal = await files.open()
    writes.may.clear()
    index = (await journal.post("default", [note("a")])).entries[0].index
    leaving, staying = (asyncio.create_task(journal.anchored("default", index)) for _ in range(2))
    await writes.more()
    leaving.cancel()
    assert await asyncio.gather(leaving, return_exceptions=True) != [None]
    writes.may.set()
    async with asyncio.timeout(PATIENCE):
        await staying
    assert anchored(files) == await journal.checkpoint("default")
    await journal.close()


async def test_a_mistake_of_ours_is_no_silence(files: Files, writes: Writes) -> None:
    journal = await files.open()
    writes.fault = RuntimeError("a defect")
    index = (await journal.post("default", [note("a")])).entries[0].index
    async with asyncio.timeout(PATIENCE):
        assert not await journal.anchored("default", index)
        assert journal.anchor_error() == "the anchor of default is not kept any more"
        with pytest.raises(RuntimeError, match="a defect"):
            await journal.ended()
        await journal.close()
    with pytest.raises(Unavailable, match="closed"):
        await journal.post("default", [note("b")])


async def test_a_log_without_an_anchor_is_not_waited_for(files: Files, writes: Writes) -> None:
    journal = await SqliteJournal.open(
        files.folder / "other.db", **files.given(anchor_path=None, tenants=["default", "shop"])
    )
    for tenant in ("default", "shop"):
        index = (await journal.post(tenant, [note("a")])).entries[0].index
        async with asyncio.timeout(PATIENCE):
            assert await journal.anchored(tenant, index)
    await journal.close()
    assert writes.tried == []


async def test_a_write_that_hung_covers_what_it_was_of_and_no_more(
    files: Files, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends without an error: who was let go meanwhile must not take that for an anchor of what came later."""
    journal = await files.open(tenants=["default", "shop"])
    monkeypatch.setattr(anchoring, "ANCHOR_SLOW_SECONDS", 0.02)
    writes.may.clear()
    first = (await journal.post("default", [note("a")])).entries[0].index
    async with asyncio.timeout(PATIENCE):
        assert not await journal.anchored("default", first)
        told = [
            await journal.anchored(tenant, (await journal.post(tenant, [note("dispatch")])).entries[0].index)
            for tenant in ("default", "shop")
        ]
        assert told == [False, False]
        writes.may.set()
        while journal.anchor_error() is not None:
            await writes.more()
        for tenant in ("default", "shop"):
            assert await journal.anchored(tenant, await journal.size(tenant) - 1)
    await journal.close()
