"""What a log has adopted: policies, rosters and executors, read from the blobs of its ADOPTED entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ledger.entry import Entry
from policy_rules.loading import PolicyErrors, load
from policy_rules.permission import Person
from policy_rules.rulebook import Rulebook
from receiver.incident.duty import Duty, duty_from_body

Blobs = Callable[[str], bytes | None]


class Archive(Protocol):
    """One tenant's log, to be read from its beginning, and the blobs beside it."""

    tenant: str

    def entries(self) -> Iterator[Entry]: ...

    def blob(self, digest: str) -> bytes | None: ...


class Unreadable(ValueError):
    """What a decision rests on is not in the ledger, or cannot be read; the message says what."""


class Charters:
    """The policy and the roster that are in force, as ADOPTED entries are taken, and every policy before them."""

    def __init__(self, blob: Blobs) -> None:
        self._blob = blob
        self._texts: dict[str, str] = {}  # policy digest → digest of the blob with its text
        self._rulebooks: dict[str, Rulebook] = {}
        self._people: tuple[str, tuple[Person, ...]] | None = None  # by the digest of the roster
        self._duty: tuple[str, tuple[Duty, dict[str, list[str]]]] | None = None  # by the digest of the rotations
        self.adopted: Entry | None = None

    def take(self, entry: Entry) -> None:
        """Put what an ADOPTED names in force; other entries change nothing."""
        if entry.stage == "ADOPTED":
            self.adopted = entry
            for text in (blob for blob in entry.blobs if blob.name == "policy"):
                self._texts[entry.policy_digest or ""] = text.digest

    def rulebook(self, digest: str | None) -> Rulebook:
        """The policy of that digest, which must have been adopted. Raises Unreadable."""
        if digest is None or digest not in self._texts:
            raise Unreadable(f"the policy {(digest or 'without a digest')[:12]} was not adopted before, or has no text")
        if digest not in self._rulebooks:
            text = self._read("policy", self._texts[digest])
            try:
                found = load(text, file=f"policy {digest[:12]}", environment={})
            except PolicyErrors as error:
                raise Unreadable(f"the policy {digest[:12]} cannot be read: {error.problems[0]}") from error
            if found.digest != digest:
                raise Unreadable(f"the text of the policy {digest[:12]} has another digest, {found.digest[:12]}")
            self._rulebooks[digest] = found
        return self._rulebooks[digest]

    def in_force(self) -> Rulebook:
        """Raises Unreadable where nothing was adopted."""
        if self.adopted is None:
            raise Unreadable("nothing was adopted before")
        return self.rulebook(self.adopted.policy_digest)

    def people(self) -> tuple[Person, ...]:
        """The roster in force, by name. Raises Unreadable."""
        digest = next((b.digest for b in self.adopted.blobs if b.name == "roster"), None) if self.adopted else None
        if digest is None:
            raise Unreadable("no roster was adopted before")
        if self._people is None or self._people[0] != digest:
            try:
                rows: Any = json.loads(self._read("roster", digest))
                people = tuple(
                    Person(
                        name,
                        frozenset(row["roles"]),
                        bool(row.get("suspended")),
                        frozenset(row.get("off_duty", ())),
                        bool(row.get("pin")),
                    )
                    for name, row in sorted(rows.items())
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Unreadable(f"the roster {digest[:12]} cannot be read: {error}") from error
            self._people = digest, people
        return self._people[1]

    def duty(self) -> tuple[Duty, dict[str, list[str]]] | None:
        """The rotations in force, and the roles of each by configuration; None where there are none.

        Raises Unreadable, and what a body that is none raises: KeyError, TypeError, ValueError, AttributeError.
        """
        digest = next((b.digest for b in self.adopted.blobs if b.name == "duty"), None) if self.adopted else None
        if digest is None:
            return None
        if self._duty is None or self._duty[0] != digest:
            body: Any = json.loads(self._read("duty", digest))
            self._duty = digest, (duty_from_body(body), body["roles"])
        return self._duty[1]

    def _read(self, name: str, digest: str) -> str:
        data = self._blob(digest)
        if data is None:
            raise Unreadable(f"the {name} {digest[:12]} is missing among the blobs")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(f"the {name} {digest[:12]} is no text: {error}") from error
