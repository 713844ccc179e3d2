"""The webhook executes: one signed request to one configured address, and an honest word on what became of it.

What an answer means:

| answer | outcome |
|---|---|
| 202 | ACCEPTED: the result comes later |
| 2xx, and 409 to a webhook-id that was run before, with an exit code | EXECUTED if it is 0, else FAILED |
| other 2xx | EXECUTED |
| 503 with Retry-After | NOT_SENT: the executor says that it did not take the request, so it may be sent again |
| 502, 504, and 409 to a webhook-id whose run is not known to have ended | UNKNOWN: nobody says what the executor did |
| an answer that breaks off, or JSON that cannot be read to its end | UNKNOWN: it may hold an exit code |
| every other answer, redirects too | FAILED, with its status |
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import aiohttp

from receiver.execution.addresses import ForbiddenAddress, GuardedResolver, forbidden_target
from receiver.execution.signature import signed_headers
from receiver.papers import ExecutionOutcome, ExecutionResult, ExecutorTarget, Order, RenderedRequest

ANSWER_BYTES = 65_536
OUTPUT_CHARACTERS = 2_000
CONCURRENCY = 8  # requests to executors at once
RETRY_AFTER_MAX_SECONDS = 60.0
BEGUN_BEFORE = "begun_before"  # what `executor serve` says of a webhook-id whose result it does not know


class Webhooks:
    """The executors of one tenant. `clock` gives aware UTC time."""

    def __init__(self, targets: Mapping[str, ExecutorTarget], clock: Callable[[], datetime]) -> None:
        self._targets = dict(targets)
        self._clock = clock
        self._places = asyncio.Semaphore(CONCURRENCY)

    def render(self, order: Order) -> RenderedRequest:
        """The exact request. Raises KeyError on an executor that is not configured."""
        target = self._targets[order.executor]
        body = _canonical(
            {
                "type": "counterfoil.execution",
                "id": order.webhook_id,
                "tenant": order.tenant,
                "incident_id": order.incident_id,
                "action": order.action,
                "params": dict(order.params),
                "callback_url": order.callback_url,
            }
        )
        parts = {"executor": target.name, "method": "POST", "address": target.url, "body": body}
        return RenderedRequest(**parts, digest=hashlib.sha256(_canonical(parts).encode()).hexdigest())

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime) -> ExecutionResult:
        """One attempt. NOT_SENT where it is certain that no byte left; UNKNOWN where bytes left and no answer came."""
        target = self._targets.get(request.executor)
        if target is None or target.url != request.address:
            # What was authorized names an address; another configuration does not change what was agreed.
            return ExecutionResult(
                ExecutionOutcome.FAILED, f"executor {request.executor} is configured differently now"
            )
        forbidden = forbidden_target(request.address)
        if forbidden is not None:
            return ExecutionResult(ExecutionOutcome.FAILED, forbidden)
        try:
            async with asyncio.timeout(self._left(deadline)):
                await self._places.acquire()
        except TimeoutError:
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "the deadline is over")
        try:
            # Only now: the wait for a place is no part of the executor's time, and the signature must be fresh.
            seconds = min(target.timeout_seconds, self._left(deadline))
            if seconds <= 0:
                return ExecutionResult(ExecutionOutcome.NOT_SENT, "the deadline is over")
            secrets = [target.secret, *([target.previous_secret] if target.previous_secret else [])]
            headers = signed_headers(secrets, webhook_id, self._clock(), request.body)
            headers |= {"Content-Type": "application/json", "User-Agent": "Counterfoil"}
            return await _attempt(request, headers, seconds)
        except ValueError as error:
            return ExecutionResult(ExecutionOutcome.FAILED, f"executor {request.executor}: {error}")
        finally:
            self._places.release()

    def _left(self, deadline: datetime) -> float:
        return max(0.0, (deadline - self._clock()).total_seconds())


async def _attempt(request: RenderedRequest, headers: Mapping[str, str], seconds: float) -> ExecutionResult:
    left = asyncio.Event()  # set before the first byte of the request may leave this machine
    trace = aiohttp.TraceConfig()

    async def writing(*_: Any) -> None:
        left.set()

    trace.on_request_headers_sent.append(writing)
    trace.on_request_chunk_sent.append(writing)
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(), use_dns_cache=False, force_close=True)
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector, trace_configs=[trace], auto_decompress=False) as session,
            session.request(
                request.method, request.address, data=request.body.encode(), headers=headers, allow_redirects=False
            ) as answer,
        ):
            return _judge(answer.status, answer.headers, await _bounded(answer))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        if left.is_set():
            return ExecutionResult(ExecutionOutcome.UNKNOWN, _plain(error, seconds))
        forbidden = _forbidden(error)
        if forbidden is not None:
            return ExecutionResult(ExecutionOutcome.FAILED, forbidden)
        return ExecutionResult(ExecutionOutcome.NOT_SENT, _plain(error, seconds))


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The answer's body, and where it is larger, one byte more than the limit."""
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(16_384):
        raw += chunk
        if len(raw) > ANSWER_BYTES:
            break
    return bytes(raw[: ANSWER_BYTES + 1])


