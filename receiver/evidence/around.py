"""What was going on around an incident, looked up before anybody is asked to explain it.

Everything is asked at once, under one deadline; what came in time is used, and what did not is said. The candidates are
ranked by statistics alone (ranking.py): no model has a part in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.evidence import nearby, ranking
from receiver.evidence.deploys import changes
from receiver.evidence.grid import Grid, Row, moment
from receiver.evidence.left_out import text
from receiver.evidence.measured import measured, trimmed
from receiver.evidence.moving import number
from receiver.evidence.promql import matchers, metrics_of
from receiver.evidence.ranking import Series
from receiver.evidence.round import Round
from receiver.evidence.rules import HISTORY_SECONDS, fired, history_query, rules_of
from receiver.evidence.server import Server
from receiver.papers import Exhibit, Gathered, Inquiry, Words, words

SIGNAL_SECONDS = 1_800
WINDOW_SECONDS = 3_600  # in which series are searched for moves: what is slow began long before the symptom
PAST_SECONDS = 10_800  # before that window, for what moves slowly
GATHERINGS_AT_ONCE = 2  # of one Prometheus; in a storm the others wait, and may come too late
SELECTORS_MAX = 4  # of the incident's own labels
SIGNALS_MAX = 12
CONFIGURED_MAX = 20
CONFIGURED_SERIES_MAX = 40
CANDIDATES_MAX = 10
RULES_MAX = 3
ALERTS_MAX = 10
DEPLOYS_MAX = 5
ALERTNAMES_MAX = 3


def nothing(said: Words) -> Gathered:
    """What is found where nothing is looked for, and why."""
    return Gathered(cut=(text(said),), left_out=(said,))


class Around:
    def __init__(self, server: Server, count: Callable[[str, float], None]) -> None:
        self._server = server
        self._count = count
        self._places = asyncio.Semaphore(GATHERINGS_AT_ONCE)

    async def gather(self, inquiry: Inquiry, *, timeout_seconds: float) -> Gathered:
        """What is found within `timeout_seconds`; nothing that a server does raises, or takes much longer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            return nothing(words("nothing looked up", count=GATHERINGS_AT_ONCE))
        try:
            return await _Gathering(inquiry, Round(self._server, self._count)).gather(deadline)
        finally:
            self._places.release()


