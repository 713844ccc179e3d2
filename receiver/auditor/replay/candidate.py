"""What another policy would have decided on a ledger's history: per watch and incident, where it first differs.

The ledger keeps the readings of the looks that changed something, and not those between. What a candidate would have
made of the others cannot be known, and is said so; only where its condition is at least as strict as the one that was
false all the time is it known to be false too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import format_time
from policy_rules.approval import eligible, levels, needed
from policy_rules.detection import assign, should_detect
from policy_rules.implication import implies
from policy_rules.permission import Permission, may_propose
from policy_rules.recovery import should_recover
from policy_rules.rulebook import Action, Rule, Rulebook, needs, signals_of
from policy_rules.verdict import Outcome
from receiver.auditor.replay.between import Point, Question, clock
from receiver.auditor.replay.episodes import Asked, Episode

SAME, OTHERWISE, UNKNOWN = "same", "otherwise", "unknown"


@dataclass(frozen=True, slots=True)
class Judged:
    """How one episode comes out: SAME, OTHERWISE at a time, or UNKNOWN from a time on. text: in words."""

    episode: Episode
    result: str
    at: datetime | None = None
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        episode = self.episode
        return {
            "watched": episode.index,
            "incident": episode.incident,
            "rule": episode.rule,
            "key": dict(episode.key),
            "began": format_time(episode.began),
            "result": self.result,
            "at": format_time(self.at) if self.at is not None else None,
            "text": self.text,
        }


def judge_episode(episode: Episode, candidate: Rulebook) -> Judged:
    """The first point at which `candidate` differs, or from which on it cannot be known what it would have done."""
    taken = _taken(episode, candidate)
    if isinstance(taken, Point):
        return Judged(episode, OTHERWISE, taken.at, taken.text)
    rule, key = taken
    points = [*_looks(episode, candidate, rule), *_permissions(episode, candidate, rule, key)]
    if not points:
        return Judged(episode, SAME)
    first = min(points, key=lambda point: point.at)
    return Judged(episode, OTHERWISE if first.certain else UNKNOWN, first.at, first.text)


def _taken(episode: Episode, candidate: Rulebook) -> tuple[Rule, Mapping[str, str]] | Point:
    """The rule and the key that the candidate gives the episode's alerts, or what it does with them otherwise."""
    own = (episode.rule, dict(episode.key))
    alerts = [alert for look in episode.looks[:1] for alert in look.alerts]
    assignments = [(a.rule, dict(a.key)) for alert in alerts for a in assign(candidate, alert)]
    if own in assignments or (not alerts and any(rule.name == episode.rule for rule in candidate.rules)):
        return candidate.rule(episode.rule), own[1]
    if not assignments:
        return Point(episode.began, f"no rule takes its alerts as {episode.rule} did")
    rule, key = assignments[0]
    shown = ", ".join(f"{name}={value}" for name, value in key.items()) or "no key"
    return Point(episode.began, f"its alerts would be taken by {rule}, {shown}")


# --- looks -----------------------------------------------------------------------------------------------------------


def _looks(episode: Episode, candidate: Rulebook, rule: Rule) -> Iterator[Point]:
    """Where the candidate opens or ends the incident at another time."""
    recorded, old = episode.rulebook, episode.rulebook.rule(episode.rule)
    names = signals_of(rule)
    unread = [name for name in names if not _same_signal(name, recorded, candidate)]
    if not unread and _decides_alike(recorded, old, candidate, rule):
        return  # the same readings, judged in the same way
    if unread:
        yield Point(episode.began, f"it asks for {', '.join(unread)}, which was not read", certain=False)
        return
    opened_at = episode.opened_at
    ask = Question(
        ask=should_detect,
        candidate=candidate,
        rule=rule,
        looked_every=timedelta(seconds=old.evaluate_every_seconds),
        met=Outcome.DETECT,
        held_seconds=rule.detect.for_seconds,
        equal=old.detect.when == rule.detect.when,
        stricter=implies(rule.detect.when, old.detect.when),
        verb="open",
    )
    looks = [one for one in episode.looks if opened_at is None or one.at <= opened_at]
    found = ask.first(looks, episode.began, opened_at or episode.ended_at)
    if found.unknown is not None:
        yield found.unknown
    elif found.at is not None and not (found.look and found.look.stage == "DETECTED" and found.at == found.look.at):
        recorded_words = f"it was opened at {clock(opened_at)}" if opened_at is not None else "none was opened"
        yield Point(found.at, f"would open an incident: {found.reason}; {recorded_words}")
    elif found.at is None and opened_at is not None:
        yield Point(opened_at, f"would not open then: {found.reason}")
    elif opened_at is not None:
        ends = replace(
            ask,
            ask=should_recover,
            met=Outcome.RECOVER,
            held_seconds=rule.recover.for_seconds,
            equal=old.recover.when == rule.recover.when,
            stricter=implies(rule.recover.when, old.recover.when),
            verb="be recovered",
        )
        yield from _ends(episode, ends, opened_at)


