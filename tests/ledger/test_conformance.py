"""What every store must do behind the port. A second store is one more line in STORES."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import Back, Blob, Draft, Entry, format_time
from ledger.journal import Conflict, Journal, Receipt, Refused, Unavailable
from ledger.merkle import inclusion_ranges, leaf_hash, tree_root, verify_inclusion
from ledger.stores.sqlite import MAX_POST_ENTRIES, SqliteJournal
from tests.ledger.books import ORIGIN, START

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TENANTS = ("default", "other")


class Clock:
    """The time that the store is told; a test moves it as it likes."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def step(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def in_a_file(folder: Path, clock: Clock) -> Journal:
    return await SqliteJournal.open(
        folder / "ledger.db",
        origin=ORIGIN,
        key=KEY,
        anchor_path=folder / "anchor",
        clock=clock,
        tenants=TENANTS,
        durable=False,
    )


async def in_memory(folder: Path, clock: Clock) -> Journal:
    return await SqliteJournal.open(
        ":memory:", origin=ORIGIN, key=KEY, anchor_path=None, clock=clock, tenants=TENANTS, durable=False
    )


STORES: dict[str, Callable[[Path, Clock], Awaitable[Journal]]] = {"file": in_a_file, "memory": in_memory}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Journal]:
    opened = await STORES[request.param](tmp_path, clock)
    yield opened
    await opened.close()


def note(id: str, text: str = "", **fields: Any) -> Draft:
    return Draft(id=id, stage="NOTED", actor="system", body={"kind": "note", "text": text}, **fields)


async def everything(journal: Journal, tenant: str = "default") -> list[Entry]:
    return await journal.entries(tenant, limit=100_000)


async def check_log(journal: Journal, tenant: str = "default") -> list[Entry]:
    """Contiguous, in time's order, and wholly under the checkpoint; the entries."""
    entries = await everything(journal, tenant)
    assert [entry.index for entry in entries] == list(range(len(entries)))
    assert [entry.timestamp for entry in entries] == sorted(entry.timestamp for entry in entries)
    assert len({entry.id for entry in entries}) == len(entries)
    assert {entry.tenant_id for entry in entries} == {tenant}
    assert await journal.size(tenant) == len(entries)
    assert journal.last_time(tenant) == entries[-1].timestamp
    text = await journal.checkpoint(tenant)
    assert text is not None
    name = notes.log_origin(ORIGIN, tenant)
    root = tree_root([leaf_hash(entry.raw) for entry in entries])
    assert notes.verify(text, name, KEY.public_key()) == notes.Checkpoint(name, len(entries), root)
    return entries


async def test_a_log_begins_with_opened_and_the_key_that_signs_it(journal: Journal) -> None:
    assert await journal.tenants() == sorted(TENANTS)
    for tenant in TENANTS:
        (opened,) = await check_log(journal, tenant)
        assert (opened.stage, opened.id, opened.actor, opened.ledger) == ("OPENED", "open", "system", ORIGIN)
        name, public = notes.parse_verifier_key(opened.body["key"])
        text = await journal.checkpoint(tenant)
        assert text is not None
        assert notes.verify(text, name, public).size == 1


async def test_what_is_posted_is_read_back(journal: Journal, clock: Clock) -> None:
    blob = Blob("payload", bytes(range(256)))
    draft = note("a", "é \u2028 \x00 \U0001f600", blobs=(blob, blob), confidence="0.5", reason="because", cites=(0,))
    receipt = await journal.post("default", [draft])
    (entry,) = receipt.entries
    assert not receipt.duplicate
    assert (entry.index, entry.id, entry.stage, entry.timestamp) == (1, "a", "NOTED", clock.now)
    assert entry.body == draft.body
    assert entry == await journal.get("default", 1) == await journal.find("default", "a")
    assert [ref.digest for ref in entry.blobs] == [blob.digest] * 2
    assert await journal.blob("default", blob.digest) == blob.data
    assert entry.raw == Entry.parse(entry.raw).raw
    await check_log(journal)


async def test_an_entry_gets_salt_of_its_own(journal: Journal) -> None:
    entries = (await journal.post("default", [note(f"n{n}") for n in range(20)])).entries
    assert len({entry.salt for entry in entries}) == 20
    assert {len(bytes.fromhex(entry.salt)) for entry in entries} == {16}


