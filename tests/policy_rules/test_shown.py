"""Each part of the language, shown: a small policy in shown/, and cases that the service's own governor plays.

What the governor decided, the auditor decides again from the ledger alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.entry import Entry
from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load, warnings
from receiver.__main__ import counterfoil
from receiver.auditor.permitted import Permitted
from receiver.auditor.replay import Replay
from receiver.rehearsal.running import TENANT, _Run, roster_for

SHOWN = Path(__file__).parent / "shown"


@pytest.mark.parametrize("cases", sorted(SHOWN.glob("*.cases.yml")), ids=lambda path: path.name)
def test_what_is_shown_holds(cases: Path) -> None:
    result = CliRunner().invoke(counterfoil, ["policy", "test", str(cases), "--fail-uncovered"])
    assert result.exit_code == 0, result.output


@dataclass(frozen=True)
class Kept:
    """A log that was played, as an archive."""

    log: Sequence[Entry]
    blobs: Mapping[str, bytes]
    tenant: str = TENANT

    def entries(self) -> Iterator[Entry]:
        return iter(self.log)

    def blob(self, digest: str) -> bytes | None:
        return self.blobs.get(digest)


@pytest.mark.parametrize("cases", sorted(SHOWN.glob("*.cases.yml")), ids=lambda path: path.name)
def test_the_auditor_decides_the_same_from_the_ledger(cases: Path) -> None:
    found = read_cases(cases.read_bytes(), cases.name)
    book = load((SHOWN / found.policy).read_text(), file=found.policy, environment={})
    for case in found.cases:
        run = _Run(case, book, found.people or roster_for(case, book))
        outcome = asyncio.run(run.run())
        archive = Kept(outcome.log, run.journal._blobs)
        assert [str(one) for one in Replay(archive).differences()] == [], case.name
        permitted = Permitted(archive.blob)
        assert [finding for entry in outcome.log for finding in permitted.take(entry)] == [], case.name


POLICIES = [path for path in sorted(SHOWN.glob("*.yml")) if not path.name.endswith(".cases.yml")]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.name)
def test_what_is_shown_is_meant(policy: Path) -> None:
    assert warnings(load(policy.read_text(), file=policy.name, environment={})) == ()
    assert read_cases(policy.with_suffix(".cases.yml").read_bytes(), policy.name).policy == policy.name
