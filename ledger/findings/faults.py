"""What can be wrong with a log beside its entries: its bytes, tree, signatures, keys, anchor, blobs and file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ledger.findings.finding import INTRUSION, RULES, Finding

RESTORE = "restore the newest copy that verifies, and compare the two: `counterfoil ledger verify` says from where"
# What `ledger.audit` verifies: the rule in words, and what to do. ledger/README.md has the same list.
FAULTS: Mapping[str, tuple[str, str]] = {
    "leaf": ("an entry's bytes are canonical, and say where they stand", RESTORE),
    "root": ("the root over the entries is the signed one", RESTORE),
    "checkpoint": ("every entry is under a checkpoint that verifies", RESTORE),
    "key": (
        "every checkpoint is by the key in force at its last entry, and each key is vouched for by the one before",
        INTRUSION,
    ),
    "anchor": (
        "the log goes on from what its anchor says",
        "restore the newest copy; where the anchor is older by right, as after moving disks, move it away",
    ),
    "blob": ("what an entry names by its digest is there, unchanged", "restore it from a backup: its digest names it"),
    "books": ("the books balance, and the database would take every entry again", INTRUSION),
    "file": (
        "the file is whole, and has the rules of this version",
        "restore the newest copy into a file of this version",
    ),
}


class Faulty(Protocol):
    """A fault of an audit (`ledger.audit.Fault`)."""

    @property
    def index(self) -> int | None: ...
    @property
    def message(self) -> str: ...
    @property
    def rule(self) -> str: ...


def of_fault(fault: Faulty) -> Finding | None:
    """The fault as a finding; None where the entries alone show it, so that an Examiner has named it already."""
    if fault.rule in RULES:
        return None
    return Finding(fault.index, fault.rule, fault.message, FAULTS[fault.rule][1])
