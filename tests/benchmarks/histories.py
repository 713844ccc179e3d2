"""A ledger as large as one likes: a real incident from alert to recovery, repeated about other services.

One outage is played through the real governor (tests/simulation); its entries are posted again under other names, at
later times, in the commits in which they were posted, and each message is delivered. The database's rules hold for them
as for any others.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.attested import EVERY, Run
from ledger.entry import Blob, Draft, Entry, format_time, parse_time
from ledger.merkle import leaf_hash
from ledger.stores.batch import Head, Scribe
from receiver.incident.assigned import read_assigned
from tests.simulation.stories import Told
from tests.simulation.world import START

SERVICES = 200  # which break again and again
DAY = timedelta(days=1)
ENTRIES_A_DAY = 2_000
_TIME = re.compile(r"2026-11-23T08:[0-5]\d:[0-5]\d\.\d{6}Z|2026-11-23T09:[0-5]\d:[0-5]\d\.\d{6}Z")
_INDICES = ("subject", "message", "proposal")  # fields of a body that are the index of an entry

Commit = tuple[datetime, list[Draft]]  # when it was, and what it holds


@dataclass
class Clock:
    """The time at which a ledger is filled."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Outage:
    """The entries of one incident, how many of them there are before somebody answers, and where commits ended."""

    adopted: Entry
    log: Sequence[Entry]
    blobs: dict[str, bytes]
    asked: int
    commits: frozenset[int]  # how many entries stood after each

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
        with tempfile.TemporaryDirectory() as folder:
            told.real.copy_to(Path(folder) / "ledger.db")
            with closing(sqlite3.connect(Path(folder) / "ledger.db")) as store:
                sizes = store.execute("SELECT size FROM checkpoint WHERE tenant = ?", (copy.tenant,)).fetchall()
        await told.over()
        log = [entry for entry in copy.log if entry.stage not in ("OPENED", "ADOPTED")]
        asked = next(place for place, entry in enumerate(log) if entry.stage == "HEARD")
        return cls(copy.log[1], log, copy.blobs, asked, frozenset(size for (size,) in sizes))

    def in_force(self) -> Draft:
        """The policy under which it was played."""
        return _Again(self, 0, "checkout", 0, timedelta(0)).in_force()

    def again(self, number: int, service: str, first: int, later: timedelta, *, whole: bool) -> list[Commit]:
        """The entries of another incident, the first of which will have the index `first`; whole: to its end."""
        return list(_Again(self, number, service, first, later).commits(whole))


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

    def commits(self, whole: bool) -> Iterator[Commit]:
        log = self._outage.log if whole else self._outage.log[: self._outage.asked]
        index, drafts, sent = self._first, list[Draft](), list[Entry]()
        for entry in log:
            self._places[entry.index] = index
            drafts.append(self._draft(entry))
            sent += [entry] if entry.stage == "SENT" else []
            index += 1
            if entry.index + 1 in self._outage.commits or entry is log[-1]:
                yield entry.timestamp + self._later, drafts
                yield from ((each.timestamp + self._later, [self._delivered(each)]) for each in sent)
                index += len(sent)
                drafts, sent = [], []

    def _delivered(self, entry: Entry) -> Draft:
        addressed, sid = self._places[entry.body["message"]], self._named[entry.body["sid"]]
        return Draft(
            id=f"delivered:{addressed}",
            stage="DELIVERED",
            actor="carrier:whatsapp",
            incident_id=self._named[str(entry.incident_id)],
            reason="delivered",
            settles=addressed,
            body={"sid": sid},
        )

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

    Each is a commit; an empty one is the turn of the ledger to speak of its checkpoints (`ledger.attested`). first: the
    index of the first of them. `clock` goes on before each: about ENTRIES_A_DAY, and the incidents that stay open began
    within the last day.
    """
    yield [outage.in_force()]
    size, number, later, commits = first + 1, 0, timedelta(0), 1
    long, short = (sum(len(drafts) for _, drafts in outage.again(0, "any", 0, later, whole=w)) for w in (True, False))
    ended = max(0, -((size - entries + open_incidents * short) // long))
    for count, whole, services, apart in (
        (ended, True, SERVICES, DAY * long / ENTRIES_A_DAY),
        (open_incidents, False, open_incidents, min(DAY * short / ENTRIES_A_DAY, DAY / max(open_incidents, 1))),
    ):
        for _ in range(count):
            later += apart
            service = f"{'service' if whole else 'open'}-{number % services}"
            for at, drafts in outage.again(number, service, size, later, whole=whole):
                clock.now = max(clock.now, at)
                size += len(drafts)
                commits += 1
                yield drafts
            number += 1
            if commits >= EVERY:
                size, commits = size + 1, 0
                yield []


def write(
    store: Path, origin: str, tenant: str, key: Ed25519PrivateKey, clock: Clock, wanted: Iterator[list[Draft]]
) -> None:
    """Write posts to a ledger that nobody has open, quickly: its rules are put aside meanwhile.

    That the rules take them is proven where they are few. What is hashed and signed is as ever.
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
        run = Run(head.frontier.size)
        for drafts in wanted:
            entries, head = scribe.write(tenant, drafts or [run.draft()], head)
            head = scribe.signed(tenant, head)
            run = run if drafts else Run(run.through)
            run.take(head.frontier.size, head.note)
            blobs = [(tenant, blob.digest, blob.data) for draft in drafts for blob in draft.blobs]
            connection.executemany(
                "INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)",
                [(tenant, entry.index, entry.raw.decode()) for entry in entries],
            )
            connection.executemany("INSERT OR IGNORE INTO blob (tenant, digest, data) VALUES (?, ?, ?)", blobs)
            connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (tenant, head.frontier.size, head.note))
        for _, _, sql in aside:
            connection.execute(sql)
        connection.execute("COMMIT")
