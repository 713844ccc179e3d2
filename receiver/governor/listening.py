"""Nothing ends in silence, and silence itself is news: the heartbeat that stops is said to people."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Back, Draft
from policy_rules.matchers import Matcher
from policy_rules.permission import notified
from receiver.governor import wording
from receiver.governor.asking import notices
from receiver.governor.desk import Desk, stamp
from receiver.governor.phrases import ENGLISH, phrase
from receiver.incident.agenda import Due
from receiver.incident.heartbeat import BACK, MISSING, next_word
from receiver.papers import words


async def listen(desk: Desk, due: Due) -> None:
    """NOTED that the heartbeat is missing, or is back, and a notice to each person whom it names."""
    pulse, silence, now = desk.pulse(), desk.book.silence, desk.now()
    if pulse is None or next_word(pulse, silence, now) > now:
        return
    if silence is not None and not pulse.missing:
        kind, number = BACK, silence.index
        values = {"quiet": wording.span(now - silence.since)}
    else:
        kind, number = MISSING, desk.book.size
        values = {
            "quiet": wording.span(timedelta(seconds=int(pulse.quiet_for))),
            "within": wording.span(timedelta(seconds=pulse.heartbeat.within_seconds)),
            "alert": _named(pulse.heartbeat.matchers),
        }
    text = phrase(ENGLISH, kind, **values)
    since = silence.since if silence is not None else now - timedelta(seconds=int(pulse.quiet_for))
    about = f"{kind.replace(' ', '-')}:{number}"
    people = notified(desk.charter.rulebook, pulse.heartbeat.notify, desk.persons()) or sorted(desk.charter.people)
    noted = Draft(
        id=f"note:{about}",
        stage="NOTED",
        actor="system",
        decision=kind,
        reason=text,
        cites=(silence.index,) if silence is not None else (),
        body={"kind": kind, "text": text, "since": stamp(since), "people": list(people)},
    )
    told = notices(
        *(desk, None, about, people),
        lambda reader: phrase(reader.language, kind, **values),
        *((Back(0),), words("of heartbeat")),
    )
    await desk.post(noted, *told)


def _named(matchers: tuple[tuple[Matcher, ...], ...]) -> str:
    return ", ".join(str(matcher) for group in matchers for matcher in group)
