"""A judge that finds nothing proves nothing: each planted bug must be found, and by the law that it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.pool import play, processes

SEEDS_TO_CATCH = 60


def catch(name: str) -> tuple[int, str] | None:
    """The first seed whose history finds the law broken that the bug breaks, and what it says; or None."""
    bug = BUGS[name]
    with bug.plant():
        for seed in range(1, SEEDS_TO_CATCH + 1):
            _, broken = play([seed], bug.flavour)
            if bug.law in broken.get(seed, ""):
                return seed, broken[seed]
    return None


@pytest.fixture(scope="module")
def caught() -> Iterator[Mapping[str, Future[tuple[int, str] | None]]]:
    with processes() as pool:
        yield {name: pool.submit(catch, name) for name in BUGS}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str, caught: Mapping[str, Future[tuple[int, str] | None]]) -> None:
    found = caught[name].result()
    assert found is not None, f"{SEEDS_TO_CATCH} histories did not notice: {name} ({BUGS[name].law})"
    print(f"\n{name}: seed {found[0]}: {found[1][:200]}")
