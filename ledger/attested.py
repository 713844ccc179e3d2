"""What a log says of its own earlier checkpoints, so that whoever verifies it need not verify each signature. Pure.

A signature takes as long to verify as ten entries to read, and there is one for each commit. So the service posts,
after EVERY commits, the SHA-256 over the checkpoints that it signed in them. That entry is under the newest checkpoint,
as all are: where that one's signature holds and the hash is the right one, these are the checkpoints that the service
signed, to the last bit. Where it is another one, each signature is verified, as of a log that says nothing, so that a
changed checkpoint is named; where all hold, one was taken away or added, and the entry that misses it is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ledger.entry import Draft, Entry

EVERY = 1_000  # checkpoints; a log that is shorter says nothing
CHECKPOINTS_MAX = 4_000  # of which one entry is believed to speak: whoever verifies holds so many at once
KIND = "attested"
FIRST_ID, END_ID = "attest:", "attest;"  # its id is the former and a size: none other stands between these two


@dataclass(frozen=True, slots=True)
class Attested:
    """The checkpoints of the sizes in (after, through]: how many, and the SHA-256 over their notes, in hex.

    index: of the entry that says so.
    """

    after: int
    through: int
    checkpoints: int
    sha256: str
    index: int

    def covers(self, notes: Iterable[str]) -> bool:
        """Whether these are the notes, in order, that the entry speaks of."""
        number, digest = 0, hashlib.sha256()
        for note in notes:
            number += 1
            digest.update(note.encode())
        return (number, digest.hexdigest()) == (self.checkpoints, self.sha256)


@dataclass(slots=True)
class Run:
    """The checkpoints that were signed after the size `after`, as whoever signs them sees them, one after the other."""

    after: int
    through: int = 0
    checkpoints: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, size: int, note: str) -> None:
        self.through, self.checkpoints = size, self.checkpoints + 1
        self._digest.update(note.encode())

    def draft(self) -> Draft:
        """The entry that says so. Its id makes it one, however often it is posted."""
        return Draft(
            id=f"{FIRST_ID}{self.through}",
            stage="NOTED",
            actor="system",
            reason=f"{self.checkpoints} checkpoints were signed over {self.after + 1} to {self.through} entries",
            body={
                "kind": KIND,
                "after": self.after,
                "through": self.through,
                "checkpoints": self.checkpoints,
                "sha256": self._digest.hexdigest(),
            },
        )


def attested_of(entry: Entry) -> Attested | None:
    """What an entry says of checkpoints; None where it says nothing, or what cannot be so."""
    body = entry.body
    if not entry.well_formed or (entry.stage, entry.actor, body.get("kind")) != ("NOTED", "system", KIND):
        return None
    after, through, number, digest = (body.get(name) for name in ("after", "through", "checkpoints", "sha256"))
    if type(after) is not int or type(through) is not int or type(number) is not int or type(digest) is not str:
        return None
    if not (0 <= after < through <= entry.index and 0 < number <= CHECKPOINTS_MAX):
        return None
    return Attested(after, through, number, digest, entry.index)
