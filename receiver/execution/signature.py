"""Standard Webhooks: signed text `id.timestamp.body`, secrets `whsec_…`, several signatures while one is rotated."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError

ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
SIGNATURES_MAX = 8  # a rotation has two; more than these are not looked at


def is_secret(secret: str) -> bool:
    """Whether `secret` is `whsec_` and the base64 of 24 to 64 bytes.

    The library skips what is not base64, so a mistyped secret would be a short or an empty key that anyone can guess.
    """
    if not secret.startswith(PREFIX):
        return False
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX


def signed_headers(secrets: Sequence[str], webhook_id: str, at: datetime, body: str) -> dict[str, str]:
    """The three headers. `at` is aware; every secret signs, so that a receiver may hold the old one or the new.

    Raises ValueError, without the secret, where one is no secret.
    """
    if not secrets or not all(is_secret(secret) for secret in secrets):
        raise ValueError("a signing secret is not whsec_ and the base64 of 24 to 64 bytes")
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

    `headers` with lower-case names. Whatever is malformed is a refusal and never an error; a secret that is none fits
    nothing.
    """
    values = [headers.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)]
    if not all(values):
        return "a webhook header is missing"
    if not all(value.isascii() and value.isprintable() and len(value) <= 1000 for value in values):
        return "a webhook header is malformed"
    if not values[1].isdigit() or len(values[1]) > 12:
        return "the webhook timestamp is malformed"
    if values[2].count(" ") >= SIGNATURES_MAX:
        return "there are too many signatures"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    given = dict(zip((ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER), values, strict=True))
    reason = "no signature fits"
    for secret in filter(is_secret, secrets):
        try:
            Webhook(secret).verify(text, given, json_parse=False)
        except WebhookVerificationError as error:
            reason = str(error) or reason
        except ValueError:
            # A signature without "v1,", or that is no base64: the library lets these through.
            reason = "a signature is malformed"
        else:
            return None
    return reason
