"""Every verdict is explained from the ledger alone: what was asked, answered and compared, and by which policy."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from ledger.entry import Entry
from policy_rules import approval, checks, muting, offers, permission
from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from policy_rules.rulebook import ALERT_NUMBERS, Rulebook
from receiver.auditor.explanation import Explanation
from receiver.auditor.meaning import meaning
from receiver.auditor.reading import Reader
from receiver.auditor.telling import comparisons
from receiver.rehearsal.running import TENANT, _Run, roster_for

SHOWN = Path(__file__).parents[1] / "policy_rules" / "shown"
FILES = sorted(SHOWN.glob("*.cases.yml"))
CASES = [(path, case) for path in FILES for case in read_cases(path.read_bytes(), path.name).cases]


def load_shown(path: Path) -> Rulebook:
    policy = read_cases(path.read_bytes(), path.name).policy
    return load((SHOWN / policy).read_text(), file=policy, environment={})


def explained(path: Path, case: Any) -> tuple[list[Entry], list[Explanation]]:
    found = read_cases(path.read_bytes(), path.name)
    book = load_shown(path)

    async def story() -> tuple[list[Entry], list[Explanation]]:
        run = _Run(case, book, found.people or roster_for(case, book))
        await run.run()
        reader = Reader(run.journal)
        views, _ = await reader.incidents(TENANT, before=10**9, limit=100)
        said: list[Explanation] = []
        for short in views:
            view = await reader.incident(TENANT, short.id)
            assert view is not None
            said += await reader.why(TENANT, view)
        return list(run.journal.log), said

    return asyncio.run(story())


@pytest.mark.parametrize(("path", "case"), CASES, ids=[f"{p.name}:{c.line}" for p, c in CASES])
def test_every_verdict_of_every_incident_with_its_questions(path: Path, case: Any) -> None:
    log, said = explained(path, case)
    wanted = {e.index for e in log if e.incident_id is not None and comparisons(e)}
    assert wanted <= {one.index for one in said}
    for one in said:
        assert one.findings
        assert one.policy.split()[0] == read_cases(path.read_bytes(), path.name).policy.removesuffix(".yml")
        for reading in one.readings:
            assert reading.query is not None
            assert reading.at.startswith("2026-01-05T")
            assert (reading.value is None) is (reading.state != "value")
        if one.outcome in ("permit", "deny"):  # an auditor does not know what "same_action" or "target" is
            own = (*ALERT_NUMBERS, "score", *load_shown(path).signals)
            unexplained = [r["name"] for r in one.findings if not r["meaning"] and r["name"].split("{")[0] not in own]
            assert unexplained == []


def test_in_words() -> None:
    path = SHOWN / "score.cases.yml"
    _, said = explained(path, read_cases(path.read_bytes(), path.name).cases[0])
    first = next(one for one in said if one.stage == "DETECTED")
    lines = list(first.lines())
    assert lines[0] == f"entry {first.index}, 2026-01-05 10:00:00 UTC: DETECTED by policy"
    assert lines[1:] == [
        "  score 1, rule shop, says detect: score 25 < 60",
        "  read  error_ratio = 0.0 at 2026-01-05 10:00:00 UTC",
        '        error_ratio{service="checkout"}',
        "  read  p95_seconds = 2.5 at 2026-01-05 10:00:00 UTC",
        '        p95_seconds{service="checkout"}',
        "  score 25 < 60: holds (error_ratio 0.0 counts 100.0, p95_seconds 2.5 counts 0.0)",
    ]


def test_what_cannot_be_told_is_said() -> None:
    path = SHOWN / "score.cases.yml"
    _, said = explained(path, read_cases(path.read_bytes(), path.name).cases[3])
    text = "\n".join(line for one in said for line in one.lines())
    assert "read  p95_seconds = unknown (no_data" in text
    assert "score unknown < 60: cannot be told (p95_seconds: no_data)" in text


def test_every_comparison_that_a_permission_makes_has_words() -> None:
    """Whatever the modules of permission name a comparison, also where no case here comes to it."""
    sources = "".join(inspect.getsource(module) for module in (approval, checks, muting, offers, permission))
    names = set(re.findall(r'(?:check|Finding)\(\s*f?"(\w[\w.]*)', sources)) | set(
        re.findall(r'at_both\("(\w+)"', sources)
    )
    assert {"halt", "limit", "cooldown", "target", "approved", "when"} <= names
    assert [name for name in sorted(names) if not meaning("deny", name)] == []
    assert meaning("detect", "limit") == ""  # a signal may have any name
