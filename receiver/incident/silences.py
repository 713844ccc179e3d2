"""What people asked Alertmanager to be silent about: what is still to be asked, and until when each incident is silent.

Pure. Alertmanager keeps the silences themselves; what the ledger holds is who asked, for what, and what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ledger.entry import Entry, parse_time

ASKED, DONE = "silence", "silenced"  # the kinds of the NOTED entries
KINDS = (ASKED, DONE)


@dataclass(frozen=True, slots=True)
class Request:
    """A person asked for silence. content: the digest of the blob with the matchers."""

    index: int
    incident_id: str
    person: str
    until: datetime
    content: str


@dataclass(slots=True)
class Silences:
    """pending: by NOTED, what Alertmanager was not asked yet, or has not answered. until: by incident, what it took."""

    pending: dict[int, Request] = field(default_factory=dict)
    until: dict[str, datetime] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Fold a NOTED of one of KINDS."""
        incident, body = entry.incident_id or "", entry.body
        if body["kind"] == ASKED:
            content = next((blob.digest for blob in entry.blobs if blob.name == "matchers"), "")
            until = parse_time(body["until"])
            self.pending[entry.index] = Request(entry.index, incident, body["person"], until, content)
        elif (asked := self.pending.pop(entry.cites[0], None)) is not None and body["ids"]:
            self.until[incident] = max(asked.until, self.until.get(incident, asked.until))

    def silent(self, incident_id: str, now: datetime) -> bool:
        return incident_id in self.until and self.until[incident_id] > now
