"""What people write, and what became of messages: POST /twilio/message and /twilio/status.

Each request is checked against Twilio's signature and booked; nothing is judged here. The answer to the person comes
from the governor, as a message of its own, after it has judged what was heard.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from multidict import MultiDict

from ledger.entry import Blob, Draft
from ledger.journal import Conflict, Journal, Refused, Unavailable
from receiver.authorization import codes, pins, wording
from receiver.intake.delivery import CARRIER, book_call, book_status
from receiver.intake.signed import Signed

_TEXT_UNITS = 300
_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")
_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_ADDRESS = re.compile(r"whatsapp:[+A-Za-z0-9._-]{3,128}")
EVERYWHERE = (
    "halt",
    "resume",
    "status",
    "handover",
    "join",
    "stop",
    "start",
    "pin",
)  # words that are meant for every tenant
_LOG = logging.getLogger("counterfoil.replies")


class Roster(Protocol):
    """Who is enrolled, over all tenants."""

    def person_by_address(self, address: str) -> Sequence[tuple[str, str]]:
        """Every (tenant, person) with that WhatsApp address, "whatsapp:+263771234567"; empty for a stranger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """The two handlers. Takes plain values.

    signed: reads what Twilio signed.
    codes_secret: the secret of receiver.authorization.codes. address_key: for the HMAC of an
    address, by tenant and person (None: a stranger).
    count: called with (path, outcome) for each request; outcome is from a closed list.
    """

    journal: Journal
    roster: Roster
    signed: Signed
    codes_secret: bytes
    address_key: Callable[[str, str | None], bytes]
    pin_of: Callable[[str, str | None], str | None] = field(default=lambda tenant, person: None)
    count: Callable[[str, str], None] = field(default=lambda path, outcome: None)

    async def message(self, request: web.Request) -> web.Response:
        """A message or a tap. 204 once it is booked as HEARD, or known, or from a stranger; 503 to be sent again."""
        signed = await self.signed.read(request, self._done)
        if isinstance(signed, web.Response):
            return signed
        return self._done(request, *await self.take(signed.form))

    async def take(self, form: MultiDict[str]) -> tuple[str, int]:
        """Book a message or a tap as HEARD: the outcome in a word, and the status that answers it."""
        sid, sender = form.get("MessageSid", ""), form.get("From", "")
        if _NUMBER.fullmatch(sender):
            # SMS is one way here: its sender can be forged, and many networks take none back.
            return "sms", 204
        if not _SID.fullmatch(sid) or not _ADDRESS.fullmatch(sender):
            return "malformed", 400
        answer = codes.parse_answer(form.get("Body", ""), _payload_of(form))
        try:
            targets = await self._targets(sender, answer)
            if not targets:
                # Silence to unknown senders: no reply, no entry, no way to fill the ledger.
                return "stranger", 204
            for tenant, person in targets:
                pin = await self._pin(tenant, person, answer)
                await self.journal.post(tenant, [self._heard(form, sid, sender, tenant, person, answer, pin)])
        except Unavailable as error:
            _LOG.error("a message could not be booked: %s", error)
            return "unavailable", 503
        except Conflict:
            # The same MessageSid with other contents: a replayed request that was changed. The first one stands.
            _LOG.warning("message %s was heard before with other contents", sid)
            return "conflict", 204
        except Refused as error:
            _LOG.error("the ledger refused a message: %s", error)
            return "refused", 503
        return "heard", 204

    async def status(self, request: web.Request) -> web.Response:
        """What became of a message or a call of ours. 204 unless it cannot be booked (503) or read (400)."""
        signed = await self.signed.read(request, self._done)
        if isinstance(signed, web.Response):
            return signed
        form, ours = signed.form, signed.message()
        sid, status = form.get("MessageSid", ""), form.get("MessageStatus", "")
        call = form.get("CallSid", "")
        if ours is None or not (CALL_SID if call else _SID).fullmatch(call or sid):
            return self._done(request, "malformed", 400)
        tenant, index = ours
        try:
            if tenant not in await self.journal.tenants():
                return self._done(request, "unknown", 204)
            addressed = await self.journal.get(tenant, index)
            if addressed is None or addressed.stage != "ADDRESSED":
                return self._done(request, "unknown", 204)
            if call:
                await book_call(self.journal, tenant, addressed, call, form.get("CallStatus", ""))
            else:
                await book_status(self.journal, tenant, addressed, sid, status, form.get("ErrorCode", ""))
        except Unavailable as error:
            _LOG.error("a status could not be booked: %s", error)
            return self._done(request, "unavailable", 503)
        return self._done(request, "status", 204)

    async def _pin(self, tenant: str, person: str | None, answer: codes.Answer) -> str | None:
        """Whether the digits that came with an answer are the PIN of who sent it: all that is kept of them."""
        if answer.pin is None:
            return None
        kept = self.pin_of(tenant, person)
        return "right" if kept is not None and await asyncio.to_thread(pins.fits, kept, answer.pin) else "wrong"

    async def _targets(self, sender: str, answer: codes.Answer) -> list[tuple[str, str | None]]:
        """The tenants to whose ledgers this belongs, and who the sender is there.

        A valid token decides alone: then even a stranger's answer is booked (with person null), because a button of
        ours in other hands is something that an auditor wants to see. A code decides by the question that it fits.
        HALT, RESUME, STATUS, HANDOVER, JOIN, STOP and START go to every tenant of the person; other words to the first.
        """
        known = list(self.roster.person_by_address(sender))
        if answer.token is not None:
            for tenant in await self.journal.tenants():
                if codes.delivery_of(self.codes_secret, tenant, answer.token) is not None:
                    return [(tenant, next((name for where, name in known if where == tenant), None))]
        if len(known) > 1 and answer.code is not None:
            known = [pair for pair in known if await self._fits(*pair, answer.code)] or known
        return [*known] if answer.verb in EVERYWHERE else [*known[:1]]

    async def _fits(self, tenant: str, person: str, code: str) -> bool:
        proposals = [entry for entry in await self.journal.outstanding(tenant) if entry.stage == "PROPOSED"]
        return any(codes.same(codes.code(self.codes_secret, tenant, entry.index, person), code) for entry in proposals)

    def _heard(
        self,
        form: MultiDict[str],
        sid: str,
        sender: str,
        tenant: str,
        person: str | None,
        answer: codes.Answer,
        pin: str | None,
    ) -> Draft:
        external_id, original = form.get("ExternalUserId"), form.get("OriginalRepliedMessageSid", "")
        text = wording.tidy(form.get("Body", ""), _TEXT_UNITS)
        if pin is not None or (answer.verb == "other" and self.pin_of(tenant, person) is not None):
            text = pins.masked(text)  # what may be a PIN, or one that was mistyped, stands nowhere
        key = self.address_key(tenant, person)
        return Draft(
            id=f"heard:{sid}",
            stage="HEARD",
            actor=CARRIER,
            reason=f"{person or 'a stranger'}: {answer.verb}",
            body={
                "person": person,
                "verb": answer.verb,
                "token": answer.token,
                "code": answer.code,
                "original_sid": original if _SID.fullmatch(original) else None,
                "from_hmac": codes.address_hmac(key, sender),
                "external_id_hmac": codes.address_hmac(key, external_id) if external_id else None,
            }
            | ({"about": answer.about} if answer.about else {})
            | ({"span": answer.span} if answer.span else {})
            | ({"pin": pin} if pin else {}),
            blobs=(Blob("text", text.encode()),),
        )

    def _done(self, request: web.Request, outcome: str, status: int) -> web.Response:
        self.count(request.path, outcome)
        return web.Response(status=status)


def _payload_of(form: MultiDict[str]) -> str | None:
    """A tap's payload. One without the fields that come with every tap is no payload of Twilio's: "" reads as none."""
    payload = form.get("ButtonPayload")
    if payload is None:
        return None
    is_tap = form.get("MessageType") in ("button", "interactive") and "ButtonText" in form
    return payload if is_tap else ""
