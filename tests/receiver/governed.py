"""A tenant under a governor, on a clock of its own, with a log in memory and a made-up outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ledger.entry import Blob, Draft, Entry
from ledger.journal import Conflict, Receipt
from policy_rules.casebook.cases import Case
from policy_rules.loading import load
from receiver.authorization import codes
from receiver.governor.desk import Charter, Desk, Member
from receiver.governor.loop import Governor
from receiver.incident.heartbeat import Heartbeat
from receiver.incident.outbox import NO_LIMIT, Pace
from receiver.metrics import Metrics
from receiver.papers import NotSent, OutgoingMessage, Recipient, Sent
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock, CaseExecutors, Outside

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TENANT = "default"
SECRET = b"a secret of the tests"
POLICY = """\
policy: {name: p, version: '1'}
rules:
  - name: disk
    matchers: ['alertname="DiskFilling"']
    group_by: [host]
    recover: {when: [alerts.firing == 0]}
    diagnosis_wait: 0s
    actions:
      clean: {executor: clean, title: remove old files, approvers: {roles: [oncall, leads]}, expires: 15m}
    escalation:
      - {after: 0s, notify: ["role:oncall"]}
      - {after: 5m, notify: ["role:leads"]}
"""
PEOPLE = {"tendai": ("oncall",), "ruth": ("leads",)}


@dataclass
class Phones(Outside):
    """The carrier keeps what it was given, and does not reach whom it is told not to reach."""

    refuses: dict[str, NotSent] = field(default_factory=dict)

    async def send(self, message: OutgoingMessage) -> Sent | NotSent:
        refusal = self.refuses.get(message.recipient.name)
        return refusal if refusal is not None else await super().send(message)


class GrowingJournal(MemoryJournal):
    """One that tells who waits when it has grown, and knows the same id with another body, as a ledger does."""

    def __init__(self) -> None:
        super().__init__(TENANT, lambda: NOW)
        self._news = asyncio.Event()

    def at(self, clock: CaseClock) -> None:
        self._clock = clock.now

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        for draft in drafts:
            standing = self._by_id.get(draft.id)
            if standing is not None and dict(standing.body) != dict(draft.body):
                raise Conflict(draft.id)
        receipt = await super().post(tenant, drafts)
        news, self._news = self._news, asyncio.Event()
        news.set()
        return receipt

    async def wait(self, tenant: str, size: int) -> None:
        while len(self.log) <= size:
            await self._news.wait()


class Governed:
    """A governor and what it needs. `charter` may be replaced through `governor.reload`."""

    def __init__(
        self,
        policy: str = POLICY,
        people: Mapping[str, Sequence[str]] = PEOPLE,
        *,
        heartbeat: Heartbeat | None = None,
        pace: Pace = NO_LIMIT,
        journal: MemoryJournal | None = None,
        clock: CaseClock | None = None,
    ) -> None:
        self.clock = clock or CaseClock(NOW)
        self.journal = journal or MemoryJournal(TENANT, self.clock.now)
        self.outside = Phones(Case("none", 1, NOW, 30, (), {}, (), ()), self.clock)
        members = {
            name: Member(Recipient(name, f"whatsapp:+2637712345{at:02}"), frozenset(roles), f"hmac-{name}")
            for at, (name, roles) in enumerate(people.items())
        }
        rulebook = load(policy, file="p.yml", environment={})
        executors = {a.executor: "http://x.example/" for rule in rulebook.rules for a in rule.actions.values()}
        self.executors = CaseExecutors(self.outside)
        self.desk = Desk(
            tenant=TENANT,
            journal=self.journal,
            clock=self.clock,
            evidence=self.outside,
            alert_source=self.outside,
            diagnostician=self.outside,
            carrier=self.outside,
            executors=self.executors,
            charter=Charter(rulebook, members, executors, heartbeat=heartbeat),
            metrics=Metrics(),
            secret=SECRET,
            pace=pace,
        )
        self.governor = Governor(self.desk, poll=False)
        self._heard = 0

    async def rest(self) -> None:
        """Take every step that is due; Claude, who never answers here, is not waited for."""
        while True:
            taken, _ = await self.governor.turn()
            running = [task for name, task in self.governor._running.items() if not name.startswith("consult")]
            await asyncio.gather(*running)
            if not taken and not running:
                return

    async def after(self, seconds: float) -> None:
        self.clock.advance(self.clock.now() + timedelta(seconds=seconds))
        await self.rest()

    async def fire(
        self,
        *hosts: str,
        firing: bool = True,
        annotations: Mapping[str, str] | None = None,
        since: datetime = NOW,
    ) -> None:
        """Alertmanager tells of the disks of `hosts` at once, and everything that is due then is done."""
        hosts = hosts or ("db1",)
        alerts = [
            {
                "status": "firing" if firing else "resolved",
                "labels": {"alertname": "DiskFilling", "host": host, "severity": "critical"},
                "annotations": {"summary": f"the disk of {host} fills", **(annotations or {})},
                "startsAt": since.isoformat(),
                "endsAt": "0001-01-01T00:00:00Z" if firing else self.clock.now().isoformat(),
                "fingerprint": host.encode().hex().rjust(16, "0"),
            }
            for host in hosts
        ]
        payload = json.dumps({"version": "4", "receiver": "counterfoil", "alerts": alerts}).encode()
        number = len(hosts)
        body = {"source": "alertmanager", "receiver": "counterfoil", "alerts": number, "firing": number * firing}
        body |= {"resolved": number * (not firing), "truncated": 0}
        draft = Draft(
            id=f"receive:{hosts[0]}:{firing}:{self.desk.book.size}",
            stage="RECEIVED",
            actor="alertmanager",
            body={**body, "unreadable": []},
            blobs=(Blob("payload", payload),),
        )
        await self.desk.post(draft)
        await self.rest()

    async def hear(
        self, person: str | None, text: str, *, payload: str | None = None, identity: str = "", pin: str = ""
    ) -> Entry:
        """A person writes or taps; the HEARD, once it was judged. pin: what the intake says of the digits in it."""
        answer = codes.parse_answer(text, payload)
        self._heard += 1
        (entry,) = (
            await self.desk.post(
                Draft(
                    id=f"heard:SM{self._heard:032x}",
                    stage="HEARD",
                    actor="carrier:whatsapp",
                    body={
                        "person": person,
                        "verb": answer.verb,
                        "token": answer.token,
                        "code": answer.code,
                        "original_sid": None,
                        "from_hmac": f"hmac-{person}",
                        "external_id_hmac": identity or None,
                    }
                    | ({"about": answer.about} if answer.about else {})
                    | ({"span": answer.span} if answer.span else {})
                    | ({"pin": pin} if pin else {}),
                    blobs=(Blob("text", text.encode()),),
                )
            )
        ).entries
        await self.rest()
        return entry

    def entries(self, stage: str) -> list[Entry]:
        return [entry for entry in self.journal.log if entry.stage == stage]

    def question(self, person: str) -> OutgoingMessage:
        """The last message to a person that has buttons."""
        return [m for m in self.outside.messages if m.recipient.name == person and m.token is not None][-1]

    def told(self, person: str) -> list[str]:
        """The texts of the messages to a person, questions by their summary."""
        mine = [m for m in self.outside.messages if m.recipient.name == person]
        return [m.variables.get("text") or m.variables["summary"] for m in mine]
