"""A candidate policy beside the one in force: it decides live, what it says is recorded, and it moves nothing.

What it would open and end stands in the ledger as NOTED; how long a condition of it has held is in memory alone, so a
restart begins its holds anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ledger.entry import Blob, Draft
from policy_rules import detection, permission, recovery
from policy_rules.readings import Alert, Reading
from policy_rules.rulebook import Rule, Rulebook
from policy_rules.verdict import Memory, Outcome, one_line
from receiver.governor.desk import Desk, key_text
from receiver.governor.watching import LOOK_TIMEOUT_SECONDS, ask
from receiver.incident.agenda import Due
from receiver.incident.basis import Decided
from receiver.incident.shadowed import SHADOW, SHADOW_ADOPTED, Shadow, Subject
from receiver.incident.states import Incident, Key, key_of


def adoption(rulebook: Rulebook | None, standing: str | None, number: int) -> Draft | None:
    """The entry that says which candidate is beside the policy in force from now on; None where that stands already.

    standing: the digest of the one before, if any. number: of the entry before this one, for its id.
    """
    digest = rulebook.digest if rulebook is not None else None
    if digest == standing:
        return None
    words = f"{rulebook.name} {rulebook.version} decides beside it" if rulebook is not None else "no other policy does"
    return Draft(
        id=f"shadow:adopt:{number}",
        stage="NOTED",
        actor="system",
        reason=f"{words}, and moves nothing",
        body={"kind": SHADOW_ADOPTED, "policy": _named(rulebook) if rulebook is not None else None},
        blobs=(Blob("policy", rulebook.text.encode()),) if rulebook is not None else (),
    )


async def look(desk: Desk, due: Due) -> None:
    """One look of the candidate at everything that it would watch, or would have opened, and that is due."""
    shadow = desk.shadow
    if shadow is None:
        return
    evaluated, now = desk.book.evaluated, desk.now()
    subjects = dict(_subjects(desk, shadow.rulebook))
    for subject in [subject for subject in shadow.looked if subject not in subjects]:
        shadow.looked.pop(subject)
        shadow.memories.pop(subject, None)
    for subject, alerts in subjects.items():
        if shadow.due(subject, now):
            await _look(desk, shadow, subject, alerts)
    shadow.evaluated = evaluated


def _subjects(desk: Desk, rulebook: Rulebook) -> Iterator[tuple[Subject, list[Alert]]]:
    """What the candidate would look at: every key with an alert that fires, and what it would have open."""
    found: dict[Subject, list[Alert]] = {subject: [] for subject in desk.book.shadow.open}
    for known in desk.book.alerts.values():
        for assignment in detection.assign(rulebook, known.alert):
            found.setdefault((assignment.rule, key_of(assignment.key)), []).append(known.alert)
    for subject, alerts in found.items():
        if subject in desk.book.shadow.open or any(alert.firing for alert in alerts):
            yield subject, alerts


async def _look(desk: Desk, shadow: Shadow, subject: Subject, alerts: Sequence[Alert]) -> None:
    rulebook, (name, key) = shadow.rulebook, subject
    rule = rulebook.rule(name)
    wanted = (permission.may_ask(rulebook, rulebook, name, action, dict(key)) for action in rule.actions)
    more = tuple(query for queries in wanted for query in queries)
    readings = await ask(desk, rulebook, rule, key, LOOK_TIMEOUT_SECONDS, more=tuple(dict.fromkeys(more)))
    async with desk.deciding():
        if desk.shadow is not shadow:
            return  # another candidate came while Prometheus was asked
        now, opened = desk.now(), desk.book.shadow.open.get(subject)
        decide = detection.should_detect if opened is None else recovery.should_recover
        memory = shadow.memories.get(subject, Memory())
        verdict = decide(rulebook, rule, alerts, readings, now, memory)
        shadow.memories[subject], shadow.looked[subject] = verdict.memory, now
        desk.metrics.shadow_decisions.labels(desk.tenant, name, verdict.outcome.value).inc()
        decided = Decided(verdict, desk.basis(now, memory, readings))
        beside = [i for i in desk.book.open.values() if _shares(desk, i, alerts)]
        if verdict.outcome is Outcome.DETECT:
            offers = list(_offers(desk, rulebook, rule, key, alerts, readings, now))
            await desk.post(_noted(desk, shadow, subject, "detect", decided, beside, (), offers=offers))
            shadow.memories.pop(subject, None)
        elif verdict.outcome is Outcome.RECOVER and opened is not None:
            await desk.post(_noted(desk, shadow, subject, "recover", decided, beside, (opened,)))
            shadow.memories.pop(subject, None)
        elif opened is None and beside and not {i.index for i in beside} <= desk.book.shadow.missed:
            await desk.post(_noted(desk, shadow, subject, "wait", decided, beside, ()))


def _shares(desk: Desk, incident: Incident, alerts: Sequence[Alert]) -> bool:
    fingerprints = {alert.fingerprint for alert in alerts}
    return any(alert.fingerprint in fingerprints for alert in desk.alerts_of(incident))


def _offers(
    desk: Desk,
    rulebook: Rulebook,
    rule: Rule,
    key: Key,
    alerts: Sequence[Alert],
    readings: Sequence[Reading],
    now: datetime,
) -> Iterator[Mapping[str, Any]]:
    """What the candidate would say of each action at that moment."""
    for action in rule.actions:
        found = permission.may_propose(
            rulebook, rulebook, rule.name, action, dict(key), alerts, desk.persons(), desk.past_runs(),
            desk.book.halted(), now, readings,
        )  # fmt: skip
        said = {"action": action, "outcome": found.outcome.value, "reason": found.reason}
        yield said | {"approvers": list(found.approvers), "quorum": found.quorum}


_WORDS = {"detect": "would open", "recover": "would be recovered", "wait": "would not be open yet"}


def _noted(
    desk: Desk,
    shadow: Shadow,
    subject: Subject,
    event: str,
    decided: Decided,
    beside: Sequence[Incident],
    cites: tuple[int, ...],
    **more: Any,
) -> Draft:
    rulebook, (rule, key) = shadow.rulebook, subject
    there = ", ".join(incident.id for incident in beside) or "no incident"
    named = hashlib.sha256(repr(subject).encode()).hexdigest()[:12]
    words = f"{rulebook.name} {rulebook.version}: {rule} {key_text(key)} {_WORDS[event]}: {decided.verdict.reason}"
    return Draft(
        id=f"shadow:{event}:{named}:{desk.book.shadow.noted}",
        stage="NOTED",
        actor="system",
        reason=one_line(f"{words}; open by the policy in force: {there}")[:500],
        cites=cites,
        body={
            "kind": SHADOW,
            "event": event,
            "rule": rule,
            "key": dict(key),
            "policy": _named(rulebook),
            "verdict": decided.to_body(),
            "in_force": [incident.index for incident in beside],
            **more,
        },
    )


def _named(rulebook: Rulebook) -> Mapping[str, str]:
    return {"name": rulebook.name, "version": rulebook.version, "digest": rulebook.digest}
