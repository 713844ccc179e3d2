"""Executors as others want to be called: settings with lines, the exact request, signatures, how a result is learnt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.configuration import target
from receiver.execution.answers import judge, judge_poll
from receiver.execution.credentials import MASK, masked, sign_in
from receiver.execution.rendering import digest_of
from receiver.execution.webhook import Webhooks
from receiver.executor_papers import Credentials
from receiver.governor.asking import request_bytes
from receiver.papers import ExecutionOutcome, ExecutionResult, Order, RenderedRequest, Unrenderable
from receiver.settings import load_settings
from receiver.settings_executors import Executor
from receiver.settings_values import SettingsErrors
from tests.receiver.governed import Governed
from tests.tools import ROOT

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECRET, OLD_SECRET = ("whsec_" + base64.b64encode(bytes(range(at, at + 32))).decode() for at in (0, 100))
ORDER = Order(
    "exec-1",
    "default",
    "inc-1",
    "restart",
    "it",
    {"service": "a b/ü", "replicas": "3"},
    "https://counterfoil.example/executions/exec-1",
    "2026-11-23T09:00:00Z",
)
POLL = {
    "mode": "poll",
    "url": ["https://ci.example/jobs/", {"answer": "id", "in": "path"}],
    "path": "status.phase",
    "success": ["Succeeded"],
    "failure": ["Failed"],
    "every_seconds": 5,
    "timeout_seconds": 600,
}


def rendered(**settings: Any) -> RenderedRequest:
    section = Executor.model_validate({"url": "https://hooks.example/run", "auth": {"type": "none"}, **settings})
    return Webhooks({"it": target("it", section)}, lambda: NOW).render(ORDER)


# --- the request


def test_every_part_of_a_request_is_as_it_is_configured_and_escaped_for_its_place() -> None:
    request = rendered(
        url="https://hooks.example/run/{service}/",
        method="PATCH",
        query={"at": "{proposed_at}", "fixed": "1&2"},
        headers={"X-Incident": "{incident}", "Accept": "application/json"},
        json={"replicas": "{replicas:number}", "text": "{{{service}}}", "deep": [{"on": True, "n": None}]},
        idempotency_key={"header": "Idempotency-Key"},
    )
    assert (request.method, request.address) == (
        "PATCH",
        "https://hooks.example/run/a%20b%2F%C3%BC/?at=2026-11-23T09%3A00%3A00Z&fixed=1%262",
    )
    assert request.headers == {
        "X-Incident": "inc-1",
        "Accept": "application/json",
        "Idempotency-Key": "exec-1",
        "Content-Type": "application/json",
    }
    assert json.loads(request.body) == {"replicas": 3, "text": "{a b/ü}", "deep": [{"on": True, "n": None}]}


@pytest.mark.parametrize(
    ("key", "more", "where"),
    [
        ({"query": "token"}, {"json": {}}, ("address", "https://hooks.example/run?token=exec-1")),
        ({"json": "id"}, {"json": {"a": 1}}, ("body", '{"a":1,"id":"exec-1"}')),
        ({"form": "id"}, {"form": {"a": "{service}"}}, ("body", "a=a%20b%2F%C3%BC&id=exec-1")),
    ],
)
def test_the_webhook_id_goes_where_the_executor_looks_for_it(key: Any, more: Any, where: tuple[str, str]) -> None:
    assert getattr(rendered(idempotency_key=key, **more), where[0]) == where[1]


def test_the_digest_covers_every_part_and_the_stored_request_is_the_same_again() -> None:
    request = rendered(headers={"X-A": "1"}, json={"a": "{service}"}, result={"mode": "none"})
    stored = json.loads(request_bytes(request))
    assert RenderedRequest(**stored) == request
    parts = {name: value for name, value in stored.items() if name != "digest"}
    assert digest_of(parts) == request.digest
    assert set(parts) == {field.name for field in fields(request)} - {"digest", "proof"}
    for name in parts:
        changed = {**parts, name: "other" if isinstance(parts[name], str) else {**parts[name], "x": "y"}}
        assert digest_of(changed) != request.digest, name


def test_what_cannot_be_made_into_a_request_says_which_parameter() -> None:
    section = Executor.model_validate(
        {"url": "https://hooks.example/{service}", "auth": {"type": "none"}, "json": {"a": "{service}"}}
    )
    office = Webhooks({"it": target("it", section)}, lambda: NOW)
    for value, why in (("..", "no segment"), ("a\nb", "control character"), ("x" * 1001, "1001 characters")):
        with pytest.raises(Unrenderable, match=why):
            office.render(replace(ORDER, params={"service": value}))
    with pytest.raises(Unrenderable, match="no parameter service"):
        office.render(replace(ORDER, params={}))


async def test_settings_that_changed_since_people_were_asked_send_nothing() -> None:
    request = rendered(json={"a": "1"})
    for change in ({"json": {"a": "2"}}, {"url": "https://other.example/run", "json": {"a": "1"}}, {"method": "PUT"}):
        section = Executor.model_validate({"url": "https://hooks.example/run", "auth": {"type": "none"}, **change})
        office = Webhooks({"it": target("it", section)}, lambda: NOW)
        result = await office.send(request, webhook_id="exec-1", deadline=NOW + timedelta(minutes=1))
        assert (result.outcome, result.detail) == (
            ExecutionOutcome.FAILED,
            "executor it is configured differently now",
        )


# --- settings

FILE = """\
public_url: https://counterfoil.example.org
admin_token: "${ADMIN}"
ledger: {origin: counterfoil.example.org, key_file: ledger.key, personal_key_file: personal.key}
twilio: {account_sid: AC00000000000000000000000000000000, auth_token: "${ADMIN}", sender: "whatsapp:+14155238886"}
tenants:
  default:
    token: "${TOKEN}"
    policy: policy.yml
    executors:
      it:
        url: "https://hooks.example/run"
        auth: {type: bearer, token: "${EXECUTOR}"}
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("/run", "/run/{service", "11: url: a single { at character"),
        ("/run", "/run/{authorized_at}", "11: url: {authorized_at}: what is sent is fixed when people are asked"),
        ("hooks.example", "{service}.example", "11: url: no placeholder may stand in scheme, user, host or port"),
        ("/run", "/run?a=1", "11: url: give the query under `query`"),
        ("/run", "/a/../b", "11: url: a path has no . and .. segments"),
        ("bearer", "basic", "12: tenants.default.executors.it.auth: type basic needs username"),
        ("type: bearer", "type: bearer, prefix: x", "12: tenants.default.executors.it.auth: type bearer knows no pre"),
        ('"${EXECUTOR}"}', "x}", "12: token: a secret must not stand in this file"),
        ("auth: {type: bearer", "form: {a: b}\n        auth: {type: bearer", None),
        ("auth:", "headers: {Host: x}\n        auth:", "12: headers.Host: this header is not written by hand"),
        ("auth:", "headers: {X-Token: x}\n        auth:", "12: headers.X-Token: this header is not written by hand"),
        ("auth:", "json: {password: hunter2}\n        auth:", "12: json.password: a secret must not stand in this"),
        ("auth:", "success: [302]\n        auth:", "12: tenants.default.executors.it.success.0: input should be"),
        ("auth:", "secret: ${EXECUTOR}\n        auth:", "12: tenants.default.executors.it.secret: a signing secret"),
        (
            "auth:",
            "result: {mode: poll}\n        auth:",
            "12: tenants.default.executors.it.result: mode poll needs url",
        ),
        ("auth:", "result: {mode: callback}\n        auth:", "12: result: mode callback needs secret_file"),
        ("auth:", "proof: true\n        auth:", "12: proof: only Counterfoil's own body"),
        (
            "auth:",
            "tls_config: {insecure_skip_verify: true}\n        auth:",
            "12: tls_config: the certificate of an executor is always verified",
        ),
        (
            "auth:",
            "json: {a: '{service}', b: '{x.y}'}\n        auth:",
            "12: json: {x.y} is no placeholder",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, complaint: str | None) -> None:
    for name in ("ledger.key", "personal.key"):
        (tmp_path / name).write_text("x", encoding="ascii")
    file = tmp_path / "counterfoil.yml"
    file.write_text(FILE.replace(old, new), encoding="utf-8")
    environment = {"ADMIN": "a" * 20, "TOKEN": "t" * 20, "EXECUTOR": "e" * 20}
    if complaint is None:
        load_settings(file, environment)
        return
    with pytest.raises(SettingsErrors) as caught:
        load_settings(file, environment)
    (told,) = str(caught.value).splitlines()
    assert told.removeprefix(f"{file}:").startswith(complaint)
    assert "e" * 20 not in told