async def test_what_is_not_there(journal: Journal) -> None:
    for index in (-1, 1, 2**63, -(2**63)):
        assert await journal.get("default", index) is None
    for id in ("nothing", "", "\ud800"):
        assert await journal.find("default", id) is None
        assert await journal.blob("default", id) is None
    assert await journal.entries("nobody") == []
    assert await journal.outstanding("nobody") == []
    assert await journal.size("nobody") == 0
    assert await journal.checkpoint("nobody") is None
    assert journal.last_time("nobody") is None
    assert journal.anchor_error() is None


async def test_a_page_has_entries_and_those_of_their_blobs_that_were_named(journal: Journal) -> None:
    one, two, other = Blob("p", b"one"), Blob("p", b"two"), Blob("q", b"other")
    await journal.post("default", [note("a", blobs=(one, other)), note("b", blobs=(two,)), note("c", blobs=(one,))])
    await journal.post("other", [note("a", blobs=(Blob("p", b"theirs"),))])
    page = await journal.page("default", after=0, limit=2, blobs=("p", "r"))
    assert list(page.entries) == await journal.entries("default", after=0, limit=2)
    assert page.blobs == {one.digest: b"one", two.digest: b"two"}
    last = await journal.page("default", after=2, limit=2**70, blobs=())
    assert ([entry.id for entry in last.entries], last.blobs) == (["c"], {})
    assert not (await journal.page("default", after=2**70, limit=10, blobs=("p",))).entries
    await journal.close()
    with pytest.raises(Unavailable):
        await journal.page("default", after=0, limit=2, blobs=("p",))


async def test_entries_are_chosen_by_place_incident_stage_and_actor(journal: Journal) -> None:
    await journal.post("default", [note(f"n{n}", incident_id=f"inc-{n % 2}") for n in range(6)])
    await journal.post("default", [Draft("r", "REMINDED", "policy", incident_id="inc-1")])
    assert [e.index for e in await journal.entries("default", after=2, limit=3)] == [3, 4, 5]
    assert [e.index for e in await journal.entries("default", incident="inc-1")] == [2, 4, 6, 7]
    assert [e.index for e in await journal.entries("default", incident="inc-1", stage="NOTED")] == [2, 4, 6]
    assert [e.index for e in await journal.entries("default", actor="policy")] == [7]
    assert [e.index for e in await journal.entries("default", incident="inc-1", after=4, limit=1)] == [6]
    assert await journal.entries("default", after=7) == []
    assert await journal.entries("default", limit=0) == []


async def test_what_is_open_is_outstanding_until_it_is_settled(journal: Journal) -> None:
    received = Draft("r", "RECEIVED", "alertmanager")
    watched = Draft("w", "WATCHED", "policy")
    assert [e.id for e in (await journal.post("default", [received, watched])).entries] == ["r", "w"]
    assert [e.id for e in await journal.outstanding("default")] == ["r", "w"]
    await journal.post("default", [Draft("e", "EVALUATED", "policy", settles=1)])
    assert [e.id for e in await journal.outstanding("default")] == ["w"]
    with pytest.raises(Refused, match="already settled"):
        await journal.post("default", [Draft("e2", "EVALUATED", "policy", settles=1)])
    assert await journal.outstanding("other") == []


async def test_a_post_refers_back_to_its_own_entries(journal: Journal) -> None:
    drafts = [
        Draft("r", "RECEIVED", "alertmanager"),
        Draft("e", "EVALUATED", "policy", settles=Back(0)),
        Draft("w", "WATCHED", "policy", cites=(Back(0), Back(1))),
    ]
    _, evaluated, watched = (await journal.post("default", drafts)).entries
    assert (evaluated.settles, watched.cites) == (1, (1, 2))
    again = await journal.post("default", drafts)
    assert again == Receipt(tuple(await everything(journal))[1:], duplicate=True)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_all_or_nothing(journal: Journal, place: int) -> None:
    good = [Draft("r", "RECEIVED", "alertmanager", blobs=(Blob("x", b"1"),)), note("n")]
    bad = Draft("bad", "EVALUATED", "policy", settles=0)
    with pytest.raises(Refused, match="EVALUATED: settles") as caught:
        await journal.post("default", [*good[:place], bad, *good[place:]])
    assert caught.value.stage == "EVALUATED"
    assert [entry.id for entry in await check_log(journal)] == ["open"]
    assert await journal.blob("default", Blob("x", b"1").digest) is None


@pytest.mark.parametrize("back", [Back(1), Back(2), Back(99)])
async def test_nothing_refers_to_itself_or_forward(journal: Journal, back: Back) -> None:
    for draft in (Draft("e", "EVALUATED", "policy", settles=back), note("c", cites=(back,))):
        with pytest.raises(Refused):
            await journal.post("default", [note("n"), draft, note("m")])
    assert await journal.size("default") == 1


