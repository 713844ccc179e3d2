"""What fires at every Alertmanager of a tenant now: for alerts that were missed, and alerts that are gone."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

log = logging.getLogger(__name__)

ANSWER_BYTES = 10 * 1024 * 1024
TIMEOUT_SECONDS = 10.0
QUERY = {"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "true"}

Server = tuple[str, Mapping[str, str], tls.SSLContext | None]


class Alertmanagers:
    """servers: (url, headers, ssl) of each peer."""

    def __init__(self, *, servers: Sequence[Server], session: Callable[[], aiohttp.ClientSession]) -> None:
        self._servers = tuple(servers)
        self._session = session

    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        """The union over all peers, as rows of a webhook's `alerts[]`; None where not every peer answered."""
        if not self._servers:
            return None
        answers = await asyncio.gather(*(self._of(server) for server in self._servers))
        union: dict[str, Mapping[str, Any]] = {}
        for answer in answers:
            if answer is None:
                return None
            for row in answer:
                union.setdefault(str(row["fingerprint"]), row)
        return list(union.values())

    async def _of(self, server: Server) -> list[Mapping[str, Any]] | None:
        url, headers, ssl = server
        session = self._session()
        if session.closed:
            return None  # the service stops
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                session.get(
                    f"{url.rstrip('/')}/api/v2/alerts",
                    params=QUERY,
                    headers=dict(headers),
                    ssl=ssl or True,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    log.warning("%s answers %s", url, response.status)
                    return None
                raw = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    raw += chunk
                    if len(raw) > ANSWER_BYTES:
                        log.warning("%s answers with more than %s bytes", url, ANSWER_BYTES)
                        return None
                rows = json.loads(bytes(raw))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # RuntimeError: nesting too deep to read, or a session that is closed, at the end.
            log.warning("%s cannot be asked for its alerts: %s", url, type(error).__name__)
            return None
        return [_row(row) for row in rows if isinstance(row, dict) and _fires(row)] if isinstance(rows, list) else None


def _fires(row: Mapping[str, Any]) -> bool:
    status = row.get("status")
    return (
        isinstance(status, dict) and status.get("state") in ("active", "unprocessed") and bool(row.get("fingerprint"))
    )


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "status": "firing",
        "labels": row.get("labels"),
        "annotations": row.get("annotations"),
        "startsAt": row.get("startsAt"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": row.get("generatorURL", ""),
        "fingerprint": row["fingerprint"],
    }
