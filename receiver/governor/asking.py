"""A human authorizes: what is proposed, to whom it is said, and how it reaches them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Back, Blob, Draft, Entry, canonical
from policy_rules import permission
from policy_rules.ladder import rungs
from policy_rules.permission import Permission
from policy_rules.readings import Query, Reading
from policy_rules.rulebook import Action, Rule
from policy_rules.verdict import Outcome
from receiver.authorization import codes
from receiver.authorization.wording import allowed_links
from receiver.governor import wording
from receiver.governor.desk import Desk, addressed, by_policy, stamp
from receiver.governor.ending import closed
from receiver.governor.phrases import of_policy, said, said_by
from receiver.incident.agenda import Due
from receiver.incident.basis import Basis
from receiver.incident.book import UNTOLD
from receiver.incident.outbox import answers
from receiver.incident.states import Incident, Message, Proposal
from receiver.papers import (
    NOTICE,
    SMS,
    VOICE,
    WHATSAPP,
    MessageKind,
    NotSent,
    Order,
    OutgoingMessage,
    Recipient,
    RenderedRequest,
    Unrenderable,
    Words,
    words,
)

Text = str | Words | Callable[[Recipient], str]  # to everybody alike, to each in their language, and by their clock
LINKS = ("runbook_url", "dashboard_url")  # annotations of alerts, in the order in which they are shown
GRACE_SECONDS = 120  # authorize_until = expires_at + this
NOTICE_VALID = timedelta(hours=1)
DENIED_AGAIN_SECONDS = 30.0
ASK_SECONDS = 5.0  # for what an action's own condition rests on
FRESH_SECONDS = 15.0


async def propose(desk: Desk, due: Due) -> None:
    """PROPOSED with what policy permits and a message to each approver; or the first word that nothing is permitted."""
    incident = desk.book.by_index[due.subject]
    queries = tuple(dict.fromkeys(q for name in _actions(desk, incident) for q in _wanted(desk, incident, name)))
    read: tuple[Reading, ...] = ()
    if queries:
        read = await desk.evidence.ask(queries, timeout_seconds=ASK_SECONDS, fresh_seconds=FRESH_SECONDS)
    async with desk.deciding():
        if incident.open:
            await _propose(desk, due, incident, dict(zip(queries, read, strict=True)))


def _actions(desk: Desk, incident: Incident) -> Mapping[str, Action]:
    return desk.policy(incident.policy_digest).rule(incident.rule).actions


def _wanted(desk: Desk, incident: Incident, name: str) -> tuple[Query, ...]:
    """What the action's own condition rests on; nothing where it has none."""
    rulebook, in_force = desk.policy(incident.policy_digest), desk.charter.rulebook
    return permission.may_ask(rulebook, in_force, incident.rule, name, dict(incident.key))


async def _propose(desk: Desk, due: Due, incident: Incident, read: Mapping[Query, Reading]) -> None:
    if incident.told_at is not None and incident.outcome == Outcome.HOLD.value:
        # The last look found the service well, and the hold runs: nobody is asked for a cure meanwhile.
        desk.defer(due.name, DENIED_AGAIN_SECONDS)
        return
    rule = desk.policy(incident.policy_digest).rule(incident.rule)
    denials: list[Words] = []
    now = desk.now()
    if await _gave_way(desk, due, incident, rule):
        return
    for name, action in rule.actions.items():
        if incident.requested_action not in ("", name):
            continue
        if name in incident.tried:
            denials.append(_denied(name, words("tried already")))
            continue
        # Another policy may have come while Prometheus was asked: what it asks and was not answered is unknown.
        readings = tuple(read[query] for query in _wanted(desk, incident, name) if query in read)
        permitted = permission.may_propose(
            desk.policy(incident.policy_digest),
            desk.charter.rulebook,
            incident.rule,
            name,
            dict(incident.key),
            desk.alerts_of(incident),
            desk.persons(),
            desk.past_runs(),
            desk.book.halted(),
            now,
            readings,
            incident.requested_by,
        )
        if permitted.outcome is not Outcome.PERMIT:
            denials.append(_denied(name, of_policy(permitted.said())))
        elif desk.charter.observe:
            denials.append(_denied(name, words("would be asked", names=", ".join(permitted.approvers))))
        elif action.executor not in desk.charter.executors:
            denials.append(_denied(name, words("executor missing", executor=action.executor)))
        else:
            basis = desk.basis(now, readings=readings)
            try:
                request, webhook_id = render(desk, incident, name, action, permitted.params, now)
            except Unrenderable as error:
                denials.append(_denied(name, words("no request", error=str(error))))
                continue
            await _post_proposal(desk, incident, rule, name, action, permitted, basis, request, webhook_id)
            return
    if incident.requested_by:
        await desk.post(closed(desk, incident, words("cannot be asked", why=denials)))
    elif incident.told_at is None:
        await _tell_first(desk, incident, rule, denials)
    else:
        desk.defer(due.name, DENIED_AGAIN_SECONDS)


