"""Which office takes each step of the agenda, and whether the turn waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from receiver.governor import acting, asking, explaining, judging, listening, quiet, shadow, watching
from receiver.governor.desk import Desk
from receiver.incident.agenda import Due, Kind

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
    Kind.TELL: asking.tell,
    Kind.SEND: asking.send,
    Kind.LOOK: watching.look,
    Kind.SHADOW: shadow.look,
    Kind.LISTEN: listening.listen,
}

# These ask somebody outside, so they run beside the turn; a step that runs is not begun a second time.
OUTSIDE = frozenset(
    {Kind.EXECUTE, Kind.DISPATCH, Kind.AUTHORIZE, Kind.CONSULT, Kind.PROPOSE, Kind.SEND, Kind.LOOK, Kind.SHADOW}
)

# While one of these is under way for a proposal, its deadline waits for it: what was sent may still be answered.
BLOCKS: Mapping[Kind, Kind] = {Kind.UNRESOLVE: Kind.EXECUTE, Kind.GIVE_UP_MESSAGE: Kind.SEND}
