"""What a desk keeps beside the ledger is kept for as long as it is about something open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.entry import Entry

if TYPE_CHECKING:
    from receiver.governor.desk import Desk

ENDS = frozenset({"DETECTED", "CLEARED", "RECOVERED", "CLOSED"})  # what settles a watch or an incident
RESULTS = frozenset({"EXECUTED", "FAILED", "UNRESOLVED"})  # and a run


def forget(desk: Desk, entry: Entry) -> None:
    """Drop what was known of the watch, the incident or the run that `entry`, which is folded now, has settled."""
    if entry.settles is None:
        return
    if entry.stage in ENDS:
        desk.looked.pop(entry.settles, None)
        desk.memories.pop(entry.settles, None)
        desk.holds.pop(entry.settles, None)
        desk.decided.pop(entry.settles, None)
        desk.nudged.discard(entry.settles)
    elif entry.stage in RESULTS:
        desk.attempts.pop(entry.settles, None)
        desk.accepted.discard(entry.settles)