# --- signing in


@pytest.mark.parametrize(
    ("credentials", "headers"),
    [
        (Credentials("none"), {}),
        (Credentials("bearer", ("abc",)), {"Authorization": "Bearer abc"}),
        (
            Credentials("basic", ("p:ä",), "ops"),
            {"Authorization": "Basic " + base64.b64encode("ops:p:ä".encode()).decode()},
        ),
        (Credentials("header", ("Token abc",), "X-Nomad-Token"), {"X-Nomad-Token": "Token abc"}),
    ],
)
def test_each_way_to_sign_in_is_its_header(credentials: Credentials, headers: dict[str, str]) -> None:
    assert sign_in(credentials, "exec-1", NOW, "{}") == headers
    shown = masked(credentials)
    assert set(shown) == set(headers)
    assert all(MASK in value for value in shown.values())


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_an_hmac_is_over_the_bytes_that_are_sent(encoding: str) -> None:
    body = '{"service":"käse"}'
    credentials = Credentials("hmac", ("a secret of this test",), "X-Sig", encoding, "sha256=")
    mac = hmac.digest(b"a secret of this test", body.encode(), hashlib.sha256)
    text = mac.hex() if encoding == "hex" else base64.b64encode(mac).decode()
    assert sign_in(credentials, "exec-1", NOW, body) == {"X-Sig": f"sha256={text}"}
    assert "a secret" not in repr(credentials)


