"""What a policy may say and probably does not mean. `policy check` prints it; nothing is refused for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal

import promql_parser

from policy_rules.approval import Person, levels, needed
from policy_rules.durations import duration
from policy_rules.implication import implies
from policy_rules.matchers import Matcher
from policy_rules.permission import notified
from policy_rules.problems import Problem, nearest
from policy_rules.rulebook import Action, All, Condition, Rule, Rulebook, Term
from policy_rules.signals import parse, selectors
from policy_rules.strict_yaml import Path, Position, collect

Advice = Iterator[tuple[Path, str]]
_VANISHES = "has no value when all is well: its numerator is empty without failures; write (… or vector(0)) / …"


def warnings(
    rulebook: Rulebook,
    roster: Sequence[Person] | None = None,
    executors: Collection[str] | None = None,
    channels: Mapping[str, Collection[str]] | None = None,
) -> tuple[Problem, ...]:
    """Each with its place. roster, executors and channels (person → the channels by which they can be reached): None
    where they are not known; what needs them is then not said."""
    positions = collect(rulebook.text, rulebook.file)[1]
    found: list[tuple[Path, str]] = []
    for name, signal in rulebook.signals.items():
        if _vanishes(signal.promql):
            found.append((("signals", name), f"the signal {name} {_VANISHES}"))
    for index, rule in enumerate(rulebook.rules):
        path: Path = ("rules", index)
        found.extend(_gaps(path, rule))
        found.extend(_shadows(path, rule, rulebook.rules[:index]))
        found.extend(_ladder(path, rule))
        for name, action in rule.actions.items():
            found.extend(_action((*path, "actions", name), rule, action))
            found.extend(_needless((*path, "actions", name), rule, action))
            if roster is not None:
                found.extend(_nobody((*path, "actions", name), action, roster))
            if executors is not None and action.executor not in executors:
                message = f"the executor {action.executor!r} is not configured{nearest(action.executor, executors)}"
                found.append(((*path, "actions", name, "executor"), message))
        if roster is not None:
            found.extend(_unheard(path, rule, rulebook, roster))
            if channels is not None:
                found.extend(_out_of_reach(path, rule, rulebook, roster, channels))
    return tuple(sorted({Problem(rulebook.file, *_place(positions, path), message) for path, message in found}))


def place(rulebook: Rulebook, path: Path) -> Position:
    """Where the text of `rulebook` says `path`, like ("signals", "error_ratio"), or what stands around it."""
    return _place(collect(rulebook.text, rulebook.file)[1], path)


def _place(positions: dict[Path, Position], path: Path) -> Position:
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path, Position(1, 1))


def _conjuncts(condition: Condition) -> Iterator[Term]:
    """The terms that must all hold."""
    if isinstance(condition, Term):
        yield condition
    elif isinstance(condition, All):
        for part in condition.of:
            yield from _conjuncts(part)


def _gaps(path: Path, rule: Rule) -> Advice:
    """One value that both opens and ends an incident makes it flap."""
    for detect in _conjuncts(rule.detect.when):
        for recover in _conjuncts(rule.recover.when):
            if detect.name != recover.name or detect.of_alerts is not None:
                continue
            high, low = Decimal(detect.threshold), Decimal(recover.threshold)
            upward = detect.operator[0] == ">" and recover.operator[0] == "<"
            downward = detect.operator[0] == "<" and recover.operator[0] == ">"
            if (upward and low >= high) or (downward and low <= high):
                yield (
                    (*path, "recover"),
                    (
                        f"no gap between detect ({detect.name} {detect.operator} {detect.threshold}) and recover "
                        f"({recover.operator} {recover.threshold}): the incident may flap"
                    ),
                )


def _vanishes(promql: str) -> bool:
    """Whether a ratio's numerator selects failures alone, so that it is empty when there are none."""
    root = parse(promql)[0]
    while isinstance(root, promql_parser.ParenExpr):
        root = root.expr
    if not isinstance(root, promql_parser.BinaryExpr) or str(root.op) != "/":
        return False
    if any(isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "or" for node in parse(str(root.lhs))):
        return False
    wholes = selectors(parse(str(root.rhs)))
    for name, matchers in selectors(parse(str(root.lhs))):
        for whole, others in wholes:
            if name == whole and set(others) < set(matchers):
                return True
    return False


