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
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from receiver.diagnosis.budget import CHARACTERS_PER_TOKEN_MIN, DEFAULT_PRICES, Breaker, DailyBudget, Price, usage_of
from receiver.diagnosis.budget import price_of as price_of_model
from receiver.diagnosis.citations import BadAnswer, check, read_answer
from receiver.diagnosis.failures import Failure, read_failure
from receiver.diagnosis.prompt import SYSTEM, Evidence, answer_schema, evidence
from receiver.diagnosis.redaction import Redactor
from receiver.diagnosis.text import clean, storable
from receiver.papers import CaseFile, Diagnosis, NoDiagnosis, Usage

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

OFFICIAL_URL = "https://api.anthropic.com"
HEADERS = {"accept-encoding": "identity"}
OUTPUT_TOKENS_MAX = 1_500
CALLS_AT_ONCE = 2
RETRY_SECONDS = 1.0  # before the one retry, where the vendor names no time
ANSWER_SECONDS_MIN = 2.0  # with less than this left there is no use in asking again
DETAIL_CHARACTERS_MAX = 300
STORED_CHARACTERS_MAX = 200_000
# Outcomes in which the service gave no usable answer. What Claude itself declines or fails to found is none of them.
FAILURES = frozenset(
    {"timeout", "overloaded", "rate_limited", "spend_limit", "bad_answer", "unauthorized", "api_error", "unreachable"}
)
_TRUNCATED = {
    "max_tokens": "the answer did not fit in the tokens that were allowed",
    "model_context_window_exceeded": "the evidence and the answer did not fit in the model's window",
}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Course:
    """One question on its way: what is known of it when it ends, however it ends."""

    deadline: float  # of the event loop's clock
    prompt: str = ""
    answer: str = ""
    usage: Usage = field(default_factory=Usage)
    asked: bool = False  # a slot was free; before that, waiting for one is not the vendor's fault


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
    ) -> None:
        """base_url: None is the vendor's own; the SDK's environment variables and profiles are never asked.

        secrets: exact values that must not leave this machine, beside the key itself.
        prices: model → price; "*" is any other model. budget: the day's, where it was begun by another.
        """
        self._key = (api_key or "").strip()
        self._model = model
        self._base_url = base_url or OFFICIAL_URL
        self._clock = clock
        self._secrets = (*secrets, self._key)
        self._price = price_of_model(prices, model)
        self._listed = model in prices
        self.budget = budget or DailyBudget(daily_budget_usd)
        self.budget.limit = Decimal(str(daily_budget_usd))
        self.breaker = Breaker()
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._starting = asyncio.Lock()
        self._client: AsyncAnthropic | None = None

    @property
    def model(self) -> str:
        """The model that is asked; empty where there is no key to ask it with."""
        return self._model if self._key else ""

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
                result = NoDiagnosis("busy", f"{CALLS_AT_ONCE} other questions are still being answered")
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
        return NoDiagnosis(result.outcome, detail, course.usage, seconds, course.prompt, course.answer)

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
            shown = await asyncio.to_thread(evidence, case, self._secrets)
            question = self._question(shown)
            prompt = json.dumps(question, ensure_ascii=False, sort_keys=True)
            # Until the vendor has said what it cost, or that it took nothing, the whole reservation counts as spent.
            reserved = self._price.cost(Usage(len(prompt) // CHARACTERS_PER_TOKEN_MIN, OUTPUT_TOKENS_MAX))
            if not self.budget.reserve(reserved, self._clock()):
                return NoDiagnosis("budget", self._over_budget())
            day = self.budget.day
            wait = self.breaker.wait(self._clock())
            if wait is not None:
                self.budget.settle(reserved, Decimal(0), day)
                minutes = max(1, round(wait / timedelta(minutes=1)))
                return NoDiagnosis("busy", f"Claude failed several times in a row; asked again in {minutes} min")
            course.prompt = prompt
            course.asked = True
            client = await self._connect()
            if isinstance(client, NoDiagnosis):
                course.asked = False
                self.budget.settle(reserved, Decimal(0), day)
                return client
            reply = await self._ask(client, question, course)
            if isinstance(reply, Failure):
                if reply.free:
                    self.budget.settle(reserved, Decimal(0), day)
                return NoDiagnosis(reply.outcome, reply.detail)
            usage = usage_of(getattr(reply, "usage", None), self._price)
            if usage is not None:
                course.usage = usage
                self.budget.settle(reserved, self._price.cost(usage), day)
            return self._read(reply, usage, shown, course)

    def _over_budget(self) -> str:
        spent = f"one more question does not fit in today's budget of {self.budget.limit} USD"
        if self._listed:
            return spent
        price = f"{self._price.input} and {self._price.output} USD for a million tokens in and out"
        return f"{spent}; {clean(self._model, 60)} is not in the price table and counts as {price}"

    def _question(self, shown: Evidence) -> dict[str, Any]:
        return {
            "model": self._model,
            "max_tokens": OUTPUT_TOKENS_MAX,
            "system": SYSTEM,
            "messages": [{"role": "user", "content": shown.document}],
            "thinking": {"type": "between_tools"},
            "output_config": {"format": {"type": "json_schema", "schema": answer_schema(shown.actions)}},
        }

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

    def _read(self, reply: object, usage: Usage | None, shown: Evidence, course: Course) -> Diagnosis | NoDiagnosis:
        """The checks, in the order in which each makes the next one safe."""
        message_type = importlib.import_module("anthropic.types").Message
        if not isinstance(reply, message_type):
            course.answer = storable(str(reply), STORED_CHARACTERS_MAX)
            return NoDiagnosis("bad_answer", f"the answer is no message but {type(reply).__name__}")
        message: Any = reply
        text = "".join(texts_of(message))
        course.answer = storable(text, STORED_CHARACTERS_MAX)
        if usage is None:
            return NoDiagnosis("bad_answer", "the answer does not say what it used")
        stopped = str(getattr(message, "stop_reason", None))
        if stopped == "refusal":
            category = getattr(getattr(message, "stop_details", None), "category", None)
            return NoDiagnosis("refusal", f"Claude declined to answer ({category or 'no reason given'})")
        if stopped in _TRUNCATED:
            return NoDiagnosis("truncated", _TRUNCATED[stopped])
        if stopped not in ("end_turn", "stop_sequence"):
            return NoDiagnosis("bad_answer", f"the answer stopped for {stopped}")
        if not text:
            return NoDiagnosis("bad_answer", "the answer holds no text")
        try:
            answer = read_answer(text, shown.actions)
        except BadAnswer as error:
            return NoDiagnosis("bad_answer", str(error))
        checked = check(answer, shown.exhibits, shown.document)
        if checked is None:
            return NoDiagnosis("no_claims", f"{len(answer.claims)} claims were made, and none stands in the evidence")
        return Diagnosis(
            summary=checked.summary,
            likely_cause=checked.likely_cause,
            claims=checked.claims,
            recommended_action=checked.recommended_action,
            confidence=checked.confidence,
            falsified_by=checked.falsified_by,
            dropped_claims=checked.dropped,
            model=clean(str(getattr(message, "model", "")), 100),
            request_id=clean(str(getattr(message, "_request_id", None) or getattr(message, "id", "")), 100),
            usage=usage,
            duration_seconds=0.0,
            prompt=course.prompt,
            answer=course.answer,
        )


def texts_of(message: Any) -> list[str]:
    """Real text alone: thinking may come first, and an unknown block looks like text with None in it."""
    content = getattr(message, "content", None)
    blocks = content if isinstance(content, list) else []
    texts = [getattr(block, "text", None) for block in blocks if getattr(block, "type", None) == "text"]
    return [text for text in texts if isinstance(text, str)]


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
