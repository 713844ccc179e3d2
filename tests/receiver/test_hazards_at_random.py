"""Every hazard at random, one after the other and two at once, against a model that knows nothing of the governor.

What must hold whatever happens: nothing runs without the full quorum of distinct, permitted, enrolled people; nothing
runs twice; and no decision is lost. COUNTERFOIL_HAZARDS=5000 takes so many steps; some hundred by default.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger.entry import Entry, parse_time
from receiver.authorization import codes
from receiver.demo.phone import Message
from receiver.execution.webhook import Webhooks
from receiver.governor import judging
from receiver.governor.answering import heed
from receiver.incident.enrolled import Enrolled
from tests.receiver.hazardous import PEOPLE, STRANGER, TENANT, TWILIO_TOKEN, Place

STEPS = 40  # of one history
REACHED: Counter[str] = Counter()  # what the histories of a run have met
HISTORIES = max(1, int(os.environ.get("COUNTERFOIL_HAZARDS", "120")) // STEPS)
HOSTS = ("h0", "h1")
APPROVERS = {name for name, role in PEOPLE.items() if role in ("oncall", "leads")}
MUST_REACH = (
    *("APPROVED", "DECLINED", "DISPATCHED", "EXPIRED", "WITHDRAWN", "HALTED", "RESUMED"),
    *("not the recipient", "another message", "another identity", "unknown sender", "suspended", "wrong code"),
    *("already withdrawn", "already expired", "already approved", "already rejected", "you have approved this already"),
    *("whoever halted cannot resume", "nothing is halted"),
)
names, hosts = st.sampled_from(sorted(PEOPLE)), st.sampled_from(HOSTS)
places = st.integers(0, 1_000)  # which of the messages so far, from the newest
SELDOM = st.sampled_from([False, False, True])
SOONER = st.sampled_from([37.0, 181.0, 433.0])  # no sum of them comes near to the ten minutes of a question


@dataclass
class Question:
    """What the model knows of a PROPOSED. must: approvals that count for certain; may: those that might."""

    entry: Entry
    host: str
    version: int
    requested: bool
    must: set[str] = field(default_factory=set)
    may: set[str] = field(default_factory=set)
    declined: set[str] = field(default_factory=set)
    ended: bool = False
    owed: bool = False  # the quorum was there, nothing stood in the way, and so it must have run

    @property
    def approvers(self) -> list[str]:
        return list(self.entry.body["approvers"])

    @property
    def expires_at(self) -> datetime:
        return parse_time(self.entry.body["expires_at"])


@dataclass(frozen=True)
class Sent:
    person: str
    message: Message
    question: int


class Hazards(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Place(Path(self.folder.name) / "here", driven=True)
        self.stack = AsyncExitStack()
        self.questions: dict[int, Question] = {}
        self.sent: list[Sent] = []
        self.seen: set[str] = set()
        self.suspended: set[str] = set()
        self.identities: dict[str, str] = {}
        self.firing: set[str] = set()
        self.halters: list[str] = []
        self.wrong: dict[str, int] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(work)

    @initialize(quorum=st.sampled_from([1, 2, 2]))
    def begin(self, quorum: int) -> None:
        self.quorum = quorum
        self.run(self.stack.enter_async_context(self.place.open(quorum=quorum)))
        self.fires("h0")

    def teardown(self) -> None:
        if hasattr(self, "quorum"):
            self.run(self.reached())
        self.run(self.stack.aclose())
        self.run(turns())  # a connection that was closed ends in the loop's next turn
        self.loop.close()
        self.folder.cleanup()

    async def reached(self) -> None:
        for stage in ("APPROVED", "DECLINED", "DISPATCHED", "EXPIRED", "WITHDRAWN", "HALTED", "RESUMED"):
            REACHED[stage] += len(await self.place.entries(stage))
        for entry in await self.place.entries("REFUSED"):
            REACHED[entry.body["why"].partition(" by ")[0]] += 1

    # --- the model --------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the service come to rest, then look at what it asks of whom."""
        await self.place.rest()
        for entry in await self.place.entries("PROPOSED"):
            if entry.index not in self.questions:
                by_hand = str(entry.body.get("requested_by", ""))
                host = str(entry.body["params"]["host"])
                self.questions[entry.index] = Question(entry, host, self.place.version, bool(by_hand))
                assert set(entry.body["approvers"]) <= APPROVERS - self.suspended - {by_hand}, "who may not is asked"
        for message in list(self.place.network.messages.values()):
            if message.sid not in self.seen and message.buttons and not message.inbound:
                self.seen.add(message.sid)
                index = int(message.buttons[0].payload.partition(".")[2].partition("-")[0])
                addressed = await self.place.service.journal.get(TENANT, index)
                assert addressed is not None
                self.sent.append(Sent(addressed.body["person"], message, addressed.cites[0]))
        for stage in ("REJECTED", "EXPIRED", "WITHDRAWN", "AUTHORIZED"):
            for entry in await self.place.entries(stage):
                self.questions[entry.settles or 0].ended = True
        for question in self.questions.values():
            enough = len(question.must - self.suspended) >= self.quorum and not question.declined
            if enough and not self.halters and not question.ended:
                raise AssertionError(f"question {question.entry.index} has its quorum, and nothing came of it")

    def open(self, question: Question) -> bool:
        return (
            not question.ended
            and not question.declined
            and question.version == self.place.version
            and self.place.clock.now() < question.expires_at
            and not self.suspended & set(question.approvers)
            and (question.requested or question.host in self.firing)
        )

    def answers(self, person: str, sent: Sent, verb: str, *, identity: bool = True, other: bool = False) -> None:
        """The model judges an answer, before the service does."""
        question = self.questions[sent.question]
        if not identity and person in self.identities and person not in self.suspended:
            self.suspended.add(person)
            return
        good = person == sent.person and person not in self.suspended and not other and self.open(question)
        if not good or person in question.must | question.may:
            return
        if verb == "Reject":
            question.declined.add(person)
        elif verb == "Approve":
            (question.may if question.requested else question.must).add(person)
            enough = len(question.must) >= self.quorum
            question.owed = question.owed or (enough and not self.halters)

    def pick(self, which: int) -> Sent:
        assume(self.sent)
        return self.sent[-1 - which % len(self.sent)]

    # --- what happens ------------------------------------------------------------------------------------------------

    @rule(host=hosts)
    def fires(self, host: str) -> None:
        self.firing.add(host)
        self.run(self.then(self.place.fire(host)))

    @rule(host=hosts, now=SELDOM)
    def ends(self, host: str, now: bool) -> None:
        if not now:
            return
        self.firing.discard(host)
        self.run(self.then(self.place.fire(host, firing=False)))

    async def then(self, *work: Awaitable[Any]) -> None:
        await asyncio.gather(*work)
        await self.settle()

    @rule(who=names, which=places, verb=st.sampled_from(["Approve", "Approve", "Approve", "Reject", "On it"]))
    def taps(self, who: str, which: int, verb: str) -> None:
        sent = self.pick(which)
        self.answers(who, sent, verb)
        self.run(self.then(self.place.post(self.place.tap(who, sent.message, verb))))

    @rule(which=places, verb=st.sampled_from(["Approve", "Approve", "Approve", "Reject"]))
    def taps_their_own(self, which: int, verb: str) -> None:
        sent = self.pick(which)
        self.answers(sent.person, sent, verb)
        self.run(self.then(self.place.post(self.place.tap(sent.person, sent.message, verb))))

    @rule(host=hosts, verb=st.sampled_from(["Approve", "Approve", "Approve", "Reject"]))
    def everybody_answers(self, host: str, verb: str) -> None:
        newest = max((index for index, question in self.questions.items() if question.host == host), default=None)
        for sent in [sent for sent in self.sent if sent.question == newest]:
            self.answers(sent.person, sent, verb)
            self.run(self.then(self.place.post(self.place.tap(sent.person, sent.message, verb))))

    @rule(which=places, another=places)
    def answers_one_message_with_the_button_of_another(self, which: int, another: int) -> None:
        sent, other = self.pick(which), self.pick(another)
        self.answers(sent.person, sent, "Approve", other=other.message.sid != sent.message.sid)
        form = self.place.tap(sent.person, sent.message, OriginalRepliedMessageSid=other.message.sid)
        self.run(self.then(self.place.post(form)))

    @rule(which=places, identity=st.sampled_from(["", "whatsapp:US.another"]))
    def taps_under_another_identity(self, which: int, identity: str) -> None:
        sent = self.pick(which)
        self.answers(sent.person, sent, "Approve", identity=not identity)
        form = self.place.tap(sent.person, sent.message, ExternalUserId=identity)
        self.run(self.then(self.place.post({name: value for name, value in form.items() if value})))

    @rule(which=places)
    def a_sim_is_swapped(self, which: int) -> None:
        sent = self.pick(which)
        self.enrols(sent.person)
        self.answers(sent.person, sent, "Approve", identity=False)
        form = self.place.tap(sent.person, sent.message, ExternalUserId="whatsapp:US.another")
        self.run(self.then(self.place.post(form)))

    @rule(which=places)
    def a_stranger_taps(self, which: int) -> None:
        self.run(self.then(self.place.post(self.place.tap(STRANGER, self.pick(which).message))))

    @rule(which=places, who=names)
    def types_a_code(self, which: int, who: str) -> None:
        sent = self.pick(which)
        fits = who == sent.person
        assume(self.wrong.get(who, 0) < 4 and (who not in self.suspended))
        if fits:
            self.answers(who, sent, "Approve")
        else:
            self.wrong[who] = self.wrong.get(who, 0) + 1
        code = codes.code(self.place.service.loaded.secret, TENANT, sent.question, sent.person)
        self.run(self.then(self.place.say(who, f"A {code}")))

    @rule(who=names, text=st.sampled_from(["yes", "ok", "approve", "APPROVE!", "1", "a", "A", "go", "👍"]))
    def says_what_never_counts(self, who: str, text: str) -> None:
        self.run(self.then(self.place.say(who, text)))

    @rule(which=places, body=st.sampled_from(["", "Approve!"]))
    def a_captured_request_again(self, which: int, body: str) -> None:
        assume(self.place.took)
        form = self.place.took[-1 - which % len(self.place.took)]
        self.run(self.then(self.place.post(form | ({"Body": body} if body else {}))))

    @rule(which=places)
    def a_forged_signature(self, which: int) -> None:
        sent = self.pick(which)
        form = self.place.tap(sent.person, sent.message)
        self.run(self.then(self.place.post(form, token=TWILIO_TOKEN[:-1] + "0")))
        self.place.took.pop()  # it never came from the carrier, so it is nothing that could be captured

    @rule(first=places, second=places, verbs=st.sampled_from([("Approve", "Approve"), ("Approve", "Reject")]))
    def two_at_once(self, first: int, second: int, verbs: tuple[str, str]) -> None:
        taps = [(self.pick(first), verbs[0]), (self.pick(second), verbs[1])]
        forms = [self.place.tap(sent.person, sent.message, verb) for sent, verb in taps]

        async def both() -> None:
            await asyncio.gather(*(self.place.post(form) for form in forms))
            heard = {e.id: e.index for e in await self.place.entries("HEARD")}
            order = sorted(range(2), key=lambda at: heard[f"heard:{forms[at]['MessageSid']}"])
            for at in order:
                self.answers(taps[at][0].person, taps[at][0], taps[at][1])
            await self.settle()

        self.run(both())

    @rule(who=names, now=SELDOM)
    def halts(self, who: str, now: bool) -> None:
        if not now:
            return
        if who not in self.suspended:
            self.halters.append(who)
        self.run(self.then(self.place.say(who, "HALT")))
        self.run(self.then(self.place.say(who, "RESUME")))  # their own stands; they may end those of others
        if who not in self.suspended:
            self.halters = [name for name in self.halters if name == who]

    @rule(who=names)
    def resumes(self, who: str) -> None:
        if who not in self.suspended:
            self.halters = [name for name in self.halters if name == who]
        self.run(self.then(self.place.say(who, "resume")))
        self.place.later(3)
        self.run(self.settle())

    @rule(who=names, now=SELDOM)
    def is_suspended(self, who: str, now: bool) -> None:
        if not now:
            return
        self.suspended.add(who)
        path = f"/api/v1/people/{who}/suspensions"
        self.run(self.then(self.place.admin(path, by="operator", reason="gone")))

    @rule(who=names)
    def enrols(self, who: str) -> None:
        async def joins() -> None:
            said = await self.place.admin(f"/api/v1/people/{who}/enrolments", by="operator")
            form = self.place.form(who, str(said["text"]))
            await self.place.post(form)
            self.identities[who] = form["ExternalUserId"]
            self.suspended.discard(who)
            await self.settle()

        self.run(joins())

    @rule(now=SELDOM)
    def another_policy(self, now: bool) -> None:
        if not now:
            return

        async def comes() -> None:
            await self.place.another_policy()
            await self.settle()

        self.run(comes())

    @rule(seconds=SOONER)
    def time_passes(self, seconds: float) -> None:
        self.place.later(seconds)
        if self.place.clock.ahead.total_seconds() > 3600:
            self.wrong.clear()
        self.run(self.settle())

    @rule(who=names, host=hosts)
    def asks_by_hand(self, who: str, host: str) -> None:
        self.run(self.then(self.place.say(who, f"RUN mend host={host}")))

    @precondition(lambda self: self.sent)
    @rule(which=places)
    def a_link_is_looked_at(self, which: int) -> None:
        async def get() -> None:
            token = self.pick(which).message.buttons[0].payload.partition(".")[2]
            for path in ("/twilio/message", f"/q/{token}"):
                async with self.place.session.get(self.place.service.public_url + path) as answer:
                    await answer.read()
            await self.settle()

        self.run(get())

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_runs_that_was_not_approved_and_nothing_twice_and_no_decision_is_lost(self) -> None:
        if hasattr(self, "quorum"):
            self.run(self.check())

    async def check(self) -> None:
        assert all(times == 1 for times in self.place.ran.values()), "something ran twice"
        dispatched: dict[int, str] = {}
        for entry in await self.place.entries("DISPATCHED"):
            dispatched[entry.cites[0]] = entry.body["webhook_id"]
        assert set(self.place.ran) <= set(dispatched.values()), "something ran that stands nowhere"
        for index, webhook_id in dispatched.items():
            question = self.questions[index]
            assert len(question.must | question.may) >= self.quorum, f"{index} ran without its quorum"
            assert not question.declined, f"{index} ran, and somebody had declined"
            assert webhook_id in self.place.ran
        counted = {(e.cites[0], e.actor.removeprefix("engineer:")) for e in await self.place.entries("APPROVED")}
        certain = {(index, who) for index, question in self.questions.items() for who in question.must}
        possible = {(index, who) for index, question in self.questions.items() for who in question.may}
        assert certain <= counted, f"lost: {certain - counted}"
        assert counted <= certain | possible, f"counted, and should not: {counted - certain - possible}"
        said_no = {(e.cites[0], e.actor.removeprefix("engineer:")) for e in await self.place.entries("DECLINED")}
        must = {(i, who) for i, q in self.questions.items() for who in q.declined}
        assert {pair for pair in must if not self.questions[pair[0]].requested} <= said_no <= must, "a no was lost"
        for question in self.questions.values():
            if question.owed and not question.declined:
                assert question.entry.index in dispatched, f"{question.entry.index} was approved, and never ran"
        halted = [e for e in await self.place.service.journal.outstanding(TENANT) if e.stage == "HALTED"]
        assert len(halted) == len(self.halters), "a halt was lost, or ended by who halted"


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def histories(number: int, **more: Any) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def test_every_hazard_at_random() -> None:
    REACHED.clear()
    run_state_machine_as_test(Hazards, settings=histories(HISTORIES))
    print(f"\n{HISTORIES} histories of {STEPS} steps: {dict(REACHED.most_common())}")
    if HISTORIES >= 100:
        assert [what for what in MUST_REACH if not REACHED[what]] == []


