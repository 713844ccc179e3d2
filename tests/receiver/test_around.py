"""What is looked up around an incident: in time, within limits, saying what was left out, whatever the server does."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from receiver.evidence import around as around_module
from receiver.evidence import left_out, nearby
from receiver.evidence.around import ALERTS_MAX, CANDIDATES_MAX, Around
from receiver.evidence.grid import GRID_POINTS
from receiver.evidence.prometheus import NoPrometheus
from receiver.evidence.promql import metrics_of, parsed, selector
from receiver.evidence.round import ANSWER_BYTES, QUESTIONS_AT_ONCE, QUESTIONS_MAX, Round
from receiver.papers import Gathered, Inquiry
from receiver.rehearsal.outside import CaseClock
from tests.filled_prometheus import filled_prometheus
from tests.outages import outages
from tests.receiver.investigated import asking, consulted

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
INQUIRY = Inquiry(
    at=NOW,
    labels={"alertname": "HighErrorRate", "service": "checkout", "severity": "critical", "namespace": "shop"},
    alertnames=("HighErrorRate",),
    signals={"error_ratio": 'errors{service="checkout"}'},
)
Answer = Callable[[str, Mapping[str, str]], Awaitable[web.StreamResponse]]


def good(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})


def rows(*metrics: Mapping[str, str], value: str = "1") -> web.Response:
    at = int(NOW.timestamp())
    values = [[at - 60 * back, value] for back in range(GRID_POINTS)][::-1]
    return good({"resultType": "matrix", "result": [{"metric": dict(m), "values": values} for m in metrics]})


def vector(*metrics: Mapping[str, str], value: str = "1") -> web.Response:
    at = int(NOW.timestamp())
    return good({"resultType": "vector", "result": [{"metric": dict(m), "value": [at, value]} for m in metrics]})


class Server:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.at_once = self.most_at_once = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = dict(await request.post()) if request.method == "POST" else dict(request.query)
        path = request.path.removeprefix("/api/v1/")
        self.asked.append((path, {name: str(value) for name, value in form.items()}))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.answer(path, self.asked[-1][1])
        finally:
            self.at_once -= 1

    @property
    def queries(self) -> list[str]:
        return [form["query"] for _, form in self.asked if "query" in form]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[Server, str]]:
    server = Server(answer)
    app = web.Application()
    app.router.add_route("*", "/api/v1/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def look(url: str, inquiry: Inquiry = INQUIRY, seconds: float = 20.0) -> Gathered:
    async with asking(url, CaseClock(NOW)) as office:
        return await office.around(inquiry, timeout_seconds=seconds)


# --- a server that answers -------------------------------------------------------------------------------------------


async def whole(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    query = form.get("query", "")
    if path == "rules":
        rule = {
            "type": "alerting",
            "name": "HighErrorRate",
            "query": "errors > 0.05",
            "duration": 300,
            "state": "firing",
        }
        other = {"type": "alerting", "name": "Other", "query": "up == 0", "duration": 0}
        return good({"groups": [{"rules": [other, rule | {"health": "ok"}, {"type": "recording", "name": "r"}]}, None]})
    if path == "status/tsdb":
        return good({"headStats": {"numSeries": 30_000_000}})
    if query.startswith("ALERTS_FOR_STATE"):
        alert = {"__name__": "ALERTS_FOR_STATE", "alertname": "DiskFull", "node": "n1"}
        own = {"__name__": "ALERTS_FOR_STATE", "alertname": "HighErrorRate", "service": "checkout", "namespace": "shop"}
        return vector(alert, own, value=str(NOW.timestamp() - 600))
    if query.startswith("count by"):
        return vector({"__name__": "pool_in_use"}, value="2") if 'service="checkout"' in query else vector()
    if query.startswith("group by"):
        return vector({"node": "n1", "dependency": "payments"})
    if "count_over_time(ALERTS" in query:
        return rows({}, value="3")
    if query == "deployed":
        at = int(NOW.timestamp())
        values = [[at - 60 * back, "2" if back < 20 else "1"] for back in range(GRID_POINTS)][::-1]
        return good({"resultType": "matrix", "result": [{"metric": {"app": "checkout"}, "values": values}]})
    return rows({"__name__": "pool_in_use", "service": "checkout"})


async def test_each_part_is_asked_and_told() -> None:
    async with serving(whole) as (server, url):
        found = await look(url, Inquiry(**{**vars_of(INQUIRY), "deploys": ("deployed",)}))
    (rule,) = found.rules
    assert (rule.title, rule.query) == ("the alert's rule: HighErrorRate", "errors > 0.05")
    assert rule.values["for_seconds"] == "300"
    assert rule.values["parts_in_which_it_fired"] == "3"
    (signal,) = found.signals.values()
    assert (signal.query, signal.values["now"], len(signal.points)) == ('errors{service="checkout"}', "1", GRID_POINTS)
    assert [alert.title for alert in found.alerts] == ["another alert fires: DiskFull"]
    assert found.alerts[0].values["pending_since"] == (NOW - timedelta(minutes=10)).isoformat(timespec="seconds")
    (deploy,) = found.deploys
    assert (deploy.values["before"], deploy.values["now"]) == ("1", "2")
    assert deploy.values["at"] == (NOW - timedelta(minutes=19)).isoformat(timespec="seconds")
    assert "series that share no label with the incident: the server is large" in found.cut
    # What the incident's own series name is looked at, too.
    assert any('service="payments"' in query for query in server.queries)
    assert any('node="n1"' in query for query in server.queries)
    assert server.most_at_once <= QUESTIONS_AT_ONCE
    assert all(form["timeout"] == "3s" for path, form in server.asked if path.startswith("query"))


def vars_of(inquiry: Inquiry) -> dict[str, Any]:
    return {name: getattr(inquiry, name) for name in inquiry.__slots__}


async def test_without_prometheus_nothing_is_found_and_that_is_said() -> None:
    found = await NoPrometheus(CaseClock(NOW).now).around(INQUIRY, timeout_seconds=1)
    assert found == Gathered(cut=("no prometheus is configured: nothing was looked up",))


# --- a server that does not ------------------------------------------------------------------------------------------


async def never(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def refuses(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    return web.json_response({"status": "error", "errorType": "bad_data", "error": "parse <b>error</b>"}, status=400)


async def is_down(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    return web.Response(status=503, text="<html>")


async def is_no_prometheus(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    return web.Response(text="[" * 100_000)


async def answers_oddly(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    odd: list[Any] = [None, 7, {"metric": 1}, {"metric": {"a": 1}, "values": [[1], ["x", "y"]], "value": 3}]
    return good({"result": odd, "groups": [{"rules": [1, {"type": "alerting"}]}, 5], "headStats": 3})


async def is_endless(path: str, form: Mapping[str, str]) -> web.StreamResponse:
    return web.Response(body=b"[" + b"1," * (ANSWER_BYTES // 2 + 10))


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (refuses, "parse <b>error</b>"),
        (is_down, "it answers 503, and not as Prometheus does"),
        (is_no_prometheus, "it answers 200, and not as Prometheus does"),
        (answers_oddly, "the server is large"),
        (is_endless, f"an answer of more than {ANSWER_BYTES:,} bytes"),
    ],
)
async def test_whatever_it_answers_nothing_is_found_and_it_is_said_why(answer: Answer, word: str) -> None:
    async with serving(answer) as (_, url):
        found = await look(url)
    assert found.candidates == ()
    assert found.rules == ()
    assert any(word in sentence for sentence in found.cut)


async def test_what_is_not_answered_in_time_is_left_out_and_the_rest_is_used() -> None:
    async def slow_rules(path: str, form: Mapping[str, str]) -> web.StreamResponse:
        return await (never if path == "rules" else whole)(path, form)

    async with serving(slow_rules) as (_, url):
        began = asyncio.get_running_loop().time()
        found = await look(url, seconds=1.0)
        took = asyncio.get_running_loop().time() - began
    assert took < around_module.WINDOW_SECONDS  # it came back
    assert "the alert's rule: not all of it was answered in time" in found.cut
    assert found.signals
    assert found.alerts


async def test_in_a_storm_others_wait_and_are_told_that_nothing_was_looked_up() -> None:
    async with serving(never) as (server, url), asking(url, CaseClock(NOW)) as office:
        found = await asyncio.gather(*(office.around(INQUIRY, timeout_seconds=0.5) for _ in range(5)))
    assert sum(one.cut[0].startswith("nothing was looked up") for one in found) >= 1
    assert server.most_at_once <= around_module.GATHERINGS_AT_ONCE * QUESTIONS_AT_ONCE


async def test_no_more_questions_than_the_limit_and_each_is_counted() -> None:
    counted: Counter[str] = Counter()

    async def crowded(path: str, form: Mapping[str, str]) -> web.StreamResponse:
        if form.get("query", "").startswith("count by"):
            return vector(*({"__name__": f"metric_{n}"} for n in range(200)), value="15")
        return rows({"__name__": "metric_1"})

    async with serving(crowded) as (server, url), asking(url, CaseClock(NOW)) as office:
        office._around = Around(office._server, lambda outcome, seconds: counted.update([outcome]))
        found = await office.around(INQUIRY, timeout_seconds=30)
    assert len(server.asked) <= QUESTIONS_MAX
    assert counted["value"] == len(server.asked)
    assert any("were not asked for" in sentence or "questions" in sentence for sentence in found.cut)
    assert len(found.candidates) <= CANDIDATES_MAX
    assert len(found.alerts) <= ALERTS_MAX


async def test_no_more_bytes_than_the_limit() -> None:
    async def large(path: str, form: Mapping[str, str]) -> web.StreamResponse:
        return web.Response(text=json.dumps({"status": "success", "data": None, "x": "x" * (ANSWER_BYTES - 100)}))

    async with serving(large) as (_, url), asking(url, CaseClock(NOW)) as office:
        asks = Round(office._server, lambda outcome, seconds: None)
        for _ in range(10):
            await asks.read("x", "rules", {})
    assert asks.questions == 7
    assert asks.cut == ["more than 12,000,000 bytes would have been read"]


# --- queries ---------------------------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_label_from_outside_stays_a_value(value: str, other: str) -> None:
    own = nearby.own_labels({"service": value, "namespace": other})
    further, _ = nearby.hops(own or [{"service": "x"}], [{"node": other, "dependency": value}])
    for labels in (*own, *further):
        chosen = nearby.matchers(labels)
        for query in (nearby.names_query(chosen), nearby.links_query(labels), selector(["a", "b"], chosen)):
            root = parsed(query)
            assert root is not None
            assert len(re.findall(r"\{", re.sub(r'"(?:\\.|[^"\\])*"', "", query))) == 1


def test_the_narrow_labels_are_looked_at_and_broad_ones_only_where_there_is_nothing_else() -> None:
    assert nearby.own_labels({"alertname": "A", "service": "s", "job": "j", "pod": "p"}) == [
        {"pod": "p"},
        {"service": "s"},
    ]
    assert nearby.own_labels({"alertname": "A", "job": "j", "cluster": "c"}) == [{"cluster": "c", "job": "j"}]
    assert nearby.own_labels({"alertname": "A", "severity": "s"}) == []


def test_the_plan_is_within_its_limits_and_says_what_it_leaves_out() -> None:
    crowd = nearby.Found('service="a"', 0, {f"m{n}": 15 for n in range(100)} | {"wide_total": 400, "wide": 400})
    huge = nearby.Found('cluster="c"', 1, {"m": nearby.SELECTOR_SERIES_MAX + 1})
    questions, cut = nearby.plan([huge, crowd])
    singles = [question for question in questions if not question.of]
    assert len(singles) * nearby.BATCH_SERIES >= nearby.SERIES_MAX
    assert [q.promql for q in questions if q.of] == [
        'max({__name__="wide",service="a"})',
        'min({__name__="wide",service="a"})',
        'sum(rate({__name__="wide_total",service="a"}[120s]))',
    ]
    assert [left_out.text(one) for one in cut] == [
        '900 series of {service="a"} were not asked for',
        '{cluster="c"} has 3,001 series, too many to look at',
    ]


def test_the_metrics_of_a_query_are_those_that_it_names() -> None:
    assert metrics_of('sum(rate(a_seconds_sum{x="b"}[5m])) / a_seconds_count or up') == {"a_seconds", "up"}
    assert metrics_of("sum(") == frozenset()
    assert metrics_of("(" * 30 + "a" + ")" * 30) == frozenset()


# --- the case file, in the ledger ------------------------------------------------------------------------------------


async def test_the_case_file_stands_in_the_ledger_with_every_item_under_its_name(
    tool: Callable[[str], Path], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    outage = outages()["pool_exhausted"]
    with filled_prometheus(tool, tmp_path, free_port, outage.text()) as url:
        entry, case = await consulted(outage, url)
    assert [exhibit["ref"] for exhibit in case["exhibits"]] == [f"q{n}" for n in range(1, len(case["exhibits"]) + 1)]
    kinds = Counter(exhibit["kind"] for exhibit in case["exhibits"])
    assert kinds["finding"] == kinds["signal"] == 1
    assert kinds["candidate"] == len(entry.body["case"]["moved"]) * 2 == 10
    for exhibit in case["exhibits"]:
        assert exhibit["values"]
        assert exhibit["taken_at"]
        assert bool(exhibit["query"]) == (exhibit["kind"] in ("signal", "candidate"))
    signal = next(exhibit for exhibit in case["exhibits"] if exhibit["kind"] == "signal")
    assert len(signal["points"]) == GRID_POINTS
    assert entry.body["case"]["moved"][0]["what"].startswith("db_pool_connections_pending")
    assert [item["ref"] for item in entry.body["case"]["items"]] == [exhibit["ref"] for exhibit in case["exhibits"]]
