"""Whatever a policy's text is, it is read or refused with places: no traceback of another kind, and no hang.

COUNTERFOIL_FUZZ says how many texts are tried (default 600), COUNTERFOIL_SEED from which seed; a failing text's seed is
printed and plays again.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from policy_rules.advice import warnings
from policy_rules.differences import differences
from policy_rules.loading import PolicyErrors, load

ROOT = Path(__file__).parents[2]
TEXTS = [
    path.read_text()
    for path in sorted([*(ROOT / "tests/policy_rules/shown").glob("*.yml"), *(ROOT / "contrib/policies").glob("*.yml")])
    if not path.name.endswith(".cases.yml")
]
NUMBER = int(os.environ.get("COUNTERFOIL_FUZZ", "600"))
SEED = int(os.environ.get("COUNTERFOIL_SEED", "1"))
PARTS = 20  # so that a failure is found without all of them
YAML_WORDS = (
    "&a",
    "*a",
    "<<: *a",
    "!!python/object:os.system x",
    "!!binary aGk=",
    "? [a, b]\n: c",
    "---\n",
    "%YAML 9.9\n",
)
SCALARS = (
    "yes",
    "no",
    "~",
    "null",
    "012",
    "0x1f",
    "0o7",
    "1_000",
    "18:00",
    "2026-01-01",
    "+5",
    "-.inf",
    ".nan",
    "1e400",
)
SIGNS = ("]" * 9, "}" * 9, "'", '"', "|", ">", "\t", "\x00", "\x07", "\u2028", "\ufeff", "\ud800", "...\n")
DEEP = ("[" * 60, "{" * 60, "- " * 60, "[[[]]]", "9" * 400, "x" * 5000)
OURS = (
    *("${HOME}", "${X:-}", "${", "$service", "${A:-${B}}", "for: 1h", "for: -1s", "for: 99999999d", "name: a"),
    *('alerts.firing{a=~"("} >= 1', "score > 1", "{any: []}", "{not: {not: {not: x > 1}}}", "{a: 1, a: 2}"),
    "quorum: 1e9",
)
ODD = (*YAML_WORDS, *SCALARS, *SIGNS, *DEEP, *OURS)


def mutated(rng: random.Random) -> str:
    """A policy that holds, changed in a few places; now and then nothing but rubbish."""
    text = rng.choice(TEXTS) if rng.random() < 0.95 else ""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        lines = text.split("\n")
        at, line = rng.randrange(len(text) + 1), rng.randrange(len(lines))
        what = rng.randrange(9)
        if what == 0:
            text = text[:at] + rng.choice(ODD) + text[at:]
        elif what == 1:
            text = text[:at] + text[at + rng.choice((1, 1, 2, 5, 40)) :]
        elif what == 2:
            lines.insert(line, rng.choice(lines))
            text = "\n".join(lines)
        elif what == 3:
            del lines[line]
            text = "\n".join(lines)
        elif what == 4:
            lines[line] = " " * rng.randrange(12) + lines[line].lstrip()
            text = "\n".join(lines)
        elif what == 5 and ":" in lines[line]:
            lines[line] = lines[line].partition(":")[0] + ": " + rng.choice(ODD)
            text = "\n".join(lines)
        elif what == 6:
            other = rng.choice(TEXTS).split("\n")
            begin = rng.randrange(len(other))
            lines[line:line] = other[begin : begin + rng.randrange(1, 12)]
            text = "\n".join(lines)
        elif what == 7:
            text = text[:at] + chr(rng.choice((rng.randrange(0x80), rng.randrange(0x110000)))) + text[at:]
        else:
            key = rng.choice([word for word in text.replace(":", " ").split() if word.isidentifier()] or ["x"])
            text = text.replace(key, rng.choice(("", key[::-1], key.upper(), rng.choice(ODD))), 1)
    return text


@pytest.mark.parametrize("part", range(PARTS))
def test_it_is_read_or_refused_with_places(part: int) -> None:
    before = load(TEXTS[0], file="policy.yml", environment={})
    read = refused = 0
    for seed in range(SEED + part, SEED + NUMBER, PARTS):
        text = mutated(random.Random(seed))
        try:
            book, problems = load(text, file="policy.yml", environment={"HOME": "/"}), ()
        except PolicyErrors as error:
            book, problems = None, error.problems
        except Exception as error:
            error.add_note(f"COUNTERFOIL_SEED={seed} COUNTERFOIL_FUZZ=1")
            raise
        if book is None:
            refused += 1
            assert problems, seed
        else:
            read += 1
            again = load(book.text, file="policy.yml", environment={})
            assert (again, again.digest) == (book, book.digest), seed
            assert differences(book, again) == [], seed
            assert isinstance(differences(before, book), list), seed
        for problem in (*problems, *(warnings(book) if book is not None else ())):
            assert (problem.file, "\n" in str(problem)) == ("policy.yml", False), seed
            assert problem.line >= 1, seed
            assert problem.message, seed
    if NUMBER >= 20 * PARTS:
        assert min(read, refused) > 0, "one of the two never came about: the mutations are too weak or too strong"
