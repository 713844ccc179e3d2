"""Policy permits: what may be proposed, whose answer counts, and whether it may still be authorized and dispatched.

Every question about an action asks two policies, the one under which the incident was opened and the one in force,
and the stricter wins. Nothing here knows what a model said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from policy_rules.durations import duration
from policy_rules.readings import Alert
from policy_rules.rulebook import EVERYONE, FIRING, Action, Rulebook
from policy_rules.verdict import Finding, Outcome, Verdict, one_line


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the roster. One who is suspended approves nothing and is told nothing."""

    name: str
    roles: frozenset[str]
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class PastRun:
    """One dispatch of an action, at the time of its entry."""

    rule: str
    action: str
    key: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class Permission:
    """PERMIT with whom to ask and what to pass on, or DENY with the first reason; `findings` holds every check."""

    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def to_body(self) -> dict[str, Any]:
        """The permission as the ledger keeps it."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "findings": [finding.to_body() for finding in self.findings],
            "approvers": list(self.approvers),
            "quorum": self.quorum,
            "params": dict(self.params),
        }


class LateQuestion(Protocol):
    """`may_authorize` and `may_dispatch`: the questions that are asked once people have answered."""

    def __call__(
        self,
        incident_book: Rulebook,
        in_force: Rulebook,
        rule: str,
        action: str,
        key: Mapping[str, str],
        alerts: Sequence[Alert],
        people: Sequence[Person],
        approved_by: Sequence[str],
        quorum: int,
        past: Sequence[PastRun],
        halted: bool,
        recovery: Verdict | None,
        now: datetime,
        /,
    ) -> Permission: ...


def may_propose(
    incident_book: Rulebook,
    in_force: Rulebook,
    rule: str,
    action: str,
    key: Mapping[str, str],
    alerts: Sequence[Alert],
    people: Sequence[Person],
    past: Sequence[PastRun],
    halted: bool,
    now: datetime,
) -> Permission:
    """Whether `action` may be proposed for the incident of `key`, to whom, and with which parameters.

    past: the dispatches so far, of any rule. halted: whether a halt is outstanding.
    """
    actions = _actions(incident_book, in_force, rule, action)
    findings = [_halt(halted), _exists(actions, rule, action)]
    if None in actions:
        return _answer(findings)
    return _permit(findings, incident_book, in_force, rule, action, key, alerts, people, past, now)


def may_answer(
    approvers: Sequence[str],
    person: Person | None,
    in_force: Rulebook,
    rule: str,
    action: str,
    now: datetime,
    expires_at: datetime,
) -> Permission:
    """Whether an answer of `person` to a proposal that names `approvers` counts now."""
    found = _action(in_force, rule, action)
    name = person.name if person is not None else "unknown"
    state = "unknown" if person is None else "suspended" if person.suspended else "active"
    may = person is not None and found is not None and name in _eligible(found, [person])
    inactive = "the sender is not in the roster" if person is None else "you are suspended"
    not_any_more = "the policy in force does not let you approve it"
    findings = [
        _check("person", "active", state, state == "active", inactive),
        _check("asked", name, name if name in approvers else "not asked", name in approvers, "you were not asked"),
        _check("expires_at", _shown(expires_at), _shown(now), now < expires_at, "the question has expired", "<"),
        _check("in_force", "approver", "approver" if may else "not an approver", may, not_any_more),
    ]
    return _answer(findings, f"{name} may answer", approvers=(name,))


def may_authorize(
    incident_book: Rulebook,
    in_force: Rulebook,
    rule: str,
    action: str,
    key: Mapping[str, str],
    alerts: Sequence[Alert],
    people: Sequence[Person],
    approved_by: Sequence[str],
    quorum: int,
    past: Sequence[PastRun],
    halted: bool,
    recovery: Verdict | None,
    now: datetime,
) -> Permission:
    """Whether what `approved_by` approved may be authorized.

    quorum: what the proposal asked. recovery: a fresh verdict of `should_recover`. Where its condition is met, for
    long enough or not, the action is no longer needed; where it is unknown, a person's word is enough unless the
    action says `if_unknown: refuse`.
    """
    actions = _actions(incident_book, in_force, rule, action)
    findings = [_halt(halted), _exists(actions, rule, action)]
    named = [found for found in actions if found is not None]
    if len(named) < len(actions):
        return _answer(findings)
    findings.append(_recovery(recovery, refuse=any(found.if_unknown == "refuse" for found in named)))
    needed = max(quorum, *(found.approvers.quorum for found in named))
    # Law 3: a human authorizes. Only those who may approve under both policies count, and each of them once.
    counted = set(approved_by) & set(_approvers(named, people))
    why = f"{len(counted)} of {needed} needed approvals count"
    findings.append(_check("approved", str(needed), str(len(counted)), len(counted) >= needed, why, ">="))
    return _permit(findings, incident_book, in_force, rule, action, key, alerts, people, past, now)


# Policy is asked the same again right before dispatch: between the two a halt, a suspension or another policy may come.
may_dispatch = may_authorize


def notified(rulebook: Rulebook, notify: Sequence[str], people: Sequence[Person]) -> tuple[str, ...]:
    """The names that `notify` stands for: "role:NAME", "person:NAME", "everyone". Nobody who is suspended.

    rulebook: the policy in force, by which such names have their meaning.
    """
    return tuple(
        sorted(
            person.name
            for person in people
            if not person.suspended
            and (
                EVERYONE in notify
                or f"person:{person.name}" in notify
                or any(f"role:{role}" in notify for role in person.roles)
            )
        )
    )


def _permit(
    findings: list[Finding],
    incident_book: Rulebook,
    in_force: Rulebook,
    rule: str,
    action: str,
    key: Mapping[str, str],
    alerts: Sequence[Alert],
    people: Sequence[Person],
    past: Sequence[PastRun],
    now: datetime,
) -> Permission:
    """What both policies say of blocked times, limits, parameters and approvers, behind what was found before."""
    books = (incident_book,) if incident_book.digest == in_force.digest else (incident_book, in_force)
    actions = [book.rule(rule).actions[action] for book in books]
    findings.append(_same(actions[0], actions[-1]))
    runs = [run.at for run in past if (run.rule, run.action, dict(run.key)) == (rule, action, dict(key))]
    for book, found in zip(books, actions, strict=True):
        findings.extend(_blocked(book, found, now))
        findings.extend(_limits(found, runs, now))
        findings.extend(_params(found, key))
    approvers = _approvers(actions, people)
    quorum = max(found.approvers.quorum for found in actions)
    why = f"{quorum} must approve, and only {len(approvers)} can"
    findings.append(_check("approvers", str(quorum), str(len(approvers)), len(approvers) >= quorum, why, ">="))
    firing = sum(alert.firing for alert in alerts)
    findings.append(Finding(FIRING, ">=", "0", str(firing), True))
    who = f"{', '.join(approvers)}" if quorum == 1 else f"{quorum} of {', '.join(approvers)}"
    params = {name: value for name, value in _values(actions[0], key).items() if value}
    return _answer(findings, f"{action} by {who}", approvers, quorum, params)


def _answer(
    findings: Sequence[Finding],
    reason: str = "",
    approvers: tuple[str, ...] = (),
    quorum: int = 1,
    params: Mapping[str, str] | None = None,
) -> Permission:
    denied = next((finding for finding in findings if finding.holds is False), None)
    if denied is not None:
        return Permission(Outcome.DENY, one_line(denied.detail), tuple(findings))
    unknown = "".join(f"; {finding.detail}" for finding in findings if finding.holds is None)
    return Permission(
        Outcome.PERMIT, one_line(reason + unknown), tuple(findings), approvers, quorum, MappingProxyType(params or {})
    )


def _check(name: str, wanted: str, value: str, holds: bool, why_not: str, operator: str = "==") -> Finding:
    return Finding(name, operator, wanted, value, holds, "" if holds else why_not)


def _action(book: Rulebook, rule: str, action: str) -> Action | None:
    try:
        return book.rule(rule).actions.get(action)
    except KeyError:
        return None


def _actions(incident_book: Rulebook, in_force: Rulebook, rule: str, action: str) -> tuple[Action | None, ...]:
    return _action(incident_book, rule, action), _action(in_force, rule, action)


def _exists(actions: Sequence[Action | None], rule: str, action: str) -> Finding:
    named = None not in actions
    why = f"the policy in force has no action {action} in a rule {rule} any more"
    return _check("in_force", action, action if named else "none", named, why)


def _halt(halted: bool) -> Finding:
    return _check("halt", "none", "halted" if halted else "none", not halted, "halted: nothing is dispatched")


def _same(incident: Action, in_force: Action) -> Finding:
    """What the incident's policy would run must still be what the policy in force means by that name."""
    same = (incident.executor, incident.params) == (in_force.executor, in_force.params)
    # Declared idempotent then and not any more: the stricter wins, and it cannot be run by the looser word.
    same = same and (in_force.idempotent or not incident.idempotent)
    why = f"the policy in force runs {incident.name} in another way"
    return _check("same_action", "same", "same" if same else "changed", same, why)


