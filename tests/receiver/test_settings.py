"""counterfoil.yml: what is read, what is refused, and what each refusal says."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from receiver.configuration import duty_of
from receiver.incident.duty import Override, Rotation
from receiver.settings import Settings, load_settings
from receiver.settings_sections import TokenPrice
from receiver.settings_values import Address, SettingsErrors

SMALLEST = """\
public_url: https://counterfoil.example.org
admin_token_file: secrets/admin.token
ledger: {origin: counterfoil.example.org}
twilio: {account_sid: AC00000000000000000000000000000000, auth_token: "${TWILIO}", sender: "whatsapp:+14155238886"}
tenants:
  default:
    token_file: secrets/default.token
    policy: policy.yml
"""

# As interface documents show it, with every key that there is.
WHOLE = """\
listen: 127.0.0.1:9877
public_listen: "[::1]:9878"
public_url: https://counterfoil.example.org/
admin_token_file: secrets/admin.token
ledger:
  url: sqlite:////var/lib/counterfoil/counterfoil.db
  origin: counterfoil.example.org
  key_file: secrets/ledger.key
  anchor_file: counterfoil.anchor
diagnosis: {model: claude-haiku-5-5, api_key: "${ANTHROPIC_API_KEY}", base_url: null, daily_budget_usd: 5}
twilio:
  account_sid: AC00000000000000000000000000000000
  auth_token_file: secrets/twilio.token
  previous_auth_token_file: null
  sender: "whatsapp:+14155238886"
  base_url: http://127.0.0.1:4010
  daily_message_limit: 100
