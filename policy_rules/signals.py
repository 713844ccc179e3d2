"""A signal's PromQL: checked when the policy is loaded, and filled with the incident's own label values.

`$label` may stand only as the whole quoted value of an `=` matcher. The value is escaped, so that a label that comes
from outside can never become a part of the query.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import promql_parser

# The parser crashes the interpreter on very deep nesting, and its walk takes seconds over long chains of operators.
LENGTH_MAX = 1000
NESTING_MAX = 25
OPERATORS_MAX = 40
_LABEL = re.compile(r"\$([a-zA-Z_][a-zA-Z0-9_]*)")
_QUOTED_LABEL = re.compile(r"([\"'`])\$([a-zA-Z_][a-zA-Z0-9_]*)\1")
_TEXT_OR_COMMENT = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*", re.DOTALL)
_OPERATOR = re.compile(r"[=!<>]=|[-+*/%^<>]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # printable ASCII without quote and backslash: nothing to escape
_MATCH_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Values that would break out of a string if the escaping were wrong.
_PROBES = ("probe", 'a"b', "a\\", '"} or vector(1) #\n', "'`{}$x")


class BadSignal(Exception):
    """The message says what is wrong with a PromQL expression, in one line."""


def labels_of(promql: str) -> frozenset[str]:
    """Check `promql` and return the labels that it takes from the incident. Raises BadSignal."""
    if len(promql) > LENGTH_MAX:
        raise BadSignal(f"is {len(promql)} characters long; at most {LENGTH_MAX} are read")
    before = _matchers(promql)
    named = frozenset(_LABEL.findall(promql))
    if not named:
        return named
    # The rule is proved and not only read: with each probe in their place exactly the `=` matchers that name a label
    # change, and each to exactly the probe.
    for probe in _PROBES:
        wanted = [
            (label, operator, probe if operator == "=" and value[:1] == "$" and value[1:] in named else value)
            for label, operator, value in before
        ]
        if _matchers(substitute_labels(promql, dict.fromkeys(named, probe))) != wanted:
            raise BadSignal(_whole_value(min(named)))
    # As often as the text names a label, a matcher must: what is left over stands in another text or in a comment.
    written = Counter(_LABEL.findall(promql))
    written.subtract(value[1:] for _, operator, value in before if operator == "=" and value[:1] == "$")
    elsewhere = [name for name in sorted(named) if written[name]]
    if elsewhere:
        raise BadSignal(_whole_value(elsewhere[0]))
    return named


def substitute_labels(promql: str, key: Mapping[str, str]) -> str:
    """`promql` with every quoted `$label` replaced by the quoted, escaped value of `key` (missing: empty)."""
    return _QUOTED_LABEL.sub(lambda match: quote(key.get(match[2], "")), promql)


def quote(value: str) -> str:
    """`value` as a double-quoted PromQL string."""
    if _PLAIN.fullmatch(value):
        return f'"{value}"'
    return '"' + "".join(_ESCAPES.get(char) or _visible(char) for char in value) + '"'


def parse(promql: str) -> list[promql_parser.Expr]:
    """Every expression in `promql`, outermost first. Raises BadSignal on what is too large, too deep or no PromQL."""
    if _nesting(promql) > NESTING_MAX:
        raise BadSignal(f"is nested deeper than {NESTING_MAX} levels")
    if len(_OPERATOR.findall(_TEXT_OR_COMMENT.sub("", promql))) > OPERATORS_MAX:
        raise BadSignal(f"has more than {OPERATORS_MAX} operators")
    try:
        root = promql_parser.parse(promql)
    except ValueError as error:
        raise BadSignal(f"is not PromQL: {' '.join(str(error).split())[:200]}") from None
    found: list[promql_parser.Expr] = []
    promql_parser.walk(root, pre_visit=lambda node: found.append(node))
    return found


def kind(expression: promql_parser.Expr) -> str:
    """What the expression gives: "vector", "scalar", "matrix" or "string"."""
    if isinstance(expression, promql_parser.ParenExpr | promql_parser.UnaryExpr):
        return kind(expression.expr)
    if isinstance(expression, promql_parser.Call):
        return str(expression.func.return_type).rpartition(".")[2].lower()
    if isinstance(expression, promql_parser.BinaryExpr):
        return "scalar" if kind(expression.lhs) == kind(expression.rhs) == "scalar" else "vector"
    if isinstance(expression, promql_parser.MatrixSelector | promql_parser.SubqueryExpr):
        return "matrix"
    if isinstance(expression, promql_parser.StringLiteral):
        return "string"
    return "scalar" if isinstance(expression, promql_parser.NumberLiteral) else "vector"


def selectors(expressions: list[promql_parser.Expr]) -> list[tuple[str | None, list[tuple[str, str, str]]]]:
    """Every selector as (metric name or None, [(label, operator, value), …])."""
    return [
        (
            node.name,
            [
                (matcher.name, _MATCH_OPERATORS[str(matcher.op).rpartition(".")[2]], matcher.value)
                for group in (node.matchers.matchers, *node.matchers.or_matchers)
                for matcher in group
            ],
        )
        for node in expressions
        if isinstance(node, promql_parser.VectorSelector)
    ]


@dataclass(frozen=True, slots=True)
class Stem:
    """A selector of a signal without what the incident fills in.

    filled: (label of the series, label of the incident) for each `=` matcher with a `$label`.
    """

    text: str
    name: str | None
    filled: tuple[tuple[str, str], ...]


def stems(promql: str) -> tuple[Stem, ...]:
    """What a signal reads, whatever the incident: its selectors, each once. Raises BadSignal as `parse` does."""
    found: dict[Stem, None] = {}
    for name, matchers in selectors(parse(promql)):
        filled = []
        fixed = []
        for label, operator, value in matchers:
            if operator == "=" and value[:1] == "$":
                filled.append((label, value[1:]))
            else:
                fixed.append(f"{label}{operator}{quote(value)}")
        braces = "{" + ",".join(fixed) + "}" if fixed or not name else ""
        found[Stem(f"{name or ''}{braces}", name, tuple(filled))] = None
    return tuple(found)


def _matchers(promql: str) -> list[tuple[str, str, str]]:
    found = parse(promql)
    if kind(found[0]) not in ("vector", "scalar"):
        raise BadSignal(f"gives a {kind(found[0])}; a signal is an instant vector of one series, or a scalar")
    return [matcher for _, matchers in selectors(found) for matcher in matchers]


def _nesting(promql: str) -> int:
    """The deepest nesting of brackets, those in strings and comments counted too, for they may not be such."""
    depth = deepest = 0
    for char in promql:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _visible(char: str) -> str:
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"  # half of a surrogate pair is no character; Go's JSON decoder reads it so too
    return f"\\u{code:04x}" if code < 0x20 or 0x7F <= code < 0xA0 else char


def _whole_value(name: str) -> str:
    return f'${name} may stand only as the whole quoted value of an = matcher, like service="${name}"'
