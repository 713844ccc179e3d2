"""What a Twilio account is set to: whether we are signed in, its sender, its clock, and where inbound messages go.

There is an API for the address of a WhatsApp sender and for that of a messaging service. The sandbox has none: its
address is pasted into the console. Status callbacks need no setting anywhere: each message that is sent names its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from receiver.authorization import twilio_http
from receiver.authorization.contents import Contents
from receiver.authorization.templates import TEMPLATES, Template
from receiver.papers import SANDBOX_SENDER

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

METHOD = "POST"
_SENDERS = 1_000  # of an account, at the most
T = TypeVar("T")


class AccountError(Exception):
    """Twilio did not do what it was asked; one line that says so. `outcome`: one of NotSent's words."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Callback:
    """Where Twilio sends what people write. kind: "sandbox", "service" or "sender"; url "" where none is set.

    state: a sender's, as "ONLINE"; "" where there is none to tell.
    """

    kind: str
    url: str
    method: str
    state: str = ""
    sid: str = ""

    def is_set_to(self, url: str) -> bool:
        return (self.url, self.method.upper()) == (url, METHOD)


class Account:
    """A Twilio account, asked through its API. Each method raises AccountError, and takes `timeout_seconds` at most."""

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str,
        session: Callable[[], aiohttp.ClientSession],
        base_url: str | None = None,
        templates: Sequence[Template] = TEMPLATES,
        timeout_seconds: float = 20.0,
    ) -> None:
        """sender: "whatsapp:+14155238886", or the sid of a messaging service ("MG…").

        templates: those that are sent.
        """
        self._sid = account_sid
        self._token = auth_token
        self._sender = sender
        self._session = session
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._made: Client | None = None
        self._contents = Contents(self._client, templates)

    @property
    def sandbox(self) -> bool:
        return self._sender == SANDBOX_SENDER

    async def clock(self) -> tuple[str, datetime | None]:
        """The account's status ("active"), which it tells only to who is signed in, and the time by Twilio's clock."""

        async def ask() -> tuple[str, datetime | None]:
            account = (await self._client()).api.v2010.accounts(self._sid)
            answer = await account.fetch_with_http_info_async()
            return str(answer.data.status), _date(answer.headers)

        return await self._asked(ask)

    async def callback(self) -> Callback:
        """Where inbound messages go now. For the sandbox nothing can be asked: `url` is ""."""

        async def ask() -> Callback:
            if self.sandbox:
                return Callback("sandbox", "", "")
            if self._sender.startswith("MG"):
                service = await (await self._client()).messaging.v1.services(self._sender).fetch_async()
                if service.use_inbound_webhook_on_number:
                    return Callback("service", "", "", "its numbers' own webhooks are used", self._sender)
                return Callback("service", service.inbound_request_url or "", service.inbound_method or "", "", "")
            sender = await self._one_sender()
            webhook: Any = sender.webhook if isinstance(sender.webhook, dict) else {}
            url, method = str(webhook.get("callback_url") or ""), str(webhook.get("callback_method") or METHOD)
            return Callback("sender", url, method, str(sender.status or ""), str(sender.sid))

        return await self._asked(ask)

    async def set_callback(self, url: str) -> None:
        """Let inbound messages go to `url`. Not for the sandbox."""

        async def ask() -> None:
            client = await self._client()
            if self._sender.startswith("MG"):
                await client.messaging.v1.services(self._sender).update_async(
                    inbound_request_url=url, inbound_method=METHOD, use_inbound_webhook_on_number=False
                )
                return
            from twilio.rest.messaging.v2.channels_sender import ChannelsSenderList  # type: ignore[import-untyped]

            sender = await self._one_sender()
            request = ChannelsSenderList.MessagingV2ChannelsSenderRequestsUpdate(
                {"webhook": {"callback_url": url, "callback_method": METHOD}}
            )
            await client.messaging.v2.channels_senders(sender.sid).update_async(
                messaging_v2_channels_sender_requests_update=request
            )

        if self.sandbox:
            raise AccountError("rejected", "Twilio's sandbox has no API for its address: paste it into the console")
        await self._asked(ask)

    async def last_word(self, address: str) -> datetime | None:
        """When the person at `address` last wrote to us, as Twilio's log of messages has it; None for never."""

        async def ask() -> datetime | None:
            to = {} if self._sender.startswith("MG") else {"to": self._sender}
            messages = (await self._client()).messages
            found = await messages.list_async(from_=address, **to, limit=1, page_size=1)
            return (found[0].date_sent or found[0].date_created) if found else None

        return await self._asked(ask)

    async def asked(self, what: Callable[[Contents], Awaitable[T]]) -> T:
        """`what` of the contents, with AccountError for whatever goes wrong."""
        return await self._asked(lambda: what(self._contents))

    async def _one_sender(self) -> Any:
        senders = (await self._client()).messaging.v2.channels_senders
        for sender in await senders.list_async(channel="whatsapp", limit=_SENDERS):
            if sender.sender_id == self._sender:
                return sender
        raise AccountError("bad_recipient", f"the account has no WhatsApp sender {self._sender} (twilio.sender)")

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]

        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await ask()
        except TwilioException as error:
            refusal = twilio_http.not_sent_from(error)
            raise AccountError(refusal.outcome, refusal.detail) from error
        except TimeoutError as error:
            text = f"Twilio did not answer within {self._timeout_seconds:g} s"
            raise AccountError("unreachable", text) from error
        except (aiohttp.ClientError, OSError) as error:
            text = f"Twilio cannot be reached: {type(error).__name__}: {error}"[:300]
            raise AccountError("unreachable", text) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # The SDK indexes into whatever JSON comes back; an answer of another shape surfaces as one of these.
            text = f"Twilio's answer cannot be read: {type(error).__name__}: {error}"[:300]
            raise AccountError("unreachable", text) from error

    async def _client(self) -> Client:
        if self._made is None:
            self._made = await asyncio.to_thread(
                twilio_http.make_client, self._sid, self._token, self._session, self._base_url
            )
        return self._made


def _date(headers: Any) -> datetime | None:
    """Twilio's own time, of the answer's Date; None where it says none that can be read."""
    text = next((value for name, value in dict(headers).items() if name.lower() == "date"), "")
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
