"""A first file of cases for a policy: for each rule one that opens and ends, with what became of it written in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal

from policy_rules.casebook.cases import DEFAULT_START, Case, CaseAlert, Event, Expectation
from policy_rules.casebook.series import Sample
from policy_rules.conditions import Value, judge
from policy_rules.durations import duration
from policy_rules.matchers import matches
from policy_rules.readings import ReadingState
from policy_rules.rulebook import (
    RESOLVED,
    All,
    Condition,
    Rule,
    Rulebook,
    signals_used,
    terms,
    terms_of,
)
from receiver.rehearsal.running import roster_for, run_case

INTERVAL_SECONDS = 30
WELL, ILL = 4, 20  # samples before it breaks, and while it is broken


def first_cases(rulebook: Rulebook, policy: str) -> str:
    """The file's text. policy: the policy's name beside the file."""
    lines = [
        f"# First cases for {rulebook.name} {rulebook.version}: what the policy does today, to be read and changed.",
        "# `counterfoil policy test` runs them. A signal's samples stand 30 s apart: 0.01x3 is four of them.",
        f"policy: {policy}",
        "tests:",
    ]
    for rule in rulebook.rules:
        if not rule.record:
            lines += _case_lines(rule, rulebook)
    return "\n".join(lines) + "\n"


def _case_lines(rule: Rule, rulebook: Rulebook) -> Iterator[str]:
    labels = _labels(rule, rulebook)
    if labels is None:
        yield f"  # {rule.name}: no labels could be found that its matchers take; write them yourself"
        return
    needed = tuple(action.when for action in list(rule.actions.values())[:1] if action.when is not None)
    ill = _numbers(All((rule.detect.when, *needed)), rule) or _numbers(rule.detect.when, rule)
    well = _numbers(rule.recover.when, rule)
    minutes = (ILL + 2) * INTERVAL_SECONDS
    after = max(rule.recover.for_seconds, 60) + 3 * rule.evaluate_every_seconds
    tail = int(after // INTERVAL_SECONDS) + 4
    signals = {}
    for name in signals_used(rule):
        good, bad = well.get(name, ill.get(name, "0")), ill.get(name, well.get(name, "0"))
        signals[name] = ((good, WELL), (bad, ILL), (good, tail))
    needs_end = any(term.of_alerts is not None for term in terms(rule.recover.when))
    until = float((WELL + ILL) * INTERVAL_SECONDS) if needs_end or not signals else None
    end = max(minutes, (WELL + ILL) * INTERVAL_SECONDS + after)
    case = Case(
        name=f"{rule.name} opens and ends",
        line=1,
        start=DEFAULT_START,
        interval_seconds=INTERVAL_SECONDS,
        alerts=(CaseAlert(labels, 0, until),),
        signals={
            name: tuple(Sample(ReadingState.VALUE, value) for value, count in parts for _ in range(count))
            for name, parts in signals.items()
        },
        events=(),
        expectations=(Expectation(float(end), 1, {"state": "recovered"}),),
    )
    approver = next((n for a in rule.actions.values() for n in roster_for(case, rulebook)), None)
    moments = _moments(case, rulebook)
    asked = next((at for at, state in moments if state == "proposed"), None)
    if asked is not None and approver is not None:
        case = _with_answer(case, asked + 30, approver)
        moments = _moments(case, rulebook)
    yield f"  - name: {case.name}"
    yield f"    labels: {_flow(labels)}"
    if until is not None:
        yield f"    until: {duration(until)}"
    if signals:
        yield "    signals:"
        for name, parts in signals.items():
            series = " ".join(f"{value}x{count - 1}" for value, count in parts)
            yield f"      {name}: {series}"
    for event in case.events:
        yield f"    events: [{{at: {duration(event.at_seconds)}, answer: approve, by: {event.by}}}]"
    yield "    expect:"
    for at, state in moments:
        yield f"      - {{at: {duration(at)}, state: {state}}}"


def _with_answer(case: Case, at: float, by: str) -> Case:
    event = Event(at, "answer", "approve", by)
    return Case(
        case.name,
        case.line,
        case.start,
        case.interval_seconds,
        case.alerts,
        case.signals,
        (event,),
        case.expectations,
    )


def _moments(case: Case, rulebook: Rulebook) -> list[tuple[float, str]]:
    """The states of the case's incident in order, each at a time at which it has come about."""
    words = {
        "DETECTED": "detected",
        "PROPOSED": "proposed",
        "DISPATCHED": "executing",
        "EXECUTED": "verifying",
        "RECOVERED": "recovered",
    }
    found: dict[float, str] = {0.0: "none"}
    for entry in run_case(case, rulebook, None).log:
        if entry.stage in words:
            at = (entry.timestamp - case.start) / timedelta(seconds=1)
            found[float(-(-at // 1))] = words[entry.stage]
    return sorted(found.items())


def _labels(rule: Rule, rulebook: Rulebook) -> dict[str, str] | None:
    """Labels that `rule` takes: the values of its `=` matchers, the first word of its `=~`, and its group."""
    labels = {"alertname": "Example"}
    for matcher in rule.matchers:
        if matcher.operator == "=":
            labels[matcher.name] = matcher.value
        elif matcher.operator == "=~":
            labels[matcher.name] = matcher.value.strip("()^$").split("|")[0].replace(".*", "x").replace(".+", "x")
    for action in rule.actions.values():
        for param in action.params:
            if param.label is not None and param.allow:
                labels.setdefault(param.label, param.allow[0])
    for label in rule.group_by:
        labels.setdefault(label, "example")
    return labels if matches(rule.matchers, labels) else None


def _numbers(condition: Condition, rule: Rule) -> Mapping[str, str]:
    """A number for each signal such that `condition` holds, tried from its own thresholds; {} where none was found."""
    parts = {part.signal: part for term in terms_of(rule) for part in term.parts}
    names = signals_used(rule)
    read = {p.signal: str(p.least) for action in rule.actions.values() for p in action.params if p.signal is not None}
    options: dict[str, list[str]] = {}
    for name in names:
        tried = [Decimal(t.threshold) for t in terms_of(rule) if t.name == name]
        near = [f"{value * factor:f}" for value in tried for factor in (Decimal("0.5"), Decimal(1), Decimal(2))]
        ends = [parts[name].good, parts[name].bad] if name in parts else []
        options[name] = [*([read[name]] if name in read else []), *near, *ends, "0", "1"]
    own_alerts = [t for t in terms_of(rule) if t.of_alerts is not None]
    for pick in range(max((len(found) for found in options.values()), default=0)):
        for other in range(max(len(found) for found in options.values())):
            chosen = {
                name: found[(pick if place == 0 else other) % len(found)]
                for place, (name, found) in enumerate(options.items())
            }
            known = {name: Value(value) for name, value in chosen.items()}
            known |= {t.name: Value("0" if t.of_alerts == RESOLVED else "1") for t in own_alerts}
            if judge(condition, known).holds:
                return chosen
    return {}


def _flow(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in labels.items()) + "}"
