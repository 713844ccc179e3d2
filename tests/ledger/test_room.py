"""Too little room on the disk: nothing is posted or dispatched before it is full, and all of it goes on by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from ledger.journal import Unavailable
from ledger.stores.room import Room
from receiver.app import Service
from receiver.commands import checks_of_ledger
from receiver.commands.findings import FAIL, OK, WARN
from receiver.configuration import load_config
from receiver.settings import load_settings
from tests.ledger.files import Files, note
from tests.ledger.house import ENVIRONMENT, House

LEAST = 1_000_000
ALERT = {
    "status": "firing",
    "labels": {"alertname": "X"},
    "annotations": {},
    "startsAt": "2026-11-23T08:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "0123456789abcdef",
}


@dataclass
class Disk:
    """What a file system says of itself. blocks: how many of 4096 bytes are free to us; None: it does not answer."""

    blocks: int | None

    def statvfs(self, path: Path) -> os.statvfs_result:
        if self.blocks is None:
            raise OSError(5, "Input/output error", str(path))
        return os.statvfs_result((4096, 4096, 10**6, 10**5, self.blocks, 0, 0, 0, 0, 255))


def room(path: Path, disk: Disk, least: int = LEAST) -> Room:
    return Room(path, least, disk.statvfs)


@pytest.mark.parametrize(
    ("blocks", "least", "short"),
    [(245, LEAST, False), (244, LEAST, True), (0, LEAST, True), (0, 0, False), (None, LEAST, True), (None, 0, False)],
)
def test_below_the_limit_there_is_no_room(tmp_path: Path, blocks: int | None, least: int, short: bool) -> None:
    assert (room(tmp_path / "ledger.db", Disk(blocks), least).shortage() is not None) is short


def test_the_real_file_system_has_what_statvfs_says(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert 0 < Room(tmp_path / "not there yet.db", 0).free() <= found.f_blocks * found.f_frsize


async def test_nothing_is_posted_without_room_and_everything_once_there_is(tmp_path: Path) -> None:
    files, disk = Files(tmp_path), Disk(10**6)
    journal = await files.open(shortage=room(files.path, disk).shortage)
    await journal.post("default", [note("before")])
    disk.blocks = 100
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"409,600 bytes are free, and ledger.min_free_bytes keeps 1,000,000"):
            await journal.post("default", [note("meanwhile")])
    assert "make room" in (journal.anchor_error() or "")
    assert await journal.find("default", "meanwhile") is None
    assert await journal.find("default", "before") is not None
    disk.blocks = 10**6
    assert journal.anchor_error() is None
    assert not (await journal.post("default", [note("meanwhile")])).duplicate
    await journal.close()
    assert files.verify().fault is None


async def test_that_nothing_can_be_written_is_logged_once_and_its_end_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "ledger.stores.sqlite")

    async def full(jobs: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    journal = await Files(tmp_path).open()
    with monkeypatch.context() as broken:
        broken.setattr(journal, "_transact", full)
        for number in range(5):
            with pytest.raises(Unavailable):
                await journal.post("default", [note(f"try {number}")])
    for number in range(5):
        await journal.post("default", [note(f"try {number}")])
    assert caplog.messages == [
        "the ledger cannot be written: database or disk is full",
        "the ledger is written again",
    ]
    await journal.close()


async def test_the_service_says_503_and_is_not_ready_and_goes_on_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(tmp_path)
    text = house.config.read_text().replace(":9877", ":0").replace(":9878", ":0")
    house.config.write_text(text)
    service, disk = Service(load_config(house.config, ENVIRONMENT)), Disk(10**6)
    service._room = replace(service._room, statvfs=disk.statvfs)
    await service.start()
    token = (tmp_path / "secrets/default.token").read_text().strip()
    body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "x", "alerts": [ALERT]}
    body |= {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am"}

    async def look(session: aiohttp.ClientSession) -> tuple[int, int, str, str]:
        url = service.private_url
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(f"{url}/alertmanager", json=body, headers=headers) as posted:
            taken = posted.status
        async with session.get(f"{url}/-/ready") as answer:
            ready, why = answer.status, await answer.text()
        async with session.get(f"{url}/metrics") as answer:
            metrics = await answer.text()
        (line,) = [line for line in metrics.splitlines() if line.startswith("counterfoil_ledger_free_bytes ")]
        return taken, ready, why, line.split()[1]

    async with AsyncExitStack() as stack:
        stack.push_async_callback(service.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        disk.blocks = 100
        size = await service.journal.size("default")
        taken, ready, why, free = await look(session)
        assert (taken, ready, float(free)) == (503, 503, 409_600)
        assert "ledger.min_free_bytes" in why
        assert await service.journal.size("default") == size
        assert not service.governors["default"].desk.may_act()
        disk.blocks = 10**6
        async with asyncio.timeout(30):
            while (await look(session))[:2] != (200, 200):
                pass  # a governor that was refused asks again after a pause of its own
    for said in ("the ledger takes nothing: ", "the ledger takes entries again"):
        assert len([text for text in caplog.messages if text.startswith(said)]) == 1, caplog.messages
    assert len([text for text in caplog.messages if "the ledger cannot be written" in text]) <= 1, caplog.messages


def test_check_says_how_much_there_is(tmp_path: Path) -> None:
    house = House(tmp_path)
    free = Room(house.ledger.path, 0).free()
    for least, state in ((0, OK), (free * 2 // 3, WARN), (free * 2, FAIL)):
        settings = load_settings(house.config, ENVIRONMENT)
        ledger = settings.ledger.model_copy(update={"min_free_bytes": least})
        (found,) = checks_of_ledger.room(settings.model_copy(update={"ledger": ledger}))
        assert found.state == state
