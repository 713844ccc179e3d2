"""GET /api/v1/…: what programs read. Every answer is made from the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from aiohttp import web

from ledger.journal import LedgerError
from receiver.auditor import openapi, questions, searching
from receiver.auditor.questions import INDEX_MAX, BadQuestion
from receiver.auditor.reading import Reader
from receiver.auditor.report_text import markdown

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
INCIDENTS_DEFAULT, INCIDENTS_MAX = 1000, 1000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate(Protocol):
    def admin_admitted(self, request: web.Request) -> bool:
        """Whether the request bears the admin token or the cookie of who signed in with it."""


class Api:
    """The handlers. gate: who may read. tenants: their names."""

    def __init__(self, reader: Reader, gate: Callable[[], Gate], tenants: Callable[[], list[str]]) -> None:
        self._reader = reader
        self._gate = gate
        self._tenants = tenants

    def add_routes(self, app: web.Application) -> None:
        for path, handler in (
            ("/api/v1/incidents", self._incidents),
            ("/api/v1/incidents/{id}", self._incident),
            ("/api/v1/incidents/{id}/why", self._why),
            ("/api/v1/incidents/{id}/report", self._report),
            ("/api/v1/ledger", self._ledger),
            ("/api/v1/ledger/checkpoint", self._checkpoint),
            ("/api/v1/ledger/{index}", self._entry),
            ("/api/v1/ledger/{index}/proof", self._proof),
            ("/api/v1/reconciliation", self._reconciliation),
            ("/api/v1/openapi.json", self._openapi),
        ):
            app.router.add_get(path, self._guarded(handler, _parameters(path)))

    def _guarded(self, handler: Handler, parameters: frozenset[str]) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._gate().admin_admitted(request):
                refused = error(401, "unauthorized", "the admin token is needed")
                refused.headers["WWW-Authenticate"] = "Bearer"
                return refused
            try:
                questions.known(request.query, parameters)
                return await handler(request)
            except BadQuestion as wrong:
                return error(400, "malformed", str(wrong))
            except LedgerError as wrong:
                return error(503, "unavailable", str(wrong))

        return guarded

    def _tenant(self, request: web.Request) -> str:
        return questions.tenant(request.query, self._tenants())

    async def _incidents(self, request: web.Request) -> web.Response:
        query = request.query
        found, following = await self._reader.incidents(
            self._tenant(request),
            before=questions.number(query, "before", INDEX_MAX, 0, INDEX_MAX),
            limit=questions.number(query, "limit", INCIDENTS_DEFAULT, 1, INCIDENTS_MAX),
            states=questions.states(query),
        )
        return web.json_response({"incidents": [view.to_json(timeline=False) for view in found], "next": following})

    async def _incident(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        view = await self._reader.incident(self._tenant(request), name, questions.moment(request.query))
        if view is None:
            return error(404, "unknown", f"there is no incident {questions.shown(name)}")
        return web.json_response(view.to_json(timeline=True))

    async def _why(self, request: web.Request) -> web.Response:
        tenant, name = self._tenant(request), request.match_info["id"]
        view = await self._reader.incident(tenant, name, questions.moment(request.query))
        if view is None:
            return error(404, "unknown", f"there is no incident {questions.shown(name)}")
        return web.json_response({"verdicts": [one.to_json() for one in await self._reader.why(tenant, view)]})

    async def _report(self, request: web.Request) -> web.Response:
        tenant, name = self._tenant(request), request.match_info["id"]
        form = questions.form(request.query)
        found = await self._reader.report(tenant, name, questions.moment(request.query))
        if found is None:
            return error(404, "unknown", f"there is no incident {questions.shown(name)}")
        if form == "json":
            return web.json_response(found.to_json())
        return web.Response(text=markdown(found), content_type="text/markdown", charset="utf-8")

    async def _ledger(self, request: web.Request) -> web.Response:
        query = request.query
        limit = questions.number(query, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
        found, following = await searching.chosen(
            self._reader.journal,
            self._tenant(request),
            after=questions.number(query, "after", -1, -1, INDEX_MAX),
            limit=limit,
            incident=questions.name(query, "incident"),
            stage=questions.stage(query),
            actor=questions.name(query, "actor"),
        )
        return web.json_response({"entries": [entry.to_json() for entry in found], "next": following})

    async def _entry(self, request: web.Request) -> web.Response:
        index = _index(request)
        entry = await self._reader.journal.get(self._tenant(request), index)
        return error(404, "unknown", f"there is no entry {index}") if entry is None else _json(entry.to_json())

    async def _proof(self, request: web.Request) -> web.Response:
        """The entry's place in the tree of the newest checkpoint (RFC 6962, 2.1.1)."""
        index = _index(request)
        proof = await self._reader.proof(self._tenant(request), index)
        if proof is None:
            return error(404, "unknown", f"there is no entry {index} under a checkpoint")
        return _json(
            {
                "index": proof.index,
                "leaf_hash": proof.leaf_hash.hex(),
                "tree_size": proof.tree_size,
                "proof": [step.hex() for step in proof.path],
                "checkpoint": proof.note,
            }
        )

    async def _checkpoint(self, request: web.Request) -> web.Response:
        note = await self._reader.journal.checkpoint(self._tenant(request))
        if note is None:
            return error(404, "unknown", "there is no checkpoint yet")
        return web.Response(text=note, content_type="text/plain", charset="utf-8")

    async def _reconciliation(self, request: web.Request) -> web.Response:
        books = await self._reader.books(self._tenant(request))
        findings = [finding.to_json() for finding in books.findings]
        return _json({"entries": books.size, **books.balance.to_json(), "findings": findings})

    async def _openapi(self, request: web.Request) -> web.Response:
        try:
            release = version("counterfoil")
        except PackageNotFoundError:
            release = "unknown"
        return _json(openapi.document(release))


def _parameters(path: str) -> frozenset[str]:
    """What a query of this address may have, as it is described."""
    return frozenset(one["name"] for one in openapi.paths()[path]["get"]["parameters"] if one["in"] == "query")


def _index(request: web.Request) -> int:
    return questions.number(request.match_info, "index", 0, 0, INDEX_MAX)


def _json(data: object) -> web.Response:
    return web.json_response(data)


def error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
