"""What an exhibit holds, ready to be compared with what is said of it: values, names, words. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from receiver.diagnosis.quantities import Token
from receiver.diagnosis.units import BARE, TIMESTAMP, Unit, moment_of, number, unit_of
from receiver.diagnosis.words import EMPTY, NOT_COUNTED, ORDINARY, VERBS
from receiver.papers import Exhibit

_WORD = re.compile(r"[^\W_]+")
_CHUNKS = re.compile(r"[\s()\[\]{}<>=|\"'“”‘’«»`\\,!~]+")
_QUOTED = re.compile(r"\"([^\"]{1,200})\"|'([^']{1,200})'")
_RATES = re.compile(r"\s*(?:(?:sum|max|min|avg)\b[^(]{0,80}\(\s*)?(?:i?rate|deriv)\(")
_ENDINGS = ("ings", "ing", "ied", "ed", "ies", "es", "s")
STARTS = ("at_start", "start", "before")


def stem(word: str) -> str:
    """A word without what its number or its time puts to its end; crude, and the same on both sides."""
    low = word.lower()
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= 3 and not (ending == "s" and low.endswith("ss")):
            return low.removesuffix(ending)
    return low.removesuffix("e") if len(low) > 4 else low


STEMS = frozenset(map(stem, ORDINARY | VERBS | EMPTY | NOT_COUNTED))


def stems(text: str) -> frozenset[str]:
    return frozenset(map(stem, _WORD.findall(text)))


def chunks(text: str) -> frozenset[str]:
    """The names that stand in a text: its words as they are, and the parts of an address."""
    found = set[str]()
    for chunk in _CHUNKS.split(text):
        core = chunk.strip(".,;:!?~#/_*")
        found |= {core, *re.split(r"[:/]+", core), *re.split(r"[.,;:/*+-]+", core)}
    return frozenset(found - {""})


@dataclass(frozen=True, slots=True)
class Facts:
    """One exhibit. words, identity: stems; those of `identity` tell it from others. names: what stands in it as it is.

    told: the words of its values, where they are words.
    """

    exhibit: Exhibit
    unit: Unit
    values: dict[str, Decimal]
    moments: dict[str, datetime]
    words: frozenset[str]
    identity: frozenset[str]
    names: frozenset[str]
    told: frozenset[str]

    @property
    def textual(self) -> bool:
        """It says its finding in words, as a verdict or a former incident does."""
        return "now" not in self.values and bool(self.told)

    @property
    def start(self) -> Decimal | None:
        return next((self.values[name] for name in STARTS if name in self.values), None)

    def title_has(self, *beginnings: str) -> bool:
        return any(word.startswith(beginnings) for word in _WORD.findall(self.exhibit.title.lower()))

    def says(self, token: Token) -> bool:
        """Whether the very number stands in its text: of an exhibit that has no numbers but those of its words."""
        return self.textual and token.text in self.told


def facts_of(exhibit: Exhibit) -> Facts:
    values = {name: found for name, text in exhibit.values.items() if (found := number(text)) is not None}
    moments = {name: at for name, text in exhibit.values.items() if (at := _moment(text)) is not None}
    unit = unit_of(exhibit)
    if unit == TIMESTAMP:
        known = ((name, moment_of(value)) for name, value in values.items())
        moments |= {name: moment for name, moment in known if moment is not None}
    if unit == BARE and _RATES.match(exhibit.query) and not re.search(r"/|bytes|seconds", exhibit.query):
        unit = Unit("1/s")
    quoted = " ".join(a or b for a, b in _QUOTED.findall(exhibit.query))
    named = " ".join([quoted, *exhibit.labels.values()])
    texts = [text for name, text in exhibit.values.items() if name not in values and text != "NaN"]
    whole = " ".join([exhibit.title, exhibit.query, named, *exhibit.labels, *texts])
    words = stems(whole)
    return Facts(
        exhibit,
        unit,
        values,
        moments,
        words,
        frozenset(word for word in stems(named) | (stems(exhibit.title) - STEMS) if len(word) > 1),
        chunks(whole) | frozenset(exhibit.values.values()),
        frozenset(word.strip(".,;:!?~") for text in texts for word in _CHUNKS.split(text)) - {""},
    )


def _moment(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\dT", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def known_names(facts: Sequence[Facts], shown: str) -> frozenset[str]:
    """Every name with a digit in it that stands anywhere in what was shown."""
    return frozenset(n for n in chunks(shown) if any(c.isdigit() for c in n)).union(*(one.names for one in facts))
