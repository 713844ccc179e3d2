"""The real process is killed: right before and right after each kind of post, and at random moments. Each time it is
started again on the same files, and the story comes to its end: nothing acknowledged is lost, and nothing runs twice.

COUNTERFOIL_CRASHES: "full", or how many random kills (default 6; full takes 100, and both sides of every kind of post).
COUNTERFOIL_SEED chooses the moments.
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
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from ledger.audit import read_entries
from ledger.entry import Entry
from ledger.reconcile import findings, trial_balance
from receiver.auditor.outside.receipts import Receipts, read_receipts
from receiver.commands.demo_stage import Stage
from tests.journeys.town import Town, audit_of
from tests.tools import ROOT

CHOSEN = os.environ.get("COUNTERFOIL_CRASHES", "6")
KILLS = 100 if CHOSEN == "full" else int(CHOSEN)
SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))
# The process dies at the first post that holds such an entry. UNRESOLVED comes only of a death after DISPATCHED, and
# UNDIAGNOSED only of one after CONSULTED, so they stand right behind them.
POSTS = (
    *("ADOPTED", "RECEIVED", "EVALUATED", "DETECTED", "LOOKED", "PROPOSED", "SENT", "DELIVERED", "HEARD", "APPROVED"),
    *(
        "DISPATCHED",
        "UNRESOLVED",
        "EXECUTED",
        "RECOVERED",
        "WATCHED",
        "CLEARED",
        "CONSULTED",
        "UNDIAGNOSED",
        "DIAGNOSED",
    ),
)
# Both sides of these are what README's test command takes; "before" loses a post, "after" loses what follows it.
FEW = ("RECEIVED", "DETECTED", "PROPOSED", "HEARD", "APPROVED", "DISPATCHED", "EXECUTED", "RECOVERED")
LOOK_SECONDS = 0.01  # between two looks at the ledger's file, which is all that is left to look at from outside
STORY_SECONDS = 900.0 if CHOSEN == "full" else 240.0


class Process:
    """`counterfoil serve` as a process of its own, beside a stage that outlives it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.database = stage.folder / "counterfoil.db"
        self.kills = 0
        self.tapped: set[str] = set()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, dies: tuple[str, str] | None = None) -> None:
        """Start it; dies: ("before" or "after", a stage), where it is to kill itself."""
        config = str(self.stage.folder / "counterfoil.yml")
        module = ["receiver"] if dies is None else ["tests.journeys.dying", *dies]
        log = (self.stage.folder / "serve.log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *module, "--config", config, "serve"),
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=dict(self.stage.environment()),
            )

    async def ready(self) -> None:
        """It listens and says that it would act."""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.stage.private_url}/-/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # it does not listen yet
                await asyncio.sleep(LOOK_SECONDS)

    @property
    def dead(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self.died()

    async def died(self) -> None:
        """It is dead, and of nothing else than SIGKILL."""
        assert self._process is not None
        code = await self._process.wait()
        assert code == -9, (self.stage.folder / "serve.log").read_text()[-2000:]
        self.kills += 1

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
        if not self.stages():
            return []
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
    phone = process.stage.phones.phone("tendai")
    for message in phone.messages:
        if message.buttons and message.sid not in process.tapped:
            # A tap that nobody acknowledged is tapped again; one that was must not be lost.
            if await phone.tap("Approve", message) in (200, 204):
                process.tapped.add(message.sid)
            return
    if "UNRESOLVED" in process.stages():
        entries = process.entries()
        settled = {e.settles for e in entries}
        for doubt in (e for e in entries if e.stage == "UNRESOLVED" and e.index not in settled):
            await say_what_happened(process, doubt)


async def say_what_happened(process: Process, doubt: Entry) -> None:
    """Rudo looks at the machine: its log says whether this very webhook-id was begun."""
    dispatched = next(e for e in process.entries() if e.index == doubt.settles)
    outcome = "ran" if dispatched.body["webhook_id"] in begun(process) else "did_not_run"
    url = f"{process.stage.private_url}/api/v1/incidents/{doubt.incident_id}/resolutions"
    body = {"by": "rudo", "outcome": outcome, "text": "looked at the machine"}
    headers = {"Authorization": f"Bearer {process.stage.admin_token}"}
    try:
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
            assert answer.status in (200, 409, 503), await answer.text()
    except aiohttp.ClientError:
        return  # it is being started again; the next look asks anew


def begun(process: Process) -> list[str]:
    """The webhook-ids that the executor began to run, as its own log has them."""
    log = process.stage.folder / "executor.log"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [row["id"] for row in rows if "begun" in row]


async def until_over(process: Process) -> None:
    """Go on until nothing is open: every incident has ended."""
    while True:
        entries = process.entries()
        opened = sum(e.stage == "DETECTED" for e in entries)
        if opened and opened == sum(e.stage == "RECOVERED" for e in entries):
            return
        await help_along(process)
        await asyncio.sleep(LOOK_SECONDS)


def ends_well(process: Process) -> None:
    entries = process.entries()
    balance = trial_balance(entries)
    assert balance.balanced, str(balance)
    assert not findings(entries)
    audit = audit_of(process.stage)
    assert audit.fault is None, str(audit)
    ran = begun(process)
    assert len(ran) == len(set(ran)), "the executor ran one webhook-id twice"
    assert {e.body["webhook_id"] for e in entries if e.stage == "DISPATCHED"} >= set(ran)
    receipts = Receipts(read_receipts(process.stage.folder / "executor.log"))
    for entry in entries:
        receipts.take(entry)
    assert not list(receipts.findings())
    # Nothing that was acknowledged is lost.
    heard = {e.id for e in entries if e.stage == "HEARD"}
    calls = [c for c in process.stage.phones.webhook_calls if c.url.endswith("/twilio/message")]
    acknowledged = {f"heard:{call.fields['MessageSid']}" for call in calls if call.status in (200, 204)}
    assert acknowledged <= heard


async def test_killed_right_before_and_right_after_each_kind_of_post(process: Process) -> None:
    """The shop breaks again and again, and each time the process dies at the next of the chosen posts."""
    posts = POSTS if CHOSEN == "full" else FEW
    left = [(side, stage) for stage in posts for side in ("before", "after")]
    died: list[tuple[str, str]] = []
    async with asyncio.timeout(STORY_SECONDS):
        while left:
            await process.start(left[0])
            while not process.dead:
                if quiet_now(process) and left[0][1] != "CLEARED":
                    process.stage.shop.break_()
                elif quiet_now(process) and not watched_now(process):
                    await false_alarm(process)
                await help_along(process)
                await asyncio.sleep(LOOK_SECONDS)
            await process.died()
            print("died", *left[0], flush=True)
            died.append(left.pop(0))
        await process.start()
        await process.ready()
        await until_over(process)
    await process.stop()
    print(f"killed {len(died)} times, {len(process.entries())} entries")
    assert process.kills == len(died)
    ends_well(process)


def quiet_now(process: Process) -> bool:
    """Whether no incident is open, so that the shop may break again."""
    stages = process.stages()
    return stages.count("DETECTED") == stages.count("RECOVERED")


def watched_now(process: Process) -> bool:
    """Whether a watch is open: what was watched is not yet an incident, and not yet clear."""
    stages = process.stages()
    return stages.count("WATCHED") > stages.count("DETECTED") + stages.count("CLEARED")


async def false_alarm(process: Process) -> None:
    """An alert that fires while the shop is well, and ends: it is watched, and CLEARED."""
    began = datetime.now(UTC)
    labels = {"alertname": "HighErrorRate", "service": "checkout", "instance": f"{began:%H%M%S%f}"}
    token = (process.stage.folder / "secrets/default.token").read_text(encoding="utf-8").strip()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for status in ("firing", "resolved"):
            ends = "0001-01-01T00:00:00Z" if status == "firing" else datetime.now(UTC).isoformat()
            alert = {"status": status, "labels": labels, "startsAt": began.isoformat(), "endsAt": ends}
            body = {"version": "4", "receiver": "counterfoil", "alerts": [{**alert, "annotations": {}}]}
            try:
                async with session.post(f"{process.stage.private_url}/alertmanager", json=body) as answer:
                    assert answer.status in (200, 503), await answer.text()
            except aiohttp.ClientError:
                return  # it is being started, or has just died
            await asyncio.sleep(LOOK_SECONDS)


async def test_killed_at_random_moments(process: Process) -> None:
    rng = random.Random(SEED)
    async with asyncio.timeout(STORY_SECONDS):
        for _ in range(KILLS):
            await process.start()
            until = asyncio.get_running_loop().time() + rng.uniform(0.3, 4.0)
            while asyncio.get_running_loop().time() < until:
                if quiet_now(process):
                    process.stage.shop.break_()
                await help_along(process)
                await asyncio.sleep(LOOK_SECONDS)
            await process.kill()
        await process.start()
        await process.ready()
        if quiet_now(process):  # what breaks again while policy watches whether the restart helped is nobody's recovery
            process.stage.shop.break_()
        await until_over(process)
    await process.stop()
    print(f"killed {process.kills} times, {len(process.entries())} entries")
    ends_well(process)
