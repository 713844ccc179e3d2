"""The webhook that executes: the exact request that was authorized, once, and an honest word on what became of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.execution.addresses import forbidden_target, is_forbidden
from receiver.execution.answers import judge
from receiver.execution.signature import is_secret, refusal, signed_headers
from receiver.execution.webhook import ANSWER_BYTES, CONCURRENCY, Webhooks
from receiver.papers import ExecutionOutcome, ExecutionResult, ExecutorTarget, Order, RenderedRequest

KEY, OLD_KEY = bytes(range(32)), bytes(range(100, 132))
SECRET, OLD_SECRET = ("whsec_" + base64.b64encode(key).decode() for key in (KEY, OLD_KEY))
ORDER = Order("wh_1", "default", "inc-7f3a9c0000", "restart", "restart", {"service": "checkout"}, None)
LONG = 5.0  # seconds: no test waits for it
# In a fresh clone Hypothesis first builds its tables of Unicode, for seconds, which it then takes for slow drawing.
COLD = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def now() -> datetime:
    return datetime.now(UTC)


def signature_by_hand(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The scheme as Standard Webhooks writes it, without the library."""
    signed = webhook_id.encode() + b"." + timestamp.encode() + b"." + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Executor:
    """One executor on loopback. `answer` is what it does next; `seen` are the requests that reached it."""

    def __init__(self) -> None:
        self.answer: Handler | None = None
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    def gives(self, body: Any, status: int = 200, **headers: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(body, bytes):
                return web.Response(body=body, status=status, headers=named)
            return web.json_response(body, status=status, headers=named)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        assert self.answer is not None
        return await self.answer(request)


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    executor, app = Executor(), web.Application()
    app.router.add_route("*", "/{path:.*}", executor.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    executor.url = f"http://127.0.0.1:{runner.addresses[0][1]}/run/restart"
    yield executor
    await runner.cleanup()


def webhooks(url: str, *, timeout_seconds: float = LONG, **more: Any) -> Webhooks:
    return Webhooks({"restart": ExecutorTarget("restart", url, SECRET, timeout_seconds, **more)}, now)


async def sent(url: str, *, within: float = LONG, timeout_seconds: float = LONG, **more: Any) -> ExecutionResult:
    office = webhooks(url, timeout_seconds=timeout_seconds, **more)
    return await office.send(office.render(ORDER), webhook_id="wh_1", deadline=now() + timedelta(seconds=within))


# --- the request


def test_the_digest_is_over_what_will_be_sent() -> None:
    request = webhooks("http://127.0.0.1:9879/run/restart").render(ORDER)
    body = (
        '{"action":"restart","callback_url":null,"id":"wh_1","incident_id":"inc-7f3a9c0000",'
        '"params":{"service":"checkout"},"tenant":"default","type":"counterfoil.execution"}'
    )
    whole = {"executor": "restart", "method": "POST", "address": "http://127.0.0.1:9879/run/restart", "body": body}
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert request == RenderedRequest("restart", "POST", "http://127.0.0.1:9879/run/restart", body, digest)
    assert webhooks("http://127.0.0.1:9879/run/restart").render(ORDER) == request
    changed = (replace(ORDER, params={"service": "wallet"}), replace(ORDER, action="stop"), replace(ORDER, tenant="b"))
    assert digest not in {webhooks("http://127.0.0.1:9879/run/restart").render(order).digest for order in changed}
    assert webhooks("http://127.0.0.1:9880/run/restart").render(ORDER).digest != digest


def test_an_executor_that_is_not_configured_is_no_request() -> None:
    with pytest.raises(KeyError):
        webhooks("http://127.0.0.1:1").render(replace(ORDER, executor="other"))


async def test_what_was_authorized_is_what_arrives_signed_with_both_secrets(executor: Executor) -> None:
    executor.gives({"exit_code": 0, "output": "restarted"})
    result = await sent(executor.url, previous_secret=OLD_SECRET)
    assert result == ExecutionResult(ExecutionOutcome.EXECUTED, "the executor answered 200", 200, "restarted")
    ((headers, body),) = executor.seen
    assert body.decode() == webhooks(executor.url).render(ORDER).body
    assert headers["webhook-id"] == "wh_1"
    assert abs(int(headers["webhook-timestamp"]) - now().timestamp()) < 60
    hand = [signature_by_hand(key, "wh_1", headers["webhook-timestamp"], body) for key in (KEY, OLD_KEY)]
    assert headers["webhook-signature"].split(" ") == hand


async def test_another_address_than_the_authorized_one_is_not_called(executor: Executor) -> None:
    executor.gives({"exit_code": 0})
    request = webhooks("http://127.0.0.1:1/run/restart").render(ORDER)
    result = await webhooks(executor.url).send(request, webhook_id="wh_1", deadline=now() + timedelta(seconds=LONG))
    assert (result.outcome, result.detail) == (
        ExecutionOutcome.FAILED,
        "executor restart is configured differently now",
    )
    assert executor.seen == []


async def test_a_redirect_is_not_followed(executor: Executor) -> None:
    executor.gives(b"", 307, Location="/elsewhere")
    result = await sent(executor.url)
    assert (result.outcome, result.http_status) == (ExecutionOutcome.FAILED, 307)
    assert len(executor.seen) == 1


# --- what an answer means


@pytest.mark.parametrize(
    ("status", "body", "headers", "outcome", "detail"),
    [
        (200, {"exit_code": 0, "output": "x"}, {}, ExecutionOutcome.EXECUTED, "the executor answered 200"),
        (200, {"exit_code": 3, "output": "x"}, {}, ExecutionOutcome.FAILED, "exit code 3"),
        (200, {"exit_code": -9}, {}, ExecutionOutcome.FAILED, "exit code -9"),
        (200, {"exit_code": "1"}, {}, ExecutionOutcome.UNKNOWN, "the executor's exit code is not a number"),
        (200, {"exit_code": True}, {}, ExecutionOutcome.UNKNOWN, "the executor's exit code is not a number"),
        (200, {"exit_code": 0.5}, {}, ExecutionOutcome.UNKNOWN, "the executor's exit code is not a number"),
        (200, b"restarted", {}, ExecutionOutcome.EXECUTED, "the executor answered 200"),
        (204, b"", {"Content_Type": "application/json"}, ExecutionOutcome.EXECUTED, "the executor answered 204"),
        (201, [1], {}, ExecutionOutcome.EXECUTED, "the executor answered 201"),
        (
            200,
            b'{"exit_code": 1',
            {"Content_Type": "application/json"},
            ExecutionOutcome.UNKNOWN,
            "the executor answered 200, and with JSON that cannot be read, so its exit code is not known",
        ),
        (202, {}, {}, ExecutionOutcome.ACCEPTED, "accepted, the result comes later"),
        (400, {"error": {}}, {}, ExecutionOutcome.FAILED, "the executor answered 400"),
        (404, b"", {}, ExecutionOutcome.FAILED, "the executor answered 404"),
        (409, b"", {}, ExecutionOutcome.FAILED, "the executor answered 409"),
        (409, {"exit_code": 0}, {}, ExecutionOutcome.EXECUTED, "it had run before: the executor answered 409"),
        (409, {"exit_code": 1}, {}, ExecutionOutcome.FAILED, "it had run before: exit code 1"),
        (
            409,
            {"error": {"code": "begun_before"}},
            {},
            ExecutionOutcome.UNKNOWN,
            "the executor began it before and does not know how it ended",
        ),
        (500, {"exit_code": 0}, {}, ExecutionOutcome.FAILED, "the executor answered 500"),
        (503, b"", {}, ExecutionOutcome.FAILED, "the executor answered 503"),
        (503, b"", {"Retry_After": "soon"}, ExecutionOutcome.FAILED, "the executor answered 503"),
        (503, b"", {"Retry_After": "\xb2"}, ExecutionOutcome.FAILED, "the executor answered 503"),
        (503, b"", {"Retry_After": "7"}, ExecutionOutcome.NOT_SENT, "the executor is busy"),
        (502, b"", {}, ExecutionOutcome.UNKNOWN, "a gateway before the executor answered 502"),
        (504, b"", {}, ExecutionOutcome.UNKNOWN, "a gateway before the executor answered 504"),
    ],
)
async def test_what_an_answer_means(
    executor: Executor, status: int, body: Any, headers: dict[str, str], outcome: ExecutionOutcome, detail: str
) -> None:
    executor.gives(body, status, **headers)
    result = await sent(executor.url)
    assert (result.outcome, result.detail, result.http_status) == (outcome, detail, status)


async def test_a_busy_executor_is_asked_again_within_a_minute(executor: Executor) -> None:
    executor.gives(b"", 503, Retry_After="9" * 400)
    assert (await sent(executor.url)).retry_after_seconds == 60.0
    executor.gives(b"", 503, Retry_After="7")
    assert (await sent(executor.url)).retry_after_seconds == 7.0


async def test_an_exit_code_at_the_end_of_a_long_answer_in_many_pieces_counts(executor: Executor) -> None:
    body = json.dumps({"output": "x" * 50_000, "exit_code": 1}).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for start in range(0, len(body), 5_000):
            await response.write(body[start : start + 5_000])
            # Nobody says when the other side has read: without a pause the pieces arrive as one.
            await asyncio.sleep(0.01)
        return response

    executor.answer = answer
    result = await sent(executor.url)
    assert (result.outcome, result.detail) == (ExecutionOutcome.FAILED, "exit code 1")
    assert result.output == "x" * 2_000


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("text/plain", ExecutionOutcome.EXECUTED), ("application/json", ExecutionOutcome.UNKNOWN)],
)
async def test_only_64_kb_of_an_answer_are_read(executor: Executor, kind: str, outcome: ExecutionOutcome) -> None:
    stopped = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * ANSWER_BYTES)
        finally:
            stopped.set()

    executor.answer = answer
    assert (await sent(executor.url)).outcome is outcome
    async with asyncio.timeout(LONG):
        await stopped.wait()