def _denied(action: str, why: Words) -> Words:
    return words("denied", action=action, why=why)


async def _gave_way(desk: Desk, due: Due, incident: Incident, rule: Rule) -> bool:
    """Law 3: one question at a time about one thing, or nobody could say which of them an answer was about."""
    beside = desk.book.asked_by_hand(incident.rule, incident.key)
    if beside is not None and beside is not incident:
        # Whoever must hear of the incident hears of it all the same.
        if incident.told_at is None and not incident.requested_by:
            await _tell_first(desk, incident, rule, [words("asks by hand", by=beside.requested_by, id=beside.id)])
        else:
            desk.defer(due.name, DENIED_AGAIN_SECONDS)
        return True
    other = (desk.book.overtaken(incident) or desk.book.asking(incident)) if incident.requested_by else None
    if other is not None:
        await desk.post(closed(desk, incident, words("same asked", id=other.id)))
    return other is not None


async def _post_proposal(
    desk: Desk,
    incident: Incident,
    rule: Rule,
    name: str,
    action: Action,
    permitted: Permission,
    basis: Basis,
    request: RenderedRequest,
    webhook_id: str,
) -> None:
    rulebook, now = desk.policy(incident.policy_digest), basis.now
    number = len(incident.proposals)
    expires = now + timedelta(seconds=action.expires_seconds)
    diagnosis = incident.diagnosis
    cites = (incident.index,) if diagnosis is None else (incident.index, diagnosis.outcome_index or 0)
    proposed = by_policy(
        rulebook,
        id=f"propose:{incident.id}:{number}",
        stage="PROPOSED",
        incident_id=incident.id,
        decision="propose",
        reason=f"{incident.reason}; {action.title}"[:500],
        cites=cites,
        body={
            "action": name,
            "title": action.title,
            "risk": action.risk,
            "executor": action.executor,
            "params": dict(permitted.params),
            "digest": request.digest,
            "expires_at": stamp(expires),
            "authorize_until": stamp(expires + timedelta(seconds=GRACE_SECONDS)),
            "quorum": permitted.quorum,
            "approvers": list(permitted.approvers),
            "webhook_id": webhook_id,
            "idempotent": action.idempotent,
            "execute_within_seconds": int(action.execute_within_seconds),
            **({"pin": True} if permitted.pin else {}),
            "verify_within_seconds": int(action.verify_within_seconds),
            "in_force": desk.charter.rulebook.digest,
            **({"requested_by": incident.requested_by} if incident.requested_by else {}),
            "verdict": basis.under(permitted.to_body()),
            **({"levels": [level.to_body() for level in permitted.levels]} if permitted.levels else {}),
        },
        blobs=(Blob("request", request_bytes(request)),),
    )
    asked = _Asked(Back(0), proposed.body, expires, frozenset(permitted.approvers))
    about = f"propose:{incident.id}:{number}"
    drafts = [proposed, *(_question(desk, about, person, incident, asked) for person in permitted.approvers)]
    ladder = rule.escalation if not incident.requested_by else ()
    if incident.escalated < 0 and ladder and ladder[0].after_seconds == 0:
        first, names = ladder[0], permitted.approvers
        told = set(permission.notified(desk.charter.rulebook, first.notify, desk.persons()))
        if first.channel == WHATSAPP:
            told -= asked.approvers  # the question has come that way
        text: Text = lambda reader: wording.asked(incident, names, reader)  # noqa: E731
        drafts += escalation(desk, incident, 0, dict.fromkeys(told, first.channel), text, asked)
    await desk.post(*drafts)


