"""Random single changes of an export: both of our verifiers find every one, and name the first damaged entry.

COUNTERFOIL_TAMPERING=full draws 10,000 of them instead of a few hundred.
"""

from __future__ import annotations

import os

import pytest

from tests.ledger.changes import UNKNOWN, Change, Changes, put, undo
from tests.ledger.exports import Exported, exported
from tests.ledger.verifiers import VERIFIERS

FULL = os.environ.get("COUNTERFOIL_TAMPERING") == "full"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two tiles, of which one is full, so a level above them stands; and two keys, of which the older is trusted."""
    return exported(tmp_path_factory.mktemp("export"), stories=8, rotated=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Another history of the same log, signed with the same key."""
    return exported(tmp_path_factory.mktemp("other"), stories=8, rotated=True)


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_change_is_found_where_it_is(
    export: Exported, other: Exported, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verify, changes = VERIFIERS[name], Changes(export, other, seed=20261123)
    files = export.bytes()
    assert verify(export.folder)[0].startswith("OK")
    missed: list[Change] = []
    elsewhere: list[tuple[str, int | None, str]] = []
    count, known = 10_000 if FULL else 100, 0
    for _ in range(count):
        change = changes.draw()
        put(export.folder, change)
        said, index = verify(export.folder)
        undo(export.folder, change, files)
        if said.startswith("OK"):
            missed.append(change)
        if change.index != UNKNOWN:
            known += 1
            if index != change.index:
                elsewhere.append((change.what, change.index, said))
    with capsys.disabled():
        print(
            f"\nexport, {name}: {count} changes, {len(missed)} misses; "
            f"{known} of a known entry, {len(elsewhere)} named elsewhere"
        )
    assert missed == []
    assert elsewhere == []
    assert export.bytes() == files
    assert verify(export.folder)[0].startswith("OK")
