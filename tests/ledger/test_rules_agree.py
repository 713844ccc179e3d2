"""The rules of the books stand twice: in the database and in `ledger.findings`. What the one refuses the other finds.

Logs grow entry by entry at random, most of them as they should be and some changed in a field; each is posted into a
database with all of its rules, and shown to an examiner of the same log. COUNTERFOIL_AGREE=200000 makes so many
entries; some thousand by default.
"""

from __future__ import annotations

import copy
import os
import random
import sqlite3
from collections import Counter
from typing import Any

import pytest

from ledger.accounts import OFFICES, OPENS, SETTLES, STAGES, must_settle
from ledger.entry import Entry, NotCanonical, canonical
from ledger.findings import HARMLESS, RULES, Examiner
from tests.ledger.books import DIGEST, START, Scribe, at, connection

ENTRIES = int(os.environ.get("COUNTERFOIL_AGREE", "4000"))
LENGTH = 120  # of one log
DRAWN = tuple(stage for stage in STAGES if stage != "REKEYED")  # keys are judged by the keyring, see test_keys
INCIDENTS = ("inc1", "inc2", "inc3")
PEOPLE = ("tendai", "rudo", "chipo")
# What an auditor asks about and the database does not: whether a policy was adopted, questions of two incidents about
# one thing, and of what type a field is that no rule reads.
OF_FINDINGS_ALONE = {"policy unknown", "one at a time", "form", "leaf", "question"}
FREE = (*(stage for stage in DRAWN if not must_settle(stage)), "RECOVERED", "AUTHORIZED", "DISPATCHED", "APPROVED")
COMMON = ("WATCHED", "PROPOSED", "PROPOSED", "HEARD", "HEARD")  # without which little happens
ONWARDS = ("DETECTED", "APPROVED", "AUTHORIZED", "DISPATCHED", "EXECUTED", "UNRESOLVED")  # what leads on
SECONDS = (0.0, 0.001, 1.0, 200.0, 700.0)


