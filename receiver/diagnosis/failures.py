"""What an error of the SDK means: a word of the closed list, whether to ask again, and whether it may have cost money.

Errors are read by their attributes (`status_code`, `type`, `error_code`, `response`), so that nothing is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SPEND_LIMITS = "spend_limit_reached"
RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
RETRIED = frozenset({"overloaded", "rate_limited", "api_error", "unreachable"})


@dataclass(frozen=True, slots=True)
class Failure:
    """free: the vendor refused before any work, so nothing was billed. retry_seconds: what it asked to wait."""

    outcome: str
    detail: str
    may_retry: bool = False
    retry_seconds: float | None = None
    free: bool = False


def read_failure(error: BaseException, now: datetime) -> Failure:
    """now: aware, for a `retry-after` that is a date."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and getattr(error, "response", None) is not None:
        return of_status(error, status, now)
    name = type(error).__name__
    if "TooLarge" in (name, type(error.__cause__).__name__):
        return Failure("bad_answer", str(error.__cause__ if name != "TooLarge" else error))
    if name == "APITimeoutError":
        return Failure("timeout", "the connection or the answer took too long")
    if name == "APIConnectionError" or isinstance(error, OSError):
        cause = error.__cause__ or error
        # A connection that was never made took nothing; one that broke may have been billed.
        free = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
        return Failure("unreachable", f"{type(cause).__name__}: {cause}", may_retry=True, free=free)
    if isinstance(error, ValueError):
        return Failure("bad_answer", f"the answer cannot be read: {name}")
    return Failure("api_error", f"{name}: {error}")


def of_status(error: BaseException, status: int, now: datetime) -> Failure:
    kind = getattr(error, "type", None)
    said = getattr(error, "api_message", None)
    headers: Mapping[str, str] = getattr(error, "response").headers  # noqa: B009  # read by attribute on purpose
    detail = f"{status}: {said if isinstance(said, str) else kind or 'no reason given'}"
    if status < 400 and kind is None:
        return Failure("bad_answer", detail)
    outcome = outcome_of(status, kind, str(getattr(error, "error_code", None) or ""))
    should = headers.get("x-should-retry")
    may = outcome in RETRIED and (should == "true" or (status in RETRIED_STATUSES and should != "false"))
    return Failure(outcome, detail, may, retry_after(headers.get("retry-after"), now), free=status >= 400)


def outcome_of(status: int, kind: object, code: str) -> str:
    if code.endswith(SPEND_LIMITS) or status == 402 or kind == "billing_error":
        return "spend_limit"
    if status in (401, 403) or kind in ("authentication_error", "permission_error"):
        return "unauthorized"
    if status == 429 or kind == "rate_limit_error":
        return "rate_limited"
    if status == 529 or kind == "overloaded_error":
        return "overloaded"
    return "api_error"


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds of a `retry-after` header, a number or an HTTP date (RFC 9110, 10.2.3), or None."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, IndexError, TypeError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