def _blocked(book: Rulebook, action: Action, now: datetime) -> Iterator[Finding]:
    for name in action.blocked_during:
        inside = any(interval.contains(now) for interval in book.intervals[name])
        where = "inside" if inside else "outside"
        yield _check(f"blocked_during {name}", "outside", where, not inside, f"blocked during {name}")


def _limits(action: Action, runs: Sequence[datetime], now: datetime) -> Iterator[Finding]:
    limit = action.limit
    if limit.max is not None:
        recent = sum(now - at < timedelta(seconds=limit.per_seconds) for at in runs)
        why = f"limit: {recent} runs in {duration(limit.per_seconds)}, {limit.max} are allowed"
        yield _check("limit", str(limit.max), str(recent), recent < limit.max, why, "<")
    if limit.cooldown_seconds and runs:
        since, wanted = (now - max(runs)).total_seconds(), limit.cooldown_seconds
        why = f"cooldown: the last run was {duration(max(0, int(since)))} ago, {duration(wanted)} must pass"
        yield _check("cooldown", str(wanted), str(int(since)), since >= wanted, why, ">=")


def _values(action: Action, key: Mapping[str, str]) -> dict[str, str]:
    return {
        param.name: param.constant if param.constant is not None else key.get(param.label or "", "")
        for param in action.params
    }


