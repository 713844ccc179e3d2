"""The whole service put together: the only file that names concrete classes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from ledger import checkpoint
from ledger.journal import LedgerError
from ledger.stores.locks import Locks
from ledger.stores.sqlite import SqliteJournal
from policy_rules.loading import PolicyErrors
from receiver.anchoring.outside import Anchoring, Outside
from receiver.anchoring.witness_file import WitnessFile
from receiver.auditor.pages import Auditor
from receiver.auditor.reconciling import reconcile_forever
from receiver.authorization.whatsapp import WhatsApp
from receiver.configuration import ConfigErrors, Loaded, Roster, all_secrets, targets
from receiver.diagnosis.claude import Claude
from receiver.evidence.alertmanager import Alertmanagers
from receiver.evidence.prometheus import NoPrometheus, Prometheus
from receiver.execution.webhook import Webhooks
from receiver.governor.changes import ExecutionDesk, GovernorChanges
from receiver.governor.desk import Charter, Desk
from receiver.governor.loop import Governor
from receiver.governor.ports import Evidence
from receiver.intake.admission import Admission
from receiver.intake.alerts import MAX_BODY_BYTES, AlertIntake
from receiver.intake.changes import ChangeDesk
from receiver.intake.replies import Replies
from receiver.intake.results import Results
from receiver.intake.routes import private_app, public_app
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.settings_sections import Tenant
from receiver.settings_values import Address

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10.0  # requests and steps under way are waited for so long


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


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
        self._runners: list[web.AppRunner] = []
        self._ready = False
        self._stopping = False
        self._admission = self._admit(loaded)
        self.private_url = self.public_url = ""
        self.journal: SqliteJournal
        self._session: aiohttp.ClientSession
        self._claude: Claude
        self._auditor: Auditor

    # --- start and stop --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the tenants' locks, open the ledger, adopt, listen. Raises Broken, LedgerError or OSError."""
        settings = self.loaded.settings
        self._locks.take(settings.tenants)
        try:
            self.journal = await SqliteJournal.open(
                settings.ledger.path,
                origin=settings.ledger.origin,
                key=checkpoint.load_key_file(settings.ledger.key_file),
                anchor_path=settings.ledger.anchor_file,
                clock=self.clock.now,
                tenants=list(settings.tenants),
                observe=self.metrics.ledger_append_duration_seconds.observe,
            )
        except LedgerError:
            self._stopping = True  # nothing runs that `stop` could stop
            self._locks.release()
            raise
        self._session = aiohttp.ClientSession()
        self._claude = self._make_claude(settings)
        for name, tenant in settings.tenants.items():
            self.metrics.know_tenant(name)
            for executor in tenant.executors:
                self.metrics.know_executor(executor)
            self.governors[name] = Governor(self._desk(name, tenant), poll=bool(tenant.alertmanagers))
        try:
            await self._listen(settings)
            for governor in self.governors.values():
                await governor.start()
        except (LedgerError, OSError, PolicyErrors):
            await self.stop()
            raise
        self._tasks = [asyncio.create_task(g.run(), name=f"governor {n}") for n, g in self.governors.items()]
        reconciling = reconcile_forever(self._auditor.reader, lambda: list(self.governors), self.metrics)
        # Not among the tasks whose end ends the service: a metric, which then stands still, is what tells.
        self._beside = [
            asyncio.create_task(reconciling, name="reconcile"),
            asyncio.create_task(self._read_trees(), name="trees"),
        ]
        self._anchorings = [self._anchoring(outside) for outside in self._outside(settings)]
        for anchoring in self._anchorings:
            anchoring.start()
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set_to_current_time()
        self._ready = True

    async def _read_trees(self) -> None:
        """Read each log once for its tree, so that the first message that tells of a decision need not wait for it."""
        with suppress(LedgerError):  # whoever asks for a hash is told, and the next one reads on
            for name in self.governors:
                await self.journal.tree_hashes(name, [])

    async def failed(self) -> None:
        """Return never, unless a governor ends by itself: then raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Begin nothing new, let what is under way end, close the ledger."""
        if self._stopping:
            return
        self._stopping, self._ready = True, False
        for runner in self._runners:
            await runner.cleanup()
        tasks = [*self._tasks, *self._beside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._claude.close()
        await self.journal.close()
        await asyncio.gather(*(anchoring.stop() for anchoring in self._anchorings))
        await self._session.close()
        self._locks.release()

    async def reload(self) -> bool:
        """Read the configuration and the policies again; what does not hold changes nothing.

        Listeners, the ledger and the set of tenants stay as they were at the start.
        """
        if self._reread is None:
            return False
        try:
            loaded = await asyncio.to_thread(self._reread)
            if set(loaded.settings.tenants) != set(self.loaded.settings.tenants):
                raise ConfigErrors("the tenants cannot change while the service runs: restart it")
            for name, charter in loaded.charters.items():
                await self._check_version(name, charter)
        except (ConfigErrors, LedgerError) as error:
            log.error("nothing is reloaded: %s", error)
            self.metrics.config_last_reload_successful.set(0)
            return False
        self.loaded = loaded
        self._admission = self._admit(loaded)
        for name, governor in self.governors.items():
            tenant = loaded.settings.tenants[name]
            governor.desk.executors = Webhooks(targets(tenant), self.clock.now)
            governor.desk.carrier = self._whatsapp(loaded.settings)
            governor.reload(loaded.charters[name])
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set_to_current_time()
        log.info("the configuration and the policies were read again")
        return True

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
        return Desk(
            tenant=name,
            journal=self.journal,
            clock=self.clock,
            evidence=self._evidence(tenant),
            alert_source=Alertmanagers(
                servers=[(s.url, s.http_config.headers(), s.http_config.ssl_context()) for s in tenant.alertmanagers],
                session=lambda: self._session,
            ),
            diagnostician=self._claude,
            carrier=self._whatsapp(settings),
            executors=Webhooks(targets(tenant), self.clock.now),
            charter=self.loaded.charters[name],
            metrics=self.metrics,
            secret=self.loaded.secret,
            public_url=settings.public_url,
            model=settings.diagnosis.model if settings.diagnosis.api_key else "",
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

    def _whatsapp(self, settings: Settings) -> WhatsApp:
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

    def _make_claude(self, settings: Settings) -> Claude:
        key = settings.diagnosis.api_key
        return Claude(
            api_key=key.get_secret_value() if key else None,
            model=settings.diagnosis.model,
            base_url=settings.diagnosis.base_url,
            daily_budget_usd=settings.diagnosis.daily_budget_usd,
            clock=self.clock.now,
            secrets=all_secrets(settings),
        )

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
        replies = Replies(
            journal=self.journal,
            roster=Roster(lambda: self.loaded),
            account_sid=settings.twilio.account_sid,
            auth_tokens=self._auth_tokens,
            public_url=settings.public_url,
            codes_secret=self.loaded.secret,
            address_key=self.loaded.secret,
        )
        self._auditor = Auditor(self.journal, lambda: self._admission, lambda: list(self.governors), self.clock.now)
        private = private_app(
            alerts=AlertIntake(lambda: self.journal, lambda: self._admission, self.metrics),
            changes=ChangeDesk(self._changes, lambda: self._admission),
            admission=lambda: self._admission,
            metrics=self.metrics,
            not_ready=self._not_ready,
            reload=self.reload,
            reading=self._auditor.add_routes,
            measure=self._measure,
        )
        self.private_url = await self._serve(private, settings.listen)
        self.public_url = await self._serve(public_app(replies=replies, results=results), settings.public_listen)

    async def _serve(self, app: web.Application, address: Address) -> str:
        app._client_max_size = MAX_BODY_BYTES
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, address.host, address.port).start()
        host, port = runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _admit(self, loaded: Loaded) -> Admission:
        tokens = {name: tenant.token.get_secret_value() for name, tenant in loaded.settings.tenants.items()}
        return Admission(tokens, loaded.settings.admin_token.get_secret_value(), self.clock.now)

    def _auth_tokens(self) -> Sequence[str]:
        twilio = self.loaded.settings.twilio
        tokens = [twilio.auth_token, *([twilio.previous_auth_token] if twilio.previous_auth_token else [])]
        return [token.get_secret_value() for token in tokens]

    def _executor_secrets(self, tenant: str, executor: str) -> Sequence[str]:
        target = targets(self.loaded.settings.tenants[tenant]).get(executor)
        if target is None:
            return []
        return [target.secret, *([target.previous_secret] if target.previous_secret else [])]

    def _changes(self, tenant: str) -> GovernorChanges | None:
        governor = self.governors.get(tenant)
        return GovernorChanges(governor.desk) if governor is not None else None

    def _measure(self) -> None:
        for governor in self.governors.values():
            governor.measure()
            last = self.journal.last_time(governor.desk.tenant)
            if last is not None:
                gauge = self.metrics.ledger_last_checkpoint_timestamp_seconds.labels(governor.desk.tenant)
                gauge.set(last.timestamp())

    def _not_ready(self) -> list[str]:
        reasons = [reason for governor in self.governors.values() for reason in governor.reasons_not_ready()]
        return reasons if self._ready else ["starting or stopping", *reasons]
