"""A small policy to bend, and values to ask it about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from policy_rules.loading import load
from policy_rules.permission import Person
from policy_rules.readings import Alert, Reading, ReadingState
from policy_rules.rulebook import Rulebook

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

POLICY = """\
policy: {name: payments, version: "1.4.0"}
signals:
  error_ratio:
    max_age: 2m
    promql: sum(rate(errors{service="$service"}[5m])) / sum(rate(all{service="$service"}[5m]))
  p95_seconds: {max_age: 2m, promql: 'max(p95{service="$service"})'}
score:
  - {signal: error_ratio, weight: 0.7, good: 0.01, bad: 0.10}
  - {signal: p95_seconds, weight: 0.3, good: 0.5, bad: 2.0}
unmatched: notify
rules:
  - name: checkout-errors
    matchers: ['alertname="HighErrorRate"', 'severity=~"critical|page"']
    group_by: [service]
    detect: {when: [error_ratio >= 0.05], for: 1m, if_unknown: detect, unknown_after: 1m}
    recover: {when: [error_ratio < 0.02], for: 2m}
    evaluate_every: 30s
    actions:
      restart:
        executor: restart
        title: restart the checkout service
        risk: requests in flight are lost
        params: {service: {label: service, allow: [checkout, wallet]}}
        approvers: {roles: [oncall, leads], quorum: 1}
        expires: 15m
        limit: {max: 2, per: 1h, cooldown: 10m}
        blocked_during: [month-end]
        idempotent: false
        verify: {within: 10m}
    escalation: [{after: 0s, notify: ["role:oncall"]}]
time_intervals:
  - name: month-end
    time_intervals:
      - {days_of_month: ['-1'], times: [{start_time: '18:00', end_time: '24:00'}], location: Africa/Harare}
"""

ONCALL = Person("tendai", frozenset({"oncall"}))
LEAD = Person("rudo", frozenset({"leads"}))
GUEST = Person("guest", frozenset({"audit"}))
KEY = {"service": "checkout"}


def policy(*edits: tuple[str, str], text: str = POLICY) -> Rulebook:
    """The small policy with each (old, new) replaced; each old text must stand in it."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return load(text, file="policy.yml", environment={})


def alert(labels: Mapping[str, str] | None = None, *, firing: bool = True, fingerprint: str = "f1") -> Alert:
    found = {"alertname": "HighErrorRate", "severity": "page", "service": "checkout"} if labels is None else labels
    return Alert(fingerprint, found, {}, firing, NOW - timedelta(minutes=5), None if firing else NOW)


def reading(value: str | None, at: datetime = NOW, name: str = "error_ratio", detail: str = "") -> Reading:
    """A reading of `value`; None is a Prometheus that does not answer."""
    state = ReadingState.UNREACHABLE if value is None else ReadingState.VALUE
    return Reading(name, "", state, value, None if value is None else at, at, detail)


def people(*extra: Person) -> Sequence[Person]:
    return (ONCALL, LEAD, GUEST, *extra)
