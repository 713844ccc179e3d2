"""An outage of tests/outages in a real Prometheus, and a governor whose alert says that it began."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp

from ledger.entry import Blob, Draft, Entry
from receiver.evidence.prometheus import Prometheus
from receiver.papers import Exhibit, Gathered, Inquiry
from receiver.rehearsal.outside import CaseClock
from tests.outages import Cause, Outage
from tests.receiver.governed import Governed

GATHER_SECONDS = 30.0  # of a test's patience; the service has less
POLICY = """\
policy: {{name: p, version: '1'}}
signals: {{symptom: {{max_age: 5m, promql: '{symptom}'}}}}
rules:
  - name: broken
    matchers: ['alertname="{alertname}"']
    group_by: [service]
    detect: {{when: [alerts.firing >= 1]}}
    recover: {{when: [symptom < 0.0001]}}
    diagnosis_wait: 10s
    actions:
      restart: {{executor: restart, title: restart the service, approvers: {{roles: [oncall]}}}}
"""


@asynccontextmanager
async def asking(url: str, clock: CaseClock) -> AsyncIterator[Prometheus]:
    """The evidence office as the service has it."""
    async with aiohttp.ClientSession() as session:
        yield Prometheus(url=url, session=lambda: session, clock=clock.now)


def inquiry_of(outage: Outage) -> Inquiry:
    return Inquiry(outage.alert_at, outage.labels, (outage.labels["alertname"],), {"symptom": outage.symptom})


async def gathered(outage: Outage, url: str) -> Gathered:
    async with asking(url, CaseClock(outage.alert_at)) as office:
        return await office.around(inquiry_of(outage), timeout_seconds=GATHER_SECONDS)


def is_cause(exhibit: Exhibit, cause: Cause) -> bool:
    """Whether a candidate is of that metric, which its title names, and bears those labels."""
    named = re.search(rf"(?<!\w){re.escape(cause.metric)}(?!\w)", exhibit.title) is not None
    return named and cause.labels.items() <= exhibit.labels.items()


def rank_of(outage: Outage, found: Gathered) -> int | None:
    """The place of the first right answer among the candidates, from 1; None where it is not there."""
    ranks = (at for at, one in enumerate(found.candidates, 1) if any(is_cause(one, cause) for cause in outage.cause))
    return next(ranks, None)


@asynccontextmanager
async def opened(outage: Outage, url: str) -> AsyncIterator[Governed]:
    """A governor with the incident that the outage's alert opened, and Claude who does not answer."""
    clock = CaseClock(outage.alert_at)
    policy = POLICY.format(symptom=outage.symptom.replace("'", "''"), alertname=outage.labels["alertname"])
    governed = Governed(policy, clock=clock)
    async with asking(url, clock) as office:
        governed.desk.evidence = office
        await governed.governor.start()
        await governed.desk.post(received(outage.labels, outage.alert_at))
        try:
            while not governed.entries("CONSULTED"):
                await governed.governor.turn()
                await asyncio.gather(*[task for name, task in governed.governor._running.items() if "look" in name])
                await asyncio.sleep(0.01)  # the office asks a real server
            yield governed
        finally:
            for task in governed.governor._running.values():
                task.cancel()
            await governed.governor.drain()


async def consulted(outage: Outage, url: str) -> tuple[Entry, dict[str, Any]]:
    """The CONSULTED of that incident, and the case file as it stands in the ledger."""
    async with opened(outage, url) as governed:
        (entry,) = governed.entries("CONSULTED")
    digest = next(blob.digest for blob in entry.blobs if blob.name == "case")
    return entry, json.loads(await governed.journal.blob("default", digest) or b"")


def received(labels: Any, at: datetime) -> Draft:
    alert = {
        "status": "firing",
        "labels": dict(labels),
        "annotations": {"summary": "it is broken"},
        "startsAt": at.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "0" * 16,
    }
    payload = json.dumps({"version": "4", "receiver": "counterfoil", "alerts": [alert]}).encode()
    body = {"source": "alertmanager", "receiver": "counterfoil", "alerts": 1, "firing": 1, "resolved": 0}
    body |= {"truncated": 0, "unreadable": []}
    return Draft(id="receive:1", stage="RECEIVED", actor="alertmanager", body=body, blobs=(Blob("payload", payload),))
