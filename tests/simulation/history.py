"""One history: a seed decides what happens, in what order, what fails, and where the process is killed."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.audit import verify_store
from ledger.entry import Entry
from ledger.journal import LedgerError, Unavailable
from ledger.merkle import Frontier, leaf_hash
from receiver.governor import changes, requesting
from receiver.governor.beside import NAMES
from receiver.governor.desk import Desk
from receiver.governor.folding import remember
from receiver.governor.loop import Governor
from receiver.governor.memo import memo_path
from receiver.governor.remembering import Memos
from receiver.incident.assigned import assigned_of
from receiver.incident.book import Book
from receiver.incident.carrying import state_of
from receiver.intake.polling import Poller
from receiver.metrics import Metrics
from tests.ledger.verifiers import load_script
from tests.receiver.dumped import differing
from tests.simulation import terms, waiting
from tests.simulation.answers import ANSWERS
from tests.simulation.audited import Copy, differences, findings
from tests.simulation.doors import Doors
from tests.simulation.inline import InlineJournal
from tests.simulation.laws import LAWS
from tests.simulation.model import Model
from tests.simulation.offices import (
    SimAlertmanager,
    SimCarrier,
    SimClaude,
    SimExecutors,
    SimJournal,
    SimList,
    SimPrometheus,
)
from tests.simulation.reached import Reached
from tests.simulation.terms import BY_MESSAGE, PUBLIC_URL, Ways
from tests.simulation.world import Crash, World

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
ORIGIN = "sim.example"
METRICS = Metrics()  # nothing is judged by them, and making them takes as long as a short history
TURNS_MAX = 200
TICKS_MAX = 20_000
TICKS_OF_A_VISIT = 25  # of the loop, between two turns while somebody asks for something
IDLE_TURNS = 4  # of a visit that waits, until a second passes
CRASHES = 0.01  # of a post, before it and after it
VERIFIED_EVERY = 8  # histories: their whole ledger is verified as a file, byte by byte
QUIET_ROUNDS = 24
_T = TypeVar("_T")


STRANGER = load_script()  # a verifier that shares no code with the ledger


async def at_once(work: Callable[..., _T], /, *given: Any, **named: Any) -> _T:
    """`asyncio.to_thread` without a thread."""
    return work(*given, **named)


class Broken(AssertionError):
    """A history broke a law; the message says which, and the seed replays it."""


class Defects(logging.Handler):
    """What the service logs with a traceback: a defect of ours, which it survives and a history does not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Crash):
            self.found.append(record.getMessage() + ": " + "".join(traceback.format_exception(error)[-3:]))


@dataclass(frozen=True)
class Flavour:
    """What a history has more of than others, so that something rare is met soon.

    prompt: Claude answers at once, so that nothing but its words can differ (law 2).
    both: there are two tenants. often: events by name, with their weight. terms: fields of the first policy.
    faults: chances by name. ladders: the ways of the policies' ladders. polled: nothing reaches the service from
    outside, and it reads the carrier's list. answer: the event by which people answer to bring the story on.
    """

    prompt: bool = False
    both: bool = False
    often: Mapping[str, float] = field(default_factory=dict)
    terms: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, float] = field(default_factory=dict)
    ladders: tuple[Ways, ...] = (BY_MESSAGE,)
    polled: bool = False
    answer: str = "approve"


USUAL = Flavour()


