"""Ways to people that take no answer: SMS, and a notice of last resort to a real server through apprise."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from receiver.authorization import notices, sms
from receiver.authorization.channels import Channels
from receiver.authorization.connection import Connection
from receiver.authorization.notices import Notices
from receiver.authorization.sms import Sms
from receiver.authorization.wording import units_of
from receiver.commands.checks_of_notices import notices as checks
from receiver.commands.findings import FAIL, OK
from receiver.demo.phone import PhoneNetwork
from receiver.governor.desk import Charter
from receiver.papers import NOTICE, SMS, WHATSAPP, MessageKind, NotSent, OutgoingMessage, Recipient, Sent
from receiver.settings import Settings
from receiver.settings_sections import Person, Tenant
from tests.receiver.governed import POLICY, Governed

# A module of the standard library that apprise imports, in its own time, on Pythons that still have it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

CALLER, NUMBER = "+12025550100", "+263771234500"
LADDER = POLICY.replace('notify: ["role:leads"]}', 'notify: ["role:leads"], channel: sms}')
LAST = '{after: 6m, notify: ["role:leads"], channel: notice}'


def notice(recipient: Recipient, channel: str, text: str = "the disk of db1 fills") -> OutgoingMessage:
    variables = {"text": text, "reference": "inc-1"}
    return OutgoingMessage("default-7", MessageKind.NOTICE, recipient, variables, channel=channel)


# --- SMS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def network() -> AsyncIterator[PhoneNetwork]:
    network = PhoneNetwork(caller=CALLER, people={"ruth": f"whatsapp:{NUMBER}"})
    await network.start()
    yield network
    await network.stop()


@pytest.fixture
async def carrier(network: PhoneNetwork) -> AsyncIterator[Sms]:
    async with aiohttp.ClientSession() as session:
        connection = Connection(network.account_sid, network.auth_token, lambda: session, network.url)
        yield Sms(connection, CALLER, "https://counterfoil.example.org")


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", "nothing sent here is read"),
        ("pt_BR", "aqui nada é lido"),
        ("fr", "rien n'est lu ici"),
        ("sn", "nothing"),
    ],
)
async def test_an_sms_says_what_is_wrong_and_that_it_takes_no_answer(
    network: PhoneNetwork, carrier: Sms, language: str, says: str
) -> None:
    person = Recipient("ruth", f"whatsapp:{NUMBER}", language, phone=NUMBER)
    sent = await carrier.send(notice(person, SMS))
    assert isinstance(sent, Sent)
    message = network.phone("ruth").last_message
    assert (message.sender, message.recipient, message.buttons) == (CALLER, NUMBER, ())
    assert message.says("Counterfoil: the disk of db1 fills (inc-1)")
    assert message.says(says)


async def test_an_sms_is_short_and_holds_no_link_of_others(network: PhoneNetwork, carrier: Sms) -> None:
    person = Recipient("ruth", f"whatsapp:{NUMBER}", phone=NUMBER)
    await carrier.send(notice(person, SMS, "see https://evil.example/x " + "x" * 5_000))
    body = network.phone("ruth").last_message.body
    assert "evil" not in body
    assert len(body) < sms.UNITS + 120


@pytest.mark.parametrize("language", ["en", "pt_BR", "fr", "sn"])
@pytest.mark.parametrize("page", ["", "https://counterfoil.example/q/".ljust(sms.PAGE_UNITS, "x")])
@pytest.mark.parametrize(("text", "most"), [("x " * 5_000, 6 * 67), ("\U0001f525" * 500, 6 * 67), ("x" * 160, 3 * 153)])
def test_an_sms_has_no_more_segments_than_its_limit_says(language: str, page: str, text: str, most: int) -> None:
    """Twilio counts them and charges each: 153 characters of plain GSM, 67 units of anything else."""
    said = sms.text_of({"text": text, "page": page, "reference": "r" * 40}, language)
    assert units_of(said) <= most
    assert ("…" in said) is (most != 3 * 153)


@pytest.mark.parametrize(("code", "outcome"), [(21610, "opted_out"), (21211, "bad_recipient"), (20003, "unauthorized")])
async def test_what_twilio_refuses_is_told_in_our_words(
    network: PhoneNetwork, carrier: Sms, code: int, outcome: str
) -> None:
    network.faults.error(400, code)
    answer = await carrier.send(notice(Recipient("ruth", f"whatsapp:{NUMBER}", phone=NUMBER), SMS))
    assert isinstance(answer, NotSent)
    assert answer.outcome == outcome


async def test_without_a_number_nothing_is_sent(network: PhoneNetwork, carrier: Sms) -> None:
    answer = await carrier.send(notice(Recipient("ruth", f"whatsapp:{NUMBER}"), SMS))
    assert isinstance(answer, NotSent)
    assert network.messages == {}


async def test_what_is_asked_of_twilio_is_as_it_describes_it(network: PhoneNetwork, carrier: Sms) -> None:
    folder = os.environ.get("TWILIO_OPENAPI")
    if not folder:
        pytest.skip("TWILIO_OPENAPI does not name the directory of Twilio's OpenAPI files")
    document = json.loads((Path(folder) / "twilio_messages_calls.slice.json").read_text(encoding="utf-8"))
    post = document["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]
    known = post["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"]
    await carrier.send(notice(Recipient("ruth", f"whatsapp:{NUMBER}", phone=NUMBER), SMS))
    (exchange,) = network.exchanges
    form = dict(parse_qsl(exchange.body.decode(), strict_parsing=True))
    assert set(form) <= set(known)
    assert set(form) == {"To", "From", "Body", "StatusCallback", "ValidityPeriod"}


def with_addresses(charter: Charter, **addresses: str) -> Charter:
    people = {
        name: replace(m, recipient=replace(m.recipient, phone=NUMBER, notices=tuple(addresses.get(name, "").split())))
        for name, m in charter.people.items()
    }
    return replace(charter, people=people)


async def test_the_ladder_sends_a_notice_by_sms_and_asks_nothing_there(carrier: Sms, network: PhoneNetwork) -> None:
    governed = Governed(LADDER)
    governed.desk.carrier = Channels({WHATSAPP: governed.outside, SMS: carrier})
    governed.governor.reload(with_addresses(governed.desk.charter))
    await governed.governor.start()
    await governed.fire()
    await governed.after(300)
    assert network.phone("ruth").last_message.says("nobody has decided")
    (sent,) = [entry for entry in governed.entries("SENT") if entry.actor == "carrier:sms"]
    assert sent.body["sid"].startswith("SM")


async def told_by_sms(carrier: Sms, network: PhoneNetwork, policy: str, public_url: str) -> tuple[Governed, str]:
    governed = Governed(policy)
    governed.desk.public_url = public_url
    governed.desk.carrier = Channels({WHATSAPP: governed.outside, SMS: carrier})
    governed.governor.reload(with_addresses(governed.desk.charter))
    await governed.governor.start()
    await governed.fire()
    await governed.after(300)
    return governed, network.phone("ruth").last_message.body


async def test_an_sms_links_to_the_page_of_its_persons_question(carrier: Sms, network: PhoneNetwork) -> None:
    governed, body = await told_by_sms(carrier, network, LADDER, "https://counterfoil.example")
    question = governed.question("ruth")
    assert question.variables["page"].startswith("https://counterfoil.example/q/")
    assert question.variables["page"] in body.split()
    assert question.variables["code"] not in body  # with the page alone nothing is decided
    assert governed.question("tendai").variables["page"] not in body


async def test_without_a_public_address_or_a_question_of_theirs_an_sms_has_no_link(
    carrier: Sms, network: PhoneNetwork
) -> None:
    _, body = await told_by_sms(carrier, network, LADDER, "")
    assert "/q/" not in body
    others = LADDER.replace("roles: [oncall, leads]", "roles: [oncall]")
    _, body = await told_by_sms(carrier, network, others, "https://counterfoil.example")
    assert "/q/" not in body


async def test_a_link_that_is_too_long_is_left_out_whole(network: PhoneNetwork, carrier: Sms) -> None:
    person = Recipient("ruth", f"whatsapp:{NUMBER}", phone=NUMBER)
    for length, there in ((sms.PAGE_UNITS, True), (sms.PAGE_UNITS + 1, False)):
        page = "https://counterfoil.example/q/".ljust(length, "x")
        message = notice(person, SMS, "y" * 5_000)
        await carrier.send(replace(message, variables={**message.variables, "page": page}))
        body = network.phone("ruth").last_message.body
        assert (page in body.split()) is there
        assert ("https" in body) is there
        assert len(body) < sms.UNITS + 120


# --- the last resort --------------------------------------------------------------------------------------------------


class Server:
    """Takes what apprise posts; answers `status`, or not at all while `holds` is not set."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        self.holds = asyncio.Event()
        self.holds.set()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self.holds.wait()
        self.taken.append(body)
        return web.Response(status=self.status)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/{rest:.*}", self.take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"json://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        self.holds.set()
        await self._runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    pytest.importorskip("apprise")
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def resort() -> Iterator[Notices]:
    """It outlives the server of a test, so that no thread of it waits for one that holds."""
    resort = Notices()
    yield resort
    resort.close()


