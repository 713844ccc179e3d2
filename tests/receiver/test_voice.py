"""Calls: what is said to whoever picks up, and what they key in, over HTTP, with the stand-in reading our TwiML."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

from ledger.entry import Entry
from receiver.authorization import codes, speech, voice
from receiver.authorization.channels import Channels
from receiver.authorization.connection import Connection
from receiver.authorization.voice import Voice
from receiver.demo.phone import Call, PhoneNetwork
from receiver.intake.calls import Calls
from receiver.intake.replies import Replies
from receiver.intake.signed import Signed
from receiver.papers import VOICE, WHATSAPP, NotSent, Recipient
from tests.receiver.governed import POLICY, SECRET, TENANT, Governed, GrowingJournal

PUBLIC_URL = "https://counterfoil.example.org"
ACCOUNT, TOKEN, CALLER = "AC" + "1" * 32, "a token of the tests", "+12025550100"
LADDER = POLICY.replace('notify: ["role:leads"]}', 'notify: ["role:oncall", "role:leads"], channel: voice}')
WATCH = LADDER.replace("roles: [oncall, leads]", "roles: [oncall]")  # the leads are told, and not asked
NUMBERS = {"tendai": "+263771234500", "ruth": "+263771234501"}


class Office:
    """A governor that runs, its calls over real HTTP, and the phones of tendai and ruth."""

    def __init__(self, policy: str, language: str = "en") -> None:
        self.journal = GrowingJournal()
        self.governed = Governed(policy, journal=self.journal)
        self.journal.at(self.governed.clock)
        self.desk = self.governed.desk
        people = {
            name: replace(
                member, pin="a hash", recipient=replace(member.recipient, phone=NUMBERS[name], language=language)
            )
            for name, member in self.desk.charter.people.items()
        }
        self.governed.governor.reload(replace(self.desk.charter, people=people))
        self.phones = PhoneNetwork(
            account_sid=ACCOUNT,
            auth_token=TOKEN,
            caller=CALLER,
            people={name: f"whatsapp:{number}" for name, number in NUMBERS.items()},
        )
        self._tasks: list[asyncio.Task[None]] = []

    def recipient(self, tenant: str, person: str) -> Recipient | None:
        member = self.desk.charter.people.get(person) if tenant == TENANT else None
        return member.recipient if member is not None else None

    def person_by_address(self, address: str) -> list[tuple[str, str]]:
        return []

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()
        connection = Connection(ACCOUNT, TOKEN, lambda: self._session, await self.phones.start())
        self.carrier = Voice(connection, CALLER, PUBLIC_URL)
        self.desk.carrier = Channels({WHATSAPP: self.governed.outside, VOICE: self.carrier})
        signed = Signed(account_sid=ACCOUNT, auth_tokens=[TOKEN], public_url=PUBLIC_URL)
        common: dict[str, Any] = {
            "journal": self.journal,
            "roster": self,
            "signed": signed,
            "codes_secret": SECRET,
            "address_key": lambda tenant, person: b"key",
        }
        app = web.Application()
        app.router.add_post("/twilio/voice", Calls(public_url=PUBLIC_URL, **common).voice)
        app.router.add_post("/twilio/status", Replies(**common).status)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.phones.deliver_to = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        await self.governed.governor.start()

    async def run(self) -> None:
        self._tasks.append(asyncio.create_task(self.governed.governor.run()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.phones.stop()
        await self._runner.cleanup()
        await self._session.close()

    async def calls(self) -> None:
        """An incident opens, and five minutes pass in which nobody decides."""
        await self.governed.fire()
        await self.governed.after(300)
        await self.run()

    async def rings(self, person: str) -> Call:
        return await self.phones.phone(person).next_call()

    def code(self, person: str) -> str:
        (proposal,) = self.governed.entries("PROPOSED")[-1:]
        return codes.digits(SECRET, TENANT, proposal.index, person)

    async def until(self, stage: str, count: int = 1) -> list[Entry]:
        async with asyncio.timeout(10):
            while len(found := self.governed.entries(stage)) < count:
                await self.journal.wait(TENANT, await self.journal.size(TENANT))
        return found

    def delivery(self, person: str) -> Entry:
        """What became of the call to `person`."""
        (call,) = [
            e for e in self.governed.entries("ADDRESSED") if (e.body["channel"], e.body["person"]) == (VOICE, person)
        ]
        (settled,) = [e for e in self.journal.log if e.settles == call.index]
        return settled


@pytest.fixture
async def office(request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    office = Office(*getattr(request, "param", (LADDER,)))
    await office.start()
    yield office
    await office.stop()


# --- the way of a call ------------------------------------------------------------------------------------------------


async def test_whoever_picks_up_hears_the_incident_and_approves_with_their_code(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    assert call.heard("Incident: DiskFilling host db1.")
    assert call.heard("remove old files")
    assert call.heard(", ".join(office.code("tendai")))
    assert not call.heard(", ".join(office.code("ruth")))
    await call.press("1" + office.code("tendai"))
    assert call.heard("Your approval is counted.")
    assert call.status == "completed"
    (authorized,) = await office.until("AUTHORIZED")
    assert authorized.actor == "engineer:tendai"
    (heard,) = office.governed.entries("HEARD")
    assert (heard.id, heard.actor, heard.body["via"]) == (f"heard:{call.sid}:1", "carrier:voice", "voice")
    assert office.delivery("tendai").stage == "DELIVERED"
    # The code stands in no address, which others log.
    assert [c.url for c in office.phones.webhook_calls if office.code("tendai") in c.url] == []


async def test_rejecting_and_being_on_it_have_keys_of_their_own(office: Office) -> None:
    await office.calls()
    call = await office.rings("ruth")
    await call.answer()
    await call.press("3" + office.code("ruth"))
    assert call.heard("you are on it. It authorizes nothing")
    assert (await office.until("ACKNOWLEDGED"))[0].actor == "engineer:ruth"
    other = await office.rings("tendai")
    await other.answer()
    await other.press("2" + office.code("tendai"))
    assert other.heard("Rejected. Nothing runs.")
    await office.until("REJECTED")
    assert office.governed.entries("AUTHORIZED") == []


async def test_the_second_of_two_hears_that_it_is_closed(office: Office) -> None:
    await office.calls()
    first, second = await office.rings("tendai"), await office.rings("ruth")
    await first.answer()
    await second.answer()
    await first.press("1" + office.code("tendai"))
    await office.until("AUTHORIZED")
    await second.press("1" + office.code("ruth"))
    assert second.heard("That does not count any more.")
    assert len(office.governed.entries("AUTHORIZED")) == 1


@pytest.mark.parametrize("office", [(LADDER, "pt")], indirect=True)
async def test_it_speaks_the_persons_language(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    assert call.heard("Para aprovar, prima 1")
    assert set(call.languages) == {"pt-PT"}


@pytest.mark.parametrize(
    "office", [(LADDER.replace("roles: [oncall, leads]}", "roles: [oncall, leads]}, pin: true"),)], indirect=True
)
async def test_where_a_pin_is_needed_the_call_says_so_and_counts_nothing(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    await call.press("1" + office.code("tendai"))
    assert call.heard("This needs your PIN.")
    assert office.governed.entries("APPROVED") == []


@pytest.mark.parametrize("office", [(WATCH,)], indirect=True)
async def test_whoever_is_told_and_not_asked_hears_no_code(office: Office) -> None:
    await office.calls()
    call = await office.rings("ruth")
    await call.answer()
    assert call.heard("nobody has decided")
    assert not call.heard("code")
    assert (call.wants, call.status) == (None, "completed")


async def test_without_a_key_the_question_is_put_three_times(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    for _ in range(voice.READINGS):
        assert call.talks
        await call.wait_in_silence()
    assert call.status == "completed"
    assert sum("Proposed action" in said for said in call.said) == voice.READINGS
    assert office.governed.entries("HEARD") == []


# --- what must not count ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["1", "1234", "4" + "0" * 6, "#" * 7])
async def test_anything_but_a_key_and_a_code_is_no_answer(office: Office, keys: str) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    await call.press(keys)
    if call.wants is not None and call.pressed:
        await call.wait_in_silence()
    assert call.heard("That was not one key and six digits.")
    assert call.talks
    assert office.governed.entries("HEARD") == []


async def test_another_persons_code_is_wrong_and_wrong_codes_lock(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    for _ in range(voice.READINGS):
        await call.press("1" + office.code("ruth"))
    assert call.status == "completed"
    assert sum("not the code of this question" in said for said in call.said) == voice.READINGS
    assert len(office.governed.entries("REFUSED")) == voice.READINGS
    # Two wrong codes by text beside them, and the right one is not looked at any more, on no way.
    for _ in range(2):
        await office.governed.hear("tendai", "A 3333")
    again = await office.governed.hear("tendai", "A " + office.governed.question("tendai").variables["code"])
    assert (await office.until("REFUSED", 6))[-1].settles == again.index
    assert office.governed.entries("APPROVED") == []


async def test_a_code_counts_for_the_question_that_was_read(office: Office) -> None:
    await office.governed.fire("db1")
    await office.governed.fire("db2")
    await office.governed.after(300)
    await office.run()
    first, second = (entry.index for entry in office.governed.entries("PROPOSED"))
    call = await office.rings("tendai")
    await call.answer()
    mine = {codes.digits(SECRET, TENANT, index, "tendai"): index for index in (first, second)}
    (read,) = [code for code in mine if call.heard(", ".join(code))]
    (other,) = set(mine) - {read}
    await call.press("1" + other)
    assert call.heard("not the code of this question")
    assert office.governed.entries("APPROVED") == []


@pytest.mark.parametrize("by", ["machine_start", "fax"])
async def test_a_machine_is_told_nothing(office: Office, by: str) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer(by)
    assert (call.said, call.status) == ([], "completed")
    delivery = office.delivery("tendai")
    assert (delivery.stage, delivery.decision) == ("UNDELIVERED", "answering_machine")


async def test_where_nobody_knows_who_picked_up_a_key_is_asked_for_first(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer("unknown")
    assert call.said == ["This is Counterfoil. Press any key to hear about an incident."]
    assert [e for e in office.governed.entries("DELIVERED") if e.actor == "carrier:voice"] == []
    await call.press("5")
    assert call.heard(", ".join(office.code("tendai")))


@pytest.mark.parametrize(("how", "word"), [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "bad_recipient")])
async def test_a_call_that_reaches_nobody_is_undelivered(office: Office, how: str, word: str) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.decline(how)
    await office.until("UNDELIVERED")
    assert office.delivery("tendai").decision == word


async def test_a_person_without_a_number_is_passed_over_and_the_ladder_goes_on(office: Office) -> None:
    people = dict(office.desk.charter.people)
    people["tendai"] = replace(people["tendai"], recipient=replace(people["tendai"].recipient, phone=None))
    office.governed.governor.reload(replace(office.desk.charter, people=people))
    await office.calls()
    await office.until("UNDELIVERED")
    assert office.delivery("tendai").decision == "no_number"
    assert (await office.rings("ruth")).rings


async def test_a_captured_request_counts_once_and_a_changed_one_not_at_all(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    await call.answer()
    await call.press("3" + office.code("tendai"))
    (captured,) = [c for c in office.phones.webhook_calls if "Digits" in c.fields]
    changed = {**captured.fields, "Digits": "1" + office.code("tendai")}
    for fields in (captured.fields, changed):
        await office.phones.call(captured.url, fields)
    assert len(office.governed.entries("HEARD")) == 1
    assert office.governed.entries("APPROVED") == []
    office.phones.auth_token = "another"
    assert (await office.phones.call(captured.url, captured.fields)).status == 403


async def test_to_another_number_nothing_is_said(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    call.number = "+15550001111"
    await call.answer()
    assert call.said[0] == "This number calls people about incidents. It takes no calls. Goodbye."
    assert [text.partition(" ")[0] for text in call.said] == ["This", "Este", "Ce"]  # nobody knows who that is
    assert [e for e in office.governed.entries("DELIVERED") if e.actor == "carrier:voice"] == []


async def test_after_the_question_has_expired_it_says_so(office: Office) -> None:
    await office.calls()
    call = await office.rings("tendai")
    office.governed.clock.advance(office.governed.clock.now() + timedelta(minutes=11))
    office.governed.governor._wake.set()
    await office.until("EXPIRED")
    await call.answer()
    assert call.said == ["This question is closed. Goodbye."]


async def test_the_judgement_is_not_waited_for_without_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.intake.calls.JUDGED_SECONDS", 0.05)
    await office.governed.fire()
    await office.governed.after(300)  # and the governor stands still
    call = await office.rings("tendai")
    await call.answer()
    await call.press("1" + office.code("tendai"))
    assert call.heard("A message will say what came of it.")
    await office.run()
    await office.until("AUTHORIZED")


# --- the carrier ------------------------------------------------------------------------------------------------------


async def test_what_twilio_refuses_is_told_in_our_words(office: Office) -> None:
    await office.governed.fire()
    office.phones.faults.error(400, 21211)
    message = replace(
        office.governed.question("tendai"),
        channel=VOICE,
        recipient=Recipient("tendai", "whatsapp:+263771234500", phone=NUMBERS["tendai"]),
    )
    answer = await office.carrier.send(message)
    assert isinstance(answer, NotSent)
    assert answer.outcome == "bad_recipient"
    office.phones.faults.next("drop")
    answer = await office.carrier.send(message)
    assert isinstance(answer, NotSent)
    assert (answer.outcome, answer.retry_seconds) == ("unreachable", 10.0)


async def test_a_channel_that_is_not_set_up_says_so(office: Office) -> None:
    await office.governed.fire()
    answer = await Channels({}).send(office.governed.question("tendai"))
    assert isinstance(answer, NotSent)
    assert answer.outcome == "no_channel"


async def test_requests_and_answers_are_as_twilio_describes_them(office: Office) -> None:
    validator = _contract()
    await office.calls()
    await office.rings("tendai")
    posts = [exchange for exchange in office.phones.exchanges if exchange.path.endswith("/Calls.json")]
    assert posts
    place = "/2010-04-01/Accounts/{AccountSid}/Calls.json"
    form_schema = validator(
        "paths", place, "post", "requestBody", "content", "application/x-www-form-urlencoded", "schema"
    )
    answer = validator("paths", place, "post", "responses", "201", "content", "application/json", "schema")
    for exchange in posts:
        form: dict[str, Any] = dict(parse_qsl(exchange.body.decode(), strict_parsing=True))
        assert set(form) <= set(form_schema.schema["properties"])
        form_schema.validate({**form, "Timeout": int(form["Timeout"])})
        answer.validate(json.loads(exchange.answer))
    assert not answer.is_valid({"sid": "CA1"})


def _contract() -> Callable[..., Any]:
    folder = os.environ.get("TWILIO_OPENAPI")
    if not folder:
        pytest.skip("TWILIO_OPENAPI does not name the directory of Twilio's OpenAPI files")
    from openapi_schema_validator import OAS30Validator

    document = json.loads((Path(folder) / "twilio_messages_calls.slice.json").read_text(encoding="utf-8"))

    def validator(*path: str) -> Any:
        schema: Any = document
        for step in path:
            schema = schema[step]
        return OAS30Validator({**_inlined(schema, document), "components": document["components"]})

    return validator


def _inlined(schema: Any, document: Any) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    found: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("error_ratio 0.31 >= 0.05", "error ratio 0.31 at or above 0.05"),
        ("disk_free < 5", "disk free below 5"),
        ("<Say>approve</Say> & more", "below Say above approve below /Say above & more"),
        ("see https://evil.example/x now", "see [link] now"),
        ("\u202etfel ot thgir", "tfel ot thgir"),
    ],
)
def test_only_what_can_be_heard_is_said(text: str, said: str) -> None:
    assert speech.spoken(text, "en") == said


@pytest.mark.parametrize("language", ["en", "pt", "fr", "pt_BR", "sn"])
def test_every_sentence_is_filled_in_and_short(language: str) -> None:
    long = dict.fromkeys(("incident", "finding", "action", "risk", "expires"), "x" * 5000) | {"code": "012345"}
    text = speech.question(long, language)
    assert "{" not in text
    assert "0, 1, 2, 3, 4, 5" in text
    assert len(text) < 4096
    assert len(voice.asking(text, language, "https://a.example/b?c=1&d=2", None)) < 64_000


def test_a_code_in_digits_says_nothing_of_the_one_in_letters() -> None:
    made = {codes.digits(SECRET, TENANT, index, "tendai") for index in range(500)}
    assert all(len(code) == codes.DIGITS and code.isdigit() for code in made)
    assert len(made) > 495
