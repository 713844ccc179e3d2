"""A ledger as large as one likes: a real incident from alert to recovery, repeated about other services.

One outage is played through the real governor (tests/simulation); its entries are posted again under other names, at
later times, and each message is delivered. The database's rules hold for them as for any others.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Blob, Draft, Entry, format_time, parse_time
from ledger.merkle import leaf_hash
from ledger.stores.batch import Head, Scribe
from receiver.incident.assigned import read_assigned
from tests.simulation.stories import Told
from tests.simulation.world import START

SERVICES = 200  # which break again and again
APART = timedelta(minutes=10)  # between two posts
POST_ENTRIES = 500
_TIME = re.compile(r"2026-11-23T08:[0-5]\d:[0-5]\d\.\d{6}Z|2026-11-23T09:[0-5]\d:[0-5]\d\.\d{6}Z")
_INDICES = ("subject", "message", "proposal")  # fields of a body that are the index of an entry


@dataclass
class Clock:
    """The time at which a ledger is filled."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Outage:
    """The entries of one incident, and how many of them there are before somebody answers."""

    adopted: Entry
    log: Sequence[Entry]
    blobs: dict[str, bytes]
    asked: int

    @classmethod
    async def play(cls) -> Outage:
        told = Told()
        await told.begin()
        await told.breaks()
        await told.passes(60)
        await told.approves("rudo")
        await told.passes(60)
        await told.heals()
        await told.passes(120)
        copy = await told.copy()
        await told.over()
        log = [entry for entry in copy.log if entry.stage not in ("OPENED", "ADOPTED")]
        return cls(
            copy.log[1], log, copy.blobs, next(place for place, entry in enumerate(log) if entry.stage == "HEARD")
        )

    def in_force(self) -> Draft:
        """The policy under which it was played."""
        return _Again(self, 0, "checkout", 0, timedelta(0)).in_force()

    def again(self, number: int, service: str, first: int, later: timedelta, *, whole: bool) -> list[Draft]:
        """The entries of another incident, the first of which will have the index `first`; whole: to its end."""
        return list(_Again(self, number, service, first, later).drafts(whole))


class _Again:
    def __init__(self, outage: Outage, number: int, service: str, first: int, later: timedelta) -> None:
        self._outage, self._first, self._later = outage, first, later
        log = outage.log
        (alert,) = (row.alert for ref in log[1].blobs for row in read_assigned(outage.blobs[ref.digest]))
        proposed = next(entry for entry in log if entry.stage == "PROPOSED")
        named = {
            "checkout": service,
            alert.fingerprint: f"{service:.16}".encode().hex()[:16].ljust(16, "0"),
            str(proposed.incident_id): f"inc-{number:010x}",
            str(proposed.body["webhook_id"]): f"wh-{number}",
        }
        named |= {entry.body["sid"]: f"SM{number:x}{entry.body['sid'][-8:]}" for entry in log if entry.stage == "SENT"}
        self._named, self._number = named, number
        self._words = re.compile("|".join(re.escape(word) for word in named) + "|" + _TIME.pattern)
        self._places: dict[int, int] = {}

    def in_force(self) -> Draft:
        return self._draft(self._outage.adopted)

    def drafts(self, whole: bool) -> Iterator[Draft]:
        log = self._outage.log if whole else self._outage.log[: self._outage.asked]
        index = self._first
        for entry in log:
            self._places[entry.index] = index
            yield self._draft(entry)
            index += 1
            if entry.stage == "SENT":
                addressed, sid = self._places[entry.body["message"]], self._named[entry.body["sid"]]
                yield Draft(
                    id=f"delivered:{addressed}",
                    stage="DELIVERED",
                    actor="carrier:whatsapp",
                    incident_id=self._named[str(entry.incident_id)],
                    reason="delivered",
                    settles=addressed,
                    body={"sid": sid},
                )
                index += 1

    def _draft(self, entry: Entry) -> Draft:
        return Draft(
            id=f"{self._text(entry.id)}~{self._number}",
            stage=entry.stage,
            actor=entry.actor,
            incident_id=self._named[entry.incident_id] if entry.incident_id else None,
            decision=entry.decision,
            reason=self._text(entry.reason),
            confidence=entry.confidence,
            policy_version=entry.policy_version,
            policy_digest=entry.policy_digest,
            settles=None if entry.settles is None else self._places[entry.settles],
            cites=tuple(self._places[index] for index in entry.cites),
            body=self._place(self._value(entry.body)),
            blobs=tuple(Blob(ref.name, self._bytes(self._outage.blobs[ref.digest])) for ref in entry.blobs),
        )

    def _place(self, body: dict[str, Any]) -> dict[str, Any]:
        return body | {name: self._places[body[name]] for name in _INDICES if type(body.get(name)) is int}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {name: self._value(item) for name, item in value.items()}
        return [self._value(item) for item in value] if isinstance(value, list) else value

    def _bytes(self, raw: bytes) -> bytes:
        return self._text(raw.decode()).encode()

    def _text(self, text: str) -> str:
        return self._words.sub(lambda found: self._named.get(found[0]) or self._moved(found[0]), text)

    def _moved(self, time: str) -> str:
        return format_time(parse_time(time) + self._later)


def posts(outage: Outage, clock: Clock, first: int, entries: int, open_incidents: int) -> Iterator[list[Draft]]:
    """A policy, and incidents until there are about `entries`, the last `open_incidents` of which nobody answered yet.

    first: the index of the first of them. `clock` goes on before each post.
    """
    yield [outage.in_force()]
    began, number, size = clock.now, 0, first + 1
    opening = len(outage.again(0, "any", 0, timedelta(0), whole=False))
    for count, ends, services in ((entries - size, True, SERVICES), (0, False, open_incidents)):
        until = size + (count - open_incidents * opening if ends else open_incidents * opening)
        while size < until:
            clock.now += APART
            drafts: list[Draft] = []
            while len(drafts) < POST_ENTRIES and size + len(drafts) < until:
                service = f"{'service' if ends else 'open'}-{number % services}"
                drafts += outage.again(number, service, size + len(drafts), clock.now - began, whole=ends)
                number += 1
            size += len(drafts)
            yield drafts


def write(
    store: Path, origin: str, tenant: str, key: Ed25519PrivateKey, clock: Clock, wanted: Iterator[list[Draft]]
) -> None:
    """Write posts to a ledger that nobody has open, quickly: its rules are put aside meanwhile.

    That the rules take them is proven where they are few. The checkpoint and what is hashed are as ever.
    """
    scribe, head = Scribe(origin, key, clock), Head()
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        aside = connection.execute(
            "SELECT type, name, sql FROM sqlite_master "
            "WHERE type IN ('trigger', 'index') AND sql NOT NULL ORDER BY rowid"
        ).fetchall()
        for kind, name, _ in aside:
            connection.execute(f"DROP {kind} {name}")
        rows = connection.execute("SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? ORDER BY n", (tenant,))
        head = Head(head.frontier.extended(leaf_hash(raw) for (raw,) in rows))
        for drafts in wanted:
            entries, head = scribe.write(tenant, drafts, head)
            blobs = [(tenant, blob.digest, blob.data) for draft in drafts for blob in draft.blobs]
            connection.executemany(
                "INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)",
                [(tenant, entry.index, entry.raw.decode()) for entry in entries],
            )
            connection.executemany("INSERT OR IGNORE INTO blob (tenant, digest, data) VALUES (?, ?, ?)", blobs)
        signed = scribe.signed(tenant, head)
        connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (tenant, signed.frontier.size, signed.note))
        for _, _, sql in aside:
            connection.execute(sql)
        connection.execute("COMMIT")