async def test_the_same_again_is_the_same_receipt(journal: Journal, clock: Clock) -> None:
    drafts = [note("a", "x"), note("b", "y", blobs=(Blob("p", b"data"),))]
    first = await journal.post("default", drafts)
    clock.step(60)
    await journal.post("default", [note("c")])
    again = await journal.post("default", drafts)
    assert again == Receipt(first.entries, duplicate=True)
    assert await journal.size("default") == 4


async def test_a_body_is_the_same_by_what_is_written_of_it(journal: Journal) -> None:
    def draft(value: Any) -> Draft:
        return Draft("a", "NOTED", "system", body={"value": value})

    await journal.post("default", [draft((1, 2))])
    assert (await journal.post("default", [draft([1, 2])])).duplicate
    for other in ([1, True + 1, 3], [True, 2], "[1,2]", None):
        with pytest.raises(Conflict):
            await journal.post("default", [draft(other)])


@pytest.mark.parametrize(
    "drafts",
    [
        [note("a", "other")],
        [note("a", "x", reason="r")],
        [note("a", "x", incident_id="inc-1")],
        [note("a", "x", blobs=(Blob("p", b"data"),))],
        [note("a", "x", cites=(0,))],
        [note("a", "x"), note("new")],
        [note("new"), note("a", "x")],
        [Draft("a", "REMINDED", "policy")],
    ],
)
async def test_the_same_id_with_other_contents_is_a_lost_claim(journal: Journal, drafts: list[Draft]) -> None:
    await journal.post("default", [note("a", "x"), note("b", "y")])
    with pytest.raises(Conflict):
        await journal.post("default", drafts)
    assert [entry.id for entry in await check_log(journal)] == ["open", "a", "b"]


async def test_one_id_twice_in_one_post(journal: Journal) -> None:
    with pytest.raises(Refused, match="already posted"):
        await journal.post("default", [note("a"), note("a")])
    assert await journal.size("default") == 1


async def test_a_refused_id_stays_usable(journal: Journal) -> None:
    with pytest.raises(Refused):
        await journal.post("default", [Draft("a", "NOTED", "claude")])
    assert not (await journal.post("default", [note("a")])).duplicate


async def test_one_of_many_that_claim_the_same_wins(journal: Journal) -> None:
    posts = [journal.post("default", [note("claim", f"{n}")]) for n in range(20)]
    posts += [journal.post("default", [note("same")]) for _ in range(20)]
    results = await asyncio.gather(*posts, return_exceptions=True)
    claims, same = results[:20], results[20:]
    assert sum(isinstance(r, Receipt) for r in claims) == 1
    assert sum(isinstance(r, Conflict) for r in claims) == 19
    assert [r.duplicate for r in same if isinstance(r, Receipt)] == [False] + [True] * 19
    assert len({r.entries[0].raw for r in same if isinstance(r, Receipt)}) == 1
    assert len(await check_log(journal)) == 3


async def test_a_refusal_among_others_leaves_no_trace_and_no_gap(journal: Journal) -> None:
    good = [journal.post("default", [note(f"g{n}.0"), note(f"g{n}.1", cites=(Back(0),))]) for n in range(30)]
    refused = journal.post("default", [note("bad.0", blobs=(Blob("b", b"bad"),)), Draft("bad.1", "NOTED", "claude")])
    elsewhere = journal.post("other", [note("elsewhere")])
    results = await asyncio.gather(*good[:15], refused, elsewhere, *good[15:], return_exceptions=True)
    assert [type(r).__name__ for r in results] == ["Receipt"] * 15 + ["Refused"] + ["Receipt"] * 16
    entries = await check_log(journal)
    assert {e.id for e in entries} == {"open", *(f"g{n}.{m}" for n in range(30) for m in (0, 1))}
    for result in results:
        if isinstance(result, Receipt) and len(result.entries) == 2:
            first, second = result.entries
            assert second.index == first.index + 1
            assert second.cites == (first.index,)
            assert entries[first.index] == first
    assert await journal.blob("default", Blob("b", b"bad").digest) is None
    assert len(await check_log(journal, "other")) == 2


