"""What an entry is folded with beside its body: the alerts of an EVALUATED, and what an OPENED brings."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.entry import Entry
from ledger.journal import Broken, Journal
from receiver.incident import carried
from receiver.incident.assigned import Assigned, read_assigned


async def assigned_by(journal: Journal, entry: Entry) -> Sequence[Assigned]:
    """The rows of an EVALUATED."""
    digest = next((blob.digest for blob in entry.blobs if blob.name == "alerts"), None)
    raw = await journal.blob(entry.tenant_id, digest) if digest else None
    return read_assigned(raw or b"[]")


async def brought_by(journal: Journal, entry: Entry) -> carried.State | None:
    """What an OPENED brings of the sealed log. Raises Broken where that is missing or does not read."""
    digest = carried.blob_of(entry)
    if digest is None:
        return None
    try:
        return carried.state_from(digest, await journal.blob(entry.tenant_id, digest))
    except (ValueError, KeyError) as error:
        why = f"what entry {entry.index} carries forward from the sealed log cannot be read: {error}"
        raise Broken(f"{entry.tenant_id}: {why}") from error
