"""A log speaks of its own earlier checkpoints, so that whoever verifies it need not verify each signature."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import attested, signatures_audit
from ledger import checkpoint as notes
from ledger.attested import Attested, Run, attested_of
from ledger.entry import Entry, canonical
from ledger.journal import Refused
from ledger.keys import Keyring
from ledger.merkle import leaf_hash, tree_root
from ledger.stores import attesting, transaction
from ledger.stores.batch import Batch
from ledger.stores.sqlite import SqliteJournal
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, Files, note
from tests.ledger.test_signatures_audit import CHANGES, each_is_found

NAME = notes.log_origin(ORIGIN, "default")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attesting, "EVERY", 3)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def said(files: Files, tenant: str = "default") -> list[Attested]:
    rows = files.rows(f"SELECT bytes FROM entry WHERE tenant = '{tenant}' ORDER BY n")
    return [found for (text,) in rows if (found := attested_of(Entry.parse(text.encode()))) is not None]


def signed(files: Files, span: Attested, tenant: str = "default") -> list[str]:
    sql = f"SELECT note FROM checkpoint WHERE tenant = '{tenant}' AND size > {span.after} AND size <= {span.through}"
    return [text for (text,) in files.rows(sql + " ORDER BY size")]


async def post(journal: SqliteJournal, *ids: str, tenant: str = "default") -> None:
    for id in ids:
        await journal.post(tenant, [note(id)])


def many(first: str, number: int) -> list[str]:
    return [f"{first}{each}" for each in range(number)]


async def test_every_so_many_checkpoints_an_entry_says_which_they_were(files: Files) -> None:
    journal = await files.open()
    await post(journal, *many("a", 9))
    await journal.close()
    # OPENED, a0 and a1 are three checkpoints; the next post brings the entry along, under a checkpoint of both.
    assert [(span.after, span.through, span.checkpoints) for span in said(files)] == [(0, 3, 3), (3, 7, 3), (7, 11, 3)]
    assert all(span.covers(signed(files, span)) for span in said(files))
    assert files.verify().fault is None


async def test_each_log_speaks_of_its_own(files: Files) -> None:
    journal = await files.open(tenants=["default", "other"])
    await post(journal, *many("a", 5))
    await post(journal, *many("b", 4), tenant="other")
    await journal.close()
    assert [(span.after, span.through) for span in said(files)] == [(0, 3), (3, 7)]  # the latter beside a post of b
    assert [(span.after, span.through) for span in said(files, "other")] == [(0, 3)]
    assert all(span.covers(signed(files, span, "other")) for span in said(files, "other"))


async def test_a_start_begins_anew_and_never_speaks_of_what_it_would_have_to_read(files: Files) -> None:
    journal = await files.open()
    await post(journal, "a")
    await journal.close()
    journal = await files.open()
    await post(journal, *many("b", 4))
    await journal.close()
    assert [(span.after, span.through) for span in said(files)] == [(2, 5)]
    assert files.verify().fault is None


async def test_after_a_commit_that_is_unknown_it_begins_anew(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await files.open()
    await post(journal, "a")

    def fails(*given: Any) -> Batch:
        real(*given)
        raise sqlite3.OperationalError("disk I/O error")

    real = transaction.write
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "write", fails)
        with pytest.raises(Exception, match="disk I/O error"):
            await post(journal, "b")
    await post(journal, "b", *many("c", 4))  # b stands already
    await journal.close()
    assert [(span.after, span.through) for span in said(files)] == [(3, 6)]
    assert all(span.covers(signed(files, span)) for span in said(files))


async def test_a_refusal_beside_it_costs_it_nothing(files: Files) -> None:
    journal = await files.open()
    await post(journal, *many("a", 2))
    with pytest.raises(Refused):  # the batch is posted again, each post by itself
        await journal.post("default", [note("n", settles=0)])
    await post(journal, *many("b", 4))
    await journal.close()
    assert [(span.after, span.through) for span in said(files)] == [(0, 3), (3, 6)]
    assert all(span.covers(signed(files, span)) for span in said(files))
    assert files.verify().fault is None


@pytest.fixture
async def spoken(files: Files) -> Files:
    """Two keys, and entries that speak of most checkpoints of each."""
    journal = await files.open()
    await post(journal, *many("a", 8))
    await journal.close()
    files.rotate(KEY, OTHER_KEY)
    journal = await files.open(key=OTHER_KEY)
    await post(journal, *many("b", 8))
    await journal.close()
    return files


async def test_only_signatures_of_which_no_entry_speaks_are_verified(
    spoken: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest is one of these: whatever the entries say stands under it."""
    opened: list[str] = []
    real = notes.open_note
    monkeypatch.setattr(notes, "open_note", lambda note, *key: opened.append(note) or real(note, *key))
    anchored = 1
    assert spoken.verify().fault is None
    sizes = [int(text.split("\n")[1]) for text in opened[anchored:]]
    covered = {size for span in said(spoken) for size in range(span.after + 1, span.through + 1)}
    stored = [size for (size,) in spoken.rows("SELECT size FROM checkpoint ORDER BY size")]
    assert set(sizes) == set(stored) - covered
    assert max(stored) in sizes


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_checkpoint_is_found_whether_or_not_an_entry_speaks_of_it(
    spoken: Files, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [size for (size,) in spoken.rows("SELECT size FROM checkpoint ORDER BY size")]
    each_is_found(spoken, kind, sizes[1::5], monkeypatch)


def of(after: Any = 2, through: Any = 5, checkpoints: Any = 3, sha256: Any = "00" * 32, **changed: Any) -> Entry:
    body = {"kind": "attested", "after": after, "through": through, "checkpoints": checkpoints, "sha256": sha256}
    run = Run(2, 5, 3).draft().document(7)
    given = {"ledger": "x", "tenant_id": "t", "index": 7, "timestamp": "2026-11-23T08:58:38.425307Z", "salt": ""}
    return Entry.parse(canonical(run | given | {"body": body} | changed))


def test_what_an_entry_says_is_read() -> None:
    assert attested_of(of()) == Attested(2, 5, 3, "00" * 32, 7)


@pytest.mark.parametrize(
    "entry",
    [
        of(stage="EVALUATED"),
        of(actor="operator:root"),
        of(index="policy"),
        of(index=None),
        of(index=True),
        of(body=[]),
        of(body={}),
        of(body={"kind": "note", "after": 2, "through": 5, "checkpoints": 3, "sha256": ""}),
        of(after="2"),
        of(after=True),
        of(after=-1),
        of(after=5),
        of(through=8),  # it stands before the last of them
        of(through=None),
        of(checkpoints=0),
        of(checkpoints=attested.CHECKPOINTS_MAX + 1),
        of(checkpoints="3"),
        of(sha256=None),
    ],
)
def test_what_cannot_be_so_says_nothing(entry: Entry) -> None:
    assert attested_of(entry) is None


def test_it_covers_these_notes_in_this_order_and_no_others() -> None:
    run = Run(0)
    for size, text in enumerate(("one\n", "two\n"), 1):
        run.take(size, text)
    body = run.draft().body
    assert body["sha256"] == hashlib.sha256(b"one\ntwo\n").hexdigest()
    span = Attested(body["after"], body["through"], body["checkpoints"], body["sha256"], 3)
    assert span.covers(["one\n", "two\n"])
    assert not any(map(span.covers, (["two\n", "one\n"], ["one\n"], ["one\ntwo\n"], ["one\n", "two\n", ""], [])))


def rewritten(files: Files, change: Callable[[list[bytes]], None], *, sign: bool) -> None:
    """The entries changed and, by whoever has the key, all checkpoints from there on signed again."""
    with files.without_rules() as store:
        rows = store.execute("SELECT CAST(bytes AS BLOB) FROM entry ORDER BY n").fetchall()
        raws = [raw for (raw,) in rows]
        change(raws)
        store.executemany("UPDATE entry SET bytes = CAST(? AS TEXT) WHERE n = ?", [(r, n) for n, r in enumerate(raws)])
        for (size,) in store.execute("SELECT size FROM checkpoint").fetchall() if sign else ():
            root = tree_root([leaf_hash(raw) for raw in raws[:size]])
            text = notes.sign(notes.Checkpoint(NAME, size, root), NAME, KEY)
            store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (text, size))


