"""One side of a rule, asked of the looks that were kept, and what cannot be known of those between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from policy_rules.rulebook import Rule, Rulebook
from policy_rules.verdict import Memory, Outcome, Verdict
from receiver.auditor.replay.episodes import Look

_FALSE = (Outcome.IGNORE.value, Outcome.PERSIST.value)


@dataclass(frozen=True, slots=True)
class Point:
    """Something that is said of a moment. certain: False where it cannot be known."""

    at: datetime
    text: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """verdict: of the last look that was judged. at, look: when the condition was met, and the look that says so."""

    verdict: Verdict | None
    at: datetime | None = None
    look: Look | None = None
    unknown: Point | None = None

    @property
    def reason(self) -> str:
        return self.verdict.reason if self.verdict is not None else "nothing was read"


@dataclass(frozen=True, slots=True)
class Question:
    """One side of a rule, detection or recovery: what is asked at each look, and what is known between two."""

    ask: Callable[..., Verdict]
    candidate: Rulebook
    rule: Rule
    looked_every: timedelta  # between two looks of the recorded rule
    met: Outcome  # DETECT or RECOVER
    held_seconds: float
    equal: bool  # the condition is the recorded one
    stricter: bool  # it can be true only where the recorded one was
    verb: str

    @property
    def every(self) -> timedelta:
        """Between two looks with none between them, with some slack."""
        return 1.5 * self.looked_every

    def first(self, looks: Sequence[Look], began: datetime, end: datetime | None) -> Found:
        """When the condition was met for long enough, or from when on that cannot be known.

        end: when there were no more looks; None where they went on when the log ended.
        """
        best, kept = Memory(), Memory()
        before, was = began, ""
        verdict = None
        for look in looks:
            best = self._unseen(best, before, was, look.at)
            if self._may_have_been(best, before, look.at):
                return Found(verdict, unknown=self._unread(before, look.at))
            # Where only the time to hold is another, the condition was what it was at every look between, too.
            verdict = self._at(look, replace(best, looked_at=look.at))
            doubt = verdict if self.equal else self._at(look, kept)
            held = self._held(best)
            if self.equal and verdict.outcome is not self.met and held is not None and held < look.at:
                # It held until the last look before this one, of which nothing was kept but that nothing had changed.
                if look.at - held >= self.looked_every:
                    return Found(verdict, held)
                return Found(verdict, unknown=self._unread(held, look.at))
            if verdict.outcome is self.met:
                if doubt.outcome is not self.met:
                    return Found(verdict, unknown=self._unread(before, look.at))
                return Found(verdict, self._when(look, before, verdict), look)
            best, kept = verdict.memory, doubt.memory
            before, was = look.at, look.outcome
        best = self._unseen(best, before, was, end)
        held = self._held(best)
        if held is None:
            return Found(verdict)
        if self.equal and end is not None:
            return Found(verdict, held if end - held >= self.looked_every else None)
        if self.equal or self._may_have_been(best, before, end):
            return Found(verdict, unknown=self._unread(before, end))
        return Found(verdict)

    def _held(self, memory: Memory) -> datetime | None:
        """From when on the condition has held for long enough."""
        return memory.true_since + timedelta(seconds=self.held_seconds) if memory.true_since is not None else None

    def _unseen(self, memory: Memory, before: datetime, was: str, at: datetime | None) -> Memory:
        """What may be remembered at best at `at`, when what was read between was not kept."""
        if self.equal or (at is not None and at - before <= self.every):
            return memory
        false = self.stricter and was in _FALSE
        return replace(memory, true_since=None if false else memory.true_since or before)

    def _may_have_been(self, best: Memory, before: datetime, at: datetime | None) -> bool:
        """Whether the condition may have been met at a look between, of which nothing was kept."""
        if self.equal or best.true_since is None or (at is not None and at - before <= self.every):
            return False
        return at is None or best.true_since + timedelta(seconds=self.held_seconds) < at

    def _when(self, look: Look, before: datetime, verdict: Verdict) -> datetime:
        """`look`, or a look before it that was not kept because nothing changed but the length of the hold."""
        since = verdict.memory.true_since
        if not self.equal or since is None:
            return look.at
        held = since + timedelta(seconds=self.held_seconds)
        # Within one such time there is always a look.
        return held if look.at - max(held, before) >= self.looked_every else look.at

    def _at(self, look: Look, memory: Memory) -> Verdict:
        verdict: Verdict = self.ask(self.candidate, self.rule, look.alerts, look.readings, look.at, memory)
        return verdict

    def _unread(self, since: datetime, until: datetime | None) -> Point:
        between = f"between {clock(since)} and {clock(until)}" if until is not None else f"after {clock(since)}"
        return Point(since, f"whether it would {self.verb} {between}: what was read then was not kept", certain=False)


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
