"""The ladder: who is called next, and when, while nobody has decided. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from policy_rules.rulebook import Rule, Step


def rungs(rule: Rule) -> Sequence[Step]:
    """The steps of `rule` in the order in which they are taken, each repetition a step of its own.

    Steps of the same time stand in the order of the file. A rung's number is what an ESCALATED names.
    """
    return _rungs(rule.escalation)


@lru_cache(maxsize=2_000)
def _rungs(escalation: tuple[Step, ...]) -> tuple[Step, ...]:
    steps = [
        replace(step, after_seconds=step.after_seconds + again * step.repeat_seconds, repeat_seconds=0.0, repeat_max=0)
        for step in escalation
        for again in range(step.repeat_max + 1)
    ]
    return tuple(sorted(steps, key=lambda step: step.after_seconds))
