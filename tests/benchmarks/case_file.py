"""Case files of the synthetic outages: `python -m tests.benchmarks.case_file`; `--help` has its options.

For each outage, in a real Prometheus: how long it takes to gather the case file of an incident that its alert opened,
beside a probe of the same run (one instant query to the same server), how many bytes it has in the ledger, and how much
of it is shown to Claude. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from policy_rules.readings import Query
from receiver.demo.monitoring import free_ports
from receiver.diagnosis.prompt import SYSTEM, evidence
from receiver.governor.casework import case_file
from receiver.governor.kept import case_bytes
from receiver.papers import CaseFile
from tests.filled_prometheus import filled_prometheus
from tests.outages import Outage, outages
from tests.receiver.investigated import opened
from tests.tools import find_tool

CHARACTERS_PER_TOKEN = 3.0  # cautious: JSON full of numbers has about three, English four


def program(name: str) -> Path:
    """A program of others. Ends the benchmark where the machine has none."""
    found = find_tool(name)
    if found is None:
        raise SystemExit(f"{name} is not on this machine: contrib/fetch-tools gets it")
    return found


async def gather(outage: Outage, url: str, rounds: int) -> tuple[list[float], list[float], CaseFile]:
    """The seconds of each gathering and of each probe, and the last case file."""
    took, probed = [], []
    async with opened(outage, url) as governed:
        incident = next(iter(governed.desk.book.open.values()))
        for number in range(rounds):
            began = time.perf_counter()
            await governed.desk.evidence.ask((Query("probe", f"vector({number})", 300.0),), timeout_seconds=5)
            probed.append(time.perf_counter() - began)
            began = time.perf_counter()
            case = await case_file(governed.desk, incident)
            took.append(time.perf_counter() - began)
    return took, probed, case


def measure(outage: Outage, tool: Callable[[str], Path], rounds: int) -> tuple[float, str]:
    """The greatest time, and a line of figures."""
    port = lambda: free_ports(1)[0]  # noqa: E731
    with tempfile.TemporaryDirectory() as name, filled_prometheus(tool, Path(name), port, outage.text()) as url:
        took, probed, case = asyncio.run(gather(outage, url, rounds))
    shown = len(evidence(case).document) + len(SYSTEM)
    line = (
        f"{outage.name}: case file gathered in {statistics.median(took) * 1000:.0f} ms, "
        f"at most {max(took) * 1000:.0f}; "
        f"one query {statistics.median(probed) * 1000:.1f} ms; {len(case.exhibits)} exhibits; "
        f"{len(case_bytes(case)):,} bytes in the ledger; {shown:,} characters shown to Claude, "
        f"about {shown / CHARACTERS_PER_TOKEN:,.0f} tokens"
    )
    return max(took), line


def main(words: list[str] | None = None, tool: Callable[[str], Path] = program) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.case_file", description=__doc__)
    parser.add_argument("--outages", type=int, default=len(outages()), help="how many of them (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="case files of each (default 5)")
    arguments = parser.parse_args(words)
    worst = 0.0
    for outage in list(outages().values())[: arguments.outages]:
        seconds, line = measure(outage, tool, arguments.rounds)
        worst = max(worst, seconds)
        print(line)
    print(f"slowest: {worst:.2f} s (aim 1.5 s); the aim for what is shown is under 12,000 tokens")


if __name__ == "__main__":
    main()
