"""Journeys with a real Prometheus that scrapes the shop, and a real Alertmanager that posts to the service."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from tests.journeys.town import Town


@pytest.fixture
async def town(tmp_path: Path, tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """Not started: a test may write its policy first, and then says `await town.start()`."""
    monkeypatch.setenv("COUNTERFOIL_TOOLS", str(tool("prometheus").parent))
    tool("alertmanager")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "town")
    yield town
    await town.stop()


async def asks(town: Town, who: str) -> None:
    await town.phones.phone(who).next_message(lambda m: bool(m.buttons), timeout=60)


async def test_from_a_real_alert_to_a_recorded_recovery(town: Town) -> None:
    """Two people are asked; the first tap runs the webhook once, and the second hears who was first."""
    await town.start()
    assert town.monitoring.real, town.monitoring.trouble
    town.shop.break_()
    await asks(town, "tendai")
    await asks(town, "rudo")
    await town.phones.phone("tendai").tap("Approve")
    await town.shop.wait_restarted()
    await town.phones.phone("rudo").tap("Approve")
    await town.phones.phone("rudo").next_message(says="already approved by tendai", timeout=60)
    recovered = (await town.until("RECOVERED"))[0]
    assert recovered.actor == "policy"
    assert len(recovered.body["hold"]) > 1  # the readings of the whole hold
    assert [entry.actor for entry in await town.entries("AUTHORIZED")] == ["engineer:tendai"]
    assert town.shop.restarts == 1
    # The restart removed every 5xx series, and the readings that recovery rests on are still numbers.
    assert {f["value"] for f in recovered.body["verdict"]["findings"]} == {"0"}
    told = await town.phones.phone("tendai").next_message(says="Recovered", timeout=60)
    await town.ends_well()
    # The phone is a witness: what stands in its message is compared with the log.
    (index, digits) = re.findall(r"ledger (\d+):([0-9a-f]{8})", told.body)[0]
    assert int(index) == recovered.index
    for said, code in ((digits, 0), (f"{int(digits, 16) ^ 1:08x}", 1)):
        words = ["ledger", "verify", "--witnessed", f"{index}:{said}", "--config", str(town.folder / "counterfoil.yml")]
        result = CliRunner(env=dict(town.environment())).invoke(counterfoil, words)
        assert result.exit_code == code, result.output


async def test_a_rejection_runs_nothing(town: Town) -> None:
    await town.start()
    town.shop.break_()
    await asks(town, "rudo")
    await town.phones.phone("rudo").tap("Reject")
    await town.until("REJECTED")
    await town.phones.phone("tendai").next_message(says="already rejected by rudo", timeout=60)
    assert not await town.entries("DISPATCHED")
    assert town.shop.restarts == 0
    await town.ends_well()


async def test_a_halt_stops_the_dispatch_until_somebody_else_resumes(town: Town) -> None:
    await town.start()
    town.shop.break_()
    await asks(town, "tendai")
    await town.phones.phone("tendai").say("HALT the database is being moved")
    await town.until("HALTED")
    await town.phones.phone("tendai").tap("Approve")
    await town.until("AUTHORIZED")
    await town.phones.phone("tendai").say("RESUME")
    await town.until("REFUSED")
    assert not await town.entries("DISPATCHED")
    assert town.shop.restarts == 0
    await town.phones.phone("rudo").say("RESUME")
    await town.until("DISPATCHED")
    await town.shop.wait_restarted()
    await town.until("RECOVERED")
    await town.ends_well()


async def test_a_group_of_500_alerts_becomes_the_right_incidents(town: Town) -> None:
    """Alerts that no rule takes are told to everyone: one incident for each alertname, not one for each alert."""
    await town.start()
    await town.fire([{"alertname": f"Disk{n % 5}", "instance": f"node-{n}"} for n in range(500)])
    detected = await town.until("DETECTED", 5)
    assert {entry.body["key"]["alertname"] for entry in detected} == {f"Disk{n}" for n in range(5)}
    await town.until_all_of(500)
    await town.phones.phone("rudo").next_message(says="Disk", timeout=60)
    assert len(await town.entries("DETECTED")) == 5
    await town.ends_well()


async def test_what_fires_while_the_service_is_down_is_not_lost(town: Town) -> None:
    """What still fires when the service is back is found; what came and went stays open for nobody."""
    await town.start()
    await town.service.stop()
    await town.fire([{"alertname": "StillThere"}, {"alertname": "CameAndWent"}])
    await town.fire([{"alertname": "CameAndWent"}], ended=True)
    await town.restart_service()
    opened: list[str] = []
    while "StillThere" not in opened:
        found = await town.until("DETECTED", len(opened) + 1)
        opened = [entry.body["key"]["alertname"] for entry in found]
    # Alertmanager may repeat a notification of before: then it says soon after that the alert has ended.
    if "CameAndWent" in opened:
        await town.until("RECOVERED")
    ended = {entry.settles for entry in await town.entries("RECOVERED")}
    still = [e.body["key"]["alertname"] for e in await town.entries("DETECTED") if e.index not in ended]
    assert still == ["StillThere"]
    await town.fire([{"alertname": "StillThere"}], ended=True)
    await town.until("RECOVERED", len(opened))
    await town.ends_well()


async def test_two_alertmanagers_that_post_the_same_are_one_incident(town: Town, free_port: Callable[[], int]) -> None:
    """A cluster whose members hardly wait for each other, and one that is cut off: notifications come twice."""
    await town.start()
    ports, gossip = [free_port(), free_port()], [free_port(), free_port()]
    three = [town.monitoring.alertmanager_url]
    for number, port in enumerate(ports):
        flags = [f"--cluster.listen-address=127.0.0.1:{gossip[number]}", "--cluster.peer-timeout=1ms"]
        flags += [f"--cluster.peer=127.0.0.1:{gossip[0]}"] if number else []
        three.append(await town.another_alertmanager(port, *flags))
    alert = {"alertname": "Doubled", "service": "checkout"}
    await town.fire([alert], at=three)
    await town.until("DETECTED")
    await town.fire([alert], ended=True, at=three)
    await town.until("RECOVERED")
    said = await town.until_requests(3)  # two of them would be what one Alertmanager posts
    assert len(await town.entries("DETECTED")) == 1
    assert len(await town.entries("RECEIVED")) < said
    await town.ends_well()


async def test_what_alertmanager_cuts_off_is_asked_for(town: Town, free_port: Callable[[], int]) -> None:
    """`max_alerts: 2` of a group of five: the notification says that three are missing, and they are fetched."""
    await town.start()
    url = await town.another_alertmanager(free_port(), "--cluster.listen-address=", options="        max_alerts: 2")
    group = [{"alertname": "Many", "instance": f"node-{n}"} for n in range(5)]
    await town.fire(group, at=[url, town.monitoring.alertmanager_url])
    await town.until_all_of(5)
    received = await town.until("RECEIVED", 2)
    cut = [entry.body for entry in received if entry.body.get("truncated")]
    assert all(body["truncated"] == 3 for body in cut)
    await town.ends_well()


async def test_a_silenced_alert_opens_nothing(town: Town) -> None:
    await town.start()
    await town.silence("alertname", "Noise")
    await town.fire([{"alertname": "Noise"}, {"alertname": "Signal"}])
    detected = (await town.until("DETECTED"))[0]
    assert detected.body["key"] == {"alertname": "Signal"}
    await next(iter(town.service.governors.values())).compare()
    assert len(await town.entries("WATCHED")) == 1
    await town.ends_well()


async def test_firing_resolved_firing_are_two_incidents(town: Town) -> None:
    await town.start()
    for number in (1, 2):
        await town.fire([{"alertname": "Flaps"}])
        await town.until("DETECTED", number)
        await town.fire([{"alertname": "Flaps"}], ended=True)
        await town.until("RECOVERED", number)
    await town.ends_well()


async def test_a_reading_that_rises_after_the_alert_is_watched_for(town: Town) -> None:
    """The alert fires while the shop is well: policy watches, and opens the incident when the reading says so."""
    await town.start()
    await town.fire([{"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}])
    await town.until("WATCHED")
    looked = (await town.until("LOOKED"))[0]
    assert looked.decision in ("ignore", "unknown")
    assert not await town.entries("DETECTED")
    town.shop.break_()
    detected = (await town.until("DETECTED"))[0]
    assert "error_ratio" in detected.reason
    await town.ends_well()


async def test_without_prometheus_the_alert_counts_and_nothing_recovers(town: Town) -> None:
    """Prometheus is gone at detection, at the tap and afterwards: an incident opens, a person is asked and may act,
    and recovery is never declared on missing data."""
    town.write_policy({"unknown_after: 1m": "unknown_after: 2s"})
    await town.start()
    prometheus = town.monitoring.programs[-1]
    prometheus.terminate()
    await prometheus.wait()
    await town.fire([{"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}])
    detected = (await town.until("DETECTED"))[0]
    assert "unknown" in detected.reason
    await asks(town, "tendai")
    await town.phones.phone("tendai").tap("Approve")
    await town.until("EXECUTED")
    authorized = (await town.entries("AUTHORIZED"))[0]
    assert "unknown" in authorized.body["verdict"]["reason"]
    await town.fire([{"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}], ended=True)
    await town.until("EVALUATED", 2)
    assert not await town.entries("RECOVERED")
    await town.ends_well()
