"""The whole service put together: the only file that names concrete classes."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
from aiohttp import web

from ledger import checkpoint
from ledger.journal import LedgerError
from ledger.stores.locks import Locks
from ledger.stores.people import STRANGER, People
from ledger.stores.personal import PersonalJournal
from ledger.stores.room import Room
from policy_rules.loading import PolicyErrors
from policy_rules.readings import Alert
from receiver.anchoring.outside import Anchoring, Outside
from receiver.anchoring.witness_file import WitnessFile
from receiver.auditor.pages import Auditor
from receiver.auditor.reconciling import reconcile_forever
from receiver.authorization.approvals import watch_forever
from receiver.authorization.channels import Channel, Channels
from receiver.authorization.codes import address_hmac
from receiver.authorization.connection import Connection
from receiver.authorization.message_list import MessageList
from receiver.authorization.notices import Notices
from receiver.authorization.sms import Sms
from receiver.authorization.voice import Voice
from receiver.authorization.whatsapp import WhatsApp
from receiver.configuration import ConfigErrors, Loaded, Roster, all_secrets, check_same, people_of, take_locks, targets
from receiver.diagnosis.budget import DEFAULT_PRICES, DailyBudget, Price
from receiver.diagnosis.claude import Claude
from receiver.diagnosis.dialogue import Limits
from receiver.diagnosis.tool import Asks
from receiver.evidence.alertmanager import Alertmanagers
from receiver.evidence.prometheus import NoPrometheus, Prometheus
from receiver.evidence.silencing import Server, Silencing
from receiver.execution.webhook import Webhooks
from receiver.governor.changes import ExecutionDesk, GovernorChanges
from receiver.governor.desk import Charter, Desk
from receiver.governor.folding import remember
from receiver.governor.loop import Governor
from receiver.governor.memo import memo_path
from receiver.governor.ports import AlertSource, Carrier, Diagnostician, Evidence, Executors, Silencer
from receiver.governor.remembering import Memos
from receiver.governor.viewing import QuestionDesk
from receiver.incident.outbox import Pace
from receiver.incident.today import paid_on, sent_on
from receiver.intake.admission import Admission
from receiver.intake.alerts import MAX_BODY_BYTES, AlertIntake
from receiver.intake.calls import Calls
from receiver.intake.changes import ChangeDesk
from receiver.intake.nonces import Nonces
from receiver.intake.polling import Poller, poll_forever
from receiver.intake.questions import Questions
from receiver.intake.replies import Replies
from receiver.intake.results import Results
from receiver.intake.routes import private_app, public_app
from receiver.intake.signed import Signed
from receiver.listener import Listener
from receiver.metrics import Metrics
from receiver.papers import NOTICE, SMS, VOICE, WHATSAPP
from receiver.pinging import ping_forever
from receiver.settings import Settings
from receiver.settings_sections import Diagnosis, Tenant
from receiver.settings_values import Address

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10.0  # requests and steps under way are waited for so long


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Offices:
    """Whom a tenant's governor asks, under the names that they have at its desk; a reload replaces them all at once."""

    evidence: Evidence
    alert_source: AlertSource
    diagnostician: Diagnostician
    carrier: Carrier
    executors: Executors
    model: str
    pace: Pace
    silencer: Silencer
    candidates: tuple[str, ...]
    deploys: tuple[str, ...]


