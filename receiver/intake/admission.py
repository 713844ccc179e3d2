"""Who may post and read, and how much: tokens in constant time, limits by name."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

COOKIE = "counterfoil"
COOKIE_LIFE = timedelta(hours=12)
REQUESTS_AT_ONCE = 256  # on one listener; more are told to come back, never queued without end
BYTES_AT_ONCE = 32 * 1024 * 1024  # of bodies that are being read and booked, over all tenants
BODY_SECONDS = 30.0  # for one body to arrive; whoever is slower holds a place that others need
BAD_TOKENS_PER_MINUTE = 30  # from one address for one tenant or the admin
GOOD_ADDRESS_LIFE = timedelta(hours=24)
ADDRESSES_KEPT = 10_000

# What one tenant may send: far above what an Alertmanager does, far below what fills a disk within the hour.
REQUESTS_PER_SECOND, REQUESTS_IN_A_BURST = 2_000.0, 60_000.0
BYTES_PER_SECOND, BYTES_IN_A_BURST = 1024.0 * 1024, 256.0 * 1024 * 1024

_Kept = TypeVar("_Kept")
ADMIN, NOBODY = "", "?"  # no tenant has these names


class BodyRefused(Exception):
    """The body is not taken. status: what to answer. code: a word for programs and metrics."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def same_secret(expected: str, given: str) -> bool:
    """Equality of two secrets in a time that tells nothing of where they differ, nor of how long they are."""
    first = hashlib.sha256(expected.encode()).digest()
    return hmac.compare_digest(first, hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest())


def presented_secret(header: str | None) -> str | None:
    """The secret of an Authorization header: a bearer token, or the password of basic authentication."""
    kind, _, rest = (header or "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip() or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2] or None
        except (binascii.Error, ValueError):  # not base64, or not text
            return None
    return None


@dataclass(slots=True)
class Bucket:
    """A token bucket: `burst` at once, `per_second` for good."""

    per_second: float
    burst: float
    filled_at: datetime
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, amount: float, now: datetime) -> bool:
        """Take `amount` if anything is left: a bucket may go below zero once, so that no size is refused for ever."""
        passed = max(0.0, (now - self.filled_at).total_seconds())
        self.filled_at = now
        self.level = min(self.burst, self.level + passed * self.per_second)
        if self.level <= 0:
            return False
        self.level -= amount
        return True


@dataclass(slots=True)
class Room:
    """The memory that bodies may take together."""

    bytes_free: int = BYTES_AT_ONCE

    @contextmanager
    def held(self) -> Iterator[Callable[[int], bool]]:
        """A function that takes so many bytes, or says that there is no room; all are given back at the end."""
        taken = 0

        def take(size: int) -> bool:
            nonlocal taken
            if size > self.bytes_free:
                return False
            self.bytes_free -= size
            taken += size
            return True

        try:
            yield take
        finally:
            self.bytes_free += taken


