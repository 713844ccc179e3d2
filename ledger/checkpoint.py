"""Checkpoints: C2SP signed notes over the tree, signed with Ed25519, and the anchor that stands in another file."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = b"\x01"  # Ed25519, in C2SP signed-note
SLOT_BYTES = 1024
WITNESSED_DIGITS = 8  # of a root, in hex, in a message to a person
_MAGIC = b"CFA1"
_PUT_BACK = "put it back from where you keep its copy"
_NO_KEY = f"no Ed25519 key as `counterfoil init` writes one: {_PUT_BACK}"


class BadCheckpoint(ValueError):
    """A note that is not a checkpoint, or whose signature does not hold."""


class BadKey(ValueError):
    """A key file that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: origin (one for each tenant), number of entries, root hash."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def log_origin(origin: str, tenant: str) -> str:
    """The origin of one tenant's log, as it stands in the first line of its checkpoints."""
    return f"{origin}/{tenant}"


def key_id(name: str, public: Ed25519PublicKey) -> bytes:
    """The first four bytes of SHA-256(name, newline, algorithm, public key), as C2SP signed-note has it."""
    return hashlib.sha256(name.encode() + b"\n" + ALGORITHM + public.public_bytes_raw()).digest()[:4]


def verifier_key(name: str, public: Ed25519PublicKey) -> str:
    """The vkey text: NAME+HASH+BASE64, what an auditor needs and nothing more."""
    encoded = base64.b64encode(ALGORITHM + public.public_bytes_raw()).decode()
    return f"{name}+{key_id(name, public).hex()}+{encoded}"


