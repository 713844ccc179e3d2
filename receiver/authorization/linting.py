"""What WhatsApp and Twilio ask of a template, checked without asking them. Pure.

Sources: Meta's guidelines for message templates (developers.facebook.com, "Message templates": components, variables,
supported languages), and Twilio's for WhatsApp (twilio.com/docs/content/twilio-quick-reply,
twilio.com/docs/whatsapp/tutorial/message-template-approvals-statuses). Where they are vague the stricter one counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from receiver.authorization import wording
from receiver.authorization.absent import ABSENT
from receiver.authorization.templates import BODY_UNITS, CARRIER_LANGUAGES, LANGUAGES, TEMPLATES, Template

NAME_CHARACTERS = 512
BUTTONS = 3  # within a session; an approved template may have ten, but one text serves both
TITLE_CHARACTERS = 20  # within a session; 25 on an approved template
ID_CHARACTERS = 200
_VARIABLE = re.compile(r"\{\{(\d+)\}\}")
_WHATSAPP_LANGUAGES = frozenset({"en", "en_GB", "en_US", "pt_PT", "pt_BR", "fr"})


def problems(template: Template) -> list[str]:
    """Everything for which the template would be refused, in words; empty where nothing is known."""
    return [*_of_name(template), *_of_body(template), *_of_variables(template), *_of_buttons(template)]


def missing() -> list[str]:
    """Each stem and language of which there is no template: whoever reads that language would read another."""
    stems = dict.fromkeys(template.stem for template in TEMPLATES)
    there = {(template.stem, template.language) for template in TEMPLATES}
    return [f"{stem}_{language}" for stem in stems for language in LANGUAGES if (stem, language) not in there]


def _of_name(template: Template) -> Iterator[str]:
    if not re.fullmatch(rf"[a-z0-9_]{{1,{NAME_CHARACTERS}}}", template.friendly_name):
        yield f"its name may have small letters, digits and _, at most {NAME_CHARACTERS}"
    if CARRIER_LANGUAGES.get(template.language) not in _WHATSAPP_LANGUAGES:
        yield f"WhatsApp has no language {CARRIER_LANGUAGES.get(template.language, template.language)}"


def _of_body(template: Template) -> Iterator[str]:
    body = template.body
    if not body.strip() or wording.units_of(body) > BODY_UNITS:
        yield f"its body has 1 to {BODY_UNITS} characters"
    if "\n\n\n" in body:
        yield "more than one empty line stands together"
    if re.search(r" {5,}|\t", body):
        yield "a tab or more than four spaces stand in its body"
    widest = _widest(template)
    if widest > BODY_UNITS:
        yield f"with the longest values it has {widest} characters, and WhatsApp takes {BODY_UNITS}"


def _widest(template: Template) -> int:
    """Characters of the text with every value at its limit, and those that are cut for the others cut."""
    long = dict.fromkeys(template.names, "wide words " * 400)
    return wording.units_of(wording.fill(template, wording.values_for(template, long, "1-" + "a" * 24)))


def _of_variables(template: Template) -> Iterator[str]:
    numbers = _VARIABLE.findall(template.body)
    shown = [name for name in template.names if name != "token"]
    if numbers != [str(number) for number in range(1, len(shown) + 1)]:
        yield "its variables are numbered from 1 in the order in which they stand, each once"
    text = template.body.strip()
    if text.startswith("{{") or text.endswith("}}"):
        yield "a variable stands first or last in its body"
    if re.search(r"\}\}\s*\{\{", text):
        yield "two variables stand side by side"
    words = re.findall(r"[^\W\d_]+", _VARIABLE.sub(" ", text))
    if len(words) < 2 * len(template.names) + 1:
        yield f"{len(words)} fixed words are too few for {len(template.names)} variables"
    if "token" in template.names and template.names[-1] != "token":
        yield "the token is its last variable"
    yield from _of_samples(template, template.samples)
    for name in sorted(set(template.names) - set(template.limits)):
        yield f"the variable {name} has no limit"


def _of_samples(template: Template, samples: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys(template.names):
        sample = samples.get(name, "")
        if not sample.strip():
            yield f"the variable {name} has no sample"
        elif re.search(r"[\n\r\t]| {5,}|\{\{", sample):
            yield f"the sample of {name} holds a newline, a tab, many spaces or a placeholder"
        elif wording.units_of(sample) > template.limits.get(name, 0):
            yield f"the sample of {name} is longer than a value may be"
    if set(template.names) & set(ABSENT["en"]) and template.language not in ABSENT:
        yield "there are no words for what is absent in its language"


def _of_buttons(template: Template) -> Iterator[str]:
    if not template.buttons:
        return
    if "token" not in template.names:
        yield "it has buttons and no token for them"
        return
    if len(template.buttons) > BUTTONS:
        yield f"it has more than {BUTTONS} buttons"
    titles = [button.title for button in template.buttons]
    if len(set(titles)) < len(titles):
        yield "two of its buttons have the same title"
    for button in template.buttons:
        if not 1 <= len(button.title) <= TITLE_CHARACTERS:
            yield f"the button {button.title!r} has 1 to {TITLE_CHARACTERS} characters"
        if any(unicodedata.category(c) in ("So", "Cc", "Cs") or c in "*_~`{}" for c in button.title):
            yield f"the button {button.title!r} holds a symbol, a placeholder or markup"
        if len(button.verb) + 1 + template.limits.get("token", 0) > ID_CHARACTERS:
            yield f"the id of the button {button.title!r} may have {ID_CHARACTERS} characters"
