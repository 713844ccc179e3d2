"""Why policy decided as it did: a kind and what stands in it, of which the sentence in the ledger is made. Pure.

The ledger has one language. Whoever says the same to a person says it in theirs, by the kind and the values, and never
reads the sentence again for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ENGLISH: Mapping[str, str] = MappingProxyType(
    {
        "recorded": "{text}",  # a sentence of which no more is known
        # --- comparisons, and what they come to ---
        "is": "{name} {value} {operator} {threshold}",
        "is not": "{name} {value} not {operator} {threshold}",
        "unknown": "{name} unknown",
        "unknown because": "{name} unknown ({why})",
        "found": "{parts}",
        "lasted": "{found} for {length}",
        "lasts": "{found} for {held} of {length}",
        "ignored": "{found}: ignored",
        "held": "{found}: held",
        "the alert's word": "{found} for {length}: the alert's word counts",
        "no alert fires": "no alert fires",
        # --- whether an action is there, and may run now ---
        "no action": "the policy in force has no action {action} in a rule {rule} any more",
        "halted": "halted: nothing is dispatched",
        "other way": "the policy in force runs {action} in another way",
        "blocked": "blocked during {interval}",
        "limit key": "limit: {runs} runs in {per}, {most} are allowed",
        "limit action": "limit of the action: {runs} runs in {per}, {most} are allowed",
        "limit rule": "limit of the rule: {runs} runs in {per}, {most} are allowed",
        "limit tenant": "limit of the tenant: {runs} runs in {per}, {most} are allowed",
        "cooldown key": "cooldown: the last run was {since} ago, {wanted} must pass",
        "cooldown action": "cooldown of the action: the last run was {since} ago, {wanted} must pass",
        "cooldown rule": "cooldown of the rule: the last run was {since} ago, {wanted} must pass",
        "cooldown tenant": "cooldown of the tenant: the last run was {since} ago, {wanted} must pass",
        "breaker": "breaker: {failures} runs in a row failed or did not help; somebody must resume {action}",
        "busy": "{executor} with {params} is under way, or nobody knows how it ended",
        "busy without": "{executor} with no parameters is under way, or nobody knows how it ended",
        # --- its parameters, and its own condition ---
        "not allowed": "the value {value} of {label} is not in allow",
        "no label": "the alert has no {label}",
        "unread": "{param} cannot be told: {signal} is {why}",
        "no number": "{param} cannot be told: {signal} is no number of use",
        "out of range": "{param} would be {value}, and {least} to {most} is allowed",
        "need unknown": "whether it is needed cannot be told: {found}",
        "not needed": "it is not needed: {found}",
        "not asked": "not asked",
        "refuses the unknown": "the action refuses while evidence is unknown: {found}",
        "recovered": "recovered: {found}",
        # --- who may ask, answer and approve ---
        "not in the roster": "{person} is not in the roster, or is suspended",
        "needs": "{rule} needs {labels}",
        "needs no label": "{rule} needs no label",
        "stranger": "the sender is not in the roster",
        "you are suspended": "you are suspended",
        "you were not asked": "you were not asked",
        "expired": "the question has expired",
        "you may not": "the policy in force does not let you approve it",
        "you asked": "you asked for it",
        "too few approved": "{counted} of {needed} needed approvals count",
        "too few able": "{needed} must approve, and only {able} can",
        "too few approved first": "{needed} of the first level must approve, and approved have {counted}",
        "too few approved second": "{needed} of the second level must approve, and approved have {counted}",
        "too few able first": "{needed} of the first level must approve, and only {counted}",
        "too few able second": "{needed} of the second level must approve, and only {counted}",
    }
)


@dataclass(frozen=True, slots=True)
class Why:
    """kind: of ENGLISH. values: what stands in its sentence; several of a kind are a list, with commas between."""

    kind: str
    values: Mapping[str, str | Why | tuple[Why, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def text(self) -> str:
        """The sentence as the ledger has it, in English and as long as it is."""
        return ENGLISH[self.kind].format(**{name: _text(value) for name, value in self.values.items()})


def why(kind: str, /, **values: str | int | Why | tuple[Why, ...]) -> Why:
    """A Why of these values, numbers as they are written."""
    return Why(kind, {name: str(value) if isinstance(value, int) else value for name, value in values.items()})


def _text(value: str | Why | tuple[Why, ...]) -> str:
    if isinstance(value, Why):
        return value.text()
    return value if isinstance(value, str) else ", ".join(dict.fromkeys(one.text() for one in value))