async def test_many_tasks_post_into_one_order(journal: Journal) -> None:
    receipts: list[tuple[int, Receipt]] = []

    async def writer(number: int) -> None:
        for count in range(200 // 32 + (number < 200 % 32)):
            receipt = await journal.post("default", [note(f"{number}.{count}")])
            receipts.append((number, receipt))

    await asyncio.gather(*(writer(number) for number in range(32)))
    entries = await check_log(journal)
    assert len(receipts) == 200 == len(entries) - 1
    for number in range(32):
        own = [receipt.entries[0].index for who, receipt in receipts if who == number]
        assert own == sorted(own), "a task's later post stands behind its earlier one"
    assert all(entries[r.entries[0].index] == r.entries[0] for _, r in receipts)


async def test_posts_that_wait_are_committed_together(journal: Journal) -> None:
    posts = [journal.post("default", [note(f"n{n}")]) for n in range(100)]
    signed: set[int] = set()

    async def watch() -> None:
        while (size := await journal.size("default")) < 101:
            await journal.wait("default", size)
            text = await journal.checkpoint("default")
            assert text is not None
            signed.add(notes.verify(text, f"{ORIGIN}/default", KEY.public_key()).size)

    await asyncio.gather(watch(), *posts)
    assert len(signed) < 20


@pytest.mark.parametrize("turns", range(12))
async def test_a_caller_that_is_cancelled_breaks_nothing(journal: Journal, turns: int) -> None:
    """Cancelled after each number of turns of the loop: what was posted stands whole or not at all."""
    tasks = [asyncio.create_task(journal.post("default", [note(f"c{n}.0"), note(f"c{n}.1")])) for n in range(8)]
    readers = [asyncio.create_task(journal.entries("default")), asyncio.create_task(journal.wait("default", 99))]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in (*tasks[::2], *readers):
        task.cancel()
    await asyncio.gather(*tasks, *readers, return_exceptions=True)
    assert (await asyncio.gather(*tasks[1::2]))[0].entries
    await journal.post("default", [note("after")])
    ids = [entry.id for entry in await check_log(journal)]
    assert all((f"c{n}.0" in ids) == (f"c{n}.1" in ids) for n in range(8))
    assert ids[-1] == "after"


async def test_time_never_steps_back_though_the_clock_does(journal: Journal, clock: Clock) -> None:
    times = []
    for number, step in enumerate((10.0, -3600, 1, 3599.5, -0.000001, 86400, -86400)):
        clock.step(step)
        times.append((await journal.post("default", [note(f"n{number}")])).entries[0].timestamp)
    assert times == sorted(times)
    assert times[0] == START + timedelta(seconds=10) == times[1] == times[2]
    assert journal.last_time("default") == times[-1]
    await check_log(journal)


async def test_tenants_stand_apart(journal: Journal) -> None:
    blob = Blob("p", b"theirs")
    mine, theirs = await asyncio.gather(
        journal.post("default", [note("same")]), journal.post("other", [note("same", "x", blobs=(blob,))])
    )
    assert mine.entries[0].index == theirs.entries[0].index == 1
    assert not mine.duplicate
    assert not theirs.duplicate
    assert await journal.blob("default", blob.digest) is None
    assert await journal.blob("other", blob.digest) == blob.data
    (own,) = (await journal.post("other", [Draft("h", "HALTED", "engineer:x")])).entries
    with pytest.raises(Refused):
        await journal.post("default", [Draft("r", "RESUMED", "engineer:y", settles=own.index)])
    for tenant in TENANTS:
        await check_log(journal, tenant)


async def test_a_tenant_that_is_not_configured_has_no_log(journal: Journal) -> None:
    for tenant in ("nobody", "", "\ud800", "default\x00"):
        with pytest.raises(Refused):
            await journal.post(tenant, [note("a")])
    await journal.post("default", [note("a")])
    assert await journal.tenants() == sorted(TENANTS)


async def test_limits(journal: Journal) -> None:
    for count in (0, MAX_POST_ENTRIES + 1):
        with pytest.raises(Refused, match="entries"):
            await journal.post("default", [note(f"n{n}") for n in range(count)])
    full = await journal.post("default", [note(f"n{n}") for n in range(MAX_POST_ENTRIES)])
    assert len(full.entries) == MAX_POST_ENTRIES
    assert len(await check_log(journal)) == MAX_POST_ENTRIES + 1


async def test_an_entry_has_at_most_65535_bytes(journal: Journal) -> None:
    (sample,) = (await journal.post("default", [note("x" * 10)])).entries
    room = 65_535 - len(sample.raw)
    with pytest.raises(Refused, match="bytes"):
        await journal.post("default", [note("y" * 10, "z" * (room + 1))])
    with pytest.raises(Refused, match="bytes"):
        await journal.post("default", [note("y" * 10, "é" * (room // 2 + 1))])
    (longest,) = (await journal.post("default", [note("y" * 10, "z" * room)])).entries
    assert len(longest.raw) == 65_535


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "draft",
    [
        Draft("bad", "NOTED", "system", body={"a": 0.5}),
        Draft("bad", "NOTED", "system", body={"a": 2**53}),
        Draft("bad", "NOTED", "system", body={"a": "\ud800"}),
        Draft("bad", "NOTED", "system", body={"a": b"bytes"}),
        Draft("bad", "NOTED", "system", body={"a": deep(100)}),
        Draft("bad", "NOTED", "system", body={"a": deep(100_000)}),
        Draft("bad\ud800", "NOTED", "system"),
        Draft("", "NOTED", "system"),
        Draft("bad", "NOTED", "system", incident_id="\ud800"),
        Draft("bad", "\ud800", "system"),
        Draft("bad", "UNHEARD_OF", "system"),
        Draft("bad", "NOTED", "nobody"),
        Draft("bad", "NOTED", "system", settles=2**62),
        Draft("bad", "NOTED", "system", cites=(-1,)),
        note("bad", blobs=(Blob("\ud800", b""),)),
    ],
    ids=lambda draft: ascii(draft.id)[:8] + draft.stage[:6].encode("ascii", "replace").decode(),
)
async def test_what_cannot_be_written_is_refused_and_harms_nobody_beside_it(journal: Journal, draft: Draft) -> None:
    good = [journal.post("default", [note(f"g{n}")]) for n in range(3)]
    bad, *receipts = await asyncio.gather(journal.post("default", [draft]), *good, return_exceptions=True)
    assert isinstance(bad, Refused)
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    assert len(await check_log(journal)) == 4


async def test_who_waits_is_woken_by_growth_of_that_tenant_alone(journal: Journal) -> None:
    waiters = [asyncio.create_task(journal.wait("default", 1)) for _ in range(3)]
    later = asyncio.create_task(journal.wait("default", 2))
    await journal.wait("default", 0)
    await journal.post("other", [note("a")])
    assert not any(waiter.done() for waiter in waiters)
    await journal.post("default", [note("a")])
    await asyncio.gather(*waiters)
    assert not later.done()
    await journal.post("default", [note("b")])
    await later


async def test_after_the_close_nothing_is_written_and_nobody_waits(journal: Journal) -> None:
    waiter = asyncio.create_task(journal.wait("default", 99))
    last = [asyncio.create_task(journal.post("default", [note(f"n{n}")])) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(journal.close(), journal.close())
    assert [task.result().entries[0].index for task in last] == list(range(1, 21))
    await waiter
    with pytest.raises(Unavailable):
        await journal.post("default", [note("late")])
    for read in (journal.get("default", 0), journal.entries("default"), journal.outstanding("default")):
        with pytest.raises(Unavailable):
            await read
    await journal.close()


async def test_the_time_of_an_entry_is_what_stands_in_its_bytes(journal: Journal, clock: Clock) -> None:
    clock.step(0.123456)
    (entry,) = (await journal.post("default", [note("a")])).entries
    assert format_time(clock.now).encode() in entry.raw
    text = await journal.checkpoint("default")
    assert text is not None
    assert base64.b64decode(text.splitlines()[2]) == tree_root([leaf_hash(e.raw) for e in await everything(journal)])


@pytest.mark.parametrize("after", [0, 300])
async def test_the_roots_over_any_entries_that_a_proof_asks_for(journal: Journal, after: int) -> None:
    """The second time more entries stand, of which the store must not believe what it knew before."""
    for entries in (700, after):
        await journal.post("default", [note(f"{entries}:{number}") for number in range(entries)] or [note("one more")])
        leaves = [leaf_hash(entry.raw) for entry in await everything(journal)]
        size = len(leaves)
        for index in (0, 255, 256, 511, 512, size - 1):
            path = await journal.tree_hashes("default", inclusion_ranges(index, size))
            assert verify_inclusion(leaves[index], index, size, path, tree_root(leaves))
            (root,) = await journal.tree_hashes("default", [(0, index + 1)])
            assert root == tree_root(leaves[: index + 1])
    with pytest.raises(IndexError):
        await journal.tree_hashes("default", [(0, size + 1)])
    (own,) = await journal.tree_hashes("other", [(0, 1)])
    assert own == leaf_hash((await everything(journal, "other"))[0].raw)
