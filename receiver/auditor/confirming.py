"""Messages of which nobody knows whether they arrived: the carrier took them and never said what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.entry import Entry
from ledger.findings import Finding

RULES: Mapping[str, str] = {
    "unconfirmed": "of every message that the carrier took it says within its time whether it arrived",
}
WITHIN = timedelta(days=7)  # what is older is history, and no reason to look at callbacks now
_REMEDY = (
    "see that Twilio reaches public_url (`counterfoil check --online`), and compare with its own log: "
    "ledger reconcile --messages FILE"
)


@dataclass(slots=True)
class _Taken:
    """A message that the carrier took, by its ADDRESSED. given_up: the entry that settled it without a word."""

    person: str
    given_up: int | None = None
    at: datetime | None = None


class Unconfirmed:
    """One log, entry by entry. What is confirmed after all, however late, is no finding."""

    def __init__(self) -> None:
        self._persons: dict[int, str] = {}  # ADDRESSED that nothing has settled
        self._taken: dict[int, _Taken] = {}

    def take(self, entry: Entry) -> None:
        if not entry.well_formed:
            return
        message, settled = entry.body.get("message"), entry.settles
        if entry.stage == "ADDRESSED":
            self._persons[entry.index] = str(entry.body.get("person"))
        elif entry.stage == "SENT" and isinstance(message, int) and message in self._persons:
            self._taken.setdefault(message, _Taken(self._persons[message]))
        elif entry.stage == "DELIVERED" and settled is not None:
            self._persons.pop(settled, None)
            self._taken.pop(settled, None)
        elif entry.stage == "UNDELIVERED" and settled is not None:
            self._persons.pop(settled, None)
            taken = self._taken.get(settled)
            if taken is None or entry.decision != "no report":
                self._taken.pop(settled, None)  # refused, or reported as lost: that is a word
            else:
                taken.given_up, taken.at = entry.index, entry.timestamp
        elif entry.stage == "NOTED" and entry.id.startswith("late:") and entry.cites:
            self._taken.pop(entry.cites[0], None)

    def findings(self, now: datetime | None) -> Iterator[Finding]:
        """One for all of them, at the newest. now: None looks at the whole log, else at what is newer than WITHIN."""
        since = now - WITHIN if now is not None else None
        lost = [
            taken
            for taken in self._taken.values()
            if taken.given_up is not None and taken.at is not None and (since is None or taken.at >= since)
        ]
        if lost:
            people = len({taken.person for taken in lost})
            what = f"{len(lost)} message(s) to {people} person(s) were taken by the carrier"
            detail = f"{what}, and nobody knows whether they arrived"
            yield Finding(max(taken.given_up or 0 for taken in lost), "unconfirmed", detail, _REMEDY)
