"""Checkpoints outside: in a file that only grows, and under time-stamps; tried again, and in nobody's way."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from cryptography import x509

from ledger import witness
from ledger.logfile import open_log
from ledger.stores.sqlite import SqliteJournal
from receiver import settings
from receiver.anchoring import timestamps, witness_file
from receiver.anchoring.outside import AGAIN_SECONDS, AGAIN_SECONDS_MAX, Anchoring, NotPlaced, Outside
from receiver.anchoring.timestamps import ANSWER_BYTES_MAX, TimeStamps
from receiver.anchoring.witness_file import WitnessFile, append
from receiver.app import Service
from receiver.configuration import load_config
from receiver.metrics import Metrics
from receiver.settings import load_settings
from receiver.settings_values import SettingsErrors
from tests.ledger.books import ORIGIN
from tests.ledger.files import Files, note
from tests.ledger.house import ENVIRONMENT, House
from tests.receiver.authority import Authority, accepts

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def journal(files: Files) -> AsyncIterator[SqliteJournal]:
    opened = await files.open(tenants=["default", "payments"])
    yield opened
    await opened.close()


def anchoring(outside: Outside, journal: SqliteJournal) -> tuple[Anchoring, Metrics]:
    metrics = Metrics()
    return Anchoring(outside, journal, ["default", "payments"], metrics, lambda: NOON), metrics


def counted(metrics: Metrics, kind: str) -> tuple[float, float]:
    """Placed and failed."""
    values = [
        metrics.registry.get_sample_value("counterfoil_outside_anchors_total", {"kind": kind, "outcome": outcome})
        for outcome in ("placed", "failed")
    ]
    assert None not in values
    return values[0] or 0, values[1] or 0


def level(metrics: Metrics, kind: str, tenant: str = "default") -> float | None:
    name = "counterfoil_outside_anchor_last_success_timestamp_seconds"
    return metrics.registry.get_sample_value(name, {"kind": kind, "tenant": tenant})


# --- a file that only grows ------------------------------------------------------------------------------------------


async def test_each_new_checkpoint_comes_to_the_end_of_the_file_once(files: Files, journal: SqliteJournal) -> None:
    path = files.folder / "witness"
    work, metrics = anchoring(WitnessFile(path, 60), journal)
    first = [await journal.checkpoint(tenant) for tenant in ("default", "payments")]
    await work.round()
    await work.round()
    await journal.post("default", [note("a")])
    await journal.post("default", [note("b")])  # of two in one round the newest is enough
    await work.round()
    found = witness.split_notes(path.read_text(encoding="utf-8"))
    assert found == [*first, await journal.checkpoint("default")]
    assert counted(metrics, "witness_file") == (3, 0)
    assert level(metrics, "witness_file") == level(metrics, "witness_file", "payments") == NOON.timestamp()
    with open_log(files.path, "default") as log:
        own = [text for text in found if witness.origin_of(text).endswith("/default")]
        assert witness.compare(log, log.keys(ORIGIN), own) == witness.Kept(2, 3, None)


async def test_what_fails_is_tried_again_and_counted(files: Files, journal: SqliteJournal) -> None:
    path = files.folder / "share" / "witness"
    work, metrics = anchoring(WitnessFile(path, 60), journal)
    pauses = []
    for _ in range(12):
        await work.round()
        pauses.append(work.pause())
    assert pauses[:5] == [AGAIN_SECONDS, 2 * AGAIN_SECONDS, 4 * AGAIN_SECONDS, 8 * AGAIN_SECONDS, 60]
    assert counted(metrics, "witness_file") == (0, 24)
    assert level(metrics, "witness_file") == 0
    path.parent.mkdir()
    await work.round()
    assert counted(metrics, "witness_file") == (2, 24)
    assert work.pause() == 60
    assert len(witness.split_notes(path.read_text(encoding="utf-8"))) == 2


def test_a_pause_ends(journal: SqliteJournal) -> None:
    work, _ = anchoring(WitnessFile(Path("x"), 1e9), journal)
    work._failures = 1000
    assert work.pause() == AGAIN_SECONDS_MAX


async def test_a_share_that_never_answers_holds_up_nobody(
    files: Files, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hangs(path: Path, text: str) -> None:
        answers.wait()
        append(path, text)

    monkeypatch.setattr(witness_file, "append", hangs)
    monkeypatch.setattr(witness_file, "WRITE_SECONDS", 0.01)
    path = files.folder / "witness"
    place = WitnessFile(path, 60)
    with pytest.raises(NotPlaced, match="nothing came back"):
        await place.place("default", "one\n")
    with pytest.raises(NotPlaced, match="has not come back"):
        await place.place("default", "two\n")
    assert (await journal.post("default", [note("meanwhile")])).entries
    assert threading.active_count() > 1
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "anchoring")
    answers.set()
    monkeypatch.undo()
    assert place._write is not None
    await place._write
    await place.place("default", "three\n")
    assert path.read_text() == "one\n\nthree\n\n"


async def test_the_last_checkpoint_comes_to_the_file_when_all_is_closed(files: Files, journal: SqliteJournal) -> None:
    path = files.folder / "witness"
    placed = asyncio.Event()

    class Telling(WitnessFile):
        async def place(self, tenant: str, text: str) -> None:
            await super().place(tenant, text)
            placed.set()

    work, _ = anchoring(Telling(path, 3600), journal)
    work.start()
    await placed.wait()
    await journal.post("default", [note("the last")])
    last = await journal.checkpoint("default")
    await journal.close()
    await work.stop()
    assert witness.split_notes(path.read_text(encoding="utf-8"))[-1] == last


def test_a_write_that_was_cut_off_does_not_run_into_the_next(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    own = "o/t\n1\nAAAA\n\n\u2014 o/t " + "A" * 91 + "=\n"
    for cut in range(1, len(own.encode())):
        path.write_bytes(own.encode()[:cut])
        append(path, own)
        found = witness.split_notes(path.read_bytes().decode("utf-8", "replace"))
        assert found[-1:] == [own]
        assert set(found) == {own}
    before = path.read_bytes()
    append(path, own)
    assert path.read_bytes().startswith(before)


# --- time-stamps -----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    return Authority(tmp_path / "authority")


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[TestServer]:
    async with TestServer(authority.app()) as running:
        yield running


@pytest.fixture
async def stamps(authority: Authority, server: TestServer, files: Files) -> AsyncIterator[TimeStamps]:
    async with aiohttp.ClientSession() as session:
        yield stamping(authority.root, server, files, session)


def stamping(root: Path, server: TestServer, files: Files, session: aiohttp.ClientSession) -> TimeStamps:
    certificates = x509.load_pem_x509_certificates(root.read_bytes())
    return TimeStamps(str(server.make_url("/tsr")), 3600, certificates, files.folder / "stamps", lambda: session)


async def test_a_time_stamp_is_one_that_openssl_accepts(
    files: Files, journal: SqliteJournal, stamps: TimeStamps, authority: Authority
) -> None:
    work, metrics = anchoring(stamps, journal)
    await journal.post("default", [note("a")])
    await work.round()
    await work.round()
    assert counted(metrics, "timestamp") == (2, 0)
    folder = files.folder / "stamps" / "default"
    data, answer = folder / "2.checkpoint", folder / "2.tsr"
    assert data.read_text(encoding="utf-8") == await journal.checkpoint("default")
    assert accepts(authority.root, data, answer)
    data.write_text(data.read_text(encoding="utf-8").replace("\n2\n", "\n3\n"), encoding="utf-8")
    assert not accepts(authority.root, data, answer)
    assert sorted(path.name for path in folder.iterdir()) == ["2.checkpoint", "2.tsr"]


async def test_what_is_stamped_is_not_asked_for_again_after_a_restart(
    journal: SqliteJournal, stamps: TimeStamps, authority: Authority
) -> None:
    for _ in range(2):
        work, metrics = anchoring(stamps, journal)
        await work.round()
        assert counted(metrics, "timestamp") == (2, 0)
    assert len(authority.requests) == 2


async def refused(stamps: TimeStamps, files: Files, why: str) -> None:
    with pytest.raises(NotPlaced, match=why):
        await stamps.place("default", "o\n1\nroot\n\n")
    assert not (files.folder / "stamps").exists()


async def test_nothing_is_kept_that_does_not_verify(files: Files, stamps: TimeStamps, authority: Authority) -> None:
    for body in (b"", b"<html>", os.urandom(2000)):
        authority.replay = body
        await refused(stamps, files, "does not verify")
    authority.replay = b"x" * (ANSWER_BYTES_MAX + 1)
    await refused(stamps, files, "more than")
    authority.replay, authority.status = None, 503
    await refused(stamps, files, "answers 503")


async def test_an_older_answer_counts_for_nothing(files: Files, stamps: TimeStamps, authority: Authority) -> None:
    """The same bytes were stamped before, and the nonce was another."""
    await stamps.place("other", "o\n1\nroot\n\n")
    shutil.rmtree(files.folder / "stamps")
    authority.replay = authority.stamp(authority.requests[0])
    await refused(stamps, files, "does not verify")


async def test_another_authority_is_not_believed(
    files: Files, server: TestServer, tmp_path: Path, authority: Authority
) -> None:
    other = Authority(tmp_path / "other")
    async with aiohttp.ClientSession() as session:
        await refused(stamping(other.root, server, files, session), files, "does not verify")
    assert len(authority.requests) == 1


async def test_an_authority_that_is_away(files: Files, stamps: TimeStamps, server: TestServer) -> None:
    await server.close()
    await refused(stamps, files, "Client")


async def test_a_disk_that_takes_no_more(
    files: Files, stamps: TimeStamps, journal: SqliteJournal, authority: Authority
) -> None:
    (files.folder / "stamps").write_text("a file stands in the way")
    with pytest.raises(NotPlaced, match="stamps"):
        await stamps.place("default", "o\n1\nroot\n\n")
    assert len(authority.requests) == 1


# --- the whole service -----------------------------------------------------------------------------------------------


def configured(folder: Path, lines: str) -> House:
    house = House(folder)
    text = house.config.read_text(encoding="utf-8")
    for before, after in (
        ("127.0.0.1:9877", "127.0.0.1:0"),
        ("127.0.0.1:9878", "127.0.0.1:0"),
        ("    alertmanagers:", "    # alertmanagers:"),
        ("    prometheus:", "    # prometheus:"),
        ("  key_file:", f"{lines}\n  key_file:"),
    ):
        assert before in text
        text = text.replace(before, after)
    house.config.write_text(text, encoding="utf-8")
    return house


async def test_the_service_places_its_checkpoints_outside(
    tmp_path: Path, authority: Authority, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = asyncio.Event()

    class Telling(TimeStamps):
        async def place(self, tenant: str, text: str) -> None:
            await super().place(tenant, text)
            placed.set()

    monkeypatch.setattr(timestamps, "TimeStamps", Telling)
    path = tmp_path / "witness"
    stamps = f"{{url: '{server.make_url('/tsr')}', ca_file: {authority.root}}}"
    house = configured(tmp_path / "house", f"  witness_file: {path}\n  timestamps: {stamps}")
    service = Service(load_config(house.config, ENVIRONMENT))
    await service.start()
    folder = house.ledger.timestamps_folder / "default"
    await placed.wait()
    await service.stop()
    kept = witness.split_notes(path.read_text(encoding="utf-8"))
    assert house.run("checkpoint").stdout == kept[-1]
    assert house.run("verify", "--from", str(path)).exit_code == 0
    (answer,) = folder.glob("*.tsr")
    assert accepts(authority.root, answer.with_suffix(".checkpoint"), answer)
    assert house.run("verify", "--from", str(answer.with_suffix(".checkpoint"))).exit_code == 0


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("  timestamps: {url: 'http://127.0.0.1/'}", "ca_file is missing"),
        ("  timestamps: {url: 'http://127.0.0.1/', ca_file: nowhere}", "ca_file: .*No such file"),
        ("  timestamps: {url: 'http://127.0.0.1/', ca_file: counterfoil.yml}", "ca_file: "),
        ("  timestamps: {url: 'http://127.0.0.1/', ca_file: only.pem}", "no root certificate"),
        ("  witness_every: 0s", "witness_every"),
    ],
)
def test_what_cannot_work_is_told_before_the_start(tmp_path: Path, lines: str, why: str, authority: Authority) -> None:
    house = configured(tmp_path / "house", "")
    (tmp_path / "house" / "only.pem").write_bytes((authority.folder / "tsa.pem").read_bytes())
    text = house.config.read_text(encoding="utf-8").replace("  key_file:", f"{lines}\n  key_file:")
    house.config.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsErrors, match=why):
        load_settings(house.config, ENVIRONMENT)


def test_the_extra_is_asked_for_where_it_is_missing(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"  timestamps: {{url: 'http://127.0.0.1/', ca_file: {authority.root}}}"
    house = configured(tmp_path / "house", lines)
    monkeypatch.setattr(settings, "find_spec", {}.get)
    with pytest.raises(SettingsErrors, match=r"counterfoil\[timestamps\]"):
        load_settings(house.config, ENVIRONMENT)
