"""`counterfoil policy check --prometheus`: do the series exist that a policy reads, and what would it decide today?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from policy_rules.advice import place
from policy_rules.detection import queries, should_detect
from policy_rules.matchers import Matcher
from policy_rules.problems import Problem, nearest
from policy_rules.readings import Alert, Reading, ReadingState
from policy_rules.recovery import should_recover
from policy_rules.rulebook import Rule, Rulebook, signals_of
from policy_rules.signals import Stem, quote, stems
from policy_rules.verdict import Memory, Verdict
from receiver.evidence.prometheus import Listed, Prometheus
from receiver.settings import load_settings
from receiver.settings_http import HttpConfig
from receiver.settings_values import SettingsErrors

ASK_SECONDS = 10.0
REACH = "1h"  # how far back a series is looked for
UNREACHED = "prometheus does not answer"


@dataclass(frozen=True, slots=True)
class Today:
    """What one rule would decide now about one key, were an alert of it firing."""

    rule: str
    key: Mapping[str, str]
    readings: Sequence[Reading]
    detect: Verdict
    recover: Verdict

    def to_json(self) -> dict[str, Any]:
        asked = [
            {"signal": r.name, "promql": r.promql, "state": r.state.value, "value": r.value, "detail": r.detail}
            for r in self.readings
        ]
        verdicts = {
            name: {"outcome": verdict.outcome.value, "reason": verdict.reason}
            for name, verdict in (("detect", self.detect), ("recover", self.recover))
        }
        return {"rule": self.rule, "key": dict(self.key), "readings": asked, **verdicts}

    def lines(self) -> Iterator[str]:
        shown = ", ".join(f"{label}={quote(value)}" for label, value in self.key.items())
        yield f"rule {self.rule}{', ' if shown else ''}{shown}: were an alert firing now"
        names = [reading.name for reading in self.readings]
        width = max(map(len, [*names, "recover"]))
        for reading in self.readings:
            why = f"{reading.state.value} ({reading.detail})" if reading.detail else reading.state.value
            yield f"    {reading.name:{width}}  {reading.value if reading.value is not None else 'unknown: ' + why}"
        yield f"    {'detect':{width}}  {self.detect.outcome.value}: {self.detect.reason}"
        yield f"    {'recover':{width}}  {self.recover.outcome.value}: {self.recover.reason}"


@dataclass(frozen=True, slots=True)
class Answers:
    """What Prometheus said of one policy: what is wrong, what is doubtful, and the verdicts of today."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    today: tuple[Today, ...]
    more: tuple[str, ...]  # what was not shown, and why

    def lines(self) -> Iterator[str]:
        for one in self.today:
            yield from one.lines()
        yield from self.more


def ask_all(
    books: Sequence[Rulebook], url: str, config: Path, key: Mapping[str, str] | None, keys_max: int
) -> list[Answers]:
    """Ask the Prometheus at `url`, as the configuration speaks to it where it names the same address."""

    async def asked() -> list[Answers]:
        http, now = _http_config(config, url), datetime.now(UTC)
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(
                url=url,
                session=lambda: session,
                clock=lambda: now,
                headers=http.headers(),
                ssl=http.ssl_context(),
            )
            return [await _Question(book, prometheus, now, key, keys_max).answers() for book in books]

    return asyncio.run(asked())


def _http_config(config: Path, url: str) -> HttpConfig:
    if not config.is_file():
        return HttpConfig()
    try:
        tenants = load_settings(config, os.environ).tenants.values()
    except SettingsErrors:
        return HttpConfig()  # a policy can be tried before the rest of the configuration holds
    known = (tenant.prometheus for tenant in tenants if tenant.prometheus is not None)
    return next((one.http_config for one in known if one.url.rstrip("/") == url.rstrip("/")), HttpConfig())


