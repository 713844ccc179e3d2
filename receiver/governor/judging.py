"""A human authorizes: what each answer is worth. It was posted as HEARD first, and is judged here, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from ledger.entry import Draft
from policy_rules import permission
from policy_rules.verdict import Outcome
from receiver.authorization import codes
from receiver.governor import doubting, drilling, duty, enrolling, pins, recalling, requesting, silencing, wording
from receiver.governor import words as talk
from receiver.governor.answering import refuse, replies, say, settled
from receiver.governor.asking import notices, sent_draft
from receiver.governor.desk import Desk, by_policy, incident_of, stamp
from receiver.governor.phrases import ENGLISH, of_policy, said
from receiver.incident.agenda import Due
from receiver.incident.book import HELD_SECONDS, Book
from receiver.incident.states import Heard, Message, Proposal
from receiver.papers import VOICE, Words, words

OUTCOMES = ("AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN")
Judge = Callable[[Desk, Heard, str], Awaitable[None]]
WORDS: Mapping[str, Judge] = {
    "halt": talk.halt,
    "resume": talk.resume,
    "status": talk.status,
    "why": talk.why,
    "detail": talk.detail,
    "note": talk.note,
    "run": requesting.run,
    **dict.fromkeys(doubting.OUTCOMES, doubting.settle_by_word),
    "help": talk.help_,
    "handover": duty.handover,
    "silence": silencing.silence,
    "stop": enrolling.stop,
    "start": enrolling.start,
}


async def judge(desk: Desk, due: Due) -> None:
    """APPROVED, DECLINED (with REJECTED), REFUSED or HEEDED: every HEARD is settled by exactly one."""
    heard = desk.book.heard[due.subject]
    person, verb = heard.body.get("person"), heard.body.get("verb")
    if person is None or person not in desk.charter.people:
        await refuse(desk, heard, "unknown sender", reply=None)
    elif verb == "join":
        await enrolling.join(desk, heard, person)  # the way back of whoever is suspended
    elif desk.charter.people[person].suspended:
        await refuse(desk, heard, "suspended", reply=None)
    elif desk.book.enrolled.is_other(person, heard.body.get("external_id_hmac")):
        await enrolling.another_identity(desk, heard, person)
    elif verb == "pin":
        await _judge_pin(desk, heard, person)
    elif verb in ("approve", "reject", "onit"):
        await _judge_answer(desk, heard, person, verb)
    else:
        await WORDS.get(str(verb), talk.unknown)(desk, heard, person)


async def _judge_answer(desk: Desk, heard: Heard, person: str, verb: str) -> None:
    book, message = await _message_of(desk, heard, person)
    if message is None or message.subject is None:
        if heard.body.get("code"):
            await refuse(desk, heard, "wrong code", reply=words("wrong code"))
        else:
            await refuse(desk, heard, "no such message", reply=None)
        return
    # Law 3: a human authorizes. The answer must come from the person that this very message was sent to.
    if message.person != person:
        await refuse(desk, heard, "not the recipient", reply=None)
        return
    original = heard.body.get("original_sid")
    other = desk.book.message_by_sid(original) or book.message_by_sid(original) if original else None
    if other is not None and other.index != message.index:
        await refuse(desk, heard, "another message", reply=None)
        return
    if message.proposal is None:
        await drilling.answer(desk, heard, person, book.drills.known[message.subject], verb)
        return
    learnt = [sent_draft(message, original)] if original and original not in message.sids else []
    proposal = book.proposals[message.proposal]
    if book is not desk.book:
        over = _decided(proposal)  # so long ago that the book forgot it
        await refuse(desk, heard, said(ENGLISH, over), reply=over, proposal=proposal, extra=learnt)
        return
    if verb == "onit":
        await _acknowledge(desk, heard, person, proposal, learnt)
        return
    refusal = _why_not(desk, person, proposal)
    if refusal is not None:
        await refuse(desk, heard, said(ENGLISH, refusal), reply=refusal, proposal=proposal, extra=learnt)
    elif verb == "approve":
        if await pins.counts(desk, heard, person, proposal, message, learnt):
            await _approve(desk, heard, person, proposal, message, learnt)
    else:
        await _decline(desk, heard, person, proposal, message, learnt)


async def _judge_pin(desk: Desk, heard: Heard, person: str) -> None:
    """Digits alone: with them an approval is whole that lacked nothing else when it was given. It is judged again."""
    asked = await pins.wanted(desk, heard, person)
    if asked is None:
        return
    proposal, message = asked
    refusal = _why_not(desk, person, proposal)
    if refusal is not None:
        await refuse(desk, heard, said(ENGLISH, refusal), reply=refusal, proposal=proposal)
    elif await pins.counts(desk, heard, person, proposal, message, []):
        await _approve(desk, heard, person, proposal, message, [])


async def _message_of(desk: Desk, heard: Heard, person: str) -> tuple[Book, Message | None]:
    """The message that the answer is about: by its token, or by this person's code for an open question.

    With it the book that knows it: the desk's own, or of what ended so long ago that it forgot it.
    """
    token, code = heard.body.get("token"), heard.body.get("code")
    if token:
        index = codes.delivery_of(desk.secret, desk.tenant, token)
        book = await recalling.of_message(desk, index) if index is not None else desk.book
        return book, book.messages.get(index if index is not None else -1)
    if code and not enrolling.locked(desk, person):
        # Keyed in during a call, or typed into a page: it counts for the question that was put there.
        delivery = heard.body.get("delivery")
        book = await recalling.of_message(desk, delivery) if delivery is not None else desk.book
        make = codes.digits if heard.body.get("via") == VOICE else codes.code
        for message in reversed(book.questions.get(person, {}).values()):
            of_it = delivery in (None, message.index) and message.subject is not None
            if of_it and codes.same(make(desk.secret, desk.tenant, message.subject or 0, person), code):
                return book, message
    return desk.book, None


def _language(desk: Desk, person: str) -> str:
    return desk.charter.people[person].recipient.language


def _why_not(desk: Desk, person: str, proposal: Proposal) -> Words | None:
    """Why this person's answer to this proposal cannot count now; None where it can."""
    if not proposal.open:
        return _decided(proposal)
    if person in proposal.approvals:
        return words("approved already")
    incident = incident_of(desk, proposal)
    member = desk.charter.people[person]
    permitted = permission.may_answer(
        proposal.body["approvers"],
        member.person(),
        desk.charter.rulebook,
        incident.rule,
        proposal.body["action"],
        desk.now(),
        proposal.expires_at,
        str(proposal.body.get("requested_by", "")),
    )
    return None if permitted.outcome is Outcome.PERMIT else of_policy(permitted.said())


