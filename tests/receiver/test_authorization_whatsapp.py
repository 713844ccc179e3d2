"""The carrier against the strict stand-in, and every request of ours against Twilio's published contract."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import aiohttp
import pytest
from openapi_schema_validator import OAS30Validator

from receiver.authorization import codes, templates
from receiver.authorization.twilio_http import outcome_of_code
from receiver.authorization.whatsapp import WhatsApp
from receiver.demo.phone import PhoneNetwork
from receiver.papers import MessageKind, NotSent, OutgoingMessage, Recipient, Sent

TENDAI = Recipient("tendai", "whatsapp:+263771234567")
NOW = datetime(2026, 11, 23, 8, 58, 38, tzinfo=UTC)
TOKEN = codes.token(b"secret", "default-12")
VARIABLES = {
    "incident": "checkout-errors (service checkout)",
    "summary": "Every third request fails: see https://evil.example\nAction: none",
    "finding": "error_ratio 0.31 >= 0.05",
    "diagnosis": "The errors began with the deployment",
    "action": "restart the checkout service",
    "risk": "requests in flight are lost",
    "expires": "10:21 CAT",
    "reference": "inc-7f3a9c0012",
    "code": "7K3P",
}


def opened(message_id: str = "default-12", **changes: Any) -> OutgoingMessage:
    fields = {"kind": MessageKind.OPENED, "recipient": TENDAI, "variables": VARIABLES, "token": TOKEN, **changes}
    return OutgoingMessage(message_id, **fields)


def notice(text: str = "Recovered, says policy.") -> OutgoingMessage:
    return OutgoingMessage("default-13", MessageKind.NOTICE, TENDAI, {"text": text, "reference": "inc-1"})


def reply(text: str = "already approved by tendai") -> OutgoingMessage:
    return OutgoingMessage("default-14", MessageKind.REPLY, TENDAI, {"text": text, "reference": ""})


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def network():
    network = PhoneNetwork(people={"tendai": TENDAI.address})
    await network.start()
    yield network
    await network.stop()


@pytest.fixture
async def make(network):
    """Carriers over one session; keyword arguments replace those of the constructor."""
    async with aiohttp.ClientSession() as session:

        def make(**changes: Any) -> WhatsApp:
            fields: dict[str, Any] = {
                "account_sid": network.account_sid,
                "auth_token": network.auth_token,
                "sender": network.sender,
                "base_url": network.url,
                "public_url": "https://counterfoil.example.org/base/",
                "session": lambda: session,
                "clock": Clock(),
            }
            return WhatsApp(**{**fields, **changes})

        yield make


def creations(network: PhoneNetwork) -> list[dict[str, list[str]]]:
    made = [e for e in network.exchanges if e.method == "POST" and e.path.endswith("/Messages.json")]
    return [parse_qs(exchange.body.decode(), keep_blank_values=True) for exchange in made]


async def test_a_question_arrives_with_three_buttons_and_the_codes(network, make):
    sent = await make().send(opened())
    message = await network.phone("tendai").next_message()
    assert isinstance(sent, Sent)
    assert (message.sid, message.body) == (sent.sid, sent.content)
    assert len(sent.content_digest) == 64
    assert [(b.title, b.payload) for b in message.buttons] == [
        ("Approve", f"approve.{TOKEN}"),
        ("Reject", f"reject.{TOKEN}"),
        ("On it", f"onit.{TOKEN}"),
    ]
    assert message.says("reply *A 7K3P* to approve or *R 7K3P* to reject")
    assert "evil" not in message.body


async def test_what_twilio_is_asked(network, make):
    await make().send(opened(message_id="pay ments&x=1-12", valid_seconds=900))
    (form,) = creations(network)
    assert form["To"] == [TENDAI.address]
    assert form["From"] == [network.sender]
    assert form["ValidityPeriod"] == ["900"]
    assert form["StatusCallback"] == ["https://counterfoil.example.org/base/twilio/status?m=pay%20ments%26x%3D1-12"]
    assert set(form) == {"To", "From", "ContentSid", "ContentVariables", "StatusCallback", "ValidityPeriod"}
    assert json.loads(form["ContentVariables"][0])["10"] == "7K3P"


@pytest.mark.parametrize(("seconds", "sent"), [(-5, "10"), (0, "10"), (3600, "3600"), (10**9, "36000")])
async def test_the_validity_stays_within_twilios_limits(network, make, seconds, sent):
    assert isinstance(await make().send(opened(valid_seconds=seconds)), Sent)
    assert creations(network)[0]["ValidityPeriod"] == [sent]


async def test_a_messaging_service_takes_the_place_of_a_number(network, make):
    assert isinstance(await make(sender="MG" + "a" * 32).send(opened()), Sent)
    (form,) = creations(network)
    assert form["MessagingServiceSid"] == ["MG" + "a" * 32]
    assert "From" not in form


async def test_a_reply_is_plain_text_and_a_notice_has_no_buttons(network, make):
    carrier = make()
    assert isinstance(await carrier.send(reply()), Sent)
    assert isinstance(await carrier.send(notice()), Sent)
    assert [m.buttons for m in network.phone("tendai").messages] == [(), ()]
    assert creations(network)[0]["Body"] == ["already approved by tendai"]
    assert "ContentSid" in creations(network)[1]


async def test_templates_are_made_once_and_found_by_the_next_process(network, make):
    first = make()
    await asyncio.gather(*(first.send(opened(f"default-{n}")) for n in range(4)), first.send(notice()))
    assert sorted(t.friendly_name for t in network.templates.values()) == [
        "counterfoil_notice_v1_en",
        "counterfoil_opened_v1_en",
    ]
    before = len(network.exchanges)
    assert isinstance(await make().send(opened()), Sent)
    after = [(e.method, e.path) for e in list(network.exchanges)[before:]]
    assert [method for method, path in after if path == "/v1/Content"] == ["GET"]
    known = {t.friendly_name: await first.contents.sid(t) for t in (templates.OPENED, templates.NOTICE)}
    assert known == {t.friendly_name: t.sid for t in network.templates.values()}


async def test_a_template_of_our_name_with_other_words_is_not_used(network, make):
    await make().send(notice())
    (ours,) = network.templates.values()
    strange = {"twilio/text": {"body": "Pay {{1}} now or lose {{2}} at once, dear customer of ours."}}
    async with aiohttp.ClientSession(auth=None) as session:
        headers = {"Authorization": aiohttp.encode_basic_auth(network.account_sid, network.auth_token)}
        del network.templates[ours.sid]
        body = {
            "friendly_name": ours.friendly_name,
            "language": "en",
            "variables": {"1": "a", "2": "b"},
            "types": strange,
        }
        async with session.post(f"{network.url}/v1/Content", json=body, headers=headers) as answer:
            assert answer.status == 201
    await make().send(notice())
    assert network.phone("tendai").last_message.says("Counterfoil")
    assert len(network.templates) == 2


async def test_templates_are_found_behind_many_others(network, make):
    await make().send(notice())
    (ours,) = network.templates.values()
    others = {f"HX{n:032x}": ours.__class__(f"HX{n:032x}", f"n{n}", "en", {}, {}, ours.at) for n in range(600)}
    network.templates = {**others, ours.sid: ours}
    assert await make().contents.sid(templates.NOTICE) == ours.sid
    assert len(network.templates) == 601


ERRORS = [
    (400, 63014, "opted_out", False),
    (400, 21610, "opted_out", False),
    (400, 63016, "outside_window", False),
    (400, 63024, "bad_recipient", False),
    (400, 21211, "bad_recipient", False),
    (400, 63015, "bad_recipient", False),
    (400, 63018, "rate_limited", True),
    (429, 20429, "rate_limited", True),
    (429, 63038, "daily_limit", True),
    (429, 99999, "rate_limited", True),
    (401, 20003, "unauthorized", False),
    (403, 20403, "unauthorized", False),
    (403, 11111, "unauthorized", False),
    (400, 21656, "rejected", False),
    (404, 20404, "rejected", False),
    (418, 11111, "rejected", False),
    (500, 20500, "unreachable", True),
    (503, 20503, "unreachable", True),
]


@pytest.mark.parametrize(("status", "code", "outcome", "again"), ERRORS)
async def test_each_error_has_its_word(network, make, status, code, outcome, again):
    network.faults.error(status, code, "because")
    answer = await make().send(reply())
    assert isinstance(answer, NotSent)
    assert answer.outcome == outcome
    assert (answer.retry_seconds is not None) is again
    assert str(code) in answer.detail
    assert network.auth_token not in answer.detail
    assert len(creations(network)) == 1, "there is no retry inside"


async def test_an_error_that_comes_late_has_the_same_word():
    assert outcome_of_code(63016) == ("outside_window", None)
    assert outcome_of_code(None) == ("rejected", None)


@pytest.mark.parametrize("kind", ["drop", "lost", "garbage"])
async def test_no_readable_answer_is_unreachable(network, make, kind):
    carrier = make()
    await carrier.send(reply())
    network.faults.next(kind)
    answer = await carrier.send(reply())
    assert isinstance(answer, NotSent)
    assert (answer.outcome, answer.retry_seconds) == ("unreachable", 10.0)


async def test_a_carrier_that_hangs_costs_no_more_than_the_deadline(network, make):
    fault = network.faults.next("hang")
    answer = await make(timeout_seconds=0.2).send(reply())
    fault.release.set()
    assert isinstance(answer, NotSent)
    assert answer.outcome == "unreachable"
    assert "0.2 s" in answer.detail


async def test_nobody_listens(network, make, unused_tcp_port):
    answer = await make(base_url=f"http://127.0.0.1:{unused_tcp_port}").send(opened())
    assert isinstance(answer, NotSent)
    assert answer.outcome == "unreachable"


async def test_a_wrong_token_is_unauthorized_with_and_without_a_template(make):
    for message in (opened(), reply()):
        answer = await make(auth_token="wrong").send(message)
        assert isinstance(answer, NotSent)
        assert answer.outcome == "unauthorized"


async def test_a_question_without_a_token_is_not_sent(network, make):
    answer = await make().send(opened(token=None))
    assert isinstance(answer, NotSent)
    assert (answer.outcome, answer.retry_seconds) == ("rejected", None)
    assert creations(network) == []


async def test_who_never_wrote_gets_a_template_but_no_free_text(network, make):
    network.sandbox = False
    stranger = Recipient("kuda", "whatsapp:+263773333333")
    outside = await make().send(OutgoingMessage("default-9", MessageKind.REPLY, stranger, {"text": "hello"}))
    assert isinstance(outside, NotSent)
    assert outside.outcome == "outside_window"


async def test_the_days_limit_counts_what_twilio_took_and_starts_anew_at_midnight(network, make):
    clock = Clock()
    carrier = make(clock=clock, daily_message_limit=2)
    network.faults.error(400, 63024)
    outcomes = [await carrier.send(reply()) for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [NotSent, Sent, Sent, NotSent]
    assert isinstance(outcomes[3], NotSent)
    assert outcomes[3].outcome == "daily_limit"
    assert outcomes[3].retry_seconds == pytest.approx(54_082)
    clock.now += timedelta(seconds=54_082)
    assert isinstance(await carrier.send(reply()), Sent)


async def test_what_may_have_been_sent_counts_towards_the_limit(network, make):
    carrier = make(daily_message_limit=1)
    network.faults.next("drop")
    assert isinstance(await carrier.send(reply()), NotSent)
    last = await carrier.send(reply())
    assert isinstance(last, NotSent)
    assert last.outcome == "daily_limit"


async def test_the_process_environment_changes_nothing(network, make, monkeypatch):
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "of somebody else")
    carrier = make()
    assert isinstance(await carrier.send(opened()), Sent)
    client = await carrier._connection.client()
    assert (client.region, client.edge, client.password) == (None, None, network.auth_token)


# --- Twilio's own description of its API ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contract() -> Callable[[str, str], OAS30Validator]:
    """Validators for a schema of Twilio's OpenAPI files, by file and a path of keys."""
    directory = os.environ.get("TWILIO_OPENAPI")
    if not directory:
        pytest.skip("TWILIO_OPENAPI does not name the directory of Twilio's OpenAPI files")
    files = {name: json.loads((Path(directory) / name).read_text()) for name in (MESSAGES, CONTENT)}

    def inline(node: Any, root: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                target = root
                for key in node["$ref"].removeprefix("#/").split("/"):
                    target = target[key.replace("~1", "/").replace("~0", "~")]
                return inline(target, root)
            return {key: inline(value, root) for key, value in node.items() if key not in ("examples", "example")}
        return [inline(item, root) for item in node] if isinstance(node, list) else node

    def validator(name: str, *path: str) -> OAS30Validator:
        node = files[name]
        for key in path:
            node = node[key]
        return OAS30Validator(inline(node, files[name]), format_checker=OAS30Validator.FORMAT_CHECKER)

    return validator


MESSAGES, CONTENT = "twilio_messages_calls.slice.json", "twilio_content_v1.json"
ALL = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
ONE = "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json"
SUBMIT = "/v1/Content/{ContentSid}/ApprovalRequests/whatsapp"
APPROVAL, APPROVALS = "/v1/Content/{Sid}/ApprovalRequests", "/v1/ContentAndApprovals"
JSON = ("content", "application/json", "schema")


async def test_requests_and_answers_keep_twilios_contract(network, make, contract):
    carrier = make()
    for message in (opened(), notice(), reply()):
        assert isinstance(await carrier.send(message), Sent)
    client = await carrier._connection.client()
    sid = network.phone("tendai").last_message.sid
    assert (await client.messages(sid).fetch_async()).sid == sid
    assert len(await client.messages.list_async(to=TENDAI.address, page_size=2)) == 3
    await network.settled()
    assert (await client.messages(sid).fetch_async()).status == "delivered"
    template = next(iter(network.templates))
    assert (await client.content.v1.contents(template).fetch_async()).sid == template
    assert await carrier.contents.submit(template, templates.OPENED) == "received"
    assert (await client.content.v1.contents(template).approval_fetch().fetch_async()).whatsapp["status"] == "received"
    assert {standing.status for standing in await carrier.contents.standings()} == {
        "received",
        "unsubmitted",
        "missing",
    }
    assert await client.content.v1.contents(template).delete_async()
    assert template not in network.templates

    request_form = contract(
        MESSAGES, "paths", ALL, "post", "requestBody", "content", "application/x-www-form-urlencoded", "schema"
    )
    allowed = set(request_form.schema["properties"])
    request_content = contract(CONTENT, "components", "schemas", "ContentCreateRequest")
    request_approval = contract(CONTENT, "components", "schemas", "ContentApprovalRequest")
    answers = {
        ("POST", "messages"): contract(MESSAGES, "paths", ALL, "post", "responses", "201", *JSON),
        ("GET", "messages"): contract(MESSAGES, "paths", ALL, "get", "responses", "200", *JSON),
        ("GET", "message"): contract(MESSAGES, "paths", ONE, "get", "responses", "200", *JSON),
        ("POST", "contents"): contract(CONTENT, "paths", "/v1/Content", "post", "responses", "201", *JSON),
        ("GET", "contents"): contract(CONTENT, "paths", "/v1/Content", "get", "responses", "200", *JSON),
        ("GET", "content"): contract(CONTENT, "paths", "/v1/Content/{Sid}", "get", "responses", "200", *JSON),
        ("POST", "whatsapp"): contract(CONTENT, "paths", SUBMIT, "post", "responses", "201", *JSON),
        ("GET", "approval"): contract(CONTENT, "paths", APPROVAL, "get", "responses", "200", *JSON),
        ("GET", "approvals"): contract(CONTENT, "paths", APPROVALS, "get", "responses", "200", *JSON),
    }
    places = {"ApprovalRequests": "approval", "whatsapp": "whatsapp", "ContentAndApprovals": "approvals"}
    places |= {"Content": "contents", "Messages.json": "messages"}
    seen = set()
    for exchange in network.exchanges:
        if exchange.method == "DELETE":
            assert (exchange.status, exchange.answer) == (204, b"")
            continue
        one = "content" if exchange.path.startswith("/v1") else "message"
        place = places.get(exchange.path.rpartition("/")[2], one)
        seen.add((exchange.method, place))
        answers[exchange.method, place].validate(json.loads(exchange.answer))
        if (exchange.method, place) == ("POST", "messages"):
            form: dict[str, Any] = dict(parse_qsl(exchange.body.decode(), strict_parsing=True))
            assert set(form) <= allowed
            request_form.validate({**form, "ValidityPeriod": int(form["ValidityPeriod"])})
            assert all(1 <= len(value) <= 1600 for value in form.values())
        elif (exchange.method, place) == ("POST", "contents"):
            request_content.validate(json.loads(exchange.body))
        elif (exchange.method, place) == ("POST", "whatsapp"):
            request_approval.validate(json.loads(exchange.body))
    assert seen == set(answers)


def test_the_contract_would_notice_a_mistake(contract):
    validator = contract(MESSAGES, "components", "schemas", "api.v2010.account.message")
    assert not validator.is_valid({"sid": "SM123"})
    content = contract(CONTENT, "components", "schemas", "ContentCreateRequest")
    types = templates.OPENED.types()
    assert content.is_valid({"language": "en", "types": types})
    assert not content.is_valid({"language": "en", "types": {"twilio/quick-reply": {"body": "no actions"}}})
