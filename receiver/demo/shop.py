"""A service that breaks: it counts its own requests for Prometheus, answers with errors once broken, and heals when
it is restarted. A restart begins its counters anew, as a real one does, so every series of errors vanishes.
"""

from __future__ import annotations

import asyncio
import random

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

REQUESTS_PER_SECOND = 20.0
ERROR_SHARE = 0.35  # of the requests while it is broken

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="2"><title>The shop</title>
<style>body{{font:18px/1.5 system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.4rem}}b{{color:{colour}}}</style>
<h1>The shop</h1><p>checkout is <b>{state}</b>, restarted {restarts} times.</p>
<form method="post" action="/break"><button>Break it</button></form></html>"""


class Shop:
    """One shop on loopback."""

    def __init__(self, service: str = "checkout", seed: int = 7) -> None:
        self.service = service
        self.broken = False
        self.restarts = 0
        self.url = ""
        self._rng = random.Random(seed)
        self._restarted = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._traffic: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        """A fresh process: no series but those of the requests that it has answered."""
        self._registry = CollectorRegistry()
        self._requests = Counter("http_requests", "Requests.", ("service", "code"), registry=self._registry)
        self._seconds = Histogram("http_request_duration_seconds", "Seconds.", ("service",), registry=self._registry)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, begin the traffic, and return the URL."""
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/break", self._break)
        app.router.add_post("/restart", self._restart)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        self._traffic = asyncio.create_task(self._serve_customers())
        return self.url

    async def stop(self) -> None:
        if self._traffic is not None:
            self._traffic.cancel()
            await asyncio.gather(self._traffic, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def break_(self) -> None:
        """From now on a good part of the requests fail."""
        self.broken = True

    def restart(self) -> None:
        """What the authorized webhook does in the end."""
        self.broken = False
        self.restarts += 1
        self._begin()
        self._restarted.set()

    async def wait_restarted(self) -> None:
        """Return once it was restarted for the first time."""
        await self._restarted.wait()

    async def _serve_customers(self) -> None:
        while True:
            code = "500" if self.broken and self._rng.random() < ERROR_SHARE else "200"
            self._requests.labels(self.service, code).inc()
            self._seconds.labels(self.service).observe(self._rng.uniform(0.01, 0.2))
            await asyncio.sleep(1 / REQUESTS_PER_SECOND)

    async def _page(self, request: web.Request) -> web.Response:
        state, colour = ("broken", "#b3261e") if self.broken else ("healthy", "#2e7d4f")
        text = PAGE.format(state=state, colour=colour, restarts=self.restarts)
        return web.Response(text=text, content_type="text/html")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain")

    async def _break(self, request: web.Request) -> web.Response:
        self.break_()
        raise web.HTTPSeeOther("/")

    async def _restart(self, request: web.Request) -> web.Response:
        self.restart()
        return web.Response(text="restarted\n")
