"""Verifiers that we did not write accept our exports, and refuse them after each kind of change that they look at.

Go's sumdb/note and sumdb/tlog check the hashes and the signature (foreign/verify.go is the few lines around them), and
beancount's bean-check the books. Both are programs of others, run as such.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.exporting.part import Choice
from tests.ledger.changes import Change, Changes, put, undo
from tests.ledger.exports import NAME, NEXT_KEY, VKEY, Exported, exported
from tests.ledger.files import OTHER_KEY
from tests.tools import ROOT

GOPATH = Path("/usr/share/gocode")  # Debian's golang-golang-x-mod-dev
NEXT_VKEY = notes.verifier_key(NAME, NEXT_KEY.public_key())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two levels of tiles, and two keys."""
    return exported(tmp_path_factory.mktemp("large"), stories=18, rotated=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("other"), stories=18, rotated=True)


# --- Go --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Go:
    program: Path

    def verify(self, folder: Path, vkey: str) -> tuple[int, str]:
        command = [self.program, folder, vkey]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def go(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Go:
    compiler = tool("go")
    if not (GOPATH / "src/golang.org/x/mod/sumdb").is_dir():
        pytest.skip("golang.org/x/mod is not on this machine: Debian's golang-golang-x-mod-dev has it")
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify"
    settings = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    command = [compiler, "build", "-o", program, ROOT / "tests/ledger/foreign/verify.go"]
    subprocess.run(command, env={**os.environ, **settings}, check=True, timeout=300)
    return Go(program)


def test_go_accepts_a_whole_log(go: Go, small: Exported, large: Exported) -> None:
    for export, vkey in ((small, VKEY), (large, NEXT_VKEY)):
        code, said = go.verify(export.folder, vkey)
        root = notes.verify(export.text("checkpoint"), NAME, export.key.public_key()).root
        assert (code, said) == (0, f"OK: {len(export.lines())} entries, root {root.hex()}\n")


@pytest.mark.parametrize("stories", [0, 8])
def test_go_accepts_a_log_of_any_size(go: Go, tmp_path: Path, stories: int) -> None:
    assert go.verify(exported(tmp_path, stories).folder, VKEY)[0] == 0


def test_go_accepts_the_proofs_of_a_part(go: Go, large: Exported, tmp_path: Path) -> None:
    part = large.again(tmp_path / "part", Choice("inc:2"))
    code, said = go.verify(part.folder, NEXT_VKEY)
    assert (code, said.split(",")[0]) == (0, f"OK: {len(part.lines())} of {len(large.lines())} entries")
    lines = (part.folder / "entries.jsonl").read_bytes()
    for changed in (lines.replace(b"because", b"becausf", 1), b"".join(lines.splitlines(keepends=True)[1:])):
        (part.folder / "entries.jsonl").write_bytes(changed)
        assert go.verify(part.folder, NEXT_VKEY)[0] == 1


@pytest.mark.parametrize("vkey", [VKEY, notes.verifier_key(NAME, OTHER_KEY.public_key())])
def test_go_believes_the_key_in_force_alone(go: Go, large: Exported, vkey: str) -> None:
    code, said = go.verify(large.folder, vkey)
    assert (code, said.startswith("the checkpoint: ")) == (1, True), said


def seen_by_go(path: str) -> bool:
    return path in ("checkpoint", "entries.jsonl") or path.startswith("tile/")


KINDS = ("bit", "byte", "field", "swap", "drop", "duplicate", "truncate", "insert", "splice", "file", "checkpoint")


@pytest.mark.parametrize("kind", KINDS)
def test_go_refuses_each_kind_of_change(go: Go, large: Exported, other: Exported, kind: str) -> None:
    changes, files = Changes(large, other, seed=len(kind), paths=seen_by_go), large.bytes()
    missed: list[Change] = []
    for _ in range(8):
        change = changes.draw(kind)
        put(large.folder, change)
        code, _ = go.verify(large.folder, NEXT_VKEY)
        undo(large.folder, change, files)
        if code == 0 and all(path in files for path in change.files):  # what was added is nothing to it
            missed.append(change)
    assert missed == []
    assert go.verify(large.folder, NEXT_VKEY)[0] == 0


# --- beancount -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bean_check(tool: Callable[[str], Path]) -> Callable[[Path], tuple[int, str]]:
    program = tool("bean-check")

    def check(books: Path) -> tuple[int, str]:
        command = [program, "--no-cache", books]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return result.returncode, result.stdout + result.stderr

    return check


Check = Callable[[Path], tuple[int, str]]


def test_bean_check_accepts_the_books(bean_check: Check, small: Exported, large: Exported, tmp_path: Path) -> None:
    for export in (small, large, exported(tmp_path, stories=0)):
        assert bean_check(export.folder / "books.beancount") == (0, "")


def block(books: str, index: int) -> str:
    """The transaction of an entry."""
    return next(part for part in books.split("\n\n") if re.search(rf'" \^{index}\b', part.split("\n")[0]))


def edit(old: str, new: str) -> Callable[[str], str]:
    return lambda books: books.replace(old, new, 1)


# What an accountant sees: a posting that is gone, double, of another amount, account or lot, and a changed balance.
BOOK_EDITS: dict[str, Callable[[str], str]] = {
    "an obligation is gone": lambda books: books.replace(block(books, 3), ""),
    "a settlement is gone": lambda books: books.replace(block(books, 4), ""),
    "the last one is gone": lambda books: books.replace(block(books, 31), ""),
    "an obligation twice": lambda books: books.replace(block(books, 3), f"{block(books, 3)}\n\n{block(books, 3)}"),
    "a settlement twice": lambda books: books.replace(block(books, 4), f"{block(books, 4)}\n\n{block(books, 4)}"),
    "two units": edit("Assets:Proposals 1 OBLIGATION", "Assets:Proposals 2 OBLIGATION"),
    "another price": edit("{1 COUNT", "{2 COUNT"),
    "another outcome": edit("\n  Expenses:Proposals:Rejected", "\n  Expenses:Proposals:Withdrawn"),
    "another book": edit("\n  Assets:Alerts 1", "\n  Assets:Watches 1"),
    "no such book": edit("\n  Assets:Alerts 1", "\n  Assets:Favours 1"),
    "another balance": edit("balance Assets:Incidents 1", "balance Assets:Incidents 0"),
    "an account is gone": edit("2026-11-23 open Assets:Alerts", "; 2026-11-23 open Assets:Alerts"),
    "another day": edit("2026-11-23 * ", "2026-11-22 * "),
    "cut off": lambda books: books[: books.index("\n2026-11-24 balance")],
    "without the last line": lambda books: books[: books.rindex("poptag")],
}


@pytest.mark.parametrize("kind", BOOK_EDITS)
def test_bean_check_refuses_books_that_do_not_add_up(
    bean_check: Check, small: Exported, tmp_path: Path, kind: str
) -> None:
    books = small.text("books.beancount")
    changed = BOOK_EDITS[kind](books)
    assert changed != books
    copy = tmp_path / "books.beancount"
    copy.write_text(changed, encoding="utf-8")
    assert bean_check(copy)[0] == 1


def test_an_obligation_that_stays_open_is_an_asset(bean_check: Check, small: Exported, tmp_path: Path) -> None:
    """What bean-check accepted says it: a settlement of an obligation that was settled finds no lot to take it from."""
    books = small.text("books.beancount")
    lots = re.findall(r'Assets:(\w+) (-?1) OBLIGATION \{1 COUNT, "(\d+)"\}', books)
    left = {(book, index) for book, unit, index in lots if unit == "1"}
    left -= {(book, index) for book, unit, index in lots if unit == "-1"}
    assert [book for book, _ in left] == ["Incidents"]
    (index,) = (index for _, index in left)
    assert shutil.copy(small.folder / "books.beancount", tmp_path)
    more = f'\n2026-11-23 * "x" "x"\n  Assets:Incidents -1 OBLIGATION {{1 COUNT, "{int(index) - 1}"}}\n'
    more += "  Expenses:Incidents:Closed 1 COUNT\n"
    (tmp_path / "books.beancount").write_text(books + more, encoding="utf-8")
    assert "No position matches" in bean_check(tmp_path / "books.beancount")[1]
