"""What answers are worth, by a model that knows nothing of the governor: only what people did, and when.

Where two clocks or two ways to read what happened could disagree, it says MAYBE, and holds the service to neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from ledger.entry import Entry, parse_time
from receiver.demo.phone import Message

MARGIN = timedelta(seconds=10)  # the model looks at the clock a moment before the service does
TRIES = 5
AN_HOUR, A_PIN_COMES_WITHIN = timedelta(hours=1), timedelta(minutes=5)


class Fit(IntEnum):
    NO = 0
    MAYBE = 1
    YES = 2


def before(now: datetime, limit: datetime) -> Fit:
    return Fit.YES if now < limit - MARGIN else Fit.NO if now > limit + MARGIN else Fit.MAYBE


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
    may_decline: set[str] = field(default_factory=set)
    ended: str = ""  # by which entry
    owed: bool = False  # the quorum was there, nothing stood in the way, and so it must have run

    @property
    def index(self) -> int:
        return self.entry.index

    @property
    def approvers(self) -> list[str]:
        return list(self.entry.body["approvers"])

    @property
    def expires_at(self) -> datetime:
        return parse_time(self.entry.body["expires_at"])


@dataclass(frozen=True)
class Asked:
    """What one delivery asks. delivery: the index of its ADDRESSED."""

    person: str
    question: int
    delivery: int


@dataclass(frozen=True)
class Sent(Asked):
    """A question on somebody's phone; several messages may be of one delivery."""

    message: Message


