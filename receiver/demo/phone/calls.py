"""Calls: what is refused when one is placed, how it rings, and what the service's TwiML makes of it.

Sources of each rule stand in README.md beside this file.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin
from xml.etree import ElementTree

from .rules import NUMBER, is_callback
from .shapes import Refusal, new_sid, rfc2822
from .twiml import BadTwiml, read_twiml
from .webhooks import Answer

if TYPE_CHECKING:
    from .network import PhoneNetwork

RING_SECONDS, RING_SECONDS_MAX = 60, 600  # Timeout: its default and its maximum
STEPS_MAX = 20  # documents of TwiML in one call, so that a redirect to itself ends
_FIELDS = frozenset(
    """
    ApplicationSid AsyncAmd AsyncAmdStatusCallback AsyncAmdStatusCallbackMethod Byoc CallReason CallToken CallerId
    ClientNotificationUrl FallbackMethod FallbackUrl From MachineDetection MachineDetectionSilenceTimeout
    MachineDetectionSpeechEndThreshold MachineDetectionSpeechThreshold MachineDetectionTimeout Method Record
    RecordingChannels RecordingStatusCallback RecordingStatusCallbackEvent RecordingStatusCallbackMethod RecordingTrack
    SendDigits SipAuthPassword SipAuthUsername StatusCallback StatusCallbackEvent StatusCallbackMethod TimeLimit Timeout
    To Trim Twiml Url
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Gather:
    digits: int
    action: str
    language: str


