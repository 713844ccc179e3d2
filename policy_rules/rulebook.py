"""The policy file's contents as frozen values. `loading.load` makes a Rulebook; nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from policy_rules.candidates import Candidates
from policy_rules.intervals import TimeInterval
from policy_rules.matchers import Matcher
from policy_rules.readings import Query
from policy_rules.signals import substitute_labels
from policy_rules.unknown import DETECT, PROCEED, WAIT, OnUnknown

UNMATCHED = "unmatched"
EVERYONE = "everyone"
NOT_STATED = "not stated"  # the risk of an action that states none
FIRING, RESOLVED, AGE, SCORE = "alerts.firing", "alerts.resolved", "alerts.age_seconds", "score"
ALERT_NUMBERS = (FIRING, RESOLVED, AGE)
REOPEN_WITHIN_MOST_SECONDS = 7 * 86400  # after which nothing that ended can be reopened by any policy


@dataclass(frozen=True, slots=True)
class Term:
    """NAME OPERATOR NUMBER. `threshold` is the number as the file writes it.

    of_alerts: one of ALERT_NUMBERS where it is about the incident's own alerts; `name` then has the matchers, too.
    parts: what the score is made of, where it is about the score.
    """

    name: str
    operator: str
    threshold: str
    of_alerts: str | None = None
    matchers: tuple[Matcher, ...] = ()
    parts: tuple[ScorePart, ...] = ()


@dataclass(frozen=True, slots=True)
class All:
    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    of: Condition


Condition = Term | All | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Signal:
    """A number that a rule may use. `labels` are the names behind `$` in `promql`."""

    name: str
    promql: str
    max_age_seconds: float
    labels: frozenset[str] = frozenset()

    def query(self, key: Mapping[str, str]) -> Query:
        """The query for the alerts of `key`; a label that `key` lacks is the empty value."""
        return Query(self.name, substitute_labels(self.promql, key), self.max_age_seconds)


@dataclass(frozen=True, slots=True)
class ScorePart:
    """One part of the score: `bad` counts 0, `good` counts 100, linear between and clamped outside."""

    signal: str
    weight: str
    good: str
    bad: str


@dataclass(frozen=True, slots=True)
class Detect:
    when: Condition
    for_seconds: float = 0
    if_unknown: OnUnknown = DETECT  # or "hold", "ignore"
    unknown_after_seconds: float = 60


@dataclass(frozen=True, slots=True)
class Recover:
    when: Condition
    for_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of an action: a constant, the value of a `group_by` label that stands in `allow`, or a reading.

    signal: what is read, rounded up to a whole number, which must be from `least` to `most`.
    """

    name: str
    label: str | None = None
    allow: tuple[str, ...] = ()
    constant: str | None = None
    signal: str | None = None
    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may approve, and how many must. second: who must approve beside them, other people all of them."""

    roles: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    quorum: int = 1
    second: Approvers | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `max` runs in any `per_seconds` (None: no such limit), and `cooldown_seconds` between two.

    of: the runs that count: those of the action for this "key", of the "action", of any action of the "rule", or of the
    whole "tenant".
    """

    max: int | None = None
    per_seconds: float = 0
    cooldown_seconds: float = 0
    of: str = "key"


