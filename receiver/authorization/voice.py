"""Calls to people, through Twilio: a call that is placed, and what is said and asked once somebody picks up.

An answer is one key and the six digits of the person's code for that question: a key by itself is pressed by a cheek or
by whoever picks up, and a code names one person and one question. https://www.twilio.com/docs/voice/twiml/gather
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from receiver.authorization import speech, twilio_http
from receiver.authorization.codes import DIGITS
from receiver.authorization.connection import Connection, Unsendable
from receiver.papers import MessageKind, NotSent, OutgoingMessage, Sent

RING_SECONDS = 25  # Twilio may add five; a mailbox picks up later than that with most networks
READINGS = 3  # times that one call puts its question
KEY_SECONDS = 12  # without a key, the question is put again
VERBS = {"1": "approve", "2": "reject", "3": "onit"}
_KEYED = re.compile(rf"([123])([0-9]{{{DIGITS}}})")
MACHINES = ("machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax")
# How a call ended (CallStatus) → our word for it, where it ended without anybody.
UNANSWERED = {
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "bad_recipient",
    "canceled": "no_answer",
    "completed": "no_answer",
}


class Voice:
    """A carrier. caller: the number that calls, "+12025550100", Twilio's or one that is verified there."""

    def __init__(self, connection: Connection, caller: str, public_url: str) -> None:
        self._connection = connection
        self._caller = caller
        self._public_url = public_url.rstrip("/")

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        """Place one call. Never raises. "Placed" is not "heard": what became of it comes to /twilio/status."""
        return await self._connection.guarded(lambda: self._send(message))

    async def _send(self, message: OutgoingMessage) -> Sent | NotSent:
        if message.recipient.phone is None:
            raise Unsendable("the person has no number for calls")
        language = message.recipient.language
        content = (speech.question if message.kind is MessageKind.OPENED else speech.notice)(
            message.variables, language
        )
        about = f"m={quote(message.message_id, safe='')}"
        call = await (await self._connection.client()).calls.create_async(
            to=message.recipient.phone,
            from_=self._caller,
            url=f"{self._public_url}/twilio/voice?{about}",
            method="POST",
            status_callback=f"{self._public_url}/twilio/status?{about}",
            status_callback_method="POST",
            machine_detection="Enable",
            timeout=RING_SECONDS,
        )
        if call.status in UNANSWERED and call.status != "completed":
            outcome, retry = twilio_http.outcome_of_code(None)
            return NotSent(outcome, f"Twilio took the call and said {call.status} at once", retry)
        if not isinstance(call.sid, str) or not call.sid:
            return NotSent("unreachable", "Twilio's answer names no call sid", 10.0)
        return Sent(call.sid, hashlib.sha256(content.encode()).hexdigest(), content)


def keyed(digits: str) -> tuple[str, str] | None:
    """The verb and the code that were keyed in, or None where it is not one key and DIGITS digits."""
    match = _KEYED.fullmatch(digits)
    return (VERBS[match[1]], match[2]) if match else None


def asking(text: str, language: str, action: str, again: str | None) -> str:
    """TwiML that says `text`, takes a key and a code to `action`, and goes to `again` when none comes."""
    return _gathered(text, language, action, again, keys=1 + DIGITS)


def greeting(language: str, action: str) -> str:
    """TwiML that tells nothing until somebody presses a key: nobody knows yet who has picked up."""
    return _gathered(speech.speech_for(language).greeting, language, action, None, keys=1)


def saying(text: str, language: str) -> str:
    """TwiML that says `text` and hangs up."""
    from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped]

    response = VoiceResponse()
    response.say(text, language=speech.voice_for(language))
    response.hangup()
    return str(response)


def taking_none() -> str:
    """TwiML that says in every language that this number takes no calls: to somebody of whom nothing is known."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    for language in speech.spoken_languages():
        words = speech.speech_for(language)
        response.say(f"{words.takes_none} {words.goodbye}", language=speech.voice_for(language))
    response.hangup()
    return str(response)


def hanging_up() -> str:
    """TwiML that says nothing: to a machine."""
    from twilio.twiml.voice_response import VoiceResponse

    response = VoiceResponse()
    response.hangup()
    return str(response)


def _gathered(text: str, language: str, action: str, again: str | None, *, keys: int) -> str:
    from twilio.twiml.voice_response import Gather, VoiceResponse

    voice = speech.voice_for(language)
    response = VoiceResponse()
    gather = Gather(input="dtmf", num_digits=keys, timeout=KEY_SECONDS, finish_on_key="", action=action, method="POST")
    gather.say(text, language=voice)
    response.append(gather)
    if again is not None:
        response.redirect(again, method="POST")
    else:
        response.say(speech.speech_for(language).goodbye, language=voice)
        response.hangup()
    return str(response)
