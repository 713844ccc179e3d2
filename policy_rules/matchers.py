"""Alertmanager's matcher syntax: `name="v"`, `!=`, `=~`, `!~`, several to a text, with or without braces.

Source: Alertmanager's documentation of matchers, and its default ("fallback") mode as observed: a text is read by the
UTF-8 grammar and by the classic one; where both can read it and differ, or only the classic one can, the classic
reading counts. Regular expressions are RE2, anchored `^(?:…)$`. A missing label is the empty value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import re2

from policy_rules import matcher_syntax
from policy_rules.matcher_syntax import BadMatcher

__all__ = ["BadMatcher", "Matcher", "clean", "matches", "parse_matchers"]

TEXT_MAX = 4096
_SURROGATES = re.compile("[\ud800-\udfff]")


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher. operator: "=", "!=", "=~" or "!~"."""

    name: str
    operator: str
    value: str
    pattern: Any = field(default=None, compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = clean(labels.get(self.name, ""))
        holds = found == self.value if self.pattern is None else self.pattern.fullmatch(found) is not None
        return holds == (self.operator in ("=", "=~"))

    def __str__(self) -> str:
        name = self.name if matcher_syntax.is_classic(self.name) else matcher_syntax.quote(self.name)
        return f"{name}{self.operator}{matcher_syntax.quote(self.value)}"


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers in `text`: `severity="page"`, `{a="b", "my.label"=~"x|y"}`. Raises BadMatcher."""
    if len(text) > TEXT_MAX:
        raise BadMatcher(f"is {len(text)} characters long; at most {TEXT_MAX} are read")
    if _SURROGATES.search(text):
        raise BadMatcher("is not valid UTF-8")
    return tuple(_matcher(*parts) for parts in matcher_syntax.read(text))


def matches(matchers: tuple[Matcher, ...], labels: Mapping[str, str]) -> bool:
    """Whether every one of `matchers` holds; no matchers match everything, as an Alertmanager route does."""
    return all(matcher.matches(labels) for matcher in matchers)


def _matcher(name: str, operator: str, value: str) -> Matcher:
    if operator not in ("=~", "!~"):
        return Matcher(name, operator, value)
    try:
        pattern = re2.compile(f"^(?:{value})$", _options())
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        shown = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        raise BadMatcher(f"has no regular expression that RE2 reads: {value!r}: {shown}") from None
    return Matcher(name, operator, value, pattern)


def clean(value: str) -> str:
    """Half of a surrogate pair is no character: Alertmanager's JSON decoder reads it as U+FFFD, and so do we."""
    return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
