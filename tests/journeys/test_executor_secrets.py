"""No secret of an executor stands anywhere after a run, though the executor answers with all that it was sent."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from receiver.app import Service
from tests.journeys.town import Town

WHSEC = "whsec_YXR0YWNrLXNldC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="
AUTH = {
    "bearer": "{type: bearer, token_file: secrets/it.bearer}",
    "basic": "{type: basic, username: ops, password_file: secrets/it.basic}",
    "header": "{type: header, name: X-Nomad-Token, value_file: secrets/it.header}",
    "hmac": "{type: hmac, header: X-Sig, secret_file: secrets/it.hmac, encoding: hex}",
    "standard": "{type: standard_webhooks, secret_file: secrets/it.standard}",
}
SECRETS = {
    "bearer": "bearer-token-nobody-may-see/1",
    "basic": "basic-password-nobody-may-see",
    "header": 'Token "header-nobody-may-see"',
    "hmac": "hmac-secret-nobody-may-see",
    "standard": WHSEC,
}
POLICY = """\
policy: {name: p, version: '1'}
rules:
  - name: broken
    matchers: ['alertname="Broken"']
    group_by: [alertname]
    recover: {when: [alerts.firing == 0]}
    diagnosis_wait: 1s
    actions:
"""


@pytest.fixture
async def town(tmp_path: Path, tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setenv("COUNTERFOIL_TOOLS", str(tool("prometheus").parent))
    tool("alertmanager")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "town")
    yield town
    await town.stop()


async def echo(request: web.Request) -> web.Response:
    """Everything that came, as a debugging page would show it."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    pair = request.headers.get("Authorization", "").removeprefix("Basic ")
    if pair and "Bearer" not in pair:
        lines.append(base64.b64decode(pair).decode())
    lines.append(await request.text())
    return web.json_response({"you_sent": lines, "configured": [*SECRETS.values()]}, status=500)


async def test_nobody_is_told_a_secret_of_an_executor(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="receiver")
    app = web.Application()
    app.router.add_post("/{name}", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    actions = "".join(
        f"      do-{name}: {{executor: it-{name}, title: try {name}, approvers: {{roles: [oncall]}}}}\n"
        for name in AUTH
    )
    (town.folder / "policy.yml").write_text(POLICY + actions, encoding="utf-8")
    await town.prepare()
    for name, secret in SECRETS.items():
        (town.folder / f"secrets/it.{name}").write_text(secret, encoding="utf-8")
    text = (
        (town.folder / "counterfoil.yml")
        .read_text(encoding="utf-8")
        .replace("twilio:\n", "twilio:\n  person_pace: 0s\n")
    )
    text += "".join(
        f'      it-{n}: {{url: "{origin}/{n}", json: {{a: b}}, auth: {auth}}}\n' for n, auth in AUTH.items()
    )
    (town.folder / "counterfoil.yml").write_text(text, encoding="utf-8")
    town.service = Service(town.load(), reread=town.load)
    await town.service.start()
    town.phones.message_url = f"{town.service.public_url}/twilio/message"
    await town.fire([{"alertname": "Broken"}])
    phone = town.phones.phone("tendai")
    for number, name in enumerate(AUTH, 1):
        await phone.next_message(lambda m, name=name: bool(m.buttons) and f"try {name}" in m.body, timeout=60)
        await phone.tap("Approve")
        failed = await town.until("FAILED", number)
        assert failed[-1].body["http_status"] == 500
        assert "********" in failed[-1].body["output"]
    assert {entry.actor for entry in failed} == {f"executor:it-{name}" for name in AUTH}
    told = {"log": caplog.text, **await shown(town)}
    for name in AUTH:
        told[f"check {name}"] = await asyncio.to_thread(checked, town, name)
    told["phones"] = " ".join(str(message) for message in phone.messages)
    told["prompt"] = str([call.body for call in town.claude.requests])
    for where, text in told.items():
        for name, forms in forms_of().items():
            for form in forms:
                assert form not in text, f"the secret of {name} is in {where}"
    await town.ends_well()
    for path in town.folder.glob("counterfoil.db*"):
        raw = path.read_bytes() if path.is_file() else b""
        for name, forms in forms_of().items():
            for form in forms:
                assert form.encode() not in raw, f"the secret of {name} is in {path.name}"
    await runner.cleanup()


def forms_of() -> dict[str, list[str]]:
    forms = {name: [secret.removeprefix("whsec_")] for name, secret in SECRETS.items()}
    forms["basic"].append(base64.b64encode(f"ops:{SECRETS['basic']}".encode()).decode())
    forms["header"].append("header-nobody-may-see")
    return forms


async def shown(town: Town) -> dict[str, str]:
    """Every page and every answer of the API that is about the incident, and the metrics."""
    (incident,) = {entry.incident_id for entry in await town.entries("DETECTED")}
    paths = ["/", f"/incidents/{incident}", "/ledger", "/api/v1/incidents", f"/api/v1/incidents/{incident}"]
    paths += [f"/api/v1/incidents/{incident}/why", "/api/v1/ledger?limit=500", "/api/v1/reconciliation", "/metrics"]
    found = {}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {town.admin_token}"}) as session:
        for path in paths:
            async with session.get(f"{town.private_url}{path}") as answer:
                found[path] = await answer.text()
                assert answer.status in (200, 404), path
                assert answer.status == 200 or not path.startswith("/api"), path
    return found


def checked(town: Town, name: str) -> str:
    words = ["executor", "check", f"it-{name}", "--dry-run", "--config", str(town.folder / "counterfoil.yml")]
    environment = dict(town.environment()) | {"COUNTERFOIL_CONFIG": str(town.folder / "counterfoil.yml")}
    result = CliRunner(env=environment).invoke(counterfoil, words)
    assert result.exit_code == 0, result.output
    return result.output
