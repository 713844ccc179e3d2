"""The stand-in for Twilio: as strict as the vendor, signed by its own code, with faults to order."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from receiver.demo.phone import Message, PhoneNetwork, rules

TENDAI, RUDO, STRANGER = "whatsapp:+263771234567", "whatsapp:+263772345678", "whatsapp:+15550001111"
QUESTION = {
    "friendly_name": "question",
    "language": "en",
    "variables": {"1": "checkout", "2": "12-abc"},
    "types": {
        "twilio/quick-reply": {
            "body": "Shall we restart {{1}} now, as policy permits it?",
            "actions": [
                {"type": "QUICK_REPLY", "title": "Approve", "id": "approve.{{2}}"},
                {"type": "QUICK_REPLY", "title": "Reject", "id": "reject.{{2}}"},
            ],
        }
    },
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Service:
    """Takes webhooks and keeps them as they came: (address on the wire, headers, form)."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any, dict[str, str]]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.posts.append((request.raw_path, request.headers.copy(), {k: str(v) for k, v in form.items()}))
        return web.Response(status=204)

    @property
    def statuses(self) -> list[str]:
        return [form["MessageStatus"] for _, _, form in self.posts if "MessageStatus" in form]


@pytest.fixture
async def service(unused_tcp_port_factory):
    service = Service()
    app = web.Application()
    app.router.add_post("/{rest:.*}", service.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
async def network(service):
    network = PhoneNetwork(
        people={"tendai": TENDAI, "rudo": RUDO}, message_url=f"{service.url}/twilio/message", clock=Clock()
    )
    await network.start()
    yield network
    await network.stop()


class Api:
    def __init__(self, network: PhoneNetwork, session: aiohttp.ClientSession) -> None:
        self.network, self.session = network, session
        self.headers = {"Authorization": aiohttp.encode_basic_auth(network.account_sid, network.auth_token)}

    async def call(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        how = {"headers": self.headers, **how}
        async with self.session.request(method, f"{self.network.url}{path}", **how) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def send(self, **fields: str) -> tuple[int, Any]:
        form = {"To": TENDAI, "From": self.network.sender, **fields}
        path = f"/2010-04-01/Accounts/{self.network.account_sid}/Messages.json"
        return await self.call("POST", path, data={name: value for name, value in form.items() if value})

    async def template(self, **changes: Any) -> tuple[int, Any]:
        return await self.call("POST", "/v1/Content", json={**QUESTION, **changes})

    async def ask(self, **fields: str) -> Message:
        _, template = await self.template()
        status, message = await self.send(ContentSid=template["sid"], **fields)
        assert status == 201
        return self.network.messages[message["sid"]]


@pytest.fixture
async def api(network):
    async with aiohttp.ClientSession() as session:
        yield Api(network, session)


# --- what Twilio refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "+263771234567"}, 21211),
        ({"To": "whatsapp:+0123"}, 21211),
        ({"To": "whatsapp:+26377123456x"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "whatsapp:+19999999999"}, 63007),
        ({"From": "", "MessagingServiceSid": "MG1"}, 21701),
        ({"To": "whatsapp:+14155238886"}, 63031),
        ({}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "x", "ContentVariables": "{}"}, 21654),
        ({"ContentSid": "HX" + "0" * 32}, 21655),
        ({"ContentSid": "HX" + "0" * 32, "Body": "x"}, 20001),
        ({"Body": "x", "MediaUrl": "https://example.org/a.png"}, 21620),
        ({"Body": "x", "StatusCallback": "not a url"}, 21609),
        ({"Body": "x", "StatusCallback": "ftp://example.org/x"}, 21609),
        ({"Body": "x", "StatusCallback": "https://under_score.example.org/x"}, 21609),
        ({"Body": "x", "StatusCallback": "https://[bad/x"}, 21609),
        ({"Body": "x", "ValidityPeriod": "0"}, 21622),
        ({"Body": "x", "ValidityPeriod": "36001"}, 21622),
        ({"Body": "x", "ValidityPeriod": "1.5"}, 21622),
        ({"Body": "x", "Colour": "green"}, 20001),
        ({"Body": "x", "To": STRANGER}, 63015),
    ],
)
async def test_a_message_that_twilio_would_refuse(api, fields, code):
    status, answer = await api.send(**fields)
    assert (status, answer["code"], answer["status"]) == (400, code, 400)
    assert answer["more_info"].endswith(f"/{code}")
    assert api.network.messages == {}