def at(*addresses: str) -> Recipient:
    return Recipient("ruth", f"whatsapp:{NUMBER}", notices=addresses)


async def test_a_notice_reaches_a_real_server(resort: Notices, server: Server) -> None:
    sent = await resort.send(notice(at(server.address), NOTICE))
    assert isinstance(sent, Sent)
    (body,) = server.taken
    assert (body["title"], body["message"]) == ("Counterfoil", "the disk of db1 fills (inc-1)")


async def test_one_address_of_several_is_enough(resort: Notices, server: Server) -> None:
    sent = await resort.send(notice(at("json://127.0.0.1:9/nobody", server.address, "no address"), NOTICE))
    assert isinstance(sent, Sent)
    assert len(server.taken) == 1


async def test_a_server_that_refuses_is_tried_again_later(resort: Notices, server: Server) -> None:
    server.status = 500
    answer = await resort.send(notice(at(server.address), NOTICE))
    assert isinstance(answer, NotSent)
    assert (answer.outcome, answer.retry_seconds) == ("unreachable", notices.AGAIN_SECONDS)
    assert server.address not in answer.detail  # it may hold a password


async def test_a_server_that_never_answers_is_given_up(resort: Notices, server: Server) -> None:
    server.holds.clear()
    resort.seconds = 0.2
    answer = await resort.send(notice(at(server.address), NOTICE))
    assert isinstance(answer, NotSent)
    assert "1 within 0.2 s not at all" in answer.detail


