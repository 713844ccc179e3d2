"""Whether the public address leads here: an administrator gets a path that nobody can guess, and asks for it outside.

The path is answered once, within a minute, with words that only this process knows; any other path of that shape is
answered like one that does not exist. So whoever sees the listener learns nothing, and `check --online` learns that
public_url reaches this very process, by whatever proxy stands before it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from receiver.intake.admission import Admission
from receiver.intake.changes import error, not_admitted

PATH = "/twilio/nonce/"
NONCE_SECONDS = 60.0
NONCES_MAX = 16  # that wait at once; one more takes the place of the oldest


@dataclass(slots=True)
class Nonces:
    """monotonic: seconds that never step back."""

    admission: Callable[[], Admission]
    monotonic: Callable[[], float]
    _waiting: dict[str, tuple[str, float]] = field(default_factory=dict)  # nonce → its answer, and until when

    async def make(self, request: web.Request) -> web.Response:
        """POST /api/v1/nonces: a path of the public listener, and what it answers."""
        if not self.admission().admin_admitted(request):
            return not_admitted()
        if request.content_type != "application/json":
            return error(415, "not_json", "send application/json")
        while len(self._waiting) >= NONCES_MAX:
            del self._waiting[next(iter(self._waiting))]
        nonce, answer = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._waiting[nonce] = answer, self.monotonic() + NONCE_SECONDS
        return web.json_response({"path": f"{PATH}{nonce}", "answer": answer})

    async def answer(self, request: web.Request) -> web.Response:
        """GET /twilio/nonce/{nonce} on the public listener."""
        answer, until = self._waiting.pop(request.match_info["nonce"], ("", 0.0))
        if not answer or self.monotonic() > until:
            raise web.HTTPNotFound
        return web.Response(text=answer, headers={"Cache-Control": "no-store"})
