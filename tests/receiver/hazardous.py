"""The running service with everything outside of it on loopback, for those who attack it through HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from ledger.entry import Entry
from receiver.app import Service
from receiver.commands.init import write_folder
from receiver.configuration import load_config
from receiver.demo.phone import Message, Phone, PhoneNetwork

Answer = TypeVar("Answer")
ACCOUNT, TWILIO_TOKEN = "AC" + "0" * 31 + "7", "f" * 32
PUBLIC, SENDER = "https://counterfoil.example.org", "whatsapp:+14155238886"
TENANT = "default"
PEOPLE = {"ada": "oncall", "ben": "oncall", "cyn": "leads", "dan": "audit"}
NUMBERS = {name: f"whatsapp:+1202555010{at}" for at, name in enumerate(PEOPLE)}
STRANGER = "whatsapp:+12025550199"
EXPIRES = timedelta(minutes=10)
POLICY = """\
policy: {{name: hazards, version: "{version}"}}
rules:
  - name: broken
    matchers: ['alertname="Broken"']
    group_by: [host]
    detect: {{when: [alerts.firing >= 1]}}
    recover: {{when: [alerts.firing == 0]}}
    diagnosis_wait: 0s
    evaluate_every: 5s
    actions:
      mend:
        {{executor: mend, title: mend it, params: {{host: {{label: host, allow: [h0, h1, h2, h3, h4, h5, h6, h7]}}}},
          approvers: {{roles: [oncall, leads], quorum: {quorum}}}, expires: 10m{more}}}
    escalation: [{{after: 0s, notify: [everyone]}}{calls}]
{mute}"""
QUIET = """\
mute: [{matchers: ['severity="info"'], during: [always]}]
time_intervals: [{name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]
"""


CALLER = "+14155238886"
CALLS = """, {after: 170s, notify: ["role:oncall", "role:leads"], channel: voice}"""


class SteppedClock:
    """Both of the machine's clocks, further on by what was slept."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead.total_seconds()


class Place:
    """One installation. `ran` counts what reached the executor, by webhook-id."""

    def __init__(self, folder: Path, *, driven: bool = False) -> None:
        self.folder, self.driven = folder, driven
        self.version = 1
        self.quorum, self.more, self.mute, self.calls = 1, "", "", ""
        self.languages: Mapping[str, str] = {}  # of whom it is not English
        self.ran: Counter[str] = Counter()
        self.hosts: list[str] = []  # in the order in which they were mended
        self.network = PhoneNetwork(
            account_sid=ACCOUNT, auth_token=TWILIO_TOKEN, sender=SENDER, people={n: NUMBERS[n] for n in PEOPLE}
        )
        self.network.caller = CALLER
        self.clock = SteppedClock()
        self.service: Service
        self.session: aiohttp.ClientSession
        self._sids = 0
        self.took: list[dict[str, str]] = []

    # --- putting it together -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self, *, quorum: int = 1, more: str = "", mute: str = "", pins: str = "", calls: str = ""
    ) -> AsyncIterator[Place]:
        self.quorum, self.more, self.mute, self.calls = quorum, more, mute, calls
        await asyncio.to_thread(write_folder, self.folder)
        self.network.clock = self.clock.now
        twilio = await self.network.start()
        executor = web.Application()
        executor.router.add_post("/run", self._run)
        runner = web.AppRunner(executor, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._write(twilio, f"http://127.0.0.1:{runner.addresses[0][1]}/run", pins)
        async with aiohttp.ClientSession() as self.session:
            await self._serve()
            try:
                yield self
            finally:
                await self.service.stop()
                await turns()
                await self.network.stop()
                await runner.cleanup()
        await turns()

    def _write(self, twilio: str, executor: str, pins: str) -> None:
        people = "".join(
            f'      {name}: {{whatsapp: "{NUMBERS[name]}", phone: "{NUMBERS[name].removeprefix("whatsapp:")}", '
            f"roles: [{role}], timezone: Africa/Harare, language: {self.languages.get(name, 'en')}"
            f"{', pin_file: secrets/pin' if name in pins.split() else ''}}}\n"
            for name, role in PEOPLE.items()
        )
        (self.folder / "counterfoil.yml").write_text(
            f"""\
listen: 127.0.0.1:0
public_listen: 127.0.0.1:0
public_url: {PUBLIC}
admin_token_file: secrets/admin.token
ledger: {{origin: hazards.example}}
twilio:
  account_sid: {ACCOUNT}
  auth_token_file: secrets/twilio.token
  sender: "{SENDER}"
  voice_sender: "{CALLER}"
  base_url: {twilio}
  daily_message_limit: 100000
  daily_person_limit: 0
  person_pace: 0s
tenants:
  default:
    token_file: secrets/default.token
    policy: policy.yml
    people:
{people}\
    executors: {{mend: {{url: "{executor}", secret_file: secrets/restart.whsec}}}}
""",
            encoding="utf-8",
        )
        (self.folder / "secrets/twilio.token").write_text(TWILIO_TOKEN, encoding="utf-8")
        self._policy()

    def _policy(self) -> None:
        version = f"{self.version}.0.0"
        text = POLICY.format(version=version, quorum=self.quorum, more=self.more, mute=self.mute, calls=self.calls)
        (self.folder / "policy.yml").write_text(text, encoding="utf-8")

    async def _serve(self) -> None:
        def read():  # type: ignore[no-untyped-def]
            return load_config(self.folder / "counterfoil.yml", {})

        self.service = Service(read(), reread=read)
        self.service.clock = self.clock  # type: ignore[assignment]
        await self.service.start()
        self.network.message_url, self.network.deliver_to = f"{PUBLIC}/twilio/message", self.service.public_url
        if self.driven:
            for task in self.service._tasks:
                task.cancel()
            await asyncio.gather(*self.service._tasks, return_exceptions=True)
            await self.rest()

    async def restart(self) -> None:
        await self.service.stop()
        await self._serve()

    async def _run(self, request: web.Request) -> web.Response:
        self.ran[request.headers["webhook-id"]] += 1
        self.hosts.append((await request.json())["params"]["host"])
        return web.json_response({"exit_code": 0})

    # --- what happens outside ----------------------------------------------------------------------------------------

    async def fire(
        self, host: str, *, firing: bool = True, severity: str = "critical", since: datetime | None = None
    ) -> None:
        """since: when it began to fire; an hour ago by default."""
        token = (self.folder / "secrets/default.token").read_text(encoding="utf-8").strip()
        alert = {
            "status": "firing" if firing else "resolved",
            "labels": {"alertname": "Broken", "host": host, "severity": severity},
            "annotations": {},
            "startsAt": (since or self.clock.now() - timedelta(hours=1)).isoformat()
            if firing
            else "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z" if firing else self.clock.now().isoformat(),
            "fingerprint": host.encode().hex().rjust(16, "0"),
        }
        body = {"version": "4", "receiver": "counterfoil", "status": alert["status"], "alerts": [alert]}
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(f"{self.service.private_url}/alertmanager", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def asked(self, who: str, host: str = "h0") -> Message:
        """The question about `host` on the phone of `who`."""
        return await self.phone(who).next_message(lambda m: bool(m.buttons) and f"host={host}" in m.body)

    def phone(self, who: str) -> Phone:
        return self.network.phone(who)

    def sid(self) -> str:
        self._sids += 1
        return f"SM{self._sids:032x}"

    def form(self, sender: str, text: str, **more: str) -> dict[str, str]:
        """What Twilio posts for a message from `sender`: a name, or an address."""
        address, sid = NUMBERS.get(sender, sender), self.sid()
        return {
            "AccountSid": ACCOUNT,
            "ApiVersion": "2010-04-01",
            "Body": text,
            "ExternalUserId": f"whatsapp:US.{hashlib.sha256(address.encode()).hexdigest()[:12]}",
            "From": address,
            "MessageSid": sid,
            "MessageType": "text",
            "NumMedia": "0",
            "SmsMessageSid": sid,
            "SmsStatus": "received",
            "To": SENDER,
        } | more

    def tap(self, sender: str, message: Message, title: str = "Approve", **more: str) -> dict[str, str]:
        """What Twilio posts when somebody with the phone of `sender` taps a button of `message`."""
        button = message.button(title)
        fields = {
            "ButtonPayload": button.payload,
            "ButtonText": button.title,
            "MessageType": "button",
            "OriginalRepliedMessageSender": SENDER,
            "OriginalRepliedMessageSid": message.sid,
        }
        return self.form(sender, button.title, **(fields | more))

    async def post(self, form: Mapping[str, str], *, token: str = TWILIO_TOKEN, path: str = "/twilio/message") -> int:
        """Post a form as Twilio does, signed with `token` by code of our own; the answer's status."""
        self.took.append(dict(form))
        signed = PUBLIC + path + "".join(f"{name}{form[name]}" for name in sorted(form))
        mac = base64.b64encode(hmac.digest(token.encode(), signed.encode(), hashlib.sha1)).decode()
        headers = {"X-Twilio-Signature": mac, "Content-Type": "application/x-www-form-urlencoded"}
        address = f"{self.service.public_url}{path}"
        async with self.session.post(address, data=urlencode(form), headers=headers) as answer:
            await answer.read()
            return answer.status

    async def say(self, who: str, text: str, **more: str) -> int:
        return await self.post(self.form(who, text, **more))

    async def get(self, path: str) -> tuple[int, str]:
        """What the public listener shows: the status and the text."""
        async with self.session.get(f"{self.service.public_url}{path}") as answer:
            return answer.status, await answer.text()

    async def submit(self, path: str, fields: Mapping[str, str], **headers: str) -> tuple[int, str]:
        """Post a form of a page, as a browser does: the status and the text."""
        async with self.session.post(f"{self.service.public_url}{path}", data=dict(fields), headers=headers) as answer:
            return answer.status, await answer.text()

    async def admin(self, path: str, **body: str) -> dict[str, object]:
        token = (self.folder / "secrets/admin.token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(f"{self.service.private_url}{path}", json=body, headers=headers) as answer:
            found: dict[str, object] = await answer.json()
            return found

    async def another_policy(self) -> None:
        self.version += 1
        self._policy()
        assert await self.service.reload()

    def later(self, seconds: float) -> None:
        """Let time pass at once."""
        self.clock.ahead += timedelta(seconds=seconds)
        for governor in self.service.governors.values():
            governor._wake.set()

    # --- what came of it ---------------------------------------------------------------------------------------------

    async def entries(self, stage: str) -> Sequence[Entry]:
        return await self.service.journal.entries(TENANT, stage=stage, limit=100_000)

    async def entry(self, stage: str, count: int = 1) -> Entry:
        """The entry of that stage that makes them `count`, once there are so many."""
        async with asyncio.timeout(20):
            while True:
                size = await self.service.journal.size(TENANT)
                found = await self.entries(stage)
                if len(found) >= count:
                    return found[count - 1]
                await self.service.journal.wait(TENANT, size)

    async def judged(self) -> None:
        """Everything that was heard is settled."""
        async with asyncio.timeout(20):
            while True:
                size = await self.service.journal.size(TENANT)
                if not any(entry.stage == "HEARD" for entry in await self.service.journal.outstanding(TENANT)):
                    return
                await self.service.journal.wait(TENANT, size)

    async def refusals(self) -> list[str]:
        await self.judged()
        return [entry.body["why"] for entry in await self.entries("REFUSED")]

    async def rest(self) -> None:
        """Take every step that is due, where the governors do not run by themselves; who is asked outside answers."""
        governor = self.service.governors[TENANT]
        while True:
            await self.network.settled()
            taken, _ = await governor.turn()
            running = list(governor._running.values())
            await asyncio.gather(*running)
            if not taken and not running and not self.network._tasks:
                return

    async def meanwhile(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What comes of `work`, which waits until something that it posts is judged."""
        doing = asyncio.ensure_future(work)
        governor = self.service.governors[TENANT]
        while not doing.done():
            size = await self.service.journal.size(TENANT)
            taken, _ = await governor.turn()
            if not taken:
                news = asyncio.ensure_future(self.service.journal.wait(TENANT, size))
                await asyncio.wait({doing, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
        return await doing


async def turns() -> None:
    """Some turns of the loop: a connection that was made is known to its server, and one that was closed has ended.

    A server that stops closes the connections that it knows; what it accepts in that moment would outlive it.
    """
    for _ in range(5):
        await asyncio.sleep(0)
