"""The shop that breaks and what watches it: the stand-ins say what the shop's own counters say, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from policy_rules.detection import queries
from policy_rules.loading import load
from receiver.demo import monitoring as monitoring_module
from receiver.demo import shop as shop_module
from receiver.demo import watchers
from receiver.demo.monitoring import TOOLS, Monitoring, find
from receiver.demo.shop import Shop
from receiver.demo.watchers import StandInAlertmanager, StandInPrometheus

LONG = 20.0  # seconds: a bound, not a wait
TRIES = 1000  # looks of 20 ms
TOKEN = "the-token-of-the-intake"
STARTER = Path(__file__).resolve().parents[2] / "policy_rules" / "starter.yml"


def starter_query(window: str) -> str:
    """What the starter policy asks about the shop, as policy itself writes it."""
    environment = {"COUNTERFOIL_RATE_WINDOW": window} if window else {}
    book = load(STARTER.read_bytes(), file="starter.yml", environment=environment)
    (query,) = queries(book, book.rule("checkout-errors"), {"service": "checkout"})
    return query.promql


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy shop, and stand-ins that look at it often."""
    monkeypatch.setattr(shop_module, "REQUESTS_PER_SECOND", 500.0)
    monkeypatch.setattr(watchers, "SCRAPE_SECONDS", 0.05)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    await shop.start()
    yield shop
    await shop.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONG)) as session:
        yield session


class Intake:
    """Takes webhooks; `answers` are the statuses of the next ones, then 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.refused = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.bodies.put_nowait(await request.json())
        else:
            self.refused += 1
        return web.Response(status=status)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(LONG):
            return await self.bodies.get()


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    intake, app = Intake(), web.Application()
    app.router.add_post("/alertmanager", intake.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    intake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alertmanager"
    yield intake
    await runner.cleanup()


async def text_of(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def counts(session: aiohttp.ClientSession, shop: Shop) -> dict[str, float]:
    families = text_string_to_metric_families(await text_of(session, f"{shop.url}/metrics"))
    samples = [sample for family in families for sample in family.samples if sample.name == "http_requests_total"]
    assert all(sample.labels["service"] == "checkout" for sample in samples)
    return {sample.labels["code"]: sample.value for sample in samples}


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(TRIES):
        if await what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not come to that")


# --- the shop


@pytest.mark.usefixtures("quick")
async def test_a_shop_breaks_and_a_restart_takes_its_series_of_errors_away(
    shop: Shop, session: aiohttp.ClientSession
) -> None:
    async def counted(code: str) -> bool:
        return code in await counts(session, shop)

    await until(lambda: counted("200"))
    assert not await counted("500")
    async with session.post(f"{shop.url}/break") as page:
        assert "broken" in await page.text()
    assert shop.broken
    await until(lambda: counted("500"))
    before = await counts(session, shop)
    waits = asyncio.create_task(shop.wait_restarted())
    async with session.post(f"{shop.url}/restart") as answer:
        assert answer.status == 200
    async with asyncio.timeout(LONG):
        await waits
    after = await counts(session, shop)
    assert (shop.broken, shop.restarts) == (False, 1)
    assert "500" not in after
    assert after.get("200", 0) < before["200"]
    assert "healthy" in await text_of(session, shop.url)


@pytest.mark.usefixtures("quick")
async def test_a_shop_counts_the_seconds_of_its_requests(shop: Shop, session: aiohttp.ClientSession) -> None:
    series = 'http_request_duration_seconds_bucket{le="+Inf",service="checkout"}'

    async def counted() -> bool:
        return series in await text_of(session, f"{shop.url}/metrics")

    await until(counted)


async def test_a_link_does_not_break_the_shop(shop: Shop, session: aiohttp.ClientSession) -> None:
    for path in ("/break", "/restart"):
        async with session.get(shop.url + path) as answer:
            assert answer.status == 405
    assert (shop.broken, shop.restarts) == (False, 0)


# --- the stand-ins


class Asked:
    """A stand-in for Prometheus, and what it answers to the demo's question."""

    def __init__(self, stand_in: StandInPrometheus, url: str, session: aiohttp.ClientSession) -> None:
        self.stand_in = stand_in
        self.url = url
        self.session = session

    async def query(self, promql: str) -> tuple[int, Any]:
        async with self.session.post(f"{self.url}/api/v1/query", data={"query": promql, "time": "1"}) as answer:
            return answer.status, await answer.json()

    async def ratio(self) -> float | None:
        """None where there is no series."""
        status, answer = await self.query(starter_query("10s"))
        assert (status, answer["status"], answer["data"]["resultType"]) == (200, "success", "vector")
        rows = answer["data"]["result"]
        return float(rows[0]["value"][1]) if rows else None