class Grower:
    """A log that grows at random. `scribe` posts into the database, `examiner` has seen what was taken there."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scribe = Scribe(connection())
        self.examiner = Examiner()
        self.open: dict[int, Entry] = {}
        self.log: list[Entry] = []
        (raw,) = self.scribe.store.execute("SELECT bytes FROM entry").fetchone()
        self.keep(Entry.parse(raw.encode()))
        adopted = self.scribe.entry("ADOPTED", "system", body={"name": "shop"})
        self.scribe.put(adopted)
        self.keep(Entry.parse(canonical(adopted)))

    def keep(self, entry: Entry) -> None:
        self.examiner.take(entry)
        self.open.pop(-1 if entry.settles is None else entry.settles, None)
        if entry.stage in OPENS:
            self.open[entry.index] = entry
        self.log.append(entry)
        self.scribe.next = entry.index + 1
        self.scribe.seconds = max(self.scribe.seconds, (entry.timestamp - START).total_seconds())

    def draft(self) -> dict[str, Any]:
        """The next entry, as it may well be: it settles what is open, or opens something."""
        pick = self.random.choice
        self.scribe.seconds += pick(SECONDS) if self.random.random() < 0.1 else 0.001
        target = self.target() if self.random.random() < 0.6 else None
        if target is not None:
            stages = SETTLES[OPENS[target.stage]]
            stage = pick((*stages, *[each for each in stages if each in ONWARDS] * 3))
            if stage in ("APPROVED", "DECLINED") and not self.asked():
                stage = "HEEDED"
            if stage == "AUTHORIZED" and not self.cites(stage, target) and self.random.random() < 0.9:
                stage = pick(("WITHDRAWN", "EXPIRED", "REJECTED"))
        else:
            stage = pick(FREE if self.random.random() < 0.4 else COMMON)
            if stage in ("PROPOSED", "WATCHED") and len(self.asked()) > 2:
                stage = "HEARD"
            if stage == "PROPOSED" and not any(e.stage == "DETECTED" for e in self.open.values()):
                stage = "WATCHED"
        settles = target.index if target is not None else None
        incident = target.incident_id if target is not None else pick((None, *INCIDENTS))
        if stage == "DETECTED":
            incident = pick(INCIDENTS) if self.random.random() < 0.3 else f"inc{self.scribe.next}"
        elif stage in ("PROPOSED", "CONSULTED"):
            incident = pick([e.incident_id for e in self.open.values() if e.stage == "DETECTED"] or [incident])
        elif stage in ("WATCHED", "HEARD", "HALTED"):
            incident = None
        cites = self.cites(stage, target)
        if stage in ("APPROVED", "DECLINED") and cites:
            incident = self.log[cites[0]].incident_id
        entry = self.scribe.entry(stage, self.actor(stage, target, cites), incident, settles=settles, cites=cites)
        digest = {"policy_digest": "e" * 64} if stage == "ADOPTED" and self.random.random() < 0.3 else {}
        return entry | {"body": self.body(stage, target)} | digest

    def target(self) -> Entry | None:
        """Something that is open: seldom what much else depends on."""
        found = list(self.open.values())
        soon = [entry for entry in found if entry.stage not in ("DETECTED", "HALTED") and not self.waits(entry)]
        return self.random.choice(soon if soon and self.random.random() < 0.9 else found) if found else None

    def asked(self) -> list[int]:
        return [entry.index for entry in self.open.values() if entry.stage == "PROPOSED"]

    def waits(self, entry: Entry) -> bool:
        """Whether it is a question that nobody has approved yet."""
        return entry.stage == "PROPOSED" and not self.cites("AUTHORIZED", entry)

    def cites(self, stage: str, target: Entry | None) -> list[int]:
        if stage in ("APPROVED", "DECLINED"):
            asked = self.asked() or [entry.index for entry in self.log if entry.stage == "PROPOSED"]
            return [self.random.choice(asked[-3:])] if asked else []
        if stage == "AUTHORIZED" and target is not None:
            return [e.index for e in self.log if e.stage == "APPROVED" and target.index in e.cites]
        return []

    def actor(self, stage: str, target: Entry | None, cites: list[int]) -> str:
        kind = self.random.choice(OFFICES[stage])
        if stage == "AUTHORIZED" and cites and self.random.random() < 0.9:
            return self.log[cites[-1]].actor
        if kind in ("engineer", "operator"):
            return f"{kind}:{self.random.choice(PEOPLE)}"
        return f"{kind}:x" if kind in ("executor", "carrier") else kind

    def body(self, stage: str, target: Entry | None) -> dict[str, Any]:
        if stage == "PROPOSED":
            now, quorum = self.scribe.seconds, self.random.choice((1, 1, 2))
            until = {"expires_at": at(now + 600), "authorize_until": at(now + 720)}
            return {"digest": DIGEST, "quorum": quorum, "approvers": list(PEOPLE[:2]), **until}
        if stage == "DISPATCHED":
            return {"digest": DIGEST}
        if stage == "ADOPTED":
            return {"name": self.random.choice(("shop", "pay"))}
        return {}

    def spoilt(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry with one of its fields changed."""
        pick, last = self.random.choice, self.scribe.next
        field = pick([each for each in CHANGES if entry["body"] or not each.startswith("body.")])
        value = pick(CHANGES[field])
        if value is ANY_INDEX:
            value = self.random.randint(-1, last + 1)
        if field.startswith("body."):
            return entry | {"body": entry["body"] | {field.removeprefix("body."): value}}
        if field == "cites" and isinstance(value, int):
            value = [*entry["cites"], value]
        if field == "id" and value == "again":
            value = pick(self.log).id
        if field == "timestamp" and isinstance(value, float):
            value = at(self.scribe.seconds + value)
        return entry | {field: value}


