"""What a LOOKED left: what policy remembers of a look after a restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ledger.entry import format_time
from policy_rules.verdict import Memory, memory_from_body


def memory_of(verdict: Mapping[str, Any], at: datetime) -> Memory:
    """The memory that a LOOKED entry left, as of the time at which it was posted."""
    memory = memory_from_body(verdict)
    return Memory(memory.true_since, memory.unknown_since, memory.looked_at or at)


def hold_of(verdict: Mapping[str, Any], memory: Memory) -> list[Mapping[str, Any]]:
    """The first look of a hold that runs, so that after a restart its whole length can still be shown."""
    if memory.true_since is None or memory.looked_at is None:
        return []
    values = {f["name"]: f["value"] if f["value"] is not None else "unknown" for f in verdict["findings"]}
    return [{"at": format_time(memory.looked_at), "values": values}]
