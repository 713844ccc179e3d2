"""What people answer: only what Twilio signed for our public address is booked, once, and before anyone judges it."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from ledger.entry import Draft, Entry, canonical, format_time
from ledger.journal import Conflict, Receipt, Refused, Unavailable
from receiver.authorization import codes
from receiver.demo.phone import PhoneNetwork
from receiver.intake.replies import Replies
from receiver.intake.signed import BODY_BYTES, Signed

PUBLIC_URL = "https://counterfoil.example.org"
ACCOUNT, TOKEN, PREVIOUS = "AC" + "1" * 32, "current-token", "previous-token"
TENDAI, RUDO, STRANGER = "whatsapp:+263771234567", "whatsapp:+263772345678", "whatsapp:+15550001111"
SECRET, KEY = b"codes secret", b"address key"
SID = "SM" + "a" * 32


class MemoryJournal:
    """The port over lists: ids are claims, an obligation is settled once. The rules of the books are not its matter."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Entry]] = {"default": [], "second": []}
        self.fault: Exception | None = None

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        if self.fault is not None:
            raise self.fault
        log = self.logs[tenant]
        standing = [entry for draft in drafts for entry in log if entry.id == draft.id]
        if standing:
            same = all(entry.body == draft.body for entry, draft in zip(standing, drafts, strict=True))
            if not same:
                raise Conflict(standing[0].id)
            return Receipt(tuple(standing), duplicate=True)
        for draft in drafts:
            if draft.settles is not None and any(entry.settles == draft.settles for entry in log):
                raise Refused("settled already", draft.stage)
        made = []
        for draft in drafts:
            document = {
                **draft.document(len(log)),
                "ledger": "test",
                "tenant_id": tenant,
                "index": len(log),
                "timestamp": format_time(datetime(2026, 11, 23, tzinfo=UTC)),
                "salt": "00" * 16,
            }
            made.append(Entry.parse(canonical(document)))
            log.append(made[-1])
        return Receipt(tuple(made))

    async def get(self, tenant: str, index: int) -> Entry | None:
        log = self.logs[tenant]
        return log[index] if index < len(log) else None

    async def find(self, tenant: str, id: str) -> Entry | None:
        if self.fault is not None:
            raise self.fault
        return next((entry for entry in self.logs[tenant] if entry.id == id), None)

    async def tenants(self) -> list[str]:
        return list(self.logs)

    async def outstanding(self, tenant: str) -> list[Entry]:
        return [entry for entry in self.logs[tenant] if entry.stage == "PROPOSED"]

    def stages(self, tenant: str = "default") -> list[str]:
        return [entry.stage for entry in self.logs[tenant]]


@dataclass
class Roster:
    people: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {TENDAI: [("default", "tendai")]})

    def person_by_address(self, address: str) -> Sequence[tuple[str, str]]:
        return self.people.get(address, [])


