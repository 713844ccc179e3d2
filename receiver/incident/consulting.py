"""A consultation: that Claude was asked, what came of it, and what its earlier word was worth. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

FOLLOW_UPS_MAX = 1  # consultations of one incident after the first


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the earlier diagnoses for a key: how many were made, how many of their actions ran to an end, and helped."""

    made: int = 0
    tried: int = 0
    confirmed: int = 0


@dataclass(slots=True)
class Consultation:
    """A CONSULTED; `outcome` is DIAGNOSED or UNDIAGNOSED once it is settled.

    case: what its case file comes to. earlier: what became of the diagnoses before it, as far as it was known then.
    """

    index: int
    until: datetime
    outcome: str | None = None
    outcome_index: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    confidence: str | None = None
    case: Mapping[str, Any] = field(default_factory=dict)
    earlier: Standing = Standing()
