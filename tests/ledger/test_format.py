"""ledger/README.md is enough for a stranger: its verifier is run, and its tables are those of the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.accounts import OFFICES, OPENS, SETTLES
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, THIRD_KEY, Files

README = (Path(notes.__file__).parent / "README.md").read_text(encoding="utf-8")
NAME = notes.log_origin(ORIGIN, "default")


def verify(files: Files, vkey: str) -> subprocess.CompletedProcess[str]:
    """Run the verifier of the page, which imports nothing of ours."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "ledger import" not in code
    command = [sys.executable, "-I", "-c", code, str(files.path), "default", vkey]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    await found.story()
    return found


async def test_the_verifier_of_the_page_agrees_with_ours(files: Files) -> None:
    result = verify(files, notes.verifier_key(NAME, KEY.public_key()))
    assert (result.returncode, result.stdout.strip()) == (0, str(files.verify())), result.stderr


@pytest.mark.parametrize(
    "edit",
    [
        'UPDATE entry SET bytes = replace(bytes, \'"reason":""\', \'"reason":"x"\') WHERE n = 2',
        "DELETE FROM entry WHERE n = 7",
        "DELETE FROM checkpoint WHERE size = 8",
        "UPDATE blob SET data = x'00'",
        "UPDATE checkpoint SET note = replace(note, char(10) || '4', char(10) || '5') WHERE size = 4",
    ],
)
async def test_it_finds_what_was_changed(files: Files, edit: str) -> None:
    with files.without_rules() as store:
        assert store.execute(edit).rowcount > 0
    assert verify(files, notes.verifier_key(NAME, KEY.public_key())).returncode != 0


async def test_it_believes_no_other_key(files: Files) -> None:
    assert verify(files, notes.verifier_key(NAME, OTHER_KEY.public_key())).returncode != 0


async def test_it_follows_the_keys_from_the_first(files: Files) -> None:
    first = notes.verifier_key(NAME, KEY.public_key())
    files.rotate(KEY, OTHER_KEY)
    files.rotate(OTHER_KEY, THIRD_KEY)
    result = verify(files, first)
    assert (result.returncode, result.stdout.strip()) == (0, str(files.verify())), result.stderr
    assert verify(files, notes.verifier_key(NAME, OTHER_KEY.public_key())).returncode != 0
    (size, text), *_ = files.rows("SELECT size, note FROM checkpoint ORDER BY size DESC")
    lines = text.partition("\n\n")[2].splitlines(keepends=True)
    assert len(lines) == 2
    for kept in lines:  # each of the two lines alone is not enough
        with files.without_rules() as store:
            body = text.partition("\n\n")[0]
            store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (f"{body}\n\n{kept}", size))
        assert verify(files, first).returncode != 0
        assert files.verify().fault is not None


def test_the_table_of_the_books() -> None:
    for book, stages in SETTLES.items():
        (opener,) = [stage for stage, opened in OPENS.items() if opened == book]
        assert f"| {book} | {opener} | {', '.join(stages)} |" in README


def test_the_table_of_the_offices() -> None:
    rows = [line.strip("|").split("|") for line in README.splitlines() if re.match(r"\| [A-Z_]+ \| [a-z]", line)]
    cells = [[cell.strip() for cell in row] for row in rows]
    written = {stage: actors for row in cells for stage, actors in (row[:2], row[2:]) if stage}
    assert written == {stage: ", ".join(actors) for stage, actors in OFFICES.items()}
