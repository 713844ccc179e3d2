"""Calls to people: who picks up, what they key in, and what the carrier reports of it."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from aiohttp import web

from tests.simulation import happenings, telling
from tests.simulation.doors import ACCOUNT
from tests.simulation.history import History
from tests.simulation.terms import PUBLIC_URL
from tests.simulation.world import Tap, Text

KEYS = {"1": "approve", "2": "reject", "3": "onit"}
NOBODY = "It takes no calls."
CHANGED = "That does not count any more."
UNANSWERED = (("call: nobody", "no-answer"), ("call: busy", "busy"), ("call: failed", "failed"))
GIVEN_UP_SECONDS = 700  # after so long the question is over


class Handset:
    """One call as the carrier makes it: it says and asks what the service's answer to each step says, and no more."""

    def __init__(self, history: History, text: Text) -> None:
        self.history = history
        self.text = text
        self.model = history.models[text.tenant]
        self.first = f"/twilio/voice?m={text.tenant}-{text.index}"
        self.status = 0
        self.said = ""
        self.action: str | None = None  # where keys go
        self.again: str | None = None  # where it goes without
        self.last: str | None = None  # where keys went

    async def asks(self, path: str, *, signed: bool = True, times: int = 1, **fields: str) -> None:
        """One step: the carrier asks what to do now; `times` at once."""
        open_before = happenings.is_open(self.history, self.text)

        async def all_at_once() -> list[web.Response]:
            form, doors = self._form(fields), self.history.doors
            return await asyncio.gather(*[doors.call(path, form, signed=signed) for _ in range(times)])

        with telling.judged_late(self.history):
            (answer, *_) = await self.history.during(all_at_once(), waits=True)
        self._takes(answer.status, answer.text or "")
        told = self.text.kind == "opened" and self.text.code is not None and ", ".join(self.text.code) in self.said
        self.model.need(open_before or not told, None, f"law 3: {self.text.index} is over, and is asked by phone")

    def _takes(self, status: int, body: str) -> None:
        self.status, self.said, self.action, self.again = status, "", None, None
        if status != 200:
            return
        response = ElementTree.fromstring(body)
        self.said = " ".join(say.text or "" for say in response.iter("Say"))
        for gather in response.iter("Gather"):
            self.action = gather.attrib["action"].removeprefix(PUBLIC_URL)
        for redirect in response.iter("Redirect"):
            self.again = (redirect.text or "").removeprefix(PUBLIC_URL)

    async def keys(self, path: str, digits: str, *, times: int = 1) -> None:
        """Somebody keys in `digits` where they were asked to; `times` at once."""
        self.last = path
        step = parse_qs(urlsplit(path).query)["n"][0]
        key = f"{self.text.sid}:{step}"
        verb, code = KEYS.get(digits[:1]), digits[1:]
        means = verb is not None and len(code) == 6 and code.isdigit() and self.text.kind == "opened"
        if verb is not None and means:
            about = self.text if code == self.text.code else None
            telling.means(self.history, key, Tap(key, self.text.phone, verb, about, True, None))
        await self.asks(path, times=times, Digits=digits)
        if self.status == 200 and verb is not None and means:
            if NOBODY in self.said:
                gone = self.history.world.sites[self.text.tenant].staff.get(self.text.name) is None
                self.model.need(gone, None, f"law 3: {self.text.index} was keyed in, and nobody listened")
            else:
                telling.judge(self.history, self.text, key, verb, code, self.said)

    def _form(self, fields: dict[str, str]) -> dict[str, str]:
        to = self.text.phone.removeprefix("whatsapp:")
        about = {"CallSid": self.text.sid, "AccountSid": ACCOUNT, "From": "+1", "Direction": "outbound-api"}
        return {**about, "To": to, "CallStatus": "in-progress", **fields}


# --- the events ------------------------------------------------------------------------------------------------------


async def phone_rings(history: History) -> None:
    """A call that was placed comes to somebody, or to nobody."""
    world = history.world
    ringing = [text for text in world.texts if text.channel == "voice" and text.sid not in world.over]
    fresh = [text for text in ringing if text.kind == "opened" and happenings.is_open(history, text)]
    if not fresh and (not ringing or history.rng.random() < 0.5):
        await happenings.approve(history)
        return
    text = history.rng.choice(fresh or ringing)
    world.over.add(text.sid)
    for name, status in UNANSWERED:
        if world.fault(name, 0.08):
            await _ends(history, text, status)
            return
    handset = Handset(history, text)
    await _impostors(history, handset)
    if world.fault("call: result first", 0.05):
        await _reports(history, text, "completed")
    await _picked_up(history, handset)
    lost = world.fault("call: wrong to the end", 0.08)
    while handset.action is not None:
        if not await _answers(history, handset, handset.action, lost=lost):
            break
    await _ends(history, text, "completed")
    if handset.last is not None and world.fault("call: after the end", 0.1):
        await handset.keys(handset.last, f"1{text.code}")


