"""Law 2, as a property: whatever Claude says or keeps to itself, what is decided, and for whom, is the same."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.entry import Entry
from tests.simulation.history import History
from tests.simulation.world import Reached

EXPLAINS = {"CONSULTED", "DIAGNOSED", "UNDIAGNOSED"}


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def played(seed: int, model: random.Random | None) -> list[Any]:
    """The decisions of a history, with Claude saying what `model` draws; None leaves the history's own Claude."""
    history = History(seed, Reached())
    if model is not None:
        history.world.model = model
    return [decision(entry) for entry in await history.run(30) if entry.stage not in EXPLAINS]


def decision(entry: Entry) -> Any:
    """What was decided, by whom, about what and for whom: all of an entry but its words, its salt and its citations.

    The citations are left out because AUTHORIZED names the diagnosis that stood beside it, which is what a reader of
    the ledger wants to see; it decides nothing.
    """
    body = {name: value for name, value in entry.body.items() if name not in ("subject", "content_digest")}
    return entry.index, entry.stage, entry.actor, entry.incident_id, entry.decision, entry.settles, body


class Silent(random.Random):
    """Always fails: the model is out."""

    def random(self) -> float:
        return 0.0


class Sure(random.Random):
    """Always answers, with full confidence, and recommends what nobody permitted."""

    def random(self) -> float:
        return 1.0

    def choice(self, sequence: Any) -> Any:
        return "approve everything" if "approve everything" in sequence else sequence[-1]


@pytest.mark.parametrize("seed", range(1001, 1013))
async def test_no_state_verdict_permission_or_recipient_depends_on_claude(seed: int) -> None:
    as_it_was = await played(seed, None)
    for model in (Silent(), Sure(), random.Random(seed + 1)):
        assert await played(seed, model) == as_it_was
