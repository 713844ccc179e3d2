"""PhoneNetwork: the carrier, its phones and its faults, for the demo and for tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web

from . import rules, webhooks
from .calls import Call
from .handset import Phone
from .shapes import Exchange, Message, Refusal, Template, WebhookCall


@dataclass(slots=True)
class Fault:
    """What happens to one request to the API instead of its answer.

    kind: "error" (answers `refusal`), "garbage" (200 with something that is no JSON), "hang" (answers when `release`
    is set), "drop" (closes the connection, nothing accepted), "lost" (accepts, then closes the connection).
    `met` is set when a request has run into it.
    """

    kind: str
    refusal: Refusal | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    met: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Faults:
    """Faults to inject; each may be changed at any time."""

    next_requests: deque[Fault] = field(default_factory=deque)  # consumed in order, one a request that creates
    undeliverable: dict[str, int] = field(default_factory=dict)  # address → error code of the status callback
    status_callbacks: bool = True
    reversed_statuses: bool = False  # "delivered" arrives before "sent"
    duplicate_webhooks: bool = False
    delay_seconds: float = 0.0  # before each webhook that reports something; a call waits for none

    def error(self, status: int, code: int, message: str = "injected") -> None:
        self.next_requests.append(Fault("error", Refusal(status, code, message)))

    def next(self, kind: str) -> Fault:
        fault = Fault(kind)
        self.next_requests.append(fault)
        return fault


class PhoneNetwork:
    """Speaks Twilio's REST API to the service, and signed webhooks back; each address is a phone."""

    def __init__(
        self,
        *,
        account_sid: str = "AC" + "0" * 32,
        auth_token: str = "stand-in",  # noqa: S107  # a stand-in's token protects nothing
        sender: str = "whatsapp:+14155238886",
        caller: str = "+14155238886",
        people: Mapping[str, str] | None = None,
        message_url: str | None = None,
        deliver_to: str | None = None,
        sandbox: bool = True,
        window: timedelta = timedelta(hours=24),
        channel_errors: str = "answer",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """people: name → address; they have joined the sandbox and may be written to freely for `window`.

        caller: the number that calls people and sends SMS.
        message_url: where inbound messages go, "{public_url}/twilio/message"; may be set after start. None: where the
          API was told to send them, if anywhere.
        deliver_to: connect webhooks to this origin, while they are signed for their own address.
        sandbox: only who has joined can be reached (63015), and templates need no approval.
        channel_errors: "answer" refuses a message with 63xxx at once; "status" accepts it and reports the error in a
          status callback, as Twilio often does.
        """
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.sender = sender
        self.caller = caller
        self.message_url = message_url
        self.deliver_to = deliver_to
        self.sandbox = sandbox
        self.window = window
        self.channel_errors = channel_errors
        self.clock = clock
        self.faults = Faults()
        self.calls: dict[str, Call] = {}
        self.templates: dict[str, Template] = {}
        self.messages: dict[str, Message] = {}
        self.opted_out: set[str] = set()
        self.service_sid = "MG" + "5" * 32  # the messaging service that the sender belongs to
        self.sender_sid = "XE" + "7" * 32
        self.sender_status = "ONLINE"
        self.webhook: tuple[str, str] = ("", "POST")  # where inbound messages go, as the API has it
        self.use_webhook_on_number = False
        self.webhook_calls: list[WebhookCall] = []
        self.exchanges: deque[Exchange] = deque(maxlen=2_000)
        self.url = ""
        self._phones: dict[str, Phone] = {}
        self._courier: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ringing: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.stopping = False
        for name, address in (people or {}).items():
            self._phones[address] = Phone(self, address, name)
            self._phones[address].join()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL, which serves the API and the page alike."""
        from .api import make_app

        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(make_app(self), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound_port = self._runner.addresses[0][1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound_port}"
        return self.url

    async def stop(self) -> None:
        self.stopping = True
        self.touch()
        for fault in self.faults.next_requests:
            fault.release.set()
        tasks = (*self._ringing, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def phone(self, who: str) -> Phone:
        """The phone of a person (by name) or of an address. An address that is new has not joined the sandbox."""
        for phone in self._phones.values():
            if who in (phone.name, phone.address, phone.number):
                return phone
        if not rules.WHATSAPP_ADDRESS.fullmatch(who):
            raise LookupError(f"no phone of {who!r}")
        self._phones[who] = Phone(self, who, who.removeprefix("whatsapp:"))
        return self._phones[who]

    def review(self, name: str, status: str, reason: str = "") -> None:
        """WhatsApp's word on the template that was submitted as `name`. Raises LookupError where there is none."""
        for sid, template in self.templates.items():
            if template.approval.get("name") == name:
                approval = {**template.approval, "status": status, "rejection_reason": reason}
                self.templates[sid] = replace(template, approval=approval)
                return
        raise LookupError(f"no template was submitted as {name}")

    @property
    def phones(self) -> tuple[Phone, ...]:
        return tuple(self._phones.values())

    def is_reachable(self, address: str) -> bool:
        return not self.sandbox or (address in self._phones and self._phones[address].joined)

    def in_session(self, address: str) -> bool:
        phone = self._phones.get(address)
        return phone is not None and phone.last_spoke is not None and self.clock() - phone.last_spoke < self.window

    def accept(self, message: Message, failure: int | None) -> None:
        """Take a message that the service sent; its statuses follow. failure: the error that it will end in."""
        self.messages[message.sid] = message
        if failure != 30003 and not (phone := self.phone(message.recipient)).online:
            phone.waiting.add(message.sid)
        self.touch()
        failure = failure or self.faults.undeliverable.get(message.recipient)
        steps: list[tuple[str, int | None]] = [("sent", None), ("delivered", None)]
        if failure is not None:
            steps = [("failed" if failure == 63016 else "undelivered", failure)]
        elif self.faults.reversed_statuses:
            steps.reverse()
        for status, code in steps:
            self.report(message.sid, status, code)

    def report(self, sid: str, status: str, error_code: int | None = None) -> None:
        """Queue a status of a message and its callback, after those that are queued already."""
        before = self._courier.get(sid)

        async def run() -> None:
            if before is not None:
                await asyncio.wait([before])
            if status == "delivered":
                await self.phone(self.messages[sid].recipient).signal()
            message = self.messages[sid]
            if _RANK.get(status, 9) > _RANK.get(message.status, 0):
                self.messages[sid] = replace(message, status=status, error_code=error_code)
                self.touch()
            if message.status_callback and self.faults.status_callbacks:
                fields = webhooks.status_fields(message, status, error_code, self.account_sid)
                await self.call(message.status_callback, fields)

        self._courier[sid] = self._spawn(run())

    async def call(self, url: str, fields: Mapping[str, str]) -> WebhookCall:
        """Send a webhook, twice where that fault is set; the first one's outcome is returned."""
        if self.faults.delay_seconds:
            await asyncio.sleep(self.faults.delay_seconds)
        return (await self._post(url, fields))[0]

    async def ask(self, url: str, fields: Mapping[str, str]) -> webhooks.Answer:
        """The answer to a webhook: a step of a call, whose TwiML says what comes next."""
        return (await self._post(url, fields))[1]

    async def _post(self, url: str, fields: Mapping[str, str]) -> tuple[WebhookCall, webhooks.Answer]:
        if self._session is None:
            raise RuntimeError("the network is not started")
        times = 2 if self.faults.duplicate_webhooks else 1
        sent = [await webhooks.post(self._session, self.auth_token, url, fields, self.deliver_to) for _ in range(times)]
        self.webhook_calls.extend(call for call, _ in sent)
        self.touch()
        return sent[0]

    def dial(self, call: Call) -> None:
        """Let a phone ring. A number that nobody has fails at once."""
        self.calls[call.sid] = call
        phone = next((phone for phone in self._phones.values() if phone.number == call.number), None)
        if phone is None:
            self._spawn(call.decline("failed"))
        elif phone.online:
            self._spawn(self._ring(call), self._ringing)
        else:
            self._spawn(call.decline("no-answer"))

    async def _ring(self, call: Call) -> None:
        if not await call.ring():
            self._spawn(call.decline("no-answer"))

    async def settled(self) -> None:
        """Return when no webhook is on its way. A call may ring meanwhile."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def touch(self) -> None:
        """Wake everyone who waits for news."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self) -> None:
        """Return when anything has changed after this call."""
        await self._news.wait()

    def _spawn(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]] | None = None
    ) -> asyncio.Task[None]:
        tasks = self._tasks if among is None else among
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task


_RANK = {"queued": 1, "sending": 2, "sent": 3, "delivered": 4, "undelivered": 4, "failed": 4, "read": 5}
