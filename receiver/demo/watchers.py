"""Stand-ins for Prometheus and Alertmanager, for a machine that has neither: they answer what the demo asks, no more.

The ratio that they give is computed from the shop's own counters, scraped every second; nothing is made up.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 1.0
KEPT_SAMPLES = 600  # ten minutes: the widest window that is answered
THRESHOLD = 0.05
UNITS = {"s": 1.0, "m": 60.0}
_RATIO = re.compile(
    r'\(sum\(rate\(http_requests_total\{service="(?P<service>[a-z-]+)",code=~"5\.\."\}\[(?P<window>\d{1,4})(?P<unit>[sm])\]\)\)'
    r" or vector\(0\)\)\s*/\s*"
    r'sum\(rate\(http_requests_total\{service="(?P=service)"\}\[(?P=window)(?P=unit)\]\)\)'
)


class StandInPrometheus:
    """Scrapes the shop; answers the one ratio that the demo's policy asks for, and 400 for every other query."""

    def __init__(self, shop_url: str) -> None:
        self._shop = shop_url
        self._samples: deque[tuple[float, dict[tuple[str, str], float]]] = deque(maxlen=KEPT_SAMPLES)
        self._runner: web.AppRunner | None = None
        self._scraper: asyncio.Task[None] | None = None
        self.scraped = asyncio.Event()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/api/v1/query", self._query)
        app.router.add_get("/api/v1/query", self._query)
        app.router.add_get("/-/ready", self._ready)
        self._runner, url = await _listen(app)
        self._scraper = asyncio.create_task(self._scrape_forever())
        return url

    async def stop(self) -> None:
        await _end(self._scraper, self._runner)

    def ratio(self, service: str, window_seconds: float) -> float | None:
        """The share of errors among the requests of the last seconds; None where nothing was counted."""
        total = self._rate(service, window_seconds, errors_only=False)
        if not total:
            return None
        return self._rate(service, window_seconds, errors_only=True) / total

    def _rate(self, service: str, window_seconds: float, *, errors_only: bool) -> float:
        """The increase over the window, by series; a counter that fell was begun anew, as Prometheus has it."""
        since = time.monotonic() - window_seconds
        taken = [counts for at, counts in self._samples if at >= since]
        increase = 0.0
        for before, after in itertools.pairwise(taken):
            for (name, code), value in after.items():
                if name == service and (code.startswith("5") or not errors_only):
                    old = before.get((name, code))
                    increase += 0.0 if old is None else value - old if value >= old else value
        return increase

    async def _scrape_forever(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_SECONDS)) as session:
            while True:
                try:
                    async with session.get(f"{self._shop}/metrics") as answer:
                        text = await answer.text()
                    self._samples.append((time.monotonic(), _counts(text)))
                except (aiohttp.ClientError, TimeoutError, ValueError):
                    pass  # a scrape that fails leaves a gap, as with the real one
                self.scraped.set()
                self.scraped.clear()
                await asyncio.sleep(SCRAPE_SECONDS)

    async def _query(self, request: web.Request) -> web.Response:
        form = await request.post() if request.method == "POST" else request.query
        query = form.get("query")
        match = _RATIO.fullmatch(query.strip()) if isinstance(query, str) else None
        seconds = float(match["window"]) * UNITS[match["unit"]] if match is not None else 0.0
        # A window of which the samples are gone would be another number than the real one's.
        if match is None or not 0 < seconds <= KEPT_SAMPLES:
            error = {"status": "error", "errorType": "bad_data", "error": "the stand-in answers the demo's query alone"}
            return web.json_response(error, status=400)
        value = self.ratio(match["service"], seconds)
        rows = [] if value is None else [{"metric": {}, "value": [time.time(), f"{value:.6g}"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": rows}})

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(text="ready\n")


class StandInAlertmanager:
    """Fires HighErrorRate when the shop's errors pass 5 %, resolves it when they do not, and posts both."""

    def __init__(self, prometheus: StandInPrometheus, webhook: str, token: str) -> None:
        self._prometheus = prometheus
        self._webhook = webhook
        self._token = token
        self._alert: dict[str, Any] | None = None
        self._runner: web.AppRunner | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/api/v2/alerts", self._alerts)
        app.router.add_get("/-/ready", self._ready)
        self._runner, url = await _listen(app)
        self._watcher = asyncio.create_task(self._watch_forever())
        return url

    async def stop(self) -> None:
        await _end(self._watcher, self._runner)

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(SCRAPE_SECONDS)
            ratio = self._prometheus.ratio("checkout", 10)
            if ratio is not None and ratio > THRESHOLD and self._alert is None:
                self._alert = _alert()
                await self._post(self._alert)
            elif ratio is not None and ratio <= THRESHOLD and self._alert is not None:
                ended = {**self._alert, "status": "resolved", "endsAt": _now()}
                self._alert = None
                await self._post(ended)

    async def _post(self, alert: dict[str, Any]) -> None:
        """Post until it is taken: 2xx is taken, 4xx is given up, everything else is tried again."""
        body = {
            "version": "4",
            "groupKey": '{}:{alertname="HighErrorRate"}',
            "truncatedAlerts": 0,
            "status": alert["status"],
            "receiver": "counterfoil",
            "groupLabels": {"alertname": "HighErrorRate"},
            "commonLabels": alert["labels"],
            "commonAnnotations": alert["annotations"],
            "externalURL": "http://stand-in",
            "alerts": [alert],
        }
        headers = {"Authorization": f"Bearer {self._token}"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                try:
                    async with session.post(self._webhook, json=body, headers=headers) as answer:
                        if answer.status < 500:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass  # not there yet: the same as a 5xx
                await asyncio.sleep(SCRAPE_SECONDS)

    async def _alerts(self, request: web.Request) -> web.Response:
        rows = [] if self._alert is None else [{**self._alert, "status": {"state": "active"}}]
        return web.json_response(rows)

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(text="OK\n")


def _alert() -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"},
        "annotations": {"summary": "checkout answers with errors"},
        "startsAt": _now(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "6f1d2c8a9b3e4f50",
    }


def _counts(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["service"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "http_requests_total"
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _listen(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _end(task: asyncio.Task[None] | None, runner: web.AppRunner | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if runner is not None:
        await runner.cleanup()
