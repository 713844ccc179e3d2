"""What others kept of a log, against the log: an auditor's checkpoints, and the roots that stand on people's phones."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.checkpoint import BadCheckpoint, Checkpoint
from ledger.keys import Keyring
from ledger.logfile import LogFile

SIGNATURE_BYTES = 4 + 64  # the id of the key and an Ed25519 signature
CUT_OFF = "the end was cut off, or this is an older copy"


@dataclass(frozen=True, slots=True)
class Kept:
    """How a log stands against what was kept of it. `fault` is None where it goes on from all of it."""

    checkpoints: int
    newest: int  # the size of the largest one that holds, 0 where none does
    fault: str | None


def split_notes(text: str) -> list[str]:
    """The checkpoints in a file of one or many, in their order. One whose writing was cut off is passed over."""
    lines, found = text.split("\n"), []
    for place in range(3, len(lines)):
        end = place + 1
        while end < len(lines) - 1 and _is_signature(lines[end]):
            end += 1
        if lines[place] == "" and end > place + 1:
            found.append("\n".join([*lines[place - 3 : end], ""]))
    return found if found or text.endswith("\n") else split_notes(f"{text}\n")


def _is_signature(line: str) -> bool:
    dash, _, rest = line.partition(" ")
    try:
        return dash == "\u2014" and len(base64.b64decode(rest.rpartition(" ")[2], validate=True)) == SIGNATURE_BYTES
    except ValueError:
        return False


def origin_of(note: str) -> str:
    """The log that a note says it is of; nothing is verified."""
    return note.partition("\n")[0]


def compare(log: LogFile, keys: Keyring, kept: Iterable[str]) -> Kept:
    """Whether `log` goes on from every checkpoint of `kept`. Raises NotALedger where the log cannot be read.

    A kept checkpoint that the log's own keys did not sign counts as a fault: it is not of this log.
    """
    found: list[Checkpoint] = []
    for note in dict.fromkeys(kept):
        try:
            found.append(keys.verify(note))
        except BadCheckpoint as error:
            return Kept(len(found), 0, f"a checkpoint that was kept is not of this log: {error}")
    roots = log.roots({head.size for head in found if head.size <= log.size})
    newest = 0
    for head in sorted(found, key=lambda head: head.size):
        if head.size > log.size:
            return Kept(len(found), newest, f"{head.size} entries were signed, and {log.size} stand: {CUT_OFF}")
        if roots[head.size] != head.root:
            fork = f"FORK: the first {head.size} entries are not those that were signed: one from {newest} on differs"
            return Kept(len(found), newest, fork)
        newest = head.size
    return Kept(len(found), newest, None)


def witnessed(log: LogFile, index: int, digits: str) -> str | None:
    """Why a message that says `index` and the first digits of the root speaks against the log, or None.

    The root is that of the tree that ends with the entry: the one over entries 0 to `index`.
    """
    if index >= log.size:
        return f"the message tells of entry {index}, and {log.size} stand: {CUT_OFF}"
    root = log.roots({index + 1})[index + 1].hex()[: len(digits)]
    if root != digits.lower():
        return f"the message says {digits.lower()}, and the tree up to entry {index} has {root}: the log was rewritten"
    return None
