"""What happens in a case: each event, as the service would be told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.entry import Blob, Draft
from ledger.journal import LedgerError
from policy_rules.casebook.cases import Event
from receiver.governor.changes import GovernorChanges
from receiver.governor.desk import Desk
from receiver.incident.notification import read_notification
from receiver.papers import ChangeRefused, Diagnosis, OutgoingMessage, Usage
from receiver.rehearsal.outside import Outside


class Impossible(Exception):
    """The event cannot happen as things stand; the message says why."""


@dataclass(slots=True)
class Happenings:
    """The events of one case. firing: since when each alert fires, by its labels. heard: the answers so far."""

    desk: Desk
    outside: Outside
    firing: dict[str, datetime] = field(default_factory=dict)
    heard: int = 0

    async def happen(self, event: Event) -> str | None:
        """Let `event` happen; why it cannot, where it cannot."""
        try:
            if event.what in ("fire", "resolve"):
                await self._notify(event.details, firing=event.what == "fire")
            elif event.what == "answer":
                await self._answer(event)
            elif event.what == "diagnosis":
                self._diagnose(event.details)
            elif event.what == "executor":
                self.outside.executor = event.value
            elif event.what == "prometheus":
                self.outside.prometheus_up = event.value == "up"
            else:
                await self._change(event)
        except (ChangeRefused, LedgerError, Impossible) as refused:
            return str(refused)
        return None

    async def _change(self, event: Event) -> None:
        """What a person changes by name, as through the API."""
        changes, book = GovernorChanges(self.desk), self.desk.book
        if event.what == "halt":
            await changes.halt(event.by, event.value)
        elif event.what == "resume":
            await changes.resume(event.by, event.value)
        elif event.what == "resume_action":
            await changes.resume_action(event.value, event.by, "resumed")
        elif event.what == "close":
            if not book.open:
                raise Impossible("no incident is open")
            for incident in list(book.open.values()):
                await changes.close(incident.id, event.by, event.value)
        else:
            doubts = [i for i in book.incidents.values() if any(p.in_suspense for p in i.proposals)]
            if not doubts:
                raise Impossible("no execution is unresolved")
            for incident in doubts:
                await changes.settle(incident.id, event.by, event.value, event.value)

    async def _notify(self, labels: Mapping[str, str], *, firing: bool) -> None:
        """The notification that Alertmanager would send, booked as the intake books it."""
        now = self.desk.clock.now()
        name = json.dumps(dict(labels), sort_keys=True)
        since = now if firing else self.firing.get(name, now)
        self.firing[name] = since
        row = {
            "status": "firing" if firing else "resolved",
            "labels": dict(labels),
            "annotations": {},
            "startsAt": since.isoformat(),
            "endsAt": "0001-01-01T00:00:00Z" if firing else now.isoformat(),
        }
        body = json.dumps({"version": "4", "receiver": "counterfoil", "alerts": [row]}).encode()
        read = read_notification(body)
        await self.desk.post(
            Draft(
                id=f"receive:{read.content_digest}",
                stage="RECEIVED",
                actor="alertmanager",
                body={"source": read.source, "receiver": read.receiver, "alerts": 1, "truncated": 0},
                blobs=(Blob("payload", body),),
            )
        )

    async def _answer(self, event: Event) -> None:
        message = self._question_to(event.by)
        if message is None:
            raise Impossible(f"{event.by} was asked nothing")
        index = int(message.message_id.rpartition("-")[2])
        about = self.desk.book.messages[index].proposal
        asked = str(self.desk.book.proposals[about].body["action"]) if about is not None else "nothing"
        if event.action and asked != event.action:
            raise Impossible(f"{event.by} was asked about {asked}, not about {event.action}")
        self.heard += 1
        await self.desk.post(
            Draft(
                id=f"heard:{self.heard}",
                stage="HEARD",
                actor="carrier:whatsapp",
                reason=f"{event.by}: {event.value}",
                body={"person": event.by, "verb": event.value, "token": message.token, "code": None, "text": ""},
            )
        )

    def _question_to(self, person: str) -> OutgoingMessage | None:
        mine = (m for m in reversed(self.outside.messages) if m.recipient.name == person and m.token is not None)
        return next(mine, None)

    def _diagnose(self, details: Mapping[str, str]) -> None:
        cause = details["cause"] or "the case's diagnosis"
        recommend, confidence = details["recommend"] or None, details["confidence"]
        self.outside.diagnosis = Diagnosis(
            cause, cause, (), recommend, confidence, "", 0, "none", "", Usage(), 0.0, "", ""
        )
        self.outside.diagnosed.set()
