"""PromQL that we write ourselves: every value from outside is quoted, so that it can never become a part of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import promql_parser

# The parser crashes the interpreter on very deep nesting; policy refuses such a query when it is loaded.
LENGTH_MAX, NESTING_MAX = 4_000, 25

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


def escaped(value: str) -> str:
    """`value` as it stands between double quotes."""
    return "".join(_ESCAPES.get(char, char) for char in value)


def matchers(labels: Mapping[str, str]) -> str:
    """The equality matchers of a selector, without its braces, sorted by name."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in sorted(labels.items()))


def selector(names: Sequence[str], chosen: str) -> str:
    """A selector of the metrics `names` (as `is_name` accepts them) under the matchers `chosen`."""
    named = f'__name__="{names[0]}"' if len(names) == 1 else f'__name__=~"{"|".join(names)}"'
    return "{" + ",".join(filter(None, [named, chosen])) + "}"


def is_name(text: str) -> bool:
    """Whether `text` is a metric's or a label's name of the classic form, which needs no quoting and is no pattern."""
    return _NAME.fullmatch(text) is not None


def parsed(promql: str) -> promql_parser.Expr | None:
    """The query as it parses; None for what is no PromQL, or too long or too deep to be parsed safely."""
    if len(promql) > LENGTH_MAX or _nesting(promql) > NESTING_MAX:
        return None
    try:
        return promql_parser.parse(promql)
    except ValueError:
        return None


@lru_cache(maxsize=1_000)
def metrics_of(promql: str) -> frozenset[str]:
    """The metrics that a query reads by name, each without the end of a histogram's part."""
    root, found = parsed(promql), set[str]()
    if root is None:
        return frozenset()

    def enter(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(family(node.name))

    promql_parser.walk(root, pre_visit=enter)
    return frozenset(found)


def family(name: str) -> str:
    """The metric that a sample's name belongs to: a histogram's or a summary's is that of its parts."""
    for end in ("_bucket", "_sum", "_count"):
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def _nesting(promql: str) -> int:
    depth = deepest = 0
    for char in promql:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest
