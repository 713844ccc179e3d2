"""Which rules can take an alert at all: found by the labels that a rule demands, not by asking every rule. Pure.

A rule that demands one value of a label (`service="checkout"`) takes no alert without it. Of several such labels the
one is looked up that the fewest rules share. Every other rule is a candidate for every alert.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from policy_rules.matchers import Matcher, clean

Demand = tuple[str, str]


class Candidates:
    """The numbers of rules by what they demand. lists: the matchers of each rule, in the order of the policy."""

    def __init__(self, lists: Sequence[tuple[Matcher, ...]]) -> None:
        shared = Counter(demand for matchers in lists for demand in _demands(matchers))
        self._by_demand: dict[Demand, list[int]] = {}
        self._any: list[int] = []
        for number, matchers in enumerate(lists):
            demand = min(_demands(matchers), key=lambda found: shared[found], default=None)
            (self._any if demand is None else self._by_demand.setdefault(demand, [])).append(number)

    def of(self, labels: Mapping[str, str]) -> list[int]:
        """The numbers of the rules that may take an alert with `labels`, in order: all that do, and few more."""
        found = list(self._any)
        for name, value in labels.items():
            found += self._by_demand.get((name, clean(value)), ())
        return sorted(found)


def _demands(matchers: Sequence[Matcher]) -> Iterator[Demand]:
    """A missing label is the empty value, so an empty value demands no label."""
    return ((m.name, m.value) for m in matchers if m.operator == "=" and m.value)
