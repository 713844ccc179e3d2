"""A case file as it is kept beside the ledger, written and read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.entry import parse_time
from receiver.governor.desk import stamp
from receiver.papers import CaseFile, Exhibit


def case_bytes(case: CaseFile) -> bytes:
    """The whole case file as it is kept beside the ledger: JSON in ASCII, whatever the text from outside holds."""
    data = {
        "incident_id": case.incident_id,
        "rule": case.rule,
        "summary": case.summary,
        "opened_at": stamp(case.opened_at),
        "labels": dict(case.labels),
        "annotations": dict(case.annotations),
        "alerts": [dict(alert) for alert in case.alerts],
        "exhibits": [_to_json(exhibit) for exhibit in case.exhibits],
        "actions": dict(case.actions),
        "cut": list(case.cut),
        "follow_up": case.follow_up,
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")


def case_of(text: bytes, tenant: str) -> CaseFile:
    """The case file that `case_bytes` wrote."""
    data = json.loads(text)
    exhibits = tuple(
        Exhibit(
            **{
                name: one[name]
                for name in ("ref", "title", "query", "values", "kind", "unit", "labels", "step_seconds")
            },
            taken_at=_time(one["taken_at"]),
            points=tuple(one["points"]),
            since=_time(one["since"]),
        )
        for one in data["exhibits"]
    )
    names = ("incident_id", "rule", "summary", "labels", "annotations", "actions", "follow_up")
    return CaseFile(
        tenant=tenant,
        **{name: data[name] for name in names},
        opened_at=parse_time(data["opened_at"]),
        alerts=tuple(data["alerts"]),
        exhibits=exhibits,
        cut=tuple(data["cut"]),
    )


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def exhibits_text(exhibits: Sequence[Exhibit]) -> str:
    """Exhibits as they are kept beside the ledger, as `case_bytes` writes them; empty where there are none."""
    shown = [_to_json(exhibit) for exhibit in exhibits]
    return json.dumps(shown, sort_keys=True, separators=(",", ":")) if shown else ""


def _to_json(exhibit: Exhibit) -> dict[str, Any]:
    return {
        "ref": exhibit.ref,
        "kind": exhibit.kind,
        "title": exhibit.title,
        "query": exhibit.query,
        "taken_at": stamp(exhibit.taken_at) if exhibit.taken_at else None,
        "values": dict(exhibit.values),
        "unit": exhibit.unit,
        "labels": dict(exhibit.labels),
        "points": list(exhibit.points),
        "since": stamp(exhibit.since) if exhibit.since else None,
        "step_seconds": exhibit.step_seconds,
    }
