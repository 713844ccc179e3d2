"""What the outages' stories are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from tests.outages import Cause, Outage
from tests.outages.town import ALERT, SERVICES, Scene, Town

RUNBOOK_SEVERITY = "critical"


def errors(service: str) -> str:
    """PromQL: the share of requests that fail."""
    failed = f'sum(rate(http_requests_total{{service="{service}",code=~"5.."}}[2m]))'
    return f'{failed} / sum(rate(http_requests_total{{service="{service}"}}[2m]))'


def slowness(service: str) -> str:
    """PromQL: the mean seconds of a request."""
    spent = f'sum(rate(http_request_duration_seconds_sum{{service="{service}"}}[2m]))'
    return f'{spent} / sum(rate(http_request_duration_seconds_count{{service="{service}"}}[2m]))'


def cause(metric: str, **labels: str) -> Cause:
    """An acceptable answer."""
    return Cause(metric, labels)


def outage(
    name: str,
    story: str,
    *,
    alert: tuple[str, str],
    alert_at: datetime,
    begins: float,
    symptom: str,
    causes: tuple[Cause, ...],
    play: Callable[[Town], None],
    step: int = 30,
) -> Outage:
    """alert: its name and its service; begins: seconds into the window; play: puts the outage into an ordinary day."""

    def lines() -> Iterator[str]:
        town = Town(Scene(name, alert_at, step))
        play(town)
        return town.lines()

    alertname, service = alert
    labels = {
        "alertname": alertname,
        "severity": RUNBOOK_SEVERITY,
        "service": service,
        "namespace": SERVICES[service][0],
    }
    started_at = alert_at - timedelta(seconds=ALERT - begins)
    return Outage(name, story, started_at, alert_at, labels, symptom, causes, lines)
