"""Which of policy's denials a run has met: each question is asked as always, and its answer is noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from policy_rules import permission
from policy_rules.permission import Permission
from policy_rules.verdict import Outcome
from tests.simulation.reached import Reached

QUESTIONS = ("may_request", "may_propose", "may_answer", "may_authorize", "may_dispatch")


@contextmanager
def noted(reached: Reached) -> Iterator[None]:
    """Count every denial by the question and by the name of the check that denied."""
    with ExitStack() as stack:
        for name in QUESTIONS:
            stack.enter_context(patch.object(permission, name, _noting(name, reached)))
        yield


def _noting(name: str, reached: Reached) -> Any:
    ask = getattr(permission, name)

    def asked(*given: Any) -> Permission:
        answer: Permission = ask(*given)
        if answer.outcome is Outcome.DENY:
            denied = next(finding for finding in answer.findings if finding.holds is False)
            reached.denials[f"{name.removeprefix('may_')}: {denied.name.partition(' ')[0]}"] += 1
        return answer

    return asked
