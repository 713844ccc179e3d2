"""Standard Webhooks: signed text `id.timestamp.body`, secrets `whsec_…`, several signatures while one is rotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError

ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"


def signed_headers(secrets: Sequence[str], webhook_id: str, at: datetime, body: str) -> dict[str, str]:
    """The three headers. `at` is aware; every secret signs, so that a receiver may hold the old one or the new."""
    # The library writes the wrong time for an aware datetime that is not in UTC.
    moment = at.astimezone(UTC)
    signatures = " ".join(Webhook(secret).sign(webhook_id, moment, body) for secret in secrets)
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: str(int(moment.timestamp())),
        SIGNATURE_HEADER: signatures,
    }


def refusal(secrets: Sequence[str], body: bytes, headers: Mapping[str, str]) -> str | None:
    """Why a request is not signed with any of `secrets` within five minutes of now; None where it is.

    `headers` with lower-case names. Whatever is malformed is a refusal and never an error.
    """
    values = [headers.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)]
    if not all(values):
        return "a webhook header is missing"
    if not all(value.isascii() and value.isprintable() and len(value) <= 1000 for value in values):
        return "a webhook header is malformed"
    if not values[1].isdigit() or len(values[1]) > 12:
        return "the webhook timestamp is malformed"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    given = dict(zip((ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER), values, strict=True))
    reason = "no signature fits"
    for secret in secrets:
        try:
            Webhook(secret).verify(text, given, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            reason = str(error) or reason
            continue
        return None
    return reason
