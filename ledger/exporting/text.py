"""Text as it stands in the files for people: nothing in it moves a cursor, ends a line or begins a formula. Pure.

The characters are listed here and not asked of the interpreter, whose tables grow: the same entry must give the same
bytes under every version.
"""

from __future__ import annotations

import re

# Control characters, separators of lines, marks of direction, and the byte order mark.
_INVISIBLE = (
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_SPACED = dict.fromkeys(_INVISIBLE, " ")
# A spreadsheet calculates what begins so, wide forms too; one that separates cells by ";" also what follows that.
_FORMULA = re.compile("(^|;)( *)([=+@\uff0b\uff1d\uff20\uff0d-])")
# Most cells have none of this.
_SPECIAL = re.compile(f'["{"".join(map(chr, _INVISIBLE))};]|^ *[=+@\uff0b\uff1d\uff20\uff0d-]')


def plain(text: str) -> str:
    """The text with a space for each character that is not to be seen."""
    return text.translate(_SPACED)


def cell(text: str) -> str:
    """The text as a quoted cell of a CSV file (RFC 4180), which no spreadsheet takes for a formula."""
    if _SPECIAL.search(text) is None:
        return f'"{text}"'
    harmless = _FORMULA.sub(r"\1\2'\3", plain(text)).replace('"', '""')
    return f'"{harmless}"'


def quoted(text: str) -> str:
    """The text as a string of beancount."""
    escaped = plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
