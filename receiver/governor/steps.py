"""Which office takes each step of the agenda, and whether the turn waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from receiver.governor import (
    acting,
    asking,
    digesting,
    drilling,
    duty,
    ending,
    explaining,
    judging,
    listening,
    overflowing,
    quiet,
    shadow,
    silencing,
    watching,
)
from receiver.governor.desk import Desk
from receiver.incident.agenda import Due, Kind
from receiver.incident.book import Book

Step = Callable[[Desk, Due], Awaitable[None]]

STEPS: dict[Kind, Step] = {
    Kind.EVALUATE: watching.evaluate,
    Kind.JUDGE: judging.judge,
    Kind.REJECT: acting.reject,
    Kind.WITHDRAW: acting.withdraw,
    Kind.VOID: acting.void,
    Kind.EXPIRE: acting.expire,
    Kind.UNRESOLVE: acting.overdue,
    Kind.UNCONFIRM: acting.unconfirm,
    Kind.GIVE_UP_DIAGNOSIS: explaining.give_up,
    Kind.GIVE_UP_MESSAGE: asking.give_up_message,
    Kind.EXECUTE: acting.execute,
    Kind.DISPATCH: acting.dispatch,
    Kind.AUTHORIZE: acting.authorize,
    Kind.CONSULT: explaining.consult,
    Kind.MUTE: quiet.mute,
    Kind.PROPOSE: asking.propose,
    Kind.ESCALATE: asking.escalate,
    Kind.REMIND: asking.remind,
    Kind.CLOSE: ending.close,
    Kind.TELL: asking.tell,
    Kind.DIGEST: digesting.digest,
    Kind.SEND: asking.send,
    Kind.LOOK: watching.look,
    Kind.SHADOW: shadow.look,
    Kind.LISTEN: listening.listen,
    Kind.END_DRILL: drilling.expire,
    Kind.DUTY: duty.announce,
    Kind.SILENCE: silencing.ask,
    Kind.CATCH_UP: overflowing.catch_up,
}

# These ask somebody outside, so they run beside the turn; a step that runs is not begun a second time.
OUTSIDE = frozenset(
    {Kind.EXECUTE, Kind.DISPATCH, Kind.AUTHORIZE, Kind.CONSULT, Kind.PROPOSE, Kind.SEND, Kind.LOOK, Kind.SHADOW}
    | {Kind.SILENCE}
)

# How many of a kind run beside the turn at once. They fill no place but their own: a thousand looks must not keep a tap
# from becoming a webhook, and neither must Claude, who takes its time (law 2).
AT_ONCE: Mapping[Kind, int] = {Kind.CONSULT: 16, Kind.LOOK: 32, Kind.PROPOSE: 8}
OTHERS_AT_ONCE = 64  # of all other kinds together

# Taken to the last one in each turn: an answer that came in time is judged before its question expires.
WHOLE = frozenset({Kind.JUDGE})

# While one of these is under way for a proposal, its deadline waits for it: what was sent may still be answered.
BLOCKS: Mapping[Kind, Kind] = {Kind.UNRESOLVE: Kind.EXECUTE, Kind.GIVE_UP_MESSAGE: Kind.SEND}


def still(book: Book, step: Due) -> bool:
    """Whether the step's subject is still there: an earlier step of the same turn may have settled it."""
    places: dict[str, Callable[[], bool]] = {
        "evaluate": lambda: step.subject in book.received,
        "judge": lambda: step.subject in book.heard,
        "give_up_diagnosis": lambda: step.subject in book.consultations,
        "give_up_message": lambda: step.subject in book.unsettled_messages,
        # Sent since the agenda was asked, by the same step begun before: once more would be a second message.
        "send": lambda: step.subject in book.unsettled_messages and not book.messages[step.subject].sids,
        "digest": lambda: step.subject in book.unsettled_messages,
        "execute": lambda: step.subject in book.executions,
        "unresolve": lambda: step.subject in book.executions,
        "unconfirm": lambda: step.subject in book.verifications,
        "dispatch": lambda: step.subject in book.authorizations,
        "void": lambda: step.subject in book.authorizations,
        "silence": lambda: step.subject in book.silences.pending,
        "end_drill": lambda: step.subject in book.drills.open,
        "tell": lambda: step.subject in book.news,
    }
    if step.kind in ("consult", "mute", "propose", "escalate", "remind", "close"):
        incident = book.by_index[step.subject]
        # Begun before by the same step, which has ended since the agenda was asked: once more would cost twice.
        asked = incident.asks_claude if step.kind is Kind.CONSULT else True
        proposed = step.kind is Kind.PROPOSE and incident.last is not None and incident.last.live
        return incident.open and asked and not proposed
    if step.kind in ("reject", "withdraw", "expire", "authorize"):
        return book.proposals[step.subject].open
    return places.get(step.kind.value, lambda: True)()
