"""The real process is killed: right after each stage of the story, and at random moments. It is started again each
time on the same files, and the story comes to its end: nothing acknowledged is lost, and nothing runs twice.

COUNTERFOIL_CRASHES chooses how many random kills (default 6; the campaign takes 100), COUNTERFOIL_SEED the moments.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from ledger.audit import read_entries
from ledger.entry import Entry
from ledger.reconcile import findings, trial_balance
from receiver.commands.demo_stage import Stage
from tests.journeys.town import Town, audit_of

KILLS = int(os.environ.get("COUNTERFOIL_CRASHES", "6"))
SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))
STAGES = (
    *("ADOPTED", "RECEIVED", "EVALUATED", "DETECTED", "CONSULTED", "PROPOSED", "SENT", "HEARD", "APPROVED"),
    *("DISPATCHED", "EXECUTED"),
)
LOOK_SECONDS = 0.01  # between two looks at the ledger's file, which is all that is left to look at from outside
STORY_SECONDS = 120.0


class Process:
    """`counterfoil serve` as a process of its own, beside a stage that outlives it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.database = stage.folder / "counterfoil.db"
        self.kills = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        config = str(self.stage.folder / "counterfoil.yml")
        log = (self.stage.folder / "serve.log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "receiver", "--config", config, "serve"),
                stdout=log,
                stderr=log,
                env=dict(self.stage.environment()),
            )

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        code = await self._process.wait()
        assert code == -9, (self.stage.folder / "serve.log").read_text()[-2000:]
        self.kills += 1
        await self.start()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            assert await self._process.wait() == 0, (self.stage.folder / "serve.log").read_text()[-2000:]

    def stages(self) -> list[str]:
        """The stages that stand in the file now."""
        if not self.database.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as store:
                return [row[0] for row in store.execute("SELECT stage FROM entry ORDER BY n")]
        except sqlite3.OperationalError:  # the schema is being made
            return []

    def entries(self) -> list[Entry]:
        return read_entries(self.database, "default")


@pytest.fixture
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    stage = Town(tmp_path / "town")
    # A doubt that a person settles as "it did not run" is asked again at once, not after a cool-down.
    stage.write_policy({"limit: {max: 2, per: 1h, cooldown: 5m}": "limit: {max: 50, per: 1h}"})
    await stage.prepare()
    process = Process(stage)
    yield process
    await process.stop()
    await stage.stop()


async def help_along(process: Process) -> None:
    """What people do meanwhile: approve what is asked, and say what became of an execution that nobody knows of."""
    stage = process.stage
    phone = stage.phones.phone("tendai")
    asked = [m for m in phone.messages if m.buttons]
    heard = [m for m in phone.conversation if m.inbound and m.reply_to is not None]
    answered = {m.reply_to for m in heard}
    for message in asked:
        if message.sid not in answered:
            await phone.tap("Approve", message)
            return
    outstanding = process.stages()
    if outstanding.count("UNRESOLVED") > sum(outstanding.count(s) for s in ("WRITTEN_OFF",)) and outstanding:
        doubt = next((e for e in reversed(process.entries()) if e.stage == "UNRESOLVED"), None)
        if doubt is not None and not any(e.settles == doubt.index for e in process.entries()):
            await say_what_happened(process, doubt)


async def say_what_happened(process: Process, doubt: Entry) -> None:
    outcome = "ran" if process.stage.shop.restarts else "did_not_run"
    url = f"{process.stage.private_url}/api/v1/incidents/{doubt.incident_id}/resolutions"
    body = {"by": "rudo", "outcome": outcome, "text": "looked at the machine"}
    headers = {"Authorization": f"Bearer {process.stage.admin_token}"}
    try:
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
            assert answer.status in (200, 409, 503), await answer.text()
    except aiohttp.ClientConnectionError:
        return  # it is being started again; the next look asks anew


async def story(process: Process, kill_now: asyncio.Event, killed: asyncio.Event) -> None:
    """Run to RECOVERED, killing whenever `kill_now` is set; `killed` says that it was done."""
    async with asyncio.timeout(STORY_SECONDS):
        while "RECOVERED" not in process.stages():
            if kill_now.is_set():
                kill_now.clear()
                await process.kill()
                killed.set()
            await help_along(process)
            await asyncio.sleep(LOOK_SECONDS)


def ends_well(process: Process) -> None:
    entries = process.entries()
    balance = trial_balance(entries)
    assert balance.balanced, str(balance)
    assert not findings(entries)
    audit = audit_of(process.stage)
    assert audit.fault is None, str(audit)
    begun = [
        json.loads(line)["id"]
        for line in (process.stage.folder / "executor.log").read_text().splitlines()
        if "begun" in json.loads(line)
    ]
    assert len(begun) == len(set(begun)), "the executor ran one webhook-id twice"
    assert {e.body["webhook_id"] for e in entries if e.stage == "DISPATCHED"} >= set(begun)


async def test_killed_right_after_each_stage(process: Process) -> None:
    """One story, and after the first entry of each stage the process is killed and started again."""
    await process.start()
    process.stage.shop.break_()
    kill_now, killed, left = asyncio.Event(), asyncio.Event(), list(STAGES)

    async def watch() -> None:
        while left:
            standing = process.stages()
            if left[0] in standing:
                left.pop(0)
                kill_now.set()
                await killed.wait()
                killed.clear()
            elif "RECOVERED" in standing:
                return
            await asyncio.sleep(LOOK_SECONDS)

    watcher = asyncio.create_task(watch())
    try:
        await story(process, kill_now, killed)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    await process.stop()
    assert process.kills >= len(STAGES) - 1, left  # EXECUTED is left out where a person said what happened
    ends_well(process)


async def test_killed_at_random_moments(process: Process) -> None:
    rng = random.Random(SEED)
    await process.start()
    process.stage.shop.break_()
    kill_now = asyncio.Event()

    async def strike() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.2, 4.0))
            kill_now.set()

    striker = asyncio.create_task(strike())
    try:
        await story(process, kill_now, asyncio.Event())
    finally:
        striker.cancel()
        await asyncio.gather(striker, return_exceptions=True)
    await process.stop()
    assert process.kills
    ends_well(process)
