"""One tenant's log under verification: a walk through it, entry by entry, that keeps little of what it has seen."""

from __future__ import annotations

import hashlib
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.blobs_audit import BlobsAudit
from ledger.entries_audit import EntriesAudit, Found, LogFault, text_of
from ledger.entry import Entry
from ledger.keys import KeyFault, Keyring
from ledger.merkle import Frontier, leaf_hash
from ledger.signatures_audit import Verifier, blocks_of, newest_of
from ledger.stores.opening import keys_of

Anchored = str | notes.BadCheckpoint | OSError  # what an anchor says, or why it cannot be read
TOLD_EVERY = 1_000  # entries
_DECLINED = b'"stage":"DECLINED"'


class LogAudit:
    """The log of `tenant` in `store`. What does not hold is the LogFault that `walk` raises, or else one of `later`.

    reached: how many entries were taken before.
    """

    def __init__(
        self,
        store: sqlite3.Connection,
        tenant: str,
        origin: str,
        public: Ed25519PublicKey,
        *,
        newest: bool,
        anchor: Anchored | None,
        entries: EntriesAudit | None,
        signatures: Verifier,
        tell: Callable[[int], None],
    ) -> None:
        """entries: shown every entry on the way; None where somebody else looks at them.

        signatures: what is wrong with a block of checkpoints, each of which is asked for in order.
        """
        self._store = store
        self._tenant = tenant
        self._origin = origin
        self._public = public
        self._newest = newest
        self._anchored = anchor
        self._tell = tell
        self._keys = Keyring.trusting(notes.log_origin(origin, tenant), public)
        self._audit = entries
        self._signatures = signatures
        self._seen = hashlib.sha256()
        self._leaves: list[bytes] = []  # hashed, and not in the frontier yet
        self._frontier = Frontier()
        self.reached = 0
        self._blob: Found | None = None
        self._unlike: Found | None = None  # checkpoints are others than an entry says

    @property
    def later(self) -> Found | None:
        """What is wrong where nothing else is: the first blob, or else checkpoints that are others than is said."""
        return self._blob or self._unlike

    def head(self) -> Frontier:
        """The tree over the entries that were walked through."""
        self._root()
        return self._frontier

    def seen(self) -> str:
        """The SHA-256 over the leaf hashes of the entries that were walked through, in hex."""
        self._root()
        return self._seen.hexdigest()

    def walk(self) -> None:
        """Every entry, root and checkpoint; then the anchor. Raises LogFault."""
        self._keys = self._keyring()
        anchored = self._anchor()
        root_at_anchor = self._entries(anchored.size if isinstance(anchored, notes.Checkpoint) else None)
        self._compare(anchored, root_at_anchor)

    def _entries(self, anchored: int | None) -> bytes | None:
        """Hash the entries in order and compare the root at every size that was signed; the root at the anchor's."""
        found = self._root() if anchored == 0 else None
        signed = self._signed()
        size, root = next(signed, (None, ""))
        blobs = BlobsAudit(self._store, self._tenant)
        sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? ORDER BY n"  # whatever the bytes are
        for n, given in self._store.execute(sql, (self._tenant,)):
            if n != self.reached:
                raise LogFault("gap", self.reached, f"it is missing: {n} follows {self.reached - 1}")
            raw = text_of(n, given)
            if self._audit is not None:
                self._audit.take(n, raw)
            if self._blob is None and (wrong := blobs.fault(raw)) is not None:
                self._blob = "blob", n, wrong
            self._leaves.append(leaf_hash(raw))
            self.reached = stand = n + 1
            if stand == anchored:
                found = self._root()
            if stand == size:
                if b64encode(self._root()).decode() != root:
                    raise LogFault(
                        "root", n, "the root differs from the signed one: this entry or one before it was changed"
                    )
                if _is_declined(raw):
                    raise LogFault("declined", n, "it was signed without the REJECTED of its proposal")
                size, root = next(signed, (None, ""))
            if not stand % TOLD_EVERY:
                self._tell(stand)
        self._end(size, signed)
        return found

    def _end(self, size: int | None, signed: Iterator[tuple[int, str]]) -> None:
        """Nothing was signed that is not there, and nothing is there that was not signed."""
        stand = self.reached
        if size is not None:
            newest = max((further for further, _ in signed), default=size)
            detail = f"it is missing: {newest} entries were signed and {stand} stand: the end was cut off"
            raise LogFault("gap", stand, detail)
        sql = "SELECT size FROM checkpoint WHERE tenant = ? AND size < 1 LIMIT 1"
        if self._store.execute(sql, (self._tenant,)).fetchone() is not None:
            raise LogFault("checkpoint", None, "there is a checkpoint over no entry")
        row = self._store.execute("SELECT max(size) FROM checkpoint WHERE tenant = ?", (self._tenant,)).fetchone()
        covered = row[0] or 0
        if covered != stand:
            raise LogFault("checkpoint", covered, f"it and what follows is under no checkpoint ({stand} stand)")

    def _root(self) -> bytes:
        self._seen.update(b"".join(self._leaves))
        self._frontier = self._frontier.extended(self._leaves)
        self._leaves = []
        return self._frontier.root

    def _signed(self) -> Iterator[tuple[int, str]]:
        """Size and root, in base64, of each checkpoint. Raises LogFault where the next one does not hold."""
        for block in blocks_of(self._store, self._tenant, newest_of(self._store, self._tenant)):
            bad = self._signatures(block, self._keys)
            if block.attested is not None and not block.known:
                detail = f"other checkpoints were signed up to {block.attested.through} than stand there"
                self._unlike = self._unlike or ("checkpoint", block.attested.index, detail)
            for size, note in block.signed:
                if bad is not None and size >= bad[0]:
                    break
                yield size, note.split("\n", 3)[2]
            if bad is not None:
                raise LogFault(bad[1], bad[0] - 1, bad[2])

    def _keyring(self) -> Keyring:
        """The keys that the log names. What names them is itself under the signatures that are checked with them."""
        try:
            keys = keys_of(self._store, self._origin, self._tenant)
        except KeyFault as error:
            if self._store.execute("SELECT 1 FROM entry WHERE tenant = ?", (self._tenant,)).fetchone() is None:
                return self._keys  # an anchor alone, or checkpoints alone
            raise LogFault("key", error.index, str(error)) from error
        if not keys.holds(self._public):
            detail = f"the key that verifies is none of its keys, of which the newest is {keys.newest.vkey}"
            raise LogFault("key", None, detail)
        if self._newest and keys.newest.public != self._public:
            detail = f"the key that verifies was retired: {keys.newest.vkey} is in force"
            raise LogFault("key", keys.newest.first, detail)
        return keys

    def _anchor(self) -> notes.Checkpoint | LogFault | None:
        """What the anchor says, or why it cannot be believed; None where there is none."""
        if self._anchored is None:
            return None
        if not isinstance(self._anchored, str):
            return LogFault("anchor", None, f"the anchor: {self._anchored}")
        try:
            return self._keys.verify(self._anchored)
        except notes.BadCheckpoint as error:
            return LogFault("anchor", None, f"the anchor: {error}")

    def _compare(self, anchored: notes.Checkpoint | LogFault | None, root: bytes | None) -> None:
        if isinstance(anchored, LogFault):
            raise anchored
        stand = self.reached
        if anchored is not None and anchored.size > stand:
            detail = f"it is missing: the anchor says {anchored.size} entries and {stand} stand: an older copy"
            raise LogFault("anchor", stand, detail)
        if anchored is not None and root != anchored.root:
            detail = f"the root at {anchored.size} differs from the anchor's: another history"
            raise LogFault("anchor", anchored.size - 1, detail)


def _is_declined(raw: bytes) -> bool:
    """Whether it is a DECLINED; bytes that are no entry are another fault."""
    try:
        return _DECLINED in raw and Entry.parse(raw).stage == "DECLINED"
    except ValueError:
        return False
