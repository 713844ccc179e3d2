"""`executor serve`: what is signed and allowed runs, once, within limits; everything else gets a clear no."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import hmac
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.commands.executor import executor as command_group
from receiver.execution import callback, runner
from receiver.execution.process import run_command
from receiver.execution.run_log import RunLog, RunLogError
from receiver.execution.runner import Runner
from receiver.execution.runner_config import RunnerConfigError, load_runner_config
from receiver.execution.webhook import Webhooks
from receiver.papers import ExecutionOutcome, ExecutorTarget, Order
from tests.tools import ROOT

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
LONG = 10.0  # seconds: a bound, not a wait
# In a fresh clone Hypothesis first builds its tables of Unicode, for seconds, which it then takes for slow drawing.
COLD = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
TRIES = 1000  # looks of 10 ms
SAY = 'import sys; print("|".join(sys.argv[1:]))'
# Says its process id into a file, then waits for the file beside it to be removed.
HOLD = """
import os, sys, time
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
while os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("done")
"""


def configured(folder: Path, **actions: dict[str, Any]) -> Path:
    """An executor.yml with `say` and `actions`; JSON is YAML."""
    secret = folder / "restart.whsec"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)
    say = {"command": [sys.executable, "-c", SAY, "{service}", "--unit={service}"], "params": {"service": allow()}}
    every = {
        name: {"secret_file": "restart.whsec", "timeout": "10s", **action}
        for name, action in ({"say": say} | actions).items()
    }
    origin = every.pop("callback_origin", {}).get("origin")
    file = folder / "executor.yml"
    data = {"listen": "127.0.0.1:0", "log_file": "executor.log", "actions": every}
    file.write_text(json.dumps(data | ({"callback_origin": origin} if origin else {})), encoding="utf-8")
    return file


def allow(*more: str, **rules: Any) -> dict[str, Any]:
    return {"allow": ["checkout", "two words", "$(reboot)", "a;b", *more], **rules}


def signed(body: bytes, webhook_id: str, *, age_seconds: float = 0, key: bytes = KEY) -> dict[str, str]:
    """The headers as Standard Webhooks writes them, without the library."""
    at = str(int(datetime.now(UTC).timestamp() - age_seconds))
    mac = hmac.new(key, f"{webhook_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


class Machine:
    """An executor that serves on loopback, and a caller who can sign."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self.folder, self.session = folder, session
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, file: Path) -> None:
        self._runner = web.AppRunner(Runner(load_runner_config(file)).app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def raw(self, action: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        async with self.session.post(f"{self.url}/run/{action}", data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def order(self, action: str, webhook_id: str = "wh_1", **fields: Any) -> tuple[int, Any]:
        body = json.dumps({"id": webhook_id, "action": action, "params": {}} | fields).encode()
        return await self.raw(action, body, signed(body, webhook_id))


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONG)) as session:
        machine = Machine(tmp_path, session)
        await machine.start(configured(tmp_path))
        yield machine
        await machine.stop()


async def until(what: Callable[[], bool]) -> None:
    for _ in range(TRIES):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to that")


def alive(pid: int) -> bool:
    """A process that has ended and is not buried yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def buried(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


# --- what runs


async def test_a_signed_order_runs_and_says_how_it_ended(machine: Machine) -> None:
    answer = await machine.order("say", params={"service": "checkout"})
    assert answer == (200, {"exit_code": 0, "output": "checkout|--unit=checkout\n"})
    async with machine.session.get(f"{machine.url}/-/healthy") as healthy:
        assert healthy.status == 200


@pytest.mark.parametrize("value", ["two words", "$(reboot)", "a;b"])
async def test_a_value_is_one_argument_and_no_shell_reads_it(machine: Machine, value: str) -> None:
    _, answer = await machine.order("say", params={"service": value})
    assert answer["output"] == f"{value}|--unit={value}\n"


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"params": {"service": "wallet"}}, "not_allowed", "service: 'wallet' is not one of the allowed values"),
        ({"params": {"service": "checkout", "x": "1"}}, "not_allowed", "there is no parameter x"),
        ({"params": {}}, "not_allowed", "the parameter service is missing"),
        ({"params": {"service": 1}}, "malformed", "params is not an object of texts"),
        ({"params": []}, "malformed", "params is not an object of texts"),
        ({"id": "wh_2"}, "malformed", "the id of the body is not the webhook-id"),
        (
            {"action": "stop"},
            "malformed",
            "the body is for another action than say, which this address runs",
        ),
    ],
)
async def test_what_is_not_allowed_does_not_run(
    machine: Machine, fields: dict[str, Any], code: str, message: str
) -> None:
    body = json.dumps({"id": "wh_1", "action": "say", "params": {"service": "checkout"}} | fields).encode()
    assert await machine.raw("say", body, signed(body, "wh_1")) == (
        400,
        {"error": {"code": code, "message": message}},
    )
    assert (await machine.order("say", params={"service": "checkout"}))[0] == 200, "a refusal uses no id up"


@pytest.mark.parametrize(
    ("rules", "good", "bad", "why"),
    [
        ({"type": "integer", "max": 20}, ["0", "7", "20"], ["21", "-1", "007", "1.0", "\u0663", "", "7 "], "0 to 20"),
        ({"type": "integer", "min": 2, "max": 3}, ["2", "3"], ["1", "4", "9" * 400], "2 to 3"),
        (
            {"type": "name"},
            ["checkout", "a.b_c-1", "9"],
            ["-rf", "a b", "", "a/b", "../x", "\u00e9", "x" * 64, "a\n"],
            "63",
        ),
        ({"type": "name", "max": 3}, ["abc"], ["abcd"], "at most 3"),
    ],
)
async def test_a_typed_argument_is_what_its_type_says(
    machine: Machine, tmp_path: Path, rules: dict[str, Any], good: list[str], bad: list[str], why: str
) -> None:
    await machine.stop()
    command = [sys.executable, "-c", SAY, "{it}"]
    await machine.start(configured(tmp_path, typed={"command": command, "params": {"it": rules}}))
    for number, value in enumerate(good):
        status, answer = await machine.order("typed", f"wh_good{number}", params={"it": value})
        assert (status, answer["output"]) == (200, f"{value}\n")
    for number, value in enumerate(bad):
        status, answer = await machine.order("typed", f"wh_bad{number}", params={"it": value})
        assert (status, answer["error"]["code"]) == (400, "not_allowed"), value
        assert why in answer["error"]["message"]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({}, "give allow: […], or type: integer or name, and not both"),
        ({"allow": ["a"], "type": "name"}, "give allow: […], or type: integer or name, and not both"),
        ({"type": "integer"}, "type integer needs max, of at most 1000000000, and min from 0 up to it"),
        (
            {"type": "integer", "min": 5, "max": 4},
            "type integer needs max, of at most 1000000000, and min from 0 up to it",
        ),
        ({"type": "name", "max": 64}, "a name has 1 to 63 characters, which max may lower"),
    ],
)
def test_a_type_that_says_nothing_is_refused(tmp_path: Path, rules: dict[str, Any], why: str) -> None:
    file = configured(tmp_path, typed={"command": ["true"], "params": {"it": rules}})
    with pytest.raises(RunnerConfigError) as caught:
        load_runner_config(file)
    assert str(caught.value) == f"{file}: actions.typed.params.it: {why}"


async def test_who_cannot_sign_gets_nothing(machine: Machine) -> None:
    body = json.dumps({"id": "wh_1", "action": "say", "params": {"service": "checkout"}}).encode()
    for headers in (
        {},
        signed(body, "wh_1", key=b"x" * 32),
        signed(body, "wh_1", age_seconds=400),
        signed(body, "wh_1", age_seconds=-400),
        signed(body + b" ", "wh_1"),
        signed(body, "wh_2") | {"webhook-id": "wh_1"},
    ):
        status, answer = await machine.raw("say", body, headers)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
    assert (machine.folder / "executor.log").read_bytes() == b""
    assert (await machine.raw("other", body, signed(body, "wh_1")))[0] == 404
    assert (await machine.raw("say", b"x" * 70_000, {}))[0] == 413


async def test_the_office_and_the_executor_understand_each_other(machine: Machine) -> None:
    target = ExecutorTarget("say", f"{machine.url}/run/say", SECRET, LONG)
    office = Webhooks({"say": target}, lambda: datetime.now(UTC))
    until_then = datetime.now(UTC) + timedelta(seconds=LONG)

    async def sent(webhook_id: str, service: str) -> tuple[ExecutionOutcome, str, int | None]:
        order = Order(webhook_id, "default", "inc-1", "say", "say", {"service": service}, None)
        result = await office.send(office.render(order), webhook_id=webhook_id, deadline=until_then)
        return result.outcome, result.detail, result.http_status

    assert await sent("wh_1", "checkout") == (ExecutionOutcome.EXECUTED, "the executor answered 200", 200)
    again = (ExecutionOutcome.EXECUTED, "it had run before: the executor answered 409", 409)
    assert await sent("wh_1", "checkout") == again
    assert await sent("wh_2", "wallet") == (ExecutionOutcome.FAILED, "the executor answered 400", 400)
    with (machine.folder / "executor.log").open("a", encoding="utf-8") as log:
        log.write('{"action": "say", "begun": true, "id": "wh_3"}\n')
    await machine.stop()
    await machine.start(machine.folder / "executor.yml")
    target = ExecutorTarget("say", f"{machine.url}/run/say", SECRET, LONG)
    office = Webhooks({"say": target}, lambda: datetime.now(UTC))
    assert (await sent("wh_3", "checkout"))[0] is ExecutionOutcome.UNKNOWN


# --- once


async def test_an_id_runs_once_and_whoever_asks_again_gets_its_result(machine: Machine) -> None:
    runs = machine.folder / "runs"
    file = configured(machine.folder, count={"command": ["/bin/sh", "-c", f"echo ran >>{runs}; echo told; exit 3"]})
    await machine.stop()
    await machine.start(file)
    assert await machine.order("count") == (200, {"exit_code": 3, "output": "told\n"})
    for _ in range(2):
        status, answer = await machine.order("count")
        assert (status, answer["exit_code"], answer["output"]) == (409, 3, "told\n")
        assert answer["error"]["code"] == "run_before"
        await machine.stop()
        await machine.start(file)
    assert runs.read_text(encoding="utf-8") == "ran\n"


async def holding(machine: Machine, **more: Any) -> Path:
    """Start a machine whose action `hold` runs until the file that is returned is removed."""
    held = machine.folder / "held"
    await machine.stop()
    await machine.start(configured(machine.folder, hold={"command": [sys.executable, "-c", HOLD, str(held)], **more}))
    return held


async def test_an_id_that_runs_is_not_run_beside_itself_and_others_wait_their_turn(machine: Machine) -> None:
    held = await holding(machine)
    first = asyncio.create_task(machine.order("hold", "wh_1"))
    await until(held.exists)
    status, answer = await machine.order("hold", "wh_1")
    assert (status, answer["error"]["code"]) == (409, "begun_before")
    body = json.dumps({"id": "wh_2", "action": "hold", "params": {}}).encode()
    async with machine.session.post(f"{machine.url}/run/hold", data=body, headers=signed(body, "wh_2")) as busy:
        assert (busy.status, busy.headers["Retry-After"]) == (503, "5")
    held.unlink()
    assert await first == (200, {"exit_code": 0, "output": "done\n"})
    second = asyncio.create_task(machine.order("hold", "wh_2"))
    await until(held.exists)
    held.unlink()
    assert (await second)[0] == 200, "a busy executor had not begun it"


async def test_a_caller_that_hangs_up_stops_nothing_and_gives_no_place_away(machine: Machine) -> None:
    held = await holding(machine)
    caller = asyncio.create_task(machine.order("hold", "wh_1"))
    await until(held.exists)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert (await machine.order("hold", "wh_2"))[0] == 503
    assert len(held.read_text(encoding="utf-8").split()) == 1
    held.unlink()

    log = machine.folder / "executor.log"
    await until(lambda: '"result"' in log.read_text(encoding="utf-8"))
    status, answer = await machine.order("hold", "wh_1")
    assert (status, answer["exit_code"]) == (409, 0)


async def test_a_stop_waits_for_what_was_begun_and_keeps_its_result(machine: Machine) -> None:
    held = await holding(machine)
    caller = asyncio.create_task(machine.order("hold", "wh_1"))
    await until(held.exists)
    stopping = asyncio.create_task(machine.stop())
    await asyncio.gather(caller, return_exceptions=True)
    assert not stopping.done()
    held.unlink()
    await stopping
    log = RunLog(machine.folder / "executor.log")
    try:
        assert log.result("wh_1") == {"exit_code": 0, "output": "done\n"}
    finally:
        log.close()


async def test_without_the_log_nothing_runs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("receiver.execution.run_log.os.fsync", full)
    status, answer = await machine.order("say", params={"service": "checkout"})
    assert (status, answer["error"]["message"]) == (503, "the log of webhook-ids cannot be written")
    assert (machine.folder / "executor.log").read_bytes() == b""
    monkeypatch.undo()
    assert (await machine.order("say", params={"service": "checkout"}))[0] == 200


# --- the log


def reopened(path: Path) -> RunLog:
    log = RunLog(path)
    log.close()
    return log


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    """A line that a crash tore is cut off; else the next id would stand on the same line and be lost with it."""
    path = tmp_path / "log"
    path.write_text('{"begun": true, "id": "a"}\n{"begun": true, "id": "b", "act', encoding="utf-8")
    log = RunLog(path)
    assert ("a" in log, "b" in log) == (True, False)
    log.begin("c", "say")
    log.close()
    again = reopened(path)
    assert ("a" in again, "b" in again, "c" in again) == (True, False, True)
    assert again.result("a") is None


@settings(deadline=None, suppress_health_check=COLD)
@given(st.integers(0, 400))
def test_wherever_a_crash_cuts_an_id_that_was_begun_is_known(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = RunLog(path)
    sizes = []
    for webhook_id in ("a", "b"):
        log.begin(webhook_id, "say")
        sizes.append(path.stat().st_size)
        log.end(webhook_id, {"exit_code": 0, "output": "x"})
    log.close()
    with path.open("rb+") as file:
        file.truncate(min(cut, path.stat().st_size))
    after = RunLog(path)
    known = [webhook_id in after for webhook_id in ("a", "b")]
    assert known == [cut >= size for size in sizes]
    after.begin("c", "say")
    after.close()
    assert "c" in reopened(path)


@pytest.mark.parametrize("line", ["5", "{}", "garbage", '{"id": 1}', '{"id": "a", "result": 1}', "[" * 100_000])
def test_a_line_that_cannot_be_read_stops_the_start(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log"
    path.write_text(f'{{"begun": true, "id": "a"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(RunLogError, match=r"log: line 2 cannot be read"):
        RunLog(path)


def test_one_process_at_a_time_has_the_log(tmp_path: Path) -> None:
    first = RunLog(tmp_path / "log")
    with pytest.raises(RunLogError, match="another executor uses this log"):
        RunLog(tmp_path / "log")
    first.close()
    reopened(tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="No such file or directory"):
        RunLog(tmp_path / "nowhere" / "log")


def test_a_failed_write_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RunLog(tmp_path / "log")
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr("receiver.execution.run_log.os.write", half)
    with pytest.raises(OSError, match="No space"):
        log.begin("a", "say")
    monkeypatch.undo()
    assert "a" not in log
    log.begin("b", "say")
    log.close()
    again = reopened(tmp_path / "log")
    assert ("a" in again, "b" in again) == (False, True)


# --- the process


async def test_the_time_limit_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a child that does not listen to SIGTERM, when its parent does."""
    monkeypatch.setattr("receiver.execution.process.KILL_WAIT_SECONDS", 0.2)
    child = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(60)"
    )
    pids = tmp_path / "pids"
    parent = (
        "import subprocess, sys, time; print('begun', flush=True);"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]]); time.sleep(60)"
    )
    result = await run_command((sys.executable, "-c", parent, child, str(pids)), 1.5, 1000)
    assert result == {"exit_code": 124, "output": "begun\n\nstopped after 1.5 s"}
    pid = int(pids.read_text(encoding="utf-8"))
    await until(lambda: not alive(pid))


