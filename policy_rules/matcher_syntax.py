"""The two grammars of Alertmanager's matchers, as texts: what stands in them is given a meaning in `matchers`."""

from __future__ import annotations

import re

Parts = tuple[str, str, str]  # name, operator, value

_CLASSIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL | re.ASCII)
_TOKEN = re.compile(
    r"\s*(?:(?P<open>\{)|(?P<close>\})|(?P<comma>,)|(?P<operator>=~|!=|!~|=)"
    r"|(?P<quoted>\"(?:\\.|[^\"\\\n])*\")|(?P<bare>[^\s{}!=~,\\\"'`]+))"
)
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\\"])|x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2}))"
)


class BadMatcher(Exception):
    """The message says what is wrong with a matcher, in one line that reads on after "matcher …"."""


def is_classic(name: str) -> bool:
    return _CLASSIC_NAME.fullmatch(name) is not None


def quote(value: str) -> str:
    """`value` in double quotes, as both grammars read it wherever both can."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def read(text: str) -> list[Parts]:
    """The matchers in `text`. Raises BadMatcher with the reason of the UTF-8 grammar where neither can read it."""
    try:
        modern = _read_utf8(text)
    except BadMatcher as error:
        try:
            return _read_classic(text)
        except BadMatcher:
            raise error from None
    try:
        return _read_classic(text)
    except BadMatcher:
        return modern


# --- the UTF-8 grammar ------------------------------------------------------------------------------------------------


def _read_utf8(text: str) -> list[Parts]:
    tokens = _tokens(text)
    braced = bool(tokens) and tokens[0][0] == "open"
    if braced:
        if tokens[-1][0] != "close" or len(tokens) < 2:
            raise BadMatcher("has no closing brace")
        tokens = tokens[1:-1]
    found: list[Parts] = []
    while tokens:
        found.append(_one(tokens[:3]))
        tokens = tokens[3:]
        if tokens and tokens[0][0] != "comma":
            raise BadMatcher(f"has {tokens[0][1]!r} where a comma should be")
        tokens = tokens[1:]
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadMatcher(f"cannot be read at {text[at:].strip()[:20]!r}; put values in double quotes")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _one(tokens: list[tuple[str, str]]) -> Parts:
    kinds = [kind for kind, _ in tokens]
    if not kinds or kinds[0] not in ("quoted", "bare"):
        raise BadMatcher("has no label name")
    if len(kinds) < 2 or kinds[1] != "operator":
        raise BadMatcher("has no operator; it is one of =, !=, =~, !~")
    if len(kinds) < 3 or kinds[2] not in ("quoted", "bare"):
        raise BadMatcher("has no value")
    name = _unquote(tokens[0][1])
    if not name:
        raise BadMatcher("has an empty label name")
    return name, tokens[1][1], _unquote(tokens[2][1])


def _unquote(token: str) -> str:
    """What Go's strconv.Unquote makes of a double-quoted string; an unquoted one stands for itself."""
    if not token.startswith('"'):
        return token
    inner = token[1:-1]
    out = bytearray()
    at = 0
    while at < len(inner):
        if inner[at] != "\\":
            out += inner[at].encode()
            at += 1
            continue
        match = _ESCAPE.match(inner, at)
        if match is None:
            raise BadMatcher(f"has an escape that Go does not know: {inner[at : at + 2]}")
        out += _escaped(match)
        at = match.end()
    try:
        return out.decode()
    except UnicodeDecodeError:
        raise BadMatcher("has a quoted text that is not valid UTF-8") from None


def _escaped(match: re.Match[str]) -> bytes:
    if match["simple"]:
        return _SIMPLE_ESCAPES[match["simple"]].encode()
    if match["x"]:
        return bytes([int(match["x"], 16)])
    if match["octal"]:
        return bytes([int(match["octal"], 8)])
    code = int(match["u"] or match["U"], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise BadMatcher(f"has an escape that is no character: {match[0]}")
    return chr(code).encode()


# --- the classic grammar ----------------------------------------------------------------------------------------------


def _read_classic(text: str) -> list[Parts]:
    text = text.removeprefix("{").removesuffix("}")
    return [_one_classic(part) for part in _split(text)]


def _split(text: str) -> list[str]:
    """`text` at its commas, those between unescaped double quotes apart; one comma at the end is allowed."""
    parts: list[str] = []
    start, quoted, escaped = 0, False, False
    for at, char in enumerate(text):
        if char == "," and not quoted:
            parts.append(text[start:at])
            start = at + 1
        elif char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    return parts + ([text[start:]] if text[start:].strip() else [])


def _one_classic(text: str) -> Parts:
    match = _CLASSIC.fullmatch(text)
    if match is None:
        raise BadMatcher("is not NAME OPERATOR VALUE")
    name, operator, raw = match.groups()
    quoted = raw.startswith('"')
    if quoted and (len(raw) < 2 or not raw.endswith('"')):
        raise BadMatcher("has an unescaped double quote")
    inner = raw[1:-1] if quoted else raw
    if quoted and _escapes_the_end(inner):
        raise BadMatcher("has an unescaped double quote")
    return name, operator, _unescape_classic(inner)


def _escapes_the_end(inner: str) -> bool:
    return (len(inner) - len(inner.rstrip("\\"))) % 2 == 1


def _unescape_classic(inner: str) -> str:
    """Backslash before `n`, a quote or a backslash is an escape; before anything else it stands for itself."""
    out: list[str] = []
    chars = iter(inner)
    for char in chars:
        if char == '"':
            raise BadMatcher("has an unescaped double quote")
        if char != "\\":
            out.append(char)
            continue
        following = next(chars, "")
        out.append({"n": "\n", '"': '"', "\\": "\\"}.get(following, "\\" + following))
    return "".join(out)
