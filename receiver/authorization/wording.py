"""The words that a person reads on the phone. Pure: variables in, text out.

Two voices meet in a message: ours, and that of alerts and of the model. Text of the second kind is cleaned, kept on one
line and stands between “ and ”, which it cannot contain; so it can neither end its quotation nor begin a line that
looks like one of ours. A button's payload is never made of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import urlsplit

from receiver.authorization.absent import ABSENT, absent
from receiver.authorization.templates import BODY_UNITS, TOKEN_CHARACTERS, Template

_INPUT_CHARACTERS = 4000  # of one value; what is longer is cut before any work is done on it
REPLY_UNITS = 1500  # Twilio takes 1,600 with the reference

_INVISIBLE = dict.fromkeys(map(ord, "\u115f\u1160\u2800\u3164\uffa0"), " ")  # letters and symbols that show nothing
_MARKUP = str.maketrans(
    {
        "*": "\u2217",  # WhatsApp makes bold, italic, struck and monospaced text of these four
        "_": "\u02cd",
        "~": "\u223c",
        "`": "\u2019",
        "{": "(",  # no `{{` that a template could read
        "}": ")",
        "“": "'",  # the quotation marks of our own text
        "”": "'",
        "„": "'",
        "‟": "'",
        '"': "'",
    }
)
_LINK = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://\S+|\bwww\.\S+|\b(?:mailto|tel|sms):\S+", re.IGNORECASE)
# No quotation mark, no markup and no invisible letter; a host name in another script is not written like this.
_PLAIN_LINK = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}(?:[/?#][A-Za-z0-9._~/?#&=%+,:;@!$()-]*)?")
_DOT_IN_NAME = re.compile(r"(?<=\w)\.(?=[^\W\d_])")
_PHONE = re.compile(
    r"[+\uff0b]\s?\(?\d(?:[ ().\-/]{0,2}\d){5,}"  # +263 77 123 4567
    r"|(?<![\w.:-])0\d(?:[ ()\-/]{0,2}\d){7,}(?![\w:])"  # 077 123 4567
    r"|(?<![\w.:-])\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}(?!\w)"  # 415 523 8886
)
_LONG_NUMBER = re.compile(r"\d{9,}")


def tidy(text: str, units: int) -> str:
    """`text` on one line, without control, invisible and direction-changing characters, at most `units` long."""
    text = unicodedata.normalize("NFKC", text[:_INPUT_CHARACTERS])[:_INPUT_CHARACTERS].translate(_INVISIBLE)
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in ("Cf", "Cs", "Co", "Cn") or marks > 2:  # more marks than two climb over other lines
            continue
        kept.append(" " if category in ("Cc", "Zs", "Zl", "Zp") else character)
    return shorten(" ".join("".join(kept).split()), units)


def clean(text: str, units: int, language: str = "en") -> str:
    """`tidy`, and nothing that WhatsApp or a phone makes bold, tappable or diallable.

    A web address and a telephone number are replaced by a word of `language`; a host name keeps its letters but is no
    longer a link.
    """
    # First, for what a mark becomes may make a name or a number of what stands beside it.
    text = tidy(text, _INPUT_CHARACTERS).translate(_MARKUP)
    link, number = absent(language)["link"], absent(language)["number"]
    text = _LINK.sub(link, text)
    text = _PHONE.sub(number, text)
    text = _LONG_NUMBER.sub(lambda match: f"{int(match[0]):,}" if len(match[0]) < 40 else number, text)
    text = _DOT_IN_NAME.sub("\u2024", text)
    return shorten(text, units)


def units_of(text: str) -> int:
    """Length in UTF-16 units, which is how a phone counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def shorten(text: str, units: int) -> str:
    """At most `units` UTF-16 units, with an ellipsis where something was cut."""
    if units_of(text) <= units:
        return text
    kept = ""
    room = units - 1
    for character in text:
        room -= units_of(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + "…" if units > 0 else ""


def values_for(template: Template, variables: Mapping[str, str], token: str | None) -> dict[str, str]:
    """Every value of `template` by name, cleaned and within its limits, such that the whole text fits.

    What is too long altogether is cut from the model's words first, then from the alert's, never from the action.
    Raises ValueError for a template with buttons whose token is missing or is not made of letters, digits and "-".
    """
    values, none = {}, ABSENT[template.language]
    for name in dict.fromkeys(template.names):
        if name == "token":
            values[name] = _checked(token)
        elif name in ("links", "page"):
            values[name] = _fitting(variables.get(name, ""), template.limits[name]) or none.get(name, none["none"])
        else:
            cleaned = clean(variables.get(name, ""), template.limits[name], template.language)
            if name in ("action", "risk"):
                cleaned = cleaned.rstrip(" .")  # the template closes these sentences itself
            values[name] = cleaned or none.get(name) or none["none"]
    for name in ("diagnosis", "summary"):
        excess = units_of(fill(template, values)) - BODY_UNITS
        if excess > 0 and name in values:
            values[name] = shorten(values[name], max(8, units_of(values[name]) - excess))
    return values


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The text as the person sees it."""
    numbered = template.numbered(values)
    return re.sub(r"\{\{(\d+)\}\}", lambda match: numbered[match[1]], template.body)


def reply_text(variables: Mapping[str, str], language: str = "en") -> str:
    """The text of a free-form answer to what a person has just written."""
    text = clean(variables.get("text", ""), REPLY_UNITS, language) or absent(language)["reply"]
    reference = clean(variables.get("reference", ""), 40)
    return f"{text} ({reference})" if reference else text


def allowed_links(given: Iterable[str], origins: Collection[str]) -> str:
    """Those of `given` that lead to one of `origins`, each once, with a space between them; the rest is dropped.

    given: addresses out of alerts, so anybody's. origins: "https://runbooks.example.org" each, of the configuration.
    """
    kept = [link for link in dict.fromkeys(given) if _origin(link) in origins]
    return " ".join(kept)


def _origin(link: str) -> str | None:
    """Scheme, host and port of a web address; None for all that is not one, plainly written."""
    if not _PLAIN_LINK.fullmatch(link):
        return None
    try:
        parts = urlsplit(link)
        port = parts.port
    except ValueError:
        return None
    if parts.username is not None or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _fitting(links: str, units: int) -> str:
    """As many whole addresses of `links` as fit: one that is cut leads nowhere, or elsewhere."""
    kept = ""
    for link in links.split():
        longer = f"{kept} {link}".strip()
        if _origin(link) is not None and len(longer) <= units:
            kept = longer
    return kept


def _checked(token: str | None) -> str:
    if token is None or not re.fullmatch(rf"[A-Za-z0-9-]{{1,{TOKEN_CHARACTERS}}}", token):
        raise ValueError("a message with buttons needs a token of letters, digits and hyphens")
    return token
