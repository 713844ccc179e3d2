"""What each comparison of a permission asks, in words: its name is policy's own, and an auditor knows none of them."""

from __future__ import annotations

from collections.abc import Mapping

from policy_rules.verdict import Outcome

_PERMISSIONS = (Outcome.PERMIT.value, Outcome.DENY.value)
# By the first word of its name; what follows says of which parameter, interval, range or level.
_ASKS: Mapping[str, str] = {
    "halt": "has nobody halted dispatch?",
    "in_force": "does the policy in force have the action, and let whoever answered approve it?",
    "same_action": "do both policies mean the same by it: executor and parameters?",
    "blocked_during": "is it outside of that time interval?",
    "limit": "runs so far, and how many are allowed",
    "cooldown": "seconds since the last run, and how many must pass",
    "breaker": "runs in a row that failed or did not help, and how many hold the action back",
    "target": "is nothing else under way on the same target?",
    "param": "is the value one that the policy allows?",
    "when": "does the action's own condition hold?",
    "recovery": "does the service still need it?",
    "approvers": "people who may approve, and how many must",
    "approved": "approvals that count, and how many are needed",
    "person": "is whoever answered in the roster, and not suspended?",
    "asked": "was that person asked?",
    "expires_at": "was it before the question expired?",
    "requester": "is whoever asked for it in the roster, and not suspended?",
    "key": "is it asked for a whole key of the rule?",
    "alerts": "alerts that fire and are not of low severity; one is enough to tell people at once",
    "muted": "does that time interval run?",
    "alerts.firing": "alerts that fire, as told to whoever is asked",
}


def meaning(outcome: str, name: str) -> str:
    """What the comparison `name` of a verdict asks; empty where it is of the policy's own signals, or not known."""
    return _ASKS.get(name.partition(" ")[0], "") if outcome in _PERMISSIONS else ""
