"""What waits to be sent, and when: a carrier takes so many messages to one person, and a person reads fewer still.

Pure. Answers to what somebody has just written go first, then questions, then everything else, each in order. The pace
is WhatsApp's; a call, an SMS or a notice of last resort waits for none of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from receiver.incident.states import Message
from receiver.papers import WHATSAPP, MessageKind

KEPT_SHARE = 4  # of the burst so much is kept for answers: in a storm nobody waits a minute for what they ask
DIGEST_OVER = 3  # so many may wait for their turn; more become one message that says how many there are


@dataclass(frozen=True, slots=True)
class Pace:
    """To one person: `burst` messages at once, and after them one every `every_seconds`; `daily` a UTC day.

    Answers to what they write are not counted among `daily`. every_seconds 0 and daily 0: no limit.
    """

    every_seconds: float = 0.0
    burst: int = 10
    daily: int = 0


NO_LIMIT = Pace()


@dataclass(slots=True)
class Outbox:
    """What was sent to one person: when, of late, and how much today; and what a digest yet to be sent stands for."""

    sent: deque[datetime] = field(default_factory=lambda: deque(maxlen=100))
    day: date = date.min
    today: int = 0
    digested: set[str] = field(default_factory=set)

    def send(self, message: Message, at: datetime) -> None:
        """A message was handed to the carrier for the first time."""
        if message.channel == WHATSAPP:
            self.sent.append(at)
        if at.date() != self.day:
            self.day, self.today = at.date(), 0
        self.today += not answers(message)
        if message.digest:
            self.digested.clear()

    def full(self, pace: Pace, now: datetime) -> bool:
        """Whether the person has had what they may get today."""
        return pace.daily > 0 and self.day == now.date() and self.today >= pace.daily


def turns(
    waiting: Iterable[Message], sent: Sequence[datetime], pace: Pace, now: datetime
) -> Iterator[tuple[Message, datetime]]:
    """When each message that waits for one person has its turn, the first first."""
    times = list(sent)
    window = timedelta(seconds=pace.every_seconds * pace.burst)
    for message in sorted(waiting, key=lambda m: (_rank(m), m.index)):
        at = message.addressed_at
        if message.channel != WHATSAPP:
            yield message, at
            continue
        most = pace.burst if answers(message) else pace.burst - pace.burst // KEPT_SHARE
        if pace.every_seconds and len(times) >= most:
            at = max(at, times[-most] + window)
        times.append(max(at, now))
        yield message, at


def answers(message: Message) -> bool:
    """Whether it answers what its person has just said."""
    return message.wanted or message.kind == MessageKind.REPLY


def _rank(message: Message) -> int:
    return 0 if answers(message) else 1 if message.kind == MessageKind.OPENED else 2


def too_many(planned: Sequence[tuple[Message, datetime]], now: datetime) -> list[Message]:
    """The messages that one digest should stand for: those that must wait, if they are more than DIGEST_OVER."""
    late = [message for message, at in planned if at > now and not answers(message)]
    return late if len(late) > DIGEST_OVER else []
