"""Series of samples as promtool writes them: "0.004x3 0.06x9" is four samples of 0.004 and ten of 0.06.

`a+bxn` and `a-bxn` count up and down; `_` is a sample that is missing. Beside numbers stand the other answers that
Prometheus may give: `NaN`, `stale` (older than the signal allows), `many` (several series), `down` (no answer) and
`error`. All of them take `xN`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from policy_rules.readings import ReadingState

SAMPLES_MAX = 10_000
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,2})?"
_WORD = rf"_|NaN|stale|many|down|error|[-+]?{_NUMBER}|[-+]?Inf"
_ITEM = re.compile(rf"(?P<word>{_WORD})(?P<step>[-+]{_NUMBER})?(?:x(?P<times>[0-9]{{1,5}}))?")
_WORDS = {
    "_": ReadingState.NO_DATA,
    "NaN": ReadingState.NAN,
    "stale": ReadingState.STALE,
    "many": ReadingState.MANY,
    "down": ReadingState.UNREACHABLE,
    "error": ReadingState.ERROR,
}


class BadSeries(ValueError):
    """The message says which part of a series cannot be read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. `value` is the number as Prometheus would write it, and None unless `state` is VALUE."""

    state: ReadingState
    value: str | None = None


def parse_series(text: str) -> tuple[Sample, ...]:
    """The samples of `text`, the first at the start of the case. Raises BadSeries."""
    samples: list[Sample] = []
    for item in text.split():
        match = _ITEM.fullmatch(item)
        if match is None:
            raise BadSeries(
                f"{item[:40]!r} is no sample: write 0.06, 0.06x9, 1+2x3, _, NaN, stale, many, down or error"
            )
        state = _WORDS.get(match["word"])
        if state is not None and match["step"]:
            raise BadSeries(f"{item[:40]!r}: only a number can count up or down")
        if match["step"] and match["times"] is None:
            raise BadSeries(f"{item[:40]!r}: say how often, as in {item[:40]}x3")
        times = int(match["times"] or 0)
        if len(samples) + times >= SAMPLES_MAX:
            raise BadSeries(f"a series has at most {SAMPLES_MAX} samples")
        samples.extend(
            Sample(state) if state is not None else _number(match["word"], match["step"], number)
            for number in range(times + 1)
        )
    if not samples:
        raise BadSeries("a series has at least one sample")
    return tuple(samples)


def _number(word: str, step: str | None, number: int) -> Sample:
    if word.endswith("Inf"):
        return Sample(ReadingState.VALUE, "-Inf" if word.startswith("-") else "+Inf")
    value = Decimal(word) + number * Decimal(step or 0)
    return Sample(ReadingState.VALUE, f"{value:f}")
