"""What a log carries forward when it is sealed: the same for whoever folds it, so that anybody can compare. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from ledger.carried import CARRIED_MAX, Opening, again
from ledger.entry import Back, Blob, Draft, Entry
from policy_rules.rulebook import REOPEN_WITHIN_MOST_SECONDS
from receiver.incident.assigned import assigned_of
from receiver.incident.book import Book
from receiver.incident.carried import BLOB, State, Tries, blob_of, state_from, write_state
from receiver.incident.enrolled import CODE_WINDOW, OPTED_IN, OPTED_OUT, PIN_WINDOW, SUSPENDED
from receiver.incident.states import Incident

Blobs = Callable[[str], bytes | None]
_ADOPTED_BLOBS = ("policy", "roster", "executors")  # who is on duty is decided anew, at the first start
_ADOPTED_BODY = ("name", "people", "observe")
_PERSONAL = {SUSPENDED: SUSPENDED, OPTED_OUT: OPTED_OUT, OPTED_IN: OPTED_OUT}


class CannotCarry(ValueError):
    """What stands open cannot be carried forward; the message says why."""


def opening_of(tenant: str, entries: Iterable[Entry], blob: Blobs) -> Opening:
    """What the next log of `tenant` begins with. entries: of the former one, up to the entry that seals it.

    Raises CannotCarry, and what the fold raises on entries that are none of ours: KeyError, ValueError, TypeError.
    """
    former = _Former(tenant, blob)
    for entry in entries:
        former.take(entry)
    return former.opening()


class _Former:
    """The log that ends: its book, and the entries that may have to stand again."""

    def __init__(self, tenant: str, blob: Blobs) -> None:
        self._book = Book(tenant)
        self._blob = blob
        self._kept: dict[int, Entry] = {}  # HALTED and WATCHED, until they are settled; DETECTED
        self._watch_of: dict[int, Entry] = {}  # DETECTED → the WATCHED that it settled
        self._adopted: dict[str | None, Entry] = {}  # by digest, the newest
        self._personal: dict[tuple[str, str], Entry] = {}  # by person and kind, the newest

    def take(self, entry: Entry) -> None:
        settled = self._kept.pop(entry.settles, None) if entry.settles is not None else None
        if settled is not None:
            self._watch_of.pop(settled.index, None)
        if entry.stage in ("HALTED", "WATCHED", "DETECTED"):
            self._kept[entry.index] = entry
        if entry.stage == "DETECTED" and settled is not None:
            self._watch_of[entry.index] = settled
        elif entry.stage == "ADOPTED":
            self._adopted[entry.policy_digest] = entry
        elif entry.stage == "NOTED" and entry.body.get("kind") in _PERSONAL:
            self._personal[entry.body["person"], _PERSONAL[entry.body["kind"]]] = entry
        self._book.take(entry, assigned_of(entry, self._blob), state_of(entry, self._blob))

    def opening(self) -> Opening:
        book = self._book
        incidents = sorted(book.open.values(), key=lambda incident: incident.index)
        carries = {
            "halts": sorted(book.halts),
            "watches": sorted(book.watches),
            "incidents": [incident.index for incident in incidents],
        }
        number = sum(map(len, carries.values()))
        if number > CARRIED_MAX:
            raise CannotCarry(f"{number} halts, watches and incidents stand, and at most {CARRIED_MAX} can be carried")
        drafts = list(self._personal_drafts())
        digests = {watch.policy_digest for watch in book.watches.values()} | {i.policy_digest for i in incidents}
        if number or drafts:
            drafts = [*self._adoptions(digests), *drafts]
        drafts += [again(self._kept[index]) for index in (*carries["halts"], *carries["watches"])]
        for incident in incidents:
            watched = self._watch_of.get(incident.index)
            if watched is None:
                raise CannotCarry(f"{incident.id} was opened by no watch")
            drafts += [again(watched), again(self._kept[incident.index], settles=Back(len(drafts) + 1))]
        return Opening(
            {name: found for name, found in carries.items() if found},
            tuple(drafts),
            self._state(),
            tuple(self._waits()),
        )

    def _state(self) -> tuple[Blob, ...]:
        book, ended = self._book, self._ended()
        subjects = {(w.rule, w.key) for w in book.watches.values()}
        subjects |= {(i.rule, i.key) for i in (*book.open.values(), *ended)}
        alerts = [known for known in book.alerts.values() if subjects & set(known.assignments)]
        tries = self._tries()
        if not (alerts or book.runs or book.open or ended or any(tries.values())):
            return ()
        text = write_state(alerts, book.runs, book.open.values(), book.size, tries=tries, ended=ended)
        return (Blob(BLOB, text),)

    def _ended(self) -> list[Incident]:
        """Closed incidents that a policy may still count what breaks again as a part of, whichever is in force then."""
        if self._book.last_time is None:
            return []
        since = self._book.last_time - timedelta(seconds=REOPEN_WITHIN_MOST_SECONDS)
        late = [(i.closed_at, i.id, i) for i in self._book.last_of.values() if i.closed_at and i.closed_at > since]
        return [incident for _, _, incident in sorted(late, key=lambda row: row[:2])]

    def _tries(self) -> dict[str, Tries]:
        """The wrong PINs and codes that may still lock somebody out."""
        end = self._book.last_time
        found = {
            "wrong_pins": (self._book.wrong_pins, PIN_WINDOW),
            "wrong_codes": (self._book.wrong_codes, CODE_WINDOW),
        }
        return {name: _late(times, end - window) for name, (times, window) in found.items()} if end is not None else {}

    def _personal_drafts(self) -> Iterator[Draft]:
        """Whom an entry suspended stays suspended, and who wants no messages gets none."""
        held = {SUSPENDED: self._book.enrolled.suspended, OPTED_OUT: self._book.enrolled.opted_out}
        for (person, kind), entry in sorted(self._personal.items(), key=lambda item: item[1].index):
            if person in held[kind]:
                yield again(entry)

    def _adoptions(self, digests: set[str]) -> Iterator[Draft]:
        """The policies that decide on what is carried, and the last one in force, each with its text."""
        missing = digests - self._adopted.keys()
        if missing:
            raise CannotCarry(f"the policy {min(missing)[:12]!r}, which decides on what stands open, was not adopted")
        last = self._book.adopted
        wanted: set[str | None] = {*digests, *((last.policy_digest,) if last is not None else ())}
        for entry in sorted((self._adopted[digest] for digest in wanted), key=lambda entry: entry.index):
            body = {name: entry.body[name] for name in _ADOPTED_BODY if name in entry.body}
            yield again(entry, tuple(self._texts(entry)), body=body)

    def _texts(self, entry: Entry) -> Iterator[Blob]:
        for reference in entry.blobs:
            if reference.name in _ADOPTED_BLOBS:
                data = self._blob(reference.digest)
                if data is None:
                    raise CannotCarry(f"the {reference.name} of entry {entry.index} is missing")
                yield Blob(reference.name, data)

    def _waits(self) -> Iterator[str]:
        """What the running service does in moments, and no book has."""
        for news in self._book.news.values():
            if self._book.incidents[news.incident_id].people:
                yield f"entry {news.index}: {news.stage} of {news.incident_id}: people have not been told of it"
        for drill in self._book.drills.open.values():
            yield f"entry {drill.index}: the drill of {drill.person} is not over"
        if self._book.overflow is not None:
            yield f"entry {self._book.overflow.index}: more keys than may be watched at once wait for a watch"
        for asked in self._book.silences.pending.values():
            yield f"entry {asked.index}: the silence about {asked.incident_id} that {asked.person} asked for is not set"


def _late(times: Tries, since: datetime) -> Tries:
    late = {person: [at for at in each if at > since] for person, each in times.items()}
    return {person: each for person, each in late.items() if each}


def state_of(entry: Entry, blob: Blobs) -> State | None:
    """What an OPENED carries beside obligations. Raises ValueError and KeyError, also where it is missing."""
    digest = blob_of(entry)
    return state_from(digest, blob(digest)) if digest is not None else None
