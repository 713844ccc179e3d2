"""Tokens put together: numbers of several words, and each number with the unit or the thing that follows it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from receiver.diagnosis.quantities import Token, tokens_of
from receiver.diagnosis.units import BARE, LASTING, PERCENT, Unit, read_unit
from receiver.diagnosis.words import AS_MUCH, LARGE, NOT_COUNTED, PARTS, PER

WORDS_COUNTED_MAX = 5  # between a number and "a second"
_OF_CORES = Unit("cores", Decimal("0.01"))
_OF_A_CORE = (["of", "a", "core"], ["of", "one", "core"])
_PAIRS = ("to", "and", "against", "after", "or")


def read(text: str, known: frozenset[str]) -> list[Token]:
    """One claim, read. Raises Unreadable."""
    return _paired(_measured(_wholes(_parts(_large(tokens_of(text, known))))))


def _large(tokens: Sequence[Token]) -> list[Token]:
    """ "two hundred", "47.2 million"."""
    found: list[Token] = []
    for token in tokens:
        last = found[-1] if found and not found[-1].ends else None
        if last is not None and last.kind == token.kind == "number" and token.word in LARGE and last.whole is None:
            size = token.value
            found[-1] = replace(
                last, text=f"{last.text} {token.text}", ends=token.ends, value=last.value * size, half=last.half * size
            )
        else:
            found.append(token)
    return found


def _parts(tokens: Sequence[Token]) -> list[Token]:
    """ "half", "a third", "three quarters"."""
    found: list[Token] = []
    for token in tokens:
        last = found[-1] if found and not found[-1].ends else None
        part = PARTS.get(token.word.removesuffix("s") if token.word != "halves" else "half")
        if token.kind != "word" or part is None:
            found.append(token)
        elif last is not None and last.kind == "number":
            found[-1] = replace(token, kind="part", value=last.value / part, begins=last.begins)
        elif token.word == "half" or (last is not None and last.word in ("a", "one", "than", "about", "to", "every")):
            found.append(replace(token, kind="part", value=Decimal(1) / part))
        else:
            found.append(token)
    return found


def _wholes(tokens: Sequence[Token]) -> list[Token]:
    """ "22 of 100", "one in three", "2 out of 3"."""
    found: list[Token] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        words = [one.word for one in rest[:2]]
        skip = 2 if words == ["out", "of"] else 1 if words[:1] in (["of"], ["in"]) else 0
        whole = rest[skip] if 0 < skip < len(rest) else None
        joined = whole is not None and not token.ends and not any(one.ends for one in rest[:skip])
        if token.kind == "number" and token.whole is None and joined and whole is not None and _is_whole(whole):
            text = " ".join([token.text, *words[:skip], whole.text])
            token = replace(token, text=text, whole=whole.value, ends=whole.ends, half=Decimal("0.5"))
            del rest[: skip + 1]
        found.append(token)
    return found


def _is_whole(token: Token) -> bool:
    value = token.value
    return token.kind == "number" and token.unit == BARE and value.is_finite() and value == value.to_integral() > 0


def _measured(tokens: Sequence[Token]) -> list[Token]:
    found = list(tokens)
    for at, token in enumerate(tokens):
        if token.ends or token.whole is not None:
            continue
        following = tokens[at + 1 : at + 2 + WORDS_COUNTED_MAX]
        words = [one.word for one in following[:3]]
        if token.unit == PERCENT and words in _OF_A_CORE:
            found[at] = replace(token, unit=_OF_CORES)
        elif token.kind == "part" and words[:2] in (["of", "a"], ["of", "an"]) and words[2:] and words[2] in LASTING:
            lasting = Unit("seconds", Decimal(LASTING[words[2]]))
            found[at] = replace(token, kind="number", half=token.value / 100, unit=lasting)
        elif token.kind == "number" and token.unit == BARE and following and following[0].kind == "word":
            found[at] = _with_unit(token, following)
    return found


def _with_unit(token: Token, following: Sequence[Token]) -> Token:
    first, words = following[0], [one.word for one in following[1:4]]
    if first.word == "percentage" and words[:1] in (["point"], ["points"]):
        return replace(token, unit=PERCENT, counted="points")
    unit = read_unit(first.text)
    if unit == PERCENT:
        return replace(token, unit=_OF_CORES if words in _OF_A_CORE else PERCENT, counted=first.word)
    if unit is not None and (first.ends or unit.dimension not in ("bytes", "seconds")):
        return replace(token, unit=unit)
    if first.word == "times" and not first.ends and words and words[0] in AS_MUCH:
        return replace(token, kind="times")
    return _in_a_time(token, unit, following)


def _in_a_time(token: Token, unit: Unit | None, following: Sequence[Token]) -> Token:
    """A number of things, or of bytes, in a time, as in "27 failed requests a minute"; else how many of what."""
    for place, one in enumerate(following[:WORDS_COUNTED_MAX]):
        if one.word in PER and not one.ends:
            lasting = LASTING.get(following[place + 1].word) if place + 1 < len(following) else None
            if lasting is not None:
                return replace(token, unit=(unit or Unit("count")).per(lasting))
        if one.kind != "word" or one.ends or one.word in NOT_COUNTED:
            break
    if unit is not None:
        return replace(token, unit=unit)
    word = following[0].word
    return token if word in NOT_COUNTED else replace(token, counted=word)


def _paired(tokens: Sequence[Token]) -> list[Token]:
    """One unit for both of "from 161 to 7.9 a second"."""
    found = list(tokens)
    for at in range(len(found) - 2):
        token, joint, pair = found[at : at + 3]
        if not token.kind == pair.kind == "number" or joint.word not in _PAIRS or token.ends:
            continue
        if token.unit == BARE and not token.counted:
            found[at] = replace(token, unit=pair.unit, counted=pair.counted)
        elif pair.unit == BARE and not pair.counted:
            found[at + 2] = replace(pair, unit=token.unit, counted=token.counted)
    return found
