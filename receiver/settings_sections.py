"""The sections of counterfoil.yml as frozen values: every key below the top level, and its default."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography import x509
from pydantic import Field, PrivateAttr, SecretStr

from receiver.settings_executors import Executor
from receiver.settings_http import Section, Server
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
    TimeZone,
    WebAddress,
)


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
