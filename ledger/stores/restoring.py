"""A backup in the place of a newer ledger, taken up knowingly: what was lost is named in the log, and the key changes.

The entries after the backup stood under checkpoints of the old key, at numbers that are given a second time now. A new
key from the first of them on keeps the two apart: no signature of one history is good for the other, and no code in a
message about a lost question opens a new one.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from ledger import checkpoint as notes
from ledger.entry import Entry
from ledger.journal import Broken
from ledger.keys import size_said
from ledger.stores import opening, schema
from ledger.stores.rotation import anchors_of


def lost_of(store: opening.Store, anchor_path: Path, tenants: Collection[str]) -> dict[str, str]:
    """The newest checkpoint of each log that is longer by its anchor than it stands; empty where none is.

    The note is as the anchor has it: a key that was made after the backup may have signed it, which the log of the
    backup cannot know. A log that is not in the file at all is not among them. Raises Broken, OSError, sqlite3.Error.
    """
    heads = opening.prepare(store, {})
    found = {}
    for tenant, anchor in anchors_of(store.path, anchor_path, tenants).items():
        try:
            note = anchor.read()
            if tenant in heads and note is not None and size_said(note) > heads[tenant].frontier.size:
                found[tenant] = note
        except notes.BadCheckpoint as error:
            raise Broken(f"the anchor {anchor.path}: {error}") from error
    return found


def level(store: opening.Store, anchor_path: Path, tenants: Collection[str]) -> None:
    """End an acceptance that a crash cut off before it wrote the anchors. Raises Broken, OSError, sqlite3.Error.

    Only an anchor that says exactly what the newest key's entry names as lost is written.
    """
    anchors = anchors_of(store.path, anchor_path, tenants)
    heads = opening.prepare(store, {})
    newest = {entry.tenant_id: entry.body["lost"] for entry in acceptances(store.path)}
    for tenant, anchor in anchors.items():
        note = anchor.read()
        if tenant in heads and note is not None and note == newest.get(tenant):
            anchor.write(heads[tenant].note)


def acceptances(path: Path) -> list[Entry]:
    """The entries of a ledger that name what a restore lost, each log's in order."""
    found = []
    with closing(schema.connect(path)) as store:
        for tenant in list(opening.tenants(store)):
            sql = "SELECT bytes FROM entry WHERE +tenant = ? AND stage = 'REKEYED' ORDER BY n"
            found += [Entry.parse(row[0].encode()) for row in store.execute(sql, (tenant,))]
    return [entry for entry in found if isinstance(entry.body.get("lost"), str)]
