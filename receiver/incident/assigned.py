"""The rows of an EVALUATED: every alert that said something new, and the rules and keys that took it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.entry import Entry, canonical
from policy_rules.readings import Alert
from receiver.incident.states import Key, KnownAlert, key_of


@dataclass(frozen=True, slots=True)
class Assigned:
    """One alert of an EVALUATED with the rules and keys that took it (the rows of its `alerts` blob)."""

    alert: Alert
    assignments: tuple[tuple[str, Key], ...]


def write_assigned(rows: Sequence[Assigned]) -> bytes:
    """The `alerts` blob of an EVALUATED: every alert of the notification that said something new."""
    return canonical(
        [
            {
                "fingerprint": row.alert.fingerprint,
                "firing": row.alert.firing,
                "starts_at": _stamp(row.alert.starts_at),
                "ends_at": _stamp(row.alert.ends_at) if row.alert.ends_at else None,
                "labels": dict(row.alert.labels),
                "annotations": dict(row.alert.annotations),
                "generator_url": row.alert.generator_url,
                "assignments": [{"rule": rule, "key": dict(key)} for rule, key in row.assignments],
            }
            for row in rows
        ]
    )


def read_assigned(raw: bytes) -> list[Assigned]:
    return [
        Assigned(
            Alert(
                fingerprint=row["fingerprint"],
                labels=row["labels"],
                annotations=row["annotations"],
                firing=row["firing"],
                starts_at=datetime.fromisoformat(row["starts_at"]),
                ends_at=datetime.fromisoformat(row["ends_at"]) if row["ends_at"] else None,
                generator_url=row["generator_url"],
            ),
            tuple((assignment["rule"], key_of(assignment["key"])) for assignment in row["assignments"]),
        )
        for row in json.loads(raw)
    ]


def assigned_of(entry: Entry, blob: Callable[[str], bytes | None]) -> list[Assigned]:
    """The rows of an entry; none where it is no EVALUATED. blob: gives what stands under a digest."""
    digest = next((ref.digest for ref in entry.blobs if ref.name == "alerts"), None)
    if entry.stage != "EVALUATED" or digest is None:
        return []
    return read_assigned(blob(digest) or b"[]")


def is_old_news(known: KnownAlert | None, alert: Alert) -> bool:
    """Whether `alert` says nothing new: it fires since a time at or before an end that is already known.

    Notifications overtake each other (a failed flush is sent again later), so startsAt and endsAt decide, not the
    order of arrival.
    """
    if known is None:
        return False
    if alert.firing:
        return known.ended_at is not None and alert.starts_at <= known.ended_at
    # An end that is older than the episode that fires now belongs to the episode before it.
    return known.alert.firing and alert.ends_at is not None and alert.ends_at < known.alert.starts_at


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