def _judge(status: int, headers: Mapping[str, str], raw: bytes) -> ExecutionResult:
    """What an answer means: the table at the top."""
    text = _clean(raw[:ANSWER_BYTES].decode("utf-8", "replace"))
    if status == 202:
        return ExecutionResult(ExecutionOutcome.ACCEPTED, "accepted, the result comes later", status, text)
    if status in (502, 504):
        return ExecutionResult(ExecutionOutcome.UNKNOWN, f"a gateway before the executor answered {status}", status)
    wait = headers.get("Retry-After", "")
    if status == 503 and wait.isascii() and wait.isdigit():
        seconds = min(RETRY_AFTER_MAX_SECONDS, float(wait))
        return ExecutionResult(ExecutionOutcome.NOT_SENT, "the executor is busy", status, text, seconds)
    succeeded = 200 <= status < 300
    if not succeeded and status != 409:
        return ExecutionResult(ExecutionOutcome.FAILED, f"the executor answered {status}", status, text)
    data = _json(raw, headers)
    if isinstance(data, str):
        return ExecutionResult(ExecutionOutcome.UNKNOWN, f"the executor answered {status}, and {data}", status, text)
    code, output = data.get("exit_code"), data.get("output")
    text = _clean(output) if isinstance(output, str) else text
    if code is None:
        return _without_exit_code(status, data, text)
    if not isinstance(code, int) or isinstance(code, bool):
        return ExecutionResult(ExecutionOutcome.UNKNOWN, "the executor's exit code is not a number", status, text)
    before = "it had run before: " if status == 409 else ""
    if code:
        return ExecutionResult(ExecutionOutcome.FAILED, f"{before}exit code {code}", status, text)
    return ExecutionResult(ExecutionOutcome.EXECUTED, f"{before}the executor answered {status}", status, text)


def _without_exit_code(status: int, data: Mapping[str, Any], text: str) -> ExecutionResult:
    if status != 409:
        return ExecutionResult(ExecutionOutcome.EXECUTED, f"the executor answered {status}", status, text)
    error = data.get("error")
    if isinstance(error, dict) and error.get("code") == BEGUN_BEFORE:
        why = "the executor began it before and does not know how it ended"
        return ExecutionResult(ExecutionOutcome.UNKNOWN, why, status)
    return ExecutionResult(ExecutionOutcome.FAILED, "the executor answered 409", status, text)


def _json(raw: bytes, headers: Mapping[str, str]) -> Mapping[str, Any] | str:
    """The object that the answer is; empty where it is none; what is wrong where it says JSON and cannot be read."""
    says_json = "json" in headers.get("Content-Type", "").lower()
    if says_json and len(raw) > ANSWER_BYTES:
        return "with more than 64 kB, so its exit code is not known"
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return "with JSON that cannot be read, so its exit code is not known" if says_json and raw.strip() else {}
    return data if isinstance(data, dict) else {}


def _forbidden(error: BaseException) -> str | None:
    """What the resolver refused, where that is why there is no connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddress):
            return str(cause)
        cause = cause.__cause__
    return None


def _plain(error: Exception, seconds: float) -> str:
    """The error in one line, without what it may carry of a request."""
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.3g} s"
    # A wrong certificate has an address and no os_error.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"cannot connect: {error.certificate_error}"[:300]
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"[:300]
    return f"{type(error).__name__} while talking to the executor"


def _clean(text: str) -> str:
    kept = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return kept[:OUTPUT_CHARACTERS]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