def question_to(desk: Desk, incident: Incident, proposal: Proposal, person: str, about: str) -> Draft:
    """The question of `proposal` again, to one of its approvers, with buttons and the same code."""
    return _question(desk, about, person, incident, _asked(proposal))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as it is put: its PROPOSED, and the approvers who have not answered it."""

    proposal: int | Back
    body: Mapping[str, Any]
    expires: datetime
    approvers: frozenset[str]
    approved: tuple[str, ...] = ()


def _asked(proposal: Proposal) -> _Asked:
    left = frozenset(proposal.body["approvers"]) - set(proposal.approvals)
    return _Asked(proposal.index, proposal.body, proposal.expires_at, left, tuple(proposal.approvals))


def links_of(desk: Desk, incident: Incident) -> str:
    """The runbooks and dashboards that the alerts name, as far as the configuration allows their origins."""
    named = [alert.annotations.get(name, "") for name in LINKS for alert in desk.alerts_of(incident)]
    return allowed_links(named, desk.charter.link_origins)


def _question(desk: Desk, about: str, person: str, incident: Incident, asked: _Asked, channel: str = WHATSAPP) -> Draft:
    reader = desk.charter.people[person].recipient
    variables = wording.opened(incident, asked.body, asked.expires, reader, links_of(desk, incident), asked.approved)
    return addressed(
        about,
        person,
        MessageKind.OPENED.value,
        variables,
        until=asked.expires,
        subject=f"{incident.id}: {variables['action']}"[:200],
        incident_id=incident.id,
        cites=(asked.proposal,),
        channel=channel,
    )


def render(
    desk: Desk, incident: Incident, name: str, action: Action, params: Mapping[str, str], now: datetime
) -> tuple[RenderedRequest, str]:
    """The exact request that a person is asked to authorize, and its webhook-id. Raises Unrenderable."""
    seed = f"{desk.tenant}:{incident.id}:{len(incident.proposals)}".encode()
    webhook_id = "exec-" + hmac.new(desk.secret, seed, hashlib.sha256).hexdigest()[:20]
    callback = f"{desk.public_url}/executions/{webhook_id}" if desk.public_url else None
    proposed_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    order = Order(webhook_id, desk.tenant, incident.id, name, action.executor, dict(params), callback, proposed_at)
    return desk.executors.render(order), webhook_id


ALWAYS = ("executor", "method", "address", "body", "digest")


def request_bytes(request: RenderedRequest) -> bytes:
    """The request as it is kept: all of its parts that are not empty."""
    parts = {field.name: getattr(request, field.name) for field in fields(request)}
    return canonical({name: value for name, value in parts.items() if value or name in ALWAYS})


async def _tell_first(desk: Desk, incident: Incident, rule: Rule, denials: list[Words]) -> None:
    """Nothing may be proposed: the people hear of the incident all the same, and why there is no button."""
    channel = rule.escalation[0].channel if rule.escalation else WHATSAPP
    people = dict.fromkeys(first_people(desk, rule), channel)
    told = escalation(desk, incident, 0, people, lambda reader: wording.nothing_proposed(incident, denials, reader))
    await desk.post(*told)


def first_people(desk: Desk, rule: Rule) -> set[str]:
    """Whom the first step of the ladder names; everybody where there is no ladder or it names nobody."""
    notify = rule.escalation[0].notify if rule.escalation else ()
    return set(permission.notified(desk.charter.rulebook, notify, desk.persons())) or set(desk.charter.people)


def who_hear(desk: Desk, incident: Incident, rule: Rule) -> set[str]:
    """Who hears more of `incident`: whoever was written to; where none of them can hear it, whom the rule asks first.

    Where none of those can hear it either, everybody who can: whoever is suspended or has opted out hears nothing.
    """
    if _able(desk) & incident.people:
        return incident.people & set(desk.charter.people)
    return first_to_hear(desk, rule)


def first_to_hear(desk: Desk, rule: Rule) -> set[str]:
    """Whom the rule asks first, of those who can hear it; where none of them can, everybody who can."""
    able = _able(desk)
    return (first_people(desk, rule) & able) or able or first_people(desk, rule)


def _able(desk: Desk) -> set[str]:
    gone = desk.book.enrolled.opted_out
    return {name for name, member in desk.charter.people.items() if not member.suspended and name not in gone}


def escalation(
    desk: Desk, incident: Incident, step: int, people: Mapping[str, str], text: Text, asked: _Asked | None = None
) -> list[Draft]:
    """ESCALATED and a message to each of `people`: name → channel. A call puts the question that is `asked`."""
    names = sorted(people)
    about = f"escalate:{incident.id}:{step}"
    drafts = [
        by_policy(
            desk.policy(incident.policy_digest),
            id=about,
            stage="ESCALATED",
            incident_id=incident.id,
            reason=f"step {step}: {', '.join(names) or 'nobody else'}",
            cites=(incident.index,),
            body={"step": step, "people": names},
        )
    ]
    for name in names:
        if asked is not None and people[name] == VOICE and name in asked.approvers:
            drafts.append(_question(desk, about, name, incident, asked, VOICE))
        else:
            drafts += notices(desk, incident.id, about, [name], text, (incident.index,), channel=people[name])
    return drafts


def notices(
    desk: Desk,
    incident_id: str | None,
    about: str,
    people: Iterable[str],
    text: Text,
    cites: tuple[int | Back, ...],
    reference: Words | str | None = None,
    channel: str = WHATSAPP,
) -> list[Draft]:
    """The same message to each of `people`, in each one's language.

    reference: what stands below it, the incident where it is None.
    """

    def variables(person: str) -> dict[str, str]:
        member = desk.charter.people.get(person)
        reader = member.recipient if member is not None else wording.PLAIN
        told = text(reader) if callable(text) else said(reader.language, text)
        return {"text": told, "reference": said(reader.language, reference or incident_id or "")}

    until = desk.now() + NOTICE_VALID
    kind = MessageKind.NOTICE.value
    return [
        addressed(
            about,
            person,
            kind,
            variables(person),
            until=until,
            subject=f"notice of {about}",
            incident_id=incident_id,
            cites=cites,
            channel=channel,
        )
        for person in people
    ]


async def escalate(desk: Desk, due: Due) -> None:
    """The next step of the ladder, while nobody has decided; of several that were missed the latest, for all."""
    incident = desk.book.by_index[due.subject]
    rule = desk.policy(incident.policy_digest).rule(incident.rule)
    climbed = desk.now() - (incident.ladder_from or incident.opened_at)
    first = latest = incident.escalated + 1
    steps = rungs(rule)
    for number, step in enumerate(steps[first:], first):
        if step.after_seconds <= climbed.total_seconds():
            latest = number
    people: dict[str, str] = {}
    for step in steps[first : latest + 1]:
        named = permission.notified(desk.charter.rulebook, step.notify, desk.persons())
        people |= dict.fromkeys(named, step.channel)  # of steps that were missed, the last way to a person counts
    now, last = desk.now(), incident.last
    asked = _asked(last) if last is not None and last.open else None
    text: Text = lambda reader: wording.escalated(incident, now, reader)  # noqa: E731
    await desk.post(*escalation(desk, incident, latest, people, text, asked))


async def remind(desk: Desk, due: Due) -> None:
    """Nothing ends in silence: an open incident is said again every 30 minutes."""
    incident = desk.book.by_index[due.subject]
    rulebook = desk.policy(incident.policy_digest)
    people = sorted(who_hear(desk, incident, rulebook.rule(incident.rule)))
    now = desk.now()
    about = f"remind:{incident.id}:{incident.reminders}"
    reminded = by_policy(
        rulebook,
        id=about,
        stage="REMINDED",
        incident_id=incident.id,
        reason=wording.reminder(incident, now)[:500],
        cites=(incident.index,),
        body={"number": incident.reminders, "people": people},
    )
    told = notices(
        *(desk, incident.id, about, people),
        lambda reader: wording.reminder(incident, now, reader),
        (incident.index,),
    )
    await desk.post(reminded, *told)


async def tell(desk: Desk, due: Due) -> None:
    """What was decided is said to everyone who was asked; of several things in a row only the last."""
    news = desk.book.news[due.subject]
    incident = desk.book.incidents[news.incident_id]
    pending = tuple(sorted(i for i, n in desk.book.news.items() if n.incident_id == incident.id))
    rule = desk.policy(incident.policy_digest).rule(incident.rule)
    people = sorted(who_hear(desk, incident, rule))
    entry = await desk.journal.get(desk.tenant, news.index)
    if not people or entry is None:
        await desk.post(
            Draft(
                id=f"note:untold:{news.index}",
                stage="NOTED",
                actor="system",
                incident_id=incident.id,
                reason=f"{news.stage}: nobody is left to be told",
                cites=pending,
                body={"kind": UNTOLD, "text": "nobody who was asked is in the roster, nor anybody whom the rule asks"},
            )
        )
        return
    about = proposal_of(incident, entry), news.stage, entry.actor, said_by(entry)
    # Law 5: the ledger records, and the people who hear of it can say later what it recorded.
    (root,) = await desk.journal.tree_hashes(desk.tenant, [(0, news.index + 1)])
    reference = wording.witnessed(incident.id, news.index, root)
    told = notices(
        *(desk, incident.id, f"news:{news.index}", people),
        lambda reader: wording.news(incident, *about, reader),
        *(pending, reference),
    )
    await desk.post(*told)


def proposal_of(incident: Incident, entry: Entry) -> Proposal | None:
    """The proposal that `entry` is about. It need not be the last one: the next may stand already."""
    for proposal in incident.proposals:
        steps = (proposal.index, proposal.authorization, proposal.dispatched, proposal.result_index)
        if entry.index in steps or (entry.settles is not None and entry.settles in steps):
            return proposal
    return None


async def send(desk: Desk, due: Due) -> None:
    """Hand an ADDRESSED to the carrier.

    Crash here: ADDRESSED stands without SENT. It is sent again with the same code and token: a double is harmless, a
    loss is not.
    """
    message = desk.book.unsettled_messages[due.subject]
    member = desk.charter.people.get(message.person)
    if member is None or member.suspended:
        await undelivered(desk, message, "not in the roster", "the person is no longer in the roster or is suspended")
        return
    if message.channel != NOTICE and message.person in desk.book.enrolled.opted_out:
        await undelivered(desk, message, "opted_out", "they sent the carrier's word for no more messages")
        return
    if not answers(message) and desk.book.outbox(message.person).full(desk.pace, desk.now()):
        detail = f"they had the {desk.pace.daily} messages of a day (twilio.daily_person_limit)"
        await undelivered(desk, message, "person_limit", detail)
        return
    if not member.recipient.reached_by(message.channel):
        detail = f"they have no number or address for {message.channel} in the configuration"
        await undelivered(desk, message, "no_number", detail)
        return
    content = await desk.journal.blob(desk.tenant, message.content_digest)
    variables: dict[str, str] = json.loads(content or b"{}")
    token = None
    if message.subject is not None:
        make = codes.digits if message.channel == VOICE else codes.code
        variables["code"] = make(desk.secret, desk.tenant, message.subject, message.person)
        token = codes.token(desk.secret, message_id(desk, message))
        variables["page"] = _page(desk, message)
    elif message.channel == SMS and (question := _question_of(desk, message)) is not None:
        # A number is one person's, so it may have the link of that person's question. A notice of last resort may go
        # to a channel that many read: it has none.
        variables["page"] = _page(desk, question)
    answer = await desk.carrier.send(
        OutgoingMessage(
            message_id=message_id(desk, message),
            kind=MessageKind(message.kind),
            recipient=member.recipient,
            variables=variables,
            token=token,
            valid_seconds=max(60, int((message.until - desk.now()).total_seconds())),
            channel=message.channel,
        )
    )
    if isinstance(answer, NotSent):
        if answer.retry_seconds is None:
            await undelivered(desk, message, answer.outcome, answer.detail)
        else:
            desk.defer(due.name, answer.retry_seconds)
        return
    drafts = [sent_draft(message, answer.sid, answer.content_digest)]
    if message.channel == NOTICE:
        drafts.append(handed_over(message, answer.sid))
    await desk.post(*drafts)


def _page(desk: Desk, question: Message) -> str:
    """Where the question stands as a page; "" where nobody outside reaches us."""
    token = codes.page(desk.secret, message_id(desk, question))
    return f"{desk.public_url}/q/{token}" if desk.public_url else ""


def _question_of(desk: Desk, notice: Message) -> Message | None:
    """The open question that was put to the person of `notice` about the same incident."""
    incident = desk.book.incidents.get(notice.incident_id or "")
    last = incident.last if incident is not None else None
    if last is None or not last.open:
        return None
    mine = reversed(desk.book.questions.get(notice.person, {}).values())
    return next((m for m in mine if m.proposal == last.index), None)


def message_id(desk: Desk, message: Message) -> str:
    return f"{desk.tenant}-{message.index}"


def sent_draft(message: Message, sid: str, digest: str = "") -> Draft:
    return Draft(
        id=f"sent:{message.index}:{sid}",
        stage="SENT",
        actor=f"carrier:{message.channel}",
        incident_id=message.incident_id,
        reason=f"to {message.person}",
        cites=(message.index,),
        body={"message": message.index, "sid": sid, "content_digest": digest},
    )


def handed_over(message: Message, sid: str) -> Draft:
    """DELIVERED of a notice of last resort: who took it will report nothing more."""
    return Draft(
        id=f"deliver:{message.index}",
        stage="DELIVERED",
        actor=f"carrier:{message.channel}",
        incident_id=message.incident_id,
        decision="delivered",
        reason=f"to {message.person}",
        settles=message.index,
        body={"outcome": "delivered", "detail": "handed over; nothing more is reported", "sid": sid},
    )


async def undelivered(desk: Desk, message: Message, outcome: str, detail: str) -> None:
    await desk.post(not_sent(message, outcome, detail))


def not_sent(message: Message, outcome: str, detail: str) -> Draft:
    return Draft(
        id=f"deliver:{message.index}",
        stage="UNDELIVERED",
        actor="system",
        incident_id=message.incident_id,
        decision=outcome,
        reason=f"to {message.person}: {detail}"[:500],
        settles=message.index,
        body={"outcome": outcome, "detail": detail[:300], "sid": None},
    )


async def give_up_message(desk: Desk, due: Due) -> None:
    message = desk.book.unsettled_messages[due.subject]
    await undelivered(desk, message, "no report", "the carrier reported no delivery in time")
