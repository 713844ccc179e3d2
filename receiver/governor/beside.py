"""What an entry is folded with beside its body: the alerts of an EVALUATED, and what an OPENED brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.entry import Entry
from ledger.journal import Broken
from receiver.incident import carried
from receiver.incident.assigned import Assigned, read_assigned

NAMES = ("alerts", carried.BLOB)  # of the blobs that a page brings along for the two functions here


def assigned_by(blobs: Mapping[str, bytes], entry: Entry) -> Sequence[Assigned]:
    """The rows of an EVALUATED."""
    digest = next((blob.digest for blob in entry.blobs if blob.name == "alerts"), "")
    return read_assigned(blobs.get(digest) or b"[]")


def brought_by(blobs: Mapping[str, bytes], entry: Entry) -> carried.State | None:
    """What an OPENED brings of the sealed log. Raises Broken where that is missing or does not read."""
    digest = carried.blob_of(entry)
    if digest is None:
        return None
    try:
        return carried.state_from(digest, blobs.get(digest))
    except (ValueError, KeyError) as error:
        why = f"what entry {entry.index} carries forward from the sealed log cannot be read: {error}"
        raise Broken(f"{entry.tenant_id}: {why}") from error