@dataclass(frozen=True, slots=True)
class Breaker:
    """After so many runs in a row that failed or did not help, of the action for this "key" or of the "action"."""

    failures: int
    of: str = "key"


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    executor: str
    title: str
    approvers: Approvers
    risk: str = NOT_STATED
    params: tuple[Param, ...] = ()
    expires_seconds: float = 900
    limit: Limit = field(default_factory=Limit)
    limits: tuple[Limit, ...] = ()  # wider ones beside it
    breaker: Breaker | None = None  # None: it never trips
    blocked_during: tuple[str, ...] = ()
    idempotent: bool = False
    pin: bool = False  # whoever approves it must say their PIN, too
    if_unknown: OnUnknown = PROCEED  # or "refuse"
    when: Condition | None = None  # beside all else; None: always
    when_unknown: OnUnknown = WAIT  # or "propose"
    verify_within_seconds: float = 600
    execute_within_seconds: float = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the ladder. `notify` holds "role:NAME", "person:NAME" or "everyone".

    repeat_max: how often it is taken again, each time `repeat_seconds` later.
    """

    after_seconds: float
    notify: tuple[str, ...]
    channel: str = "whatsapp"
    repeat_seconds: float = 0.0
    repeat_max: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What takes an alert, and what becomes of it. A rule with `record` takes it and opens nothing."""

    name: str
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...]
    detect: Detect
    recover: Recover
    continue_: bool = False
    record: bool = False
    diagnosis_wait_seconds: float = 10
    evaluate_every_seconds: float = 30
    reopen_within_seconds: float = 0
    score: tuple[ScorePart, ...] = ()  # of its own; empty where it has the policy's
    actions: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    escalation: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Mute:
    """Of what matches people are told nothing while one of the time intervals `during` runs."""

    matchers: tuple[Matcher, ...]
    during: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A whole policy. `text` is what was read after substitution; `digest` is its SHA-256 in hex."""

    name: str
    version: str
    digest: str
    text: str
    rules: tuple[Rule, ...]
    signals: Mapping[str, Signal]
    score: tuple[ScorePart, ...]
    intervals: Mapping[str, tuple[TimeInterval, ...]]
    unmatched: str  # "notify" or "record"
    mutes: tuple[Mute, ...] = ()
    file: str = field(default="policy", compare=False)
    candidates: Candidates = field(init=False, compare=False, repr=False)
    _named: Mapping[str, Rule] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", Candidates([rule.matchers for rule in self.rules]))
        object.__setattr__(self, "_named", {rule.name: rule for rule in reversed(self.rules)})

    def rule(self, name: str) -> Rule:
        """The rule of that name, the built-in `unmatched` among them. Raises KeyError where there is none."""
        if name == UNMATCHED:
            return UNMATCHED_RULE
        return self._named[name]


# An alert that no rule takes is never swallowed: people hear of it, and no action is offered.
UNMATCHED_RULE = Rule(
    name=UNMATCHED,
    matchers=(),
    group_by=("alertname",),
    detect=Detect(All((Term(FIRING, ">=", "1", FIRING),))),
    recover=Recover(All((Term(FIRING, "==", "0", FIRING),))),
    escalation=(Step(0, (EVERYONE,)),),
)


def terms(condition: Condition) -> tuple[Term, ...]:
    """Every term of `condition`, in the order of the file."""
    if isinstance(condition, Term):
        return (condition,)
    parts = (condition.of,) if isinstance(condition, Not) else condition.of
    return tuple(term for part in parts for term in terms(part))


def conditions_of(rule: Rule) -> tuple[Condition, ...]:
    """Every condition of `rule`: of detection, of recovery, and its actions' own."""
    own = (action.when for action in rule.actions.values() if action.when is not None)
    return rule.detect.when, rule.recover.when, *own


def needs(action: Action | None) -> tuple[str, ...]:
    """The signals that the question about `action` needs: of its own condition, and of its parameters."""
    if action is None:
        return ()
    own = signals_in([action.when]) if action.when is not None else ()
    return tuple(dict.fromkeys((*own, *(param.signal for param in action.params if param.signal is not None))))


def signals_used(rule: Rule) -> tuple[str, ...]:
    """Every signal of `rule`: of its conditions, and of its actions' parameters."""
    own = signals_in(conditions_of(rule))
    return tuple(dict.fromkeys((*own, *(name for action in rule.actions.values() for name in needs(action)))))


def terms_of(rule: Rule) -> tuple[Term, ...]:
    return tuple(term for condition in conditions_of(rule) for term in terms(condition))


def signals_of(rule: Rule) -> tuple[str, ...]:
    """The names of the signals that `rule` needs to detect and to recover, each once, the score's parts included."""
    return signals_in((rule.detect.when, rule.recover.when))


def signals_in(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """The names of the signals that `conditions` need, each once, the score's parts included."""
    names: dict[str, None] = {}
    for term in (term for condition in conditions for term in terms(condition)):
        if term.name == SCORE:
            names.update(dict.fromkeys(part.signal for part in term.parts))
        elif term.of_alerts is None:
            names[term.name] = None
    return tuple(names)
