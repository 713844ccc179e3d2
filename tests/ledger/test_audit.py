"""Whoever holds the key can sign anything; verification decides every rule again, by either program, and finds it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger import audit, posting_again
from ledger import checkpoint as notes
from ledger.beside import Unsaid, telling
from ledger.entry import Blob, Draft, canonical
from ledger.merkle import leaf_hash, tree_root
from ledger.stores import schema
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


def add_signed(files: Files, draft: Draft, **other: Any) -> None:
    """One more entry past the rules, under a checkpoint that the key of the ledger has signed. other: its fields."""
    with files.without_rules() as store:
        leaves = [leaf_hash(text.encode()) for (text,) in store.execute("SELECT bytes FROM entry ORDER BY n")]
        given: dict[str, Any] = {"ledger": ORIGIN, "tenant_id": "default", "index": len(leaves), "salt": "00" * 16}
        raw = canonical(draft.document(0) | given | {"timestamp": at(1)} | other)
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
def test_a_signed_entry_that_breaks_a_rule_is_found(files: Files, draft: Draft, monkeypatch: Any) -> None:
    add_signed(files, draft)
    fault = files.verify(again=False).fault
    assert fault is not None
    assert fault.index == 9
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)  # as of a long log: by a process beside
    assert files.verify(again=False).fault == fault
    refused = posting_again.post_again(schema.connect(files.path), "default", ORIGIN, 10)
    assert refused is not None
    assert refused[0] == 9


def test_a_process_beside_that_is_ended_is_no_answer(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then this process looks, and finds the same."""
    add_signed(files, Draft("x", "NOTED", "claude"))
    fault = files.verify(again=False).fault
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert fault is not None
    assert files.verify(again=False).fault == fault


