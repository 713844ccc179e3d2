"""The only mover: fold what is new, ask the agenda, take the steps that are due, wait for the next."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from ledger.entry import Blob, canonical
from ledger.journal import Conflict, LedgerError, Refused, Unavailable
from policy_rules.readings import Alert
from receiver.governor import duty, meters, missed, shadow
from receiver.governor.adopting import adoption
from receiver.governor.desk import Charter, Desk
from receiver.governor.folding import begin, remember
from receiver.governor.steps import AT_ONCE, BLOCKS, OTHERS_AT_ONCE, OUTSIDE, STEPS, WHOLE, still
from receiver.governor.timekeeping import Timekeeper, regressed
from receiver.incident.agenda import Due, Kind, View, agenda
from receiver.incident.shadowed import Shadow

log = logging.getLogger(__name__)

TURNS_WITHOUT_WAIT_MAX = 2_000  # a storm of a minute takes half of them
UNAVAILABLE_AGAIN_SECONDS = 1.0
LOST_CLAIM_AGAIN_SECONDS = 2.0
IDLE_SECONDS = 30.0  # the clocks are looked at even when nothing is due
STEPS_OF_A_KIND_A_TURN = 8  # of those that the turn waits for: what comes in meanwhile is seen before the rest
PLANNED_SHARE = 4  # a long agenda may take every fourth part of the time, and leaves the others to the steps
PLANNED_SECONDS = 0.005  # a shorter one is none


class Governor:
    """One tenant's governor. `run` governs until it is cancelled; `turn` takes one round of steps (for tests)."""

    def __init__(self, desk: Desk, *, poll: bool = True) -> None:
        self.desk = desk
        self._timekeeper = Timekeeper(desk.clock)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._of_kind: Counter[Kind] = Counter()  # of them
        self._planned = 0.0  # seconds that the last agenda took
        self._absent_since: dict[str, datetime] = {}
        self._polled_at: datetime | None = None
        self._poll = poll
        self._wake = asyncio.Event()
        self._given = desk.charter  # as the configuration has it
        self._charter: Charter | None = desk.charter  # to be put in force at the next turn
        self._standing: tuple[frozenset[str], Mapping[str, tuple[str, ...]]] | None = None  # of the roster in force
        self.unavailable: str | None = None

    async def start(self) -> None:
        """Fold the log, read the policies that are still needed, and adopt what is in force now.

        Raises LedgerError where the ledger cannot be read or refuses the adoption (the same version with other
        contents), and PolicyErrors where a policy of the ledger no longer reads.
        """
        await begin(self.desk)
        await self._adopt()
        await self.desk.load_policies()

    def reload(self, charter: Charter) -> None:
        """Put another policy, roster or executors in force at the next turn."""
        self._given = self._charter = charter
        self._wake.set()

    def hear(self, alerts: Iterable[Alert]) -> None:
        """Alerts came in, new or again. One of them may be the heartbeat, which is no entry while it repeats."""
        heartbeat = self.desk.charter.heartbeat
        if heartbeat is not None and heartbeat.beats(alerts):
            self.desk.heard_at = self.desk.clock.monotonic()
            if self.desk.book.silence is not None:
                self._wake.set()

    async def _adopt(self) -> None:
        """ADOPTED, if what is in force differs from what the ledger says is in force."""
        if self._charter is None:
            return
        desk, given = self.desk, self._charter
        # Law 3: what a step decides beside this turn, it decides by what is in force before, or by what is after it.
        async with desk.deciding():
            before, old, now = desk.book.adopted, desk.charter.rulebook, desk.now()
            charter = duty.in_force(given, desk.book, now)
            rulebook, self._standing = charter.rulebook, duty.standing(given, desk.book, now)
            turns = (Blob("duty", duty.duty_bytes(given)),) if given.duty.rotations else ()
            blobs = (
                Blob("policy", rulebook.text.encode()),
                Blob("roster", charter.roster_bytes()),
                Blob("executors", canonical(dict(charter.executors))),
                *turns,
            )
            standing = {(b.name, b.digest) for b in before.blobs} if before is not None else set()
            same_mode = before is not None and bool(before.body.get("observe")) is charter.observe
            if not same_mode or standing != {(b.name, b.digest) for b in blobs}:
                drafts = duty.incoming(desk, given.duty, now)
                await desk.post(adoption(charter, before, blobs, duty.decided(given, desk.book, now)), *drafts)
            desk.policies[old.digest] = old
            desk.charter = charter
            noted = shadow.adoption(charter.shadow, desk.book.shadow.digest, desk.book.shadow.noted)
            if noted is not None:
                await desk.post(noted)
            if charter.shadow is None or desk.shadow is None or desk.shadow.rulebook.digest != charter.shadow.digest:
                desk.shadow = Shadow(charter.shadow) if charter.shadow is not None else None
        desk.metrics.policy_in_force(desk.tenant, old.version, rulebook.version)
        self._charter = None
        await desk.fold()

    async def run(self) -> None:
        """Govern until cancelled. A ledger that cannot be written stops every step until it can be again."""
        poller = asyncio.create_task(self._poll_forever()) if self._poll else None
        try:
            while True:
                try:
                    later = await self._turns()
                    self.unavailable = None
                except Unavailable as unavailable:
                    if self.unavailable is None:  # law 5: what cannot be booked does not happen; said once
                        log.error("tenant %s: the ledger cannot be written: %s", self.desk.tenant, unavailable)
                    self.unavailable = str(unavailable)
                    # Not until the log grows: one that is closed says so at once, again and again.
                    await asyncio.sleep(UNAVAILABLE_AGAIN_SECONDS)
                    continue
                await remember(self.desk, serving=True)
                await self._wait(self._seconds_until(later))
        finally:
            tasks = [*self._running.values()] + ([poller] if poller is not None else [])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _turns(self) -> datetime | None:
        for _ in range(TURNS_WITHOUT_WAIT_MAX):
            taken, later = await self.turn()
            if self._planned >= PLANNED_SECONDS:
                # Each step that ends asks for an agenda. In a storm there would be nothing else.
                await asyncio.sleep((PLANNED_SHARE - 1) * self._planned)
            if not taken:
                return later
        log.error("tenant %s: the agenda does not come to rest; pausing", self.desk.tenant)
        return None

    def _seconds_until(self, later: datetime | None) -> float:
        if later is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.01, (later - self.desk.now()).total_seconds()))

    async def _wait(self, seconds: float) -> None:
        """Until the log grows, a step ends, a reload is asked for, or the time is over."""
        grown = asyncio.ensure_future(self.desk.journal.wait(self.desk.tenant, self.desk.book.size))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({grown, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in (grown, woken):
                waiter.cancel()
            await asyncio.gather(grown, woken, return_exceptions=True)
        self._wake.clear()

    async def turn(self) -> tuple[int, datetime | None]:
        """One round: the number of steps taken or begun, and when the next falls due."""
        desk = self.desk
        await desk.fold()
        await self._keep_time()
        looked_at = desk.now()
        if duty.standing(self._given, desk.book, looked_at) != self._standing:
            self._charter = self._given  # who is suspended or on duty changed, and the roster in force with it
        if self._charter is not None:
            await self._adopt()
        now = desk.now()
        for name in [name for name, at in desk.deferred.items() if at <= now]:
            del desk.deferred[name]
        view = View(
            desk.policy,
            desk.charter.rulebook,
            desk.looked,
            frozenset(desk.nudged),
            dict(desk.deferred),
            desk.may_act(),
            desk.shadow.next_look(desk.book.evaluated, now) if desk.shadow is not None else None,
            desk.pulse(),
            frozenset(desk.book.enrolled.suspended),
            desk.pace,
            duty.vacancies(desk),
            desk.charter.duty.next_change(looked_at, desk.book.duties.handovers),
        )
        began = desk.clock.monotonic()
        due, later = agenda(desk.book, view, now)
        self._planned = desk.clock.monotonic() - began
        taken, inside = 0, Counter[Kind]()
        for step in due:
            if inside[step.kind] < STEPS_OF_A_KIND_A_TURN or step.kind in WHOLE:
                took = await self._take(step)
                taken += took
                inside[step.kind] += took if step.kind not in OUTSIDE else 0
        return taken, later

    async def _take(self, step: Due) -> int:
        blocker = BLOCKS.get(step.kind)
        if step.name in self._running or (blocker and f"{blocker}:{step.subject}" in self._running):
            return 0
        if step.kind not in OUTSIDE:
            await self._perform(step)
            # What comes after must see what this step posted.
            await self.desk.fold()
            return 1
        if not self._place(step.kind):
            return 0
        task = asyncio.create_task(self._perform(step), name=step.name)
        self._running[step.name] = task
        self._of_kind[step.kind] += 1
        task.add_done_callback(lambda done: self._finished(step, done))
        return 1

    def _place(self, kind: Kind) -> bool:
        """Whether one more of that kind may run beside the turn."""
        if kind in AT_ONCE:
            return self._of_kind[kind] < AT_ONCE[kind]
        return self._of_kind.total() - sum(self._of_kind[one] for one in AT_ONCE) < OTHERS_AT_ONCE

    def _finished(self, step: Due, task: asyncio.Task[None]) -> None:
        self._running.pop(step.name, None)
        self._of_kind[step.kind] -= 1
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, Unavailable):
                self.unavailable = str(error)
                self.desk.defer(step.name, UNAVAILABLE_AGAIN_SECONDS)
                return
            # A defect of ours: said loudly, tried again slowly, and the other steps go on.
            log.error("tenant %s: step %s failed", self.desk.tenant, step.name, exc_info=error)
            self.desk.defer(step.name, IDLE_SECONDS)

    async def _perform(self, step: Due) -> None:
        """Take a step. Losing a claim is normal; a refusal means that the plan was made on an older view."""
        if step.kind in OUTSIDE:
            # The step before it may have ended after the turn's own fold: what it posted must be seen first.
            await self.desk.level()
        if not still(self.desk.book, step):
            return
        try:
            await STEPS[step.kind](self.desk, step)
        except Conflict:
            self.desk.defer(step.name, LOST_CLAIM_AGAIN_SECONDS)
        except Refused as refused:
            log.warning("tenant %s: step %s was refused: %s", self.desk.tenant, step.name, refused)
            self.desk.defer(step.name, LOST_CLAIM_AGAIN_SECONDS)

    async def _keep_time(self) -> None:
        desk = self.desk
        regression = self._timekeeper.look(desk.book.last_time)
        desk.trusted = self._timekeeper.trusted
        if regression is not None:
            log.error("tenant %s: %s", desk.tenant, regression.detail)
            await desk.post(regressed(regression, desk.book.size))
            await desk.fold()

    async def _poll_forever(self) -> None:
        while True:
            try:
                await self.compare()
            except LedgerError as error:
                log.warning("tenant %s: what was missed could not be booked: %s", self.desk.tenant, error)
            await asyncio.sleep(missed.POLL_EVERY.total_seconds())

    async def compare(self) -> None:
        """Ask Alertmanager for what was missed, now."""
        await missed.compare(self.desk, self._absent_since)

    def measure(self) -> None:
        """Set the gauges of what is open now; asked when the metrics are scraped."""
        meters.gauges(self.desk.metrics, self.desk.book, self.desk.now())
        if self.desk.charter.heartbeat is not None:
            missing = self.desk.book.silence is not None
            self.desk.metrics.heartbeat_missing.labels(self.desk.tenant).set(1 if missing else 0)
        vacant = duty.vacancies(self.desk)
        for role in self.desk.charter.duty.roles:
            self.desk.metrics.duty_vacant.labels(self.desk.tenant, role).set(1 if role in vacant else 0)

    def busy(self, *, waiting_for_claude: bool) -> bool:
        """Whether a step is under way beside the turn (for rehearsals). waiting_for_claude: a consultation is one."""
        consult = f"{Kind.CONSULT}:"
        return any(waiting_for_claude or not name.startswith(consult) for name in self._running)

    async def drain(self) -> None:
        """Wait until no step is under way (for tests and for a graceful stop)."""
        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def reasons_not_ready(self) -> list[str]:
        """Why nothing would be done now, in words for /-/ready; empty when all is well."""
        reasons = []
        if not self.desk.trusted:
            reasons.append(f"tenant {self.desk.tenant}: the clock stepped; no authorization until it runs evenly")
        anchor = self.desk.journal.anchor_error()
        if anchor is not None:
            reasons.append(f"anchor: {anchor}")
        if self.unavailable is not None:
            reasons.append(f"ledger: {self.unavailable}")
        return reasons