async def test_whoever_has_no_key_gains_nothing_by_speaking_of_what_he_changed(files: Files) -> None:
    journal = await files.open()
    await post(journal, *many("a", 9))
    await journal.close()
    (first, *_) = said(files)
    with files.without_rules() as store:
        forged = str(store.execute("SELECT note FROM checkpoint WHERE size = 2").fetchone()[0])
        forged = forged[:-9] + ("A" if forged[-9] != "A" else "B") + forged[-8:]
        store.execute("UPDATE checkpoint SET note = ? WHERE size = 2", (forged,))
    changed = hashlib.sha256("".join(signed(files, first)).encode()).hexdigest()

    def speak(raws: list[bytes]) -> None:
        raws[4] = raws[4].replace(first.sha256.encode(), changed.encode())

    rewritten(files, speak, sign=False)
    assert said(files)[0].covers(signed(files, first))
    fault = files.verify().fault
    assert fault is not None
    assert (fault.rule, fault.index) == ("root", 4)


@pytest.mark.parametrize("text", ["nothing", "a\n2", f"{NAME}\n2\n", f"{NAME}\n02\nAAAA\n\n\u2014 {NAME} AAAA\n", ""])
async def test_what_is_no_checkpoint_is_none_though_an_entry_speaks_of_it(files: Files, text: str) -> None:
    """Whoever has the key may sign that he signed anything."""
    journal = await files.open()
    await post(journal, *many("a", 5))
    await journal.close()
    (first,) = said(files)
    stored = signed(files, first)
    digest = hashlib.sha256((stored[0] + text + stored[2]).encode()).hexdigest()
    rewritten(
        files, lambda raws: raws.__setitem__(4, raws[4].replace(first.sha256.encode(), digest.encode())), sign=True
    )
    with files.without_rules() as store:
        store.execute("UPDATE checkpoint SET note = ? WHERE size = 2", (text,))
    for path in files.folder.glob("anchor*"):
        path.unlink()
    fault = files.verify().fault
    assert fault is not None
    assert (fault.rule, fault.index) in [("checkpoint", 1), ("key", 1)]