@dataclass
class Model:
    """pin: whether each approval takes the person's PIN."""

    quorum: int
    pin: bool
    version: int = 1
    questions: dict[int, Question] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    enrolled: set[str] = field(default_factory=set)  # whose identity is known, so that another one is noticed
    opted_out: set[str] = field(default_factory=set)
    firing: set[str] = field(default_factory=set)
    halters: list[str] = field(default_factory=list)
    wrong_codes: dict[str, list[tuple[datetime, Fit]]] = field(default_factory=dict)
    wrong_pins: dict[str, list[Fit]] = field(default_factory=dict)
    pins_wanted: dict[str, list[tuple[int, datetime, Fit]]] = field(default_factory=dict)

    # --- what stands -------------------------------------------------------------------------------------------------

    def fit(self, question: Question, now: datetime) -> Fit:
        """Whether an answer to it can count now."""
        return Fit.NO if question.ended else self.stands(question, now)

    def stands(self, question: Question, now: datetime) -> Fit:
        """Whether what it asks is still wanted, whatever was answered but a no."""
        if question.declined or self.overtaken(question):
            return Fit.NO
        doubtful = question.requested or question.may_decline
        return min(before(now, question.expires_at), Fit.MAYBE if doubtful else Fit.YES)

    def overtaken(self, question: Question) -> bool:
        return (
            question.version != self.version
            or bool(self.suspended & set(question.approvers))
            or not (question.requested or question.host in self.firing)
        )

    def may_decide(self, asked: Asked, now: datetime) -> bool:
        """Whether this person may answer by a code for certain."""
        question = self.questions[asked.question]
        return (
            self.fit(question, now) is Fit.YES
            and asked.person not in self.suspended | question.must | question.may
            and self.codes_count(asked.person, now) is Fit.YES
        )

    def open(self, now: datetime) -> list[Question]:
        return [question for question in self.questions.values() if self.fit(question, now)]

    def codes_count(self, person: str, now: datetime) -> Fit:
        """Whether the codes of `person` are looked at now, after so many wrong ones."""
        ages = [min(before(now, at + AN_HOUR), fit) for at, fit in self.wrong_codes.get(person, ())]
        return _tries(ages)

    def pins_count(self, person: str) -> Fit:
        return _tries(self.wrong_pins.get(person, ()))

    def why_ended(self, question: Question, stage: str, now: datetime) -> bool:
        """Whether there is a reason for `stage` to have ended it."""
        if stage == "REJECTED":
            return bool(question.declined | question.may_decline)
        if stage == "AUTHORIZED":
            return len(question.must | question.may) >= self.quorum and not question.declined
        if stage == "EXPIRED":
            return before(now, question.expires_at) is not Fit.YES
        late = stage == "VOIDED" and before(now, question.expires_at) is not Fit.YES
        return late or question.requested or self.overtaken(question)

    # --- what people do ----------------------------------------------------------------------------------------------

    def answers(
        self,
        person: str,
        asked: Asked,
        verb: str,
        now: datetime,
        *,
        identity: bool = True,
        fit: Fit = Fit.YES,
        pin: str | None = None,
    ) -> None:
        """An answer to what `asked` asks. identity: whether the carrier names the person as who enrolled. fit: whether
        it came in a way that counts. pin: "right" or "wrong", where one came with it."""
        if person in self.suspended:
            return
        if not identity and person in self.enrolled:
            self.suspended.add(person)
            return
        if person == asked.person:
            self._counts(person, self.questions[asked.question], verb, now, fit, pin)

    def _counts(self, person: str, question: Question, verb: str, now: datetime, fit: Fit, pin: str | None) -> None:
        fit = min(fit, self.fit(question, now))
        if fit is Fit.NO or person in question.must:
            return
        if verb == "Approve" and self.pin:
            if self._pin(person, question, now, Fit.MAYBE if person in question.may else fit, pin) is Fit.NO:
                return
            fit = min(fit, self.pins_count(person))
        if verb == "Reject":
            certain = fit is Fit.YES and person not in question.may
            (question.declined if certain else question.may_decline).add(person)
        elif verb == "Approve":
            (question.must if fit is Fit.YES else question.may).add(person)
            self.owes(question)

    def _pin(self, person: str, question: Question, now: datetime, fit: Fit, pin: str | None) -> Fit:
        """What is left of an approval that counts but for its PIN."""
        locked = self.pins_count(person)
        if locked is Fit.NO:
            return Fit.NO
        fit = min(fit, locked)
        waiting = self.pins_wanted.get(person, [])
        if pin is None:
            self.pins_wanted[person] = [*(waiting if fit is Fit.MAYBE else ()), (question.index, now, fit)]
            return Fit.NO
        if pin == "wrong":
            self.wrong_pins.setdefault(person, []).append(fit)
            return Fit.NO
        self.pins_wanted[person] = [(*wanted[:2], Fit.MAYBE) for wanted in waiting] if fit is Fit.MAYBE else []
        return fit

    def sends_a_pin(self, person: str, pin: str, now: datetime) -> None:
        """Digits alone: they are for what was tapped last, if it asked for them."""
        if person in self.suspended:
            return
        waiting = list(self.pins_wanted.get(person, ()))
        for index, at, fit in waiting:
            certain = Fit.MAYBE if len(waiting) > 1 else Fit.YES
            fits = min(before(now, at + A_PIN_COMES_WITHIN), fit, certain)
            if fits:
                self._counts(person, self.questions[index], "Approve", now, fits, pin)

    def sends_a_code(
        self, person: str, asked: Asked, verb: str, now: datetime, *, right: bool, pin: str | None = None
    ) -> None:
        """A code by whatever way, right for what `asked` asks or not."""
        if person in self.suspended:
            return
        counts = self.codes_count(person, now)
        if not right or counts is not Fit.YES:
            wrong = Fit.MAYBE if right and counts is Fit.MAYBE else Fit.YES
            self.wrong_codes.setdefault(person, []).append((now, wrong))
        if right:
            self.answers(person, asked, verb, now, fit=counts, pin=pin)

    def owes(self, question: Question) -> None:
        if len(question.must) >= self.quorum and not self.halters:
            question.owed = True

    def owes_after_a_halt(self, now: datetime) -> None:
        """What was approved meanwhile, and still is wanted."""
        for question in self.questions.values():
            if question.ended == "AUTHORIZED" and self.stands(question, now) is Fit.YES:
                self.owes(question)

    def halts(self, who: str) -> None:
        if who not in self.suspended:
            self.halters.append(who)

    def resumes(self, who: str) -> None:
        if who not in self.suspended:
            self.halters = [name for name in self.halters if name == who]

    def enrols(self, who: str) -> None:
        self.enrolled.add(who)
        self.suspended.discard(who)
        self.wrong_pins.pop(who, None)


def _tries(wrong: Iterable[Fit]) -> Fit:
    """Whether one more is looked at, after those that were wrong, some of them perhaps."""
    fits = list(wrong)
    if sum(fit is Fit.YES for fit in fits) >= TRIES:
        return Fit.NO
    return Fit.MAYBE if sum(fit is not Fit.NO for fit in fits) >= TRIES else Fit.YES
