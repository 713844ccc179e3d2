"""Webhooks as Twilio sends them: their fields, their signature, and one attempt to deliver them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from .shapes import Button, Message, WebhookCall

WEBHOOK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered to a webhook; status 0 where nothing came."""

    status: int
    text: str
    content_type: str


def signature(auth_token: str, url: str, fields: Mapping[str, str]) -> str:
    """X-Twilio-Signature: base64 of HMAC-SHA1 over the URL and every name and value, sorted by name.

    https://www.twilio.com/docs/usage/security#validating-requests
    """
    signed = url + "".join(f"{name}{fields[name]}" for name in sorted(fields))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode("ascii")


def inbound_fields(message: Message, *, account_sid: str, profile: str, external_id: str) -> dict[str, str]:
    """The form of a message that a person wrote; names and values as captured from Twilio."""
    return {
        "AccountSid": account_sid,
        "ApiVersion": "2010-04-01",
        "Body": message.body,
        "ChannelMetadata": json.dumps(
            {"type": "whatsapp", "data": {"context": {"ProfileName": profile, "WaId": _digits(message.sender)}}},
            separators=(",", ":"),
        ),
        "ExternalUserId": external_id,
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageType": "text",
        "NumMedia": "0",
        "NumSegments": "1",
        "ProfileName": profile,
        "ReferralNumMedia": "0",
        "SmsMessageSid": message.sid,
        "SmsSid": message.sid,
        "SmsStatus": "received",
        "To": message.recipient,
        "WaId": _digits(message.sender),
    }


def tap_fields(original: Message, button: Button) -> dict[str, str]:
    """What a tap on `button` under `original` adds to the form of a message."""
    return {
        "ButtonPayload": button.payload,
        "ButtonText": button.title,
        "Forwarded": "false",
        "FrequentlyForwarded": "false",
        "MessageType": "interactive" if original.in_session else "button",
        "OriginalRepliedMessageSender": original.sender,
        "OriginalRepliedMessageSid": original.sid,
    }


def status_fields(message: Message, status: str, error_code: int | None, account_sid: str) -> dict[str, str]:
    fields = {
        "AccountSid": account_sid,
        "ApiVersion": "2010-04-01",
        "ChannelInstallSid": "XE" + "0" * 32,
        "ChannelPrefix": "whatsapp",
        "ChannelToAddress": message.recipient,
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageStatus": status,
        "SmsSid": message.sid,
        "SmsStatus": status,
        "To": message.recipient,
    }
    if not message.recipient.startswith("whatsapp:"):
        for name in ("ChannelInstallSid", "ChannelPrefix", "ChannelToAddress"):
            del fields[name]
    elif status in ("delivered", "read"):
        fields["EventType"] = status.upper()
    if error_code is not None:
        fields["ErrorCode"] = str(error_code)
    return fields


async def post(
    session: aiohttp.ClientSession, auth_token: str, url: str, fields: Mapping[str, str], deliver_to: str | None
) -> tuple[WebhookCall, Answer]:
    """Send one webhook for `url`, signed for `url`; what was sent, and what came back.

    deliver_to: the origin that is connected to instead, as a reverse proxy would; the signature stays that of `url`.
    """
    parts = urlsplit(url)
    address = url
    if deliver_to is not None:
        address = f"{deliver_to.rstrip('/')}{parts.path}{'?' + parts.query if parts.query else ''}"
    headers = {"X-Twilio-Signature": signature(auth_token, url, fields), "User-Agent": "TwilioProxy/1.1"}
    try:
        async with session.post(
            URL(address, encoded=True),
            data=dict(fields),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=WEBHOOK_SECONDS),
        ) as answer:
            text = (await answer.read()).decode("utf-8", "replace")
            return WebhookCall(url, dict(fields), answer.status), Answer(answer.status, text, answer.content_type)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return WebhookCall(url, dict(fields), None, f"{type(error).__name__}: {error}"), Answer(0, "", "")


def _digits(address: str) -> str:
    return "".join(character for character in address if character.isdigit())