async def test_what_is_left_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = asyncio.get_running_loop().time()
    result = await run_command(("/bin/sh", "-c", f"sleep 60 & echo $! >{pids}; echo started"), LONG, 1000)
    pid = int(pids.read_text(encoding="utf-8"))
    try:
        assert result == {"exit_code": 0, "output": "started\n"}
        assert asyncio.get_running_loop().time() - began < LONG / 2
        assert alive(pid), "a service that was started is not killed"
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_whoever_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    held = tmp_path / "held"
    running = asyncio.create_task(run_command((sys.executable, "-c", HOLD, str(held)), LONG, 1000))
    await until(lambda: held.exists() and held.read_text(encoding="utf-8").endswith("\n"))
    pid = int(held.read_text(encoding="utf-8"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert buried(pid), "whoever stops waits until it is gone"


async def test_output_is_capped_and_a_flood_stops_no_command() -> None:
    flood = "import sys; sys.stdout.write('x' * 1_000_000); sys.stderr.write('e'); sys.exit(7)"
    assert await run_command((sys.executable, "-c", flood), LONG, 100) == {"exit_code": 7, "output": "x" * 100}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "output"),
    [
        (("/no/such/program",), 127, "cannot start /no/such/program: No such file or directory"),
        (("/etc/passwd",), 127, "cannot start /etc/passwd: Permission denied"),
        (("echo", "a\0b"), 127, "cannot start echo: an argument cannot be passed"),
        (("/bin/sh", "-c", "kill -9 $$"), -9, ""),
        (("/bin/sh", "-c", "echo out; echo err >&2"), 0, "out\nerr\n"),
        (("/bin/cat",), 0, ""),
    ],
)
async def test_how_a_command_ends(arguments: tuple[str, ...], exit_code: int, output: str) -> None:
    assert await run_command(arguments, LONG, 1000) == {"exit_code": exit_code, "output": output}


