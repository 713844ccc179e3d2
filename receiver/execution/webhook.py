"""The webhook executes: one request to one configured address, and an honest word on what became of it.

What an answer means stands in `receiver/execution/answers.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
from yarl import URL

from receiver.execution import answers, rendering
from receiver.execution.addresses import ForbiddenAddress, GuardedResolver, forbidden_target
from receiver.execution.answers import ANSWER_BYTES
from receiver.execution.credentials import hidden, sign_in
from receiver.execution.reasons import result
from receiver.papers import ExecutionOutcome, ExecutionResult, ExecutorTarget, Order, RenderedRequest, Words, words

CONCURRENCY = 8  # requests to executors at once; each executor has a limit of its own beside it
USER_AGENT = "Counterfoil"
_Judge = Callable[[int, Mapping[str, str], bytes], ExecutionResult]


class Webhooks:
    """The executors of one tenant. `clock` gives aware UTC time."""

    def __init__(self, targets: Mapping[str, ExecutorTarget], clock: Callable[[], datetime]) -> None:
        self._targets = dict(targets)
        self._clock = clock
        self._all = asyncio.Semaphore(CONCURRENCY)
        self._places = {name: asyncio.Semaphore(target.concurrency) for name, target in self._targets.items()}

    def render(self, order: Order) -> RenderedRequest:
        """The exact request. Raises KeyError on an executor that is not configured, Unrenderable."""
        return rendering.render(self._targets[order.executor], order)

    async def send(
        self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: str | None = None
    ) -> ExecutionResult:
        """One attempt. NOT_SENT where it is certain that no byte left; UNKNOWN where bytes left and no answer came.

        proof: that the request was authorized, for an executor that demands it.
        """
        target = self._same(request)
        if target is None:
            # What was authorized names an address; another configuration does not change what was agreed.
            return result(ExecutionOutcome.FAILED, words("run other executor", executor=request.executor))
        forbidden = forbidden_target(request.address, private=target.private)
        if forbidden is not None:
            return result(ExecutionOutcome.FAILED, words("run forbidden", why=forbidden))
        body = rendering.with_proof(request, proof) if proof is not None else request.body
        headers = {"Content-Type": rendering.JSON_TYPE, "User-Agent": USER_AGENT, **request.headers}

        def judge(status: int, answered: Mapping[str, str], raw: bytes) -> ExecutionResult:
            return answers.judge(status, answered, raw, request.result)

        call = _Call(request.method, request.address, body, headers, self._hiding(judge))
        return await self._called(target, call, webhook_id, deadline)

    async def poll(
        self, request: RenderedRequest, address: str, *, webhook_id: str, deadline: datetime
    ) -> ExecutionResult:
        """Ask once what became of a request that was taken; ACCEPTED where that is not known yet."""
        target = self._targets.get(request.executor)
        fixed = str(request.result.get("url", [""])[0])
        origin = target.learning.url.origin if target is not None and target.learning.url is not None else None
        if target is None or origin is None or not (_at(origin, address) and _at(origin, fixed)):
            # The secret of an executor goes where the configuration says, also after it was changed.
            return result(ExecutionOutcome.UNKNOWN, words("run other poll", executor=request.executor))
        forbidden = forbidden_target(address, private=target.private)
        if forbidden is not None:
            return result(ExecutionOutcome.UNKNOWN, words("run forbidden", why=forbidden))

        def judge(status: int, answered: Mapping[str, str], raw: bytes) -> ExecutionResult:
            return answers.judge_poll(status, answered, raw, request.result)

        call = _Call("GET", address, "", {"User-Agent": USER_AGENT, "Accept": rendering.JSON_TYPE}, self._hiding(judge))
        told = await self._called(target, call, webhook_id, deadline)
        if told.http_status is None:
            # A question may be repeated: only its own deadline ends it.
            return ExecutionResult(ExecutionOutcome.ACCEPTED, f"asked for its result: {told.detail}"[:500])
        return told

    def _hiding(self, judge: _Judge) -> _Judge:
        """`judge`, which hears no secret: some executors answer with what they were sent, or know."""

        def hides(status: int, answered: Mapping[str, str], raw: bytes) -> ExecutionResult:
            for target in self._targets.values():
                raw = hidden(target.signing, raw)
            return judge(status, answered, raw)

        return hides

    def _same(self, request: RenderedRequest) -> ExecutorTarget | None:
        """The target, if it still is what the request was rendered for."""
        target = self._targets.get(request.executor)
        if target is None or target.settings != request.settings:
            return None
        if target.address is None or target.request is None:
            return target if target.url == request.address else None
        return target if _at(target.address.origin, request.address) else None

    async def _called(
        self, target: ExecutorTarget, call: _Call, webhook_id: str, deadline: datetime
    ) -> ExecutionResult:
        places = (self._places[target.name], self._all)
        try:
            async with asyncio.timeout(self._left(deadline)):
                await _take(places)
        except TimeoutError:
            return ExecutionResult(ExecutionOutcome.NOT_SENT, "the deadline is over")
        try:
            # Only now: the wait for a place is no part of the executor's time, and the signature must be fresh.
            seconds = min(target.timeout_seconds, self._left(deadline))
            if seconds <= 0:
                return ExecutionResult(ExecutionOutcome.NOT_SENT, "the deadline is over")
            call.headers |= sign_in(target.signing, webhook_id, self._clock(), call.body)
            return await _attempt(call, target, seconds)
        except ValueError as error:
            return result(ExecutionOutcome.FAILED, words("run fault", executor=target.name, error=str(error)[:400]))
        finally:
            for place in places:
                place.release()

    def _left(self, deadline: datetime) -> float:
        return max(0.0, (deadline - self._clock()).total_seconds())


@dataclass(slots=True)
class _Call:
    """One request on its way, and who says what its answer means."""

    method: str
    address: str
    body: str
    headers: dict[str, str]
    judge: _Judge


async def _take(places: tuple[asyncio.Semaphore, asyncio.Semaphore]) -> None:
    """Both places, the executor's own first: whoever waits for a busy executor holds no place of others."""
    own, shared = places
    await own.acquire()
    try:
        await shared.acquire()
    except asyncio.CancelledError:
        own.release()
        raise


