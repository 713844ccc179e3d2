"""The cases of contrib/policies hold each threshold where it is: raised or lowered by a little, one of them fails.

So that somebody who edits a threshold is told which cases speak of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from receiver.rehearsal.running import run_case
from tests.contrib.test_policies import cases_of, each_policy

COMPARISON = re.compile(r"\w+ (?:>=|<=|>|<) (\d+(?:\.\d+)?)")


def moved(text: str) -> Iterator[tuple[str, str]]:
    """The policy with one threshold moved, and what was moved to where. A count of 1 is moved to its neighbours."""
    for found in COMPARISON.finditer(text):
        if "#" in text[text.rfind("\n", 0, found.start()) : found.start()]:
            continue  # a comment
        value = float(found[1])
        around = {0.0: (0.5, -0.5), 1.0: (2.0, 0.0)}.get(value, (value * 1.05, value * 0.95))
        for other in around:
            yield f"{text[: found.start(1)]}{other:g}{text[found.end(1) :]}", f"{found[0]} → {other:g}"


@each_policy
def test_a_threshold_that_moves_breaks_a_case(path: Path) -> None:
    cases = read_cases(cases_of(path).read_bytes(), path.name)
    missed = []
    for text, what in moved(path.read_text(encoding="utf-8")):
        book = load(text, file=path.name, environment={})
        # Those about the edges stand last, and are the first to fail.
        if not any(run_case(case, book, cases.people).missed for case in reversed(cases.cases)):
            missed.append(what)
    assert missed == []