BODIES = ('{"a":1}', "service=a%20b", '{"text":"käse … \\u2028 🔥"}', "", "x" * 60_000)
VERIFY_JS = """
const { Webhook } = require("standardwebhooks");
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = cases.map(({ secret, body, headers }) => {
  try { new Webhook(secret).verify(body, headers, { jsonParse: false }); return true; } catch (error) {
    if (error.constructor.name === "SyntaxError") return true;  // verified; a form is no JSON
    return false;
  }
});
console.log(JSON.stringify(told));
"""


def signature_cases() -> list[dict[str, Any]]:
    """Every body under one and under both secrets, verified with either; and what must not verify."""
    now = datetime.now(UTC)
    cases = []
    for body in BODIES:
        for signing in ((SECRET,), (SECRET, OLD_SECRET)):
            headers = sign_in(Credentials("standard_webhooks", signing), "exec-1", now, body)
            cases += [
                {"secret": secret, "body": body, "headers": headers, "good": secret in signing}
                for secret in (SECRET, OLD_SECRET)
            ]
            cases.append({"secret": SECRET, "body": body + " ", "headers": headers, "good": False})
            other = headers | {"webhook-id": "exec-2"}
            cases.append({"secret": SECRET, "body": body, "headers": other, "good": False})
    late = sign_in(Credentials("standard_webhooks", (SECRET,)), "exec-1", now - timedelta(minutes=6), "{}")
    return [*cases, {"secret": SECRET, "body": "{}", "headers": late, "good": False}]


def test_the_reference_library_in_python_takes_what_we_sign_and_nothing_else() -> None:
    for case in signature_cases():
        try:
            Webhook(case["secret"]).verify(case["body"], case["headers"], json_parse=False)
            good = True
        except (WebhookVerificationError, ValueError):
            good = False
        assert good is case["good"], case["headers"]


