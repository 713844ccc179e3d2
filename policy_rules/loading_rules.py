"""The rules of a policy: matchers, conditions, the ladder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from policy_rules.conditions import BadTerm, parse_term
from policy_rules.fields import NAME, NAME_HINT, Fields, Notes, read_text
from policy_rules.loading_actions import read_actions
from policy_rules.loading_score import read_score
from policy_rules.matchers import BadMatcher, Matcher, parse_matchers
from policy_rules.problems import nearest
from policy_rules.rulebook import (
    ALERT_NUMBERS,
    EVERYONE,
    REOPEN_WITHIN_MOST_SECONDS,
    SCORE,
    UNMATCHED,
    UNMATCHED_RULE,
    All,
    AnyOf,
    Condition,
    Detect,
    Not,
    Recover,
    Rule,
    ScorePart,
    Step,
    terms,
)
from policy_rules.strict_yaml import Path

_KEYS = frozenset(
    {
        "name",
        "matchers",
        "group_by",
        "continue",
        "record",
        "detect",
        "recover",
        "diagnosis_wait",
        "evaluate_every",
        "reopen_within",
        "score",
        "actions",
        "escalation",
    }
)
_FALSE = All(())  # stands for a condition that could not be read; the file is refused all the same
RULES_MAX = 2000
REPEAT_MAX = 20  # times that a step of the ladder is taken again
CHANNELS = ("whatsapp", "voice", "sms", "notice")


@dataclass(frozen=True, slots=True)
class Names:
    """What a rule may refer to: the names of signals and of time intervals, and the policy's score.

    bad_signals: those that could not be read: to use one is no second mistake.
    """

    signals: tuple[str, ...]
    bad_signals: tuple[str, ...]
    intervals: tuple[str, ...]
    score: tuple[ScorePart, ...]
    has_score: bool

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*self.signals, *self.bad_signals, *ALERT_NUMBERS, *([SCORE] if self.has_score else []))


def read_rules(top: Fields, names: Names) -> list[tuple[Path, Rule]]:
    """Every rule that has a name, with its path."""
    found: list[tuple[Path, Rule]] = []
    for count, (path, item) in enumerate(top.items("rules")):
        if count == RULES_MAX:
            top.notes.add(path, f"a policy has at most {RULES_MAX} rules")
            break
        fields = Fields(top.notes, path, item, _KEYS)
        rule = _rule(fields, names)
        if rule.name == UNMATCHED:
            fields.wrong("name", f"{UNMATCHED!r} is the built-in rule for alerts that no other takes: use another name")
        elif any(rule.name == other.name for _, other in found):
            fields.wrong("name", f"a rule {rule.name!r} stands above already")
        if rule.name:
            found.append((path, rule))
    return found


def _rule(fields: Fields, names: Names) -> Rule:
    name = fields.text("name", pattern=NAME, hint=NAME_HINT)
    matchers = read_matchers(fields)
    record = fields.boolean("record", False)
    continue_ = fields.boolean("continue", False)
    if record:
        for key in set(fields.data) - {"name", "matchers", "record", "continue", "group_by"}:
            fields.wrong(key, f"a rule with record: true opens nothing, so {key} has no meaning here")
    elif fields.required("group_by") and fields.data["group_by"] == []:
        pass  # said in so many words: one incident for the whole rule
    group_by = fields.texts("group_by")
    if "..." in group_by:
        fields.wrong("group_by", "group_by must name labels; '...' would make every alert an incident of its own")
    score = read_score(fields, names.signals, names.bad_signals)
    if SCORE in fields:
        names = replace(names, score=score, has_score=True)
    detect = _detect(fields, names)
    known = (*names.signals, *names.bad_signals)
    actions = read_actions(fields, group_by, names.intervals, known, lambda action: _when(action, names))
    return Rule(
        name=name,
        matchers=matchers,
        group_by=group_by,
        detect=detect,
        recover=_recover(fields, names, detect),
        continue_=continue_,
        record=record,
        diagnosis_wait_seconds=fields.duration("diagnosis_wait", 10, most=600),
        evaluate_every_seconds=fields.duration("evaluate_every", 30, least=1, most=3600),
        reopen_within_seconds=fields.duration("reopen_within", 0, most=REOPEN_WITHIN_MOST_SECONDS),
        score=score,
        actions=MappingProxyType(actions),
        escalation=_escalation(fields),
    )


def read_matchers(fields: Fields) -> tuple[Matcher, ...]:
    """Every matcher under `matchers`, which is required."""
    fields.required("matchers")
    found: list[Matcher] = []
    for path, item in fields.items("matchers"):
        text = read_text(fields.notes, path, item)
        if text is None:
            continue
        try:
            matchers = parse_matchers(text)
        except BadMatcher as error:
            fields.notes.add(path, f"the matcher {text[:80]!r} {error}")
            continue
        if not matchers:
            fields.notes.add(path, f"the matcher {text[:80]!r} names no label; to take every alert write matchers: []")
        found.extend(matchers)
    return tuple(found)


def _detect(fields: Fields, names: Names) -> Detect:
    if "detect" not in fields:
        return UNMATCHED_RULE.detect
    detect = Fields(
        fields.notes, (*fields.path, "detect"), fields.data["detect"], ("when", "for", "if_unknown", "unknown_after")
    )
    return Detect(
        when=_when(detect, names),
        for_seconds=detect.duration("for", 0, most=86400),
        if_unknown=detect.on_unknown("if_unknown", ("detect", "hold", "ignore"), "detect"),
        unknown_after_seconds=detect.duration("unknown_after", 60, most=86400),
    )


def _recover(fields: Fields, names: Names, detect: Detect) -> Recover:
    if "recover" not in fields:
        if any(term.of_alerts is None for term in terms(detect.when)) and fields.readable:
            fields.notes.add(
                fields.path, "recover is missing; only a rule that decides on alerts alone may leave it out"
            )
        return UNMATCHED_RULE.recover
    recover = Fields(fields.notes, (*fields.path, "recover"), fields.data["recover"], ("when", "for"))
    return Recover(_when(recover, names), recover.duration("for", 0, most=86400))


def _when(fields: Fields, names: Names) -> Condition:
    if not fields.required("when"):
        return _FALSE
    path = (*fields.path, "when")
    return _condition(fields.notes, path, fields.data["when"], names)


def _condition(notes: Notes, path: Path, value: Any, names: Names) -> Condition:
    """A list (all of it), `{any: […]}`, `{all: […]}`, `{not: …}`, or a term."""
    if isinstance(value, list):
        if not value:
            notes.add(path, "an empty list decides nothing: name at least one comparison")
        return All(tuple(_condition(notes, (*path, index), item, names) for index, item in enumerate(value)))
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in ("any", "all", "not"):
            key = next((key for key in value if key not in ("any", "all", "not")), "")
            words = nearest(key, ("any", "all", "not")) if key else ": write one of them in each mapping"
            notes.add((*path, key) if key else path, f"a condition is a list, or one of any, all and not{words}")
            return _FALSE
        word, inner = next(iter(value.items()))
        if word == "not":
            return Not(_condition(notes, (*path, word), inner, names))
        if not isinstance(inner, list):
            notes.add((*path, word), f"{word} takes a list, like {{{word}: [error_ratio >= 0.05]}}")
            return _FALSE
        whole = _condition(notes, (*path, word), inner, names)
        return AnyOf(whole.of) if word == "any" and isinstance(whole, All) else whole
    return _term(notes, path, value, names)


def _term(notes: Notes, path: Path, value: Any, names: Names) -> Condition:
    text = read_text(notes, path, value)
    if text is None:
        return _FALSE
    try:
        term = parse_term(text)
    except BadTerm as error:
        notes.add(path, f"the condition {error}")
        return _FALSE
    if term.of_alerts is None and term.name not in names.numbers:
        notes.add(path, f"there is no number {term.name!r}{nearest(term.name, names.numbers)}")
    return replace(term, parts=names.score) if term.name == SCORE else term


def _escalation(fields: Fields) -> tuple[Step, ...]:
    steps: list[Step] = []
    for path, item in fields.items("escalation"):
        step = Fields(fields.notes, path, item, ("after", "notify", "channel", "repeat"))
        step.required("after")
        step.required("notify")
        notify = step.texts("notify")
        if "notify" in step and not step.data["notify"]:
            step.wrong("notify", "notify names nobody")
        for index, target in enumerate(notify):
            if target != EVERYONE and target.partition(":")[0] not in ("role", "person"):
                message = f"{target!r} must be role:NAME, person:NAME or {EVERYONE}; did you mean 'role:{target}'?"
                fields.notes.add((*path, "notify", index), message)
        after, channel = step.duration("after", 0, most=7 * 86400), step.choice("channel", CHANNELS, "whatsapp")
        steps.append(Step(after, notify, channel, *_repeat(step)))
        if len(steps) > 1 and steps[-1].after_seconds < steps[-2].after_seconds:
            step.wrong(
                "after", "after counts from the opening of the incident: no step may come before the one above it"
            )
    return tuple(steps)


def _repeat(step: Fields) -> tuple[float, int]:
    """Seconds between the repetitions of a step, and how many there are."""
    if "repeat" not in step:
        return 0.0, 0
    again = Fields(step.notes, (*step.path, "repeat"), step.data["repeat"], ("every", "max"))
    again.required("every")
    again.required("max")
    return again.duration("every", 60, least=60, most=86400), again.whole("max", 1, least=1, most=REPEAT_MAX)
