"""counterfoil.yml as frozen values: every key, every default, and every error at once with its file and line.

A secret never stands in the file. Wherever one is asked for, the file has either `NAME_file: PATH`, relative to the
file, or `NAME: ${ENVIRONMENT_VARIABLE}`; its value is read when the file is, and is a SecretStr from then on.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from policy_rules import strict_yaml
from policy_rules.problems import nearest
from receiver.settings_values import (
    SECRET_NAMES,
    AccountSid,
    Address,
    FilePath,
    Language,
    LedgerUrl,
    Listener,
    Misplaced,
    Name,
    Origin,
    Phone,
    Place,
    Seconds,
    Sender,
    SettingsErrors,
    SettingsProblem,
    SigningSecret,
    TenantName,
    TimeZone,
    WebAddress,
    take_secrets,
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Ledger(_Section):
    url: LedgerUrl = "sqlite:///counterfoil.db"
    origin: Origin
    key_file: FilePath = Field(default=Path("secrets/ledger.key"), validate_default=True)
    anchor_file: FilePath = Field(default=Path("counterfoil.anchor"), validate_default=True)
    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, folder: Any) -> None:
        self._folder = folder if isinstance(folder, Path) else Path()

    @property
    def path(self) -> Path:
        """The database file that `url` names, relative to counterfoil.yml."""
        return self._folder / self.url.removeprefix("sqlite:///")


class Diagnosis(_Section):
    model: str = "claude-sonnet-5-5"
    api_key: SecretStr | None = None
    base_url: WebAddress | None = None
    daily_budget_usd: float = Field(default=5.0, ge=0)


class Twilio(_Section):
    account_sid: AccountSid
    auth_token: SecretStr
    previous_auth_token: SecretStr | None = None
    sender: Sender
    base_url: WebAddress | None = None
    daily_message_limit: int = Field(default=200, ge=1)


class Authorization(_Section):
    type: Name = "Bearer"
    credentials: SecretStr


class BasicAuth(_Section):
    username: str
    password: SecretStr


class TlsConfig(_Section):
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    insecure_skip_verify: bool = False


class HttpConfig(_Section):
    """How to speak to a server, with the names of Prometheus's http_config."""

    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    tls_config: TlsConfig | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> HttpConfig:
        if self.authorization and self.basic_auth:
            raise ValueError("authorization and basic_auth exclude each other")
        return self

    def headers(self) -> dict[str, str]:
        """The request headers that sign us in; they are secrets."""
        if self.authorization:
            return {"Authorization": f"{self.authorization.type} {self.authorization.credentials.get_secret_value()}"}
        if self.basic_auth:
            pair = f"{self.basic_auth.username}:{self.basic_auth.password.get_secret_value()}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
        return {}

    def ssl_context(self) -> ssl.SSLContext | None:
        """None: the defaults of the platform. Raises OSError where a file cannot be read."""
        tls = self.tls_config
        if tls is None:
            return None
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
        if tls.cert_file:
            context.load_cert_chain(str(tls.cert_file), str(tls.key_file) if tls.key_file else None)
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Server(_Section):
    """A Prometheus or an Alertmanager to ask."""

    url: WebAddress
    http_config: HttpConfig = HttpConfig()


class Heartbeat(_Section):
    """An alert that must keep arriving; when it does not, `notify` hears of it."""

    matchers: tuple[str, ...] = Field(min_length=1)
    within: Seconds
    notify: tuple[str, ...] = Field(min_length=1)


class Person(_Section):
    whatsapp: Phone
    roles: tuple[Name, ...] = ()
    timezone: TimeZone = "UTC"
    language: Language = "en"


class Executor(_Section):
    url: WebAddress
    secret: SigningSecret
    previous_secret: SigningSecret | None = None
    timeout: Seconds = 10.0


class Tenant(_Section):
    token: SecretStr
    alertmanagers: tuple[Server, ...] = ()
    prometheus: Server | None = None
    policy: FilePath
    heartbeat: Heartbeat | None = None
    people: Mapping[Name, Person] = {}
    executors: Mapping[Name, Executor] = {}


class Settings(_Section):
    """The whole file. Paths are resolved against its folder; durations are seconds."""

    listen: Listener = Address("127.0.0.1", 9877)
    public_listen: Listener = Address("127.0.0.1", 9878)
    public_url: WebAddress
    admin_token: SecretStr
    ledger: Ledger
    diagnosis: Diagnosis = Diagnosis()
    twilio: Twilio
    health_ping_url: WebAddress | None = None
    tenants: Mapping[TenantName, Tenant] = Field(min_length=1)