async def test_what_an_executor_writes_is_cleaned(executor: Executor) -> None:
    executor.gives({"exit_code": 0, "output": "a\x1b[31m\u202eb\x00\nc" + "y" * 5_000})
    output = (await sent(executor.url)).output
    assert output.startswith("a [31m b \nc")
    assert len(output) == 2_000


@COLD
@given(
    st.integers(200, 599),
    st.binary(max_size=80)
    | st.dictionaries(
        st.sampled_from(["exit_code", "output", "error"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none()),
    ).map(lambda data: json.dumps(data).encode()),
    st.sampled_from(["application/json", "text/plain", ""]),
    st.sampled_from(["", "5", "\u0665", "-1", "1e3"]),
)
def test_whatever_is_answered_has_one_meaning(status: int, raw: bytes, kind: str, wait: str) -> None:
    result = judge(status, {"Content-Type": kind, "Retry-After": wait}, raw)
    assert result.http_status == status
    if result.outcome is ExecutionOutcome.EXECUTED:
        assert 200 <= status < 300 or status == 409
    if status == 409 and result.outcome is ExecutionOutcome.EXECUTED:
        assert json.loads(raw)["exit_code"] == 0
    assert (result.outcome is ExecutionOutcome.NOT_SENT) == (status == 503 and wait == "5")


# --- no answer


class RawServer:
    """Takes a connection, reads until `until` has come (nothing, or the whole head), says `words`, and hangs up."""

    def __init__(self, until: bytes = b"", words: bytes = b"") -> None:
        self._until, self._words = until, words
        self.heard = b""

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._until:
            self.heard = await reader.readuntil(self._until)
        writer.write(self._words)
        writer.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


async def test_nothing_listens_so_no_byte_left(free_port: Callable[[], int]) -> None:
    result = await sent(f"http://127.0.0.1:{free_port()}/run/restart")
    assert result.outcome is ExecutionOutcome.NOT_SENT
    assert result.detail.startswith("cannot connect: ")


async def test_a_name_that_is_not_known_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: Any) -> list[ResolveResult]:
        raise OSError(None, "Name or service not known")

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    result = await sent("http://executor.example:9879/run/restart")
    assert (result.outcome, result.detail) == (
        ExecutionOutcome.NOT_SENT,
        "cannot connect: Name or service not known",
    )


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", b"nonsense\r\n\r\n"])
async def test_whoever_hangs_up_after_the_request_leaves_it_unknown(words: bytes) -> None:
    server = RawServer(b"\r\n\r\n", words)
    async with server as address:
        result = await sent(f"http://{address}/run/restart")
    assert result.outcome is ExecutionOutcome.UNKNOWN
    assert b"webhook-id: wh_1" in server.heard


