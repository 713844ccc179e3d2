"""POST /executions/{id}: a result counts only from its own executor, and is answered only after it is booked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.journal import Conflict, LedgerError, Refused, Unavailable
from receiver.intake import results as module
from receiver.intake.results import BODY_BYTES, ExecutionBook, Results

KEYS = {name: name.encode() * 8 for name in ("restart", "previous", "other")}
LONG = 10.0  # seconds: a bound, not a wait
# In a fresh clone Hypothesis first builds its tables of Unicode, for seconds, which it then takes for slow drawing.
COLD = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
DONE = b'{"status":"succeeded","output":"restarted"}'
ID = "wh_1"


def secret(name: str) -> str:
    return "whsec_" + base64.b64encode(KEYS[name]).decode()


class Book:
    """One tenant's executions: whose each is, what was settled, and the fault that the ledger has."""

    def __init__(self, **executors: str) -> None:
        self.executors = executors
        self.settled: list[tuple[str, bool, str, str]] = []
        self.fault: LedgerError | None = None
        self.looks_fail = False

    async def executor_of(self, webhook_id: str) -> str | None:
        if self.looks_fail and self.fault is not None:
            raise self.fault
        return self.executors.get(webhook_id)

    async def settle(self, webhook_id: str, succeeded: bool, detail: str, output: str) -> bool:
        if self.fault is not None:
            raise self.fault
        fresh = all(webhook_id != earlier for earlier, *_ in self.settled)
        self.settled.append((webhook_id, succeeded, detail, output))
        return fresh


class Intake:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.books: dict[str, Book] = {"default": Book(wh_1="restart"), "second": Book(wh_2="other", wh_3="gone")}
        self.counted: list[str] = []
        self.url = ""
        self.results = Results(self._books, self._secrets, self.counted.append)

    def _books(self) -> Sequence[tuple[str, ExecutionBook]]:
        return list(self.books.items())

    def _secrets(self, tenant: str, executor: str) -> Sequence[str]:
        known = {("default", "restart"): ["restart", "previous"], ("second", "other"): ["other"]}
        return [secret(name) for name in known.get((tenant, executor), [])]

    async def post(self, webhook_id: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        url = f"{self.url}/executions/{webhook_id}"
        async with self.session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    @property
    def settled(self) -> list[tuple[str, bool, str, str]]:
        return [row for book in self.books.values() for row in book.settled]


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONG)) as session:
        intake, app = Intake(session), web.Application()
        app.router.add_post("/executions/{id}", intake.results.result)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        intake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield intake
        await runner.cleanup()


def signed(body: bytes, webhook_id: str = ID, *, by: str = "restart", age_seconds: float = 0) -> dict[str, str]:
    """The headers as Standard Webhooks writes them, without the library."""
    at = str(int(datetime.now(UTC).timestamp() - age_seconds))
    mac = hmac.new(KEYS[by], f"{webhook_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


@pytest.mark.parametrize(
    ("body", "succeeded", "output"),
    [
        (DONE, True, "restarted"),
        (b'{"status":"failed"}', False, ""),
        (b'{"status":"failed","output":"a\\u001b[1m\\u202eb\\nc","more":1}', False, "a [1m b\nc"),
        (json.dumps({"status": "succeeded", "output": "x" * 5_000}).encode(), True, "x" * 2_000),
    ],
)
async def test_a_result_of_its_own_executor_is_booked(
    intake: Intake, body: bytes, succeeded: bool, output: str
) -> None:
    assert await intake.post(ID, body, signed(body)) == (200, {"status": "accepted"})
    detail = f"the executor reports {'success' if succeeded else 'failure'}"
    assert intake.settled == [(ID, succeeded, detail, output)]


async def test_the_same_result_again_is_known(intake: Intake) -> None:
    for status in ("accepted", "duplicate", "duplicate"):
        assert await intake.post(ID, DONE, signed(DONE)) == (200, {"status": status})
    assert intake.counted == ["accepted", "duplicate", "duplicate"]


async def test_while_a_secret_is_changed_the_old_one_is_taken_too(intake: Intake) -> None:
    assert (await intake.post(ID, DONE, signed(DONE, by="previous")))[0] == 200


async def test_an_execution_of_another_tenant_is_found_and_needs_that_ones_secret(intake: Intake) -> None:
    assert (await intake.post("wh_2", DONE, signed(DONE, "wh_2", by="restart")))[0] == 401
    assert (await intake.post("wh_2", DONE, signed(DONE, "wh_2", by="other")))[0] == 200
    assert [row[0] for row in intake.books["second"].settled] == ["wh_2"]
    assert intake.books["default"].settled == []


async def test_whoever_is_not_its_executor_books_nothing(intake: Intake) -> None:
    cases: list[tuple[str, bytes, dict[str, str]]] = [
        (ID, DONE, {}),
        (ID, DONE, signed(DONE, by="other")),
        (ID, DONE, signed(DONE, age_seconds=400)),
        (ID, DONE + b" ", signed(DONE)),
        (ID, DONE, signed(DONE, "wh_2")),
        (ID, DONE, signed(DONE, "wh_2") | {"webhook-id": ID}),
        ("wh_3", DONE, signed(DONE, "wh_3", by="other")),
    ]
    for webhook_id, body, headers in cases:
        status, answer = await intake.post(webhook_id, body, headers)
        assert (status, answer["error"]["code"]) == (401, "unauthorized"), headers
    assert intake.settled == []


@pytest.mark.parametrize("webhook_id", ["wh_9", "a b", "%00", "%ff", "x" * 81, "..%2f", "wh_1%0a"])
async def test_an_execution_that_is_not_known_is_404(intake: Intake, webhook_id: str) -> None:
    assert (await intake.post(webhook_id, DONE, signed(DONE)))[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"status":"done"}',
        b'{"status":["failed"]}',
        b'{"status":{}}',
        b'{"status":"failed","output":5}',
        b"[" * 60_000,
    ],
)
async def test_a_signed_body_that_says_nothing_is_400(intake: Intake, body: bytes) -> None:
    status, answer = await intake.post(ID, body, signed(body))
    assert (status, answer["error"]["code"]) == (400, "malformed")
    assert intake.settled == []


