"""`counterfoil executor serve` in a process that kills itself at a point of its first run:
`python -m tests.journeys.dying_executor "before begin|after begin|before end|after end" CONFIG`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from receiver.__main__ import main
from receiver.execution.run_log import RunLog


def die_at(side: str, what: str) -> None:
    """Kill this process right before, or right after, the id or its result is kept."""
    real: Callable[..., None] = getattr(RunLog, what)

    def dying(log: RunLog, *given: Any) -> None:
        if side == "after":
            real(log, *given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(RunLog, what, dying)


if __name__ == "__main__":
    _, point, config = sys.argv
    die_at(*point.split())
    sys.argv = ["counterfoil", "executor", "serve", "--config", config]
    main()
