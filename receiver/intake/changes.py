"""POST …/close, …/notes, …/resolutions, …/resumes, /halts and /resumes: what a person changes, by name."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from ledger.journal import Conflict, LedgerError, Receipt
from receiver.intake.admission import Admission, BodyRefused, bounded_body
from receiver.papers import ChangeRefused, UnknownSubject

BODY_BYTES = 16_384
TEXT_CHARACTERS = 2_000
BODY_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
OUTCOMES = ("ran", "did_not_run", "written_off")


class Changes(Protocol):
    """What the governor of a tenant does for a person. Each raises ChangeRefused where it cannot be done."""

    async def close(self, incident_id: str, by: str, reason: str) -> Receipt: ...

    async def note(self, incident_id: str, by: str, text: str) -> Receipt: ...

    async def halt(self, by: str, reason: str) -> Receipt: ...

    async def resume(self, by: str, reason: str) -> Receipt: ...

    async def resume_action(self, action: str, by: str, reason: str) -> Receipt: ...

    async def settle(self, incident_id: str, by: str, outcome: str, text: str) -> Receipt: ...

    async def request(self, by: str, text: str) -> Receipt: ...

    async def erase(self, by: str, person: str) -> Receipt: ...

    async def enrol(self, by: str, person: str) -> tuple[str, Receipt]: ...

    async def suspend(self, by: str, person: str, reason: str) -> Receipt: ...

    async def drill(self, by: str, person: str) -> Receipt: ...


Change = Callable[[Changes, str, Mapping[str, str]], Awaitable[Receipt]]


class Malformed(ValueError):
    """The request's body is not what the address takes."""


class ChangeDesk:
    """The handlers. `changes`: the tenant's own, or None for a tenant that there is not."""

    def __init__(self, changes: Callable[[str], Changes | None], admission: Callable[[], Admission]) -> None:
        self._changes = changes
        self._admission = admission

    async def close(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "reason"), lambda c, i, f: c.close(i, f["by"], f["reason"]))

    async def note(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "text"), lambda c, i, f: c.note(i, f["by"], f["text"]))

    async def resolve(self, request: web.Request) -> web.Response:
        fields = ("by", "outcome", "text")
        return await self._do(request, fields, lambda c, i, f: c.settle(i, f["by"], f["outcome"], f["text"]))

    async def halt(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "reason"), lambda c, i, f: c.halt(f["by"], f["reason"]))

    async def resume(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "reason"), lambda c, i, f: c.resume(f["by"], f["reason"]))

    async def resume_action(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "reason"), lambda c, i, f: c.resume_action(i, f["by"], f["reason"]))

    async def request(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "text"), lambda c, i, f: c.request(f["by"], f["text"]))

    async def erase(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "person"), lambda c, i, f: c.erase(f["by"], f["person"]))

    async def enrol(self, request: web.Request) -> web.Response:
        """The answer holds the word, which no entry does."""
        words: list[str] = []

        async def change(changes: Changes, person: str, given: Mapping[str, str]) -> Receipt:
            word, receipt = await changes.enrol(given["by"], person)
            words.append(f"JOIN {word}")
            return receipt

        return await self._do(request, ("by",), change, lambda: {"text": words[0]})

    async def suspend(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "reason"), lambda c, i, f: c.suspend(f["by"], i, f["reason"]))

    async def drill(self, request: web.Request) -> web.Response:
        return await self._do(request, ("by", "person"), lambda c, i, f: c.drill(f["by"], f["person"]))

    async def _do(
        self,
        request: web.Request,
        fields: tuple[str, ...],
        change: Change,
        more: Callable[[], Mapping[str, str]] = dict,
    ) -> web.Response:
        if not self._admission().admin_admitted(request):
            return not_admitted()
        # A page elsewhere could post a form with the browser's cookie; only JSON is taken, which it cannot send.
        if request.content_type != "application/json":
            return error(415, "not_json", "send application/json")
        if strange := sorted(set(request.query) - {"tenant"}):
            return error(400, "malformed", f"{strange[0][:40]!a} is no parameter of this address: tenant")
        changes = self._changes(request.query.get("tenant", "default"))
        if changes is None:
            return error(404, "unknown_tenant", "there is no such tenant")
        try:
            given = _read(await bounded_body(request, BODY_BYTES, seconds=BODY_SECONDS), fields)
            receipt = await change(changes, request.match_info.get("id", ""), given)
        except BodyRefused as wrong:
            return error(wrong.status, wrong.code, str(wrong))
        except Malformed as wrong:
            return error(400, "malformed", str(wrong))
        except UnknownSubject as wrong:
            return error(404, "unknown", str(wrong))
        except ChangeRefused as wrong:
            return error(409, "refused", str(wrong))
        except Conflict:
            return error(409, "refused", "somebody else did it first, in other words; look again")
        except LedgerError as wrong:
            return error(503, "unavailable", f"it cannot be booked now: {wrong}")
        return web.json_response({"entries": [entry.to_json() for entry in receipt.entries], **more()})


def _read(body: bytes, fields: tuple[str, ...]) -> Mapping[str, str]:
    try:
        data = json.loads(body, object_pairs_hook=_once)
    except Malformed:
        raise
    except (ValueError, RecursionError) as wrong:
        raise Malformed("the body is not JSON") from wrong
    if not isinstance(data, dict) or set(data) != set(fields):
        raise Malformed(f"the body is an object of {', '.join(fields)}")
    for name in fields:
        value = data[name]
        if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CHARACTERS:
            raise Malformed(f"{name} is text of 1 to {TEXT_CHARACTERS} characters")
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise Malformed(f"{name} holds a lone surrogate")
    if not _NAME.fullmatch(data["by"]):
        raise Malformed("by is a name of letters, digits and _ . @ -")
    if data.get("outcome", "ran") not in OUTCOMES:
        raise Malformed(f"outcome is one of {', '.join(OUTCOMES)}")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Malformed("a key stands twice")
    return dict(pairs)


def not_admitted() -> web.Response:
    answer = error(401, "unauthorized", "the admin token is needed")
    answer.headers["WWW-Authenticate"] = 'Bearer realm="counterfoil"'
    return answer


def error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
