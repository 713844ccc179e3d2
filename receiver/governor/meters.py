"""Metrics of what was decided, counted from the entries themselves so that no figure can disagree with the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ledger.entry import Entry
from policy_rules.verdict import Outcome
from receiver.incident.book import DIGESTED
from receiver.incident.drills import DRILL, OVER
from receiver.metrics import Metrics

if TYPE_CHECKING:
    from receiver.incident.book import Book

REFUSALS = {
    "unknown sender": "unknown_sender",
    "suspended": "suspended",
    "wrong code": "wrong_code",
    "no such message": "no_such_message",
    "not the recipient": "not_the_recipient",
    "another message": "another_message",
    "wrong PIN": "wrong_pin",
    "PIN locked": "wrong_pin",
}


def count(metrics: Metrics, book: Book, entry: Entry) -> None:
    """Count one entry that was posted while this process ran (`book` has folded it already)."""
    tenant = book.tenant
    metrics.ledger_entries.labels(tenant).inc()
    stage, body = entry.stage, entry.body
    if stage == "EVALUATED":
        metrics.alerts_unmatched.labels(tenant).inc(int(body["unmatched"]))
    elif stage in ("DETECTED", "CLEARED", "RECOVERED"):
        rule = str(body.get("rule") or body.get("verdict", {}).get("rule") or "")
        metrics.policy_decisions.labels(tenant, rule, entry.decision or stage.lower()).inc()
    elif stage == "PROPOSED":
        metrics.proposals.labels(tenant, "proposed").inc()
    elif stage in ("AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN"):
        metrics.proposals.labels(tenant, stage.lower()).inc()
    elif stage == "REFUSED":
        metrics.answers_refused.labels(REFUSALS.get(str(body.get("why")), "not_permitted")).inc()
    elif stage in ("SENT", "READ") or stage in ("DELIVERED", "UNDELIVERED"):
        about = book.messages.get(entry.settles if entry.settles is not None else int(body["message"]))
        if about is not None:
            metrics.messages.labels(about.channel, DIGESTED if entry.decision == DIGESTED else stage.lower()).inc()
    elif stage == "NOTED" and body.get("kind") in (DRILL, OVER):
        metrics.drills.labels(tenant, str(body.get("outcome", "begun"))).inc()
    elif stage in ("DIAGNOSED", "UNDIAGNOSED"):
        _diagnosis(metrics, entry)


def _diagnosis(metrics: Metrics, entry: Entry) -> None:
    outcome = "diagnosed" if entry.stage == "DIAGNOSED" else str(entry.body["outcome"])
    metrics.diagnoses.labels(outcome).inc()
    metrics.diagnosis_duration_seconds.observe(int(entry.body["duration_ms"]) / 1000)
    usage = entry.body["usage"]
    for kind in ("input", "output", "cache_creation", "cache_read"):
        metrics.diagnosis_tokens.labels(kind).inc(int(usage[f"{kind}_tokens"]))
    metrics.diagnosis_cost_usd.inc(float(usage["cost_usd"]))


def durations(metrics: Metrics, book: Book, entry: Entry) -> None:
    """How long it took: observed once, when the entry that ends it is folded (`book` has folded it already)."""
    incident = book.incidents.get(entry.incident_id or "")
    for took in incident.times.ended_by(entry.index) if incident is not None else ():
        metrics.incident_step_seconds.labels(took.step).observe(took.seconds)
    if entry.stage in ("RECOVERED", "CLOSED") and entry.settles in book.by_index:
        opened = book.by_index[entry.settles].opened_at
        metrics.incident_duration_seconds.observe((entry.timestamp - opened).total_seconds())
    elif entry.stage == "AUTHORIZED" and entry.settles in book.proposals:
        proposed = book.proposals[entry.settles].proposed_at
        metrics.approval_duration_seconds.observe((entry.timestamp - proposed).total_seconds())
    elif entry.stage in ("EXECUTED", "FAILED", "UNRESOLVED"):
        asked = incident.proposals if incident is not None else ()
        proposal = next((p for p in asked if p.result_index == entry.index), None)
        if proposal is not None and proposal.dispatched_at is not None:
            ran = (entry.timestamp - proposal.dispatched_at).total_seconds()
            metrics.execution_duration_seconds.observe(ran)
            metrics.executions.labels(str(proposal.body["executor"]), entry.stage.lower()).inc()


def gauges(metrics: Metrics, book: Book, now: datetime) -> None:
    """What is open now, by state and by book."""
    tenant = book.tenant
    states = dict.fromkeys(("detected", "proposed", "authorized", "executing", "unresolved", "verifying"), 0)
    for incident in book.open.values():
        states[incident.state.value] += 1
    for state, number in states.items():
        metrics.incidents.labels(tenant, state).set(number)
    waiting = sum(watch.outcome == Outcome.DETECT.value for watch in book.watches.values())
    metrics.incidents_waiting.labels(tenant).set(waiting)
    metrics.halted.labels(tenant).set(1 if book.halted() else 0)
    for name, times in outstanding(book).items():
        metrics.ledger_outstanding.labels(tenant, name).set(len(times))
        oldest = (now - min(times)).total_seconds() if times else 0.0
        metrics.oldest_outstanding_seconds.labels(tenant, name).set(max(0.0, oldest))


def outstanding(book: Book) -> dict[str, list[datetime]]:
    """When each outstanding obligation was opened, by book."""
    opened = book.open.values()
    asked = [i.last for i in opened if i.last is not None]
    return {
        "alerts": [e.timestamp for e in book.received.values()],
        "watches": [w.since for w in book.watches.values()],
        "incidents": [i.opened_at for i in opened],
        "diagnoses": [incident.opened_at for incident, _ in book.consultations.values()],
        "answers": [h.at for h in book.heard.values()],
        "proposals": [p.proposed_at for p in asked if p.open],
        "authorizations": [p.proposed_at for p in book.authorizations.values()],
        "executions": [p.dispatched_at or p.proposed_at for p in book.executions.values()],
        "suspense": [p.dispatched_at or p.proposed_at for p in book.suspense.values()],
        "verifications": [p.dispatched_at or p.proposed_at for p in book.verifications.values()],
        "messages": [m.addressed_at for m in book.unsettled_messages.values()],
        "halts": [book.last_time for _ in book.halts if book.last_time is not None],
    }
