"""Every benchmark runs, at its smallest, and prints the figures that it promises."""

from __future__ import annotations

import pytest

from tests.benchmarks import ledger, policy, service


def test_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    service.main(["--requests", "40", "--incidents", "2"])
    said = capsys.readouterr().out
    for figure in ("start to ready", "memory at rest", "durable acknowledgements", "webhook in", "tap in"):
        assert figure in said


def test_the_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    ledger.main(["--posts", "5", "--entries", "600"])
    said = capsys.readouterr().out
    for figure in ("1 writer", "32 writer", "bytes on disk", "start on", "inclusion proof", "verify:"):
        assert figure in said


def test_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    policy.main(["--rules", "2", "--cases", "2"])
    said = capsys.readouterr().out
    for figure in ("2 rules, 100 alerts", "verdicts/s", "policy test, 2 cases"):
        assert figure in said
