"""Calls to people: POST /twilio/voice, what is said to whoever picks up, and what they key in.

What is keyed in is booked as HEARD first and judged by the governor, as a tap is; the call waits a moment for that
judgement and says it. A machine is told nothing, least of all the code.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from aiohttp import web

from ledger.entry import Draft, Entry
from ledger.journal import Conflict, Journal, LedgerError
from receiver.authorization import codes, speech, voice
from receiver.intake.delivery import book_picked_up
from receiver.intake.replies import CALL_SID
from receiver.intake.signed import Post, Signed
from receiver.papers import VOICE, MessageKind, Recipient

JUDGED_SECONDS = 5.0  # a call waits so long for the judgement; Twilio waits 15 s for all of the answer
READINGS_NAMED = {str(number): number for number in range(1, voice.READINGS + 2)}
_LOG = logging.getLogger("counterfoil.calls")


class Roster(Protocol):
    def recipient(self, tenant: str, person: str) -> Recipient | None:
        """How a person of the roster is reached, or None."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of ours: what it is about, who is called, and where its next step is."""

    tenant: str
    addressed: Entry
    recipient: Recipient
    sid: str
    url: str
    reading: int

    @property
    def is_question(self) -> bool:
        return bool(self.addressed.body["kind"] == MessageKind.OPENED.value)

    def step(self, name: str, reading: int) -> str:
        return f"{self.url}&s={name}&n={reading}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The handler. codes_secret, address_key, count: as for Replies."""

    journal: Journal
    roster: Roster
    signed: Signed
    public_url: str
    codes_secret: bytes
    address_key: Callable[[str, str | None], bytes]
    count: Callable[[str, str], None] = field(default=lambda path, outcome: None)

    async def voice(self, request: web.Request) -> web.Response:
        """One step of a call: 200 with TwiML; 503 where it cannot be booked, which Twilio reads out as an error."""
        signed = await self.signed.read(request, self._done)
        if isinstance(signed, web.Response):
            return signed
        try:
            call = await self._call(signed)
            if call is None:
                return self._said(request, "no call of ours", voice.taking_none())
            return await self._step(request, signed, call)
        except LedgerError as error:
            _LOG.error("a call could not be booked: %s", error)
            return self._done(request, "unavailable", 503)

    async def _call(self, signed: Post) -> _Call | None:
        """The call that this is a step of. Nothing is said to a number that is not that person's."""
        ours, sid = signed.message(), signed.form.get("CallSid", "")
        if ours is None or not CALL_SID.fullmatch(sid) or ours[0] not in await self.journal.tenants():
            return None
        tenant, index = ours
        addressed = await self.journal.get(tenant, index)
        if addressed is None or addressed.stage != "ADDRESSED" or addressed.body.get("channel") != VOICE:
            return None
        recipient = self.roster.recipient(tenant, str(addressed.body["person"]))
        if recipient is None or signed.form.get("To") != recipient.phone:
            _LOG.warning("call %s is not to the number of %s", sid, addressed.body["person"])
            return None
        reading = READINGS_NAMED.get(signed.query.get("n", ""), 1)
        url = f"{self.public_url.rstrip('/')}/twilio/voice?m={quote(f'{tenant}-{index}', safe='')}"
        return _Call(tenant, addressed, recipient, sid, url, reading)

    async def _step(self, request: web.Request, signed: Post, call: _Call) -> web.Response:
        step, digits = signed.query.get("s"), signed.form.get("Digits", "")
        picked_up_by = signed.form.get("AnsweredBy", "unknown")
        if step is None and picked_up_by in voice.MACHINES:
            await book_picked_up(self.journal, call.tenant, call.addressed, call.sid, machine=True)
            return self._said(request, "machine", voice.hanging_up())
        if step is None and picked_up_by != "human":
            return self._said(request, "greeted", voice.greeting(call.recipient.language, call.step("read", 1)))
        if step == "answer":
            return await self._answer(request, call, digits)
        await book_picked_up(self.journal, call.tenant, call.addressed, call.sid, machine=False)
        return await self._read(request, call, "")

    async def _read(self, request: web.Request, call: _Call, before: str) -> web.Response:
        """Say what it is about, after the sentence `before`; a question as long as it is open, READINGS times."""
        words, language = speech.speech_for(call.recipient.language), call.recipient.language
        content = await self.journal.blob(call.tenant, call.addressed.blobs[0].digest)
        variables: dict[str, str] = json.loads(content or b"{}")
        if not call.is_question:
            return self._said(request, "said", voice.saying(speech.notice(variables, language), language))
        proposal = call.addressed.cites[0]
        if call.reading > voice.READINGS:
            return self._said(request, "gave up", voice.saying(f"{before} {words.goodbye}".strip(), language))
        if all(entry.index != proposal for entry in await self.journal.outstanding(call.tenant)):
            return self._said(request, "closed", voice.saying(f"{words.closed} {words.goodbye}", language))
        variables["code"] = codes.digits(self.codes_secret, call.tenant, proposal, call.recipient.name)
        text = f"{before} {speech.question(variables, language)}".strip()
        answer, again = call.step("answer", call.reading), call.step("read", call.reading + 1)
        last = call.reading == voice.READINGS
        return self._said(request, "asked", voice.asking(text, language, answer, None if last else again))

    async def _answer(self, request: web.Request, call: _Call, digits: str) -> web.Response:
        words, keyed = speech.speech_for(call.recipient.language), voice.keyed(digits)
        following = _Call(call.tenant, call.addressed, call.recipient, call.sid, call.url, call.reading + 1)
        if keyed is None or not call.is_question:
            return await self._read(request, following, words.misheard)
        heard = self._heard(call, *keyed)
        try:
            receipt = await self.journal.post(call.tenant, [heard])
        except Conflict:
            # The same step of the same call with other digits: a request that was changed. The first one stands.
            return self._said(request, "conflict", voice.saying(words.not_counted, call.recipient.language))
        judged = await judgement(self.journal, call.tenant, receipt.entries[0].index, JUDGED_SECONDS)
        if judged is not None and judged.body.get("why") == "wrong code":
            return await self._read(request, following, words.wrong_code)
        text = words.later if judged is None else _told(words, judged)
        return self._said(request, "heard", voice.saying(f"{text} {words.goodbye}", call.recipient.language))

    def _heard(self, call: _Call, verb: str, code: str) -> Draft:
        person = call.recipient.name
        return Draft(
            id=f"heard:{call.sid}:{call.reading}",
            stage="HEARD",
            actor=f"carrier:{VOICE}",
            reason=f"{person}: {verb}",
            body={
                "person": person,
                "verb": verb,
                "token": None,
                "code": code,
                "original_sid": call.sid,
                "from_hmac": codes.address_hmac(self.address_key(call.tenant, person), call.recipient.phone or ""),
                "external_id_hmac": None,
                "via": VOICE,
                "delivery": call.addressed.index,
            },
        )

    def _said(self, request: web.Request, outcome: str, twiml: str) -> web.Response:
        self.count(request.path, outcome)
        return web.Response(text=twiml, content_type="text/xml")

    def _done(self, request: web.Request, outcome: str, status: int) -> web.Response:
        self.count(request.path, outcome)
        return web.Response(status=status)


async def judgement(journal: Journal, tenant: str, heard: int, seconds: float) -> Entry | None:
    """The entry that settled a HEARD, or None where it was not judged within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                size = await journal.size(tenant)  # asked first: what comes after it ends the wait
                entry = await journal.find(tenant, f"answer:{heard}")
                if entry is not None:
                    return entry
                await journal.wait(tenant, size)
    except TimeoutError:
        return None


def _told(words: speech.Speech, judged: Entry) -> str:
    said = {"approve": words.approved, "reject": words.rejected, "onit": words.on_it, "pin": words.pin}
    return said.get(came_to(judged), words.not_counted)


def came_to(judged: Entry) -> str:
    """What an answer came to: approve, reject, onit; pin where it lacks one; drill where it was one; and refused."""
    if judged.stage == "HEEDED":
        return {"on it": "onit", "drill": "drill"}.get(str(judged.body.get("what")), "pin")
    return {"APPROVED": "approve", "DECLINED": "reject"}.get(judged.stage, "refused")
