"""The one tool that Claude is offered: a read-only query to Prometheus, within limits. Pure.

A query is parsed before it is sent anywhere: what it names, how far back it reaches and how large it is are known then.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

import promql_parser

from receiver.papers import Answered

NAME = "promql_query"
CALLS_MAX = 6  # of one diagnosis
QUERY_SECONDS = 5.0
SERIES_MAX = 20
POINTS_MAX = 60
ANSWER_BYTES_MAX = 256_000
NODES_MAX = 60
LENGTH_MAX, NESTING_MAX = 2_000, 25  # the parser crashes the interpreter on very deep nesting
RANGE_MAX = timedelta(hours=6)
OFFSET_MAX = timedelta(days=7)
MINUTES_DEFAULT, MINUTES_MAX = 30, 360
# These read metrics that their arguments do not name, or make series out of nothing.
FUNCTIONS_REFUSED = frozenset({"info", "vector", "absent", "absent_over_time"})

TOOL: Mapping[str, Any] = {
    "name": NAME,
    "description": (
        "Asks Prometheus one PromQL query and answers with each series over the last minutes: its labels, now, "
        f"at_start, min, max, mean, and its points. At most {CALLS_MAX} queries. Only metrics that the document's "
        f"`metrics` names; at most {SERIES_MAX} series, a range of at most 6 h, no subqueries. Each series of an "
        "answer is an exhibit that claims can cite, like those of the document. Ask only if the answer could change "
        "what you say."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "PromQL, with labels that keep the number of series small"},
            "minutes": {
                "type": "integer",
                "description": f"How far back, up to {MINUTES_MAX}; {MINUTES_DEFAULT} if left out",
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    },
}

_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`|\{[^{}]*\}")
_OPERATOR = re.compile(r"[-+*/%^]|[<>=!]+|\b(?:and|or|unless|atan2)\b", re.I)


class Asks(Protocol):
    """Who answers Claude's queries."""

    async def series(self, promql: str, *, end: datetime, seconds: int, timeout_seconds: float) -> Answered:
        """Each series of `promql` over the `seconds` before `end`, within the limits above. Never raises."""


def nobody(tenant: str) -> Asks | None:
    return None


class Refused(ValueError):
    """A query that is not asked; the message says why, to the model."""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of the tool, read and within its limits."""

    query: str
    minutes: int


def read_call(name: object, given: object, metrics: Collection[str]) -> Call:
    """metrics: the names that may be read; each may hold `*`. Raises Refused."""
    if name != NAME:
        raise Refused(f"there is no such tool; the only one is {NAME}")
    if not isinstance(given, Mapping) or set(given) - {"query", "minutes"}:
        raise Refused("the input is an object with `query` and `minutes`")
    query, minutes = given.get("query"), given.get("minutes", MINUTES_DEFAULT)
    if not isinstance(query, str) or not query.strip():
        raise Refused("query: a text with PromQL is needed")
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= MINUTES_MAX:
        raise Refused(f"minutes: a whole number from 1 to {MINUTES_MAX} is needed")
    check_query(query, metrics)
    return Call(query.strip(), minutes)


def check_query(query: str, metrics: Collection[str]) -> None:
    """Raises Refused for what is no PromQL, is too large, reaches too far back, or reads what it may not."""
    root = parsed(query)
    if root is None:
        raise Refused(f"query: no PromQL of at most {LENGTH_MAX:,} characters and {NESTING_MAX} brackets in each other")
    nodes, faults = 0, list[str]()

    def enter(node: promql_parser.Expr) -> None:
        nonlocal nodes
        nodes += 1
        fault = _fault(node, metrics)
        if fault is not None:
            faults.append(fault)

    promql_parser.walk(root, pre_visit=enter)
    if nodes > NODES_MAX:
        raise Refused(f"query: {nodes} parts, and at most {NODES_MAX} are asked")
    if faults:
        raise Refused(f"query: {faults[0]}")
    if not any(True for _ in names_in(query)):
        raise Refused("query: it reads no metric")


def _fault(node: promql_parser.Expr, metrics: Collection[str]) -> str | None:
    if isinstance(node, promql_parser.SubqueryExpr):
        return "a subquery is not asked"
    if isinstance(node, promql_parser.Call) and node.func.name in FUNCTIONS_REFUSED:
        return f"{node.func.name}() is not asked"
    if isinstance(node, promql_parser.MatrixSelector):
        if node.range > RANGE_MAX:
            return "a range of more than 6 h is not asked"
        return None if not hasattr(node, "vector_selector") else _fault(node.vector_selector, metrics)
    if not isinstance(node, promql_parser.VectorSelector):
        return None
    if node.at is not None:
        return "@ is not asked"
    if node.offset is not None and not timedelta(0) <= node.offset <= OFFSET_MAX:
        return "an offset of more than 7 d, or into the future, is not asked"
    if (
        not node.name
        or any(matcher.name == "__name__" for matcher in node.matchers.matchers)
        or node.matchers.or_matchers
    ):
        return "each selector needs the name of one metric, written out"
    return None if allowed(node.name, metrics) else f"{node.name[:100]} is not among the metrics that may be read"


def allowed(name: str, metrics: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in metrics)


def parsed(query: str) -> promql_parser.Expr | None:
    """The query as it parses; None for what is no PromQL, or too long or too deep to be parsed safely."""
    depth = deepest = 0
    for char in query:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    # A long chain of operators nests without a bracket, and then the parser takes minutes.
    operators = len(_OPERATOR.findall(_STRING.sub("", query)))
    if len(query) > LENGTH_MAX or deepest > NESTING_MAX or operators > NODES_MAX:
        return None
    try:
        return promql_parser.parse(query)
    except ValueError:
        return None


@lru_cache(maxsize=1_000)
def names_in(query: str) -> frozenset[str]:
    """The metrics that a query reads by their names."""
    root, found = parsed(query), set[str]()
    if root is None:
        return frozenset()

    def enter(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            name = node.name or next((m.value for m in node.matchers.matchers if _named(m)), None)
            if name:
                found.add(name)

    promql_parser.walk(root, pre_visit=enter)
    return frozenset(found)


def _named(matcher: promql_parser.Matcher) -> bool:
    return matcher.name == "__name__" and str(matcher.op).rpartition(".")[2] == "Equal"
