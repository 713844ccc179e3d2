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
    from collections.abc import Awaitable, Callable, Mapping

    from .calls import Call
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
        app.router.add_post("/phones/{who}/{deed}", self._act)
        app.router.add_post("/network", self._set_network)

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
        if deed in _DEEDS:
            await _DEEDS[deed](phone, data)
            return None
        if deed not in ("say", "tap"):
            raise LookupError(f"a phone cannot {deed}")
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

    async def _set_network(self, request: web.Request) -> web.Response:
        """What the network does to every webhook: late, twice, or as it should."""
        if request.content_type != "application/json":
            return web.json_response({"error": "send JSON"}, status=415)
        try:
            data = json.loads(await request.read())
            late, twice = float(data["late"]), data["twice"]
            if not 0 <= late <= 60 or not isinstance(twice, bool):
                raise ValueError("late is 0 to 60 seconds, and twice true or false")
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._network.faults.delay_seconds, self._network.faults.duplicate_webhooks = late, twice
        self._network.touch()
        return web.json_response({"status": None})

    def _state(self) -> dict[str, Any]:
        return {
            "service": self._network.sender.removeprefix("whatsapp:"),
            "late": self._network.faults.delay_seconds,
            "twice": self._network.faults.duplicate_webhooks,
            "phones": [
                {
                    "name": phone.name,
                    "address": phone.address,
                    "number": phone.address.removeprefix("whatsapp:"),
                    "online": phone.online,
                    "identity": phone.external_id.rpartition(".")[2][:6],
                    "refuses": self._network.faults.undeliverable.get(phone.address),
                    "call": _call(phone.calls[-1]) if phone.calls else None,
                    "messages": [
                        _shown(message) for message in phone.conversation[-_SHOWN:] if message.sid not in phone.waiting
                    ],
                }
                for phone in self._network.phones
            ],
        }


async def _read(phone: Phone, data: Any) -> None:
    phone.read()


async def _signal(phone: Phone, data: Any) -> None:
    if data.get("on") is True:
        await phone.find_signal()
    else:
        phone.lose_signal()


async def _new_sim(phone: Phone, data: Any) -> None:
    phone.change_sim()


async def _refuse(phone: Phone, data: Any) -> None:
    code = data.get("code")
    if code is not None and not (isinstance(code, int) and 10_000 <= code <= 99_999):
        raise ValueError("a code of the carrier has five digits")
    phone.refuse(code)


def _last_call(phone: Phone) -> Call:
    if not phone.calls:
        raise LookupError("nobody calls")
    return phone.calls[-1]


async def _answer(phone: Phone, data: Any) -> None:
    await _last_call(phone).answer("machine_start" if data.get("machine") is True else "human")


async def _decline(phone: Phone, data: Any) -> None:
    await _last_call(phone).decline()


async def _press(phone: Phone, data: Any) -> None:
    await _last_call(phone).press(str(data.get("keys", "")))


async def _silence(phone: Phone, data: Any) -> None:
    await _last_call(phone).wait_in_silence()


async def _hang_up(phone: Phone, data: Any) -> None:
    await _last_call(phone).end()


_DEEDS: Mapping[str, Callable[[Phone, Any], Awaitable[None]]] = {
    "read": _read,
    "signal": _signal,
    "sim": _new_sim,
    "refuse": _refuse,
    "answer": _answer,
    "decline": _decline,
    "press": _press,
    "silence": _silence,
    "hang-up": _hang_up,
}


def _call(call: Call) -> dict[str, Any]:
    return {
        "sid": call.sid,
        "from": call.caller,
        "status": call.status,
        "rings": call.rings,
        "talks": call.talks,
        "said": call.said,
        "keys": call.wants.digits if call.wants else 0,
        "pressed": call.pressed,
        "error": call.error,
        "at": call.at.isoformat(),
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
        "sms": not message.inbound and not message.recipient.startswith("whatsapp:"),
    }
