"""How the outside reaches the service: real requests to the real handlers, signed by code that is not the service's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ledger.journal import Journal
from receiver.governor.changes import ExecutionDesk, GovernorChanges
from receiver.governor.desk import Desk
from receiver.governor.viewing import QuestionDesk
from receiver.intake.admission import Admission
from receiver.intake.alerts import AlertIntake
from receiver.intake.calls import Calls
from receiver.intake.changes import ChangeDesk
from receiver.intake.questions import Questions
from receiver.intake.replies import Replies
from receiver.intake.results import Results
from receiver.intake.routes import private_app, public_app
from receiver.intake.signed import Signed
from receiver.metrics import Metrics
from receiver.papers import Recipient
from tests.simulation.terms import PUBLIC_URL, SECRET, recipient
from tests.simulation.world import Site, World

ACCOUNT, TWILIO_TOKEN, ADMIN_TOKEN = "ACsimulation", "twilio", "admin"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class _Nobody:
    """The connection that a request came by: there is none, and nobody misses it."""

    def __getattr__(self, name: str) -> Any:
        return None

    def pause_reading(self, **how: Any) -> None: ...

    def resume_reading(self, **how: Any) -> None: ...


NOBODY: Any = _Nobody()


def request(path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> web.Request:
    loop = asyncio.get_running_loop()
    given = CIMultiDictProxy(CIMultiDict(headers))
    raw = tuple((name.encode(), value.encode()) for name, value in given.items())
    message = RawRequestMessage(method, path, HttpVersion11, given, raw, False, None, False, False, URL(path))
    payload = StreamReader(NOBODY, 2**20, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    return web.Request(message, payload, NOBODY, NOBODY, NOBODY, loop)


class PhoneBook:
    """Who is enrolled, over both tenants."""

    def __init__(self, world: World) -> None:
        self._world = world

    def person_by_address(self, address: str) -> Sequence[tuple[str, str]]:
        found = [(tenant, site.named(address)) for tenant, site in self._world.sites.items()]
        return [(tenant, name) for tenant, name in found if name is not None]

    def recipient(self, tenant: str, person: str) -> Recipient | None:
        staff = self._world.sites[tenant].staff
        return recipient(staff[person]) if person in staff else None


class Doors:
    """Both listeners of one process."""

    def __init__(self, world: World, journal: Journal, desks: Mapping[str, Desk], metrics: Metrics) -> None:
        self._world = world
        admission = Admission({tenant: f"token of {tenant}" for tenant in world.sites}, ADMIN_TOKEN, world.clock.now)
        changes: Callable[[str], GovernorChanges] = lambda tenant: GovernorChanges(desks[tenant])  # noqa: E731
        self._private = private_app(
            alerts=AlertIntake(lambda: journal, lambda: admission, metrics),
            changes=ChangeDesk(changes, lambda: admission),
            admission=lambda: admission,
            metrics=metrics,
            not_ready=list,
            reload=NOBODY,
            reading=lambda app: None,
            measure=lambda: None,
        )
        signed = Signed(account_sid=ACCOUNT, auth_tokens=[TWILIO_TOKEN], public_url=PUBLIC_URL)
        secrets: dict[str, Any] = {"codes_secret": SECRET, "address_key": lambda tenant, person: SECRET}
        self.replies = Replies(
            journal=journal,
            roster=PhoneBook(world),
            signed=signed,
            count=lambda path, outcome: self._turned("twilio", outcome),
            **secrets,
        )
        self._public = public_app(
            calls=Calls(
                journal=journal,
                roster=PhoneBook(world),
                signed=signed,
                public_url=PUBLIC_URL,
                count=lambda path, outcome: world.reached.calls.update([outcome]),
                **secrets,
            ),
            replies=self.replies,
            questions=Questions(
                journal=journal,
                books=lambda: [(tenant, QuestionDesk(desk)) for tenant, desk in desks.items()],
                public_url=PUBLIC_URL,
                count=lambda outcome: world.reached.pages.update([outcome]),
                **secrets,
            ),
            results=Results(
                lambda: [(tenant, ExecutionDesk(desk)) for tenant, desk in desks.items()],
                lambda tenant, executor: [secret_of(tenant)],
            ),
        )
        for app in (self._private, self._public):
            app.freeze()

    def _turned(self, door: str, word: str) -> None:
        self._world.reached.turned_away[f"{door}: {word}"] += 1

    async def _ask(
        self, app: web.Application, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST"
    ) -> web.Response:
        self._world.alive()
        answer = await app._handle(request(path, body, headers, method))
        assert isinstance(answer, web.Response)
        return answer

    async def alerts(self, site: Site, body: bytes, *, token: str | None = None) -> int:
        headers = {"Authorization": f"Bearer {token or f'token of {site.tenant}'}", "Content-Type": JSON}
        answer = await self._ask(self._private, f"/alertmanager/{site.tenant}", body, headers)
        if answer.status != 200:
            self._turned("alertmanager", json.loads(answer.text or "")["error"]["code"])
        return answer.status

    async def twilio(self, path: str, form: Mapping[str, str], *, signed: bool = True) -> int:
        return (await self.call(path, form, signed=signed)).status

    async def call(self, path: str, form: Mapping[str, str], *, signed: bool = True) -> web.Response:
        """A signed form, as Twilio posts it: the address, then every name and value in order, under HMAC-SHA1."""
        text = f"{PUBLIC_URL}{path}" + "".join(name + form[name] for name in sorted(form))
        key = TWILIO_TOKEN if signed else "another"
        signature = base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha1)).decode()
        headers = {"X-Twilio-Signature": signature, "Content-Type": FORM}
        return await self._ask(self._public, path, urlencode(form).encode(), headers)

    async def page(
        self, path: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """A browser opens a page of ours, or posts the form in it."""
        if fields is None:
            return await self._ask(self._public, path, b"", headers or {}, "GET")
        body = urlencode(fields).encode()
        return await self._ask(self._public, path, body, {"Content-Type": FORM, **(headers or {})})

    async def result(self, site: Site, webhook_id: str, good: bool, *, secret: bytes | None = None) -> int:
        """An executor's late word, signed as Standard Webhooks has it. Its library reads the machine's own clock."""
        body = json.dumps({"status": "succeeded" if good else "failed", "output": "done"})
        at = str(int(datetime.now(UTC).timestamp()))
        key = base64.b64decode(secret_of(site.tenant).removeprefix("whsec_")) if secret is None else secret
        signature = base64.b64encode(hmac.digest(key, f"{webhook_id}.{at}.{body}".encode(), "sha256")).decode()
        headers = {"webhook-id": webhook_id, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
        answer = await self._ask(self._public, f"/executions/{webhook_id}", body.encode(), headers)
        said = json.loads(answer.text or "")
        self._turned("executions", said.get("status") or said["error"]["code"])
        return answer.status

    async def change(self, site: Site, what: str, path: str, fields: Mapping[str, str]) -> int:
        """What somebody does by hand; a refusal is counted by its words without names."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": JSON}
        body = json.dumps(fields).encode()
        answer = await self._ask(self._private, f"/api/v1/{path}?tenant={site.tenant}", body, headers)
        if answer.status != 200:
            message = json.loads(answer.text or "")["error"]["message"]
            words = next((known for known in REFUSED if known in message), message)
            self._turned(what, words)
        return answer.status


REFUSED = (
    *("there is no incident", "has ended already", "an execution is under way", "has no unresolved execution"),
    *("is not in the roster", "there is no action", "asked for it already", "has its own question"),
    "its own question comes",
    *("nothing is halted", "so somebody else must resume", "it was settled meanwhile", "it cannot be booked now"),
)


def secret_of(tenant: str) -> str:
    return "whsec_" + base64.b64encode(hashlib.sha256(tenant.encode()).digest()).decode()
