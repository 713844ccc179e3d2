"""The score of a policy, or of one rule."""

from __future__ import annotations

from collections.abc import Collection

from policy_rules.fields import Fields
from policy_rules.problems import nearest
from policy_rules.rulebook import SCORE, ScorePart


def read_score(fields: Fields, signals: Collection[str], bad_signals: Collection[str]) -> tuple[ScorePart, ...]:
    """Every part under `score`; empty where there is none. bad_signals: a part of them is no second mistake."""
    parts: dict[str, ScorePart] = {}
    if SCORE in fields and fields.data[SCORE] == []:
        fields.wrong(SCORE, "an empty score says nothing: name at least one part, or leave it out")
    for path, item in fields.items(SCORE):
        part_fields = Fields(fields.notes, path, item, ("signal", "weight", "good", "bad"))
        signal = part_fields.text("signal")
        part = ScorePart(signal, part_fields.number("weight"), part_fields.number("good"), part_fields.number("bad"))
        if not signal or not all(name in part_fields for name in ("weight", "good", "bad")):
            continue
        if signal not in signals and signal not in bad_signals:
            part_fields.wrong("signal", f"there is no signal {signal!r}{nearest(signal, signals)}")
        elif signal in parts:
            part_fields.wrong("signal", f"{signal} is a part of the score already")
        elif float(part.weight) <= 0:
            part_fields.wrong("weight", "weight must be greater than 0")
        elif float(part.good) == float(part.bad):
            part_fields.wrong("good", "good and bad must differ")
        parts[signal] = part
    return tuple(parts.values())