@pytest.fixture
async def prometheus(quick: None, shop: Shop, session: aiohttp.ClientSession) -> AsyncIterator[Asked]:
    stand_in = StandInPrometheus(shop.url)
    yield Asked(stand_in, await stand_in.start(), session)
    await stand_in.stop()


async def test_a_stand_in_gives_the_share_of_errors_from_the_shops_own_counters(prometheus: Asked, shop: Shop) -> None:
    async def healthy() -> bool:
        return await prometheus.ratio() == 0.0

    async def broken() -> bool:
        return (await prometheus.ratio() or 0.0) > 0.2

    await until(healthy)
    shop.break_()
    await until(broken)
    assert 0.2 < (await prometheus.ratio() or 0.0) <= 1.0
    shop.restart()
    seen = [await prometheus.ratio()]
    for _ in range(20):
        await prometheus.stand_in.scraped.wait()
        seen.append(await prometheus.ratio())
    assert all(ratio is not None and 0.0 <= ratio <= 1.0 for ratio in seen), "a restart is no negative increase"
    assert (seen[-1] or 0.0) < (seen[0] or 0.0)


async def test_a_stand_in_has_no_number_where_nothing_is_counted(prometheus: Asked, shop: Shop) -> None:
    await shop.stop()
    await prometheus.stand_in.scraped.wait()
    elsewhere = starter_query("10s").replace("checkout", "elsewhere")
    assert await prometheus.query(elsewhere) == (
        200,
        {"status": "success", "data": {"resultType": "vector", "result": []}},
    )


@pytest.mark.parametrize("promql", ["", "up", "sum(", "vector(1)", "{query} * 0", "{query} or vector(0)"])
async def test_a_stand_in_refuses_what_it_cannot_compute(prometheus: Asked, promql: str) -> None:
    status, answer = await prometheus.query(promql.replace("{query}", starter_query("10s")))
    assert (status, answer["status"], answer["errorType"]) == (400, "error", "bad_data")


async def test_a_stand_in_answers_the_starter_policy_as_it_ships(prometheus: Asked) -> None:
    status, _ = await prometheus.query(starter_query(""))
    assert status == 200
    for window, status in (("10m", 200), ("11m", 400), ("601s", 400), ("0s", 400)):
        assert (await prometheus.query(starter_query("10s").replace("10s", window)))[0] == status, window


