"""The frozen set of attacks on executors, each through the whole way: file, policy, rendering, resolver, wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from standardwebhooks import Webhook

from ledger import checkpoint
from receiver.configuration import ConfigErrors, load_config, targets
from receiver.execution import webhook
from receiver.execution.answers import ANSWER_BYTES
from receiver.execution.webhook import Webhooks
from receiver.papers import ExecutionOutcome, Order, Unrenderable
from tests.receiver.wire import Heard, Wire, trusting

SET = yaml.safe_load((Path(__file__).parent / "sets" / "executor_attacks.yml").read_text(encoding="ascii"))
GIVEN, CASES = SET["given"], SET["cases"]
REFUSED = {"refused_at_load": 0, "refused_at_render": 1, "refused_at_send": 2}
SECRETS = ("secret", "token", "password", "value")
SECONDS = 10.0

# Where we say no to what a case calls honest: id → what a configuration writes instead, and why
INSTEAD: dict[str, tuple[dict[str, Any], str]] = {
    "honest-kubernetes": (
        {"json": {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "{proposed_at}"}}}}}},
        "{authorized_at} is not known when people are asked, and what they authorize is the whole request",
    ),
    "honest-github": (
        {"result": {"mode": "callback", "secret": "whsec_YXR0YWNrLXNldC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="}},
        "a callback without a secret could never be believed, so every run would end in doubt",
    ),
}


def executor_of(case: Mapping[str, Any]) -> dict[str, Any]:
    instead = INSTEAD.get(case["id"])
    return {**case["executor"], **(instead[0] if instead is not None else {})}


def written(folder: Path, executor: Mapping[str, Any], params: Mapping[str, str], *, numbered: int) -> Path:
    """A configuration with this one executor, its secrets in files of their own, and a policy that uses it."""
    count = 0

    def by_reference(section: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal count
        found: dict[str, Any] = {}
        for key, value in section.items():
            if key in SECRETS and isinstance(value, str):
                count += 1
                file = folder / f"case-{numbered}-{count}.secret"
                file.write_bytes(value.encode())
                found[f"{key}_file"] = file.name
            else:
                found[key] = value
        return found

    settings = by_reference(executor)
    for name in ("auth", "result"):
        if isinstance(settings.get(name), dict):
            settings[name] = by_reference(settings[name])
    data = {
        "public_url": "https://counterfoil.example",
        "admin_token": "${ADMIN}",
        "ledger": {"origin": "counterfoil.example", "key_file": "ledger.key", "personal_key_file": "personal.key"},
        "twilio": {"account_sid": "AC" + "0" * 32, "auth_token": "${TWILIO}", "sender": "whatsapp:+14155238886"},
        "tenants": {"default": {"token": "${TOKEN}", "policy": "policy.yml", "executors": {"it": settings}}},
    }
    config = folder / "counterfoil.yml"
    config.write_text(json.dumps(data), encoding="utf-8")
    action = {"executor": "it", "title": "do it", "approvers": {"people": ["tendai"]}}
    action["params"] = dict.fromkeys(params, "x")
    rule = {"name": "r", "matchers": ['alertname="A"'], "group_by": [], "recover": {"when": ["alerts.firing == 0"]}}
    policy = {"policy": {"name": "p", "version": "1"}, "rules": [rule | {"actions": {"go": action}}]}
    (folder / "policy.yml").write_text(json.dumps(policy), encoding="utf-8")
    return config


@pytest.fixture
async def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    wire = Wire()
    await wire.start(tmp_path, monkeypatch)
    yield wire
    await wire.close()


async def test_every_attack_is_refused_and_every_honest_request_arrives(
    tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.make_key_file(tmp_path / "ledger.key")
    (tmp_path / "personal.key").write_text("ab" * 32, encoding="ascii")
    read: list[int] = []
    bounded = webhook._bounded

    async def counted(answer: Any) -> bytes:
        raw = await bounded(answer)
        read.append(len(raw))
        return raw

    monkeypatch.setattr(webhook, "_bounded", counted)
    missed: dict[str, str] = {}
    for number, case in enumerate(CASES):
        read.clear()
        try:
            await stands(case, written(tmp_path, executor_of(case), case["params"], numbered=number), wire)
            assert all(size <= case.get("reads_at_most", ANSWER_BYTES) + 1 for size in read), "it read on"
        except AssertionError as error:
            missed[case["id"]] = str(error).splitlines()[0] if str(error) else "asserts"
    with capsys.disabled():
        by_expectation = Counter(case["expect"] for case in CASES)
        print(f"\n{len(CASES)} cases {dict(by_expectation)}: {len(CASES) - len(missed)} stand, {len(missed)} miss")
        for name, why in missed.items():
            print(f"  {name}: {why}")
        print(f"  written otherwise, with a reason: {', '.join(INSTEAD)}")
    assert missed == {}


async def stands(case: Mapping[str, Any], config: Path, wire: Wire) -> None:
    """Raise AssertionError where the case goes otherwise than it says."""
    answer = dict(case.get("answer", GIVEN["answer"]))
    answer["body"] = base64.b64decode(answer["body_base64"]) if "body_base64" in answer else answer["body"].encode()
    asked_again = {"status": 200, "headers": {"Content-Type": "application/json"}, "body": b'{"status": "running"}'}
    wire.reset(case.get("dns", {}), GIVEN["address"], answer, asked_again)
    step, line, office, request = 3, "", None, None
    try:
        loaded = load_config(config, {"ADMIN": "a" * 20, "TWILIO": "t" * 20, "TOKEN": "o" * 20})
    except ConfigErrors as error:
        step, line = 0, str(error)
        assert line.startswith(f"{config}:"), f"refused for another reason: {line}"
    else:
        target = targets(loaded.settings.tenants["default"])["it"]
        office = Webhooks({"it": replace(target, tls=trusting())}, lambda: datetime.now(UTC))
        order = Order(
            GIVEN["id"],
            GIVEN["tenant"],
            GIVEN["incident"],
            GIVEN["action"],
            "it",
            case["params"],
            GIVEN["callback_url"],
            GIVEN["authorized_at"],
        )
        try:
            request = office.render(order)
        except Unrenderable as error:
            step, line = 1, str(error)
    polled = case.get("about") == "poll"
    result = None
    if office is not None and request is not None:
        wire.speaks_tls(request.address.startswith("https:"))
        deadline = datetime.now(UTC) + timedelta(seconds=SECONDS)
        result = await office.send(request, webhook_id=GIVEN["id"], deadline=deadline)
        line = result.detail
        if polled and result.poll is not None:
            wire.speaks_tls(result.poll.startswith("https:"))
            result = await office.poll(request, result.poll, webhook_id=GIVEN["id"], deadline=deadline)
            line = result.detail
    wanted = 2 if polled else 1
    if case["expect"] == "sent":
        assert len(wire.heard) == wanted, f"{len(wire.heard)} requests, and {wanted} expected: {line}"
        named = [host for host in wire.asked if not host.replace(".", "").isdigit()]
        assert len(named) <= wanted, f"looked up {named}"
        compare(case["request"], wire.heard[-1])
        signed(case, wire.heard[-1])
    else:
        assert step == 3 or step <= REFUSED[case["expect"]], f"refused at step {step}"
        assert len(wire.heard) < wanted, f"sent to {wire.connected}, as {[h.target for h in wire.heard]}"
        if step == 3:
            assert case["expect"] == "refused_at_send" or polled, f"only the wire refused it: {line}"
            assert result is not None
            assert result.outcome is not ExecutionOutcome.EXECUTED
        assert line, "nothing is said"
        assert "Traceback" not in line
    for secret in secrets_of(case["executor"]):
        assert secret not in line, f"the secret is told: {line}"


def secrets_of(executor: Mapping[str, Any]) -> list[str]:
    sections = [executor, executor.get("auth") or {}]
    return [part[key] for part in sections for key in SECRETS if len(part.get(key) or "") > 6]


def compare(wanted: Mapping[str, Any], heard: Heard) -> None:
    for name in ("method", "path", "address"):
        if name in wanted:
            assert getattr(heard, name) == wanted[name], f"{name}: {getattr(heard, name)}"
    if "host" in wanted:
        assert heard.header("host") == wanted["host"], f"host: {heard.header('host')}"
    if "query" in wanted:
        pairs = parse_qsl(heard.query, keep_blank_values=True, strict_parsing=bool(heard.query))
        assert sorted(pairs) == sorted(wanted["query"].items()), f"query: {pairs}"
    if "form" in wanted:
        pairs = parse_qsl(heard.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert sorted(pairs) == sorted(wanted["form"].items()), f"form: {pairs}"
        assert heard.header("content-type") == "application/x-www-form-urlencoded"
    if "json" in wanted and "{authorized_at}" not in str(wanted):
        assert json.loads(heard.body) == wanted["json"], f"json: {heard.body[:200]!r}"
    for name, value in wanted.get("headers", {}).items():
        assert heard.header(name) == value, f"{name}: {heard.header(name)}"


def signed(case: Mapping[str, Any], heard: Heard) -> None:
    auth = case["executor"].get("auth") or {}
    if auth.get("type") == "standard_webhooks" or "secret" in case["executor"]:
        secret = auth.get("secret") or case["executor"]["secret"]
        Webhook(secret).verify(heard.body.decode(), dict(heard.headers), json_parse=False)
    if auth.get("type") == "hmac":
        mac = hmac.new(auth["secret"].encode(), heard.body, hashlib.sha256).hexdigest()
        assert heard.header(auth["header"]) == auth["prefix"] + mac