async def call_ends(history: History) -> None:
    """The carrier reports at last how a call ended, and may be wrong about it."""
    world = history.world
    if world.unreported:
        text = world.unreported.pop(history.rng.randrange(len(world.unreported)))
        await _reports(history, text, history.rng.choice(["completed", "completed", "busy", "canceled"]))


async def _picked_up(history: History, handset: Handset) -> None:
    world, text = history.world, handset.text
    if world.fault("call: a machine", 0.08):
        world.said[f"UNDELIVERED {text.tenant} {text.index}"] += 1
        await handset.asks(handset.first, AnsweredBy=history.rng.choice(["machine_start", "machine_end_beep", "fax"]))
        handset.model.need(not handset.said, None, f"law 3: a machine is told something: {handset.said[:60]}")
        return
    person = "human"
    if world.fault("call: nobody knows who", 0.2):
        await handset.asks(handset.first, AnsweredBy="unknown")
        handset.model.need("incident:" not in handset.said.lower(), None, "law 3: it is told before a key was pressed")
        if handset.action is None or world.fault("call: silence", 0.2):
            handset.action = None
            return
        person = ""
    # What is said from here on is heard by somebody.
    world.said[f"DELIVERED {text.tenant} {text.index}"] += 1
    if person:
        await handset.asks(handset.first, AnsweredBy=person)
    else:
        await handset.asks(handset.action or handset.first, Digits=history.rng.choice("0159"))


async def _answers(history: History, handset: Handset, path: str, *, lost: bool) -> bool:
    """Somebody listens, and keys something in or does not; whether the call goes on. lost: they key in nonsense."""
    world, rng, text = history.world, history.rng, handset.text
    await _meanwhile(history)
    if not lost and world.fault("call: hung up", 0.06):
        return False
    if not lost and world.fault("call: silence", 0.1):
        if handset.again is not None:
            await handset.asks(handset.again)
        return handset.again is not None and handset.action is not None
    if world.fault("call: after the close", 0.05):
        await history.passes(GIVEN_UP_SECONDS)
        await history.rest()
    digits = f"{rng.choice('11123')}{text.code}"
    if world.fault("call: wrong digits", 0.12):
        digits = f"1{rng.randrange(10**6):06d}"
    elif lost or world.fault("call: no digits of ours", 0.08):
        digits = rng.choice(["9123456", "1", "1*34#67", f"7{text.code}", ""])
    await handset.keys(path, digits, times=2 if world.fault("call: step twice", 0.1) else 1)
    action, again = handset.action, handset.again
    if world.fault("call: step changed", 0.08):
        await handset.keys(path, f"1{text.code}")
        handset.action, handset.again = action, again
    return True


async def _meanwhile(history: History) -> None:
    """While somebody listens, time passes, and others decide."""
    what = history.rng.randrange(10)
    if what < 3:
        await history.passes(history.rng.choice([2, 8, 12]))
        await history.rest()
    elif what == 3:
        await happenings.tap(history)
    elif what == 4:
        await happenings.heals(history)
        await history.rest()


async def _impostors(history: History, handset: Handset) -> None:
    """Whoever pretends to be a call of ours, or asks for another's."""
    world = history.world
    if world.fault("call: wrong signature", 0.06):
        await handset.asks(handset.first, signed=False, AnsweredBy="human")
        handset.model.need(handset.status == 403, None, "law 3: a call that nobody signed is answered")
    if world.fault("call: to another number", 0.06):
        await handset.asks(handset.first, AnsweredBy="human", To="+263779999999")
        handset.model.need(handset.status != 200 or NOBODY in handset.said, None, "law 3: told to another number")
    messages = [text for text in world.texts if text.channel == "whatsapp"]
    if messages and world.fault("call: of a message", 0.06):
        text = history.rng.choice(messages)
        await handset.asks(f"/twilio/voice?m={text.tenant}-{text.index}", AnsweredBy="human")
        handset.model.need(handset.status != 200 or NOBODY in handset.said, None, "law 3: a message is told by phone")
    handset.action = None


async def _ends(history: History, text: Text, status: str) -> None:
    world = history.world
    if world.fault("call: result late", 0.2):
        world.unreported.append(text)
        return
    for _ in range(2 if world.fault("call: result twice", 0.15) else 1):
        await _reports(history, text, status)


async def _reports(history: History, text: Text, status: str) -> None:
    history.world.said[f"UNDELIVERED {text.tenant} {text.index}"] += 1
    form = {"CallSid": text.sid, "AccountSid": ACCOUNT, "CallStatus": status}
    await history.during(history.doors.twilio(f"/twilio/status?m={text.tenant}-{text.index}", form))
