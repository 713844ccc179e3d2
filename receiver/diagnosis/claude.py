"""AI explains: one question to Claude about one incident. Whatever happens, the answer is a value and comes in time.

What the SDK does was seen on anthropic 2.10 and 2.12: its timeout is for each read, its retries obey any `retry-after`,
a page of HTML comes back as a `str`, and unknown blocks look like text with None in it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from receiver.diagnosis import tool
from receiver.diagnosis.budget import (
    CHARACTERS_PER_TOKEN_MIN,
    DEFAULT_PRICES,
    Breaker,
    DailyBudget,
    Price,
    total,
    usage_of,
)
from receiver.diagnosis.budget import price_of as price_of_model
from receiver.diagnosis.dialogue import INPUT_TOKENS_MAX, ROUNDS_MAX, Dialogue, Limits, Wanted
from receiver.diagnosis.failures import Failure, read_failure
from receiver.diagnosis.prompt import evidence
from receiver.diagnosis.reading import STORED_CHARACTERS_MAX, read_reply, stop_reason, texts_of
from receiver.diagnosis.redaction import Redactor
from receiver.diagnosis.text import clean, storable
from receiver.papers import Answered, CaseFile, Diagnosis, NoDiagnosis, Usage

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

OFFICIAL_URL = "https://api.anthropic.com"
HEADERS = {"accept-encoding": "identity"}
RETRY_SECONDS = 1.0  # before the one retry, where the vendor names no time
ANSWER_SECONDS_MIN = 2.0  # with less than this left there is no use in asking again
QUERY_SECONDS_MIN = 12.0  # with less than this left nothing more is looked up
CHARACTERS_PER_TOKEN = 3  # to guess whether one more round fits in the tokens of a diagnosis
DETAIL_CHARACTERS_MAX = 300
# Outcomes in which the service gave no usable answer. What Claude itself declines or fails to found is none of them.
FAILURES = frozenset(
    {"timeout", "overloaded", "rate_limited", "spend_limit", "bad_answer", "unauthorized", "api_error", "unreachable"}
)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Course:
    """One question on its way: what is known of it when it ends, however it ends."""

    deadline: float  # of the event loop's clock
    prompt: str = ""
    answer: str = ""
    talk: Dialogue | None = None
    asked: bool = False  # a slot was free; before that, waiting for one is not the vendor's fault

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - asyncio.get_running_loop().time()


class Claude:
    """Implements Diagnostician. Create it anywhere; the SDK is imported when the first question is asked."""

    def __init__(
        self,
        *,
        api_key: str | None,
        model: str,
        base_url: str | None,
        daily_budget_usd: float,
        clock: Callable[[], datetime],
        secrets: Sequence[str] = (),
        prices: Mapping[str, Price] = DEFAULT_PRICES,
        budget: DailyBudget | None = None,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        asks: Callable[[str], tool.Asks | None] = tool.nobody,
    ) -> None:
        """base_url: None is the vendor's own; the SDK's environment variables and profiles are never asked.

        secrets: exact values that must not leave this machine, beside the key itself.
        prices: model → price; "*" is any other model. budget: the day's, where it was begun by another.
        asks: tenant → who answers Claude's queries there, if anybody does.
        """
        self._key = (api_key or "").strip()
        self._model = model
        self.model = model if self._key else ""  # empty where there is no key to ask it with
        self._base_url = base_url or OFFICIAL_URL
        self._clock = clock
        self._secrets = (*secrets, self._key)
        self.price = price_of_model(prices, model)
        self._listed = model in prices
        self.budget = budget or DailyBudget(daily_budget_usd)
        self.budget.limit = Decimal(str(daily_budget_usd))
        self.breaker = Breaker()
        self._limits = limits
        self._asks = asks
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._starting = asyncio.Lock()
        self._client: AsyncAnthropic | None = None

    async def diagnose(self, case: CaseFile, *, timeout_seconds: float) -> Diagnosis | NoDiagnosis:
        """Claude's answer with every claim checked, or why there is none. Never raises, never takes longer."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        course = Course(deadline=started + timeout_seconds)
        try:
            async with asyncio.timeout_at(course.deadline):
                result = await self._consult(case, course)
        except TimeoutError:
            if course.asked:
                result = NoDiagnosis("timeout", f"no answer within {timeout_seconds:g} s")
            else:
                result = NoDiagnosis("busy", f"{self._limits.concurrency} other questions are still being answered")
        except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            # The SDK promises no closed list of errors, and an outage of the model never costs the incident.
            log.warning("asking Claude failed in an unknown way: %s", type(error).__name__)
            result = NoDiagnosis("api_error", f"{type(error).__name__}: {error}")
        if course.asked:
            failed = isinstance(result, NoDiagnosis) and result.outcome in FAILURES
            self.breaker.note(failed=failed, now=self._clock())
        seconds = loop.time() - started
        if isinstance(result, Diagnosis):
            return replace(result, duration_seconds=seconds)
        # A library's message may quote a header, and so the key.
        detail = clean(Redactor(self._secrets).text(result.detail), DETAIL_CHARACTERS_MAX)
        talk = course.talk
        return NoDiagnosis(
            result.outcome,
            detail,
            talk.usage if talk else Usage(),
            seconds,
            course.prompt,
            course.answer,
            talk.asked if talk else (),
            dict(talk.redactor.counts) if talk else {},
        )

    async def close(self) -> None:
        """Close the connections; a later question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _consult(self, case: CaseFile, course: Course) -> Diagnosis | NoDiagnosis:
        if not self._key:
            return NoDiagnosis("no_key", "diagnosis.api_key is not set")
        if not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            return NoDiagnosis("unauthorized", "diagnosis.api_key holds a character that no key has")
        async with self._slots:
            # In a thread: a case full of long texts takes tenths of a second, and others wait for the event loop.
            talk = course.talk = await asyncio.to_thread(self.begin, case)
            while True:
                last = talk.rounds + 1 >= ROUNDS_MAX or course.left() < QUERY_SECONDS_MIN
                reply = await self._paid(talk, case, course, last=last)
                if isinstance(reply, NoDiagnosis):
                    return reply
                course.answer = storable("".join(texts_of(reply)), STORED_CHARACTERS_MAX)
                if stop_reason(reply) != "tool_use" or not talk.asks or talk.rounds >= ROUNDS_MAX:
                    return read_reply(reply, talk, course.prompt)
                wanted = await asyncio.to_thread(talk.heard, reply)
                if not wanted:
                    return NoDiagnosis(
                        "bad_answer", f"the answer stopped for {stop_reason(reply)} and asks for nothing"
                    )
                talk.told(await asyncio.gather(*(self._looked_up(one, case, course) for one in wanted)))

    def begin(self, case: CaseFile) -> Dialogue:
        """The dialogue about `case`, with nothing said yet."""
        redactor = Redactor(self._secrets, self._limits.redact, self._limits.labels)
        asks = self._asks(case.tenant) is not None
        known = (tool.names_in(exhibit.query) for exhibit in case.exhibits if exhibit.query)
        metrics = tuple(sorted({*self._limits.metrics, *(name for names in known for name in names)})) if asks else ()
        return Dialogue(self._model, evidence(case, redactor, metrics), self._limits, redactor, bool(metrics), metrics)

    async def _looked_up(self, wanted: Wanted, case: CaseFile, course: Course) -> tuple[Wanted, Answered]:
        asks, call = self._asks(case.tenant), wanted.call
        if asks is None or call is None:
            return wanted, Answered(fault="nothing can be looked up")
        seconds = min(tool.QUERY_SECONDS, course.left() - ANSWER_SECONDS_MIN)
        if seconds <= 0:
            return wanted, Answered(fault="there is no time left to look it up")
        span = call.minutes * 60
        return wanted, await asks.series(call.query, end=self._clock(), seconds=span, timeout_seconds=seconds)

    async def _paid(self, talk: Dialogue, case: CaseFile, course: Course, *, last: bool) -> Any:
        """One round: the message that came back, its usage counted; or why there is none."""
        question = talk.question(last=last)
        prompt = json.dumps(question, ensure_ascii=False, sort_keys=True)
        if talk.rounds and len(prompt) // CHARACTERS_PER_TOKEN > talk.input_left:
            return NoDiagnosis("budget", f"the dialogue would take more than {INPUT_TOKENS_MAX:,} tokens")
        # Until the vendor has said what it cost, or that it took nothing, the whole reservation counts as spent.
        reserved = self.price.most(len(prompt) // CHARACTERS_PER_TOKEN_MIN, question["max_tokens"])
        spent, most = Decimal(case.spent_usd) + Decimal(talk.usage.cost_usd), self._limits.incident_budget_usd
        if spent + reserved > Decimal(str(most)):
            return NoDiagnosis("budget", f"one more question does not fit in the incident's budget of {most} USD")
        if not self.budget.reserve(reserved, self._clock()):
            return NoDiagnosis("budget", self._over_budget())
        day = self.budget.day
        client = self._paused() if not talk.rounds else None
        if client is None:
            course.prompt, course.asked = prompt, True
            client = await self._connect()
        if isinstance(client, NoDiagnosis):
            course.asked = False
            self.budget.settle(reserved, Decimal(0), day)
            return client
        talk.rounds += 1
        reply = await self._ask(client, question, course)
        if isinstance(reply, Failure):
            if reply.free:
                self.budget.settle(reserved, Decimal(0), day)
            return NoDiagnosis(reply.outcome, reply.detail)
        usage = usage_of(getattr(reply, "usage", None), self.price)
        if usage is not None:
            talk.usage = total(talk.usage, usage)
            self.budget.settle(reserved, Decimal(usage.cost_usd), day)
        if not isinstance(reply, importlib.import_module("anthropic.types").Message):
            course.answer = storable(str(reply), STORED_CHARACTERS_MAX)
            return NoDiagnosis("bad_answer", f"the answer is no message but {type(reply).__name__}")
        if usage is None:
            course.answer = storable("".join(texts_of(reply)), STORED_CHARACTERS_MAX)
            return NoDiagnosis("bad_answer", "the answer does not say what it used")
        return reply

    def _paused(self) -> AsyncAnthropic | NoDiagnosis | None:
        wait = self.breaker.wait(self._clock())
        minutes = max(1, round(wait / timedelta(minutes=1))) if wait is not None else 0
        return NoDiagnosis("busy", f"Claude failed several times; asked again in {minutes} min") if minutes else None

    def _over_budget(self) -> str:
        spent = f"one more question does not fit in today's budget of {self.budget.limit} USD"
        if self._listed:
            return spent
        price = f"{self.price.input} and {self.price.output} USD for a million tokens in and out"
        return f"{spent}; {clean(self._model, 60)} is not in the price table and counts as {price}"

    async def _connect(self) -> AsyncAnthropic | NoDiagnosis:
        async with self._starting:
            if self._client is None:
                try:
                    # Three seconds of importing, in which the event loop goes on.
                    self._client = await asyncio.to_thread(make_client, self._key, self._base_url)
                except ImportError as error:
                    return NoDiagnosis("not_installed", f"the anthropic package cannot be imported: {error}")
                except known_errors() as error:
                    return NoDiagnosis("api_error", f"the client cannot be made: {error}")
            return self._client

    async def _ask(self, client: AsyncAnthropic, question: Mapping[str, Any], course: Course) -> object:
        """What came back, or a Failure; one retry where that may help and the time allows it."""
        reply = await self._attempt(client, question, course)
        if not isinstance(reply, Failure) or not reply.may_retry:
            return reply
        wait = RETRY_SECONDS if reply.retry_seconds is None else reply.retry_seconds
        if asyncio.get_running_loop().time() + wait + ANSWER_SECONDS_MIN > course.deadline:
            return reply
        await asyncio.sleep(wait)
        return await self._attempt(client, question, course)

    async def _attempt(self, client: AsyncAnthropic, question: Mapping[str, Any], course: Course) -> object:
        left = max(0.1, course.deadline - asyncio.get_running_loop().time())
        errors: tuple[type[BaseException], ...] = (*known_errors(), OSError, RuntimeError, TypeError, ValueError)
        try:
            return await client.messages.create(**question, timeout=left)
        except errors as error:
            return read_failure(error, self._clock())


def known_errors() -> tuple[type[BaseException], ...]:
    """The roots of what the SDK and its transport raise; both are imported by the time that this is asked."""
    transport = importlib.import_module("httpx2")
    return importlib.import_module("anthropic").AnthropicError, transport.HTTPError, transport.InvalidURL


def make_client(key: str, base_url: str) -> AsyncAnthropic:
    """A client that retries nothing, follows no redirect and reads a bounded answer. Raises ImportError."""
    anthropic = importlib.import_module("anthropic")
    importlib.import_module("anthropic.resources.messages")
    bounded = importlib.import_module("receiver.diagnosis.bounded")
    client: AsyncAnthropic = anthropic.AsyncAnthropic(
        api_key=key,
        base_url=base_url,
        max_retries=0,
        default_headers=HEADERS,
        http_client=anthropic.DefaultAsyncHttpxClient(
            follow_redirects=False, event_hooks={"response": [bounded.bound]}
        ),
    )
    # The SDK adds the headers of ANTHROPIC_CUSTOM_HEADERS, and one of them may be another key than the configured one.
    client._custom_headers = dict(HEADERS)
    return client
