"""What a log carries forward from the sealed one that it goes on from. Pure.

Accountants close the accounts and open the next ones with their balances. The entry that seals a log, and the OPENED of
the one that goes on, say `carries`: by book, the indices in the former log of what stood outstanding and lives long.
Behind OPENED, in the same post, each of these stands again, with what it rests on, and says `carried`: the index and
leaf hash of the former entry, and when it was first posted. What is in flight cannot be carried, for it rests on
answers, codes and requests that the new log does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ledger.accounts import OPENS
from ledger.entry import Blob, Draft, Entry, format_time, parse_time
from ledger.merkle import leaf_hash

BOOKS = ("watches", "incidents", "halts")  # what may be carried
STAGES = ("ADOPTED", "NOTED", "WATCHED", "DETECTED", "HALTED")  # what may say `carried`
CARRIED_MAX = 5_000  # obligations of one log: their indices stand in two entries, which hold 65,535 bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What the next log begins with. carries: by book, indices of the former log. drafts: what follows OPENED.

    blobs: of OPENED, what the fold needs beside the entries. waits: what is in flight although no book has it, in
    words; while there is any, the log is not sealed.
    """

    carries: Mapping[str, Sequence[int]] = field(default_factory=dict)
    drafts: tuple[Draft, ...] = ()
    blobs: tuple[Blob, ...] = ()
    waits: tuple[str, ...] = ()

    def said(self) -> dict[str, Any]:
        """What the body of the seal, and of OPENED, says of it."""
        return {"carries": {book: list(found) for book, found in self.carries.items()}} if self.carries else {}


NOTHING = Opening()


def is_carried(entry: Entry) -> bool:
    """Whether the entry says that it stands for one of the former log."""
    return isinstance(entry.body, Mapping) and "carried" in entry.body


def began(entry: Entry) -> datetime:
    """When it was first posted: its own time, or that of the entry that it stands for."""
    said = entry.body.get("carried")
    at = said.get("at") if isinstance(said, Mapping) else None
    try:
        return parse_time(at) if isinstance(at, str) else entry.timestamp
    except ValueError:  # a finding says so
        return entry.timestamp


def again(entry: Entry, blobs: tuple[Blob, ...] = (), **changed: Any) -> Draft:
    """The draft that stands in the next log for `entry`. blobs: of the former, as far as they are wanted."""
    mark = {"index": entry.index, "leaf": leaf_hash(entry.raw).hex(), "at": format_time(began(entry))}
    body = changed.pop("body", entry.body)
    return Draft(
        id=f"carried:{entry.index}",
        stage=entry.stage,
        actor=entry.actor,
        incident_id=entry.incident_id,
        decision=entry.decision,
        reason=entry.reason,
        confidence=entry.confidence,
        policy_version=entry.policy_version,
        policy_digest=entry.policy_digest,
        body={**body, "carried": mark},
        blobs=blobs,
        **changed,
    )


def first_post(entries: Iterable[Entry]) -> list[Entry]:
    """OPENED, and what is carried behind it."""
    found: list[Entry] = []
    for entry in entries:
        if found and not is_carried(entry):
            break
        found.append(entry)
    return found


def differences(standing: Mapping[int, tuple[str, Entry]], opened: Sequence[Entry]) -> Iterator[str]:
    """What a log carries otherwise than it stood outstanding in the former one. opened: its first post.

    standing: of the former log, by index, everything that nothing had settled, with its book.
    """
    settled = {entry.settles for entry in opened}
    here = {former_index(entry): entry for entry in opened[1:] if entry.stage in OPENS and entry.index not in settled}
    for index, (book, former) in sorted(standing.items()):
        if index not in here:
            yield f"entry {index} of the former log, {former.stage} by {former.actor}, was not carried forward ({book})"
    for said, entry in here.items():
        if said is None or said not in standing:
            yield f"entry {entry.index} carries forward {said}, which did not stand outstanding in the former log"
            continue
        wanted, found = again(standing[said][1]).document(0), entry.document()
        other = next((name for name in wanted if name not in _PLACED and wanted[name] != found.get(name)), None)
        if other is not None:
            yield f"entry {entry.index} is not what entry {said} of the former log says: another {other}"


_PLACED = ("settles", "cites")  # which are numbers of the log in which an entry stands


def former_index(entry: Entry) -> int | None:
    """Which entry of the former log it stands for; None where it stands for none."""
    said = entry.body.get("carried")
    index = said.get("index") if isinstance(said, Mapping) else None
    return index if type(index) is int and index >= 0 else None
