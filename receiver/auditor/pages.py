"""The auditor's pages: server-rendered, read-only, made from the ledger alone. They need no script and no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Protocol

import jinja2
from aiohttp import web

from ledger import reconcile
from ledger.entry import Entry
from ledger.journal import Journal, LedgerError
from receiver.auditor import reading
from receiver.auditor.api import Api, Gate, number
from receiver.auditor.reading import BadQuestion

ENTRIES_SHOWN = 50
BLOB_BYTES_SHOWN = 65_536
COOKIE = "counterfoil"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class SignIn(Gate, Protocol):
    def sign_in(self, request: web.Request, token: str) -> str | None:
        """The cookie for whoever knows the admin token, else None."""


class Auditor:
    """Pages and API. gate: who may read. tenants: their names, the first is shown where none is chosen."""

    def __init__(self, journal: Journal, gate: Callable[[], SignIn], tenants: Callable[[], list[str]]) -> None:
        self._journal = journal
        self._gate = gate
        self._tenants = tenants
        self._api = Api(journal, gate, tenants)
        self._templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(_template),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["clock"] = _clock
        self._templates.filters["day"] = _day
        self._templates.filters["said"] = _said

    def add_routes(self, app: web.Application) -> None:
        self._api.add_routes(app)
        app.router.add_get("/static/auditor.css", self._style)
        app.router.add_post("/login", self._login)
        app.router.add_get("/", self._incidents)
        app.router.add_get("/incidents/{id}", self._incident)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_get(r"/ledger/{index:\d{1,15}}", self._entry)
        app.router.add_get("/blobs/{digest:[0-9a-f]{64}}", self._blob)
        app.router.add_get("/balance", self._balance)

    async def _incidents(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any]:
            return {"incidents": await reading.incidents(self._journal, tenant)}

        return await self._page(request, "incidents.html", show)

    async def _incident(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any] | None:
            name, at = request.match_info["id"], request.query.get("at")
            view = await reading.incident(self._journal, tenant, name, at)
            return None if view is None else {"incident": view, "at": at}

        return await self._page(request, "incident.html", show)

    async def _ledger(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any]:
            size = await self._journal.size(tenant)
            newest = number(request.query.get("until"), "until", size, 0, 2**53)
            after = max(-1, min(newest, size) - ENTRIES_SHOWN - 1)
            found = await self._journal.entries(tenant, after=after, limit=ENTRIES_SHOWN)
            older = found[0].index if found and found[0].index > 0 else None
            return {"entries": list(reversed(found)), "size": size, "older": older}

        return await self._page(request, "ledger.html", show)

    async def _entry(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any] | None:
            entry = await self._journal.get(tenant, int(request.match_info["index"]))
            if entry is None:
                return None
            pretty = json.dumps(json.loads(entry.raw), indent=2, ensure_ascii=False, sort_keys=True)
            return {"entry": entry, "pretty": pretty, "findings": findings_of(entry)}

        return await self._page(request, "entry.html", show)

    async def _blob(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any] | None:
            data = await self._journal.blob(tenant, request.match_info["digest"])
            if data is None:
                return None
            text = data[:BLOB_BYTES_SHOWN].decode("utf-8", "replace")
            return {"text": text, "digest": request.match_info["digest"], "length": len(data)}

        return await self._page(request, "blob.html", show)

    async def _balance(self, request: web.Request) -> web.Response:
        async def show(tenant: str) -> Mapping[str, Any]:
            entries = await reading.all_entries(self._journal, tenant)
            note = await self._journal.checkpoint(tenant)
            return {
                "balance": reconcile.trial_balance(entries),
                "findings": reconcile.findings(entries),
                "checkpoint": note,
            }

        return await self._page(request, "balance.html", show)

    async def _login(self, request: web.Request) -> web.Response:
        form = await request.post()
        token, target = form.get("token"), form.get("next")
        cookie = self._gate().sign_in(request, token) if isinstance(token, str) else None
        if cookie is None:
            return self._render("login.html", 401, {"wrong": True, "next": "/", "tenant": ""})
        # Only a path of ours: never an address elsewhere.
        place = target if isinstance(target, str) and target.startswith("/") and target[1:2] not in "/\\" else "/"
        answer = web.Response(status=303, headers={"Location": place})
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", path="/")
        return answer

    async def _style(self, request: web.Request) -> web.Response:
        return web.Response(text=_file("static", "auditor.css"), content_type="text/css", charset="utf-8")

    async def _page(self, request: web.Request, template: str, show: Any) -> web.Response:
        if not self._gate().admin_admitted(request):
            place = request.path if request.method == "GET" else "/"
            return self._render("login.html", 401, {"wrong": False, "next": place, "tenant": ""})
        tenants = self._tenants()
        tenant = request.query.get("tenant", tenants[0] if tenants else "default")
        try:
            if tenant not in tenants:
                raise BadQuestion(f"there is no tenant {tenant[:40]!r}")
            shown = await show(tenant)
        except BadQuestion as wrong:
            return self._render("message.html", 400, {"message": str(wrong), "tenant": ""})
        except LedgerError as wrong:
            return self._render("message.html", 503, {"message": str(wrong), "tenant": tenant})
        if shown is None:
            return self._render("message.html", 404, {"message": "There is no such page.", "tenant": tenant})
        return self._render(template, 200, {**shown, "tenant": tenant})

    def _render(self, template: str, status: int, values: Mapping[str, Any]) -> web.Response:
        shared = {"tenants": self._tenants(), "findings_of": findings_of}
        text = self._templates.get_template(template).render({**shared, **values})
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=SECURITY)


def findings_of(entry: Entry) -> list[Mapping[str, Any]]:
    """The comparisons behind an entry's verdict; empty where it holds none."""
    found = []
    for name in ("verdict", "service"):
        verdict = entry.body.get(name)
        if isinstance(verdict, Mapping):
            rows = verdict.get("findings")
            found += [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return found


def _said(entry: Entry) -> str:
    """One line on what an entry means, for a reader who does not know the stages."""
    return entry.reason or str(entry.body.get("detail") or entry.body.get("text") or "")


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S.%f")[:-3]


def _day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def _template(name: str) -> str:
    return _file("templates", name)


def _file(folder: str, name: str) -> str:
    return resources.files("receiver.auditor").joinpath(folder, name).read_text(encoding="utf-8")
