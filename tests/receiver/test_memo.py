"""A memo that does not fit is of no use and does no harm; one that fits is a book as if nobody had stopped folding."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import resource
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Draft
from ledger.stores.room import Room
from ledger.stores.sqlite import SqliteJournal
from receiver.governor import folding, remembering
from receiver.governor.desk import Desk
from receiver.governor.folding import begin, remember
from receiver.governor.memo import MAGIC, Memo, Unfit, code_digest, digest_of, key_from, memo_path
from receiver.governor.remembering import BYTES_SERVING, ENTRIES, ENTRIES_SERVING, Memos
from receiver.incident.book import Book
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock
from tests.receiver.dumped import differing
from tests.receiver.governed import TENANT, Governed, GrowingJournal
from tests.receiver.test_desk import NOW, desk_of, notes
from tests.tools import ROOT

KEY, CODE, SECRET = b"k" * 32, "a digest of code", b"a secret"
OF_TREE = bytes(32)
LEDGER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


async def story() -> Desk:
    """A desk with an open incident that was asked about, one that was approved, and a halt."""
    governed = Governed()
    await governed.governor.start()
    await governed.fire("db0")
    await governed.hear("ruth", "Approve", payload=f"approve.{governed.question('ruth').token}")
    await governed.fire("db1", "db2")
    await governed.hear("tendai", "HALT")
    return governed.desk


def written(book: Book) -> bytes:
    return Memo.of(book, OF_TREE, CODE).sealed(KEY)


async def test_a_memo_is_the_book() -> None:
    book = (await story()).book
    memo = Memo.opened(written(book), KEY)
    memo.check(TENANT, CODE)
    assert (memo.tenant, memo.size, memo.root) == (TENANT, book.size, OF_TREE)
    assert differing(memo.read(), book) == []


async def test_a_memo_holds_no_words_of_messages() -> None:
    """They are under a key of their person, and whoever is erased must not be read in it."""
    governed = Governed()
    await governed.governor.start()
    await governed.fire("db0")
    heard = await governed.hear("ruth", "my grandmother is ill tonight")
    assert await governed.journal.blob(TENANT, heard.blobs[0].digest) == b"my grandmother is ill tonight"
    assert b"grandmother" not in written(governed.desk.book)


async def test_a_memo_that_is_cut_off_or_changed_anywhere_is_not_read() -> None:
    raw = written((await story()).book)
    for length in range(len(raw)):
        with pytest.raises(Unfit):
            Memo.opened(raw[:length], KEY)
    for place in range(0, len(raw), 7):
        with pytest.raises(Unfit):
            Memo.opened(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], KEY)
    with pytest.raises(Unfit):
        Memo.opened(raw + b"\0", KEY)


def test_a_memo_under_another_key_is_not_read() -> None:
    raw = written(Book("default"))
    assert Memo.opened(raw, KEY).read().size == 0
    assert key_from(b"one secret") != key_from(b"another")
    with pytest.raises(Unfit, match="another key"):
        Memo.opened(raw, key_from(SECRET))


def test_a_memo_of_another_tenant_or_another_version_is_not_used() -> None:
    memo = Memo.opened(written(Book("default")), KEY)
    memo.check("default", CODE)
    with pytest.raises(Unfit, match="tenant"):
        memo.check("other", CODE)
    with pytest.raises(Unfit, match="version"):
        memo.check("default", code_digest())


def test_a_memo_that_holds_another_book_than_it_says_is_not_used() -> None:
    book = Book("default")
    for tenant, size in (("default", 1), ("other", 0)):
        with pytest.raises(Unfit, match="another book"):
            Memo(tenant, size, OF_TREE, CODE, Memo.of(book, OF_TREE, CODE).book).read()
    with pytest.raises(Unfit, match="another book"):
        Memo("default", 0, OF_TREE, CODE, pickle.dumps({"tenant": "default", "size": 0})).read()


class Runs:
    """What a pickle does when it is read: it calls whatever it names."""

    def __init__(self, call: Callable[..., Any], *given: Any) -> None:
        self._reduced = (call, given)

    def __reduce__(self) -> tuple[Callable[..., Any], Sequence[Any]]:
        return self._reduced


def test_a_pickle_runs_nothing_and_makes_nothing_but_records(tmp_path: Path) -> None:
    """Even under the right key. The functions and classes of this program are as foreign as any other."""
    made = tmp_path / "made"
    for foreign in (
        Runs(os.system, f"touch {made}"),
        Runs(os.mkdir, str(made)),
        Runs(subprocess.Popen, ["touch", str(made)]),
        Runs(getattr, made, "touch"),
        Runs(eval, f"open({str(made)!r}, 'w')"),
        Runs(Room, made, 0),
        Runs(code_digest),
        Path(made),
    ):
        book = Book("default")
        book.helped = foreign  # type: ignore[assignment]
        with pytest.raises(Unfit, match="stands in no book"):
            Memo("default", 0, OF_TREE, CODE, pickle.dumps(book)).read()
    assert not made.exists()


@pytest.mark.parametrize(
    "raw", [b"", b".", b"\x80\x05", b"\x80\x05N.", b"\x80\x05)R.", b"\x80\x05K\x01K\x02s.", b"c\n\n."]
)
def test_bytes_that_are_no_pickle_are_unfit(raw: bytes) -> None:
    with pytest.raises(Unfit):
        Memo("default", 0, OF_TREE, CODE, raw).read()


def test_another_program_has_another_digest(tmp_path: Path) -> None:
    assert code_digest() == digest_of([ROOT / name for name in ("ledger", "policy_rules", "receiver")])
    (tmp_path / "one/below").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    packages = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(Unfit, match="not at hand"):
        digest_of(packages)
    seen = set()
    for number, (name, source) in enumerate(
        (("one/a.py", "x = 1"), ("one/a.py", "x = 2"), ("one/below/a.py", ""), ("two/a.py", "x = 2"), ("two/b.py", ""))
    ):
        (tmp_path / name).write_text(source)
        seen.add(digest_of(packages))
        assert len(seen) == number + 1, name
    (tmp_path / "one/a.txt").write_text("no source")
    assert digest_of(packages) in seen


# --- beside a ledger -------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def opened(path: Path, texts: str = "") -> SqliteJournal:
    """A ledger with a note for each letter of `texts` beside its OPENED."""
    journal = await SqliteJournal.open(
        path,
        origin="memo.example",
        key=LEDGER_KEY,
        anchor_path=None,
        clock=lambda: NOW,
        tenants=["default"],
        durable=False,
    )
    drafts = [
        Draft(f"note:{at}:{text}", "NOTED", "system", body={"kind": "note", "text": text})
        for at, text in enumerate(texts)
    ]
    if drafts:
        await journal.post("default", drafts)
    return journal


def memos(path: Path, **given: Any) -> Memos:
    return Memos(memo_path(path, "default"), "default", SECRET, **{"entries": 1, "serving": 1, **given})


async def begun(path: Path, texts: str = "", **given: Any) -> Desk:
    """A desk that has begun on the ledger at `path`, which is closed again."""
    journal = await opened(path, texts)
    desk = desk_of(journal, CaseClock(NOW))  # type: ignore[arg-type]
    desk.memos = memos(path, **given)
    await begin(desk)
    await journal.close()
    return desk


def from_the_memo(desk: Desk) -> int:
    assert desk.memos is not None
    return desk.memos.size


async def test_a_start_goes_on_from_the_memo_of_the_one_before(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = await begun(path, "abc")
    assert (from_the_memo(first), first.book.size) == (0, 4)
    assert stat.S_IMODE(memo_path(path, "default").stat().st_mode) == 0o600
    second = await begun(path, "def")
    assert (from_the_memo(second), second.book.size) == (4, 7)
    assert from_the_memo(await begun(path)) == 7
    said = [record.getMessage() for record in caplog.records if "from the memo" in record.getMessage()]
    assert [line.partition(": ")[2] for line in said] == [
        "0 entries from the memo, 4 folded",
        "4 entries from the memo, 3 folded",
        "7 entries from the memo, 0 folded",
    ]


async def test_without_its_memo_a_start_folds_everything(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await begun(path, "abc")
    memo_path(path, "default").unlink()
    assert from_the_memo(await begun(path)) == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def unused(path: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What is said of the memo, which the next start must not use, and must be able to do without."""
    caplog.clear()
    desk = await begun(path)
    assert from_the_memo(desk) == 0
    journal = await opened(path)
    assert desk.book.size == await journal.size("default")
    await journal.close()
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return said


