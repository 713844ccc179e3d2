"""Who may post and read, and how much: tokens in constant time, limits by name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

COOKIE = "counterfoil"
COOKIE_LIFE = timedelta(hours=12)
REQUESTS_AT_ONCE = 256  # on one listener; more are told to come back, never queued without end
BAD_TOKENS_PER_MINUTE = 30  # from one address; then even a good token waits for the minute to pass


def same_secret(expected: str, given: str) -> bool:
    """Equality of two secrets in a time that tells nothing of where they differ, nor of how long they are."""
    first = hashlib.sha256(expected.encode()).digest()
    return hmac.compare_digest(first, hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest())


def presented_secret(header: str | None) -> str | None:
    """The secret of an Authorization header: a bearer token, or the password of basic authentication."""
    kind, _, rest = (header or "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip() or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


@dataclass(slots=True)
class Admission:
    """Admits tenants by their tokens and admins by the admin token or by a page's cookie."""

    tenant_tokens: Mapping[str, str]
    admin_token: str
    clock: Callable[[], datetime]
    _bad: dict[str, list[datetime]] = field(default_factory=dict)

    def tenant_admitted(self, request: web.Request, tenant: str) -> bool:
        """Whether the request bears the token of `tenant`. An unknown tenant takes as long as a wrong token."""
        given = presented_secret(request.headers.get("Authorization"))
        expected = self.tenant_tokens.get(tenant)
        good = same_secret(expected or self.admin_token, given or "") and expected is not None and given is not None
        return self._counted(request, good)

    def admin_admitted(self, request: web.Request) -> bool:
        """Whether the request bears the admin token, or a cookie that the sign-in page gave."""
        cookie = request.cookies.get(COOKIE)
        if cookie is not None and self.cookie_holds(cookie):
            return True
        given = presented_secret(request.headers.get("Authorization"))
        return self._counted(request, given is not None and same_secret(self.admin_token, given))

    def sign_in(self, request: web.Request, token: str) -> str | None:
        """The cookie for whoever knows the admin token; None for everybody else."""
        return self.make_cookie() if self._counted(request, same_secret(self.admin_token, token)) else None

    def make_cookie(self) -> str:
        expires = str(int((self.clock() + COOKIE_LIFE).timestamp()))
        return f"{expires}.{self._mac(expires)}"

    def cookie_holds(self, cookie: str) -> bool:
        expires, _, mac = cookie.partition(".")
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        return same_secret(self._mac(expires), mac) and int(expires) > self.clock().timestamp()

    def _mac(self, text: str) -> str:
        return hmac.digest(self.admin_token.encode(), b"cookie:" + text.encode(), "sha256").hex()

    def _counted(self, request: web.Request, good: bool) -> bool:
        """Count bad secrets by address, so that guessing is slow. An address that guesses is not admitted at all."""
        now, peer = self.clock(), request.remote or ""
        recent = [at for at in self._bad.get(peer, ()) if now - at < timedelta(minutes=1)]
        if len(recent) >= BAD_TOKENS_PER_MINUTE:
            self._bad[peer] = recent
            return False
        if good:
            self._bad.pop(peer, None)
            return True
        if len(self._bad) > 10_000:
            self._bad.clear()
        self._bad[peer] = [*recent, now]
        return False
