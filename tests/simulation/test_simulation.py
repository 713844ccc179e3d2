"""Seeded histories with faults everywhere. COUNTERFOIL_HISTORIES and COUNTERFOIL_SEED choose how many, and from where.

A failing seed is printed; `COUNTERFOIL_SEED=N COUNTERFOIL_HISTORIES=1 pytest tests/simulation` plays it again.
"""

from __future__ import annotations

import os

from tests.simulation.pool import play_all

FULL_SIZE = 2000  # of a run that must reach everything; CI's
HISTORIES = int(os.environ.get("COUNTERFOIL_HISTORIES", "80"))
FIRST_SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))


def test_every_history_keeps_the_laws() -> None:
    reached, broken = play_all(FIRST_SEED, HISTORIES)
    print(f"\nfrom seed {FIRST_SEED}: {reached}")
    assert not broken, "\n".join(f"COUNTERFOIL_SEED={s} COUNTERFOIL_HISTORIES=1: {law}" for s, law in broken.items())
    assert reached.histories == HISTORIES
    if HISTORIES >= FULL_SIZE:
        assert not reached.missing(), f"never reached: {reached.missing()}"
