"""One history: a seed decides what happens, in what order, what fails, and where the process is killed."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Blob, Draft, Entry
from ledger.journal import LedgerError
from ledger.merkle import Frontier, leaf_hash
from ledger.reconcile import trial_balance
from policy_rules.loading import load
from policy_rules.rulebook import Rulebook
from receiver.governor.changes import ExecutionDesk, GovernorChanges
from receiver.governor.desk import Charter, Desk, Member
from receiver.governor.loop import Governor
from receiver.incident.notification import read_notification
from receiver.metrics import Metrics
from receiver.papers import ChangeRefused, OutgoingMessage, Recipient
from tests.ledger.verifiers import load_script
from tests.simulation.audited import Copy, differences, findings
from tests.simulation.inline import InlineJournal
from tests.simulation.world import Crash, Reached, SimExecutors, SimJournal, World

SECRET = b"simulation"
TENANT = "default"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
POLICY = """
policy: {{name: sim, version: "{version}"}}
signals:
  error_ratio: {{max_age: 2m, promql: 'shop_error_ratio{{service="$service"}}'}}
rules:
  - name: checkout-errors
    matchers: ['alertname="HighErrorRate"']
    group_by: [service]
    detect: {{when: [error_ratio >= 0.05], for: 30s, if_unknown: detect, unknown_after: 1m}}
    recover: {{when: [error_ratio < 0.02], for: 1m}}
    diagnosis_wait: 10s
    actions:
      restart:
        executor: restart
        title: restart the checkout service
        risk: requests in flight are lost
        params: {{service: {{label: service, allow: [checkout]}}}}
        approvers: {{roles: [oncall], quorum: {quorum}}}
        expires: 10m
        limit: {{max: 6, per: 1h, cooldown: 1m}}
        idempotent: {idempotent}
        verify: {{within: 5m}}
    escalation: [{{after: 0s, notify: ["role:oncall"]}}]
"""
METRICS = Metrics()  # nothing is judged by them, and making them takes as long as a short history
PEOPLE = ("tendai", "rudo", "chipo")
TURNS_MAX = 80


class Broken(AssertionError):
    """A history broke a law; the message says which, and the seed replays it."""


STRANGER = load_script()  # a verifier that shares no code with the ledger


def posted_again(entries: list[Entry]) -> list[str]:
    """What the auditor's own script says of the entries: every history is one that it accepts, too."""
    ledger = STRANGER.Ledger()
    try:
        for entry in entries:
            ledger.post(STRANGER.read_entry(entry.raw, entry.index, f"sim.example/{TENANT}"))
        ledger.end()
    except STRANGER.Fault as fault:
        return [f"contrib/verify_export.py: {fault}"]
    return []


@cache
def policy(version: str, quorum: int, idempotent: bool) -> Rulebook:
    text = POLICY.format(version=version, quorum=quorum, idempotent=str(idempotent).lower())
    return load(text, file="sim.yml", environment={})