async def test_a_repeated_parameter_a_json_body_and_bad_bytes(api):
    path = f"/2010-04-01/Accounts/{api.network.account_sid}/Messages.json"
    twice = [("To", TENDAI), ("To", RUDO), ("From", api.network.sender), ("Body", "x")]
    assert (await api.call("POST", path, data=twice))[1]["code"] == 20001
    assert (await api.call("POST", path, json={"To": TENDAI}))[0] == 415
    form = {**api.headers, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await api.call("POST", path, data=b"To=%FF&Body=x", headers=form))[1]["code"] == 20001


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ("not json", 21656),
        ("[]", 21656),
        ('{"1": 7}', 21656),
        ('{"3": "unknown"}', 21656),
        ('{"1": ""}', 21656),
        ('{"1": "a\\nb"}', 63013),
        ('{"1": "a\\tb"}', 63013),
        ('{"1": "a     b"}', 63013),
        ('{"1": "{{2}}"}', 21656),
        (json.dumps({"1": "x" * 1000}), 63013),
        (json.dumps({"2": "x" * 193}), 63013),
    ],
)
async def test_variables_that_whatsapp_would_refuse(api, variables, code):
    _, template = await api.template()
    status, answer = await api.send(ContentSid=template["sid"], ContentVariables=variables)
    assert (status, answer["code"]) == (400, code)


def content(body: str = "Is {{1}} well, as far as you know?", **action: Any) -> dict[str, Any]:
    actions = [{"type": "QUICK_REPLY", "title": "Yes", "id": "y", **action}] if action else QUICK["actions"]
    return {"twilio/quick-reply": {"body": body, "actions": actions}}


QUICK = {"actions": [{"type": "QUICK_REPLY", "title": "Yes", "id": "y"}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"language": None},
        {"language": "english"},
        {"types": {}},
        {"types": {"twilio/unknown": {"body": "x"}}},
        {"types": {"twilio/text": {"body": "x", "more": 1}}},
        {"types": {"twilio/quick-reply": {"body": "x"}}},
        {"types": {"twilio/quick-reply": {"body": "x", "actions": []}}},
        {"types": {"twilio/quick-reply": {"body": "x", "actions": QUICK["actions"] * 2}}},
        {"types": content(title="x" * 21)},
        {"types": content(title="")},
        {"types": content(title="{{1}}")},
        {"types": content(id="x" * 201)},
        {"types": content(type="URL")},
        {"types": content(colour="green")},
        {"types": content("{{1}} comes first in this text of many words")},
        {"types": content("Last in this text of many words comes {{1}}")},
        {"types": content("Side by side {{1}} {{2}} in a text of so many words")},
        {"types": content("Out of order {{2}} and then {{1}} in a text of many words")},
        {"types": content("From two {{2}} in a text of so many words")},
        {"types": content("Few {{1}} words")},
        {"types": content("x" * 1025)},
        {"types": content(), "variables": {}},
        {"variables": {"1": 1, "2": "b"}},
        {"variables": []},
        {"extra": 1},
    ],
)
async def test_a_template_that_whatsapp_would_refuse(api, changes):
    status, answer = await api.template(**changes)
    assert (status, answer["code"]) == (400, 20001)
    assert api.network.templates == {}


async def test_content_is_json_of_an_object(api):
    assert (await api.call("POST", "/v1/Content", data="x"))[0] == 415
    as_json = {**api.headers, "Content-Type": "application/json"}
    assert (await api.call("POST", "/v1/Content", data="{", headers=as_json))[0] == 400
    assert (await api.call("POST", "/v1/Content", json=[]))[0] == 400


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !!!", "Bearer x", aiohttp.encode_basic_auth("AC" + "0" * 32, "wrong")],
)
async def test_who_may_not_ask(api, header):
    headers = {} if header is None else {"Authorization": header}
    paths = ("/v1/Content", f"/2010-04-01/Accounts/{api.network.account_sid}/Messages.json")
    for path in paths:
        status, answer = await api.call("GET", path, headers=headers)
        assert (status, answer["code"]) == (401, 20003)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/Content/HX" + "0" * 32, 404),
        ("DELETE", "/v1/Content/HX" + "0" * 32, 404),
        ("GET", "/v1/Nothing", 404),
        ("GET", f"/2010-04-01/Accounts/AC{'1' * 32}/Messages.json", 404),
        ("GET", f"/2010-04-01/Accounts/AC{'0' * 32}/Messages/SM{'0' * 32}.json", 404),
        ("PATCH", f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json", 405),
    ],
)
async def test_what_is_not_there(api, method, path, status):
    assert (await api.call(method, path))[0] == status


