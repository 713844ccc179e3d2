"""SILENCE: a real Alertmanager says nothing more of what was named, in the name of whoever asked, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from receiver.demo.monitoring import free_ports
from receiver.evidence.silencing import Silencing
from receiver.governor import silencing
from receiver.governor.missed import GONE_AFTER, compare
from receiver.papers import NotSilenced, Silence, words
from receiver.rehearsal.outside import CaseClock
from tests.receiver.governed import Governed
from tests.tools import find_tool

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def alertmanager(tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[str]:
    """The address of a real one."""
    program = find_tool("alertmanager")
    if program is None:
        pytest.skip("no alertmanager here")
    (tmp_path / "alertmanager.yml").write_text(CONFIG, encoding="utf-8")
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        str(program),
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"Listening on" not in (line := await asyncio.wait_for(process.stderr.readline(), 30)):
        assert line, "alertmanager did not start"
    drained = asyncio.create_task(process.stderr.read())
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()
    await drained


async def asked(session: aiohttp.ClientSession, address: str) -> Any:
    async with session.get(address) as response:
        return await response.json()


class Elsewhere:
    """An Alertmanager that answers as it is told, and counts."""

    def __init__(self, *answers: str | NotSilenced) -> None:
        self.answers, self.wanted = list(answers), list[Silence]()

    async def silence(self, silence: Silence) -> str | NotSilenced:
        self.wanted.append(silence)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def governed(silencer: Any, **more: Any) -> Governed:
    made = Governed(**more)
    made.desk.silencer = silencer
    await made.governor.start()
    return made


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end(session: aiohttp.ClientSession) -> None:
    """As the list of silences does once it is longer than a segment: else nobody could silence anything any more."""
    rest = asyncio.Event()
    now = datetime.now(UTC)
    silence = Silence({"alertname": "A"}, now, now + timedelta(hours=1), "tendai", "ours")

    async def listed(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"silenceID": "one"})
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'[{"comment": "another",')
        await rest.wait()
        await answer.write(b' "matchers": []}]')
        return answer

    app = web.Application()
    app.router.add_route("*", "/api/v2/silences", listed)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    asyncio.get_running_loop().call_later(
        0.1, rest.set
    )  # it holds in either order; only a reader of one piece needs this one
    office = Silencing(servers=[(f"http://{host}:{port}", {}, None)], session=lambda: session)
    assert await office.silence(silence) == "one"
    await runner.cleanup()


async def test_alertmanager_is_silent_in_the_name_of_whoever_asked(
    alertmanager: str, session: aiohttp.ClientSession
) -> None:
    servers = [("http://127.0.0.1:1", {}, None), (alertmanager, {}, None)]  # the first peer is down
    office = Silencing(servers=servers, session=lambda: session)
    now = datetime.now(UTC).replace(microsecond=0)
    made = await governed(office, clock=CaseClock(now))
    await made.fire("db1", "db2")
    first, _ = made.desk.book.open.values()
    labels = [{"alertname": "DiskFilling", "host": host, "severity": "critical"} for host in ("db1", "db2")]
    async with session.post(f"{alertmanager}/api/v2/alerts", json=[{"labels": each} for each in labels]) as response:
        assert response.status == 200
    heard = await made.hear("tendai", f"Silence {first.id} 2h")
    (standing,) = await asked(session, f"{alertmanager}/api/v2/silences")
    assert {m["name"]: m["value"] for m in standing["matchers"]} == labels[0]
    assert all(m["isEqual"] and not m["isRegex"] for m in standing["matchers"])
    assert standing["createdBy"] == "tendai"
    request, done = made.entries("NOTED")
    assert standing["comment"] == f"Counterfoil: {first.id}, entry {request.index}"
    assert datetime.fromisoformat(standing["endsAt"]) == now + timedelta(hours=2)
    assert (request.actor, request.cites, done.body["ids"]) == ("engineer:tendai", (heard.index,), [standing["id"]])
    assert request.index < done.index
    until = (now + timedelta(hours=2)).strftime("%H:%M UTC")
    assert made.told("tendai")[-1] == f"Alertmanager is silent about 1 alert until {until}. The incident stays open."
    states = {
        row["labels"]["host"]: row["status"]["state"] for row in await asked(session, f"{alertmanager}/api/v2/alerts")
    }
    assert states["db1"] == "suppressed" != states["db2"]
    # A crash between asking and writing it down: it is asked again, and stands once.
    again = Silence(labels[0], now, now + timedelta(hours=2), "tendai", standing["comment"])
    assert await office.silence(again) == standing["id"]
    assert len(await asked(session, f"{alertmanager}/api/v2/silences")) == 1
    refused = await office.silence(Silence(labels[1], now, now - timedelta(hours=2), "tendai", "x"))
    assert isinstance(refused, NotSilenced)
    assert not refused.again


async def test_what_is_silenced_is_not_said_to_be_gone() -> None:
    made = await governed(Elsewhere("one"))
    await made.fire("db1", "db2")
    first, second = made.desk.book.open.values()
    await made.hear("tendai", f"silence {first.id} 2h")

    async def active() -> list[Any]:
        return []

    made.outside.active = active  # type: ignore[method-assign]
    absent: dict[str, datetime] = {}
    for _ in range(2):
        await compare(made.desk, absent)
        await made.after(GONE_AFTER.total_seconds())
    gone = [entry.incident_id for entry in made.entries("NOTED") if entry.body["kind"] == "gone"]
    assert gone == [second.id]


@pytest.mark.parametrize("span", ["", " 4m", " 25h", " 0h", " tomorrow", " 9999d"])
async def test_a_span_that_cannot_be_is_answered_and_asks_nothing(span: str) -> None:
    office = Elsewhere("one")
    made = await governed(office)
    await made.fire()
    (incident,) = made.desk.book.open.values()
    await made.hear("tendai", f"SILENCE {incident.id}{span}")
    assert made.told("tendai")[-1] == f"Say for how long, from 5m to 1d, as in SILENCE {incident.id} 2h."
    assert (office.wanted, made.entries("NOTED")) == ([], [])


async def test_what_is_over_or_too_much_is_silenced_by_nobody() -> None:
    office = Elsewhere("one")
    made = await governed(office)
    await made.hear("tendai", "silence 2h")
    assert made.told("tendai")[-1] == "Which incident? Say SILENCE and its id. None is open."
    await made.fire()
    (incident,) = made.desk.book.open.values()
    await made.fire(firing=False)
    await made.hear("tendai", f"silence {incident.id} 2h")
    assert made.told("tendai")[-1] == f"{incident.id} has ended: there is nothing to silence."
    assert office.wanted == []


async def test_an_alertmanager_that_does_not_answer_is_asked_again_and_then_it_is_said() -> None:
    office = Elsewhere(NotSilenced(words("alertmanager answers", server="http://am", status=503), again=True))
    made = await governed(office)
    await made.fire()
    await made.hear("tendai", "silence for 2h")
    assert len(office.wanted) == 1
    await made.after(silencing.TRY_AGAIN_SECONDS)
    assert len(office.wanted) == 2
    assert len(made.entries("NOTED")) == 1
    await made.after(silencing.GIVE_UP_SECONDS)
    assert made.told("tendai")[-1] == "Not silenced: http://am answers 503."
    assert made.entries("NOTED")[-1].body["ids"] == []
    assert made.desk.book.silences.pending == {}


async def test_where_none_is_configured_it_is_said_at_once() -> None:
    made = await governed(None)
    await made.fire()
    await made.hear("ruth", "silence 30m")
    assert made.told("ruth")[-1].startswith("Not silenced: no Alertmanager is configured")


async def test_a_restart_asks_for_what_was_not_asked_yet() -> None:
    down = Elsewhere(NotSilenced(words("alertmanager answers", server="http://am", status=503), again=True))
    made = await governed(down)
    await made.fire()
    await made.hear("tendai", "silence 2h")
    office = Elsewhere("one")
    again = await governed(office, journal=made.journal, clock=made.clock)
    await again.rest()
    assert [silence.created_by for silence in office.wanted] == ["tendai"]
    assert again.desk.book.silences.pending == {}
