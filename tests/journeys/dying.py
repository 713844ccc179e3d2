"""`counterfoil` in a process that kills itself at a post: `python -m tests.journeys.dying before|after STAGE …`.

SIGKILL leaves nothing to handle: no destructor, no flush, no answer to whoever waits.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from ledger.entry import Draft
from ledger.journal import Receipt
from ledger.stores.sqlite import SqliteJournal
from receiver.__main__ import main


def die_at(side: str, stage: str) -> None:
    """Kill this process right before, or right after, the first post that holds `stage`."""
    real = SqliteJournal.post

    async def post(journal: SqliteJournal, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        here = any(draft.stage == stage for draft in drafts)
        if here and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        receipt = await real(journal, tenant, drafts)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt

    SqliteJournal.post = post  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    _, side, stage, *words = sys.argv
    die_at(side, stage)
    sys.argv = ["counterfoil", *words]
    main()
