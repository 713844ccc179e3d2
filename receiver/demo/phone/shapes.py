"""What the stand-in of Twilio keeps, and how Twilio writes it down."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Button:
    title: str
    payload: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in either direction. `status` is Twilio's word; a changed message is a new value."""

    sid: str
    inbound: bool
    sender: str
    recipient: str
    body: str
    status: str
    at: datetime
    buttons: tuple[Button, ...] = ()
    error_code: int | None = None
    content_sid: str | None = None
    status_callback: str | None = None
    in_session: bool = True
    reply_to: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)  # of the API request that made it

    def says(self, text: str) -> bool:
        """Whether `text` stands in the body; case and runs of white space do not count."""
        return " ".join(text.split()).lower() in " ".join(self.body.split()).lower()

    def button(self, title: str) -> Button:
        """The button of that title. Raises LookupError."""
        for button in self.buttons:
            if button.title.lower() == title.lower():
                return button
        raise LookupError(f"no button {title!r} under {self.body[:60]!r}; there are {[b.title for b in self.buttons]}")


@dataclass(frozen=True, slots=True)
class Template:
    sid: str
    friendly_name: str
    language: str
    variables: Mapping[str, str]
    types: Mapping[str, Any]
    at: datetime
    approval: Mapping[str, str] = field(default_factory=dict)  # name, category, status, rejection_reason; or nothing

    @property
    def approved(self) -> bool:
        return self.approval.get("status") == "approved"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as Twilio answers it: HTTP status, Twilio's code, a sentence."""

    status: int
    code: int
    message: str

    def to_json(self) -> dict[str, Any]:
        more_info = f"https://www.twilio.com/docs/errors/{self.code}"
        return {"code": self.code, "message": self.message, "more_info": more_info, "status": self.status}


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """One webhook that was sent to the service: `status` is the answer's, or None where none came."""

    url: str
    fields: Mapping[str, str]
    status: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to the API and its answer, as a test reads them afterwards."""

    method: str
    path: str
    content_type: str
    body: bytes
    status: int
    answer: bytes


def new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


def rfc2822(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC).replace(microsecond=0))


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def message_json(message: Message, account_sid: str) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{account_sid}/Messages/{message.sid}"
    sent = None if message.status == "queued" else rfc2822(message.at)
    return {
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": rfc2822(message.at),
        "date_sent": sent,
        "date_updated": rfc2822(message.at),
        "direction": "inbound" if message.inbound else "outbound-api",
        "error_code": message.error_code,
        "error_message": None,
        "from": message.sender,
        "messaging_service_sid": message.fields.get("MessagingServiceSid"),
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.recipient,
        "uri": f"{uri}.json",
    }


def template_json(template: Template, account_sid: str, origin: str) -> dict[str, Any]:
    url = f"{origin}/v1/Content/{template.sid}"
    return {
        "sid": template.sid,
        "account_sid": account_sid,
        "friendly_name": template.friendly_name,
        "language": template.language,
        "variables": dict(template.variables),
        "types": dict(template.types),
        "url": url,
        "date_created": rfc3339(template.at),
        "date_updated": rfc3339(template.at),
        "links": {
            "approval_create": f"{url}/ApprovalRequests/whatsapp",
            "approval_fetch": f"{url}/ApprovalRequests",
        },
    }
