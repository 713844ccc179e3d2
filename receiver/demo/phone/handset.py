"""One person's phone: what has arrived on it, and what the person does with it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from . import rules, webhooks
from .calls import Call
from .shapes import Message, new_sid

if TYPE_CHECKING:
    from .network import PhoneNetwork


class Phone:
    """One person's phone."""

    def __init__(self, network: PhoneNetwork, address: str, name: str) -> None:
        self.address = address
        self.number = address.removeprefix("whatsapp:")
        self.name = name
        self.external_id = "whatsapp:XX." + hashlib.sha256(address.encode()).hexdigest()[:16]
        self.joined = False
        self.waiting: set[str] = set()  # messages that wait for a signal
        self._signal = asyncio.Event()
        self._signal.set()
        self._unsent: list[tuple[Message, Mapping[str, str]]] = []
        self.last_spoke: datetime | None = None
        self._network = network
        self._taken = 0

    def join(self) -> None:
        """Write "join …" to the sandbox: the person can be reached, and the session is open."""
        self.joined = True
        self.last_spoke = self._network.clock()

    @property
    def online(self) -> bool:
        return self._signal.is_set()

    def lose_signal(self) -> None:
        """From now on nothing arrives and nothing leaves. What is sent meanwhile waits; a call rings for nobody."""
        self._signal.clear()
        self._network.touch()

    async def find_signal(self) -> None:
        """What waited arrives, and what was written meanwhile is sent, in order."""
        self._signal.set()
        self.waiting.clear()
        self._network.touch()
        unsent, self._unsent = self._unsent, []
        for message, extra in unsent:
            await self._deliver(message, extra)

    async def signal(self) -> None:
        """Return once there is a signal."""
        await self._signal.wait()

    def change_sim(self) -> None:
        """The number moves to another person's phone: the carrier names another id for it from now on."""
        self.external_id = "whatsapp:XX." + secrets.token_hex(8)
        self._network.touch()

    def refuse(self, code: int | None) -> None:
        """Let what is sent to this phone end undelivered with an error of the carrier's; None: no more."""
        undeliverable = self._network.faults.undeliverable
        undeliverable.pop(self.address, None)
        if code is not None:
            undeliverable[self.address] = code
        self._network.touch()

    @property
    def conversation(self) -> tuple[Message, ...]:
        """Every message in either direction, oldest first."""
        mine = {self.address, self.number}
        return tuple(m for m in self._network.messages.values() if mine & {m.sender, m.recipient})

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that reached this phone, oldest first."""
        lost = ("undelivered", "failed")
        mine = (m for m in self.conversation if not m.inbound and m.status not in lost)
        return tuple(message for message in mine if message.sid not in self.waiting)

    @property
    def last_message(self) -> Message:
        if not self.messages:
            raise LookupError(f"{self.name} has no message")
        return self.messages[-1]

    async def next_message(
        self, where: Callable[[Message], bool] | None = None, *, says: str = "", timeout: float = 10.0
    ) -> Message:
        """The next message that was not taken by an earlier call and fits; those before it are passed over.

        Raises AssertionError after `timeout` seconds, naming what has come instead.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    news = asyncio.ensure_future(self._network.news())
                    for position, message in enumerate(self.messages[self._taken :], start=self._taken):
                        if (where is None or where(message)) and message.says(says):
                            self._taken = position + 1
                            news.cancel()
                            return message
                    await news
        except TimeoutError:
            got = [message.body for message in self.messages[self._taken :]]
            raise AssertionError(f"{self.name} got no message that says {says!r} in {timeout:g} s, but {got}") from None

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call to this phone, oldest first."""
        return tuple(call for call in self._network.calls.values() if call.number == self.number)

    async def next_call(self, timeout: float = 10.0) -> Call:
        """The call that rings, once one does. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                news = asyncio.ensure_future(self._network.news())
                for call in self.calls:
                    if call.status == "ringing":
                        news.cancel()
                        return call
                await news

    async def tap(self, title: str, message: Message | None = None) -> int | None:
        """Tap a button of `message`, or of the newest message that has it. Returns the webhook's HTTP status.

        Raises LookupError where there is no such button.
        """
        with_button = [m for m in self.messages if any(b.title.lower() == title.lower() for b in m.buttons)]
        original = message or (with_button[-1] if with_button else self.last_message)
        button = original.button(title)
        self.read()
        return await self._write(button.title, webhooks.tap_fields(original, button), reply_to=original.sid)

    async def say(self, text: str) -> int | None:
        """Write a text. Returns the webhook's HTTP status; None where Twilio keeps the word to itself (STOP)."""
        self.read()
        word = text.strip().upper()
        if word in rules.OPT_OUT_WORDS:
            self._network.opted_out.add(self.address)
            return None
        if word in rules.OPT_IN_WORDS:
            self._network.opted_out.discard(self.address)
        return await self._write(text, {})

    def read(self) -> None:
        """Look at the screen: what was delivered is read, and says so where it has a status callback."""
        for message in self.messages:
            if message.status == "delivered":
                self._network.report(message.sid, "read")

    async def _write(self, body: str, extra: Mapping[str, str], reply_to: str | None = None) -> int | None:
        network = self._network
        message = Message(
            new_sid("SM"), True, self.address, network.sender, body, "received", network.clock(), reply_to=reply_to
        )
        network.messages[message.sid] = message
        self.last_spoke = message.at
        network.touch()
        if not self.online:
            self._unsent.append((message, extra))
            return None
        return await self._deliver(message, extra)

    async def _deliver(self, message: Message, extra: Mapping[str, str]) -> int | None:
        network = self._network
        url = network.message_url or network.webhook[0]
        if not url:
            return None
        fields = webhooks.inbound_fields(
            message, account_sid=network.account_sid, profile=self.name, external_id=self.external_id
        )
        return (await network.call(url, {**fields, **extra})).status