def load_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Read `path`. Raises SettingsErrors with everything that is wrong with it, each with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problem = SettingsProblem(
            str(path), None, "no such file: `counterfoil init` writes one, --config names another"
        )
        raise SettingsErrors((problem,)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsErrors((SettingsProblem(str(path), None, f"cannot be read: {error}"),)) from None
    return read_settings(text, path, environment)


def read_settings(text: str, path: Path, environment: Mapping[str, str]) -> Settings:
    """`text` as settings. path: where it stands, for the files it names and for messages. Raises SettingsErrors."""
    data, positions, unread = strict_yaml.collect(text, str(path))
    if data is None and unread:
        raise SettingsErrors(tuple(SettingsProblem(str(path), problem.line, problem.message) for problem in unread))
    taken, found = take_secrets({} if data is None else data, path.parent, environment)
    try:
        settings = Settings.model_validate(taken, context=path.parent)
    except ValidationError as error:
        found += _plain(error, {problem.place for problem in found})
    else:
        found += _across(settings)
    problems = [SettingsProblem(str(path), problem.line, problem.message) for problem in unread]
    problems += [SettingsProblem(str(path), _line(positions, p.place), p.message) for p in found]
    if problems:
        raise SettingsErrors(tuple(sorted(problems, key=lambda problem: problem.line or 0)))
    return settings


def _plain(error: ValidationError, told: set[Place]) -> list[Misplaced]:
    """pydantic's findings in our words. told: places of which something was said already."""
    found = []
    for item in error.errors(include_url=False, include_input=False):
        place = tuple(part for part in item["loc"] if part != "[key]")
        if any(place == _secret_place(other) for other in told) or any("?" in str(part) for part in place):
            continue  # "listen?1" is how the reader calls a repeated key, of which it told
        name = ".".join(str(part) for part in place) or "the file"
        match item["type"]:
            case "missing" if place[-1] in SECRET_NAMES:
                message = f"{name} is missing: give {place[-1]}_file: PATH, or {place[-1]}: ${{VARIABLE}}"
            case "missing":
                message = f"{name} is missing"
            case "extra_forbidden":
                message = f"unknown key {name}{nearest(str(place[-1]), _known_keys(place[:-1]))}"
            case "value_error":
                message = f"{name}: {item['ctx']['error']}"
            case "model_type":
                message = f"{name} must be keys with values"
            case _:
                message = f"{name}: {item['msg'][0].lower()}{item['msg'][1:]}"
        found.append(Misplaced(place, message))
    return found


def _known_keys(place: Place) -> list[str]:
    """The keys that the section at `place` takes, secrets in both forms."""
    section: type[BaseModel] = Settings
    for part in place:
        annotation = section.model_fields[str(part)].annotation if str(part) in section.model_fields else None
        section = next(_sections_in(annotation), section)
    names = list(section.model_fields)
    return names + [f"{name}_file" for name in names if name in SECRET_NAMES]


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _secret_place(place: Place) -> Place:
    return (*place[:-1], str(place[-1]).removesuffix("_file"))


def _across(settings: Settings) -> list[Misplaced]:
    """What no key shows by itself. A missing ledger key is an error: a new key would be a new ledger."""
    found = []
    if settings.listen == settings.public_listen and settings.listen.port:
        found.append(Misplaced(("public_listen",), "listen and public_listen must differ: one of them is published"))
    if not settings.ledger.key_file.is_file():
        hint = f"there is no file {settings.ledger.key_file}: put the ledger's key back, or run `counterfoil init`"
        found.append(Misplaced(("ledger", "key_file"), f"key_file: {hint}"))
    holders = {settings.admin_token.get_secret_value(): "admin_token"}
    for name, tenant in settings.tenants.items():
        holder = holders.setdefault(tenant.token.get_secret_value(), f"tenants.{name}.token")
        if holder != f"tenants.{name}.token":
            found.append(Misplaced(("tenants", name, "token_file"), f"tenants.{name}.token is the same as {holder}"))
        found += _shared_numbers(name, tenant)
    return found


def _shared_numbers(name: str, tenant: Tenant) -> list[Misplaced]:
    """Law 3 needs to know who answered, so no two people of a tenant share a number."""
    owners: dict[str, str] = {}
    found = []
    for person, record in tenant.people.items():
        owner = owners.setdefault(record.whatsapp, person)
        if owner != person:
            message = f"{person} has the number of {owner}: an answer could not be told apart"
            found.append(Misplaced(("tenants", name, "people", person, "whatsapp"), message))
    return found


def _line(positions: Mapping[Place, tuple[int, int]], place: Place) -> int | None:
    """The line of `place`, or of the nearest thing around it that stands in the file."""
    candidates = [place, (*place[:-1], f"{place[-1]}_file")] if place else []
    candidates += [place[:length] for length in range(len(place) - 1, -1, -1)]
    return next((positions[candidate][0] for candidate in candidates if candidate in positions), None)
