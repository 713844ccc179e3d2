"""The single checks behind a permission: each compares one thing with what policy wants and keeps both sides.

A check that holds False denies; one that holds None could not be made, and a person's word is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING

from policy_rules.conditions import Value
from policy_rules.durations import duration
from policy_rules.numbers import number
from policy_rules.reasons import Why, why
from policy_rules.rulebook import Action, Breaker, Limit, Param, Rulebook
from policy_rules.verdict import Finding, Outcome, Verdict, one_line

READING_MAX = 10**9  # of a parameter that is a reading


def check(name: str, wanted: str, value: str, holds: bool, why_not: Why | None, operator: str = "==") -> Finding:
    """The comparison, and `why_not` where it does not hold; None where nobody is told of it."""
    if holds or why_not is None:
        return Finding(name, operator, wanted, value, holds)
    return Finding(name, operator, wanted, value, holds, why_not.text(), against=why_not)


def exists(actions: Sequence[Action | None], rule: str, action: str) -> Finding:
    named = None not in actions
    why_not = why("no action", action=action, rule=rule)
    return check("in_force", action, action if named else "none", named, why_not)


def halt(halted: bool) -> Finding:
    return check("halt", "none", "halted" if halted else "none", not halted, why("halted"))


def same(incident: Action, in_force: Action) -> Finding:
    """What the incident's policy would run must still be what the policy in force means by that name."""
    same = (incident.executor, incident.params) == (in_force.executor, in_force.params)
    # Declared idempotent then and not any more: the stricter wins, and it cannot be run by the looser word.
    same = same and (in_force.idempotent or not incident.idempotent)
    why_not = why("other way", action=incident.name)
    return check("same_action", "same", "same" if same else "changed", same, why_not)


def blocked(book: Rulebook, action: Action, now: datetime) -> Iterator[Finding]:
    for name in action.blocked_during:
        inside = any(interval.contains(now) for interval in book.intervals[name])
        where = "inside" if inside else "outside"
        yield check(f"blocked_during {name}", "outside", where, not inside, why("blocked", interval=name))


def limits(action: Action, runs: Mapping[str, Sequence[datetime]], now: datetime) -> Iterator[Finding]:
    """runs: the times of those that count for a limit of that range ("key", "action", "rule", "tenant")."""
    for limit in (action.limit, *action.limits):
        yield from _limit(limit, runs[limit.of], now)


def _limit(limit: Limit, runs: Sequence[datetime], now: datetime) -> Iterator[Finding]:
    whose = "" if limit.of == "key" else f" of the {limit.of}"
    if limit.max is not None:
        recent = sum(now - at < timedelta(seconds=limit.per_seconds) for at in runs)
        why_not = why(f"limit {limit.of}", runs=recent, per=duration(limit.per_seconds), most=limit.max)
        yield check(f"limit{whose}", str(limit.max), str(recent), recent < limit.max, why_not, "<")
    if limit.cooldown_seconds and runs:
        since, wanted = (now - max(runs)).total_seconds(), limit.cooldown_seconds
        why_not = why(f"cooldown {limit.of}", since=duration(max(0, int(since))), wanted=duration(wanted))
        yield check(f"cooldown{whose}", str(wanted), str(int(since)), since >= wanted, why_not, ">=")


def breaker(action: Action, limit: Breaker, failures: int) -> Finding:
    """failures: how many of the latest runs in a row failed or did not help."""
    why_not = why("breaker", failures=failures, action=action.name)
    return check("breaker", str(limit.failures), str(failures), failures < limit.failures, why_not, "<")


def busy(action: Action, key: Mapping[str, str], running: Sequence[tuple[str, Mapping[str, str]]]) -> Iterator[Finding]:
    """One execution of a target at a time, whatever incident asks. running: executor and parameters of each.

    A reading says how much and not whom, so it does not make another target.
    """
    wanted = {name: value for name, value in values(action, key).items() if value}
    read = {param.name for param in action.params if param.signal is not None}
    others = ((executor, {n: v for n, v in params.items() if n not in read}) for executor, params in running)
    if any(other == (action.executor, wanted) for other in others):
        shown = ", ".join(f"{name}={value}" for name, value in wanted.items())
        busy = why("busy", executor=action.executor, params=shown)
        yield check("target", "idle", "busy", False, busy if shown else why("busy without", executor=action.executor))


def values(action: Action, key: Mapping[str, str], read: Mapping[str, Value] | None = None) -> dict[str, str]:
    """The parameters by name. read: what was read for those that are readings; without it they are left out."""
    found: dict[str, str] = {}
    for param in action.params:
        if param.signal is not None:
            whole = _whole(read[param.name]) if read is not None else None
            found |= {param.name: str(whole)} if whole is not None else {}
        else:
            found[param.name] = param.constant if param.constant is not None else key.get(param.label or "", "")
    return found


def _whole(value: Value) -> int | None:
    exact = number(value.value)
    if exact is None or abs(exact) > READING_MAX:
        return None
    return int(exact.to_integral_value(ROUND_CEILING))


def params(action: Action, key: Mapping[str, str], read: Mapping[str, Value] | None) -> Iterator[Finding]:
    """read: as `values` takes it; None where people have approved what was read already."""
    for param in action.params:
        value = key.get(param.label or "", "")
        if param.signal is not None:
            if read is not None:
                yield _reading(param, read[param.name])
        elif param.constant is None:
            label = str(param.label)
            why_not = why("not allowed", value=repr(value), label=label) if value else why("no label", label=label)
            yield check(f"param {param.name}", " | ".join(param.allow), value, value in param.allow, why_not, "in")


def _reading(param: Param, value: Value) -> Finding:
    whole, allowed = _whole(value), f"{param.least} to {param.most}"
    if whole is None:
        unread = why("unread", param=param.name, signal=str(param.signal), why=value.detail)
        unusable = why("no number", param=param.name, signal=str(param.signal))
        return check(f"param {param.name}", allowed, "unknown", False, unread if value.detail else unusable, "in")
    why_not = why("out of range", param=param.name, value=whole, least=str(param.least), most=str(param.most))
    return check(f"param {param.name}", allowed, str(whole), param.least <= whole <= param.most, why_not, "in")


def recovery(verdict: Verdict | None, actions: Sequence[Action]) -> Finding:
    """Whether the service is still broken. Where that is unknown the most careful `if_unknown` of `actions` counts."""
    if verdict is None or verdict.outcome is Outcome.UNKNOWN:
        known = verdict.said() if verdict is not None else why("not asked")
        found = verdict.findings if verdict is not None else ()
        kinds = frozenset().union(*(finding.kinds for finding in found if finding.holds is None))
        refuse = any(action.if_unknown.say(kinds, ("refuse", "proceed")) == "refuse" for action in actions)
        holds = False if refuse else None
        why_not = why("refuses the unknown", found=known) if refuse else None
        detail = one_line(why_not.text() if why_not is not None else f"evidence unknown: {known.text()}")
        return Finding("recovery", "==", "persist", "unknown" if refuse else None, holds, detail, against=why_not)
    met = verdict.outcome in (Outcome.RECOVER, Outcome.HOLD)
    why_not = why("recovered", found=verdict.said())
    detail = one_line(why_not.text()) if met else ""
    return Finding(
        "recovery", "==", "persist", verdict.outcome.value, not met, detail, against=why_not if met else None
    )
