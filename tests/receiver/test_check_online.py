"""`counterfoil check --online`: what Twilio, Claude and the public address say, asked of stand-ins and a service."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from receiver.app import Service
from receiver.authorization.templates import TEMPLATES
from receiver.commands import checks_online, checks_twilio
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.commands.init import PLACEHOLDER_NUMBERS, write_folder
from receiver.configuration import load_config
from receiver.demo.claude import ClaudeStandIn
from receiver.demo.phone import PhoneNetwork
from receiver.execution.runner import Runner
from receiver.execution.runner_config import load_runner_config
from receiver.execution.signature import signed_headers
from receiver.intake import nonces
from receiver.settings import Settings, load_settings

ACCOUNT, SENDER, TOKEN, KEY = "AC" + "1" * 32, "whatsapp:+14155550199", "f" * 32, "sk-a-key"
TENDAI, RUDO = "whatsapp:+263771234567", "whatsapp:+263772345678"


class Place:
    """A folder that `init` wrote, with stand-ins for Twilio and Claude; `now` is the clock of the phones."""

    def __init__(self, folder: Path, network: PhoneNetwork, claude: ClaudeStandIn) -> None:
        write_folder(folder)
        self.folder, self.config = folder, folder / "counterfoil.yml"
        self.network, self.claude = network, claude
        (folder / "secrets/twilio.token").write_text(TOKEN, encoding="utf-8")
        self.edit("AC" + "0" * 32, ACCOUNT)
        self.edit('"whatsapp:+12025550100"', f'"{SENDER}"\n  base_url: "{network.url}"')
        self.edit('"${ANTHROPIC_API_KEY}"', f'"${{ANTHROPIC_API_KEY}}"\n  base_url: "{claude.url}"')
        self.edit(f"{PLACEHOLDER_NUMBERS}1", TENDAI)
        self.edit(f"{PLACEHOLDER_NUMBERS}2", RUDO)
        for port in (":9093", ":9090", ":9879"):
            self.edit(port, ":1")
        self.edit(":9878", ":0")

    def edit(self, before: str, after: str) -> None:
        text = self.config.read_text(encoding="utf-8")
        assert before in text, before
        self.config.write_text(text.replace(before, after), encoding="utf-8")

    def settings(self, key: str = KEY) -> Settings:
        return load_settings(self.config, {"ANTHROPIC_API_KEY": key})

    async def found(self, check: str) -> list[Finding]:
        return [finding for finding in await checks_online.all_of(self.settings()) if finding.check == check]

    async def states(self, check: str) -> list[str]:
        return [finding.state for finding in await self.found(check)]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    claude = ClaudeStandIn(api_key=KEY)
    network = PhoneNetwork(
        account_sid=ACCOUNT, auth_token=TOKEN, sender=SENDER, sandbox=False, people={"tendai": TENDAI, "rudo": RUDO}
    )
    await claude.start()
    await network.start()
    yield Place(tmp_path, network, claude)
    await network.stop()
    await claude.stop()


async def test_an_account_that_is_ready_is_told_so(place: Place) -> None:
    client = aiohttp.ClientSession()
    async with client:
        account = checks_twilio.account_of(place.settings(), client)
        for template in TEMPLATES:
            sid = await account.asked(lambda contents, t=template: contents.create(t))
            await account.asked(lambda contents, s=sid, t=template: contents.submit(s, t))
            place.network.review(template.friendly_name, "approved")
        await account.set_callback("https://counterfoil.example.org/twilio/message")
    await place.network.phone("tendai").say("hello")
    found = await checks_online.all_of(place.settings())
    lines = {(f.check, f.state) for f in found if f.check not in ("prometheus", "alertmanager", "executors")}
    assert lines == {
        *(("twilio", OK), ("clock", OK), ("sender", OK), ("templates", OK), ("people", OK), ("claude", OK)),
        ("public_url", WARN),  # the service does not run
    }
    (tendai, rudo) = [f.message for f in found if f.check == "people"]
    assert "tendai wrote lately: the window is open for 23 h" in tendai
    assert "rudo never wrote: approved templates reach them" in rudo


async def test_what_is_not_set_at_twilio_is_told_with_the_remedy(place: Place) -> None:
    (sender,) = await place.found("sender")
    assert (sender.state, "go to nobody" in sender.message) == (FAIL, True)
    assert sender.remedy == "`counterfoil whatsapp setup --set` sets it"
    missing = await place.found("templates")
    assert {(f.message, f.state) for f in missing} == {  # in the one language that is read here
        ("counterfoil_opened_v1_en is missing", FAIL),
        ("counterfoil_notice_v1_en is missing", WARN),
    }
    place.network.sender_status = "OFFLINE"
    assert await place.states("sender") == [FAIL, FAIL]


async def test_the_sandbox_is_told_who_has_not_joined_today(place: Place) -> None:
    place.edit(f'"{SENDER}"', '"whatsapp:+14155238886"')
    place.network.sender = "whatsapp:+14155238886"
    await place.network.phone("tendai").say("join us")
    place.network.clock = lambda: datetime.now(UTC) - timedelta(hours=30)
    await place.network.phone("rudo").say("join us")
    people = await place.found("people")
    assert [finding.state for finding in people] == [OK, WARN]
    assert "rudo last wrote 30 h ago" in people[1].message
    assert await place.states("templates") == [OK]
    assert await place.states("sender") == [WARN]  # there is no API for its address


async def test_a_refused_token_is_one_finding(place: Place) -> None:
    (place.folder / "secrets/twilio.token").write_text("wrong", encoding="utf-8")
    (twilio,) = await place.found("twilio")
    assert (twilio.state, twilio.remedy) == (FAIL, "see twilio.account_sid and twilio.auth_token_file")
    assert await place.found("sender") == await place.found("templates") == []


async def test_a_clock_that_is_off_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(seconds=40)

    monkeypatch.setattr(checks_twilio, "datetime", Late)
    (clock,) = await place.found("clock")
    assert clock.state == WARN
    assert "+40 s" in clock.message or "+39 s" in clock.message


async def test_claude_is_asked_whether_the_key_and_the_model_are_good(place: Place) -> None:
    assert await place.states("claude") == [OK]
    place.edit("claude-sonnet-5-5", "claude-old-1")
    (old,) = await place.found("claude")
    assert (old.state, "deprecated, and retires on 2027-01-01" in old.message) == (WARN, True)
    place.edit("claude-old-1", "gpt")
    assert await place.states("claude") == [FAIL]
    for key, state in ((None, WARN), ("another", FAIL)):
        settings = place.settings(key or "")
        if key is None:
            settings = settings.model_copy(
                update={"diagnosis": settings.diagnosis.model_copy(update={"api_key": None})}
            )
        assert (await checks_online.claude(settings)).state == state
    assert not place.claude.requests  # nothing was asked of the model itself
    await place.claude.stop()
    assert await place.states("claude") == [FAIL]


# --- the public address -----------------------------------------------------------------------------------------------

Proxy = Callable[[str | None], Awaitable[str]]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """proxy(origin) starts a reverse proxy to it, or for None a web server of somebody else's."""
    running = []

    async def start(origin: str | None) -> str:
        async def handler(request: web.Request) -> web.Response:
            if origin is None:
                return web.Response(text="welcome")
            async with aiohttp.ClientSession() as session, session.get(f"{origin}{request.path}") as answer:
                return web.Response(body=await answer.read(), status=answer.status)

        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        server = TestServer(app)
        await server.start_server()
        running.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in running:
        await server.close()