async def test_silence_after_the_request_is_unknown(executor: Executor) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    executor.answer = answer
    result = await sent(executor.url, timeout_seconds=0.1)
    assert (result.outcome, result.detail) == (ExecutionOutcome.UNKNOWN, "no answer within 0.1 s")
    result = await sent(executor.url, within=0.1)
    assert result.outcome is ExecutionOutcome.UNKNOWN, "the deadline ends what the executor's own time would allow"
    assert len(executor.seen) == 2


async def test_after_the_deadline_nothing_is_sent(executor: Executor) -> None:
    executor.gives({"exit_code": 0})
    for within in (0.0, -60.0):
        result = await sent(executor.url, within=within)
        assert (result.outcome, result.detail) == (ExecutionOutcome.NOT_SENT, "the deadline is over")
    assert executor.seen == []


async def test_whoever_waits_for_a_place_keeps_to_the_deadline(executor: Executor) -> None:
    full, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if len(executor.seen) == CONCURRENCY:
            full.set()
        await go.wait()
        return web.json_response({"exit_code": 0})

    executor.answer = answer
    office = webhooks(executor.url)
    request = office.render(ORDER)
    deadline = now() + timedelta(seconds=LONG)
    busy = [
        asyncio.create_task(office.send(request, webhook_id=f"wh_{n}", deadline=deadline)) for n in range(CONCURRENCY)
    ]
    async with asyncio.timeout(LONG):
        await full.wait()
    late = await office.send(request, webhook_id="wh_late", deadline=now() + timedelta(seconds=0.05))
    assert late.outcome is ExecutionOutcome.NOT_SENT
    go.set()
    assert {result.outcome for result in await asyncio.gather(*busy)} == {ExecutionOutcome.EXECUTED}
    assert "wh_late" not in {headers["webhook-id"] for headers, _ in executor.seen}


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now(), now() + timedelta(days=1))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "pair.pem").write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    return context


