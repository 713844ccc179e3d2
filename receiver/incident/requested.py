"""What a person asks for by hand: words become an action, a rule and a key of the policy in force. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policy_rules.rulebook import Rule, Rulebook
from receiver.papers import Words, words

REQUEST = "request"  # the kind of the NOTED by which a person asks
WORDS_MAX = 12
_RUN = re.compile(r"run\b[\s:,.-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One action of one rule, for one key. Whether it may be asked for is policy's to say."""

    rule: str
    action: str
    key: Mapping[str, str]

    def text(self) -> str:
        of = ", ".join(f"{name}={value}" for name, value in self.key.items())
        return f"{self.action} {of}".strip()


def wanted(rulebook: Rulebook, text: str) -> Wanted | Words:
    """What `text` asks for, or why it cannot be told, in words for the person.

    text: "ACTION VALUE…" or "RULE/ACTION VALUE…", with RUN before it or not. A value is that of the rule's next
    group_by label, or "LABEL=VALUE".
    """
    given = _RUN.sub("", text.strip(), count=1).split() if _RUN.match(text.strip()) else text.split()
    if not given or len(given) > WORDS_MAX:
        return words("run what", known=_known(rulebook))
    named, _, last = given[0].rpartition("/")
    of_name = [rule for rule in _rules(rulebook) if any(a.lower() == last.lower() for a in rule.actions)]
    found = [rule for rule in of_name if not named or rule.name.lower() == named.lower()]
    if not found:
        return words("run unknown", named=given[0], known=_known(rulebook))
    keys = [(rule, _key(rule, given[1:])) for rule in found]
    fitting = [(rule, key) for rule, key in keys if not isinstance(key, Words)]
    if not fitting:
        return next(key for _, key in keys if isinstance(key, Words))
    if len(fitting) > 1:
        return words("run several", names=", ".join(f"{rule.name}/{last}" for rule, _ in fitting))
    rule, key = fitting[0]
    action = next(name for name in rule.actions if name.lower() == last.lower())
    return Wanted(rule.name, action, key)


def _rules(rulebook: Rulebook) -> Iterator[Rule]:
    return (rule for rule in rulebook.rules if rule.actions)


def _known(rulebook: Rulebook) -> str | Words:
    rows = {f"{name} {' '.join(rule.group_by)}".strip(): None for rule in _rules(rulebook) for name in rule.actions}
    return ", ".join(rows)[:300] or words("run none")


def _key(rule: Rule, given: Sequence[str]) -> Mapping[str, str] | Words:
    """The key that the words name, or what is wrong with them."""
    key: dict[str, str] = {}
    bare: list[str] = []
    for word in given:
        name, mark, value = word.partition("=")
        if mark and name in rule.group_by:
            key[name] = value
        else:
            bare.append(word)
    left = [label for label in rule.group_by if label not in key]
    if len(bare) != len(left):
        labels = " ".join(rule.group_by)
        return words("run needs", rule=rule.name, labels=labels) if labels else words("run needs none", rule=rule.name)
    key |= dict(zip(left, bare, strict=True))
    return {label: key[label] for label in rule.group_by}
