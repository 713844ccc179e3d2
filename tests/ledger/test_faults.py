"""A disk that fails at one call, and a process that is killed at one: what was acknowledged stands, nothing else.

strace injects EIO, ENOSPC or SIGKILL into one instance of a call on the ledger's own files. COUNTERFOIL_FAULTS=full
goes over every instance; otherwise a sample that is spread over them.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.audit import read_entries, verify_store
from ledger.entry import Draft
from tests.ledger.posting import KEY, ORIGIN, TENANT, open_journal
from tests.tools import ROOT

CALLS = ("fsync", "fdatasync", "pwrite64", "write", "ftruncate", "rename")
INJECTIONS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=KILL"}
SAMPLE = 3  # instances of a call and injection, where not all are gone over
FULL = os.environ.get("COUNTERFOIL_FAULTS") == "full"
LONG = 60  # seconds, of one run


@dataclass
class Told:
    """What the workload was told, by id."""

    acked: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)  # the ids of the last post that was begun
    stopped: str = ""

    @classmethod
    def of(cls, output: str) -> Told:
        told = cls()
        sets = {"ACK": told.acked, "UNKNOWN": told.unknown, "REFUSED": told.refused}
        for line in output.splitlines():
            word, *ids = line.split()
            if word == "ASKED":
                told.asked = ids
            elif word == "STOPPED":
                told.stopped = line
            else:
                sets[word].update(ids)
        return told


def traced(strace: Path, folder: Path, *words: str) -> list[str]:
    """The workload under strace, which looks at the ledger's own files and no others."""
    names = ("ledger.db", "ledger.db-wal", "ledger.db-journal", "anchor.default", "anchor.default.new", ".")
    own = [word for name in names for word in ("-P", str((folder / name).resolve()))]
    return [str(strace), "-f", "-qq", *own, *words, sys.executable, "-m", "tests.ledger.posting", str(folder)]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)


def counted(strace: Path, folder: Path) -> Counter[str]:
    """How often one thread makes each call in a run without faults: strace counts for each thread by itself."""
    folder.mkdir()
    log = folder.parent / "calls"
    done = run(traced(strace, folder, "-e", f"trace={','.join(CALLS)}", "-o", str(log)))
    assert done.returncode == 0, done.stderr
    calls: Counter[tuple[str, str]] = Counter(re.findall(r"^(\d+)\s+(\w+)\(", log.read_text(), re.MULTILINE))
    most: Counter[str] = Counter()
    for (_, call), number in calls.items():
        most[call] = max(most[call], number)
    return most


def chosen(number: int) -> Iterator[int]:
    """All instances of a call from 1 to `number`, or a spread sample with the first and the last."""
    step = 1 if FULL else max(1, (number - 1) // (SAMPLE - 1))
    yield from sorted({*range(1, number + 1, step), number} if number else set())


async def goes_on(folder: Path) -> None:
    """The next start: it opens, and takes a post."""
    journal = await open_journal(folder)
    try:
        receipt = await journal.post(
            TENANT, [Draft(id="after", stage="NOTED", actor="system", reason="after", body={})]
        )
        await journal.anchored(TENANT, receipt.entries[0].index)
        assert journal.anchor_error() is None
    finally:
        await journal.close()


def check(folder: Path, told: Told, *, killed: bool) -> None:
    asyncio.run(goes_on(folder))
    standing = {entry.id for entry in read_entries(folder / "ledger.db", TENANT)} - {"open", "after"}
    assert told.acked <= standing, "an acknowledged entry is missing"
    explained = told.acked | told.unknown | (set(told.asked) if killed else set())
    assert standing <= explained, "an entry stands that nobody was told of"
    assert not standing & told.refused
    audits = verify_store(folder / "ledger.db", origin=ORIGIN, public=KEY.public_key(), anchor_path=folder / "anchor")
    assert [audit.fault for audit in audits] == [None]


@pytest.fixture(scope="module")
def strace(tool: Callable[[str], Path]) -> Path:
    return tool("strace")


@pytest.fixture(scope="module")
def instances(strace: Path, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    found = counted(strace, tmp_path_factory.mktemp("faults") / "clean")
    assert found["fdatasync"] > 1, found
    assert found["pwrite64"] > 1, found
    return found


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", INJECTIONS)
def test_a_fault_loses_nothing_that_was_acknowledged(
    call: str, kind: str, strace: Path, instances: Counter[str], tmp_path: Path
) -> None:
    tried = 0
    for when in chosen(instances[call]):
        folder = tmp_path / str(when)
        folder.mkdir()
        done = run(traced(strace, folder, "-e", f"inject={call}:{INJECTIONS[kind]}:when={when}", "-o", "/dev/null"))
        killed = done.returncode not in (0, 3)
        told = Told.of(done.stdout)
        assert killed == (kind == "SIGKILL"), f"{call} {when}: {done.returncode} {done.stderr[-800:]}"
        assert (done.returncode == 3) == bool(told.stopped)
        try:
            check(folder, told, killed=killed)
        except AssertionError as error:
            raise AssertionError(f"{call} number {when}, {kind}: {error}; it said:\n{done.stdout}") from error
        tried += 1
    print(f"\n{kind} at {tried} of {instances[call]} instances of {call}: nothing lost")
    assert tried == len(list(chosen(instances[call])))
