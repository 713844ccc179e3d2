"""POST /executions/{id}: the result of an action that answered 202, believed only from its own executor."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ledger.journal import Conflict, LedgerError
from receiver.execution.signature import ID_HEADER, refusal

log = logging.getLogger(__name__)

BODY_BYTES = 65_536
BODY_SECONDS = 10.0  # whoever is slower may come again; a place is not held for long by one who has shown no signature
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class ExecutionBook(Protocol):
    """One tenant's executions, as the governor knows them."""

    async def executor_of(self, webhook_id: str) -> str | None:
        """The executor that the DISPATCHED with this webhook-id names, or None."""

    async def settle(self, webhook_id: str, succeeded: bool, detail: str, output: str) -> bool:
        """Post the result; False where the execution was settled already."""


class Results:
    """The handler. books: one for each tenant. secrets: (tenant, executor) → its current and previous secrets."""

    def __init__(
        self,
        books: Callable[[], Sequence[tuple[str, ExecutionBook]]],
        secrets: Callable[[str, str], Sequence[str]],
        count: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._books = books
        self._secrets = secrets
        self._count = count

    async def result(self, request: web.Request) -> web.Response:
        """200 once it is booked, or was before; 401, 404, 400, 408, 413; 503 when it cannot be booked."""
        webhook_id = request.match_info["id"]
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _bounded(request)
        except TimeoutError:
            return self._answer(408, "too_slow", f"a result is sent within {BODY_SECONDS:g} s")
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            return self._answer(400, "malformed", "the body cannot be read to its end")
        if len(body) > BODY_BYTES:
            return self._answer(413, "too_large", "a result has at most 64 kB")
        if not _ID.fullmatch(webhook_id):
            return self._answer(404, "unknown", "no such execution")
        try:
            found = await self._find(webhook_id)
            if found is None:
                return self._answer(404, "unknown", "no such execution")
            tenant, book, executor = found
            headers = {name.lower(): value for name, value in request.headers.items()}
            why = refusal(self._secrets(tenant, executor), body, headers)
            if why is not None or headers.get(ID_HEADER) != webhook_id:
                return self._answer(401, "unauthorized", why or "the webhook-id is another execution's")
            parsed = _read(body)
            if isinstance(parsed, str):
                return self._answer(400, "malformed", parsed)
            succeeded, output = parsed
            detail = "the executor reports success" if succeeded else "the executor reports failure"
            fresh = await book.settle(webhook_id, succeeded, detail, output)
        except Conflict:
            # The same late result was noted before with other words. The first one stands; nothing would change.
            return self._answer(200, "duplicate", "")
        except LedgerError as error:
            # The reason is for our log: whoever asks may not have signed anything yet.
            log.error("a result could not be booked: %s", error)
            return self._answer(503, "unavailable", "it cannot be booked now; send it again")
        return self._answer(200, "accepted" if fresh else "duplicate", "")

    async def _find(self, webhook_id: str) -> tuple[str, ExecutionBook, str] | None:
        for tenant, book in self._books():
            executor = await book.executor_of(webhook_id)
            if executor is not None:
                return tenant, book, executor
        return None

    def _answer(self, status: int, code: str, message: str) -> web.Response:
        self._count(code)
        if status == 200:
            return web.json_response({"status": code})
        return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def _bounded(request: web.Request) -> bytes:
    """The body, and where it is larger, one byte more than the limit."""
    body = bytearray()
    while len(body) <= BODY_BYTES and (more := await request.content.read(BODY_BYTES + 1 - len(body))):
        body += more
    return bytes(body)


def _read(body: bytes) -> tuple[bool, str] | str:
    """Whether it succeeded, and its output; or what is wrong with the body."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(data, dict) or data.get("status") not in ("succeeded", "failed"):
        return 'the body is {"status": "succeeded" or "failed", "output": "…"}'
    output = data.get("output", "")
    if not isinstance(output, str):
        return "output is not text"
    return data["status"] == "succeeded", "".join(c if c.isprintable() or c == "\n" else " " for c in output)[:2000]
