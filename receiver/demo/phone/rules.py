"""What Twilio and WhatsApp refuse, as pure functions; stricter where their documentation is vague."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .shapes import Button, Refusal, Template

NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
WHATSAPP_ADDRESS = re.compile(r"whatsapp:(\+[1-9][0-9]{6,14}|[A-Z]{2}\.[A-Za-z0-9]{1,60})")
OPT_OUT_WORDS = frozenset(["STOP", "STOPALL", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "UNSUBSCRIBE"])
OPT_IN_WORDS = frozenset(["START", "YES", "UNSTOP"])

_FIELDS = frozenset(
    """
    AddressRetention ApplicationSid Attempt Body ContentRetention ContentSid ContentVariables FallbackFrom ForceDelivery
    From MaxPrice MediaUrl MessageIntent MessagingServiceSid PersistentAction ProvideFeedback RiskCheck ScheduleType
    SendAsMms SendAt ShortenUrls SmartEncoded StatusCallback To TrafficType ValidityPeriod
    """.split()  # noqa: SIM905  # a list of 26 quoted words is harder to read
)
_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_CONTENT_FIELDS = frozenset(("friendly_name", "language", "variables", "types"))


def check_form(pairs: Sequence[tuple[str, str]], sender: str) -> Refusal | dict[str, str]:
    """The fields of a request to create a message, or why they are refused before any template is looked at."""
    fields = dict(pairs)
    if unknown := sorted(set(fields) - _FIELDS):
        return Refusal(400, 20001, f"Unknown parameters: {', '.join(unknown)}")
    if len(fields) != len(pairs):
        return Refusal(400, 20001, "A parameter is given twice")
    if not fields.get("To"):
        return Refusal(400, 21604, "A 'To' phone number is required.")
    if not WHATSAPP_ADDRESS.fullmatch(fields["To"]):
        return Refusal(400, 21211, f"Invalid 'To' Phone Number: {fields['To']}")
    if not fields.get("From") and not fields.get("MessagingServiceSid"):
        return Refusal(400, 21603, "A 'From' phone number is required.")
    if fields.get("From") and fields["From"] != sender:
        return Refusal(400, 63007, "Twilio could not find a Channel with the specified From address")
    if (service := fields.get("MessagingServiceSid")) and not re.fullmatch(r"MG[0-9a-fA-F]{32}", service):
        return Refusal(400, 21701, "The Messaging Service does not exist")
    if fields["To"] == sender:
        return Refusal(400, 63031, "Channel message cannot have same From and To")
    return _check_content_fields(fields) or _check_delivery_fields(fields) or fields


def check_sms(pairs: Sequence[tuple[str, str]]) -> Refusal | dict[str, str]:
    """The fields of a request to send an SMS, from the account's own number, or why they are refused."""
    fields = dict(pairs)
    if unknown := sorted(set(fields) - _FIELDS):
        return Refusal(400, 20001, f"Unknown parameters: {', '.join(unknown)}")
    if len(fields) != len(pairs):
        return Refusal(400, 20001, "A parameter is given twice")
    if not fields.get("To"):
        return Refusal(400, 21604, "A 'To' phone number is required.")
    if not NUMBER.fullmatch(fields["To"]):
        return Refusal(400, 21211, f"Invalid 'To' Phone Number: {fields['To']}")
    if "ContentSid" in fields:
        return Refusal(400, 21620, "This stand-in sends templates over WhatsApp alone")
    return _check_content_fields(fields) or _check_delivery_fields(fields) or fields


def _check_content_fields(fields: Mapping[str, str]) -> Refusal | None:
    if "MediaUrl" in fields:
        return Refusal(400, 21620, "This stand-in takes no media")
    if not fields.get("Body") and not fields.get("ContentSid"):
        return Refusal(400, 21602, "Message body is required.")
    if "Body" in fields and "ContentSid" in fields:
        return Refusal(400, 20001, "Body and ContentSid exclude each other")
    if "ContentVariables" in fields and "ContentSid" not in fields:
        return Refusal(400, 21654, "ContentSid Required")
    if len(fields.get("Body", "")) > 1600:
        return Refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    return None


def _check_delivery_fields(fields: Mapping[str, str]) -> Refusal | None:
    if "StatusCallback" in fields and not is_callback(fields["StatusCallback"]):
        return Refusal(400, 21609, "The 'StatusCallback' URL is not a valid URL")
    validity = fields.get("ValidityPeriod")
    if validity is not None and not (re.fullmatch(r"[0-9]{1,5}", validity) and 1 <= int(validity) <= 36000):
        return Refusal(400, 21622, "ValidityPeriod must be an integer from 1 to 36000")
    return None


def is_callback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "_" not in (parts.hostname or "")
    except ValueError:
        return False


