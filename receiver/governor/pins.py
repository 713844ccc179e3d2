"""What an approval of high risk needs beside the tap: the person's PIN, which the intake compares and nobody keeps."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Draft
from receiver.governor.answering import heed, refuse, reply_to, settled
from receiver.governor.asking import notices
from receiver.governor.desk import Desk
from receiver.incident.enrolled import PIN_WINDOW
from receiver.incident.states import Heard, Message, Proposal
from receiver.papers import words

PIN_TRIES = 5  # wrong ones, within PIN_WINDOW; then it is locked
PIN_WITHIN = timedelta(minutes=5)  # in which bare digits answer the message that asks for them
ASKED_AGAIN = timedelta(seconds=30)  # a tap that is tapped twice is asked for its PIN once
WANTED, WRONG, LOCKED = "pin wanted", "wrong PIN", "PIN locked"  # what the ledger calls each


async def counts(
    desk: Desk, heard: Heard, person: str, proposal: Proposal, message: Message, learnt: list[Draft]
) -> bool:
    """Whether an approval bears the PIN that its question asks for; where not, it is settled here, and answered."""
    if not proposal.body.get("pin"):
        return True
    if _wrong(desk, person) >= PIN_TRIES:
        await refuse(desk, heard, LOCKED, reply=words("pin locked"), proposal=proposal, extra=learnt)
        return False
    given = heard.body.get("pin")
    if given == "right":
        return True
    if given is None:
        body = {"what": WANTED, "person": person, "proposal": proposal.index, "message": message.index}
        text = words("pin wanted", title=proposal.body["title"], minutes=_minutes())
        done = settled(heard, "HEEDED", WANTED, proposal.incident_id, body)
        before = desk.book.pins_wanted.get(person)
        again = before is not None and before[0] == proposal.index and desk.now() - before[2] < ASKED_AGAIN
        told = [] if again else [reply_to(desk, heard, person, text, proposal.incident_id)]
        await desk.post(done, *learnt, *told)
        return False
    left = PIN_TRIES - _wrong(desk, person) - 1
    extra = list(learnt)
    if left == 0:
        others = sorted(name for name, m in desk.charter.people.items() if name != person and not m.suspended)
        alarm = words("pin alarm", person=person, tries=PIN_TRIES)
        extra += notices(desk, None, f"pin:{heard.index}", others, alarm, (heard.index,), person)
    reply = words("pin wrong", left=left) if left else words("pin locks")
    await refuse(desk, heard, WRONG, reply=reply, proposal=proposal, extra=extra)
    return False


async def wanted(desk: Desk, heard: Heard, person: str) -> tuple[Proposal, Message] | None:
    """The question whose PIN bare digits may be; None once they were settled as words that mean nothing."""
    asked = desk.book.pins_wanted.get(person)
    if asked is None or desk.now() - asked[2] > PIN_WITHIN:
        await heed(desk, heard, person, "no answer", None)
        return None
    return desk.book.proposals[asked[0]], desk.book.messages[asked[1]]


def _wrong(desk: Desk, person: str) -> int:
    since = desk.now() - PIN_WINDOW
    return sum(at > since for at in desk.book.wrong_pins.get(person, ()))


def _minutes() -> int:
    return int(PIN_WITHIN.total_seconds() // 60)
