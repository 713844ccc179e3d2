"""Whether the numbers, times and names of a claim are true of the exhibits that it cites. Pure.

A claim is read clause by clause. Each clause is bound to the cited exhibits whose names it bears, and each of its
numbers has to be true of one of them: rounded honestly, in a unit that the exhibit can be told in, of the value that
the clause speaks of (now, at the start, the most, the least), or worked out. What is not understood is not true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal

from receiver.diagnosis.clauses import Clause, split
from receiver.diagnosis.facts import STEMS, Facts, stem
from receiver.diagnosis.measures import agrees, true_of
from receiver.diagnosis.phrases import read
from receiver.diagnosis.quantities import Token, Unreadable, spoken
from receiver.diagnosis.units import BARE, TIMESTAMP
from receiver.diagnosis.words import CLAUSES, CONTEXT, EMPTY, ORDINARY, VERBS

_NAMING = frozenset({"of", "in", "to", "by", "on", "for", "behind"})
_COUNTING = frozenset({"of", "are", "for", "that", "from", "to"})
_COMPARED = frozenset({"now", "max", "min", "mean", "start", "at_start"})
_EMPTY = frozenset(map(stem, EMPTY))


class Claims:
    """Judges claims against the exhibits. names: what stands anywhere in what was shown."""

    def __init__(self, facts: Sequence[Facts], names: frozenset[str]) -> None:
        self._facts = {one.exhibit.ref: one for one in facts}
        self._names = names
        self._identity = frozenset[str]().union(*(one.identity for one in facts)) - STEMS

    def hold(self, text: str, refs: Iterable[str]) -> bool:
        """Whether everything in `text` that can be checked is true of the exhibits `refs`, all of which exist."""
        cited = [self._facts[ref] for ref in refs]
        try:
            tokens = read(text, self._names)
        except Unreadable:
            return False
        if not all(named(token, cited) for token in tokens if token.kind == "name"):
            return False
        if all(token.kind in ("word", "name") for token in tokens):
            return True
        if not all(self._subject(tokens, place, cited) for place in range(len(tokens))):
            return False
        clauses, last = split(tokens), cited
        for clause in clauses:
            clause.bound = last = self._bound(clause, cited, cited if clause.joint else last)
        return all(self._clause(clauses, at, cited) for at in range(len(clauses)))

    # --- names -----------------------------------------------------------------------------------------------------

    def _subject(self, tokens: Sequence[Token], place: int, cited: Sequence[Facts]) -> bool:
        """Whether a word that stands where names stand is a word of the trade, or of what is cited."""
        token, root = tokens[place], stem(tokens[place].text)
        if token.kind != "word" or not token.text.isalpha() or token.word in ORDINARY or root in STEMS:
            return True
        last = tokens[place - 1] if place and not tokens[place - 1].ends else None
        following = tokens[place + 1] if place + 1 < len(tokens) and not token.ends else None
        first = last is None or last.word in CLAUSES
        subject = following is not None and following.kind == "word" and (last is None or following.word in VERBS)
        naming = token.owner or (first and subject)
        if last is not None and last.word in _NAMING:
            naming = naming or following is None or following.word in VERBS or token.text[0].isupper()
        cites = any(root in one.words for one in cited)
        if not naming or cites:
            return True
        # "Restarts of search-0", "Balances are old": what is counted, not whose it is.
        counts = first and not token.owner and following is not None and following.word in _COUNTING
        return counts and root not in self._identity

    def _bound(self, clause: Clause, cited: Sequence[Facts], last: Sequence[Facts]) -> list[Facts]:
        """The cited exhibits that a clause can be about: those with all of its names, and of these the likeliest."""
        said = _said(clause)
        known = said & self._identity
        exact = {
            token.text for token in clause.tokens if token.kind == "name" and any(token.text in c.names for c in cited)
        }
        fitting = [one for one in cited if known <= one.words and exact <= one.names]
        told = said - _EMPTY
        best = max((len(told & one.words) for one in fitting), default=0)
        likeliest = [one for one in fitting if len(told & one.words) == best]
        # "... and the bank 2.4 s" names its own subject; "... and 20 are in use" goes on with the last one.
        going_on = [one for one in last if one in likeliest] if not (known or exact) else []
        return going_on or likeliest

    # --- numbers ---------------------------------------------------------------------------------------------------

    def _clause(self, clauses: Sequence[Clause], at: int, cited: Sequence[Facts]) -> bool:
        clause = clauses[at]
        for place, token in enumerate(clause.tokens):
            if token.kind == "when" and not any(_when(one, clause, place) for one in clause.bound):
                return False
            if token.kind == "reference" and not self._reference(clause, place):
                return False
            if token.numeric and not self._numeric(clauses, at, place, cited):
                return False
        return True

    def _reference(self, clause: Clause, place: int) -> bool:
        """A reference is true by itself; what is said of it must not be false: whose it is, and which value."""
        ref, name = clause.tokens[place].reference
        one = self._facts[ref]
        if not _said(clause) & self._identity <= one.words:
            return False
        roles = {role for _, role in clause.roles if role in ("max", "min", "now", "start")}
        meant = [one.start if role == "start" else one.values.get(role) for role in roles]
        return name not in _COMPARED or not roles or None in meant or one.values.get(name) in meant

    def _numeric(self, clauses: Sequence[Clause], at: int, place: int, cited: Sequence[Facts]) -> bool:
        clause = clauses[at]
        token = clause.tokens[place]
        if token.word == "one" and clause.word(place + 1) in ("of", "that", "which", "or", "another"):
            return True  # a pronoun: "node-1 one of 2.3"
        if token.value.is_nan():
            return any("NaN" in one.exhibit.values.values() for one in clause.bound)
        if token.kind == "number" and any(_constant(one, clause, place) for one in clause.bound or cited):
            return True
        if _between_times(clauses, at, place, cited):
            return True
        return any(one.says(token) or true_of(one, clause, place) for one in clause.bound)


def _said(clause: Clause) -> frozenset[str]:
    texts = (token.text for token in clause.tokens if token.kind in ("word", "name"))
    return frozenset(stem(part) for text in texts for part in re.split(r"[-_/.]+", text) if part)


def named(token: Token, cited: Sequence[Facts]) -> bool:
    """Whether a name stands in one of the exhibits as it is; "95th" and "p95" are names of the quantile 0.95."""
    digits = token.word.removeprefix("p").removesuffix("th")
    spelled = {token.text}
    if digits.isdecimal() and len(digits) <= 3:
        spelled |= {f"0.{digits}", f"p{digits}", f"{digits}th"}
    return any(spelled & one.names for one in cited)


def _constant(one: Facts, clause: Clause, place: int) -> bool:
    """A number that measures nothing: a status code, a port, a quantile, a window, as it stands in the exhibit."""
    token, following = clause.tokens[place], clause.word(place + 1)
    near = {clause.word(place - 2), clause.word(place - 1), following}
    if near & CONTEXT and token.unit == BARE:
        return token.text in one.names
    return len(following) > 1 and f" {token.text} {following}" in f" {one.exhibit.title.lower()} "


# --- times -----------------------------------------------------------------------------------------------------------


def _when(one: Facts, clause: Clause, place: int) -> bool:
    token, taken = clause.tokens[place], one.exhibit.taken_at
    aside = place < 2 or clause.word(place - 1) in ("before", "after", "by", "until")
    if taken is not None and spoken(taken, token) and (one.unit != TIMESTAMP or aside):
        return True
    role = clause.role(place)
    if one.unit == TIMESTAMP:
        since = {"had", "since"} <= set(clause.words)
        moment = one.moments.get("start" if since or role == "start" else "now")
        return moment is not None and spoken(moment, token)
    return any(spoken(moment, token) and (name != "peak_at" or role == "max") for name, moment in one.moments.items())


def _between_times(clauses: Sequence[Clause], at: int, place: int, cited: Sequence[Facts]) -> bool:
    """ "B came 3 minutes after A": a time from one moment of the evidence to another, in that order."""
    clause, token = clauses[at], clauses[at].tokens[place]
    if token.unit.dimension != "seconds" or token.whole is not None:
        return False
    joint = next((p for p in (place + 1, place + 2) if clause.word(p) in ("before", "after")), None)
    related = clauses[at + 1] if at + 1 < len(clauses) and clauses[at + 1].joint else None
    if joint is not None and joint + 1 < len(clause.tokens) and clause.tokens[joint + 1].kind == "when":
        word = clause.word(joint)
        taken = [one.exhibit.taken_at for one in cited if one.exhibit.taken_at is not None]
        others = [moment for moment in taken if spoken(moment, clause.tokens[joint + 1])]
    elif related is not None and place + 2 >= len(clause.tokens):
        word = related.joint
        others = [one.moments["now"] for one in related.bound if "now" in one.moments]
    else:
        return False
    sign = 1 if word == "after" else -1
    moments = [one.moments["now"] for one in clause.bound if "now" in one.moments]
    spans = [sign * ((mine - other) / timedelta(seconds=1)) for mine in moments for other in others if mine != other]
    return any(agrees(token, token.unit, Decimal(str(span)), clause.about(place)) for span in spans)
