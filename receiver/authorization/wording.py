"""The words that a person reads on the phone. Pure: variables in, text out.

Two voices meet in a message: ours, and that of alerts and of the model. Text of the second kind is cleaned, kept on one
line and stands between “ and ”, which it cannot contain; so it can neither end its quotation nor begin a line that
looks like one of ours. A button's payload is never made of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

TEMPLATE_BODY_UNITS = 1024  # WhatsApp's limit for a quick reply's body, after substitution
TOKEN_CHARACTERS = 40
_INPUT_CHARACTERS = 4000  # of one value; what is longer is cut before any work is done on it


@dataclass(frozen=True, slots=True)
class Button:
    title: str  # at most 20 characters: the limit of a button within a session
    verb: str


@dataclass(frozen=True, slots=True)
class Template:
    """One message template. `names[i]` is the meaning of the variable {{i+1}}; "token" stands in button ids alone.

    WhatsApp's rules, held by a test: numbered in order, not first, last or adjacent in the text, and at least
    2 x variables + 1 fixed words.
    """

    stem: str
    language: str
    body: str
    names: tuple[str, ...]
    limits: Mapping[str, int]  # UTF-16 units a value may have
    samples: Mapping[str, str]
    buttons: tuple[Button, ...] = ()

    @property
    def friendly_name(self) -> str:
        return f"{self.stem}_{self.language}"

    def types(self) -> dict[str, object]:
        """The `types` of Twilio's Content API: the text, and the same text with buttons where there are any."""
        types: dict[str, object] = {"twilio/text": {"body": self.body}}
        if self.buttons:
            number = self.names.index("token") + 1
            types["twilio/quick-reply"] = {
                "body": self.body,
                "actions": [
                    {"type": "QUICK_REPLY", "title": button.title, "id": f"{button.verb}.{{{{{number}}}}}"}
                    for button in self.buttons
                ],
            }
        return types

    def numbered(self, values: Mapping[str, str]) -> dict[str, str]:
        return {str(number): values[name] for number, name in enumerate(self.names, start=1)}

    def sample_variables(self) -> dict[str, str]:
        return self.numbered(self.samples)


OPENED = Template(
    stem="counterfoil_opened_v1",
    language="en",
    body=(
        "*Incident* “{{1}}”\n"
        "The alert says: “{{2}}”\n"
        "Policy found: “{{3}}”\n"
        "Claude thinks: “{{4}}”\n"
        "\n"
        "*Proposed action:* {{5}}.\n"
        "Risk: {{6}}.\n"
        "Nothing is done unless you approve before {{7}}.\n"
        "\n"
        "Tap a button, or reply *A {{8}}* to approve or *R {{9}}* to reject.\n"
        "Reference {{10}}, sent by Counterfoil."
    ),
    names=(
        "incident",
        "summary",
        "finding",
        "diagnosis",
        "action",
        "risk",
        "expires",
        "code",
        "code",
        "reference",
        "token",
    ),
    limits={
        "incident": 80,
        "summary": 140,
        "finding": 120,
        "diagnosis": 240,
        "action": 110,
        "risk": 110,
        "expires": 40,
        "code": 8,
        "reference": 40,
        "token": TOKEN_CHARACTERS,
    },
    samples={
        "incident": "checkout-errors checkout",
        "summary": "Every third request to checkout fails",
        "finding": "error ratio 0.31 >= 0.05",
        "diagnosis": "The errors began with the deployment at 10:02",
        "action": "restart the checkout service",
        "risk": "requests in flight are lost",
        "expires": "10:21 CAT",
        "code": "7K3P",
        "reference": "inc-7f3a9c0012",
        "token": "12-q5x3k2hc7m4nwzsjv6ytr2dpga",
    },
    buttons=(Button("Approve", "approve"), Button("Reject", "reject"), Button("On it", "onit")),
)

NOTICE = Template(
    stem="counterfoil_notice_v1",
    language="en",
    body=("*Counterfoil:* {{1}}\nReference {{2}}. Reply STATUS to see what is open, or HALT to stop every action."),
    names=("text", "reference"),
    limits={"text": 700, "reference": 40},
    samples={"text": "Policy declares that checkout has recovered.", "reference": "inc-7f3a9c0012"},
)

TEMPLATES = (OPENED, NOTICE)
REPLY_UNITS = 1000

# WhatsApp refuses an empty value, so each absence has its word.
_ABSENT = {
    "diagnosis": "no explanation in time",
    "risk": "none is stated",
    "finding": "the alert's own word",
    "summary": "no summary",
    "incident": "unnamed",
}

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


def clean(text: str, units: int) -> str:
    """`tidy`, and nothing that WhatsApp or a phone makes bold, tappable or diallable.

    A web address and a telephone number are replaced by a word; a host name keeps its letters but is no longer a link.
    """
    text = tidy(text, _INPUT_CHARACTERS)
    text = _LINK.sub("[link]", text)
    text = _PHONE.sub("[number]", text)
    text = _LONG_NUMBER.sub(lambda match: f"{int(match[0]):,}" if len(match[0]) < 40 else "[number]", text)
    text = _DOT_IN_NAME.sub("\u2024", text)
    return shorten(text.translate(_MARKUP), units)


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
    values = {}
    for name in dict.fromkeys(template.names):
        if name == "token":
            values[name] = _checked(token)
        else:
            cleaned = clean(variables.get(name, ""), template.limits[name])
            if name in ("action", "risk"):
                cleaned = cleaned.rstrip(" .")  # the template closes these sentences itself
            values[name] = cleaned or _ABSENT.get(name, "none")
    for name in ("diagnosis", "summary"):
        excess = units_of(fill(template, values)) - TEMPLATE_BODY_UNITS
        if excess > 0 and name in values:
            values[name] = shorten(values[name], max(8, units_of(values[name]) - excess))
    return values


def fill(template: Template, values: Mapping[str, str]) -> str:
    """The text as the person sees it."""
    numbered = template.numbered(values)
    return re.sub(r"\{\{(\d+)\}\}", lambda match: numbered[match[1]], template.body)


def reply_text(variables: Mapping[str, str]) -> str:
    """The text of a free-form answer to what a person has just written."""
    text = clean(variables.get("text", ""), REPLY_UNITS) or "Counterfoil has nothing to say to that."
    reference = clean(variables.get("reference", ""), 40)
    return f"{text} ({reference})" if reference else text


def template_for(stem: str, language: str) -> Template:
    """The template in `language`, or the English one where there is none."""
    candidates = [template for template in TEMPLATES if template.stem == stem]
    return next((template for template in candidates if template.language == language), candidates[0])


def _checked(token: str | None) -> str:
    if token is None or not re.fullmatch(rf"[A-Za-z0-9-]{{1,{TOKEN_CHARACTERS}}}", token):
        raise ValueError("a message with buttons needs a token of letters, digits and hyphens")
    return token
