"""The account's side of the stand-in: itself, approvals of templates, messaging services and WhatsApp senders.

Approvals are checked against Twilio's OpenAPI of the Content API. Services and senders are written from the shapes that
Twilio documents (twilio.com/docs/messaging/api/service-resource, twilio.com/docs/whatsapp/api/senders).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from .shapes import Refusal, Template, rfc2822, rfc3339, template_json

if TYPE_CHECKING:
    from .network import PhoneNetwork

NOT_FOUND = Refusal(404, 20404, "The requested resource was not found")
_CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")
# https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/supported-languages
_LANGUAGES = frozenset(
    """
    af sq ar az bn bg ca zh_CN zh_HK zh_TW hr cs da nl en en_GB en_US et fil fi fr ka de el gu ha he hi hu id ga it ja
    kn kk rw_RW ko ky_KG lo lv lt mk ms ml mr nb fa pl pt_BR pt_PT pa ro ru sr sk sl es es_AR es_ES es_MX sw sv ta te th
    tr uk ur uz vi zu
    """.split()  # noqa: SIM905  # a list of 70 quoted words is harder to read
)
_SERVICE_FIELDS = frozenset(("InboundRequestUrl", "InboundMethod", "UseInboundWebhookOnNumber", "StatusCallback"))
_WEBHOOK_FIELDS = frozenset(f"{name}_{what}" for name in ("callback", "fallback") for what in ("url", "method"))


class Account:
    """The handlers. `network` holds what they change: templates, `service`, `webhook`."""

    def __init__(self, network: PhoneNetwork) -> None:
        self.network = network

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/2010-04-01/Accounts/{account}.json", self.fetch)
        app.router.add_post("/v1/Content/{sid}/ApprovalRequests/whatsapp", self.submit)
        app.router.add_get("/v1/Content/{sid}/ApprovalRequests", self.approval)
        app.router.add_get("/v1/ContentAndApprovals", self.approvals)
        app.router.add_get("/v1/Services/{sid}", self.service)
        app.router.add_post("/v1/Services/{sid}", self.update_service)
        app.router.add_get("/v2/Channels/Senders", self.senders)
        app.router.add_get("/v2/Channels/Senders/{sid}", self.sender)
        app.router.add_post("/v2/Channels/Senders/{sid}", self.update_sender)

    async def fetch(self, request: web.Request) -> web.Response:
        sid = self.network.account_sid
        at = rfc2822(self.network.clock())
        return web.json_response(
            {
                "auth_token": "",
                "date_created": at,
                "date_updated": at,
                "friendly_name": "stand-in",
                "owner_account_sid": sid,
                "sid": sid,
                "status": "active",
                "subresource_uris": {"messages": f"/2010-04-01/Accounts/{sid}/Messages.json"},
                "type": "Full",
                "uri": f"/2010-04-01/Accounts/{sid}.json",
            }
        )

    # --- approvals -------------------------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        template = self.network.templates.get(request.match_info["sid"])
        if template is None:
            return refuse(NOT_FOUND)
        given = await _json(request)
        if given is None or set(given) - {"name", "category"}:
            return refuse(Refusal(400, 20001, "An approval request is JSON of name and category"))
        refusal = self._not_submittable(template, given)
        if refusal is not None:
            return refuse(refusal)
        approval = {"name": given["name"], "category": given["category"], "status": "received", "rejection_reason": ""}
        submitted = replace(template, approval=approval)
        self.network.templates[template.sid] = submitted
        self.network.touch()
        return web.json_response(approval_json(submitted), status=201)

    def _not_submittable(self, template: Template, given: Mapping[str, Any]) -> Refusal | None:
        name, category = given.get("name"), given.get("category")
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]{1,512}", name):
            return Refusal(400, 20001, "name may have lower case letters, digits and underscores")
        if category not in _CATEGORIES:
            return Refusal(400, 20001, f"category is one of {', '.join(_CATEGORIES)}")
        if template.language not in _LANGUAGES:
            return Refusal(400, 20001, f"WhatsApp has no language {template.language}")
        if template.approval:
            return Refusal(400, 20001, "This content was submitted for approval before")
        for other in self.network.templates.values():
            if (other.approval.get("name"), other.language) == (name, template.language):
                return Refusal(400, 20001, f"There is a template {name} in {template.language} already")
        return None

    async def approval(self, request: web.Request) -> web.Response:
        template = self.network.templates.get(request.match_info["sid"])
        if template is None:
            return refuse(NOT_FOUND)
        url = f"{self.network.url}/v1/Content/{template.sid}/ApprovalRequests"
        whatsapp = {"type": "whatsapp", **approval_json(template)} if template.approval else {}
        answer = {"sid": template.sid, "account_sid": self.network.account_sid, "whatsapp": whatsapp, "url": url}
        return web.json_response(answer)

    async def approvals(self, request: web.Request) -> web.Response:
        def row(template: Template) -> dict[str, Any]:
            shown = template_json(template, self.network.account_sid, self.network.url)
            return {
                **{name: value for name, value in shown.items() if name not in ("url", "links")},
                "approval_requests": approval_json(template),
            }

        return page_of(request, [*self.network.templates.values()], row, self.network.url, "contents")

    # --- where inbound messages go -----------------------------------------------------------------------------------

    async def service(self, request: web.Request) -> web.Response:
        if request.match_info["sid"] != self.network.service_sid:
            return refuse(NOT_FOUND)
        return web.json_response(self._service())

    async def update_service(self, request: web.Request) -> web.Response:
        if request.match_info["sid"] != self.network.service_sid:
            return refuse(NOT_FOUND)
        if request.content_type != "application/x-www-form-urlencoded":
            return refuse(Refusal(415, 20422, "Content-Type must be application/x-www-form-urlencoded"))
        pairs = parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True)
        fields = dict(pairs)
        if len(fields) != len(pairs) or set(fields) - _SERVICE_FIELDS:
            return refuse(Refusal(400, 20001, "Unknown or repeated parameters"))
        url, method = fields.get("InboundRequestUrl"), fields.get("InboundMethod", "POST")
        if url is not None and not _is_url(url):
            return refuse(Refusal(400, 20001, "InboundRequestUrl is not a valid URL"))
        if method not in ("GET", "POST"):
            return refuse(Refusal(400, 20001, "InboundMethod is GET or POST"))
        on_number = fields.get("UseInboundWebhookOnNumber", "false").lower()
        if on_number not in ("true", "false"):
            return refuse(Refusal(400, 20001, "UseInboundWebhookOnNumber is true or false"))
        network = self.network
        network.webhook = (url if url is not None else network.webhook[0], method)
        network.use_webhook_on_number = on_number == "true"
        network.touch()
        return web.json_response(self._service())

    def _service(self) -> dict[str, Any]:
        network, sid = self.network, self.network.service_sid
        url = f"{network.url}/v1/Services/{sid}"
        return {
            "account_sid": network.account_sid,
            "sid": sid,
            "friendly_name": "Counterfoil",
            "inbound_request_url": network.webhook[0] or None,
            "inbound_method": network.webhook[1],
            "fallback_url": None,
            "fallback_method": "POST",
            "status_callback": None,
            "use_inbound_webhook_on_number": network.use_webhook_on_number,
            "validity_period": 36000,
            "date_created": rfc3339(network.clock()),
            "date_updated": rfc3339(network.clock()),
            "url": url,
            "links": {"channel_senders": f"{url}/ChannelSenders"},
        }

    async def senders(self, request: web.Request) -> web.Response:
        if request.query.get("Channel") not in ("whatsapp", "rcs"):
            return refuse(Refusal(400, 20001, "Channel is required: whatsapp or rcs"))
        # The sandbox's number is Twilio's own and no sender of the account.
        listed = [] if self.network.sandbox or request.query["Channel"] != "whatsapp" else [self.network.sender_sid]
        return page_of(request, listed, lambda sid: self._sender(), self.network.url, "senders")

    async def sender(self, request: web.Request) -> web.Response:
        if self.network.sandbox or request.match_info["sid"] != self.network.sender_sid:
            return refuse(NOT_FOUND)
        return web.json_response(self._sender())

    async def update_sender(self, request: web.Request) -> web.Response:
        if self.network.sandbox or request.match_info["sid"] != self.network.sender_sid:
            return refuse(NOT_FOUND)
        given = await _json(request)
        webhook = given.get("webhook") if given is not None else None
        if given is None or set(given) != {"webhook"} or not isinstance(webhook, dict):
            return refuse(Refusal(400, 20001, "This stand-in updates a sender's webhook alone, in JSON"))
        if set(webhook) - _WEBHOOK_FIELDS or not all(isinstance(value, str) for value in webhook.values()):
            return refuse(Refusal(400, 20001, "A webhook is an object of addresses and methods"))
        url, method = webhook.get("callback_url", self.network.webhook[0]), webhook.get("callback_method", "POST")
        if not _is_url(url) or method not in ("GET", "POST", "PUT"):
            return refuse(Refusal(400, 20001, "callback_url or callback_method is not valid"))
        self.network.webhook = (url, method)
        self.network.touch()
        return web.json_response(self._sender(), status=202)

    def _sender(self) -> dict[str, Any]:
        url, method = self.network.webhook
        webhook = {"callback_url": url or None, "callback_method": method, "fallback_url": None}
        return {
            "sid": self.network.sender_sid,
            "sender_id": self.network.sender,
            "status": self.network.sender_status,
            "configuration": {"waba_id": "10000000000000"},
            "webhook": {**webhook, "fallback_method": "POST", "status_callback_url": None},
            "profile": {"name": "Counterfoil"},
            "properties": {"quality_rating": "HIGH", "messaging_limit": "1K Customers/24hr"},
            "offline_reasons": None,
            "url": f"https://messaging.twilio.com/v2/Channels/Senders/{self.network.sender_sid}",
        }


def approval_json(template: Template) -> dict[str, Any]:
    """An approval request as Twilio writes it; one that was never submitted is "unsubmitted"."""
    approval = template.approval
    return {
        "name": approval.get("name", ""),
        "category": approval.get("category", ""),
        "content_type": next((name for name in template.types if name == "twilio/quick-reply"), "twilio/text"),
        "status": approval.get("status", "unsubmitted"),
        "rejection_reason": approval.get("rejection_reason", ""),
        "allow_category_change": True,
    }


def page_of(request: web.Request, rows: list[Any], show: Any, origin: str, key: str) -> web.Response:
    """One page of `rows`, in the envelope that Twilio's newer APIs have."""
    page, size = numbers_of(request.query)
    query = "".join(f"&{name}={value}" for name, value in request.query.items() if name == "Channel")
    url = f"{origin}{request.path}?PageSize={size}{query}"
    chosen = rows[page * size : (page + 1) * size]
    meta = {
        "page": page,
        "page_size": size,
        "first_page_url": f"{url}&Page=0",
        "previous_page_url": f"{url}&Page={page - 1}" if page else None,
        "url": f"{url}&Page={page}",
        "next_page_url": f"{url}&Page={page + 1}" if len(rows) > (page + 1) * size else None,
        "key": key,
    }
    return web.json_response({key: [show(row) for row in chosen], "meta": meta})


def numbers_of(query: Any) -> tuple[int, int]:
    """Page and PageSize of a list; what is no number of theirs is the default."""

    def number(name: str, default: int, low: int, high: int) -> int:
        text = query.get(name, "")
        return min(max(int(text), low), high) if text.isascii() and text.isdigit() and len(text) < 6 else default

    return number("Page", 0, 0, 99_999), number("PageSize", 50, 1, 1_000)


def refuse(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.to_json(), status=refusal.status)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


async def _json(request: web.Request) -> dict[str, Any] | None:
    if request.content_type != "application/json":
        return None
    try:
        given = json.loads(await request.read())
    except ValueError:
        return None
    return given if isinstance(given, dict) else None
