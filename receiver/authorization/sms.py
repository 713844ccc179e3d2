"""SMS to people, through Twilio: one way, for whoever no message reaches otherwise. No answer by SMS counts.

In many countries, Zimbabwe among them, a number cannot take SMS back; so it says where an answer does count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import quote

from receiver.authorization import twilio_http
from receiver.authorization.connection import Connection, Unsendable
from receiver.authorization.templates import language_of
from receiver.authorization.wording import clean, shorten
from receiver.papers import NotSent, OutgoingMessage, Sent

PAGE_UNITS = 120
UNITS = 290  # with the page; with what we add, six segments at the most, and three of plain GSM that need not be cut
VALIDITY_SECONDS = (60, 14_400)
ONE_WAY: Mapping[str, str] = {
    "en": "Answer on WhatsApp: nothing sent here is read.",
    "pt": "Responda no WhatsApp: aqui nada é lido.",
    "fr": "Répondez sur WhatsApp : rien n'est lu ici.",
}


class Sms:
    """A carrier. sender: a number of Twilio's, "+12025550100", or a messaging service ("MG…")."""

    def __init__(self, connection: Connection, sender: str, public_url: str) -> None:
        self._connection = connection
        self._sender = sender
        self._public_url = public_url.rstrip("/")

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Hand `message` to Twilio. Never raises. What became of it comes to /twilio/status."""
        return await self._connection.guarded(lambda: self._send(message))

    async def _send(self, message: OutgoingMessage) -> Sent | NotSent:
        if message.recipient.phone is None:
            raise Unsendable("the person has no number for SMS")
        text = text_of(message.variables, message.recipient.language)
        sender = {"messaging_service_sid" if self._sender.startswith("MG") else "from_": self._sender}
        callback = f"{self._public_url}/twilio/status?m={quote(message.message_id, safe='')}"
        low, high = VALIDITY_SECONDS
        sent = await (await self._connection.client()).messages.create_async(
            to=message.recipient.phone,
            **sender,
            body=text,
            **({"status_callback": callback} if self._public_url else {}),
            validity_period=min(max(message.valid_seconds, low), high),
        )
        if sent.status in ("failed", "undelivered", "canceled"):
            outcome, retry = twilio_http.outcome_of_code(sent.error_code if isinstance(sent.error_code, int) else None)
            return NotSent(outcome, f"Twilio took the SMS and said {sent.status} at once", retry)
        if not isinstance(sent.sid, str) or not sent.sid:
            return NotSent("unreachable", "Twilio's answer names no message sid", 10.0)
        return Sent(sent.sid, hashlib.sha256(text.encode()).hexdigest(), text)


def text_of(variables: Mapping[str, str], language: str) -> str:
    """What the SMS says: the notice, cleaned and short, reference, the person's page, and where an answer counts."""
    page = variables.get("page", "")
    page = page if len(page) <= PAGE_UNITS else ""  # a part of it leads nowhere
    units = UNITS - len(page)
    text = shorten(clean(variables.get("text") or variables.get("summary", ""), units, language), units)
    reference = clean(variables.get("reference", ""), 40)
    parts = ["Counterfoil:", text, f"({reference})" if reference else "", page, ONE_WAY[language_of(language)]]
    return " ".join(part for part in parts if part)
