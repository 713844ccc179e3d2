"""How many messages went to people, by day, channel and kind, what became of them, and what they cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ledger.entry import Entry


@dataclass(slots=True)
class Row:
    """One day's messages of one kind on one channel; the day is that of ADDRESSED, in UTC.

    sent: what the carrier took, each copy by itself, since each is billed. lost: by the word for why.
    price: US dollars by the table; None where the table has no price for the channel.
    """

    day: str
    channel: str
    kind: str
    addressed: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    price: Decimal | None = None

    @property
    def waiting(self) -> int:
        """Of which nothing is known yet."""
        return self.addressed - self.delivered - self.lost.total()

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day,
            "channel": self.channel,
            "kind": self.kind,
            "addressed": self.addressed,
            "sent": self.sent,
            "delivered": self.delivered,
            "read": self.read,
            "waiting": self.waiting,
            "undelivered": dict(sorted(self.lost.items())),
            "price_usd": str(self.price) if self.price is not None else None,
        }


def rows(entries: Iterable[Entry], prices: Mapping[str, Decimal], since: datetime, until: datetime) -> list[Row]:
    """The rows of what was addressed from `since` on and before `until`, in order. prices: by channel, a message."""
    found: dict[tuple[str, str, str], Row] = {}
    about: dict[int, Row] = {}  # by the index of the ADDRESSED
    for entry in entries:
        if not entry.well_formed:
            continue
        if entry.stage == "ADDRESSED" and since <= entry.timestamp < until:
            body = entry.body
            day = entry.timestamp.astimezone(UTC).strftime("%Y-%m-%d")
            key = day, str(body.get("channel")), str(body.get("kind"))
            about[entry.index] = row = found.setdefault(key, Row(*key))
            row.addressed += 1
        elif entry.stage in ("SENT", "READ"):
            row_of = about.get(entry.body.get("message", -1))
            if row_of is not None:
                row_of.sent += entry.stage == "SENT"
                row_of.read += entry.stage == "READ"
        elif entry.stage in ("DELIVERED", "UNDELIVERED") and entry.settles in about:
            row = about[entry.settles]
            row.delivered += entry.stage == "DELIVERED"
            if entry.stage == "UNDELIVERED":
                row.lost[str(entry.decision or "no reason")] += 1
    for row in found.values():
        if row.channel in prices:
            row.price = prices[row.channel] * row.sent
    return [found[key] for key in sorted(found)]