# --- the planted bugs -------------------------------------------------------------------------------------------------


def counts_anybodys_tap(patch: pytest.MonkeyPatch) -> None:
    real = judging._message_of

    def message_of(desk: Any, heard: Any, person: str) -> Any:
        message = real(desk, heard, person)
        return replace(message, person=person) if message is not None else None

    patch.setattr(judging, "_message_of", message_of)


def forgets_who_enrolled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Enrolled, "is_other", lambda self, person, external_id_hmac: False)


def runs_what_it_runs_twice(patch: pytest.MonkeyPatch) -> None:
    real = Webhooks.send

    async def send(self: Any, request: Any, **how: Any) -> Any:
        await real(self, request, **how)
        return await real(self, request, **how)

    patch.setattr(Webhooks, "send", send)


def loses_an_answer_by_code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judging, "locked", lambda desk, person: True)


def takes_a_no_for_nothing(patch: pytest.MonkeyPatch) -> None:
    async def decline(desk: Any, heard: Any, person: str, *given: Any) -> None:
        await heed(desk, heard, person, "no answer", None)

    patch.setattr(judging, "_decline", decline)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "runs what it runs twice": (runs_what_it_runs_twice, "something ran twice"),
    "counts anybody's tap": (counts_anybodys_tap, "counted, and should not"),
    "forgets who enrolled": (forgets_who_enrolled, "counted, and should not|who may not is asked"),
    "loses an answer by code": (loses_an_answer_by_code, "lost"),
    "takes a no for nothing": (takes_a_no_for_nothing, "a no was lost|counted, and should not"),
}
WHOLE = "COUNTERFOIL_HAZARDS" in os.environ


@pytest.mark.parametrize("name", list(PLANTED) if WHOLE else list(PLANTED)[:1])
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in a campaign; one by default."""
    plant, words = PLANTED[name]
    plant(monkeypatch)
    phases = [Phase.generate]  # it is to be found, and not to be made small
    with pytest.raises(AssertionError, match=words):
        run_state_machine_as_test(Hazards, settings=histories(60, phases=phases, database=None, derandomize=True))