class History:
    """The state of one run: the world, the journal that survives, and the process that does not."""

    def __init__(
        self, seed: int, reached: Reached, flavour: Flavour = USUAL, *, tenants: Sequence[str] | None = None
    ) -> None:
        self.seed = seed
        self.reached = reached
        self.flavour = flavour
        self.rng = random.Random(seed)
        if tenants is None:
            tenants = ("acme", "bravo") if self.rng.random() < 0.35 or flavour.both else ("acme",)
        self.world = World(self.rng, reached, tuple(tenants), flavour.ladders)
        self.world.chances = flavour.faults
        self.sites = list(self.world.sites.values())
        for site in self.sites if flavour.terms else ():
            site.terms = replace(site.terms, version=terms.POLICIES, **flavour.terms)
        self.models = {site.tenant: Model(site, LAWS | ANSWERS) for site in self.sites}
        self.visitors: list[asyncio.Task[Any]] = []
        self.number = 0
        self.unwritten = False
        self.undelivered: list[tuple[str, bytes]] = []  # notifications that Alertmanager will send again
        self.delivered: list[tuple[str, bytes]] = []
        self.committed: list[Entry] = []  # of both tenants, in the order of their commits
        self.defects = Defects()
        # Every other history starts its process from memos; that must not shift what else happens.
        self.remembering = random.Random(f"memos of {seed}")
        self.memos: tempfile.TemporaryDirectory[str] | None = None
        self.governors: dict[str, Governor] = {}
        self.desks: dict[str, Desk] = {}
        # What is asked for at a keyboard gets a name by chance, and from it follow incidents and digests.
        names = random.Random(seed)
        drawn = SimpleNamespace(token_hex=lambda size: names.randbytes(size).hex())
        self._names = [patch.object(module, "secrets", drawn) for module in (requesting, changes)]

    async def begin(self) -> None:
        """Open the ledger and start the process."""
        logging.getLogger().addHandler(self.defects)
        for names in self._names:
            names.start()
        # What waits for a judgement waits by the history's clock.
        asyncio.get_running_loop().time = self.world.clock.monotonic  # type: ignore[method-assign]
        tenants = [site.tenant for site in self.sites]
        clock = self.world.clock.now
        self.real = await InlineJournal.open(
            ":memory:", origin=ORIGIN, key=KEY, anchor_path=None, clock=clock, tenants=tenants, durable=False
        )
        for tenant in tenants:
            self.observe(tenant, await self.real.entries(tenant))
        self.real.observer = self.observe
        if self.remembering.random() < 0.5:
            self.memos = tempfile.TemporaryDirectory()
        self.journal = SimJournal(self.real, self.world)
        await self.boot()

    async def over(self) -> None:
        """Stop the process and close the ledger."""
        self.world.dead = True
        await self.bury()
        await self.real.close()
        if self.memos is not None:
            self.memos.cleanup()
        del asyncio.get_running_loop().time
        for names in self._names:
            names.stop()
        logging.getLogger().removeHandler(self.defects)

    async def run(self, events: int = 40) -> list[Entry]:
        """Play the history to its quiet end; every entry, in the order of their commits. Raises Broken."""
        from tests.simulation.events import next_event
        from tests.simulation.listing import look

        await self.begin()
        try:
            for _ in range(events):
                event = next_event(self)
                await self.guarded(lambda event=event: event(self))
                await self.guarded(self.rest)
                if self.flavour.polled:
                    await self.guarded(lambda: look(self))
            await self.quiet()
            for model in self.models.values():
                await self.judge_witnesses(model)
                copy = await Copy.of(self.real, model.site.tenant, model.entries)
                for finding in findings(copy):
                    model.wrong(None, f"law 5: {finding}")
                for difference in differences(copy):
                    model.wrong(None, f"law 1: decided again, it comes out otherwise: {difference}")
            self.judged()
            return self.committed
        finally:
            await self.over()

    def observe(self, tenant: str, post: Sequence[Entry]) -> None:
        self.committed += post
        self.models[tenant].take(post)

    # --- the process ---------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """Start the process on the ledger as it stands, as often as it takes."""
        while True:
            self.world.dead = False
            self.journal.full, self.journal.crashes = 0.0, CRASHES
            self.desks = {site.tenant: self.desk(site.tenant) for site in self.sites}
            self.governors = {tenant: Governor(desk, poll=False) for tenant, desk in self.desks.items()}
            self.doors = Doors(self.world, self.journal, self.desks, METRICS)  # type: ignore[arg-type]
            self.poller = Poller(
                journal=self.journal,  # type: ignore[arg-type]
                replies=self.doors.replies,
                messages=SimList(self.world),
                clock=self.world.clock.now,
            )
            for model in self.models.values():
                model.boots.append(model.size)
                waiting.forgive(model)
            try:
                for governor in self.governors.values():
                    await governor.start()
                    await self.compare_memo(governor.desk)
            except (Crash, Unavailable):  # whoever watches over the process starts it again
                await self.bury()
            else:
                return

    def desk(self, tenant: str) -> Desk:
        site, model = self.world.sites[tenant], self.models[tenant]
        return Desk(
            tenant=tenant,
            journal=self.journal,  # type: ignore[arg-type]
            clock=self.world.clock,
            evidence=SimPrometheus(site),
            alert_source=SimAlertmanager(site),
            diagnostician=SimClaude(self.world, prompt=self.flavour.prompt),
            carrier=SimCarrier(site, model),
            executors=SimExecutors(site, model),
            charter=site.charter(),
            metrics=METRICS,
            secret=terms.SECRET,
            public_url="" if self.flavour.polled else PUBLIC_URL,
            model="sim",
            memos=self.memos_of(tenant),
        )

    def memos_of(self, tenant: str) -> Memos | None:
        if self.memos is None:
            return None
        serving = self.remembering.choice((1, 7, 40))
        file = memo_path(Path(self.memos.name) / "sim.db", tenant)
        return Memos(file, tenant, terms.SECRET, entries=1, serving=serving, beside=at_once)

    async def compare_memo(self, desk: Desk) -> None:
        """A process that began with a memo has the book of one that folded everything."""
        if desk.memos is None or not desk.memos.size:
            return
        self.reached.faults["process: started from a memo"] += 1
        page = await self.real.page(desk.tenant, after=-1, limit=desk.book.size, blobs=NAMES)
        whole = Book(desk.tenant, kept=desk.book.kept)
        for entry in page.entries:
            whole.take(entry, assigned_of(entry, page.blobs.get), state_of(entry, page.blobs.get))
        if wrong := differing(desk.book, whole):
            raise Broken(f"{desk.tenant}: from a memo, {', '.join(wrong)} are not what the entries say")

    def running(self) -> list[asyncio.Task[None]]:
        return [task for governor in self.governors.values() for task in governor._running.values()]

    async def bury(self) -> None:
        """End whatever the dead process still has under way."""
        tasks = [*self.running(), *self.visitors]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.visitors.clear()
        self.world.held.clear()

    async def guarded(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it; where the process dies of it, start another on the same ledger."""
        try:
            await act()
        except Crash:
            self.world.dead = True
        if self.world.dead:
            if self.visitors:
                self.reached.faults["process: killed in a request"] += 1
            await self.bury()
            await self.boot()

    async def during(self, visit: Coroutine[Any, Any, _T], *, waits: bool = False) -> _T:
        """Somebody asks the service for something while it goes on working.

        waits: for what the governor makes of it; time passes while it does nothing.
        """
        visitor = asyncio.get_running_loop().create_task(visit)
        self.visitors.append(visitor)
        idle = 0
        while not visitor.done():
            idle = idle + 1 if not await self.turns() and waits else 0
            if idle > IDLE_TURNS:
                await self.passes(1)
                idle = 0
            for _ in range(TICKS_OF_A_VISIT):
                if visitor.done():
                    break
                await asyncio.sleep(0)
        self.visitors.remove(visitor)
        error = visitor.exception()
        if isinstance(error, Exception) and not isinstance(error, LedgerError):
            raise Broken("a request failed: " + "".join(traceback.format_exception(error)[-4:]))
        return visitor.result()

    async def turns(self) -> int:
        """One turn of every governor, at the same time; how many steps they took."""
        results = await asyncio.gather(*(g.turn() for g in self.governors.values()), return_exceptions=True)
        taken = 0
        for result in results:
            if isinstance(result, Unavailable):
                self.unwritten = True
                self.world.clock.advance(1)
            elif isinstance(result, Crash):
                raise result
            elif isinstance(result, BaseException):
                raise Broken("the governor ended: " + "".join(traceback.format_exception(result)[-4:]))
            else:
                taken += result[0]
        if not self.world.dead:
            for desk in self.desks.values():
                await remember(desk, serving=True)
        return taken

    async def settle(self) -> None:
        """Until every step is over or waits for somebody outside."""
        for _ in range(TICKS_MAX):
            waits = {held.task for held in self.world.held if not held.gate.done()}
            if all(task in waits for task in self.running()):
                return
            await asyncio.sleep(0)
        raise Broken("a step neither ends nor waits for anybody outside")

    async def passes(self, seconds: float) -> None:
        """That long passes, once each step is over or waits for somebody outside: our own take no time."""
        await self.settle()
        self.world.clock.advance(seconds)

    async def rest(self) -> None:
        """Turn until nothing is due."""
        self.unwritten = False
        for _ in range(TURNS_MAX):
            taken = await self.turns()
            await self.settle()
            if self.world.dead:
                raise Crash("in a step")
            if not taken and not self.world.release():
                break
        else:
            raise Broken("the agenda does not come to rest")
        for tenant, model in self.models.items():
            if self.unwritten or self.governors[tenant].unavailable is not None:
                waiting.forgive(model)
            else:
                waiting.at_rest(model)
        self.check()

    def check(self) -> None:
        problems = [problem for model in self.models.values() for problem in model.problems] + self.defects.found
        if problems:
            raise Broken("; ".join(problems[:5]))

    # --- the end ---------------------------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Everything works again and nobody does anything unusual: every obligation must come to its end."""
        from tests.simulation import happenings, listing

        world = self.world
        await self.guarded(lambda: happenings.before_the_end(self))
        world.calm = True
        await self.guarded(self.rest)
        for site in self.sites:
            site.prometheus_up = True
        last = max(model.entries[-1].timestamp for model in self.models.values())
        world.clock.wall = max(world.clock.wall, last)  # somebody set the clock right
        self.journal.crashes = self.journal.full = 0.0
        if self.rng.random() < 0.5:
            await self.guarded(lambda: happenings.all_break(self))
        for number in range(QUIET_ROUNDS):
            await self.guarded(lambda number=number: happenings.all_heals(self, number))
            if self.flavour.polled:
                await self.guarded(lambda: listing.look(self))
            await self.guarded(self.rest)
            if not any(model.standing for model in self.models.values()):
                return
            world.clock.advance(60 if number < 8 else 600)
            await self.guarded(self.rest)
        left = {t: [f"{e.index} {e.stage}" for e in m.standing.values()] for t, m in self.models.items()}
        raise Broken(f"still outstanding when all was well: {left}")

    async def judge_witnesses(self, model: Model) -> None:
        """Every message that tells of a decision bears the entry and the root of the tree that ends with it."""
        frontier, roots = Frontier(), []
        for entry in model.entries:
            frontier = frontier.appended(leaf_hash(entry.raw))
            roots.append(frontier.root.hex()[:8])
        for message in model.entries:
            if message.id.startswith("address:news:"):
                index = int(message.id.split(":")[2])
                content = json.loads(await self.real.blob(message.tenant_id, message.blobs[0].digest) or b"{}")
                expected = f"{message.incident_id}, ledger {index}:{roots[index]}"
                model.need(content["reference"] == expected, message, "law 5: it tells of another log")

    def judged(self) -> None:
        """The laws over the whole ledger, with the ledger's own reconcile and verify beside the model's."""
        for model in self.models.values():
            model.end()
            for fault in posted_again(model.site.tenant, model.entries):
                model.wrong(None, fault)
            self.reached.stages.update(entry.stage for entry in model.entries)
            refused = [str(entry.body["why"]) for entry in model.entries if entry.stage == "REFUSED"]
            self.reached.refusals.update(why.partition(" by ")[0] for why in refused)
        if self.seed % VERIFIED_EVERY == 0:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "copy.db"
                self.real.copy_to(copy)
                for audit in verify_store(copy, origin=ORIGIN, public=KEY.public_key()):
                    self.models[audit.tenant].need(audit.fault is None, None, f"law 5: {audit}")
        self.check()
        self.reached.histories += 1
        self.reached.entries += len(self.committed)


def posted_again(tenant: str, entries: list[Entry]) -> list[str]:
    """What the auditor's own script says of the entries: every history is one that it accepts, too."""
    ledger = STRANGER.Ledger()
    try:
        for entry in entries:
            ledger.post(STRANGER.read_entry(entry.raw, entry.index, f"{ORIGIN}/{tenant}"))
        ledger.end()
    except STRANGER.Fault as fault:
        return [f"contrib/verify_export.py: {fault}"]
    return []
