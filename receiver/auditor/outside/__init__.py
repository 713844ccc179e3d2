"""The ledger against what others recorded: the executor's log of what it ran, and the carrier's log of messages."""

from __future__ import annotations

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "receipt": "the executor ran what was dispatched, once and not before, and how it ended is what the ledger says",
    "message": "the carrier's log has every message that the ledger knows, no other of ours, and in the same state",
}


class BadRecord(ValueError):
    """A file of somebody else's cannot be read; one line that says where and why."""
