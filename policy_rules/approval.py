"""Who may approve an action, at which level, and whether those who did are enough. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policy_rules import checks
from policy_rules.reasons import why
from policy_rules.rulebook import EVERYONE, Action, Approvers, Rulebook
from policy_rules.verdict import Finding


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the roster. One who is suspended approves nothing and is told nothing.

    roles: what they hold now. off_duty: roles that are somebody else's turn: of these they are asked nothing, and what
    they were asked while it was theirs they may still answer. pin: whether they have one, without which they approve no
    action that asks for it.
    """

    name: str
    roles: frozenset[str]
    suspended: bool = False
    off_duty: frozenset[str] = frozenset()
    pin: bool = False


def as_asked(people: Sequence[Person], asked: Collection[str]) -> tuple[Person, ...]:
    """`people`, and those whose names are in `asked` with the roles that they held when they were asked."""
    return tuple(replace(p, roles=p.roles | p.off_duty) if p.name in asked else p for p in people)


@dataclass(frozen=True, slots=True)
class Levels:
    """Who may approve at each level, and how many of them must. Where there is one level, `second` asks for nobody."""

    first: frozenset[str]
    quorum: int
    second: frozenset[str] = frozenset()
    second_quorum: int = 0

    def met(self, approved: Collection[str]) -> bool:
        """Whether `approved` can be shared out so that each level has its own people, and nobody counts twice."""
        # For two levels this is all (Hall's theorem): enough for each, and enough for both together.
        counted = set(approved)
        return (
            len(counted & self.first) >= self.quorum
            and len(counted & self.second) >= self.second_quorum
            and len(counted & (self.first | self.second)) >= self.quorum + self.second_quorum
        )

    def among(self, names: Collection[str]) -> Levels:
        """The same, of `names` alone."""
        return Levels(self.first & set(names), self.quorum, self.second & set(names), self.second_quorum)

    def to_body(self) -> dict[str, Any]:
        return {
            "first": sorted(self.first),
            "quorum": self.quorum,
            "second": sorted(self.second),
            "second_quorum": self.second_quorum,
        }


def levels_of(body: Mapping[str, Any]) -> tuple[Levels, ...]:
    """The levels that a proposal's body names; none where one level is all there is."""
    return tuple(
        Levels(frozenset(row["first"]), row["quorum"], frozenset(row["second"]), row["second_quorum"])
        for row in body.get("levels", ())
    )


def needed(action: Action) -> int:
    """How many people must approve, over both levels."""
    second = action.approvers.second
    return action.approvers.quorum + (second.quorum if second is not None else 0)


def eligible(action: Action, people: Sequence[Person], requester: str = "") -> set[str]:
    """Whose answer to `action` counts: whom it names at either level, nobody who is suspended, and not who asked."""
    who = levels(action, people, requester)
    return {*who.first, *who.second}


def levels(action: Action, people: Sequence[Person], requester: str = "") -> Levels:
    """Who may approve `action` at each level. requester: who asked for it; empty where policy did."""
    first, second = action.approvers, action.approvers.second
    able = [p for p in people if not p.suspended and p.name != requester and (p.pin or not action.pin)]
    return Levels(
        _named(first, able),
        first.quorum,
        _named(second, able) if second is not None else frozenset(),
        second.quorum if second is not None else 0,
    )


def at_both(name: str, found: Levels, counted: Collection[str], too_few: str) -> Iterator[Finding]:
    """The findings of an action with two levels: whether each has enough of `counted`; `too_few` is said if not."""
    for level, quorum, who in (("first", found.quorum, found.first), ("second", found.second_quorum, found.second)):
        number = len(set(counted) & who)
        why_not = why(f"{too_few} {level}", needed=quorum, counted=number)
        yield checks.check(f"{name} {level}", str(quorum), str(number), number >= quorum, why_not, ">=")


def notified(rulebook: Rulebook, notify: Sequence[str], people: Sequence[Person]) -> tuple[str, ...]:
    """The names that `notify` stands for: "role:NAME", "person:NAME", "everyone". Nobody who is suspended.

    rulebook: the policy in force, by which such names have their meaning.
    """
    return tuple(
        sorted(
            person.name
            for person in people
            if not person.suspended
            and (
                EVERYONE in notify
                or f"person:{person.name}" in notify
                or any(f"role:{role}" in notify for role in person.roles)
            )
        )
    )


def _named(approvers: Approvers, people: Sequence[Person]) -> frozenset[str]:
    roles = set(approvers.roles)
    return frozenset(person.name for person in people if person.name in approvers.people or person.roles & roles)
