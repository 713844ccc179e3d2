"""A listener that stops at the moment in which somebody connects."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from receiver.listener import Listener


async def opened() -> Listener:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return await Listener.open(app, "127.0.0.1", 0, shutdown_seconds=5)


def connected(listener: Listener) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(listener.url.rpartition(":")[2])))
    client.setblocking(False)
    return client


async def said(client: socket.socket) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(client, 1000)


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_was_just_made_is_not_forgotten(turns: int) -> None:
    """Whoever made it hears that it is over, and does not wait until the process ends.

    turns: of the loop. After two of them it is taken, and known to nobody yet; before, the system ends it.
    """
    listener = await opened()
    with connected(listener) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.refuse()
        await listener.close()
        try:
            assert await said(client) == b""
        except ConnectionResetError:
            assert turns < 2


async def test_what_was_asked_before_is_answered_and_nobody_else_is_taken() -> None:
    listener = await opened()
    with connected(listener) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        for _ in range(2):
            await asyncio.sleep(0)
        await listener.refuse()
        assert (await said(client)).startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ConnectionRefusedError):
            connected(listener)
        await listener.close()


async def test_a_port_that_is_taken_is_an_error() -> None:
    listener = await opened()
    try:
        with pytest.raises(OSError, match="in use"):
            await Listener.open(
                web.Application(), "127.0.0.1", int(listener.url.rpartition(":")[2]), shutdown_seconds=5
            )
    finally:
        await listener.refuse()
        await listener.close()