def _shadows(path: Path, rule: Rule, before: Sequence[Rule]) -> Advice:
    for other in before:
        if not other.continue_ and all(_implied(matcher, rule.matchers) for matcher in other.matchers):
            yield (
                (*path, "matchers"),
                f"the rule {rule.name} takes nothing: {other.name} above takes all that it matches",
            )
            return


def _implied(matcher: Matcher, by: Sequence[Matcher]) -> bool:
    """Whether whatever satisfies all of `by` satisfies `matcher`."""
    same = [other for other in by if other.name == matcher.name]
    return any(
        other == matcher or (other.operator == "=" and matcher.matches({other.name: other.value})) for other in same
    )


def _ladder(path: Path, rule: Rule) -> Advice:
    if not rule.actions:
        return
    expires = min(action.expires_seconds for action in rule.actions.values())
    named = [a for action in rule.actions.values() for a in (action.approvers, action.approvers.second) if a]
    roles = {role for approvers in named for role in approvers.roles}
    for index, step in enumerate(rule.escalation):
        if step.after_seconds >= expires:
            yield (
                (*path, "escalation", index, "after"),
                (
                    f"this step comes {duration(step.after_seconds)} after the opening, when the question has expired "
                    f"({duration(expires)}): nobody can answer it any more"
                ),
            )
        for number, target in enumerate(step.notify):
            kind, _, name = target.partition(":")
            if kind == "role" and name not in roles:
                yield (
                    (*path, "escalation", index, "notify", number),
                    (f"the role {name} is notified and can approve no action of {rule.name}"),
                )


def _action(path: Path, rule: Rule, action: Action) -> Advice:
    if action.verify_within_seconds <= rule.recover.for_seconds:
        yield (
            (*path, "verify"),
            (
                f"verify.within ({duration(action.verify_within_seconds)}) is not longer than recover.for "
                f"({duration(rule.recover.for_seconds)}): no run can ever be confirmed"
            ),
        )


def _needless(path: Path, rule: Rule, action: Action) -> Advice:
    """An action that is offered only while the service recovers is withdrawn at every tap."""
    if action.when is not None and implies(action.when, rule.recover.when):
        yield (*path, "when"), f"{action.name} is offered only while recover holds, when nothing is done any more"


def _nobody(path: Path, action: Action, roster: Sequence[Person]) -> Advice:
    who = levels(action, roster)
    can = sorted(who.first | who.second)
    if len(can) < needed(action):
        words = f"only {', '.join(can)} can" if can else "nobody can"
        yield (*path, "approvers"), f"{action.name} needs {needed(action)} to approve, and {words}"
    elif not who.met(can):
        first, second = (", ".join(sorted(names)) or "nobody" for names in (who.first, who.second))
        words = f"{who.quorum} of the first level ({first}) and {who.second_quorum} of the second ({second})"
        yield (*path, "approvers"), f"{action.name} needs {words} to approve, and so many there are not"


def _unheard(path: Path, rule: Rule, rulebook: Rulebook, roster: Sequence[Person]) -> Advice:
    for index, step in enumerate(rule.escalation):
        for number, target in enumerate(step.notify):
            if not notified(rulebook, (target,), roster):
                yield (*path, "escalation", index, "notify", number), f"{target} is nobody in the roster"


def _out_of_reach(
    path: Path, rule: Rule, rulebook: Rulebook, roster: Sequence[Person], channels: Mapping[str, Collection[str]]
) -> Advice:
    for index, step in enumerate(rule.escalation):
        people = notified(rulebook, step.notify, roster)
        missed = sorted(name for name in people if step.channel not in channels.get(name, ()))
        if missed:
            message = f"{', '.join(missed)} cannot be reached by {step.channel}: the ladder passes over them there"
            yield (*path, "escalation", index, "channel"), message
