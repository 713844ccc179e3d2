"""Keys that were more than a notification may begin watches for: they wait, and people hear that they do.

Nothing is lost in silence: their alerts are known and fire, so each is watched as soon as watches are few enough. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ledger.entry import Entry

KEYS_MAX = 500  # new watches that one notification may begin; what waits is watched while fewer than these are left
TOLD_AFTER = timedelta(minutes=1)  # many are an incident, or clear, before anybody could read that they wait
OVER_LIMIT = "over limit"  # the kind of the NOTED that says what waits, or that nothing does any more


@dataclass(frozen=True, slots=True)
class Overflow:
    """index, since: the last EVALUATED that left keys unwatched, and when. told: the rules of which people heard it.

    untold: nobody has looked since that EVALUATED whether people must hear of it.
    """

    index: int
    since: datetime
    told: frozenset[str] = frozenset()
    untold: bool = True


def evaluated(before: Overflow | None, entry: Entry) -> Overflow | None:
    """What waits after an EVALUATED."""
    if not entry.body.get("over_limit"):
        return before
    return Overflow(entry.index, entry.timestamp, before.told if before is not None else frozenset())


def noted(before: Overflow | None, entry: Entry) -> Overflow | None:
    """What waits after a NOTED of the kind OVER_LIMIT."""
    left = entry.body["left"]
    return replace(before, told=frozenset(left), untold=False) if before is not None and left else None


def next_step(overflow: Overflow | None, watches: int) -> datetime | None:
    """When there is something to do: there is room for a watch, or people must hear that there is none."""
    if overflow is None:
        return None
    if watches < KEYS_MAX:
        return overflow.since
    return overflow.since + TOLD_AFTER if overflow.untold else None
