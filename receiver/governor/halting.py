"""A halt concerns everybody: whoever may be asked hears of it, and of its end."""

from __future__ import annotations

from ledger.entry import Back, Draft
from receiver.governor import wording
from receiver.governor.asking import notices
from receiver.governor.desk import Desk
from receiver.papers import words


def told(desk: Desk, about: str, stage: str, actor: str, reason: str) -> list[Draft]:
    """A notice to everybody but `actor` that nothing is dispatched any more, or is again.

    stage: HALTED or RESUMED. The entry that says so must be the first draft of the same post. A second halt beside one
    that stands changes nothing for anybody, and is not said: words that cost nothing must not make a flood.
    """
    if stage == "HALTED" and desk.book.halts:
        return []
    who, now = actor.partition(":")[2], desk.now()
    people = sorted(name for name, m in desk.charter.people.items() if name != who and not m.suspended)
    return notices(
        *(desk, None, about, people),
        lambda reader: wording.halted(stage, actor, now, reason, reader),
        *((Back(0),), words(f"of {stage.lower()}")),
    )
