"""What a book forgets: what ended long ago, and on which nothing rests any more.

Pure, and a part of the fold: it goes by the ledger's own time and by what is folded, so the same entries give the same
book, whoever folds them. The first entry of each UTC day looks at what may be old by then, so each thing is looked at
about once; while an answer waits to be judged that entry is left to the next, for the answer may be about any message.

The ledger keeps everything. Who asks of what is forgotten here is answered from there
(receiver/governor/recalling.py), and whoever decides again or seals a log folds it into a book that keeps all.

Nothing of it may change what is decided. So there stay, for as long as they may count: what limits, cool-downs and
breakers count (`needed`); the word of a person that an incident is over, until the next of its rule and key; the alerts
that a rule takes, for a policy may ask how many have ended (`alerts.resolved`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from sys import intern
from typing import TYPE_CHECKING, Any

from policy_rules.fields import DURATION_MAX
from receiver.incident.enrolled import CODE_WINDOW, PIN_WINDOW
from receiver.incident.past import PAST_MAX, Former, is_final
from receiver.incident.runs import Run
from receiver.incident.states import Incident, Key, Message, Proposal

if TYPE_CHECKING:
    from receiver.incident.book import Book

KEPT_CLOSED = timedelta(days=30)  # longer than any policy may reopen: REOPEN_WITHIN_MOST_SECONDS
KEPT_RUNS = timedelta(seconds=DURATION_MAX)  # the longest time over which a policy may count
OF_A_RUN = ("action", "executor", "params")  # what of its proposal a run is still asked for
DAY, QUARTER = timedelta(days=1), timedelta(days=90)


def first_look(kept: timedelta | None) -> datetime:
    """When a book that keeps what has ended for so long looks first: at once; never, where it keeps everything."""
    return datetime.max.replace(tzinfo=UTC) if kept is None else datetime.min.replace(tzinfo=UTC)


def forget(book: Book, now: datetime) -> datetime:
    """Forget what is old at `now`, the time of the newest entry; when to look again."""
    before = _later(now, -(book.kept or KEPT_CLOSED))
    gone = _incidents(book, before)
    _messages(book, before)
    _alerts(book, before, now)
    for outbox in book.outboxes.values():
        outbox.digested -= gone
    for tries, window in ((book.wrong_pins, PIN_WINDOW), (book.wrong_codes, CODE_WINDOW)):
        for person, times in list(tries.items()):
            tries[person] = [at for at in times if at > _later(now, -window)]
            if not tries[person]:
                del tries[person]
    for person, (_, _, asked_at) in list(book.pins_wanted.items()):
        if asked_at < before:
            del book.pins_wanted[person]
    over = [incident_id for incident_id, until in book.silences.until.items() if until <= now]
    for incident_id in over:
        del book.silences.until[incident_id]
    book.shadow.missed &= {incident.index for incident in book.open.values()}
    if now >= book.counts_at:
        _counted(book, _later(now, -KEPT_RUNS))
        book.counts_at = _later(now, QUARTER)
    return _later(now.replace(hour=0, minute=0, second=0, microsecond=0), DAY)


def _later(now: datetime, span: timedelta) -> datetime:
    """As far as there are times at all: an entry may say any."""
    try:
        return now + span
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if span > timedelta(0) else datetime.min.replace(tzinfo=UTC)


def _incidents(book: Book, before: datetime) -> set[str]:
    """Forget those that ended before then, but for what something rests on; their ids."""
    oldest = next(iter(book.consultations), book.size)
    resting = {message.incident_id for message in book.unsettled_messages.values()}
    resting |= {news.incident_id for news in book.news.values()}
    resting |= {request.incident_id for request in book.silences.pending.values()}
    gone: set[str] = set()
    kept: list[Incident] = []
    tallied: set[tuple[str, Key]] = set()
    while book.ended and (ended_at := book.ended[0].closed_at) is not None and ended_at < before:
        incident = book.ended.popleft()
        if incident.id in resting or not is_final(incident, oldest):
            kept.append(incident)
            continue
        of = incident.rule, incident.key
        if of not in tallied and of in book.tallies:
            tallied.add(of)
            book.tallies[of].settle(oldest)
        _incident(book, incident)
        gone.add(incident.id)
    book.ended.extendleft(reversed(kept))
    for of in tallied:
        if of not in book.of_key and not book.tallies[of].made:
            del book.tallies[of]
    return gone


def _incident(book: Book, incident: Incident) -> None:
    of = incident.rule, incident.key
    book.incidents.pop(incident.id, None)
    book.by_index.pop(incident.index, None)
    book.ended_before.pop(incident.id, None)
    book.silences.until.pop(incident.id, None)
    if book.last_of.get(of) is incident:
        if incident.closed == "CLOSED":
            book.last_of[of] = _word(incident)
        else:
            del book.last_of[of]
    for proposal in incident.proposals:
        _proposal(book, proposal)
    left = [one for one in book.of_key.get(of, ()) if one is not incident]
    if len(left) < len(book.of_key.get(of, ())):  # one that ended before a seal is not among them
        former = [*book.former.get(of, ()), Former.of(incident)]
        book.former[of] = sorted(former, key=lambda one: one.index)[-PAST_MAX:]
        book.of_key[of] = left
    if not left:
        book.of_key.pop(of, None)


def _word(incident: Incident) -> Incident:
    """What is left of one that a person closed: its alerts open it again only where they began anew."""
    at = incident.opened_at
    word = Incident(incident.id, incident.index, incident.rule, incident.key, "", "", "", "", at, "", "")
    word.part, word.closed_with = incident.part, incident.closed_with
    word.closed, word.closed_at, word.closed_index = incident.closed, incident.closed_at, incident.closed_index
    return word


def _proposal(book: Book, proposal: Proposal) -> None:
    """Its run stays, with as much of it as limits count, and as a late result needs to be noted."""
    book.proposals.pop(proposal.index, None)
    run, webhook_id = book.run_of.pop(proposal.index, None), str(proposal.body.get("webhook_id"))
    if run is None:
        book.by_webhook.pop(webhook_id, None)
        return
    # Of a year of runs many are the same but for their time, and one text of what they are is enough.
    like = run.rule, run.key, tuple(str(proposal.body.get(name)) for name in OF_A_RUN)
    body: Mapping[str, Any] = {name: proposal.body[name] for name in OF_A_RUN if name in proposal.body}
    run.rule, run.key, body = book.like.setdefault(like, (run.rule, run.key, body))
    at = run.at
    run.proposal = replace(
        proposal, body=body, request_digest="", approvals={}, proposed_at=at, expires_at=at, authorize_until=at,
        dispatched_at=at, execute_until=None, taken=None, verify_until=None, decided_by=_once(proposal.decided_by),
        outcome=_once(proposal.outcome), result=_once(proposal.result), verified=_once(proposal.verified),
    )  # fmt: skip
    if webhook_id in book.by_webhook:
        book.by_webhook[webhook_id] = run.proposal


def _once(text: str | None) -> str | None:
    return intern(text) if text is not None else None


def _messages(book: Book, before: datetime) -> None:
    """Forget those that are settled, and whose incident, if they have one, is forgotten; and drills with theirs."""
    gone: list[Message] = []
    for index, message in book.messages.items():
        if message.addressed_at >= before:
            break
        if index not in book.unsettled_messages and message.incident_id not in book.incidents:
            gone.append(message)
    for message in gone:
        del book.messages[message.index]
        for sid in message.sids:
            if book.by_sid.get(sid) is message:
                del book.by_sid[sid]
        questions = book.questions.get(message.person)
        if questions is not None and questions.pop(message.index, None) is not None and not questions:
            del book.questions[message.person]
    waiting = {message.drill for message in book.unsettled_messages.values()}
    for index, drill in list(book.drills.known.items()):
        if drill.until >= before:
            break
        if drill.outcome is not None and index not in waiting:
            del book.drills.known[index]


def _alerts(book: Book, before: datetime, now: datetime) -> None:
    """Forget ended ones that no rule takes; of the others, what is only shown to people."""
    watched = {(watch.rule, watch.key) for watch in book.watches.values()}
    while book.last_word and book.last_word[oldest := next(iter(book.last_word))] < before:
        del book.last_word[oldest]
        known = book.alerts[oldest]
        takers = set(known.assignments)
        if known.alert.firing or takers & watched or takers & book.of_key.keys():
            book.last_word[oldest] = now  # it is looked at again when it has been old for as long once more
        elif takers:
            known.alert = replace(known.alert, annotations={}, generator_url="")
        else:
            del book.alerts[oldest]


def _counted(book: Book, since: datetime) -> None:
    """Forget the runs that policy cannot ask for any more, and what is told of former incidents that are as old."""
    book.runs = needed(book.runs, since)
    still = {run.proposal.index for run in book.runs}
    for webhook_id, proposal in list(book.by_webhook.items()):
        if proposal.index not in book.proposals and proposal.index not in still:
            del book.by_webhook[webhook_id]
    counted = {(run.rule, run.key) for run in book.runs}
    book.like = {like: same for like, same in book.like.items() if like[:2] in counted}
    for of, known in list(book.former.items()):
        book.former[of] = [one for one in known if one.opened_at >= since]
        if not book.former[of]:
            del book.former[of]


def needed(runs: Sequence[Run], since: datetime) -> list[Run]:
    """Those of `runs` that may still count. since: from then on every limit may count any.

    Of older ones of a rule, key and action: the latest, for cool-downs; the latest that helped or was forgiven, where
    a breaker begins to count; the failures after it; and the latest failure that nobody forgave (`held_back`).
    """
    latest: dict[tuple[str, Key, str], datetime] = {}
    begins, failed = dict(latest), dict(latest)
    known = [(run, (run.rule, run.key, str(run.proposal.body["action"]))) for run in runs]
    for run, of in known:
        times = [latest]
        if run.helped or run.forgiven:
            times.append(begins)
        elif run.helped is False:
            times.append(failed)
        for found in times:
            found[of] = max(run.at, found.get(of, run.at))
    return [
        run
        for run, of in known
        if run.at >= since
        or run.proposal.live
        or run.proposal.verifying
        or run.at in (latest[of], begins.get(of), failed.get(of))
        or (run.helped is False and run.at >= begins.get(of, run.at))
    ]
