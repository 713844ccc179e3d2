"""Twilio's error codes in words, for people who do not look them up (https://www.twilio.com/docs/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[int, str] = {
    20003: "the account sid or the auth token is wrong",
    20404: "there is no such thing at Twilio",
    20429: "too many requests at once",
    21211: "the number is not a valid one",
    21408: "the account may not write to that country",
    21610: "the person opted out with STOP",
    21614: "the number cannot take such messages",
    21655: "the template is not known at Twilio",
    21656: "a value of the template is not allowed",
    30003: "the phone is switched off or out of reach",
    30005: "the number does not exist any more",
    30006: "the line cannot take such messages",
    30008: "the carrier gives no reason",
    63003: "WhatsApp does not know the number",
    63005: "WhatsApp refused the content",
    63007: "twilio.sender is no WhatsApp sender of the account",
    63013: "WhatsApp's rules forbid the content",
    63014: "the person blocked the sender, or opted out",
    63015: "the person has not joined the sandbox, or longer ago than it remembers",
    63016: "the person wrote longer than 24 hours ago, and the message was no approved template",
    63018: "WhatsApp's limit on the rate was reached",
    63024: "the number has no WhatsApp",
    63031: "sender and recipient are the same",
    63032: "WhatsApp holds the person in an experiment, and does not deliver",
    63038: "the account's daily limit of messages was reached",
    63049: "WhatsApp chose not to deliver this message",
}


def words_of(code: int | None) -> str:
    """What `code` means: "error 63016: the person wrote …", "error 63999", or "no error code"."""
    if code is None:
        return "no error code"
    said = WORDS.get(code)
    return f"error {code}: {said}" if said else f"error {code}"
