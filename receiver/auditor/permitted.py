"""Who was asked, who answered and who counted, against the policy and the roster in force at that entry. Pure.

This is decided from the texts that were adopted, entry by entry, by code that shares no fold with the governor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ledger.entry import Entry
from ledger.findings.finding import INTRUSION, Finding
from policy_rules.approval import Person, as_asked, eligible, levels, needed
from policy_rules.rulebook import Action
from receiver.auditor.charters import Blobs, Charters, Unreadable
from receiver.auditor.duties import RULE, Duties

RULES: Mapping[str, str] = {
    "policy text": "what was adopted is there to be read, and is what its digest and version say",
    RULE: "who is on duty follows from the rotations, the overrides, and what was handed over by those who had it",
    "approver": "who is asked, answers and counts may do so by the policy and the roster in force at that entry",
}
_READ = "restore the blob from a backup: its digest names it"


@dataclass(slots=True)
class _Question:
    """A PROPOSED that nothing has ended: what it asks for, under which policy, and who approved by which entry."""

    rule: str
    policy: str
    action: str
    requester: str
    asked: frozenset[str]
    pin: bool
    approvals: dict[int, str] = field(default_factory=dict)


class Permitted:
    """One log as it is walked through, entry by entry, in order. It keeps what is open."""

    def __init__(self, blob: Blobs) -> None:
        self._charters = Charters(blob)
        self._duties = Duties(self._charters)
        self._incidents: dict[int, tuple[str, str, str]] = {}  # DETECTED → incident, rule, policy
        self._questions: dict[int, _Question] = {}  # by PROPOSED
        self._heard: dict[int, str | None] = {}  # HEARD that nothing settled → whether the PIN was right
        self._authorized: dict[int, int] = {}  # AUTHORIZED → PROPOSED

    def take(self, entry: Entry) -> Iterator[Finding]:
        """The findings of the next entry. To be exhausted before the one after it is taken."""
        if not entry.well_formed:
            return
        try:
            yield from self._judge(entry)
            yield from self._duties.judge(entry)
        except Unreadable as error:
            yield Finding(entry.index, "policy text", str(error), _READ)
        self._keep(entry)

    def _judge(self, entry: Entry) -> Iterator[Finding]:
        if entry.stage == "ADOPTED":
            yield from self._adopted(entry)
        elif entry.stage == "PROPOSED":
            yield from self._proposed(entry)
        elif entry.stage in ("APPROVED", "DECLINED") and entry.cites:
            question = self._questions.get(entry.cites[0])
            may = self._eligible(self._actions(question)[-1:], question) if question is not None else set()
            name = entry.actor.partition(":")[2]
            if question is not None and name not in may:
                detail = f"{name} may not answer for {question.action}; {_names(may)} may"
                yield Finding(entry.index, "approver", detail, INTRUSION)
            pin = self._heard.get(entry.settles if entry.settles is not None else -1)
            if question is not None and question.pin and entry.stage == "APPROVED" and pin != "right":
                detail = f"{name} approved {question.action} without the PIN that it asks for"
                yield Finding(entry.index, "approver", detail, INTRUSION)
        elif entry.stage in ("AUTHORIZED", "DISPATCHED"):
            yield from self._acted(entry)

    def _adopted(self, entry: Entry) -> Iterator[Finding]:
        self._charters.take(entry)
        rulebook = self._charters.in_force()
        self._charters.people()
        said = entry.body.get("name"), entry.policy_version
        if said != (rulebook.name, rulebook.version):
            detail = f"it says {said[0]} {said[1]}, and the text is {rulebook.name} {rulebook.version}"
            yield Finding(entry.index, "policy text", detail, INTRUSION)

    def _proposed(self, entry: Entry) -> Iterator[Finding]:
        question = self._question(entry)
        if question is None:
            return
        actions = self._actions(question)
        if not actions:
            detail = f"no policy in force has an action {question.action} in {question.rule}"
            yield Finding(entry.index, "approver", detail, INTRUSION)
            return
        named, quorum = entry.body.get("approvers"), entry.body.get("quorum")
        may, least = self._eligible(actions, replace(question, asked=frozenset())), _quorum(actions)
        strangers = {str(name) for name in named} - may if isinstance(named, list) else set()
        if strangers:
            detail = f"it asks {_names(strangers)}, and only {_names(may)} may approve {question.action}"
            yield Finding(entry.index, "approver", detail, INTRUSION)
        if isinstance(quorum, int) and quorum < least:
            detail = f"it asks for {quorum} approvals, and policy for {least}"
            yield Finding(entry.index, "approver", detail, INTRUSION)

    def _acted(self, entry: Entry) -> Iterator[Finding]:
        """AUTHORIZED and DISPATCHED: those who approved must still be those who may, and enough of them."""
        settles = entry.settles if entry.settles is not None else -1
        question = self._questions.get(settles if entry.stage == "AUTHORIZED" else self._authorized.get(settles, -1))
        if question is None:
            return
        actions = self._actions(question)
        approved = set(question.approvals.values())
        if entry.stage == "AUTHORIZED":
            approved = {who for index, who in question.approvals.items() if index in entry.cites}
        counted, quorum = approved & self._eligible(actions, question), _quorum(actions)
        if len(counted) < quorum:
            detail = f"approved by {_names(approved)}, of whom {len(counted)} of {quorum} may approve {question.action}"
            yield Finding(entry.index, "approver", detail, INTRUSION)
            return
        people = self._people(question)
        if not all(levels(action, people, question.requester).met(counted) for action in actions):
            detail = f"approved by {_names(counted)}, who are not enough at both levels for {question.action}"
            yield Finding(entry.index, "approver", detail, INTRUSION)

    def _question(self, entry: Entry) -> _Question | None:
        for incident, rule, policy in self._incidents.values():
            if incident == entry.incident_id:
                asked_by = str(entry.body.get("requested_by", ""))
                named = entry.body.get("approvers")
                asked = frozenset(map(str, named)) if isinstance(named, list) else frozenset[str]()
                pin = bool(entry.body.get("pin"))
                return _Question(rule, policy, str(entry.body.get("action")), asked_by, asked, pin)
        return None

    def _actions(self, question: _Question) -> list[Action]:
        """The action by the incident's policy and by the one in force; none where one of them has it no more."""
        found = []
        for book in (self._charters.rulebook(question.policy), self._charters.in_force()):
            try:
                action = book.rule(question.rule).actions.get(question.action)
            except KeyError:
                action = None
            if action is None:
                return []
            found.append(action)
        return found

    def _people(self, question: _Question) -> tuple[Person, ...]:
        """The roster in force, with what those who were asked held then."""
        return as_asked(self._charters.people(), question.asked)

    def _eligible(self, actions: Sequence[Action], question: _Question) -> set[str]:
        people, requester = self._people(question), question.requester
        return set.intersection(*(eligible(action, people, requester) for action in actions)) if actions else set()

    def _keep(self, entry: Entry) -> None:
        settles = entry.settles if entry.settles is not None else -1
        self._incidents.pop(settles, None)
        self._heard.pop(settles, None)
        if entry.stage == "HEARD":
            self._heard[entry.index] = entry.body.get("pin")
        if entry.stage == "DETECTED" and entry.incident_id is not None:
            rule = str(entry.body.get("rule"))
            self._incidents[entry.index] = entry.incident_id, rule, entry.policy_digest or ""
        elif entry.stage == "PROPOSED" and (question := self._question(entry)) is not None:
            self._questions[entry.index] = question
        elif entry.stage == "APPROVED" and entry.cites and entry.cites[0] in self._questions:
            self._questions[entry.cites[0]].approvals[entry.index] = entry.actor.partition(":")[2]
        elif entry.stage == "AUTHORIZED":
            self._authorized[entry.index] = settles
        else:
            # Rejected, expired, withdrawn, dispatched or void: the way of this question has ended.
            self._questions.pop(self._authorized.pop(settles, settles), None)


def _quorum(actions: Sequence[Action]) -> int:
    return max((needed(action) for action in actions), default=1)


def _names(people: set[str]) -> str:
    return ", ".join(sorted(people)) or "nobody"
