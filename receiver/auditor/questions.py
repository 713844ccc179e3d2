"""The parameters of a request, read strictly: a mistake is one line that names the parameter and its limits. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from ledger.accounts import STAGES
from receiver.auditor.standing import ENDED
from receiver.incident.states import IncidentState

INDEX_MAX = 2**53 - 1
NAME_CHARACTERS_MAX = 128
WORDS = (*(state.value for state in IncidentState), "open", "ended")
FORMS = ("json", "markdown")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class BadQuestion(ValueError):
    """A parameter that cannot be read; the message names it."""


def number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises BadQuestion."""
    text = query.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 16 or not low <= int(text) <= high:
        raise BadQuestion(f"{name}: {shown(text)} is not a whole number from {low} to {high}")
    return int(text)


def tenant(query: Mapping[str, str], tenants: Sequence[str]) -> str:
    """The tenant that is asked for; without one "default", or the only one there is. Raises BadQuestion."""
    text = query.get("tenant")
    if text is None:
        text = tenants[0] if len(tenants) == 1 else "default"
    if text not in tenants:
        raise BadQuestion(f"tenant: there is no tenant {shown(text)}")
    return text


def known(query: Mapping[str, str], names: Collection[str]) -> None:
    """A parameter that an address does not take is a slip, and what it was to choose would be left out unnoticed.

    Raises BadQuestion.
    """
    strange = next((name for name in query if name not in names), None)
    if strange is not None:
        raise BadQuestion(f"{shown(strange)} is no parameter of this address: {', '.join(sorted(names))}")


def stage(query: Mapping[str, str]) -> str | None:
    text = query.get("stage") or None
    if text is not None and text not in STAGES:
        raise BadQuestion(f"stage: {shown(text)} is none of {', '.join(sorted(STAGES))}")
    return text


def name(query: Mapping[str, str], parameter: str) -> str | None:
    """An actor or an incident: 1 to 128 printable ASCII characters without spaces. Raises BadQuestion."""
    text = query.get(parameter) or None
    if text is not None and (len(text) > NAME_CHARACTERS_MAX or not _PRINTABLE.fullmatch(text)):
        raise BadQuestion(f"{parameter}: {shown(text)} is not a name of 1 to {NAME_CHARACTERS_MAX} characters")
    return text


def states(query: Mapping[str, str]) -> frozenset[IncidentState] | None:
    """The states that are asked for, "open" and "ended" being several; None for all. Raises BadQuestion."""
    text = query.get("state") or None
    if text is None:
        return None
    if text not in WORDS:
        raise BadQuestion(f"state: {shown(text)} is none of {', '.join(WORDS)}")
    if text in ("open", "ended"):
        return ENDED if text == "ended" else frozenset(IncidentState) - ENDED
    return frozenset({IncidentState(text)})


def form(query: Mapping[str, str]) -> str:
    """`format` of a report: json where it is left out. Raises BadQuestion."""
    text = query.get("format") or FORMS[0]
    if text not in FORMS:
        raise BadQuestion(f"format: {shown(text)} is none of {', '.join(FORMS)}")
    return text


def moment(query: Mapping[str, str]) -> int | datetime | None:
    """`at`: an index of the ledger, or an RFC 3339 time with its zone. Raises BadQuestion."""
    text = query.get("at") or None
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 16:
        return number({"at": text}, "at", 0, 0, INDEX_MAX)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(f"at: {shown(text)} is neither an index nor a time like 2026-11-23T08:58:38Z") from None
    if parsed.tzinfo is None:
        raise BadQuestion("at: a time needs its zone, as in 2026-11-23T08:58:38Z")
    return parsed


def shown(text: str) -> str:
    """What was asked, short and without anything that cannot be seen."""
    seen = ascii(text[:40])
    return seen if len(text) <= 40 and len(seen) <= 60 else f"{seen[:60]}…"
