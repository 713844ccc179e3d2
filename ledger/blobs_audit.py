"""The blobs that the entries of one log name, under verification: each is there, and is what its digest says."""

from __future__ import annotations

import hashlib
import re
import sqlite3

import orjson

# How the bytes of an entry that names none begin: keys are sorted, so its blobs follow its actor. Bytes that are not in
# their canonical form are a fault by themselves.
_NONE = re.compile(rb'\{"actor":"(?:[^"\\]|\\.)*","blobs":\[\]')
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)
_LENGTH_MAX = 2**63 - 1


class BlobsAudit:
    """The blobs of `tenant` in `store`, as its entries name them, one after the other.

    Those that are whole are known from one walk through the table: to seek one in a large file takes about as long as
    all that is done with an entry. It keeps some 115 bytes of each.
    """

    def __init__(self, store: sqlite3.Connection, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        rows = store.execute("SELECT CAST(digest AS BLOB), data FROM blob WHERE tenant = ?", (tenant,))
        found = ((name, hashlib.sha256(data), len(data)) for name, data in rows)
        self._whole = {_key(made.digest(), length) for name, made, length in found if made.hexdigest().encode() == name}

    def fault(self, raw: bytes) -> str | None:
        """What is wrong with the blobs that an entry names, or None.

        raw: its bytes. Where they are no entry, or name what is no blob, that is a fault for whoever looks at entries.
        """
        if _NONE.match(raw):
            return None
        try:
            blobs = orjson.loads(raw)["blobs"]
            named = [(blob["name"], blob["digest"], blob["length"]) for blob in blobs]
        except (ValueError, KeyError, TypeError):
            return None
        for name, digest, length in named:
            if not (type(name) is type(digest) is str and type(length) is int):
                return None
            fits = _DIGEST.fullmatch(digest) is not None and 0 <= length <= _LENGTH_MAX
            if not fits or _key(bytes.fromhex(digest), length) not in self._whole:
                sql = "SELECT 1 FROM blob WHERE tenant = ? AND digest = ?"
                gone = self._store.execute(sql, (self._tenant, digest)).fetchone() is None
                return f"its blob {name} {'is missing' if gone else 'was changed'}"
        return None


def _key(digest: bytes, length: int) -> bytes:
    return digest + length.to_bytes(8, "big")
