"""A start of the service as far as its ledger: `python -m tests.benchmarks.starting FOLDER KEY ORIGIN TENANT`.

It opens the ledger and begins as a governor does, by the same code. In one line it prints the seconds to open and to
begin, how many entries came from the memo, how many incidents are open, and the largest memory in kB.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ledger import checkpoint
from ledger.stores.personal import PersonalJournal
from policy_rules.casebook.cases import Case
from policy_rules.loading import load
from receiver.governor.desk import Charter, Desk
from receiver.governor.folding import begin
from receiver.governor.memo import memo_path
from receiver.governor.remembering import Memos
from receiver.metrics import Metrics
from receiver.rehearsal.outside import CaseClock, CaseExecutors, Outside

SECRET = b"of the benchmark"


async def start(place: Path, key_file: Path, origin: str, tenant: str) -> str:
    path, key, began = place / "ledger.db", checkpoint.load_key_file(key_file), time.perf_counter()
    journal = await PersonalJournal.open(
        path, origin=origin, key=key, anchor_path=place / "anchor", clock=lambda: datetime.now(UTC), tenants=[tenant]
    )
    opened = time.perf_counter()
    memos = Memos(memo_path(path, tenant), tenant, SECRET)
    now = datetime.now(UTC)
    clock = CaseClock(now)
    outside = Outside(Case("none", 1, now, 30, (), {}, (), ()), clock)
    desk = Desk(
        tenant=tenant,
        journal=journal,
        clock=clock,
        evidence=outside,
        alert_source=outside,
        diagnostician=outside,
        carrier=outside,
        executors=CaseExecutors(outside),
        charter=Charter(load("policy: {name: p, version: '1'}\nrules: []\n", file="p", environment={}), {}, {}),
        metrics=Metrics(),
        secret=SECRET,
        memos=memos,
    )
    prepared = time.perf_counter()
    await begin(desk)
    begun = time.perf_counter()
    await journal.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{opened - began} {begun - prepared} {memos.size} {len(desk.book.open)} {peak}"


if __name__ == "__main__":
    where, key, origin, tenant = sys.argv[1:]
    print(asyncio.run(start(Path(where), Path(key), origin, tenant)))
