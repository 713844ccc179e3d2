"""A finding: the entry, the rule that it breaks, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

INTRUSION = "halt, and treat it as an intrusion: somebody wrote past the service with the ledger's key"
WHO_WROTE = "find who wrote to the database past the service, and compare with an older copy"
THE_CLOCK = "check the clock of that machine, and what was decided meanwhile"

# What can be found in the entries of one log, and the rule in words. ledger/README.md has the same list.
RULES: Mapping[str, str] = {
    "gap": "every number has its entry",
    "form": "every field is of its type",
    "opened": "OPENED is entry 0, and only that",
    "id": "an id stands once",
    "clock": "time never steps back from one entry to the next",
    "clock stepped": "the machine's clock runs evenly",
    "office": "each stage has its own actors",
    "tenant": "all entries of a log, and what they settle, are of one tenant",
    "cites": "what is cited stands before",
    "settlement": "an obligation is settled once, in its book, by an entry of the same incident",
    "incident": "an incident is opened once, and nothing of it is proposed or run outside of it",
    "question": "a proposal says what would run, who may answer, and until when",
    "one at a time": "no two live proposals stand side by side for one target, and no two executions of an incident",
    "answer": "an answer is to an open question, by one whom it names",
    "law 3": "nothing runs that the full quorum has not authorized, byte for byte",
    "declined": "one decline ends the question",
    "late": "answers, authorizations and dispatches come in time",
    "early": "a question stays open as long as it says",
    "halt": "nothing is dispatched during a halt, which another person ends",
    "policy version": "one version of a policy has one text",
    "policy unknown": "what decides was adopted before",
    "carried": "what a log carries forward from a sealed one stands first, as OPENED lists it",
    "overdue": "what is outstanding is settled by its deadline",
}


# A finding for the auditor, and no sign of tampering: the service met it by itself, and it stands in the log for good.
HARMLESS = frozenset({"clock stepped", "unconfirmed"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. index: the entry, or None where it is about the log as a whole."""

    index: int | None
    rule: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        place = f"entry {self.index}" if self.index is not None else "the log"
        return f"{place}: {self.rule}: {self.detail} ({self.remedy})"

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "rule": self.rule, "detail": self.detail, "remedy": self.remedy}


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """By entry; what is about the log as a whole comes first."""
    return tuple(sorted(found, key=lambda finding: -1 if finding.index is None else finding.index))
