"""What an executor that believes no secret alone demands: the proof that this very request was authorized. Pure.

The proof shows that a ledger whose key is pinned holds an AUTHORIZED, by a person, for a request of this digest. So
whoever has the webhook's secret, and not the ledger's key, runs nothing; and a proof that was heard once runs nothing
twice, since the webhook-id is part of it and the log of webhook-ids refuses a repetition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

AHEAD_SECONDS = 60.0  # between the two machines' clocks


class NotProved(ValueError):
    """A proof that does not hold, or shows something else; the message says what."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The entry that a proof shows to be in the ledger: what of it counts here."""

    tenant: str
    stage: str
    decision: str
    actor: str
    at: datetime
    digest: str
    webhook_id: str


@dataclass(frozen=True, slots=True)
class Demand:
    """address: the origin under which this executor is called, as Counterfoil's configuration writes it."""

    address: str
    max_age_seconds: float


Verify = Callable[[str], Shown]  # raises NotProved


def unwrapped(body: bytes) -> tuple[Mapping[str, Any], str] | None:
    """The request and the proof of a body that carries them; None of any other body."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or set(data) != {"request", "proof"}:
        return None
    request, proof = data["request"], data["proof"]
    if not isinstance(request, dict) or not isinstance(proof, str) or not isinstance(request.get("body"), str):
        return None
    return request, proof


def demanded(
    demand: Demand,
    verify: Verify,
    carried: tuple[Mapping[str, Any], str] | None,
    path: str,
    webhook_id: str,
    now: datetime,
) -> bytes:
    """The body of the order that was authorized, to run at `path` under `webhook_id`. Raises NotProved."""
    if carried is None:
        raise NotProved("this executor demands the proof that the request was authorized: set proof: true")
    request, text = carried
    shown = verify(text)
    if (shown.stage, shown.decision) != ("AUTHORIZED", "approve") or not shown.actor.startswith("engineer:"):
        raise NotProved(f"the proof is of {shown.stage[:40]}, and not that a person authorized it")
    digest = hashlib.sha256(_canonical(request).encode()).hexdigest()
    if digest != shown.digest:
        raise NotProved("what was authorized is another request")
    if shown.webhook_id != webhook_id:
        raise NotProved("what was authorized has another webhook-id")
    if request.get("address") != f"{demand.address}{path}":
        raise NotProved("what was authorized is for another address than this one")
    if shown.at > now + timedelta(seconds=AHEAD_SECONDS):
        raise NotProved("it was authorized in the future: are both clocks right?")
    if now - shown.at > timedelta(seconds=demand.max_age_seconds):
        raise NotProved(f"it was authorized longer ago than {demand.max_age_seconds:g} s")
    body: str = request["body"]
    try:
        order = json.loads(body)
        encoded = body.encode()
    except (ValueError, RecursionError) as error:
        raise NotProved("what was authorized is no order") from error
    if not isinstance(order, dict) or order.get("tenant") != shown.tenant:
        raise NotProved("what was authorized is of another tenant")
    return encoded


def _canonical(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise NotProved("the request cannot be read") from error
    return text
