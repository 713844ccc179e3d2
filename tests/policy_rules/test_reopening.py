"""What breaks again within the window is the same incident; nobody can say otherwise in the ledger afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry, canonical
from policy_rules.casebook.cases import read_cases
from policy_rules.detection import reopens
from policy_rules.loading import load
from receiver.auditor.replay import Replay
from receiver.auditor.standing import standing_of
from receiver.incident.states import Incident, Proposal
from receiver.rehearsal.running import _Run
from tests.policy_rules.helpers import NOW, policy
from tests.policy_rules.test_shown import SHOWN, Kept


@given(st.integers(0, 7 * 86400), st.integers(-5, 8 * 86400 * 10**6))
def test_the_window_begins_with_the_end_and_is_half_open(within: int, microseconds: int) -> None:
    rule = replace(policy().rules[0], reopen_within_seconds=within)
    found = reopens(rule, NOW, NOW + timedelta(microseconds=microseconds))
    assert found.holds is (microseconds < within * 10**6)
    assert (found.name, found.operator, found.threshold) == ("reopen_within", "<", str(within))


def test_the_default_opens_another_one():
    assert policy().rules[0].reopen_within_seconds == 0
    assert reopens(policy().rules[0], NOW, NOW).holds is False


@dataclass
class Tried:
    """One proposal of a drawn history: after how many minutes, of which action, and what came of it."""

    at: int
    action: str
    result: str

    def proposal(self) -> Proposal:
        at = NOW + timedelta(minutes=self.at)
        made = Proposal(0, "inc", 0, {"action": self.action}, "", at, at, at)
        if self.result in ("FAILED", "NEVER_RAN"):
            made.result, made.ran = "FAILED", self.result == "FAILED"
        else:
            made.result, made.verified = "EXECUTED", self.result
        return made


RESULTS = st.sampled_from(["FAILED", "NEVER_RAN", "CONFIRMED", "UNCONFIRMED", "WAIVED"])
HISTORY = st.lists(st.builds(Tried, st.integers(0, 50), st.sampled_from("abc"), RESULTS), max_size=5)


@given(st.sets(st.sampled_from("abc")), HISTORY, st.none() | st.integers(0, 50))
def test_what_was_tried_against_a_slow_reader(before: set[str], history: Sequence[Tried], reminded: int | None) -> None:
    incident = Incident("inc", 0, "r", (), "", "", "", "", NOW, "1", "d")
    incident.proposals = [one.proposal() for one in history]
    incident.tried_before = frozenset(before)
    incident.reminded_at = None if reminded is None else NOW + timedelta(minutes=reminded)
    for action in "abc":
        without_help = [t for t in history if t.action == action and t.result in ("FAILED", "UNCONFIRMED")]
        since = [t for t in without_help if reminded is None or t.at > reminded]
        assert (action in incident.tried) is (bool(since) or (reminded is None and action in before))


def played(nth: int) -> Kept:
    found = read_cases((SHOWN / "reopen.cases.yml").read_bytes(), "reopen.cases.yml")
    book = load((SHOWN / "reopen.yml").read_text(), file="reopen.yml", environment={})
    run = _Run(found.cases[nth], book, found.people or {})
    outcome = asyncio.run(run.run())
    return Kept(outcome.log, run.journal._blobs)


def changed(kept: Kept, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What the auditor says when somebody changes the last DETECTED."""
    index = [entry.index for entry in kept.log if entry.stage == "DETECTED"][-1]
    log = list(kept.log)
    document = json.loads(log[index].raw)
    change(document["body"])
    log[index] = Entry.parse(canonical(document))
    return [str(one) for one in Replay(replace(kept, log=log)).differences()]


def test_a_part_names_the_one_before_and_a_reader_is_led_to_it():
    kept = played(0)
    first, second = (entry for entry in kept.log if entry.stage == "DETECTED")
    ended = next(entry for entry in kept.log if entry.stage == "RECOVERED")
    assert (second.body["continues"], second.body["part"]) == (first.incident_id, 2)
    assert ended.index in second.cites
    assert "continues" not in first.body
    standing = standing_of(kept.log[second.index :])
    assert standing is not None
    assert standing.view().to_json(timeline=False)["continues"] == first.incident_id
    assert changed(kept, lambda body: None) == []


@pytest.mark.parametrize(
    ("nth", "change", "words"),
    [
        (0, lambda body: body.pop("continues"), "it says that it continues None"),
        (0, lambda body: body.update(part=7), "it says that it continues"),
        (0, lambda body: body["reopened"].update(threshold="5"), "it says that it continues"),
        (1, lambda body: body.update(continues="inc-0000000000", part=2), "and policy says None"),
    ],
)
def test_what_the_ledger_says_of_it_is_decided_again(
    nth: int, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    found = changed(played(nth), change)
    assert any(words in line for line in found), found
