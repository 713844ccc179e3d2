"""What policy asks of the world (Query) and what it is told (Alert, Reading). Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as its source last described it. All times are aware and in UTC.

    ends_at: None while it fires. generator_url: text from outside, to show and never to fetch.
    """

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    firing: bool
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One instant query. `promql` is complete: every `$label` has been replaced and escaped."""

    name: str
    promql: str
    max_age_seconds: float


class ReadingState(StrEnum):
    """Only VALUE is a number; the others are different answers, and none of them is zero."""

    VALUE = "value"
    NO_DATA = "no_data"  # an empty vector
    NAN = "nan"
    MANY = "many_series"
    STALE = "stale"  # older than the signal's `max_age`
    UNREACHABLE = "unreachable"
    ERROR = "error"  # the server answered that it could not


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to a Query. `value` is the string that Prometheus sent, and None unless `state` is VALUE.

    partial: the server warned that a part of what the value is made of did not come.
    """

    name: str
    promql: str
    state: ReadingState
    value: str | None
    sampled_at: datetime | None
    asked_at: datetime
    detail: str = ""
    partial: bool = False
