"""What one notification could not begin watches for is watched later, and people hear of it while it waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ledger.entry import Back, Draft
from receiver.governor.asking import first_to_hear, notices
from receiver.governor.desk import Desk
from receiver.governor.phrases import ENGLISH, said
from receiver.governor.watching import begins_anew, watch_draft
from receiver.incident.agenda import Due
from receiver.incident.overflow import KEYS_MAX, OVER_LIMIT, TOLD_AFTER, Overflow
from receiver.incident.states import Key
from receiver.papers import Words, words

AGAIN_SECONDS = 1.0  # watches end one by one, and every alert is gone through for those that wait
RULES_NAMED = 5


async def catch_up(desk: Desk, due: Due) -> None:
    """WATCHED for as many keys that wait as there is room for; NOTED once people hear of the others, or none waits."""
    overflow = desk.book.overflow
    if overflow is None:
        return
    waiting = list(_waiting(desk))
    room = max(0, KEYS_MAX - len(desk.book.watches))
    rulebook, left = desk.charter.rulebook, Counter(rule for rule, _ in waiting[room:])
    drafts: list[Draft] = []
    if not left or (overflow.untold and desk.now() >= overflow.since + TOLD_AFTER):
        drafts += _noted(desk, overflow, left)
    for rule, key in waiting[:room]:
        draft = watch_draft(rulebook, rule, key, overflow.index)
        drafts.append(replace(draft, id=f"{draft.id}:{desk.book.size}"))  # it may begin again after the same entry
    desk.defer(due.name, AGAIN_SECONDS)
    if drafts:
        await desk.post(*drafts)


def _waiting(desk: Desk) -> Iterator[tuple[str, Key]]:
    """Each key of an alert that fires, and is neither watched nor open, in the order in which they came."""
    seen = {(watch.rule, watch.key) for watch in desk.book.watches.values()}
    rules = {rule.name for rule in desk.charter.rulebook.rules} | {"unmatched"}
    for known in desk.book.alerts.values():
        for rule, key in known.assignments if known.alert.firing else ():
            if rule in rules and (rule, key) not in seen and begins_anew(desk, rule, key, known.alert):
                seen.add((rule, key))
                yield rule, key


def _noted(desk: Desk, overflow: Overflow, left: Mapping[str, int]) -> list[Draft]:
    """NOTED what waits, and a notice to whom each rule asks first, of the rules of which nobody has heard it yet."""
    told: dict[str, list[str]] = {}
    for name in sorted(left.keys() - overflow.told):
        for person in first_to_hear(desk, desk.charter.rulebook.rule(name)):
            told.setdefault(person, []).append(name)
    about = f"over-limit:{overflow.index}:{desk.book.size}"
    noted = Draft(
        id=f"note:{about}",
        stage="NOTED",
        actor="system",
        decision=OVER_LIMIT,
        reason=said(ENGLISH, _text(sorted(left), left) if left else words("none over limit"))[:500],
        cites=(overflow.index,),
        body={"kind": OVER_LIMIT, "left": dict(left), "limit": KEYS_MAX, "people": sorted(told)},
    )
    drafts = [noted]
    for person, names in sorted(told.items()):
        drafts += notices(desk, None, about, [person], _text(names, left), (Back(0),), words("of watches"))
    return drafts


def _text(names: list[str], left: Mapping[str, int]) -> Words:
    shown = ", ".join(names[:RULES_NAMED]) + (", ..." if len(names) > RULES_NAMED else "")
    return words("over limit", count=sum(left[name] for name in names), rules=shown, most=KEYS_MAX)