def _ends(episode: Episode, ask: Question, opened_at: datetime) -> Iterator[Point]:
    """Where an incident that is opened as it was ends otherwise."""
    found = ask.first([look for look in episode.looks if look.at > opened_at], opened_at, episode.ended_at)
    if found.unknown is not None:
        yield found.unknown
    elif found.at is not None and not (found.look and found.look.stage == "RECOVERED" and found.at == found.look.at):
        end = episode.ended_at
        recorded = f"it was {(episode.ended or '').lower()} at {clock(end)}" if end is not None else "it is still open"
        yield Point(found.at, f"would be recovered: {found.reason}; {recorded}")
    elif found.at is None and episode.ended == "RECOVERED" and episode.ended_at is not None:
        yield Point(episode.ended_at, f"would not be recovered then: {found.reason}")


def _same_signal(name: str, recorded: Rulebook, candidate: Rulebook) -> bool:
    old = recorded.signals.get(name)
    return old is not None and old.promql == candidate.signals[name].promql


def _decides_alike(recorded: Rulebook, old: Rule, candidate: Rulebook, rule: Rule) -> bool:
    ages = all(
        recorded.signals[name].max_age_seconds == candidate.signals[name].max_age_seconds for name in signals_of(rule)
    )
    return ages and (old.detect, old.recover, old.evaluate_every_seconds) == (
        rule.detect,
        rule.recover,
        rule.evaluate_every_seconds,
    )


# --- permissions -----------------------------------------------------------------------------------------------------


def _permissions(episode: Episode, candidate: Rulebook, rule: Rule, key: Mapping[str, str]) -> Iterator[Point]:
    """Where another action may be done, or by others."""
    for asked in episode.asked:
        if asked.stage == "AUTHORIZED":
            yield from (Point(asked.at, text) for text in _approvals(asked, rule))
        else:
            yield from _offers(episode, asked, candidate, rule, key)


def _offers(episode: Episode, asked: Asked, candidate: Rulebook, rule: Rule, key: Mapping[str, str]) -> Iterator[Point]:
    old = episode.rulebook.rule(episode.rule)
    for action in dict.fromkeys((*old.actions, *rule.actions)):
        unread = _unread(episode.rulebook, candidate, old.actions.get(action), rule.actions.get(action), asked)
        if unread:
            text = f"whether {action} would be offered: {', '.join(unread)} was not read"
            yield Point(asked.at, text, certain=False)
            continue
        was = _may(episode.rulebook, asked.in_force, old, action, dict(episode.key), asked)
        now = _may(candidate, candidate, rule, action, key, asked)
        yield from (Point(asked.at, text) for text in _otherwise(action, was, now))


def _unread(
    recorded: Rulebook, candidate: Rulebook, old: Action | None, new: Action | None, asked: Asked
) -> tuple[str, ...]:
    """The signals of an action's own condition that were not read then, where the candidate has another condition."""
    if _asks(old) == _asks(new):
        return ()
    read = {reading.name for reading in asked.readings}
    wanted = needs(old) if new is not None else ()
    missing = {name for name in wanted if name not in read}
    for name in needs(new):
        if name not in read or not _same_signal(name, recorded, candidate):
            missing.add(name)
    return tuple(sorted(missing))


def _asks(action: Action | None) -> tuple[object, ...]:
    """What the question about an action rests on beside the ledger."""
    return (action.when, *(p for p in action.params if p.signal is not None)) if action is not None else (None,)


def _otherwise(action: str, was: Permission, now: Permission) -> Iterator[str]:
    if was.outcome is not now.outcome:
        before = f"it was {_PERMITS[was.outcome]}: {was.reason}"
        yield f"{action} would be {_PERMITS[now.outcome]}: {now.reason}; {before}"
    elif now.outcome is Outcome.PERMIT:
        for name, one, other in (
            ("approvers", ", ".join(was.approvers), ", ".join(now.approvers)),
            ("quorum", str(was.quorum), str(now.quorum)),
            ("params", _pairs(was.params), _pairs(now.params)),
        ):
            if one != other:
                yield f"{action}: {name} {other}, was {one}"


_PERMITS = {Outcome.PERMIT: "permitted", Outcome.DENY: "denied"}


def _may(
    book: Rulebook, in_force: Rulebook, rule: Rule, action: str, key: Mapping[str, str], asked: Asked
) -> Permission:
    return may_propose(
        book,
        in_force,
        rule.name,
        action,
        key,
        asked.alerts,
        asked.people,
        asked.past,
        asked.halted,
        asked.at,
        asked.readings,
    )


def _approvals(asked: Asked, rule: Rule) -> Iterator[str]:
    """Whether the answers that were given would be enough."""
    action = rule.actions.get(asked.action)
    if action is None:
        return
    counted = set(asked.approved_by) & eligible(action, asked.people)
    given = ", ".join(asked.approved_by)
    if len(counted) < needed(action):
        yield f"{asked.action} would not be authorized by {given}: {len(counted)} of {needed(action)} count"
    elif not levels(action, asked.people).met(counted):
        yield f"{asked.action} would not be authorized by {given}: they are not enough at both levels"


def _pairs(params: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items()) or "none"
