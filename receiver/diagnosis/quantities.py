"""What a sentence says in numbers: read word by word into numbers with their units, times, names and plain words. Pure.

What has a digit in it and is none of these is a name, and has to stand in the evidence as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal

from receiver.diagnosis.units import BARE, Unit, read_unit
from receiver.diagnosis.words import FOLD, LARGE, MONTHS, POWERS, SMALL, TENS

REFERENCE = re.compile(r"\{(q\d{1,4})\.([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_MONTH = rf"(?:{'|'.join(MONTHS)})[a-z]{{0,6}}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_WHEN = re.compile(
    rf"(?i)\b(?:(?P<iso>\d{{4}}-\d\d-\d\d)(?:[T ](?P<at>{_CLOCK})(?:Z|\+00:00)?)?"
    rf"|(?P<d>\d{{1,2}}) (?P<m>{_MONTH}) (?P<y>\d{{4}})|(?P<m2>{_MONTH}) (?P<d2>\d{{1,2}}),? (?P<y2>\d{{4}}))(?![\w-])"
)
_TIME = re.compile(_CLOCK + "Z?")
_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d{1,40})(\.\d{1,40})?([eE][+-]?\d{1,3})?([%A-Za-zµμ/]{0,12})")
_BETWEEN_WORDS = re.compile(r"[\s()\[\]|\"“”‘«»`\\]+")
_ENDS = ".,;:!?~≈#*_"
_KEPT = "\x01"  # stands for a date; no text that was cleaned has it
_PLAIN = str.maketrans(
    {**dict.fromkeys("−–", "-"), "’": "'", **dict.fromkeys("…—=", " "), "<": " below ", ">": " above "}
)
_NOT_ASCII = "µμ°€£"


class Unreadable(ValueError):
    """A digit or a letter that may be taken for another."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word. kind: word, name, number, times (as many times as much), part (of a whole), when, reference.

    value, half: of a number, and half a step of its last digit. whole: of "22 of 100", the 100. counted: the word that
    says of what. begins: a sentence. ends: the punctuation after it. owner: it had an 's. seconds: of a clock, whether
    they were written.
    """

    kind: str
    text: str
    ends: str = ""
    begins: bool = False
    owner: bool = False
    value: Decimal = Decimal(0)
    half: Decimal = Decimal(0)
    unit: Unit = BARE
    whole: Decimal | None = None
    counted: str = ""
    day: date | None = None
    clock: time | None = None
    seconds: bool = False
    reference: tuple[str, str] = ("", "")

    @property
    def numeric(self) -> bool:
        return self.kind in ("number", "times", "part")

    @property
    def word(self) -> str:
        return self.text.lower()


def tokens_of(text: str, known: frozenset[str]) -> list[Token]:
    """The tokens of one claim. known: names of the evidence.

    Raises Unreadable for digits of other scripts, and letters that are not Latin, unless they stand in the evidence.
    """
    whens: list[Token] = []

    def keep(found: re.Match[str]) -> str:
        whens.append(_when(found))
        return f" {_KEPT}{len(whens) - 1} "

    tokens: list[Token] = []
    for chunk in _BETWEEN_WORDS.split(_WHEN.sub(keep, text.translate(_PLAIN))):
        token = _token(chunk, known, whens)
        if token is not None:
            begins = not tokens or any(end in ".!?" for end in tokens[-1].ends)
            tokens.append(replace(token, begins=begins))
        elif tokens:
            tokens[-1] = replace(tokens[-1], ends=tokens[-1].ends + chunk)
    return tokens


def _when(found: re.Match[str]) -> Token:
    clock, seconds = None, False
    try:
        if found["iso"]:
            day = date.fromisoformat(found["iso"])
            if found["at"]:
                clock, seconds = _clock(found["at"])
        else:
            month = MONTHS[(found["m"] or found["m2"])[:3].lower()]
            day = date(int(found["y"] or found["y2"]), month, int(found["d"] or found["d2"]))
    except ValueError as error:
        raise Unreadable(f"{found[0]} is no date") from error
    return Token("when", found[0], day=day, clock=clock, seconds=seconds)


def _clock(text: str) -> tuple[time, bool]:
    hour, minute, *second = (int(part) for part in text.removesuffix("Z").partition(".")[0].split(":"))
    return time(hour, minute, second[0] if second else 0), bool(second)


def _token(chunk: str, known: frozenset[str], whens: Sequence[Token]) -> Token | None:
    """The token of a chunk; None for one that is punctuation alone."""
    core = chunk.rstrip(_ENDS)
    ends, core = chunk[len(core) :], core.lstrip(_ENDS + "'")
    if core.startswith(_KEPT):
        return replace(whens[int(core[1:])], ends=ends)
    if core == "%":
        return Token("word", "%", ends)
    if not core or not any(char.isalnum() for char in core):
        return None
    reference = REFERENCE.fullmatch(core)
    if reference is not None:
        return Token("reference", core, ends, reference=(reference[1], reference[2]))
    owner = core.lower().endswith(("'s", "s'"))
    core = core.removesuffix("'s").removesuffix("'S").strip("'")
    if not core.isascii() and core not in known:
        _refuse_lookalikes(core)
    digits = any(char.isdigit() for char in core)
    if core in known and not _NUMBER.fullmatch(core):
        return Token("name" if digits else "word", core, ends, owner=owner)
    return _digits(core, ends, known) if digits else replace(_plain(core, ends), owner=owner)


def _refuse_lookalikes(core: str) -> None:
    for char in core:
        strange = unicodedata.numeric(char, None) is not None or (
            char.isalpha() and not unicodedata.name(char, "").startswith("LATIN SMALL LETTER ")
        )
        if strange and not char.isascii() and char not in _NOT_ASCII:
            raise Unreadable(f"{core}: may be read as something else")


def _digits(core: str, ends: str, known: frozenset[str]) -> Token:
    if _TIME.fullmatch(core):
        try:
            clock, seconds = _clock(core)
        except ValueError as error:
            raise Unreadable(f"{core} is no time") from error
        return Token("when", core, ends, clock=clock, seconds=seconds)
    top, slash, bottom = core.partition("/")
    if slash and all(part.isascii() and part.isdecimal() and len(part) < 7 for part in (top, bottom)) and int(bottom):
        return Token("number", core, ends, value=Decimal(top), whole=Decimal(bottom))
    found = _NUMBER.fullmatch(core.replace("-fold", "x"))
    if found is None or (found[5] and core in known):
        return Token("name", core, ends)
    digits = found[2].replace(",", "") + (found[3] or "") + (found[4] or "")
    value = Decimal(found[1] + digits)
    step = Decimal(1).scaleb(int(value.as_tuple().exponent)) if "." in digits or "e" in digits.lower() else Decimal(1)
    return _suffixed(Token("number", core, ends, value=value, half=step / 2), found[5])


def _suffixed(token: Token, suffix: str) -> Token:
    """A number with what is written to its end: "31%", "842ms", "47.2k", "7x", "12/s"."""
    if not suffix:
        return token
    power = POWERS.get(suffix.lower())
    if power is not None:
        return replace(token, value=token.value.scaleb(power), half=token.half.scaleb(power))
    if suffix in ("x", "X"):
        return replace(token, kind="times")
    unit = read_unit(f"1{suffix}" if suffix.startswith("/") else suffix)
    return replace(token, unit=unit) if unit is not None else Token("name", token.text, token.ends)


def _plain(core: str, ends: str) -> Token:
    """A word, which may be a number in words."""
    lower = core.lower()
    if lower == "nan":
        return Token("number", core, ends, value=Decimal("NaN"))
    if lower == "halved":
        return Token("times", core, ends, value=Decimal("0.5"))
    value = Decimal(FOLD[lower]) if lower in FOLD else _in_words(lower.removesuffix("fold").rstrip("-"))
    if value is None:
        return Token("word", core, ends)
    kind = "times" if lower in FOLD or lower.endswith("fold") else "number"
    return Token(kind, core, ends, value=value, half=Decimal("0.5"))


def _in_words(word: str) -> Decimal | None:
    tens, dash, ones = word.partition("-")
    if dash and tens in TENS and 0 < SMALL.get(ones, 0) < 10:
        return Decimal(TENS[tens] + SMALL[ones])
    known = SMALL.get(word, TENS.get(word, LARGE.get(word)))
    return None if known is None else Decimal(known)


def spoken(moment: datetime, token: Token) -> bool:
    """Whether a time that was written names `moment`, as far as it says."""
    if token.day is not None and token.day != moment.date():
        return False
    if token.clock is None:
        return token.day is not None
    told = moment.time().replace(microsecond=0)
    return token.clock == (told if token.seconds else told.replace(second=0))
