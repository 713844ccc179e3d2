"""A limit on what a server may send back, in the transport that the SDK brings. Imported when the SDK is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

RESPONSE_BYTES_MAX = 2_000_000


class TooLarge(ValueError):
    """The response is longer than anything that was asked for, or packed, so that its length is not known."""


class BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in self._inner:
            length += len(chunk)
            if length > RESPONSE_BYTES_MAX:
                raise TooLarge(f"the response is longer than {RESPONSE_BYTES_MAX:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def bound(response: httpx2.Response) -> None:
    """An event hook: the body of `response`, which is not read yet, can be read only so far."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TooLarge("the response is packed although that was not asked for")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = BoundedStream(response.stream)