# --- the session window, opting out -----------------------------------------------------------------------------------


async def test_free_text_needs_a_word_within_a_day(api, service):
    clock = api.network.clock
    assert (await api.send(Body="hello"))[0] == 201
    clock.now += timedelta(hours=24)
    assert (await api.send(Body="hello"))[1]["code"] == 63016
    assert not (await api.ask()).in_session, "a template passes"
    await api.network.phone("tendai").say("I am here")
    assert (await api.send(Body="hello"))[0] == 201


async def test_the_channel_may_also_say_it_later(api, service):
    api.network.channel_errors = "status"
    api.network.clock.now += timedelta(hours=25)
    status, message = await api.send(Body="hello", StatusCallback=f"{service.url}/s")
    await api.network.settled()
    assert (status, message["status"]) == (201, "queued")
    assert service.statuses == ["failed"]
    assert service.posts[0][2]["ErrorCode"] == "63016"
    assert api.network.phone("tendai").messages == ()


async def test_outside_the_sandbox_a_first_word_needs_approval(api):
    api.network.sandbox = False
    _, template = await api.template()
    assert (await api.send(To=STRANGER, ContentSid=template["sid"]))[1]["code"] == 63016


async def test_stop_is_kept_by_twilio_and_start_undoes_it(api, service):
    phone = api.network.phone("tendai")
    assert await phone.say("Stop") is None
    assert service.posts == []
    assert (await api.send(Body="hello"))[1]["code"] == 21610
    assert await phone.say("START") == 204
    assert (await api.send(Body="hello"))[0] == 201


# --- webhooks ---------------------------------------------------------------------------------------------------------

CAPTURED_TAP = {
    "OriginalRepliedMessageSender", "ExternalUserId", "SmsMessageSid", "FrequentlyForwarded", "NumMedia", "ProfileName",
    "MessageType", "SmsSid", "WaId", "SmsStatus", "Body", "Forwarded", "ButtonText", "To", "ButtonPayload",
    "NumSegments", "ReferralNumMedia", "MessageSid", "AccountSid", "OriginalRepliedMessageSid", "ChannelMetadata",
    "From", "ApiVersion",
}  # fmt: skip


async def test_a_tap_looks_like_one_that_was_captured(api, service):
    message = await api.ask()
    phone = api.network.phone("tendai")
    assert await phone.tap("approve") == 204
    path, headers, form = service.posts[-1]
    assert set(form) == CAPTURED_TAP
    assert (form["Body"], form["ButtonText"], form["ButtonPayload"]) == ("Approve", "Approve", "approve.12-abc")
    assert (form["From"], form["To"]) == (TENDAI, api.network.sender)
    assert (form["OriginalRepliedMessageSid"], form["MessageType"]) == (message.sid, "interactive")
    assert form["MessageSid"] == phone.conversation[-1].sid
    validator = RequestValidator(api.network.auth_token)
    assert validator.validate(f"{service.url}{path}", form, headers["X-Twilio-Signature"])
    assert not RequestValidator("other").validate(f"{service.url}{path}", form, headers["X-Twilio-Signature"])


async def test_a_tap_on_a_template_outside_a_session_says_button(api, service):
    api.network.clock.now += timedelta(hours=30)
    await api.ask()
    await api.network.phone("tendai").tap("Reject")
    assert service.posts[-1][2]["MessageType"] == "button"


async def test_a_text_has_no_button(api, service):
    assert await api.network.phone("tendai").say("A 7K3P") == 204
    form = service.posts[-1][2]
    assert form["Body"] == "A 7K3P"
    assert form["MessageType"] == "text"
    assert not {"ButtonPayload", "ButtonText", "OriginalRepliedMessageSid"} & set(form)


