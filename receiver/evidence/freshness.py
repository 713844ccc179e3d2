"""How old is what a query reads? Prometheus stamps an answer with the time of the question, so it has to be asked.

`rate(x[5m])` gives a number for five minutes after the last sample of `x`, and an instant selector looks back for five
minutes too: Prometheus 2.42 ignores `lookback_delta`, and later ones obey it for instant selectors alone. Where the
`max_age` of a signal is shorter, such a number may come from a service that nobody has seen since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import promql_parser

from receiver.evidence.promql import escaped, parsed

LOOKBACK_SECONDS = 300.0  # Prometheus's default of --query.lookback-delta
SELECTORS_MAX = 20
_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
FRESH = "1"  # the answer to an age query where a sample is young enough; empty where there is none at all


@dataclass(frozen=True, slots=True)
class _Selected:
    """A selector as text, and how far back its samples may lie. instant: the newest sample of each series alone."""

    text: str
    reach_seconds: float
    instant: bool


@lru_cache(maxsize=1_000)
def age_query(promql: str, max_age_seconds: float) -> str | None:
    """A query that gives 1 where `promql` reads a sample of the last `max_age_seconds`, 0 where all it reads are older.

    It gives no series where `promql` reads no sample at all, as `absent(x)` or `x or vector(0)` may. None where
    `promql` can read nothing older, or says by `offset` or `@` that it means to, so that there is nothing to ask.
    """
    selected = _selected(promql)
    if not any(one.reach_seconds > max_age_seconds for one in selected):
        return None
    window = f"{max(1, round(max_age_seconds))}s"
    fresh = " or ".join(f"count(count_over_time({one.text}[{window}]))" for one in selected)
    reached = " or ".join(
        f"count({one.text})"
        if one.instant
        else f"count(count_over_time({one.text}[{max(1, round(one.reach_seconds))}s]))"
        for one in selected
    )
    return f"clamp_max({fresh}, 1) or 0 * ({reached})"


def _selected(promql: str) -> tuple[_Selected, ...]:
    """The selectors of `promql`; none of what cannot be read here, which the server then judges by itself."""
    root = parsed(promql)
    if root is None:
        return ()
    found: list[_Selected] = []
    ranges: list[float] = []  # around the node that is visited
    shifts: list[bool] = []  # whether each of them is meant to read the past

    def enter(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.SubqueryExpr):
            ranges.append(_seconds(node.range))
            shifts.append(_shifted(node))
        elif isinstance(node, promql_parser.MatrixSelector):
            ranges.append(_seconds(node.range))
            shifts.append(False)
        elif isinstance(node, promql_parser.VectorSelector) and not _shifted(node) and not any(shifts):
            text = _text(node)
            if text is not None:
                found.append(_Selected(text, sum(ranges) or LOOKBACK_SECONDS, instant=not ranges))

    def leave(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.SubqueryExpr | promql_parser.MatrixSelector):
            ranges.pop()
            shifts.pop()

    promql_parser.walk(root, pre_visit=enter, post_visit=leave)
    return tuple(found) if len(found) <= SELECTORS_MAX else ()


def _text(node: promql_parser.VectorSelector) -> str | None:
    """The selector as PromQL. The parser's own text does not escape values."""
    if node.matchers.or_matchers:
        return None
    matchers = [f'__name__="{escaped(node.name)}"'] if node.name else []
    for matcher in node.matchers.matchers:
        operator = _OPERATORS[str(matcher.op).rpartition(".")[2]]
        matchers.append(f'{matcher.name}{operator}"{escaped(matcher.value)}"')
    return "{" + ",".join(matchers) + "}"


def _shifted(node: promql_parser.VectorSelector | promql_parser.SubqueryExpr) -> bool:
    return node.offset is not None or node.at is not None


def _seconds(span: timedelta | None) -> float:
    return 0.0 if span is None else span.total_seconds()
