"""The stage of the demo: the service on SQLite, a shop that breaks, phones, an executor, Prometheus and Alertmanager.

Everything listens on loopback. Twilio, and Claude unless a key is set, are strict stand-ins; the rest is real.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from receiver.app import Service
from receiver.commands.init import write_folder
from receiver.configuration import Loaded, load_config
from receiver.demo.claude import ClaudeStandIn
from receiver.demo.monitoring import Monitoring
from receiver.demo.phone import PhoneNetwork
from receiver.demo.shop import Shop
from receiver.execution.runner import Runner
from receiver.execution.runner_config import load_runner_config

ACCOUNT = "AC" + "0" * 31 + "1"
PEOPLE = {"tendai": "whatsapp:+12025550101", "rudo": "whatsapp:+12025550102"}
# The policy of the demo is the starter policy, with shorter times.
TIMES = {"COUNTERFOIL_RATE_WINDOW": "10s", "COUNTERFOIL_RECOVER_FOR": "5s", "COUNTERFOIL_EVALUATE_EVERY": "1s"}

CONFIG = """\
# Written by `counterfoil demo`. The policy takes its short times from the environment: {environment}
listen: {listen}
public_listen: {public_listen}
public_url: {public_url}
admin_token_file: secrets/admin.token
ledger: {{url: sqlite:///counterfoil.db, origin: demo.counterfoil.example, key_file: secrets/ledger.key}}
diagnosis: {{model: claude-sonnet-5-5, api_key: "${{COUNTERFOIL_DEMO_KEY}}", base_url: {claude}, daily_budget_usd: 5}}
twilio:
  account_sid: {account}
  auth_token_file: secrets/twilio.token
  sender: "whatsapp:+14155238886"
  voice_sender: "+14155238886"
  sms_sender: "+14155238886"
  base_url: {twilio}
tenants:
  default:
    token_file: secrets/default.token
    alertmanagers: [{{url: {alertmanager}}}]
    prometheus: {{url: {prometheus}}}
    policy: policy.yml
    people:
      tendai: {{whatsapp: "whatsapp:+12025550101", phone: "+12025550101", roles: [oncall], timezone: Africa/Harare}}
      rudo: {{whatsapp: "whatsapp:+12025550102", phone: "+12025550102", roles: [oncall], timezone: Africa/Harare}}
    executors:
      restart: {{url: "{executor}/run/restart", secret_file: secrets/restart.whsec, timeout: 20s}}
"""
EXECUTOR = """\
listen: 127.0.0.1:0
log_file: executor.log
actions:
  restart:
    secret_file: secrets/restart.whsec
    command: ["{python}", "-c", "{program}", "{shop}/restart", "{{service}}"]
    params: {{service: {{allow: [checkout]}}}}
    timeout: 15s
"""
PROGRAM = "import sys, urllib.request as r; print(r.urlopen(r.Request(sys.argv[1], method='POST')).read().decode())"


STEP = '      - {after: 5m, notify: ["role:oncall"]}'  # of the starter policy's ladder


class Stage:
    """Everything that the demo needs, in one folder. `port`: of the service's private listener; 0 chooses one."""

    call_after = "60s"  # whoever has not decided by then is called; "" leaves the starter policy as it is

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.shop = Shop()
        self.claude = ClaudeStandIn()
        self.phones: PhoneNetwork
        self.monitoring: Monitoring
        self.service: Service
        self.shop_url = self.executor_url = self.private_url = ""
        self._executor: web.AppRunner | None = None
        self.real_claude = bool(os.environ.get("ANTHROPIC_API_KEY"))

    @property
    def admin_token(self) -> str:
        return (self.folder / "secrets/admin.token").read_text(encoding="utf-8").strip()

    async def start(self) -> None:
        """Start everything, the service last. Raises what keeps any of it from starting."""
        await self.prepare()
        self.service = Service(self.load(), reread=self.load)
        await self.service.start()
        self.phones.message_url = f"{self.service.public_url}/twilio/message"

    async def prepare(self) -> None:
        """Start everything but the service, and write its configuration."""
        self.shop_url = await self.shop.start("127.0.0.1")
        claude = await self.claude.start("127.0.0.1")
        await asyncio.to_thread(self._write_secrets)
        twilio_token = (self.folder / "secrets/twilio.token").read_text(encoding="utf-8").strip()
        self.phones = PhoneNetwork(account_sid=ACCOUNT, auth_token=twilio_token, people=PEOPLE)
        twilio = await self.phones.start("127.0.0.1")
        self.executor_url = await self._start_executor()
        private, public = free_port() if self.port == 0 else self.port, free_port()
        self.monitoring = Monitoring(
            folder=self.folder / "monitoring",
            shop_url=self.shop_url,
            webhook_url=f"http://127.0.0.1:{private}/alertmanager",
            webhook_token=(self.folder / "secrets/default.token").read_text(encoding="utf-8").strip(),
        )
        await self.monitoring.start()
        text = CONFIG.format(
            environment=" ".join(f"{name}={value}" for name, value in TIMES.items()),
            listen=f"127.0.0.1:{private}",
            public_listen=f"127.0.0.1:{public}",
            public_url=f"http://127.0.0.1:{public}",
            claude="null" if self.real_claude else claude,
            account=ACCOUNT,
            twilio=twilio,
            alertmanager=self.monitoring.alertmanager_url,
            prometheus=self.monitoring.prometheus_url,
            executor=self.executor_url,
        )
        (self.folder / "counterfoil.yml").write_text(text, encoding="utf-8")
        self.phones.message_url = f"http://127.0.0.1:{public}/twilio/message"
        self.private_url = f"http://127.0.0.1:{private}"

    def load(self) -> Loaded:
        return load_config(self.folder / "counterfoil.yml", self.environment())

    def environment(self) -> Mapping[str, str]:
        key = os.environ.get("ANTHROPIC_API_KEY") or "stand-in"
        return {**os.environ, **TIMES, "COUNTERFOIL_DEMO_KEY": key}

    def _write_secrets(self) -> None:
        policy = self.folder / "policy.yml"
        fresh = not policy.exists()
        write_folder(self.folder)
        if fresh and self.call_after:
            text = policy.read_text(encoding="utf-8")
            call = f'      - {{after: {self.call_after}, notify: ["role:oncall"], channel: voice}}'
            policy.write_text(text.replace(STEP, f"{call}\n{STEP}"), encoding="utf-8")
        (self.folder / "executor.yml").write_text(
            EXECUTOR.format(python=sys.executable, program=PROGRAM, shop=self.shop_url), encoding="utf-8"
        )

    async def _start_executor(self) -> str:
        config = load_runner_config(self.folder / "executor.yml")
        self._executor = web.AppRunner(Runner(config).app(), access_log=None)
        await self._executor.setup()
        await web.TCPSite(self._executor, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._executor.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop what was started: who calls the service, the service, and then whom it calls."""
        for name in ("monitoring", "service", "phones"):
            part = self.__dict__.get(name)
            if part is not None:
                await part.stop()
        if self._executor is not None:
            await self._executor.cleanup()
        await self.claude.stop()
        await self.shop.stop()


def free_port() -> int:
    """A port of loopback that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
