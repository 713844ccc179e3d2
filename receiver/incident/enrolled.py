"""What the ledger holds of people beside the roster: who enrolled with which phone, who is suspended, who opted out.

Pure. The roster says who may be asked; this says who is known to hold the phone that the roster names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.entry import Entry, parse_time

ENROLMENT = "enrolment"  # an operator lets a person enrol, with a word that they text
ENROLLED = "enrolled"
SUSPENDED = "suspended"
OPTED_OUT, OPTED_IN = "opted out", "opted in"
PIN_WINDOW = timedelta(hours=24)  # in which wrong PINs count; or until the person enrols again
CODE_WINDOW = timedelta(hours=1)  # and wrong codes
KINDS = (ENROLMENT, ENROLLED, SUSPENDED, OPTED_OUT, OPTED_IN)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A word that was given to a person and not used yet. nonce: what it is made from."""

    nonce: str
    until: datetime


@dataclass(slots=True)
class Enrolled:
    """By name. identities: the digest of the carrier's own id for whoever enrolled; None where it gave none."""

    waiting: dict[str, Enrolment] = field(default_factory=dict)
    identities: dict[str, str | None] = field(default_factory=dict)
    suspended: dict[str, str] = field(default_factory=dict)  # name → why
    opted_out: set[str] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Fold a NOTED of one of KINDS."""
        body = entry.body
        person = body["person"]
        match body["kind"]:
            case "enrolment":
                self.waiting[person] = Enrolment(body["nonce"], parse_time(body["until"]))
            case "enrolled":
                self.waiting.pop(person, None)
                self.suspended.pop(person, None)
                self.identities[person] = body["external_id_hmac"]
            case "suspended":
                self.waiting.pop(person, None)
                self.suspended[person] = entry.reason
            case "opted out":
                self.opted_out.add(person)
            case _:
                self.opted_out.discard(person)

    def is_other(self, person: str, external_id_hmac: str | None) -> bool:
        """Whether the carrier names another identity than the one that enrolled. One that is not named is no other."""
        enrolled = self.identities.get(person)
        return enrolled is not None and external_id_hmac is not None and external_id_hmac != enrolled
