"""Hearing by asking: a service that nobody reaches from outside reads the carrier's list, each message once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import aiohttp
import pytest

from ledger.entry import Entry
from ledger.journal import Unavailable
from receiver.authorization.channels import Channels
from receiver.authorization.connection import Connection
from receiver.authorization.message_list import MessageList
from receiver.authorization.templates import OPENED, TEMPLATES, without_buttons
from receiver.authorization.whatsapp import WhatsApp
from receiver.demo.phone import PhoneNetwork
from receiver.intake.polling import FIRST, Poller, poll_forever
from receiver.intake.replies import Replies
from receiver.intake.signed import Signed
from receiver.papers import WHATSAPP
from tests.receiver.governed import SECRET, TENANT, Governed, GrowingJournal

NUMBERS = {"tendai": "whatsapp:+263771234500", "ruth": "whatsapp:+263771234501"}


class Home:
    """A governor that runs behind a wall: no webhook reaches it, and it reads the list in pages of three."""

    def __init__(self) -> None:
        self.journal = GrowingJournal()
        self.governed = Governed(journal=self.journal)
        self.journal.at(self.governed.clock)
        self.ahead = timedelta(0)  # of our clock before the carrier's
        self.network = PhoneNetwork(people=NUMBERS, clock=lambda: self.governed.clock.now() - self.ahead)
        self.network.faults.status_callbacks = False

    def person_by_address(self, address: str) -> Sequence[tuple[str, str]]:
        return [(TENANT, name) for name, number in NUMBERS.items() if number == address]

    async def start(self) -> None:
        self.session = aiohttp.ClientSession()
        url, network = await self.network.start(), self.network
        whatsapp = WhatsApp(
            account_sid=network.account_sid,
            auth_token=network.auth_token,
            sender=network.sender,
            public_url="",
            session=lambda: self.session,
            clock=self.governed.clock.now,
            base_url=url,
        )
        self.governed.desk.carrier = Channels({WHATSAPP: whatsapp})
        self.poller = self.another()
        await self.governed.governor.start()
        self.task = asyncio.create_task(self.governed.governor.run())

    def another(self) -> Poller:
        network = self.network
        connection = Connection(network.account_sid, network.auth_token, lambda: self.session, network.url)
        signed = Signed(account_sid=network.account_sid, auth_tokens=[network.auth_token], public_url="")
        replies = Replies(
            journal=self.journal,
            roster=self,
            signed=signed,
            codes_secret=SECRET,
            address_key=lambda tenant, person: b"key",
        )
        return Poller(
            journal=self.journal,
            replies=replies,
            messages=MessageList(connection, page_size=3),
            clock=self.governed.clock.now,
        )

    def later(self, **of: float) -> None:
        self.governed.clock.advance(self.governed.clock.now() + timedelta(**of))
        self.governed.governor._wake.set()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.network.stop()
        await self.session.close()

    async def until(self, stage: str, count: int = 1) -> list[Entry]:
        async with asyncio.timeout(10):
            while len(found := self.governed.entries(stage)) < count:
                await self.journal.wait(TENANT, await self.journal.size(TENANT))
        return found


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    home = Home()
    await home.start()
    yield home
    await home.stop()


async def test_a_code_that_is_texted_approves_and_nothing_is_tapped(home: Home) -> None:
    await home.governed.fire()
    message = await home.network.phone("tendai").next_message(says="Proposed action")
    assert message.buttons == ()
    assert message.says("Reply *A ")
    assert "StatusCallback" not in message.fields
    code = message.body.partition("*A ")[2][:4]
    await home.network.phone("tendai").say(f"A {code}")
    assert await home.poller.look() == ""
    (authorized,) = await home.until("AUTHORIZED")
    assert authorized.actor == "engineer:tendai"


async def test_what_became_of_messages_is_read_too_and_booked_once(home: Home) -> None:
    home.network.faults.undeliverable[NUMBERS["ruth"]] = 63024
    await home.governed.fire()
    await home.until("SENT", 2)
    await home.network.settled()
    for _ in range(3):
        assert await home.poller.look() == ""
    (delivered,), (lost,) = home.governed.entries("DELIVERED"), home.governed.entries("UNDELIVERED")
    assert (delivered.reason, lost.decision) == ("to tendai", "bad_recipient")


async def test_a_message_that_arrives_late_is_read_late(home: Home) -> None:
    home.network.phone("tendai").lose_signal()
    await home.governed.fire()
    await home.until("SENT", 2)
    assert await home.poller.look() == ""
    assert [e.reason for e in home.governed.entries("DELIVERED")] == ["to ruth"]
    home.later(minutes=9)
    assert await home.poller.look() == ""
    await home.network.phone("tendai").find_signal()
    await home.network.settled()
    assert await home.poller.look() == ""
    assert "to tendai" in [entry.reason for entry in home.governed.entries("DELIVERED")]


async def test_a_clock_of_ours_that_steps_forward_makes_nothing_unheard(home: Home) -> None:
    home.ahead = timedelta(minutes=20)
    home.later(minutes=20)  # the step alone: the carrier's time stands
    assert await home.poller.look() == ""
    await home.network.phone("ruth").say("STATUS")
    assert await home.poller.look() == ""
    await home.network.phone("ruth").say("HALT")
    assert await home.poller.look() == ""
    await home.until("HALTED")
    assert [entry.body["verb"] for entry in home.governed.entries("HEARD")] == ["status", "halt"]


async def test_the_fate_of_an_old_message_is_read_after_the_clock_stepped(home: Home) -> None:
    home.ahead = timedelta(minutes=20)
    home.later(minutes=20)
    home.network.phone("tendai").lose_signal()
    await home.governed.fire()
    await home.until("SENT", 2)
    assert await home.poller.look() == ""
    home.later(minutes=9)
    await home.network.phone("ruth").say("STATUS")  # newer by more than two looks overlap
    assert await home.poller.look() == ""
    await home.network.phone("tendai").find_signal()
    await home.network.settled()
    assert await home.poller.look() == ""
    assert "to tendai" in [entry.reason for entry in home.governed.entries("DELIVERED")]


async def test_each_is_heard_once_over_pages_looks_and_a_restart(home: Home) -> None:
    for number in range(10):
        await home.network.phone("tendai").say(f"NOTE {number}")
        home.later(seconds=1)
    assert await home.poller.look() == ""
    assert await home.poller.look() == ""
    await home.network.phone("ruth").say("STATUS")
    assert await home.another().look() == ""
    heard = home.governed.entries("HEARD")
    assert len(heard) == len({entry.id for entry in heard}) == 11
    assert [entry.body["verb"] for entry in heard] == ["note"] * 10 + ["status"]


async def test_what_was_said_while_the_service_was_down_is_heard_and_what_is_old_is_not(home: Home) -> None:
    await home.network.phone("ruth").say("STATUS")
    home.later(hours=FIRST.total_seconds() / 3600)
    home.later(minutes=1)
    await home.network.phone("tendai").say("HALT")
    home.later(hours=2)
    assert await home.poller.look() == ""
    await home.until("HALTED")
    assert [entry.body["verb"] for entry in home.governed.entries("HEARD")] == ["halt"]


async def test_what_webhooks_brought_already_is_not_heard_again(home: Home) -> None:
    await home.network.phone("tendai").say("HELP")
    (message,) = [m for m in home.network.messages.values() if m.inbound]
    await home.poller.replies.take({"MessageSid": message.sid, "From": message.sender, "Body": "HELP"})  # type: ignore[arg-type]
    assert await home.poller.look() == ""
    assert len(home.governed.entries("HEARD")) == 1


async def test_strangers_get_silence_and_are_looked_up_once(home: Home) -> None:
    await home.network.phone("whatsapp:+15550001111").say("HALT")
    assert await home.poller.look() == ""
    assert await home.poller.look() == ""
    assert home.governed.entries("HEARD") == []


async def test_a_look_that_fails_says_why_and_the_next_one_hears(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    await home.network.phone("tendai").say("STATUS")
    token, home.network.auth_token = home.network.auth_token, "another"
    assert "401" in await home.poller.look()
    home.network.auth_token = token
    post = home.journal.post

    async def full(tenant: str, drafts: object) -> object:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(home.journal, "post", full)
    assert "cannot be booked" in await home.poller.look()
    monkeypatch.setattr(home.journal, "post", post)
    assert await home.poller.look() == ""
    assert len(home.governed.entries("HEARD")) == 1


async def test_it_tells_when_it_has_heard_nothing_for_long(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setattr("receiver.intake.polling.TROUBLE_SECONDS", 0.0)
    told: asyncio.Queue[str] = asyncio.Queue()
    token, home.network.auth_token = home.network.auth_token, "another"
    task = asyncio.create_task(poll_forever(home.poller, 0.01, told.put_nowait))
    assert "401" in await asyncio.wait_for(told.get(), 10)
    home.network.auth_token = token
    async with asyncio.timeout(10):
        while await told.get():
            continue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_question_without_buttons_keeps_its_codes_and_has_a_name_of_its_own() -> None:
    for template in TEMPLATES:
        plain = without_buttons(template)
        assert plain.buttons == ()
        assert "token" not in plain.names
        assert (plain.friendly_name != template.friendly_name) is bool(template.buttons)
        assert ("{{9}}" in plain.body) is (template.stem == OPENED.stem)
        if template.buttons:
            assert len(plain.body) < len(template.body)  # the words about buttons are gone, in each language
