"""What comes after an execution, with a real Prometheus and Alertmanager: an action that does not help, the next one,
a service that breaks again, a recovery while the request is under way, a close and an action by hand. One town,
one story, so that the programs are started once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from receiver.auditor.outside.receipts import Receipts, read_receipts
from receiver.commands import demo_stage
from receiver.demo.phone.shapes import Message
from tests.journeys.town import Town

# An action that changes nothing stands before the one that does; that one waits for as long as a file is there.
POLICY = {
    "${COUNTERFOIL_RATE_WINDOW:-1m}": "5s",
    "${COUNTERFOIL_RECOVER_FOR:-2m}": "2s",
    "group_by: [service]  ": "reopen_within: 10m\n    group_by: [service]  ",
    "    actions:\n": """    actions:
      flush:
        executor: flush
        title: flush the cache
        approvers: {roles: [oncall]}
        verify: {within: 4s}
""",
    "limit: {max: 2, per: 1h, cooldown: 5m}": "limit: {max: 9, per: 1h}",
}
FLUSH = """\
  flush: {{secret_file: secrets/restart.whsec, command: ["true"]}}
"""
HELD = 'command: ["sh", "-c", "while [ -e hold ]; do sleep 0.05; done; exec \\"$@\\"", "sh", '


@pytest.fixture
async def town(tmp_path: Path, tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setenv("COUNTERFOIL_TOOLS", str(tool("prometheus").parent))
    tool("alertmanager")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "town")
    hold = HELD.replace("-e hold", f"-e {town.folder}/hold")
    monkeypatch.setattr(demo_stage, "EXECUTOR", demo_stage.EXECUTOR.replace("command: [", hold) + FLUSH)
    flush = '      flush: {{url: "{executor}/run/flush", secret_file: secrets/restart.whsec}}\n'
    monkeypatch.setattr(demo_stage, "CONFIG", demo_stage.CONFIG + flush)
    town.write_policy(POLICY)
    yield town
    await town.stop()


async def command(town: Town, *words: str) -> str:
    """What `counterfoil incident` says, beside the running service."""
    given = ["incident", *words, "--config", str(town.folder / "counterfoil.yml")]
    result = await asyncio.to_thread(CliRunner(env=dict(town.environment())).invoke, counterfoil, given)
    assert result.exit_code == 0, result.output
    return result.output


async def report_on(town: Town, incident: str | None) -> str:
    return await command(town, "report", incident or "")


async def asked(town: Town, who: str, action: str) -> Message:
    """The question for `action`, once it has come to `who`."""
    return await town.phones.phone(who).next_message(lambda m: bool(m.buttons) and action in m.body, timeout=60)


async def test_what_comes_after(town: Town) -> None:
    await town.start()
    assert town.monitoring.real, town.monitoring.trouble
    tendai = town.phones.phone("tendai")

    # It does not help: policy says so, on its readings, and the next action is asked for with what was tried.
    town.shop.break_()
    await tendai.tap("Approve", await asked(town, "tendai", "flush the cache"))
    (unconfirmed,) = await town.until("UNCONFIRMED")
    assert float(unconfirmed.body["verdict"]["basis"]["readings"][0]["value"]) > 0.02
    second = await asked(town, "tendai", "restart the checkout service")
    assert "Tried without effect: flush the cache" in second.body
    await tendai.tap("Approve", second)
    (recovered,) = await town.until("RECOVERED")
    (confirmed,) = await town.until("CONFIRMED")
    assert confirmed.body["verdict"]["outcome"] == "recover"
    assert [entry.body["action"] for entry in await town.entries("PROPOSED")] == ["flush", "restart"]
    assert town.shop.restarts == 1
    report = await report_on(town, recovered.incident_id)
    assert report.index("did it help: no") < report.index("did it help: yes")

    # It breaks again: one incident in two parts. And it recovers by itself while the request is under way.
    (town.folder / "hold").touch()
    town.shop.break_()
    again = await asked(town, "tendai", "restart the checkout service")
    assert "(again, part 2)" in again.body
    assert "Tried without effect: flush" in again.body
    await tendai.tap("Approve", again)
    await town.until("DISPATCHED", 3)
    town.shop.restart()
    part = (await town.until("RECOVERED", 2))[1]
    assert len(await town.entries("EXECUTED")) == 2  # the request is still under way
    (town.folder / "hold").unlink()
    executed = (await town.until("EXECUTED", 3))[2]
    late = next(entry for entry in await town.until("CONFIRMED", 2) if entry.settles == executed.index)
    assert late.body["late"] is True
    assert "one incident in 2 parts" in await report_on(town, part.incident_id)

    # A person closes the third part, with a reason: its question is withdrawn, and the same alert opens nothing.
    town.shop.break_()
    await asked(town, "tendai", "(again, part 3)")
    detected = (await town.until("DETECTED", 3))[2]
    url = f"{town.private_url}/api/v1/incidents/{detected.incident_id}/close"
    body = {"by": "rudo", "reason": "the shop is being replaced"}
    headers = {"Authorization": f"Bearer {town.admin_token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    closed = (await town.until("CLOSED"))[0]
    assert (closed.actor, closed.reason) == ("engineer:rudo", "the shop is being replaced")
    assert any(e.settles is not None and e.stage == "WITHDRAWN" for e in await town.entries())
    await tendai.next_message(says="the shop is being replaced", timeout=60)
    report = await report_on(town, detected.incident_id)
    assert "Closed by engineer:rudo" in report
    assert "one incident in 3 parts" in report
    assert len(await town.entries("DETECTED")) == 3

    # The shop is still broken, and nothing asks: somebody asks for the cure by hand, and somebody else approves it.
    said = await command(town, "request", "restart", "checkout", "--by", "tendai")
    assert "DETECTED by policy" in said
    rudo = town.phones.phone("rudo")
    await rudo.tap("Approve", await rudo.next_message(says="tendai asks for this by hand", timeout=60))
    by_hand = (await town.until("RECOVERED", 3))[2]
    authorized = (await town.entries("AUTHORIZED"))[-1]
    assert (authorized.actor, authorized.incident_id) == ("engineer:rudo", by_hand.incident_id)
    assert "asked for by hand, by tendai" in await report_on(town, by_hand.incident_id)
    assert town.shop.restarts == 4  # one of them by itself
    receipts = Receipts(read_receipts(town.folder / "executor.log"))
    for entry in await town.entries():
        receipts.take(entry)
    assert [finding.detail for finding in receipts.findings()] == []
    await town.ends_well()