@dataclass(slots=True)
class _Gathering:
    """One incident's. What each part has found so far stands here, so that the deadline loses nothing of it."""

    inquiry: Inquiry
    round: Round
    rules: list[Exhibit] = field(default_factory=list)
    signals: dict[str, Exhibit] = field(default_factory=dict)
    alerts: list[Exhibit] = field(default_factory=list)
    deploys: list[Exhibit] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    began: list[int] = field(default_factory=list)  # where the signals began to move, as places of the grid
    grid: Grid = field(init=False)

    def __post_init__(self) -> None:
        self.grid = Grid.before(self.inquiry.at, WINDOW_SECONDS)

    async def gather(self, deadline: float) -> Gathered:
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "the alert's rule": self._rules(),
            "the policy's signals": self._signals(),
            "other alerts": self._alerts(),
            "deploys": self._deploys(),
            "candidates": self._candidates(),
        }
        tasks = {asyncio.create_task(part, name=name) for name, part in parts.items()}
        try:
            seconds = max(0.0, deadline - asyncio.get_running_loop().time())
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                self.round.leave_out(words("looked in part", what=words(task.get_name())))
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error  # a defect of ours is said, not swallowed
        return await asyncio.to_thread(self._sorted)

    def _sorted(self) -> Gathered:
        # Where no signal moved, the alert's own time is the best that is known of the symptom.
        metrics = frozenset(name for promql in self.inquiry.signals.values() for name in metrics_of(promql))
        symptom = ranking.Symptom(min(self.began, default=self.grid.points - 1), metrics)
        found = ranking.rank(self.series, self.grid, symptom)
        if len(found) > CANDIDATES_MAX:
            self.round.leave_out(words("more series moved", count=len(found) - CANDIDATES_MAX))
        if len(self.deploys) > DEPLOYS_MAX:
            self.round.leave_out(words("more deploys", count=len(self.deploys) - DEPLOYS_MAX))
        return Gathered(
            tuple(self.rules),
            dict(self.signals),
            tuple(ranking.exhibit(one, self.grid) for one in found[:CANDIDATES_MAX]),
            tuple(self.alerts),
            tuple(sorted(self.deploys, key=lambda one: one.values["at"], reverse=True)[:DEPLOYS_MAX]),
            tuple(self.round.cut),
            tuple(self.round.left_out),
        )

    # --- the rule and its history ------------------------------------------------------------------------------------

    async def _rules(self) -> None:
        names = self.inquiry.alertnames[:ALERTNAMES_MAX]
        if not names:
            return
        # Prometheus 2.42 gives every rule; later ones obey the names.
        data = await self.round.read(words("the alert's rule"), "rules", {"type": "alert", "rule_name[]": names[0]})
        rules = [rule for rule in rules_of(data) if rule.get("name") in names]
        histories = await asyncio.gather(*(self._history(name) for name in names))
        for rule in rules[:RULES_MAX]:
            values = {
                "state": trimmed(rule.get("state")),
                "health": trimmed(rule.get("health")),
                "for_seconds": trimmed(rule.get("duration")),
                **histories[names.index(str(rule["name"]))],
            }
            title, query = f"the alert's rule: {trimmed(rule['name'])}", str(rule.get("query", ""))
            self.rules.append(Exhibit("", title, query, self.inquiry.at, values, kind="rule"))
        for name, values in zip(names, histories, strict=True):
            if values and all(rule.get("name") != name for rule in rules):
                title = f"the alert's recent history: {name}"
                self.rules.append(Exhibit("", title, history_query(name), self.inquiry.at, values, kind="rule"))

    async def _history(self, name: str) -> dict[str, str]:
        """In how many parts of the last day the alert fired at all, and when first and last."""
        grid = Grid.before(self.inquiry.at, HISTORY_SECONDS)
        return fired(await self.round.range(words("the alert's history"), history_query(name), grid), grid)

    # --- the policy's signals ----------------------------------------------------------------------------------------

    async def _signals(self) -> None:
        wanted = list(self.inquiry.signals.items())
        if len(wanted) > SIGNALS_MAX:
            self.round.leave_out(words("more signals", count=len(wanted) - SIGNALS_MAX))
        await asyncio.gather(*(self._signal(name, promql) for name, promql in wanted[:SIGNALS_MAX]))

    async def _signal(self, name: str, promql: str) -> None:
        grid = Grid.before(self.inquiry.at, SIGNAL_SECONDS)
        rows, hour = await asyncio.gather(
            self.round.range(words("over time", name=name), promql, grid),
            self.round.range(words("over an hour", name=name), promql, self.grid),
        )
        if len(rows) > 1:
            self.round.leave_out(words("too many series", name=name, count=len(rows)))
        elif rows:
            self.signals[name] = measured(name, promql, rows[0].texts, grid)
        began = ranking.moved_at(hour[0].texts, self.grid) if len(hour) == 1 else None
        if began is not None:
            self.began.append(began)

    # --- other alerts ------------------------------------------------------------------------------------------------

    async def _alerts(self) -> None:
        promql = 'ALERTS_FOR_STATE and ignoring(alertstate) ALERTS{alertstate="firing"}'
        rows = await self.round.instant(words("other alerts"), promql, self.grid)
        others = [row for row in rows if not self._ours(row.labels)]
        others.sort(key=lambda row: -(number(row.texts[-1]) or 0.0))  # those that began last, and so near to this one
        for row in others[:ALERTS_MAX]:
            began = moment(number(row.texts[-1]) or 0.0)
            values = {"pending_since": began.isoformat(timespec="seconds") if began else ""}
            labels = {name: value for name, value in row.labels.items() if name not in ("__name__", "alertname")}
            title = f"another alert fires: {row.labels.get('alertname', 'no name')}"
            exhibit = Exhibit("", title, promql, self.inquiry.at, values, kind="alert", labels=labels)
            self.alerts.append(exhibit)
        if len(others) > ALERTS_MAX:
            self.round.leave_out(words("more alerts", count=len(others) - ALERTS_MAX))

    def _ours(self, labels: Mapping[str, str]) -> bool:
        known = {n: v for n, v in self.inquiry.labels.items() if n not in nearby.OF_ALERTS}
        return labels.get("alertname") in self.inquiry.alertnames and known.items() <= labels.items()

    # --- deploys, as the configuration names them --------------------------------------------------------------------

    async def _deploys(self) -> None:
        for promql in self.inquiry.deploys[:CONFIGURED_MAX]:
            rows = await self.round.range(words("deploys"), promql, self.grid)
            self.deploys += changes(promql, rows, self.grid)

    # --- candidates --------------------------------------------------------------------------------------------------

    async def _candidates(self) -> None:
        configured = [self._configured(promql) for promql in self.inquiry.candidates[:CONFIGURED_MAX]]
        if len(self.inquiry.candidates) > CONFIGURED_MAX:
            self.round.leave_out(words("more candidates", count=len(self.inquiry.candidates) - CONFIGURED_MAX))
        await asyncio.gather(*configured, self._near())

    async def _configured(self, promql: str) -> None:
        rows = await self.round.range(words("a configured candidate"), promql, self.grid)
        if len(rows) > CONFIGURED_SERIES_MAX:
            self.round.leave_out(words("more series", count=len(rows) - CONFIGURED_SERIES_MAX, of=promql[:80]))
        # What a query of the user gives is no counter any more, whatever it is called.
        self.series += [Series(row, promql, 0, name=promql, rated=True) for row in rows[:CONFIGURED_SERIES_MAX]]

    async def _near(self) -> None:
        own = nearby.own_labels(self.inquiry.labels)
        if len(own) > SELECTORS_MAX:
            self.round.leave_out(words("more labels", count=len(own) - SELECTORS_MAX))
        own = own[:SELECTORS_MAX]
        if not own:
            self.round.leave_out(words("no label to look by"))
            return
        found, links = await asyncio.gather(
            asyncio.gather(*(self._names(matchers(labels), 0) for labels in own)),
            asyncio.gather(*(self._links(one) for one in own)),
        )
        further, more = nearby.hops(own, [row.labels for rows in links for row in rows])
        if more:
            self.round.leave_out(words("more neighbours", count=more))
        await asyncio.gather(
            self._fetch([one for one in found if one is not None]),
            self._further([matchers(labels) for labels in further], 1),
            self._rest(own),
        )

    async def _rest(self, own: Sequence[Mapping[str, str]]) -> None:
        """What shares no label with the incident, as far as the server is small or a broad label narrows it."""
        data = await self.round.read(words("the size of the server"), "status/tsdb", {})
        head = data.get("headStats") if isinstance(data, dict) else None
        series = head.get("numSeries") if isinstance(head, dict) else None
        small = isinstance(series, int) and series <= nearby.EVERYTHING_SERIES_MAX
        if not small:
            self.round.leave_out(words("server too large"))
        await self._further(nearby.wide(self.inquiry.labels, own, small), 2)

    async def _links(self, labels: Mapping[str, str]) -> list[Row]:
        return await self.round.instant(words("neighbours"), nearby.links_query(labels), self.grid)

    async def _further(self, chosen: Sequence[str], distance: int) -> None:
        found = await asyncio.gather(*(self._names(one, distance) for one in chosen))
        await self._fetch([one for one in found if one is not None])

    async def _names(self, chosen: str, distance: int) -> nearby.Found | None:
        rows = await self.round.instant(words("series of", of=f"{{{chosen}}}"), nearby.names_query(chosen), self.grid)
        series = {row.labels.get("__name__", ""): int(number(row.texts[-1]) or 0) for row in rows}
        return nearby.Found(chosen, distance, series) if series else None

    async def _fetch(self, found: Sequence[nearby.Found]) -> None:
        questions, cut = nearby.plan(found)
        for sentence in cut:
            self.round.leave_out(sentence)
        await asyncio.gather(*(self._series(question) for question in questions))

    async def _series(self, question: nearby.Question) -> None:
        past: dict[frozenset[tuple[str, str]], tuple[float | None, ...]] = {}
        if question.slow:
            before = Grid.before(self.grid.since, PAST_SECONDS)
            for row in await self.round.range(words("candidates, hours before"), question.promql, before):
                past[frozenset(row.labels.items())] = tuple(row.numbers())
        for row in await self.round.range(words("candidates"), question.promql, self.grid):
            labels = {label: value for label, value in row.labels.items() if label != "__name__"}
            series = Series(
                Row(labels, row.texts),
                question.promql,
                question.distance,
                name=question.name or row.labels.get("__name__", ""),
                rated=question.rated,
                of=question.of,
                past=past.get(frozenset(row.labels.items()), ()),
            )
            self.series.append(series)
