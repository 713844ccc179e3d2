"""What ran before, as limits and breakers count it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PastRun:
    """One dispatch of an action, at the time of its entry. open: it has no result, or nobody knows how it ended.

    helped: False where it failed or was not confirmed, True where it was confirmed, None where neither can be said.
    forgiven: a person has let the action be proposed again since.
    """

    rule: str
    action: str
    key: Mapping[str, str]
    at: datetime
    executor: str = ""
    params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    open: bool = False
    helped: bool | None = None
    forgiven: bool = False


def by_range(past: Sequence[PastRun], rule: str, action: str, key: Mapping[str, str]) -> Mapping[str, list[PastRun]]:
    """The runs that count for a limit of each range: "key", "action", "rule", "tenant"."""
    of_rule = [run for run in past if run.rule == rule]
    of_action = [run for run in of_rule if run.action == action]
    of_key = [run for run in of_action if dict(run.key) == dict(key)]
    return {"tenant": list(past), "rule": of_rule, "action": of_action, "key": of_key}


def failed_in_a_row(runs: Sequence[PastRun]) -> int:
    """How many of the latest runs failed or did not help, since one was confirmed or a person let it go on."""
    count = 0
    for run in sorted(runs, key=lambda run: run.at, reverse=True):
        if run.helped or run.forgiven:
            break
        count += run.helped is False
    return count
