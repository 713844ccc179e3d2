"""The webhook executes: one signed request to one configured address, and an honest word on what became of it."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from receiver.execution.signature import signed_headers
from receiver.papers import ExecutionOutcome, ExecutionResult, ExecutorTarget, Order, RenderedRequest

ANSWER_BYTES = 65_536
OUTPUT_CHARACTERS = 2_000
CONCURRENCY = 8  # requests to executors at once
REFUSED_NETWORKS = tuple(ipaddress.ip_network(n) for n in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "0.0.0.0/8"))


class ForbiddenAddress(OSError):
    """The name resolves to a link-local or metadata address, which no executor has."""


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
        seconds = min(target.timeout_seconds, (deadline - self._clock()).total_seconds())
        if seconds <= 0:
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "the deadline is over")
        secrets = [target.secret, *([target.previous_secret] if target.previous_secret else [])]
        headers = signed_headers(secrets, webhook_id, self._clock(), request.body)
        headers |= {"Content-Type": "application/json", "User-Agent": "Counterfoil"}
        async with self._places:
            return await _attempt(request, headers, seconds)


async def _attempt(request: RenderedRequest, headers: Mapping[str, str], seconds: float) -> ExecutionResult:
    left = asyncio.Event()  # set once a byte of the request may have left this machine
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
            return _judge(answer.status, answer.headers, await answer.content.read(ANSWER_BYTES))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        detail = _plain(error, seconds)
        outcome = ExecutionOutcome.UNKNOWN if left.is_set() else ExecutionOutcome.NOT_SENT
        return ExecutionResult(outcome, detail)


def _judge(status: int, headers: Mapping[str, str], raw: bytes) -> ExecutionResult:
    """What an answer means. 503 with Retry-After says "not taken"; every other definite answer is a result."""
    text = _clean(raw.decode("utf-8", "replace"))
    if status == 202:
        return ExecutionResult(ExecutionOutcome.ACCEPTED, "accepted, the result comes later", status, text)
    if status == 503 and headers.get("Retry-After", "").isdigit():
        wait = min(60.0, float(headers["Retry-After"]))
        return ExecutionResult(ExecutionOutcome.NOT_SENT, "the executor is busy", status, text, wait)
    if status == 409 and b"begun_before" in raw:
        return ExecutionResult(ExecutionOutcome.UNKNOWN, "the executor began it and does not know how it ended", status)
    if not 200 <= status < 300:
        return ExecutionResult(ExecutionOutcome.FAILED, f"the executor answered {status}", status, text)
    code, output = _exit_code(raw)
    text = text if output is None else _clean(output)
    if code:
        return ExecutionResult(ExecutionOutcome.FAILED, f"exit code {code}", status, text)
    return ExecutionResult(ExecutionOutcome.EXECUTED, f"the executor answered {status}", status, text)


def _exit_code(raw: bytes) -> tuple[int, str | None]:
    """The exit code and output of an answer of `executor serve`; 0 and None for any other body."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return 0, None
    if not isinstance(data, dict):
        return 0, None
    code, output = data.get("exit_code"), data.get("output")
    number = code if isinstance(code, int) and not isinstance(code, bool) else 0
    return number, (output if isinstance(output, str) else None)


class GuardedResolver(AbstractResolver):
    """Resolves a name once, and refuses addresses that no executor has. What it returns is what is connected to."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if is_forbidden(result["host"]):
                raise ForbiddenAddress(f"{host} is {result['host']}, a link-local or metadata address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def is_forbidden(address: str) -> bool:
    """Whether an IP address is link-local, a metadata service's, or no address of a host."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    return any(parsed.version == network.version and parsed in network for network in REFUSED_NETWORKS)


def forbidden_target(url: str) -> str | None:
    """Why `url` may not be an executor's address, where that can be told without asking the network; else None."""
    host = urlsplit(url).hostname or ""
    return f"{host} is a link-local or metadata address" if is_forbidden(host) else None


def _plain(error: Exception, seconds: float) -> str:
    """The error in one line, without what it may carry of a request."""
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.0f} s"
    if isinstance(error, ForbiddenAddress):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return f"{type(error).__name__} while talking to the executor"


def _clean(text: str) -> str:
    kept = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return kept[:OUTPUT_CHARACTERS]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
