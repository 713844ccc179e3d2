"""The service as a process, measured from outside: `python -m tests.benchmarks.service`; `--help` has its options.

Durable acknowledgements per second at 32 connections, against a bare aiohttp handler on the same body in the same run;
webhook in to message out; tap in to webhook out; start to ready; memory at rest. Nothing is asserted: machines differ,
ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from receiver.commands.init import write_folder
from receiver.demo.phone import PhoneNetwork

ACCOUNT = "AC" + "0" * 31 + "9"
PERSON = "whatsapp:+12025550101"
CONNECTIONS = 32
POLICY = """\
policy: {name: benchmark, version: "1.0.0"}
rules:
  - name: one-each
    matchers: ['alertname="Benchmark"']
    group_by: [service]
    detect: {when: [alerts.firing >= 1]}
    recover: {when: [alerts.firing == 0]}
    diagnosis_wait: 0s
    actions:
      run: {executor: restart, title: run it, approvers: {people: [tendai]}}
  - name: only-written-down
    matchers: ['alertname="Recorded"']
    record: true
"""


class Place:
    """An installation in a folder, its stand-ins in this process, and the service in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: asyncio.Queue[float] = asyncio.Queue()  # when each webhook came in
        self.phones = PhoneNetwork(account_sid=ACCOUNT, auth_token="f" * 32, people={"tendai": PERSON})
        self.private = self.public = ""
        self.token = ""

    async def prepare(self) -> None:
        await asyncio.to_thread(write_folder, self.folder)
        twilio = await self.phones.start("127.0.0.1")
        app = web.Application()
        app.router.add_post("/run", self._run)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        executor = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        config = f"""\
listen: 127.0.0.1:0
public_listen: 127.0.0.1:0
public_url: http://127.0.0.1:9
admin_token_file: secrets/admin.token
ledger: {{url: sqlite:///counterfoil.db, origin: benchmark.example, key_file: secrets/ledger.key}}
twilio:
  account_sid: {ACCOUNT}
  auth_token_file: secrets/twilio.token
  sender: "whatsapp:+14155238886"
  base_url: {twilio}
  daily_message_limit: 100000
  daily_person_limit: 0
  person_pace: 0s
tenants:
  default:
    token_file: secrets/default.token
    policy: policy.yml
    people: {{tendai: {{whatsapp: "{PERSON}", roles: [oncall]}}}}
    executors: {{restart: {{url: "{executor}/run", secret_file: secrets/restart.whsec}}}}
"""
        (self.folder / "counterfoil.yml").write_text(config, encoding="utf-8")
        (self.folder / "policy.yml").write_text(POLICY, encoding="utf-8")
        (self.folder / "secrets/twilio.token").write_text("f" * 32, encoding="utf-8")
        self.token = (self.folder / "secrets/default.token").read_text(encoding="utf-8").strip()

    async def _run(self, request: web.Request) -> web.Response:
        self.ran.put_nowait(time.perf_counter())
        return web.json_response({"exit_code": 0})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, float]]:
        """The service's process, and the seconds from its start until it listened and was ready."""
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", "serve", "--log-level", "error"),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            words = (await process.stdout.readline()).decode().split()
            if "listens" not in words:
                raise SystemExit("the service did not start")
            self.private, self.public = (word for word in words if word.startswith("http"))
            self.phones.message_url = "http://127.0.0.1:9/twilio/message"
            self.phones.deliver_to = self.public
            async with aiohttp.ClientSession() as session, session.get(f"{self.private}/-/ready") as answer:
                if answer.status != 200:
                    raise SystemExit(await answer.text())
            yield process, time.perf_counter() - began
        finally:
            process.terminate()
            await process.wait()

    async def stop(self) -> None:
        await self.phones.stop()
        await self._runner.cleanup()

    async def fire(self, session: aiohttp.ClientSession, name: str, number: int) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        body = notification(name, number)
        async with session.post(f"{self.private}/alertmanager", data=body, headers=headers) as answer:
            if answer.status != 200:
                raise SystemExit(await answer.text())