async def test_only_a_button_that_is_there_can_be_tapped(api):
    with pytest.raises(LookupError):
        await api.network.phone("tendai").tap("Approve")
    message = await api.ask()
    with pytest.raises(LookupError):
        await api.network.phone("tendai").tap("On it", message)


async def test_statuses_come_in_order_and_read_when_somebody_looks(api, service):
    callback = f"{service.url}/twilio/status?m=default-12&x=%20y"
    message = await api.ask(StatusCallback=callback)
    await api.network.settled()
    assert service.statuses == ["sent", "delivered"]
    api.network.phone("tendai").read()
    await api.network.settled()
    assert service.statuses == ["sent", "delivered", "read"]
    for path, headers, form in service.posts:
        assert path == "/twilio/status?m=default-12&x=%20y"
        assert form["MessageSid"] == message.sid
        assert RequestValidator(api.network.auth_token).validate(callback, form, headers["X-Twilio-Signature"])


async def test_a_proxy_in_between_changes_the_connection_and_not_the_signature(api, service):
    api.network.message_url, api.network.deliver_to = "https://counterfoil.example.org/twilio/message", service.url
    assert await api.network.phone("tendai").say("hello") == 204
    _, headers, form = service.posts[-1]
    validator = RequestValidator(api.network.auth_token)
    assert validator.validate(api.network.message_url, form, headers["X-Twilio-Signature"])


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_faults_to_order(api, service):
    faults, callback = api.network.faults, f"{service.url}/s"
    faults.error(429, 20429, "slow down")
    status, answer = await api.send(Body="x")
    assert (status, answer["code"], answer["message"]) == (429, 20429, "slow down")

    faults.next("drop")
    with pytest.raises(aiohttp.ClientError):
        await api.send(Body="dropped")
    faults.next("lost")
    with pytest.raises(aiohttp.ClientError):
        await api.send(Body="lost")
    assert [message.body for message in api.network.phone("tendai").messages] == ["lost"]

    hang = faults.next("hang")
    waiting = asyncio.create_task(api.send(Body="late"))
    await hang.met.wait()
    assert not waiting.done()
    assert len(api.network.phone("tendai").messages) == 1
    hang.release.set()
    assert (await waiting)[0] == 201

    faults.reversed_statuses = True
    await api.send(Body="x", StatusCallback=callback)
    await api.network.settled()
    assert service.statuses == ["delivered", "sent"]
    assert api.network.phone("tendai").last_message.status == "delivered"

    service.posts.clear()
    faults.reversed_statuses, faults.undeliverable[TENDAI] = False, 63024
    await api.send(Body="x", StatusCallback=callback)
    await api.network.settled()
    assert [(form["MessageStatus"], form["ErrorCode"]) for _, _, form in service.posts] == [("undelivered", "63024")]

    service.posts.clear()
    faults.undeliverable.clear()
    faults.duplicate_webhooks = True
    await api.network.phone("tendai").say("twice")
    first, second = [post for post in service.posts if post[0] == "/twilio/message"]
    assert first[2] == second[2]
    assert first[1]["X-Twilio-Signature"] == second[1]["X-Twilio-Signature"]
    await api.network.settled()

    service.posts.clear()
    faults.status_callbacks = False
    await api.send(Body="x", StatusCallback=callback)
    await api.network.settled()
    assert service.posts == []


async def test_nobody_takes_the_webhook(network, unused_tcp_port):
    network.message_url = f"http://127.0.0.1:{unused_tcp_port}/twilio/message"
    assert await network.phone("tendai").say("hello") is None
    assert network.webhook_calls[-1].error


async def test_waiting_for_a_message(api):
    phone = api.network.phone("tendai")
    waiting = asyncio.create_task(phone.next_message(says="second"))
    await api.send(Body="the first")
    await api.send(Body="the  SECOND one")
    assert (await waiting).body == "the  SECOND one"
    with pytest.raises(AssertionError, match="tendai got no message"):
        await phone.next_message(timeout=0.01)


# --- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_needs_nothing_from_elsewhere(api):
    for name in ("", "page.css", "page.js"):
        async with api.session.get(f"{api.network.url}/{name}") as answer:
            text = await answer.text()
            assert answer.status == 200
            assert "http:" not in text
            assert "https:" not in text
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    async with api.session.get(f"{api.network.url}/page.html") as answer:
        assert answer.status == 404


