"""Policy permits: what may be proposed, whose answer counts, and whether it may still be authorized and dispatched.

Every question about an action asks two policies, the one under which the incident was opened and the one in force,
and the stricter wins. Nothing here knows what a model said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from policy_rules import approval, checks, offers
from policy_rules.approval import Levels, as_asked, eligible
from policy_rules.approval import Person as Person  # who asks here hands people in, and tells them
from policy_rules.approval import notified as notified
from policy_rules.offers import Asked
from policy_rules.past import PastRun as PastRun
from policy_rules.past import by_range, failed_in_a_row
from policy_rules.readings import Alert, Query, Reading
from policy_rules.reasons import Why, why
from policy_rules.rulebook import FIRING, Action, Rulebook
from policy_rules.verdict import Finding, Outcome, Verdict, one_line


@dataclass(frozen=True, slots=True)
class Permission:
    """PERMIT with whom to ask and what to pass on, or DENY with the first reason; `findings` holds every check.

    evidence: every comparison of the action's own condition, under both policies. levels: where people of two levels
    must approve, who they are, by each policy that says so. pin: whether
    one of the policies wants each approver's PIN.
    """

    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    evidence: tuple[Finding, ...] = ()
    levels: tuple[Levels, ...] = ()
    pin: bool = False
    why: Why | None = field(default=None, compare=False)  # what `reason` says, where it denies

    def said(self) -> Why:
        """What `reason` says, for whoever says it in another language."""
        return self.why if self.why is not None else why("recorded", text=self.reason)

    def to_body(self) -> dict[str, Any]:
        """The permission as the ledger keeps it; `evidence` and `levels` only where there are some."""
        evidence = {"evidence": [finding.to_body() for finding in self.evidence]} if self.evidence else {}
        levels = {"levels": [level.to_body() for level in self.levels]} if self.levels else {}
        return (
            evidence
            | levels
            | ({"pin": True} if self.pin else {})
            | {
                "outcome": self.outcome.value,
                "reason": self.reason,
                "findings": [finding.to_body() for finding in self.findings],
                "approvers": list(self.approvers),
                "quorum": self.quorum,
                "params": dict(self.params),
            }
        )


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
        readings: Sequence[Reading] = (),
        requester: str = "",
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
    readings: Sequence[Reading] = (),
    requester: str = "",
) -> Permission:
    """Whether `action` may be proposed for the incident of `key`, to whom, and with which parameters.

    past: the dispatches so far, of any rule. halted: whether a halt is outstanding. readings: one for each query of
    `may_ask`; what is missing is unknown. requester: the person who asked for it, who may not approve it; empty where
    policy did.
    """
    actions = _actions(incident_book, in_force, rule, action)
    findings = [checks.halt(halted), checks.exists(actions, rule, action)]
    if None in actions:
        return _answer(findings)
    asked = Asked(readings, late=False, requester=requester)
    return _permit(findings, incident_book, in_force, rule, action, key, alerts, people, past, asked, now)


def may_request(
    in_force: Rulebook,
    rule: str,
    action: str,
    key: Mapping[str, str],
    alerts: Sequence[Alert],
    people: Sequence[Person],
    past: Sequence[PastRun],
    halted: bool,
    now: datetime,
    readings: Sequence[Reading] = (),
    requester: str = "",
) -> Permission:
    """Whether `requester` may ask for `action` by hand: an active person, for a whole key, and all that proposes.

    Everything that `may_propose` looks at is looked at here; whoever asks is not among the approvers.
    """
    found = _action(in_force, rule, action)
    person = next((person for person in people if person.name == requester), None)
    active = person is not None and not person.suspended
    state = "unknown" if person is None else "active" if active else "suspended"
    why_not = why("not in the roster", person=requester or "nobody")
    findings = [
        checks.check("requester", "active", state, active, why_not),
        checks.halt(halted),
        checks.exists((found,), rule, action),
    ]
    if found is None:
        return _answer(findings)
    wanted, given = in_force.rule(rule).group_by, [name for name, value in key.items() if value]
    whole = sorted(given) == sorted(wanted) and len(given) == len(key)
    needs = why("needs", rule=rule, labels=", ".join(wanted)) if wanted else why("needs no label", rule=rule)
    findings.append(checks.check("key", ", ".join(sorted(wanted)), ", ".join(sorted(given)), whole, needs))
    asked = Asked(readings, late=False, requester=requester)
    return _permit(findings, in_force, in_force, rule, action, key, alerts, people, past, asked, now)


def may_ask(
    incident_book: Rulebook, in_force: Rulebook, rule: str, action: str, key: Mapping[str, str]
) -> tuple[Query, ...]:
    """What the questions about `action` need to know of the service, beside what its recovery does."""
    return offers.queries(incident_book, in_force, _actions(incident_book, in_force, rule, action), key)


def may_answer(
    approvers: Sequence[str],
    person: Person | None,
    in_force: Rulebook,
    rule: str,
    action: str,
    now: datetime,
    expires_at: datetime,
    requester: str = "",
) -> Permission:
    """Whether an answer of `person` to a proposal that names `approvers` counts now."""
    found = _action(in_force, rule, action)
    name = person.name if person is not None else "unknown"
    state = "unknown" if person is None else "suspended" if person.suspended else "active"
    asked = name in approvers
    may = person is not None and found is not None and name in eligible(found, as_asked([person], approvers), requester)
    inactive = why("stranger" if person is None else "you are suspended")
    not_any_more = why("you may not" if name != requester else "you asked")
    late = why("expired")
    findings = [
        checks.check("person", "active", state, state == "active", inactive),
        checks.check("asked", "asked", "asked" if asked else "not asked", asked, why("you were not asked")),
        checks.check("expires_at", _shown(expires_at), _shown(now), now < expires_at, late, "<"),
        checks.check("in_force", "approver", "approver" if may else "not an approver", may, not_any_more),
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
    readings: Sequence[Reading] = (),
    requester: str = "",
) -> Permission:
    """Whether what `approved_by` approved may be authorized.

    quorum: what the proposal asked. recovery: a fresh verdict of `should_recover`. Where its condition is met, for
    long enough or not, the action is no longer needed; where it is unknown, a person's word is enough unless the
    action says `if_unknown: refuse`. readings: as `may_propose` takes them, and the same holds for its condition.
    """
    actions = _actions(incident_book, in_force, rule, action)
    findings = [checks.halt(halted), checks.exists(actions, rule, action)]
    named = [found for found in actions if found is not None]
    if len(named) < len(actions):
        return _answer(findings)
    if not requester:  # who asks by hand does not say that the service is broken
        findings.append(checks.recovery(recovery, named))
    needed = max(quorum, *(approval.needed(found) for found in named))
    people = as_asked(people, approved_by)  # a shift that ended since takes nothing from an answer
    # Law 3: a human authorizes. Only those who may approve under both policies count, and each of them once.
    counted = set(approved_by) & set(_approvers(named, people, requester))
    few = why("too few approved", counted=len(counted), needed=needed)
    findings.append(checks.check("approved", str(needed), str(len(counted)), len(counted) >= needed, few, ">="))
    for level in _levels(named, people, requester):
        findings.extend(approval.at_both("approved", level, counted, "too few approved"))
    asked = Asked(readings, late=True, requester=requester)
    return _permit(findings, incident_book, in_force, rule, action, key, alerts, people, past, asked, now)


# Policy is asked the same again right before dispatch: between the two a halt, a suspension or another policy may come.
may_dispatch = may_authorize


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
    asked: Asked,
    now: datetime,
) -> Permission:
    """What both policies say of blocked times, limits, parameters and approvers, behind what was found before."""
    books = (incident_book,) if incident_book.digest == in_force.digest else (incident_book, in_force)
    actions = [book.rule(rule).actions[action] for book in books]
    findings.append(checks.same(actions[0], actions[-1]))
    counted = by_range(past, rule, action, key)
    runs = {of: [run.at for run in found] for of, found in counted.items()}
    running = [(run.executor, run.params) for run in past if run.open]
    for book, found in zip(books, actions, strict=True):
        findings.extend(checks.blocked(book, found, now))
        findings.extend(checks.limits(found, runs, now))
        if found.breaker is not None:
            findings.append(checks.breaker(found, found.breaker, failed_in_a_row(counted[found.breaker.of])))
        read = offers.read_params(incident_book, book, found, alerts, asked, now)
        findings.extend(checks.params(found, key, read))
        findings.extend(checks.busy(found, key, running))
    wanted, evidence = offers.conditions(incident_book, books, actions, alerts, asked, now)
    findings.extend(wanted)
    approvers = _approvers(actions, people, asked.requester)
    quorum = max(approval.needed(found) for found in actions)
    few = why("too few able", needed=quorum, able=len(approvers))
    findings.append(checks.check("approvers", str(quorum), str(len(approvers)), len(approvers) >= quorum, few, ">="))
    levels = tuple(level.among(approvers) for level in _levels(actions, people, asked.requester))
    for level in levels:
        findings.extend(approval.at_both("approvers", level, approvers, "too few able"))
    firing = sum(alert.firing for alert in alerts)
    findings.append(Finding(FIRING, ">=", "0", str(firing), True))
    who = f"{', '.join(approvers)}" if quorum == 1 else f"{quorum} of {', '.join(approvers)}"
    read = offers.read_params(incident_book, books[0], actions[0], alerts, asked, now)
    params = {name: value for name, value in checks.values(actions[0], key, read).items() if value}
    answer = _answer(findings, f"{action} by {who}", approvers, quorum, params, evidence, levels)
    pin = answer.outcome is Outcome.PERMIT and any(found.pin for found in actions)
    return replace(answer, pin=pin)


def _answer(
    findings: Sequence[Finding],
    reason: str = "",
    approvers: tuple[str, ...] = (),
    quorum: int = 1,
    params: Mapping[str, str] | None = None,
    evidence: Sequence[Finding] = (),
    levels: tuple[Levels, ...] = (),
) -> Permission:
    denied = next((finding for finding in findings if finding.holds is False), None)
    if denied is not None:
        reason = one_line(denied.detail)
        return Permission(Outcome.DENY, reason, tuple(findings), evidence=tuple(evidence), why=denied.against)
    unknown = "".join(f"; {finding.detail}" for finding in findings if finding.holds is None)
    passed = MappingProxyType(params or {})
    words = one_line(reason + unknown)
    return Permission(Outcome.PERMIT, words, tuple(findings), approvers, quorum, passed, tuple(evidence), levels)


def _action(book: Rulebook, rule: str, action: str) -> Action | None:
    try:
        return book.rule(rule).actions.get(action)
    except KeyError:
        return None


def _actions(incident_book: Rulebook, in_force: Rulebook, rule: str, action: str) -> tuple[Action | None, ...]:
    return _action(incident_book, rule, action), _action(in_force, rule, action)


def _approvers(actions: Sequence[Action], people: Sequence[Person], requester: str) -> tuple[str, ...]:
    """Who may approve under every one of `actions`."""
    return tuple(sorted(set.intersection(*(eligible(action, people, requester) for action in actions))))


def _levels(actions: Sequence[Action], people: Sequence[Person], requester: str) -> tuple[Levels, ...]:
    """The levels of each of `actions` that has a second one."""
    both = [found for found in actions if found.approvers.second is not None]
    return tuple(dict.fromkeys(approval.levels(found, people, requester) for found in both))


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