@pytest.fixture
async def service(place: Place, free_port: Callable[[], int]) -> AsyncIterator[Service]:
    place.edit(":9877", f":{free_port()}")
    service = Service(load_config(place.config, {}))
    await service.start()
    yield service
    await service.stop()


async def test_the_public_address_answers_our_own_nonce(place: Place, service: Service, proxy: Proxy) -> None:
    place.edit("https://counterfoil.example.org", await proxy(service.public_url))
    assert await place.states("public_url") == [OK]


async def test_a_public_address_that_leads_elsewhere_is_found_out(place: Place, service: Service, proxy: Proxy) -> None:
    elsewhere = await proxy(None)
    place.edit("https://counterfoil.example.org", elsewhere)
    (found,) = await place.found("public_url")
    assert (found.state, "not as this service would" in found.message) == (FAIL, True)
    private = await proxy(service.private_url)  # the wrong one of the two listeners
    place.edit(elsewhere, private)
    assert await place.states("public_url") == [FAIL]
    place.edit(private, "http://127.0.0.1:1")
    assert await place.states("public_url") == [FAIL]


async def test_a_nonce_is_for_admins_answers_once_and_expires(
    place: Place, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = {"Authorization": f"Bearer {(place.folder / 'secrets/admin.token').read_text().strip()}"}
    make = f"{service.private_url}/api/v1/nonces"
    async with aiohttp.ClientSession() as session:

        async def made() -> tuple[str, str]:
            async with session.post(make, json={}, headers=admin) as answer:
                said = await answer.json()
                return f"{service.public_url}{said['path']}", said["answer"]

        async def ask(url: str) -> tuple[int, str]:
            async with session.get(url) as answer:
                return answer.status, await answer.text()

        async with session.post(make, json={}) as answer:
            assert answer.status == 401
        url, expected = await made()
        assert expected not in url
        assert await ask(url) == (200, expected)
        unknown = await ask(f"{service.public_url}/twilio/anything")
        assert await ask(url) == unknown  # once, and then it is like any path that there is not
        assert unknown[0] == 404
        late, _ = await made()
        monkeypatch.setattr(nonces, "NONCE_SECONDS", -1.0)
        expired, _ = await made()
        assert (await ask(expired))[0] == 404
        monkeypatch.undo()
        for _ in range(nonces.NONCES_MAX):
            newest, answered = await made()
        assert (await ask(late))[0] == 404  # many at once push the oldest out, and fill no memory
        assert await ask(newest) == (200, answered)


async def test_the_command_tells_it_all_in_json(place: Place) -> None:
    words = ["--config", str(place.config), "check", "--online", "--json"]
    result = await asyncio.to_thread(CliRunner(env={"ANTHROPIC_API_KEY": KEY}).invoke, counterfoil, words)
    answer = json.loads(result.output)
    assert result.exit_code == 1
    assert {"twilio", "clock", "sender", "templates", "people", "claude", "public_url"} <= {
        row["check"] for row in answer["findings"]
    }
    assert answer["not_checked"] == []


# --- executors --------------------------------------------------------------------------------------------------------


async def test_an_executor_is_pinged_with_a_signature_and_runs_nothing(place: Place, tmp_path: Path) -> None:
    runner = TestServer(Runner(load_runner_config(place.folder / "executor.yml")).app())
    await runner.start_server()
    try:
        address = str(runner.make_url("/run/restart"))
        place.edit("http://127.0.0.1:1/run/restart", address)
        (good,) = await place.found("executors")
        assert (good.state, "knows our secret, and ran nothing" in good.message) == (OK, True)
        log = place.folder / "executor.log"
        assert not log.exists() or "ping" not in log.read_text(encoding="utf-8")
        place.edit(address, address.replace("restart", "reboot"))
        (unknown,) = await place.found("executors")
        assert (unknown.state, "there is no action reboot" in unknown.message) == (FAIL, True)
        place.edit(address.replace("restart", "reboot"), address)
        other = "whsec_" + base64.b64encode(b"x" * 32).decode("ascii")
        (place.folder / "secrets/restart.whsec").write_text(other, encoding="utf-8")
        (refused,) = await place.found("executors")
        assert (refused.state, "refuses our signature" in refused.message) == (FAIL, True)
        assert "NTP" in refused.remedy
    finally:
        await runner.close()


async def test_a_ping_that_was_overheard_is_no_order(place: Place) -> None:
    secret = (place.folder / "secrets/restart.whsec").read_text(encoding="utf-8").strip()
    body = json.dumps({"type": "counterfoil.ping"})
    headers = signed_headers([secret], "ping-1", datetime.now(UTC), body)
    app = Runner(load_runner_config(place.folder / "executor.yml")).app()
    async with TestServer(app) as runner, aiohttp.ClientSession() as session:
        for path, status in (("/ping/restart", 200), ("/run/restart", 400)):
            async with session.post(runner.make_url(path), data=body, headers=headers) as answer:
                assert answer.status == status
        async with session.post(runner.make_url("/ping/restart"), data=body) as answer:
            assert answer.status == 401


async def test_somebody_elses_executor_is_only_looked_at(place: Place) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.Response(text="no such page", status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        place.edit("http://127.0.0.1:1/run/restart", str(server.make_url("/hooks/restart")))
        (found,) = await place.found("executors")
        assert (found.state, asked) == (OK, ["GET /hooks/restart"])