async def test_without_tls_that_holds_no_byte_of_the_request_leaves(executor: Executor, tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_post("/{path:.*}", executor.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate(tmp_path)).start()
    try:
        untrusted = await sent(f"https://127.0.0.1:{runner.addresses[0][1]}/run/restart")
    finally:
        await runner.cleanup()
    plain = await sent(executor.url.replace("http:", "https:"))
    for result in (untrusted, plain):
        assert result.outcome is ExecutionOutcome.NOT_SENT
        assert result.detail.startswith("cannot connect: ")
    assert executor.seen == []


@pytest.mark.parametrize(
    "url", ["http://[bad/", "http:///run", "not a url", "", "http://127.0.0.1:99999/", "http://a b/"]
)
async def test_an_address_that_is_none_is_an_answer_and_no_error(url: str) -> None:
    assert (await sent(url)).outcome in (ExecutionOutcome.FAILED, ExecutionOutcome.NOT_SENT)


# --- addresses


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("169.254.0.1", True),
        ("::ffff:169.254.169.254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:a9fe:a9fe::1", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("fd20:ce::254", True),
        ("100.100.100.200", True),
        ("168.63.129.16", True),
        ("192.0.0.192", True),
        ("0.0.0.0", True),
        ("::", True),
        ("255.255.255.255", True),
        ("ff02::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.7", False),
        ("192.168.1.1", False),
        ("::ffff:10.0.0.7", False),
        ("fd00::7", False),
        ("203.0.113.9", False),
        ("executor.example", False),
    ],
)
def test_addresses_that_no_executor_has(address: str, forbidden: bool) -> None:
    assert is_forbidden(address) is forbidden
    host = f"[{address}]" if ":" in address else address
    assert (forbidden_target(f"http://{host}/run", private=True) is not None) is forbidden


async def test_a_name_that_leads_to_a_metadata_service_is_refused(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    leads_to = "169.254.169.254"
    port = int(executor.url.split(":")[2].split("/")[0])

    async def resolve(_: Any, host: str, *more: Any) -> list[ResolveResult]:
        asked.append(host)
        return [ResolveResult(hostname=host, host=leads_to, port=port, family=2, proto=0, flags=0)]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    result = await sent(f"http://executor.example:{port}/run/restart")
    assert (result.outcome, result.detail) == (
        ExecutionOutcome.FAILED,
        "executor.example is 169.254.169.254, a link-local or metadata address",
    )
    leads_to = "127.0.0.1"
    executor.gives({"exit_code": 0})
    refused = await sent(f"http://executor.example:{port}/run/restart")
    assert refused.detail == ("executor.example is 127.0.0.1, a private address: if that is meant, say `private: true`")
    allowed = await sent(f"http://executor.example:{port}/run/restart", private=True)
    assert allowed.outcome is ExecutionOutcome.EXECUTED
    assert asked == ["executor.example"] * 3, "each request resolves once, and goes where that led"


# --- secrets


async def test_a_secret_is_in_no_text(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    target = ExecutorTarget("restart", executor.url, SECRET, LONG, OLD_SECRET)
    executor.gives(b"", 500)
    result = await sent(executor.url, previous_secret=OLD_SECRET)
    bad = Webhooks({"restart": replace(target, secret="whsec_mistyped")}, now)
    refused = await bad.send(bad.render(ORDER), webhook_id="wh_1", deadline=now() + timedelta(seconds=LONG))
    assert refused.outcome is ExecutionOutcome.FAILED
    words = " ".join([repr(target), repr(result), repr(refused), repr(bad.render(ORDER)), caplog.text])
    assert SECRET[6:] not in words
    assert OLD_SECRET[6:] not in words
    assert "mistyped" not in words


@pytest.mark.parametrize(
    ("secret", "good"),
    [
        (SECRET, True),
        (SECRET.rstrip("="), True),
        ("whsec_" + base64.b64encode(b"k" * 24).decode(), True),
        ("whsec_" + base64.b64encode(b"k" * 64).decode(), True),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), False),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), False),
        ("whsec_", False),
        ("whsec_!!!!", False),
        (SECRET[6:], False),
        (SECRET[:20] + "\n" + SECRET[20:], False),
        ("whsec_" + "é" * 40, False),
    ],
)
def test_what_is_a_secret(secret: str, good: bool) -> None:
    assert is_secret(secret) is good
    signed = signature_by_hand(b"", "wh_1", (at := str(int(now().timestamp()))), b"{}")
    headers = {"webhook-id": "wh_1", "webhook-timestamp": at, "webhook-signature": signed}
    assert refusal([secret], b"{}", headers) is not None, "an empty key opens nothing"


