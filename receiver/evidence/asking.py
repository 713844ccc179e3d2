"""What Claude asks Prometheus for: one range query, bounded in time, bytes, series and points."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import aiohttp

from receiver.evidence.grid import Grid, Row, read_rows
from receiver.evidence.left_out import text
from receiver.evidence.measured import measured, unit_of
from receiver.evidence.promql import metrics_of
from receiver.evidence.round import read_answer
from receiver.evidence.server import Server
from receiver.papers import Answered, Exhibit

SERIES_MAX = 20
POINTS_MAX = 60
ANSWER_BYTES = 256_000
ASKED_AT_ONCE = 2  # of one Prometheus


class Asking:
    """count: called with "value", "error" or "unreachable" and the seconds of each question that was asked."""

    def __init__(self, server: Server, count: Callable[[str, float], None]) -> None:
        self._server = server
        self._count = count
        self._places = asyncio.Semaphore(ASKED_AT_ONCE)

    async def series(self, promql: str, *, end: datetime, seconds: int, timeout_seconds: float) -> Answered:
        """Each series over the `seconds` before `end`. Never raises, never takes longer."""
        grid, loop = Grid.before(end, seconds, POINTS_MAX), asyncio.get_running_loop()
        form = {"query": promql, **grid.form(), "timeout": f"{timeout_seconds:g}s", "limit": str(SERIES_MAX + 1)}
        began, outcome, data = loop.time(), "unreachable", None
        try:
            async with asyncio.timeout(timeout_seconds), self._places:
                status, raw = await self._server.post("query_range", form, ANSWER_BYTES)
                if raw is None:
                    outcome, why = "error", f"the answer is longer than {ANSWER_BYTES:,} bytes: ask for fewer series"
                else:
                    outcome, data, fault = await asyncio.to_thread(read_answer, status, raw)
                    why = text(fault)
        except TimeoutError:
            why = f"no answer within {timeout_seconds:g} s"
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # RuntimeError: a session that is closed
            why = f"{type(error).__name__}: it does not answer"
        self._count(outcome, loop.time() - began)
        if why:
            return Answered(fault=why)
        rows = await asyncio.to_thread(read_rows, data, grid)
        if not rows:
            return Answered(fault="no series")
        return Answered(tuple(_exhibit(row, promql, grid) for row in rows[:SERIES_MAX]), max(0, len(rows) - SERIES_MAX))


def _exhibit(row: Row, promql: str, grid: Grid) -> Exhibit:
    """The name of a bare selector says what it measures, and in what; what an expression gives is told as it is."""
    name = row.labels.get("__name__", "")
    labels = {label: value for label, value in row.labels.items() if label != "__name__"}
    title = name or " ".join(sorted(metrics_of(promql))) or promql
    found = measured(title, promql, row.texts, grid, kind="asked")
    return replace(found, labels=labels, unit=unit_of(name) if name and not name.endswith("_total") else "")