async def test_a_result_has_64_kb(intake: Intake) -> None:
    head, tail = b'{"status":"failed","output":"', b'"}'
    body = head + b"x" * (BODY_BYTES - len(head) - len(tail)) + tail
    assert (await intake.post(ID, body, signed(body)))[0] == 200
    assert (await intake.post(ID, body + b" ", signed(body + b" ")))[0] == 413
    assert len(intake.settled) == 1


@pytest.mark.parametrize("fault", [Unavailable("/var/lib/counterfoil.db: disk full"), Refused("settled already")])
@pytest.mark.parametrize("looks_fail", [True, False])
async def test_what_cannot_be_booked_is_asked_for_again(intake: Intake, fault: LedgerError, looks_fail: bool) -> None:
    book = intake.books["default"]
    book.fault, book.looks_fail = fault, looks_fail
    message = "it cannot be booked now; send it again"
    unavailable = (503, {"error": {"code": "unavailable", "message": message}})
    assert await intake.post(ID, DONE, signed(DONE)) == unavailable
    book.fault = None
    assert await intake.post(ID, DONE, signed(DONE)) == (200, {"status": "accepted"})


async def test_a_late_result_told_again_in_other_words_is_a_duplicate(intake: Intake) -> None:
    """Else its executor would repeat it for ever."""
    intake.books["default"].fault = Conflict("late:wh_1:executed")
    assert await intake.post(ID, DONE, signed(DONE)) == (200, {"status": "duplicate"})


async def test_a_reader_is_not_waited_for_for_long(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)
    answer = await raw(intake, b"Content-Length: 5\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def raw(intake: Intake, rest: bytes) -> bytes:
    """The first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(intake.url.rpartition(":")[2]))
    writer.write(b"POST /executions/wh_1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + rest)
    try:
        async with asyncio.timeout(LONG):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nbroken\r\n0\r\n\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
        b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"webhook-id: \xff\xfe\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_request_that_is_no_http_is_no_500(intake: Intake, rest: bytes) -> None:
    assert (await raw(intake, rest)).startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert intake.settled == []


@settings(max_examples=60, deadline=None, suppress_health_check=COLD)
@given(
    body=st.binary(max_size=60)
    | st.fixed_dictionaries(
        {}, optional={"status": st.none() | st.text(max_size=3) | st.lists(st.none()), "output": st.integers()}
    ).map(lambda data: json.dumps(data).encode()),
    sign=st.booleans(),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-encoding"]),
        st.from_regex(r"[!-~]{0,12}", fullmatch=True),
    ),
    webhook_id=st.sampled_from([ID, "wh_2", "wh_9", "%0a"]),
)
async def test_no_request_is_a_500(
    intake: Intake, body: bytes, sign: bool, headers: dict[str, str], webhook_id: str
) -> None:
    url = f"{intake.url}/executions/{webhook_id}"
    every = (signed(body) if sign else {}) | headers
    async with intake.session.post(url, data=body, headers=every) as answer:
        assert 400 <= answer.status < 500
    assert intake.settled == []
