"""How long it takes to reach a team: `python -m tests.benchmarks.reaching`; `--help` has its options.

From alert in to the last recipient addressed, with 1, 5 and 50 of them, and from tap to the message that tells of the
decision on the phone that tapped; beside a probe of the same run: as many bare requests to the same stand-in for the
carrier, at once. Nothing is asserted: machines differ, ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from receiver.demo.phone import PhoneNetwork
from tests.benchmarks.service import ACCOUNT, POLICY, Place

SENDER = "whatsapp:+14155238886"


class Team(Place):
    """A place with so many people, all of whom are asked."""

    def __init__(self, folder: Path, people: int) -> None:
        super().__init__(folder)
        self.numbers = {f"p{at}": f"whatsapp:+1202555{at:04}" for at in range(people)}
        self.phones = PhoneNetwork(account_sid=ACCOUNT, auth_token="f" * 32, people=self.numbers)

    async def prepare(self) -> None:
        await super().prepare()
        config = self.folder / "counterfoil.yml"
        lines = config.read_text(encoding="utf-8").splitlines()
        rows = (f'{name}: {{whatsapp: "{number}", roles: [oncall]}}' for name, number in self.numbers.items())
        people = ", ".join(rows)
        lines = [f"    people: {{{people}}}" if line.startswith("    people:") else line for line in lines]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        policy = POLICY.replace("approvers: {people: [tendai]}", "approvers: {roles: [oncall]}")
        (self.folder / "policy.yml").write_text(policy, encoding="utf-8")

    def reached(self, number: int) -> int:
        """How many have the question of incident `number`."""
        return sum(
            bool(message.buttons) and f"service-{number}”" in message.body for message in self.phones.messages.values()
        )

    async def probe(self, session: aiohttp.ClientSession) -> float:
        """Seconds for one bare request to the carrier for each of the people, at once."""
        url = f"{self.phones.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        headers = {"Authorization": "Basic " + base64.b64encode(f"{ACCOUNT}:{'f' * 32}".encode()).decode()}

        async def send(number: str) -> None:
            form = {"To": number, "From": SENDER, "Body": "x"}
            async with session.post(url, data=form, headers=headers) as answer:
                if answer.status != 201:
                    raise SystemExit(await answer.text())

        began = time.perf_counter()
        await asyncio.gather(*(send(number) for number in self.numbers.values()))
        return time.perf_counter() - began


async def team(people: int, incidents: int) -> str:
    with tempfile.TemporaryDirectory() as name:
        place = Team(Path(name) / "installation", people)
        await place.prepare()
        try:
            async with place.serving(), aiohttp.ClientSession() as session:
                asked, told, bare = await _measured(place, session, incidents)
        finally:
            await place.stop()
    ratios = f"{statistics.median(asked) / statistics.median(bare):.1f} times the probe"
    return (
        f"{people} recipients: alert in to the last addressed, median {statistics.median(asked) * 1000:.0f} ms, "
        f"slowest {max(asked) * 1000:.0f} ms ({ratios}); "
        f"tap to decision message, median {statistics.median(told) * 1000:.0f} ms, slowest {max(told) * 1000:.0f} ms"
    )


async def _measured(
    place: Team, session: aiohttp.ClientSession, incidents: int
) -> tuple[list[float], list[float], list[float]]:
    asked, told, bare = [], [], []
    phone = place.phones.phone("p0")
    for number in range(incidents + 1):
        began = time.perf_counter()
        await place.fire(session, "Benchmark", number)
        async with asyncio.timeout(120):
            while place.reached(number) < len(place.numbers):
                await place.phones.news()
        asked.append(time.perf_counter() - began)
        question = await phone.next_message(lambda m: bool(m.buttons), timeout=60)
        began = time.perf_counter()
        await phone.tap("Approve", question)
        await phone.next_message(says="already approved by p0", timeout=60)
        told.append(time.perf_counter() - began)
        await place.phones.settled()
        bare.append(await place.probe(session))
        await place.phones.settled()
    return asked[1:], told[1:], bare[1:]  # the first imports the SDK


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reaching", description=__doc__)
    parser.add_argument("--recipients", type=int, nargs="+", default=[1, 5, 50], help="people (default 1 5 50)")
    parser.add_argument("--incidents", type=int, default=20, help="incidents for each (default 20)")
    given = parser.parse_args(words)
    for people in given.recipients:
        print(asyncio.run(team(people, given.incidents)))


if __name__ == "__main__":
    main()
