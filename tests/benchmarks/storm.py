"""A storm: `python -m tests.benchmarks.storm`; `--help` has its options.

So many incidents within a minute, for five people at WhatsApp's pace, over a Prometheus that takes its time.
Meanwhile, and for a while after it: the time until the intake acknowledges, until DETAIL is answered, from a tap to its
webhook, and for the page of what is open; what Prometheus is asked a second, and what the process uses. Nothing is
asserted: machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from receiver.demo.phone.shapes import Message
from tests.benchmarks.reaching import Team
from tests.benchmarks.service import memory

PEOPLE = 5
TAP_EVERY_SECONDS = 5.0
READ_EVERY_SECONDS = 2.0
STANDSTILL_SECONDS = 40.0  # longer than policy takes to look again
POLICY = """\
policy: {name: storm, version: "1.0.0"}
signals:
  errors: {promql: 'errors{service="$service"}', max_age: 1m}
rules:
  - name: one-each
    matchers: ['alertname="Benchmark"']
    group_by: [service]
    detect: {when: [errors > 0.1]}
    recover: {when: [errors < 0.1], for: 5m}
    diagnosis_wait: 0s
    actions:
      run: {executor: restart, title: run it, approvers: {roles: [oncall]}}
"""


class Storm(Team):
    """A team of five at WhatsApp's pace, and a Prometheus that answers each question after `slow` seconds."""

    def __init__(self, folder: Path, slow: float) -> None:
        super().__init__(folder, PEOPLE)
        self.slow = slow
        self.asked = 0
        self.admin = ""

    async def prepare(self) -> None:
        await super().prepare()
        app = web.Application()
        app.router.add_post("/api/v1/query", self._query)
        self._prometheus = web.AppRunner(app, access_log=None)
        await self._prometheus.setup()
        await web.TCPSite(self._prometheus, "127.0.0.1", 0).start()
        config = self.folder / "counterfoil.yml"
        text = config.read_text(encoding="utf-8").replace("person_pace: 0s", "person_pace: 6s")
        address = f"http://127.0.0.1:{self._prometheus.addresses[0][1]}"
        config.write_text(f"{text}    prometheus: {{url: {address}}}\n", encoding="utf-8")
        (self.folder / "policy.yml").write_text(POLICY, encoding="utf-8")
        self.admin = (self.folder / "secrets/admin.token").read_text(encoding="utf-8").strip()

    async def _query(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(self.slow)
        result = {"resultType": "vector", "result": [{"metric": {}, "value": [time.time(), "1"]}]}
        return web.json_response({"status": "success", "data": result})

    async def stop(self) -> None:
        await super().stop()
        await self._prometheus.cleanup()


class Taken:
    """What was measured, by name, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    async def of(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        began = time.perf_counter()
        await work
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)

    def said(self, name: str) -> str:
        found = sorted(self.seconds.pop(name, ()))
        if not found:
            return f"{name}: none"
        last = found[min(len(found) - 1, int(len(found) * 0.99))]
        middle = statistics.median(found)
        figures = f"median {middle * 1000:.0f} ms, p99 {last * 1000:.0f} ms, most {found[-1] * 1000:.0f} ms"
        return f"{name}: {len(found)}, {figures}"


async def _every(seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.gather(work(), asyncio.sleep(seconds))


async def measure(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Storm(Path(name) / "installation", given.slow)
        await place.prepare()
        try:
            async with place.serving() as (process, _), aiohttp.ClientSession() as session:
                await _storm(place, process.pid, session, given)
        finally:
            await place.stop()


async def _storm(place: Storm, pid: int, session: aiohttp.ClientSession, given: argparse.Namespace) -> None:
    taken, tapped = Taken(), set[str]()
    rest = memory(pid)
    # One before the storm: it imports the SDK.
    await place.fire(session, "Benchmark", 0)
    await _tap(place, session, taken, tapped)
    taken.seconds.clear()
    beside = [
        asyncio.create_task(_every(TAP_EVERY_SECONDS, lambda: _tap(place, session, taken, tapped))),
        asyncio.create_task(_every(READ_EVERY_SECONDS, lambda: taken.of("page", _page(place, session)))),
    ]
    try:
        began, used, asked = time.perf_counter(), _cpu(pid), place.asked
        for number in range(1, given.incidents):
            at = began + given.within * number / given.incidents
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await taken.of("intake", place.fire(session, "Benchmark", number))
        count, grown = 0, time.perf_counter()
        while count < given.incidents and time.perf_counter() - grown < STANDSTILL_SECONDS:
            await asyncio.sleep(0.5)
            if (now := await _open(place, session)) > count:
                count, grown = now, time.perf_counter()
        took = grown - began
        print(f"{given.incidents} alerts within {given.within:g} s, {count} open after {took:.1f} s")
        _said(taken, (_cpu(pid) - used) / took, (place.asked - asked) / took)
        began, used, asked = time.perf_counter(), _cpu(pid), place.asked
        for number in range(int(given.after)):
            # What Alertmanager repeats is no entry; the alert of another group is.
            await taken.of("intake", place.fire(session, "Other", given.incidents + number))
            await asyncio.sleep(1)
        took = time.perf_counter() - began
        print(f"the {took:.0f} s after it")
        _said(taken, (_cpu(pid) - used) / max(took, 1), (place.asked - asked) / max(took, 1))
        print(f"memory: {rest / 1e6:.0f} MB at rest, {memory(pid) / 1e6:.0f} MB now")
    finally:
        for task in beside:
            task.cancel()
        for came in await asyncio.gather(*beside, return_exceptions=True):
            if not isinstance(came, asyncio.CancelledError):
                print(f"it ended with {came!r}")


def _said(taken: Taken, cpu: float, queries: float) -> None:
    for name in ("intake", "DETAIL to question", "tap to webhook", "page"):
        print(f"  {taken.said(name)}")
    print(f"  {queries:.0f} queries/s, {cpu:.2f} of a core")


async def _tap(place: Storm, session: aiohttp.ClientSession, taken: Taken, tapped: set[str]) -> None:
    """Somebody asks for a question that a digest stands for and taps, measured until the webhook comes in."""
    number = len(tapped)
    phone = place.phones.phone(f"p{number % PEOPLE}")
    waiting = [i for i in await _incidents(place, session) if i not in tapped]
    if not waiting:
        return
    incident = waiting[-1]
    tapped.add(incident)

    async def asked() -> None:
        await phone.say(f"DETAIL {incident}")
        found.append(await phone.next_message(lambda m: bool(m.buttons) and incident in m.body, timeout=120))

    async def run() -> None:
        await phone.tap("Approve", found[0])
        await asyncio.wait_for(place.ran.get(), 120)

    found: list[Message] = []
    await taken.of("DETAIL to question", asked())
    await taken.of("tap to webhook", run())


async def _incidents(place: Storm, session: aiohttp.ClientSession) -> list[str]:
    """The ids of the newest incidents with an open question, the newest first."""
    headers = {"Authorization": f"Bearer {place.admin}"}
    async with session.get(f"{place.private}/api/v1/incidents", headers=headers) as answer:
        return [row["incident_id"] for row in (await answer.json())["incidents"] if row["state"] == "proposed"]


async def _page(place: Storm, session: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {place.admin}"}
    async with session.get(f"{place.private}/", headers=headers) as answer:
        await answer.read()


async def _open(place: Storm, session: aiohttp.ClientSession) -> int:
    """How many incidents are open, by the service's own metric."""
    async with session.get(f"{place.private}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("counterfoil_incidents{"))


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.storm", description=__doc__)
    parser.add_argument("--incidents", type=int, default=1_000, help="incidents (default 1000)")
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which they come (default 60)")
    parser.add_argument("--after", type=float, default=60.0, help="seconds that are measured after them (default 60)")
    parser.add_argument("--slow", type=float, default=0.02, help="seconds of a query to Prometheus (default 0.02)")
    asyncio.run(measure(parser.parse_args(words)))


if __name__ == "__main__":
    main()
