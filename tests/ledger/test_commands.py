"""`counterfoil ledger`: what each command prints, and with which code it ends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger import checkpoint as notes
from ledger.entry import Draft, Entry
from ledger.stores import schema
from receiver.__main__ import counterfoil
from receiver.commands.ledger.common import line_of
from tests.ledger.house import ENVIRONMENT, STORY, House


@pytest.fixture
def empty(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def house(empty: House) -> House:
    asyncio.run(empty.write(*STORY))
    return empty


def test_verify_says_how_many_and_which_root(house: House) -> None:
    result = house.run("verify")
    assert (result.exit_code, result.output.split(", root ")[0]) == (0, "OK: 6 entries")
    (row,) = json.loads(house.run("verify", "--json").output)
    assert (row["tenant"], row["entries"], row["fault"]) == ("default", 6, None)
    assert row["root"] == result.output.split()[-1]


def test_verify_says_what_is_wrong_and_where(house: House) -> None:
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    result = house.run("verify")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "entry " in result.output
    assert "FAULT" in result.output
    (row,) = json.loads(house.run("verify", "--json").output)
    assert row["fault"]


def test_reconcile_prints_the_books_and_balances(house: House) -> None:
    result = house.run("reconcile")
    assert result.exit_code == 0, result.output
    assert "the books balance" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    data = json.loads(house.run("reconcile", "--json").output)
    assert (data["balanced"], data["findings"]) == (True, [])
    assert data["books"]["incidents"] == {"opened": 1, "settled": {"RECOVERED": 0, "CLOSED": 0}, "outstanding": 1}


def test_reconcile_ends_with_1_on_a_finding(house: House) -> None:
    house.tamper('UPDATE entry SET bytes = replace(bytes, \'"actor":"policy"\', \'"actor":"claude"\') WHERE n = 4')
    result = house.run("reconcile")
    assert result.exit_code == 1
    assert "finding: entry 4: office" in result.output


def test_show_prints_a_line_for_each_entry(house: House) -> None:
    lines = house.run("show").output.splitlines()
    assert [line.split()[0] for line in lines] == list("012345")
    assert "DETECTED" in lines[4]
    assert lines[4].endswith("policy               inc-1 settles 3  error_ratio 0.31 >= 0.05")
    assert lines[5].endswith("two lines  [31mred")


@pytest.mark.parametrize(
    ("words", "indices"),
    [
        (["--incident", "inc-1"], [4]),
        (["--stage", "HALTED"], []),
        (["--stage", "watched"], [3]),
        (["--stage", "NOTED", "--incident", "inc-2"], [5]),
        (["--limit", "2"], [4, 5]),
    ],
)
def test_show_filters(house: House, words: list[str], indices: list[int]) -> None:
    result = house.run("show", "--json", *words)
    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == indices
    assert (result.exit_code, result.stderr) == (0, "" if indices else "counterfoil: no entry there is HALTED\n")


def test_show_of_an_incident_that_there_is_not_is_a_wrong_call(house: House) -> None:
    result = house.run("show", "--incident", "inc-9")
    said = "no entry of default is of an incident inc-9: `counterfoil incident list --all` has them"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"counterfoil: {said}\n")


def test_checkpoint_verifies_under_the_key_that_it_prints(house: House) -> None:
    result = house.run("checkpoint")
    assert result.exit_code == 0
    name, public = notes.parse_verifier_key(result.stderr)
    assert notes.verify(result.stdout, name, public).size == 6


def no_file(house: House) -> None:
    house.ledger.path.unlink()


def no_database(house: House) -> None:
    for suffix in ("-wal", "-shm"):
        house.ledger.path.with_name(house.ledger.path.name + suffix).unlink(missing_ok=True)
    house.ledger.path.write_bytes(b"not a database, but long enough to be taken for one" * 20)


def no_tables(house: House) -> None:
    house.ledger.path.unlink()
    sqlite3.connect(house.ledger.path).close()


def no_key(house: House) -> None:
    house.ledger.key_file.write_text("no key")


@pytest.mark.parametrize("damage", [no_file, no_database, no_tables])
@pytest.mark.parametrize("command", ["verify", "reconcile", "show", "checkpoint"])
def test_what_is_no_ledger_is_said_in_one_line(house: House, damage: Callable[[House], None], command: str) -> None:
    damage(house)
    result = house.run(command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert result.stderr.startswith(f"counterfoil: {house.ledger.path}")


@pytest.mark.parametrize("command", ["verify", "checkpoint"])
def test_a_key_that_is_none(house: House, command: str) -> None:
    no_key(house)
    result = house.run(command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "ledger.key" in result.stderr


def test_a_ledger_without_entries_is_not_well(empty: House) -> None:
    with sqlite3.connect(empty.ledger.path) as store:
        store.executescript(schema.script(empty.ledger.origin))
    store.close()
    result = empty.run("verify")
    assert (result.exit_code, "no entries" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [("show", "--tenant", "nobody"), ("show", "--stage", "BLESSED"), ("show", "--limit", "0"), ("checkpoint", "-x")],
)
def test_a_wrong_call_ends_with_2(house: House, words: tuple[str, ...]) -> None:
    assert house.run(*words).exit_code == 2


def test_a_day_is_a_time_for_every_command_that_takes_one(house: House) -> None:
    for words in (["ledger", "reconcile", "--as-of"], ["messages", "--since"], ["duty", "show", "--at"]):
        call = [*words, "2026-11-23", "--config", str(house.config)]
        assert CliRunner(env=ENVIRONMENT).invoke(counterfoil, call).exit_code == 0, words
        wrong = CliRunner(env=ENVIRONMENT).invoke(counterfoil, [*words, "2026-11-23T08:00:00", *call[-2:]])
        assert (wrong.exit_code, "a time needs its zone, as in" in wrong.output) == (2, True), wrong.output


def test_what_is_no_log_of_an_executor_is_said_without_the_parser_s_words(house: House) -> None:
    result = house.run("reconcile", "--receipts", str(house.config))
    said = "line 1 is none of an executor's log: give the log_file of `counterfoil executor serve`"
    assert (result.exit_code, result.stderr) == (2, f"counterfoil: {house.config}: {said}\n")


def test_no_entry_breaks_its_line() -> None:
    given: dict[str, Any] = {"ledger": "o", "tenant_id": "t", "index": 1, "timestamp": "2026-11-23T08:00:00.000000Z"}
    draft = Draft("x", "NOTED", "system", incident_id="a\r\nb", reason="\u2028\x9b2J")
    raw = json.dumps(draft.document(0) | given | {"salt": ""}).encode()
    assert line_of(Entry.parse(raw)).isprintable()
