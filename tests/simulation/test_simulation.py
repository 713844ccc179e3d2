"""Seeded histories with faults everywhere. COUNTERFOIL_HISTORIES and COUNTERFOIL_SEED choose how many, and from where.

A failing seed is printed; `COUNTERFOIL_SEED=N COUNTERFOIL_HISTORIES=1 pytest tests/simulation` plays it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from policy_rules import recovery
from policy_rules.verdict import Outcome
from receiver.governor import acting, asking, judging, steps
from receiver.incident import agenda as agenda_module
from receiver.incident.agenda import Kind
from tests.simulation.pool import play, play_all, processes

HISTORIES = int(os.environ.get("COUNTERFOIL_HISTORIES", "150"))
FIRST_SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))
SEEDS_TO_CATCH = 120

STAGES_REACHED = {
    *("OPENED", "ADOPTED", "RECEIVED", "EVALUATED", "WATCHED", "LOOKED", "DETECTED", "CLEARED", "RECOVERED", "CLOSED"),
    *("CONSULTED", "DIAGNOSED", "UNDIAGNOSED", "HEARD", "APPROVED", "DECLINED", "REFUSED", "HEEDED", "ACKNOWLEDGED"),
    *("PROPOSED", "AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN", "DISPATCHED", "VOIDED", "EXECUTED", "FAILED"),
    *("UNRESOLVED", "WRITTEN_OFF", "CONFIRMED", "UNCONFIRMED", "WAIVED", "ADDRESSED", "SENT", "DELIVERED"),
    *("UNDELIVERED", "HALTED", "RESUMED", "ESCALATED", "REMINDED", "REGRESSED", "NOTED"),
}
FAULTS_REACHED = {
    *("prometheus unreachable", "no series", "nan", "alertmanager unreachable", "diagnosis overloaded"),
    *("carrier refuses", "carrier unreachable", "carrier loses the answer", "executor refuses the connection"),
    *("request lost on the way", "answer lost", "action fails", "accepted, result later", "action does not help"),
    *("crash before a post", "crash after a post", "disk full", "the same post twice", "answer by somebody else"),
    *("wrong code", "late result", "clock step", "another policy", "killed between turns", "stranger"),
    *("killed while the request is out", "halt in flight"),
}


def test_every_history_ends_in_balance() -> None:
    reached, broken = play_all(FIRST_SEED, HISTORIES)
    print(f"\n{HISTORIES} histories from seed {FIRST_SEED}")
    print("stages:", dict(sorted(reached.stages.items())))
    print("faults:", dict(sorted(reached.faults.items())))
    print("refusals:", dict(sorted(reached.refusals.items())))
    assert not broken, "\n".join(f"COUNTERFOIL_SEED={s} COUNTERFOIL_HISTORIES=1: {law}" for s, law in broken.items())
    if HISTORIES >= 150:
        assert set(reached.stages) >= STAGES_REACHED, sorted(STAGES_REACHED - set(reached.stages))
        assert set(reached.faults) >= FAULTS_REACHED, sorted(FAULTS_REACHED - set(reached.faults))


# --- planted bugs: each takes one rule away; the histories must find it -------------------------------------------


@contextmanager
def _replaced(place: Any, name: str, value: Any) -> Any:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


@contextmanager
def _step_replaced(kind: Kind, step: Any) -> Any:
    before = steps.STEPS[kind]
    steps.STEPS[kind] = step  # type: ignore[index]
    try:
        yield
    finally:
        steps.STEPS[kind] = before  # type: ignore[index]


@contextmanager
def sends_while_halted() -> Any:
    real = acting.execute

    async def execute(desk: Any, due: Any) -> None:
        halts, desk.book.halts = desk.book.halts, {}
        try:
            await real(desk, due)
        finally:
            desk.book.halts = halts | desk.book.halts

    with _step_replaced(Kind.EXECUTE, execute):
        yield


@contextmanager
def sends_again_after_a_crash() -> Any:
    real = acting.execute

    async def execute(desk: Any, due: Any) -> None:
        desk.mine.add(due.subject)
        await real(desk, due)

    with _step_replaced(Kind.EXECUTE, execute):
        yield


@contextmanager
def acts_before_it_posts() -> Any:
    real = acting.authorize

    async def authorize(desk: Any, due: Any) -> None:
        proposal = desk.book.proposals[due.subject]
        raw = await desk.journal.blob(desk.tenant, proposal.request_digest)
        import json

        from receiver.papers import RenderedRequest

        request = RenderedRequest(**json.loads(raw))
        webhook_id = proposal.body["webhook_id"]
        await desk.executors.send(request, webhook_id=webhook_id, deadline=proposal.authorize_until)
        await real(desk, due)

    with _step_replaced(Kind.AUTHORIZE, authorize):
        yield


@contextmanager
def counts_anybodys_tap() -> Any:
    real = judging._message_of

    def message_of(desk: Any, heard: Any, person: str) -> Any:
        message = real(desk, heard, person)
        if message is not None:
            message.person = person
        return message

    with _replaced(judging, "_message_of", message_of):
        yield


@contextmanager
def forgets_the_deadline_of_executions() -> Any:
    async def nothing(desk: Any, due: Any) -> None:
        desk.defer(due.name, 3600)

    with _step_replaced(Kind.UNRESOLVE, nothing):
        yield


@contextmanager
def falls_silent() -> Any:
    async def nothing(desk: Any, due: Any) -> None:
        desk.defer(due.name, 3600)

    with _step_replaced(Kind.REMIND, nothing):
        yield


@contextmanager
def recovers_on_the_unknown() -> Any:
    real = recovery.should_recover

    def should_recover(*given: Any) -> Any:
        from dataclasses import replace

        verdict = real(*given)
        return replace(verdict, outcome=Outcome.RECOVER) if verdict.outcome is Outcome.UNKNOWN else verdict

    with _replaced(recovery, "should_recover", should_recover):
        yield


@contextmanager
def keeps_the_question_of_an_old_policy() -> Any:
    real = agenda_module._of_proposal

    def of_proposal(proposal: Any, view: Any, now: Any) -> Any:
        body = {**proposal.body, "in_force": view.in_force.digest}
        before, proposal.body = proposal.body, body
        yield from list(real(proposal, view, now))
        proposal.body = before

    with _replaced(agenda_module, "_of_proposal", of_proposal):
        yield


@contextmanager
def leaves_a_late_result_open() -> Any:
    real = acting.settle

    async def settle(desk: Any, proposal: Any, *result: Any, **told: Any) -> bool:
        incident = desk.book.incidents[proposal.incident_id]
        closed, incident.closed = incident.closed, None
        try:
            return await real(desk, proposal, *result, **told)
        finally:
            incident.closed = closed

    with _replaced(acting, "settle", settle):
        yield


@contextmanager
def forgets_to_send() -> Any:
    async def nothing(desk: Any, due: Any) -> None:
        desk.defer(due.name, 7200)

    with _step_replaced(Kind.GIVE_UP_MESSAGE, nothing), _replaced(asking, "NOTICE_VALID", timedelta(days=30)):
        yield


BUGS: list[Callable[[], Any]] = [
    sends_while_halted,
    sends_again_after_a_crash,
    acts_before_it_posts,
    counts_anybodys_tap,
    forgets_the_deadline_of_executions,
    falls_silent,
    recovers_on_the_unknown,
    keeps_the_question_of_an_old_policy,
    leaves_a_late_result_open,
    forgets_to_send,
]


def catch(name: str) -> str | None:
    """The first thing that the histories find wrong with the bug of that name, or None."""
    bug = next(bug for bug in BUGS if bug.__name__ == name)
    with bug():
        for seed in range(1, SEEDS_TO_CATCH + 1):
            _, broken = play([seed])
            if broken:
                return broken[seed]
    return None


@pytest.fixture(scope="module")
def catches() -> Iterator[Mapping[str, Future[str | None]]]:
    with processes() as pool:
        yield {bug.__name__: pool.submit(catch, bug.__name__) for bug in BUGS}


@pytest.mark.parametrize("name", [bug.__name__ for bug in BUGS])
def test_a_planted_bug_is_caught(name: str, catches: Mapping[str, Future[str | None]]) -> None:
    broken = catches[name].result()
    assert broken is not None, f"{SEEDS_TO_CATCH} histories did not notice: {name}"
    print(f"\n{name}: {broken[:200]}")