async def test_the_page_shows_and_acts(api, service):
    async with api.session.get(f"{api.network.url}/events") as stream:

        async def state() -> Any:
            while not (line := await stream.content.readline()).startswith(b"data: "):
                pass
            return json.loads(line[6:])

        assert [phone["name"] for phone in (await state())["phones"]] == ["tendai", "rudo"]
        message = await api.ask()
        while not (shown := (await state())["phones"][0]["messages"]):
            pass
        assert shown[0]["buttons"] == ["Approve", "Reject"]

        who = f"{api.network.url}/phones/{TENDAI}"
        async with api.session.post(f"{who}/tap", json={"text": "Approve", "sid": message.sid}) as answer:
            assert await answer.json() == {"status": 204}
        async with api.session.post(f"{who}/say", json={"text": "HALT"}) as answer:
            assert answer.status == 200
        async with api.session.post(f"{who}/read", json={}) as answer:
            assert answer.status == 200
        assert [form["Body"] for _, _, form in service.posts] == ["Approve", "HALT"]
        while len(shown := (await state())["phones"][0]["messages"]) < 3:
            pass
        assert shown[1]["reply_to"] == message.sid


@pytest.mark.parametrize(
    ("deed", "how", "status"),
    [
        ("say", {"data": {"text": "HALT"}}, 415),
        ("say", {"json": []}, 400),
        ("say", {"json": {}}, 400),
        ("say", {"json": {"text": " "}}, 400),
        ("say", {"json": {"text": "x" * 4097}}, 400),
        ("tap", {"json": {"text": "Approve"}}, 400),
        ("tap", {"json": {"text": "Approve", "sid": "SM0"}}, 400),
        ("tap", {"json": {"text": "Approve", "sid": ["SM0"]}}, 400),
    ],
)
async def test_the_page_takes_no_nonsense(api, service, deed, how, status):
    async with api.session.post(f"{api.network.url}/phones/tendai/{deed}", **how) as answer:
        assert answer.status == status
    async with api.session.post(f"{api.network.url}/phones/nobody/say", json={"text": "x"}) as answer:
        assert answer.status == 400
    assert service.posts == []


async def test_stop_ends_open_pages_and_requests(service):
    network = PhoneNetwork(people={"tendai": TENDAI})
    url = await network.start()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/events") as stream:
        await stream.content.readline()
        await asyncio.wait_for(network.stop(), 5)


def test_the_stand_in_imports_nothing_of_ours():
    directory = Path(rules.__file__).parent
    for path in directory.glob("*.py"):
        text = path.read_text()
        assert not [
            word for word in ("receiver", "policy_rules", "ledger", "import twilio", "from twilio") if word in text
        ]


# --- a signal, a SIM, a call ------------------------------------------------------------------------------------------


async def test_without_a_signal_everything_waits_and_then_comes_in_order(api, network, service):
    phone = network.phone("tendai")
    phone.lose_signal()
    status, first = await api.send(Body="one")
    await api.send(Body="two")
    assert (status, phone.messages) == (201, ())
    assert await phone.say("HALT") is None
    assert [form.get("Body") for _, _, form in service.posts if "Body" in form] == []
    await phone.find_signal()
    await network.settled()
    assert [message.body for message in phone.messages] == ["one", "two"]
    assert network.messages[first["sid"]].status == "delivered"
    assert [form["Body"] for _, _, form in service.posts if "Body" in form] == ["HALT"]


async def test_another_sim_has_another_identity(network, service):
    phone = network.phone("tendai")
    await phone.say("one")
    phone.change_sim()
    await phone.say("two")
    first, second = (form["ExternalUserId"] for _, _, form in service.posts)
    assert first != second
    assert phone.external_id == second


async def test_a_refused_phone_is_refused_until_it_is_not(api, network):
    phone = network.phone("tendai")
    phone.refuse(63014)
    await api.send(Body="one")
    phone.refuse(None)
    await api.send(Body="two")
    await network.settled()
    assert [message.body for message in phone.messages] == ["two"]