def parse_verifier_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Read a vkey. Raises BadKey."""
    name, _, rest = text.strip().partition("+")
    identifier, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
        public = Ed25519PublicKey.from_public_bytes(data[1:])
    except ValueError as error:
        raise BadKey(f"{text!r} is not a verifier key") from error
    if data[:1] != ALGORITHM or key_id(name, public).hex() != identifier:
        raise BadKey(f"{text!r}: the hash does not fit the key")
    return name, public


def sign(checkpoint: Checkpoint, name: str, *keys: Ed25519PrivateKey) -> str:
    """The signed note: the body, an empty line, and one signature line for each key."""
    body = checkpoint.body()
    return f"{body}\n" + "".join(signature_line(body, name, key) for key in keys)


def signature_line(body: str, name: str, key: Ed25519PrivateKey) -> str:
    """The line by which `name` signs a note with this text (C2SP signed-note)."""
    signature = base64.b64encode(_key_id_of(name, key) + key.sign(body.encode())).decode()
    return f"\u2014 {name} {signature}\n"


@lru_cache(maxsize=64)  # the public key of a private one takes as long as a third of a signature
def _key_id_of(name: str, key: Ed25519PrivateKey) -> bytes:
    return key_id(name, key.public_key())


def open_note(note: str, name: str, public: Ed25519PublicKey) -> str:
    """The text of a note that `name` signed, with its last newline (C2SP signed-note). Raises BadCheckpoint.

    Signatures of others are passed over; one by this key that does not hold spoils the note.
    """
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise BadCheckpoint("not a signed note")
    text += "\n"
    own = [blob[4:] for blob in _signatures(lines, name) if blob[:4] == key_id(name, public)]
    if not own:
        raise BadCheckpoint(f"no signature by {name}")
    try:
        for signature in own:
            public.verify(signature, text.encode())
    except (InvalidSignature, ValueError) as error:
        raise BadCheckpoint(f"the signature of {name} does not hold") from error
    return text


def signer_ids(note: str, name: str) -> list[bytes]:
    """The ids of the keys by which `name` says that it signed; nothing is verified. Raises BadCheckpoint."""
    return [blob[:4] for blob in _signatures(note.rpartition("\n\n")[2], name)]


def _signatures(lines: str, name: str) -> list[bytes]:
    """Key id and signature of each line by `name`. Raises BadCheckpoint where one of them is not base64."""
    found = []
    for line in lines.removesuffix("\n").split("\n"):
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if (dash, signer) == ("\u2014", name):
            try:
                found.append(decode64(encoded))
            except ValueError as error:
                raise BadCheckpoint(f"the signature of {name} does not hold") from error
    return found


def verify(note: str, name: str, public: Ed25519PublicKey) -> Checkpoint:
    """The checkpoint of a note that `name` signed. Raises BadCheckpoint."""
    return _parse(open_note(note, name, public))


def unverified(note: str) -> Checkpoint:
    """What a note says, whoever signed it. Raises BadCheckpoint."""
    return _parse(note.rpartition("\n\n")[0] + "\n")


def _parse(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4:
        raise BadCheckpoint("not a signed checkpoint")
    try:
        size, root = int(lines[1]), decode64(lines[2])
    except ValueError as error:
        raise BadCheckpoint("a checkpoint with an odd size or root") from error
    if len(root) != 32 or str(size) != lines[1] or size < 0:
        raise BadCheckpoint("a checkpoint with an odd size or root")
    return Checkpoint(lines[0], size, root)


def decode64(text: str) -> bytes:
    """What stands in base64, written as we write it: the bits of the last digit that count for nothing are zero.

    Others would read another text as the same; here a changed text is a changed text. Raises ValueError.
    """
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{text[:100]!r} is not base64 as it is written")
    return data


def make_key_file(path: Path) -> Ed25519PrivateKey:
    """Write a new signing key, readable by its owner alone. Raises FileExistsError: a key is never overwritten."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key_file(path: Path) -> Ed25519PrivateKey:
    """Read a signing key. Raises BadKey."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}: {_PUT_BACK}") from error
    except (ValueError, TypeError) as error:
        raise BadKey(f"{path}: {_NO_KEY}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path}: {_NO_KEY}")
    return key


class AnchorMoved(OSError):
    """Another process has written the anchor: two of them believe that the ledger is theirs."""


class Anchor:
    """The last checkpoint of one tenant, in a file of two slots that are written in turn.

    A write that a crash tears leaves the other slot whole, so a reader always finds the newest note that was written
    completely. It is written after the commit and before anything is dispatched, and only over what this object read
    or wrote last (compare and swap).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._newest: tuple[int, str] | None = None

    @property
    def note(self) -> str | None:
        """The newest note that this object read or wrote."""
        return self._newest[1] if self._newest is not None else None

    def read(self) -> str | None:
        """The newest whole note, or None where there is no file. Raises BadCheckpoint where no slot is whole."""
        try:
            # Without waiting, and no more than its two slots: in its place may stand a pipe, or a file without an end.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            self._newest = None
            return None
        with os.fdopen(descriptor, "rb") as file:
            self._newest = _newest(file.read(2 * SLOT_BYTES) or b"")
        if self._newest is None:
            raise BadCheckpoint(f"{self.path}: no slot of the anchor is whole")
        return self._newest[1]

    def write(self, note: str) -> None:
        """Put `note` into the slot that does not hold the newest one. Raises OSError, AnchorMoved among them."""
        if self._newest is None:
            self._create(note)
            return
        number = self._newest[0] + 1
        slot = self._slot(number, note)
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            if _newest(os.pread(descriptor, 2 * SLOT_BYTES, 0)) != self._newest:
                raise AnchorMoved(f"{self.path}: another process has written it")
            os.pwrite(descriptor, slot, (number % 2) * SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._newest = (number, note)

    def _create(self, note: str) -> None:
        """The first write makes the file whole or not at all: a torn one would look like a damaged anchor."""
        if self.path.exists():
            raise AnchorMoved(f"{self.path}: another process has made it")
        new = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._slot(0, note).ljust(2 * SLOT_BYTES, b"\0"))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._newest = (0, note)

    def _slot(self, number: int, note: str) -> bytes:
        payload = note.encode()
        head = struct.pack(">QI", number, len(payload))
        slot = _MAGIC + head + struct.pack(">I", zlib.crc32(head + payload)) + payload
        if len(slot) > SLOT_BYTES:
            raise OSError(f"{self.path}: a note of {len(payload)} bytes does not fit an anchor slot")
        return slot.ljust(SLOT_BYTES, b"\0")


def anchor_of(path: Path, tenant: str) -> Anchor:
    """The anchor of one tenant, where `path` is the prefix that the configuration names."""
    return Anchor(path.with_name(f"{path.name}.{tenant}"))


def _newest(data: bytes) -> tuple[int, str] | None:
    """Number and note of the newest slot that is whole, or None."""
    slots = (_unpack(data[:SLOT_BYTES]), _unpack(data[SLOT_BYTES : 2 * SLOT_BYTES]))
    return max((slot for slot in slots if slot is not None), default=None)


def _unpack(slot: bytes) -> tuple[int, str] | None:
    if len(slot) != SLOT_BYTES or slot[:4] != _MAGIC:
        return None
    number, length, checksum = struct.unpack(">QII", slot[4:20])
    payload = slot[20 : 20 + length]
    if len(payload) != length or zlib.crc32(slot[4:16] + payload) != checksum:
        return None
    return number, payload.decode("utf-8", "replace")
