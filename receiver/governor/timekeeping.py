"""Whether the time can be trusted. Timers count the greater of ledger time and monotonic time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.entry import Draft
from receiver.governor.desk import stamp
from receiver.governor.ports import Clock

BEHIND_SECONDS = 5.0  # a wall clock further behind the ledger than this is refused
JUMP_SECONDS = 60.0  # a wall clock that moved so differently from the monotonic one has jumped
SETTLE_SECONDS = 60.0  # after a jump the clock must run evenly for so long


@dataclass(frozen=True, slots=True)
class Regression:
    """The clock stepped: what the ledger and the wall said."""

    ledger_time: datetime | None
    wall_time: datetime
    detail: str


class Timekeeper:
    """Compares the wall clock with the monotonic clock and with the ledger, at every turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._settled_at = self._monotonic
        self._behind = False

    def look(self, ledger_time: datetime | None) -> Regression | None:
        """Look at the clocks; a Regression once for each step of the clock that is seen."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        drift = (wall - self._wall).total_seconds() - (monotonic - self._monotonic)
        self._wall, self._monotonic = wall, monotonic
        behind = ledger_time is not None and ledger_time - wall > timedelta(seconds=BEHIND_SECONDS)
        newly_behind, self._behind = behind and not self._behind, behind
        if abs(drift) > JUMP_SECONDS:
            self._settled_at = monotonic + SETTLE_SECONDS
            return Regression(ledger_time, wall, f"the wall clock jumped by {drift:+.0f} s")
        if newly_behind and ledger_time is not None:
            by = (ledger_time - wall).total_seconds()
            return Regression(ledger_time, wall, f"the wall clock is {by:.0f} s behind the ledger")
        return None

    @property
    def trusted(self) -> bool:
        return not self._behind and self._monotonic >= self._settled_at


def regressed(found: Regression, size: int) -> Draft:
    """REGRESSED: the clock went behind the ledger. size: entries so far; one word is enough until there are more."""
    return Draft(
        id=f"regress:{size}",
        stage="REGRESSED",
        actor="system",
        reason=found.detail,
        body={
            "ledger_time": stamp(found.ledger_time) if found.ledger_time else None,
            "wall_time": stamp(found.wall_time),
        },
    )
