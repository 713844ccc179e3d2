"""What policy asks of Prometheus, over plain aiohttp, with a limit on everything. It never raises: no answer is one."""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from policy_rules.readings import Query, Reading, ReadingState
from receiver.evidence.around import Around, nothing
from receiver.evidence.asking import Asking
from receiver.evidence.freshness import FRESH, age_query
from receiver.evidence.server import Server
from receiver.papers import Answered, Gathered, Inquiry, words

ANSWER_BYTES = 262_144
HISTORY_POINTS = 60
DETAIL_CHARACTERS = 200
QUERIES_AT_ONCE = 8
SHARED_QUERIES_MAX = 1_000
INFO = "PromQL info"  # so begins what concerns the query's author alone; Prometheus 2 has it among the warnings
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class _Answer:
    state: ReadingState
    value: str | None
    sampled_at: datetime | None
    detail: str
    warning: str = ""  # of the server, that a part of its data is missing


@dataclass(frozen=True, slots=True)
class Listed:
    """The labels of each series of an answer; None where there is no answer, and `detail` says why."""

    labels: tuple[Mapping[str, str], ...] | None
    detail: str = ""


class NoPrometheus:
    """For a tenant without Prometheus: every question goes unanswered, and says why."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        now, why = self._clock(), "no prometheus is configured"
        return tuple(Reading(q.name, q.promql, ReadingState.UNREACHABLE, None, None, now, why) for q in queries)

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        return nothing(words("no prometheus"))


class Prometheus:
    """One server. Source of the protocol: Prometheus 2.42's own HTTP API, as run."""

    def __init__(
        self,
        *,
        url: str,
        session: Callable[[], aiohttp.ClientSession],
        clock: Callable[[], datetime],
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        count: Callable[[str, float], None] = lambda outcome, seconds: None,
    ) -> None:
        """count: called with the state and the seconds of each query that was really asked."""
        self._server = Server(url=url, session=session, headers=headers, ssl=ssl)
        self._around = Around(self._server, count)
        self._asking = Asking(self._server, count)
        self._clock = clock
        self._count = count
        self._places = asyncio.Semaphore(QUERIES_AT_ONCE)
        self._under_way: dict[tuple[str, float, float], asyncio.Task[Reading]] = {}
        self._shared: dict[tuple[str, float], Reading] = {}

    async def ask(
        self, queries: Sequence[Query], *, timeout_seconds: float, fresh_seconds: float = 0.0
    ) -> tuple[Reading, ...]:
        """One reading a query, in order; the same query at the same time is asked once."""
        return tuple(await asyncio.gather(*(self._one(q, timeout_seconds, fresh_seconds) for q in queries)))

    async def series(self, promql: str, *, end: datetime, seconds: int, timeout_seconds: float) -> Answered:
        """What Claude asks for, in a place of its own."""
        return await self._asking.series(promql, end=end, seconds=seconds, timeout_seconds=timeout_seconds)

    async def around(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        """Beside what policy asks, in places of its own: a case file delays no verdict."""
        return await self._around.gather(inquiry, timeout_seconds=timeout_seconds)

    async def _one(self, query: Query, timeout_seconds: float, fresh_seconds: float) -> Reading:
        same = (query.promql, query.max_age_seconds)
        known = self._shared.get(same)
        if known is not None and 0 <= (self._clock() - known.asked_at).total_seconds() <= fresh_seconds:
            return replace(known, name=query.name)
        # Who has less patience has a question of their own: its end must not be taken for Prometheus's silence.
        joined = (*same, timeout_seconds)
        task = self._under_way.get(joined)
        if task is None:
            task = asyncio.create_task(self._asked(query, timeout_seconds))
            self._under_way[joined] = task
            task.add_done_callback(lambda _: self._under_way.pop(joined, None))
        try:
            # Shielded: whoever else waits for the same answer is not cancelled with this caller.
            async with asyncio.timeout(timeout_seconds):
                reading = await asyncio.shield(task)
        except TimeoutError:
            why = f"no answer within {timeout_seconds:g} s"
            return Reading(query.name, query.promql, ReadingState.UNREACHABLE, None, None, self._clock(), why)
        return replace(reading, name=query.name)

    async def _asked(self, query: Query, timeout_seconds: float) -> Reading:
        asked_at, loop = self._clock(), asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(timeout_seconds), self._places:
                answer = await self._request(query.promql, query.max_age_seconds, asked_at, timeout_seconds)
                if answer.state is ReadingState.VALUE:
                    answer = await self._of_age(query, answer, asked_at, timeout_seconds)
        except TimeoutError:
            answer = _Answer(ReadingState.UNREACHABLE, None, None, f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # RuntimeError: the session is closed, at the end
            answer = _Answer(ReadingState.UNREACHABLE, None, None, f"{type(error).__name__}: it does not answer")
        self._count(answer.state.value, loop.time() - began)
        partial = answer.state is ReadingState.VALUE and bool(answer.warning)
        detail = f"Prometheus warns: {answer.warning}"[:DETAIL_CHARACTERS] if partial else answer.detail
        reading = Reading(
            *(query.name, query.promql, answer.state, answer.value, answer.sampled_at, asked_at, detail, partial)
        )
        if answer.state is not ReadingState.UNREACHABLE:
            if len(self._shared) >= SHARED_QUERIES_MAX:
                self._shared.clear()
            self._shared[query.promql, query.max_age_seconds] = reading
        return reading

    async def _of_age(self, query: Query, answer: _Answer, at: datetime, timeout_seconds: float) -> _Answer:
        """`answer`, or STALE where every sample that it was made of is older than the signal's `max_age`."""
        about_age = age_query(query.promql, query.max_age_seconds)
        if about_age is None:
            return answer
        age = await self._request(about_age, query.max_age_seconds, at, timeout_seconds)
        if age.value == FRESH or age.state is ReadingState.NO_DATA:
            return replace(answer, warning=answer.warning or age.warning)
        if age.state is ReadingState.VALUE:
            why = f"the newest sample is older than {query.max_age_seconds:g} s"
            return _Answer(ReadingState.STALE, None, answer.sampled_at, why)
        return _Answer(age.state, None, None, f"its age cannot be told: {age.detail}"[:DETAIL_CHARACTERS])

    async def _request(self, promql: str, max_age_seconds: float, at: datetime, timeout_seconds: float) -> _Answer:
        form = {
            "query": promql,
            "time": f"{at.timestamp():.3f}",
            "timeout": f"{timeout_seconds:g}s",
            # How far back a series may have its last sample, where the server obeys; freshness.py is for the others.
            "lookback_delta": f"{max(1, round(max_age_seconds))}s",
        }
        return _read(*await self._server.post("query", form, ANSWER_BYTES))

    async def history(
        self, promql: str, start: datetime, end: datetime, step_seconds: float, *, timeout_seconds: float = 5.0
    ) -> list[tuple[datetime, str]]:
        """How one series went, as (time, the text that Prometheus sent), oldest first; for a case file, not for policy.

        At most HISTORY_POINTS, the last of them at `end`: a shorter step is made longer. Empty where there is no such
        series, more than one, or no answer; never raises.
        """
        span = (end - start).total_seconds()
        if span < 0:
            return []
        step = math.ceil(max(step_seconds, span / (HISTORY_POINTS - 1), 1.0))
        form = {
            "query": promql,
            "start": f"{end.timestamp() - span // step * step:.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step}",
            "timeout": f"{timeout_seconds:g}s",
        }
        try:
            async with asyncio.timeout(timeout_seconds), self._places:
                return _points(*await self._server.post("query_range", form, ANSWER_BYTES))[-HISTORY_POINTS:]
        except (TimeoutError, aiohttp.ClientError, OSError):
            return []

    async def listed(self, promql: str, *, timeout_seconds: float) -> Listed:
        """The series that an instant query gives now, for a person who tries a policy; never raises."""
        form = {"query": promql, "time": f"{self._clock().timestamp():.3f}", "timeout": f"{timeout_seconds:g}s"}
        try:
            async with asyncio.timeout(timeout_seconds), self._places:
                return _listed(*await self._server.post("query", form, ANSWER_BYTES))
        except TimeoutError:
            return Listed(None, f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: no address
            return Listed(None, f"{type(error).__name__}: it does not answer")


def _read(status: int, raw: bytes | None) -> _Answer:
    if raw is None:
        return _Answer(ReadingState.ERROR, None, None, f"an answer of more than {ANSWER_BYTES} bytes")
    data = _json(raw)
    if not isinstance(data, dict):
        if status >= 500:
            return _Answer(ReadingState.UNREACHABLE, None, None, f"it answers {status}")
        return _Answer(ReadingState.ERROR, None, None, f"it answers {status} with something that is not Prometheus's")
    if status != 200 or data.get("status") != "success":
        why = f"{data.get('errorType', status)}: {data.get('error', 'no reason given')}"
        state = ReadingState.UNREACHABLE if status >= 500 else ReadingState.ERROR
        return _Answer(state, None, None, " ".join(why.split())[:DETAIL_CHARACTERS])
    return replace(_one_number(data), warning=_warning(data.get("warnings")))


def _warning(warnings: Any) -> str:
    """What a server that asks others (Thanos, remote read) says of a part that did not answer; "" where it is whole."""
    found = [" ".join(str(one).split()) for one in warnings] if isinstance(warnings, list) else []
    return next((one[:DETAIL_CHARACTERS] or "unknown" for one in found if not one.startswith(INFO)), "")


def _one_number(data: Mapping[str, Any]) -> _Answer:
    result = data.get("data")
    if not isinstance(result, dict):
        return _Answer(ReadingState.ERROR, None, None, "an answer without data")
    kind, rows = result.get("resultType"), result.get("result")
    if kind == "scalar":
        return _sample(rows)
    if kind != "vector" or not isinstance(rows, list):
        return _Answer(ReadingState.ERROR, None, None, f"the query gives a {kind}, not one number")
    if not rows:
        return _Answer(ReadingState.NO_DATA, None, None, "no series")
    if len(rows) > 1:
        return _Answer(ReadingState.MANY, None, None, f"{len(rows)} series where one number is needed")
    return _sample(rows[0].get("value") if isinstance(rows[0], dict) else None)


def _sample(pair: Any) -> _Answer:
    """[seconds, "text"] as Prometheus sends it; the text stays as it is."""
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
        return _Answer(ReadingState.ERROR, None, None, "a sample that is not [time, text]")
    try:
        at = datetime.fromtimestamp(float(pair[0]), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return _Answer(ReadingState.ERROR, None, None, "a sample without a time")
    if _NUMBER.fullmatch(pair[1]) and math.isfinite(float(pair[1])):
        return _Answer(ReadingState.VALUE, pair[1], at, "")
    # An infinity is what a division by zero leaves: no more a number to compare than NaN is.
    return _Answer(ReadingState.NAN, None, at, f"the value is {pair[1][:20]}")


def _listed(status: int, raw: bytes | None) -> Listed:
    answer = _read(status, raw)
    if answer.state in (ReadingState.UNREACHABLE, ReadingState.ERROR):
        return Listed(None, answer.detail)
    data = _json(raw or b"")["data"]  # `_read` has looked at its shape
    rows = data["result"] if data["resultType"] == "vector" else []
    metrics = [row.get("metric") for row in rows if isinstance(row, dict)]
    return Listed(tuple({str(k): str(v) for k, v in one.items()} for one in metrics if isinstance(one, dict)))


def _points(status: int, raw: bytes | None) -> list[tuple[datetime, str]]:
    data = _json(raw) if raw is not None and status == 200 else None
    result = data.get("data") if isinstance(data, dict) else None
    rows = result.get("result") if isinstance(result, dict) and result.get("resultType") == "matrix" else None
    if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
        return []
    pairs = rows[0].get("values")
    samples = [_sample(pair) for pair in pairs] if isinstance(pairs, list) else []
    return [(sample.sampled_at, sample.value) for sample in samples if sample.sampled_at and sample.value is not None]


def _json(raw: bytes) -> Any:
    """What the bytes say; None where they are no JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