async def test_the_memo_of_a_longer_log_is_not_used(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A backup was put in the place of the ledger."""
    await (await opened(path, "a")).close()
    backup = shutil.copy(path, path.with_name("backup.db"))
    await begun(path, "bc")
    shutil.copy(backup, path)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    assert "the log is shorter" in await unused(path, caplog)


async def in_another_history(path: Path, texts: str) -> None:
    """Another ledger in the place of the one at `path`, whose memo stays."""
    memo = memo_path(path, "default")
    kept = memo.read_bytes()
    os.unlink(path)
    await begun(path, texts)
    memo.write_bytes(kept)


async def test_the_memo_of_another_history_is_not_used(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A backup was put in the place of the ledger, and grew beyond what the memo has."""
    await begun(path, "abc")
    await in_another_history(path, "abd" * 200)  # beyond a block of the tree
    assert "another history of the first 4 entries" in await unused(path, caplog)


async def test_the_memo_of_a_longer_history_is_bound_to_all_of_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await begun(path, "a" * 700)
    await in_another_history(path, "a" * 699 + "b" * 50)
    assert "another history of the first 701 entries" in await unused(path, caplog)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda memo: memo.write_bytes(memo.read_bytes()[:-1]), "cut off or changed"),
        (lambda memo: memo.write_bytes(b""), "no form that this version knows"),
        (lambda memo: memo.write_bytes(MAGIC.replace(b"1", b"2") + memo.read_bytes()[len(MAGIC) :]), "no form"),
        (lambda memo: (memo.unlink(), memo.mkdir()), "cannot be read: Is a directory"),
    ],
)
async def test_a_memo_that_cannot_be_read_is_not_used(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], said: str
) -> None:
    await begun(path, "abc")
    spoil(memo_path(path, "default"))
    caplog.clear()
    desk = await begun(path)
    assert (from_the_memo(desk), desk.book.size) == (0, 4)
    assert any(said in record.getMessage() for record in caplog.records)