health_ping_url: https://ping.example.org/abc
tenants:
  default:
    token_file: secrets/default.token
    alertmanagers:
      - {url: http://127.0.0.1:9093, http_config: {basic_auth: {username: me, password_file: secrets/password}}}
    prometheus: {url: http://127.0.0.1:9090, http_config: {authorization: {credentials: "${PROMETHEUS}"}}}
    policy: policy.yml
    heartbeat: {matchers: ['alertname="Watchdog"'], within: 1m30s, notify: ["role:oncall"]}
    people:
      tendai: {whatsapp: "whatsapp:+263771234567", roles: [oncall], timezone: Africa/Harare, language: en}
    executors:
      restart: {url: "http://127.0.0.1:9879/run/restart", secret_file: secrets/restart.whsec, timeout: 20s}
"""
SECRETS = {
    "admin.token": "admin-secret",
    "default.token": "tenant-secret\n",
    "twilio.token": "twilio-secret",
    "password": "password-secret",
    "restart.whsec": "whsec_" + base64.b64encode(bytes(32)).decode(),
    "ledger.key": "a key",
    "personal.key": "a secret",
}
ENVIRONMENT = {"TWILIO": "from the environment", "PROMETHEUS": "prometheus-secret"}


@dataclasses.dataclass
class Folder:
    """A folder with secrets, in which a test writes counterfoil.yml."""

    path: Path

    def load(self, text: str, environment: dict[str, str] = ENVIRONMENT) -> Settings:
        file = self.path / "counterfoil.yml"
        file.write_text(text, encoding="utf-8")
        return load_settings(file, environment)

    def complaints(self, text: str, environment: dict[str, str] = ENVIRONMENT) -> list[str]:
        """ "LINE: MESSAGE" of everything that is wrong with `text`."""
        with pytest.raises(SettingsErrors) as caught:
            self.load(text, environment)
        assert all(problem.file == str(self.path / "counterfoil.yml") for problem in caught.value.problems)
        return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "secrets").mkdir()
    for name, text in SECRETS.items():
        (tmp_path / "secrets" / name).write_text(text)
    return Folder(tmp_path)


def test_the_smallest_file_has_every_default(folder: Folder) -> None:
    settings = folder.load(SMALLEST)
    assert settings.listen == Address("127.0.0.1", 9877)
    assert settings.public_listen == Address("127.0.0.1", 9878)
    assert settings.ledger.path == folder.path / "counterfoil.db"
    assert settings.ledger.key_file == folder.path / "secrets/ledger.key"
    assert settings.ledger.anchor_file == folder.path / "counterfoil.anchor"
    assert settings.diagnosis.model == "claude-sonnet-5-5"
    assert settings.diagnosis.api_key is None
    assert settings.diagnosis.daily_budget_usd == 5
    assert settings.twilio.auth_token.get_secret_value() == "from the environment"
    assert settings.twilio.daily_message_limit == 200
    assert settings.health_ping_url is None
    tenant = settings.tenants["default"]
    assert (tenant.alertmanagers, tenant.prometheus, tenant.heartbeat) == ((), None, None)
    assert tenant.token.get_secret_value() == "tenant-secret"


def test_the_whole_file_is_read(folder: Folder) -> None:
    settings = folder.load(WHOLE, {**ENVIRONMENT, "ANTHROPIC_API_KEY": "sk"})
    assert settings.public_listen == Address("::1", 9878)
    assert str(settings.public_listen) == "[::1]:9878"
    assert settings.public_url == "https://counterfoil.example.org"
    assert settings.ledger.path == Path("/var/lib/counterfoil/counterfoil.db")
    assert settings.diagnosis.api_key is not None
    assert settings.diagnosis.api_key.get_secret_value() == "sk"
    tenant = settings.tenants["default"]
    assert tenant.heartbeat is not None
    assert tenant.heartbeat.within == 90
    assert tenant.executors["restart"].timeout == 20
    assert tenant.people["tendai"].timezone == "Africa/Harare"
    assert tenant.alertmanagers[0].http_config.headers() == {
        "Authorization": "Basic " + base64.b64encode(b"me:password-secret").decode()
    }
    assert tenant.prometheus is not None
    assert tenant.prometheus.http_config.headers() == {"Authorization": "Bearer prometheus-secret"}


def test_no_secret_is_shown_and_nothing_can_be_changed(folder: Folder) -> None:
    settings = folder.load(WHOLE)
    values = {text.strip() for name, text in SECRETS.items() if name not in ("ledger.key", "personal.key")} | set(
        ENVIRONMENT.values()
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert not [value for value in values if value in shown]
    with pytest.raises(ValidationError):
        settings.public_url = "https://elsewhere.example.org"


def test_every_mistake_is_told_at_once_with_its_line(folder: Folder) -> None:
    wrong = (
        WHOLE.replace("listen: 127.0.0.1:9877", "listen: nowhere")
        .replace("health_ping_url", "health_pin_url")
        .replace("within: 1m30s", "within: 90")
        .replace("+263771234567", "0771234567")
        .replace("Africa/Harare", "Africa/Hare")
        .replace("secrets/restart.whsec", "secrets/admin.token")
        .replace("    policy: policy.yml\n", "")
    )
    assert folder.complaints(wrong) == [
        "1: listen: 'nowhere' is not HOST:PORT, e.g. 127.0.0.1:9877",
        "18: unknown key health_pin_url; did you mean 'health_ping_url'?",
        "20: tenants.default.policy is missing",
        "25: tenants.default.heartbeat.within: 90 is not a duration like 30s, 5m or 1h30m",
        "27: tenants.default.people.tendai.whatsapp: 'whatsapp:0771234567' is not a number like "
        '"whatsapp:+263771234567"',
        "27: tenants.default.people.tendai.timezone: 'Africa/Hare' is no time zone; "
        "a name like Africa/Harare or UTC is",
        '29: tenants.default.executors.restart.secret: a signing secret is "whsec_" and the base64 of 24 to 64 bytes '
        "(`counterfoil init` makes one)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("admin_token_file: secrets/admin.token", "admin_token: hunter2", "2: admin_token: a secret must not stand"),
        ("admin_token_file: secrets/admin.token", "admin_token_file: secrets/none", "2: admin_token_file: there is no"),
        ("admin_token_file: secrets/admin.token", "admin_token_file: secrets", "2: admin_token_file: cannot read"),
        ("admin_token_file: secrets/admin.token\n", "", "1: admin_token is missing: give admin_token_file: PATH"),
        ("${TWILIO}", "${NOT_SET}", "4: auth_token: the environment variable NOT_SET is not set"),
        ("auth_token:", "auth_token_file: secrets/twilio.token, auth_token:", "4: auth_token and auth_token_file"),
        ("account_sid: AC", "account_sid: AX", "4: twilio.account_sid: 'AX0000"),
        ("origin: counterfoil.example.org", "origin: a+b", "3: ledger.origin: 'a+b' is not a ledger's origin"),
        ("{origin:", "{url: postgresql://db/counterfoil, origin:", "3: ledger.url: PostgreSQL is not there yet"),
        ("{origin:", "{url: counterfoil.db, origin:", "3: ledger.url: 'counterfoil.db' is not sqlite:///FILE"),
        ("{origin:", "{key_file: secrets/lost.key, origin:", "3: key_file: there is no file"),
        ("{origin:", "{path: x, origin:", "3: unknown key ledger.path"),
        ("https://counterfoil.example.org", "counterfoil.example.org", "1: public_url: 'counterfoil.example.org' is"),
        ("https://", "https://me:pw@", "1: public_url: an address must not hold a user"),
        ("https://", "https://[", "1: public_url: "),
        ("  default:", "  De fault:", "6: tenants.De fault: 'De fault' is not a tenant's name"),
        ("public_url:", "listen: 9877\npublic_url:", "1: listen: 9877 is not HOST:PORT, e.g. 127.0.0.1:9877"),
        ("public_url:", "public_listen: 127.0.0.1:9877\npublic_url:", "1: listen and public_listen must differ"),
        ("public_url:", "public_url: http://a.example\npublic_url:", "2: the key 'public_url' is repeated"),
        ("secrets/default.token", "secrets/admin.token", "7: tenants.default.token is the same as admin_token"),
    ],
)
def test_a_mistake_is_told(folder: Folder, old: str, new: str, complaint: str) -> None:
    assert old in SMALLEST
    complaints = folder.complaints(SMALLEST.replace(old, new, 1))
    assert len(complaints) == 1
    assert complaints[0].startswith(complaint)
    assert "hunter2" not in complaints[0]


PEOPLE = """\
    people: {tendai: {whatsapp: "whatsapp:+263771234567"}, rudo: {whatsapp: "whatsapp:+263771234568"}}
    rotations:
      primary: {role: oncall, people: [tendai, rudo], handover: monday 09:00, timezone: Africa/Harare, every: 1w,
                from: "2026-01-01"}
    overrides:
      - {role: oncall, person: rudo, from: "2026-12-24T18:00", until: "2026-12-25T09:00:00+01:00"}
"""


def test_rotations_and_overrides_are_read_with_times_in_their_zone(folder: Folder) -> None:
    duty = duty_of(folder.load(SMALLEST + PEOPLE).tenants["default"])
    assert duty.rotations == (
        Rotation("primary", "oncall", ("tendai", "rudo"), date(2026, 1, 5), 7, 540, "Africa/Harare"),
    )
    assert duty.overrides == (
        Override("oncall", "rudo", datetime(2026, 12, 24, 16, tzinfo=UTC), datetime(2026, 12, 25, 8, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "[tendai, rudo]",
            "[tendai, rud]",
            "11: rotations.primary.people: there is no rud among people; did you mean 'rudo'",
        ),
        ("[tendai, rudo]", "[]", "11: tenants.default.rotations.primary.people: "),
        (
            "monday 09:00",
            "montag 09:00",
            "11: tenants.default.rotations.primary.handover: 'montag 09:00' is not a time",
        ),
        (
            "monday 09:00",
            "monday 24:00",
            "11: tenants.default.rotations.primary.handover: 'monday 24:00' is not a time",
        ),
        (
            "monday 09:00",
            '"09:00"',
            "11: tenants.default.rotations.primary: handover names a weekday where every is in",
        ),
        ("every: 1w", "every: 12h", "11: tenants.default.rotations.primary.every: '12h' is not a length of whole days"),
        ("every: 1w", "every: 1d", "11: tenants.default.rotations.primary: handover names a weekday where every is in"),
        ('from: "2026-01-01"', "from: soon", "12: tenants.default.rotations.primary.from: 'soon' is not a day"),
        ("timezone: Africa/Harare", "timezone: Harare", "11: tenants.default.rotations.primary.timezone: 'Harare'"),
        (
            "timezone:",
            "timezones:",
            "11: unknown key tenants.default.rotations.primary.timezones; did you mean 'timezone'",
        ),
        ("role: oncall, person", "role: onkall, person", "14: overrides.0.role: no rotation has the role onkall"),
        ("person: rudo", "person: chipo", "14: overrides.0.person: there is no chipo among people"),
        ("2026-12-25", "2026-12-23", "14: overrides.0.until: it ends before it begins"),
        ('from: "2026-12-24T18:00"', "from: tonight", "14: tenants.default.overrides.0.from: 'tonight' is not a time"),
    ],
)
def test_a_mistake_in_who_takes_turns_is_told(folder: Folder, old: str, new: str, complaint: str) -> None:
    assert old in PEOPLE
    complaints = folder.complaints(SMALLEST + PEOPLE.replace(old, new, 1))
    assert len(complaints) == 1, complaints
    assert complaints[0].startswith(complaint)


@pytest.mark.parametrize(
    "rudo",
    [
        'whatsapp: "whatsapp:+263771234567"',
        'whatsapp: "whatsapp:+263772222222", phone: "+263771234567"',
        'whatsapp: "whatsapp:+263772222222", phone: "+263773333333"',
        'whatsapp: "whatsapp:+263773333333"',
    ],
)
def test_two_people_with_one_number_are_refused(folder: Folder, rudo: str) -> None:
    """To write to or to call: whoever holds that phone would answer for both."""
    tendai = 'whatsapp: "whatsapp:+263771234567", phone: "+263773333333"'
    people = f"    people:\n      tendai: {{{tendai}}}\n      rudo: {{{rudo}}}\n"
    assert folder.complaints(SMALLEST + people) == [
        "11: rudo has the number of tendai: an answer could not be told apart"
    ]


def test_a_person_may_be_called_on_the_number_that_they_are_written_to(folder: Folder) -> None:
    people = '    people: {tendai: {whatsapp: "whatsapp:+263771234567", phone: "+263771234567"}}\n'
    assert folder.load(SMALLEST + people).tenants["default"].people["tendai"].phone == "+263771234567"


def test_a_secret_file_holds_one_line(folder: Folder) -> None:
    for content in (b"", b"\n", b"a\nb", b"\xff\xfe", b"x" * 10_000):
        (folder.path / "secrets/admin.token").write_bytes(content)
        (complaint,) = folder.complaints(SMALLEST)
        assert complaint.startswith("2: admin_token_file: ")


@pytest.mark.parametrize("text", ["", "[]", "- a: 1", "just words", "\t:", "a: [1", "a: &b 1", "'", "\u0000", "{}"])
def test_what_is_no_configuration_at_all_gets_a_plain_answer(folder: Folder, text: str) -> None:
    assert all(complaint for complaint in folder.complaints(text))


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsErrors, match=r"counterfoil\.yml: no such file"):
        load_settings(tmp_path / "counterfoil.yml", {})
    with pytest.raises(SettingsErrors, match="cannot be read"):
        load_settings(tmp_path, {})
    (tmp_path / "latin").write_bytes(b"public_url: \xe9")
    with pytest.raises(SettingsErrors, match="cannot be read"):
        load_settings(tmp_path / "latin", {})


def test_names_of_people_and_executors_may_be_those_of_secrets(folder: Folder) -> None:
    """A person called "token" is a person: only a text is taken for a secret."""
    people = '    people: {token: {whatsapp: "whatsapp:+263771234567"}}\n'
    assert list(folder.load(SMALLEST + people).tenants["default"].people) == ["token"]


def test_a_certificate_that_cannot_be_used_is_told_with_its_line(folder: Folder) -> None:
    server = "    prometheus: {url: 'https://127.0.0.1:9090', http_config: {tls_config: {ca_file: ca.pem}}}\n"
    assert folder.complaints(SMALLEST + server) == [
        f"9: tls_config: cannot read {folder.path}/ca.pem: No such file or directory"
    ]
    (folder.path / "ca.pem").write_text("no certificate", encoding="utf-8")
    (problem,) = folder.complaints(SMALLEST + server)
    assert problem.startswith("9: tls_config: the certificates do not hold: ")


def test_candidates_and_deploys_are_promql_that_may_take_labels_of_the_incident(folder: Folder) -> None:
    text = SMALLEST + "diagnosis:\n  candidates: ['queue_depth{service=\"$service\"}']\n  deploys: [app_version]\n"
    diagnosis = folder.load(text).diagnosis
    assert (diagnosis.candidates, diagnosis.deploys) == (('queue_depth{service="$service"}',), ("app_version",))
    (problem,) = folder.complaints(text.replace("$service", "a$service"))
    assert problem.startswith("10: diagnosis.candidates.0: $service may stand only as the whole quoted value")
    (problem,) = folder.complaints(text.replace("app_version", "sum("))
    assert problem.startswith("11: diagnosis.deploys.0: is not PromQL")


def test_prices_of_tokens_are_decimals_and_never_negative(folder: Folder) -> None:
    text = SMALLEST + "diagnosis: {prices: {claude-next: {input: 0.1, output: 7}}}\n"
    assert folder.load(text).diagnosis.prices["claude-next"] == TokenPrice(input=Decimal("0.1"), output=Decimal(7))
    (problem,) = folder.complaints(text.replace("0.1", "-0.1"))
    assert problem.startswith("9: diagnosis.prices.claude-next.input: ")
    (problem,) = folder.complaints(text.replace("output: 7", "out: 7"))[:1]
    assert "diagnosis.prices.claude-next" in problem


def test_without_a_public_address_the_list_of_messages_must_be_read(folder: Folder) -> None:
    without = SMALLEST.replace("public_url: https://counterfoil.example.org\n", "")
    assert folder.complaints(without) == [
        "1: public_url is missing: the address at which Twilio reaches you, or else set twilio.poll"
    ]
    polled = without.replace('sender: "', 'poll: 10s, sender: "')
    settings = folder.load(polled)
    assert (settings.public_url, settings.twilio.poll) == ("", 10.0)
    calls = polled.replace("poll: 10s,", 'poll: 10s, voice_sender: "+12025550100",')
    (complaint,) = folder.complaints(calls)
    assert "a call needs public_url" in complaint
    assert len(folder.complaints(polled.replace("10s", "1s"))) == 1
    executors = "    executors: {fix: {url: https://x.example.org/, secret_file: s, result: {mode: callback}}}"
    (folder.path / "s").write_text("whsec_" + "A" * 32, encoding="utf-8")
    (complaint,) = folder.complaints(polled.rstrip("\n") + f"\n{executors}\n")
    assert "fix.result: a callback needs public_url" in complaint
