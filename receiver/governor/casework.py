"""The case file: what was going on around an incident, gathered before anybody is asked to explain it.

It is made for Claude and for people alike: where no model answers, what moved first is the message. Law 2: nothing in
it decides anything, and nothing waits for it beyond the rule's `diagnosis_wait`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from policy_rules import detection
from policy_rules.readings import Alert, Reading
from policy_rules.rulebook import Rule, Rulebook
from policy_rules.signals import labels_of, substitute_labels
from receiver.diagnosis.text import clean, storable
from receiver.governor import wording
from receiver.governor.desk import Desk, stamp
from receiver.governor.phrases import ENGLISH, kept, said
from receiver.governor.watching import LOOK_TIMEOUT_SECONDS, ask
from receiver.incident.consulting import Consultation
from receiver.incident.past import Former
from receiver.incident.states import Incident
from receiver.papers import CaseFile, Exhibit, Gathered, Inquiry, Words, words

CASE_SECONDS = 6.0  # for the whole of it
ALERTS_SHOWN_MAX = 20
OTHER_ALERTS_MAX = 6
MOVED_SHOWN_MAX = 5
ITEMS_MAX = 60
CUT_SHOWN_MAX = 10
NAME_CHARACTERS = 80
TEXT_CHARACTERS = 300
# Annotations by which whoever wrote the alert's rule says what was deployed.
DEPLOY_ANNOTATIONS = ("deploy", "deployment", "deployed_at", "release", "version", "revision", "commit", "change")


async def case_file(desk: Desk, incident: Incident) -> CaseFile:
    """All that is known of the incident now, each item under its name, q1 to qN."""
    rulebook = desk.policy(incident.policy_digest)
    rule = rulebook.rule(incident.rule)
    alerts = sorted(desk.alerts_of(incident), key=lambda alert: (alert.starts_at, alert.fingerprint))
    inquiry, missing = _inquiry(desk, rulebook, rule, incident, alerts)
    around = asyncio.create_task(_around(desk, inquiry))
    try:
        readings = await ask(desk, rulebook, rule, incident.key, LOOK_TIMEOUT_SECONDS)
        gathered = await around
    finally:
        around.cancel()
    exhibits = [
        _finding(incident),
        *_tried(incident),
        *(_signal(reading, gathered.signals.get(reading.name)) for reading in readings),
        *gathered.candidates,
        *gathered.rules,
        *gathered.deploys,
        *_annotated(alerts, inquiry.at),
        *_others(desk, incident, gathered),
        *(_former(one) for one in desk.book.past(incident)),
        *_standing(desk, incident),
    ]
    first = alerts[0] if alerts else None
    return CaseFile(
        tenant=desk.tenant,
        incident_id=incident.id,
        rule=rule.name,
        summary=incident.summary,
        opened_at=incident.opened_at,
        labels=dict(first.labels) if first else {},
        annotations=dict(first.annotations) if first else {},
        alerts=tuple(
            {"labels": dict(a.labels), "firing": a.firing, "starts_at": stamp(a.starts_at)}
            for a in alerts[:ALERTS_SHOWN_MAX]
        ),
        exhibits=tuple(replace(one, ref=f"q{number}") for number, one in enumerate(exhibits, 1)),
        actions={name: action.title for name, action in rule.actions.items()},
        cut=(*(said(ENGLISH, one) for one in missing), *gathered.cut),
        left_out=(*missing, *gathered.left_out),
        follow_up=any(proposal.did_not_help for proposal in incident.proposals),
        spent_usd=str(sum((_cost(one) for one in incident.consultations), Decimal(0))),
    )


async def _around(desk: Desk, inquiry: Inquiry) -> Gathered:
    return await desk.evidence.around(inquiry, timeout_seconds=CASE_SECONDS)


def _cost(consultation: Consultation) -> Decimal:
    usage = consultation.body.get("usage")
    return Decimal(str(usage.get("cost_usd") or 0)) if isinstance(usage, Mapping) else Decimal(0)


def _inquiry(
    desk: Desk, rulebook: Rulebook, rule: Rule, incident: Incident, alerts: Sequence[Alert]
) -> tuple[Inquiry, list[Words]]:
    """What is looked up; and what is not, because the incident has no label that it names."""
    shared = dict(incident.key)
    for one in alerts[:1]:
        shared |= {n: v for n, v in one.labels.items() if all(a.labels.get(n) == v for a in alerts)}
    found: dict[str, list[str]] = {"candidates": [], "deploys": []}
    missing: list[Words] = []
    for kind, wanted in (("candidates", desk.candidates), ("deploys", desk.deploys)):
        for promql in wanted:
            absent = sorted(labels_of(promql) - shared.keys())
            if absent:
                named = {"kind": kind, "promql": promql[:NAME_CHARACTERS], "labels": ", ".join(absent)}
                missing.append(words("no such label", **named))
            else:
                found[kind].append(substitute_labels(promql, shared))
    inquiry = Inquiry(
        at=desk.now(),
        labels=shared,
        alertnames=tuple(dict.fromkeys(a.labels["alertname"] for a in alerts if a.labels.get("alertname"))),
        signals={query.name: query.promql for query in detection.queries(rulebook, rule, dict(incident.key))},
        candidates=tuple(found["candidates"]),
        deploys=tuple(found["deploys"]),
    )
    return inquiry, missing


# --- the exhibits that come from the ledger -------------------------------------------------------------------------


def _finding(incident: Incident) -> Exhibit:
    return Exhibit("", "what policy found", "", incident.opened_at, {"now": incident.reason}, kind="finding")


def _tried(incident: Incident) -> list[Exhibit]:
    """What was done in this incident and did not help, the newest last."""
    return [
        Exhibit(
            "",
            f"tried and did not help: {proposal.body['title']}",
            "",
            proposal.dispatched_at,
            {"action": str(proposal.body["action"]), "result": str(proposal.verified or proposal.result).lower()},
            kind="tried",
        )
        for proposal in incident.proposals
        if proposal.did_not_help
    ]


def _signal(reading: Reading, over_time: Exhibit | None) -> Exhibit:
    """What policy reads now, by policy's own reading, and how it went before."""
    now = reading.value if reading.value is not None else f"unknown ({reading.state.value})"
    taken = reading.sampled_at or reading.asked_at
    if over_time is None:
        return Exhibit("", reading.name, reading.promql, taken, {"now": now})
    return replace(over_time, taken_at=taken, values={**over_time.values, "now": now})


