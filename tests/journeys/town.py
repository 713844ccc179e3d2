"""A small town for journeys: the demo's stage with the real Prometheus and Alertmanager, and what a test asks of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from ledger import checkpoint
from ledger.audit import Audit, verify_store
from ledger.entry import Entry
from ledger.exporting.export import export
from ledger.exporting.source import stored
from ledger.reconcile import trial_balance
from receiver.auditor.timeline import all_entries
from receiver.commands.demo_stage import Stage
from receiver.demo.monitoring import ALERTMANAGER, find
from tests.ledger.verifiers import VERIFIERS

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.05  # between two looks at what tells nobody when it changes


class Town(Stage):
    """A stage whose service may be stopped and started, with the questions that journeys ask."""

    call_after = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)

    def write_policy(self, changes: Mapping[str, str]) -> None:
        """The starter policy with these changes of its text, before the start."""
        from importlib.resources import files

        text = files("policy_rules").joinpath("starter.yml").read_text(encoding="utf-8")
        for before, after in changes.items():
            assert before in text, before
            text = text.replace(before, after)
        (self.folder / "policy.yml").write_text(text, encoding="utf-8")

    async def restart_service(self) -> None:
        """Start the service again on the same files, after `service.stop()`."""
        from receiver.app import Service

        self.service = Service(self.load(), reread=self.load)
        await self.service.start()

    async def entries(self, stage: str | None = None) -> list[Entry]:
        chosen = {} if stage is None else {"stage": stage}
        return await all_entries(self.service.journal, "default", **chosen)

    async def until(self, stage: str, count: int = 1) -> list[Entry]:
        """The entries of `stage`, once there are `count`."""
        journal = self.service.journal
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                size = await journal.size("default")  # asked first: what comes after it ends the wait
                if len(found := await self.entries(stage)) >= count:
                    return found
                await journal.wait("default", size)

    async def until_all_of(self, alerts: int) -> None:
        """Wait until so many alerts that were not known before have been evaluated."""
        journal = self.service.journal
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                size = await journal.size("default")
                if sum(e.body["alerts"] - e.body["old"] for e in await self.entries("EVALUATED")) >= alerts:
                    return
                await journal.wait("default", size)

    async def until_requests(self, count: int) -> int:
        """How many requests came to the intake, once there were `count`."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                samples = [s for f in self.service.metrics.webhook_requests.collect() for s in f.samples]
                came = int(sum(sample.value for sample in samples if sample.name.endswith("_total")))
                if came >= count:
                    return came
                await asyncio.sleep(LOOK_SECONDS)

    async def another_alertmanager(self, port: int, *flags: str, options: str = "") -> str:
        """One more real Alertmanager that posts to the service; its address. options: lines of its webhook_config."""
        folder = self.folder / f"alertmanager-{port}"
        await asyncio.to_thread(folder.mkdir)
        config = ALERTMANAGER.format(
            webhook=f"{self.service.private_url}/alertmanager",
            token=(self.folder / "secrets/default.token").read_text(encoding="utf-8").strip(),
        )
        await asyncio.to_thread((folder / "alertmanager.yml").write_text, config.rstrip() + f"\n{options}\n")
        program = find("prometheus-alertmanager", "alertmanager")
        assert program is not None
        url = f"http://127.0.0.1:{port}"
        words = (f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}")
        await self.monitoring.run(url, program, *words, f"--web.listen-address=127.0.0.1:{port}", *flags)
        return url

    async def fire(self, alerts: Sequence[Mapping[str, str]], *, ended: bool = False, at: Sequence[str] = ()) -> None:
        """Put alerts with these labels into the real Alertmanager, or into those `at`, as Prometheus would."""
        now = datetime.now(UTC)
        ends = now if ended else now + timedelta(minutes=5)
        rows = [
            {
                "labels": dict(labels),
                "annotations": {"summary": "put there by a test"},
                "startsAt": (now - timedelta(seconds=1)).isoformat(),
                "endsAt": ends.isoformat(),
            }
            for labels in alerts
        ]
        for url in at or [self.monitoring.alertmanager_url]:
            await self._post(f"{url}/api/v2/alerts", rows)

    async def silence(self, name: str, value: str) -> None:
        now = datetime.now(UTC)
        matcher = {"name": name, "value": value, "isRegex": False, "isEqual": True}
        body = {
            "matchers": [matcher],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "quiet",
        }
        await self._post(f"{self.monitoring.alertmanager_url}/api/v2/silences", body)

    async def _post(self, url: str, body: Any) -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def ends_well(self) -> None:
        """Stop the service; the ledger verifies and its books balance."""
        entries = await self.entries()
        await self.service.stop()
        balance = trial_balance(entries)
        assert balance.balanced, str(balance)
        audit = audit_of(self)
        assert audit.fault is None, str(audit)
        self.exports_well()

    def exports_well(self) -> None:
        """What an auditor is given verifies, twice over, and tells no number, no token and no key."""
        ledger = self.load().settings.ledger
        public = checkpoint.load_key_file(ledger.key_file).public_key()
        folder = self.folder / "export"
        with stored(ledger.path, ledger.origin, "default", public) as source:
            export(source, folder)
        vkey = checkpoint.verifier_key(checkpoint.log_origin(ledger.origin, "default"), public)
        for name, verify in VERIFIERS.items():
            said, _ = verify(folder, vkey)
            assert said.startswith("OK: "), f"{name}: {said}"
        given = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert [word for word in self.never_told() if word.encode() in given] == []

    def never_told(self) -> set[str]:
        """The numbers of people and of the sender, and every line of every secret."""
        numbers = set(re.findall(r"\+\d{8,}", (self.folder / "counterfoil.yml").read_text(encoding="utf-8")))
        files = [path for path in (self.folder / "secrets").rglob("*") if path.is_file()]
        lines = {line.strip() for path in files for line in path.read_text(encoding="utf-8").splitlines()}
        secrets = {line.removeprefix("whsec_") for line in lines if not line.startswith("-----")} - {""}
        assert len(numbers) >= 3
        assert len(secrets) >= 3
        return secrets | {number[1:] for number in numbers}


def audit_of(stage: Stage) -> Audit:
    settings = stage.load().settings
    return verify_store(
        settings.ledger.path,
        origin=settings.ledger.origin,
        public=checkpoint.load_key_file(settings.ledger.key_file).public_key(),
        anchor_path=settings.ledger.anchor_file,
    )[0]
