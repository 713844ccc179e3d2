"""The service put together: what a reload changes and what it leaves alone, when it is ready, and how it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ledger.journal import Unavailable
from receiver.app import Service
from receiver.authorization.whatsapp import WhatsApp
from receiver.commands.init import write_folder
from receiver.configuration import Loaded, all_secrets, load_config
from receiver.governor.memo import memo_path
from receiver.incident.today import paid_on, sent_on
from receiver.papers import Usage
from receiver.rehearsal.outside import CaseClock
from tests.receiver.governed import Governed

HOUR = timedelta(hours=1)


@dataclass
class Installation:
    """A folder with a configuration, as `init` writes it, on ports that are free."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "counterfoil.yml"

    def load(self, **environment: str) -> Loaded:
        return load_config(self.config, environment)

    def edit(self, before: str, after: str, file: str = "counterfoil.yml") -> None:
        text = (self.folder / file).read_text(encoding="utf-8")
        assert before in text, before
        (self.folder / file).write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "installation")
    write_folder(made.folder)
    made.edit("127.0.0.1:9877", "127.0.0.1:0")
    made.edit("127.0.0.1:9878", "127.0.0.1:0")
    for port in (":9093", ":9090"):
        made.edit(port, ":1")  # nothing outside is there
    return made


@pytest.fixture
async def service(installation: Installation) -> AsyncIterator[Service]:
    service = Service(installation.load(), reread=installation.load)
    await service.start()
    yield service
    await service.stop()


def desk(service: Service, tenant: str = "default"):  # type: ignore[no-untyped-def]
    return service.governors[tenant].desk


def whatsapp(service: Service, tenant: str = "default") -> WhatsApp:
    """What that tenant's messages go by."""
    found = desk(service, tenant).carrier._channels["whatsapp"]
    assert isinstance(found, WhatsApp)
    return found


def second_tenant(installation: Installation) -> None:
    (installation.folder / "secrets/other.token").write_text("another-token\n", encoding="utf-8")
    (installation.folder / "other.yml").write_text("policy: {name: other, version: '7'}\nrules: []\n", encoding="utf-8")
    with installation.config.open("a", encoding="utf-8") as file:
        file.write("\n  other:\n    token_file: secrets/other.token\n    policy: other.yml\n")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def certificate() -> bytes:
    """A root of nobody's, as PEM."""
    key, name = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + HOUR)
    return builder.sign(key, None).public_bytes(Encoding.PEM)


# --- reload ---------------------------------------------------------------------------------------------------------


async def test_a_reload_takes_what_the_governor_asks_outside(service: Service, installation: Installation) -> None:
    installation.edit("claude-sonnet-5-5", "claude-haiku-5-5")
    installation.edit("prometheus: {url: http://127.0.0.1:1}", "prometheus: {url: http://127.0.0.1:2}")
    service._reread = lambda: installation.load(ANTHROPIC_API_KEY="sk-new")
    before = desk(service).evidence
    assert desk(service).model == ""
    assert await service.reload()
    assert desk(service).model == "claude-haiku-5-5"
    assert desk(service).evidence is not before
    assert desk(service).diagnostician is service._claude


async def test_what_was_spent_and_sent_today_counts_on_after_a_reload(
    service: Service, installation: Installation
) -> None:
    assert service._claude.budget.reserve(Decimal(1), datetime.now(UTC))
    service._carrier._day, service._carrier._sent_today = datetime.now(UTC).date(), 7
    assert await service.reload()
    carrier = whatsapp(service)
    assert carrier._sent_today == 7, "a reload that changes nothing"
    installation.edit("daily_message_limit: 200", "daily_message_limit: 100")
    installation.edit("daily_budget_usd: 5", "daily_budget_usd: 3")
    assert await service.reload()
    assert whatsapp(service) is not carrier
    assert whatsapp(service)._sent_today == 7
    assert (service._claude.budget.spent, service._claude.budget.limit) == (1, 3)


