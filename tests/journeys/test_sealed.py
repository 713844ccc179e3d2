"""A ledger is sealed while a halt, an open incident and a watch stand, with the real programs, and all three go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.accounts import OPENS
from ledger.carried import BOOKS
from receiver.__main__ import counterfoil
from tests.journeys.town import WAIT_SECONDS, Town

# A second service that nothing measures yet: policy cannot tell, and watches.
POLICY = {"'service=\"checkout\"'": "'service=~\"checkout|payments\"'", "unknown_after: 1m": "unknown_after: 30m"}
POLICY |= {"${COUNTERFOIL_RATE_WINDOW:-1m}": "5s", "${COUNTERFOIL_RECOVER_FOR:-2m}": "2s"}


@pytest.fixture
async def town(tmp_path: Path, tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setenv("COUNTERFOIL_TOOLS", str(tool("prometheus").parent))
    tool("alertmanager")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "town")
    town.write_policy(POLICY)
    yield town
    await town.stop()


async def command(town: Town, *words: str, config: str = "counterfoil.yml") -> Result:
    given = [*words, "--config", str(town.folder / config)]
    return await asyncio.to_thread(CliRunner(env=dict(town.environment())).invoke, counterfoil, given)


async def nothing_in_flight(town: Town) -> None:
    journal = town.service.journal
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            size = await journal.size("default")
            entries = await town.entries()
            settled = {entry.settles for entry in entries}
            open_now = {OPENS[e.stage] for e in entries if e.stage in OPENS and e.index not in settled}
            if open_now <= set(BOOKS):
                return
            await journal.wait("default", size)


async def sealed(town: Town) -> str:
    """Stop the service where nothing is in flight and seal; what was caught on its way is let go on, and again."""
    path = str(town.folder / "next.db")
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            await nothing_in_flight(town)
            await town.service.stop()
            said = await command(town, "ledger", "seal", path, "--origin", "next", "--by", "root", "--reason", "a year")
            if said.exit_code == 0:
                return said.output
            assert "in flight" in said.stderr, said.output
            await town.restart_service()


def go_on(town: Town, said: str) -> None:
    """Write what the command printed into the configuration; the old one is kept as old.yml."""
    config = town.folder / "counterfoil.yml"
    text = config.read_text(encoding="utf-8")
    (town.folder / "old.yml").write_text(text, encoding="utf-8")
    section = ", ".join(line.strip() for line in said.splitlines() if line.startswith("  "))
    lines = [f"ledger: {{{section}}}" if line.startswith("ledger:") else line for line in text.splitlines()]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


async def test_a_halt_an_incident_and_a_watch_go_on_in_the_next_ledger(town: Town) -> None:
    await town.start()
    tendai, rudo = town.phones.phone("tendai"), town.phones.phone("rudo")
    await tendai.say("HALT the database is being moved")
    await town.until("HALTED")
    await town.fire([{"alertname": "HighErrorRate", "severity": "critical", "service": "payments"}])
    await town.until("WATCHED")
    town.shop.break_()
    detected = (await town.until("DETECTED"))[0]
    await rudo.next_message(says=detected.incident_id or "", timeout=60)
    assert not await town.entries("PROPOSED")
    said = await sealed(town)
    assert "carried forward: halts: " in said
    go_on(town, said)
    await town.restart_service()

    # The same three stand, and nothing else was begun: not a second incident, and not a second watch.
    await town.until("LOOKED", 2)
    incident = (await town.entries("DETECTED"))[0]
    assert (incident.incident_id, incident.body["carried"]["index"]) == (detected.incident_id, detected.index)
    assert len(await town.entries("DETECTED")) == 1
    assert {e.body["key"]["service"] for e in await town.entries("WATCHED")} == {"checkout", "payments"}
    assert len(await town.entries("WATCHED")) == 2
    shown = (await command(town, "incident", "show", detected.incident_id or "", "--at", str(incident.index))).output
    assert f"carried forward from entry {detected.index} of the sealed log" in shown
    assert f"halted at {(await town.entries('HALTED'))[0].index} by engineer:tendai" in shown

    # The halt holds, and ends by another person.
    refused = await command(town, "incident", "request", "restart", "checkout", "--by", "tendai")
    assert (refused.exit_code, "halt" in refused.output) == (1, True), refused.output
    await tendai.say("RESUME")
    await town.until("REFUSED")
    assert not await town.entries("RESUMED")
    await rudo.say("RESUME")
    await town.until("RESUMED")
    requested = await command(town, "incident", "request", "restart", "checkout", "--by", "tendai")
    assert requested.exit_code == 0, requested.output
    await rudo.tap("Approve", await rudo.next_message(says="tendai asks for this by hand", timeout=60))
    await town.shop.wait_restarted()
    recovered = await town.until("RECOVERED", 2)
    assert detected.incident_id in {entry.incident_id for entry in recovered}
    await town.fire([{"alertname": "HighErrorRate", "severity": "critical", "service": "payments"}], ended=True)
    await town.until("CLEARED")
    assert town.shop.restarts == 1
    shown = (await command(town, "incident", "report", detected.incident_id or "")).output
    assert f"opened {detected.timestamp:%Y-%m-%d %H:%M:%S}" in shown
    assert f"carried forward from entry {detected.index} of the sealed log" in shown
    await town.ends_well()

    # Both files stand, each by itself and with the other.
    former = str(town.folder / "counterfoil.db")
    for words, config in (
        (["verify", "--replay", "--former", former], "counterfoil.yml"),
        (["reconcile"], "counterfoil.yml"),
        (["verify", "--replay"], "old.yml"),
        (["reconcile"], "old.yml"),
    ):
        result = await command(town, "ledger", *words, config=config)
        assert result.exit_code == 0, (words, config, result.output)
    told = json.loads((await command(town, "ledger", "reconcile", "--json", config="old.yml")).output)["carried"]
    assert (told["to"], told["incidents"]) == ("next/default", [detected.index])
