"""An application that listens, and that stops without losing a connection which it has just taken."""

from __future__ import annotations

import asyncio
from typing import Self, cast

from aiohttp import web

BACKLOG = 128  # connections that the system keeps until they are taken
TURNS_OF_ACCEPTING = 5  # of the loop, from the socket of a connection to its protocol


class Listener:
    """Made by `open`; `refuse` and then `close` end it."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        host, port = server.sockets[0].getsockname()[:2]
        self.app, self.url = runner.app, f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._runner = runner
        self._server = server

    @classmethod
    async def open(cls, app: web.Application, host: str, port: int, *, shutdown_seconds: float) -> Self:
        """Listen. shutdown_seconds: how long `close` waits for requests that are under way. Raises OSError."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds, handle_signals=False)
        await runner.setup()
        protocol = cast(web.Server, runner.server)  # there is one after `setup`
        try:
            server = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=BACKLOG)
        except OSError:
            await runner.cleanup()
            raise
        return cls(runner, server)

    async def refuse(self) -> None:
        """Take no connection any more. What was taken is known to the application, and is answered until `close`.

        A server that is closed while a connection is on its way from the socket to its protocol forgets it, and
        whoever made it waits for an answer until the process ends.
        """
        for taken in self._server.sockets:
            asyncio.get_running_loop().remove_reader(taken.fileno())
        for _ in range(TURNS_OF_ACCEPTING):
            await asyncio.sleep(0)
        self._server.close()

    async def close(self) -> None:
        """Let what is under way end, then close every connection."""
        await self._runner.cleanup()
