"""Policy decides what is an incident: which rule takes an alert, what to ask, and whether the condition is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policy_rules.conditions import Judgement, judge, values
from policy_rules.durations import duration
from policy_rules.matchers import matches
from policy_rules.readings import Alert, Query, Reading
from policy_rules.reasons import Why, why
from policy_rules.rulebook import UNMATCHED, UNMATCHED_RULE, Rule, Rulebook, signals_of
from policy_rules.verdict import Finding, Memory, Outcome, Verdict, one_line

GAP_SLACK_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Assignment:
    """The rule that takes an alert, and the values of its `group_by` labels: one incident for each key."""

    rule: str
    key: Mapping[str, str]


def assign(rulebook: Rulebook, alert: Alert) -> tuple[Assignment, ...]:
    """The rules that take `alert`, in order. Empty where it is only recorded (see `recorded_by`)."""
    taken = _takers(rulebook, alert)
    if not taken and rulebook.unmatched == "notify":
        taken = (UNMATCHED_RULE,)
    return tuple(
        Assignment(rule.name, {label: alert.labels.get(label, "") for label in rule.group_by})
        for rule in taken
        if not rule.record
    )


def recorded_by(rulebook: Rulebook, alert: Alert) -> str | None:
    """The rule with `record: true` that takes `alert`, or "unmatched" where the policy records what no rule takes."""
    taken = _takers(rulebook, alert)
    if not taken:
        return UNMATCHED if rulebook.unmatched == "record" else None
    return next((rule.name for rule in taken if rule.record), None)


def queries(rulebook: Rulebook, rule: Rule, key: Mapping[str, str]) -> tuple[Query, ...]:
    """What `rule` needs to know for `key`: one query a signal, the parts of the score among them."""
    return tuple(rulebook.signals[name].query(key) for name in signals_of(rule))


def should_detect(
    rulebook: Rulebook, rule: Rule, alerts: Sequence[Alert], readings: Sequence[Reading], now: datetime, memory: Memory
) -> Verdict:
    """Decide whether `alerts` are an incident under `rule`.

    alerts: all that are known of one key. readings: one a signal; a missing one is unknown. memory: the last look's.
    Returns DETECT, HOLD (true, but not yet for as long as `for` asks), IGNORE, or UNKNOWN (it cannot be told, and
    `unknown_after` is not over).
    """
    judgement = judge(rule.detect.when, values(rulebook, alerts, readings, now))
    if not any(alert.firing for alert in alerts):
        # Policy never opens an incident by itself: a watch is about an alert, and none fires.
        outcome, said, memory = Outcome.IGNORE, why("no alert fires"), Memory(looked_at=now)
    elif judgement.holds is None:
        outcome, said, memory = _unknown(rule, judgement, now, memory)
    elif judgement.holds:
        outcome, said, memory = hold(rule, judgement, rule.detect.for_seconds, Outcome.DETECT, now, memory)
    else:
        outcome, said, memory = Outcome.IGNORE, judgement.said(), Memory(looked_at=now)
    return decided(rulebook, rule, outcome, said, judgement, memory)


def decided(
    rulebook: Rulebook, rule: Rule, outcome: Outcome, said: Why, judgement: Judgement, memory: Memory
) -> Verdict:
    reason = one_line(said.text())
    return Verdict(outcome, reason, judgement.findings, rule.name, rulebook.version, rulebook.digest, memory, said)


def reopens(rule: Rule, ended_at: datetime, now: datetime) -> Finding:
    """Whether what is detected at `now` counts as the incident of the same key that ended at `ended_at`."""
    since, within = (now - ended_at).total_seconds(), rule.reopen_within_seconds
    return Finding("reopen_within", "<", f"{within:g}", f"{since:f}", since < within)


def hold(
    rule: Rule, judgement: Judgement, for_seconds: float, done: Outcome, now: datetime, memory: Memory
) -> tuple[Outcome, Why, Memory]:
    """The condition is true now: `done` once it was for `for_seconds` at every look and without a gap, else HOLD."""
    since = memory.true_since
    if since is None or since > now or _gap(rule, now, memory):
        since = now
    held = (now - since).total_seconds()
    after = Memory(true_since=since, looked_at=now)
    if held >= for_seconds:
        said = judgement.said()
        return done, why("lasted", found=said, length=duration(for_seconds)) if for_seconds else said, after
    length = duration(for_seconds)
    return Outcome.HOLD, why("lasts", found=judgement.said(), held=duration(int(held)), length=length), after


def _unknown(rule: Rule, judgement: Judgement, now: datetime, memory: Memory) -> tuple[Outcome, Why, Memory]:
    found = judgement.said()
    word = rule.detect.if_unknown.say(judgement.kinds(), ("detect", "hold", "ignore"))
    if word == "ignore":
        return Outcome.IGNORE, why("ignored", found=found), Memory(looked_at=now)
    # What passed unobserved is unknown too, so a gap does not begin this wait anew; only a look that could tell does.
    since = now if memory.unknown_since is None or memory.unknown_since > now else memory.unknown_since
    if word == "hold":
        return Outcome.HOLD, why("held", found=found), Memory(unknown_since=since, looked_at=now)
    # The alert's word counts: a look that cannot tell does not interrupt a hold, else a signal that comes and goes
    # would keep an incident from ever opening.
    kept = None if _gap(rule, now, memory) else memory.true_since
    after = Memory(true_since=kept, unknown_since=since, looked_at=now)
    limit = rule.detect.unknown_after_seconds
    if now - since >= timedelta(seconds=limit):
        return Outcome.DETECT, why("the alert's word", found=found, length=duration(limit)), after
    return Outcome.UNKNOWN, found, after


def _gap(rule: Rule, now: datetime, memory: Memory) -> bool:
    """Whether nobody looked for so long that a hold cannot be said to have lasted."""
    if memory.looked_at is None:
        return True
    return now - memory.looked_at > timedelta(seconds=2 * rule.evaluate_every_seconds + GAP_SLACK_SECONDS)


def _takers(rulebook: Rulebook, alert: Alert) -> tuple[Rule, ...]:
    taken: list[Rule] = []
    for number in rulebook.candidates.of(alert.labels):
        rule = rulebook.rules[number]
        if matches(rule.matchers, alert.labels):
            taken.append(rule)
            if not rule.continue_:
                break
    return tuple(taken)
