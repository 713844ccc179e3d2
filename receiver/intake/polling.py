"""Hearing by asking: for a service that nobody can reach from outside, which reads the carrier's list of messages.

What came in is booked as HEARD under the carrier's id, so each is heard once however often it is read; what became of
our own messages is booked as a status callback would be. The list holds no button's payload and no identity of the
sender, so answers are text codes, and another SIM behind a number goes unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from multidict import MultiDict

from ledger.entry import Entry
from ledger.journal import Journal, LedgerError
from receiver.authorization.message_list import Listed
from receiver.intake.delivery import book_status
from receiver.intake.replies import Replies
from receiver.papers import NotSent

FIRST = timedelta(hours=24)  # how far back the first look reaches: what was said while the service was down is heard
OVERLAP = timedelta(minutes=5)  # of two looks: lists lag
SETTLED = ("delivered", "read", "undelivered", "failed", "canceled")
SENT_ENTRIES_MAX = 2_000
TROUBLE_SECONDS = 60.0  # so long without a look that succeeded, and the service says that it hears nothing
_LOG = logging.getLogger("counterfoil.polling")


class Messages(Protocol):
    async def since(self, moment: datetime, known: Callable[[str], bool]) -> list[Listed] | NotSent:
        """Every message that was made since, oldest first, but those that are known. Never raises."""


@dataclass(slots=True, kw_only=True)
class Poller:
    """Looks at the list. heard: ids of what came in and stands, as far as this process has seen.

    read_to, made: when the newest message that was read was made, and each of ours whose fate is open, by sid. Both are
    times of the carrier's clock: by ours, which may step, a message of now could lie before the last look.
    """

    journal: Journal
    replies: Replies
    messages: Messages
    clock: Callable[[], datetime]
    heard: set[str] = field(default_factory=set)
    read_to: datetime | None = None
    made: dict[str, datetime] = field(default_factory=dict)

    async def look(self) -> str:
        """One look: "" where it succeeded, else why not. Raises LedgerError. The next look reads the same again."""
        ours = await self._ours()
        since = self.clock() - FIRST if self.read_to is None else self.read_to - OVERLAP
        # What becomes of a message may become so late; its fate is open until its time is over.
        self.made = {sid: at for sid, at in self.made.items() if sid in ours}
        since = min([since, *self.made.values()])
        listed = await self.messages.since(since, self.heard.__contains__)
        if isinstance(listed, NotSent):
            return listed.detail
        for message in listed:
            if message.inbound:
                trouble = await self._hear(message)
                if trouble:
                    return trouble
            elif message.sid in ours:
                tenant, addressed = ours[message.sid]
                self.made[message.sid] = message.at
                await book_status(self.journal, tenant, addressed, message.sid, message.status, message.error_code)
        times = [message.at for message in listed] + ([self.read_to] if self.read_to is not None else [])
        self.read_to = max(times, default=None)
        return ""

    async def _hear(self, message: Listed) -> str:
        """Book what came in, unless it was heard before; "" once it stands. Crash here: it is read again."""
        for tenant in await self.journal.tenants():
            if await self.journal.find(tenant, f"heard:{message.sid}") is not None:
                break
        else:
            form = MultiDict({"MessageSid": message.sid, "From": message.sender, "Body": message.body})
            outcome, status = await self.replies.take(form)
            if status == 503:
                return f"{message.sid} cannot be booked: {outcome}"
        self.heard.add(message.sid)
        return ""

    async def _ours(self) -> dict[str, tuple[str, Entry]]:
        """The carrier's ids of messages whose fate is open → tenant and ADDRESSED."""
        found: dict[str, tuple[str, Entry]] = {}
        for tenant in await self.journal.tenants():
            open_ = {
                entry.index: entry for entry in await self.journal.outstanding(tenant) if entry.stage == "ADDRESSED"
            }
            if open_:
                after = min(open_)
                for sent in await self.journal.entries(tenant, after=after, limit=SENT_ENTRIES_MAX, stage="SENT"):
                    addressed = open_.get(int(sent.body["message"]))
                    if addressed is not None:
                        found[str(sent.body["sid"])] = tenant, addressed
        return found


async def poll_forever(poller: Poller, every_seconds: float, tell: Callable[[str], None]) -> None:
    """Look until cancelled. tell: gets why nothing is heard, after TROUBLE_SECONDS of it, and "" once all is well."""
    loop = asyncio.get_running_loop()
    good = loop.time()
    while True:
        try:
            trouble = await poller.look()
        except LedgerError as error:
            trouble = f"what was heard cannot be booked: {error}"
        if not trouble:
            good = loop.time()
            tell("")
        else:
            _LOG.warning("the carrier's messages cannot be read: %s", trouble)
            if loop.time() - good > TROUBLE_SECONDS:
                tell(trouble)
        await asyncio.sleep(every_seconds)