def _decided(proposal: Proposal) -> Words:
    by = words("by", name=proposal.decided_by) if proposal.decided_by else ""
    outcome = proposal.outcome if proposal.outcome in OUTCOMES else "closed"
    return words(f"already {outcome}", by=by)


async def _approve(
    desk: Desk, heard: Heard, person: str, proposal: Proposal, message: Message, learnt: list[Draft]
) -> None:
    # Crash here: APPROVED stands. The agenda finds the quorum met and authorizes in time, or lets it expire.
    drafts = [_answer(desk, heard, "APPROVED", person, proposal, message), *learnt]
    language = _language(desk, person)
    missing = wording.still_missing(proposal, {*proposal.approvals, person}, language)
    if missing:
        drafts += replies(desk, heard, person, say(desk, person, "counted", missing=missing), proposal.incident_id)
        approved = (*proposal.approvals, person)
        others = [name for name in proposal.body["approvers"] if name not in approved and name in desk.charter.people]
        drafts += notices(
            *(desk, proposal.incident_id, f"approved:{heard.index}", others),
            lambda reader: wording.approved_so_far(proposal, approved, reader.language),
            (proposal.index, heard.index),
        )
    await desk.post(*drafts)


async def _decline(
    desk: Desk, heard: Heard, person: str, proposal: Proposal, message: Message, learnt: list[Draft]
) -> None:
    incident = incident_of(desk, proposal)
    rejected = by_policy(
        desk.policy(incident.policy_digest),
        id=f"reject:{proposal.index}",
        stage="REJECTED",
        incident_id=incident.id,
        decision="reject",
        reason=f"declined by {person}",
        settles=proposal.index,
        cites=(heard.index,),
        body={"by": person},
    )
    await desk.post(_answer(desk, heard, "DECLINED", person, proposal, message), rejected, *learnt)


def _answer(desk: Desk, heard: Heard, stage: str, person: str, proposal: Proposal, message: Message) -> Draft:
    incident = incident_of(desk, proposal)
    rulebook = desk.charter.rulebook
    return Draft(
        id=f"answer:{heard.index}",
        stage=stage,
        actor=f"engineer:{person}",
        incident_id=incident.id,
        decision="approve" if stage == "APPROVED" else "decline",
        reason=f"{proposal.body['title']}"[:500],
        policy_version=rulebook.version,
        policy_digest=rulebook.digest,
        settles=heard.index,
        cites=(proposal.index, message.index),
        body={"proposal": proposal.index, "message": message.index, "verb": heard.body["verb"]},
    )


async def _acknowledge(desk: Desk, heard: Heard, person: str, proposal: Proposal, learnt: list[Draft]) -> None:
    until = desk.now() + timedelta(seconds=HELD_SECONDS)
    incident = incident_of(desk, proposal)
    draft = Draft(
        id=f"onit:{heard.index}",
        stage="ACKNOWLEDGED",
        actor=f"engineer:{person}",
        incident_id=incident.id,
        reason="on it: holds the ladder, authorizes nothing",
        cites=(proposal.index, heard.index),
        body={"person": person, "held_until": stamp(until)},
    )
    text = say(desk, person, "on it", minutes=HELD_SECONDS // 60)
    heeded = settled(heard, "HEEDED", "on it", incident.id, {"what": "on it", "person": person})
    await desk.post(draft, heeded, *learnt, *replies(desk, heard, person, text, incident.id))
