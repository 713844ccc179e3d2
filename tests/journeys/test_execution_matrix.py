"""What becomes of an execution under every fault between the service and the executor: a table, outcome against
expectation. The executor itself counts what ran: never two, never one without authorization, and each run is accounted
for by what `ledger reconcile --receipts` compares.

COUNTERFOIL_EXECUTIONS: "full" takes every fault for an idempotent action, too, and every death of the executor.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from aiohttp.test_utils import TestServer

from ledger.entry import Entry
from receiver.auditor.outside.receipts import Receipts, read_receipts
from receiver.execution.runner import Runner
from receiver.execution.runner_config import load_runner_config
from receiver.execution.signature import signed_headers
from receiver.execution.webhook import Webhooks
from receiver.governor.changes import ExecutionDesk
from receiver.intake.results import Results
from receiver.papers import ExecutorTarget
from receiver.rehearsal.outside import CaseClock
from tests.receiver.governed import POLICY, Governed
from tests.tools import ROOT

FULL = os.environ.get("COUNTERFOIL_EXECUTIONS") == "full"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
DEATH_SECONDS = 240.0  # a bound on two starts of a process, not a wait
PATIENCE = 0.4  # seconds: of the service for an answer
Behave = Callable[["Between", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


# --- the machine, and what stands between ----------------------------------------------------------------------------


@dataclass
class Machine:
    """The executor: `counterfoil executor serve`, whose one action leaves a mark each time it runs."""

    folder: Path
    port: int = 0

    @property
    def log(self) -> Path:
        return self.folder / "executor.log"

    @property
    def ran(self) -> int:
        marks = self.folder / "ran"
        return len(marks.read_text().splitlines()) if marks.exists() else 0

    def configure(self, listen: str = "127.0.0.1:0") -> Path:
        secret = self.folder / "clean.whsec"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        config = self.folder / "executor.yml"
        command = ["sh", "-c", f"echo ran >> {self.folder}/ran"]
        actions = {"clean": {"secret_file": str(secret), "command": command, "timeout": "5s"}}
        config.write_text(yaml.safe_dump({"listen": listen, "log_file": str(self.log), "actions": actions}))
        return config


@dataclass
class Between:
    """A port before the machine that behaves as told at the first connection, and afterwards passes everything on."""

    machine: Machine
    behave: Behave
    connections: int = 0
    port: int = 0
    servers: list[asyncio.Server] = field(default_factory=list)

    async def start(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self.servers:
            server.close()
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await (self.behave if self.connections == 1 else passes)(self, reader, writer)
        except ConnectionError:
            pass  # the service has hung up
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The whole request, as it came."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return head + await reader.readexactly(length)

    async def ask(self, request: bytes) -> bytes:
        """What the machine answers to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.machine.port)
        writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        answer = await reader.read()
        writer.close()
        return answer


def reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def passes(between: Between, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await between.ask(await between.request(reader)))
    await writer.drain()


