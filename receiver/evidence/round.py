"""One round of questions about one incident: bounded in time, questions and bytes, and it says what it left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from receiver.evidence.grid import Grid, Row, read_rows
from receiver.evidence.left_out import text
from receiver.evidence.server import Server
from receiver.papers import Words, words

QUESTION_SECONDS = 3.0
QUESTIONS_MAX = 60
QUESTIONS_AT_ONCE = 4  # of one incident
ANSWER_BYTES = 2_000_000
ROUND_BYTES = 12_000_000
WHY_CHARACTERS = 160
CUT_MAX = 30


class Round:
    """count: called with "value", "error" or "unreachable" and the seconds of each question that was asked."""

    def __init__(self, server: Server, count: Callable[[str, float], None]) -> None:
        self._server = server
        self._count = count
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self.questions = 0
        self.bytes = 0
        self.left_out: list[Words] = []

    @property
    def cut(self) -> list[str]:
        """What was left out, one sentence each."""
        return [text(said) for said in self.left_out]

    def leave_out(self, said: Words) -> None:
        """Say what was left out; the same once, and not without end."""
        if said not in self.left_out and len(self.left_out) < CUT_MAX:
            self.left_out.append(said)

    async def range(self, what: Words, promql: str, grid: Grid) -> list[Row]:
        data = await self._asked(what, "query_range", {"query": promql, **grid.form()})
        # In a thread: a megabyte of samples takes hundredths of a second, and others wait for the event loop.
        return await asyncio.to_thread(read_rows, data, grid)

    async def instant(self, what: Words, promql: str, grid: Grid) -> list[Row]:
        """The rows at the grid's end, each with one sample in its last place."""
        data = await self._asked(what, "query", {"query": promql, "time": grid.form()["end"]})
        return read_rows(data, grid)

    async def read(self, what: Words, path: str, params: Mapping[str, str]) -> Any:
        """What a path of the API answers to GET; None where it does not."""
        return await self._asked(what, path, params, get=True)

    async def _asked(self, what: Words, path: str, form: Mapping[str, str], *, get: bool = False) -> Any:
        """The `data` of the answer, or None, and then `cut` says why."""
        if self.questions >= QUESTIONS_MAX:
            self.leave_out(words("too many questions", most=QUESTIONS_MAX))
            return None
        if self.bytes >= ROUND_BYTES:
            self.leave_out(words("too many bytes", most=f"{ROUND_BYTES:,}"))
            return None
        self.questions += 1
        loop = asyncio.get_running_loop()
        async with self._places:
            began, outcome, data = loop.time(), "unreachable", None
            why: Words | str = ""
            limits = {} if get else {"timeout": f"{QUESTION_SECONDS:g}s"}
            ask = self._server.get if get else self._server.post
            try:
                async with asyncio.timeout(QUESTION_SECONDS):
                    status, raw = await ask(path, {**form, **limits}, ANSWER_BYTES)
                outcome, data, why = await asyncio.to_thread(read_answer, status, raw)
                self.bytes += len(raw) if raw is not None else ANSWER_BYTES
            except TimeoutError:
                why = words("not answered", seconds=f"{QUESTION_SECONDS:g}")
            except (aiohttp.ClientError, OSError, RuntimeError) as error:  # RuntimeError: a session that is closed
                why = words("answers nothing", error=type(error).__name__)
            self._count(outcome, loop.time() - began)
        if why:
            said = why[:WHY_CHARACTERS] if isinstance(why, str) else why
            self.leave_out(words("look failed", what=what, why=said))
        return data


def read_answer(status: int, raw: bytes | None) -> tuple[str, Any, Words | str]:
    """The word for the metric, the data, and why there is none."""
    if raw is None:
        return "error", None, words("answer too long", most=f"{ANSWER_BYTES:,}")
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        foreign = words("no answer of Prometheus", status=status)
        return "unreachable" if status >= 500 else "error", None, foreign
    if answer.get("status") != "success":
        said = " ".join(str(answer.get("error") or answer.get("errorType") or status).split())
        return "unreachable" if status >= 500 else "error", None, said
    return "value", answer.get("data"), ""