async def test_late_webhooks_come_late_and_all_the_same(api, network, service):
    network.faults.delay_seconds = 0.05
    await api.send(Body="one", StatusCallback=f"{service.url}/twilio/status?m=default-1")
    assert service.posts == []
    await network.settled()
    assert service.statuses == ["sent", "delivered"]


CALL = {
    "To": "+263771234567",
    "From": "+14155238886",
    "Url": "https://counterfoil.example.org/twilio/voice?m=default-1",
}


async def place(api: Api, **fields: str) -> tuple[int, Any]:
    form = {name: value for name, value in {**CALL, **fields}.items() if value}
    return await api.call("POST", f"/2010-04-01/Accounts/{api.network.account_sid}/Calls.json", data=form)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21201),
        ({"To": "whatsapp:+263771234567"}, 21211),
        ({"From": ""}, 21213),
        ({"From": "+15550001111"}, 21210),
        ({"Url": ""}, 21205),
        ({"Twiml": "<Response/>"}, 21205),
        ({"Url": "https://under_score.example.org/x"}, 21205),
        ({"Url": "", "Twiml": "x" * 4001}, 21218),
        ({"StatusCallback": "nowhere"}, 21609),
        ({"Method": "PUT"}, 20001),
        ({"MachineDetection": "on"}, 20001),
        ({"Timeout": "601"}, 20001),
        ({"Colour": "green"}, 20001),
    ],
)
async def test_a_call_that_twilio_would_refuse(api, fields, code):
    status, answer = await place(api, **fields)
    assert (status, answer["code"]) == (400, code)
    assert api.network.calls == {}


async def test_a_call_to_a_phone_without_a_signal_or_to_nobody_ends(api, network):
    network.phone("tendai").lose_signal()
    _, first = await place(api)
    _, second = await place(api, To="+15550001111")
    await network.settled()
    statuses = [network.calls[call["sid"]].status for call in (first, second)]
    assert statuses == ["no-answer", "failed"]


async def test_a_call_rings_for_its_time_and_no_webhook_waits_for_it(api, network):
    await place(api, Timeout="1", StatusCallback="https://counterfoil.example.org/twilio/status")
    async with asyncio.timeout(10):
        call = await network.phone("tendai").next_call()
        await network.settled()
        assert call.rings
        while call.rings:
            await network.news()
        await network.settled()
    assert call.status == "no-answer"
    assert [c.fields["CallStatus"] for c in network.webhook_calls if c.fields.get("CallSid") == call.sid] == [
        "no-answer"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<Response><Say>hi</Say>", "12100"),
        ("<Answer/>", "12100"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><Response/>", "12100"),
        ("<Response><Play>x</Play></Response>", "12200"),
        ("<Response><Say colour='x'>hi</Say></Response>", "12200"),
        ("<Response><Say/></Response>", "13520"),
        ("<Response><Say language='en'>hi</Say></Response>", "13512"),
        ("<Response><Gather numDigits='0'><Say>x</Say></Gather></Response>", "13314"),
        ("<Response><Redirect/></Response>", "12200"),
    ],
)
async def test_twiml_that_twilio_would_not_run_ends_the_call(api, network, text, why):
    _, answer = await place(api, Url="", Twiml=text)
    call = network.calls[answer["sid"]]
    await call.answer()
    assert call.error.startswith(why)
    assert call.status == "completed"


async def test_the_page_acts_on_phones_and_the_network(network, service):
    async with aiohttp.ClientSession() as session:

        async def act(path: str, **body: Any) -> int:
            async with session.post(f"{network.url}{path}", json=body) as answer:
                return answer.status

        assert await act("/phones/tendai/signal", on=False) == 200
        assert network.phone("tendai").online is False
        assert await act("/phones/tendai/signal", on=True) == 200
        assert await act("/phones/tendai/refuse", code=63016) == 200
        assert network.faults.undeliverable == {TENDAI: 63016}
        assert await act("/phones/tendai/refuse", code="x") == 400
        assert await act("/phones/tendai/answer") == 400  # nobody calls
        assert await act("/phones/tendai/fly") == 400
        assert await act("/network", late=5, twice=True) == 200
        assert (network.faults.delay_seconds, network.faults.duplicate_webhooks) == (5.0, True)
        assert await act("/network", late=1000, twice=True) == 400
        assert await act("/network", twice=True) == 400