class History:
    """The state of one run: the world, the journal that survives, and the governor that does not."""

    def __init__(self, seed: int, reached: Reached) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = World(self.rng, reached)
        self.reached = reached
        self.quorum = self.rng.choice([1, 1, 2])
        self.idempotent = self.rng.random() < 0.4
        self.version = 0
        self.number = 0

    async def run(self, events: int = 40) -> list[Entry]:
        """Play the history to its quiet end; every entry of its ledger. Raises Broken."""
        journal = await InlineJournal.open(
            ":memory:",
            origin="sim.example",
            key=KEY,
            anchor_path=None,
            clock=self.world.clock.now,
            tenants=[TENANT],
            durable=False,
        )
        try:
            self.real = journal
            await self.boot()
            chances = list(EVENTS.items())
            for _ in range(events):
                event = self.rng.choices([e for e, _ in chances], [w for _, w in chances])[0]
                await self.guarded(lambda event=event: event(self))
                await self.guarded(self.rest)
            await self.quiet()
            entries = await self.entries()
            self.reached.stages.update(entry.stage for entry in entries)
            self.judge(entries)
            await self.judge_witnesses(entries)
            copy = await Copy.of(journal, TENANT, entries)
            if wrong := [*findings(copy), *differences(copy)]:
                raise Broken(f"seed {self.seed}: " + "; ".join(map(str, wrong[:5])))
            return entries
        finally:
            await journal.close()

    # --- the process ---------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        self.journal = SimJournal(self.real, self.world)
        self.journal.crashes = 0.0
        self.desk = Desk(
            tenant=TENANT,
            journal=self.journal,  # type: ignore[arg-type]
            clock=self.world.clock,
            evidence=self.world,
            alert_source=self.world,
            diagnostician=self.world,
            carrier=self.world,
            executors=SimExecutors(self.world),
            charter=self.charter(),
            metrics=METRICS,
            secret=SECRET,
            public_url="https://sim.example",
            model="sim",
        )
        self.governor = Governor(self.desk, poll=False)
        await self.governor.start()
        self.journal.crashes = 0.01

    def charter(self) -> Charter:
        people = {
            name: Member(Recipient(name, f"whatsapp:+26377000000{i}"), frozenset({"oncall"}), f"{i}" * 64)
            for i, name in enumerate(PEOPLE)
        }
        book = policy(f"1.{self.version}", self.quorum, self.idempotent)
        return Charter(book, people, {"restart": "http://127.0.0.1/run"})

    async def guarded(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it; where it dies, start the process again on the same ledger."""
        try:
            await act()
        except Crash:
            self.world.dead = True
        except (LedgerError, ChangeRefused) as refused:
            self.reached.refusals[f"{type(refused).__name__}: {str(refused)[:60]}"] += 1
        while self.world.dead:
            await self.governor.drain()
            self.world.dead = False
            try:
                await self.boot()
            except Crash:
                self.world.dead = True

    async def rest(self) -> None:
        """Turn until nothing is due."""
        for _ in range(TURNS_MAX):
            taken, _ = await self.governor.turn()
            await self.governor.drain()
            if self.world.dead:
                raise Crash("in a step")
            if not taken:
                self.judge_silence()
                return
        raise Broken(f"seed {self.seed}: the agenda does not come to rest")

    # --- the end ---------------------------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Everything works again and nobody does anything unusual: every obligation must come to its end."""
        world = self.world
        world.calm = True
        world.prometheus_up = True
        self.journal.crashes = self.journal.full = 0.0
        ledger_time = self.desk.book.last_time
        if ledger_time is not None and ledger_time > world.clock.now():
            world.clock.wall = ledger_time
        world.heals()
        for number in range(40):
            await self.guarded(self.resume_all)
            await self.guarded(self.settle_doubts)
            if number == 0:
                await self.guarded(lambda: notify(self))
            await self.guarded(self.rest)
            if not await self.real.outstanding(TENANT):
                return
            world.clock.advance(60 if number < 25 else 600)
            await self.guarded(self.rest)
        left = [f"{e.index} {e.stage}" for e in await self.real.outstanding(TENANT)]
        raise Broken(f"seed {self.seed}: still outstanding when all was well: {left}")

    async def judge_witnesses(self, entries: list[Entry]) -> None:
        """Every message that tells of a decision bears the entry and the root of the tree that ends with it."""
        frontier, roots = Frontier(), []
        for entry in entries:
            frontier = frontier.appended(leaf_hash(entry.raw))
            roots.append(frontier.root.hex()[:8])
        for message in entries:
            if message.id.startswith("address:news:"):
                index = int(message.id.split(":")[2])
                content = await self.real.blob(TENANT, message.blobs[0].digest)
                if json.loads(content or b"{}")["reference"] != f"{message.incident_id}, ledger {index}:{roots[index]}":
                    raise Broken(f"seed {self.seed}: message {message.index} tells of another log at {index}")

    async def resume_all(self) -> None:
        if self.desk.book.halts:
            for name in ("operator-a", "operator-b"):
                if self.desk.book.halts:
                    await GovernorChanges(self.desk).resume(name, "all is well")
                    await self.desk.fold()

    async def settle_doubts(self) -> None:
        for incident in [i for i in self.desk.book.incidents.values() if any(p.in_suspense for p in i.proposals)]:
            outcome = self.rng.choice(["ran", "did_not_run", "written_off"])
            await GovernorChanges(self.desk).settle(incident.id, "rudo", outcome, "looked at the machine")
            await self.desk.fold()

    async def entries(self) -> list[Entry]:
        found: list[Entry] = []
        while page := await self.real.entries(TENANT, after=len(found) - 1, limit=1000):
            found += page
        return found

    def judge(self, entries: list[Entry]) -> None:
        """The laws, from the ledger and from what the executor saw, by code that shares nothing with the governor."""
        problems = []
        by_index = {e.index: e for e in entries}
        dispatched = {e.body["webhook_id"]: e for e in entries if e.stage == "DISPATCHED"}
        for sending in self.world.sendings:
            entry = dispatched.get(sending.webhook_id)
            if entry is None or not sending.dispatched or entry.body["digest"] != sending.digest:
                problems.append(f"law 3: {sending.webhook_id} was sent without its DISPATCHED")
            if sending.halted:
                problems.append(f"law 3: {sending.webhook_id} was sent while halted")
        for webhook_id, entry in dispatched.items():
            authorized = by_index[entry.settles if entry.settles is not None else -1]
            proposed = by_index[authorized.settles if authorized.settles is not None else -1]
            approvals = [by_index[c] for c in authorized.cites if by_index[c].stage == "APPROVED"]
            people = {a.actor for a in approvals if a.cites[0] == proposed.index}
            if len(people) < proposed.body["quorum"]:
                problems.append(f"law 3: {webhook_id} ran on {len(people)} approvals")
            sent = [s for s in self.world.sendings if s.webhook_id == webhook_id]
            if not proposed.body["idempotent"] and len(sent) > 1:
                problems.append(f"law 4: {webhook_id} was sent {len(sent)} times")
        problems += posted_again(entries)
        for entry in entries:
            if entry.actor == "claude" and entry.stage != "DIAGNOSED":
                problems.append(f"law 2: claude posted {entry.stage}")
            if entry.stage in ("DETECTED", "RECOVERED") and entry.actor != "policy":
                problems.append(f"law 1: {entry.stage} by {entry.actor}")
            if entry.stage == "RECOVERED" and entry.body["verdict"]["outcome"] != "recover":
                problems.append("law 1: RECOVERED without a verdict that says so")
        problems += self.judge_order(entries)
        balance = trial_balance(entries)
        if not balance.balanced:
            problems.append(f"law 5: the books do not balance\n{balance}")
        if problems:
            raise Broken(f"seed {self.seed}: " + "; ".join(problems[:5]))

    def judge_order(self, entries: list[Entry]) -> list[str]:
        """What must stand beside or before what, entry by entry."""
        problems: list[str] = []
        in_force, doubts, closed = "", {}, set()
        by_index = {e.index: e for e in entries}
        for place, entry in enumerate(entries):
            after = entries[place + 1] if place + 1 < len(entries) else None
            if entry.stage == "ADOPTED":
                in_force = entry.policy_digest or ""
            elif entry.stage == "UNRESOLVED":
                doubts[entry.index] = entry.incident_id
            elif entry.stage in ("RECOVERED", "CLOSED"):
                closed.add(entry.incident_id)
            if entry.settles in doubts:
                del doubts[entry.settles]
            if entry.stage == "PROPOSED" and entry.incident_id in doubts.values():
                problems.append(f"{entry.index}: a question beside an unresolved execution")
            if entry.stage == "DISPATCHED" and by_index[entry.cites[0]].body["in_force"] != in_force:
                problems.append(f"{entry.index}: dispatched under a policy that is no longer in force")
            if entry.stage == "DECLINED" and (after is None or after.stage != "REJECTED"):
                problems.append(f"{entry.index}: DECLINED without REJECTED")
            if (
                entry.stage == "EXECUTED"
                and entry.incident_id in closed
                and (after is None or after.settles != entry.index)
            ):
                problems.append(f"{entry.index}: EXECUTED after the end and nothing that settles its verification")
            if entry.stage == "APPROVED" and f"engineer:{by_index[entry.cites[1]].body['person']}" != entry.actor:
                problems.append(f"{entry.index}: an answer to somebody else's message")
            if entry.stage == "RECOVERED" and any(f["holds"] is None for f in entry.body["verdict"]["findings"]):
                problems.append(f"{entry.index}: recovered on the unknown")
        return problems

    def judge_silence(self) -> None:
        """Nothing ends in silence: an open incident that waits for nobody is said again every 30 minutes."""
        now = self.desk.now()
        for incident in self.desk.book.open.values():
            last = incident.last
            if last is not None and (last.live or last.verifying):
                continue
            mine = [m.addressed_at for m in self.desk.book.messages.values() if m.incident_id == incident.id]
            said = max([incident.opened_at, *mine])
            if now - said > timedelta(minutes=32):
                raise Broken(f"seed {self.seed}: {incident.id} is open and nobody was told since {said}")


# --- what can happen -----------------------------------------------------------------------------------------------


async def notify(history: History) -> None:
    """Alertmanager posts the group as it stands; the intake books it under the digest of its content."""
    alerts = history.world.alerts
    if not alerts:
        return
    body = json.dumps({"version": "4", "status": alerts[0]["status"], "alerts": alerts}).encode()
    digest = read_notification(body).content_digest
    draft = Draft(
        id=f"receive:{digest}",
        stage="RECEIVED",
        actor="alertmanager",
        body={"source": "alertmanager", "receiver": "r", "alerts": 1, "firing": 1, "resolved": 0, "truncated": 0},
        blobs=(Blob("payload", body),),
    )
    await history.journal.post(TENANT, [draft])


async def breaks(history: History) -> None:
    history.world.breaks()
    await notify(history)


async def heals(history: History) -> None:
    history.world.heals()
    await notify(history)


async def wait_a_little(history: History) -> None:
    history.world.clock.advance(history.rng.choice([1, 5, 11, 30, 31]))


async def wait_long(history: History) -> None:
    for _ in range(history.rng.choice([2, 4, 10])):
        history.world.clock.advance(35)
        await history.rest()


async def wait_out(history: History) -> None:
    history.world.clock.advance(history.rng.choice([301, 601, 721, 1801]))
    # A stretch without any look is what a machine that slept leaves; both clocks went on.


async def tap(
    history: History, *, verbs: tuple[str, ...] = ("approve", "approve", "approve", "reject", "onit")
) -> None:
    """Somebody answers a message of theirs, or of somebody else's, now or once more, by button or by code."""
    asked = [m for m in history.world.inbox if m.token]
    if not asked:
        return
    message = history.rng.choice(asked[-4:])
    person = message.recipient.name
    if history.world.fault("answer by somebody else", 0.1):
        person = history.rng.choice([p for p in PEOPLE if p != person])
    body = _answer(history, message, person, history.rng.choice(verbs))
    history.number += 1
    sid = f"SM{history.seed:08x}{history.number:08x}"
    draft = Draft(id=f"heard:{sid}", stage="HEARD", actor="carrier:whatsapp", body=body)
    await history.journal.post(TENANT, [draft])
    if history.world.fault("the same post twice", 0.2):
        await history.journal.post(TENANT, [draft])


def _answer(history: History, message: OutgoingMessage, person: str, verb: str) -> dict[str, Any]:
    body: dict[str, Any] = {"person": person, "verb": verb, "token": None, "code": None, "original_sid": None}
    body |= {"text": "", "from_hmac": "0" * 64, "external_id_hmac": None}
    if history.world.fault("answer by code", 0.3) and verb != "onit":
        body["code"] = message.variables["code"]
        if history.world.fault("wrong code", 0.2):
            body["code"] = "ZZZZ"
    else:
        body["token"] = message.token
        body["original_sid"] = history.world.sids.get(message.message_id)
    return body


async def approve(history: History) -> None:
    await tap(history, verbs=("approve",))


async def stranger(history: History) -> None:
    history.number += 1
    body = {"person": None, "verb": "approve", "token": "x", "code": None, "original_sid": None, "text": ""}
    body |= {"from_hmac": "f" * 64, "external_id_hmac": None}
    history.reached.faults["stranger"] += 1
    await history.journal.post(
        TENANT,
        [Draft(id=f"heard:X{history.number}", stage="HEARD", actor="carrier:whatsapp", body=body)],
    )


async def words(history: History) -> None:
    """HALT, RESUME, STATUS and nonsense from an enrolled person."""
    history.number += 1
    verb = history.rng.choice(["halt", "resume", "status", "other"])
    body = {"person": history.rng.choice(PEOPLE), "verb": verb, "token": None, "code": None, "original_sid": None}
    body |= {"text": f"{verb} because", "from_hmac": "0" * 64, "external_id_hmac": None}
    await history.journal.post(
        TENANT,
        [Draft(id=f"heard:W{history.number}", stage="HEARD", actor="carrier:whatsapp", body=body)],
    )


async def carrier_reports(history: History) -> None:
    """A status callback: delivered or not, for any message that still waits for one."""
    waiting = list(history.desk.book.unsettled_messages.values())
    if waiting:
        message = history.rng.choice(waiting)
        good = not history.world.fault("undelivered", 0.2)
        draft = Draft(
            id=f"deliver:{message.index}",
            stage="DELIVERED" if good else "UNDELIVERED",
            actor="carrier:whatsapp",
            incident_id=message.incident_id,
            settles=message.index,
            body={"outcome": "delivered" if good else "63016", "detail": "", "sid": None},
        )
        await history.journal.post(TENANT, [draft])


async def callback(history: History) -> None:
    """A result that comes later, once or twice."""
    if history.world.running:
        webhook_id = history.world.running.pop()
        history.reached.faults["late result"] += 1
        desk = ExecutionDesk(history.desk)
        good = history.rng.random() < 0.7
        if good:
            history.world.heals()
        for _ in range(history.rng.choice([1, 2])):
            await desk.settle(webhook_id, good, "callback", "")


async def prometheus(history: History) -> None:
    history.world.prometheus_up = not history.world.prometheus_up
    history.reached.faults["prometheus down for a while"] += 1


async def person_acts(history: History) -> None:
    """Somebody at a keyboard closes, notes, halts or resumes."""
    changes = GovernorChanges(history.desk)
    by = history.rng.choice([*PEOPLE, "operator"])
    open_now = list(history.desk.book.open)
    what = history.rng.choice(["close", "note", "halt", "resume", "resume"])
    if what == "halt":
        await changes.halt(by, "drill")
    elif what == "resume":
        await changes.resume(by, "over")
    elif open_now and what == "close":
        await changes.close(history.rng.choice(open_now), by, "by hand")
    elif open_now:
        await changes.note(history.rng.choice(open_now), by, "looked")


async def halt_in_flight(history: History) -> None:
    """A halt while something is dispatched and not yet sent."""
    if history.desk.book.executions:
        history.reached.faults["halt in flight"] += 1
        await GovernorChanges(history.desk).halt("operator", "stop that")


async def reload(history: History) -> None:
    history.version += 1
    history.quorum = history.rng.choice([1, 2])
    history.reached.faults["another policy"] += 1
    history.governor.reload(history.charter())


async def clock_steps(history: History) -> None:
    history.reached.faults["clock step"] += 1
    history.world.clock.step(history.rng.choice([-3, -30, -120, 90, 600]))


async def compare(history: History) -> None:
    await history.governor.compare()


async def disk(history: History) -> None:
    history.journal.full = 0.0 if history.journal.full else 0.3


async def killed(history: History) -> None:
    history.reached.faults["killed between turns"] += 1
    raise Crash("killed")


async def killed_soon(history: History) -> None:
    """The next posts die with a good chance, before or after their commit."""
    history.journal.crashes = 0.25


EVENTS: dict[Callable[[History], Awaitable[None]], float] = {
    breaks: 3,
    heals: 0.7,
    notify: 1,
    wait_a_little: 5,
    wait_long: 3,
    wait_out: 0.7,
    approve: 4,
    tap: 2,
    stranger: 0.2,
    words: 0.7,
    carrier_reports: 2,
    callback: 1,
    prometheus: 0.4,
    person_acts: 0.6,
    halt_in_flight: 2,
    reload: 0.3,
    clock_steps: 0.2,
    compare: 0.3,
    disk: 0.2,
    killed: 0.4,
    killed_soon: 0.4,
}
