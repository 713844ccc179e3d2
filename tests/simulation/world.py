"""The outside of a history: a clock, two tenants with shops that break, phones, and what really happened.

Everything random comes from one seed, so a history that fails can be run again. What is written down here is what the
judge of a history believes; the service never reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ledger.entry import canonical
from receiver.governor.desk import Charter
from tests.simulation import terms
from tests.simulation.reached import Reached
from tests.simulation.terms import Person, Terms

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Crash(BaseException):
    """The process is killed here. Not an Exception: nothing may handle it."""


@dataclass
class SimClock:
    """A wall clock that can be stepped, and a monotonic one that cannot."""

    wall: datetime = START
    elapsed: float = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.elapsed += seconds

    def step(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def elsewhere(self) -> datetime:
        """The time on other machines, which nobody steps: Prometheus's."""
        return START + timedelta(seconds=self.elapsed - 1000.0)


# --- what happened ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """One answer of Prometheus."""

    tenant: str
    service: str
    state: str
    value: str | None
    at: datetime


@dataclass(frozen=True)
class Tap:
    """One answer that somebody gave from `phone`. about: the message of ours whose button or code it bears.

    sid: as the entry that books it is named after it: of a message, of a call and its step, of a page and its form.
    """

    sid: str
    phone: str
    verb: str
    about: Text | None
    by_code: bool
    original: str | None


@dataclass(frozen=True)
class Text:
    """One message that the carrier took, to a person with that `phone`.

    channel: "voice" is a call that was placed. page: the path of the link in it. listed_at: by the carrier's clock.
    """

    tenant: str
    index: int
    name: str
    phone: str
    kind: str
    token: str | None
    code: str | None
    sid: str
    at: datetime
    channel: str = "whatsapp"
    page: str | None = None
    listed_at: datetime = START


@dataclass(frozen=True)
class Row:
    """One message that came to the carrier, which lists it from `shown` on, as of `at` by its own clock."""

    sid: str
    sender: str
    body: str
    at: datetime
    shown: float


@dataclass(frozen=True)
class Knock:
    """One time that an executor's door was knocked at."""

    webhook_id: str
    digest: str
    tenant: str
    at: datetime
    deadline: datetime


class Agreement(NamedTuple):
    """What a tenant has agreed to, all of it, at one time."""

    terms: Terms
    staff: Mapping[str, Person]
    executors: Mapping[str, str]


@dataclass
class Held:
    """Somebody outside who takes their time: released by the history, or when `until` has come."""

    name: str
    until: float
    gate: asyncio.Future[None]
    task: asyncio.Task[Any] | None
    stubborn: bool = False  # not before `until`


@dataclass
class Shop:
    """One service: how it does, and the alert that Alertmanager has of it."""

    name: str
    health: str = terms.GOOD
    alert: dict[str, Any] | None = None
    episodes: list[datetime] = field(default_factory=list)


class World:
    """All that two tenants share: the clock, the carrier, the disk, and the one process."""

    def __init__(
        self,
        rng: random.Random,
        reached: Reached,
        tenants: tuple[str, ...],
        ladders: tuple[terms.Ways, ...] = (terms.BY_MESSAGE,),
    ) -> None:
        self.rng = rng
        self.reached = reached
        self.claude = random.Random(rng.random())  # what Claude says must not shift what else happens (law 2)
        self.ticks = random.Random(rng.random())  # who is first where several wait
        self.clock = SimClock()
        self.chances: Mapping[str, float] = {}  # of faults by name, where they are not the usual ones
        self.calm = False  # no more faults: the end of a history
        self.dead = False  # the process was killed: whatever it still tries must not happen
        self.held: list[Held] = []
        self.texts: list[Text] = []
        self.taps: dict[str, Tap] = {}
        self.papers: dict[str, bytes] = {}  # the notifications of RECEIVED, by their digests
        self.reads: list[Read] = []
        self.knocks: list[Knock] = []
        self.said: Counter[str] = Counter()  # what people decided by hand: "close:inc-1:rudo"
        self.jumped_at: float | None = None
        self.over: set[str] = set()  # calls that came to somebody, or to nobody, by sid
        self.unreported: list[Text] = []  # calls whose end the carrier has not reported yet
        self.listed: list[Row] = []  # what came in, where the service reads the carrier's list
        self.read: set[str] = set()  # of those, what a look that succeeded must have found
        self.statuses: dict[str, tuple[str, str]] = {}  # of our own messages there, by sid: the word, the error
        self.sites = {tenant: Site(tenant, self, ladders) for tenant in tenants}

    def fault(self, name: str, chance: float) -> bool:
        """Whether this fault strikes now; counted when it does."""
        if self.calm or self.rng.random() >= self.chances.get(name, chance):
            return False
        self.reached.faults[name] += 1
        return True

    def alive(self) -> None:
        """Nothing leaves a process that was killed, and nothing reaches it."""
        if self.dead:
            raise Crash("dead")

    def kill(self, where: str) -> Crash:
        self.dead = True
        return Crash(where)

    # --- others take their time -----------------------------------------------------------------------------------

    async def hold(self, name: str, chance: float, seconds: float, *, stubborn: bool = False) -> bool:
        """Wait for a while, at most `seconds` unless the whole machine sleeps; whether it took longer than that.

        stubborn: wait for all of it.
        """
        if not self.fault(name, chance):
            return False
        until = self.clock.elapsed + seconds
        held = Held(name, until, asyncio.get_running_loop().create_future(), asyncio.current_task(), stubborn)
        self.held.append(held)
        try:
            await held.gate
        finally:
            self.held.remove(held)
        self.alive()
        return self.clock.elapsed > until

    def release(self) -> bool:
        """Let go whoever waited too long, and sometimes somebody else; whether anybody was."""
        late = [held for held in self.held if not held.gate.done() and self.clock.elapsed >= held.until]
        waiting = [held for held in self.held if not held.gate.done() and (self.calm or not held.stubborn)]
        if not late and waiting and (self.calm or self.rng.random() < 0.5):
            late = [self.rng.choice(waiting)]
        for held in late:
            held.gate.set_result(None)
        return bool(late)

    def text_of(self, tenant: str, index: int) -> list[Text]:
        return [text for text in self.texts if (text.tenant, text.index) == (tenant, index)]