@dataclass(frozen=True, slots=True)
class _Question:
    book: Rulebook
    prometheus: Prometheus
    now: datetime
    key: Mapping[str, str] | None
    keys_max: int

    async def answers(self) -> Answers:
        alive = await self._list("vector(1)")
        if alive.labels is None:
            return Answers(
                (Problem(self.book.file, 1, 0, f"{UNREACHED}: {alive.detail}; is it the right address?"),), (), (), ()
            )
        missing = [problem for name in self.book.signals for problem in await self._without_series(name)]
        today: list[Today] = []
        more: list[str] = []
        for rule in self.book.rules:
            keys = await self._keys(rule)
            shown = keys[: self.keys_max]
            if not keys:
                labels = " ".join(f"--key {label}=VALUE" for label in rule.group_by)
                more.append(f"rule {rule.name}: no alert fires and no series has its labels; try {labels}")
            elif len(shown) < len(keys):
                more.append(
                    f"rule {rule.name}: {len(shown)} of {len(keys)} keys are shown; --keys {len(keys)} shows all"
                )
            today += [await self._decided(rule, key) for key in shown]
        errors = [
            self._problem(reading.name, f"{reading.name}: prometheus refuses it: {reading.detail}")
            for reading in (reading for one in today for reading in one.readings)
            if reading.state in (ReadingState.ERROR, ReadingState.UNREACHABLE)
        ]
        return Answers(tuple(sorted(set(errors))), tuple(missing), tuple(today), tuple(more))

    async def _without_series(self, name: str) -> list[Problem]:
        """A selector that no series of the last hour matches is a misspelt name more often than good health."""
        found = []
        for stem in stems(self.book.signals[name].promql):
            counted = await self._list(f"count(last_over_time({stem.text}[{REACH}]))")
            if counted.labels == ():
                why = await self._why(stem)
                found.append(self._problem(name, f"{name}: no series of the last {REACH} matches {stem.text}{why}"))
        return found

    async def _why(self, stem: Stem) -> str:
        if stem.name is None:
            return ""
        of_the_name = await self._list(f"count(last_over_time({stem.name}[{REACH}]))")
        if of_the_name.labels:
            return f"; there are series of {stem.name}, and none has these labels"
        named = await self._list('group by (__name__) ({__name__!=""})')
        return nearest(stem.name, [labels.get("__name__", "") for labels in named.labels or ()])

    async def _keys(self, rule: Rule) -> list[Mapping[str, str]]:
        """The keys that the rule has to do with now: those of firing alerts first, then those that its series have."""
        if not rule.group_by:
            return [{}]
        if self.key is not None:
            return [{label: self.key.get(label, "") for label in rule.group_by}]
        matchers = ",".join(_promql(matcher) for matcher in rule.matchers if matcher.name.isidentifier())
        firing = await self._list(f"group by ({', '.join(rule.group_by)}) (ALERTS{{{matchers}}})")
        found = [{label: labels.get(label, "") for label in rule.group_by} for labels in firing.labels or ()]
        for signal in (self.book.signals[name] for name in signals_of(rule)):
            for stem in stems(signal.promql):
                if not stem.filled or {label for _, label in stem.filled} != signal.labels:
                    continue
                rows = await self._list(f"group by ({', '.join(series for series, _ in stem.filled)}) ({stem.text})")
                for labels in rows.labels or ():
                    own = {label: labels.get(series, "") for series, label in stem.filled}
                    found.append({label: own.get(label, "") for label in rule.group_by})
        return [key for number, key in enumerate(found) if key not in found[:number] and any(key.values())]

    async def _decided(self, rule: Rule, key: Mapping[str, str]) -> Today:
        equal = {matcher.name: matcher.value for matcher in rule.matchers if matcher.operator == "="}
        alert = Alert("today", {**equal, **key}, {}, True, self.now, None)
        readings = await self.prometheus.ask(queries(self.book, rule, key), timeout_seconds=ASK_SECONDS)
        detect = should_detect(self.book, rule, [alert], readings, self.now, Memory())
        recover = should_recover(self.book, rule, [alert], readings, self.now, Memory())
        return Today(rule.name, key, readings, detect, recover)

    async def _list(self, promql: str) -> Listed:
        return await self.prometheus.listed(promql, timeout_seconds=ASK_SECONDS)

    def _problem(self, signal: str, message: str) -> Problem:
        at = place(self.book, ("signals", signal))
        return Problem(self.book.file, at.line, at.column, message)


def _promql(matcher: Matcher) -> str:
    return f"{matcher.name}{matcher.operator}{quote(matcher.value)}"
