"""The phone in the browser: one page, its state over server-sent events, and what the person does as small posts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .shapes import Message

if TYPE_CHECKING:
    from .handset import Phone
    from .network import PhoneNetwork

_KEEP_ALIVE_SECONDS = 15.0
_SHOWN = 200  # messages a phone; the stand-in keeps all of them
_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "page.svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:*",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    def __init__(self, network: PhoneNetwork) -> None:
        self._network = network

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self._file)
        app.router.add_get("/{name:page\\.(?:css|js|svg)}", self._file)
        app.router.add_get("/events", self._events)
        app.router.add_post("/phones/{who}/{deed:say|tap|read}", self._act)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "page.html")
        text = resources.files(__package__).joinpath(name).read_text("utf-8")
        return web.Response(text=text, content_type=_TYPES[name], charset="utf-8", headers=_HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The whole state after each change: small enough, and a reader that reconnects has missed nothing."""
        headers = {**_HEADERS, "Content-Type": "text/event-stream"}
        stream = web.StreamResponse(headers=headers)
        await stream.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            while not self._network.stopping:
                news = asyncio.ensure_future(self._network.news())
                try:
                    await stream.write(f"data: {json.dumps(self._state(), ensure_ascii=False)}\n\n".encode())
                    while not (await asyncio.wait([news], timeout=_KEEP_ALIVE_SECONDS))[0]:
                        await stream.write(b": still here\n\n")
                finally:
                    news.cancel()
        return stream

    async def _act(self, request: web.Request) -> web.Response:
        # Only JSON, which another site's page cannot post here without asking first.
        if request.content_type != "application/json":
            return web.json_response({"error": "send JSON"}, status=415)
        try:
            data = json.loads(await request.read())
            phone = self._network.phone(request.match_info["who"])
            status = await self._do(phone, request.match_info["deed"], data)
        except (ValueError, LookupError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"status": status})

    async def _do(self, phone: Phone, deed: str, data: Any) -> int | None:
        if not isinstance(data, dict):
            raise TypeError("send an object")
        if deed == "read":
            phone.read()
            return None
        text = data.get("text")
        if not isinstance(text, str) or not text.strip() or len(text) > 4096:
            raise ValueError("a text has 1 to 4096 characters")
        if deed == "say":
            return await phone.say(text)
        sid = data.get("sid")
        original = self._network.messages.get(sid) if isinstance(sid, str) else None
        if original is None or original.recipient != phone.address:
            raise LookupError("no such message on this phone")
        return await phone.tap(text, original)

    def _state(self) -> dict[str, Any]:
        return {
            "service": self._network.sender.removeprefix("whatsapp:"),
            "phones": [
                {
                    "name": phone.name,
                    "address": phone.address,
                    "number": phone.address.removeprefix("whatsapp:"),
                    "messages": [_shown(message) for message in phone.conversation[-_SHOWN:]],
                }
                for phone in self._network.phones
            ],
        }


def _shown(message: Message) -> dict[str, Any]:
    return {
        "sid": message.sid,
        "mine": message.inbound,
        "body": message.body,
        "status": message.status,
        "error": message.error_code,
        "at": message.at.isoformat(),
        "buttons": [button.title for button in message.buttons],
        "reply_to": message.reply_to,
    }
