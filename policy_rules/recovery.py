"""Policy decides that an incident is over. On the unknown it never is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from policy_rules.conditions import judge, values
from policy_rules.detection import decided, hold
from policy_rules.readings import Alert, Reading
from policy_rules.rulebook import Rule, Rulebook
from policy_rules.verdict import Memory, Outcome, Verdict


def should_recover(
    rulebook: Rulebook, rule: Rule, alerts: Sequence[Alert], readings: Sequence[Reading], now: datetime, memory: Memory
) -> Verdict:
    """Decide whether the incident of `alerts` is over under `rule`.

    Returns RECOVER, HOLD (true, but not yet for as long as `for` asks), PERSIST, or UNKNOWN. A look that cannot tell
    begins the hold anew, and so does one that finds the condition false, or a gap in which nobody looked. What a server
    answers with a part missing may show that the incident goes on, and never that it is over.
    """
    judgement = judge(rule.recover.when, values(rulebook, alerts, readings, now, whole=True))
    if judgement.holds is None and any(reading.partial for reading in readings):
        with_parts = judge(rule.recover.when, values(rulebook, alerts, readings, now))
        judgement = with_parts if with_parts.holds is False else judgement
    if judgement.holds:
        outcome, said, memory = hold(rule, judgement, rule.recover.for_seconds, Outcome.RECOVER, now, memory)
    elif judgement.holds is None:
        since = memory.unknown_since or now
        outcome, said, memory = Outcome.UNKNOWN, judgement.said(), Memory(unknown_since=since, looked_at=now)
    else:
        outcome, said, memory = Outcome.PERSIST, judgement.said(), Memory(looked_at=now)
    return decided(rulebook, rule, outcome, said, judgement, memory)
