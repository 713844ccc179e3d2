"""What is wrong with a file, as values: all of it at once, each with its place and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

SHOWN_MAX = 100


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. line and column count from 1; column 0 where only the line is known."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class FileErrors(Exception):
    """A file was refused. `problems` holds everything that is wrong with it, in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        shown = [str(problem) for problem in self.problems[:SHOWN_MAX]]
        more = len(self.problems) - len(shown)
        super().__init__("\n".join([*shown, f"… and {more} more"] if more else shown))


def nearest(word: str, known: Iterable[str]) -> str:
    """How to end a message about an unknown word: the nearest valid one, or all of them."""
    options = sorted(set(known))
    close = get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it is one of {', '.join(options[:20])}" if options else "; there is none"
