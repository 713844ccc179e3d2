"""Whoever holds the key can sign anything; verification posts every entry again under the rules, and finds it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ledger import checkpoint as notes
from ledger.entry import Draft, canonical
from ledger.merkle import leaf_hash, tree_root
from tests.ledger.books import ORIGIN, at
from tests.ledger.files import KEY, Files

NAME = notes.log_origin(ORIGIN, "default")
PROPOSAL = {"digest": "a" * 64, "expires_at": at(600), "authorize_until": at(720), "quorum": 1, "approvers": ["rudo"]}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Entries 1 to 8, with an open proposal (3), an answer that is not judged (4) and a halt (5)."""
    found = Files(tmp_path)
    detected = [
        Draft("w", "WATCHED", "policy"),
        Draft("d", "DETECTED", "policy", "inc1", settles=1),
        Draft("p", "PROPOSED", "policy", "inc1", body=PROPOSAL),
        Draft("h", "HEARD", "carrier:whatsapp"),
        Draft("halt", "HALTED", "engineer:rudo"),
        Draft("w2", "WATCHED", "policy"),
        Draft("d2", "DETECTED", "policy", "inc2", settles=6),
        Draft("c2", "CLOSED", "operator:root", "inc2", settles=7),
    ]
    asyncio.run(found.post(detected))
    return found


def add_signed(files: Files, draft: Draft) -> None:
    """One more entry past the rules, under a checkpoint that the key of the ledger has signed."""
    with files.without_rules() as store:
        leaves = [leaf_hash(text.encode()) for (text,) in store.execute("SELECT bytes FROM entry ORDER BY n")]
        given: dict[str, Any] = {"ledger": ORIGIN, "tenant_id": "default", "index": len(leaves), "salt": "00" * 16}
        raw = canonical(draft.document(0) | given | {"timestamp": at(1)})
        leaves.append(leaf_hash(raw))
        note = notes.sign(notes.Checkpoint(NAME, len(leaves), tree_root(leaves)), NAME, KEY)
        store.execute("INSERT INTO entry (tenant, n, bytes) VALUES ('default', ?, ?)", (len(leaves) - 1, raw.decode()))
        store.execute("INSERT INTO checkpoint VALUES ('default', ?, ?)", (len(leaves), note))


def test_what_keeps_the_rules_verifies(files: Files) -> None:
    add_signed(files, Draft("n", "NOTED", "system"))
    assert files.verify().fault is None


@pytest.mark.parametrize(
    "draft",
    [
        Draft("x", "RESUMED", "engineer:rudo", settles=5),
        Draft("x", "EXPIRED", "policy", "inc1", settles=3),
        Draft("x", "PROPOSED", "policy", "inc1", body=PROPOSAL),
        Draft("x", "PROPOSED", "policy", "inc2", body=PROPOSAL),
        Draft("x", "CONSULTED", "system", "inc2"),
        Draft("x", "RECOVERED", "policy", "inc1", settles=2),
        Draft("x", "DECLINED", "engineer:rudo", "inc1", settles=4, cites=(3,)),
        Draft("x", "APPROVED", "engineer:eve", "inc1", settles=4, cites=(3,)),
        Draft("x", "AUTHORIZED", "engineer:rudo", "inc1", settles=3),
        Draft("x", "DETECTED", "policy", "inc1"),
        Draft("x", "OPENED", "system"),
        Draft("x", "NOTED", "claude"),
        Draft("x", "NOTED", "system", cites=(9,)),
    ],
    ids=lambda draft: f"{draft.stage} {draft.actor} {draft.incident_id}",
)
def test_a_signed_entry_that_breaks_a_rule_is_found(files: Files, draft: Draft) -> None:
    add_signed(files, draft)
    fault = files.verify().fault
    assert fault is not None
    assert fault.index == 9


def test_a_rule_that_is_gone_is_a_fault_though_every_entry_holds(files: Files) -> None:
    with files.without_rules():
        pass
    assert files.verify().fault is None
    with sqlite3.connect(files.path) as store:
        store.execute("DROP TRIGGER entry_dispatched")
    store.close()
    fault = files.verify().fault
    assert fault is not None
    assert fault.message.endswith("trigger entry_dispatched is missing")
