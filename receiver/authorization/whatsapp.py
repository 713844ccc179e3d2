"""Messages to people over WhatsApp, through Twilio.

One message is one call; there is no retry here, because only the ledger knows whether another try still makes sense.
"Accepted by the API" is not "delivered": what became of the message comes later, to /twilio/status.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import aiohttp

from receiver.authorization import twilio_http, wording
from receiver.authorization.contents import Contents, Standing
from receiver.authorization.templates import NOTICE, OPENED, template_for
from receiver.papers import MessageKind, NotSent, OutgoingMessage, Sent

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

T = TypeVar("T")
SEND_SECONDS = 10.0  # for the whole of a send, the lookup of its template included
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
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._sender = sender
        self._public_url = public_url.rstrip("/")
        self._session = session
        self._clock = clock
        self._base_url = base_url
        self._daily_message_limit = daily_message_limit
        self._timeout_seconds = timeout_seconds
        self._client: Client | None = None
        self._client_lock = asyncio.Lock()
        self.contents = Contents(self._twilio)
        self._day: date | None = None
        self._sent_today = 0

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Hand `message` to Twilio. Never raises; takes at most `timeout_seconds`."""
        exhausted = self._take_one_of_today()
        if exhausted is not None:
            return exhausted
        answer = await self._guarded(lambda: self._send(message))
        if isinstance(answer, NotSent) and answer.outcome != "unreachable":
            self._sent_today -= 1  # refused for certain; after a silence Twilio may have sent it, so that one counts
        return answer

    def count_on_from(self, former: WhatsApp) -> None:
        """Count today's messages on from those that `former`, which this one replaces, has sent."""
        self._day, self._sent_today = former._day, former._sent_today

    async def standings(self) -> tuple[Standing, ...] | NotSent:
        """How each template stands at Twilio and at WhatsApp. Never raises."""
        return await self._guarded(self.contents.standings)

    async def _guarded(self, ask: Callable[[], Awaitable[T]]) -> T | NotSent:
        from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]

        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await ask()
        except TwilioException as error:
            return twilio_http.not_sent_from(error)
        except TimeoutError:
            return NotSent("unreachable", f"Twilio did not answer within {self._timeout_seconds:g} s", 10.0)
        except (aiohttp.ClientError, OSError) as error:
            return NotSent("unreachable", f"Twilio cannot be reached: {type(error).__name__}: {error}"[:300], 10.0)
        except _Unsendable as error:
            return NotSent("rejected", str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # The SDK indexes into whatever JSON comes back; an answer of another shape surfaces as one of these.
            return NotSent(
                "unreachable", f"Twilio's answer cannot be read: {type(error).__name__}: {error}"[:300], 10.0
            )

    async def _send(self, message: OutgoingMessage) -> Sent | NotSent:
        if message.kind is MessageKind.REPLY:
            content = wording.reply_text(message.variables)
            fields: dict[str, Any] = {"body": content}
        else:
            stem = (OPENED if message.kind is MessageKind.OPENED else NOTICE).stem
            template = template_for(stem, message.recipient.language)
            try:
                values = wording.values_for(template, message.variables, message.token)
            except ValueError as error:
                raise _Unsendable(str(error)) from error
            content = wording.fill(template, values)
            variables = json.dumps(template.numbered(values), ensure_ascii=False, separators=(",", ":"))
            fields = {"content_sid": await self.contents.sid(template), "content_variables": variables}
        instance = await (await self._twilio()).messages.create_async(
            to=message.recipient.address,
            **self._from(),
            **fields,
            status_callback=f"{self._public_url}/twilio/status?m={quote(message.message_id, safe='')}",
            validity_period=min(max(message.valid_seconds, _VALIDITY_SECONDS[0]), _VALIDITY_SECONDS[1]),
        )
        return _outcome_of(instance, content)

    async def _twilio(self) -> Client:
        async with self._client_lock:
            if self._client is None:
                # In a thread, because importing the SDK takes longer than anyone else on this loop should wait.
                self._client = await asyncio.to_thread(
                    twilio_http.make_client, self._account_sid, self._auth_token, self._session, self._base_url
                )
            return self._client

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


class _Unsendable(Exception):
    """The message itself is wrong; no carrier could send it."""


def _outcome_of(instance: Any, content: str) -> Sent | NotSent:
    if instance.status in ("failed", "undelivered", "canceled"):
        code = instance.error_code
        outcome, retry_seconds = twilio_http.outcome_of_code(code if isinstance(code, int) else None)
        return NotSent(outcome, f"Twilio took the message and failed at once, error {code}", retry_seconds)
    if not isinstance(instance.sid, str) or not instance.sid:
        return NotSent("unreachable", "Twilio's answer names no message sid", 10.0)
    return Sent(instance.sid, hashlib.sha256(content.encode()).hexdigest(), content)