async def test_a_restart_gives_no_day_again(service: Service) -> None:
    """The books say what was sent and spent on this day; another day's counts for nothing."""
    governed = Governed(clock=CaseClock(datetime.now(UTC)))
    await governed.governor.start()
    await governed.fire()
    book = governed.desk.book
    sent = [m for m in book.messages.values() if m.sids]
    (incident,) = book.incidents.values()
    (consultation,) = incident.consultations
    consultation.body = {"usage": {"cost_usd": "0.125000"}}
    today = consultation.until.date()
    assert sent
    assert (sent_on(book, today), paid_on(book, today)) == (len(sent), Decimal("0.125"))
    assert (sent_on(book, today - timedelta(days=1)), paid_on(book, today + timedelta(days=1))) == (0, 0)
    desk(service).book = book
    service._count_on()
    assert (whatsapp(service)._sent_today, service._claude.budget.spent) == (len(sent), Decimal("0.125"))
    assert not service._claude.budget.reserve(Decimal("4.876"), datetime.now(UTC))
    assert service._claude.budget.reserve(Decimal("4.875"), datetime.now(UTC))


async def test_tokens_cost_what_the_configuration_says(installation: Installation) -> None:
    used = Usage(input_tokens=1_000_000, output_tokens=1_000_000, cache_read_tokens=1_000_000)
    installation.edit("daily_budget_usd: 5", "prices: {claude-sonnet-5-5: {input: 3, output: 0.5}}")
    claude = Service(installation.load())._make_claude(installation.load().settings)
    assert claude.price.cost(used) == Decimal("3.8")


RESTARTS = [
    ("listen: 127.0.0.1:0", "listen: 127.0.0.2:0", "listen"),
    ("public_url: https://", "public_url: https://elsewhere.", "public_url"),
    ("url: sqlite:///counterfoil.db", "url: sqlite:///another.db", "ledger"),
    ("account_sid: AC", "account_sid: AC1", "twilio.account_sid"),
    ("  default:\n", "  renamed:\n", "tenants"),
]


@pytest.mark.parametrize(("before", "after", "named"), RESTARTS, ids=[named for *_, named in RESTARTS])
async def test_what_needs_a_restart_changes_nothing_at_all(
    service: Service,
    installation: Installation,
    caplog: pytest.LogCaptureFixture,
    before: str,
    after: str,
    named: str,
) -> None:
    if named == "twilio.account_sid":
        text = installation.config.read_text(encoding="utf-8")
        found = re.search(r"AC[0-9a-fA-F]{32}", text)
        assert found is not None
        before, after = found[0], "AC" + "f" * 32
    installation.edit(before, after)
    installation.edit("error_ratio >= 0.05", "error_ratio >= 0.5", "policy.yml")
    installation.edit('version: "1.0.0"', 'version: "2.0.0"', "policy.yml")
    loaded = service.loaded
    assert not await service.reload()
    assert service.loaded is loaded
    assert desk(service).charter.rulebook.version == "1.0.0"
    assert f"{named} cannot change while the service runs" in caplog.text
    assert service.metrics.config_last_reload_successful._value.get() == 0


async def test_a_file_that_a_reload_cannot_read_changes_nothing(service: Service, installation: Installation) -> None:
    """The second half of a reload never fails after the first was taken."""
    real = installation.load
    loaded = service.loaded

    def reread() -> Loaded:
        """The file of a certificate is there when the configuration is read, and gone when it is used."""
        (installation.folder / "ca.pem").write_bytes(certificate())
        found = real()
        (installation.folder / "ca.pem").unlink()
        return found

    service._reread = reread
    installation.edit(
        "{url: http://127.0.0.1:1}]", "{url: http://127.0.0.1:1, http_config: {tls_config: {ca_file: ca.pem}}}]"
    )
    assert not await service.reload()
    assert service.loaded is loaded


async def test_two_reloads_at_once_end_with_the_newer_file(service: Service, installation: Installation) -> None:
    read: list[str] = []

    def reread() -> Loaded:
        loaded = installation.load()
        read.append(loaded.charters["default"].rulebook.version)
        if len(read) == 1:
            installation.edit('version: "2.0.0"', 'version: "3.0.0"', "policy.yml")
        return loaded

    service._reread = reread
    installation.edit('version: "1.0.0"', 'version: "2.0.0"', "policy.yml")
    assert await asyncio.gather(service.reload(), service.reload()) == [True, True]
    assert read == ["2.0.0", "3.0.0"]
    assert service.loaded.charters["default"].rulebook.version == "3.0.0"