class Service:
    """One process: the ledger, a governor a tenant, and two listeners."""

    def __init__(self, loaded: Loaded, *, reread: Callable[[], Loaded] | None = None) -> None:
        self.loaded = loaded
        self._reread = reread
        self.metrics = Metrics()
        self.clock = SystemClock()
        self.governors: dict[str, Governor] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._beside: list[asyncio.Task[None]] = []
        self._anchorings: list[Anchoring] = []
        self._locks = Locks(loaded.settings.ledger.path)
        self._room = Room(loaded.settings.ledger.path, loaded.settings.ledger.min_free_bytes)
        self._listeners: list[Listener] = []
        self._ready = False
        self._stopping = False
        self._notices = Notices()
        self._deaf = ""  # why nothing is heard, where the carrier's list is read
        self._replies: Replies
        self._changing = asyncio.Lock()  # a start, and one reload after the other
        self._admission = Admission(*_tokens(loaded), self.clock.now)
        self.private_url = self.public_url = ""
        self.journal: PersonalJournal
        self._people: People
        self._session: aiohttp.ClientSession
        self._claude: Claude
        self._former: list[Claude] = []  # replaced by a reload; a question may still be under way there
        self._carrier: WhatsApp
        self._auditor: Auditor

    # --- start and stop --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the tenants' locks, open the ledger, adopt, listen. Raises LedgerError, PolicyErrors or OSError."""
        async with self._changing:
            await self._open()
            try:
                await self._begin()
            except (LedgerError, OSError, PolicyErrors):
                await self.stop()
                raise
            self._taken()
            self._ready = True

    async def _open(self) -> None:
        settings = self.loaded.settings
        take_locks(self._locks, settings.tenants)
        try:
            self._people = people_of(settings.ledger)
            self.journal = await PersonalJournal.open(
                settings.ledger.path,
                origin=settings.ledger.origin,
                key=checkpoint.load_key_file(settings.ledger.key_file),
                anchor_path=settings.ledger.anchor_file,
                clock=self.clock.now,
                tenants=list(settings.tenants),
                observe=self.metrics.ledger_append_duration_seconds.observe,
                shortage=self._room.shortage,
            )
        except LedgerError:
            self._stopping = True  # nothing runs that `stop` could stop
            self._locks.release()
            raise
        self.journal.people = self._people
        self._session = aiohttp.ClientSession()
        self._claude = self._make_claude(settings)
        self._carrier = self._make_whatsapp(settings)

    async def _begin(self) -> None:
        settings = self.loaded.settings
        self._know(self.loaded)
        for name, tenant in settings.tenants.items():
            await self.journal.finish_erasing(name)
            self.governors[name] = Governor(self._desk(name, tenant))
        await self._listen(settings)
        for governor in self.governors.values():
            await governor.start()
        self._count_on()
        self._tasks = [asyncio.create_task(g.run(), name=f"governor {n}") for n, g in self.governors.items()]
        reconciling = reconcile_forever(self._auditor.reader, lambda: list(self.governors), self.metrics)
        # Not among the tasks whose end ends the service: a metric, which then stands still, is what tells.
        self._beside = [
            asyncio.create_task(reconciling, name="reconcile"),
            asyncio.create_task(self._read_trees(), name="trees"),
            asyncio.create_task(self._ping(), name="health ping"),
            asyncio.create_task(watch_forever(lambda: self._carrier, self.metrics), name="templates"),
        ]
        if settings.twilio.poll is not None:
            self._beside.append(asyncio.create_task(self._hear_by_asking(settings), name="twilio.poll"))
        for task in self._beside:
            task.add_done_callback(_said)
        self._anchorings = [self._anchoring(outside) for outside in self._outside(settings)]
        for anchoring in self._anchorings:
            anchoring.start()

    def _count_on(self) -> None:
        """A restart gives no day's money and no day's messages again: what the books say was used counts."""
        books, today = [governor.desk.book for governor in self.governors.values()], self.clock.now().date()
        self._claude.budget.count_on(today, sum((paid_on(book, today) for book in books), start=Decimal(0)))
        self._carrier.count_on(today, sum(sent_on(book, today) for book in books))

    async def _read_trees(self) -> None:
        """Read each log once for its tree, so that the first message that tells of a decision need not wait for it."""
        with suppress(LedgerError):  # whoever asks for a hash is told, and the next one reads on
            for name in self.governors:
                await self.journal.tree_hashes(name, [])

    async def _hear_by_asking(self, settings: Settings) -> None:
        twilio = settings.twilio
        token = twilio.auth_token.get_secret_value()
        connection = Connection(twilio.account_sid, token, lambda: self._session, twilio.base_url)
        poller = Poller(
            journal=self.journal, replies=self._replies, messages=MessageList(connection), clock=self.clock.now
        )

        def tell(trouble: str) -> None:
            self._deaf = trouble

        await poll_forever(poller, twilio.poll or 0.0, tell)

    async def _ping(self) -> None:
        await ping_forever(
            lambda: self.loaded.settings.health_ping_url, lambda: self._session, self._not_ready, self.metrics
        )

    async def failed(self) -> None:
        """Return never, unless a governor or the ledger's writer ends by itself: then raise what ended it."""
        writer = asyncio.create_task(self.journal.ended(), name="ledger")
        try:
            done, _ = await asyncio.wait([*self._tasks, writer], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            writer.cancel()

    async def stop(self) -> None:
        """Begin nothing new, let what is under way end, close the ledger."""
        if self._stopping:
            return
        self._stopping, self._ready = True, False
        for listener in self._listeners:
            await listener.refuse()
        for listener in self._listeners:
            await listener.close()
        tasks = [*self._tasks, *self._beside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for claude in (*self._former, self._claude):
            await claude.close()
        try:
            for governor in self.governors.values():
                await remember(governor.desk, serving=False)
        finally:
            await self.journal.close()
            await asyncio.gather(*(anchoring.stop() for anchoring in self._anchorings))
            await self._session.close()
            self._notices.close()
            self._locks.release()

    async def reload(self) -> bool:
        """Read the configuration and the policies again; what does not hold, or needs a restart, changes nothing."""
        async with self._changing:
            if self._reread is None or self._stopping:
                return False
            try:
                loaded = await asyncio.to_thread(self._reread)
                check_same(self.loaded, loaded)
                for name, charter in loaded.charters.items():
                    await self._check_version(name, charter)
                claude, carrier = self._claude_for(loaded.settings), self._carrier_for(loaded.settings)
                pace = _pace(loaded.settings)
                channels = self._channels(loaded.settings, carrier)
                asks = loaded.settings.diagnosis
                offices = {n: self._offices(tenant, claude, channels, pace, asks) for n, tenant in _tenants(loaded)}
                charters = {name: self._charter(name, charter) for name, charter in loaded.charters.items()}
            except (ConfigErrors, LedgerError, OSError) as error:
                log.error("nothing is reloaded: %s", error)
                self.metrics.config_last_reload_successful.set(0)
                return False
            # Nothing is awaited from here on, and nothing may fail: nobody sees one half of it.
            if claude is not self._claude:
                self._former.append(self._claude)
            self.loaded, self._claude, self._carrier = loaded, claude, carrier
            tokens, admin_token = _tokens(loaded)
            self._admission = replace(self._admission, tenant_tokens=tokens, admin_token=admin_token)
            for name, governor in self.governors.items():
                for field in fields(Offices):
                    setattr(governor.desk, field.name, getattr(offices[name], field.name))
                governor.reload(charters[name])
            self._know(loaded)
            self._taken()
            log.info("the configuration and the policies were read again")
            return True

    def _taken(self) -> None:
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set_to_current_time()

    def _know(self, loaded: Loaded) -> None:
        for name, tenant in _tenants(loaded):
            self.metrics.know_tenant(name)
            for executor in tenant.executors:
                self.metrics.know_executor(executor)

    async def _check_version(self, tenant: str, charter: Charter) -> None:
        """The same version with other contents is refused before anything changes; the database refuses it too."""
        for entry in await self.journal.entries(tenant, stage="ADOPTED", limit=100_000):
            same = (entry.body.get("name"), entry.policy_version) == (charter.rulebook.name, charter.rulebook.version)
            if same and entry.policy_digest != charter.rulebook.digest:
                raise ConfigErrors(
                    f"policy {charter.rulebook.name} {charter.rulebook.version} stands in the ledger with other "
                    f"contents: raise its version"
                )

    # --- the offices ------------------------------------------------------------------------------------------------

    def _desk(self, name: str, tenant: Tenant) -> Desk:
        settings = self.loaded.settings
        channels = self._channels(settings, self._carrier)
        offices = self._offices(tenant, self._claude, channels, _pace(settings), settings.diagnosis)
        return Desk(
            tenant=name,
            journal=self.journal,
            clock=self.clock,
            charter=self._charter(name, self.loaded.charters[name]),
            metrics=self.metrics,
            secret=self.loaded.secret,
            public_url=self.loaded.settings.public_url,
            memos=Memos(memo_path(settings.ledger.path, name), name, self.loaded.secret, self._room.holds),
            **{field.name: getattr(offices, field.name) for field in fields(Offices)},
        )

    def _charter(self, tenant: str, charter: Charter) -> Charter:
        """The charter with each number under a key of that person's own, made where there is none. Raises OSError."""
        self._people.ensure(tenant, [*charter.people, STRANGER])
        people = {
            name: replace(
                member,
                address_hmac=address_hmac(self._people.digest_key(tenant, name), member.recipient.address),
            )
            for name, member in charter.people.items()
        }
        return replace(charter, people=people)

    def _offices(self, tenant: Tenant, claude: Claude, carrier: Carrier, pace: Pace, asks: Diagnosis) -> Offices:
        """Raises OSError where a file of a `tls_config` cannot be read."""
        return Offices(
            evidence=self._evidence(tenant),
            alert_source=Alertmanagers(
                servers=_servers(tenant),
                session=lambda: self._session,
            ),
            diagnostician=claude,
            carrier=carrier,
            executors=Webhooks(targets(tenant), self.clock.now),
            model=claude.model,
            pace=pace,
            silencer=Silencing(servers=_servers(tenant), session=lambda: self._session),
            candidates=asks.candidates,
            deploys=asks.deploys,
        )

    def _evidence(self, tenant: Tenant) -> Evidence:
        if tenant.prometheus is None:
            return NoPrometheus(self.clock.now)
        return Prometheus(
            url=tenant.prometheus.url,
            session=lambda: self._session,
            clock=self.clock.now,
            headers=tenant.prometheus.http_config.headers(),
            ssl=tenant.prometheus.http_config.ssl_context(),
            count=self._count_query,
        )

    def _count_query(self, outcome: str, seconds: float) -> None:
        self.metrics.evidence_queries.labels(outcome).inc()
        self.metrics.evidence_duration_seconds.observe(seconds)

    def _carrier_for(self, settings: Settings) -> WhatsApp:
        """The carrier that there is, unless its settings changed; what it sent today counts on."""
        if settings.twilio == self.loaded.settings.twilio:
            return self._carrier
        carrier = self._make_whatsapp(settings)
        carrier.count_on_from(self._carrier)
        return carrier

    def _channels(self, settings: Settings, whatsapp: WhatsApp) -> Channels:
        """The ways to people: those beside WhatsApp where they are configured."""
        twilio = settings.twilio
        token = twilio.auth_token.get_secret_value()
        connection = Connection(twilio.account_sid, token, lambda: self._session, twilio.base_url)
        channels: dict[str, Channel] = {WHATSAPP: whatsapp, NOTICE: self._notices}
        if twilio.voice_sender is not None:
            channels[VOICE] = Voice(connection, twilio.voice_sender, settings.public_url)
        if twilio.sms_sender is not None:
            channels[SMS] = Sms(connection, twilio.sms_sender, settings.public_url)
        return Channels(channels)

    def _make_whatsapp(self, settings: Settings) -> WhatsApp:
        twilio = settings.twilio
        return WhatsApp(
            account_sid=twilio.account_sid,
            auth_token=twilio.auth_token.get_secret_value(),
            sender=twilio.sender,
            public_url=settings.public_url,
            session=lambda: self._session,
            clock=self.clock.now,
            base_url=twilio.base_url,
            daily_message_limit=twilio.daily_message_limit,
        )

    def _claude_for(self, settings: Settings) -> Claude:
        """The diagnostician that there is, unless its settings or a secret that it hides changed."""
        now = self.loaded.settings
        if (settings.diagnosis, all_secrets(settings)) == (now.diagnosis, all_secrets(now)):
            return self._claude
        return self._make_claude(settings, self._claude.budget)

    def _make_claude(self, settings: Settings, budget: DailyBudget | None = None) -> Claude:
        return make_claude(settings, self.clock.now, self._asks, budget)

    def _asks(self, tenant: str) -> Asks | None:
        """Who answers Claude's queries about a tenant: its own Prometheus, and nobody where there is none."""
        evidence = self.governors[tenant].desk.evidence if tenant in self.governors else None
        return evidence if isinstance(evidence, Prometheus) else None

    def _outside(self, settings: Settings) -> Iterator[Outside]:
        ledger = settings.ledger
        if ledger.witness_file is not None:
            yield WitnessFile(ledger.witness_file, ledger.witness_every)
        if ledger.timestamps is not None:
            from receiver.anchoring.timestamps import TimeStamps  # what it needs is an extra of the distribution

            authority = ledger.timestamps
            yield TimeStamps(
                authority.url,
                authority.every,
                authority.certificates(),
                ledger.timestamps_folder,
                lambda: self._session,
            )

    def _anchoring(self, outside: Outside) -> Anchoring:
        return Anchoring(outside, self.journal, list(self.governors), self.metrics, self.clock.now)

    # --- the listeners ----------------------------------------------------------------------------------------------

    async def _listen(self, settings: Settings) -> None:
        results = Results(
            lambda: [(name, ExecutionDesk(governor.desk)) for name, governor in self.governors.items()],
            self._executor_secrets,
        )
        signed = Signed(
            account_sid=settings.twilio.account_sid, auth_tokens=self._auth_tokens, public_url=settings.public_url
        )
        roster = Roster(lambda: self.loaded)
        replies = self._replies = Replies(
            journal=self.journal,
            roster=roster,
            signed=signed,
            codes_secret=self.loaded.secret,
            address_key=self._people.digest_key,
            pin_of=roster.pin_of,
        )
        calls = Calls(
            journal=self.journal,
            roster=roster,
            signed=signed,
            public_url=settings.public_url,
            codes_secret=self.loaded.secret,
            address_key=self._people.digest_key,
        )
        self._auditor = Auditor(self.journal, lambda: self._admission, lambda: list(self.governors), self.clock.now)
        nonces = Nonces(lambda: self._admission, self.clock.monotonic)
        private = private_app(
            alerts=AlertIntake(lambda: self.journal, lambda: self._admission, self.metrics, self._hear),
            changes=ChangeDesk(self._changes, lambda: self._admission),
            nonces=nonces,
            admission=lambda: self._admission,
            metrics=self.metrics,
            not_ready=self._not_ready,
            reload=self.reload,
            reading=self._auditor.add_routes,
            measure=self._measure,
        )
        self.private_url = await self._serve(private, "listen", settings.listen)
        questions = Questions(
            journal=self.journal,
            books=lambda: [(name, QuestionDesk(governor.desk)) for name, governor in self.governors.items()],
            public_url=settings.public_url,
            codes_secret=self.loaded.secret,
            address_key=self._people.digest_key,
        )
        public = public_app(replies=replies, calls=calls, results=results, nonces=nonces, questions=questions)
        self.public_url = await self._serve(public, "public_listen", settings.public_listen)

    async def _serve(self, app: web.Application, key: str, address: Address) -> str:
        app._client_max_size = MAX_BODY_BYTES
        try:
            listener = await Listener.open(app, address.host, address.port, shutdown_seconds=SHUTDOWN_SECONDS)
        except OSError as error:
            raise OSError(f"{key}: {address}: {_not_listening(error)}") from error
        self._listeners.append(listener)
        return listener.url

    def _auth_tokens(self) -> Sequence[str]:
        twilio = self.loaded.settings.twilio
        tokens = [twilio.auth_token, *([twilio.previous_auth_token] if twilio.previous_auth_token else [])]
        return [token.get_secret_value() for token in tokens]

    def _executor_secrets(self, tenant: str, executor: str) -> Sequence[str]:
        section = self.loaded.settings.tenants[tenant].executors.get(executor)
        return section.callback_secrets() if section is not None else ()

    def _changes(self, tenant: str) -> GovernorChanges | None:
        governor = self.governors.get(tenant)
        return GovernorChanges(governor.desk, self._people) if governor is not None else None

    def _hear(self, tenant: str, alerts: Sequence[Alert]) -> None:
        if tenant in self.governors:
            self.governors[tenant].hear(alerts)

    def _measure(self) -> None:
        with suppress(OSError):  # the folder is gone: the service is not ready, and the gauge stands still
            self.metrics.ledger_free_bytes.set(self._room.free())
        for governor in self.governors.values():
            governor.measure()
            last = self.journal.last_time(governor.desk.tenant)
            if last is not None:
                gauge = self.metrics.ledger_last_checkpoint_timestamp_seconds.labels(governor.desk.tenant)
                gauge.set(last.timestamp())

    def _not_ready(self) -> list[str]:
        reasons = [] if self._ready else ["starting or stopping"]
        reasons += [f"twilio.poll: {self._deaf}"] if self._deaf else []
        reasons += [f"{task.get_name()}: it has ended" for task in self._tasks if task.done()]
        # An anchor, or a ledger that cannot be written, is a reason of every tenant's; once is enough.
        reasons += [reason for governor in self.governors.values() for reason in governor.reasons_not_ready()]
        return list(dict.fromkeys(reasons))


def _tenants(loaded: Loaded) -> Iterable[tuple[str, Tenant]]:
    return loaded.settings.tenants.items()


def _servers(tenant: Tenant) -> list[Server]:
    """Raises OSError where a file of a `tls_config` cannot be read."""
    return [(s.url, s.http_config.headers(), s.http_config.ssl_context()) for s in tenant.alertmanagers]


def make_claude(
    settings: Settings,
    clock: Callable[[], datetime],
    asks: Callable[[str], Asks | None],
    budget: DailyBudget | None = None,
) -> Claude:
    """asks: tenant → who answers Claude's queries there. budget: the day's, where it was begun by another."""
    key, own = settings.diagnosis.api_key, settings.diagnosis.prices
    listed = {m: Price.listed(p.input, p.output, p.cache_write, p.cache_read) for m, p in own.items()}
    return Claude(
        api_key=key.get_secret_value() if key else None,
        model=settings.diagnosis.model,
        base_url=settings.diagnosis.base_url,
        daily_budget_usd=settings.diagnosis.daily_budget_usd,
        clock=clock,
        secrets=all_secrets(settings),
        prices={**DEFAULT_PRICES, **listed},
        budget=budget,
        limits=diagnosis_limits(settings.diagnosis),
        asks=asks,
    )


def diagnosis_limits(settings: Diagnosis) -> Limits:
    return Limits(
        max_tokens=settings.max_tokens,
        effort=settings.effort,
        incident_budget_usd=settings.incident_budget_usd,
        concurrency=settings.concurrency,
        metrics=settings.metrics,
        labels=settings.labels,
        redact=settings.redact,
    )


def _pace(settings: Settings) -> Pace:
    return Pace(settings.twilio.person_pace, daily=settings.twilio.daily_person_limit)


def _tokens(loaded: Loaded) -> tuple[dict[str, str], str]:
    tokens = {name: tenant.token.get_secret_value() for name, tenant in _tenants(loaded)}
    return tokens, loaded.settings.admin_token.get_secret_value()


def _not_listening(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "something else listens there: stop it, or choose another port"
    said = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"{said}: choose an address of this machine"


def _said(task: asyncio.Task[None]) -> None:
    """A mistake of ours ends one task, and neither the service nor in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has ended", task.get_name(), exc_info=error)
