"""What policy does about what it cannot be told: one word for all of it, or a word for each kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from policy_rules.readings import ReadingState

KINDS = tuple(state.value for state in ReadingState if state is not ReadingState.VALUE)
ELSE = "else"


@dataclass(frozen=True, slots=True)
class OnUnknown:
    """otherwise: the word for every kind that `of` does not name. of: (kind, word), each kind at most once."""

    otherwise: str
    of: tuple[tuple[str, str], ...] = ()

    def say(self, kinds: Collection[str], careful: Sequence[str]) -> str:
        """The word for `kinds`. careful: every word there is; where kinds differ, the first of these that is said."""
        words = {dict(self.of).get(kind, self.otherwise) for kind in kinds} or {self.otherwise}
        return next(word for word in careful if word in words)

    def text(self) -> str:
        return ", ".join([*(f"{kind} {word}" for kind, word in self.of), f"{ELSE} " * bool(self.of) + self.otherwise])


DETECT, PROCEED, WAIT = OnUnknown("detect"), OnUnknown("proceed"), OnUnknown("wait")
