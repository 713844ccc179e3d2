"""The shape and the counts of sets/citations.yml; what the receiver makes of its claims is tested elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

SET = Path(__file__).parent / "sets" / "citations.yml"
REFERENCE = re.compile(r"\{(q\d+)\.(\w+)\}")
NUMBER = re.compile(r"-?\d+(\.\d+)?|NaN")
TAKEN_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LEAST_CLAIMS, LEAST_SETS = 220, 12
MOST_OF_ONE_KIND = 0.15  # of all claims
ASKED_FOR = {
    "keep": {"exact", "rounding", "unit_change", "time", "reference", "name", "count", "number_word", "fraction"},
    "drop": {
        *("wrong_number", "other_exhibit", "wrong_unit", "bad_rounding", "swapped_service", "sign_changed", "now_max"),
        *("time_order", "trend", "number_word", "missing_value", "missing_ref", "hidden_digits", "homoglyph"),
        *("range", "fraction", "date"),
    },
}


@cache
def sets() -> list[dict[str, Any]]:
    """The file's."""
    loaded = yaml.safe_load(SET.read_text(encoding="utf-8"))
    assert loaded.keys() == {"sets"}
    found: list[dict[str, Any]] = loaded["sets"]
    return found


def claims() -> list[dict[str, Any]]:
    """Of every set."""
    return list(chain.from_iterable(one["claims"] for one in sets()))


def missing(one: dict[str, Any], claim: dict[str, Any]) -> bool:
    """Whether the claim cites an exhibit that is not there, or refers to a value that is not."""
    known = {exhibit["ref"]: exhibit["values"] for exhibit in one["exhibits"]}
    values = REFERENCE.findall(claim["text"])
    cited = claim["refs"] and set(claim["refs"]) <= known.keys()
    return not cited or any(value not in known.get(ref, {}) for ref, value in values)


def test_there_are_enough_and_about_half_are_kept() -> None:
    expected = Counter(claim["expect"] for claim in claims())
    assert len(sets()) >= LEAST_SETS
    assert expected.total() >= LEAST_CLAIMS
    assert 0.4 < expected["keep"] / expected.total() < 0.6


def test_every_kind_is_there_and_none_prevails() -> None:
    kinds = Counter((claim["expect"], claim["kind"]) for claim in claims())
    for expect, asked in ASKED_FOR.items():
        assert asked <= {kind for expected, kind in kinds if expected == expect}
    assert max(kinds.values()) < MOST_OF_ONE_KIND * kinds.total()


def test_exhibits_are_whole() -> None:
    for one in sets():
        assert one.keys() == {"name", "exhibits", "claims"}
        assert [exhibit["ref"] for exhibit in one["exhibits"]] == [f"q{n + 1}" for n in range(len(one["exhibits"]))]
        for exhibit in one["exhibits"]:
            assert exhibit.keys() == {"ref", "title", "unit", "query", "taken_at", "values"}
            assert exhibit["title"].endswith(f"({exhibit['unit']})")
            assert TAKEN_AT.fullmatch(exhibit["taken_at"])
            assert "now" in exhibit["values"]
            assert all(NUMBER.fullmatch(value) for value in exhibit["values"].values())


def test_claims_are_whole() -> None:
    ids = [claim["id"] for claim in claims()]
    assert len(set(ids)) == len(ids)
    for one in sets():
        texts = [(claim["text"], *claim["refs"]) for claim in one["claims"]]
        assert len(set(texts)) == len(texts)
        for claim in one["claims"]:
            assert claim.keys() == {"id", "text", "refs", "expect", "kind", "why"}
            assert claim["expect"] in ASKED_FOR
            assert claim["id"].startswith(f"{one['name']}-")
            assert all(claim[key] for key in ("text", "kind", "why")), claim["id"]


def test_what_is_missing_is_dropped_for_that() -> None:
    for one in sets():
        for claim in one["claims"]:
            said = claim["kind"] in {"missing_ref", "missing_value"}
            assert missing(one, claim) == said, claim["id"]
            assert not said or claim["expect"] == "drop", claim["id"]
