"""Messages to people over WhatsApp, through Twilio.

One message is one call; there is no retry here, because only the ledger knows whether another try still makes sense.
"Accepted by the API" is not "delivered": what became of the message comes later, to /twilio/status.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp

from receiver.authorization import twilio_http, wording
from receiver.authorization.carrier_codes import words_of
from receiver.authorization.connection import SEND_SECONDS, Connection, Unsendable
from receiver.authorization.contents import Contents, Standing
from receiver.authorization.templates import NOTICE, OPENED, template_for, templates_for, without_buttons
from receiver.papers import MessageKind, NotSent, OutgoingMessage, Sent

_VALIDITY_SECONDS = (10, 36_000)  # Twilio takes 1 to 36000 and recommends more than 5
_LOG = logging.getLogger("counterfoil.whatsapp")


class WhatsApp:
    """A carrier. Takes plain values; `session` and `clock` are called when they are needed, never kept."""

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str,
        public_url: str,
        session: Callable[[], aiohttp.ClientSession],
        clock: Callable[[], datetime],
        base_url: str | None = None,
        daily_message_limit: int = 200,
        timeout_seconds: float = SEND_SECONDS,
    ) -> None:
        """sender: "whatsapp:+14155238886", or the sid of a messaging service ("MG…").

        base_url: another origin for all of Twilio's hosts, as a test or a proxy needs it; None for Twilio itself.
        daily_message_limit: messages a UTC day that Twilio may accept from this process.
        """
        self._connection = Connection(account_sid, auth_token, session, base_url, timeout_seconds)
        self._sender = sender
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        self._daily_message_limit = daily_message_limit
        self.contents = Contents(self._connection.client, templates_for(buttons=bool(public_url)))
        self._day: date | None = None
        self._sent_today = 0

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Hand `message` to Twilio. Never raises; takes at most `timeout_seconds`."""
        exhausted = self._take_one_of_today()
        if exhausted is not None:
            return exhausted
        answer = await self._connection.guarded(lambda: self._send(message))
        if isinstance(answer, NotSent) and answer.outcome != "unreachable":
            self._sent_today -= 1  # refused for certain; after a silence Twilio may have sent it, so that one counts
        return answer

    def count_on_from(self, former: WhatsApp) -> None:
        """Count today's messages on from those that `former`, which this one replaces, has sent."""
        self._day, self._sent_today = former._day, former._sent_today

    def count_on(self, day: date, sent: int) -> None:
        """Begin with what was sent on `day` before."""
        self._day, self._sent_today = day, sent

    async def standings(self) -> tuple[Standing, ...] | NotSent:
        """How each template stands at Twilio and at WhatsApp. Never raises."""
        return await self._connection.guarded(self.contents.standings)

    async def _send(self, message: OutgoingMessage) -> Sent | NotSent:
        if message.kind is MessageKind.REPLY:
            content = wording.reply_text(message.variables, message.recipient.language)
            fields: dict[str, Any] = {"body": content}
        else:
            stem = (OPENED if message.kind in (MessageKind.OPENED, MessageKind.DRILL) else NOTICE).stem
            template = template_for(stem, message.recipient.language)
            if not self._public_url:
                template = without_buttons(template)
            try:
                values = wording.values_for(template, message.variables, message.token)
            except ValueError as error:
                raise Unsendable(str(error)) from error
            content = wording.fill(template, values)
            variables = json.dumps(template.numbered(values), ensure_ascii=False, separators=(",", ":"))
            fields = {"content_sid": await self.contents.sid(template), "content_variables": variables}
        instance = await (await self._connection.client()).messages.create_async(
            to=message.recipient.address,
            **self._from(),
            **fields,
            **self._callback(message),
            validity_period=min(max(message.valid_seconds, _VALIDITY_SECONDS[0]), _VALIDITY_SECONDS[1]),
        )
        return _outcome_of(instance, content)

    def _callback(self, message: OutgoingMessage) -> dict[str, str]:
        """Where Twilio says what became of it; nowhere, where nobody can reach us and the list of messages is read."""
        if not self._public_url:
            return {}
        return {"status_callback": f"{self._public_url}/twilio/status?m={quote(message.message_id, safe='')}"}

    def _from(self) -> dict[str, str]:
        return {"messaging_service_sid" if self._sender.startswith("MG") else "from_": self._sender}

    def _take_one_of_today(self) -> NotSent | None:
        now = self._clock()
        if now.date() != self._day:
            self._day, self._sent_today = now.date(), 0
        if self._sent_today >= self._daily_message_limit:
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), tzinfo=now.tzinfo)
            detail = (
                f"our own limit of {self._daily_message_limit} messages a day (twilio.daily_message_limit) is reached"
            )
            return NotSent("daily_limit", detail, (midnight - now).total_seconds())
        self._sent_today += 1
        return None


def _outcome_of(instance: Any, content: str) -> Sent | NotSent:
    if instance.status in ("failed", "undelivered", "canceled"):
        code = instance.error_code if isinstance(instance.error_code, int) else None
        outcome, retry_seconds = twilio_http.outcome_of_code(code)
        return NotSent(outcome, f"Twilio took the message and failed at once, {words_of(code)}", retry_seconds)
    if not isinstance(instance.sid, str) or not instance.sid:
        return NotSent("unreachable", "Twilio's answer names no message sid", 10.0)
    return Sent(instance.sid, hashlib.sha256(content.encode()).hexdigest(), content)
