"""A folder that `counterfoil init` wrote, with a ledger in it, and the commands on it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner, Result

from ledger import checkpoint as notes
from ledger.entry import Back, Draft
from ledger.stores.sqlite import SqliteJournal
from receiver.__main__ import counterfoil
from receiver.commands.init import write_folder
from receiver.settings import load_settings

ENVIRONMENT = {"ANTHROPIC_API_KEY": "sk"}
STORY = (
    Draft("r", "RECEIVED", "alertmanager"),
    Draft("e", "EVALUATED", "policy", settles=Back(0)),
    Draft("w", "WATCHED", "policy"),
    Draft("d", "DETECTED", "policy", incident_id="inc-1", settles=Back(2), reason="error_ratio 0.31 >= 0.05"),
    Draft("n", "NOTED", "operator:root", incident_id="inc-2", reason="two\nlines \x1b[31mred\u202e"),
)


class House:
    """A folder that `init` wrote, with a ledger in it."""

    def __init__(self, folder: Path) -> None:
        write_folder(folder)
        (folder / "secrets/twilio.token").write_text("a token")
        self.config = folder / "counterfoil.yml"
        self.ledger = load_settings(self.config, ENVIRONMENT).ledger

    def run(self, *words: str) -> Result:
        runner = CliRunner(env=ENVIRONMENT)
        return runner.invoke(counterfoil, ["ledger", *words, "--config", str(self.config)])

    async def write(self, *drafts: Draft) -> None:
        journal = await SqliteJournal.open(
            self.ledger.path,
            origin=self.ledger.origin,
            key=notes.load_key_file(self.ledger.key_file),
            anchor_path=self.ledger.anchor_file,
            clock=lambda: datetime(2026, 11, 23, 8, tzinfo=UTC),
            tenants=["default"],
            durable=False,
        )
        try:
            await journal.post("default", drafts)
        finally:
            await journal.close()

    def tamper(self, sql: str) -> None:
        with sqlite3.connect(self.ledger.path) as store:
            for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                store.execute(f"DROP TRIGGER {name}")
            store.execute(sql)
        store.close()
