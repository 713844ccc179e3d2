"""Text from outside, made fit to be read by a person and to be compared: pure."""

from __future__ import annotations

import re
import unicodedata

CUT = "…"
_SPACES = re.compile(r"\s+")
# Marks that stand on top of each other reach over the lines around them; letters of real languages bear two.
_MARKS = r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILES = re.compile(rf"({_MARKS}{{2}}){_MARKS}+")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # control, bidi and zero width, surrogates, private, unassigned


def clean(text: str, limit: int) -> str:
    """`text` on one line, without what cannot be seen, at most `limit` characters, cut between words.

    A number is never cut in its middle, unless it is longer than the limit by itself.
    """
    text = unicodedata.normalize("NFC", text)
    shown = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in _HIDDEN)
    line = _PILES.sub(r"\1", _SPACES.sub(" ", shown).strip())
    if len(line) <= limit:
        return line
    head = line[: limit - len(CUT)]
    return (head.rpartition(" ")[0] or head).rstrip() + CUT


def storable(text: str, limit: int) -> str:
    """`text` as it is, but encodable in UTF-8 (a lone surrogate is spelt out) and at most `limit` characters."""
    return text[:limit].encode("utf-8", "backslashreplace").decode("utf-8")[:limit]
