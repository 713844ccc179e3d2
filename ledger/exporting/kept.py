"""A log as it stands in an exported folder, under a key that did not come with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger import proofs
from ledger.entry import MAX_ENTRY_BYTES, Entry
from ledger.exporting.place import Compared, Fault, open_file
from ledger.exporting.source import NoExport, readme
from ledger.exporting.whole import CHECKPOINT, ENTRIES, KEYS, README, voucher_path

MAX_FILE_BYTES = 65_536  # of a checkpoint, the keys, and the text about the folder
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
# The SHA-256 of each text that README.txt has had in an earlier version.
_EARLIER = frozenset({"cf27d9dc4a594d6a5f704b7a54962de6a2edd2e995c45f9f7c4105181353d74e"})


class Kept:
    """The log of a folder. Making one checks the signatures that can be checked before the entries are read.

    vkey: the key that is trusted. Raises Fault, and NoExport where there is no folder or no key.
    """

    def __init__(self, folder: Path, vkey: str) -> None:
        try:
            name, _ = notes.parse_verifier_key(vkey)
        except notes.BadKey as error:
            raise NoExport(str(error)) from error
        if not folder.is_dir():
            raise NoExport(f"{folder}: no such folder")
        self._folder = folder
        self.note = self._text(CHECKPOINT)
        self.keys = tuple(self._text(KEYS).removesuffix("\n").split("\n"))
        self._publics = publics = _publics(self.keys, name)
        self._rotations: tuple[str, ...] | None = None
        if vkey.strip() not in self.keys:
            raise Fault(None, f"{KEYS}: the key that you trust is none of them")
        self.head = _opened(CHECKPOINT, self.note, name, publics)
        found = [path.name for path in (folder / voucher_path(0)).parent.glob("*") if _SIZE.fullmatch(path.name)]
        self.vouchers: Mapping[int, str] = {
            int(size): self._text(voucher_path(int(size))) for size in sorted(found, key=int)
        }
        for size, note in self.vouchers.items():
            if _opened(voucher_path(size), note, name, publics).size != size:
                raise Fault(None, f"{voucher_path(size)} is over another number of entries")
        self.readme = read_file(folder, README, MAX_FILE_BYTES) or readme()
        if self.readme != readme() and hashlib.sha256(self.readme).hexdigest() not in _EARLIER:
            raise Fault(None, f"{README} is not what we write")

    def entries(self) -> Iterator[bytes]:
        file = open_file(self._folder, ENTRIES)
        if file is None:
            raise Fault(None, f"{ENTRIES} is missing")
        with file:
            count = 0
            while line := file.readline(MAX_ENTRY_BYTES + 2):
                if not line.endswith(b"\n"):
                    raise Fault(count, f"{ENTRIES} is cut off there, or has a line that is too long")
                yield line[:-1]
                count += 1

    def blob(self, digest: str) -> bytes | None:
        return read_file(self._folder, f"blobs/{digest}") if _DIGEST.fullmatch(digest) else None

    def policy(self, place: Compared, digest: str, index: int) -> None:
        """The text of the policy by which the entry `index` was decided is what its digest says. Raises Fault."""
        if not _DIGEST.fullmatch(digest):
            raise Fault(index, "its policy has no digest")
        path = f"policies/{digest}.yml"
        if hashlib.sha256(self.file(place, path, index)).hexdigest() != digest:
            raise Fault(index, f"{path} is not what its digest says")

    def rotations(self, texts: tuple[str, ...]) -> None:
        """The keys are those that these proofs name, one of each REKEYED, as in every proof of the folder.

        Raises ValueError where a proof has another form than ours, and Fault where the keys are others.
        """
        if texts == self._rotations:
            return
        if self._rotations is not None:
            raise ValueError("it has other proofs of new keys than the one before it")
        named, name = [self.keys[0]], self.head.origin
        for text in texts:
            step = proofs.parse(text)
            body = Entry.parse(step.raw).body
            if step.text() != text or body.get("retires") != named[-1]:
                raise ValueError("it has a proof of a new key in another form, or out of order")
            _opened("a proof of a new key", step.note, name, self._publics)
            named.append(str(body.get("key")))
        if tuple(named) != self.keys:
            raise Fault(None, f"{KEYS} has other keys than the proofs name")
        self._rotations = texts

    def file(self, place: Compared, path: str, index: int) -> bytes:
        """A file that `place` cannot make by itself. Raises Fault where there is none."""
        place.know(path)
        data = read_file(self._folder, path)
        if data is None:
            raise Fault(index, f"{path} is missing")
        return data

    def _text(self, path: str) -> str:
        data = read_file(self._folder, path, MAX_FILE_BYTES)
        if data is None:
            raise Fault(None, f"{path} is missing: this is no export, or one of a form that cannot be verified")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Fault(None, f"{path}: {error}") from error


def read_file(folder: Path, path: str, limit: int = -1) -> bytes | None:
    """The first bytes of a file, or all of them; None where there is none."""
    file = open_file(folder, path)
    if file is None:
        return None
    with file:
        return file.read(limit)


def _publics(keys: tuple[str, ...], name: str) -> dict[bytes, Ed25519PublicKey]:
    """The keys by the ids that stand before their signatures, the oldest first. Raises Fault."""
    found: dict[bytes, Ed25519PublicKey] = {}
    for key in keys:
        try:
            signer, public = notes.parse_verifier_key(key)
        except notes.BadKey as error:
            raise Fault(None, f"{KEYS}: {error}") from error
        if signer != name or key != notes.verifier_key(name, public):
            raise Fault(None, f"{KEYS}: {key!r} is not as we write one, or of another log")
        found[notes.key_id(name, public)] = public
    return found


def _opened(path: str, note: str, name: str, publics: dict[bytes, Ed25519PublicKey]) -> notes.Checkpoint:
    """The checkpoint of a note, all of whose signatures are by known keys, the newest first. Raises Fault."""
    try:
        ids = notes.signer_ids(note, name)
        if ids != [known for known in reversed(publics) if known in ids] or note.count("\n") != 4 + len(ids):
            raise notes.BadCheckpoint("it has other signatures than those of the log's keys")
        heads = [notes.verify(note, name, publics[known]) for known in ids]
    except notes.BadCheckpoint as error:
        raise Fault(None, f"{path}: {error}") from error
    if not heads or heads[0].origin != name:
        raise Fault(None, f"{path} is not one of {name}")
    return heads[0]
