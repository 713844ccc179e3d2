"""`counterfoil check`: each thing that it knows to be right, doubtful or wrong, and what it says to do."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from ledger.stores import schema
from receiver.__main__ import counterfoil
from receiver.commands import checks_of_files, checks_online
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.commands.init import write_folder
from receiver.configuration import ConfigErrors, load_config
from receiver.settings import Settings, load_settings
from receiver.settings_values import Address


class Installation:
    """A folder that `init` wrote, with free ports and its placeholders replaced: nothing is wrong with it."""

    def __init__(self, folder: Path) -> None:
        write_folder(folder)
        self.folder = folder
        self.config = folder / "counterfoil.yml"
        for old, new in (
            ("127.0.0.1:9877", "127.0.0.1:0"),
            ("127.0.0.1:9878", "127.0.0.1:0"),
            ("counterfoil.example.org", "counterfoil.example.net"),
            ("AC00000000000000000000000000000000", "AC00000000000000000000000000000001"),
            ('"whatsapp:+12025550100"', '"whatsapp:+14155550199"\n  base_url: "http://127.0.0.1:1"'),
            ('"${ANTHROPIC_API_KEY}"', '"${ANTHROPIC_API_KEY}"\n  base_url: "http://127.0.0.1:1"'),
            ("+12025550101", "+263771234567"),
            ("+12025550102", "+263771234568"),
        ):
            self.edit(old, new)
        (folder / "secrets/twilio.token").write_text("a token")

    def edit(self, old: str, new: str, file: str = "counterfoil.yml") -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def settings(self) -> Settings:
        return load_settings(self.config, {"ANTHROPIC_API_KEY": "sk"})

    def findings(self) -> list[Finding]:
        return checks_of_files.all_of(self.settings(), self.config, {})

    def of(self, check: str) -> list[Finding]:
        return [finding for finding in self.findings() if finding.check == check]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_all_is_well(installation: Installation) -> None:
    doubtful = [finding for finding in installation.findings() if finding.state != OK]
    assert [finding.check for finding in doubtful] in ([], ["sqlite"])


def test_the_command_prints_a_line_each_and_exits_0_on_warnings(tmp_path: Path) -> None:
    write_folder(tmp_path)
    text = (tmp_path / "counterfoil.yml").read_text().replace(":9877", ":0").replace(":9878", ":0")
    (tmp_path / "counterfoil.yml").write_text(text)
    result = CliRunner().invoke(counterfoil, ["check", "--config", str(tmp_path / "counterfoil.yml")])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("ok    configuration")
    assert lines[-1].startswith("not checked: ")
    assert {line.split()[0] for line in lines[:-1]} == {OK, WARN}
    assert sum("placeholder" in line or "example" in line for line in lines[:-1]) == 6


def test_a_configuration_that_does_not_hold_is_exit_1_with_every_problem(installation: Installation) -> None:
    installation.edit("twilio:", "twillio:")
    runner = CliRunner()
    result = runner.invoke(counterfoil, ["check", "--config", str(installation.config)])
    assert result.exit_code == 1
    assert result.output.count("\nFAIL  configuration  ") + result.output.startswith("FAIL  configuration  ") == 2
    as_json = runner.invoke(counterfoil, ["check", "--json", "--config", str(installation.config)])
    answer = json.loads(as_json.output)
    assert as_json.exit_code == 1
    assert answer["ok"] is False
    assert answer["counts"] == {OK: 0, WARN: 0, FAIL: 2}
    assert {row["check"] for row in answer["findings"]} == {"configuration"}
    assert any("Claude" in what for what in answer["not_checked"])


def test_a_policy_that_is_missing_or_refused(installation: Installation) -> None:
    installation.edit("error_ratio >= 0.05", "error_ratoi >= 0.05", "policy.yml")
    (refused,) = installation.of("policy")
    assert refused.state == FAIL
    assert "policy.yml:" in refused.message
    (installation.folder / "policy.yml").unlink()
    (missing,) = installation.of("policy")
    assert (missing.state, "No such file" in missing.message) == (FAIL, True)


def test_a_candidate_beside_the_policy_and_a_tenant_that_only_observes(installation: Installation) -> None:
    candidate = installation.folder / "next.yml"
    installation.edit(
        "    policy: policy.yml", "    policy: policy.yml\n    shadow_policy: next.yml\n    observe: true"
    )
    (missing,) = installation.of("shadow_policy")
    assert (missing.state, "No such file" in missing.message) == (FAIL, True)
    candidate.write_text((installation.folder / "policy.yml").read_text())
    assert [found.state for found in installation.of("shadow_policy")] == [OK, WARN]  # it says what policy says
    candidate.write_text(candidate.read_text().replace("error_ratio >= 0.05", "error_ratio >= 0.1"))
    assert [found.state for found in installation.of("shadow_policy")] == [OK]
    assert load_config(installation.config, {}).charters["default"].shadow is not None
    candidate.write_text("rules: [")
    assert {found.state for found in installation.of("shadow_policy")} == {FAIL}
    with pytest.raises(ConfigErrors, match=r"next\.yml:"):
        load_config(installation.config, {})
    (observes,) = installation.of("observe")
    assert observes.state == WARN


def test_people_and_executors_that_the_policy_needs_and_nobody_has(installation: Installation) -> None:
    installation.edit("roles: [oncall]", "roles: [elsewhere]")
    installation.edit("      restart: {url", "      reboot: {url")
    people = installation.of("people")
    assert people
    assert {finding.state for finding in people} == {FAIL}
    assert any("approve" in finding.message for finding in people)
    assert any("executor" in finding.message for finding in people)
    (unused,) = installation.of("executors")
    assert (unused.state, "reboot" in unused.message) == (WARN, True)


def test_a_ledger_that_is_another_or_none(installation: Installation) -> None:
    path = installation.settings().ledger.path
    assert installation.of("ledger")[0].message.endswith("the first `serve` makes it")
    path.write_text("not a database, and long enough for SQLite to look at its header" * 20)
    assert installation.of("ledger")[0].state == FAIL
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (name TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('origin', 'somebody.else')")
    connection.close()
    (other,) = installation.of("ledger")
    assert (other.state, "somebody.else" in other.message) == (FAIL, True)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.executescript(schema.script(installation.settings().ledger.origin))
    connection.close()
    assert installation.of("ledger")[0].state == OK


def test_where_checkpoints_go(installation: Installation) -> None:
    assert installation.of("outside") == []
    installation.edit("  key_file:", "  witness_file: share/witness\n  key_file:")
    assert [finding.state for finding in installation.of("outside")] == [WARN]
    (installation.folder / "share").mkdir()
    assert [finding.state for finding in installation.of("outside")] == [OK]


def test_a_ledger_that_is_gone_while_its_anchor_is_there(installation: Installation) -> None:
    (installation.folder / "counterfoil.anchor.default").write_bytes(b"")
    (gone,) = installation.of("ledger")
    assert (gone.state, "is gone" in gone.message) == (FAIL, True)


def test_a_folder_for_the_ledger_that_is_not_there(installation: Installation) -> None:
    installation.edit("sqlite:///counterfoil.db", "sqlite:///gone/counterfoil.db")
    assert installation.of("ledger")[0].state == FAIL


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 6, 23), OK), ((3, 7, 0), WARN), ((3, 40, 1), WARN), ((3, 51, 2), WARN), ((3, 51, 3), OK), ((3, 52, 0), OK)],
)
def test_the_versions_of_sqlite_with_the_wal_reset_bug(version: tuple[int, int, int], state: str) -> None:
    assert checks_of_files.sqlite_version(version).state == state


def test_a_secret_that_others_can_read(installation: Installation) -> None:
    (installation.folder / "secrets/admin.token").chmod(0o644)
    (loose,) = installation.of("secrets")
    assert loose.state == WARN
    assert "mode 0644" in loose.message
    assert loose.remedy == f"chmod 600 {installation.folder}/secrets/admin.token"


def test_a_token_that_may_be_guessed(installation: Installation) -> None:
    for number, states in ((15, [WARN]), (16, [])):
        (installation.folder / "secrets/default.token").write_text("x" * number)
        found = [finding for finding in installation.of("secrets") if "may be guessed" in finding.message]
        assert [finding.state for finding in found] == states, found


@pytest.fixture
def taken() -> Iterator[Address]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield Address("127.0.0.1", listener.getsockname()[1])


def test_a_port_in_use(taken: Address) -> None:
    assert checks_of_files.port("listen", Address("127.0.0.1", 0)).state == OK
    assert checks_of_files.port("public_listen", taken).state == OK
    assert checks_of_files.port("listen", Address("192.0.2.1", 0)).state == FAIL


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Servers = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    """Starts servers on loopback that answer everything with one handler; gives their addresses."""
    running = []

    async def start(handler: Handler) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(application)
        await server.start_server()
        running.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in running:
        await server.close()


def saying(body: Any, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return handler


async def online(installation: Installation, name: str, address: str) -> Finding:
    """The finding about the server `name`, which is at `address` in the configuration."""
    standard = {"prometheus": "http://127.0.0.1:9090", "alertmanager": "http://127.0.0.1:9093"}
    installation.edit(standard.get(name, "http://127.0.0.1:9879"), address)
    (finding,) = [found for found in await checks_online.all_of(installation.settings()) if found.check == name]
    return finding


async def test_prometheus_is_asked_a_query(
    installation: Installation, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_online.time, "time", lambda: 1_000.0)
    asked: list[tuple[str, str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append((request.path, str(form["query"]), request.headers.get("Authorization")))
        result = [{"metric": {}, "value": [1_000.5, "1"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    (installation.folder / "secrets/password").write_text("pw")
    installation.edit(
        "prometheus: {url: http://127.0.0.1:9090}",
        "prometheus: {url: http://127.0.0.1:9090, "
        "http_config: {basic_auth: {username: u, password_file: secrets/password}}}",
    )
    finding = await online(installation, "prometheus", await servers(answer))
    assert finding.state == OK, finding
    assert asked == [("/api/v1/query", "vector(1)", "Basic " + base64.b64encode(b"u:pw").decode())]
    monkeypatch.setattr(checks_online.time, "time", lambda: 990.0)
    (skewed,) = [f for f in await checks_online.all_of(installation.settings()) if f.check == "prometheus"]
    assert (skewed.state, "+10 s" in skewed.message or "+11 s" in skewed.message) == (WARN, True)


@pytest.mark.parametrize("body", [{}, [], "text", {"data": {"result": []}}, {"data": {"result": [{"value": ["x"]}]}}])
async def test_a_prometheus_that_is_none(installation: Installation, servers: Servers, body: Any) -> None:
    finding = await online(installation, "prometheus", await servers(saying(body)))
    assert finding.state == FAIL
    assert "not one of such a server" in finding.message


async def test_a_prometheus_that_refuses(installation: Installation, servers: Servers) -> None:
    finding = await online(installation, "prometheus", await servers(saying({}, 401)))
    assert (finding.state, "HTTP 401" in finding.message) == (FAIL, True)


async def test_alertmanager_tells_its_version(installation: Installation, servers: Servers) -> None:
    address = await servers(saying({"versionInfo": {"version": "0.25.0"}}))
    assert "version 0.25.0" in (await online(installation, "alertmanager", address)).message


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end(installation: Installation, servers: Servers) -> None:
    rest = asyncio.Event()

    async def in_pieces(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"versionInfo":')
        await rest.wait()
        await answer.write(b' {"version": "0.25.0"}}')
        return answer

    address = await servers(in_pieces)
    # Nobody says when the other side has read: without a pause the pieces arrive as one.
    asyncio.get_running_loop().call_later(0.1, rest.set)
    assert "version 0.25.0" in (await online(installation, "alertmanager", address)).message


async def test_an_executor_answers_at_all(installation: Installation, servers: Servers) -> None:
    finding = await online(installation, "executors", await servers(saying({}, 405)))
    assert (finding.state, "405" in finding.message) == (OK, True)


async def test_what_is_not_there_is_told_with_the_address(
    installation: Installation, free_port: Callable[[], int]
) -> None:
    for name in ("prometheus", "alertmanager", "executors"):
        port = free_port()
        finding = await online(installation, name, f"http://127.0.0.1:{port}")
        assert finding.state == FAIL
        assert f"127.0.0.1:{port}" in finding.message
        assert "Connect call failed" not in finding.message


async def test_no_prometheus_is_a_warning(installation: Installation) -> None:
    text = installation.config.read_text()
    lines = [line for line in text.splitlines() if "prometheus: {url" not in line]
    installation.config.write_text("\n".join(lines))
    found = [f for f in await checks_online.all_of(installation.settings()) if f.check == "prometheus"]
    assert [finding.state for finding in found] == [WARN]


async def test_the_service_is_recognised_by_its_metrics(servers: Servers) -> None:

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text='counterfoil_build_info{version="1"} 1\n')

    for handler, state in ((metrics, OK), (saying({}), FAIL)):
        host, _, port = (await servers(handler)).removeprefix("http://").partition(":")
        finding = await asyncio.to_thread(checks_of_files.port, "listen", Address(host, int(port)))
        assert finding.state == state
