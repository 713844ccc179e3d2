"""The recipes of contrib/executors as a service would have them, and where they are sent in a test."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from ledger import checkpoint
from receiver.configuration import Loaded, load_config, targets
from receiver.execution.webhook import Webhooks
from receiver.papers import ExecutionOutcome, ExecutionResult, Order
from tests.tools import ROOT

RECIPES = ROOT / "contrib" / "executors"
WHSEC = "whsec_YXR0YWNrLXNldC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="
TEXT = "a-secret-of-sixteen-and-more"
ENVIRONMENT = {"ADMIN": "a" * 20, "TWILIO": "t" * 20, "TOKEN": "o" * 20}
PROPOSED_AT = "2026-11-23T09:00:00Z"
WHOLE = """\
public_url: https://counterfoil.example.org
admin_token: "${ADMIN}"
ledger: {origin: counterfoil.example.org, key_file: ledger.key, personal_key_file: personal.key}
twilio: {account_sid: AC00000000000000000000000000000000, auth_token: "${TWILIO}", sender: "whatsapp:+14155238886"}
tenants:
  default:
    token: "${TOKEN}"
    policy: policy.yml
    people: {tendai: {whatsapp: "whatsapp:+263771234567", roles: [oncall]}}
"""


def installed(folder: Path, name: str, change: Mapping[str, str] | None = None) -> Loaded:
    """The recipe in a tenant of a whole configuration, with secrets made for it. change: text → other text."""
    text = (RECIPES / name / "counterfoil.yml").read_text(encoding="utf-8")
    for old, new in (change or {}).items():
        assert old in text, f"{old} is not in the recipe any more"
        text = text.replace(old, new)
    indented = "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())
    (folder / "counterfoil.yml").write_text(WHOLE + indented, encoding="utf-8")
    (folder / "policy.yml").write_bytes((RECIPES / name / "policy.yml").read_bytes())
    if not (folder / "ledger.key").exists():
        checkpoint.make_key_file(folder / "ledger.key")
    (folder / "personal.key").write_text("ab" * 32, encoding="ascii")
    (folder / "secrets").mkdir(exist_ok=True)
    for file in files_in(yaml.safe_load(text)):
        _make(folder / file)
    return load_config(folder / "counterfoil.yml", ENVIRONMENT)


def files_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [file for item in value for file in files_in(item)]
    if not isinstance(value, dict):
        return []
    named = [item for key, item in value.items() if key.endswith("_file") and isinstance(item, str)]
    return named + [file for item in value.values() for file in files_in(item)]


def _make(file: Path) -> None:
    if file.suffix == ".pem":
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=it"
        more = ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
        subprocess.run([*words.split(), *more], check=True, capture_output=True, timeout=60)
        return
    file.write_text(WHSEC if file.suffix == ".whsec" else TEXT, encoding="ascii")
    file.chmod(0o600)


def office_of(loaded: Loaded) -> Webhooks:
    return Webhooks(targets(loaded.settings.tenants["default"]), lambda: datetime.now(UTC))


def order_for(loaded: Loaded, action: str, webhook_id: str = "exec-1", **params: str) -> Order:
    """What the governor would order: the action's parameters, of a label the first value that is allowed."""
    (rule,) = loaded.charters["default"].rulebook.rules
    found = rule.actions[action]
    values = {p.name: p.constant if p.constant is not None else p.allow[0] for p in found.params}
    callback = f"https://counterfoil.example.org/executions/{webhook_id}"
    return Order(webhook_id, "default", "inc-1", action, found.executor, values | params, callback, PROPOSED_AT)


async def run(office: Webhooks, order: Order, proof: str | None = None) -> ExecutionResult:
    """Send it once, and ask for its result at once and again, until it is told."""
    request, deadline = office.render(order), datetime.now(UTC) + timedelta(seconds=30)
    result = await office.send(request, webhook_id=order.webhook_id, deadline=deadline, proof=proof)
    address = result.poll
    while address is not None and result.outcome is ExecutionOutcome.ACCEPTED:
        result = await office.poll(request, address, webhook_id=order.webhook_id, deadline=deadline)
        assert datetime.now(UTC) < deadline, f"no result: {result.detail}"
        await asyncio.sleep(0)
    return result


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The origin at which `app` is served on loopback."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