def _at(origin: str, address: str) -> bool:
    """Whether `address` is at `origin`, written as it is."""
    return address == origin or address.startswith((f"{origin}/", f"{origin}?"))


async def _attempt(call: _Call, target: ExecutorTarget, seconds: float) -> ExecutionResult:
    left = asyncio.Event()  # set before the first byte of the request may leave this machine
    trace = aiohttp.TraceConfig()

    async def writing(*_: Any) -> None:
        left.set()

    trace.on_request_headers_sent.append(writing)
    trace.on_request_chunk_sent.append(writing)
    resolver = GuardedResolver(private=target.private)
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector, trace_configs=[trace], auto_decompress=False) as session,
            session.request(
                call.method,
                URL(call.address, encoded=True),  # as it was authorized: nothing is decoded and encoded again
                data=call.body.encode() if call.body else None,
                headers=call.headers,
                ssl=target.tls if target.tls is not None else True,
                allow_redirects=False,
            ) as answer,
        ):
            return call.judge(answer.status, answer.headers, await _bounded(answer))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        if left.is_set():
            return result(ExecutionOutcome.UNKNOWN, _plain(error, seconds))
        forbidden = _forbidden(error)
        if forbidden is not None:
            return result(ExecutionOutcome.FAILED, words("run forbidden", why=forbidden))
        return result(ExecutionOutcome.NOT_SENT, _plain(error, seconds))


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The answer's body, and where it is larger, one byte more than the limit."""
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(16_384):
        raw += chunk
        if len(raw) > ANSWER_BYTES:
            break
    return bytes(raw[: ANSWER_BYTES + 1])


def _forbidden(error: BaseException) -> str | None:
    """What the resolver refused, where that is why there is no connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddress):
            return str(cause)
        cause = cause.__cause__
    return None


def _plain(error: Exception, seconds: float) -> Words:
    """The error in one line, without what it may carry of a request."""
    if isinstance(error, TimeoutError):
        return words("run no answer", seconds=f"{seconds:.3g}")
    # A wrong certificate has an address and no os_error.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return words("run no connection", error=str(error.certificate_error)[:280])
    if isinstance(error, aiohttp.ClientConnectorError):
        return words("run no connection", error=(error.os_error.strerror or type(error.os_error).__name__)[:280])
    return words("run broken", error=type(error).__name__)
