"""Who was on duty, decided again from what was adopted and what was handed over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from ledger.entry import Entry, parse_time
from ledger.findings.finding import INTRUSION, Finding
from receiver.auditor.charters import Charters, Unreadable
from receiver.incident.duty import HANDED_OVER, Duty, Handover, handovers_of

RULE = "duty"
UNSEEN_MAX = timedelta(seconds=60)  # how late a roster may be posted that was decided at a time
DAYS_KEPT = timedelta(days=370)  # a shift is a year at the most


class Duties:
    """One log as it is walked through. charters: as they stand with the entry that is judged."""

    def __init__(self, charters: Charters) -> None:
        self._charters = charters
        self._handovers: list[Handover] = []

    def judge(self, entry: Entry) -> Iterator[Finding]:
        """The findings of an ADOPTED that says who is on duty, or of a handover. Raises Unreadable."""
        try:
            if entry.stage == "ADOPTED":
                yield from self._adopted(entry)
            elif entry.stage == "NOTED" and entry.body.get("kind") == HANDED_OVER:
                yield from self._handed(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, Unreadable):
                raise
            yield Finding(entry.index, RULE, f"what it says of duty cannot be read: {error!r}", INTRUSION)

    def _adopted(self, entry: Entry) -> Iterator[Finding]:
        said, found = entry.body.get("duty"), self._charters.duty()
        if said is None and found is None:
            return
        if said is None or found is None:
            detail = "it says who is on duty and not by which rotations, or the reverse"
            yield Finding(entry.index, RULE, detail, INTRUSION)
            return
        duty, roles = found
        at: datetime = parse_time(said["at"])
        if not timedelta() <= entry.timestamp - at <= UNSEEN_MAX:
            detail = f"it was decided for {said['at']}, and posted at {entry.timestamp}"
            yield Finding(entry.index, RULE, detail, INTRUSION)
        handed = [handover for handover in self._handovers if handover.index < int(said["entries"])]
        for role in duty.roles:
            on_duty, says = list(duty.on_duty(role, at, handed)), list(said["on_duty"].get(role, ()))
            if on_duty != says:
                detail = f"it says that {_names(says)} had the duty of {role}, and it was {_names(on_duty)}"
                yield Finding(entry.index, RULE, detail, INTRUSION)
        for person in self._charters.people():
            ours = duty.split(person.name, roles.get(person.name, ()), at, handed)
            if ours != (person.roles, person.off_duty):
                detail = f"{person.name} has the roles {_names(person.roles)}, and by duty they are {_names(ours[0])}"
                yield Finding(entry.index, RULE, detail, INTRUSION)

    def _handed(self, entry: Entry) -> Iterator[Finding]:
        """Only who has a duty hands it over, and only to one who may have it; who takes one that nobody has says so."""
        found, actor = self._charters.duty(), entry.actor.partition(":")[2]
        for handed in handovers_of(entry):
            wrong = None
            if found is None:
                wrong = "nobody takes turns"
            elif handed.giver and (handed.giver != actor or not self._had(found[0], handed)):
                wrong = f"{actor} did not have the duty of {handed.role}"
            elif not handed.giver and handed.taker != actor:
                wrong = f"{actor} took the duty of {handed.role} for {handed.taker}"
            elif handed.taker not in found[0].members(handed.role) and handed.role not in found[1].get(
                handed.taker, ()
            ):
                wrong = f"{handed.taker} may not have the duty of {handed.role}"
            if wrong is not None:
                yield Finding(entry.index, RULE, wrong, INTRUSION)
            self._handovers.append(handed)
        kept = entry.timestamp - DAYS_KEPT
        self._handovers = [handed for handed in self._handovers if handed.until > kept]

    def _had(self, duty: Duty, handed: Handover) -> bool:
        return handed.giver in duty.on_duty(handed.role, handed.at, self._handovers)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"