class House:
    """The two handlers on a real listener, and what they booked and counted."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.journal = MemoryJournal()
        self.roster = Roster()
        self.tokens = [TOKEN, PREVIOUS]
        self.counts: list[tuple[str, str]] = []
        self.url = ""
        self.replies = Replies(
            journal=self.journal,  # type: ignore[arg-type]
            roster=self.roster,
            signed=Signed(account_sid=ACCOUNT, auth_tokens=lambda: self.tokens, public_url=PUBLIC_URL),
            codes_secret=SECRET,
            address_key=lambda tenant, person: KEY,
            count=lambda path, outcome: self.counts.append((path, outcome)),
        )

    async def raw(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        url = URL(f"{self.url}{path}", encoded=True)
        async with self.session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(
        self, path: str, form: dict[str, str], *, token: str = TOKEN, signed_url: str = "", **headers: str
    ) -> int:
        signature = sign(token, signed_url or f"{PUBLIC_URL}{path}", form)
        merged = {**FORM, "X-Twilio-Signature": signature, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return (await self.raw(path, urlencode(form).encode(), merged))[0]

    async def say(self, body: str, **changes: str) -> int:
        return await self.post("/twilio/message", {**INBOUND, "Body": body, **changes})

    async def status(self, status: str, *, message: str = "default-1", **changes: str) -> int:
        form = {"AccountSid": ACCOUNT, "MessageSid": SID, "MessageStatus": status, "To": TENDAI, **changes}
        return await self.post(f"/twilio/status?m={message}", form)

    async def address(self) -> None:
        """Entries 0 and 1: some entry, and a message to tendai."""
        await self.journal.post("default", [Draft("open", "OPENED", "system")])
        body = {"person": "tendai", "kind": "opened"}
        await self.journal.post("default", [Draft("address:9:tendai", "ADDRESSED", "system", "inc-1", body=body)])

    @property
    def last(self) -> Entry:
        return self.journal.logs["default"][-1]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
INBOUND = {
    "AccountSid": ACCOUNT,
    "Body": "A 7K3P",
    "ExternalUserId": "whatsapp:ZW.abc",
    "From": TENDAI,
    "MessageSid": SID,
    "MessageType": "text",
    "NumMedia": "0",
    "To": "whatsapp:+14155238886",
}
TAP = {"ButtonText": "Approve", "MessageType": "button", "OriginalRepliedMessageSid": "MM" + "b" * 32}


def sign(token: str, url: str, form: dict[str, str]) -> str:
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


@pytest.fixture
async def house():
    async with aiohttp.ClientSession() as session:
        house = House(session)
        app = web.Application()
        app.router.add_post("/twilio/message", house.replies.message)
        app.router.add_post("/twilio/status", house.replies.status)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        house.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield house
        await runner.cleanup()


# --- HEARD ------------------------------------------------------------------------------------------------------------


async def test_a_text_code_is_heard(house):
    assert await house.say(" a 7k3p\u202e") == 204
    assert (house.last.id, house.last.stage, house.last.actor) == (f"heard:{SID}", "HEARD", "carrier:whatsapp")
    assert house.last.incident_id is None
    assert house.last.body == {
        "person": "tendai",
        "verb": "approve",
        "token": None,
        "code": "7K3P",
        "original_sid": None,
        "from_hmac": codes.address_hmac(KEY, TENDAI),
        "external_id_hmac": codes.address_hmac(KEY, "whatsapp:ZW.abc"),
    }
    assert b"263771234567" not in house.last.raw


async def test_a_tap_is_heard_with_its_token_and_the_message_it_answers(house):
    token = codes.token(SECRET, "default-1")
    assert await house.say("Approve", **TAP, ButtonPayload=f"approve.{token}") == 204
    body = house.last.body
    assert (body["verb"], body["token"], body["original_sid"]) == ("approve", token, "MM" + "b" * 32)


async def test_the_same_message_twice_is_heard_once(house):
    assert [await house.say("HALT"), await house.say("HALT")] == [204, 204]
    assert house.journal.stages() == ["HEARD"]


async def test_a_replay_with_other_words_changes_nothing(house, caplog):
    await house.say("A 7K3P")
    assert await house.say("R 7K3P") == 204
    assert house.journal.stages() == ["HEARD"]
    assert house.last.body["verb"] == "approve"
    assert "other contents" in caplog.text


async def test_a_bare_yes_is_a_word_and_no_answer(house):
    for number, word in enumerate(("yes", "ok", "Approve", "")):
        await house.say(word, MessageSid=f"SM{number:032x}")
        assert house.last.body["verb"] == "other"


async def test_a_long_text_is_kept_short(house):
    assert await house.say("word " * 2_000) == 204
    assert next(blob.length for blob in house.last.blobs if blob.name == "text") <= 302  # 299 and an ellipsis


async def test_strangers_are_counted_and_not_booked(house):
    assert await house.say("HALT", From=STRANGER) == 204
    assert house.journal.stages() == []
    assert house.counts == [("/twilio/message", "stranger")]


async def test_a_stranger_with_a_button_of_ours_is_booked_without_a_name(house):
    token = codes.token(SECRET, "second-7")
    assert await house.say("Approve", **TAP, From=STRANGER, ButtonPayload=f"approve.{token}") == 204
    assert house.journal.stages() == []
    assert house.journal.logs["second"][0].body["person"] is None


async def test_a_stranger_with_a_forged_button_is_a_stranger(house):
    for token in ("second-7", "7-" + "a" * 24, codes.token(b"other", "second-7")):
        assert await house.say("Approve", **TAP, From=STRANGER, ButtonPayload=f"approve.{token}") == 204
    assert house.journal.stages("second") == []
    assert {outcome for _, outcome in house.counts} == {"stranger"}


async def test_a_payload_without_the_marks_of_a_tap_is_no_tap(house):
    token = codes.token(SECRET, "default-1")
    assert await house.say("hello", ButtonPayload=f"approve.{token}") == 204
    assert (house.last.body["verb"], house.last.body["token"]) == ("other", None)


async def test_a_person_of_two_tenants(house):
    house.roster.people[TENDAI] = [("default", "tendai"), ("second", "t.moyo")]
    await house.journal.post("second", [Draft("propose:inc-1:1", "PROPOSED", "policy", "inc-1")])
    code = codes.code(SECRET, "second", 0, "t.moyo")
    await house.say(f"A {code}")
    assert (house.journal.stages("default"), house.journal.stages("second")) == ([], ["PROPOSED", "HEARD"])
    await house.say("A 3333", MessageSid="SM" + "2" * 32)
    assert house.journal.stages("default") == ["HEARD"], "a code that fits nothing is refused once"
    await house.say("HALT", MessageSid="SM" + "3" * 32)
    assert house.journal.stages("default")[-1] == "HEARD"
    assert house.journal.logs["second"][-1].body == {**house.last.body, "person": "t.moyo"}
    await house.say(
        "Approve", **TAP, MessageSid="SM" + "4" * 32, ButtonPayload="onit." + codes.token(SECRET, "second-9")
    )
    assert house.journal.logs["second"][-1].body["person"] == "t.moyo"
    assert len(house.journal.logs["default"]) == 2


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Unavailable("disk full"), 503), (Refused("no"), 503), (Conflict("heard:x"), 204)],
)
async def test_what_cannot_be_booked_is_asked_for_again(house, fault, status):
    house.journal.fault = fault
    assert await house.say("HALT") == status


# --- signatures -------------------------------------------------------------------------------------------------------


async def test_both_tokens_are_taken_and_no_third(house):
    form = {**INBOUND, "Body": "HALT"}
    assert await house.post("/twilio/message", form, token=PREVIOUS) == 204
    assert await house.post("/twilio/message", form, token="other") == 403
    house.tokens.remove(PREVIOUS)
    assert await house.post("/twilio/message", form, token=PREVIOUS) == 403


async def test_the_signature_is_that_of_the_public_address_whatever_host_is_claimed(house, caplog):
    form = {**INBOUND, "Body": "HALT"}
    elsewhere = "https://evil.example.org/twilio/message"
    assert await house.post("/twilio/message", form, signed_url=elsewhere, Host="evil.example.org") == 403
    assert f"{PUBLIC_URL}/twilio/message" in caplog.text
    assert await house.post("/twilio/message", form, signed_url=house.url + "/twilio/message") == 403
    assert await house.post("/twilio/message", form, Host="evil.example.org") == 204


async def test_path_and_query_are_taken_as_they_came(house):
    form = {**INBOUND, "Body": "HALT"}
    assert await house.post("/twilio/message?a=%20b+c&d=%2F", form) == 204
    signed = f"{PUBLIC_URL}/twilio/message?a=x"
    assert await house.post("/twilio/message?a=y", form, signed_url=signed) == 403
    assert await house.post("/twilio/message", form, signed_url=signed) == 403


async def test_a_changed_form_is_not_signed(house):
    signature = sign(TOKEN, f"{PUBLIC_URL}/twilio/message", INBOUND)
    for changes in ({"Body": "R 7K3P"}, {"From": RUDO}, {"Extra": "1"}):
        body = urlencode({**INBOUND, **changes}).encode()
        assert (await house.raw("/twilio/message", body, {**FORM, "X-Twilio-Signature": signature}))[0] == 403
    assert house.journal.stages() == []


async def test_no_signature_or_two(house):
    body = urlencode(INBOUND).encode()
    good = sign(TOKEN, f"{PUBLIC_URL}/twilio/message", INBOUND)
    for signature in (None, "", "x", "é", good + "x", good[:-1]):
        headers = FORM if signature is None else {**FORM, "X-Twilio-Signature": signature}
        assert (await house.raw("/twilio/message", body, headers))[0] == 403
    twice = CIMultiDict([*FORM.items(), ("X-Twilio-Signature", good), ("X-Twilio-Signature", good)])
    async with house.session.post(f"{house.url}/twilio/message", data=body, headers=twice) as answer:
        assert answer.status == 403


async def test_fields_that_run_into_each_other_are_refused(house):
    """`{A: "1B2"}` and `{A: 1, B: 2}` have the same signature; a repeated or misshapen field is not taken."""
    signature = sign(TOKEN, f"{PUBLIC_URL}/twilio/message", INBOUND)
    headers = {**FORM, "X-Twilio-Signature": signature}
    repeated = urlencode([*INBOUND.items(), ("Body", INBOUND["Body"])]).encode()
    assert (await house.raw("/twilio/message", repeated, headers))[0] == 400
    joined = {**INBOUND, "AccountSid": ACCOUNT + "Body" + INBOUND["Body"]}
    del joined["Body"]
    assert (await house.raw("/twilio/message", urlencode(joined).encode(), headers))[0] == 400
    odd = {**INBOUND, "Button Payload": "x"}
    assert await house.post("/twilio/message", odd) == 400
    assert house.journal.stages() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"AccountSid": "AC" + "2" * 32},
        {"MessageSid": "SM1"},
        {"MessageSid": SID + "a"},
        {"MessageSid": ""},
        {"From": ""},
        {"From": "whatsapp:a b"},
    ],
)
async def test_signed_and_still_not_a_message(house, changes):
    assert await house.say("HALT", **changes) == 400
    assert house.journal.stages() == []


async def test_an_sms_counts_for_nothing(house):
    assert await house.say("A 7K3P", From="+263771234567") == 204
    assert house.journal.stages() == []


async def test_a_json_body_is_never_taken_for_a_form(house):
    text = '{"From": "whatsapp:+263771234567"}'
    path = f"/twilio/message?bodySHA256={hashlib.sha256(text.encode()).hexdigest()}"
    signature = sign(TOKEN, f"{PUBLIC_URL}{path}", {})
    headers = {"Content-Type": "application/json", "X-Twilio-Signature": signature}
    assert (await house.raw(path, text.encode(), headers))[0] == 400
    assert (await house.raw(path, b'{"From": "other"}', headers))[0] == 403
    assert (await house.raw("/twilio/message", text.encode(), headers))[0] == 403
    assert house.journal.stages() == []


async def test_a_large_body_is_cut_off(house):
    assert await house.say("x" * (BODY_BYTES + 1)) == 413
    many = {f"Field{number}": "x" for number in range(200)}
    assert await house.post("/twilio/message", {**INBOUND, **many}) == 403


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/twilio/message", "/twilio/status?m=default-1", "/twilio/status?m=%FF&m="]),
    body=st.binary(max_size=300) | st.text().map(lambda text: urlencode({"Body": text}).encode()),
    content_type=st.sampled_from([*FORM.values(), "application/json", "multipart/form-data; boundary=x", "x", ""]),
    signature=st.text(
        alphabet=st.characters(min_codepoint=33, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40
    ),
)
async def test_no_bytes_make_an_error_of_ours(house, path, body, content_type, signature):
    headers = {"Content-Type": content_type, "X-Twilio-Signature": signature}
    assert (await house.raw(path, body, headers))[0] == 403
    assert house.journal.stages() == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.dictionaries(st.sampled_from([*INBOUND, *TAP, "ButtonPayload", "MessageStatus", "ErrorCode"]), st.text()),
    path=st.sampled_from(["/twilio/message", "/twilio/status?m=default-1", "/twilio/status?m=x"]),
)
async def test_no_signed_form_makes_an_error_of_ours(house, form, path):
    form = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
    assert await house.post(path, {**INBOUND, **form}) in (200, 204, 400)


# --- status callbacks -------------------------------------------------------------------------------------------------


async def test_the_life_of_a_message(house):
    await house.address()
    for status in ("queued", "sent", "delivered", "read"):
        assert await house.status(status) == 204
    sent, delivered, read = house.journal.logs["default"][2:]
    assert (sent.id, sent.cites, sent.body) == (f"sent:1:{SID}", (1,), {"message": 1, "sid": SID})
    assert (delivered.id, delivered.stage, delivered.settles) == ("deliver:1", "DELIVERED", 1)
    assert delivered.body == {"outcome": "delivered", "detail": "delivered", "sid": SID}
    assert (read.id, read.stage, read.cites) == ("read:1", "READ", (1,))
    assert {entry.incident_id for entry in (sent, delivered, read)} == {"inc-1"}
    assert {entry.actor for entry in (sent, delivered, read)} == {"carrier:whatsapp"}


@pytest.mark.parametrize(
    "order",
    [
        ["read", "delivered", "sent", "queued"],
        ["delivered", "delivered", "sent", "read", "read"],
        ["read", "undelivered", "failed"],
    ],
)
async def test_callbacks_come_twice_and_out_of_order(house, order):
    await house.address()
    for status in order:
        assert await house.status(status) == 204
    assert house.journal.stages() == ["OPENED", "ADDRESSED", "SENT", "DELIVERED", "READ"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("63024", "bad_recipient"),
        ("63016", "outside_window"),
        ("63014", "opted_out"),
        ("", "rejected"),
        ("x", "rejected"),
    ],
)
async def test_a_message_that_did_not_arrive(house, code, outcome):
    await house.address()
    assert await house.status("undelivered", ErrorCode=code) == 204
    assert (house.last.stage, house.last.settles, house.last.decision) == ("UNDELIVERED", 1, outcome)
    assert house.last.body["outcome"] == outcome
    assert await house.status("delivered") == 204
    assert (house.last.stage, house.last.actor) == ("NOTED", "system"), "too late to settle anything, and still known"


async def test_a_message_of_another_sid_is_another_send_of_the_same(house):
    await house.address()
    await house.status("sent")
    await house.status("sent", MessageSid="MM" + "c" * 32)
    assert house.journal.stages() == ["OPENED", "ADDRESSED", "SENT", "SENT"]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("default-0", 204),
        ("default-99", 204),
        ("nobody-1", 204),
        ("default", 400),
        ("default-1&m=default-1", 400),
        ("", 400),
    ],
)
async def test_a_status_of_no_message_of_ours(house, message, status):
    await house.address()
    assert await house.status("delivered", message=message) == status
    assert house.journal.stages() == ["OPENED", "ADDRESSED"]


async def test_a_status_that_cannot_be_booked_is_asked_for_again(house):
    await house.address()
    house.journal.fault = Unavailable("disk full")
    assert await house.status("delivered") == 503


async def test_a_settlement_that_comes_too_late_is_no_error(house):
    await house.address()
    await house.journal.post("default", [Draft("elsewhere", "UNDELIVERED", "system", "inc-1", settles=1)])
    assert await house.status("read") == 204
    assert house.journal.stages() == ["OPENED", "ADDRESSED", "UNDELIVERED", "SENT", "READ"]


# --- the stand-in ------------------------------------------------------------------------------------------


async def test_the_stand_in_and_the_handlers_agree_without_sharing_code(house):
    network = PhoneNetwork(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        people={"tendai": TENDAI},
        message_url=f"{PUBLIC_URL}/twilio/message",
        deliver_to=house.url,
    )
    await network.start()
    try:
        network.faults.duplicate_webhooks = True
        assert await network.phone("tendai").say("HALT: “wartung” läuft 🛠") == 204
        assert [call.status for call in network.webhook_calls] == [204, 204]
        assert await network.phone(STRANGER).say("hello") == 204
        assert house.journal.stages() == ["HEARD"]
        assert house.last.body["verb"] == "halt"
    finally:
        await network.stop()
