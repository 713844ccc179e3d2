"""A parameter that is read: rounded up, within bounds, at the question alone; it is no other target."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from policy_rules.permission import PastRun, Permission, Person, may_ask, may_authorize, may_propose
from policy_rules.readings import Reading, ReadingState
from policy_rules.verdict import Outcome, Verdict
from receiver.rehearsal.running import _Run
from tests.policy_rules.helpers import NOW, alert

SHOWN = Path(__file__).parent / "shown" / "reading.yml"
BOOK = load(SHOWN.read_text(), file="reading.yml", environment={})
KEY = {"queue": "orders"}
PEOPLE = [Person("tendai", frozenset({"oncall"}))]
BROKEN = Verdict(Outcome.PERSIST, "", (), "backlog", "1", "0")


def reading(value: str | None, state: ReadingState = ReadingState.VALUE) -> list[Reading]:
    return [Reading("wanted", "wanted", state, value, None, NOW)]


def propose(read: list[Reading], past: list[PastRun] | None = None) -> Permission:
    return may_propose(BOOK, BOOK, "backlog", "scale", KEY, [alert()], PEOPLE, past or [], False, NOW, read)


def test_it_is_asked_for() -> None:
    assert [query.name for query in may_ask(BOOK, BOOK, "backlog", "scale", KEY)] == ["wanted"]


@given(st.decimals(-50, 50, places=3))
def test_it_is_rounded_up_and_bounded(value: Any) -> None:
    found, whole = propose(reading(str(value))), math.ceil(value)
    assert (found.outcome is Outcome.PERMIT) is (2 <= whole <= 20)
    if found.outcome is Outcome.PERMIT:
        assert dict(found.params) == {"queue": "orders", "replicas": str(whole)}
    else:
        assert found.reason == f"replicas would be {whole}, and 2 to 20 is allowed"


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ([], "wanted is not asked"),
        (reading(None, ReadingState.NO_DATA), "wanted is no_data"),
        (reading("NaN"), "wanted is nan"),
        (reading("1e400"), "wanted is"),
        ([replace(reading("5")[0], asked_at=NOW - timedelta(minutes=3))], "wanted is stale"),
        (reading("5") * 2, "wanted is asked twice"),
    ],
)
def test_what_cannot_be_read_is_not_guessed(read: list[Reading], why: str) -> None:
    found = propose(read)
    assert found.outcome is Outcome.DENY
    assert found.reason.startswith(f"replicas cannot be told: {why}")


def test_what_people_approved_is_not_read_again() -> None:
    for read in ([], reading("500"), reading("9")):
        found = may_authorize(
            BOOK, BOOK, "backlog", "scale", KEY, [alert()], PEOPLE, ["tendai"], 1, [], False, BROKEN, NOW, read
        )
        assert found.outcome is Outcome.PERMIT
        assert dict(found.params) == {"queue": "orders"}


def test_another_number_is_the_same_target() -> None:
    at = NOW - timedelta(minutes=5)
    under_way = PastRun("backlog", "scale", KEY, at, "scale", {"queue": "orders", "replicas": "4"}, open=True)
    assert propose(reading("9"), [under_way]).outcome is Outcome.DENY
    other = replace(under_way, params={"queue": "mail", "replicas": "9"})
    assert propose(reading("9"), [other]).outcome is Outcome.PERMIT


def test_the_number_that_was_asked_for_is_the_one_that_runs() -> None:
    path = SHOWN.with_name("reading.cases.yml")
    run = _Run(read_cases(path.read_bytes(), path.name).cases[0], BOOK, {"tendai": ("oncall",)})
    log = asyncio.run(run.run()).log
    (proposed,) = [entry for entry in log if entry.stage == "PROPOSED"]
    assert proposed.body["params"] == {"queue": "orders", "replicas": "7"}
    assert any(entry.stage == "DISPATCHED" for entry in log)
    (request,) = [blob.digest for blob in proposed.blobs if blob.name == "request"]
    body = json.loads(json.loads(run.journal._blobs[request])["body"])
    assert body["params"] == {"queue": "orders", "replicas": "7"}
