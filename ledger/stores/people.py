"""What the ledger holds of a person, under a key of that person's own; without the key it is erased, and proofs hold.

A blob of a message is AES-256-GCM under the data key of the person, so its digest is over what is unreadable without
that key. A number stands as an HMAC under the same key. The data keys are kept in one file beside the database, wrapped
under a key that is derived from a secret of its own. Bytes of a sealed blob: `CFP1`, the id of the data key (8), the
nonce (12), the ciphertext with its tag; the associated data is `CFP1` and the id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.entry import Blob, Draft
from ledger.journal import Broken

STRANGER = "(stranger)"  # the key of those who are in no roster; no person can be called so
PERSONAL = {"ADDRESSED": ("content",), "HEARD": ("text",)}  # stage → its blobs that are a person's
SECRET_BYTES = 32
_MAGIC = b"CFP1"
_ID, _NONCE = 8, 12


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one person in one tenant's log. id: what sealed blobs and ERASED call it; says nothing of the key."""

    tenant: str
    person: str
    id: bytes
    key: bytes


class People:
    """The data keys of one ledger. One process writes the file: whoever holds the tenants' locks."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Read the keys at `path`, which need not be there yet. Raises Broken where the secret does not open them."""
        self._path = path
        self._wrap = HKDF(hashes.SHA256(), 32, salt=None, info=b"counterfoil personal data").derive(secret)
        self._keys: dict[tuple[str, str], DataKey] = {}
        try:
            rows = json.loads(path.read_bytes())["keys"] if path.exists() else []
            self._keys = {(row["tenant"], row["person"]): self._unwrapped(row) for row in rows}
        except InvalidTag as error:
            raise Broken(
                f"{path}: not under this secret: put back the personal_key_file that it was made with"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Broken(f"{path}: not a file of personal keys ({error}); restore the newest copy") from error
        except OSError as error:
            raise Broken(f"{path}: {error.strerror}") from error

    def names(self, tenant: str) -> list[str]:
        """Of whom something can still be read."""
        return sorted(person for where, person in self._keys if where == tenant)

    def find(self, tenant: str, person: str) -> DataKey | None:
        return self._keys.get((tenant, person))

    def ensure(self, tenant: str, persons: Iterable[str]) -> None:
        """Make the keys that are missing. Raises OSError."""
        missing = [person for person in persons if (tenant, person) not in self._keys]
        if missing:
            fresh = {
                (tenant, person): DataKey(tenant, person, secrets.token_bytes(_ID), AESGCM.generate_key(256))
                for person in missing
            }
            self._write(self._keys | fresh)

    def destroy(self, id: bytes) -> bool:
        """Take a key away for good; False where it was gone. Raises OSError: then it still stands."""
        left = {place: key for place, key in self._keys.items() if key.id != id}
        gone = len(left) < len(self._keys)
        if gone:
            self._write(left)
        return gone

    def digest_key(self, tenant: str, person: str | None) -> bytes:
        """For the HMAC of the addresses of a person, None for a stranger. Raises OSError where a key cannot be made."""
        return hmac.digest(self._key(tenant, person).key, b"address", "sha256")

    def sealed(self, tenant: str, draft: Draft) -> Draft:
        """The draft with what is personal in it unreadable. The same draft gives the same bytes. Raises OSError."""
        names = PERSONAL.get(draft.stage, ())
        if not any(blob.name in names for blob in draft.blobs):
            return draft
        person = (draft.body or {}).get("person")
        key = self._key(tenant, str(person) if person is not None else None)
        return replace(
            draft,
            blobs=tuple(Blob(b.name, _seal(key, draft.id, b.data)) if b.name in names else b for b in draft.blobs),
        )

    def opened(self, data: bytes) -> bytes | None:
        """What a sealed blob says, or None where its key is gone."""
        id, nonce, text = key_id(data), data[12 : 12 + _NONCE], data[12 + _NONCE :]
        key = next((key.key for key in self._keys.values() if key.id == id), None)
        if key is None or id is None:
            return None
        try:
            return AESGCM(key).decrypt(nonce, text, _MAGIC + id)
        except InvalidTag:
            return None

    def _key(self, tenant: str, person: str | None) -> DataKey:
        name = STRANGER if person is None else person
        self.ensure(tenant, [name])
        return self._keys[tenant, name]

    def _unwrapped(self, row: dict[str, str]) -> DataKey:
        id, wrapped = bytes.fromhex(row["id"]), base64.b64decode(row["wrapped"], validate=True)
        bound = _bound(row["tenant"], row["person"], id)
        key = AESGCM(self._wrap).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], bound)
        return DataKey(row["tenant"], row["person"], id, key)

    def _wrapped(self, key: DataKey) -> dict[str, str]:
        nonce = secrets.token_bytes(_NONCE)
        wrapped = nonce + AESGCM(self._wrap).encrypt(nonce, key.key, _bound(key.tenant, key.person, key.id))
        encoded = base64.b64encode(wrapped).decode()
        return {"tenant": key.tenant, "person": key.person, "id": key.id.hex(), "wrapped": encoded}

    def _write(self, keys: dict[tuple[str, str], DataKey]) -> None:
        """Another file in the place of the one that there was, whose bytes are overwritten: no key stays in it."""
        rows = [self._wrapped(key) for _, key in sorted(keys.items())]
        new = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"keys": rows}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        former = os.open(self._path, os.O_RDWR) if self._path.exists() else None
        new.replace(self._path)
        self._keys = keys
        if former is not None:
            with os.fdopen(former, "r+b") as file_of_before:
                file_of_before.write(bytes(os.fstat(former).st_size))
                file_of_before.flush()
                os.fsync(former)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def key_id(data: bytes) -> bytes | None:
    """The id of the data key of a sealed blob; None for a blob that is nobody's."""
    return data[4 : 4 + _ID] if data[:4] == _MAGIC and len(data) > 4 + _ID + _NONCE else None


def people_path(ledger: Path) -> Path:
    """Where the data keys of a ledger stand."""
    return ledger.with_name(f"{ledger.name}.people")


def make_secret(path: Path) -> None:
    """Write a new secret, readable by its owner alone. Raises FileExistsError: it is never overwritten."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())


def load_secret(path: Path) -> bytes:
    """Read the secret that `make_secret` wrote. Raises Broken."""
    try:
        secret = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as error:
        raise Broken(f"{path}: not a usable personal key ({error}); `counterfoil init` makes one") from error
    if len(secret) < SECRET_BYTES:
        raise Broken(f"{path}: a personal key has {SECRET_BYTES} bytes; `counterfoil init` makes one")
    return secret


def _seal(key: DataKey, context: str, data: bytes) -> bytes:
    # The nonce is a MAC over what is sealed and where: a post that is repeated is the same post, no nonce serves two.
    said = hashlib.sha256(context.encode()).digest() + data
    nonce = hmac.digest(hmac.digest(key.key, b"nonce", "sha256"), said, "sha256")[:_NONCE]
    return _MAGIC + key.id + nonce + AESGCM(key.key).encrypt(nonce, data, _MAGIC + key.id)


def _bound(tenant: str, person: str, id: bytes) -> bytes:
    return json.dumps([tenant, person, id.hex()]).encode()
