"""The frozen attack sets are whole: their shape, their ids, their counts. Other tests run them (see sets/README.md)."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SETS = Path(__file__).parent / "sets"
REFUSALS = {"refused_at_load", "refused_at_render", "refused_at_send"}
REQUEST_FIELDS = {"method", "host", "address", "path", "query", "headers", "json", "form"}
EXECUTOR_FIELDS = {
    "id",
    "technique",
    "executor",
    "params",
    "number_params",
    "dns",
    "answer",
    "about",
    "expect",
    "request",
    "reads_at_most",
    "why",
}

INJECTION_FIELDS = {"id", "kind", "technique", "where", "name", "text", "answer", "raw", "must_not", "why"}
PLACES = {"label", "annotation", "alertname", "label_name", "query_result", "past_reason", "metric_name"}
ANSWER_FIELDS = {"summary", "likely_cause", "claims", "recommended_action", "confidence", "falsified_by"}


@cache
def read(name: str) -> dict[str, Any]:
    text = (SETS / name).read_text(encoding="ascii")
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    assert set(content) == {"given", "cases"}
    return content


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(name)["cases"]
    ids = Counter(case["id"] for case in found)
    assert [name for name, times in ids.items() if times > 1] == []
    for case in found:
        assert case["technique"], case["id"]
        assert case["why"].endswith("."), case["id"]
    return found


def test_executor_attacks_are_whole() -> None:
    found = cases("executor_attacks.yml")
    for case in found:
        at = case["id"]
        assert set(case) <= EXECUTOR_FIELDS, at
        assert isinstance(case["executor"]["url"], str), at
        assert all(isinstance(value, str) for value in case["params"].values()), at
        assert set(case.get("number_params", [])) <= set(case["params"]), at
        assert case.get("about", "poll") == "poll", at
        if case["expect"] == "sent":
            assert {"method", "host", "path"} <= set(case["request"]) <= REQUEST_FIELDS, at
        else:
            assert case["expect"] in REFUSALS, at
            assert "request" not in case, at
    expected = Counter(case["expect"] for case in found)
    assert len(found) >= 382
    assert expected["sent"] >= 137
    assert min(expected[refusal] for refusal in REFUSALS) >= 52
    assert sum(case["technique"] == "honest" for case in found) >= 20


def test_diagnosis_injections_are_whole() -> None:
    assert set(read("diagnosis_injections.yml")["given"]["answer"]) == ANSWER_FIELDS
    found = cases("diagnosis_injections.yml")
    for case in found:
        at = case["id"]
        assert set(case) <= INJECTION_FIELDS, at
        assert all(isinstance(text, str) and text for text in case["must_not"]), at
        if case["kind"] == "input":
            assert case["where"] in PLACES, at
            assert isinstance(case["text"], str), at
            assert ("name" in case) == (case["where"] in {"label", "annotation"}), at
        else:
            assert case["kind"] == "answer", at
            assert ("raw" in case) != ("answer" in case), at
            assert isinstance(case.get("raw", ""), str), at
    kinds = Counter(case["kind"] for case in found)
    assert kinds["input"] >= 173
    assert kinds["answer"] >= 93
    assert {case.get("where") for case in found} == PLACES | {None}
    assert sum(bool(case["must_not"]) for case in found) >= 140
