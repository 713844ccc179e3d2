"""`python -m tests.outages [NAME]`: the outages and their stories, or one outage's OpenMetrics text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.outages import outages


def main(words: Sequence[str]) -> int:
    """0; 2 for a name that is none."""
    known = outages()
    if not words:
        for one in known.values():
            print(f"{one.name}: {one.story}")
        return 0
    if len(words) > 1 or words[0] not in known:
        print(f"one of: {', '.join(known)}", file=sys.stderr)
        return 2
    sys.stdout.writelines(f"{line}\n" for line in known[words[0]].samples())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