async def test_the_memo_of_another_version_or_secret_is_not_used(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(path, "abc")
    with monkeypatch.context() as changed:
        changed.setattr(remembering, "code_digest", lambda: "of another version")
        assert "another version" in await unused(path, caplog)
    assert "another version" in await unused(path, caplog)  # which the other one has written now
    memo = memo_path(path, "default")
    memo.write_bytes(Memo.opened(memo.read_bytes(), key_from(SECRET)).sealed(key_from(b"another secret")))
    assert "under another key" in await unused(path, caplog)


async def test_no_room_and_a_full_disk_leave_the_memo_that_there_is(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(path, "abc")
    memo = memo_path(path, "default")
    before = memo.read_bytes()
    desk = await begun(path, "d", holds=lambda size: False)
    assert "too little room" in caplog.text
    assert desk.memos is not None
    assert not desk.memos.due(desk.book.size, serving=True), "it is not tried again at every turn"

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # half of the file can be written
    try:
        await memos(path).keep(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "is not written: File too large" in caplog.text
    assert memo.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if file.name.endswith(".new")] == []
    assert from_the_memo(await begun(path)) == 4


def test_a_memo_leaves_twice_the_room_that_must_stay_free(tmp_path: Path) -> None:
    room = Room(tmp_path / "ledger.db", 0)
    assert room.holds(2**62)
    free = room.free()
    least = Room(tmp_path / "ledger.db", free // 4)
    assert least.holds(free // 4)
    assert not least.holds(free * 6 // 10)  # it would leave more than must stay free, and not twice that
    assert not Room(tmp_path / "gone" / "ledger.db", 1).holds(1)


async def test_what_a_crash_left_half_written_is_no_matter(path: Path) -> None:
    await begun(path, "abc")
    memo = memo_path(path, "default")
    new = memo.with_name(memo.name + ".new")
    new.write_bytes(b"half")
    new.chmod(0o666)
    await begun(path, "d")
    assert not new.exists()
    assert stat.S_IMODE(memo.stat().st_mode) == 0o600
    assert from_the_memo(await begun(path)) == 5


# --- when, and of what -----------------------------------------------------------------------------------------------


def test_when_a_memo_is_due(path: Path) -> None:
    kept = Memos(memo_path(path, "default"), "default", SECRET)
    assert not kept.due(ENTRIES - 1, serving=False)
    assert kept.due(ENTRIES, serving=False)
    assert not kept.due(ENTRIES_SERVING - 1, serving=True)
    assert kept.due(ENTRIES_SERVING, serving=True)
    kept._bytes = BYTES_SERVING + 1
    assert not kept.due(ENTRIES_SERVING, serving=True)
    assert kept.due(ENTRIES_SERVING, serving=False)


async def test_a_governor_writes_while_it_serves(path: Path) -> None:
    journal = await opened(path, "abc")
    desk = desk_of(journal, CaseClock(NOW))  # type: ignore[arg-type]
    desk.memos = memos(path, entries=100, serving=5)
    memo = memo_path(path, "default")
    await begin(desk)
    for number in range(3):
        await journal.post("default", [Draft(f"more:{number}", "NOTED", "system", body={"kind": "note"})])
        await desk.fold()
        await remember(desk, serving=True)
        assert memo.exists() is (desk.book.size >= 5)
    await journal.close()


async def test_a_running_governor_writes_by_itself(path: Path) -> None:
    written = asyncio.Event()

    async def beside(work: Callable[..., Any], /, *given: Any) -> Any:
        done = await asyncio.to_thread(work, *given)
        if done is True:
            written.set()
        return done

    governed = Governed(journal=GrowingJournal())
    governed.desk.memos = Memos(memo_path(path, TENANT), TENANT, SECRET, entries=10**9, serving=2, beside=beside)
    await governed.governor.start()
    running = asyncio.create_task(governed.governor.run())
    await governed.journal.post(TENANT, notes(3))
    async with asyncio.timeout(60):
        await written.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert memo_path(path, TENANT).exists()


async def test_a_book_that_has_folded_half_an_entry_is_not_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await opened(path, "abc")
    desk = desk_of(journal, CaseClock(NOW))  # type: ignore[arg-type]
    desk.memos = memos(path)

    def broken(book: Book, entry: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as changed:
        changed.setattr("receiver.incident.book._FOLDS", {"NOTED": broken})
        with pytest.raises(ZeroDivisionError):
            await desk.fold()
    with pytest.raises(folding.Spoilt):
        await desk.fold()
    await remember(desk, serving=False)
    await journal.close()
    assert not memo_path(path, "default").exists()


async def test_a_log_that_is_gone_at_the_stop_is_no_failure(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = await opened(path, "abc")
    desk = desk_of(journal, CaseClock(NOW))  # type: ignore[arg-type]
    desk.memos = memos(path)
    await desk.fold()
    await journal.close()
    await remember(desk, serving=False)
    assert "no memo is written: the ledger is closed" in caplog.text


def counted(desk: Desk) -> float:
    return desk.metrics.ledger_entries.labels(desk.tenant)._value.get()


async def test_what_stood_before_the_start_is_not_counted_as_new(path: Path) -> None:
    for texts, before in (("abc", 0), ("def", 4)):
        journal = await opened(path, texts)
        desk = desk_of(journal, CaseClock(NOW))  # type: ignore[arg-type]
        desk.memos = memos(path)
        await begin(desk)
        assert (from_the_memo(desk), counted(desk)) == (before, 0)
        await journal.post("default", [Draft(f"new:{texts}", "NOTED", "system", body={"kind": "note"})])
        await desk.fold()
        assert counted(desk) == 1
        await journal.close()
        memo_path(path, "default").touch()


async def test_pages_end_where_they_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "PAGE", 3)
    clock = CaseClock(NOW)
    journal = MemoryJournal("default", clock.now)
    desk = desk_of(journal, clock)
    await journal.post("default", notes(7))
    assert await desk.fold() == desk.book.size == 7
    assert await desk.fold() == 0


async def test_a_long_book_is_not_looked_through_for_garbage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.unfreeze()
    await begun(path, "abc")
    assert gc.get_freeze_count() == 0
    monkeypatch.setattr(folding, "LONG", 4)
    await begun(path)
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    gc.unfreeze()


async def test_a_book_that_failed_while_its_memo_waited_is_not_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request through the API folds, and fails in the middle of an entry; the governor's turn waits to write."""
    journal = await opened(path, "abc")
    halt = Draft("halt:1", "HALTED", "operator:x", decision="halt", reason="r", body={"text": "r"})
    await journal.post(TENANT, [halt])
    desk = desk_of(journal, CaseClock(NOW))
    desk.memos = memos(path, entries=0)

    def broken(book: Book, entry: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as defect:
        defect.setattr("receiver.incident.book._FOLDS", {"HALTED": broken})
        folding_it = asyncio.create_task(desk.fold())
        await asyncio.sleep(0)
        assert desk.folding.locked()
        await remember(desk, serving=False)
        with pytest.raises(MemoryError):
            await folding_it
    assert not memo_path(path, TENANT).exists()
    with pytest.raises(folding.Spoilt, match="entry 4 was folded by half"):  # and nobody goes on with it
        await desk.fold()
    again = desk_of(journal, CaseClock(NOW))
    again.memos = memos(path)
    await begin(again)
    assert again.book.halted()
    await journal.close()


@pytest.mark.parametrize("error", [MemoryError, RecursionError, TypeError, pickle.PicklingError])
async def test_a_memo_that_cannot_be_made_is_said_and_ends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    journal = await opened(path, "abc")
    desk = desk_of(journal, CaseClock(NOW))
    desk.memos = memos(path, entries=0, serving=0)
    await desk.fold()

    def unmade(*given: Any) -> bytes:
        raise error

    monkeypatch.setattr(Memo, "of", unmade)
    for serving in (True, False):
        await remember(desk, serving=serving)
        assert "no memo is written" in caplog.text
        caplog.clear()
    assert not memo_path(path, TENANT).exists()
    await journal.close()
