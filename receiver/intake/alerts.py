"""POST /alertmanager and /alertmanager/{tenant}: authenticate, read, post RECEIVED, answer after the commit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence

from aiohttp import web

from ledger.entry import Blob, Draft
from ledger.journal import Conflict, Journal, LedgerError
from policy_rules.readings import Alert
from receiver.incident.notification import Malformed, Notification, read_notification
from receiver.intake.admission import Admission, BodyRefused, bounded_body
from receiver.metrics import Metrics

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
PARSE_BESIDE_BYTES = 256 * 1024  # a larger body is read in a thread, so that others are answered meanwhile
RETRY_AFTER_SECONDS = "5"
ERROR_CHARACTERS = 500


class AlertIntake:
    """The handler. A tenant that is not named in the path is "default".

    heard: called with the tenant and its alerts once they are booked, and again for each repetition, which is no entry.
    """

    def __init__(
        self,
        journal: Callable[[], Journal],
        admission: Callable[[], Admission],
        metrics: Metrics,
        heard: Callable[[str, Sequence[Alert]], None] = lambda tenant, alerts: None,
    ) -> None:
        self._journal = journal
        self._admission = admission
        self._metrics = metrics
        self._heard = heard

    async def alerts(self, request: web.Request) -> web.Response:
        """200 after the commit; 400 malformed (set aside), 401, 413, 503 when it cannot be booked or is too much."""
        tenant = request.match_info.get("tenant", "default")
        admission = self._admission()
        if not admission.tenant_admitted(request, tenant):
            return self._not_admitted(request, admission, tenant)
        if not admission.request_taken(tenant):
            return self._busy(tenant, "this tenant sends too many notifications")
        with admission.room.held() as take:
            try:
                body = await bounded_body(request, MAX_BODY_BYTES, take)
            except BodyRefused as refused:
                if refused.status == 503:
                    return self._busy(tenant, str(refused))
                return self._answer(tenant, "alertmanager", refused.status, refused.code, str(refused))
            if not admission.bytes_taken(tenant, len(body)):
                return self._busy(tenant, "this tenant sends too many bytes")
            return await self._take(tenant, body)

    async def _take(self, tenant: str, body: bytes) -> web.Response:
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
        unread = f", {notification.unreadable} unreadable" if notification.unreadable else ""
        draft = Draft(
            id=f"receive:{notification.content_digest}",
            stage="RECEIVED",
            actor="alertmanager",
            reason=f"{len(notification.alerts)} alerts, {firing} firing{unread}",
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
        # Crash here: it is booked and Alertmanager does not know. It sends it again, and that is a duplicate.
        self._metrics.last_notification_timestamp_seconds.labels(tenant).set_to_current_time()
        self._heard(tenant, notification.alerts)
        if not duplicate:
            self._metrics.alerts_received.labels(tenant, "firing").inc(firing)
            self._metrics.alerts_received.labels(tenant, "resolved").inc(resolved)
            self._metrics.alerts_received.labels(tenant, "unreadable").inc(notification.unreadable)
        return self._answer(tenant, notification.source, 200, "duplicate" if duplicate else "accepted", "")

    async def _set_aside(self, tenant: str, body: bytes, why: str) -> web.Response:
        """A body that cannot be read is kept: its digest in the ledger, its bytes as a blob."""
        digest = hashlib.sha256(body).hexdigest()
        draft = Draft(
            id=f"quarantine:{digest}",
            stage="NOTED",
            actor="system",
            reason=f"a notification that cannot be read: {why}"[:ERROR_CHARACTERS],
            body={"kind": "quarantine", "digest": digest, "length": len(body), "error": why[:ERROR_CHARACTERS]},
            blobs=(Blob("payload", body),),
        )
        try:
            await self._journal().post(tenant, [draft])
        except Conflict:
            log.info("tenant %s: %s is set aside already", tenant, digest[:12])
        except LedgerError as error:
            return self._unavailable(tenant, "alertmanager", error)
        log.warning("tenant %s: a notification is set aside as %s: %s", tenant, digest[:12], why)
        return self._answer(tenant, "alertmanager", 400, "malformed", why)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _not_admitted(self, request: web.Request, admission: Admission, tenant: str) -> web.Response:
        """401, the same for a wrong token and for a tenant that there is not."""
        known = tenant if tenant in admission.tenant_tokens else ""
        if admission.locked(request, tenant):
            # 503: a good token may be among those of this address, and its notifications must not be given up.
            answer = self._busy(known, "too many wrong tokens came from this address; wait a minute")
            answer.headers["Retry-After"] = "60"
            return answer
        answer = self._answer(known, "alertmanager", 401, "unauthorized", "the token is not this tenant's")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="counterfoil", Basic realm="counterfoil"'
        return answer

    def _busy(self, tenant: str, why: str) -> web.Response:
        # 503 and never 429: Alertmanager tries again within the flush for the one and not for the other.
        log.warning("tenant %s: a notification is turned away: %s", tenant or "?", why)
        answer = self._answer(tenant, "alertmanager", 503, "busy", why)
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
        return answer

    def _unavailable(self, tenant: str, source: str, error: LedgerError) -> web.Response:
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