def _params(action: Action, key: Mapping[str, str]) -> Iterator[Finding]:
    for param, value in zip(action.params, _values(action, key).values(), strict=True):
        if param.constant is None:
            why = (
                f"the value {value!r} of {param.label} is not in allow" if value else f"the alert has no {param.label}"
            )
            yield _check(f"param {param.name}", " | ".join(param.allow), value, value in param.allow, why, "in")


def _approvers(actions: Sequence[Action], people: Sequence[Person]) -> tuple[str, ...]:
    """Who may approve under every one of `actions`."""
    return tuple(sorted(set.intersection(*(_eligible(action, people) for action in actions))))


def _eligible(action: Action, people: Sequence[Person]) -> set[str]:
    approvers = action.approvers
    return {
        person.name
        for person in people
        if not person.suspended and (person.name in approvers.people or person.roles & set(approvers.roles))
    }


def _recovery(recovery: Verdict | None, *, refuse: bool) -> Finding:
    if recovery is None or recovery.outcome is Outcome.UNKNOWN:
        words = recovery.reason if recovery is not None else "not asked"
        holds = False if refuse else None
        detail = f"the action refuses while evidence is unknown: {words}" if refuse else f"evidence unknown: {words}"
        return Finding("recovery", "==", "persist", "unknown" if refuse else None, holds, detail)
    met = recovery.outcome in (Outcome.RECOVER, Outcome.HOLD)
    why = f"recovered: {recovery.reason}"
    return _check("recovery", "persist", recovery.outcome.value, not met, why)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