class Site:
    """One tenant's own outside: shops, Prometheus, executors, and what is agreed."""

    def __init__(self, tenant: str, world: World, ladders: tuple[terms.Ways, ...]) -> None:
        self.tenant = tenant
        self.world = world
        self.catalogue = terms.catalogue(tenant, ladders)
        self.shops = {name: Shop(name) for name in terms.SERVICES}
        self.others: dict[str, dict[str, Any]] = {}  # alerts that no rule takes, by name
        self.prometheus_up = True
        self.running: list[tuple[str, str]] = []  # accepted with 202, result to come: webhook-id, shop
        self.finished: list[tuple[str, bool]] = []
        self.told: set[str] = set()  # webhook-ids whose end was told to whoever asked
        self.ran: Counter[str] = Counter()
        self.terms: Terms = world.rng.choice(self.catalogue)
        self.staff: dict[str, Person] = terms.staff(tenant)
        self.executors = {name: f"https://{tenant}.example/{name}" for name in ("restart", "other")}
        self.agreements: dict[tuple[str, str, str], Agreement] = {}

    # --- shops and alerts -----------------------------------------------------------------------------------------

    def breaks(self, name: str) -> None:
        shop = self.shops[name]
        shop.health = terms.BAD
        if shop.alert is None or shop.alert["status"] == "resolved":
            labels = {"alertname": "HighErrorRate", "severity": "critical"} | ({"service": name} if name else {})
            shop.alert = self._alert(labels)
            shop.episodes.append(self.world.clock.elsewhere())

    def heals(self, name: str) -> None:
        shop = self.shops[name]
        shop.health = terms.GOOD
        if shop.alert is not None and shop.alert["status"] == "firing":
            shop.alert = {**shop.alert, "status": "resolved", "endsAt": rfc(self.world.clock.elsewhere())}

    def other_fires(self, name: str) -> None:
        if name not in self.others or self.others[name]["status"] == "resolved":
            self.others[name] = self._alert({"alertname": name})

    def others_end(self) -> None:
        for name, alert in self.others.items():
            if alert["status"] == "firing":
                self.others[name] = {**alert, "status": "resolved", "endsAt": rfc(self.world.clock.elsewhere())}

    def alerts(self) -> list[dict[str, Any]]:
        return [*(shop.alert for shop in self.shops.values() if shop.alert is not None), *self.others.values()]

    def _alert(self, labels: dict[str, str]) -> dict[str, Any]:
        return {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": "something is wrong"},
            "startsAt": rfc(self.world.clock.elsewhere()),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": hashlib.sha256(repr(labels).encode()).hexdigest()[:16],
        }

    # --- what is agreed ---------------------------------------------------------------------------------------------

    def charter(self) -> Charter:
        """What is agreed now, as the service takes it; it will say in its ADOPTED which of these it took."""
        now = Agreement(self.terms, dict(self.staff), dict(self.executors))
        charter = terms.charter(*now)
        blobs = (charter.rulebook.text.encode(), charter.roster_bytes(), canonical(dict(charter.executors)))
        self.agreements[tuple(hashlib.sha256(blob).hexdigest() for blob in blobs)] = now
        return charter

    # --- people ---------------------------------------------------------------------------------------------------

    def named(self, phone: str) -> str | None:
        return next((person.name for person in self.staff.values() if person.phone == phone), None)

    def changed(self, name: str, **fields: Any) -> None:
        self.staff[name] = replace(self.staff[name], **fields)


def rfc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
