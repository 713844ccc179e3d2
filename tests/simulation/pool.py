"""Many histories at once: a process for each core, and the seed of whatever fails."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from tests.simulation import terms
from tests.simulation.history import USUAL, Broken, Flavour, History
from tests.simulation.permissions import noted
from tests.simulation.reached import Reached

# Claude takes longer here than anybody waits for it.
LATE = {"diagnosis: late": 0.15, "diagnosis: never": 0.06}
CALLED = Flavour(
    often={"phone_rings": 8, "call_ends": 1, "opens_page": 1, "wait_long": 4, "closes_early": 1},
    ladders=terms.BY_CALL,
    faults=LATE,
    answer="phone_rings",
)
PAGED = Flavour(
    often={"opens_page": 8, "forged_link": 0.3, "approve": 1, "closes_early": 1},
    ladders=terms.BY_NOTICE,
    faults=LATE,
    answer="opens_page",
)
# No executor can tell later how it ended.
POLLED = Flavour(
    often={"approve": 5, "clock_steps": 1}, ladders=terms.BY_NOTICE, faults={"executor: accepts": 0.0}, polled=True
)
AT_ONCE = 10  # histories that are handed to a process together


@contextmanager
def processes() -> Any:
    """A pool of fresh processes. Hashes are the same in each, so that a seed is the same history everywhere."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    fresh = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=fresh, initializer=be_quiet) as pool:
            yield pool
            pool.shutdown(cancel_futures=True)
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def be_quiet() -> None:
    """Say nothing; a history listens for defects by itself."""
    logging.basicConfig(level=logging.ERROR, handlers=[logging.NullHandler()])


def flavour_of(seed: int) -> Flavour:
    """Most histories are usual ones; a tenth each is of halts in blocked times, narrow limits, people who leave, calls,
    and pages; and a twentieth is of a service that nothing reaches, which reads the carrier's list."""
    if seed % 10 == 1:
        return CALLED
    if seed % 10 == 5:
        return PAGED
    if seed % 20 == 8:
        return POLLED
    if seed % 10 == 3:
        return Flavour(often={"stranded": 3, "approve": 6, "people_resume": 1}, terms={"blocked": True})
    if seed % 10 == 9:
        return Flavour(often={"gone_while_it_waits": 3, "approve": 6}, terms={"quorum": 1})
    if seed % 10 == 7:
        return Flavour(often={"approve": 8}, terms={"limit": 1, "cooldown_minutes": 0})
    return USUAL


def play(seeds: Iterable[int], flavour: Flavour | None = None) -> tuple[Reached, dict[int, str]]:
    """Play the histories of `seeds`, one after the other: what they reached, and what broke by seed."""
    reached, broken = Reached(), {}
    with noted(reached):
        for seed in seeds:
            try:
                asyncio.run(History(seed, reached, flavour or flavour_of(seed)).run())
            except Broken as law:
                broken[seed] = str(law)
            except BaseException as error:
                error.add_note(f"COUNTERFOIL_SEED={seed} COUNTERFOIL_HISTORIES=1")
                raise
    return reached, broken


def play_all(first: int, number: int) -> tuple[Reached, dict[int, str]]:
    """Play `number` histories from seed `first` on every core; stops handing out more where one has broken."""
    reached, broken = Reached(), {}
    with processes() as pool:
        parts = [range(at, min(at + AT_ONCE, first + number)) for at in range(first, first + number, AT_ONCE)]
        for done in as_completed([pool.submit(play, part) for part in parts]):
            more, wrong = done.result()
            reached.add(more)
            broken |= wrong
            if broken:
                break
    return reached, broken
