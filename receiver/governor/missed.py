"""What Alertmanager knows and we do not: alerts that fired while we were down, and alerts that vanished."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Blob, Draft
from policy_rules import detection
from policy_rules.readings import Alert
from receiver.governor.desk import Desk, by_policy, key_text, stamp
from receiver.incident.assigned import is_old_news
from receiver.incident.basis import Decided
from receiver.incident.notification import MAX_ALERTS, Malformed, read_alert, read_notification

log = logging.getLogger(__name__)

POLL_EVERY = timedelta(minutes=3)
GONE_AFTER = timedelta(minutes=6)  # absent from every Alertmanager for so long, with no resolved: a person is asked


async def compare(desk: Desk, absent_since: dict[str, datetime]) -> None:
    """Receive what fires at Alertmanager and is not known here; note what is gone without a resolved.

    absent_since: when each fingerprint that fires here was first missing there; kept by the caller between calls.
    An answer that is not complete changes nothing: absence is then not known.
    """
    active = await desk.alert_source.active()
    if active is None:
        return
    now = desk.now()
    rows = _readable(desk.tenant, active)
    known = desk.book.alerts
    fresh = [
        raw
        for raw, alert in rows
        if alert.fingerprint not in known
        or (not known[alert.fingerprint].alert.firing and not is_old_news(known[alert.fingerprint], alert))
    ][:MAX_ALERTS]  # the rest is found by the next poll
    if fresh:
        # When it was found: the same alert may be gone and come back, and then it is another finding.
        body = canonical_payload(fresh, found_at=stamp(now))
        seen = read_notification(body)
        await desk.post(
            Draft(
                id=f"receive:{seen.content_digest}",
                stage="RECEIVED",
                actor="alertmanager",
                reason=f"{len(fresh)} alerts found at Alertmanager that were never delivered",
                body={
                    "source": "poll",
                    "receiver": "",
                    "alerts": len(fresh),
                    "firing": len(fresh),
                    "resolved": 0,
                    "truncated": 0,
                },
                blobs=(Blob("payload", body),),
            )
        )
    # What cannot be read is there all the same, under the name that Alertmanager gives it.
    there = {alert.fingerprint for _, alert in rows} | {str(raw.get("fingerprint")) for raw in active}
    here = {fingerprint for fingerprint, row in known.items() if row.alert.firing}
    for fingerprint in set(absent_since) - (here - there):
        del absent_since[fingerprint]
    for fingerprint in here - there:
        absent_since.setdefault(fingerprint, now)
    gone = {f for f, since in absent_since.items() if now - since >= GONE_AFTER}
    await _note_gone(desk, gone)
    await _clear_gone(desk, gone)


def _readable(tenant: str, active: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Alert]]:
    """Each row with its alert. One that cannot be read is logged, and costs none of the others."""
    rows = []
    for raw in active:
        try:
            rows.append((raw, read_alert(raw)))
        except Malformed as error:
            name = str(raw.get("fingerprint"))[:64]
            log.warning("tenant %s: alert %s at Alertmanager cannot be read: %s", tenant, name, error)
    return rows


async def _note_gone(desk: Desk, gone: set[str]) -> None:
    """Absence is not recovery: it may be a silence, or a lost rule. A person is told and may close."""
    for incident in list(desk.book.open.values()):
        mine = {alert.fingerprint for alert in desk.alerts_of(incident) if alert.firing}
        new = sorted((mine & gone) - incident.gone)
        if new and mine <= gone and not desk.book.silences.silent(incident.id, desk.now()):
            await desk.post(
                Draft(
                    id=f"gone:{incident.id}:{desk.book.size}",
                    stage="NOTED",
                    actor="system",
                    incident_id=incident.id,
                    reason="its alerts are gone from every Alertmanager, and no resolved came",
                    body={"kind": "gone", "fingerprints": new[:50]},
                )
            )


async def _clear_gone(desk: Desk, gone: set[str]) -> None:
    """A watch is about an alert. Where none fires anywhere any more, and no incident was made of it, it is over."""
    for watch in list(desk.book.watches.values()):
        alerts = desk.book.alerts_of(watch.rule, watch.key)
        mine = {alert.fingerprint for alert in alerts if alert.firing}
        if mine and mine <= gone:
            rulebook, now = desk.policy(watch.policy_digest), desk.now()
            memory = desk.memories.get(watch.index, watch.memory)
            verdict = detection.should_detect(rulebook, rulebook.rule(watch.rule), alerts, (), now, memory)
            decided = Decided(verdict, desk.basis(now, memory))
            await desk.post(
                by_policy(
                    rulebook,
                    id=f"clear:{watch.index}",
                    stage="CLEARED",
                    decision="clear",
                    reason=f"{watch.rule}: the alerts of {key_text(watch.key)} are gone from every Alertmanager",
                    settles=watch.index,
                    body={
                        "rule": watch.rule,
                        "key": dict(watch.key),
                        "gone": sorted(mine),
                        "verdict": decided.to_body(),
                    },
                )
            )


def canonical_payload(alerts: Any, **more: str) -> bytes:
    rows: list[Mapping[str, Any]] = list(alerts)
    return json.dumps({"version": "4", "status": "firing", "alerts": rows, **more}, sort_keys=True).encode()
