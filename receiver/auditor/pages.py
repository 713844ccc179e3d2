"""The auditor's pages: server-rendered, read-only, made from the ledger alone. They need no script and no network."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ledger.accounts import STAGES
from ledger.journal import Journal, LedgerError
from receiver.auditor import presenting, questions, searching, telling
from receiver.auditor.api import Api, Gate
from receiver.auditor.presenting import Pages
from receiver.auditor.questions import INDEX_MAX, BadQuestion
from receiver.auditor.reading import Reader, checkpoint_size
from receiver.auditor.report_text import markdown

PAGE = 50  # entries or incidents on a page
FORM_BYTES_MAX = 4_096
FORM_SECONDS = 10.0  # for a form to arrive; whoever is slower holds a place that others need
COOKIE = "counterfoil"
# Paths of ours: no second slash, no backslash, nothing that a browser would drop and so read as another address.
_OURS = re.compile(r"/(?:[A-Za-z0-9._~-][A-Za-z0-9/._~%=&?:+-]{0,500})?|/\?[A-Za-z0-9/._~%=&:+-]{0,500}")

Values = Mapping[str, Any]
Show = Callable[[str], Awaitable[Values | None]]


class SignIn(Gate, Protocol):
    def sign_in(self, request: web.Request, token: str) -> str | None:
        """The cookie for whoever knows the admin token, else None. Guessing is slowed down here."""


class Auditor:
    """Pages and API. gate: who may read. tenants: their names, the first is shown where none is chosen.

    clock: when something is overdue; None for the time of the newest entry.
    """

    def __init__(
        self,
        journal: Journal,
        gate: Callable[[], SignIn],
        tenants: Callable[[], list[str]],
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.reader = Reader(journal, clock)
        self._gate = gate
        self._tenants = tenants
        self._pages = Pages()
        self._api = Api(self.reader, gate, tenants)

    def add_routes(self, app: web.Application) -> None:
        self._api.add_routes(app)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/login", self._ask_in)
        app.router.add_post("/login", self._sign_in)
        app.router.add_post("/logout", self._sign_out)
        app.router.add_get("/", self._incidents)
        app.router.add_get("/incidents/{id}", self._incident)
        app.router.add_get("/incidents/{id}/why", self._why)
        app.router.add_get("/incidents/{id}/report", self._report)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_get("/ledger/{index}", self._entry)
        app.router.add_get("/blobs/{digest}", self._blob)
        app.router.add_get("/balance", self._balance)

    # --- pages -----------------------------------------------------------------------------------------------------

    async def _incidents(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values:
            before = questions.number(request.query, "before", INDEX_MAX, 0, INDEX_MAX)
            states = questions.states(request.query)
            found, following = await self.reader.incidents(tenant, before=before, limit=PAGE, states=states)
            register = await self.reader.register(tenant)
            opened = sum(1 for standing in register.incidents.values() if standing.ended_at is None)
            return {
                "incidents": found,
                "following": following,
                "first": before == INDEX_MAX,
                "state": request.query.get("state", ""),
                "opened": opened,
                "ended": len(register.incidents) - opened,
                "halts": list(register.halts.values()),
            }

        return await self._page(request, "incidents.html", show)

    async def _incident(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values | None:
            at = questions.moment(request.query)
            view = await self.reader.incident(tenant, request.match_info["id"], at)
            if view is None:
                return None
            register = await self.reader.register(tenant)
            detected = next(entry for entry in view.entries if entry.index == view.index)
            return {
                "incident": view,
                "followed": None if request.query.get("at") else register.followed_by(view.id),
                "requested_by": telling.plain(detected.body.get("requested_by")),
                "at": request.query.get("at", ""),
                "steps": telling.steps(view),
                "doubt": telling.doubt(view),
                "moments": telling.moments(view),
                "policy": register.policies.get(view.policy_digest),
            }

        return await self._page(request, "incident.html", show)

    async def _why(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values | None:
            view = await self.reader.incident(tenant, request.match_info["id"], questions.moment(request.query))
            if view is None:
                return None
            return {"incident": view, "verdicts": await self.reader.why(tenant, view)}

        return await self._page(request, "why.html", show)

    async def _report(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values | None:
            at = questions.moment(request.query)
            found = await self.reader.report(tenant, request.match_info["id"], at)
            return None if found is None else {"incident": found.view, "report": markdown(found)}

        return await self._page(request, "report.html", show)

    async def _ledger(self, request: web.Request) -> web.Response:
        """The newest entries first; those that a filter chooses in the order in which they were posted."""

        async def show(tenant: str) -> Values:
            query, journal = request.query, self.reader.journal
            stage, actor = questions.stage(query), questions.name(query, "actor")
            incident = questions.name(query, "incident")
            asked = {"stage": stage, "actor": actor, "incident": incident}
            chosen = {name: text for name, text in asked.items() if text is not None}
            size = await journal.size(tenant)
            until = min(questions.number(query, "until", size, 0, INDEX_MAX), size)
            more: dict[str, int] = {}
            if chosen:
                after = questions.number(query, "after", -1, -1, INDEX_MAX)
                found, following = await searching.chosen(
                    journal, tenant, after=after, limit=PAGE, incident=incident, stage=stage, actor=actor
                )
                more = {"after": following} if following is not None else {}
                shown = list(found)
            else:
                # One more than is shown, for the newest ones are counted back from `until`.
                found = await journal.entries(tenant, after=max(-1, until - PAGE - 1), limit=PAGE + 1)
                shown = [entry for entry in reversed(found) if entry.index < until]
                more = {"until": shown[-1].index} if shown and shown[-1].index else {}
            return {
                "size": size,
                "asked": asked,
                "filtered": bool(chosen),
                "stages": sorted(STAGES),
                "entries": shown,
                "more": urlencode({**chosen, "tenant": tenant, **more}) if more else "",
                "newest": not chosen and until == size,
            }

        return await self._page(request, "ledger.html", show)

    async def _entry(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values | None:
            journal, index = self.reader.journal, questions.number(request.match_info, "index", 0, 0, INDEX_MAX)
            entry = await journal.get(tenant, index)
            if entry is None:
                return None
            register = await self.reader.register(tenant)
            return {
                "entry": entry,
                "size": await journal.size(tenant),
                "pretty": presenting.laid_out(entry.raw),
                "policy": register.policies.get(entry.policy_digest or ""),
            }

        return await self._page(request, "entry.html", show)

    async def _blob(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values | None:
            digest = request.match_info["digest"]
            data = await self.reader.journal.blob(tenant, digest)
            if data is None:
                return None
            index = questions.number(request.query, "entry", INDEX_MAX, 0, INDEX_MAX)
            entry = await self.reader.journal.get(tenant, index)
            names = [blob.name for blob in entry.blobs if blob.digest == digest] if entry is not None else []
            return {
                "digest": digest,
                "length": len(data),
                "text": presenting.laid_out(data),
                "cut": len(data) > presenting.JSON_BYTES_LAID_OUT,
                "name": names[0] if names else "",
                "entry": entry if names else None,
            }

        return await self._page(request, "blob.html", show)

    async def _balance(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Values:
            note = await self.reader.journal.checkpoint(tenant)
            return {
                "books": await self.reader.books(tenant),
                "checkpoint": note,
                "signed": checkpoint_size(note),
            }

        return await self._page(request, "balance.html", show)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in presenting.FILES:
            return self._render("message.html", 404, {"message": "There is no such file.", "tenant": ""})
        return presenting.static(name)

    # --- signing in --------------------------------------------------------------------------------------------------

    async def _ask_in(self, request: web.Request) -> web.Response:
        return self._render("login.html", 200, {"wrong": "", "next": "/", "tenant": ""})

    async def _sign_in(self, request: web.Request) -> web.Response:
        try:
            form = await read_form(request)
        except BadQuestion as refused:
            return self._render("login.html", 400, {"wrong": str(refused), "next": "/", "tenant": ""})
        target = form.get("next", "/")
        place = target if _OURS.fullmatch(target) else "/"
        cookie = self._gate().sign_in(request, form.get("token", "").strip())
        if cookie is None:
            wrong = "That is not the admin token, or too many wrong ones came from here within a minute."
            return self._render("login.html", 401, {"wrong": wrong, "next": place, "tenant": ""})
        answer = web.Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", path="/", secure=request.secure)
        return answer

    async def _sign_out(self, request: web.Request) -> web.Response:
        answer = web.Response(status=303, headers={"Location": "/login", "Cache-Control": "no-store"})
        answer.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return answer

    # --- every page --------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request, template: str, show: Show) -> web.Response:
        if not self._gate().admin_admitted(request):
            place = request.path_qs if _OURS.fullmatch(request.path_qs) else "/"
            return self._render("login.html", 401, {"wrong": "", "next": place, "tenant": ""})
        tenants = self._tenants()
        tenant = request.query.get("tenant", tenants[0] if tenants else "default")
        try:
            tenant = questions.tenant({"tenant": tenant}, tenants)
            shown = await show(tenant)
        except BadQuestion as wrong:
            return self._render("message.html", 400, {"message": str(wrong), "tenant": tenant})
        except LedgerError as wrong:
            return self._render("message.html", 503, {"message": str(wrong), "tenant": tenant})
        if shown is None:
            return self._render("message.html", 404, {"message": "The ledger holds no such thing.", "tenant": tenant})
        return self._render(template, 200, {**shown, "tenant": tenant})

    def _render(self, template: str, status: int, values: Values) -> web.Response:
        tenants = self._tenants()
        known = values["tenant"] if values["tenant"] in tenants else ""
        return self._pages.render(template, status, {**values, "tenant": known, "tenants": tenants})


async def read_form(request: web.Request) -> dict[str, str]:
    """The first value of each field of a form, at most FORM_BYTES_MAX long. Raises BadQuestion."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadQuestion("send the form as application/x-www-form-urlencoded")
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > FORM_BYTES_MAX:
                    raise BadQuestion(f"the form is longer than {FORM_BYTES_MAX} bytes")
    except TimeoutError:
        raise BadQuestion(f"the form did not arrive within {FORM_SECONDS:g} s") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise BadQuestion("the form cannot be read to its end") from error
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise BadQuestion("the form has more than 10 fields") from None
    return {name: values[0] for name, values in fields.items()}
