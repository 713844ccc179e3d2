"""What a person asks for by hand: words become an action, a rule and a key of the policy in force. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policy_rules.rulebook import Rule, Rulebook

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


def wanted(rulebook: Rulebook, text: str) -> Wanted | str:
    """What `text` asks for, or why it cannot be told, in words for the person.

    text: "ACTION VALUE…" or "RULE/ACTION VALUE…", with RUN before it or not. A value is that of the rule's next
    group_by label, or "LABEL=VALUE".
    """
    words = _RUN.sub("", text.strip(), count=1).split() if _RUN.match(text.strip()) else text.split()
    if not words or len(words) > WORDS_MAX:
        return f"say RUN, an action and its key: {_known(rulebook)}"
    named, _, last = words[0].rpartition("/")
    of_name = [rule for rule in _rules(rulebook) if any(a.lower() == last.lower() for a in rule.actions)]
    found = [rule for rule in of_name if not named or rule.name.lower() == named.lower()]
    if not found:
        return f"there is no action {words[0]}; there are {_known(rulebook)}"
    keys = [(rule, _key(rule, words[1:])) for rule in found]
    fitting = [(rule, key) for rule, key in keys if not isinstance(key, str)]
    if not fitting:
        return str(keys[0][1])
    if len(fitting) > 1:
        return f"several rules have it: say {' or '.join(f'{rule.name}/{last}' for rule, _ in fitting)}"
    rule, key = fitting[0]
    action = next(name for name in rule.actions if name.lower() == last.lower())
    return Wanted(rule.name, action, key if isinstance(key, Mapping) else {})


def _rules(rulebook: Rulebook) -> Iterator[Rule]:
    return (rule for rule in rulebook.rules if rule.actions)


def _known(rulebook: Rulebook) -> str:
    rows = {f"{name} {' '.join(rule.group_by)}".strip(): None for rule in _rules(rulebook) for name in rule.actions}
    return ", ".join(rows)[:300] or "none in the policy"


def _key(rule: Rule, words: Sequence[str]) -> Mapping[str, str] | str:
    """The key that the words name, or what is wrong with them."""
    key: dict[str, str] = {}
    bare: list[str] = []
    for word in words:
        name, mark, value = word.partition("=")
        if mark and name in rule.group_by:
            key[name] = value
        else:
            bare.append(word)
    left = [label for label in rule.group_by if label not in key]
    if len(bare) != len(left):
        needs = " ".join(rule.group_by) or "no key"
        return f"{rule.name} needs {needs}: one value each"
    key |= dict(zip(left, bare, strict=True))
    return {label: key[label] for label in rule.group_by}
