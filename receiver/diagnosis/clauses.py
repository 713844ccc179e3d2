"""A claim, clause by clause: which of an exhibit's values each of its numbers speaks of, and how. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from receiver.diagnosis.facts import Facts
from receiver.diagnosis.quantities import Token
from receiver.diagnosis.words import ABOUT, ABOVE, BELOW, CLAUSES, DOWN, RANGES, ROLES, ROLES_AFTER_AT, UP

REACH = 6  # words between the two numbers of a pair


@dataclass(slots=True)
class Clause:
    """joint: "after" or "before" where it begins with one. bound: the exhibits that it can be about.

    roles: which values it speaks of, and where it says so.
    """

    tokens: list[Token] = field(default_factory=list)
    joint: str = ""
    bound: list[Facts] = field(default_factory=list)
    roles: list[tuple[int, str]] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        return [token.word for token in self.tokens]

    def has(self, *beginnings: str) -> bool:
        return any(word.startswith(beginnings) for word in self.words)

    def word(self, place: int) -> str:
        return self.tokens[place].word if 0 <= place < len(self.tokens) else ""

    def about(self, place: int) -> bool:
        """Whether the number is said to be about so much."""
        return self.word(place - 1) in ABOUT

    def before(self, place: int, back: int = 1) -> str:
        """The word before a number and what is said to be "about" it."""
        return self.word(place - back - self.about(place))

    def role(self, place: int) -> str:
        """The role that stands nearest to a number; empty where none does."""
        if not self.roles:
            return ""
        return min(self.roles, key=lambda role: (abs(role[0] - place), role[0] < place))[1]

    @property
    def rises(self) -> bool:
        return bool(UP.intersection(self.words))

    @property
    def falls(self) -> bool:
        return bool(DOWN.intersection(self.words))


def split(tokens: Sequence[Token]) -> list[Clause]:
    """The clauses of a claim: at its punctuation, and before the words that join two of them."""
    clauses = [Clause()]
    for place, token in enumerate(tokens):
        current = clauses[-1]
        following = tokens[place + 1].kind if place + 1 < len(tokens) else ""
        joins = token.word in CLAUSES and not _range_open(current) and following != "when"
        relates = token.word in ("after", "before") and following == "word"
        if current.tokens and (joins or relates):
            clauses.append(Clause(joint=token.word if relates else ""))
        clauses[-1].tokens.append(token)
        if any(end in ",;:.!?" for end in token.ends):
            clauses.append(Clause())
    found = [clause for clause in clauses if clause.tokens]
    for at, clause in enumerate(found):
        clause.roles = roles_of(clause)
        if not clause.roles and at and ":" in found[at - 1].tokens[-1].ends:
            clause.roles = [(0, role) for _, role in found[at - 1].roles[-1:]]
    return found


def _range_open(clause: Clause) -> bool:
    words = clause.words
    if "between" not in words:
        return False
    since = len(words) - words[::-1].index("between")
    return sum(token.numeric or token.kind == "reference" for token in clause.tokens[since:]) < 2


def roles_of(clause: Clause) -> list[tuple[int, str]]:
    found = []
    for place, word in enumerate(clause.words):
        last = clause.word(place - 1)
        if word in ROLES_AFTER_AT and (last == "at" or (last == "the" and word == "start")):
            found.append((place, ROLES_AFTER_AT[word]))
        elif word in ROLES:
            found.append((place, ROLES[word]))
    return found


def paired(clause: Clause, place: int) -> str:
    """The role that a pair gives: "from A to B", "between A and B", "A to B", "A after B"; else empty."""
    last = clause.before(place)
    ranges = RANGES.intersection(clause.words)
    joint = _joint_after(clause, place)
    if last == "between" and joint == "and":
        return "min"
    if last == "and" and "between" in clause.words[:place]:
        return "max"
    if joint == "to":
        return "start" if last == "from" and not ranges else "min"
    if joint in ("against", "after") and last != "from":
        return "now"
    opened = _opened(clause, place) if last == "to" else ""
    if opened:
        return "now" if opened == "from" and not ranges else "max"
    if last in ("after", "against", "versus", "vs", "from"):
        return "start"
    if last in ("was", "were") and clause.before(place, 2) in ("it", "they"):
        return "start"
    moved = clause.rises or clause.falls
    return "now" if last == "to" and moved and not clause.roles else ""


def _joint_after(clause: Clause, place: int) -> str:
    """The word that joins a number with the next one, over its unit at the most."""
    for at in range(place + 1, min(place + REACH, len(clause.tokens) - 1)):
        if clause.tokens[at].numeric:
            return ""
        if clause.word(at) in ("to", "and", "against", "after") and clause.tokens[at + 1].numeric:
            return clause.word(at)
    return ""


def _opened(clause: Clause, place: int) -> str:
    """Of the "to" before a number: "from" where one stands before the other number, "pair" where none does."""
    for at in range(place - 2, max(-1, place - 2 - REACH), -1):
        if clause.tokens[at].numeric:
            return "from" if clause.before(at) == "from" else "pair"
    return ""


def way(clause: Clause, place: int) -> str:
    """ "above" or "below", "never above" or "never below", or empty."""
    back = 2 if clause.before(place) in ("a", "an", "one") else 1
    last, second = clause.before(place, back), clause.before(place, back + 1)
    found = ""
    if last in ("above", "over", "exceeds", "exceeded", "exceed", "beyond") or (last == "than" and second in ABOVE):
        found = "above"
    elif last in ("below", "under") or (last == "than" and second in BELOW):
        found = "below"
    never = found and {"never", "not", "no"}.intersection(clause.words[:place])
    return f"never {found}" if never else found