async def test_a_long_answer_of_odd_characters_can_be_read_whole(machine: Machine) -> None:
    noise = "import sys; sys.stdout.buffer.write(b'\\xff\"\\x1b\\n' * 20_000); sys.exit(1)"
    file = configured(machine.folder, noise={"command": [sys.executable, "-c", noise], "output_limit_bytes": 60_000})
    await machine.stop()
    await machine.start(file)
    target = ExecutorTarget("noise", f"{machine.url}/run/noise", SECRET, LONG)
    office = Webhooks({"noise": target}, lambda: datetime.now(UTC))
    request = office.render(Order("wh_1", "default", "inc-1", "noise", "noise", {}, None))
    result = await office.send(request, webhook_id="wh_1", deadline=datetime.now(UTC) + timedelta(seconds=LONG))
    assert (result.outcome, result.detail) == (ExecutionOutcome.FAILED, "exit code 1")


# --- the result comes later


class Service:
    """The service's side of a callback: what came in, and the statuses that it answers first."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.origin = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.came.put_nowait((headers, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(callback, "RETRY_SECONDS", (0.01,) * 5)
    service, app = Service(), web.Application()
    app.router.add_post("/executions/{id}", service.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


async def calling_back(machine: Machine, service: Service) -> None:
    later = {"command": ["/bin/sh", "-c", "echo told; exit {code}"], "params": {"code": {"allow": ["0", "4"]}}}
    file = configured(machine.folder, later={**later, "callback": True}, callback_origin={"origin": service.origin})
    await machine.stop()
    await machine.start(file)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("0", {"status": "succeeded", "output": "told\n"}),
        ("4", {"status": "failed", "output": "exit code 4\ntold\n"}),
    ],
)
async def test_a_result_that_comes_later_is_signed_and_repeated_until_it_is_taken(
    machine: Machine, service: Service, code: str, result: dict[str, str]
) -> None:
    await calling_back(machine, service)
    service.statuses = [503, 500]
    url = f"{service.origin}/executions/wh_1"
    assert await machine.order("later", params={"code": code}, callback_url=url) == (202, {"status": "accepted"})
    for _ in range(3):
        async with asyncio.timeout(LONG):
            headers, body = await service.came.get()
        assert json.loads(body) == result
        at = headers["webhook-timestamp"]
        mac = hmac.new(KEY, f"wh_1.{at}.".encode() + body, hashlib.sha256).digest()
        assert headers["webhook-id"] == "wh_1"
        assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    await machine.stop()
    assert service.came.empty()


async def test_a_result_that_is_refused_is_not_repeated(machine: Machine, service: Service) -> None:
    await calling_back(machine, service)
    service.statuses = [404, 200]
    await machine.order("later", params={"code": "0"}, callback_url=f"{service.origin}/executions/wh_1")
    async with asyncio.timeout(LONG):
        await service.came.get()
    await machine.order("later", "wh_2", params={"code": "0"}, callback_url=f"{service.origin}/executions/wh_2")
    async with asyncio.timeout(LONG):
        headers, _ = await service.came.get()
    assert headers["webhook-id"] == "wh_2"


async def test_a_callback_goes_to_its_origin_and_nowhere_else(machine: Machine, service: Service) -> None:
    await calling_back(machine, service)
    host = service.origin.removeprefix("http://")
    urls: tuple[Any, ...] = (
        f"https://{host}/executions/wh_1",
        f"http://user@{host}/executions/wh_1",
        f"http://{host}@elsewhere.example/executions/wh_1",
        "http://169.254.169.254/executions/wh_1",
        "http://127.0.0.1:1/executions/wh_1",
        "file:///etc/passwd",
        "//x",
        "http://[bad",
        "",
        5,
        {},
    )
    for url in urls:
        status, answer = await machine.order("later", params={"code": "0"}, callback_url=url)
        assert (status, answer["error"]["code"]) == (400, "not_allowed"), url
    assert service.came.empty()
    assert await machine.order("later", params={"code": "0"}, callback_url=None) == (
        200,
        {"exit_code": 0, "output": "told\n"},
    ), "without an address the answer is the result"


async def test_an_action_without_callback_answers_itself(machine: Machine) -> None:
    url = "http://elsewhere.example/executions/wh_1"
    assert (await machine.order("say", params={"service": "checkout"}, callback_url=url))[0] == 200


# --- nothing is a 500


@settings(max_examples=60, deadline=None, suppress_health_check=COLD)
@given(
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["id", "action", "params", "service", "callback_url"]), inner, max_size=4)
        ),
        max_leaves=6,
    ).map(lambda data: json.dumps(data).encode()),
    webhook_id=st.from_regex(r"[!-~]{1,12}", fullmatch=True),
    sign=st.booleans(),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-encoding"]),
        st.from_regex(r"[!-~]{0,12}", fullmatch=True),
    ),
    action=st.sampled_from(["say", "other", "%00", "..", "%ff"]),
)
async def test_no_request_is_a_500(
    machine: Machine, body: bytes, webhook_id: str, sign: bool, headers: dict[str, str], action: str
) -> None:
    every = (signed(body, webhook_id) if sign else {}) | headers
    async with machine.session.post(f"{machine.url}/run/{action}", data=body, headers=every) as answer:
        assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nbroken\r\n0\r\n\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
        b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"webhook-id: \xff\xfe\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\nContent-Length: 2\r\n\r\n{}",
        b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_request_that_is_no_http_is_no_500(machine: Machine, rest: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(machine.url.rpartition(":")[2]))
    writer.write(b"POST /run/say HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + rest)
    try:
        async with asyncio.timeout(LONG):
            answer = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


async def test_a_body_that_breaks_off_is_left_alone(machine: Machine) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(machine.url.rpartition(":")[2]))
    writer.write(b"POST /run/say HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert (await machine.order("say", params={"service": "checkout"}))[0] == 200


# --- executor.yml

GOOD = "actions: {r: {secret_file: restart.whsec, command: [echo, '{p}'], params: {p: {allow: [a]}}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Input should be a valid dictionary"),
        ("5", "Input should be a valid dictionary"),
        ("actions: {}", "actions: Dictionary should have at least 1 item"),
        ("actions: {r: {command: [x]}}", "actions.r.secret_file: Field required"),
        (GOOD + "\nlog: x", "log: Extra inputs are not permitted"),
        (GOOD + "\nlisten: 127.0.0.1:99999", "listen: '127.0.0.1:99999' is not HOST:PORT"),
        (GOOD + "\nlisten: '9879'", "listen: '9879' is not HOST:PORT"),
        (GOOD + "\n" + GOOD, "line 2: actions stands twice"),
        ("? {a: b}\n: c", "line 1: a key is not text"),
        ("1: c", "line 1: a key is not text"),
        ("a: [", "while parsing a flow node"),
        ("- " * 5_000, "it is nested too deep"),
        (GOOD.replace("echo", "'{p}'"), "the program must be named, and cannot come from a parameter"),
        (GOOD.replace("echo", "''"), "the program must be named, and cannot come from a parameter"),
        (GOOD.replace("'{p}'", "'{q}'"), "actions.r.command: {q} is no parameter of it"),
        (GOOD.replace("[a]", "['--now']"), "'--now' would read as an option; set allow_dash: true if it may"),
        (GOOD.replace("[a]", '["a\\0"]'), "actions.r: no argument can hold a NUL"),
        (GOOD.replace("[a]", "[1]"), "actions.r.params.p.allow.0: Input should be a valid string"),
        (GOOD.replace("[a]", "[]"), "actions.r.params.p.allow: Tuple should have at least 1 item"),
        (GOOD.replace("[a]", "a"), "actions.r.params.p.allow: Input should be a valid tuple"),
        (GOOD.replace("command", "timeout: 5, command"), "actions.r.timeout: Input should be a valid string"),
        (GOOD.replace("command", "timeout: 5x, command"), "'5x' is not a duration like 60s, of at most 24h"),
        (GOOD.replace("command", "timeout: 25h, command"), "'25h' is not a duration like 60s, of at most 24h"),
        (GOOD.replace("command", "concurrency: 0, command"), "concurrency: Input should be greater than or equal"),
        (GOOD.replace("restart.whsec", "missing"), "missing: No such file or directory"),
        (GOOD.replace("restart.whsec", "weak"), "weak: a secret is whsec_ and the base64 of 24 to 64 bytes"),
        (GOOD.replace("restart.whsec", "bytes"), "bytes: a secret is whsec_ and the base64 of 24 to 64 bytes"),
        (GOOD.replace("command", "callback: true, command"), "actions.r.callback: it needs callback_origin"),
        (GOOD + "\ncallback_origin: x.example", "callback_origin: it is http:// or https://, a host and a port"),
        (GOOD + "\ncallback_origin: http://x.example/y", "callback_origin: it is http:// or https://, a host"),
        (GOOD + "\ncallback_origin: http://u:p@x.example", "callback_origin: it is http:// or https://, a host"),
    ],
)
def test_each_mistake_in_executor_yml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = configured(tmp_path)
    (tmp_path / "weak").write_text("whsec_", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RunnerConfigError) as raised:
        load_runner_config(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    result = CliRunner().invoke(command_group, ["serve", "--config", str(file)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_an_option_is_allowed_only_by_name(tmp_path: Path) -> None:
    file = configured(tmp_path)
    file.write_text(GOOD.replace("[a]", "['--now'], allow_dash: true"), encoding="utf-8")
    assert load_runner_config(file).actions["r"].arguments({"p": "--now"}) == ("echo", "--now")


def test_a_secret_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    file = configured(tmp_path)
    assert load_runner_config(file).warnings == ()
    (tmp_path / "restart.whsec").chmod(0o640)
    (warning,) = load_runner_config(file).warnings
    assert warning.endswith(f"chmod 600 {tmp_path / 'restart.whsec'}")
    assert SECRET not in repr(load_runner_config(file))


def test_a_log_in_use_and_a_port_in_use_are_one_line_each(tmp_path: Path) -> None:
    file = configured(tmp_path)
    with (tmp_path / "executor.log").open("w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = CliRunner().invoke(command_group, ["serve", "--config", str(file)])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith("executor.log: another executor uses this log")


async def test_serve_as_a_process_runs_and_stops_when_told(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "receiver", "executor", "serve", "--config", str(configured(tmp_path))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LONG):
            line = (await process.stdout.readline()).decode()
            assert line.startswith("executor listens on http://127.0.0.1:")
            assert line.endswith(", actions: say\n")
            async with aiohttp.ClientSession() as session:
                machine = Machine(tmp_path, session)
                machine.url = line.split()[3].rstrip(",")
                assert (await machine.order("say", params={"service": "checkout"}))[0] == 200
                port = machine.url.rpartition(":")[2]
                taken = tmp_path / "taken.yml"
                text = (tmp_path / "executor.yml").read_text(encoding="utf-8").replace(":0", f":{port}")
                taken.write_text(text.replace("executor.log", "other.log"), encoding="utf-8")
                second = await asyncio.to_thread(CliRunner().invoke, command_group, ["serve", "--config", str(taken)])
                assert second.exit_code == 2
                assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_whoever_sends_half_a_request_holds_no_connection_for_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BODY_SECONDS", 0.05)

    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with asyncio.timeout(LONG), machine.session.post(f"{machine.url}/run/say", data=half()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await answer.json())["error"]["code"] == "busy"
