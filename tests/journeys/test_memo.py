"""The real process starts from the memo that the one before it left, whether that was stopped or killed."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.audit import verify_store
from ledger.checkpoint import load_key_file
from ledger.entry import Draft
from ledger.stores.sqlite import MAX_POST_ENTRIES, SqliteJournal
from receiver.app import SystemClock
from receiver.governor.memo import memo_path
from receiver.governor.remembering import ENTRIES
from tests.ledger.house import ENVIRONMENT, House
from tests.tools import ROOT

SAID = re.compile(r"tenant default: (\d+) entries from the memo, (\d+) folded")


class Served:
    """`counterfoil serve` in a folder that `init` wrote."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder)
        text = self.house.config.read_text(encoding="utf-8")
        for before, after in (("127.0.0.1:9877", "127.0.0.1:0"), ("127.0.0.1:9878", "127.0.0.1:0"), (":9093", ":1")):
            text = text.replace(before, after)
        self.house.config.write_text(text.replace(":9090", ":1"), encoding="utf-8")
        self.database = self.house.ledger.path
        self.memo = memo_path(self.database, "default")
        self.log = folder / "serve.log"
        self._process: asyncio.subprocess.Process | None = None

    async def fill(self, first: int, number: int) -> None:
        """Post so many notes."""
        ledger = self.house.ledger
        journal = await SqliteJournal.open(
            self.database,
            origin=ledger.origin,
            key=load_key_file(ledger.key_file),
            anchor_path=ledger.anchor_file,
            clock=SystemClock().now,
            tenants=["default"],
            durable=False,
        )
        notes = [
            Draft(f"note:{n}", "NOTED", "system", body={"kind": "note", "text": str(n)})
            for n in range(first, first + number)
        ]
        for at in range(0, number, MAX_POST_ENTRIES):
            await journal.post("default", notes[at : at + MAX_POST_ENTRIES])
        await journal.close()

    async def start(self) -> tuple[int, int]:
        """Start it; how many entries came from the memo, and how many it folded."""
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "receiver", "--config", str(self.house.config), "serve"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=ENVIRONMENT,
            )
        assert self._process.stdout is not None
        listens = await self._process.stdout.readline()
        text = self.log.read_text(encoding="utf-8")
        assert b"counterfoil listens" in listens, text[-2000:]
        found = SAID.findall(text) or [(0, 0)]  # nothing is said of a short log without a memo
        ((held, folded),) = found
        return int(held), int(folded)

    async def end(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        (process.kill if kill else process.terminate)()
        _, code = await process.communicate(), process.returncode
        assert code == (-9 if kill else 0), self.log.read_text(encoding="utf-8")[-2000:]

    def warned(self) -> str:
        return "\n".join(line for line in self.log.read_text(encoding="utf-8").splitlines() if "the memo" in line)

    def holds(self) -> bool:
        public = load_key_file(self.house.ledger.key_file).public_key()
        (audit,) = verify_store(self.database, origin=self.house.ledger.origin, public=public, anchor_path=None)
        return audit.fault is None


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path / "installation")
    yield made
    await made.end()


async def test_a_stop_a_kill_and_a_backup_in_the_place_of_the_ledger(served: Served) -> None:
    await served.fill(0, ENTRIES)
    assert served.house.run("backup", str(served.database.with_name("copy.db"))).exit_code == 0
    held, folded = await served.start()
    assert (held, folded) == (0, ENTRIES + 1)  # and OPENED
    assert served.memo.exists()
    await served.end(kill=True)
    held, folded = await served.start()
    assert held == ENTRIES + 1
    assert 0 < folded < 10  # ADOPTED, which was posted after the memo
    await served.end()
    await served.fill(ENTRIES, ENTRIES)
    assert (await served.start())[0] == ENTRIES + 1
    await served.end()
    held, folded = await served.start()  # the one before folded enough for another
    assert held > 2 * ENTRIES
    assert folded < 10
    await served.end()
    assert served.holds()

    # A backup has fewer entries than the anchor says, and is taken up under another key.
    shutil.copy(served.database.with_name("copy.db"), served.database)
    for beside in ("-wal", "-shm"):
        served.database.with_name(served.database.name + beside).unlink(missing_ok=True)
    accepted = served.house.run("accept-restored", "--by", "ruth", "--reason", "the disk is gone")
    assert accepted.exit_code == 0, accepted.output
    held, folded = await served.start()
    assert held == 0
    assert folded > ENTRIES
    assert "under another key" in served.warned()
    await served.end()
    assert (await served.start())[0] > ENTRIES


async def test_a_sealed_ledger_leaves_no_memo_to_the_next_one(served: Served) -> None:
    await served.fill(0, ENTRIES)
    await served.start()
    await served.end()
    following = served.database.with_name("next.db")
    sealed = served.house.run("seal", str(following), "--origin", "next.example", "--by", "ruth", "--reason", "a year")
    assert sealed.exit_code == 0, sealed.output
    kept, text = served.memo.read_bytes(), served.house.config.read_text(encoding="utf-8")
    for name in ("url", "origin", "key_file", "anchor_file"):
        line = re.search(rf"^  {name}: \S+$", sealed.output, re.MULTILINE)
        assert line is not None, sealed.output
        text, changed = re.subn(rf"^  {name}: \S+", line[0], text, count=1, flags=re.MULTILINE)
        assert changed == 1, name
    served.house.config.write_text(text, encoding="utf-8")
    memo_path(following, "default").write_bytes(kept)
    held, folded = await served.start()
    assert (held, folded) == (0, 0)
    assert "under another key" in served.warned()
