"""`diagnosis preview`: what would be sent, from the case file that the ledger keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from receiver.commands.diagnosis import Offered, previewed
from receiver.diagnosis.claude import Claude
from receiver.diagnosis.dialogue import Limits
from receiver.governor.kept import case_bytes, case_of
from receiver.papers import CaseFile, Exhibit
from receiver.settings_sections import Diagnosis

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
CASE = CaseFile(
    tenant="default",
    incident_id="inc-0123456789",
    rule="checkout-errors",
    summary="checkout fails for order ORD-12345 of tendai@example.co.zw",
    opened_at=NOW,
    labels={"alertname": "CheckoutErrors", "customer": "acme"},
    annotations={"summary": "x"},
    alerts=({"labels": {"alertname": "CheckoutErrors"}, "firing": True, "starts_at": "2026-11-02T08:59:00.000000Z"},),
    exhibits=(
        Exhibit(
            "q1", "errors", "sum(errors_total)", NOW, {"now": "12"}, points=("1", "", "12"), since=NOW, step_seconds=30
        ),
        Exhibit("q2", "what policy found", "", None, {"now": "error_ratio 0.31 >= 0.05"}, kind="finding"),
    ),
    actions={"restart": "Restart the checkout"},
    cut=("200 series were not asked for",),
    follow_up=True,
)


def test_a_case_file_is_read_as_it_was_written() -> None:
    assert case_of(case_bytes(CASE), "default") == CASE


@pytest.mark.parametrize("offered", [None, Offered()])
def test_a_preview_is_the_first_request_and_what_it_comes_to(offered: Offered | None) -> None:
    claude = Claude(
        api_key=None,
        model="claude-sonnet-5-5",
        base_url=None,
        daily_budget_usd=5,
        clock=lambda: NOW,
        limits=Limits(redact=(r"ORD-\d+",), labels=("customer",)),
        asks=lambda tenant: offered,
    )
    shown = previewed(claude, CASE)
    request = shown["request"]
    assert request == claude.begin(CASE).question(last=False)
    assert ("tools" in request) == (offered is not None)
    assert "12345" not in str(request)
    assert "example.co.zw" not in str(request)
    assert "acme" in str(request)
    assert shown["redacted"] == {"configured": 1, "email": 1}
    assert 1_000 < shown["bytes"] < 12_000
    assert 0 < float(shown["cost_usd"]) < 0.05


def test_what_was_spent_on_an_incident_is_no_part_of_what_is_sent() -> None:
    assert case_of(case_bytes(replace(CASE, spent_usd="0.4")), "default") == CASE


@pytest.mark.parametrize(
    ("expression", "why"), [("(", "no expression of RE2"), ("x*", "where there is nothing"), ("(?=x)", "no expression")]
)
def test_an_expression_that_hides_nothing_or_everything_is_refused(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Diagnosis(redact=(expression,))


def test_without_a_configuration_it_is_said_in_one_line(tmp_path: Path) -> None:
    command = ["diagnosis", "preview", "inc-1", "--config", str(tmp_path / "counterfoil.yml")]
    result = CliRunner().invoke(counterfoil, command)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
