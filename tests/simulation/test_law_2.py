"""Law 2, as a property: whatever Claude says or keeps to itself, what is decided, and for whom, is the same."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.entry import Entry
from tests.simulation.history import USUAL, History
from tests.simulation.pool import CALLED, PAGED, be_quiet, processes
from tests.simulation.reached import Reached

SEEDS = int(os.environ.get("COUNTERFOIL_LAW_2_SEEDS", "12"))
FLAVOURS = (USUAL, CALLED, USUAL, PAGED)  # what a call or a page says of a diagnosis decides nothing, either

EXPLAINS = {"CONSULTED", "DIAGNOSED", "UNDIAGNOSED"}
PASSED_ON = "a late explanation was passed on"


def played(seed: int, claude: random.Random | None) -> list[Any]:
    """The decisions of a history, with Claude saying what `claude` draws; None leaves the history's own Claude.

    An explanation that comes after the question is passed on to people in a message of its own. It asks for nothing,
    but from there on other messages are sent, and the world goes another way: the decisions are those before it.
    """
    history = History(seed, Reached(), replace(FLAVOURS[seed % len(FLAVOURS)], prompt=True))
    if claude is not None:
        history.world.claude = claude
    decisions = []
    for entry in asyncio.run(history.run(30)):
        log = history.models[entry.tenant_id].entries
        if entry.stage == "ADDRESSED" and any(log[index].stage == "DIAGNOSED" for index in entry.cites):
            decisions.append(PASSED_ON)
            break
        if entry.stage not in EXPLAINS:
            decisions.append(decision(entry))
    return decisions


def agree(first: list[Any], second: list[Any]) -> bool:
    """Whether two plays decide alike, as far as neither has passed on a late explanation."""
    cut = min(len(each) - 1 if each[-1] == PASSED_ON else len(each) for each in (first, second))
    whole = PASSED_ON in (first[-1], second[-1]) or len(first) == len(second)
    return whole and first[:cut] == second[:cut]


def decision(entry: Entry) -> Any:
    """What was decided, by whom, about what and for whom: all of an entry but its words, its salt and its citations.

    The citations are left out because AUTHORIZED names the diagnosis that stood beside it, which is what a reader of
    the ledger wants to see; it decides nothing. So is the hash over checkpoints, which are over what Claude said, too.
    """
    body = {name: value for name, value in entry.body.items() if name not in ("subject", "content_digest", "sha256")}
    return (
        entry.tenant_id,
        entry.index,
        entry.stage,
        entry.actor,
        entry.incident_id,
        entry.decision,
        entry.settles,
        body,
    )


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


def differing(seeds: Sequence[int]) -> list[int]:
    """The seeds whose decisions are others when Claude says something else, or nothing."""
    be_quiet()
    found = []
    for seed in seeds:
        as_it_was = played(seed, None)
        if not all(agree(played(seed, claude), as_it_was) for claude in (Silent(), Sure(), random.Random(seed + 1))):
            found.append(seed)
    return found


def test_no_state_verdict_permission_or_recipient_depends_on_claude() -> None:
    with processes() as pool:
        parts = [range(seed, min(seed + 2, 1001 + SEEDS)) for seed in range(1001, 1001 + SEEDS, 2)]
        found = [seed for part in pool.map(differing, parts) for seed in part]
    assert found == []
