"""The mutes of a policy: whose messages wait, and until when."""

from __future__ import annotations

from collections.abc import Collection

from policy_rules.fields import Fields
from policy_rules.loading_rules import read_matchers
from policy_rules.problems import nearest
from policy_rules.rulebook import Mute


def read_mutes(top: Fields, intervals: Collection[str]) -> tuple[Mute, ...]:
    """Every mute, in the order of the file. intervals: the names of `time_intervals`."""
    found: list[Mute] = []
    for path, item in top.items("mute"):
        fields = Fields(top.notes, path, item, ("matchers", "during"))
        matchers = read_matchers(fields)
        if "matchers" in fields and fields.data["matchers"] == []:
            fields.wrong("matchers", "a mute of every alert would let the worst of them wait: say which may")
        fields.required("during")
        during = fields.texts("during")
        if "during" in fields and fields.data["during"] == []:
            fields.wrong("during", "during names no time interval")
        for index, name in enumerate(during):
            if name not in intervals:
                message = f"there is no time interval {name!r}{nearest(name, intervals)}"
                fields.notes.add((*path, "during", index), message)
        found.append(Mute(matchers, during))
    return tuple(found)
