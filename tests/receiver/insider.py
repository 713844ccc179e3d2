"""Whoever holds the ledger's key and its file: writes any entries past the service, and signs them as it would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.attested import KIND
from ledger.entry import canonical
from ledger.merkle import leaf_hash, tree_root
from ledger.stores import schema
from tests.ledger.house import House
from tests.simulation.audited import Copy

TENANT = "default"  # of the configuration that `init` writes

Documents = list[dict[str, Any]]
Change = Callable[[Documents], None]


def house(folder: Path, copy: Copy, change: Change = lambda documents: None) -> House:
    """A folder that `init` wrote, with a ledger in it that has the entries and blobs of `copy`, changed and signed."""
    found = House(folder)
    key = notes.load_key_file(found.ledger.key_file)
    name = notes.log_origin(found.ledger.origin, TENANT)
    documents: Documents = [json.loads(entry.raw) for entry in copy.log]
    for document in documents:
        document |= {"ledger": found.ledger.origin, "tenant_id": TENANT}
        if document["body"].get("kind") == KIND:  # it speaks of many checkpoints, and here is one over all
            document["body"] = {"kind": "note"}
    documents[0]["body"] |= {"origin": name, "key": notes.verifier_key(name, key.public_key())}
    change(documents)
    write(found, key, documents, copy.blobs)
    return found


def write(found: House, key: Ed25519PrivateKey, documents: Documents, blobs: Mapping[str, bytes]) -> None:
    """The file, and the anchor beside it, as if the service had written them."""
    tenant = documents[0]["tenant_id"]
    raws = [canonical(document) for document in documents]
    name = notes.log_origin(found.ledger.origin, tenant)
    note = notes.sign(notes.Checkpoint(name, len(raws), tree_root([leaf_hash(raw) for raw in raws])), name, key)
    found.ledger.path.touch()
    with closing(schema.connect(found.ledger.path, read_only=False)) as store:
        store.executescript(schema.script(found.ledger.origin))
        triggers = store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for trigger, _ in triggers:
            store.execute(f"DROP TRIGGER {trigger}")
        rows = [(tenant, place, raw.decode()) for place, raw in enumerate(raws)]
        store.executemany("INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", rows)
        store.executemany("INSERT INTO blob VALUES (?, ?, ?)", [(tenant, d, data) for d, data in blobs.items()])
        store.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (tenant, len(raws), note))
        for _, sql in triggers:
            store.execute(sql)
    notes.anchor_of(found.ledger.anchor_file, tenant).write(note)


def on(stage: str, nth: int = 0, /, **fields: Any) -> Change:
    """That entry has other fields."""

    def change(documents: Documents) -> None:
        [document for document in documents if document["stage"] == stage][nth].update(fields)

    return change