def says(status: str, body: bytes = b"{}", *headers: str, run: bool = False) -> Behave:
    """Answers so; run: after the machine has run it."""

    async def behave(between: Between, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await between.request(reader)
        if run:
            await between.ask(request)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return behave


def goes_silent(*, run: bool, read: bool = True, abort: bool = False, first: bytes = b"") -> Behave:
    """Never ends its answer; abort: resets the connection instead."""

    async def behave(between: Between, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await between.request(reader) if read else b""
        if run:
            await between.ask(request)
        if abort:
            reset(writer)
            return
        writer.write(first)
        await writer.drain()
        await reader.read()  # until the service hangs up

    return behave


async def endless(between: Between, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await between.ask(await between.request(reader))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()


JSON = "Content-Type: application/json"


@dataclass(frozen=True)
class Row:
    """A fault, and what becomes of it: the entry that ends the execution, and how often it ran; asked once, or again.

    liar: somebody else answers in the machine's place, which the comparison with its log must name.
    """

    name: str
    behave: Behave
    once: tuple[str, int]
    again: tuple[str, int]
    liar: bool = False


DONE, NOT_RUN, DOUBT, DOUBT_RAN = ("EXECUTED", 1), ("FAILED", 0), ("UNRESOLVED", 0), ("UNRESOLVED", 1)
TABLE = (
    Row("passes", passes, DONE, DONE),
    Row("busy, then passes", says("503 Busy", b"{}", "Retry-After: 1"), DONE, DONE),
    Row("503 without a time", says("503 Busy"), NOT_RUN, NOT_RUN),
    Row("reset before it was read", goes_silent(run=False, read=False, abort=True), DOUBT, DONE),
    Row("reset after it was read", goes_silent(run=False, abort=True), DOUBT, DONE),
    Row("reset after it ran", goes_silent(run=True, abort=True), DOUBT_RAN, DONE),
    Row("silent", goes_silent(run=False), DOUBT, DONE),
    Row("silent after it ran", goes_silent(run=True), DOUBT_RAN, DONE),
    Row("silent within the head", goes_silent(run=True, first=b"HTTP/1.1 200 OK\r\nContent-"), DOUBT_RAN, DONE),
    Row(
        "silent within the body",
        goes_silent(
            run=True, first=b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"e'
        ),
        DOUBT_RAN,
        DONE,
    ),
    Row("answers 200 in its place", says("200 OK"), ("EXECUTED", 0), ("EXECUTED", 0), liar=True),
    Row("answers 201 in its place", says("201 Created"), ("EXECUTED", 0), ("EXECUTED", 0), liar=True),
    Row("202 and no result ever", says("202 Accepted"), DOUBT, DOUBT),
    Row("301", says("301 Moved", b"", "Location: /run/clean"), NOT_RUN, NOT_RUN),
    Row("307", says("307 Moved", b"", "Location: /run/clean"), NOT_RUN, NOT_RUN),
    Row("308 to elsewhere", says("308 Moved", b"", "Location: http://169.254.169.254/"), NOT_RUN, NOT_RUN),
    Row("400", says("400 Bad Request"), NOT_RUN, NOT_RUN),
    Row("401", says("401 Unauthorized"), NOT_RUN, NOT_RUN),
    Row("404", says("404 Not Found"), NOT_RUN, NOT_RUN),
    Row("429", says("429 Too Many"), NOT_RUN, NOT_RUN),
    Row("500", says("500 Error"), NOT_RUN, NOT_RUN),
    Row("502 after it ran", says("502 Bad Gateway", run=True), DOUBT_RAN, DONE),
    Row("504", says("504 Gateway Timeout"), DOUBT, DONE),
    Row("200 with an exit code of 3", says("200 OK", b'{"exit_code": 3}', JSON), NOT_RUN, NOT_RUN),
    Row("no HTTP", goes_silent(run=False, first=b"220 smtp.example ESMTP\r\n"), DOUBT, DONE),
    Row("200 with half a JSON after it ran", says("200 OK", b'{"exit_code":', JSON, run=True), DOUBT_RAN, DONE),
    Row("200 with an exit code that is none", says("200 OK", b'{"exit_code": "0"}', JSON, run=True), DOUBT_RAN, DONE),
    Row("endless answer after it ran", endless, DOUBT_RAN, DONE),
)


# --- the service -----------------------------------------------------------------------------------------------------


async def service(url: str, *, idempotent: bool, **target: Any) -> Governed:
    """A governor whose executor is at `url`; one incident is open, and its question is asked."""
    rules = f"expires: 15m, execute_within: 60s, verify: {{within: 5m}}, idempotent: {str(idempotent).lower()}}}"
    clock = CaseClock(datetime.now(UTC))  # signatures are as old as the machine's clock says
    governed = Governed(POLICY.replace("expires: 15m}", rules), clock=clock)
    known = ExecutorTarget("clean", url, SECRET, PATIENCE, **target)
    governed.desk.executors = Webhooks({"clean": known}, clock.now)
    await governed.governor.start()
    await governed.fire()
    return governed


async def approve(governed: Governed) -> None:
    await governed.hear("tendai", "a " + governed.question("tendai").variables["code"])


async def settled(governed: Governed) -> Entry:
    """The entry that ends the execution. Time passes until its deadline."""
    for _ in range(40):
        ends = [entry for entry in governed.journal.log if entry.stage in ("EXECUTED", "FAILED", "UNRESOLVED")]
        if ends:
            return ends[0]
        await governed.after(3)
    raise AssertionError("no end of it stands in the ledger after two minutes")


def accounted(governed: Governed, machine: Machine) -> list[str]:
    """What the ledger and the executor's own log do not agree on."""
    receipts = Receipts(read_receipts(machine.log) if machine.log.exists() else {})
    for entry in governed.journal.log:
        receipts.take(entry)
    return [finding.detail for finding in receipts.findings()]


async def person_looks(governed: Governed, machine: Machine) -> None:
    """Somebody reads the executor's log, and says what it says: each run is accounted for then."""
    receipts = read_receipts(machine.log) if machine.log.exists() else {}
    if not governed.desk.book.suspense:
        return
    (doubt,) = governed.desk.book.suspense.values()
    known = receipts.get(str(doubt.body["webhook_id"]))
    word = "DIDNOT" if known is None else "RAN" if known.exit_code == 0 else "WRITEOFF"
    await governed.hear("ruth", f"{word} {doubt.incident_id} the log says so")


async def ends_well(governed: Governed, machine: Machine, ran: int) -> None:
    """Time passes; nothing more runs, and nothing is open of it."""
    await person_looks(governed, machine)
    await governed.after(600)
    assert machine.ran == ran
    begun = (
        [json.loads(line)["id"] for line in machine.log.read_text().splitlines() if '"begun"' in line] if ran else []
    )
    assert len(begun) == len(set(begun)) == ran
    authorized = {entry.body["webhook_id"] for entry in governed.entries("DISPATCHED")}
    assert set(begun) <= authorized
    assert not governed.desk.book.executions
    assert not governed.desk.book.suspense


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path)
    server = TestServer(Runner(load_runner_config(machine.configure())).app())
    await server.start_server()
    assert server.port is not None
    machine.port = server.port
    yield machine
    await server.close()


CASES = [(row, again) for row in TABLE for again in ((False, True) if FULL or row.once != row.again else (False,))]
CHOSEN = CASES if FULL else [(row, again) for row, again in CASES if not again or row.name in ("silent after it ran",)]


@pytest.mark.parametrize(("row", "again"), CHOSEN, ids=[f"{r.name}{', idempotent' if a else ''}" for r, a in CHOSEN])
async def test_what_becomes_of_a_fault(machine: Machine, row: Row, again: bool) -> None:
    between = Between(machine, row.behave)
    await between.start()
    try:
        governed = await service(f"http://127.0.0.1:{between.port}/run/clean", idempotent=again)
        assert between.connections == 0  # nothing without authorization
        await approve(governed)
        stage, ran = row.again if again else row.once
        end = await settled(governed)
        assert (end.stage, machine.ran) == (stage, ran), end.reason
        if not again and "busy" not in row.name:
            assert between.connections == 1
        found = accounted(governed, machine)
        assert bool(found) is (row.liar or stage == "UNRESOLVED"), found
        await ends_well(governed, machine, ran)
        assert bool(accounted(governed, machine)) is row.liar
    finally:
        await between.stop()


async def test_an_executor_that_is_down_fails_at_the_deadline_and_nothing_ran(
    machine: Machine, free_port: Callable[[], int]
) -> None:
    governed = await service(f"http://127.0.0.1:{free_port()}/run/clean", idempotent=False)
    await approve(governed)
    end = await settled(governed)
    assert (end.stage, end.actor, end.body["ran"]) == ("FAILED", "system", False)
    await ends_well(governed, machine, 0)
    assert accounted(governed, machine) == []


@pytest.mark.parametrize("first", ["127.0.0.1", "169.254.169.254"])
async def test_a_name_that_changes_between_the_check_and_the_use(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A rebinding name: it is asked once for a request, and what was looked at is what is connected to."""
    asked: list[str] = []

    async def resolve(
        self: ThreadedResolver, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        asked.append(host)
        address = first if len(asked) == 1 else "169.254.169.254"
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    governed = await service(f"http://executor.test:{machine.port}/run/clean", idempotent=False, private=True)
    await approve(governed)
    end = await settled(governed)
    assert asked == ["executor.test"]
    assert (end.stage, machine.ran) == (DONE if first == "127.0.0.1" else NOT_RUN)
    await ends_well(governed, machine, machine.ran)
    assert accounted(governed, machine) == []


# --- results that come later -----------------------------------------------------------------------------------------


class Later:
    """An executor that answers 202, and whose results come to POST /executions/{id} of a real listener."""

    def __init__(self) -> None:
        self.webhook_id = ""
        self.answer: asyncio.Event = asyncio.Event()
        self.taken: asyncio.Event = asyncio.Event()

    async def run(self, request: web.Request) -> web.Response:
        self.webhook_id = request.headers["webhook-id"]
        self.taken.set()
        await self.answer.wait()
        return web.json_response({"status": "accepted"}, status=202)


async def results_of(governed: Governed) -> TestServer:
    secrets = {"clean": [SECRET], "other": [OTHER]}
    book = ExecutionDesk(governed.desk)
    app = web.Application()
    results = Results(lambda: [("default", book)], lambda tenant, executor: secrets[executor])
    app.router.add_post("/executions/{id}", results.result)
    server = TestServer(app)
    await server.start_server()
    return server


async def tell(server: TestServer, webhook_id: str, status: str, secret: str = SECRET) -> int:
    body = json.dumps({"status": status, "output": "done"})
    headers = {**signed_headers([secret], webhook_id, datetime.now(UTC), body), "Content-Type": "application/json"}
    url = server.make_url(f"/executions/{webhook_id}")
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("name", "told", "stage"),
    [
        ("in time", [("succeeded", SECRET, 200)], "EXECUTED"),
        ("a failure", [("failed", SECRET, 200)], "FAILED"),
        ("twice", [("succeeded", SECRET, 200), ("succeeded", SECRET, 200)], "EXECUTED"),
        ("twice, otherwise", [("succeeded", SECRET, 200), ("failed", SECRET, 200)], "EXECUTED"),
        ("forged, then true", [("succeeded", "whsec_" + "A" * 43 + "=", 401), ("failed", SECRET, 200)], "FAILED"),
        ("from another executor", [("succeeded", OTHER, 401)], "UNRESOLVED"),
    ],
)
@pytest.mark.parametrize("before_the_answer", [False, True])
async def test_a_result_that_comes_later(
    name: str, told: list[tuple[str, str, int]], stage: str, before_the_answer: bool
) -> None:
    later = Later()
    app = web.Application()
    app.router.add_post("/run", later.run)
    executor = TestServer(app)
    await executor.start_server()
    governed = await service(str(executor.make_url("/run")), idempotent=False)
    server = await results_of(governed)
    try:
        approving = asyncio.ensure_future(approve(governed))
        await later.taken.wait()
        if not before_the_answer:
            later.answer.set()
            await approving
        for status, secret, code in told:
            assert await tell(server, later.webhook_id, status, secret) == code
        later.answer.set()
        await approving
        end = await settled(governed)
        assert end.stage == stage
        assert len([e for e in governed.journal.log if e.settles == governed.entries("DISPATCHED")[0].index]) == 1
        late = [e for e in governed.entries("NOTED") if e.body.get("kind") == "late result"]
        assert len(late) == (len(told) == 2 and told[0][2] == 200)
        if stage == "UNRESOLVED":  # its own executor's word, too late for its deadline, settles the doubt
            assert await tell(server, later.webhook_id, "succeeded") == 200
            await governed.rest()
            assert governed.entries("EXECUTED")[0].actor == "executor:clean"
    finally:
        await server.close()
        await executor.close()


# --- the executor dies -----------------------------------------------------------------------------------------------

# point → (asked once, asked again): what ends the execution, and how often it ran
DEATHS = {
    "before begin": (DOUBT, DONE),
    "after begin": (DOUBT, DOUBT),  # begun, and nobody knows how it ended: it is never begun again
    "before end": (DOUBT_RAN, DOUBT_RAN),
    "after end": (DOUBT_RAN, DONE),
}
FEW = (("after begin", True), ("before end", False), ("after end", True))
ALL = tuple((point, again) for point in DEATHS for again in (False, True))


async def listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return


@pytest.mark.parametrize(("point", "again"), ALL if FULL else FEW)
async def test_the_executor_is_killed(tmp_path: Path, free_port: Callable[[], int], point: str, again: bool) -> None:
    machine = Machine(tmp_path, free_port())
    config = machine.configure(f"127.0.0.1:{machine.port}")
    dying = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.journeys.dying_executor", point, str(config), cwd=ROOT
    )
    again_words = ("-m", "receiver", "executor", "serve", "--config", str(config))
    living: asyncio.subprocess.Process | None = None
    try:
        async with asyncio.timeout(DEATH_SECONDS):
            await listens(machine.port)
            governed = await service(f"http://127.0.0.1:{machine.port}/run/clean", idempotent=again)
            target = ExecutorTarget("clean", f"http://127.0.0.1:{machine.port}/run/clean", SECRET, 20.0)
            governed.desk.executors = Webhooks({"clean": target}, governed.clock.now)
            await approve(governed)
            assert await dying.wait() == -9
            living = await asyncio.create_subprocess_exec(sys.executable, *again_words, cwd=ROOT)
            await listens(machine.port)
            stage, ran = DEATHS[point][again]
            end = await settled(governed)
            assert (end.stage, machine.ran) == (stage, ran), end.reason
        receipts = read_receipts(machine.log) if machine.log.exists() else {}
        assert all(receipt.begun == 1 for receipt in receipts.values())
        assert set(receipts) <= {entry.body["webhook_id"] for entry in governed.entries("DISPATCHED")}
        await person_looks(governed, machine)
        assert accounted(governed, machine) == []
    finally:
        for process in (dying, living):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.wait()
