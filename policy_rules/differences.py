"""What changed between two policies, in words: "checkout-errors: detects at error_ratio >= 0.05, was >= 0.10". Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from policy_rules.durations import duration
from policy_rules.rulebook import (
    Action,
    All,
    AnyOf,
    Approvers,
    Condition,
    Limit,
    Not,
    Param,
    Rule,
    Rulebook,
    ScorePart,
    Step,
    Term,
)

T = TypeVar("T")


def differences(old: Rulebook, new: Rulebook) -> list[str]:
    """One line for each thing that `new` has otherwise than `old`; empty where both decide the same."""
    lines = []
    if old.name != new.name:
        lines.append(f"policy: is called {new.name}, was {old.name}")
    lines += _signals(old, new)
    lines += _changed("score", "weighs", _score(old.score, "nothing"), _score(new.score, "nothing"))
    lines += _changed("unmatched", "alerts that no rule takes:", old.unmatched, new.unmatched)
    lines += _rules(old, new)
    lines += _changed("mute", "lets wait", _mutes(old), _mutes(new))
    for name, gone, came in _pairs(old.intervals, new.intervals):
        if gone is None or came is None:
            lines.append(f"time_intervals: {name} is {'new' if gone is None else 'gone'}")
        elif gone != came:
            lines.append(f"time_intervals: {name} covers other times")
    return lines


def condition_text(condition: Condition) -> str:
    """`condition` as a person reads it: "error_ratio >= 0.05 and (score < 70 or alerts.firing >= 2)"."""
    if isinstance(condition, Term):
        return f"{condition.name} {condition.operator} {condition.threshold}"
    if isinstance(condition, Not):
        return f"not ({condition_text(condition.of)})"
    word = " and " if isinstance(condition, All) else " or "
    parts = [
        f"({condition_text(part)})" if isinstance(part, All | AnyOf) and len(part.of) > 1 else condition_text(part)
        for part in condition.of
    ]
    return word.join(parts) or ("always" if isinstance(condition, All) else "never")


def _signals(old: Rulebook, new: Rulebook) -> Iterator[str]:
    for name, gone, came in _pairs(old.signals, new.signals):
        if gone is None or came is None:
            yield f"signals: {name} is {'new' if gone is None else 'gone'}"
            continue
        if gone.promql != came.promql:
            yield f"signals: {name} asks {_one_line(came.promql)}, was {_one_line(gone.promql)}"
        yield from _changed(
            f"signals: {name}", "is at most", duration(gone.max_age_seconds), duration(came.max_age_seconds), " old"
        )


def _score(parts: Sequence[ScorePart], none: str) -> str:
    return ", ".join(f"{p.signal} {p.weight} from {p.bad} (bad) to {p.good} (good)" for p in parts) or none


def _rules(old: Rulebook, new: Rulebook) -> Iterator[str]:
    before, after = {r.name: r for r in old.rules}, {r.name: r for r in new.rules}
    for name, gone, came in _pairs(before, after):
        if gone is None or came is None:
            yield f"{name}: is {'a new rule' if gone is None else 'gone'}"
        else:
            yield from _rule(name, gone, came)
    shared = [name for name in before if name in after]
    order = [name for name in after if name in before]
    if shared != order:
        yield f"rules: come in another order: {', '.join(after)}"


def _rule(name: str, old: Rule, new: Rule) -> Iterator[str]:
    yield from _changed(name, "takes", _matchers(old), _matchers(new))
    yield from _changed(name, "groups by", _names(old.group_by), _names(new.group_by))
    yield from _changed(name, "goes on to later rules:", _yes(old.continue_), _yes(new.continue_))
    yield from _changed(name, "only writes down:", _yes(old.record), _yes(new.record))
    yield from _changed(
        name, "its score weighs", _score(old.score, "as the policy's"), _score(new.score, "as the policy's")
    )
    yield from _condition(name, "detects", old.detect.when, new.detect.when)
    yield from _times(name, "detects after", old.detect.for_seconds, new.detect.for_seconds)
    yield from _changed(name, "detection on the unknown:", old.detect.if_unknown.text(), new.detect.if_unknown.text())
    yield from _times(
        name, "takes the alert's word after", old.detect.unknown_after_seconds, new.detect.unknown_after_seconds
    )
    yield from _condition(name, "recovers", old.recover.when, new.recover.when)
    yield from _times(name, "recovers after", old.recover.for_seconds, new.recover.for_seconds)
    yield from _times(name, "looks every", old.evaluate_every_seconds, new.evaluate_every_seconds)
    yield from _times(
        name, "takes what breaks again for the same within", old.reopen_within_seconds, new.reopen_within_seconds
    )
    yield from _times(name, "waits for an explanation", old.diagnosis_wait_seconds, new.diagnosis_wait_seconds)
    for action, gone, came in _pairs(old.actions, new.actions):
        if gone is None or came is None:
            yield f"{name}: {action} is {'a new action' if gone is None else 'gone'}"
        else:
            yield from _action(f"{name}: {action}", gone, came)
    if list(old.actions) != list(new.actions) and set(old.actions) == set(new.actions):
        yield f"{name}: proposes in another order: {', '.join(new.actions)}"
    yield from _changed(name, "tells", _ladder(old.escalation), _ladder(new.escalation))


def _action(name: str, old: Action, new: Action) -> Iterator[str]:
    yield from _changed(name, "runs by", old.executor, new.executor)
    yield from _changed(name, "is called", repr(old.title), repr(new.title))
    yield from _changed(name, "has the risk", repr(old.risk), repr(new.risk))
    yield from _changed(name, "is given", _params(old.params), _params(new.params))
    yield from _changed(name, "is approved by", _approvers(old.approvers), _approvers(new.approvers))
    yield from _times(name, "expires after", old.expires_seconds, new.expires_seconds)
    yield from _changed(name, "may run", _limits(old), _limits(new))
    yield from _changed(name, "is held back after", _breaker(old), _breaker(new))
    yield from _changed(name, "is blocked during", _names(old.blocked_during), _names(new.blocked_during))
    yield from _changed(name, "needs the PIN of whoever approves:", _yes(old.pin), _yes(new.pin))
    yield from _changed(name, "may be sent again after a doubt:", _yes(old.idempotent), _yes(new.idempotent))
    yield from _changed(name, "on missing evidence:", old.if_unknown.text(), new.if_unknown.text())
    yield from _changed(name, "is offered when", _offered(old), _offered(new))
    yield from _changed(name, "where that is unknown:", old.when_unknown.text(), new.when_unknown.text())
    yield from _times(name, "must be done within", old.execute_within_seconds, new.execute_within_seconds)
    yield from _times(name, "must have helped within", old.verify_within_seconds, new.verify_within_seconds)


def _condition(name: str, verb: str, old: Condition, new: Condition) -> Iterator[str]:
    """The one comparison that changed, where everything else stands as it did; else both conditions whole."""
    if condition_text(old) == condition_text(new):
        return  # what another score means to it is said of the score
    before, after = _flat(old), _flat(new)
    changed = [(a, b) for a, b in zip(before, after, strict=False) if condition_text(a) != condition_text(b)]
    if len(before) == len(after) and len(changed) == 1 and _shape(old) == _shape(new):
        was, now = changed[0]
        if was.name == now.name:
            yield f"{name}: {verb} at {condition_text(now)}, was {was.operator} {was.threshold}"
            return
    yield f"{name}: {verb} when {condition_text(new)}, was {condition_text(old)}"


def _flat(condition: Condition) -> list[Term]:
    if isinstance(condition, Term):
        return [condition]
    parts = (condition.of,) if isinstance(condition, Not) else condition.of
    return [term for part in parts for term in _flat(part)]


def _shape(condition: Condition) -> Any:
    """The nesting of a condition, without its terms."""
    if isinstance(condition, Term):
        return "term"
    if isinstance(condition, Not):
        return ("not", _shape(condition.of))
    return (type(condition).__name__, *(_shape(part) for part in condition.of))


def _changed(name: str, verb: str, old: str, new: str, unit: str = "") -> Iterator[str]:
    if old != new:
        yield f"{name}: {verb} {new}{unit}, was {old}{unit}"


def _times(name: str, verb: str, old: float, new: float) -> Iterator[str]:
    yield from _changed(name, verb, duration(old), duration(new))


def _pairs(old: Mapping[str, T], new: Mapping[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    for name in dict.fromkeys((*old, *new)):
        yield name, old.get(name), new.get(name)


def _matchers(rule: Rule) -> str:
    return ", ".join(f'{m.name}{m.operator}"{m.value}"' for m in rule.matchers) or "every alert"


def _mutes(book: Rulebook) -> str:
    shown = (f"{', '.join(map(str, mute.matchers))} during {_names(mute.during)}" for mute in book.mutes)
    return "; ".join(shown) or "nothing"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _params(params: Sequence[Param]) -> str:
    shown = [
        f"{p.name}={p.constant}"
        if p.constant is not None
        else f"{p.name} from {p.signal}, {p.least} to {p.most}"
        if p.signal is not None
        else f"{p.name} from {p.label}, one of {'/'.join(p.allow)}"
        for p in params
    ]
    return "; ".join(shown) or "nothing"


def _approvers(approvers: Approvers) -> str:
    who = [*(f"role {role}" for role in approvers.roles), *approvers.people]
    second = f" and beside them {_approvers(approvers.second)}" if approvers.second is not None else ""
    return f"{approvers.quorum} of {', '.join(who)}{second}"


def _limits(action: Action) -> str:
    wider = [f"{_limit(limit)} for the {limit.of}" for limit in action.limits]
    return "; ".join([_limit(action.limit), *wider])


def _breaker(action: Action) -> str:
    found = action.breaker
    if found is None:
        return "no number of failures"
    return f"{found.failures} runs in a row for the {found.of} that failed or did not help"


def _offered(action: Action) -> str:
    return condition_text(action.when) if action.when is not None else "always"


def _limit(limit: Limit) -> str:
    parts = [f"{limit.max} times in {duration(limit.per_seconds)}"] if limit.max is not None else ["without a limit"]
    parts += [f"with {duration(limit.cooldown_seconds)} between"] if limit.cooldown_seconds else []
    return ", ".join(parts)


def _ladder(steps: Sequence[Step]) -> str:
    shown = [f"after {duration(s.after_seconds)} {', '.join(s.notify)} by {s.channel}{_again(s)}" for s in steps]
    return "; ".join(shown) or "everyone, once"


def _again(step: Step) -> str:
    return f", and {step.repeat_max} times every {duration(step.repeat_seconds)}" if step.repeat_max else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
