"""The keys of one log. Each signs from one entry on, and the one before it vouches for it.

Entry 0 names the first key. REKEYED names the next one, which is in force from that entry on: a checkpoint is signed by
the key that is in force at the last entry under it. The first checkpoint over a REKEYED is signed by the old key too,
so whoever trusts any one key of a log can follow the others from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.checkpoint import BadCheckpoint, BadKey, Checkpoint
from ledger.entry import Entry

STAGES = ("OPENED", "REKEYED")  # the entries that name a key


class KeyFault(ValueError):
    """An entry that cannot bring a key into force; the message says why."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class WrongKey(BadCheckpoint):
    """A checkpoint by an unknown key, a retired one, one that is not in force yet, or without its voucher."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key and the entries [first, end) at which it is in force; end is None for the newest."""

    vkey: str
    id: bytes  # as it stands before a signature
    public: Ed25519PublicKey
    first: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Keyring:
    """Every key that a log ever had, the oldest first. `name` is the log's origin, which is in each of them."""

    name: str
    keys: tuple[LogKey, ...]

    @classmethod
    def of(cls, name: str, entries: Iterable[Entry]) -> Keyring:
        """The keys that OPENED and REKEYED entries name, in the order of the log. Raises KeyFault."""
        keys: list[LogKey] = []
        named: set[object] = set()
        for entry in entries:
            if (entry.stage == "OPENED") is not (not keys) or entry.stage not in STAGES:
                raise KeyFault(entry.index, f"{entry.stage} names no key here")
            if (entry.index == 0) is not (not keys) or (keys and entry.index <= keys[-1].first):
                raise KeyFault(entry.index, "it cannot bring a key into force from there: entry 0 names the first")
            if keys and entry.body.get("retires") != keys[-1].vkey:
                raise KeyFault(entry.index, "it retires another key than the one in force")
            vkey = entry.body.get("key")
            try:
                signer, public = notes.parse_verifier_key(vkey if isinstance(vkey, str) else "")
            except BadKey as error:
                raise KeyFault(entry.index, f"it names no key: {error}") from error
            if signer != name or vkey in named:
                raise KeyFault(entry.index, f"{vkey} is of another log, or was in force before")
            named.add(vkey)
            keys[-1:] = [replace(key, end=entry.index) for key in keys[-1:]]
            keys.append(LogKey(str(vkey), notes.key_id(name, public), public, entry.index))
        if not keys:
            raise KeyFault(0, "the log names no key")
        return cls(name, tuple(keys))

    @classmethod
    def trusting(cls, name: str, public: Ed25519PublicKey) -> Keyring:
        """One key for all of a log: what is known of one whose entries are not at hand."""
        return cls(name, (LogKey(notes.verifier_key(name, public), notes.key_id(name, public), public, 0),))

    @property
    def newest(self) -> LogKey:
        return self.keys[-1]

    def at(self, index: int) -> LogKey:
        """The key that is in force at the entry `index`."""
        return next(key for key in reversed(self.keys) if key.first <= max(index, 0))

    def holds(self, public: Ed25519PublicKey) -> bool:
        return any(key.public == public for key in self.keys)

    def verify(self, note: str, *, signature: bool = True) -> Checkpoint:
        """The checkpoint of a note, which the key in force at its last entry signed. Raises BadCheckpoint.

        signature: whether it is verified; else the note need only say that it is by that key.
        """
        said = size_said(note)
        key = self.at(said - 1)
        if key.id not in notes.signer_ids(note, self.name):
            raise WrongKey(self._by_whom(note, said - 1))
        found = notes.verify(note, self.name, key.public) if signature else notes.unverified(note)
        if found.origin != self.name:
            raise BadCheckpoint(f"it is of {found.origin}, and not of {self.name}")
        return found

    def vouch(self, note: str, *, after: int) -> int:
        """Check that `note`, the next checkpoint after one of `after` entries, is also signed by each key that it ends.

        How many these are. Raises BadCheckpoint.
        """
        size, vouchers = size_said(note), 0
        for key in self.keys:
            if key.end is not None and after <= key.end < size:
                try:
                    notes.verify(note, self.name, key.public)
                except BadCheckpoint as error:
                    raise WrongKey(f"the key before entry {key.end} does not vouch for the next: {error}") from error
                vouchers += 1
        return vouchers

    def _by_whom(self, note: str, index: int) -> str:
        """Who signed a note that the key in force did not sign, in words."""
        ids = notes.signer_ids(note, self.name)
        for key in self.keys:
            if key.id in ids:
                when = f"retired by entry {key.end}" if key.first <= index else f"not in force before entry {key.first}"
                return f"signed with the key {key.id.hex()}, {when}"
        return f"signed with an unknown key, {ids[0].hex()}" if ids else f"no signature by {self.name}"


def size_said(note: str) -> int:
    """The number of entries that a note speaks of, before anything is verified. Raises BadCheckpoint."""
    line = f"{note}\n\n".split("\n")[1]
    if not (line.isascii() and line.isdigit() and len(line) <= 16):
        raise BadCheckpoint("not a signed checkpoint")
    return int(line)
