"""The sections of counterfoil.yml as frozen values: every key below the top level, and its default."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from receiver.settings_values import (
    AccountSid,
    FilePath,
    Language,
    LedgerUrl,
    LinkOrigin,
    Name,
    Origin,
    Phone,
    Seconds,
    Sender,
    SigningSecret,
    TimeZone,
    WebAddress,
)


class Section(BaseModel):
    """Frozen, strict, and silent about values in its errors: a value may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TimestampAuthority(Section):
    """Who is asked for RFC 3161 time-stamps over checkpoints."""

    url: WebAddress
    every: Seconds = Field(default=3600.0, ge=1)
    ca_file: FilePath

    def certificates(self) -> list[x509.Certificate]:
        """The certificates in `ca_file`, with at least one root among them. Raises ValueError and OSError."""
        found = x509.load_pem_x509_certificates(self.ca_file.read_bytes())
        if not any(certificate.subject == certificate.issuer for certificate in found):
            raise ValueError("it holds no root certificate")
        return found


class Ledger(Section):
    url: LedgerUrl = "sqlite:///counterfoil.db"
    origin: Origin
    key_file: FilePath = Field(default=Path("secrets/ledger.key"), validate_default=True)
    personal_key_file: FilePath = Field(default=Path("secrets/personal.key"), validate_default=True)
    anchor_file: FilePath = Field(default=Path("counterfoil.anchor"), validate_default=True)
    witness_file: FilePath | None = None
    witness_every: Seconds = Field(default=60.0, ge=1)
    timestamps: TimestampAuthority | None = None
    min_free_bytes: int = Field(default=64 * 2**20, ge=0)
    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, folder: Any) -> None:
        self._folder = folder if isinstance(folder, Path) else Path()

    @property
    def path(self) -> Path:
        """The database file that `url` names, relative to counterfoil.yml."""
        return self._folder / self.url.removeprefix("sqlite:///")

    @property
    def timestamps_folder(self) -> Path:
        """Where time-stamps are kept: beside the database, with its name."""
        return self.path.with_name(f"{self.path.name}.timestamps")


class TokenPrice(Section):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)


class Diagnosis(Section):
    model: str = "claude-sonnet-5-5"
    api_key: SecretStr | None = None
    base_url: WebAddress | None = None
    daily_budget_usd: float = Field(default=5.0, ge=0)
    prices: Mapping[str, TokenPrice] = {}


class Twilio(Section):
    account_sid: AccountSid
    auth_token: SecretStr
    previous_auth_token: SecretStr | None = None
    sender: Sender
    base_url: WebAddress | None = None
    daily_message_limit: int = Field(default=200, ge=1)
    daily_person_limit: int = Field(default=100, ge=0)
    person_pace: Seconds = 6.0


class Authorization(Section):
    type: Name = "Bearer"
    credentials: SecretStr


class BasicAuth(Section):
    username: str
    password: SecretStr


class TlsConfig(Section):
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    insecure_skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError where a file cannot be read, or does not hold what its key says."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.cert_file:
            context.load_cert_chain(str(self.cert_file), str(self.key_file) if self.key_file else None)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def problem(self) -> str | None:
        """Why no connection could be made with it, or None."""
        try:
            for file in (self.ca_file, self.cert_file, self.key_file):
                if file is not None:
                    file.read_bytes()  # by itself, because what is said of a certificate names no file
            self.context()
        except ssl.SSLError as error:
            return f"the certificates do not hold: {error.reason or error}"
        except OSError as error:
            return f"cannot read {error.filename}: {error.strerror}"
        return None


class HttpConfig(Section):
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
        return self.tls_config.context() if self.tls_config is not None else None


class Server(Section):
    """A Prometheus or an Alertmanager to ask."""

    url: WebAddress
    http_config: HttpConfig = HttpConfig()


class Heartbeat(Section):
    """An alert that must keep arriving; when it does not, `notify` hears of it."""

    matchers: tuple[str, ...] = Field(min_length=1)
    within: Seconds
    notify: tuple[str, ...] = Field(min_length=1)


class Person(Section):
    whatsapp: Phone
    roles: tuple[Name, ...] = ()
    timezone: TimeZone = "UTC"
    language: Language = "en"


class Executor(Section):
    url: WebAddress
    secret: SigningSecret
    previous_secret: SigningSecret | None = None
    timeout: Seconds = 10.0


class Tenant(Section):
    token: SecretStr
    alertmanagers: tuple[Server, ...] = ()
    prometheus: Server | None = None
    policy: FilePath
    shadow_policy: FilePath | None = None
    observe: bool = False
    heartbeat: Heartbeat | None = None
    link_origins: tuple[LinkOrigin, ...] = ()
    people: Mapping[Name, Person] = {}
    executors: Mapping[Name, Executor] = {}