async def test_a_stand_in_fires_until_it_is_heard_and_then_resolves(
    prometheus: Asked, shop: Shop, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake.answers = [503, 500]
    alertmanager = StandInAlertmanager(prometheus.stand_in, intake.url, TOKEN)
    url = await alertmanager.start()

    async def active() -> list[Any]:
        async with prometheus.session.get(f"{url}/api/v2/alerts") as answer:
            rows: list[Any] = await answer.json()
            return rows

    try:
        assert await active() == []
        shop.break_()
        firing = await intake.next()
        assert intake.refused == 2
        (alert,) = firing["alerts"]
        assert (firing["version"], firing["status"], alert["status"]) == ("4", "firing", "firing")
        assert alert["labels"] == {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}
        (row,) = await active()
        assert (row["status"], row["fingerprint"]) == ({"state": "active"}, alert["fingerprint"])
        shop.restart()
        monkeypatch.setattr(shop_module, "REQUESTS_PER_SECOND", 5000.0)
        resolved = await intake.next()
        (ended,) = resolved["alerts"]
        assert (resolved["status"], ended["status"]) == ("resolved", "resolved")
        assert (ended["fingerprint"], ended["startsAt"]) == (alert["fingerprint"], alert["startsAt"])
        assert ended["endsAt"] > ended["startsAt"]
        assert await active() == []
    finally:
        await alertmanager.stop()


# --- which of them


def watching(folder: Path, shop: Shop, intake: Intake) -> Monitoring:
    return Monitoring(folder=folder, shop_url=shop.url, webhook_url=intake.url, webhook_token=TOKEN)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.mark.usefixtures("quick")
async def test_without_the_real_ones_there_are_stand_ins(
    shop: Shop, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: aiohttp.ClientSession
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(TOOLS, raising=False)
    monitoring = watching(tmp_path / "monitoring", shop, intake)
    await monitoring.start()
    try:
        assert (monitoring.real, monitoring.trouble) == (False, "")
        for url in (monitoring.prometheus_url, monitoring.alertmanager_url):
            await text_of(session, f"{url}/-/ready")
    finally:
        await monitoring.stop()


@pytest.mark.usefixtures("quick")
async def test_a_real_one_that_does_not_start_gives_way_to_the_stand_ins_and_says_why(
    shop: Shop, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOOLS, str(tmp_path))
    monkeypatch.setattr(monitoring_module, "READY_SECONDS", 0.01)
    for name in ("prometheus", "alertmanager", "prometheus-alertmanager"):
        program(tmp_path, name, "#!/bin/sh\necho a disk is full >&2\nexit 1\n")
    monitoring = watching(tmp_path / "monitoring", shop, intake)
    await monitoring.start()
    try:
        assert not monitoring.real
        assert "a disk is full" in monitoring.trouble
    finally:
        await monitoring.stop()


async def test_a_program_that_cannot_run_here_gives_way_to_the_stand_ins(
    shop: Shop, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOOLS, str(tmp_path))
    for name in ("prometheus", "alertmanager", "prometheus-alertmanager"):
        program(tmp_path, name, "no program")
    monitoring = watching(tmp_path / "monitoring", shop, intake)
    try:
        await monitoring.start()
        assert not monitoring.real
        assert "cannot be started: Exec format error" in monitoring.trouble
    finally:
        await monitoring.stop()


def test_the_folder_of_tools_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, path = tmp_path / "tools", tmp_path / "path"
    for folder in (tools, path):
        folder.mkdir()
        program(folder, "alertmanager", "#!/bin/sh\n")
    monkeypatch.setenv(TOOLS, str(tools))
    monkeypatch.setenv("PATH", str(path))
    assert find("prometheus-alertmanager", "alertmanager") == str(tools / "alertmanager")
    monkeypatch.delenv(TOOLS)
    assert find("prometheus-alertmanager", "alertmanager") == str(path / "alertmanager")
    assert find("prometheus") is None


async def test_the_real_ones_see_the_shop_break(
    tool: Callable[[str], Path],
    shop: Shop,
    intake: Intake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    session: aiohttp.ClientSession,
) -> None:
    for name in ("prometheus", "alertmanager"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / name).symlink_to(tool(name))
    monkeypatch.setenv(TOOLS, str(tmp_path / "tools"))
    monitoring = watching(tmp_path / "monitoring", shop, intake)
    await monitoring.start()
    try:
        assert monitoring.real, monitoring.trouble
        shop.break_()
        firing = await intake.next()
        labels = {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}
        assert [(alert["status"], alert["labels"]) for alert in firing["alerts"]] == [("firing", labels)]
        form = {"query": starter_query("10s")}
        async with session.post(f"{monitoring.prometheus_url}/api/v1/query", data=form) as answer:
            (row,) = (await answer.json())["data"]["result"]
        assert float(row["value"][1]) > 0.05
        secret = tmp_path / "monitoring" / "alertmanager.yml"
        assert secret.stat().st_mode & 0o077 == 0
    finally:
        await monitoring.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await text_of(session, f"{monitoring.prometheus_url}/-/ready")
