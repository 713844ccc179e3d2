"""The rules of the campaign of hazards: what people, carriers and strangers do, in any order, over HTTP."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import tempfile
from collections import Counter
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.entry import Entry
from receiver.auditor.reading import Reader
from receiver.authorization import codes, pins
from receiver.demo.phone import Call, Message
from tests.receiver.hazardous import (
    CALLS,
    EXPIRES,
    NUMBERS,
    PEOPLE,
    PUBLIC,
    STRANGER,
    TENANT,
    TWILIO_TOKEN,
    Place,
    turns,
)
from tests.receiver.hazards_model import Asked, Fit, Model, Question, Sent

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no disk is tried here, and each post waits for one
REACHED: Counter[str] = Counter()  # what the histories of a run have met
STAGES = ("APPROVED", "DECLINED", "DISPATCHED", "EXPIRED", "WITHDRAWN", "HALTED", "RESUMED", "UNDELIVERED")
HOSTS, QUIET_HOST = ("h0", "h1", "h2"), "h3"  # of the last one there is no alert
APPROVERS = {name for name, role in PEOPLE.items() if role in ("oncall", "leads")}
PINS = {"right": "481516", "wrong": "481517"}
names, hosts = st.sampled_from(sorted(PEOPLE)), st.sampled_from(HOSTS)
approvers = st.sampled_from(sorted(APPROVERS))
places = st.integers(0, 1_000)  # which of the questions: three of four are open ones, as long as there are any
verbs = st.sampled_from(["Approve"] * 5 + ["Reject"])
given_pins = st.sampled_from(["right", "right", "wrong", ""])
SELDOM, PERHAPS = st.sampled_from([False, False, True]), st.booleans()
VERY_SELDOM = st.sampled_from([False] * 7 + [True])
SOONER = st.sampled_from([37.0, 181.0, 433.0])
CALLED_AFTER = 181.0
HALF_AN_HOUR = 1861.0  # and whoever let a question expire is asked again
AFTER = 20.0  # seconds
NEVER_COUNTS = ("yes", "ok", "approve", "APPROVE!", "1", "a", "A", "go", "👍", "status", "why")
KEYS = {"Approve": "1", "Reject": "2", "On it": "3"}
# What somebody does who has no phone of ours, and what somebody does who has.
OUTSIDE = (
    *("a_stranger_taps", "a_forged_signature", "a_captured_request_again", "a_step_of_a_call_again", "a_form_again"),
    *("a_link_is_looked_at", "taps_a_button_that_is_none"),
)
IN_HAND = ("taps_under_another_identity", "a_sim_is_swapped", "guesses")
_NAMED = re.compile(r"inc-[0-9a-f]+|\b(?:ada|ben|cyn|dan)\b|\b\d\b")


@functools.cache
def kept() -> str:
    return pins.hashed(PINS["right"])


def refusal(why: str) -> str:
    """A reason without the names that are in it."""
    return _NAMED.sub("…", why.partition(" by ")[0])


class Hazards(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.place = Place(Path(self.folder.name) / "here", driven=True)
        self.stack = AsyncExitStack()
        self.held = True  # nothing was found wrong so far
        self.model: Model | None = None
        self.sent: list[Sent] = []
        self.seen: set[str] = set()
        self.late: list[tuple[dict[str, str], Sent, str]] = []  # taps on their way
        self.forms: list[tuple[str, dict[str, str]]] = []  # of pages, each posted once
        self.told: Counter[str] = Counter()  # what was sent to whom, calls too
        self.began: dict[str, datetime] = {}  # since when each host is broken
        self.authorized: dict[int, Question] = {}  # by its AUTHORIZED
        self.dispatched: dict[int, str] = {}  # PROPOSED → webhook-id

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.held = False
        answer = self.loop.run(work)
        self.held = True
        return answer

    @property
    def known(self) -> Model:
        assert self.model is not None
        return self.model

    @initialize(quorum=st.sampled_from([1, 2, 2]), pin=SELDOM)
    def begin(self, quorum: int, pin: bool) -> None:
        REACHED["histories"] += 1
        self.model = Model(quorum, pin)
        secrets = self.place.folder / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "pin").write_text(kept() + "\n", encoding="utf-8")
        more, with_pin = (", pin: true", " ".join(APPROVERS)) if pin else ("", "")
        opened = self.place.open(quorum=quorum, more=more, pins=with_pin, calls=CALLS)
        self.run(self.stack.enter_async_context(opened))
        self.fires("h0")

    def teardown(self) -> None:
        held, found = self.held, []
        if self.model is not None:
            found = self.run(self.reached())
        self.run(self.stack.aclose())
        self.run(turns())  # a connection that was closed ends in the loop's next turn
        self.loop.close()
        self.folder.cleanup()
        assert not held or found == [], "the auditor finds what the model does not"

    async def reached(self) -> list[str]:
        """Count what this history met; and what an auditor finds in it beside messages that nobody confirmed."""
        for stage in STAGES:
            REACHED[stage] += len(await self.place.entries(stage))
        for entry in await self.place.entries("REFUSED"):
            REACHED[refusal(entry.body["why"])] += 1
        for entry in await self.place.entries("APPROVED"):
            heard = await self.place.service.journal.get(TENANT, entry.settles or 0)
            assert heard is not None
            REACHED[f"approved by {heard.body.get('via') or ('code' if heard.body['code'] else 'message')}"] += 1
        books = await Reader(self.place.service.journal).books(TENANT)
        return [f"{found.rule}: {found.detail}" for found in books.findings if found.rule != "unconfirmed"]

    # --- looking -----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the service come to rest, then look at what it asks of whom."""
        await self.place.rest()
        known, now = self.known, self.place.clock.now()
        for entry in await self.place.entries("PROPOSED"):
            if entry.index not in known.questions:
                by_hand = str(entry.body.get("requested_by", ""))
                host = str(entry.body["params"]["host"])
                known.questions[entry.index] = Question(entry, host, known.version, bool(by_hand))
                assert set(entry.body["approvers"]) <= APPROVERS - known.suspended - {by_hand}, "who may not is asked"
        for message in list(self.place.network.messages.values()):
            if message.sid not in self.seen and not message.inbound:
                await self.arrives(message)
        for call in list(self.place.network.calls.values()):
            if call.sid not in self.seen:
                self.seen.add(call.sid)
                self.told[call.number] += 1
        unwanted = [name for name in known.opted_out if self.told[number_of(name)]]
        assert unwanted == [], "who wants no message gets one"
        self.told.clear()
        await self.decisions(known)
        for stage in ("REJECTED", "EXPIRED", "WITHDRAWN", "AUTHORIZED"):
            for entry in await self.place.entries(stage):
                question = known.questions[entry.settles or 0]
                assert question.ended or known.why_ended(question, stage, now), f"{stage} without a reason"
                question.ended = question.ended or stage
                if stage == "AUTHORIZED":
                    self.authorized[entry.index] = question
        for entry in await self.place.entries("VOIDED"):
            question = self.authorized[entry.settles or 0]
            assert question.ended == "VOIDED" or known.why_ended(question, "VOIDED", now), "VOIDED without a reason"
            question.ended = "VOIDED"
        for entry in await self.place.entries("DISPATCHED"):
            if entry.cites[0] not in self.dispatched:
                self.dispatched[entry.cites[0]] = entry.body["webhook_id"]
                assert not known.halters, "it was dispatched while halted"
        for question in known.questions.values():
            enough = len(question.must - known.suspended) >= known.quorum
            if enough and not (question.declined | question.may_decline) and not known.halters and not question.ended:
                raise AssertionError(f"question {question.index} has its quorum, and nothing came of it")

    async def decisions(self, known: Model) -> set[tuple[int, str]]:
        """What counts is what must or may count; who said no to which question."""
        questions = known.questions
        counted = {pair(entry) for entry in await self.place.entries("APPROVED")}
        certain = {(index, who) for index, question in questions.items() for who in question.must}
        possible = {(index, who) for index, question in questions.items() for who in question.may}
        assert certain <= counted, f"lost: {certain - counted}"
        assert counted <= certain | possible, f"counted, and should not: {counted - certain - possible}"
        said_no = {pair(entry) for entry in await self.place.entries("DECLINED")}
        no = {(index, who) for index, question in questions.items() for who in question.declined}
        perhaps = {(index, who) for index, question in questions.items() for who in question.may_decline}
        assert no <= said_no <= no | perhaps, f"a no was lost, or made up: {no ^ said_no}"
        return said_no

    async def arrives(self, message: Message) -> None:
        self.seen.add(message.sid)
        self.told[message.recipient.removeprefix("whatsapp:")] += 1
        if not message.buttons:
            return
        index = int(message.buttons[0].payload.partition(".")[2].partition("-")[0])
        addressed = await self.place.service.journal.get(TENANT, index)
        assert addressed is not None
        self.sent.append(Sent(addressed.body["person"], addressed.cites[0], index, message))

    def pick(self, which: int) -> Sent:
        """Something that was asked. Where nothing is any more, something breaks first."""
        if which % 4 < 3 and not self.asked():
            if which % 3 < 2:
                self.order_is_restored()
            self.breaks_again(HOSTS[which % len(HOSTS)])
        found = (self.asked() if which % 4 < 3 else []) or self.sent
        return found[-1 - which // 4 % len(found)]

    def order_is_restored(self) -> None:
        """Whoever is suspended enrols again, and who has not halted resumes."""
        for who in sorted(self.known.suspended):
            self.enrols(who)
        while self.known.halters:
            self.resumes(next(name for name in PEOPLE if name != self.known.halters[0]))

    def asked(self) -> list[Sent]:
        """What is open, newest last."""
        indices = {question.index for question in self.known.open(self.place.clock.now())}
        return [sent for sent in self.sent if sent.question in indices]

    def answers(self, person: str, sent: Sent, verb: str, **how: Any) -> None:
        self.known.answers(person, sent, verb, self.place.clock.now(), **how)

    def code(self, sent: Sent) -> str:
        return codes.code(self.place.service.loaded.secret, TENANT, sent.question, sent.person)

    async def then(self, *work: Awaitable[Any]) -> None:
        await asyncio.gather(*work)
        await self.settle()

    async def taps_come(self, taps: Sequence[tuple[dict[str, str], Sent, str]], *, twice: bool = False) -> None:
        """All at once, each perhaps twice; the model judges them in the order in which the ledger has them."""
        times = 2 if twice else 1
        await asyncio.gather(*(self.place.post(form) for form, _, _ in taps for _ in range(times)))
        heard = {entry.id: entry.index for entry in await self.place.entries("HEARD")}
        for _, sent, verb in sorted(taps, key=lambda tap: heard[f"heard:{tap[0]['MessageSid']}"]):
            self.answers(sent.person, sent, verb)
        await self.settle()

    # --- the service that is watched ---------------------------------------------------------------------------------

    @rule(host=hosts)
    def fires(self, host: str) -> None:
        if host not in self.known.firing:
            self.known.firing.add(host)
            self.began[host] = self.place.clock.now()
        self.run(self.then(self.place.fire(host, since=self.began[host])))

    @rule(host=hosts, now=SELDOM)
    def ends(self, host: str, now: bool) -> None:
        if now:
            self.known.firing.discard(host)
            self.run(self.then(self.place.fire(host, firing=False)))

    @rule(host=hosts)
    def breaks_again(self, host: str) -> None:
        self.ends(host, now=True)
        self.fires(host)

    @rule(now=SELDOM, again=PERHAPS)
    def another_policy_or_process(self, now: bool, again: bool) -> None:
        if not now:
            return

        async def comes() -> None:
            if again:
                await self.place.restart()
            else:
                await self.place.another_policy()
                self.known.version += 1
            await self.settle()

        self.run(comes())

    # --- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=SOONER)
    def time_passes(self, seconds: float) -> None:
        self.place.later(seconds)
        self.run(self.settle())

    @rule(now=VERY_SELDOM)
    def half_an_hour_passes(self, now: bool) -> None:
        if now:
            self.time_passes(HALF_AN_HOUR)

    @rule(which=places, verb=verbs, heard_of=PERHAPS)
    def answers_too_late(self, which: int, verb: str, heard_of: bool) -> None:
        """Whoever answers may have heard that it expired, or may come before the service says so."""
        sent = self.pick(which)
        left = self.known.questions[sent.question].expires_at - self.place.clock.now()
        if left < -EXPIRES:
            return
        self.place.later(max(0.0, left.total_seconds()) + AFTER)
        if heard_of:
            self.run(self.settle())
        self.taps(sent, sent.person, verb)

    # --- attacks ---

    @rule(which=places, how=st.sampled_from(OUTSIDE))
    def somebody_attacks(self, which: int, how: str) -> None:
        getattr(self, how)(which)

    @rule(which=places, how=st.sampled_from(IN_HAND))
    def a_phone_is_in_other_hands(self, which: int, how: str) -> None:
        getattr(self, how)(which)

    # --- answers, right and wrong -------------------------------------------------------------------------------------

    def taps(self, sent: Sent, who: str, verb: str) -> None:
        self.answers(who, sent, verb)
        self.run(self.then(self.place.post(self.place.tap(who, sent.message, verb))))

    @rule(which=places, who=names, verb=st.sampled_from(["Approve"] * 4 + ["Reject", "On it"]))
    def anybody_taps(self, which: int, who: str, verb: str) -> None:
        self.taps(self.pick(which), who, verb)

    @rule(which=places, other=PERHAPS)
    def another_approver_taps(self, which: int, other: bool) -> None:
        """With the button of somebody else's message, which was forwarded."""
        sent = self.pick(which)
        self.taps(sent, sorted(APPROVERS - {sent.person})[other], "Approve")

    @rule(which=places, verb=verbs, way=st.sampled_from(["tap", "code", "page", "call"]), pin=given_pins)
    def decides(self, which: int, verb: str, way: str, pin: str) -> None:
        """Whoever was asked answers, in one of the ways that count."""
        sent = self.pick(which)
        if way == "call":
            self.picks_up(which, "human", verb, 1)
        else:
            self.decides_by(way, sent, verb, pin)

    def decides_by(self, way: str, sent: Sent, verb: str, pin: str) -> None:
        if way == "tap":
            self.taps(sent, sent.person, verb)
        elif way == "code":
            self.types(sent, sent.person, verb, pin)
        else:
            self.run(self.posts(sent, sent, verb, foreign=False))
        if self.known.pin and verb == "Approve" and pin:
            self.sends_their_pin(sent.person, pin)

    @rule(host=hosts, verb=verbs, way=st.sampled_from(["tap", "code", "page"]), pin=given_pins)
    def everybody_answers(self, host: str, verb: str, way: str, pin: str) -> None:
        """The newest question about `host`; where it has ended, it breaks again first."""
        if not any(question.host == host for question in self.known.open(self.place.clock.now())):
            self.breaks_again(host)
        newest = max((q.index for q in self.known.questions.values() if q.host == host), default=None)
        last = {sent.person: sent for sent in self.sent if sent.question == newest}
        for sent in last.values():
            self.decides_by(way, sent, verb, pin)

    @rule(which=places, another=places)
    def answers_one_message_with_the_button_of_another(self, which: int, another: int) -> None:
        sent, other = self.pick(which), self.pick(another)
        if other.delivery == sent.delivery:
            self.answers(sent.person, sent, "Approve")
        form = self.place.tap(sent.person, sent.message, OriginalRepliedMessageSid=other.message.sid)
        self.run(self.then(self.place.post(form)))

    def taps_a_button_that_is_none(self, which: int) -> None:
        sent = self.pick(which)
        payload = sent.message.button("Approve").payload
        form = self.place.tap(
            sent.person, sent.message, ButtonPayload=payload[:-1] + ("3" if payload[-1] == "2" else "2")
        )
        self.run(self.then(self.place.post(form)))

    def taps_under_another_identity(self, which: int) -> None:
        self.taps_as(self.pick(which), "whatsapp:US.another" if which % 2 else "")

    def a_sim_is_swapped(self, which: int) -> None:
        sent = self.pick(which)
        self.enrols(sent.person)
        self.taps_as(sent, "whatsapp:US.another")

    def taps_as(self, sent: Sent, identity: str) -> None:
        self.answers(sent.person, sent, "Approve", identity=not identity)
        form = self.place.tap(sent.person, sent.message, ExternalUserId=identity)
        self.run(self.then(self.place.post({name: value for name, value in form.items() if value})))

    def a_stranger_taps(self, which: int) -> None:
        self.run(self.then(self.place.post(self.place.tap(STRANGER, self.pick(which).message))))

    @rule(which=places, who=names, verb=verbs, pin=given_pins)
    def anybody_types_a_code(self, which: int, who: str, verb: str, pin: str) -> None:
        self.types(self.pick(which), who, verb, pin)

    @rule(which=places, now=SELDOM)
    def somebody_guesses(self, which: int, now: bool) -> None:
        if now:
            self.guesses(which)

    def guesses(self, which: int) -> None:
        """A PIN where there is one, a code otherwise."""
        if self.known.pin and which % 2 == 0:
            self.guesses_a_pin(which)
        else:
            self.guesses_codes(which)

    def guesses_codes(self, which: int) -> None:
        """And then has the right one, and tries it on the page, too."""
        sent = self.pick(which)
        for guess in ("AAAA", "CCCC", "DDDD", "EEEE", "FFFF"):
            self.known.sends_a_code(sent.person, sent, "Approve", self.place.clock.now(), right=False)
            self.run(self.place.say(sent.person, f"A {guess}"))
        self.types(sent, sent.person, "Approve", "right")
        self.run(self.posts(sent, sent, "Approve", foreign=False))

    def types(self, sent: Sent, who: str, verb: str, pin: str = "") -> None:
        given = pin if pin and self.known.pin and verb == "Approve" else None
        self.known.sends_a_code(who, sent, verb, self.place.clock.now(), right=who == sent.person, pin=given)
        digits = f" {PINS[given]}" if given else ""
        self.run(self.then(self.place.say(who, f"{verb[0]} {self.code(sent)}{digits}")))

    @precondition(lambda self: self.model is not None and self.model.pin)
    @rule(who=approvers, pin=st.sampled_from(["right", "right", "wrong"]))
    def sends_their_pin(self, who: str, pin: str) -> None:
        self.known.sends_a_pin(who, pin, self.place.clock.now())
        self.run(self.then(self.place.say(who, PINS[pin])))

    def guesses_a_pin(self, which: int) -> None:
        """Whoever has the phone, and whose it is comes after them."""
        sent = self.pick(which)
        for _ in range(5):
            self.types(sent, sent.person, "Approve", "wrong")
        self.types(sent, sent.person, "Approve", "right")

    @rule(which=places, who=names, text=st.sampled_from(["DETAIL", *NEVER_COUNTS]))
    def says_what_never_counts(self, which: int, who: str, text: str) -> None:
        if text == "DETAIL":
            self.asks_for_it_again(which)
        else:
            self.run(self.then(self.place.say(who, text)))

    def asks_for_it_again(self, which: int) -> None:
        """DETAIL sends the question once more: two messages that ask one thing."""
        sent = self.pick(which)
        incident = self.known.questions[sent.question].entry.incident_id
        self.run(self.then(self.place.say(sent.person, f"DETAIL {incident}")))

    # --- delays, repetitions, forgeries ------------------------------------------------------------------------------

    @rule(first=places, second=places, others=st.sampled_from([("Approve", "Approve"), ("Approve", "Reject")]))
    def two_at_once(self, first: int, second: int, others: tuple[str, str]) -> None:
        taps = [(self.pick(first), others[0]), (self.pick(second), others[1])]
        forms = [(self.place.tap(sent.person, sent.message, verb), sent, verb) for sent, verb in taps]
        self.run(self.taps_come(forms))

    @rule(which=places, verb=verbs)
    def taps_without_a_signal(self, which: int, verb: str) -> None:
        sent = self.pick(which)
        self.late.append((self.place.tap(sent.person, sent.message, verb), sent, verb))

    @precondition(lambda self: self.late)
    @rule(twice=PERHAPS)
    def what_was_late_comes(self, twice: bool) -> None:
        late, self.late = self.late, []
        self.run(self.taps_come(late, twice=twice))

    def a_captured_request_again(self, which: int) -> None:
        if not self.place.took:
            return
        form = self.place.took[-1 - which // 2 % len(self.place.took)]
        self.run(self.then(self.place.post(form | ({"Body": "Approve!"} if which % 2 else {}))))

    def a_forged_signature(self, which: int) -> None:
        sent = self.pick(which)
        form = self.place.tap(sent.person, sent.message)
        self.run(self.then(self.place.post(form, token=TWILIO_TOKEN[:-1] + "0")))
        self.place.took.pop()  # it never came from the carrier, so it is nothing that could be captured

    @rule(repeats=PERHAPS, backwards=PERHAPS, fault=st.sampled_from(["", "", "lost", "drop", "garbage"]))
    def the_carrier_stumbles(self, repeats: bool, backwards: bool, fault: str) -> None:
        """It reports twice, or in the wrong order; or what is sent next is lost, or taken without a word."""
        faults = self.place.network.faults
        faults.duplicate_webhooks, faults.reversed_statuses = repeats, backwards
        if fault and not faults.next_requests:
            faults.next(fault)

    # --- pages -------------------------------------------------------------------------------------------------------

    def a_link_is_looked_at(self, which: int) -> None:
        sent = self.pick(which)

        async def get() -> None:
            token = sent.message.buttons[0].payload.partition(".")[2]
            size = await self.place.service.journal.size(TENANT)
            query = f"?verb=approve&code={self.code(sent)}"
            for path in ("/twilio/message", "/twilio/voice", f"/q/{token}", page_of(sent), page_of(sent) + query):
                await self.place.get(path)
            assert await self.place.service.journal.size(TENANT) == size, "somebody looked, and it changed something"

        self.run(get())

    @rule(which=places, whose=places, verb=st.sampled_from([*KEYS, "Approve"]), foreign=SELDOM)
    def decides_on_a_page(self, which: int, whose: int, verb: str, foreign: bool) -> None:
        """With the code of the message that led there, or with another one."""
        sent = self.pick(which)
        other = self.pick(whose) if whose % 3 == 0 else sent
        self.run(self.posts(sent, other, verb, foreign=foreign))

    async def posts(self, sent: Sent, other: Sent, verb: str, *, foreign: bool) -> None:
        path, right = page_of(sent), (other.person, other.question) == (sent.person, sent.question)
        _, text = await self.place.get(path)
        found, now = re.search(r'name="form" value="([^"]+)"', text), self.place.clock.now()
        assert found or not self.known.may_decide(sent, now), "a page gives no way to decide to who may"
        form = found[1] if found else "0" * 16 + "." + "0" * 32
        fields = {"verb": VERBS[verb], "code": self.code(other), "form": form}
        size = await self.place.service.journal.size(TENANT)
        origin = "https://elsewhere.example" if foreign else PUBLIC
        status, _ = await self.place.meanwhile(self.place.submit(path, fields, Origin=origin))
        REACHED[f"page {status}"] += 1
        booked = f"heard:web:{sent.delivery}:{form}" in {entry.id for entry in await self.place.entries("HEARD")}
        if foreign or not found:
            assert status != 200, "a page took what is no form of its own"
            assert await self.place.service.journal.size(TENANT) == size, "a page booked what is no form of its own"
        elif booked:
            self.forms.append((path, fields))
            self.known.sends_a_code(sent.person, sent, verb, now, right=right)
        else:
            assert not self.known.may_decide(sent, now), "a page took no answer of who may"
        await self.settle()

    def a_form_again(self, which: int) -> None:
        if not self.forms:
            return
        path, fields = self.forms[-1 - which // 2 % len(self.forms)]
        more = {"verb": "approve"} if which % 2 else {}

        async def again() -> None:
            size = await self.place.service.journal.size(TENANT)
            status, _ = await self.place.meanwhile(self.place.submit(path, fields | more))
            REACHED[f"page {status}"] += 1
            assert await self.place.service.journal.size(TENANT) == size, "a form counted twice"

        self.run(again())

    # --- calls -------------------------------------------------------------------------------------------------------

    def ringing(self) -> list[Call]:
        return [call for call in self.place.network.calls.values() if call.status == "ringing"]

    @rule(
        which=places,
        by=st.sampled_from(["human", "human", "human", "unknown", "machine_start"]),
        keys=st.sampled_from([*KEYS, "Approve"]),
        whose=places,
    )
    def picks_up(self, which: int, by: str, keys: str, whose: int) -> None:
        """And keys in the code that is read out; or another one that is theirs or somebody else's."""
        other = self.pick(whose) if whose % 3 == 0 else None
        if not self.ringing() and self.asked():
            self.time_passes(CALLED_AFTER)
        if calls := self.ringing():
            self.run(self.talks(calls[which % len(calls)], by, keys, other))

    async def talks(self, call: Call, by: str, keys: str, other: Sent | None) -> None:
        meanwhile, index = self.place.meanwhile, int(call.fields["Url"].rpartition("-")[2])
        addressed = await self.place.service.journal.get(TENANT, index)
        assert addressed is not None
        await meanwhile(call.answer(by))
        if call.wants is not None and call.wants.digits == 1:
            await meanwhile(call.press("5"))
        REACHED[f"call {'asks' if call.wants else 'says'}"] += 1
        if call.wants is not None:
            mine = Asked(addressed.body["person"], addressed.cites[0], index)
            keyed: Asked = other or mine
            secret, now = self.place.service.loaded.secret, self.place.clock.now()
            digits = codes.digits(secret, TENANT, keyed.question, keyed.person)
            right = (keyed.person, keyed.question) == (mine.person, mine.question)
            await meanwhile(call.press(KEYS[keys] + digits))
            self.known.sends_a_code(mine.person, mine, keys, now, right=right)
        assert call.error == ""
        await call.end()
        await self.settle()

    @precondition(lambda self: self.model is not None and self.ringing())
    @rule(how=st.sampled_from(["busy", "no-answer", "failed"]))
    def nobody_picks_up(self, how: str) -> None:
        self.run(self.then(self.ringing()[0].decline(how)))

    def a_step_of_a_call_again(self, which: int) -> None:
        """As it was, or with a key that approves in place of the one that was pressed."""
        steps = [c for c in self.place.network.webhook_calls if "Digits" in c.fields and len(c.fields["Digits"]) > 1]
        if not steps:
            return
        step = steps[-1 - which // 2 % len(steps)]
        digits = step.fields["Digits"]

        async def again() -> None:
            fields = dict(step.fields) | {"Digits": ("1" if which % 2 else digits[0]) + digits[1:]}
            await self.place.meanwhile(self.place.network.call(step.url, fields))
            await self.settle()

        self.run(again())

    # --- who may, and whether anything may ---------------------------------------------------------------------------

    @rule(who=names, now=SELDOM)
    def halts(self, who: str, now: bool) -> None:
        if not now:
            return
        self.known.halts(who)
        self.run(self.then(self.place.say(who, "HALT")))
        self.known.resumes(who)
        self.run(self.then(self.place.say(who, "RESUME")))  # their own stands; they may end those of others

    @rule(who=names)
    def resumes(self, who: str) -> None:
        self.known.resumes(who)
        self.run(self.then(self.place.say(who, "resume")))
        self.place.later(3)
        self.run(self.settle())
        self.known.owes_after_a_halt(self.place.clock.now())

    @rule(who=names, another=names, by_hand=SELDOM)
    def halts_until_another_resumes(self, who: str, another: str, by_hand: bool) -> None:
        self.halts(who, now=True)
        if by_hand:
            self.asks_by_hand(another, QUIET_HOST)
        self.anybody_taps(0, who, "Approve")
        self.resumes(another)

    @rule(who=names, another=approvers, now=SELDOM)
    def is_suspended(self, who: str, another: str, now: bool) -> None:
        """And is missed, where somebody asks for something at once; and taps what they were asked before."""
        if not now:
            return
        self.known.suspended.add(who)
        path = f"/api/v1/people/{who}/suspensions"
        self.run(self.then(self.place.admin(path, by="operator", reason="gone")))
        self.asks_by_hand(another, QUIET_HOST)
        if mine := [sent for sent in self.sent if sent.person == who]:
            self.taps(mine[-1], who, "Approve")

    async def enrolments(self, who: str) -> int:
        noted = [entry.body for entry in await self.place.entries("NOTED")]
        return sum((body.get("kind"), body.get("person")) == ("enrolled", who) for body in noted)

    @rule(who=names)
    def enrols(self, who: str) -> None:
        async def joins() -> None:
            looked_at, before = self.known.codes_count(who, self.place.clock.now()), await self.enrolments(who)
            said = await self.place.admin(f"/api/v1/people/{who}/enrolments", by="operator")
            await self.place.say(who, str(said["text"]))
            await self.place.rest()
            joined = await self.enrolments(who) > before
            assert looked_at is Fit.MAYBE or joined is (looked_at is Fit.YES), "a word counts where a code would"
            if joined:
                self.known.enrols(who)
            await self.settle()

        self.run(joins())

    @rule(who=names, now=SELDOM, word=st.sampled_from(["STOP", "Unsubscribe", "cancel.", "END"]), swallowed=PERHAPS)
    def wants_no_messages(self, who: str, now: bool, word: str, swallowed: bool) -> None:
        """The carrier passes the word on, or takes it for itself and refuses what is sent from then on."""
        if not now:
            return
        if swallowed:
            self.place.network.opted_out.add(NUMBERS[who])
            return
        self.run(self.place.say(who, word))
        if who not in self.known.suspended:
            self.known.opted_out.add(who)
        self.run(self.settle())

    @rule(who=names)
    def wants_messages_again(self, who: str) -> None:
        self.place.network.opted_out.discard(NUMBERS[who])
        if who not in self.known.suspended:
            self.known.opted_out.discard(who)
        self.run(self.then(self.place.say(who, "START")))

    @rule(who=names, host=st.sampled_from([QUIET_HOST, *HOSTS]))
    def asks_by_hand(self, who: str, host: str) -> None:
        self.run(self.then(self.place.say(who, f"RUN mend host={host}")))

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_runs_that_was_not_approved_and_nothing_twice_and_no_decision_is_lost(self) -> None:
        if self.model is not None:
            REACHED["steps"] += 1
            self.run(self.check(self.model))

    async def check(self, known: Model) -> None:
        assert all(times == 1 for times in self.place.ran.values()), "something ran twice"
        questions = known.questions
        said_no = await self.decisions(known)
        assert set(self.place.ran) <= set(self.dispatched.values()), "something ran that stands nowhere"
        for index, webhook_id in self.dispatched.items():
            question = questions[index]
            assert len(question.must | question.may) >= known.quorum, f"{index} ran without its quorum"
            assert index not in {about for about, _ in said_no}, f"{index} ran, and somebody had declined"
            assert webhook_id in self.place.ran, f"{index} was sent, and never came"
        for question in questions.values():
            if question.owed and not (question.declined | question.may_decline):
                assert question.index in self.dispatched, f"{question.index} was approved, and never ran"
        halted = [entry for entry in await self.place.service.journal.outstanding(TENANT) if entry.stage == "HALTED"]
        assert len(halted) == len(known.halters), "a halt was lost, or ended by who halted"


def number_of(name: str) -> str:
    return NUMBERS[name].removeprefix("whatsapp:")


VERBS = {"Approve": "approve", "Reject": "reject", "On it": "onit"}


def pair(entry: Entry) -> tuple[int, str]:
    """The question and who answered it."""
    return entry.cites[0], entry.actor.removeprefix("engineer:")


def page_of(sent: Sent) -> str:
    """The path of the page that a question leads to."""
    links = [word.removeprefix(PUBLIC) for word in sent.message.body.split() if word.startswith(f"{PUBLIC}/q/")]
    assert len(links) == 1, sent.message.body
    return links[0]
