"""Policy decides: which rule an alert belongs to, whether it is an incident, and whether the incident is over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ledger.entry import Blob, Draft
from ledger.journal import LedgerError
from policy_rules import detection, recovery
from policy_rules.readings import Alert, Query, Reading
from policy_rules.rulebook import Rule, Rulebook
from policy_rules.verdict import Memory, Outcome, Verdict
from receiver.governor.desk import Desk, by_policy, key_text
from receiver.governor.ending import closing_drafts
from receiver.governor.naming import incident_name
from receiver.governor.phrases import kept, of_policy
from receiver.incident.agenda import OPEN_INCIDENTS_MAX, Due
from receiver.incident.assigned import Assigned, is_old_news, write_assigned
from receiver.incident.basis import Decided
from receiver.incident.notification import Malformed, read_notification
from receiver.incident.overflow import KEYS_MAX
from receiver.incident.states import Incident, Key, Watch, key_of
from receiver.papers import words

LOOK_TIMEOUT_SECONDS = 5.0
SHARED_ANSWER_SECONDS = 2.0
HOLD_LOOKS_MAX = 60  # verdicts of a hold that RECOVERED carries; of a longer one the first and the latest


async def evaluate(desk: Desk, due: Due) -> None:
    """EVALUATED: which rule and which key each alert belongs to; WATCHED for each key that is new, up to the limit."""
    entry = desk.book.received[due.subject]
    digest = next(blob.digest for blob in entry.blobs if blob.name == "payload")
    try:
        alerts = read_notification(await desk.journal.blob(desk.tenant, digest) or b"").alerts
    except Malformed:
        # The intake reads with the same function, so this is an older version's body: it settles as nothing.
        alerts = ()
    book, rulebook = desk.book, desk.charter.rulebook
    rows: list[Assigned] = []
    unmatched = 0
    wanted: dict[tuple[str, Key], Alert] = {}
    for alert in alerts:
        if is_old_news(book.alerts.get(alert.fingerprint), alert):
            continue
        assignments = tuple((a.rule, key_of(a.key)) for a in detection.assign(rulebook, alert))
        recorded = detection.recorded_by(rulebook, alert) is not None
        unmatched += not recorded and (not assignments or assignments[0][0] == "unmatched")
        rows.append(Assigned(alert, assignments))
        for rule, key in assignments:
            if alert.firing and _begins(desk, rule, key, alert):
                wanted.setdefault((rule, key), alert)
    drafts = [
        by_policy(
            rulebook,
            id=f"evaluate:{entry.index}",
            stage="EVALUATED",
            decision="matched" if rows and unmatched < len(rows) else "unmatched" if rows else "nothing new",
            reason=f"{len(alerts)} alerts, {len(rows)} new, {len(wanted)} keys to watch",
            settles=entry.index,
            body={
                "alerts": len(alerts),
                "matched": len(rows) - unmatched,
                "unmatched": unmatched,
                "old": len(alerts) - len(rows),
                "over_limit": max(0, len(wanted) - KEYS_MAX),
                "keys": [{"rule": rule, "key": dict(key)} for rule, key in list(wanted)[:100]],
            },
            blobs=(Blob("alerts", write_assigned(rows)),),
        )
    ]
    drafts += [watch_draft(rulebook, rule, key, entry.index) for rule, key in list(wanted)[:KEYS_MAX]]
    await desk.post(*drafts)
    touched = {assignment for row in rows for assignment in row.assignments}
    desk.nudged.update(w.index for w in book.watches.values() if (w.rule, w.key) in touched)
    desk.nudged.update(i.index for i in book.open.values() if (i.rule, i.key) in touched)


def _begins(desk: Desk, rule: str, key: Key, alert: Alert) -> bool:
    """Whether a firing alert of this key begins a watch."""
    return desk.book.watched(rule, key) is None and begins_anew(desk, rule, key, alert)


def begins_anew(desk: Desk, rule: str, key: Key, alert: Alert) -> bool:
    """Whether a firing alert of a key that nobody watches is of no incident, neither an open one nor a closed one."""
    last = desk.book.last_of.get((rule, key))
    if last is None or last.open:
        return last is None
    if last.closed != "CLOSED" or last.closed_at is None:
        return True
    # After a person closed the incident, the same episode does not open it again. What was known of the alert then
    # decides; our clock and Prometheus's are compared only for an alert that was not known yet.
    return alert.starts_at > last.closed_with.get(alert.fingerprint, last.closed_at)


def watch_draft(rulebook: Rulebook, rule: str, key: Key, origin: int) -> Draft:
    return by_policy(
        rulebook,
        id=f"watch:{rule}:{key_digest(rule, key)}:{origin}",
        stage="WATCHED",
        decision="watch",
        reason=f"{rule} {key_text(key)}",
        cites=(origin,),
        body={"rule": rule, "key": dict(key)},
    )


def key_digest(rule: str, key: Key) -> str:
    return hashlib.sha256(repr((rule, key)).encode()).hexdigest()[:12]


async def look(desk: Desk, due: Due) -> None:
    """One look at a watch or an incident; posted when its outcome changes."""
    watch = desk.book.watches.get(due.subject)
    incident = desk.book.by_index.get(due.subject)
    subject = watch or incident
    if subject is None:
        return
    rulebook = desk.policy(subject.policy_digest)
    rule = rulebook.rule(subject.rule)
    readings = await ask(desk, rulebook, rule, subject.key, LOOK_TIMEOUT_SECONDS)
    if due.subject not in desk.book.watches and (incident is None or not incident.open):
        return  # settled while the question was in the air
    now = desk.now()
    memory = desk.memories.get(due.subject, subject.memory)
    alerts = desk.book.alerts_of(subject.rule, subject.key)
    decide = detection.should_detect if watch is not None else recovery.should_recover
    verdict = decide(rulebook, rule, alerts, readings, now, memory)
    desk.looked_at(due.subject, verdict, now)
    _remember(desk, subject, memory, verdict, now)
    decided = Decided(verdict, desk.basis(now, memory, readings))
    if incident is not None:
        desk.decided[incident.index] = decided
    if watch is not None:
        await _watched(desk, watch, rulebook, rule, alerts, decided)
    elif incident is not None and verdict.outcome is Outcome.RECOVER:
        await recover(desk, incident, decided)
    elif incident is not None:
        await _looked(desk, incident.index, incident.id, incident, rulebook, decided, "recover")


async def ask(
    desk: Desk,
    rulebook: Rulebook,
    rule: Rule,
    key: Key,
    timeout_seconds: float,
    fresh_seconds: float = SHARED_ANSWER_SECONDS,
    more: Sequence[Query] = (),
) -> tuple[Reading, ...]:
    """What the rule asks, and what else is wanted; a signal of both is asked once."""
    queries = detection.queries(rulebook, rule, dict(key))
    queries += tuple(query for query in more if query not in queries)
    if not queries:
        return ()
    return await desk.evidence.ask(queries, timeout_seconds=timeout_seconds, fresh_seconds=fresh_seconds)


def _remember(desk: Desk, subject: Watch | Incident, before: Memory, verdict: Verdict, now: datetime) -> None:
    """Keep the verdicts of the hold that runs, so that RECOVERED can show the readings of the whole of it."""
    goes_on = verdict.memory.true_since is not None and verdict.memory.true_since == before.true_since
    if not goes_on:
        desk.holds.pop(subject.index, None)
    if verdict.memory.true_since is not None:
        # After a restart a hold that goes on begins with what the ledger has of it.
        hold = desk.holds.setdefault(subject.index, list(subject.hold) if goes_on else [])
        values = {f.name: f.value if f.value is not None else "unknown" for f in verdict.findings}
        hold.append({"at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "values": values})
        if len(hold) > HOLD_LOOKS_MAX:
            del hold[1]


async def _watched(
    desk: Desk, watch: Watch, rulebook: Rulebook, rule: Rule, alerts: list[Alert], decided: Decided
) -> None:
    if not any(alert.firing for alert in alerts):
        await desk.post(
            by_policy(
                rulebook,
                id=f"clear:{watch.index}",
                stage="CLEARED",
                decision="clear",
                reason=f"{watch.rule}: no alert of {key_text(watch.key)} fires",
                settles=watch.index,
                body={"rule": watch.rule, "key": dict(watch.key), "verdict": decided.to_body()},
            )
        )
    elif decided.verdict.outcome is Outcome.DETECT and _room(desk):
        desk.opening.add(watch.index)
        try:
            await desk.post(_detected(desk, watch, rulebook, rule, alerts, decided))
        except LedgerError:
            desk.opening.discard(watch.index)
            raise
    else:
        await _looked(desk, watch.index, None, watch, rulebook, decided, "detect")


def _room(desk: Desk) -> bool:
    """Whether one more incident may be opened. Looks run beside each other: those under way count."""
    desk.opening &= desk.book.watches.keys()
    return len(desk.book.open) + len(desk.opening) < OPEN_INCIDENTS_MAX


def _detected(desk: Desk, watch: Watch, rulebook: Rulebook, rule: Rule, alerts: list[Alert], decided: Decided) -> Draft:
    firing = sorted((a for a in alerts if a.firing), key=lambda alert: (alert.starts_at, alert.fingerprint))
    first = firing[0]
    summary = first.annotations.get("summary") or first.labels.get("alertname", "alert")
    title = f"{first.labels.get('alertname', rule.name)} {key_text(watch.key)}"[:200]
    again = desk.book.again(rule, watch.key, decided.basis.now)
    title += f" (again, part {again['part']})" if again else ""
    return by_policy(
        rulebook,
        id=f"detect:{watch.index}",
        stage="DETECTED",
        incident_id=incident_id(desk, watch),
        decision="detect",
        reason=f"{rule.name}: {decided.verdict.reason}",
        settles=watch.index,
        cites=(watch.received, again["reopened"]["end"]) if again else (watch.received,),
        body=again
        | {
            "rule": rule.name,
            "key": dict(watch.key),
            "title": title,
            "summary": summary[:300],
            "severity": first.labels.get("severity", "")[:40],
            "firing": len(firing),
            "verdict": decided.to_body(),
            "said": kept(of_policy(decided.verdict.said())),
        },
    )


def incident_id(desk: Desk, watch: Watch) -> str:
    """The same for every replica, and another in every deployment."""
    return incident_name(desk.secret, f"incident:{desk.tenant}:{watch.index}")


async def _looked(
    desk: Desk,
    subject: int,
    incident_id: str | None,
    record: Watch | Incident,
    rulebook: Rulebook,
    decided: Decided,
    purpose: str,
) -> None:
    verdict = decided.verdict
    if verdict.outcome.value == record.outcome:
        return
    body: dict[str, Any] = {"subject": subject, "purpose": purpose, "verdict": decided.to_body()}
    if len(hold := desk.holds.get(subject, [])) > 1:
        body["hold"] = hold  # the look with which it began could not be posted; after a restart it would be lost
    await desk.post(
        by_policy(
            rulebook,
            id=f"look:{subject}:{record.looks}",
            stage="LOOKED",
            incident_id=incident_id,
            decision=verdict.outcome.value,
            reason=f"{record.rule}: {verdict.reason}"[:500],
            cites=(subject,),
            body=body,
        )
    )


async def recover(desk: Desk, incident: Incident, decided: Decided) -> None:
    """RECOVERED, and in the same post everything that was still open because of the incident."""
    rulebook = desk.policy(incident.policy_digest)
    reason = f"{incident.rule}: {decided.verdict.reason}"[:500]
    said = words("by rule", rule=incident.rule, found=of_policy(decided.verdict.said()))
    hold = desk.holds.get(incident.index, [])
    body: Mapping[str, Any] = {"verdict": decided.to_body(), "hold": hold, "said": kept(said)}
    recovered = by_policy(
        rulebook,
        id=f"recover:{incident.index}",
        stage="RECOVERED",
        incident_id=incident.id,
        decision="recover",
        reason=reason,
        settles=incident.index,
        body=body,
    )
    async with desk.deciding():
        if not incident.open:
            return
        drafts = [*closing_drafts(desk, incident, rulebook, reason, confirmed=True), recovered]
        assigned = {rule.name for rule in desk.charter.rulebook.rules} | {"unmatched"}
        # Beside what was asked for by hand an alert has its own watch, or its own incident.
        goes_on = incident.rule in assigned and not incident.requested_by
        if goes_on and any(alert.firing for alert in desk.alerts_of(incident)):
            # An alert often outlives the fault. Repeats of it say nothing new, so the watch must begin here.
            drafts.append(watch_draft(desk.charter.rulebook, incident.rule, incident.key, incident.index))
        await desk.post(*drafts)