# --- signatures


def given_headers(*, age_seconds: float = 0, key: bytes = KEY, body: bytes = b"{}", **other: str) -> dict[str, str]:
    at = str(int(now().timestamp() - age_seconds))
    headers = {"webhook-id": "wh_1", "webhook-timestamp": at}
    headers["webhook-signature"] = signature_by_hand(key, "wh_1", at, body)
    return headers | {f"webhook-{name}": value for name, value in other.items()}


def test_a_signature_of_either_secret_is_taken() -> None:
    assert refusal([SECRET], b"{}", given_headers()) is None
    assert refusal([SECRET, OLD_SECRET], b"{}", given_headers(key=OLD_KEY)) is None
    both = given_headers()
    both["webhook-signature"] = "v2,eA== " + both["webhook-signature"]
    assert refusal([SECRET], b"{}", both) is None


def test_the_time_is_signed_as_it_is_in_any_zone() -> None:
    at = datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    headers = signed_headers([SECRET], "wh_1", at, "{}")
    assert headers["webhook-timestamp"] == "1795420800"
    assert headers["webhook-signature"] == signature_by_hand(KEY, "wh_1", "1795420800", b"{}")


@pytest.mark.parametrize(
    ("secrets", "body", "given", "why"),
    [
        ([SECRET], b"{}", {"key": OLD_KEY}, "No matching signature found"),
        ([SECRET], b"{ }", {}, "No matching signature found"),
        ([SECRET], b"{}", {"id": "wh_2"}, "No matching signature found"),
        ([SECRET], b"{}", {"age_seconds": 400}, "Message timestamp too old"),
        ([SECRET], b"{}", {"age_seconds": -400}, "Message timestamp too new"),
        ([], b"{}", {}, "no signature fits"),
        (["whsec_"], b"{}", {"key": b""}, "no signature fits"),
        ([SECRET], b"{}", None, "a webhook header is missing"),
        ([SECRET], b"{}", {"id": ""}, "a webhook header is missing"),
        ([SECRET], b"{}", {"id": "a\nb"}, "a webhook header is malformed"),
        ([SECRET], b"{}", {"id": "x" * 1001}, "a webhook header is malformed"),
        ([SECRET], b"{}", {"timestamp": "soon"}, "the webhook timestamp is malformed"),
        ([SECRET], b"{}", {"timestamp": "1" * 13}, "the webhook timestamp is malformed"),
        ([SECRET], b"{}", {"timestamp": "9" * 12}, "Invalid Signature Headers"),
        ([SECRET], b"{}", {"signature": "v1"}, "a signature is malformed"),
        ([SECRET], b"{}", {"signature": "v1,a"}, "a signature is malformed"),
        ([SECRET], b"{}", {"signature": "v1,a,b"}, "a signature is malformed"),
        ([SECRET], b"{}", {"signature": "v1, "}, "a signature is malformed"),
        ([SECRET], b"{}", {"signature": " ".join(["v1,eA=="] * 9)}, "there are too many signatures"),
        ([SECRET], b"\xff", {"body": b"\xff"}, "the body is not UTF-8"),
    ],
)
def test_each_refusal_has_its_name(secrets: list[str], body: bytes, given: dict[str, Any] | None, why: str) -> None:
    headers = {} if given is None else given_headers(**given)
    assert refusal(secrets, body, headers) == why


@COLD
@given(
    st.lists(st.sampled_from([SECRET, OLD_SECRET, "whsec_", "x", ""]), max_size=3),
    st.binary(max_size=40),
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(max_size=20) | st.sampled_from(["v1,", "v1,e", "v1, v1,=", str(int(now().timestamp()))]),
    ),
)
def test_no_headers_and_no_body_are_an_error(secrets: list[str], body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(refusal(secrets, body, headers), str)
