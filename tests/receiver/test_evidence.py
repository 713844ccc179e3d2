"""Asking Prometheus and Alertmanager: each answer and each silence is its own state, in bounds, and nothing raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_rules.readings import Query, ReadingState
from policy_rules.signals import BadSignal, parse, quote, selectors
from receiver.evidence.alertmanager import ANSWER_BYTES as ALERTS_BYTES
from receiver.evidence.alertmanager import Alertmanagers
from receiver.evidence.freshness import age_query
from receiver.evidence.prometheus import (
    ANSWER_BYTES,
    HISTORY_POINTS,
    QUERIES_AT_ONCE,
    NoPrometheus,
    Prometheus,
    _read,
)
from tests.filled_prometheus import filled_prometheus

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
RATIO = Query("error_ratio", 'sum(rate(errors_total{service="checkout"}[1m]))', 120)
LONG = 5.0  # seconds: no test waits for it
# In a fresh clone Hypothesis first builds its tables of Unicode, for seconds, which it then takes for slow drawing.
COLD = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Server:
    """One server on loopback. `answer` is what it does next; `seen` are the forms and queries that it was sent."""

    def __init__(self) -> None:
        self.answer: Handler | None = None
        self.seen: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.url = ""

    def gives(self, data: Any, status: int = 200) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=data if isinstance(data, bytes) else json.dumps(data).encode(), status=status)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.seen.append({k: str(v) for k, v in (*request.query.items(), *form.items())})
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            assert self.answer is not None
            return await self.answer(request)
        finally:
            self.at_once -= 1


async def listening() -> AsyncIterator[Server]:
    server, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


server = pytest.fixture(listening, name="server")
peer = pytest.fixture(listening, name="peer")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def prometheus(server: Server, session: aiohttp.ClientSession, clock: Clock) -> Prometheus:
    return Prometheus(url=server.url + "/", session=lambda: session, clock=clock, headers={"X-Scope": "a"})


def vector(*values: object) -> dict[str, Any]:
    rows = [{"metric": {"n": str(n)}, "value": [NOW.timestamp(), value]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


def result(kind: str, rows: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": rows}}


@pytest.mark.parametrize(
    ("status", "body", "state", "detail"),
    [
        (200, vector("0.30999999999999994"), ReadingState.VALUE, ""),
        (200, vector("-1e-7"), ReadingState.VALUE, ""),
        (200, result("scalar", [NOW.timestamp(), "3"]), ReadingState.VALUE, ""),
        (200, vector(), ReadingState.NO_DATA, "no series"),
        (200, vector("1", "2"), ReadingState.MANY, "2 series where one number is needed"),
        (200, vector("NaN"), ReadingState.NAN, "the value is NaN"),
        (200, vector("+Inf"), ReadingState.NAN, "the value is +Inf"),
        (200, vector("-Inf"), ReadingState.NAN, "the value is -Inf"),
        (200, vector("1e999"), ReadingState.NAN, "the value is 1e999"),
        (200, vector(0.31), ReadingState.ERROR, "a sample that is not [time, text]"),
        (200, result("scalar", ["soon", "3"]), ReadingState.ERROR, "a sample without a time"),
        (200, result("vector", ["x"]), ReadingState.ERROR, "a sample that is not [time, text]"),
        (200, result("matrix", []), ReadingState.ERROR, "the query gives a matrix, not one number"),
        (200, {"status": "success"}, ReadingState.ERROR, "an answer without data"),
        (
            400,
            {"status": "error", "errorType": "bad_data", "error": "1:2:\n no"},
            ReadingState.ERROR,
            "bad_data: 1:2: no",
        ),
        (422, {"status": "error", "errorType": "execution", "error": "x"}, ReadingState.ERROR, "execution: x"),
        (503, {"status": "error", "errorType": "timeout", "error": "x"}, ReadingState.UNREACHABLE, "timeout: x"),
        (502, b"<html>", ReadingState.UNREACHABLE, "it answers 502"),
        (200, b"<html>", ReadingState.ERROR, "it answers 200 with something that is not Prometheus's"),
        (200, b"[" * 100_000, ReadingState.ERROR, "it answers 200 with something that is not Prometheus's"),
        (200, b"x" * (ANSWER_BYTES + 1), ReadingState.ERROR, f"an answer of more than {ANSWER_BYTES} bytes"),
    ],
)
async def test_each_answer_is_its_own_state(
    prometheus: Prometheus, server: Server, status: int, body: Any, state: ReadingState, detail: str
) -> None:
    server.gives(body, status)
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert (reading.state, reading.detail) == (state, detail)
    assert (reading.name, reading.promql, reading.asked_at) == (RATIO.name, RATIO.promql, NOW)
    assert (reading.value is not None) == (state is ReadingState.VALUE)
    if reading.value is not None:
        assert reading.value in json.dumps(body)
        assert reading.sampled_at == NOW


async def test_it_posts_a_form_with_the_limits_of_the_query(prometheus: Prometheus, server: Server) -> None:
    server.gives(vector("1"))
    await prometheus.ask([RATIO], timeout_seconds=2.5)
    form = {"query": RATIO.promql, "time": f"{NOW.timestamp():.3f}", "timeout": "2.5s", "lookback_delta": "120s"}
    assert server.seen == [form]
    assert server.headers[0]["X-Scope"] == "a"


async def test_a_redirect_is_not_followed(prometheus: Prometheus, server: Server) -> None:
    async def answer(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    server.answer = answer
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert reading.state is ReadingState.ERROR
    assert len(server.seen) == 1


async def test_a_server_that_is_not_there_or_hangs_or_hangs_up_is_unreachable(
    prometheus: Prometheus, server: Server, session: aiohttp.ClientSession, clock: Clock, free_port: Callable[[], int]
) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return response

    server.answer = hang
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=0.05)
    assert (reading.state, reading.detail) == (ReadingState.UNREACHABLE, "no answer within 0.05 s")
    server.answer = half
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert (reading.state, reading.detail) == (ReadingState.UNREACHABLE, "ClientPayloadError: it does not answer")
    absent = Prometheus(url=f"http://127.0.0.1:{free_port()}", session=lambda: session, clock=clock)
    (reading,) = await absent.ask([RATIO], timeout_seconds=LONG)
    assert reading.state is ReadingState.UNREACHABLE


async def test_nothing_raises_while_the_service_stops(
    prometheus: Prometheus, server: Server, session: aiohttp.ClientSession
) -> None:
    await session.close()
    assert await alertmanagers(session, server).active() is None
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert reading.state is ReadingState.UNREACHABLE


async def test_the_same_query_is_asked_once_and_whoever_leaves_takes_nothing_along(
    prometheus: Prometheus, server: Server
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.json_response(vector("0.31"))

    server.answer = answer
    leaves = asyncio.create_task(prometheus.ask([RATIO], timeout_seconds=LONG))
    await asked.wait()
    other = Query("other_name", RATIO.promql, RATIO.max_age_seconds)
    stays = asyncio.create_task(prometheus.ask([other, RATIO], timeout_seconds=LONG))
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    go.set()
    readings = await stays
    assert [(r.name, r.value) for r in readings] == [("other_name", "0.31"), ("error_ratio", "0.31")]
    assert len(server.seen) == 1


async def test_an_answer_is_shared_while_it_is_fresh_and_silence_never(
    prometheus: Prometheus, server: Server, clock: Clock
) -> None:
    server.gives(b"", 502)
    await prometheus.ask([RATIO], timeout_seconds=LONG)
    server.gives(vector("1"))
    (first,) = await prometheus.ask([RATIO], timeout_seconds=LONG, fresh_seconds=10)
    assert first.value == "1", "an unreachable server is asked again"
    server.gives(vector("2"))
    clock.now += timedelta(seconds=10)
    (shared,) = await prometheus.ask([RATIO], timeout_seconds=LONG, fresh_seconds=10)
    assert (shared.value, shared.asked_at) == ("1", NOW)
    (stricter,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert (stricter.value, stricter.asked_at) == ("2", clock.now)
    clock.now -= timedelta(hours=1)
    server.gives(vector("3"))
    (back,) = await prometheus.ask([RATIO], timeout_seconds=LONG, fresh_seconds=10)
    assert back.value == "3", "an answer from the future is not fresh"


async def test_a_few_requests_at_once_and_the_answers_in_order(prometheus: Prometheus, server: Server) -> None:
    full, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if server.at_once == QUERIES_AT_ONCE:
            full.set()
        await go.wait()
        return web.json_response(vector((await request.post())["query"]))

    server.answer = answer
    queries = [Query(f"n{n}", str(n), 120) for n in range(3 * QUERIES_AT_ONCE)]
    asking = asyncio.create_task(prometheus.ask(queries, timeout_seconds=LONG))
    async with asyncio.timeout(LONG):
        await full.wait()
    go.set()
    assert [reading.value for reading in await asking] == [query.promql for query in queries]
    assert server.most_at_once == QUERIES_AT_ONCE


WIDE = Query("error_ratio", 'sum(rate(errors_total{service="checkout"}[5m]))', 120)
AGE = (
    'clamp_max(count(count_over_time({__name__="errors_total",service="checkout"}[120s])), 1)'
    ' or 0 * (count(count_over_time({__name__="errors_total",service="checkout"}[300s])))'
)


@pytest.mark.parametrize(
    ("status", "age", "state", "detail"),
    [
        (200, vector("1"), ReadingState.VALUE, ""),
        (200, vector(), ReadingState.VALUE, ""),
        (200, vector("0"), ReadingState.STALE, "the newest sample is older than 120 s"),
        (503, vector(), ReadingState.UNREACHABLE, "its age cannot be told: 503: no reason given"),
        (
            400,
            b"",
            ReadingState.ERROR,
            "its age cannot be told: it answers 400 with something that is not Prometheus's",
        ),
        (200, vector("1", "1"), ReadingState.MANY, "its age cannot be told: 2 series where one number is needed"),
    ],
)
async def test_a_number_whose_age_is_not_known_is_no_number(
    prometheus: Prometheus, server: Server, status: int, age: Any, state: ReadingState, detail: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if (await request.post())["query"] == WIDE.promql:
            return web.json_response(vector("0.01"))
        return web.Response(body=age if isinstance(age, bytes) else json.dumps(age).encode(), status=status)

    server.answer = answer
    (reading,) = await prometheus.ask([WIDE], timeout_seconds=LONG)
    assert (reading.state, reading.detail) == (state, detail)
    assert (reading.value is not None) == (state is ReadingState.VALUE)
    assert [form["query"] for form in server.seen] == [WIDE.promql, AGE]


async def test_the_age_is_asked_only_where_it_can_be_too_great(prometheus: Prometheus, server: Server) -> None:
    server.gives(vector())
    await prometheus.ask([WIDE], timeout_seconds=LONG)
    assert len(server.seen) == 1, "no number has no age"
    server.gives(vector("1"))
    await prometheus.ask([RATIO], timeout_seconds=LONG)
    await prometheus.ask([Query("n", WIDE.promql, 300)], timeout_seconds=LONG)
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("promql", "age"),
    [
        ("up", 'clamp_max(count(count_over_time({__name__="up"}[60s])), 1) or 0 * (count({__name__="up"}))'),
        ("rate(up[1m])", None),
        ("up offset 5m", None),
        ("max_over_time(up[5m:1m] offset 1h)", None),
        ("up @ 5", None),
        ("vector(1) + time()", None),
        ("sum(", None),
        ("(" * 26 + "up" + ")" * 26, None),
        ("up + " * 1_000 + "up", None),
    ],
)
def test_what_is_asked_about_the_age(promql: str, age: str | None) -> None:
    assert age_query(promql, 60) == age


@COLD
@given(st.text(max_size=20), st.sampled_from(["=", "!=", "=~", "!~"]))
def test_a_label_says_the_same_in_the_question_about_the_age(value: str, operator: str) -> None:
    text = quote(value)
    try:
        before = selectors(parse(f"rate(x{{a{operator}{text}}}[5m])"))
    except BadSignal:
        return  # no regular expression
    age = age_query(f"rate(x{{a{operator}{text}}}[5m])", 60)
    assert age is not None
    after = selectors(parse(age))
    matchers = [matcher for _, matchers in before for matcher in matchers]
    assert [matchers for _, matchers in after] == [[("__name__", "=", "x"), *matchers]] * 2


INFO = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "x" (1:6)'


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ({"warnings": ["a store\n did not answer", "more"]}, "Prometheus warns: a store did not answer"),
        ({"warnings": [INFO, "a store"]}, "Prometheus warns: a store"),
        ({"warnings": [""]}, "Prometheus warns: unknown"),
        ({"warnings": ["w" * 500]}, "Prometheus warns: " + "w" * 182),
        ({"warnings": [INFO]}, ""),
        ({"infos": [INFO]}, ""),
        ({"warnings": []}, ""),
        ({"warnings": "a store"}, ""),
    ],
)
async def test_a_warning_of_the_server_makes_the_number_partial(
    prometheus: Prometheus, server: Server, said: dict[str, Any], detail: str
) -> None:
    server.gives(vector("1") | said)
    (reading,) = await prometheus.ask([RATIO], timeout_seconds=LONG)
    assert (reading.state, reading.value) == (ReadingState.VALUE, "1")
    assert (reading.partial, reading.detail) == (bool(detail), detail)
    (shared,) = await prometheus.ask([RATIO], timeout_seconds=LONG, fresh_seconds=60)
    assert (shared.partial, len(server.seen)) == (reading.partial, 1)


async def test_a_warning_about_the_age_makes_the_number_partial(prometheus: Prometheus, server: Server) -> None:
    """Where a store is missing `or vector(0)` gives a number, and the age is that of nothing."""

    async def answer(request: web.Request) -> web.Response:
        if (await request.post())["query"] == WIDE.promql:
            return web.json_response(vector("0"))
        return web.json_response(vector() | {"warnings": ["a store did not answer"]})

    server.answer = answer
    (reading,) = await prometheus.ask([WIDE], timeout_seconds=LONG)
    assert (reading.value, reading.partial, reading.detail) == ("0", True, "Prometheus warns: a store did not answer")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"x" * (ANSWER_BYTES + 1),
        result("matrix", []),
        result("matrix", [5]),
        result("matrix", [{}]),
        vector(),
    ],
)
async def test_a_history_that_cannot_be_read_is_empty(prometheus: Prometheus, server: Server, body: Any) -> None:
    server.gives(body)
    assert await prometheus.history("up", NOW - timedelta(minutes=1), NOW, 10) == []


async def test_a_history_leaves_out_what_is_no_number(
    prometheus: Prometheus, server: Server, session: aiohttp.ClientSession
) -> None:
    at = NOW.timestamp()
    server.gives(result("matrix", [{"values": [[at, "1"], [at, "NaN"], [at, 5], "x", [at, "2e3"]]}]))
    points = await prometheus.history("up", NOW - timedelta(minutes=1), NOW, 10)
    assert points == [(NOW, "1"), (NOW, "2e3")]
    assert server.seen[0]["step"] == "10"
    await session.close()
    assert await prometheus.history("up", NOW - timedelta(minutes=1), NOW, 10) == []


async def test_every_request_is_counted_with_its_state(
    server: Server, session: aiohttp.ClientSession, clock: Clock
) -> None:
    counted: list[tuple[str, float]] = []
    prometheus = Prometheus(
        url=server.url,
        session=lambda: session,
        clock=clock,
        count=lambda state, seconds: counted.append((state, seconds)),
    )
    server.gives(vector())
    await prometheus.ask([RATIO, RATIO], timeout_seconds=LONG)
    await prometheus.ask([RATIO], timeout_seconds=LONG, fresh_seconds=10)
    assert [state for state, _ in counted] == ["no_data"]
    assert 0 <= counted[0][1] < LONG


async def test_without_prometheus_every_reading_says_so(clock: Clock) -> None:
    nobody = NoPrometheus(clock)
    (reading,) = await nobody.ask([RATIO], timeout_seconds=LONG)
    assert (reading.state, reading.detail) == (ReadingState.UNREACHABLE, "no prometheus is configured")
    assert await nobody.ask([], timeout_seconds=LONG) == ()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["success", "vector", "scalar", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "data", "resultType", "result", "value"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@COLD
@given(
    JSON | JSON.map(lambda pair: vector(pair)) | JSON.map(lambda rows: result("vector", rows)), st.integers(200, 599)
)
def test_whatever_a_server_answers_is_read(data: Any, status: int) -> None:
    answer = _read(status, json.dumps(data).encode())
    assert (answer.state is ReadingState.VALUE) == (answer.value is not None) == (answer.detail == "")
    assert "\n" not in answer.detail
    assert status == 200 or answer.state in (ReadingState.ERROR, ReadingState.UNREACHABLE)


# --- Alertmanager


def alert(fingerprint: str, state: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        "labels": {"alertname": "HighErrorRate"},
        "annotations": {"summary": "it fails"},
        "startsAt": "2026-11-02T09:00:00.000Z",
        "endsAt": "2026-11-02T09:05:00.000Z",
        "updatedAt": "2026-11-02T09:00:30.000Z",
        "receivers": [{"name": "counterfoil"}],
        "generatorURL": "http://prometheus/graph",
        **more,
    }


def alertmanagers(session: aiohttp.ClientSession, *servers: Server) -> Alertmanagers:
    return Alertmanagers(
        servers=[(s.url, {"Authorization": "Bearer t"}, None) for s in servers], session=lambda: session
    )


async def test_the_union_of_all_peers_in_the_shape_of_a_webhook(
    server: Server, peer: Server, session: aiohttp.ClientSession
) -> None:
    server.gives([alert("a"), alert("b", "suppressed"), alert(""), "no alert"])
    peer.gives([alert("a"), alert("c")])
    rows = await alertmanagers(session, server, peer).active()
    assert rows is not None
    assert [row["fingerprint"] for row in rows] == ["a", "c"]
    assert rows[0] == {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate"},
        "annotations": {"summary": "it fails"},
        "startsAt": "2026-11-02T09:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "a",
    }
    assert server.headers[0]["Authorization"] == "Bearer t"
    asked = server.seen[0]
    assert (asked["active"], asked["silenced"], asked["inhibited"]) == ("true", "false", "false")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"[]"),
        (307, b"[]"),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"[" * 100_000),
        (200, b"[" + b" " * ALERTS_BYTES),
    ],
)
async def test_absence_says_nothing_where_a_peer_does_not_answer(
    server: Server, peer: Server, session: aiohttp.ClientSession, status: int, body: bytes
) -> None:
    server.gives([alert("a")])
    peer.gives(body, status)
    assert await alertmanagers(session, server, peer).active() is None
    assert len(peer.seen) == 1


async def test_no_alertmanager_is_not_an_empty_one(
    server: Server, session: aiohttp.ClientSession, free_port: Callable[[], int]
) -> None:
    assert await alertmanagers(session).active() is None
    server.gives([])
    assert await alertmanagers(session, server).active() == []
    server.url = f"http://127.0.0.1:{free_port()}"
    assert await alertmanagers(session, server).active() is None


# --- the real ones


async def ready(url: str, session: aiohttp.ClientSession) -> None:
    for _ in range(200):
        try:
            async with session.get(f"{url}/-/ready") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError(f"{url} does not become ready")


async def running(url: str, session: aiohttp.ClientSession, *command: str) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    await ready(url, session)
    return process


SAMPLES = """\
# TYPE fresh gauge
fresh{{n="1"}} 0.1 {recent}
fresh{{n="2"}} 0.2 {recent}
# TYPE old gauge
old 7 {old}
# TYPE odd gauge
odd NaN {recent}
# EOF
"""


@pytest.fixture
async def real(
    tool: Callable[[str], Path],
    tmp_path: Path,
    free_port: Callable[[], int],
    session: aiohttp.ClientSession,
    clock: Clock,
) -> AsyncIterator[Prometheus]:
    """The real Prometheus with a few samples: `old` was last seen 200 s ago, the others 2 s ago."""
    at = int(NOW.timestamp())
    with filled_prometheus(tool, tmp_path, free_port, SAMPLES.format(recent=at - 2, old=at - 200)) as url:
        yield Prometheus(url=url, session=lambda: session, clock=clock)


async def test_a_real_prometheus_gives_each_state(real: Prometheus) -> None:
    texts = {
        'fresh{n="2"}': (ReadingState.VALUE, "0.2"),
        "sum(fresh)": (ReadingState.VALUE, "0.30000000000000004"),
        "scalar(sum(fresh))": (ReadingState.VALUE, "0.30000000000000004"),
        "fresh": (ReadingState.MANY, None),
        "nothing": (ReadingState.NO_DATA, None),
        "absent(nothing)": (ReadingState.VALUE, "1"),
        "odd": (ReadingState.NAN, None),
        "sum(fresh) / 0": (ReadingState.NAN, None),
        "fresh[5m]": (ReadingState.ERROR, None),
        "sum(": (ReadingState.ERROR, None),
        'old{n="gone"} or vector(0)': (ReadingState.VALUE, "0"),
        "max(old)": (ReadingState.VALUE, "7"),
    }
    readings = await real.ask([Query("n", text, 300) for text in texts], timeout_seconds=LONG)
    assert {r.promql: (r.state, r.value) for r in readings} == texts
    assert all(r.sampled_at == NOW for r in readings if r.state is ReadingState.VALUE)


async def test_a_real_prometheus_gives_nothing_that_is_older_than_max_age(real: Prometheus) -> None:
    """`old` was last seen 200 s ago: a window of five minutes still gives a number for it."""
    stale, why = ReadingState.STALE, "the newest sample is older than 100 s"
    texts = {
        "max(old)": (stale, why),
        "sum(count_over_time(old[5m]))": (stale, why),
        "max_over_time(sum(old)[5m:30s])": (stale, why),
        "sum(count_over_time(old[5m])) or vector(0)": (stale, why),
        "scalar(max(old))": (stale, why),
        'sum(count_over_time(fresh{n="1"}[5m]))': (ReadingState.VALUE, ""),
        'max(old) + max(fresh{n="1"})': (ReadingState.VALUE, ""),
        "sum(count_over_time(nothing[5m])) or vector(0)": (ReadingState.VALUE, ""),
        "absent(nothing)": (ReadingState.VALUE, ""),
        "max(old offset 1m)": (ReadingState.VALUE, ""),
        "sum(count_over_time(old[90s]))": (ReadingState.NO_DATA, "no series"),
    }
    readings = await real.ask([Query("n", text, 100) for text in texts], timeout_seconds=LONG)
    assert {r.promql: (r.state, r.detail) for r in readings} == texts


async def test_a_real_prometheus_gives_the_history_of_one_series(real: Prometheus) -> None:
    points = await real.history('fresh{n="1"}', NOW - timedelta(minutes=10), NOW, 2)
    assert [value for _, value in points] == ["0.1"]
    assert points[0][0] == NOW
    long = await real.history("max(old) or vector(1)", NOW - timedelta(hours=10), NOW, 1)
    assert HISTORY_POINTS - 2 < len(long) <= HISTORY_POINTS
    assert (long[0][1], long[-1]) == ("1", (NOW, "7"))
    assert timedelta(hours=9) < NOW - long[0][0] <= timedelta(hours=10)
    for nothing in ("fresh", "nothing", "sum(", "vector(0) / 0"):
        assert await real.history(nothing, NOW - timedelta(minutes=1), NOW, 10) == []
    assert await real.history("vector(1)", NOW, NOW - timedelta(minutes=1), 10) == []


async def test_a_real_alertmanager_tells_what_fires_and_not_what_is_silenced(
    tool: Callable[[str], Path], tmp_path: Path, free_port: Callable[[], int], session: aiohttp.ClientSession
) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text("{route: {receiver: none}, receivers: [{name: none}]}", encoding="utf-8")
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = await running(
        url,
        session,
        str(tool("alertmanager")),
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    try:
        source = Alertmanagers(servers=[(url, {}, None)], session=lambda: session)
        assert await source.active() == []
        fires: dict[str, Any] = {"labels": {"alertname": "A", "service": "checkout"}, "annotations": {"summary": "x"}}
        async with session.post(f"{url}/api/v2/alerts", json=[fires, {"labels": {"alertname": "B"}}]) as answer:
            assert answer.status == 200
        begin = datetime.now(UTC)
        silence = {
            "matchers": [{"name": "alertname", "value": "B", "isRegex": False}],
            "startsAt": begin.isoformat(),
            "endsAt": (begin + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "test",
        }
        async with session.post(f"{url}/api/v2/silences", json=silence) as answer:
            assert answer.status == 200
        rows = await source.active()
        for _ in range(100):
            if rows is not None and len(rows) == 1:
                break
            await asyncio.sleep(0.05)
            rows = await source.active()
        assert rows is not None
        assert [(row["labels"], row["annotations"]) for row in rows] == [(fires["labels"], fires["annotations"])]
        assert len(rows[0]["fingerprint"]) == 16
        assert datetime.fromisoformat(rows[0]["startsAt"]) <= datetime.now(UTC)
    finally:
        process.terminate()
        await process.wait()
