"""Asking an Alertmanager to be silent, through its API: the one thing that is changed there."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from receiver.papers import NotSilenced, Silence, words

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
ANSWER_BYTES = 5 * 1024 * 1024

Server = tuple[str, Mapping[str, str], tls.SSLContext | None]


class Silencing:
    """servers: (url, headers, ssl) of each peer. Peers tell each other of a silence, so one that takes it is enough."""

    def __init__(self, *, servers: Sequence[Server], session: Callable[[], aiohttp.ClientSession]) -> None:
        self._servers = tuple(servers)
        self._session = session

    async def silence(self, silence: Silence) -> str | NotSilenced:
        """The id of the silence, made once however often it is asked for: it is known by its comment. Never raises."""
        refusal = NotSilenced(words("no alertmanager"), again=False)
        for server in self._servers:
            answer = await self._at(server, silence)
            if isinstance(answer, str):
                return answer
            refusal = answer
        return refusal

    async def _at(self, server: Server, silence: Silence) -> str | NotSilenced:
        url, headers, ssl = server
        address = f"{url.rstrip('/')}/api/v2/silences"
        how: dict[str, Any] = {"headers": dict(headers), "ssl": ssl or True, "allow_redirects": False}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                async with self._session().get(address, **how) as response:
                    known = await _json(response)
                standing = _standing(known, silence)
                if standing is not None:
                    return standing
                async with self._session().post(address, json=_body(silence), **how) as response:
                    made = await _json(response)
                    if response.status == 400:
                        return NotSilenced(
                            words("alertmanager refuses", server=url, answer=str(made)[:200]), again=False
                        )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            log.warning("%s cannot be asked for a silence: %s", url, type(error).__name__)
            return NotSilenced(words("alertmanager mute", server=url, error=type(error).__name__), again=True)
        id = made.get("silenceID") if isinstance(made, dict) else None
        if isinstance(id, str) and id:
            return id
        return NotSilenced(words("alertmanager answers", server=url, status=response.status), again=True)


async def _json(response: aiohttp.ClientResponse) -> Any:
    """The answer's JSON. Raises ValueError."""
    raw = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > ANSWER_BYTES:
            raise ValueError("too long")
    return json.loads(bytes(raw))


def _standing(known: Any, silence: Silence) -> str | None:
    """The id of that very silence, where it stands: a crash may have come between asking and writing it down."""
    for row in known if isinstance(known, list) else ():
        if isinstance(row, dict) and row.get("comment") == silence.comment:
            status, found = row.get("status"), {m.get("name"): m.get("value") for m in row.get("matchers", ())}
            expired = isinstance(status, dict) and status.get("state") == "expired"
            if not expired and found == dict(silence.labels) and isinstance(row.get("id"), str):
                return str(row["id"])
    return None


def _body(silence: Silence) -> dict[str, Any]:
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in silence.labels.items()
    ]
    return {
        "matchers": matchers,
        "startsAt": silence.starts_at.isoformat(),
        "endsAt": silence.ends_at.isoformat(),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    }
