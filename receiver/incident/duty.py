"""Who is on duty: weekly and daily rotations, overrides of them, and duty that was handed over by message.

Pure. It follows from the configuration, the ledger's handovers and the time, over changes of the clocks: a shift begins
when the clock on the wall of its time zone says so. What this says at a time is written down as the roster in force,
so that policy and an auditor read roles, and need no calendar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.entry import Entry, format_time, parse_time

HANDED_OVER = "handover"  # the kinds of the NOTED entries
VACANT, HELD = "nobody on duty", "somebody on duty"
KINDS = (HANDED_OVER, VACANT, HELD)
AGAIN = timedelta(hours=4)  # while nobody is on duty, it is said again so often


@dataclass(frozen=True, slots=True)
class Shift:
    person: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Rotation:
    """`people` take turns at `role`, each for `days`, from the first day on at `minute` of the day in `timezone`.

    A time that the clocks skip is the same span after midnight; of one that they repeat the first counts.
    """

    name: str
    role: str
    people: tuple[str, ...]
    first: date
    days: int
    minute: int
    timezone: str = "UTC"

    def begins(self, number: int) -> datetime:
        """When the shift of that number begins; 0 is the first."""
        day = self.first + timedelta(days=self.days * number)
        local = datetime(
            day.year, day.month, day.day, self.minute // 60, self.minute % 60, tzinfo=ZoneInfo(self.timezone)
        )
        return local.astimezone(UTC)

    def number(self, at: datetime) -> int:
        """The number of the shift that runs at `at`; negative before the first."""
        number = (at.astimezone(ZoneInfo(self.timezone)).date() - self.first).days // self.days
        while self.begins(number) > at:
            number -= 1
        while self.begins(number + 1) <= at:
            number += 1
        return number

    def shift(self, at: datetime) -> Shift | None:
        """The shift that runs at `at`, or None before the first."""
        number = self.number(at)
        if number < 0:
            return None
        return Shift(self.people[number % len(self.people)], self.begins(number), self.begins(number + 1))

    def next_change(self, at: datetime) -> datetime:
        return self.begins(max(0, self.number(at) + 1))

    def to_body(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "people": list(self.people),
            "first": self.first.isoformat(),
            "days": self.days,
            "minute": self.minute,
            "timezone": self.timezone,
        }


@dataclass(frozen=True, slots=True)
class Override:
    """`person` has the duty of `role` in the place of whoever has it by rotation, from `since` until `until`."""

    role: str
    person: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Handover:
    """Duty went from `giver` to `taker` by message. giver: empty where nobody had it. index: of the entry."""

    role: str
    giver: str
    taker: str
    at: datetime
    until: datetime
    index: int = -1


@dataclass(frozen=True, slots=True)
class Duty:
    """The rotations and overrides of a tenant. Where there is no rotation of a role, everybody who has it holds it."""

    rotations: tuple[Rotation, ...] = ()
    overrides: tuple[Override, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(sorted({rotation.role for rotation in self.rotations}))

    def members(self, role: str) -> set[str]:
        """Whom the configuration names for the duty of `role`, beside those who have the role."""
        people = {person for rotation in self.rotations if rotation.role == role for person in rotation.people}
        return people | {override.person for override in self.overrides if override.role == role}

    def on_duty(self, role: str, at: datetime, handovers: Sequence[Handover] = ()) -> tuple[str, ...]:
        """Who has the duty of `role` at `at`, by name. handovers: in the order of the ledger."""
        instead = {o.person for o in self.overrides if o.role == role and o.since <= at < o.until}
        shifts = (rotation.shift(at) for rotation in self.rotations if rotation.role == role)
        found = instead or {shift.person for shift in shifts if shift is not None}
        for handed in handovers:
            if handed.role == role and handed.at <= at < handed.until and (handed.giver in found or not handed.giver):
                found = (found - {handed.giver}) | {handed.taker}
        return tuple(sorted(found))

    def ends(self, role: str, person: str, at: datetime, handovers: Sequence[Handover] = ()) -> datetime | None:
        """Until when `person` has the duty of `role` that they have at `at`; nobody's, for an empty name.

        None where nothing is known to end it.
        """
        ends = [o.since for o in self.overrides if o.role == role and o.since > at]
        ends += [
            o.until for o in self.overrides if o.role == role and o.since <= at < o.until and person in ("", o.person)
        ]
        for handed in handovers:
            if handed.role == role and handed.taker == person and handed.at <= at < handed.until:
                ends.append(handed.until)
        for rotation in (rotation for rotation in self.rotations if rotation.role == role):
            shift = rotation.shift(at)
            if not person or (shift is not None and shift.person == person):
                ends.append(rotation.next_change(at))
        return min(ends, default=None)

    def next_change(self, at: datetime, handovers: Sequence[Handover] = ()) -> datetime | None:
        """When the duty of any role may change next, as far as it is known at `at`."""
        times = [rotation.next_change(at) for rotation in self.rotations]
        times += [moment for override in self.overrides for moment in (override.since, override.until)]
        times += [handed.until for handed in handovers]
        return min((moment for moment in times if moment > at), default=None)

    def split(
        self, name: str, roles: Collection[str], at: datetime, handovers: Sequence[Handover] = ()
    ) -> tuple[frozenset[str], frozenset[str]]:
        """The roles that `name` holds at `at`, and those of which they are off duty. roles: as configured."""
        held, off = set(roles) - set(self.roles), set[str]()
        for role in self.roles:
            if name in self.on_duty(role, at, handovers):
                held.add(role)
            elif role in roles or name in self.members(role):
                off.add(role)
        return frozenset(held), frozenset(off)

    def to_body(self) -> dict[str, Any]:
        """As an ADOPTED keeps it."""
        return {
            "rotations": {rotation.name: rotation.to_body() for rotation in self.rotations},
            "overrides": [
                {"role": o.role, "person": o.person, "since": format_time(o.since), "until": format_time(o.until)}
                for o in self.overrides
            ],
        }


NO_DUTY = Duty()


def duty_from_body(body: Mapping[str, Any]) -> Duty:
    """What `to_body` gave. Raises KeyError, TypeError and ValueError."""
    rotations = tuple(
        Rotation(
            name,
            row["role"],
            tuple(row["people"]),
            date.fromisoformat(row["first"]),
            int(row["days"]),
            int(row["minute"]),
            row["timezone"],
        )
        for name, row in body["rotations"].items()
    )
    overrides = tuple(
        Override(row["role"], row["person"], parse_time(row["since"]), parse_time(row["until"]))
        for row in body["overrides"]
    )
    return Duty(rotations, overrides)


@dataclass(slots=True)
class Vacancy:
    """Nobody has the duty of a role, as the ledger says: since which entry, how often it was said, and when last."""

    index: int
    since: datetime
    said_at: datetime
    number: int = 1


@dataclass(slots=True)
class Duties:
    """What the ledger holds of duty beside the roster. handovers: those that may still run, in order."""

    handovers: list[Handover] = field(default_factory=list)
    vacant: dict[str, Vacancy] = field(default_factory=dict)  # by role

    def take(self, entry: Entry) -> None:
        """Fold a NOTED of one of KINDS."""
        body = entry.body
        if body["kind"] == HANDED_OVER:
            self.handovers = [handed for handed in self.handovers if handed.until > entry.timestamp]
            self.handovers += handovers_of(entry)
        elif body["kind"] == HELD:
            self.vacant.pop(body["role"], None)
        elif (vacancy := self.vacant.get(body["role"])) is not None:
            vacancy.said_at, vacancy.number = entry.timestamp, vacancy.number + 1
        else:
            self.vacant[body["role"]] = Vacancy(entry.index, parse_time(body["since"]), entry.timestamp)


def handovers_of(entry: Entry) -> Iterator[Handover]:
    """What a NOTED of the kind HANDED_OVER says, a role each."""
    body = entry.body
    for role, until in sorted(body["until"].items()):
        yield Handover(role, body["from"], body["person"], entry.timestamp, parse_time(until), entry.index)


def next_word(duties: Duties, vacant: Collection[str], now: datetime) -> datetime | None:
    """When something is to be said of duty: that nobody has it, that still nobody does, or that somebody does again."""
    if any(role not in vacant for role in duties.vacant):
        return now
    times = [duties.vacant[role].said_at + AGAIN if role in duties.vacant else now for role in vacant]
    return min(times, default=None)
