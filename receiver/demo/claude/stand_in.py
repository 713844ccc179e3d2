"""ClaudeStandIn: the listener, the requests it saw, and its faults."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .answers import TOOL_CHANGES, error, message_for, reply
from .caching import Cache
from .rules import refusal_of

DEPRECATED = "claude-old-1"  # the one model that the stand-in says is about to retire
ENORMOUS_BYTES = 24_000_000
# kind → status, error type, message, and the "error_code" of `details` where there is one
ERRORS: Mapping[str, tuple[int, str, str, str | None]] = {
    "rate_limited": (429, "rate_limit_error", "This request would exceed your rate limit", None),
    "spend_limit": (429, "rate_limit_error", "You have reached your API usage limits", "enforced_spend_limit_reached"),
    "billing": (402, "billing_error", "Your credit balance is too low", None),
    "overloaded": (529, "overloaded_error", "Overloaded", None),
    "server_error": (500, "api_error", "Internal server error", None),
    "forbidden": (403, "permission_error", "Your key may not use this model", None),
}
SAID = "said"  # the answer is the text of the fault, as it is
REPLIES = frozenset({"html", "truncated_json", "enormous", "drip", "hang", "drop"})
CHANGES = frozenset(TOOL_CHANGES) | frozenset(
    [
        "refusal",
        "max_tokens",
        "pause_turn",
        "context_exceeded",
        "thinking_first",
        "unknown_blocks",
        "only_unknown",
        "null_usage",
        "no_usage",
        "wrong_numbers",
        "unknown_refs",
        "no_citations",
        "hostile_text",
        "prose",
        "bad_confidence",
        "huge_text",
        "half_answer",
    ]
)


@dataclass(slots=True)
class Fault:
    """What happens to one request that is in order. `met` is set when a request has run into it.

    kind: a key of ERRORS, or a word of REPLIES (the wire) or CHANGES (the answer).
    seconds: between the bytes of a "drip"; its first bytes are white space, so that a client never has to wait long
      for the next one. `release` ends a "drip" and a "hang".
    """

    kind: str
    retry_after: str | None = None
    seconds: float = 0.05
    text: str = ""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    met: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if self.kind not in ERRORS and self.kind not in REPLIES | CHANGES | {SAID}:
            raise ValueError(f"no such fault: {self.kind}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its headers by lower-case name, its body (empty where it is no JSON object), why it was refused."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]
    refused: str | None


class ClaudeStandIn:
    """`api_key`: the only key that is taken; None takes every key, but not the lack of one."""

    def __init__(self, *, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.url = ""
        self.requests: list[Call] = []
        self.faults: deque[Fault] = deque()
        self._cache = Cache()
        self._running: list[Fault] = []
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL for the SDK."""
        app = web.Application(client_max_size=32 * 2**20)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models/{model}", self._model)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """End every hang and drip, and stop listening."""
        for fault in self._running:
            fault.release.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def next(self, kind: str, *, retry_after: str | None = None, seconds: float = 0.05) -> Fault:
        """Script one more fault, after those that wait already."""
        fault = Fault(kind, retry_after, seconds)
        self.faults.append(fault)
        return fault

    def say(self, text: str) -> Fault:
        """Script an answer, word for word: what a model says that has been taken over."""
        fault = Fault(SAID, text=text)
        self.faults.append(fault)
        return fault

    def script(self, kinds: Sequence[str]) -> list[Fault]:
        """Script several faults, one for each of the requests that come next."""
        return [self.next(kind) for kind in kinds]

    async def _model(self, request: web.Request) -> web.StreamResponse:
        """One model of the vendor's list; looking it up asks nothing of it, and is not among `requests`."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        key, model = request.headers.get("x-api-key") or bearer, request.match_info["model"]
        if not key or (self.api_key is not None and key != self.api_key):
            return error("req_model", 401, "authentication_error", "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            return error("req_model", 400, "invalid_request_error", "anthropic-version: header is required")
        if not model.startswith("claude-"):
            return error("req_model", 404, "not_found_error", f"model: {model}")
        lifecycle = "deprecated" if model == DEPRECATED else "active"
        described = {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}
        retires = "2027-01-01T00:00:00Z" if model == DEPRECATED else None
        return reply("req_model", {**described, "lifecycle": lifecycle, "retires_at": retires})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        number = f"req_{len(self.requests) + 1:04d}"
        try:
            body = json.loads(await request.read())
        except ValueError:
            body = None
        status, refused = refusal_of(headers, body, self.api_key)
        self.requests.append(Call(headers, body if isinstance(body, dict) else {}, refused))
        if refused is not None:
            kind = "authentication_error" if status == 401 else "invalid_request_error"
            return error(number, status, kind, refused)
        if not self.faults:
            return reply(number, self._message(body, None))
        fault = self.faults[0]
        if fault.kind != "tool_loop" or fault.release.is_set():  # which goes on until it is released
            self.faults.popleft()
        fault.met.set()
        if fault.kind in ERRORS:
            status, kind, text, code = ERRORS[fault.kind]
            return error(number, status, kind, text, code, fault.retry_after)
        if fault.kind == SAID:
            message = self._message(body, None)
            message["content"] = [{"type": "text", "text": fault.text}]
            return reply(number, message)
        if fault.kind in CHANGES:
            return reply(number, self._message(body, fault.kind))
        self._running.append(fault)
        return await self._break(request, number, fault, json.dumps(message_for(body, None)))

    def _message(self, body: Mapping[str, Any], change: str | None) -> dict[str, Any]:
        message = message_for(body, change)
        if isinstance(message.get("usage"), dict):
            message["usage"] |= self._cache.used(body)
        return message

    async def _break(self, request: web.Request, number: str, fault: Fault, text: str) -> web.StreamResponse:
        if fault.kind == "html":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        if fault.kind == "truncated_json":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if fault.kind == "hang":
            await fault.release.wait()
        if fault.kind in ("drop", "hang"):
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        stream = web.StreamResponse(headers={"content-type": "application/json", "request-id": number})
        await stream.prepare(request)
        if fault.kind == "enormous":
            for _ in range(ENORMOUS_BYTES // 65_536):
                await stream.write(b" " * 65_536)
        while fault.kind == "drip" and not fault.release.is_set():
            await stream.write(b" ")
            await pause(fault)
        await stream.write(text.encode())
        return stream


async def pause(fault: Fault) -> None:
    """Until `release`, and at most `seconds`."""
    try:
        await asyncio.wait_for(fault.release.wait(), fault.seconds)
    except TimeoutError:
        return
