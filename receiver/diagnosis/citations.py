"""What a diagnosis may claim: nothing but what the exhibits it cites hold. Pure.

Numbers travel by reference (`{q3.now}`) and are rendered from the exhibits as they were shown. A number that is written
out must be true of the evidence that its claim cites (truth.py), or the claim is dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from receiver.diagnosis.facts import facts_of, known_names
from receiver.diagnosis.quantities import REFERENCE
from receiver.diagnosis.text import clean
from receiver.diagnosis.truth import Claims
from receiver.diagnosis.units import WORDS, number, read_unit, rendered, short
from receiver.diagnosis.words import NOT_COUNTED
from receiver.papers import Claim, Exhibit

ANSWER_CHARACTERS_MAX = 60_000
SUMMARY_CHARACTERS_MAX = 300
CAUSE_CHARACTERS_MAX = 500
CLAIM_CHARACTERS_MAX = 300
FALSIFIED_CHARACTERS_MAX = 300
CLAIMS_MAX = 8
REFS_MAX = 8
LINK = "[link]"

_SPELLED = sorted({*WORDS, "percentage points", "requests/s"}, key=lambda word: (-len(word), word))
_UNITS = "|".join(map(re.escape, _SPELLED))
# What WhatsApp makes bold, italic, struck or code of; an underscore within a name stays.
_MARKUP = re.compile(r"[*`~]|(?<!\w)_+|_+(?!\w)")
_IN_A_TIME = r"(?:\s+[A-Za-z-]{1,30}){0,3}\s+(?:an?|per|each|every)\s+(second|minute|hour)\b"
# A reference with the unit, or with the counted words and their time, that were written after it.
_MEASURED = re.compile(REFERENCE.pattern + rf"(?:\s+({_UNITS})(?![\w/])|({_IN_A_TIME}))?")
# A reference that touches a digit, a sign or another reference would be read as another number than its own.
_GLUED = re.compile(r"[\w.,+\-−–%/]\{|\}[\w{%/^]|\}[.,:]\d|\}[-−–]")
# An address without a scheme is looked for from the beginning of a run alone: from each place in it would be quadratic.
_LINK = re.compile(r"(?i)\b(?:[a-z][a-z0-9+.-]{1,20}://|www\.)\S*|(?<![\w.-])[\w.-]+\.[a-z]{2,}/\S*")


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


_FIELDS = Answer.model_fields.keys() | ClaimAsWritten.model_fields.keys()


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
        # A name that was made up is text from outside, and is not told.
        known = [str(part) if isinstance(part, int) or part in _FIELDS else "a field" for part in first["loc"]]
        raise BadAnswer(f"{'.'.join(known) or 'the answer'}: {first['msg']}") from None
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
    """The exhibits by their names, and what may be said of each."""

    def __init__(self, exhibits: Sequence[Exhibit], document: str) -> None:
        self.exhibits = {exhibit.ref: exhibit for exhibit in exhibits}
        facts = [facts_of(exhibit) for exhibit in exhibits]
        self._units = {one.exhibit.ref: one.unit for one in facts}
        self._judge = Claims(facts, known_names(facts, document.replace("\\u003c", "<").replace("\\u003e", ">")))

    def claim(self, written: ClaimAsWritten) -> Claim | None:
        """The claim with its numbers, or None where it cites nothing, something unknown, or says what is not so."""
        refs = dict.fromkeys((*written.refs, *(ref for ref, _ in REFERENCE.findall(written.text))))
        if not written.refs or len(refs) > REFS_MAX or not refs.keys() <= self.exhibits.keys():
            return None
        text = self.render(written.text, refs, CLAIM_CHARACTERS_MAX)
        return Claim(text, tuple(refs)) if text else None

    def render(self, text: str, refs: Iterable[str], limit: int) -> str | None:
        """`text` for a person, or None where a reference, a number, a time or a name in it is not of `refs`."""
        refs = dict.fromkeys(refs)
        text = _MARKUP.sub("", _LINK.sub(LINK, clean(text, limit * 4)))
        references = REFERENCE.findall(text)
        if any(ref not in refs or name not in self.exhibits[ref].values for ref, name in references):
            return None
        plain = REFERENCE.sub(" ", text)
        if "{" in plain or "}" in plain or (references and _GLUED.search(text)):
            return None
        if not self._judge.hold(text, refs) or any(self._shown(found) is None for found in _MEASURED.finditer(text)):
            return None
        return clean(_MEASURED.sub(lambda found: self._shown(found) or "", text), limit)

    def _shown(self, found: re.Match[str]) -> str | None:
        """A reference as a person reads it, with its unit once; None where the unit after it is not the exhibit's."""
        ref, name, word, rest, lasting = found.groups()
        exhibit, known, value = self.exhibits[ref], self._units[ref], rendered(self.exhibits[ref], name)
        if rest is not None and not NOT_COUNTED.intersection(rest.lower().split()[:-2]):
            # "{q1.now} failed requests a second": the words say the unit.
            measured = number(exhibit.values[name])
            fits = known.dimension.endswith("1/s") and known.factor == 1 and lasting == "second"
            return f"{short(measured)}{rest}" if fits and measured is not None else None
        said = read_unit(word) if word is not None else None
        if said is None:
            return f"{value}{rest or ''}"
        if said.dimension != known.dimension or (not exhibit.unit and said != known):
            return None
        return value if exhibit.unit else f"{value} {word}"
