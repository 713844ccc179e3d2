"""One dialogue: the question, what Claude asks to look up, and what it is told. Pure; claude.py sends and receives.

Every answer of the tool becomes exhibits after those of the case file, so that claims can cite them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from receiver.diagnosis import tool
from receiver.diagnosis.prompt import SYSTEM, Evidence, answer_schema, exhibit_to_json, shown_exhibit, to_json
from receiver.diagnosis.redaction import Redactor
from receiver.diagnosis.text import clean
from receiver.papers import Answered, Exhibit, Usage

INPUT_TOKENS_MAX = 60_000  # of one diagnosis, all of its rounds together
OUTPUT_TOKENS_MAX = 1_500
OUTPUT_TOKENS_LAST = 400  # with no more than this left Claude is not offered another query
ROUNDS_MAX = tool.CALLS_MAX + 2
BYTES_MAX = 256_000  # of one answer of the tool
EPHEMERAL: Mapping[str, str] = {"type": "ephemeral"}
# What the vendor wants to see again of what it said; a block of another kind is left out.
_ECHOED: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name", "input"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says of a diagnosis. metrics: which may be read, beside those of the case file."""

    max_tokens: int = OUTPUT_TOKENS_MAX
    effort: str | None = None
    incident_budget_usd: float = 0.5
    concurrency: int = 2
    metrics: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One use of the tool that Claude asked for; `fault` is why it is not done."""

    id: str
    call: tool.Call | None
    fault: str = ""


@dataclass(slots=True)
class Dialogue:
    """asks: whether the tool is offered at all. metrics: the names that its queries may read."""

    model: str
    shown: Evidence
    limits: Limits
    redactor: Redactor
    asks: bool
    metrics: Collection[str] = ()
    exhibits: list[Exhibit] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    rounds: int = 0
    _said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exhibits = list(self.shown.exhibits)

    @property
    def asked(self) -> tuple[Exhibit, ...]:
        return tuple(self.exhibits[len(self.shown.exhibits) :])

    @property
    def output_left(self) -> int:
        return self.limits.max_tokens - self.usage.output_tokens

    @property
    def input_left(self) -> int:
        usage = self.usage
        return INPUT_TOKENS_MAX - usage.input_tokens - usage.cache_creation_tokens - usage.cache_read_tokens

    def question(self, *, last: bool) -> dict[str, Any]:
        """The request. last: Claude has to answer now and may ask nothing more."""
        last = last or self.calls >= tool.CALLS_MAX or self.output_left <= OUTPUT_TOKENS_LAST
        schema = answer_schema(self.shown.actions)
        config: dict[str, Any] = {"format": {"type": "json_schema", "schema": schema}}
        if self.limits.effort is not None:
            config["effort"] = self.limits.effort
        request: dict[str, Any] = {
            "model": self.model,
            "max_tokens": max(1, self.output_left),
            "system": SYSTEM,
            "messages": [{"role": "user", "content": self.shown.document}, *self._said],
            "thinking": {"type": "between_tools"},
            "output_config": config,
        }
        if self.asks:
            # Each round sends all of the former again: what it begins with is paid for once, and then a tenth of it.
            first = {"type": "text", "text": self.shown.document, "cache_control": EPHEMERAL}
            request["messages"] = [{"role": "user", "content": [first]}, *_marked(self._said)]
            request["system"] = [{"type": "text", "text": SYSTEM, "cache_control": EPHEMERAL}]
            request["tools"] = [dict(tool.TOOL)]
            request["tool_choice"] = {"type": "none" if last else "auto"}
        return request

    def heard(self, message: Any) -> list[Wanted]:
        """Keep what Claude said, to be sent again; what it wants looked up, each of which has to be told of."""
        content = getattr(message, "content", None)
        blocks = [block for block in (content if isinstance(content, list) else []) if _echo(block) is not None]
        self._said.append({"role": "assistant", "content": [_echo(block) for block in blocks]})
        return [self._wanted(block) for block in blocks if getattr(block, "type", None) == "tool_use"]

    def _wanted(self, block: Any) -> Wanted:
        self.calls += 1
        if not self.asks or self.calls > tool.CALLS_MAX:
            return Wanted(block.id, None, f"no more than {tool.CALLS_MAX} queries are made; answer with what is known")
        try:
            return Wanted(block.id, tool.read_call(block.name, block.input, self.metrics))
        except tool.Refused as error:
            return Wanted(block.id, None, str(error))

    def told(self, results: Sequence[tuple[Wanted, Answered]]) -> None:
        """Answer every use of the tool: with exhibits under new names, or with why there are none."""
        self._said.append({"role": "user", "content": [self._result(wanted, answer) for wanted, answer in results]})

    def _result(self, wanted: Wanted, answer: Answered) -> dict[str, Any]:
        result = {"type": "tool_result", "tool_use_id": wanted.id}
        fault = wanted.fault or answer.fault
        if fault:
            return result | {"content": to_json({"error": clean(self.redactor.text(fault), 300)}), "is_error": True}
        series = [shown_exhibit(one, self.redactor) for one in answer.exhibits[: tool.SERIES_MAX]]
        left_out = answer.left_out + len(answer.exhibits) - len(series)
        first = len(self.exhibits) + 1
        while True:
            named = [replace(one, ref=f"q{first + at}", kind="asked") for at, one in enumerate(series)]
            content = to_json({"exhibits": [exhibit_to_json(one) for one in named], "series_left_out": left_out})
            if len(content.encode()) <= BYTES_MAX or not series:
                break
            series, left_out = series[:-1], left_out + 1
        self.exhibits += named
        return result | {"content": content}


def _echo(block: Any) -> dict[str, Any] | None:
    """A block as it is sent back; None for one of an unknown kind, or one that lacks a part."""
    names = _ECHOED.get(str(getattr(block, "type", None)))
    if names is None:
        return None
    parts = {name: getattr(block, name, None) for name in names}
    if any(part is None for part in parts.values()) or parts.get("text") == "":
        return None
    try:
        json.dumps(parts, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return None
    return {"type": block.type, **parts}


def _marked(said: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was said, with the mark up to which it is cached at its end."""
    if not said or not said[-1]["content"]:
        return list(said)
    content = said[-1]["content"]
    return [*said[:-1], {**said[-1], "content": [*content[:-1], {**content[-1], "cache_control": EPHEMERAL}]}]