def check_variables(text: str | None, template: Template) -> Refusal | dict[str, str]:
    """The values for `template`: defaults for what is missing; refused where WhatsApp would refuse a value."""
    try:
        given = json.loads(text) if text is not None else {}
    except ValueError:
        return Refusal(400, 21656, "The ContentVariables Parameter is invalid: not JSON")
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        return Refusal(400, 21656, "The ContentVariables Parameter is invalid: not an object of strings")
    wanted = variables_of(template.types)
    if unknown := sorted(set(given) - wanted):
        return Refusal(400, 21656, f"The ContentVariables Parameter is invalid: unknown {', '.join(unknown)}")
    values = {name: given.get(name, template.variables.get(name, "")) for name in wanted}
    for name, value in sorted(values.items()):
        if not value.strip():
            return Refusal(400, 21656, f"The ContentVariables Parameter is invalid: {name} is empty")
        if re.search(r"[\n\r\t\v\f]| {5,}", value):
            return Refusal(400, 63013, f"Variable {name} holds a newline, a tab or more than four spaces (132018)")
        if "{{" in value:
            return Refusal(400, 21656, f"The ContentVariables Parameter is invalid: {name} holds a placeholder")
    return values


def render(template: Template, values: Mapping[str, str]) -> Refusal | tuple[str, tuple[Button, ...]]:
    """Body and buttons with the values filled in."""

    def fill(text: str) -> str:
        return _VARIABLE.sub(lambda match: values[match[1]], text)

    quick_reply = template.types.get("twilio/quick-reply")
    if quick_reply is None:
        body = fill(template.types["twilio/text"]["body"])
        return (body, ()) if len(body) <= 1600 else Refusal(400, 21617, "The message body exceeds 1600 characters")
    body = fill(quick_reply["body"])
    if len(body.encode("utf-16-le")) // 2 > 1024:
        return Refusal(400, 63013, "The body of a quick reply exceeds 1024 characters")
    buttons = tuple(Button(fill(action["title"]), fill(action.get("id", ""))) for action in quick_reply["actions"])
    if any(len(button.payload) > 200 for button in buttons):
        return Refusal(400, 63013, "The id of a button exceeds 200 characters")
    return body, buttons


def variables_of(types: Mapping[str, Any]) -> set[str]:
    return set(_VARIABLE.findall(json.dumps(types, ensure_ascii=False)))


def check_content(data: object) -> Refusal | None:
    """Why a template is refused, or None. Holds the rules for variables that WhatsApp applies on approval."""
    if not isinstance(data, dict) or set(data) - _CONTENT_FIELDS:
        return Refusal(400, 20001, "Content must be an object of friendly_name, language, variables and types")
    types = data.get("types")
    if not isinstance(data.get("language"), str) or not re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2})?", data["language"]):
        return Refusal(400, 20001, "language is required, as in 'en' or 'en_GB'")
    if not isinstance(types, dict) or not types or set(types) - {"twilio/text", "twilio/quick-reply"}:
        return Refusal(400, 20001, "types must name twilio/text or twilio/quick-reply")
    variables = data.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        return Refusal(400, 20001, "variables must be an object of strings")
    for name, content in types.items():
        refusal = _check_type(name, content)
        if refusal is not None:
            return refusal
    numbers = variables_of(types)
    if numbers != {str(n) for n in range(1, len(numbers) + 1)}:
        return Refusal(400, 20001, "variables must be numbered from 1 without a gap")
    if numbers - set(variables):
        return Refusal(400, 20001, "each variable needs a sample")
    return None


def _check_type(name: str, content: object) -> Refusal | None:
    allowed = {"body", "actions"} if name == "twilio/quick-reply" else {"body"}
    if not isinstance(content, dict) or set(content) != allowed or not isinstance(content["body"], str):
        return Refusal(400, 20001, f"{name} must have exactly {' and '.join(sorted(allowed))}")
    return _check_body(content["body"]) or (_check_actions(content["actions"]) if "actions" in allowed else None)


def _check_body(body: str) -> Refusal | None:
    numbers = _VARIABLE.findall(body)
    words = re.findall(r"[^\W\d_]+", _VARIABLE.sub(" ", body))
    if not body.strip() or len(body) > 1024:
        return Refusal(400, 20001, "body must have 1 to 1024 characters")
    if body.strip().startswith("{{") or body.strip().endswith("}}"):
        return Refusal(400, 20001, "a variable stands first or last in the body")
    if re.search(r"\}\}\s*\{\{", body):
        return Refusal(400, 20001, "two variables stand side by side")
    if numbers != [str(n) for n in range(1, len(numbers) + 1)]:
        return Refusal(400, 20001, "variables must be numbered in the order in which they stand")
    if numbers and len(words) < 2 * len(numbers) + 1:
        return Refusal(400, 20001, "too many variables for so few words")
    return None


def _check_actions(actions: object) -> Refusal | None:
    if not isinstance(actions, list) or not 1 <= len(actions) <= 3:
        return Refusal(400, 20001, "a quick reply within a session has 1 to 3 buttons")
    for action in actions:
        if not isinstance(action, dict) or set(action) - {"type", "title", "id"}:
            return Refusal(400, 20001, "a button has type, title and id")
        title, identity = action.get("title"), action.get("id", "")
        if action.get("type") != "QUICK_REPLY" or not isinstance(title, str) or not isinstance(identity, str):
            return Refusal(400, 20001, "a button has the type QUICK_REPLY and texts")
        if not 1 <= len(title) <= 20 or _VARIABLE.search(title):
            return Refusal(400, 20001, "a button's title has 1 to 20 characters and no variable")
        if len(identity) > 200:
            return Refusal(400, 20001, "a button's id has at most 200 characters")
    titles = [action["title"] for action in actions]
    return Refusal(400, 20001, "two buttons have the same title") if len(set(titles)) < len(titles) else None