def _annotated(alerts: Sequence[Alert], at: datetime) -> list[Exhibit]:
    said = {(n, a.annotations[n]): None for a in alerts for n in DEPLOY_ANNOTATIONS if a.annotations.get(n)}
    return [
        Exhibit("", f"the alert's annotation {name}", "", at, {"says": clean(text, TEXT_CHARACTERS)}, kind="deploy")
        for name, text in list(said)[:3]
    ]


def _others(desk: Desk, incident: Incident, gathered: Gathered) -> list[Exhibit]:
    """Other alerts that fire, as Alertmanager told us and as Prometheus has them; the same one once."""
    own = {alert.fingerprint for alert in desk.alerts_of(incident)}
    known = [k.alert for f, k in desk.book.alerts.items() if k.alert.firing and f not in own]
    known.sort(key=lambda alert: (abs(alert.starts_at - incident.opened_at), alert.fingerprint))
    told = [
        Exhibit(
            "",
            f"another alert fires: {alert.labels.get('alertname', 'no name')}",
            "",
            incident.opened_at,
            {"firing_since": alert.starts_at.isoformat(timespec="seconds")},
            kind="alert",
            labels={name: value for name, value in alert.labels.items() if name != "alertname"},
        )
        for alert in known[:OTHER_ALERTS_MAX]
    ]
    # What Alertmanager was told carries the server's external labels beside those that the server shows itself.
    seen = [
        one
        for one in gathered.alerts
        if not any(one.title == two.title and one.labels.items() <= two.labels.items() for two in told)
    ]
    return [*told, *seen][:OTHER_ALERTS_MAX]


