"""What signs a request in, or signs it: headers, made right before it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime

from receiver.execution.signature import PREFIX, signed_headers
from receiver.executor_papers import Credentials

MASK = "********"


def sign_in(credentials: Credentials, webhook_id: str, at: datetime, body: str) -> dict[str, str]:
    """The headers. `at` is aware. Raises ValueError, without the secret, where one cannot be used."""
    first = credentials.secrets[0] if credentials.secrets else ""
    match credentials.type:
        case "bearer":
            return {"Authorization": f"Bearer {first}"}
        case "basic":
            pair = f"{credentials.name}:{first}".encode()
            return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
        case "header":
            return {credentials.name: first}
        case "hmac":
            mac = hmac.new(first.encode(), body.encode(), hashlib.sha256).digest()
            text = mac.hex() if credentials.encoding == "hex" else base64.b64encode(mac).decode("ascii")
            return {credentials.name: credentials.prefix + text}
        case "standard_webhooks":
            return signed_headers(credentials.secrets, webhook_id, at, body)
        case "none":
            return {}
    raise ValueError(f"it signs in with {credentials.type}, which is not known")


def hidden(credentials: Credentials, raw: bytes) -> bytes:
    """`raw` without the secrets, in any form in which they were sent: some executors answer with what they got."""
    for secret in credentials.secrets:
        pair = base64.b64encode(f"{credentials.name}:{secret}".encode())
        for text in (pair, secret.encode(), secret.removeprefix(PREFIX).encode(), json.dumps(secret)[1:-1].encode()):
            raw = raw.replace(text, MASK.encode())
    return raw


def masked(credentials: Credentials) -> dict[str, str]:
    """The same headers, with nothing in them that must be kept."""
    match credentials.type:
        case "bearer":
            return {"Authorization": f"Bearer {MASK}"}
        case "basic":
            return {"Authorization": f"Basic {MASK}"}
        case "header" | "hmac":
            return {credentials.name: f"{credentials.prefix}{MASK}"}
        case "standard_webhooks":
            return {"webhook-id": "{id}", "webhook-timestamp": "{now}", "webhook-signature": f"v1,{MASK}"}
    return {}
