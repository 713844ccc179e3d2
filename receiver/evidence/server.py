"""One Prometheus over plain aiohttp: a request out, a bounded body back."""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable, Mapping

import aiohttp


class Server:
    """The HTTP API of one Prometheus. Source of the protocol: Prometheus 2.42's own, as run."""

    def __init__(
        self,
        *,
        url: str,
        session: Callable[[], aiohttp.ClientSession],
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self._address = url.rstrip("/") + "/api/v1"
        self._session = session
        self._headers = dict(headers or {})
        self._ssl = ssl

    async def post(self, path: str, form: Mapping[str, str], bytes_max: int) -> tuple[int, bytes | None]:
        """The status and the body; None where the body is too large. Raises OSError and aiohttp.ClientError."""
        async with self._open().post(
            f"{self._address}/{path}", data=form, headers=self._headers, ssl=self._ssl or True, allow_redirects=False
        ) as response:
            return response.status, await _bounded(response, bytes_max)

    async def get(self, path: str, params: Mapping[str, str], bytes_max: int) -> tuple[int, bytes | None]:
        """The same, of what Prometheus answers to GET alone."""
        async with self._open().get(
            f"{self._address}/{path}",
            params=params,
            headers=self._headers,
            ssl=self._ssl or True,
            allow_redirects=False,
        ) as response:
            return response.status, await _bounded(response, bytes_max)

    def _open(self) -> aiohttp.ClientSession:
        session = self._session()
        if session.closed:
            raise aiohttp.ClientConnectionError("the service stops")
        return session


async def _bounded(response: aiohttp.ClientResponse, bytes_max: int) -> bytes | None:
    raw = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        raw += chunk
        if len(raw) > bytes_max:
            return None
    return bytes(raw)
