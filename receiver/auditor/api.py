"""GET /api/v1/…: what programs read. Every answer is made from the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from aiohttp import web

from ledger import merkle, reconcile
from ledger.entry import Entry
from ledger.journal import Journal, LedgerError
from receiver.auditor import reading
from receiver.auditor.reading import BadQuestion

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
PATHS = {
    "/api/v1/incidents": "incidents and their states",
    "/api/v1/incidents/{id}": "one incident with its timeline; ?at= an index or a time: as it stood then",
    "/api/v1/ledger": "entries after=, limit=, incident=, stage=, actor=; `next` for the next page",
    "/api/v1/ledger/{index}": "one entry",
    "/api/v1/ledger/{index}/proof": "its inclusion proof",
    "/api/v1/ledger/checkpoint": "the newest signed note",
    "/api/v1/reconciliation": "trial balance and findings",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate(Protocol):
    def admin_admitted(self, request: web.Request) -> bool: ...


class Api:
    """The handlers. journal: read only. tenants: their names."""

    def __init__(self, journal: Journal, gate: Callable[[], Gate], tenants: Callable[[], list[str]]) -> None:
        self._journal = journal
        self._gate = gate
        self._tenants = tenants

    def add_routes(self, app: web.Application) -> None:
        for path, handler in (
            ("/api/v1/incidents", self._incidents),
            ("/api/v1/incidents/{id}", self._incident),
            ("/api/v1/ledger", self._ledger),
            ("/api/v1/ledger/checkpoint", self._checkpoint),
            (r"/api/v1/ledger/{index:\d{1,15}}", self._entry),
            (r"/api/v1/ledger/{index:\d{1,15}}/proof", self._proof),
            ("/api/v1/reconciliation", self._reconciliation),
            ("/api/v1/openapi.json", self._openapi),
        ):
            app.router.add_get(path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._gate().admin_admitted(request):
                return _error(401, "unauthorized", "the admin token is needed")
            try:
                return await handler(request)
            except BadQuestion as wrong:
                return _error(400, "malformed", str(wrong))
            except LedgerError as wrong:
                return _error(503, "unavailable", str(wrong))

        return guarded

    def _tenant(self, request: web.Request) -> str:
        tenant = request.query.get("tenant", "default")
        if tenant not in self._tenants():
            raise BadQuestion(f"tenant: there is no tenant {tenant[:40]!r}")
        return tenant

    async def _incidents(self, request: web.Request) -> web.Response:
        found = await reading.incidents(self._journal, self._tenant(request))
        return web.json_response({"incidents": [view.to_json(timeline=False) for view in found]})

    async def _incident(self, request: web.Request) -> web.Response:
        name, at = request.match_info["id"], request.query.get("at")
        view = await reading.incident(self._journal, self._tenant(request), name, at)
        if view is None:
            return _error(404, "unknown", f"there is no incident {name[:40]}")
        return web.json_response(view.to_json(timeline=True))

    async def _ledger(self, request: web.Request) -> web.Response:
        query = request.query
        limit = number(query.get("limit"), "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
        found = await self._journal.entries(
            self._tenant(request),
            after=number(query.get("after"), "after", -1, -1, 2**53),
            limit=limit,
            incident=query.get("incident"),
            stage=query.get("stage"),
            actor=query.get("actor"),
        )
        following = found[-1].index if len(found) == limit else None
        return web.json_response({"entries": [entry.to_json() for entry in found], "next": following})

    async def _find(self, request: web.Request) -> Entry | None:
        return await self._journal.get(self._tenant(request), int(request.match_info["index"]))

    async def _entry(self, request: web.Request) -> web.Response:
        entry = await self._find(request)
        if entry is None:
            return _error(404, "unknown", f"there is no entry {request.match_info['index']}")
        return web.json_response(entry.to_json())

    async def _proof(self, request: web.Request) -> web.Response:
        """The entry's place in the tree of the newest checkpoint."""
        tenant = self._tenant(request)
        note = await self._journal.checkpoint(tenant)
        size = int(note.split("\n")[1]) if note else 0
        index = int(request.match_info["index"])
        if index >= size:
            return _error(404, "unknown", f"there is no entry {index}")
        entries = (await reading.all_entries(self._journal, tenant))[:size]
        leaves = [merkle.leaf_hash(entry.raw) for entry in entries]
        proof = [step.hex() for step in merkle.inclusion_proof(leaves, index)]
        return web.json_response(
            {"index": index, "leaf_hash": leaves[index].hex(), "tree_size": size, "proof": proof, "checkpoint": note}
        )

    async def _checkpoint(self, request: web.Request) -> web.Response:
        note = await self._journal.checkpoint(self._tenant(request))
        return web.Response(text=note or "", content_type="text/plain", charset="utf-8")

    async def _reconciliation(self, request: web.Request) -> web.Response:
        entries = await reading.all_entries(self._journal, self._tenant(request))
        balance = reconcile.trial_balance(entries).to_json()
        findings = [finding.to_json() for finding in reconcile.findings(entries)]
        return web.json_response({**balance, "findings": findings})

    async def _openapi(self, request: web.Request) -> web.Response:
        try:
            number_of_version = version("counterfoil")
        except PackageNotFoundError:
            number_of_version = "unknown"
        answer = {"200": {"description": "as described"}, "401": {"description": "the admin token is needed"}}
        paths: dict[str, Any] = {
            path: {
                "get": {
                    "summary": text,
                    "security": [{"admin": []}],
                    "parameters": [
                        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
                        for part in path.split("/")
                        if part.startswith("{")
                    ],
                    "responses": answer,
                }
            }
            for path, text in PATHS.items()
        }
        return web.json_response(
            {
                "openapi": "3.0.3",
                "info": {"title": "Counterfoil", "version": number_of_version},
                "components": {"securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}}},
                "paths": paths,
            }
        )


def number(text: str | None, name: str, default: int, low: int, high: int) -> int:
    """A parameter that is a whole number. Raises BadQuestion."""
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 16 or not low <= int(text) <= high:
        raise BadQuestion(f"{name}: {text[:40]!r} is not a number from {low} to {high}")
    return int(text)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