def test_what_a_process_beside_cannot_do_is_said_once(
    files: Files, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A log that names no key, so that no signature can be verified anywhere."""
    with files.without_rules() as store:
        store.execute("UPDATE entry SET bytes = replace(bytes, '\"key\"', '\"kez\"') WHERE n = 0")
    fault = files.verify(again=False).fault
    assert fault is not None
    assert fault.rule == "key"
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)
    assert files.verify(again=False).fault == fault
    given = str(files.path), "default", ORIGIN, "9", "500", "1", "0"
    with telling("ledger.signatures_audit", *given) as answer, pytest.raises(Unsaid):
        answer()
    assert capfd.readouterr().err == ""


def test_bytes_that_are_no_entry_are_named_rather_than_the_root_that_they_change(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with files.without_rules() as store:
        store.execute("UPDATE entry SET bytes = replace(bytes, '2026-', '2026:') WHERE n = 3")
    fault = files.verify(again=False).fault
    assert fault is not None
    assert (fault.rule, fault.index) == ("leaf", 3)
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)
    assert files.verify(again=False).fault == fault


@pytest.mark.parametrize(("length", "found"), [(4, None), (5, ("blob", 9)), ("4", ("form", 9))])
def test_a_blob_has_the_length_that_its_entry_says(
    files: Files, monkeypatch: pytest.MonkeyPatch, length: object, found: object
) -> None:
    blob = Blob("text", b"four")
    with files.without_rules() as store:
        store.execute("INSERT INTO blob VALUES ('default', ?, ?)", (blob.digest, blob.data))
    named = [{"name": blob.name, "digest": blob.digest, "length": length}]
    add_signed(files, Draft("x", "NOTED", "system"), blobs=named)
    for beside_from in (20_000, 0):
        monkeypatch.setattr(audit, "BESIDE_FROM", beside_from)
        fault = files.verify(again=False).fault
        assert (None if fault is None else (fault.rule, fault.index)) == found


@pytest.mark.parametrize(
    "other",
    [
        {"actor": 'system","blobs":[]'},
        {"actor": '\\","blobs":[]'},
        {"a": {"actor": "system", "blobs": []}},
        {"body": {"actor": "system", "blobs": []}},
    ],
)
def test_no_text_of_an_entry_hides_that_it_names_a_blob(files: Files, other: dict[str, object]) -> None:
    """Entries that name none are told apart by how their bytes begin."""
    add_signed(files, Draft("x", "NOTED", "system", blobs=(Blob("text", b"nowhere"),)), **other)
    fault = files.verify(again=False).fault
    assert fault is not None
    assert (fault.rule, fault.index, fault.message) == ("blob", 9, "its blob text is missing")


@pytest.mark.parametrize("key", ["0.5", "9007199254740992", "[" * 70 + "]" * 70])
def test_what_has_no_canonical_form_is_found_by_the_process_beside_too(
    files: Files, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with files.without_rules() as store:
        store.execute(f"UPDATE entry SET bytes = replace(bytes, '\"body\":{{}}', '{said(key)}') WHERE n = 2")
    assert said(key) in files.rows("SELECT bytes FROM entry WHERE n = 2")[0][0]
    for beside_from in (20_000, 0):
        monkeypatch.setattr(audit, "BESIDE_FROM", beside_from)
        fault = files.verify(again=False).fault
        assert fault is not None
        assert (fault.rule, fault.index) == ("leaf", 2)


def said(key: str) -> str:
    return f'"body":{{"key":{key},"rule":"r"}}'


@pytest.mark.parametrize("place", ["timestamp", "expires_at"])
def test_the_last_moment_of_the_calendar_is_a_finding_and_no_failure(files: Files, place: str) -> None:
    with files.without_rules() as store:
        sql = f"UPDATE entry SET bytes = json_set(bytes, '$.{place}', '9999-12-31T23:59:59.000000Z') WHERE n = ?"
        store.execute(sql.replace("$.expires_at", "$.body.expires_at"), (4 if place == "timestamp" else 3,))
    fault = files.verify(again=False).fault
    assert fault is not None
    assert fault.index is not None


def test_a_tenant_whose_name_no_process_takes_is_a_finding_and_no_failure(files: Files) -> None:
    with files.without_rules() as store:
        other = "SELECT 'a' || char(0) || 'b', 50000, bytes FROM entry WHERE n = 1"
        store.execute(f"INSERT INTO entry (tenant, n, bytes) {other}")
    audits = audit.verify_store(files.path, origin=ORIGIN, public=KEY.public_key(), anchor_path=files.prefix)
    assert [found.fault is None for found in audits] == [False, True]


def test_a_decline_that_is_signed_without_its_rejection_is_found(files: Files) -> None:
    add_signed(files, Draft("x", "DECLINED", "engineer:rudo", "inc1", settles=4, cites=(3,)))
    add_signed(files, Draft("y", "REJECTED", "policy", "inc1", settles=3))
    fault = files.verify(again=False).fault
    assert fault is not None
    assert (fault.rule, fault.index) == ("declined", 9)


def test_a_short_log_is_posted_again_and_a_long_one_where_it_is_asked_for(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = []

    @contextmanager
    def watched(*given: Any) -> Iterator[Any]:
        posted.append(given[-1])
        yield lambda: None

    monkeypatch.setattr(audit, "posting_again", watched)
    files.verify()
    assert posted == [9]
    monkeypatch.setattr(audit, "POSTED_AGAIN_MAX", 8)
    files.verify()
    assert posted == [9]
    files.verify(again=True)
    assert posted == [9, 9]


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


def test_an_index_that_lacks_an_entry_is_damage_though_every_entry_holds(files: Files) -> None:
    def schema_changed(sql: str, *given: Any) -> list[Any]:
        with closing(sqlite3.connect(files.path, isolation_level=None)) as store:
            store.execute("PRAGMA writable_schema = ON")
            return store.execute(sql, given).fetchall()

    rows = schema_changed("SELECT * FROM sqlite_master WHERE name = 'entry_stage'")
    schema_changed("DELETE FROM sqlite_master WHERE name = 'entry_stage'")
    add_signed(files, Draft("n", "NOTED", "system"))
    schema_changed("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", *rows[0])
    fault = files.verify().fault
    assert fault is not None
    assert fault.rule == "file"
    assert fault.message.startswith("the file is damaged: ")
    assert "entry_stage" in fault.message
