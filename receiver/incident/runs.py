"""What was run: every dispatch that took place, as limits, cool-downs and breakers count it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from policy_rules.permission import PastRun
from receiver.incident.states import Key, Proposal


@dataclass(slots=True)
class Run:
    """A dispatch that took place: what limits and cool-downs count."""

    rule: str
    key: Key
    at: datetime
    proposal: Proposal
    forgiven: bool = False  # a person let the action be proposed again since

    @property
    def helped(self) -> bool | None:
        """False where it failed or was not confirmed, True where it was confirmed, None where neither can be said."""
        if self.proposal.result == "FAILED" or self.proposal.verified == "UNCONFIRMED":
            return False
        return True if self.proposal.verified == "CONFIRMED" else None

    def as_past(self) -> PastRun:
        """The run as policy is told of it."""
        body = self.proposal.body
        still = self.proposal.executing or self.proposal.in_suspense
        return PastRun(
            rule=self.rule,
            action=body["action"],
            key=dict(self.key),
            at=self.at,
            executor=body["executor"],
            params=body["params"],
            open=still,
            helped=self.helped,
            forgiven=self.forgiven,
        )