@dataclass(slots=True)
class Admission:
    """Admits tenants by their tokens and admins by the admin token or by a page's cookie."""

    tenant_tokens: Mapping[str, str]
    admin_token: str
    clock: Callable[[], datetime]
    room: Room = field(default_factory=Room)
    _bad: dict[tuple[str, str], list[datetime]] = field(default_factory=dict)
    _good: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _requests: dict[str, Bucket] = field(default_factory=dict)
    _bytes: dict[str, Bucket] = field(default_factory=dict)

    # --- who ---------------------------------------------------------------------------------------------------------

    def tenant_admitted(self, request: web.Request, tenant: str) -> bool:
        """Whether the request bears the token of `tenant`. An unknown tenant takes as long as a wrong token."""
        given = presented_secret(request.headers.get("Authorization"))
        expected = self.tenant_tokens.get(tenant)
        good = same_secret(expected or self.admin_token, given or "") and expected is not None and given is not None
        return self._counted(request, self._whose(tenant), good, guessed=given is not None)

    def admin_admitted(self, request: web.Request) -> bool:
        """Whether the request bears the admin token, or a cookie that the sign-in page gave."""
        cookie = request.cookies.get(COOKIE)
        if cookie is not None and self.cookie_holds(cookie):
            return True
        given = presented_secret(request.headers.get("Authorization"))
        good = given is not None and same_secret(self.admin_token, given)
        return self._counted(request, ADMIN, good, guessed=given is not None)

    def sign_in(self, request: web.Request, token: str) -> str | None:
        """The cookie for whoever knows the admin token; None for everybody else."""
        return self.make_cookie() if self._counted(request, ADMIN, same_secret(self.admin_token, token)) else None

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

    def locked(self, request: web.Request, tenant: str) -> bool:
        """Whether so many wrong tokens for `tenant` came from this address that it is not listened to for now."""
        return self._is_locked((request.remote or "", self._whose(tenant)))

    def _whose(self, tenant: str) -> str:
        return tenant if tenant in self.tenant_tokens else NOBODY

    def _is_locked(self, source: tuple[str, str]) -> bool:
        return len(self._recent(source)) >= BAD_TOKENS_PER_MINUTE

    def _recent(self, source: tuple[str, str]) -> list[datetime]:
        now = self.clock()
        return [at for at in self._bad.get(source, ()) if abs(now - at) < timedelta(minutes=1)]

    def _counted(self, request: web.Request, whose: str, good: bool, *, guessed: bool = True) -> bool:
        """Count bad secrets by address and by whose they should be, so that guessing is slow. No secret is no guess.

        An address that guesses is not admitted at all for a minute. The exception is a tenant's address that a good
        token came from lately: many may share it (a proxy, one machine), and one stale token must not cost the alerts
        of the others. Admins have none: whoever is signed in stays in, and a halt by WhatsApp needs no token.
        """
        now, source = self.clock(), (request.remote or "", whose)
        known = whose != ADMIN and source in self._good and abs(now - self._good[source]) < GOOD_ADDRESS_LIFE
        if not known and self._is_locked(source):
            return False
        if good and whose != ADMIN:
            _keep(self._good, source, now)
        if guessed and not good and not known:
            _keep(self._bad, source, [*self._recent(source), now])
        return good

    # --- how much ----------------------------------------------------------------------------------------------------

    def request_taken(self, tenant: str) -> bool:
        """Count one request of an admitted tenant; False where it sends too many."""
        now = self.clock()
        bucket = self._requests.setdefault(tenant, Bucket(REQUESTS_PER_SECOND, REQUESTS_IN_A_BURST, now))
        return bucket.take(1, now)

    def bytes_taken(self, tenant: str, size: int) -> bool:
        """Count the bytes of one body of an admitted tenant; False where it sends too many."""
        now = self.clock()
        return self._bytes.setdefault(tenant, Bucket(BYTES_PER_SECOND, BYTES_IN_A_BURST, now)).take(size, now)


def _keep(kept: dict[tuple[str, str], _Kept], source: tuple[str, str], value: _Kept) -> None:
    if len(kept) >= ADDRESSES_KEPT and source not in kept:
        kept.clear()
    kept[source] = value


async def bounded_body(
    request: web.Request, limit: int, take: Callable[[int], bool] = lambda size: True, *, seconds: float = BODY_SECONDS
) -> bytes:
    """The body, unpacked where it is compressed, of at most `limit` bytes within `seconds`. Raises BodyRefused.

    The server hands over what it has unpacked in pieces, so a small body that unpacks to a huge one stops here too.
    """
    body = bytearray()
    too_large = BodyRefused(413, "too_large", f"at most {limit} bytes are taken")
    if (request.content_length or 0) > limit:
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_chunked(65_536):
                if len(body) + len(piece) > limit:
                    raise too_large
                if not take(len(piece)):
                    raise BodyRefused(503, "busy", "too much is being read at once")
                body += piece
    except TimeoutError:
        # 503: the network may be better next time, and Alertmanager tries again at once for 5xx alone.
        raise BodyRefused(503, "busy", f"the body did not arrive within {seconds:g} s") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise BodyRefused(400, "malformed", f"the body cannot be read to its end: {type(error).__name__}") from error
    return bytes(body)
