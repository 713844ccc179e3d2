"""Every hazard at random, one after the other and two at once, against a model that knows nothing of the governor.

What must hold whatever happens: nothing runs without the full quorum of distinct, permitted, enrolled people; nothing
runs twice; and no decision is lost. COUNTERFOIL_HAZARDS=5000 takes so many steps; some hundred by default.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from receiver.execution.webhook import Webhooks
from receiver.governor import enrolling, judging, pins
from receiver.governor.answering import heed
from receiver.incident.enrolled import Enrolled
from tests.receiver.hazards_machine import REACHED, STAGES, Hazards

STEPS = 40  # of one history
HISTORIES = max(1, int(os.environ.get("COUNTERFOIL_HAZARDS", "70")) // 32)  # some of them end sooner
MUST_REACH = (
    *STAGES,
    *("approved by message", "approved by code", "approved by voice", "approved by web", "call asks", "call says"),
    *("not the recipient", "another message", "no such message", "another identity", "unknown sender", "suspended"),
    *("already withdrawn", "already expired", "already approved", "already rejected", "you have approved this already"),
    *("the question has expired", "wrong code", "wrong PIN", "PIN locked"),
    *("whoever halted cannot resume", "nothing is halted", "halted: nothing is dispatched"),
    *("… asked for it already: …", "… must approve, and only … can"),
    "… is open about it and has its own question; DETAIL … shows it",
    *("page 200", "page 403", "page 409", "page 410", "page 429"),
)
WHOLE = "COUNTERFOIL_HAZARDS" in os.environ


def histories(number: int, **more: Any) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def test_every_hazard_at_random() -> None:
    REACHED.clear()
    begun = time.monotonic()
    run_state_machine_as_test(Hazards, settings=histories(HISTORIES))
    histories_, seconds = REACHED.pop("histories"), time.monotonic() - begun
    steps = REACHED.pop("steps") - histories_  # each begins with a look
    print(f"\n{histories_} histories, {steps} steps, {seconds:.0f} s: {dict(REACHED.most_common())}")
    if HISTORIES >= 100:
        assert [what for what in MUST_REACH if not REACHED[what]] == []


# --- the planted bugs -------------------------------------------------------------------------------------------------


def counts_anybodys_tap(patch: pytest.MonkeyPatch) -> None:
    real = judging._message_of

    async def message_of(desk: Any, heard: Any, person: str) -> Any:
        book, message = await real(desk, heard, person)
        return book, replace(message, person=person) if message is not None else None

    patch.setattr(judging, "_message_of", message_of)


def forgets_who_enrolled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Enrolled, "is_other", lambda self, person, external_id_hmac: False)


def runs_what_it_runs_twice(patch: pytest.MonkeyPatch) -> None:
    real = Webhooks.send

    async def send(self: Any, request: Any, **how: Any) -> Any:
        await real(self, request, **how)
        return await real(self, request, **how)

    patch.setattr(Webhooks, "send", send)


def loses_an_answer_by_code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(enrolling, "locked", lambda desk, person: True)


def takes_a_no_for_nothing(patch: pytest.MonkeyPatch) -> None:
    async def decline(desk: Any, heard: Any, person: str, *given: Any) -> None:
        await heed(desk, heard, person, "no answer", None)

    patch.setattr(judging, "_decline", decline)


def asks_for_no_pin(patch: pytest.MonkeyPatch) -> None:
    async def counts(*asked: Any) -> bool:
        return True

    patch.setattr(pins, "counts", counts)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "runs what it runs twice": (runs_what_it_runs_twice, "something ran twice"),
    "counts anybody's tap": (counts_anybodys_tap, "counted, and should not"),
    "forgets who enrolled": (forgets_who_enrolled, "counted, and should not|who may not is asked"),
    "loses an answer by code": (loses_an_answer_by_code, "lost"),
    "takes a no for nothing": (takes_a_no_for_nothing, "a no was lost"),
    "asks for no PIN": (asks_for_no_pin, "counted, and should not"),
}


class Fitting(pytest.MonkeyPatch):
    """Takes only what stands there, and only for what is waited for, or not, as it is."""

    def setattr(self, target: Any, name: Any, value: Any = None, raising: bool = True) -> None:
        assert inspect.iscoroutinefunction(getattr(target, name)) == inspect.iscoroutinefunction(value), name
        super().setattr(target, name, value, raising)


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_bug_fits_the_code(name: str) -> None:
    with Fitting.context() as patch:
        PLANTED[name][0](patch)


@pytest.mark.parametrize("name", list(PLANTED) if WHOLE else list(PLANTED)[:1])
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in a campaign; one by default."""
    plant, words = PLANTED[name]
    plant(monkeypatch)
    phases = [Phase.generate]  # it is to be found, and not to be made small
    with pytest.raises(AssertionError, match=words):
        run_state_machine_as_test(Hazards, settings=histories(125, phases=phases, database=None, derandomize=True))
