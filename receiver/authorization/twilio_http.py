"""The twilio SDK over our own aiohttp session, and what its errors mean.

The SDK's own asynchronous client cannot share a session, ignores its time limit (twilio-python#925) and warns on
current aiohttp; this one does neither, and it can move every request to another origin.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from receiver.authorization.contents import without_nulls
from receiver.papers import NotSent

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

_ANSWER_BYTES = 1_000_000
_DAY_SECONDS = 86_400.0

# Twilio error code (twilio.com/docs/api/errors) → our word for it, and the seconds after which another try makes sense.
_CODES: Mapping[int, tuple[str, float | None]] = {
    20003: ("unauthorized", None),
    20403: ("unauthorized", None),
    20404: ("rejected", None),
    20429: ("rate_limited", 15.0),
    21211: ("bad_recipient", None),
    21408: ("bad_recipient", None),
    21610: ("opted_out", None),
    21614: ("bad_recipient", None),
    21656: ("rejected", None),
    63003: ("bad_recipient", None),
    63014: ("opted_out", None),
    63015: ("bad_recipient", None),  # the person has not joined the sandbox
    63016: ("outside_window", None),
    63018: ("rate_limited", 15.0),
    63024: ("bad_recipient", None),
    63038: ("daily_limit", _DAY_SECONDS / 24),
}


def outcome_of_code(code: int | None, status: int = 400) -> tuple[str, float | None]:
    """The closed word for one of Twilio's error codes, else for the HTTP status; and the seconds to wait, or None."""
    known = _CODES.get(code) if code is not None else None
    if known is not None:
        return known
    if status in (401, 403):
        return "unauthorized", None
    if status == 429:
        return "rate_limited", 15.0
    if 300 <= status < 400 or status >= 500:
        return "unreachable", 10.0
    return "rejected", None


def make_client(
    account_sid: str, auth_token: str, session: Callable[[], aiohttp.ClientSession], base_url: str | None
) -> Client:
    """A twilio `Client` on `session()`. Importing the SDK takes a third of a second: it happens here, on first use."""
    from twilio.http import AsyncHttpClient  # type: ignore[import-untyped]
    from twilio.http.response import Response  # type: ignore[import-untyped]
    from twilio.rest import Client

    origin = base_url.rstrip("/") if base_url else None
    basic = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode("ascii")

    class SharedSession(AsyncHttpClient):  # type: ignore[misc]  # the SDK is untyped
        def __init__(self) -> None:
            super().__init__(logging.getLogger("twilio.http_client"), True)

        async def request(
            self,
            method: str,
            uri: str,
            params: Mapping[str, object] | None = None,
            data: Mapping[str, object] | None = None,
            headers: Mapping[str, str] | None = None,
            auth: object = None,
            timeout: float | None = None,
            allow_redirects: bool = False,
        ) -> Response:
            address = _moved(uri, origin)
            sent_headers = {**(headers or {}), "Authorization": f"Basic {basic}"}
            as_json = sent_headers.get("Content-Type") == "application/json"
            async with session().request(
                method,
                address,
                params={name: str(value) for name, value in (params or {}).items()},
                json=without_nulls(data) if as_json and data else None,
                data=_form(data) if data and not as_json else None,
                headers=sent_headers,
                allow_redirects=False,
            ) as answer:
                text = await _bounded_text(answer)
                return Response(answer.status, text, dict(answer.headers))

    # A non-empty environment, because an empty one makes the SDK read the process's own (region, edge).
    return Client(account_sid, auth_token, http_client=SharedSession(), environment={"COUNTERFOIL": "1"})


def not_sent_from(error: Exception) -> NotSent:
    """Twilio's refusal, in our words. Works for both of the SDK's exception classes, without importing them."""
    if not hasattr(error, "status"):
        return _not_sent_from_page(error)
    status = int(getattr(error, "status", None) or 0)
    code = getattr(error, "code", None)
    message = getattr(error, "msg", None) or getattr(error, "detail", None) or getattr(error, "title", None) or ""
    number = code if isinstance(code, int) and code > 999 else None
    outcome, retry_seconds = outcome_of_code(number, status)
    detail = f"Twilio answered {status}{f', error {number}' if number else ''}: {str(message)[:200]}"
    return NotSent(outcome, detail, retry_seconds)


def _not_sent_from_page(error: Exception) -> NotSent:
    """A list that failed: the SDK then raises its base class with the bare response as second argument."""
    answer = error.args[1] if len(error.args) > 1 else None
    status = getattr(answer, "status_code", None)
    if not isinstance(status, int):
        return NotSent("rejected", f"the twilio SDK refused: {error}"[:300])
    try:
        code = json.loads(getattr(answer, "text", "")).get("code")
    except (ValueError, AttributeError, TypeError):
        code = None
    outcome, retry_seconds = outcome_of_code(code if isinstance(code, int) else None, status)
    return NotSent(outcome, f"Twilio answered {status}, error {code}, when asked for its templates", retry_seconds)


def _moved(uri: str, origin: str | None) -> str:
    if origin is None:
        return uri
    parts = urlsplit(uri)
    return f"{origin}{parts.path}{'?' + parts.query if parts.query else ''}"


def _form(data: Mapping[str, object]) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for name, value in data.items():
        items: list[Any] = value if isinstance(value, list) else [value]
        fields.extend((name, str(item)) for item in items)
    return fields


async def _bounded_text(answer: aiohttp.ClientResponse) -> str:
    parts: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(65_536):
        size += len(chunk)
        if size > _ANSWER_BYTES:
            raise ValueError("the answer is larger than 1 MB")
        parts.append(chunk)
    return b"".join(parts).decode("utf-8", "replace")