async def test_a_checkpoint_by_another_key_is_one_though_an_entry_speaks_of_it(files: Files) -> None:
    keys = Keyring.trusting(NAME, KEY.public_key())
    texts = [notes.sign(notes.Checkpoint(NAME, size, bytes(32)), NAME, KEY) for size in (1, 2, 3)]
    texts[1] = notes.sign(notes.Checkpoint(NAME, 2, bytes(32)), NAME, OTHER_KEY)
    span = Attested(0, 3, 3, hashlib.sha256("".join(texts).encode()).hexdigest(), 3)
    found = signatures_audit.Block(0, 0, list(enumerate(texts, 1)), span).fault(keys)
    assert found is not None
    assert found[:2] == (2, "key")


async def test_of_two_entries_that_speak_of_the_same_one_counts(files: Files) -> None:
    """And none speaks of the newest checkpoint, whatever it says."""
    journal = await files.open()
    await post(journal, *many("a", 2))
    run = Run(0)
    for size, text in files.rows("SELECT size, note FROM checkpoint ORDER BY size"):
        run.take(size, text)
    double = run.draft()
    await journal.post("default", [note("x", text="before"), replace(double, id="attest:x")])
    await journal.close()
    with_signatures = [block.attested for block in blocks(files)]
    assert [span for span in with_signatures if span is not None] == [Attested(0, 3, 3, double.body["sha256"], 4)]
    assert files.verify().fault is None


def blocks(files: Files) -> list[signatures_audit.Block]:
    with closing(sqlite3.connect(files.path)) as store:
        return list(signatures_audit.blocks_of(store, "default", signatures_audit.newest_of(store, "default")))
