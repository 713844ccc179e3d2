"""A proof that an entry is in a log, as a file that is checked offline with one key: https://c2sp.org/tlog-proof.

What it says in `extra`: the entry's bytes and, where the log's key was changed, a proof of each REKEYED before it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from ledger import checkpoint as notes
from ledger.entry import Entry
from ledger.logfile import LogFile
from ledger.merkle import inclusion_ranges, leaf_hash, verify_inclusion

HEAD = "c2sp.org/tlog-proof@v1"
MAX_STEPS = 63  # of a path: a log has fewer than 2^63 entries


class BadProof(ValueError):
    """A proof that does not hold, or is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry, its audit path from the leaf upwards, and the signed checkpoint whose tree it is in."""

    raw: bytes
    index: int
    path: tuple[bytes, ...]
    note: str
    rotations: tuple[str, ...] = ()  # the text of a proof of each REKEYED, in the order of the log

    def text(self) -> str:
        """The file. Line 2 decodes to the entry's bytes, and below them each rotation's proof in base64."""
        extra = b"\n".join([self.raw, *(base64.b64encode(text.encode()) for text in self.rotations)])
        path = "".join(f"{_base64(step)}\n" for step in self.path)
        return f"{HEAD}\nextra {_base64(extra)}\nindex {self.index}\n{path}\n{self.note}"


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof that holds has shown: this entry stands under this checkpoint."""

    entry: Entry
    checkpoint: notes.Checkpoint


def prove(log: LogFile, origin: str, index: int) -> Proof:
    """The proof of one entry under the newest checkpoint. Raises BadProof, NotALedger."""
    note = log.newest_checkpoint()
    if note is None or not 0 <= index < log.size:
        raise BadProof(f"there is no entry {index} in the log of {log.tenant}, which has {log.size}")
    keys = log.keys(origin)
    rotations = [_under(log, key.first, log.checkpoint_over(key.first) or note) for key in keys.keys[1:]]
    proof = _under(log, index, note)
    try:
        head = keys.verify(note)
    except notes.BadCheckpoint as error:
        raise BadProof(f"the newest checkpoint: {error}") from error
    if not verify_inclusion(leaf_hash(proof.raw), index, head.size, proof.path, head.root):
        raise BadProof("the log is not what was signed: nothing can be proved; `counterfoil ledger verify` says where")
    return Proof(proof.raw, index, proof.path, note, tuple(rotation.text() for rotation in rotations))


def _under(log: LogFile, index: int, note: str) -> Proof:
    size = int(note.split("\n")[1])
    if not index < size <= log.size:
        raise BadProof(f"a checkpoint of {size} entries stands over entry {index} in a log of {log.size}")
    (raw,) = log.raw(index, index + 1)
    return Proof(raw, index, tuple(log.hashes(inclusion_ranges(index, size))), note)


def parse(text: str) -> Proof:
    """Read a proof; nothing is verified. Raises BadProof."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    try:
        if lines[0] != HEAD or not separator:
            raise BadProof(f"a proof begins with {HEAD}")
        extra, index = _word(lines[1], "extra"), _word(lines[2], "index")
        raw, *rotations = _bytes(extra).split(b"\n")
        path = tuple(_bytes(line) for line in lines[3:])
        texts = tuple(_bytes(rotation.decode("ascii")).decode() for rotation in rotations)
    except (IndexError, UnicodeError) as error:
        raise BadProof("not a whole proof") from error
    if not (index.isascii() and index.isdigit() and str(int(index[:20])) == index):
        raise BadProof(f"{index[:40]!r} is no index")
    if len(path) > MAX_STEPS or any(len(step) != 32 for step in path):
        raise BadProof("a step of the path is no hash, or there are too many")
    return Proof(raw, int(index), path, note, texts)


def verify(text: str, vkey: str) -> Proved:
    """Check a proof with the verifier key of entry 0, or any later one of the log. Raises BadProof, BadKey."""
    name, _ = notes.parse_verifier_key(vkey)
    proof, key = parse(text), vkey.strip()
    for rotation in proof.rotations:
        step = parse(rotation)
        entry = _entry(step, name)
        if entry.stage != "REKEYED":
            raise BadProof(f"entry {entry.index} is no REKEYED")
        if entry.body.get("retires") == key:  # else the trusted key is a later one
            _hold(step, name, key)
            key = str(entry.body.get("key"))
    return Proved(_entry(proof, name), _hold(proof, name, key))


def tenant_of(text: str) -> str:
    """Whose log a proof says that it is of; nothing is verified. Raises BadProof."""
    try:
        return Entry.parse(parse(text).raw).tenant_id
    except ValueError as error:
        raise BadProof(str(error)) from error


def _hold(proof: Proof, name: str, vkey: str) -> notes.Checkpoint:
    """The checkpoint of a proof, if the key signed it and the path leads to its root."""
    try:
        signer, public = notes.parse_verifier_key(vkey)
        head = notes.verify(proof.note, name, public)
    except (notes.BadCheckpoint, notes.BadKey) as error:
        raise BadProof(f"the checkpoint: {error}") from error
    if (signer, head.origin) != (name, name):
        raise BadProof(f"the checkpoint is of {head.origin}, and the key of {name}")
    if not verify_inclusion(leaf_hash(proof.raw), proof.index, head.size, proof.path, head.root):
        raise BadProof(f"this is not entry {proof.index} of the {head.size} that were signed")
    return head


def _entry(proof: Proof, name: str) -> Entry:
    try:
        entry = Entry.parse(proof.raw)
    except ValueError as error:
        raise BadProof(str(error)) from error
    if (entry.index, notes.log_origin(entry.ledger, entry.tenant_id)) != (proof.index, name):
        raise BadProof(f"the entry says that it is {entry.index} of {entry.ledger}/{entry.tenant_id}")
    return entry


def _word(line: str, name: str) -> str:
    found, _, value = line.partition(" ")
    if found != name:
        raise BadProof(f"the line {name!r} is missing")
    return value


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadProof(f"{text[:40]!r} is not base64") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