async def test_without_apprise_it_says_what_to_install(resort: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.setattr(notices, "find_spec", lambda name: None)
    answer = await resort.send(notice(at("json://127.0.0.1:9/x"), NOTICE))
    assert isinstance(answer, NotSent)
    assert (answer.outcome, answer.detail) == ("no_channel", notices.MISSING)


async def test_without_an_address_nothing_is_sent(resort: Notices) -> None:
    answer = await resort.send(notice(at(), NOTICE))
    assert isinstance(answer, NotSent)
    assert answer.outcome == "no_number"


async def test_the_last_resort_counts_as_handed_over(resort: Notices, server: Server) -> None:
    governed = Governed(LADDER.replace("channel: sms}", f"channel: sms}}\n      - {LAST}"))
    governed.desk.public_url = "https://counterfoil.example"
    governed.desk.carrier = Channels({WHATSAPP: governed.outside, NOTICE: resort})
    governed.governor.reload(with_addresses(governed.desk.charter, ruth=server.address))
    await governed.governor.start()
    await governed.fire()
    await governed.after(300)
    # SMS is not set up here, so nobody of that step is reached, and the last step is climbed at once.
    assert [e.decision for e in governed.entries("UNDELIVERED")] == ["no_channel"]
    (body,) = server.taken
    assert "could be reached" in body["message"]
    assert "/q/" not in str(body)  # many may read there, and a page is one person's
    (delivered,) = [entry for entry in governed.entries("DELIVERED") if entry.actor == "carrier:notice"]
    assert delivered.body["detail"].startswith("handed over")


def test_addresses_are_never_shown() -> None:
    assert "password" not in repr(at("mailto://user:password@example.org"))


def test_addresses_that_apprise_does_not_know_are_named_by_their_place() -> None:
    pytest.importorskip("apprise")
    assert notices.unreadable(notices.addresses("json://localhost  nowhere://x json://a")) == [2]


def test_check_says_what_is_wrong_with_them_and_never_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    people = {"ruth": Person(whatsapp=f"whatsapp:{NUMBER}", notices=SecretStr("json://h nowhere://user:secret@h"))}
    tenant = Tenant.model_construct(people=people, notices=SecretStr("json://localhost"))
    settings = Settings.model_construct(tenants={"default": tenant})
    found = {finding.message: finding.state for finding in checks(settings)}
    assert found == {
        "tenants.default.notices: 1 address(es) of last resort": OK,
        "tenants.default.people.ruth.notices: address 2 of 2 is none that apprise knows": FAIL,
    }
    monkeypatch.setattr(notices, "find_spec", lambda name: None)
    (finding,) = checks(settings)
    assert (finding.state, finding.message) == (FAIL, notices.MISSING)
