"""POST /alertmanager and /alertmanager/{tenant}: authenticate, read, post RECEIVED, answer after the commit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import zlib
from collections.abc import Callable

from aiohttp import web

from ledger.entry import Blob, Draft
from ledger.journal import Conflict, Journal, LedgerError
from receiver.incident.notification import Malformed, Notification, read_notification
from receiver.intake.admission import Admission
from receiver.metrics import Metrics

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
PARSE_BESIDE_BYTES = 256 * 1024  # a larger body is read in a thread, so that others are answered meanwhile
RETRY_AFTER_SECONDS = "5"


class AlertIntake:
    """The handler. A tenant that is not named in the path is "default"."""

    def __init__(self, journal: Callable[[], Journal], admission: Callable[[], Admission], metrics: Metrics) -> None:
        self._journal = journal
        self._admission = admission
        self._metrics = metrics

    async def alerts(self, request: web.Request) -> web.Response:
        """200 after the commit; 400 malformed (set aside), 401, 413, 503 when it cannot be booked."""
        tenant = request.match_info.get("tenant", "default")
        if not self._admission().tenant_admitted(request, tenant):
            return self._answer("", "alertmanager", 401, "unauthorized", "the bearer token is not this tenant's")
        try:
            body = await bounded_body(request, MAX_BODY_BYTES)
        except web.HTTPRequestEntityTooLarge:
            return self._answer(tenant, "alertmanager", 413, "too_large", f"at most {MAX_BODY_BYTES} bytes are taken")
        except Malformed as error:
            return self._answer(tenant, "alertmanager", 400, "malformed", str(error))
        try:
            notification = await _read(body)
        except Malformed as error:
            return await self._set_aside(tenant, body, str(error))
        if not notification.alerts:
            return self._answer(tenant, notification.source, 200, "accepted", "")
        return await self._book(tenant, body, notification)

    async def _book(self, tenant: str, body: bytes, notification: Notification) -> web.Response:
        firing = sum(alert.firing for alert in notification.alerts)
        resolved = len(notification.alerts) - firing
        draft = Draft(
            id=f"receive:{notification.content_digest}",
            stage="RECEIVED",
            actor="alertmanager",
            reason=f"{len(notification.alerts)} alerts, {firing} firing",
            body={
                "source": notification.source,
                "receiver": notification.receiver,
                "alerts": len(notification.alerts),
                "firing": firing,
                "resolved": resolved,
                "truncated": notification.truncated,
                "unreadable": list(notification.bad_alerts),
            },
            blobs=(Blob("payload", body),),
        )
        try:
            receipt = await self._journal().post(tenant, [draft])
            duplicate = receipt.duplicate
        except Conflict:
            # The same content from another peer of the cluster: only externalURL differs.
            duplicate = True
        except LedgerError as error:
            return self._unavailable(tenant, notification.source, error)
        self._metrics.last_notification_timestamp_seconds.labels(tenant).set_to_current_time()
        if not duplicate:
            self._metrics.alerts_received.labels(tenant, "firing").inc(firing)
            self._metrics.alerts_received.labels(tenant, "resolved").inc(resolved)
        return self._answer(tenant, notification.source, 200, "duplicate" if duplicate else "accepted", "")

    async def _set_aside(self, tenant: str, body: bytes, why: str) -> web.Response:
        """A body that cannot be read is kept: its digest in the ledger, its bytes as a blob."""
        digest = hashlib.sha256(body).hexdigest()
        draft = Draft(
            id=f"quarantine:{digest}",
            stage="NOTED",
            actor="system",
            reason=f"a notification that cannot be read: {why}"[:500],
            body={"kind": "quarantine", "digest": digest, "length": len(body), "error": why[:500]},
            blobs=(Blob("payload", body),),
        )
        try:
            await self._journal().post(tenant, [draft])
        except Conflict:
            log.info("tenant %s: %s is set aside already", tenant, digest[:12])
        except LedgerError as error:
            return self._unavailable(tenant, "alertmanager", error)
        return self._answer(tenant, "alertmanager", 400, "malformed", why)

    def _unavailable(self, tenant: str, source: str, error: LedgerError) -> web.Response:
        # 503 and never 429: Alertmanager tries again within the flush for the one and not for the other.
        log.error("tenant %s: a notification could not be booked: %s", tenant, error)
        answer = self._answer(tenant, source, 503, "unavailable", f"it cannot be booked now: {error}")
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
        return answer

    def _answer(self, tenant: str, source: str, status: int, code: str, message: str) -> web.Response:
        self._metrics.webhook_requests.labels(tenant, source, code).inc()
        if status == 200:
            return web.json_response({"status": code})
        return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def _read(body: bytes) -> Notification:
    if len(body) > PARSE_BESIDE_BYTES:
        return await asyncio.to_thread(read_notification, body)
    return read_notification(body)


async def bounded_body(request: web.Request, limit: int) -> bytes:
    """The body, unpacked where it is gzip or deflate, at most `limit` bytes. Raises HTTPRequestEntityTooLarge.

    The server hands over what it has unpacked in pieces, so a small body that unpacks to a huge one stops here too.
    """
    parts, size = [], 0
    try:
        async for chunk in request.content.iter_chunked(65_536):
            size += len(chunk)
            if size > limit:
                raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
            parts.append(chunk)
    except (zlib.error, web.PayloadAccessError, web.RequestPayloadError) as error:
        raise Malformed(f"the body cannot be unpacked: {type(error).__name__}") from error
    return b"".join(parts)
