"""The carrier's log of messages against what the ledger says was sent, delivered and heard."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ledger.entry import Entry
from ledger.findings.finding import INTRUSION, Finding
from receiver.auditor.outside.message_log import Logged

_GOOD, _BAD = frozenset({"delivered", "read"}), frozenset({"undelivered", "failed", "canceled"})
_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
_HEARD = re.compile(r"heard:((SM|MM)[0-9a-fA-F]{32})")
_ROTATE = "rotate Twilio's auth token: who has it can send and forge messages"
_CALLBACKS = "see that Twilio reaches public_url: its status callbacks did not arrive"


@dataclass(slots=True)
class _Message:
    """An ADDRESSED and the entry that says what became of it."""

    index: int
    said_at: int = -1
    stage: str = "ADDRESSED"


class Messages:
    """One log against the carrier's, entry by entry.

    Only what lies between the first and the last date of the export is compared. sender: ours; another sender's
    messages are not ours to know, and "" takes all for ours. people: the addresses of those who may answer.
    elsewhere: sids that other tenants know.
    """

    def __init__(
        self,
        logged: Mapping[str, Logged],
        sender: str = "",
        people: Collection[str] = (),
        elsewhere: Collection[str] = (),
    ) -> None:
        self._logged = logged
        self._sender = sender
        self._people = frozenset(people)
        self._elsewhere = elsewhere
        dates = [message.at for message in logged.values() if message.at is not None]
        self._period = (min(dates), max(dates)) if dates else None
        self._messages: dict[int, _Message] = {}
        self._sids: dict[str, tuple[_Message, int, datetime]] = {}  # sid → the message, and the entry that names it
        self._heard: dict[str, tuple[int, datetime]] = {}

    def take(self, entry: Entry) -> None:
        if not entry.well_formed:
            return
        if entry.stage == "ADDRESSED":
            self._messages[entry.index] = _Message(entry.index)
        elif entry.stage == "HEARD" and (named := _HEARD.fullmatch(entry.id)) is not None:
            self._heard[named[1]] = entry.index, entry.timestamp
        elif entry.stage in ("SENT", "DELIVERED", "UNDELIVERED"):
            about = entry.settles if entry.settles is not None else entry.body.get("message")
            message = self._messages.get(about) if isinstance(about, int) else None
            if message is None:
                return
            if entry.stage != "SENT":
                message.stage, message.said_at = entry.stage, entry.index
            sid = entry.body.get("sid")
            if isinstance(sid, str) and _SID.fullmatch(sid):  # a call or a notice stands in no log of messages
                self._sids.setdefault(sid, (message, entry.index, entry.timestamp))

    def findings(self) -> Iterator[Finding]:
        for sid, (message, index, at) in self._sids.items():
            logged = self._logged.get(sid)
            if logged is None and self._within(at):
                detail = f"the ledger says that {sid} was sent, and the carrier does not know it"
                yield Finding(index, "message", detail, "see whether the export is of this account, and whole")
            elif logged is not None and not logged.inbound:
                yield from _of_its_state(logged, message, self._of_all(message))
        for sid, (index, at) in self._heard.items():
            logged = self._logged.get(sid)
            if (logged is None and self._within(at)) or (logged is not None and not logged.inbound):
                detail = f"the ledger heard {sid}, and the carrier never took it in"
                yield Finding(index, "message", detail, f"{INTRUSION}; {_ROTATE}")
        for logged in self._logged.values():
            if logged.sid not in self._elsewhere:
                yield from self._unknown(logged)

    def told(self) -> str:
        known = sum(sid in self._logged for sid in (*self._sids, *self._heard))
        period = f" from {self._period[0]} to {self._period[1]}" if self._period else ", none with a date"
        return f"carrier's log: {len(self._logged)} messages{period}, {known} of them known here"

    def _within(self, at: datetime) -> bool:
        return self._period is not None and self._period[0] <= at <= self._period[1]

    def _of_all(self, message: _Message) -> set[str]:
        """The carrier's states of every copy of a message: one that was sent twice arrived if either did."""
        sids = [sid for sid, (about, _, _) in self._sids.items() if about is message]
        return {self._logged[sid].status for sid in sids if sid in self._logged}

    def _unknown(self, logged: Logged) -> Iterator[Finding]:
        ours = not self._sender or self._sender in (logged.sender, logged.service)
        if not logged.inbound and ours and logged.sid not in self._sids:
            detail = f"{logged.sid} went out at {logged.at} ({logged.status}), and no entry knows it"
            remedy = f"{_ROTATE}; where the process was killed at that moment, it is the first copy of a message"
            yield Finding(None, "message", detail, remedy)
        to_us = not self._sender or self._sender in (logged.recipient, logged.service)
        if logged.inbound and to_us and logged.sender in self._people and logged.sid not in self._heard:
            detail = f"{logged.sid} came in at {logged.at} from a person of the roster, and was never heard"
            yield Finding(None, "message", detail, "see that Twilio reaches public_url, and ask what they meant to say")


def _of_its_state(logged: Logged, message: _Message, states: set[str]) -> Iterator[Finding]:
    place = message.said_at if message.said_at >= 0 else message.index
    if message.stage == "DELIVERED" and states <= _BAD:
        detail = f"the ledger says that {logged.sid} was delivered, and the carrier says {logged.status}"
        yield Finding(place, "message", detail, f"see who reported it: {_ROTATE}")
    elif message.stage == "UNDELIVERED" and logged.status in _GOOD:
        detail = f"the ledger gave {logged.sid} up, and the carrier says {logged.status}"
        yield Finding(place, "message", detail, _CALLBACKS)
    elif message.stage == "ADDRESSED" and logged.status in _GOOD | _BAD:
        detail = f"the ledger waits for {logged.sid}, and the carrier says {logged.status}"
        yield Finding(place, "message", detail, _CALLBACKS)
