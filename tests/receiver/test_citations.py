"""The frozen set of claims, and every one of its true claims made false in one digit: what is told apart, by kind."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.diagnosis.citations import Checked, check, read_answer
from receiver.diagnosis.prompt import evidence
from receiver.diagnosis.units import rendered
from receiver.papers import CaseFile, Exhibit

SET = Path(__file__).parent / "sets" / "citations.yml"
NOW = datetime.fromisoformat("2026-11-02T09:00:00Z")
# What cannot get worse: claims of the frozen set that are judged wrongly. A false one that is shown is the worse fault.
FALSE_SHOWN_MAX = 0
TRUE_DROPPED_MAX = 0
CHANGED_SHOWN_MAX = 0  # of the true claims with a digit changed; see `test_one_changed_digit_is_found_out`
NUMBER = re.compile(r"(?<![\w.:{-])\d[\d,]*(?:\.\d+)?(?![\w.:-]*[\w:])")


@cache
def sets() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(SET.read_text(encoding="utf-8"))["sets"]
    return found


def exhibits_of(one: dict[str, Any]) -> tuple[Exhibit, ...]:
    return tuple(
        Exhibit(
            exhibit["ref"],
            exhibit["title"],
            exhibit["query"],
            datetime.fromisoformat(exhibit["taken_at"]),
            exhibit["values"],
            unit=exhibit["unit"],
        )
        for exhibit in one["exhibits"]
    )


def judged(exhibits: tuple[Exhibit, ...], claims: list[dict[str, Any]]) -> list[bool]:
    """Whether each claim is shown, judged by itself, on the way that every answer takes."""
    case = CaseFile("default", "inc-0", "rule", "it fails", NOW, {}, {}, (), exhibits, {})
    shown = evidence(case)
    found = []
    for claim in claims:
        answer = {
            "summary": "Possibly a fault",
            "likely_cause": "Not known",
            "claims": [{"text": claim["text"], "refs": claim["refs"]}],
            "recommended_action": "none",
            "confidence": 0.5,
            "falsified_by": "Anything else",
        }
        checked = check(read_answer(json.dumps(answer), []), shown.exhibits, shown.document)
        assert checked is None or isinstance(checked, Checked)
        found.append(checked is not None)
    return found


def test_the_frozen_claims_are_told_apart() -> None:
    right: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    missed = []
    for one in sets():
        for claim, shown in zip(one["claims"], judged(exhibits_of(one), one["claims"]), strict=True):
            kind = (claim["expect"], claim["kind"])
            if shown == (claim["expect"] == "keep"):
                right[kind] += 1
            else:
                wrong[kind] += 1
                missed.append(claim["id"])
    print()
    for expect, kind in sorted(right.keys() | wrong.keys()):
        hits, misses = right[expect, kind], wrong[expect, kind]
        print(f"{expect:<5} {kind:<16} {hits:>4} of {hits + misses:>4}")
    false_shown = sum(count for (expect, _), count in wrong.items() if expect == "drop")
    true_dropped = sum(count for (expect, _), count in wrong.items() if expect == "keep")
    print(
        f"{right.total()} of {right.total() + wrong.total()} as expected; {false_shown} false ones shown, "
        f"{true_dropped} true ones dropped: {missed}"
    )
    assert false_shown <= FALSE_SHOWN_MAX
    assert true_dropped <= TRUE_DROPPED_MAX


def test_one_changed_digit_is_found_out() -> None:
    """Each written number of each true claim is changed in its first digit, and then it is false."""
    tried, shown_anyway = 0, []
    for one in sets():
        changed = []
        for claim in one["claims"]:
            if claim["expect"] != "keep":
                continue
            for found in NUMBER.finditer(claim["text"]):
                digit = "7" if found[0][0] != "7" else "3"
                text = claim["text"][: found.start()] + digit + claim["text"][found.start() + 1 :]
                changed.append({"text": text, "refs": claim["refs"], "id": claim["id"]})
        for claim, shown in zip(changed, judged(exhibits_of(one), changed), strict=True):
            tried += 1
            if shown:
                shown_anyway.append((claim["id"], claim["text"]))
    print(f"\n{tried} claims made false in one digit; shown all the same: {len(shown_anyway)}")
    for name, text in shown_anyway:
        print(f"  {name}: {text}")
    assert tried >= 150
    assert len(shown_anyway) <= CHANGED_SHOWN_MAX


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        ("", "0.3124567", "0.3124567"),
        ("ratio", "0.3124567", "31.25%"),
        ("percent", "75.18", "75.18%"),
        ("seconds", "0.0842", "84.2 ms"),
        ("seconds", "622.4", "10.37 min"),
        ("seconds", "0", "0 s"),
        ("milliseconds", "1900", "1.9 s"),
        ("bytes", "2147483648", "2 GiB"),
        ("bytes", "12", "12 bytes"),
        ("count", "47213", "47213"),
        ("requests/s", "487.31234", "487.3 requests/s"),
        ("timestamp", "1776567450", "2026-04-19 02:57:30 UTC"),
        ("seconds", "NaN", "NaN"),
    ],
)
def test_a_reference_is_told_in_its_unit(unit: str, value: str, shown: str) -> None:
    assert rendered(Exhibit("q1", "t", "", NOW, {"now": value}, unit=unit), "now") == shown


@pytest.mark.parametrize(
    ("unit", "text", "shown"),
    [
        ("seconds", "It takes {q1.now} seconds.", "It takes 2 s."),
        ("seconds", "It takes {q1.now} ms.", "It takes 2 s."),
        ("ratio", "{q1.now} percent fail.", "200% fail."),
        ("ratio", "{q1.now} % fail.", "200% fail."),
        ("requests/s", "It takes {q1.now} failed requests a second.", "It takes 2 failed requests a second."),
        ("requests/s", "It takes {q1.now} requests a minute.", None),
        ("bytes", "It holds {q1.now} after an hour.", "It holds 2 bytes after an hour."),
        ("", "It takes {q1.now} ms.", None),
    ],
)
def test_a_unit_after_a_reference_stands_once_or_not_at_all(unit: str, text: str, shown: str | None) -> None:
    exhibits = (Exhibit("q1", "it (of some kind)", "it", NOW, {"now": "2"}, unit=unit),)
    answer = {
        "summary": "s",
        "likely_cause": "",
        "claims": [{"text": text, "refs": ["q1"]}],
        "recommended_action": "none",
        "confidence": 0,
        "falsified_by": "",
    }
    checked = check(read_answer(json.dumps(answer | {"confidence": 0.0}), []), exhibits, "")
    assert (checked.claims[0].text if checked else None) == shown
