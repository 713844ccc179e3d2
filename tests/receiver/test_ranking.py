"""Where the true cause of an outage stands among the candidates, found and ranked without a model on a real Prometheus.

`COUNTERFOIL_OUTAGES=full pytest -s tests/receiver/test_ranking.py` ranks all of them and prints the table that
receiver/evidence/README.md shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.filled_prometheus import filled_prometheus
from tests.outages import outages
from tests.receiver.investigated import gathered, rank_of

FULL = os.environ.get("COUNTERFOIL_OUTAGES") == "full"
FEW = ("pool_exhausted", "dns_failure", "queue_backlog")
AMONG = 3
SHARE_MIN = 0.8  # of all of them among the first AMONG


async def test_the_true_cause_is_among_the_first_candidates(
    tool: Callable[[str], Path], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ranks: dict[str, int | None] = {}
    for name, outage in outages().items():
        if FULL or name in FEW:
            (folder := tmp_path / name).mkdir()
            with filled_prometheus(tool, folder, free_port, outage.text()) as url:
                found = await gathered(outage, url)
            ranks[name] = rank_of(outage, found)
            print(f"\n| {name} | {ranks[name] or 'not among them'} | {len(found.candidates)} |", end="")
    first = sum(rank is not None and rank <= AMONG for rank in ranks.values())
    print(f"\n{first} of {len(ranks)} among the first {AMONG}")
    assert len(ranks) == (len(outages()) if FULL else len(FEW))
    assert first >= SHARE_MIN * len(ranks), ranks
