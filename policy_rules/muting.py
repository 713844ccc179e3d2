"""Policy says when people are told: what is muted waits for the end of the interval, and is not swallowed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from policy_rules import checks
from policy_rules.matchers import matches
from policy_rules.permission import Permission
from policy_rules.readings import Alert
from policy_rules.rulebook import Mute, Rulebook
from policy_rules.verdict import Finding, Outcome, one_line


def may_tell(incident_book: Rulebook, in_force: Rulebook, alerts: Sequence[Alert], now: datetime) -> Permission:
    """PERMIT, or DENY where both policies mute an incident of `alerts` at `now`.

    Muted is what is of low severity alone: every alert that fires (of an incident that is over: every alert) must
    match. An incident without alerts is not muted.
    """
    heard = [alert for alert in alerts if alert.firing] or list(alerts)
    books = (incident_book,) if incident_book.digest == in_force.digest else (incident_book, in_force)
    found = [_muted_by(book, heard, now) for book in books]
    findings = tuple(finding for _, findings in found for finding in findings)
    mutes = [mute for mute, _ in found]
    if None in mutes:
        return Permission(Outcome.PERMIT, "people may be told", findings)
    names = ", ".join(dict.fromkeys(name for mute in mutes if mute is not None for name in mute.during))
    what = ", ".join(dict.fromkeys(str(matcher) for mute in mutes if mute is not None for matcher in mute.matchers))
    return Permission(Outcome.DENY, one_line(f"muted during {names}: {what}"), findings)


def _muted_by(book: Rulebook, alerts: Sequence[Alert], now: datetime) -> tuple[Mute | None, list[Finding]]:
    """The first mute of `book` that takes all of `alerts` and runs at `now`, and what was compared."""
    findings: list[Finding] = []
    for mute in book.mutes:
        shown = ", ".join(map(str, mute.matchers))
        loud = sum(not matches(mute.matchers, alert.labels) for alert in alerts)
        findings.append(Finding(f"alerts without {shown}", "==", "0", str(loud), loud == 0))
        inside = any(interval.contains(now) for name in mute.during for interval in book.intervals[name])
        where = "inside" if inside else "outside"
        findings.append(checks.check(f"muted during {', '.join(mute.during)}", "inside", where, inside, None))
        if alerts and loud == 0 and inside:
            return mute, findings
    return None, findings
