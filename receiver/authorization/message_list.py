"""The list of messages that the carrier keeps: how a service that nobody can reach from outside hears of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from receiver.authorization.connection import Connection
from receiver.papers import NotSent

PAGE_SIZE, PAGES_MAX = 100, 20  # of one look: what is older than that is not read any more


@dataclass(frozen=True, slots=True)
class Listed:
    """One message as the carrier lists it. sender: whoever wrote it. status: the carrier's word. at: aware, in UTC."""

    sid: str
    inbound: bool
    sender: str
    body: str
    status: str
    error_code: str
    at: datetime


class MessageList:
    """What was sent and received since a time. sender: our own, "whatsapp:+14155238886" or "MG…"."""

    def __init__(self, connection: Connection, page_size: int = PAGE_SIZE) -> None:
        self._connection = connection
        self._page_size = page_size

    async def since(self, moment: datetime, known: Callable[[str], bool]) -> list[Listed] | NotSent:
        """Every message that was made at or after `moment`, oldest first, of at most PAGES_MAX pages. Never raises.

        known: whether nothing more is to be learnt of a sid; such messages are left out.
        """
        return await self._connection.guarded(lambda: self._since(moment, known))

    async def _since(self, moment: datetime, known: Callable[[str], bool]) -> list[Listed]:
        messages = (await self._connection.client()).messages
        # The API filters by the day; the page that reaches back before the moment is the last that is read.
        page = await messages.page_async(
            date_sent_after=moment.replace(hour=0, minute=0, second=0, microsecond=0), page_size=self._page_size
        )
        found: dict[str, Listed] = {}
        for _ in range(PAGES_MAX):
            rows = [_listed(item) for item in page]
            for row in rows:
                if row.at >= moment and not known(row.sid):
                    found[row.sid] = row  # a page may shift while the next is read: what comes twice is one
            if not rows or min(row.at for row in rows) < moment or not page.next_page_url:
                break
            page = await page.next_page_async()
        return sorted(found.values(), key=lambda row: row.at)


def _listed(item: object) -> Listed:
    at = getattr(item, "date_created", None)
    if not isinstance(at, datetime):
        raise ValueError("a message has no date")
    code = getattr(item, "error_code", None)
    return Listed(
        sid=str(getattr(item, "sid", "")),
        inbound=str(getattr(item, "direction", "")) == "inbound",
        sender=str(getattr(item, "from_", "")),
        body=str(getattr(item, "body", None) or ""),
        status=str(getattr(item, "status", "")),
        error_code=str(code) if code is not None else "",
        at=at,
    )
