"""The entries as CSV for a spreadsheet: RFC 4180, UTF-8 with the mark by which a spreadsheet knows it. Pure."""

from __future__ import annotations

from ledger.accounts import OPENS
from ledger.entry import Entry, format_time
from ledger.exporting.text import cell

COLUMNS = (
    *("index", "timestamp", "stage", "actor", "incident_id", "decision", "reason", "confidence", "opens", "settles"),
    *("cites", "policy_version", "policy_digest", "id", "blobs", "leaf_hash"),
)
HEAD = b"\xef\xbb\xbf" + ",".join(f'"{name}"' for name in COLUMNS).encode() + b"\r\n"


def row(entry: Entry, leaf: bytes) -> bytes:
    """One entry, without its body, which stands in entries.jsonl. leaf: its hash."""
    cells = (
        str(entry.index),
        cell(format_time(entry.timestamp)),
        cell(entry.stage),
        cell(entry.actor),
        cell(entry.incident_id or ""),
        cell(entry.decision or ""),
        cell(entry.reason),
        cell(entry.confidence or ""),
        cell(OPENS.get(entry.stage, "")),
        "" if entry.settles is None else str(entry.settles),
        cell(" ".join(map(str, entry.cites))),
        cell(entry.policy_version or ""),
        cell(entry.policy_digest or ""),
        cell(entry.id),
        cell(" ".join(blob.name for blob in entry.blobs)),
        cell(leaf.hex()),
    )
    return ",".join(cells).encode() + b"\r\n"