def _former(former: Former) -> Exhibit:
    """A former incident of the key: what was let run in it, and whether that was confirmed."""
    values = {"opened_at": former.opened_at.isoformat(timespec="seconds"), "found": former.reason}
    if former.closed_at is not None:
        values["ended"] = str(former.closed).lower()
        values["lasted"] = wording.span(former.closed_at - former.opened_at)
    for number, (action, helped) in enumerate(former.runs, 1):
        fate = {True: "confirmed", False: "did not help", None: "not known whether it helped"}[helped]
        values[f"approved_{number}"] = f"{action}: {fate}"
    return Exhibit("", "a former incident of the same key", "", former.opened_at, values, kind="incident")


def _standing(desk: Desk, incident: Incident) -> list[Exhibit]:
    known = desk.book.tallies[incident.rule, incident.key].so_far(desk.book.size)
    if not known.made:
        return []
    values = {"made": str(known.made), "tried": str(known.tried), "confirmed": str(known.confirmed)}
    return [Exhibit("", "your earlier diagnoses for this key", "", desk.now(), values, kind="incident")]


# --- what stands in the ledger of it --------------------------------------------------------------------------------


def case_body(case: CaseFile, took: timedelta) -> dict[str, Any]:
    """What an entry says of the case file by itself: what moved first, each item by its name, and what was left out."""
    candidates = [one for one in case.exhibits if one.kind == "candidate"]
    return {
        "moved": [_moved(one, case) for one in candidates[:MOVED_SHOWN_MAX]],
        "items": [item(one, case.labels) for one in case.exhibits[:ITEMS_MAX]],
        "cut": [storable(clean(text, TEXT_CHARACTERS), TEXT_CHARACTERS) for text in case.cut[:CUT_SHOWN_MAX]],
        "left_out": [kept(_storable(one)) for one in case.left_out[:CUT_SHOWN_MAX]],
        "gathered_ms": int(took.total_seconds() * 1000),
        "follow_up": case.follow_up,
    }


def _storable(what: Words) -> Words:
    """The same, of which every text from outside may stand in the ledger."""
    return Words(what.key, {name: _plain(value) for name, value in what.values.items()})


def _plain(value: object) -> object:
    if isinstance(value, Words):
        return _storable(value)
    return storable(clean(value, TEXT_CHARACTERS), TEXT_CHARACTERS) if isinstance(value, str) else value


def item(exhibit: Exhibit, known: Mapping[str, str]) -> dict[str, str]:
    """One exhibit in few words. known: the incident's labels, which need not be said again."""
    labels = told_labels(exhibit.labels, known)
    return {
        "ref": exhibit.ref,
        "kind": exhibit.kind,
        "what": short(f"{exhibit.title} {labels}"),
        **_named(exhibit, "now"),
    }


def _moved(exhibit: Exhibit, case: CaseFile) -> dict[str, str]:
    labels = told_labels(exhibit.labels, case.labels)
    return {
        "ref": exhibit.ref,
        "what": short(f"{exhibit.title} {labels}".strip()),
        **_named(exhibit, "before", "now", "z", "moved_at"),
    }


def told_labels(labels: Mapping[str, str], known: Mapping[str, str]) -> str:
    """The labels that tell one series from another, without those of the incident itself: "pod=web-1"."""
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()) if known.get(name) != value)


def _named(exhibit: Exhibit, *names: str) -> dict[str, str]:
    return {name: short(exhibit.values[name]) for name in names if name in exhibit.values}


def short(text: str) -> str:
    return storable(clean(text, NAME_CHARACTERS), NAME_CHARACTERS)
