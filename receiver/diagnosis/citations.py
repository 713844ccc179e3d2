"""What a diagnosis may claim: nothing but what the exhibits it cites hold. Pure.

Numbers travel by reference (`{q3.now}`) and are rendered from the exhibits as they were shown. A number that is written
out must stand in the evidence that its claim cites, or the claim is dropped. Numbers in words are beyond this check.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, ValidationError

from receiver.diagnosis.text import clean
from receiver.papers import Claim, Exhibit

ANSWER_CHARACTERS_MAX = 60_000
SUMMARY_CHARACTERS_MAX = 300
CAUSE_CHARACTERS_MAX = 500
CLAIM_CHARACTERS_MAX = 300
FALSIFIED_CHARACTERS_MAX = 300
CLAIMS_MAX = 8
REFS_MAX = 8
LINK = "[link]"

_REFERENCE = re.compile(r"\{(q\d{1,4})\.([A-Za-z_][A-Za-z0-9_]{0,63})\}")
# A reference that touches a digit, a sign or another reference would be read as another number than its own.
_GLUED = re.compile(r"[\w.,+\-−–%/]\{|\}[\w{%/^]|\}[.,:]\d|\}[-−–]")
# An address without a scheme is looked for from the beginning of a run alone: from each place in it would be quadratic.
_LINK = re.compile(r"(?i)\b(?:[a-z][a-z0-9+.-]{1,20}://|www\.)\S*|(?<![\w.-])[\w.-]+\.[a-z]{2,}/\S*")
_BETWEEN_WORDS = re.compile(r"[\s()\[\]{}<>=|\"'“”‘’«»`\\]+")
_NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")


class BadAnswer(ValueError):
    """The answer is not in the shape that was asked for; the message says where."""


class ClaimAsWritten(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    text: str
    refs: list[str]


class Answer(BaseModel):
    """An answer as Claude wrote it, in the asked shape and with a confidence between 0 and 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    summary: str
    likely_cause: str
    claims: list[ClaimAsWritten]
    recommended_action: str
    confidence: float
    falsified_by: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What is left of an answer. `recommended_action` is None for "none"; `dropped` counts claims."""

    summary: str
    likely_cause: str
    claims: tuple[Claim, ...]
    recommended_action: str | None
    confidence: str
    falsified_by: str
    dropped: int


def read_answer(text: str, actions: Sequence[str]) -> Answer:
    """Raises BadAnswer for what is too long, no JSON, of another shape, or recommends what was not offered."""
    if len(text) > ANSWER_CHARACTERS_MAX:
        raise BadAnswer(f"the answer has {len(text):,} characters, and at most {ANSWER_CHARACTERS_MAX:,} are read")
    try:
        # Lone surrogates cannot be stored as UTF-8: they become "?" here.
        well_formed = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
        answer = Answer.model_validate(json.loads(well_formed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadAnswer(f"{'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is no JSON: {type(error).__name__}") from None
    if not (math.isfinite(answer.confidence) and 0 <= answer.confidence <= 1):
        raise BadAnswer("confidence: must be between 0 and 1")
    if answer.recommended_action not in (*actions, "none"):
        raise BadAnswer("recommended_action: is none of those that were offered")
    return answer


def check(answer: Answer, exhibits: Sequence[Exhibit], document: str) -> Checked | None:
    """`answer` with every number rendered or found, or None where no claim is left.

    exhibits: as they were shown, so that a citation is checked against what Claude could know.
    document: all that was shown; a name with a digit in it, such as a pod's, may stand anywhere in it.
    """
    shelf = Shelf(exhibits, document)
    claims = [claim for written in answer.claims if (claim := shelf.claim(written)) is not None]
    if not claims:
        return None
    kept = tuple(claims[:CLAIMS_MAX])
    cited = dict.fromkeys(ref for claim in kept for ref in claim.refs)
    # A summary whose numbers are not founded is replaced by the first claim, which is.
    summary = shelf.render(answer.summary, cited, SUMMARY_CHARACTERS_MAX) or kept[0].text
    return Checked(
        summary=summary,
        likely_cause=shelf.render(answer.likely_cause, cited, CAUSE_CHARACTERS_MAX) or "",
        claims=kept,
        recommended_action=None if answer.recommended_action == "none" else answer.recommended_action,
        confidence=f"{answer.confidence:.2f}",
        falsified_by=shelf.render(answer.falsified_by, shelf.exhibits, FALSIFIED_CHARACTERS_MAX) or "",
        dropped=len(answer.claims) - len(kept),
    )


class Shelf:
    """The exhibits by their names, and what stands in each."""

    def __init__(self, exhibits: Sequence[Exhibit], document: str) -> None:
        self.exhibits = {exhibit.ref: exhibit for exhibit in exhibits}
        self._words = {exhibit.ref: frozenset(words_of(exhibit)) for exhibit in exhibits}
        self._names = frozenset(words(document.replace("\\u003c", "<").replace("\\u003e", ">").replace(",", " ")))

    def claim(self, written: ClaimAsWritten) -> Claim | None:
        """The claim with its numbers, or None where it cites nothing, something unknown, or a number not there."""
        refs = dict.fromkeys((*written.refs, *(ref for ref, _ in _REFERENCE.findall(written.text))))
        if not written.refs or len(refs) > REFS_MAX or not refs.keys() <= self.exhibits.keys():
            return None
        text = self.render(written.text, refs, CLAIM_CHARACTERS_MAX)
        return Claim(text, tuple(refs)) if text else None

    def render(self, text: str, refs: Iterable[str], limit: int) -> str | None:
        """`text` for a person, or None where a reference or a number in it does not stand in `refs`."""
        refs = frozenset(refs)
        text = _LINK.sub(LINK, clean(text, limit * 4))
        references = _REFERENCE.findall(text)
        if any(ref not in refs or name not in self.exhibits[ref].values for ref, name in references):
            return None
        plain = _REFERENCE.sub(" ", text)
        if references and _GLUED.search(text):
            return None
        if "{" in plain or "}" in plain or not all(self.stands(word, refs) for word in words(plain)):
            return None
        return clean(_REFERENCE.sub(lambda found: self.exhibits[found[1]].values[found[2]], text), limit)

    def stands(self, word: str, refs: frozenset[str]) -> bool:
        """Whether a word may be said with these exhibits: it has no digit, is a known name, or a number in them."""
        if not any(character.isdigit() for character in word):
            return True
        if word[0].isalpha():
            return word in self._names
        return any(word in self._words[ref] or same_number(word, self.exhibits[ref]) for ref in refs)


def words(text: str) -> list[str]:
    """The words of `text`, in compatibility form, so that "½" and "³" are digits, without marks at their ends."""
    parts = _BETWEEN_WORDS.split(unicodedata.normalize("NFKC", text))
    return [word for part in parts if (word := part.strip(".,;:!?~≈#/_*"))]


def words_of(exhibit: Exhibit) -> list[str]:
    taken = exhibit.taken_at.isoformat(timespec="seconds") if exhibit.taken_at else ""
    return words(" ".join((exhibit.title, exhibit.query.replace(",", " "), taken, *exhibit.values.values())))


def same_number(word: str, exhibit: Exhibit) -> bool:
    """Whether `word` is the number of one of the values, written in another way: 0.310 for 0.31."""
    if not _NUMBER.fullmatch(word):
        return False
    numbers = [value for value in exhibit.values.values() if _NUMBER.fullmatch(value)]
    return any(Decimal(word) == Decimal(number) for number in numbers)
