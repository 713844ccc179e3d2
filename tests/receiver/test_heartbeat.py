"""The alert that must keep arriving: its silence is said, said again, and its return too; and the switch outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from policy_rules.matchers import parse_matchers
from policy_rules.readings import Alert
from receiver.app import Service
from receiver.commands.init import write_folder
from receiver.configuration import ConfigErrors, load_config
from receiver.incident.heartbeat import Heartbeat, Pulse, Silence, next_word
from receiver.metrics import Metrics
from receiver.pinging import ping_forever
from tests.receiver.governed import NOW, Governed

HEARTBEAT = Heartbeat((parse_matchers('alertname="Watchdog"'),), 300, ("role:oncall",))


def alert(name: str, *, firing: bool = True) -> Alert:
    return Alert(name, {"alertname": name}, {}, firing, NOW - timedelta(days=1), None if firing else NOW)


def noted(governed: Governed) -> list[str]:
    return [entry.body["kind"] for entry in governed.entries("NOTED")]


def told(governed: Governed) -> list[str]:
    return [entry.body["person"] for entry in governed.entries("ADDRESSED")]


@pytest.fixture
async def governed() -> Governed:
    made = Governed(heartbeat=HEARTBEAT)
    await made.governor.start()
    return made


async def test_silence_is_said_once_and_then_every_hour(governed: Governed) -> None:
    await governed.after(299)
    assert noted(governed) == []
    await governed.after(1)
    assert noted(governed) == ["heartbeat missing"]
    assert told(governed) == ["tendai"]
    await governed.after(3599)
    assert len(noted(governed)) == 1
    await governed.after(1)
    assert noted(governed) == ["heartbeat missing"] * 2
    governed.governor.measure()
    assert b'counterfoil_heartbeat_missing{tenant="default"} 1.0' in governed.governor.desk.metrics.render()


async def test_each_beat_counts_and_its_return_is_said(governed: Governed) -> None:
    for _ in range(5):
        await governed.after(200)
        governed.governor.hear([alert("DiskFull"), alert("Watchdog")])
        await governed.rest()
    assert noted(governed) == []
    await governed.after(300)
    governed.governor.hear([alert("Watchdog")])
    await governed.rest()
    assert noted(governed) == ["heartbeat missing", "heartbeat back"]
    back = governed.entries("NOTED")[-1]
    assert back.reason == "The heartbeat is back: monitoring was silent for 5 min."
    governed.governor.measure()
    assert b'counterfoil_heartbeat_missing{tenant="default"} 0.0' in governed.governor.desk.metrics.render()


async def test_another_alert_or_its_end_is_no_beat(governed: Governed) -> None:
    await governed.after(200)
    governed.governor.hear([alert("DiskFull"), alert("Watchdog", firing=False)])
    await governed.after(100)
    assert noted(governed) == ["heartbeat missing"]


async def test_a_restart_says_neither_that_it_is_back_nor_again_that_it_is_missing(governed: Governed) -> None:
    await governed.after(300)
    again = Governed(heartbeat=HEARTBEAT, journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    await again.rest()
    assert noted(again) == ["heartbeat missing"]
    await again.after(400)
    assert noted(again) == ["heartbeat missing"]
    again.governor.hear([alert("Watchdog")])
    await again.rest()
    assert noted(again) == ["heartbeat missing", "heartbeat back"]


async def test_who_has_left_is_not_told_and_everybody_is_where_nobody_is_named(governed: Governed) -> None:
    charter = governed.governor.desk.charter
    governed.governor.reload(replace(charter, heartbeat=replace(HEARTBEAT, notify=("role:nobody",))))
    await governed.after(300)
    assert told(governed) == ["ruth", "tendai"]


def test_a_step_of_the_wall_clock_changes_nothing() -> None:
    for now in (NOW, NOW + timedelta(days=400), NOW - timedelta(days=400)):
        assert next_word(Pulse(HEARTBEAT, 100.0, 1000.0), None, now) == now + timedelta(seconds=200)
        assert next_word(Pulse(HEARTBEAT, None, 100.0), None, now) == now + timedelta(seconds=200)
    silence = Silence(3, NOW, NOW)
    assert next_word(Pulse(HEARTBEAT, 0.0, 1000.0), silence, NOW) == NOW
    assert next_word(Pulse(HEARTBEAT, None, 1000.0), silence, NOW) == NOW + timedelta(hours=1)


# --- in the service -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "installation"
    write_folder(folder)
    config = folder / "counterfoil.yml"
    text = (
        config.read_text().replace(":9877", ":0").replace(":9878", ":0").replace(":9093", ":1").replace(":9090", ":1")
    )
    config.write_text(text.replace("    executors:", HEART + "    executors:").replace("twilio:", TWILIO))
    return folder


HEART = "    heartbeat: {matchers: ['alertname=\"Watchdog\"'], within: 1s, notify: [everyone]}\n"
TWILIO = "twilio:\n  base_url: http://127.0.0.1:1"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def test_through_the_intake_a_repetition_is_a_beat_and_no_entry(folder: Path) -> None:
    service = Service(load_config(folder / "counterfoil.yml", {}))
    await service.start()
    try:
        desk = service.governors["default"].desk
        token = (folder / "secrets/default.token").read_text().strip()
        payload = {
            "version": "4",
            "receiver": "counterfoil",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": "Watchdog"},
                    "annotations": {},
                    "startsAt": "2026-11-23T08:58:38.425Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": "00000000000000aa",
                }
            ],
        }

        async def beat() -> str:
            async with aiohttp.ClientSession() as session:
                headers = {"Authorization": f"Bearer {token}"}
                url = f"{service.private_url}/alertmanager"
                async with session.post(url, data=json.dumps(payload), headers=headers) as answer:
                    return str((await answer.json())["status"])

        assert await beat() == "accepted"
        await until(lambda: desk.book.silence is not None)
        assert await beat() == "duplicate"
        await until(lambda: desk.book.silence is None)
    finally:
        await service.stop()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("alertname=", "alertname~", "heartbeat.matchers"),
        ("[everyone]", "[oncall]", "'oncall' is nobody of people"),
        ("[everyone]", '["role:pilots"]', "'role:pilots' is nobody of people"),
    ],
)
def test_what_cannot_be_heard_or_told_is_refused(folder: Path, before: str, after: str, says: str) -> None:
    config = folder / "counterfoil.yml"
    config.write_text(config.read_text().replace(HEART, HEART.replace(before, after)))
    with pytest.raises(ConfigErrors) as refused:
        load_config(config, {})
    assert says in str(refused.value)


# --- the switch outside -----------------------------------------------------------------------------------------------


async def test_the_switch_outside_hears_from_us_only_while_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    status = 200

    async def take(request: web.Request) -> web.Response:
        heard.put_nowait(request.path)
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/secret-of-ours", take)
    asked: asyncio.Queue[None] = asyncio.Queue()
    reasons: list[str] = []

    def not_ready() -> Sequence[str]:
        asked.put_nowait(None)
        return reasons

    async def rounds(number: int) -> None:
        while not asked.empty():
            asked.get_nowait()
        for _ in range(number):
            await asyncio.wait_for(asked.get(), 20)

    metrics = Metrics()
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("/secret-of-ours"))
        pinging = asyncio.create_task(
            ping_forever(lambda: url, lambda: session, not_ready, metrics, every_seconds=0.001)
        )
        try:
            assert await asyncio.wait_for(heard.get(), 20) == "/secret-of-ours"
            await rounds(2)
            assert _last(metrics) > 0
            reasons.append("anchor: it cannot be written")
            await rounds(2)
            while not heard.empty():
                heard.get_nowait()
            await rounds(3)
            assert heard.empty()
            reasons.clear()
            status = 500
            await rounds(4)
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
    said = [record.message for record in caplog.records if "health_ping_url" in record.message]
    assert said == ["health_ping_url: it answers HTTP 500"]
    assert "secret-of-ours" not in caplog.text


def _last(metrics: Metrics) -> float:
    found: Any = metrics.registry.get_sample_value("counterfoil_health_ping_last_success_timestamp_seconds")
    return float(found)