def notification(name: str, number: int) -> bytes:
    labels = {"alertname": name, "service": f"service-{number}", "severity": "critical", "instance": "10.0.0.1:9100"}
    annotations = {"summary": "Every third request fails", "description": "x" * 200}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": "2026-11-23T08:58:38.425Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": f"{number:016x}",
    }
    common = {"groupLabels": labels, "commonLabels": labels, "commonAnnotations": annotations}
    whole = {
        "version": "4",
        "groupKey": "{}",
        "status": "firing",
        "receiver": "counterfoil",
        **common,
        "alerts": [alert],
    }
    return json.dumps(whole).encode()


async def rate(url: str, headers: dict[str, str], requests: int, name: str) -> float:
    """Answers per second for `requests` different notifications over 32 connections."""
    numbers = iter(range(requests))

    async def connection(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.post(url, data=notification(name, number), headers=headers) as answer:
                if answer.status != 200:
                    raise SystemExit(await answer.text())

    began = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
    return requests / (time.perf_counter() - began)


BARE = """
import asyncio
from aiohttp import web
async def main():
    async def take(request):
        await request.read()
        return web.Response()
    app = web.Application()
    app.router.add_post("/alertmanager", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def bare_rate(requests: int) -> float:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BARE, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        return await rate(f"{url}/alertmanager", {}, requests, "Recorded")
    finally:
        process.terminate()
        await process.wait()


async def waits(place: Place, incidents: int) -> tuple[list[float], list[float]]:
    """Seconds from webhook in to message out, and from tap in to webhook out, one incident after the other."""
    asked, run = [], []
    phone = place.phones.phone("tendai")
    async with aiohttp.ClientSession() as session:
        for number in range(incidents):
            began = time.perf_counter()
            await place.fire(session, "Benchmark", number)
            message = await phone.next_message(lambda m: bool(m.buttons), timeout=60)
            asked.append(time.perf_counter() - began)
            began = time.perf_counter()
            await phone.tap("Approve", message)
            run.append(await asyncio.wait_for(place.ran.get(), 60) - began)
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {incidents} incidents", end="", file=sys.stderr)
    return asked[1:], run[1:]  # the first imports the SDK


def told(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{name}: median {statistics.median(ordered) * 1000:.0f} ms, p99 {last * 1000:.0f} ms"


async def measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name) / "installation")
        await place.prepare()
        try:
            async with place.serving() as (_, first):
                pass
            async with place.serving() as (process, seconds):
                rss = memory(process.pid)
                headers = {"Authorization": f"Bearer {place.token}"}
                bare = await bare_rate(arguments.requests)
                ours = await rate(f"{place.private}/alertmanager", headers, arguments.requests, "Recorded")
                again = await bare_rate(arguments.requests)
            async with place.serving():
                asked, run = await waits(place, arguments.incidents)
        finally:
            await place.stop()
    probe = (bare + again) / 2
    print(f"start to ready: {first:.2f} s on an empty folder, {seconds:.2f} s on a ledger (aim 1.5 s)")
    print(f"memory at rest: {rss / 1e6:.0f} MB (aim 120 MB)")
    print(f"durable acknowledgements: {ours:.0f}/s, a bare handler {probe:.0f}/s, ratio {ours / probe:.2f} (aim 0.35)")
    print(told("webhook in to message out", asked) + " (aim 30 ms, 150 ms)")
    print(told("tap in to webhook out", run) + " (aim 30 ms, 150 ms)")


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.service", description=__doc__)
    parser.add_argument("--requests", type=int, default=3_000, help="notifications to acknowledge (default 3000)")
    parser.add_argument("--incidents", type=int, default=100, help="incidents from alert to webhook (default 100)")
    asyncio.run(measure(parser.parse_args(words)))


if __name__ == "__main__":
    main()