def test_the_reference_library_in_javascript_takes_what_we_sign_and_nothing_else() -> None:
    modules = Path(os.environ.get("COUNTERFOIL_TOOLS", ROOT / ".tools" / "bin")).parent / "node_modules"
    node = shutil.which("node")
    if node is None or not (modules / "standardwebhooks").is_dir():
        pytest.skip("node and npm's standardwebhooks in .tools/node_modules")
    cases = signature_cases()
    run = subprocess.run(
        [str(node), "-e", VERIFY_JS],
        input=json.dumps(cases),
        env={"NODE_PATH": str(modules), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(run.stdout) == [case["good"] for case in cases]


async def test_a_client_certificate_signs_in(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    authority, chain, key = _authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    server.load_verify_locations(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    seen: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.append(request.transport.get_extra_info("peercert")["subject"])
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/run", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/run"
    tls = {"ca_file": str(authority), "cert_file": str(chain), "key_file": str(key)}
    try:
        for more, outcome in ((tls, ExecutionOutcome.EXECUTED), ({"ca_file": str(authority)}, None)):
            section = Executor.model_validate(
                {"url": url, "auth": {"type": "none"}, "json": {}, "tls_config": more}, context=tmp_path
            )
            office = Webhooks({"it": target("it", section)}, lambda: datetime.now(UTC))
            deadline = datetime.now(UTC) + timedelta(seconds=10)
            result = await office.send(office.render(ORDER), webhook_id="exec-1", deadline=deadline)
            assert (result.outcome is outcome) if outcome else result.outcome is not ExecutionOutcome.EXECUTED
    finally:
        await runner.cleanup()
    assert len(seen) == 1


def _authority(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate for loopback that is its own authority, as openssl makes it."""
    chain, key = folder / "it" / "chain.pem", folder / "it" / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=it"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(chain)]
    subprocess.run([*words.split(), *more], check=True, capture_output=True, timeout=60)
    return chain, chain, key


# --- what an answer means


@pytest.mark.parametrize(
    ("plan", "status", "body", "outcome", "detail"),
    [
        ({"mode": "none"}, 200, {"exit_code": 1}, ExecutionOutcome.EXECUTED, "the executor took it (200); policy"),
        ({"mode": "none", "taken": [204]}, 200, {}, ExecutionOutcome.FAILED, "the executor answered 200"),
        ({"mode": "none", "taken": [204]}, 204, {}, ExecutionOutcome.EXECUTED, "the executor took it (204)"),
        ({"mode": "none"}, 409, {"exit_code": 0}, ExecutionOutcome.FAILED, "the executor answered 409"),
        ({"mode": "callback"}, 204, {}, ExecutionOutcome.ACCEPTED, "accepted, the result comes later"),
        ({"mode": "callback"}, 302, {}, ExecutionOutcome.FAILED, "the executor answered 302"),
        ({"taken": [202]}, 202, {}, ExecutionOutcome.EXECUTED, "the executor answered 202"),
        (POLL, 201, {"id": 7}, ExecutionOutcome.ACCEPTED, "accepted, its result is asked for"),
        (POLL, 201, {"id": None}, ExecutionOutcome.UNKNOWN, "the executor answered 201, and its result cannot be"),
        (POLL, 201, [7], ExecutionOutcome.UNKNOWN, "the executor answered 201, and its result cannot be"),
        (POLL, 500, {"id": 7}, ExecutionOutcome.FAILED, "the executor answered 500"),
        (POLL, 504, {"id": 7}, ExecutionOutcome.UNKNOWN, "a gateway before the executor answered 504"),
        (
            {"mode": "answer", "path": "ok", "success": ["true"], "failure": ["false"]},
            200,
            {"ok": True},
            ExecutionOutcome.EXECUTED,
            "the executor says 'true' at ok",
        ),
        (
            {"mode": "answer", "path": "rows.0.s", "success": ["good"], "failure": []},
            200,
            {"rows": [{"s": "bad\x1b[31m"}]},
            ExecutionOutcome.FAILED,
            "the executor says 'bad [31m' at rows.0.s",
        ),
        (
            {"mode": "answer", "path": "s", "success": ["good"], "failure": ["bad"]},
            200,
            {"s": "odd"},
            ExecutionOutcome.UNKNOWN,
            "the executor says 'odd' at s, which is neither success nor failure",
        ),
        ({"mode": "answer", "path": "s", "success": ["good"], "failure": []}, 200, {}, ExecutionOutcome.UNKNOWN, "the"),
    ],
)
def test_what_an_answer_means_follows_the_plan(
    plan: dict[str, Any], status: int, body: Any, outcome: ExecutionOutcome, detail: str
) -> None:
    result = judge(status, {"Content-Type": "application/json"}, json.dumps(body).encode(), plan)
    assert result.outcome is outcome
    assert result.detail.startswith(detail)
    assert result.poll == (
        "https://ci.example/jobs/7" if outcome is ExecutionOutcome.ACCEPTED and plan is POLL else None
    )


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"status": {"phase": "Succeeded"}}', ExecutionOutcome.EXECUTED),
        (200, b'{"status": {"phase": "Failed"}}', ExecutionOutcome.FAILED),
        (200, b'{"status": {"phase": "Running"}}', ExecutionOutcome.ACCEPTED),
        (200, b'{"status": "Succeeded"}', ExecutionOutcome.ACCEPTED),
        (200, b"Succeeded", ExecutionOutcome.ACCEPTED),
        (404, b"", ExecutionOutcome.ACCEPTED),
        (500, b'{"status": {"phase": "Succeeded"}}', ExecutionOutcome.ACCEPTED),
        (302, b'{"status": {"phase": "Failed"}}', ExecutionOutcome.ACCEPTED),
    ],
)
def test_only_a_word_at_its_place_ends_a_poll(status: int, body: bytes, outcome: ExecutionOutcome) -> None:
    assert judge_poll(status, {"Content-Type": "application/json"}, body, POLL).outcome is outcome


# --- a poll is outstanding work


class Polled:
    """An executor that takes everything, and answers what it is told when it is asked."""

    def __init__(self, *answers: ExecutionResult) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []
        self.asked: list[tuple[str, str]] = []

    def render(self, order: Order) -> RenderedRequest:
        parts = {"executor": order.executor, "method": "POST", "address": "https://ci.example/jobs", "body": "{}"}
        whole = parts | {"result": POLL}
        return RenderedRequest(**whole, digest=digest_of(whole))  # type: ignore[arg-type]

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime) -> ExecutionResult:
        self.sent.append(webhook_id)
        return ExecutionResult(ExecutionOutcome.ACCEPTED, "accepted", 201, poll="https://ci.example/jobs/7")

    async def poll(
        self, request: RenderedRequest, address: str, *, webhook_id: str, deadline: datetime
    ) -> ExecutionResult:
        self.asked.append((address, webhook_id))
        return self.answers.pop(0) if self.answers else RUNNING


RUNNING = ExecutionResult(ExecutionOutcome.ACCEPTED, "it says 'Running'", 200)
DONE = ExecutionResult(ExecutionOutcome.EXECUTED, "it says 'Succeeded'", 200)
BROKEN = ExecutionResult(ExecutionOutcome.FAILED, "it says 'Failed'", 200)
LOST = ExecutionResult(ExecutionOutcome.UNKNOWN, "it is configured differently now")


async def approved(executor: Polled, **more: Any) -> Governed:
    governed = Governed(**more)
    governed.desk.executors = executor
    await governed.fire()
    await governed.hear("tendai", "Approve", payload=f"approve.{governed.question('tendai').token}")
    return governed


@pytest.mark.parametrize(("last", "stage"), [(DONE, "EXECUTED"), (BROKEN, "FAILED"), (LOST, "UNRESOLVED")])
async def test_a_result_is_asked_for_until_it_is_told(last: ExecutionResult, stage: str) -> None:
    executor = Polled(RUNNING, last)
    governed = await approved(executor)
    (noted,) = [entry for entry in governed.entries("NOTED") if entry.body.get("kind") == "taken"]
    assert noted.body["poll"] == "https://ci.example/jobs/7"
    assert noted.actor == "executor:clean"
    assert executor.asked == [], "what is asked at once may still tell of the run before"
    await governed.after(5)
    assert governed.entries(stage) == []
    await governed.after(5)
    assert len(governed.entries(stage)) == 1
    assert len(executor.sent) == 1
    assert executor.asked == [("https://ci.example/jobs/7", executor.sent[0])] * 2


async def test_a_restart_asks_on_and_sends_nothing_again() -> None:
    executor = Polled(RUNNING)
    governed = await approved(executor)
    await governed.after(5)
    again = Governed(journal=governed.journal, clock=governed.clock)
    again.desk.executors = after = Polled(DONE)
    await again.governor.start()
    await again.after(5)
    assert after.sent == []
    assert after.asked == executor.asked
    assert len(again.entries("EXECUTED")) == 1
    assert again.entries("UNRESOLVED") == []


async def test_a_result_that_is_never_told_is_a_doubt_at_its_deadline() -> None:
    executor = Polled()
    governed = await approved(executor)
    for _ in range(200):
        if governed.entries("UNRESOLVED"):
            break
        await governed.after(5)
    (doubt,) = governed.entries("UNRESOLVED")
    (dispatched,) = governed.entries("DISPATCHED")
    assert doubt.timestamp <= datetime.fromisoformat(dispatched.body["until"]) + timedelta(seconds=5)
    asked = len(executor.asked)
    await governed.after(60)
    assert len(executor.asked) == asked, "nothing is asked once it is settled"
    assert len(executor.sent) == 1


async def test_a_request_that_cannot_be_made_is_no_question_and_people_hear_why() -> None:
    class Refusing(Polled):
        def render(self, order: Order) -> RenderedRequest:
            raise Unrenderable("{host} is '..', which is no segment of a path")

    governed = Governed()
    governed.desk.executors = Refusing()
    await governed.fire()
    assert governed.entries("PROPOSED") == []
    assert any("no request can be made of it: {host} is '..'" in text for text in governed.told("tendai"))


async def test_one_slow_executor_takes_no_place_of_another() -> None:
    """Each executor has places of its own, beside those of the tenant."""
    going, release = asyncio.Event(), asyncio.Event()
    counts = {"slow": 0, "fast": 0}

    async def take(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        counts[name] += 1
        if name == "slow":
            if counts["slow"] == 2:
                going.set()
            await release.wait()
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/{name}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sections = {
        name: Executor.model_validate(
            {"url": f"{url}/{name}", "auth": {"type": "none"}, "json": {}, "concurrency": 2, "timeout": "60s"}
        )
        for name in ("slow", "fast")
    }
    office = Webhooks({name: target(name, section) for name, section in sections.items()}, lambda: datetime.now(UTC))
    deadline = datetime.now(UTC) + timedelta(seconds=60)

    def sends(name: str, number: int) -> Sequence[asyncio.Task[ExecutionResult]]:
        request = office.render(replace(ORDER, executor=name))
        return [
            asyncio.create_task(office.send(request, webhook_id=f"{name}-{at}", deadline=deadline))
            for at in range(number)
        ]

    try:
        slow = sends("slow", 10)
        await asyncio.wait_for(going.wait(), 30)
        fast = await asyncio.wait_for(asyncio.gather(*sends("fast", 3)), 30)
        assert [result.outcome for result in fast] == [ExecutionOutcome.EXECUTED] * 3
        assert counts["slow"] == 2
        release.set()
        await asyncio.gather(*slow)
    finally:
        await runner.cleanup()
