"""The fold: entries of one tenant, in order, become the book of what is open and what was decided.

Pure. The same entries always give the same book, so a restart, a replica and an auditor see the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from ledger.carried import began, is_carried
from ledger.entry import Entry, parse_time
from policy_rules.detection import reopens
from policy_rules.readings import Alert
from policy_rules.rulebook import Rule
from receiver.incident import drills, duty, forgetting, heartbeat, overflow, silences
from receiver.incident.assigned import Assigned, is_old_news
from receiver.incident.carried import State, restore
from receiver.incident.consulting import Consultation
from receiver.incident.drills import DRILL
from receiver.incident.enrolled import ENROLLED, KINDS, Enrolled
from receiver.incident.looked import hold_of, memory_of
from receiver.incident.outbox import Outbox
from receiver.incident.past import Former, Tally, past_incidents
from receiver.incident.runs import Run
from receiver.incident.shadowed import SHADOW, SHADOW_ADOPTED, Shadowed
from receiver.incident.states import (
    RESUMED_ACTION,
    TAKEN,
    Heard,
    Incident,
    Key,
    KnownAlert,
    Message,
    News,
    Proposal,
    Taken,
    Watch,
    key_of,
)
from receiver.incident.times import Times
from receiver.papers import WHATSAPP

CALLS = ("address:propose:", "address:escalate:")  # what begins the id of a message that calls somebody to decide
WANTED = "address:detail:"  # and of one that somebody asked for
UNTOLD = "untold"  # the kind of the NOTED by which news that nobody is left to hear is over
DIGESTED = "digested"  # the outcome of a message for which a digest stands
HELD_SECONDS = 900  # "On it" holds the ladder for so long
NEWSWORTHY = {"REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED", "DISPATCHED", "FAILED", "UNRESOLVED", "UNCONFIRMED"}
ENDS_A_REQUEST = {"REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED", "FAILED", "UNCONFIRMED"}
NEWSWORTHY |= {"RECOVERED", "CLOSED", "DIAGNOSED", "HALTED", "RESUMED"}

_number = attrgetter("number")


class Book:
    """Every record of one tenant, and the index (`size`) up to which the log is folded.

    kept: for how long what has ended is kept (receiver/incident/forgetting.py); None keeps everything, for auditors.
    """

    def __init__(self, tenant: str, *, kept: timedelta | None = None) -> None:
        self.tenant, self.kept = tenant, kept
        self.forgets_at = self.counts_at = forgetting.first_look(kept)
        self.size = 0
        self.last_time: datetime | None = None
        self.received: dict[int, Entry] = {}  # outstanding in the book of alerts
        self._evaluated_last: Entry | None = None  # the RECEIVED that was evaluated last
        self.alerts: dict[str, KnownAlert] = {}
        self.last_word: dict[str, datetime] = {}  # of alerts, the oldest first: when something was said of it last
        self._alerts_known = 0  # how many there were, also of those that are forgotten
        self._taken_by: dict[tuple[str, Key], set[str]] = {}  # rule and key → fingerprints of what they take
        self._missing: dict[str, Incident] = {}  # open, with alerts that vanished without a resolved
        self.watches: dict[int, Watch] = {}
        self.incidents: dict[str, Incident] = {}
        self.by_index: dict[int, Incident] = {}  # DETECTED → incident
        self.open: dict[str, Incident] = {}
        self.ended: deque[Incident] = deque()  # in the order in which they did
        self.last_of: dict[tuple[str, Key], Incident] = {}
        self.of_key: dict[tuple[str, Key], list[Incident]] = {}
        self.former: dict[tuple[str, Key], list[Former]] = {}  # the newest that are forgotten, by index
        self.tallies: dict[tuple[str, Key], Tally] = {}
        self.proposals: dict[int, Proposal] = {}  # PROPOSED → proposal
        self.authorizations: dict[int, Proposal] = {}  # AUTHORIZED → proposal
        self.executions: dict[int, Proposal] = {}  # DISPATCHED → proposal
        self.suspense: dict[int, Proposal] = {}  # UNRESOLVED → proposal
        self.verifications: dict[int, Proposal] = {}  # EXECUTED → proposal
        self.by_webhook: dict[str, Proposal] = {}
        self.messages: dict[int, Message] = {}
        self.by_sid: dict[str, Message] = {}
        self.questions: dict[str, dict[int, Message]] = {}  # by person, those that can be answered by a tap
        self.unsettled_messages: dict[int, Message] = {}
        self.consultations: dict[int, tuple[Incident, Consultation]] = {}  # outstanding
        self.heard: dict[int, Heard] = {}
        self.halts: dict[int, tuple[str, str]] = {}  # HALTED → (actor, reason)
        self.runs: list[Run] = []
        self.run_of: dict[int, Run] = {}  # PROPOSED → its run, until it is forgotten
        self.like: dict[tuple[Any, ...], tuple[str, Key, Mapping[str, Any]]] = {}  # what many forgotten runs are
        self.evaluated = 0  # how often alerts were evaluated
        self.shadow = Shadowed()
        self.silence: heartbeat.Silence | None = None  # while the heartbeat is missing
        self.enrolled = Enrolled()
        self.drills = drills.Drills()
        self.duties = duty.Duties()
        self.silences = silences.Silences()
        self.overflow: overflow.Overflow | None = None  # keys that wait for a watch
        self.outboxes: dict[str, Outbox] = {}
        self.helped: dict[str, datetime] = {}  # when each person last heard what words there are
        self.wrong_codes: dict[str, list[datetime]] = {}
        self.wrong_pins: dict[str, list[datetime]] = {}
        self.pins_wanted: dict[str, tuple[int, int, datetime]] = {}  # by person: PROPOSED, ADDRESSED, when
        self.news: dict[int, News] = {}
        self.adopted: Entry | None = None
        self.ended_before: dict[str, Incident] = {}  # in the sealed log, and what breaks again may go on from them
        self._former: dict[str, Mapping[str, Any]] = {}  # incidents that are carried forward, until they stand
        self.policies: dict[str, str] = {}  # policy digest → digest of the blob that holds its text

    def take(self, entry: Entry, assigned: Sequence[Assigned] = (), former: State | None = None) -> None:
        """Fold the next entry. `assigned`: the rows of its `alerts` blob, for EVALUATED alone.

        former: what OPENED brings of the log that this one goes on from.
        Raises ValueError if the entry is not the next one.
        """
        if entry.index != self.size:
            raise ValueError(f"{self.tenant}: entry {entry.index} does not follow {self.size - 1}")
        self.size = entry.index + 1
        self.last_time = entry.timestamp
        if entry.stage == "EVALUATED":
            self._evaluated(entry, assigned)
        elif former is not None:
            for known in former.alerts.values():
                self._know(known.alert, known.assignments, known.ended_at, entry.timestamp)
            self.runs += former.runs
            self._former |= former.incidents
            self.ended_before = {incident.id: incident for incident in former.ended}
            self.ended.extend(former.ended)
            self.last_of |= {(incident.rule, incident.key): incident for incident in former.ended}
            self.wrong_pins |= {person: list(at) for person, at in former.tries.get("wrong_pins", {}).items()}
            self.wrong_codes |= {person: list(at) for person, at in former.tries.get("wrong_codes", {}).items()}
        else:
            fold = _FOLDS.get(entry.stage)
            if fold is not None:
                fold(self, entry)
        incident = self.incidents.get(entry.incident_id or "")
        if incident is not None:
            incident.times.take(entry)
        if entry.stage in NEWSWORTHY:
            self._report(entry)
        if entry.timestamp >= self.forgets_at and not self.heard:  # nobody is being judged on what was long ago
            self.forgets_at = forgetting.forget(self, entry.timestamp)

    # --- questions -------------------------------------------------------------------------------------------------

    def alerts_of(self, rule: str, key: Key) -> list[Alert]:
        """The alerts, firing or ended, that this rule takes under this key, in the order in which they first came."""
        taken = (self.alerts[fingerprint] for fingerprint in self._taken_by.get((rule, key), ()))
        return [known.alert for known in sorted(taken, key=_number)]

    def outbox(self, person: str) -> Outbox:
        return self.outboxes.setdefault(person, Outbox())

    def halted(self) -> bool:
        return bool(self.halts)

    def message_by_sid(self, sid: str) -> Message | None:
        return self.by_sid.get(sid)

    def past(self, incident: Incident) -> list[Former]:
        """The incidents of the same rule and key before it, the newest first."""
        of = incident.rule, incident.key
        return past_incidents([*self.former.get(of, ()), *map(Former.of, self.of_key[of])], incident.index)

    def open_incident(self, rule: str, key: Key) -> Incident | None:
        incident = self.last_of.get((rule, key))
        return incident if incident is not None and incident.open else None

    def again(self, rule: Rule, key: Key, now: datetime) -> dict[str, Any]:
        """What a DETECTED says of the incident that it counts as a part of; {} where it is one of its own."""
        last = self.last_of.get((rule.name, key))
        if last is None or last.closed_at is None or not (why := reopens(rule, last.closed_at, now)).holds:
            return {}
        return {"continues": last.id, "part": last.part + 1, "reopened": why.to_body() | {"end": last.closed_index}}

    def requested(self, rule: str, action: str, key: Key) -> Incident | None:
        """The open incident in which somebody asked by hand for this, or for anything about it that is undecided."""
        asked = (i for i in self.open.values() if i.requested_by and (i.rule, i.key) == (rule, key))
        return next((i for i in asked if i.requested_action == action or i.last is None or _undecided(i.last)), None)

    def asked_by_hand(self, rule: str, key: Key) -> Incident | None:
        """An open incident about the same that somebody asked for by hand and that is not decided yet."""
        asked = (i for i in self.open.values() if i.requested_by and (i.rule, i.key) == (rule, key))
        return next((i for i in asked if i.last is not None and _undecided(i.last)), None)

    def overtaken(self, incident: Incident) -> Incident | None:
        """What an alert opened about the same since `incident` was asked for by hand: that one asks from then on."""
        other = self.open_incident(incident.rule, incident.key) if incident.requested_by else None
        return other if other is not None and other.index > incident.index else None

    def asking(self, incident: Incident) -> Incident | None:
        """Another open incident about the same whose question is not decided yet."""
        other = self.open_incident(incident.rule, incident.key)
        if other is None or other is incident or other.last is None:
            return None
        return other if _undecided(other.last) else None

    def held_back(self, action: str) -> bool:
        """Whether a run of `action` failed or did not help, and nobody has let it go on since."""
        return any(r.helped is False and not r.forgiven and r.proposal.body["action"] == action for r in self.runs)

    def watched(self, rule: str, key: Key) -> Watch | None:
        return next((w for w in self.watches.values() if w.rule == rule and w.key == key), None)

    # --- the fold ----------------------------------------------------------------------------------------------------

    def _report(self, entry: Entry) -> None:
        incident = self.incidents.get(entry.incident_id or "")
        if incident is None:
            return
        if entry.stage == "DIAGNOSED" and incident.told_at is None:
            return  # the first message will carry it
        if entry.stage in ("WITHDRAWN", "VOIDED") and incident.closed:
            return  # the end of the incident is the news
        if incident.requested_by and entry.stage in ENDS_A_REQUEST:
            return  # its CLOSED follows at once, and says it
        self.news[entry.index] = News(entry.index, entry.stage, incident.id, entry.timestamp, entry.actor)

    def _adopted(self, entry: Entry) -> None:
        self.adopted = entry
        for blob in entry.blobs:
            if blob.name == "policy" and entry.policy_digest:
                self.policies[entry.policy_digest] = blob.digest

    def _received(self, entry: Entry) -> None:
        self.received[entry.index] = entry

    def _evaluated(self, entry: Entry, assigned: Sequence[Assigned]) -> None:
        received = self.received.pop(_settled(entry), None)
        self._evaluated_last = received
        self.evaluated += 1
        self.overflow = overflow.evaluated(self.overflow, entry)
        for row in assigned:
            known = self.alerts.get(row.alert.fingerprint)
            ended = known.ended_at if known else None
            if is_old_news(known, row.alert):
                continue
            if not row.alert.firing:
                said = row.alert.ends_at or entry.timestamp
                # A late word of an older end takes nothing back: the alert has ended since, and does not fire again.
                ended = max(said, ended) if ended is not None and known and not known.alert.firing else said
            self._know(row.alert, row.assignments, ended, entry.timestamp)
            for incident in self._missing.values():
                incident.gone.discard(row.alert.fingerprint)

    def _know(
        self, alert: Alert, assignments: tuple[tuple[str, Key], ...], ended_at: datetime | None, at: datetime
    ) -> None:
        before = self.alerts.get(alert.fingerprint)
        number = before.number if before is not None else self._alerts_known
        self._alerts_known += before is None
        self.alerts[alert.fingerprint] = KnownAlert(alert, assignments, ended_at, number)
        self.last_word.pop(alert.fingerprint, None)
        self.last_word[alert.fingerprint] = at
        if before is not None and before.assignments != assignments:
            for taker in before.assignments:
                self._taken_by[taker].discard(alert.fingerprint)
        for taker in assignments:
            self._taken_by.setdefault(taker, set()).add(alert.fingerprint)

    def _watched(self, entry: Entry) -> None:
        origin = entry.cites[0] if entry.cites else entry.index
        heard = self._evaluated_last  # stands in one post with its watches
        self.watches[entry.index] = Watch(
            index=entry.index,
            rule=entry.body["rule"],
            key=key_of(entry.body["key"]),
            since=began(entry),
            heard_at=heard.timestamp if heard is not None and heard.index == origin else began(entry),
            carried_at=entry.timestamp if is_carried(entry) else None,
            received=origin,
            policy_digest=entry.policy_digest or "",
        )

    def _looked(self, entry: Entry) -> None:
        subject = entry.body["subject"]
        record = self.watches.get(subject) or self.by_index.get(subject)
        if record is not None:
            record.looks += 1
            record.memory = memory_of(entry.body["verdict"], entry.timestamp)
            record.hold = entry.body.get("hold") or hold_of(entry.body["verdict"], record.memory)
            record.outcome = entry.body["verdict"]["outcome"]

    def _detected(self, entry: Entry) -> None:
        watch = self.watches.pop(_settled(entry), None)
        incident = Incident(
            id=entry.incident_id or "",
            index=entry.index,
            rule=entry.body["rule"],
            key=key_of(entry.body["key"]),
            title=entry.body["title"],
            summary=entry.body["summary"],
            severity=entry.body["severity"],
            reason=entry.reason,
            opened_at=began(entry),
            carried_at=entry.timestamp if is_carried(entry) else None,
            policy_version=entry.policy_version or "",
            policy_digest=entry.policy_digest or "",
            times=Times(watch.heard_at if watch is not None else None),
            requested_by=entry.body.get("requested_by", ""),
            requested_action=entry.body.get("requested_action", ""),
            said=entry.body.get("said"),
        )
        before = entry.body.get("continues") or ""
        former = self.incidents.get(before) or self.ended_before.get(before)
        if former is not None:
            incident.continues, incident.part = former.id, former.part + 1
            incident.tried_before, incident.held_until = former.tried, former.held_until
            incident.people = set(former.people)
        if is_carried(entry) and incident.id in self._former:
            restore(incident, self._former.pop(incident.id))
            if incident.gone:
                self._missing[incident.id] = incident
        self.incidents[incident.id] = self.open[incident.id] = self.by_index[entry.index] = incident
        if not incident.requested_by:  # an alert's incident is its own, whatever somebody asked for meanwhile
            self.last_of[incident.rule, incident.key] = incident
        self.of_key.setdefault((incident.rule, incident.key), []).append(incident)
        self.tallies.setdefault((incident.rule, incident.key), Tally()).add(incident)

    def _cleared(self, entry: Entry) -> None:
        self.watches.pop(_settled(entry), None)
        for fingerprint in entry.body.get("gone", ()):
            # It fires nowhere any more, and nobody said when it ended: if it comes back, that is news.
            known = self.alerts.get(fingerprint)
            if known is not None:
                known.alert = replace(known.alert, firing=False)

    def _ended(self, entry: Entry) -> None:
        incident = self.by_index[_settled(entry)]
        incident.closed, incident.closed_index, incident.closed_at = entry.stage, entry.index, entry.timestamp
        alerts = self.alerts_of(incident.rule, incident.key)
        incident.closed_with = {alert.fingerprint: alert.starts_at for alert in alerts}
        self.open.pop(incident.id, None)
        self.ended.append(incident)
        self._missing.pop(incident.id, None)

    def _consulted(self, entry: Entry) -> None:
        incident = self.incidents[entry.incident_id or ""]
        consultation = Consultation(entry.index, parse_time(entry.body["until"]), case=entry.body.get("case") or {})
        incident.consultations.append(consultation)
        self.consultations[entry.index] = (incident, consultation)

    def _diagnosed(self, entry: Entry) -> None:
        oldest = next(iter(self.consultations), entry.index)  # they stand in the order in which they were asked
        incident, consultation = self.consultations.pop(_settled(entry))
        consultation.earlier = self.tallies[incident.rule, incident.key].standing(consultation.index, oldest)
        consultation.outcome, consultation.outcome_index = entry.stage, entry.index
        consultation.body, consultation.confidence = entry.body, entry.confidence

    def _proposed(self, entry: Entry) -> None:
        incident = self.incidents[entry.incident_id or ""]
        proposal = Proposal(
            index=entry.index,
            incident_id=incident.id,
            number=len(incident.proposals),
            body=entry.body,
            request_digest=next((b.digest for b in entry.blobs if b.name == "request"), ""),
            proposed_at=entry.timestamp,
            expires_at=parse_time(entry.body["expires_at"]),
            authorize_until=parse_time(entry.body["authorize_until"]),
        )
        incident.proposals.append(proposal)
        self._spoken(incident, entry)
        self.proposals[entry.index] = proposal
        self.by_webhook[entry.body["webhook_id"]] = proposal

    def _answered(self, entry: Entry) -> None:
        self.heard.pop(_settled(entry), None)
        person = entry.actor.partition(":")[2]
        if entry.stage == "APPROVED":
            self.proposals[entry.cites[0]].approvals[person] = entry.index
            self.pins_wanted.pop(person, None)
        elif entry.stage == "DECLINED":
            self.proposals[entry.cites[0]].declined_by = person
        elif entry.stage == "HEEDED" and entry.body.get("what") == "help":
            self.helped[entry.body["person"]] = entry.timestamp
        elif entry.stage == "HEEDED" and entry.body.get("what") == "pin wanted":
            self.pins_wanted[entry.body["person"]] = entry.body["proposal"], entry.body["message"], entry.timestamp
        elif entry.stage == "REFUSED" and entry.body.get("why") == "wrong PIN":
            self.wrong_pins.setdefault(entry.body.get("person") or "", []).append(entry.timestamp)
        elif entry.stage == "REFUSED" and entry.body.get("why") == "wrong code":
            self.wrong_codes.setdefault(entry.body.get("person") or "", []).append(entry.timestamp)

    def _decided(self, entry: Entry) -> None:
        proposal = self.proposals[_settled(entry)]
        proposal.outcome, proposal.outcome_index = entry.stage, entry.index
        proposal.decided_by = entry.actor.partition(":")[2] or proposal.declined_by
        if entry.stage == "AUTHORIZED":
            proposal.authorization = entry.index
            self.authorizations[entry.index] = proposal

    def _dispatched(self, entry: Entry) -> None:
        proposal = self.authorizations.pop(_settled(entry))
        proposal.dispatched, proposal.dispatched_at = entry.index, entry.timestamp
        proposal.execute_until = parse_time(entry.body["until"])
        self.executions[entry.index] = proposal
        incident = self.incidents[proposal.incident_id]
        self.run_of[proposal.index] = run = Run(incident.rule, incident.key, entry.timestamp, proposal)
        self.runs.append(run)

    def _voided(self, entry: Entry) -> None:
        proposal = self.authorizations.pop(_settled(entry))
        proposal.result, proposal.result_index = "VOIDED", entry.index

    def _resulted(self, entry: Entry) -> None:
        settled = _settled(entry)
        proposal = self.executions.pop(settled, None) or self.suspense.pop(settled)
        proposal.result, proposal.result_index = entry.stage, entry.index
        proposal.ran = bool(entry.body.get("ran", True))
        if entry.stage == "UNRESOLVED":
            self.suspense[entry.index] = proposal
        elif entry.stage == "EXECUTED":
            proposal.verify_until = parse_time(entry.body["verify_until"])
            self.verifications[entry.index] = proposal

    def _verified(self, entry: Entry) -> None:
        self.verifications.pop(_settled(entry)).verified = entry.stage

    def _addressed(self, entry: Entry) -> None:
        body = entry.body
        message = Message(
            index=entry.index,
            person=body["person"],
            kind=body["kind"],
            incident_id=entry.incident_id,
            proposal=body.get("proposal"),
            until=parse_time(body["until"]),
            addressed_at=entry.timestamp,
            content_digest=next((b.digest for b in entry.blobs if b.name == "content"), ""),
            channel=str(body.get("channel", WHATSAPP)),
            digest=entry.id.startswith("address:digest:"),
            wanted=entry.id.startswith(WANTED),
        )
        if message.kind == "opened":
            # The proposal stands in the same post, so its index is cited, not written into the body.
            message.proposal = entry.cites[0]
        elif message.kind == DRILL:
            message.drill = entry.cites[0]
        self.messages[entry.index] = self.unsettled_messages[entry.index] = message
        if message.subject is not None:
            self.questions.setdefault(message.person, {})[entry.index] = message
        incident = self.incidents.get(entry.incident_id or "")
        if incident is not None:
            incident.people.add(message.person)
            if entry.id.startswith(CALLS):
                incident.called.add(entry.index)
        for cited in entry.cites:
            self.news.pop(cited, None)

    def _sent(self, entry: Entry) -> None:
        message = self.messages.get(entry.body["message"])
        if message is not None:
            if not message.sids:
                self.outbox(message.person).send(message, entry.timestamp)
            self._copied(message, entry.body["sid"])

    def _copied(self, message: Message, sid: str) -> None:
        message.sids.add(sid)
        if self.by_sid.setdefault(sid, message).index < message.index:
            self.by_sid[sid] = message

    def _delivered(self, entry: Entry) -> None:
        message = self.unsettled_messages.pop(_settled(entry))
        message.outcome = entry.stage
        if entry.decision == DIGESTED:
            self.outbox(message.person).digested.add(message.incident_id or "")
        incident = self.incidents.get(message.incident_id or "")
        if incident is not None and message.index in incident.called and entry.stage == "UNDELIVERED":
            incident.called.remove(message.index)
            incident.lost += entry.decision != DIGESTED
        if (sid := entry.body.get("sid")) and sid not in message.sids:
            self._copied(message, sid)

    def _heard(self, entry: Entry) -> None:
        self.heard[entry.index] = Heard(entry.index, entry.timestamp, entry.body, entry.incident_id)

    def _halted(self, entry: Entry) -> None:
        self.halts[entry.index] = (entry.actor, entry.reason)

    def _resumed(self, entry: Entry) -> None:
        self.halts.pop(_settled(entry), None)

    def _escalated(self, entry: Entry) -> None:
        incident = self.incidents[entry.incident_id or ""]
        self._spoken(incident, entry)
        incident.escalated = max(incident.escalated, int(entry.body["step"]))

    def _spoken(self, incident: Incident, entry: Entry) -> None:
        """People are told of an open incident. The ladder of one that was muted until then begins with that."""
        if incident.told_at is None and incident.muted:
            incident.ladder_from = entry.timestamp
        incident.told_at = incident.told_at or entry.timestamp
        if entry.body.get("step") != 0:  # the first step stands in one post with the question
            incident.called, incident.lost = set(), 0
        incident.muted = False

    def _reminded(self, entry: Entry) -> None:
        incident = self.incidents[entry.incident_id or ""]
        incident.reminders += 1
        incident.reminded_at = entry.timestamp
        incident.muted = False

    def _acknowledged(self, entry: Entry) -> None:
        incident = self.incidents.get(entry.incident_id or "")
        if incident is not None:
            incident.held_until = parse_time(entry.body["held_until"])

    def _noted(self, entry: Entry) -> None:
        if entry.body.get("kind") in (SHADOW, SHADOW_ADOPTED):
            self.shadow.take(entry)
        if entry.body.get("kind") in KINDS:
            self.enrolled.take(entry)
            if entry.body["kind"] == ENROLLED:
                self.wrong_pins.pop(entry.body["person"], None)
        if entry.body.get("kind") in drills.KINDS:
            self.drills.take(entry)
        if entry.body.get("kind") in duty.KINDS:
            self.duties.take(entry)
        if entry.body.get("kind") == overflow.OVER_LIMIT:
            self.overflow = overflow.noted(self.overflow, entry)
        if entry.body.get("kind") in silences.KINDS:
            self.silences.take(entry)
        if entry.body.get("kind") == UNTOLD:
            for cited in entry.cites:
                self.news.pop(cited, None)
        if entry.body.get("kind") in (heartbeat.MISSING, heartbeat.BACK):
            self.silence = heartbeat.fold(self.silence, entry)
        if entry.body.get("kind") == RESUMED_ACTION:
            for run in self.runs:
                run.forgiven |= run.proposal.body["action"] == entry.body["action"]
        if entry.body.get("kind") == TAKEN and entry.cites and entry.cites[0] in self.executions:
            until = parse_time(entry.body["until"])
            self.executions[entry.cites[0]].taken = Taken(entry.body["poll"], entry.timestamp, until)
        incident = self.incidents.get(entry.incident_id or "")
        if incident is not None and entry.body.get("kind") == "gone":
            incident.gone.update(entry.body["fingerprints"])
            if incident.open:
                self._missing[incident.id] = incident
            self.news[entry.index] = News(entry.index, "GONE", incident.id, entry.timestamp, entry.actor)
        elif incident is not None and entry.body.get("kind") == "muted":
            incident.mutes += 1
            incident.muted = True


def _undecided(proposal: Proposal) -> bool:
    return proposal.open or proposal.authorized


def _settled(entry: Entry) -> int:
    if entry.settles is None:
        raise ValueError(f"entry {entry.index} ({entry.stage}) settles nothing")
    return entry.settles


_FOLDS: Mapping[str, Callable[[Book, Entry], None]] = {
    "ADOPTED": Book._adopted,
    "RECEIVED": Book._received,
    "WATCHED": Book._watched,
    "LOOKED": Book._looked,
    "DETECTED": Book._detected,
    "CLEARED": Book._cleared,
    "RECOVERED": Book._ended,
    "CLOSED": Book._ended,
    "CONSULTED": Book._consulted,
    "DIAGNOSED": Book._diagnosed,
    "UNDIAGNOSED": Book._diagnosed,
    "PROPOSED": Book._proposed,
    "APPROVED": Book._answered,
    "DECLINED": Book._answered,
    "REFUSED": Book._answered,
    "HEEDED": Book._answered,
    "AUTHORIZED": Book._decided,
    "REJECTED": Book._decided,
    "EXPIRED": Book._decided,
    "WITHDRAWN": Book._decided,
    "DISPATCHED": Book._dispatched,
    "VOIDED": Book._voided,
    "EXECUTED": Book._resulted,
    "FAILED": Book._resulted,
    "UNRESOLVED": Book._resulted,
    "WRITTEN_OFF": Book._resulted,
    "CONFIRMED": Book._verified,
    "UNCONFIRMED": Book._verified,
    "WAIVED": Book._verified,
    "ADDRESSED": Book._addressed,
    "SENT": Book._sent,
    "DELIVERED": Book._delivered,
    "UNDELIVERED": Book._delivered,
    "HEARD": Book._heard,
    "HALTED": Book._halted,
    "RESUMED": Book._resumed,
    "ESCALATED": Book._escalated,
    "REMINDED": Book._reminded,
    "ACKNOWLEDGED": Book._acknowledged,
    "NOTED": Book._noted,
}
