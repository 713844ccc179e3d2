"""What watches the shop: the real Prometheus and Alertmanager where they are found, else stand-ins of ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path

import aiohttp

from .watchers import StandInAlertmanager, StandInPrometheus

TOOLS = "COUNTERFOIL_TOOLS"  # a folder with the programs, before PATH
READY_TRIES, READY_SECONDS = 100, 0.1
STOP_SECONDS = 10.0

PROMETHEUS = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["{shop}"]}}]
"""
RULES = """\
groups:
  - name: shop
    rules:
      - alert: HighErrorRate
        expr: >-
          sum by (service) (rate(http_requests_total{code=~"5.."}[10s]))
          / sum by (service) (rate(http_requests_total[10s])) > 0.05
        for: 1s
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.service }} answers with errors"}
"""
ALERTMANAGER = """\
route:
  {{receiver: counterfoil, group_by: [alertname, service], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}
receivers:
  - name: counterfoil
    webhook_configs:
      - url: {webhook}
        send_resolved: true
        http_config: {{authorization: {{type: Bearer, credentials: "{token}"}}}}
"""


class DidNotStart(RuntimeError):
    """A program of the monitoring did not become ready; the message holds the end of its log."""


def find(*names: str) -> str | None:
    """The first of `names` in the folder that COUNTERFOIL_TOOLS names, or on PATH."""
    for name in names:
        found = shutil.which(name, path=os.environ.get(TOOLS) or None) or shutil.which(name)
        if found is not None:
            return found
    return None


class Monitoring:
    """Started and stopped as one. `real` says whether the programs are the real ones."""

    def __init__(self, *, folder: Path, shop_url: str, webhook_url: str, webhook_token: str) -> None:
        self._folder = folder
        self._shop = shop_url
        self._webhook = webhook_url
        self._token = webhook_token
        self.programs: list[asyncio.subprocess.Process] = []
        self._prometheus: StandInPrometheus | None = None
        self._alertmanager: StandInAlertmanager | None = None
        self.prometheus_url = self.alertmanager_url = ""
        self.real = False
        self.trouble = ""

    async def start(self) -> None:
        """Start both, the real ones if they can be started."""
        prometheus, alertmanager = find("prometheus"), find("prometheus-alertmanager", "alertmanager")
        self.real = prometheus is not None and alertmanager is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        if prometheus is None or alertmanager is None or not await self._start_real(prometheus, alertmanager):
            self.real = False
            self._prometheus = StandInPrometheus(self._shop)
            self.prometheus_url = await self._prometheus.start()
            self._alertmanager = StandInAlertmanager(self._prometheus, self._webhook, self._token)
            self.alertmanager_url = await self._alertmanager.start()

    async def _start_real(self, prometheus: str, alertmanager: str) -> bool:
        """Start the real ones; False, and `trouble` says why, where one of them does not become ready."""
        try:
            await self._start_programs(prometheus, alertmanager)
        except (DidNotStart, OSError) as error:  # OSError: what was found cannot be executed
            self.trouble = str(error)
            await self._stop_programs()
            return False
        return True

    async def _start_programs(self, prometheus: str, alertmanager: str) -> None:
        ports = free_ports(2)
        self.prometheus_url, self.alertmanager_url = (f"http://127.0.0.1:{port}" for port in ports)
        await asyncio.to_thread(self._write, ports[1])
        folder = self._folder
        await self.run(
            self.alertmanager_url,
            alertmanager,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
        )
        await self.run(
            self.prometheus_url,
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
            "--query.timeout=5s",
        )

    def _write(self, alertmanager_port: int) -> None:
        folder = self._folder
        shop = self._shop.removeprefix("http://")
        text = PROMETHEUS.format(alertmanager=f"127.0.0.1:{alertmanager_port}", shop=shop)
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        (folder / "rules.yml").write_text(RULES, encoding="utf-8")
        descriptor = os.open(folder / "alertmanager.yml", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(ALERTMANAGER.format(webhook=self._webhook, token=self._token))

    async def run(self, url: str, program: str, *arguments: str) -> None:
        """Start one program and wait until it is ready at `url`; `stop` ends it. Raises DidNotStart."""
        log = self._folder / f"{Path(program).name}-{len(self.programs)}.log"
        try:
            with log.open("wb") as out:
                process = await asyncio.create_subprocess_exec(program, *arguments, stdout=out, stderr=out)
        except OSError as error:
            raise DidNotStart(f"{program} cannot be started: {error.strerror}") from error
        self.programs.append(process)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for _ in range(READY_TRIES):
                try:
                    async with session.get(f"{url}/-/ready") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    if process.returncode is not None:
                        break
                await asyncio.sleep(READY_SECONDS)
        end = log.read_text(encoding="utf-8", errors="replace")[-500:]
        raise DidNotStart(f"{program} is not ready at {url}: {end}")

    async def stop(self) -> None:
        """End what was started, and nothing else."""
        for part in (self._alertmanager, self._prometheus):
            if part is not None:
                await part.stop()
        await self._stop_programs()

    async def _stop_programs(self) -> None:
        for process in self.programs:
            if process.returncode is None:
                process.terminate()
        for process in self.programs:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self.programs.clear()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
