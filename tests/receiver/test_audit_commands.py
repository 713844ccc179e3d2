"""`ledger reconcile`, `ledger verify --replay` and `incident show --at`, on a ledger's files and by nothing else."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger import checkpoint as notes
from ledger.entry import format_time
from ledger.findings.faults import FAULTS
from ledger.merkle import leaf_hash, tree_root
from ledger.stores.sqlite import SqliteJournal
from receiver.__main__ import counterfoil
from receiver.auditor.reading import Reader
from receiver.execution.run_log import RunLog
from tests.ledger.house import ENVIRONMENT, House
from tests.receiver.insider import Documents, house, on
from tests.receiver.test_replay import entry_of, story
from tests.tools import ROOT

AS_OF = ("--as-of", format_time(entry_of("RECOVERED").timestamp + timedelta(minutes=1)))


@pytest.fixture
def good(tmp_path: Path) -> House:
    return house(tmp_path, story())


def reading(documents: Documents) -> None:
    """The number on which DETECTED was decided was a good one."""
    detected = next(document for document in documents if document["stage"] == "DETECTED")
    detected["body"]["verdict"]["basis"]["readings"][0]["value"] = "0.004"


# --- verify --replay -------------------------------------------------------------------------------------------------


def test_what_policy_decided_comes_out_the_same(good: House) -> None:
    result = good.run("verify", "--replay")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(good.run("verify", "--replay", "--json").output)
    number = sum(row["replay"]["verdicts"].values())
    assert result.output.splitlines()[1] == f"OK: default: {number} verdicts come out as they were recorded"
    assert row["replay"]["verdicts"]["RECOVERED"] == 1
    assert row["replay"]["differences"] == []


def test_a_planted_verdict_is_named_with_its_entry(tmp_path: Path) -> None:
    """Signed by the key, and every rule of the books is kept: policy alone can tell."""
    forged = house(tmp_path, story(), reading)
    assert forged.run("verify").exit_code == 0
    result = forged.run("verify", "--replay")
    assert result.exit_code == 1
    says = (
        "DIFFERENCE: default: entry 6: DETECTED: recorded detect, decided again ignore: error_ratio 0.004 not >= 0.05"
    )
    assert says in result.output.splitlines()
    (row,) = json.loads(forged.run("verify", "--replay", "--json").output)
    assert row["fault"] is None
    assert row["replay"]["differences"][0]["replayed"] == "ignore"


def test_nothing_is_decided_on_a_log_that_does_not_verify(good: House) -> None:
    good.tamper("UPDATE entry SET bytes = replace(bytes, 'detect', 'detest')")
    result = good.run("verify", "--replay")
    assert (result.exit_code, "verdicts" in result.output) == (1, False)


@pytest.mark.parametrize(("change", "code"), [(lambda documents: None, 0), (reading, 1)])
def test_an_exported_folder_is_decided_again_offline(tmp_path: Path, change: Any, code: int) -> None:
    found = house(tmp_path / "house", story(), change)
    folder = tmp_path / "export"
    assert found.run("export", str(folder)).exit_code == 0
    key = (folder / "keys.txt").read_text().splitlines()[-1]
    found.ledger.path.unlink()
    result = found.run("verify", "--export", str(folder), "--key", key, "--replay")
    assert result.exit_code == code, result.output
    assert ("come out as they were recorded" in result.output) is not bool(code)
    row = json.loads(found.run("verify", "--export", str(folder), "--key", key, "--replay", "--json").output)
    assert len(row["replay"]["differences"]) == code


def test_a_part_of_a_log_cannot_be_decided_again(good: House, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    incident = entry_of("DETECTED").incident_id or ""
    assert good.run("export", str(folder), "--incident", incident).exit_code == 0
    result = good.run("verify", "--export", str(folder), "--replay")
    assert (result.exit_code, "only a whole export" in result.stderr) == (2, True)


# --- reconcile -------------------------------------------------------------------------------------------------------


def test_a_good_ledger_has_no_finding(good: House) -> None:
    result = good.run("reconcile", *AS_OF)
    assert (result.exit_code, "finding" in result.output) == (0, False), result.output
    assert max(map(len, result.output.splitlines())) <= 80
    data = json.loads(good.run("reconcile", "--json", *AS_OF).output)
    assert (data["balanced"], data["findings"], data["compared"]) == (True, [], [])
    assert data["entries"] == len(story().log)


def test_what_is_overdue_depends_on_the_time(good: House) -> None:
    result = good.run("reconcile", "--as-of", "2027-01-01T00:00:00Z")
    assert result.exit_code == 1
    assert "finding: entry 11: overdue: ADDRESSED is outstanding" in result.output


@pytest.mark.parametrize("time", ["noon", "2026-11-23T08:58:38", "2026-11-23 08:58"])
def test_a_time_needs_its_zone(good: House, time: str) -> None:
    assert good.run("reconcile", "--as-of", time).exit_code == 2


INSIDERS: dict[str, tuple[Any, str]] = {
    "a stranger's answer": (on("APPROVED", actor="engineer:eve"), "approver: eve may not answer for restart"),
    "an authorization that nobody gave": (on("AUTHORIZED", cites=[]), "law 3: 0 of 2 approved"),
    "a dispatch of another request": (
        lambda documents: documents[entry_of("DISPATCHED").index]["body"].update(digest="f" * 64),
        "law 3: the request is not the proposed one",
    ),
}


@pytest.mark.parametrize("name", INSIDERS)
def test_who_has_the_key_is_found_out(tmp_path: Path, name: str) -> None:
    change, says = INSIDERS[name]
    result = house(tmp_path, story(), change).run("reconcile", *AS_OF)
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if f": {says}" in line]
    assert lines, result.output
    assert lines[0].endswith("with the ledger's key)")  # what to do


def sql(*statements: str) -> Callable[[House], None]:
    def damage(found: House) -> None:
        for statement in statements:
            found.tamper(statement)

    return damage


def signed_by_another(found: House) -> None:
    """The checkpoint over all of it, by a key that the log never had; the anchor agrees."""
    other = found.config.parent / "other.key"
    key = notes.make_key_file(other)
    with closing(sqlite3.connect(found.ledger.path)) as store:
        raws = [row[0].encode() for row in store.execute("SELECT bytes FROM entry ORDER BY n")]
    name = notes.log_origin(found.ledger.origin, "default")
    note = notes.sign(notes.Checkpoint(name, len(raws), tree_root([leaf_hash(raw) for raw in raws])), name, key)
    found.tamper(f"UPDATE checkpoint SET note = '{note}'")


def other_anchor(found: House) -> None:
    """The anchor is that of a longer log."""
    name = notes.log_origin(found.ledger.origin, "default")
    key = notes.load_key_file(found.ledger.key_file)
    anchor = notes.anchor_of(found.ledger.anchor_file, "default")
    anchor.read()
    anchor.write(notes.sign(notes.Checkpoint(name, 999, b"\x00" * 32), name, key))


DAMAGES: dict[str, tuple[Callable[[House], None], str, str]] = {
    "an entry's bytes": (sql("UPDATE entry SET bytes = bytes || ' ' WHERE n = 7"), "entry 7: leaf:", "not canonical"),
    "an entry's words": (
        sql("UPDATE entry SET bytes = replace(bytes, 'sim is asked', 'sam is asked')"), "root:", "differs"
    ),
    "the checkpoints": (sql("DELETE FROM checkpoint"), "entry 0: checkpoint:", "under no checkpoint"),
    "the key": (signed_by_another, "key:", "signed with an unknown key"),
    "the anchor": (other_anchor, "anchor:", "an older copy"),
    "a blob": (sql("DELETE FROM blob WHERE digest = (SELECT min(digest) FROM blob)"), "blob:", "is missing"),
    "a blob's bytes": (sql("UPDATE blob SET data = x'00'"), "blob:", "was changed"),
    "the rules of the file": (sql("CREATE TABLE mine (x)"), "the log: file:", "mine was added"),
    "an entry": (sql("DELETE FROM entry WHERE n = 9"), "entry 9: gap:", "it is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_with_the_file_is_a_finding_with_its_remedy(good: House, name: str) -> None:
    damage, where, says = DAMAGES[name]
    damage(good)
    result = good.run("reconcile", *AS_OF)
    lines = [line for line in result.output.splitlines() if line.startswith("finding: ")]
    assert result.exit_code == 1, result.output
    found = [line for line in lines if where in line]
    assert found, lines
    assert says in found[0]
    assert found[0].endswith(")")  # what to do


def test_every_missing_blob_is_named(good: House) -> None:
    good.tamper("DELETE FROM blob")
    result = json.loads(good.run("reconcile", "--json", *AS_OF).output)
    indices = [finding["index"] for finding in result["findings"] if finding["rule"] == "blob"]
    assert sorted(set(indices)) == [entry.index for entry in story().log if entry.blobs]


def test_every_fault_has_a_case_and_a_place_on_the_page() -> None:
    page = (ROOT / "ledger/README.md").read_text(encoding="utf-8")
    assert [rule for rule, (words, _) in FAULTS.items() if f"| {rule} | {words} |" not in page] == []
    tested = {where.rpartition(":")[0].rpartition(" ")[2] for _, where, _ in DAMAGES.values()}
    assert set(FAULTS) - tested <= {"books"}  # the entries themselves show that one, each by its own rule


# --- reconcile with what others recorded -----------------------------------------------------------------------------


def test_it_compares_with_the_executors_log(good: House, tmp_path: Path) -> None:
    path = tmp_path / "executor.log"
    log = RunLog(path)
    log.begin(entry_of("DISPATCHED").body["webhook_id"], "restart")
    log.end(entry_of("DISPATCHED").body["webhook_id"], {"exit_code": 0, "output": ""})
    log.close()
    result = good.run("reconcile", "--receipts", str(path), "--executor", "restart", *AS_OF)
    assert result.exit_code == 0, result.output
    assert "executor's log: 1 runs, and 1 of the 1 dispatched here" in result.output
    log = RunLog(path)
    log.begin("stolen", "restart")
    log.close()
    result = good.run("reconcile", "--receipts", str(path), *AS_OF)
    assert (result.exit_code, "finding: the log: receipt:" in result.output) == (1, True), result.output


def test_it_compares_with_the_carriers_log(good: House, tmp_path: Path) -> None:
    sids = [entry.body["sid"] for entry in story().log if entry.stage == "SENT"]
    path = tmp_path / "messages.csv"
    lines = [f"{sid},sent,outbound-api,2026-11-23 08:00:00" for sid in sids]
    path.write_text("\n".join(["Sid,Status,Direction,DateSent", *lines, ""]))
    data = json.loads(good.run("reconcile", "--json", "--messages", str(path), *AS_OF).output)
    assert data["findings"] == []
    assert data["compared"][0].startswith(f"carrier's log: {len(sids)} messages")
    assert data["compared"][0].endswith(f", {len(sids)} of them known here")


@pytest.mark.parametrize("option", ["--receipts", "--messages"])
def test_a_file_that_is_none_of_theirs_is_said_in_one_line(good: House, tmp_path: Path, option: str) -> None:
    path = tmp_path / "file"
    path.write_text("what?\n")
    result = good.run("reconcile", option, str(path))
    assert (result.exit_code, result.stderr.count("\n"), str(path) in result.stderr) == (2, 1, True)


def test_an_executor_that_nobody_configured(good: House, tmp_path: Path) -> None:
    path = tmp_path / "executor.log"
    path.write_text("")
    assert good.run("reconcile", "--receipts", str(path), "--executor", "wipe").exit_code == 2


# --- incident show --at ----------------------------------------------------------------------------------------------


INCIDENT = entry_of("DETECTED").incident_id or ""


def shown(found: House, at: str, *words: str, incident: str = INCIDENT) -> Result:
    runner = CliRunner(env=ENVIRONMENT)
    command = ["incident", "show", incident, "--at", at, *words, "--config", str(found.config)]
    return runner.invoke(counterfoil, command)


def stands(found: House, at: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(shown(found, at, "--json").stdout)
    return data


def test_an_incident_is_rebuilt_as_it_stood_at_each_step(good: House) -> None:
    stages = ("DETECTED", "PROPOSED", "AUTHORIZED", "DISPATCHED", "EXECUTED", "RECOVERED")
    found = {stage: stands(good, str(entry_of(stage).index)) for stage in stages}
    states = ["detected", "proposed", "authorized", "executing", "verifying", "recovered"]
    assert [then["state"] for then in found.values()] == states
    for stage, then in found.items():
        assert then["as_of"]["index"] == then["timeline"][-1]["index"] == entry_of(stage).index
        assert then["policy_in_force"]["digest"] == entry_of("ADOPTED").policy_digest
        outstanding = {row["stage"] for row in then["outstanding"]}
        assert (stage in outstanding) == (stage != "RECOVERED")
        assert ("DETECTED" in outstanding) == (stage != "RECOVERED")
    assert found["AUTHORIZED"]["halts"] == [entry_of("HALTED").index]
    assert found["DISPATCHED"]["halts"] == []


def test_a_time_is_as_good_as_an_index(good: House) -> None:
    """Entries of one post share their time; at a time all of them stand."""
    dispatched = entry_of("DISPATCHED")
    before = format_time(dispatched.timestamp - timedelta(microseconds=1))
    assert stands(good, before)["state"] == "authorized"
    earlier = [entry.index for entry in story().log if entry.timestamp < dispatched.timestamp]
    assert stands(good, before)["as_of"]["index"] == max(earlier)
    at = stands(good, format_time(dispatched.timestamp))
    last = max(entry.index for entry in story().log if entry.timestamp == dispatched.timestamp)
    assert at == stands(good, str(last))
    assert at == stands(good, dispatched.timestamp.astimezone(timezone(timedelta(hours=2))).isoformat())
    assert stands(good, "2099-01-01T00:00:00Z") == stands(good, "99999")


def test_an_index_after_the_end_is_said_to_be_one(good: House) -> None:
    last = len(story().log) - 1
    said = f"counterfoil: the log of default ends with entry {last}: as of that one\n"
    for words in ((), ("--why",), ("--json",)):
        assert shown(good, str(last + 1), *words).stderr == said
        assert shown(good, str(last), *words).stderr == ""
    report = ["incident", "report", INCIDENT, "--at", "999", "--config", str(good.config)]
    assert CliRunner(env=ENVIRONMENT).invoke(counterfoil, report).stderr == said


@asynccontextmanager
async def service(found: House) -> AsyncIterator[SqliteJournal]:
    """The ledger as the service opens it, which accepts what it finds there."""
    journal = await SqliteJournal.open(
        found.ledger.path,
        origin=found.ledger.origin,
        key=notes.load_key_file(found.ledger.key_file),
        anchor_path=found.ledger.anchor_file,
        clock=lambda: story().log[-1].timestamp,
        tenants=["default"],
        durable=False,
    )
    yield journal
    await journal.close()


async def test_it_is_what_the_service_says_of_that_moment(good: House) -> None:
    async with service(good) as journal:
        reader = Reader(journal)
        for index in range(entry_of("DETECTED").index, len(story().log)):
            view = await reader.incident("default", INCIDENT, index)
            assert view is not None
            own = await asyncio.to_thread(stands, good, str(index))
            assert own | view.to_json(timeline=True) == own


def test_it_is_told_in_lines(good: House) -> None:
    at = entry_of("AUTHORIZED").index
    lines = shown(good, str(at)).output.splitlines()
    title = f"{INCIDENT}: HighErrorRate service=checkout"
    assert lines[0] == f"{title}, authorized as of entry {at}, 2026-11-23 08:01:00 UTC"
    halted = entry_of("HALTED").index
    assert lines[2] == f"in force: policy 1.0, halted at {halted} by engineer:chipo"
    assert lines[3].startswith(f"open: DETECTED {entry_of('DETECTED').index}, ADDRESSED ")
    assert lines[-1].split()[:4] == [str(at), "08:01:00", "AUTHORIZED", "engineer:rudo"]


@pytest.mark.parametrize(
    ("at", "incident"),
    [("5", INCIDENT), ("99", "inc-none"), ("noon", INCIDENT), ("2026-11-23T08:00:00", INCIDENT), ("-1", INCIDENT)],
)
def test_what_was_not_there_is_said_in_one_line(good: House, at: str, incident: str) -> None:
    result = shown(good, at, incident=incident)
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (2, 1, "")


def test_without_a_file_there_is_nothing_to_show(good: House) -> None:
    good.ledger.path.unlink()
    result = shown(good, "9")
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)


# --- incident list and show, with no service -------------------------------------------------------------------------


def said(found: House, *words: str) -> Result:
    return CliRunner(env=ENVIRONMENT).invoke(counterfoil, ["incident", *words, "--config", str(found.config)])


def test_incidents_are_listed_and_explained_while_no_service_runs(good: House) -> None:
    assert said(good, "list").output == "no open incident\n"
    (line,) = said(good, "list", "--all").output.splitlines()
    assert line.startswith(f"{INCIDENT}  recovered ")
    (row,) = json.loads(said(good, "list", "--all", "--json").output)
    shown_now = json.loads(said(good, "show", INCIDENT, "--json").output)
    assert shown_now.items() >= row.items()
    indices = [entry["index"] for entry in shown_now["timeline"]]
    assert entry_of("DETECTED").index in indices
    assert indices == sorted(indices)
    text = said(good, "show", INCIDENT).output.splitlines()
    assert [int(line.split()[0]) for line in text if line.startswith(" ")] == indices


def test_every_verdict_is_explained_while_no_service_runs(good: House) -> None:
    verdicts = json.loads(said(good, "show", INCIDENT, "--why", "--json").output)["verdicts"]
    assert {"DETECTED", "AUTHORIZED", "RECOVERED"} <= {verdict["stage"] for verdict in verdicts}
    assert verdicts[0]["readings"][0]["query"]
    text = said(good, "show", INCIDENT, "--why").output
    assert all(f"entry {verdict['index']}, " in text for verdict in verdicts)
    opened = entry_of("DETECTED").index
    early = json.loads(said(good, "show", INCIDENT, "--why", "--at", str(opened), "--json").output)
    assert early["verdicts"] == [verdict for verdict in verdicts if verdict["index"] <= opened] != verdicts


@pytest.mark.parametrize("words", [("show", "inc-nobody"), ("show", "inc-nobody", "--why"), ("list", "--tenant", "no")])
def test_what_is_not_in_the_file_is_said_in_one_line(good: House, words: tuple[str, ...]) -> None:
    result = said(good, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("counterfoil: ")
    assert result.stderr.count("\n") == 1
