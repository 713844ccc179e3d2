"""The HTTP side of the stand-in: Twilio's Messages and Content APIs, strict, and the page beside them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from . import calls, rules
from .account import NOT_FOUND, Account, numbers_of, page_of, refuse
from .page import Page
from .shapes import Button, Exchange, Message, Refusal, Template, message_json, new_sid, template_json

if TYPE_CHECKING:
    from .network import Fault, PhoneNetwork

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIST_PARAMETERS = {"To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken"}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FORM = "application/x-www-form-urlencoded"


def make_app(network: PhoneNetwork) -> web.Application:
    api = Api(network)
    app = web.Application(middlewares=[api.guard], client_max_size=1_000_000)
    messages = "/2010-04-01/Accounts/{account}/Messages"
    app.router.add_post(f"{messages}.json", api.create_message)
    app.router.add_get(f"{messages}.json", api.list_messages)
    app.router.add_get(f"{messages}/{{sid}}.json", api.fetch_message)
    voice = "/2010-04-01/Accounts/{account}/Calls"
    app.router.add_post(f"{voice}.json", api.create_call)
    app.router.add_get(f"{voice}/{{sid}}.json", api.fetch_call)
    app.router.add_post("/v1/Content", api.create_content)
    app.router.add_get("/v1/Content", api.list_content)
    app.router.add_get("/v1/Content/{sid}", api.fetch_content)
    app.router.add_delete("/v1/Content/{sid}", api.delete_content)
    Account(network).add_routes(app)
    Page(network).add_routes(app)
    return app


@dataclass(frozen=True, slots=True)
class Api:
    network: PhoneNetwork

    @property
    def guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            """Basic authentication for the API, errors in Twilio's shape, and a record of each exchange."""
            if not request.path.startswith(("/2010-04-01/", "/v1/", "/v2/")):
                return await handler(request)
            body = await request.read()
            answer = await self._answer(request, handler)
            text = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
            self.network.exchanges.append(
                Exchange(request.method, request.path, request.content_type, body, answer.status, text)
            )
            return answer

        return guard

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_authorized(request.headers.get("Authorization", "")):
            return refuse(Refusal(401, 20003, "Authenticate"))
        if request.match_info.get("account", self.network.account_sid) != self.network.account_sid:
            return refuse(NOT_FOUND)
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            return refuse(Refusal(405, 20004, "Method not allowed"))
        except web.HTTPNotFound:
            return refuse(NOT_FOUND)

    async def create_call(self, request: web.Request) -> web.StreamResponse:
        fault = self._fault()
        if fault is not None:
            interrupted = await self._interrupt(request, fault)
            if interrupted is not None:
                return interrupted
        pairs = await _form_of(request)
        fields = calls.check_call(pairs, self.network.caller) if not isinstance(pairs, Refusal) else pairs
        if isinstance(fields, Refusal):
            return refuse(fields)
        call = calls.new_call(self.network, fields)
        self.network.dial(call)
        return web.json_response(calls.call_json(call, self.network.account_sid), status=201)

    async def fetch_call(self, request: web.Request) -> web.Response:
        call = self.network.calls.get(request.match_info["sid"])
        return refuse(NOT_FOUND) if call is None else web.json_response(calls.call_json(call, self.network.account_sid))

    def _fault(self) -> Fault | None:
        """The fault that the next request runs into."""
        fault = self.network.faults.next_requests.popleft() if self.network.faults.next_requests else None
        if fault is not None:
            fault.met.set()
        return fault

    async def create_message(self, request: web.Request) -> web.StreamResponse:
        fault = self._fault()
        if fault is not None and fault.kind != "lost":
            interrupted = await self._interrupt(request, fault)
            if interrupted is not None:
                return interrupted
        pairs = await _form_of(request)
        taken = self._take(pairs) if not isinstance(pairs, Refusal) else pairs
        if isinstance(taken, Refusal):
            return refuse(taken)
        message, failure = taken
        self.network.accept(message, failure)
        if fault is not None and fault.kind == "lost" and request.transport is not None:
            request.transport.close()  # the message is on its way, and nobody will know its sid
        return web.json_response(message_json(message, self.network.account_sid), status=201)

    def _take(self, pairs: list[tuple[str, str]]) -> Refusal | tuple[Message, int | None]:
        """The message that a form asks for and the error it will end in, or why it is refused."""
        network = self.network
        if dict(pairs).get("From") == network.caller:
            return self._take_sms(pairs)
        fields = rules.check_form(pairs, network.sender)
        if isinstance(fields, Refusal):
            return fields
        recipient = fields["To"]
        if recipient in network.opted_out:
            return Refusal(400, 21610, "Attempt to send to unsubscribed recipient")
        template = network.templates.get(fields.get("ContentSid", ""))
        rendered = self._render(fields, template)
        if isinstance(rendered, Refusal):
            return rendered
        body, buttons = rendered
        in_session = network.in_session(recipient)
        failure = self._channel_error(recipient, template, in_session)
        if failure is not None and network.channel_errors == "answer":
            return failure
        message = Message(
            new_sid("SM" if template is None else "MM"),
            False,
            network.sender,
            recipient,
            body,
            "queued",
            network.clock(),
            buttons=buttons,
            content_sid=template.sid if template else None,
            status_callback=fields.get("StatusCallback"),
            in_session=in_session,
            fields=fields,
        )
        return message, failure.code if failure else None

    def _take_sms(self, pairs: list[tuple[str, str]]) -> Refusal | tuple[Message, int | None]:
        network = self.network
        fields = rules.check_sms(pairs)
        if isinstance(fields, Refusal):
            return fields
        known = any(phone.number == fields["To"] for phone in network.phones)
        callback = fields.get("StatusCallback")
        message = Message(
            *(new_sid("SM"), False, network.caller, fields["To"], fields["Body"], "queued", network.clock()),
            status_callback=callback,
            fields=fields,
        )
        return message, None if known else 30003

    def _render(self, fields: Mapping[str, str], template: Template | None) -> Refusal | tuple[str, tuple[Button, ...]]:
        if "ContentSid" not in fields:
            return fields["Body"], ()
        if template is None:
            return Refusal(400, 21655, "The ContentSid Parameter is invalid")
        values = rules.check_variables(fields.get("ContentVariables"), template)
        return values if isinstance(values, Refusal) else rules.render(template, values)

    def _channel_error(self, recipient: str, template: Template | None, in_session: bool) -> Refusal | None:
        network = self.network
        if not network.is_reachable(recipient):
            return Refusal(400, 63015, "The recipient has not joined the sandbox")
        if not in_session and (template is None or not (network.sandbox or template.approved)):
            return Refusal(400, 63016, "Outside the messaging window: use an approved template")
        return None

    async def _interrupt(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "error" and fault.refusal is not None:
            return refuse(fault.refusal)
        if fault.kind == "garbage":
            return web.Response(text="<html>bad gateway</html>", status=201, content_type="text/html")
        if fault.kind == "hang":
            await fault.release.wait()
            return None
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)

    async def list_messages(self, request: web.Request) -> web.StreamResponse:
        network, query = self.network, request.query
        if unknown := set(query) - LIST_PARAMETERS:
            return refuse(Refusal(400, 20001, f"Unknown parameters: {', '.join(sorted(unknown))}"))
        since = query.get("DateSent>", "")[:10]  # the day: the API knows no finer filter
        if since and not _DAY.fullmatch(since):
            return refuse(Refusal(400, 20001, "DateSent> is no date"))
        found = [
            message
            for message in reversed(network.messages.values())
            if query.get("To", message.recipient) == message.recipient
            and query.get("From", message.sender) == message.sender
            and f"{message.at:%Y-%m-%d}" >= since
        ]
        page, size = numbers_of(query)
        kept = {name: value for name, value in query.items() if name in ("To", "From", "DateSent>")}
        uri = f"{request.path}?{urlencode({**kept, 'PageSize': size})}"
        chosen = found[page * size : (page + 1) * size]
        more = f"{uri}&Page={page + 1}" if len(found) > (page + 1) * size else None
        envelope = {
            "end": page * size + max(len(chosen) - 1, 0),
            "first_page_uri": f"{uri}&Page=0",
            "next_page_uri": more,
            "page": page,
            "page_size": size,
            "previous_page_uri": f"{uri}&Page={page - 1}" if page else None,
            "start": page * size,
            "uri": f"{uri}&Page={page}",
        }
        records = [message_json(message, network.account_sid) for message in chosen]
        return web.json_response({**envelope, "messages": records})

    async def fetch_message(self, request: web.Request) -> web.Response:
        message = self.network.messages.get(request.match_info["sid"])
        if message is None:
            return refuse(NOT_FOUND)
        return web.json_response(message_json(message, self.network.account_sid))

    async def create_content(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return refuse(Refusal(415, 20422, "Content-Type must be application/json"))
        try:
            data = json.loads(await request.read())
        except ValueError:
            return refuse(Refusal(400, 20001, "The body is not JSON"))
        refusal = rules.check_content(data)
        if refusal is not None:
            return refuse(refusal)
        template = Template(
            new_sid("HX"),
            str(data.get("friendly_name", "")),
            data["language"],
            data.get("variables", {}),
            data["types"],
            self.network.clock(),
        )
        self.network.templates[template.sid] = template
        return web.json_response(template_json(template, self.network.account_sid, self.network.url), status=201)

    async def list_content(self, request: web.Request) -> web.Response:
        templates = [*self.network.templates.values()]

        def row(template: Template) -> dict[str, Any]:
            return template_json(template, self.network.account_sid, self.network.url)

        return page_of(request, templates, row, self.network.url, "contents")

    async def fetch_content(self, request: web.Request) -> web.Response:
        template = self.network.templates.get(request.match_info["sid"])
        if template is None:
            return refuse(NOT_FOUND)
        return web.json_response(template_json(template, self.network.account_sid, self.network.url))

    async def delete_content(self, request: web.Request) -> web.Response:
        if self.network.templates.pop(request.match_info["sid"], None) is None:
            return refuse(NOT_FOUND)
        return web.Response(status=204)

    def _is_authorized(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = f"{self.network.account_sid}:{self.network.auth_token}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, wanted)


async def _form_of(request: web.Request) -> list[tuple[str, str]] | Refusal:
    if request.content_type != _FORM:
        return Refusal(415, 20422, f"Content-Type must be {_FORM}")
    try:
        return parse_qsl((await request.read()).decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        return Refusal(400, 20001, "The form is not valid UTF-8")