async def test_wrong_tokens_count_on_after_a_reload(service: Service) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(30):
            async with session.get(
                f"{service.private_url}/api/v1/incidents", headers={"Authorization": "Bearer wrong"}
            ) as answer:
                assert answer.status == 401
    assert await service.reload()
    request = type("Request", (), {"remote": "127.0.0.1"})()
    assert service._admission.locked(request, "nobody") is False
    assert service._admission._is_locked(("127.0.0.1", "")) is True


async def test_each_tenant_has_its_policy_in_the_metric(installation: Installation) -> None:
    second_tenant(installation)
    service = Service(installation.load(), reread=installation.load)
    await service.start()
    try:
        info = {
            (sample.labels["tenant"], sample.labels["version"])
            for family in service.metrics.policy_info.collect()
            for sample in family.samples
        }
        assert info == {("default", "1.0.0"), ("other", "7")}
        installation.edit("version: '7'", "version: '8'", "other.yml")
        assert await service.reload()
        await until(lambda: desk(service, "other").charter.rulebook.version == "8")
        text = service.metrics.render().decode()
        assert 'policy_info{tenant="other",version="8"} 1.0' in text
        assert 'version="7"' not in text
        assert 'policy_info{tenant="default",version="1.0.0"} 1.0' in text
    finally:
        await service.stop()


async def test_one_limit_of_messages_for_all_tenants(installation: Installation) -> None:
    second_tenant(installation)
    service = Service(installation.load())
    await service.start()
    try:
        assert whatsapp(service, "default") is whatsapp(service, "other")
    finally:
        await service.stop()


def test_every_secret_is_hidden_from_the_model(installation: Installation) -> None:
    (installation.folder / "secrets/prometheus.password").write_text("prometheus-password\n", encoding="utf-8")
    installation.edit(
        "prometheus: {url: http://127.0.0.1:1}",
        "prometheus: {url: http://127.0.0.1:1, "
        "http_config: {basic_auth: {username: me, password_file: secrets/prometheus.password}}}",
    )
    secrets = all_secrets(installation.load().settings)
    assert "prometheus-password" in secrets
    for name in ("admin.token", "default.token", "restart.whsec", "twilio.token"):
        assert (installation.folder / "secrets" / name).read_text(encoding="utf-8").strip() in secrets, name


# --- ready ----------------------------------------------------------------------------------------------------------


async def readiness(service: Service) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{service.private_url}/-/ready") as answer:
        return answer.status, await answer.text()


async def test_a_stop_leaves_a_memo_where_much_was_folded(installation: Installation) -> None:
    path, came = memo_path(installation.load().settings.ledger.path, "default"), []
    for entries in (1, 10**6):
        service = Service(installation.load())
        await service.start()
        memos = desk(service).memos
        came.append(memos.size)
        memos._entries, memos._asked = entries, 0
        path.unlink(missing_ok=True)
        await service.stop()
        assert path.exists() is (entries == 1)
    assert came[0] == 0 < came[1]


async def test_not_ready_once_a_governor_has_ended(service: Service) -> None:
    assert (await readiness(service))[0] == 200
    service._tasks[0].cancel()
    await asyncio.wait(service._tasks)
    assert await readiness(service) == (503, "governor default: it has ended\n")


async def test_the_service_ends_when_nothing_can_be_written_any_more(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(jobs: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(service.journal, "_write", broken)
    failed = asyncio.create_task(service.failed())
    with pytest.raises(Unavailable):
        await service._changes("default").halt("tendai", "a reason")  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="a mistake of ours"):
        await asyncio.wait_for(failed, 20)
    await until(lambda: service.governors["default"].unavailable is not None)
    status, text = await readiness(service)
    assert status == 503
    assert "the ledger is closed" in text
    await asyncio.sleep(0.2)
    tries = [record for record in caplog.records if "the ledger cannot be written" in record.message]
    assert len(tries) < 20, "the governor asks again and again without a pause"
