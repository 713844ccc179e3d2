"""What a log in a file carries forward, and whether the one that goes on from it has just that."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from ledger.carried import Opening, first_post
from ledger.logfile import open_log
from ledger.stores.opening import is_seal
from receiver.incident.carrying import CannotCarry, opening_of


def opening_in(path: Path, tenant: str) -> Opening:
    """What the log that goes on from this one begins with. Raises CannotCarry and NotALedger."""
    with open_log(path, tenant) as log:
        try:
            return opening_of(tenant, takewhile(lambda entry: not is_seal(entry), log.entries()), log.blob)
        except CannotCarry:
            raise
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise CannotCarry(f"{path}: the log of {tenant} cannot be folded: {error!r}") from error


def carried_fault(path: Path, former: Path, tenant: str) -> str | None:
    """What the log at `path` begins with otherwise than the sealed one says, or None. Raises NotALedger.

    Both were verified before, and what stands outstanding was compared: this compares the rest, byte for byte.
    """
    try:
        wanted = opening_in(former, tenant)
    except CannotCarry as error:
        return f"what it carries forward cannot be made again: {error}"
    with open_log(path, tenant) as log:
        opened, *behind = first_post(log.entries())
    if [(b.name, b.digest) for b in opened.blobs] != [(b.name, b.digest) for b in wanted.blobs]:
        return "entry 0 brings another state of incidents, runs and alerts than the former log comes to"
    for entry, draft in zip(behind, wanted.drafts, strict=False):
        if entry.document() != draft.document(0):
            return f"entry {entry.index} is not what the former log carries forward there ({draft.stage} {draft.id})"
    if len(behind) != len(wanted.drafts):
        return f"it carries {len(behind)} entries forward, and the former log {len(wanted.drafts)}"
    return None