@dataclass(slots=True)
class Call:
    """One call to a phone. status: Twilio's word. said: every sentence, in order. wants: the keys that it waits for."""

    network: PhoneNetwork
    sid: str
    caller: str
    number: str
    fields: Mapping[str, str]
    at: datetime
    status: str = "queued"
    said: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    wants: Gather | None = None
    pressed: str = ""
    error: str = ""
    answered_by: str | None = None
    _rest: list[ElementTree.Element] = field(default_factory=list)
    _url: str = ""
    _steps: int = 0
    _ringing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rings(self) -> bool:
        return self.status in ("queued", "ringing")

    @property
    def talks(self) -> bool:
        return self.status == "in-progress"

    def heard(self, text: str) -> bool:
        return text.lower() in " ".join(self.said).lower()

    async def ring(self) -> bool:
        """Ring until somebody answers or the time is over; whether somebody did."""
        self.status = "ringing"
        self.network.touch()
        seconds = int(self.fields.get("Timeout", RING_SECONDS))
        try:
            await asyncio.wait_for(self._ringing.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def answer(self, by: str = "human") -> None:
        """Pick up. by: what Twilio makes of whoever picks up: human, machine_start, fax or unknown."""
        if not self.rings:
            raise LookupError(f"the call does not ring: it is {self.status}")
        self.status = "in-progress"
        self._ringing.set()
        self.answered_by = by if "MachineDetection" in self.fields else None
        self.network.touch()
        if "Twiml" in self.fields:
            await self._take(Answer(200, self.fields["Twiml"], "text/xml"), "")
        else:
            await self._fetch(self.fields["Url"], {})

    async def decline(self, how: str = "busy") -> None:
        """Do not pick up: busy, no-answer, or failed where the number is none."""
        if self.rings:
            self._ringing.set()
            await self.end(how)

    async def press(self, keys: str) -> None:
        """Press keys while the call waits for some; what it asked for is sent once there are as many."""
        if self.wants is None:
            raise LookupError("the call waits for no key")
        if not re.fullmatch(r"[0-9*#]+", keys):
            raise ValueError("a phone has the keys 0 to 9, * and #")
        self.pressed = (self.pressed + keys)[: self.wants.digits]
        self.network.touch()
        if len(self.pressed) == self.wants.digits:
            await self._send_digits()

    async def wait_in_silence(self) -> None:
        """Let the time for keys run out: what was pressed is sent, and where nothing was, the document goes on."""
        if self.wants is None:
            raise LookupError("the call waits for no key")
        if self.pressed:
            await self._send_digits()
        else:
            self.wants = None
            await self._run()

    async def end(self, status: str = "completed") -> None:
        """Hang up. Twilio then says so to the status callback."""
        if self.status in ("completed", "busy", "no-answer", "failed", "canceled"):
            return
        self.status, self.wants = status, None
        self.network.touch()
        callback = self.fields.get("StatusCallback")
        if callback and self.network.faults.status_callbacks:
            await self.network.call(callback, {**self._form(), "CallbackSource": "call-progress-events"})

    async def _send_digits(self) -> None:
        gather, digits = self.wants, self.pressed
        if gather is None:
            return
        self.wants, self.pressed = None, ""
        await self._fetch(gather.action, {"Digits": digits, "FinishedOnKey": "", "msg": "Gather End"})

    async def _fetch(self, url: str, more: Mapping[str, str]) -> None:
        self._url = url
        answer = await self.network.ask(url, {**self._form(), **more})
        await self._take(answer, url)

    async def _take(self, answer: Answer, url: str) -> None:
        self._steps += 1
        try:
            if self._steps > STEPS_MAX:
                raise BadTwiml(f"more than {STEPS_MAX} documents in one call")
            self._rest = read_twiml(answer)
        except BadTwiml as error:
            self.error = f"{error} ({url})"
            self.said.append("An application error has occurred. Goodbye.")
            await self.end()
            return
        await self._run()

    async def _run(self) -> None:
        while self._rest:
            verb = self._rest.pop(0)
            if verb.tag == "Say":
                self._say(verb)
            elif verb.tag == "Gather":
                for inner in verb:
                    if inner.tag == "Say":
                        self._say(inner)
                action = urljoin(self._url, verb.get("action") or self._url)
                self.wants = Gather(int(verb.get("numDigits", "1")), action, verb.get("language", "en-US"))
                self.network.touch()
                return
            elif verb.tag == "Redirect":
                await self._fetch(urljoin(self._url, (verb.text or "").strip()), {})
                return
            elif verb.tag == "Hangup":
                break
        await self.end()

    def _say(self, verb: ElementTree.Element) -> None:
        self.said.append(" ".join((verb.text or "").split()))
        self.languages.append(verb.get("language", "en-US"))
        self.network.touch()

    def _form(self) -> dict[str, str]:
        """The form of a request of Twilio's about this call, as its documentation lists it."""
        form = {
            "AccountSid": self.network.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Called": self.number,
            "Caller": self.caller,
            "CalledCountry": "ZW",
            "CallerCountry": "US",
            "Direction": "outbound-api",
            "From": self.caller,
            "To": self.number,
        }
        return form | ({"AnsweredBy": self.answered_by} if self.answered_by else {})


def check_call(pairs: Sequence[tuple[str, str]], caller: str) -> Refusal | dict[str, str]:
    """The fields of a request to place a call, or why it is refused. caller: the one number that may call."""
    fields = dict(pairs)
    if unknown := sorted(set(fields) - _FIELDS):
        return Refusal(400, 20001, f"Unknown parameters: {', '.join(unknown)}")
    once = [name for name, _ in pairs if name != "StatusCallbackEvent"]
    if len(set(once)) < len(once):
        return Refusal(400, 20001, "A parameter is given twice")
    if not fields.get("To"):
        return Refusal(400, 21201, "No 'To' number is specified")
    if not NUMBER.fullmatch(fields["To"]):
        return Refusal(400, 21211, f"Invalid 'To' Phone Number: {fields['To']}")
    if not fields.get("From"):
        return Refusal(400, 21213, "'From' phone number is required")
    if fields["From"] != caller:
        return Refusal(400, 21210, f"'From' phone number not verified: {fields['From']}")
    if sum(name in fields for name in ("Url", "Twiml", "ApplicationSid")) != 1:
        return Refusal(400, 21205, "Give exactly one of Url, Twiml and ApplicationSid")
    return _check_ways(fields) or fields


def _check_ways(fields: Mapping[str, str]) -> Refusal | None:
    if "Url" in fields and not is_callback(fields["Url"]):
        return Refusal(400, 21205, "Url is not a valid URL")
    if len(fields.get("Twiml", "")) > 4000:
        return Refusal(400, 21218, "Twiml exceeds 4000 characters")
    if "StatusCallback" in fields and not is_callback(fields["StatusCallback"]):
        return Refusal(400, 21609, "The 'StatusCallback' URL is not a valid URL")
    if any(fields.get(name, "POST") not in ("GET", "POST") for name in ("Method", "StatusCallbackMethod")):
        return Refusal(400, 20001, "A method is GET or POST")
    if fields.get("MachineDetection", "Enable") not in ("Enable", "DetectMessageEnd"):
        return Refusal(400, 20001, "MachineDetection is Enable or DetectMessageEnd")
    timeout = fields.get("Timeout", "60")
    if not re.fullmatch(r"[0-9]{1,3}", timeout) or not 1 <= int(timeout) <= RING_SECONDS_MAX:
        return Refusal(400, 20001, f"Timeout is 1 to {RING_SECONDS_MAX} seconds")
    return None


def call_json(call: Call, account_sid: str) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{account_sid}/Calls/{call.sid}"
    return {
        "account_sid": account_sid,
        "answered_by": call.answered_by,
        "api_version": "2010-04-01",
        "caller_name": None,
        "date_created": rfc2822(call.at),
        "date_updated": rfc2822(call.at),
        "direction": "outbound-api",
        "duration": None,
        "end_time": None,
        "forwarded_from": None,
        "from": call.caller,
        "from_formatted": call.caller,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": "PN" + "0" * 32,
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "sid": call.sid,
        "start_time": None,
        "status": call.status,
        "subresource_uris": {"notifications": f"{uri}/Notifications.json", "recordings": f"{uri}/Recordings.json"},
        "to": call.number,
        "to_formatted": call.number,
        "trunk_sid": None,
        "uri": f"{uri}.json",
    }


def new_call(network: PhoneNetwork, fields: Mapping[str, str]) -> Call:
    return Call(network, new_sid("CA"), fields["From"], fields["To"], fields, network.clock())
