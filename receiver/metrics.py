"""Every metric, in a registry of its own. No label holds an incident, a person, a number or free text."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from receiver.papers import ExecutionOutcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CALLS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 45, 90)
_STEPS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_HUMAN = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)

SOURCES = ("alertmanager", "grafana", "twilio", "executor")
WEBHOOK_OUTCOMES = ("accepted", "duplicate", "malformed", "unauthorized", "too_large", "busy", "unavailable")
STATES = ("detected", "proposed", "authorized", "executing", "unresolved", "verifying")
PROPOSAL_OUTCOMES = ("proposed", "authorized", "rejected", "expired", "withdrawn")
DRILL_OUTCOMES = ("begun", "approved", "rejected", "expired")
MESSAGE_OUTCOMES = ("sent", "delivered", "undelivered", "read", "digested")
REFUSALS = (
    *("unknown_sender", "suspended", "wrong_code", "no_such_message"),
    *("not_the_recipient", "another_message", "wrong_pin", "not_permitted"),
)
DIAGNOSIS_OUTCOMES = (
    *("diagnosed", "no_key", "timeout", "overloaded", "rate_limited", "spend_limit", "refusal", "truncated"),
    *("bad_answer", "no_claims", "unauthorized", "api_error", "unreachable", "busy", "budget", "not_installed"),
)
INCIDENT_STEPS = ("detect", "notify", "decide", "execute", "recover")  # receiver.incident.times says from what to what
TOKEN_KINDS = ("input", "output", "cache_creation", "cache_read")
EVIDENCE_OUTCOMES = ("value", "no_data", "nan", "many_series", "stale", "unreachable", "error")
OUTSIDE_OUTCOMES = ("placed", "failed")
BOOKS = (
    *("alerts", "watches", "incidents", "diagnoses", "answers", "proposals", "authorizations"),
    *("executions", "suspense", "verifications", "messages", "halts"),
)


class Metrics:
    """The metrics, each under the name that it has in the exposition, without the prefix and without `_total`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = CollectorRegistry()
        c, g, h = self._counter, self._gauge, self._histogram
        self.webhook_requests = c("webhook_requests", "Requests to the intake.", "tenant", "source", "outcome")
        self.alerts_received = c("alerts_received", "Alerts in notifications that were booked.", "tenant", "status")
        self.alerts_unmatched = c("alerts_unmatched", "Alerts that no rule took.", "tenant")
        self.last_notification_timestamp_seconds = g(
            "last_notification_timestamp_seconds", "When the last notification came.", "tenant"
        )
        self.heartbeat_missing = g("heartbeat_missing", "1 while the heartbeat alert is overdue.", "tenant")
        self.duty_vacant = g("duty_vacant", "1 while nobody who can be asked is on duty.", "tenant", "role")
        self.shadow_decisions = c(
            "shadow_decisions", "Verdicts of a candidate beside the policy in force.", "tenant", "rule", "decision"
        )
        self.policy_decisions = c("policy_decisions", "Verdicts of policy.", "tenant", "rule", "decision")
        self.policy_info = g("policy_info", "The policy in force, as labels.", "tenant", "version")
        self.incidents = g("incidents", "Open incidents.", "tenant", "state")
        self.incidents_waiting = g("incidents_waiting", "Detected, and not opened for want of room.", "tenant")
        self.incident_duration_seconds = h("incident_duration_seconds", "From DETECTED to the end.", _HUMAN)
        self.incident_step_seconds = h("incident_step_seconds", "How long each part of incidents took.", _STEPS, "step")
        self.proposals = c("proposals", "Proposals and what became of them.", "tenant", "outcome")
        self.approval_duration_seconds = h("approval_duration_seconds", "From PROPOSED to AUTHORIZED.", _HUMAN)
        self.answers_refused = c("answers_refused", "Answers of people that did not count.", "reason")
        self.messages = c("messages", "Messages to people.", "channel", "outcome")
        self.drills = c("drills", "Drills, which are no incidents.", "tenant", "outcome")
        self.template_approved = g("template_approved", "1 where the carrier approved it.", "template", "language")
        self.diagnoses = c("diagnoses", "Consultations by how they ended.", "outcome")
        self.diagnosis_duration_seconds = h("diagnosis_duration_seconds", "Of one consultation.", _CALLS)
        self.diagnosis_tokens = c("diagnosis_tokens", "Tokens that were used.", "kind")
        self.diagnosis_cost_usd = c("diagnosis_cost_usd", "Cost of diagnoses by the price table.")
        self.executions = c("executions", "Executions by how they ended.", "executor", "outcome")
        self.execution_duration_seconds = h("execution_duration_seconds", "From DISPATCHED to the result.", _CALLS)
        self.evidence_queries = c("evidence_queries", "Queries to Prometheus.", "outcome")
        self.evidence_duration_seconds = h("evidence_duration_seconds", "Of one query to Prometheus.", _FAST)
        self.ledger_entries = c("ledger_entries", "Entries posted.", "tenant")
        self.ledger_append_duration_seconds = h("ledger_append_duration_seconds", "Of one post.", _FAST)
        self.ledger_free_bytes = g("ledger_free_bytes", "Free on the ledger's file system.")
        self.ledger_outstanding = g("ledger_outstanding", "Obligations that nothing has settled.", "tenant", "book")
        self.oldest_outstanding_seconds = g("oldest_outstanding_seconds", "Age of the oldest.", "tenant", "book")
        self.ledger_findings = g("ledger_findings", "Findings of the last reconciliation.", "tenant")
        self.reconcile_last_run_timestamp_seconds = g("reconcile_last_run_timestamp_seconds", "Last reconciliation.")
        self.ledger_last_checkpoint_timestamp_seconds = g(
            "ledger_last_checkpoint_timestamp_seconds", "When the last checkpoint was signed.", "tenant"
        )
        self.outside_anchors = c("outside_anchors", "Checkpoints that were to be placed outside.", "kind", "outcome")
        self.outside_anchor_last_success_timestamp_seconds = g(
            "outside_anchor_last_success_timestamp_seconds",
            "When the newest checkpoint last stood outside.",
            "tenant",
            "kind",
        )
        self.health_ping_last_success_timestamp_seconds = g(
            "health_ping_last_success_timestamp_seconds", "When the outside dead man's switch last took our ping."
        )
        self.halted = g("halted", "1 while a halt is outstanding.", "tenant")
        self.config_last_reload_successful = g("config_last_reload_successful", "1 if the last reload held.")
        self.config_last_reload_success_timestamp_seconds = g(
            "config_last_reload_success_timestamp_seconds", "When the configuration was last taken."
        )
        self.build_info = g("build_info", "The version, as a label.", "version")
        self._start()

    def know_tenant(self, tenant: str) -> None:
        """Begin every known label set of `tenant` at 0."""
        for source in ("alertmanager", "grafana"):
            for outcome in WEBHOOK_OUTCOMES:
                self.webhook_requests.labels(tenant, source, outcome)
        for status in ("firing", "resolved", "unreadable"):
            self.alerts_received.labels(tenant, status)
        for family in (
            self.alerts_unmatched,
            self.ledger_entries,
            self.halted,
            self.ledger_findings,
            self.incidents_waiting,
        ):
            family.labels(tenant)
        for outcome in PROPOSAL_OUTCOMES:
            self.proposals.labels(tenant, outcome)
        for outcome in DRILL_OUTCOMES:
            self.drills.labels(tenant, outcome)
        for state in STATES:
            self.incidents.labels(tenant, state)
        for book in BOOKS:
            self.ledger_outstanding.labels(tenant, book)
            self.oldest_outstanding_seconds.labels(tenant, book)

    def policy_in_force(self, tenant: str, before: str, version: str) -> None:
        """Name the version in force, and no longer the one before it. Other tenants keep theirs."""
        self.policy_info.labels(tenant, before)
        self.policy_info.remove(tenant, before)
        self.policy_info.labels(tenant, version).set(1)

    def know_executor(self, executor: str) -> None:
        for outcome in (ExecutionOutcome.EXECUTED, ExecutionOutcome.FAILED):
            self.executions.labels(executor, outcome.value)
        self.executions.labels(executor, "unresolved")

    def know_outside(self, tenants: Iterable[str], kind: str) -> None:
        """Begin what is counted of an outside place at 0: only those that are configured are to be seen."""
        for outcome in OUTSIDE_OUTCOMES:
            self.outside_anchors.labels(kind, outcome)
        for tenant in tenants:
            self.outside_anchor_last_success_timestamp_seconds.labels(tenant, kind)

    def render(self) -> bytes:
        """The exposition, as Prometheus scrapes it."""
        return generate_latest(self.registry)

    def _start(self) -> None:
        for outcome in ("unauthorized", "busy"):  # for a tenant that there is not
            self.webhook_requests.labels("", "alertmanager", outcome)
        for reason in REFUSALS:
            self.answers_refused.labels(reason)
        for outcome in MESSAGE_OUTCOMES:
            self.messages.labels("whatsapp", outcome)
        for outcome in DIAGNOSIS_OUTCOMES:
            self.diagnoses.labels(outcome)
        for step in INCIDENT_STEPS:
            self.incident_step_seconds.labels(step)
        for kind in TOKEN_KINDS:
            self.diagnosis_tokens.labels(kind)
        for outcome in EVIDENCE_OUTCOMES:
            self.evidence_queries.labels(outcome)
        self.build_info.labels(package_version()).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"counterfoil_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"counterfoil_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"counterfoil_{name}", text, labels, registry=self.registry, buckets=buckets)


def package_version() -> str:
    """The version of the installed distribution, or "unknown" where it runs from a bare tree."""
    try:
        return version("counterfoil")
    except PackageNotFoundError:
        return "unknown"
