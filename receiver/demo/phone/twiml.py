"""Reading the TwiML that the service answers, as strictly as Twilio does. Sources: README.md beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from .webhooks import Answer

SAY_CHARACTERS_MAX = 4096
# TwiML verb → the attributes that it may have here.
_VERBS: Mapping[str, frozenset[str]] = {
    "Say": frozenset({"voice", "language", "loop"}),
    "Pause": frozenset({"length"}),
    "Gather": frozenset(
        {"action", "method", "timeout", "numDigits", "finishOnKey", "input", "actionOnEmptyResult", "language"}
    ),
    "Redirect": frozenset({"method"}),
    "Hangup": frozenset(),
}
_LANGUAGE = re.compile(r"[a-z]{2}-[A-Z]{2}")


class BadTwiml(ValueError):
    """What the service answered is no TwiML that Twilio would run; the message says why (its error 12100 or 12200)."""


def read_twiml(answer: Answer) -> list[ElementTree.Element]:
    """The verbs of a document. Raises BadTwiml."""
    if answer.status != 200:
        raise BadTwiml(f"11200: answered {answer.status}")
    if answer.content_type not in ("text/xml", "application/xml"):
        raise BadTwiml(f"12300: content type {answer.content_type!r}")
    if "<!" in answer.text:
        raise BadTwiml("12100: a document type has no place in TwiML")
    try:
        root = ElementTree.fromstring(answer.text)  # noqa: S314 - without a document type there is no entity to expand
    except ElementTree.ParseError as error:
        raise BadTwiml(f"12100: {error}") from error
    if root.tag != "Response":
        raise BadTwiml(f"12100: the root is {root.tag}")
    for verb in root:
        _check_verb(verb, _VERBS)
        for inner in verb:
            if verb.tag != "Gather":
                raise BadTwiml(f"12200: {inner.tag} within {verb.tag}")
            _check_verb(inner, {name: _VERBS[name] for name in ("Say", "Pause")})
    return list(root)


def _check_verb(verb: ElementTree.Element, allowed: Mapping[str, frozenset[str]]) -> None:
    if verb.tag not in allowed or set(verb.attrib) - allowed[verb.tag]:
        raise BadTwiml(f"12200: {verb.tag} {sorted(verb.attrib)}")
    text = (verb.text or "").strip()
    if verb.tag == "Say" and not 1 <= len(text) <= SAY_CHARACTERS_MAX:
        raise BadTwiml(f"13520: <Say> has {len(text)} characters")
    if verb.tag == "Say" and not _LANGUAGE.fullmatch(verb.get("language", "en-US")):
        raise BadTwiml(f"13512: <Say> speaks no {verb.get('language')}")
    if verb.tag == "Gather" and not re.fullmatch(r"[1-9][0-9]?", verb.get("numDigits", "1")):
        raise BadTwiml("13314: numDigits")
    if verb.tag == "Redirect" and not text:
        raise BadTwiml("12200: <Redirect> to nowhere")
