"""What a call costs, what may be spent in a day, and when to stop asking for a while. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from receiver.papers import Usage

FAILURES_MAX = 3
PAUSE = timedelta(minutes=5)
ANY_MODEL = "*"
TOKENS_MAX = 2**40
CHARACTERS_PER_TOKEN_MIN = 2  # to guess what a prompt may cost before it is sent; English has about four


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cache_creation: Decimal
    cache_read: Decimal

    @classmethod
    def listed(
        cls, tokens_in: Decimal, tokens_out: Decimal, write: Decimal | None = None, read: Decimal | None = None
    ) -> Price:
        """By a list. Where it names no price of the cache, writing costs a quarter more than input, reading a tenth."""
        write = tokens_in * Decimal("1.25") if write is None else write
        return cls(tokens_in, tokens_out, write, tokens_in * Decimal("0.1") if read is None else read)

    def most(self, tokens_in: int, tokens_out: int) -> Decimal:
        """What a call may cost at the most, however much of it is cached."""
        return self.cost(
            Usage(0, tokens_out, tokens_in) if self.cache_creation > self.input else Usage(tokens_in, tokens_out)
        )

    def cost(self, usage: Usage) -> Decimal:
        millionths = (
            self.input * usage.input_tokens
            + self.output * usage.output_tokens
            + self.cache_creation * usage.cache_creation_tokens
            + self.cache_read * usage.cache_read_tokens
        )
        return millionths / 1_000_000


# List prices for prompts of up to 100,000 tokens, October 2026; `diagnosis.prices` overrides them. A model that is not
# listed counts as a dear one.
DEFAULT_PRICES: Mapping[str, Price] = {
    "claude-sonnet-5-5": Price(Decimal(2), Decimal(10), Decimal("2.5"), Decimal("0.1")),
    "claude-haiku-5-5": Price(Decimal("0.1"), Decimal("0.5"), Decimal("0.125"), Decimal("0.01")),
    ANY_MODEL: Price(Decimal(10), Decimal(50), Decimal("12.5"), Decimal(1)),
}


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    return prices.get(model) or prices.get(ANY_MODEL) or DEFAULT_PRICES[ANY_MODEL]


def usage_of(raw: Any, price: Price) -> Usage | None:
    """The vendor's usage with its cost, or None where a count is missing or no count."""
    tokens: list[int] = []
    for name in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"):
        count = getattr(raw, name, None)
        if count is None and name.startswith("cache"):
            count = 0
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < TOKENS_MAX:
            return None
        tokens.append(count)
    usage = Usage(tokens[0], tokens[1], tokens[2], tokens[3])
    return replace(usage, cost_usd=dollars(price.cost(usage)))


def total(first: Usage, second: Usage) -> Usage:
    return Usage(
        first.input_tokens + second.input_tokens,
        first.output_tokens + second.output_tokens,
        first.cache_creation_tokens + second.cache_creation_tokens,
        first.cache_read_tokens + second.cache_read_tokens,
        dollars(Decimal(first.cost_usd) + Decimal(second.cost_usd)),
    )


def dollars(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.000001')):f}"


class DailyBudget:
    """US dollars for one day in UTC. A call is reserved at what it may cost, and settled at what it did cost."""

    def __init__(self, limit_usd: float) -> None:
        self.limit = Decimal(str(limit_usd))
        self.spent = Decimal(0)
        self._day = date.min

    def count_on(self, day: date, spent: Decimal) -> None:
        """Begin with what was spent on `day` before."""
        self._day, self.spent = day, spent

    def reserve(self, amount: Decimal, now: datetime) -> bool:
        """Whether `amount` fits in what is left of the day; if so it counts as spent until `settle`."""
        if now.date() > self._day:  # a clock that steps back does not give the day's money again
            self._day, self.spent = now.date(), Decimal(0)
        if self.spent + amount > self.limit:
            return False
        self.spent += amount
        return True

    def settle(self, reserved: Decimal, cost: Decimal, day: date) -> None:
        if day == self._day:
            self.spent = max(self.spent - reserved + cost, Decimal(0))

    @property
    def day(self) -> date:
        return self._day


class Breaker:
    """After FAILURES_MAX failures in a row nothing is tried for PAUSE; then one call at a time is a trial."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until: datetime | None = None

    def wait(self, now: datetime) -> timedelta | None:
        """How long nothing may be tried yet, or None; a trial that is let through holds the others back."""
        if self._failures < FAILURES_MAX:
            return None
        left = self._open_until - now if self._open_until is not None else timedelta(0)
        if timedelta(0) < left <= PAUSE:  # longer than PAUSE: the clock stepped back
            return left
        self._open_until = now + PAUSE
        return None

    def note(self, *, failed: bool, now: datetime) -> None:
        self._failures = self._failures + 1 if failed else 0
        self._open_until = now + PAUSE if self._failures >= FAILURES_MAX else None
