"""Text from outside, made fit to be read by a person and to be compared: pure."""

from __future__ import annotations

import re
import unicodedata

CUT = "…"
_SPACES = re.compile(r"\s+")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # control, bidi and zero width, surrogates, private, unassigned


def clean(text: str, limit: int) -> str:
    """`text` on one line, without what cannot be seen, at most `limit` characters, cut between words.

    A number is never cut in its middle, unless it is longer than the limit by itself.
    """
    shown = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in _HIDDEN)
    line = _SPACES.sub(" ", shown).strip()
    if len(line) <= limit:
        return line
    head = line[: limit - len(CUT)]
    return (head.rpartition(" ")[0] or head).rstrip() + CUT


def storable(text: str, limit: int) -> str:
    """`text` as it is, but encodable in UTF-8 (a lone surrogate is spelt out) and at most `limit` characters."""
    return text[:limit].encode("utf-8", "backslashreplace").decode("utf-8")[:limit]
