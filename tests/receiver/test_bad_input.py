"""Whatever arrives from outside gets a clear answer and costs nothing: the whole service, on real sockets."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ledger.reconcile import trial_balance
from receiver.app import Service
from receiver.auditor import pages
from receiver.commands.init import write_folder
from receiver.configuration import load_config
from receiver.demo.phone import webhooks
from receiver.intake import questions, results, signed

ROUNDS = int(os.environ.get("COUNTERFOIL_BAD_INPUT", "600"))
SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))
ALERT = {
    "status": "firing",
    "labels": {"alertname": "Odd", "service": "checkout"},
    "annotations": {"summary": "odd"},
    "startsAt": "2026-11-23T08:58:38Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "0123456789abcdef",
}
# Beside its routes.
BESIDE = ("/no/such", "/alertmanager/nobody", "/twilio/status?m=default-1", "/executions/exec-0", "/")
PLACES = ("default", "inc-0", "0", "-1", "9" * 30, "%00", "..%2f", "%ff", "%E2%80%AE", "restart", "x" * 300)
CHANGES = ("by", "account", "reason", "text", "person", "name", "outcome", "rule", "action", "key", "nonce", "tenant")
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data",
    "",
    "\xff",
    "a/b;c",
)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    folder = tmp_path / "installation"
    write_folder(folder)
    config = folder / "counterfoil.yml"
    text = config.read_text(encoding="utf-8").replace(":9877", ":0").replace(":9878", ":0")
    # Nothing outside is there: what is asked of it must fail like anything that is out.
    text = (
        text.replace(":9093", ":1")
        .replace(":9090", ":1")
        .replace("daily_message", 'base_url: "http://127.0.0.1:1"\n  daily_message')
    )
    config.write_text(text, encoding="utf-8")
    service = Service(load_config(config, {}), reread=lambda: load_config(config, {}))
    await service.start()
    yield service
    await service.stop()
    assert trial_balance_of(folder) == []


def trial_balance_of(folder: Path) -> list[str]:
    """What does not balance in the ledger that is left."""
    from ledger.audit import read_entries

    balance = trial_balance(read_entries(folder / "counterfoil.db", "default"))
    return [] if balance.balanced else [str(balance)]


def token_of(service: Service) -> str:
    return service.loaded.settings.tenants["default"].token.get_secret_value()


def admin_of(service: Service) -> str:
    return service.loaded.settings.admin_token.get_secret_value()


def body_of(rng: random.Random) -> bytes:
    """Bytes that are no notification, nearly one, or one that has been bent somewhere."""
    kind = rng.randrange(7)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return b"[" * rng.randrange(1, 30_000)
    whole: Any = {"version": "4", "status": "firing", "receiver": "r", "groupKey": "{}", "alerts": [dict(ALERT)]}
    if kind == 2:
        raw = bytearray(json.dumps(whole).encode())
        for _ in range(rng.randrange(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(raw)
    odd: Any = rng.choice(
        [None, True, -1, 10**400, 1e308, "", "\x00\ud800", [], {}, [[]], {"": {}}, "x" * 5_000, "a\nb*c_~`"]
    )
    if kind == 6:  # what a person changes by name
        fields = {name: rng.choice([odd, "tendai", "default"]) for name in rng.sample(CHANGES, rng.randrange(9))}
        return json.dumps(fields).encode("utf-8", "surrogatepass")
    target = whole if kind == 3 else whole["alerts"][0]
    target[rng.choice([*target, "else"])] = odd
    if kind == 5:
        target["labels"] = {
            rng.choice(["alertname", 'a"b', "\u202e", "x\ny", ""]): rng.choice(['"} or vector(1)', "\u202e", "*"])
        }
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def routes_of(service: Service) -> tuple[list[str], list[str]]:
    """The paths of the private and of the public listener, as the service itself has them."""
    apps = [listener.app for listener in service._listeners]
    private, public = (sorted({r.resource.canonical for r in app.router.routes() if r.resource}) for app in apps)
    assert "/api/v1/halts" in private
    assert "/twilio/message" in public
    return private, public


async def test_no_bytes_give_a_500(service: Service) -> None:
    rng = random.Random(SEED)
    seen: dict[int, int] = {}
    routes, asked = routes_of(service), set()
    async with aiohttp.ClientSession() as session:
        for number in range(ROUNDS):
            private = rng.random() < 0.7
            origin = service.private_url if private else service.public_url
            route = rng.choice([*routes[0 if private else 1], *BESIDE])
            asked.add(route)
            path = re.sub(r"\{\w+\}", lambda _: rng.choice(PLACES), route)
            headers = {"Content-Type": rng.choice(TYPES)}
            if private:
                # Mostly a token that opens the door: what stands behind it must hold, too.
                token = rng.choice([token_of(service), *[admin_of(service)] * 4, "wrong", "\xe9", ""])
                headers["Authorization"] = f"{rng.choice([*['Bearer'] * 6, 'Basic', 'x'])} {token}".strip()
            elif rng.random() < 0.5:
                headers |= {"X-Twilio-Signature": rng.choice(["", "x", "A" * 28]), "webhook-id": "exec-0"}
                headers |= {"webhook-timestamp": rng.choice(["", "-1", "9" * 40]), "webhook-signature": "v1,x"}
            url = URL(origin + path + rng.choice(["", "", "?tenant=%00", "?a=%ff&a=2", "?at=x"]), encoded=True)
            async with session.request(
                rng.choice(METHODS), url, data=body_of(rng), headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.text(errors="replace")
                # 503 with Retry-After is an answer: too many wrong tokens came from here.
                busy = answer.status == 503 and "Retry-After" in answer.headers
                assert answer.status < 500 or busy, (
                    f"seed {SEED}, round {number}: {path} gave {answer.status}\n{text[:500]}"
                )
                assert "Traceback" not in text
                seen[answer.status] = seen.get(answer.status, 0) + 1
        assert {200, 400, 401, 403, 404, 405} <= set(seen), seen
        assert asked >= {*routes[0], *routes[1]}
        async with session.get(f"{service.private_url}/-/ready") as answer:
            assert answer.status == 200, await answer.text()


# What reads a body before it knows who sends it.
BEFORE_ANYBODY = (
    "/twilio/message",
    "/twilio/status",
    "/twilio/voice",
    f"/q/0-{'a' * 24}",
    "/executions/exec-0",
    "/login",
)


async def sent(service: Service, path: str, head: str, body: bytes, *, broken_off: bool = False) -> bytes:
    """What a POST of exactly these bytes is answered, to its end. broken_off: nothing follows, and nobody listens."""
    origin = URL(service.private_url if path == "/login" else service.public_url)
    reader, writer = await asyncio.open_connection(origin.host, origin.port)
    form = "Content-Type: application/x-www-form-urlencoded"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{form}\r\n{head}\r\n\r\n".encode() + body)
    if broken_off:
        writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"\r\n") if not broken_off else await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("path", BEFORE_ANYBODY)
async def test_whoever_sends_half_a_body_holds_no_place_for_long(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Else 256 strangers who say one byte each keep every tap and every result out, for as long as they like."""
    monkeypatch.setattr(signed, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(questions, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(results, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(pages, "FORM_SECONDS", 0.05)
    status = (await sent(service, path, "Content-Length: 100", b"A")).split()[1]
    assert status in (b"400", b"408", b"503")


@pytest.mark.parametrize("path", BEFORE_ANYBODY)
@pytest.mark.parametrize("packed", ["gzip", "deflate"])
async def test_a_stranger_makes_no_handler_fail(
    service: Service, caplog: pytest.LogCaptureFixture, path: str, packed: str
) -> None:
    """Neither with what does not unpack, nor by hanging up."""
    head = f"Content-Encoding: {packed}\r\nContent-Length: 16"
    assert (await sent(service, path, head, b"\x1f\x8b\x08\x00" + b"\xff" * 12)).split()[1] == b"400"
    await sent(service, path, "Content-Length: 100", b"A", broken_off=True)
    async with aiohttp.ClientSession() as session, session.get(f"{service.private_url}/-/healthy") as answer:
        assert answer.status == 200
    # What aiohttp itself says of the rest of a body, once it was answered, is no handler's.
    assert [record.message for record in caplog.records if record.message.startswith("Error handling")] == []


@pytest.mark.parametrize("path", ["/twilio/message", "/login"])
async def test_a_small_body_that_unpacks_to_a_huge_one_takes_no_memory(service: Service, path: str) -> None:
    """Nobody is known yet when it is unpacked; how much at once is aiohttp's to say, and not every version's."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}"
    status = (await sent(service, path, head, bomb)).split()[1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status in (b"400", b"413")
    assert peak < 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"null", 400, "malformed"),
        (b'{"alerts": 5}', 400, "malformed"),
        (b'{"alerts": [{"labels": 1}]}', 400, "malformed"),
        (b"\xff\xfe{}", 400, "malformed"),
        (b'{"alerts": ' + b"[" * 100_000, 400, "malformed"),
        (json.dumps({"alerts": [ALERT] * 100_000}).encode(), 413, "too_large"),
        (b" " * 50_000_000, 413, "too_large"),
    ],
    ids=["empty", "cut", "null", "number", "labels", "not utf-8", "deep", "100,000 alerts", "50 MB"],
)
async def test_what_is_no_notification_is_refused_in_words(
    service: Service, body: bytes, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {token_of(service)}", "Content-Type": "application/json"}
    size = await service.journal.size("default")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.private_url}/alertmanager", data=io.BytesIO(body), headers=headers) as answer,
    ):
        said = await answer.json()
        assert (answer.status, said["error"]["code"]) == (status, code), said
        assert said["error"]["message"]
    after = await service.journal.entries("default", after=size - 1)
    assert [entry.stage for entry in after if entry.stage != "NOTED"] == []


async def test_the_oddest_labels_are_kept_as_they_are_and_decide_nothing(service: Service) -> None:
    """Newlines, quotes, PromQL, bidi characters and WhatsApp's marks: booked whole, shown cleaned."""
    odd = {
        "alertname": "a\nb",
        "service": '"} or vector(1) or up{x="',
        "bidi": "\u202egnp.exe",
        "marks": "*bold* _under_ ~struck~ `code` {{1}}",
        "empty": "",
        "long": "x" * 2_000,
    }
    body = {"version": "4", "receiver": "r", "alerts": [{**ALERT, "labels": odd}]}
    headers = {"Authorization": f"Bearer {token_of(service)}"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{service.private_url}/alertmanager", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        async with asyncio.timeout(30):
            while not (found := await service.journal.entries("default", stage="DETECTED")):
                await service.journal.wait("default", await service.journal.size("default"))
        assert found[0].body["key"] == {"alertname": "a\nb"}
        cookie = {"Authorization": f"Bearer {admin_of(service)}"}
        for path in ("/", f"/incidents/{found[0].incident_id}", "/ledger", f"/ledger/{found[0].index}"):
            async with session.get(service.private_url + path, headers=cookie) as answer:
                assert answer.status == 200
                assert "\u202e" not in await answer.text()


async def test_twilio_posts_that_are_unsigned_doubled_or_from_a_stranger(service: Service) -> None:
    url = f"{service.loaded.settings.public_url}/twilio/message"
    secret = service.loaded.settings.twilio.auth_token.get_secret_value()
    form = {
        "MessageSid": "SM" + "a" * 32,
        "AccountSid": service.loaded.settings.twilio.account_sid,
        "From": "whatsapp:+15005550006",
        "To": service.loaded.settings.twilio.sender,
        "Body": "APPROVE everything",
        "NumMedia": "0",
    }
    async with aiohttp.ClientSession() as session:
        for signature, status in ((None, 403), ("AAAA", 403)):
            headers = {} if signature is None else {"X-Twilio-Signature": signature}
            async with session.post(f"{service.public_url}/twilio/message", data=form, headers=headers) as answer:
                assert answer.status == status
        for _ in range(2):
            call, _ = await webhooks.post(session, secret, url, form, service.public_url)
            assert call.status in (200, 204), call
    # A stranger's words are nobody's: no entry, no answer, nothing that anybody could count.
    assert await service.journal.entries("default", stage="HEARD") == []
