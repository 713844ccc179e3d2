"""What is looked at once more between a person's yes and the request: limits, the breaker, and halts."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from receiver.papers import ExecutionOutcome, ExecutionResult, RenderedRequest
from receiver.rehearsal.outside import CaseExecutors
from tests.receiver.governed import POLICY, Governed

FAILED = ExecutionResult(ExecutionOutcome.FAILED, "exit code 1", 200)


class Counted(CaseExecutors):
    """Counts what reaches it, and answers as it is told; `holds` keeps a request from ending."""

    answer = ExecutionResult(ExecutionOutcome.EXECUTED, "done", 200)

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: Any = None) -> Any:
        self.ran.append(webhook_id)
        return self.answer


def governed(changes: str) -> tuple[Governed, Counted]:
    policy = POLICY.replace("expires: 15m}", f"expires: 15m, {changes}}}")
    assert policy != POLICY
    made = Governed(policy)
    made.desk.executors = counted = Counted(made.outside)
    return made, counted


def questions(made: Governed) -> list[str]:
    """The tokens of what was asked of tendai, in order."""
    mine = [m for m in made.outside.messages if m.recipient.name == "tendai" and m.token is not None]
    return [str(message.token) for message in mine]


async def approve(made: Governed, token: str) -> None:
    await made.hear("tendai", "Approve", payload=f"approve.{token}")


@pytest.mark.parametrize(
    ("changes", "answer", "why"),
    [
        ("limits: [{of: action, max: 1, per: 1h}]", Counted.answer, "limit of the action: 1 runs in 1h, 1 are allowed"),
        (
            "limits: [{of: action, cooldown: 10m}]",
            Counted.answer,
            "cooldown of the action: the last run was 0s ago, 10m must pass",
        ),
        (
            "breaker: {failures: 1, of: action}",
            FAILED,
            "breaker: 1 runs in a row failed or did not help; somebody must resume clean",
        ),
    ],
)
async def test_what_was_asked_before_a_limit_was_reached_is_not_sent_after_it(
    changes: str, answer: ExecutionResult, why: str
) -> None:
    made, executor = governed(changes)
    executor.answer = answer
    await made.fire("db1", "db2")
    first, second = questions(made)
    await approve(made, first)
    assert len(executor.ran) == 1
    assert len(made.entries("EXECUTED") + made.entries("FAILED")) == 1
    # The second question was permitted when it was asked, and is not when it is answered.
    await approve(made, second)
    assert len(executor.ran) == 1
    assert len(made.entries("DISPATCHED")) == 1
    withdrawn = made.entries("WITHDRAWN")
    assert [entry.reason for entry in withdrawn] == [why]


async def test_a_halt_stops_what_is_authorized_and_not_yet_sent() -> None:
    made, executor = governed("idempotent: false")
    await made.fire()
    (token,) = questions(made)
    await made.hear("ruth", "HALT the database is being moved")
    await approve(made, token)
    assert made.entries("AUTHORIZED")
    assert made.entries("DISPATCHED") == []
    await made.after(60)
    assert executor.ran == []
    await made.hear("tendai", "RESUME")
    await made.after(5)
    assert len(executor.ran) == 1


async def test_a_halt_between_two_attempts_stops_the_second() -> None:
    made, executor = governed("idempotent: true")
    executor.answer = ExecutionResult(ExecutionOutcome.NOT_SENT, "the executor is busy", 503, "", 5.0)
    await made.fire()
    (token,) = questions(made)
    await approve(made, token)
    assert len(executor.ran) == 1
    await made.hear("ruth", "HALT")
    executor.answer = Counted.answer
    for _ in range(10):
        await made.after(5)
    assert len(executor.ran) == 1, "nothing is sent while a halt stands"
    await made.hear("tendai", "RESUME")
    await made.after(5)
    assert len(executor.ran) == 2
    assert len(set(executor.ran)) == 1, "under the same webhook-id"


async def test_two_taps_at_once_send_one_request() -> None:
    made, executor = governed("idempotent: false")
    await made.fire()
    (token,) = questions(made)
    other = made.question("ruth").token
    await asyncio.gather(
        approve(made, token), made.hear("ruth", "Approve", payload=f"approve.{other}"), approve(made, token)
    )
    assert len(executor.ran) == 1
    assert len(made.entries("DISPATCHED")) == 1
