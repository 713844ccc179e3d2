"""The chart of accounts: which stage opens an obligation in which book, what settles it, and who may post it. Pure.

The store's own rule tables are filled from here, so that the database refuses by exactly these.
"""

from __future__ import annotations

from collections.abc import Mapping

BOOKS = (
    "alerts",
    "watches",
    "incidents",
    "diagnoses",
    "answers",
    "proposals",
    "authorizations",
    "executions",
    "suspense",
    "verifications",
    "messages",
    "halts",
)

OPENS: Mapping[str, str] = {
    "RECEIVED": "alerts",
    "WATCHED": "watches",
    "DETECTED": "incidents",
    "CONSULTED": "diagnoses",
    "HEARD": "answers",
    "PROPOSED": "proposals",
    "AUTHORIZED": "authorizations",
    "DISPATCHED": "executions",
    "UNRESOLVED": "suspense",
    "EXECUTED": "verifications",
    "ADDRESSED": "messages",
    "HALTED": "halts",
}

SETTLES: Mapping[str, tuple[str, ...]] = {
    "alerts": ("EVALUATED",),
    "watches": ("DETECTED", "CLEARED"),
    "incidents": ("RECOVERED", "CLOSED"),
    "diagnoses": ("DIAGNOSED", "UNDIAGNOSED"),
    "answers": ("APPROVED", "DECLINED", "REFUSED", "HEEDED"),
    "proposals": ("AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN"),
    "authorizations": ("DISPATCHED", "VOIDED"),
    "executions": ("EXECUTED", "FAILED", "UNRESOLVED"),
    "suspense": ("EXECUTED", "FAILED", "WRITTEN_OFF"),
    "verifications": ("CONFIRMED", "UNCONFIRMED", "WAIVED"),
    "messages": ("DELIVERED", "UNDELIVERED"),
    "halts": ("RESUMED",),
}

# Who may post a stage: the word before ":" of an actor. Law 2: claude posts DIAGNOSED and nothing else.
OFFICES: Mapping[str, tuple[str, ...]] = {
    "OPENED": ("system",),
    "ADOPTED": ("operator", "engineer", "system"),
    "RECEIVED": ("alertmanager",),
    "EVALUATED": ("policy",),
    "WATCHED": ("policy",),
    "CLEARED": ("policy",),
    "LOOKED": ("policy",),
    "DETECTED": ("policy",),
    "RECOVERED": ("policy",),
    "CLOSED": ("engineer", "operator", "policy"),  # policy: what a person asked for by hand is over
    "CONSULTED": ("system",),
    "DIAGNOSED": ("claude",),
    "UNDIAGNOSED": ("system",),
    "HEARD": ("carrier",),
    "APPROVED": ("engineer",),
    "DECLINED": ("engineer",),
    "REFUSED": ("policy", "system"),
    "HEEDED": ("policy", "system"),
    "ACKNOWLEDGED": ("engineer",),
    "PROPOSED": ("policy",),
    "AUTHORIZED": ("engineer",),
    "REJECTED": ("policy",),
    "EXPIRED": ("policy",),
    "WITHDRAWN": ("policy",),
    "DISPATCHED": ("policy",),
    "VOIDED": ("policy",),
    "EXECUTED": ("executor", "engineer", "operator"),
    "FAILED": ("executor", "engineer", "operator", "system"),
    "UNRESOLVED": ("system",),
    "WRITTEN_OFF": ("engineer", "operator"),
    "CONFIRMED": ("policy",),
    "UNCONFIRMED": ("policy",),
    "WAIVED": ("policy",),
    "ADDRESSED": ("system",),
    "SENT": ("carrier",),
    "DELIVERED": ("carrier",),
    "UNDELIVERED": ("carrier", "system"),
    "READ": ("carrier",),
    "HALTED": ("engineer", "operator"),
    "RESUMED": ("engineer", "operator"),
    "ESCALATED": ("policy",),
    "REMINDED": ("policy",),
    "NOTED": ("system", "engineer", "operator", "executor"),
    "ERASED": ("operator",),
    "REKEYED": ("operator",),
    "REGRESSED": ("system",),
}

STAGES = tuple(OFFICES)

# Law 3 and law 4 lead from stage to stage of one incident; what is open of these stands in the way of the next.
LIVE = ("PROPOSED", "AUTHORIZED", "DISPATCHED", "UNRESOLVED")
ONLY_WHILE_OPEN = ("PROPOSED", "CONSULTED", "AUTHORIZED", "DISPATCHED")


def settled_books(stage: str) -> tuple[str, ...]:
    """The books in which `stage` may settle an obligation; empty for a stage that settles nothing."""
    return tuple(book for book, stages in SETTLES.items() if stage in stages)


def must_settle(stage: str) -> bool:
    return bool(settled_books(stage))
