"""A ledger's rules in a plain SQLite connection, and entries to attack them with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.stores import schema

ORIGIN = "test.example"
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DIGEST = "a" * 64
# Every kind of INSERT that SQLite knows; "…" stands for the columns and values.
VERBS = (
    *("INSERT …", "INSERT OR ABORT …", "INSERT OR REPLACE …", "REPLACE …", "INSERT OR IGNORE …", "INSERT OR FAIL …"),
    *("INSERT OR ROLLBACK …", "INSERT … ON CONFLICT DO NOTHING", "INSERT … ON CONFLICT DO UPDATE SET bytes = '{}'"),
)


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def connection() -> sqlite3.Connection:
    """An empty ledger with all of its rules, as another process would open it."""
    store = sqlite3.connect(":memory:", isolation_level=None)
    store.create_function("sha256_hex", 1, schema.sha256_hex, deterministic=True)
    store.executescript(schema.script(ORIGIN))
    return store


class Scribe:
    """Writes entries straight into the table, past the journal."""

    def __init__(self, store: sqlite3.Connection, tenant: str = "default") -> None:
        self.store = store
        self.tenant = tenant
        self.next = 0
        self.seconds = 0.0
        self.number = 0
        self.verb = VERBS[0]
        self.marks: dict[str, int] = {}
        self.post("OPENED", "system", id="open")

    def entry(self, stage: Any, actor: Any, incident: str | None = None, **fields: Any) -> dict[str, Any]:
        self.number += 1
        given = {
            "ledger": ORIGIN,
            "tenant_id": self.tenant,
            "index": self.next,
            "id": f"{stage}:{self.number}",
            "timestamp": at(self.seconds),
            "incident_id": incident,
            "stage": stage,
            "actor": actor,
            "decision": None,
            "reason": "",
            "confidence": None,
            "policy_version": "1.0.0",
            "policy_digest": "d" * 64,
            "settles": None,
            "cites": [],
            "body": {},
            "blobs": [],
            "salt": "00" * 16,
        }
        return given | fields

    def put(self, entry: dict[str, Any], verb: str | None = None, key: tuple[Any, Any] | None = None) -> None:
        raw = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        tenant, n = key if key is not None else (entry["tenant_id"], entry["index"])
        columns = "INTO entry (tenant, n, bytes) VALUES (?, ?, ?)"
        self.store.execute((verb or self.verb).replace("…", columns), (tenant, n, raw))

    def post(self, stage: str, actor: str, incident: str | None = None, **fields: Any) -> int:
        """Write the next entry as it should be; its index."""
        self.put(self.entry(stage, actor, incident, **fields))
        index = self.next
        self.next += 1
        self.seconds += 0.001
        return index

    def proposal(self, **changed: Any) -> dict[str, Any]:
        body = {"digest": DIGEST, "expires_at": at(600), "authorize_until": at(720), "quorum": 1}
        return {**body, "approvers": ["tendai", "rudo"], **changed}

    def story(self, until: str = "CONFIRMED", quorum: int = 1) -> Scribe:
        """A recovery from alert to RECOVERED, or to the stage `until`; `marks` holds the index of each stage."""
        steps: Sequence[tuple[str, str, str | None, dict[str, Any]]] = [
            ("RECEIVED", "alertmanager", None, {}),
            ("EVALUATED", "policy", None, {"settles": "RECEIVED"}),
            ("WATCHED", "policy", None, {}),
            ("DETECTED", "policy", "inc1", {"settles": "WATCHED"}),
            ("PROPOSED", "policy", "inc1", {"body": self.proposal(quorum=quorum)}),
            ("HEARD", "carrier:whatsapp", None, {}),
            ("APPROVED", "engineer:tendai", "inc1", {"settles": "HEARD", "cites": ["PROPOSED"]}),
            ("AUTHORIZED", "engineer:tendai", "inc1", {"settles": "PROPOSED", "cites": ["APPROVED"]}),
            ("DISPATCHED", "policy", "inc1", {"settles": "AUTHORIZED", "body": {"digest": DIGEST}}),
            ("EXECUTED", "executor:restart", "inc1", {"settles": "DISPATCHED"}),
            ("CONFIRMED", "policy", "inc1", {"settles": "EXECUTED"}),
            ("RECOVERED", "policy", "inc1", {"settles": "DETECTED"}),
        ]
        for stage, actor, incident, fields in steps:
            given = dict(fields)
            if "settles" in given:
                given["settles"] = self.marks[given["settles"]]
            if "cites" in given:
                given["cites"] = [self.marks[name] for name in given["cites"]]
            self.marks[stage] = self.post(stage, actor, incident, **given)
            if stage == until:
                break
        return self
