"""An action's own condition: what must be asked for it, and what it says under both policies. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policy_rules.conditions import Value, judge, values
from policy_rules.readings import Alert, Query, Reading
from policy_rules.reasons import Why, why
from policy_rules.rulebook import Action, Rulebook, needs
from policy_rules.verdict import Finding, one_line

NEWER = "in_force/"  # before the name of a signal that the policy in force asks in other words than the incident's


@dataclass(frozen=True, slots=True)
class Asked:
    """What the question about an action knows beside the ledger. late: people have answered already.

    readings: one for each query of `queries`. requester: who asked for the action; empty where policy did.
    """

    readings: Sequence[Reading]
    late: bool
    requester: str = ""


def queries(
    incident_book: Rulebook, in_force: Rulebook, actions: Sequence[Action | None], key: Mapping[str, str]
) -> tuple[Query, ...]:
    """What the conditions of one action ask. actions: by the incident's policy and by the one in force."""
    found: dict[str, Query] = {}
    for book, action in zip((incident_book, in_force), actions, strict=True):
        for name in needs(action):
            query = book.signals[name].query(key)
            named = _named(name, book, incident_book)
            found[named] = replace(query, name=named)
    return tuple(found.values())


def conditions(
    incident_book: Rulebook,
    books: Sequence[Rulebook],
    actions: Sequence[Action],
    alerts: Sequence[Alert],
    asked: Asked,
    now: datetime,
) -> tuple[list[Finding], list[Finding]]:
    """Whether `when` of each of `actions` holds, by its book; and every comparison behind that.

    What cannot be told waits before a question is put, unless `when_unknown` says propose; once people have answered
    it does not stop them, unless `if_unknown` says refuse.
    """
    found: list[Finding] = []
    behind: list[Finding] = []
    for book, action in zip(books, actions, strict=True):
        if action.when is None:
            continue
        known = values(book, alerts, _own(book, action, incident_book, asked.readings), now)
        judgement = judge(action.when, known)
        behind.extend(judgement.findings)
        said = judgement.said()
        if judgement.holds is None:
            kinds = judgement.kinds()
            if asked.late:
                stops = action.if_unknown.say(kinds, ("refuse", "proceed")) == "refuse"
            else:
                stops = action.when_unknown.say(kinds, ("wait", "propose")) == "wait"
            found.append(_when("unknown" if stops else None, False if stops else None, why("need unknown", found=said)))
        else:
            against = None if judgement.holds else why("not needed", found=said)
            found.append(_when(str(judgement.holds).lower(), judgement.holds, against))
    return found, behind


def _when(value: str | None, holds: bool | None, against: Why | None) -> Finding:
    detail = one_line(against.text()) if against is not None else ""
    return Finding("when", "==", "true", value, holds, detail, against=against)


def read_params(
    incident_book: Rulebook, book: Rulebook, action: Action, alerts: Sequence[Alert], asked: Asked, now: datetime
) -> Mapping[str, Value] | None:
    """What `book` reads for the parameters of `action`, by parameter; None once people have answered: they approved
    what was read then."""
    if asked.late:
        return None
    known = values(book, alerts, _own(book, action, incident_book, asked.readings), now)
    return {param.name: known[param.signal] for param in action.params if param.signal is not None}


def _named(name: str, book: Rulebook, incident_book: Rulebook) -> str:
    return name if incident_book.signals.get(name) == book.signals[name] else NEWER + name


def _own(book: Rulebook, action: Action, incident_book: Rulebook, readings: Sequence[Reading]) -> list[Reading]:
    """The readings that answer what `book` asks, by the names that it has for them."""
    names = {_named(name, book, incident_book): name for name in needs(action)}
    return [replace(reading, name=names[reading.name]) for reading in readings if reading.name in names]
