"""What a call or a page says came of an answer, against what the ledger says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.simulation.history import History
from tests.simulation.world import Tap, Text

LATER = ("I have heard you.", "Received. A message will say what came of it.")
# The sentences of both, in English → the stages one of which must stand.
TOLD: Mapping[str, tuple[str, ...]] = {
    "Your approval is counted.": ("APPROVED",),
    "Rejected. Nothing runs.": ("DECLINED",),
    "Noted: you are on it. It authorizes nothing.": ("HEEDED",),
    "That is not the code of this question.": ("REFUSED",),
    "That is not your code for this question.": ("REFUSED",),
    "That does not count any more.": ("REFUSED",),
    "That does not count.": ("REFUSED",),
}


@contextmanager
def judged_late(history: History) -> Iterator[None]:
    """Now and then the disk is full for everything but what is heard: whoever waits for a judgement waits in vain."""
    history.journal.hears_only = history.world.fault("disk: full once it is heard", 0.04)
    try:
        yield
    finally:
        history.journal.hears_only = False


def means(history: History, key: str, tap: Tap) -> None:
    """Somebody is about to answer; what stands under `key` already stays as it was said first."""
    if not any(f"heard:{key}" in model.heard for model in history.models.values()):
        history.world.taps[key] = tap


def judge(history: History, text: Text, key: str, verb: str, code: str, said: str) -> None:
    """Law 5: whoever answered is told what stands, once the answer was taken; and it was taken."""
    model = history.models[text.tenant]
    heard = model.heard.get(f"heard:{key}")
    if heard is None:
        model.wrong(None, f"law 3: an answer to {text.index} was taken, and is not booked: {said[:80]}")
        return
    if (heard.body["verb"], heard.body["code"]) != (verb, code):
        return  # another answer stands there, and this one does not count
    if any(words in said for words in LATER):
        history.reached.calls["said later"] += 1
    settled = model.judged.get(heard.index)
    stages = [stages for words, stages in TOLD.items() if words in said]
    stage = settled.stage if settled is not None else "nothing"
    model.need(not stages or stage in stages[0], heard, f"law 5: {said[:60]!r} is said, and {stage} stands")