ANY_INDEX = object()
CHANGES: dict[str, tuple[Any, ...]] = {
    "stage": (*DRAWN, "WISHED", None, 7),
    "actor": ("claude", "policy", "policy:x", "system", "system:x", "engineer", "engineer:", "engineer:rudo",
              "operator:rudo", "executor", "carrier:", ":", "", None, "alertmanager:x"),
    "incident_id": (None, *INCIDENTS, "inc9", 5),
    "settles": (None, ANY_INDEX, ANY_INDEX, ANY_INDEX, "3", True, 1.5),
    "cites": (ANY_INDEX, ANY_INDEX, [], ["3"], {}, None, [True]),
    "id": ("again", "again", "", None, 5),
    "timestamp": (-1.0, -0.0005, -700.0, 100_000.0, "2026-11-23", None, "2026-13-23T08:58:38.425307Z"),
    "index": (ANY_INDEX, "1", None),
    "tenant_id": ("other", None),
    "ledger": ("other.example", None),
    "body": ([], None, "x"),
    "blobs": ({}, None),
    "policy_version": ("2.0.0", "1.0.0"),
    "policy_digest": ("e" * 64, None),
    "body.digest": ("b" * 64, "short", None, 5),
    "body.quorum": (0, 1, 2, 3, "1", None, True),
    "body.approvers": ([], ["rudo", "rudo"], ["rudo"], {}, None, [1]),
    "body.expires_at": (at(-1), at(50), at(99_999), "soon", None),
    "body.authorize_until": (at(-1), at(50), at(99_999), "soon", None),
    "body.name": ("shop", None),
}  # fmt: skip


def judged(grower: Grower, document: dict[str, Any]) -> tuple[str, set[str], Entry | None]:
    """Why the database refuses the next entry ("" where it takes it), what is found in it, and the entry."""
    refusal = ""
    grower.scribe.store.execute("SAVEPOINT before")
    try:
        grower.scribe.put(document, key=("default", grower.scribe.next))
    except sqlite3.IntegrityError as error:
        refusal = str(error)
    try:
        raw = canonical(document)
        entry = Entry.parse(raw)
    except (NotCanonical, ValueError):
        return refusal, {"leaf"}, None
    examiner = copy.deepcopy(grower.examiner)
    found = {finding.rule for finding in examiner.take(entry)}
    found |= {finding.rule for finding in examiner.end() if finding.rule == "id"}
    if (entry.index, entry.tenant_id, entry.ledger) != (grower.scribe.next, "default", "test.example"):
        found.add("leaf")  # as `ledger verify` compares them with the row in which they stand
    return refusal, found - HARMLESS, entry


def test_what_the_database_refuses_is_found_and_what_it_takes_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    refusals: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    taken = entries = seed = 0
    while entries < ENTRIES:
        grower = Grower(seed)
        seed += 1
        for _ in range(LENGTH):
            document = grower.draft()
            if grower.random.random() < 0.4:
                document = grower.spoilt(document)
            refusal, found, entry = judged(grower, document)
            entries += 1
            told = f"seed {seed - 1}, entry {grower.scribe.next}: {refusal or 'taken'}; found {found}: {document}"
            if refusal:
                assert found, told
                refusals[refusal] += 1
            else:
                assert found <= OF_FINDINGS_ALONE, told
                taken += 1
            if found or entry is None:
                grower.scribe.store.execute("ROLLBACK TO before")
            else:
                grower.keep(entry)
            grower.scribe.store.execute("RELEASE before")
            rules.update(found)
    with capsys.disabled():
        print(f"\n{entries} entries, {taken} taken, {sum(refusals.values())} refused for {len(refusals)} reasons")
    unmet = set(RULES) - rules.keys() - {"gap", "tenant", "overdue", "carried", *HARMLESS}
    assert not unmet, f"never found: {unmet}"
