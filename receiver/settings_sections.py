"""The sections of counterfoil.yml as frozen values: every key below the top level, and its default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from cryptography import x509
from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from ledger.stores.people import people_path
from policy_rules.signals import BadSignal, labels_of
from receiver.settings_executors import Executor
from receiver.settings_http import Section, Server
from receiver.settings_values import (
    DAY_SECONDS,
    AccountSid,
    Channel,
    Day,
    FilePath,
    Handover,
    Language,
    LedgerUrl,
    LinkOrigin,
    Misplaced,
    Moment,
    Name,
    Number,
    Origin,
    Phone,
    PinHash,
    Price,
    Seconds,
    Sender,
    SmsSender,
    TimeZone,
    TurnLength,
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


def _expression(value: str) -> str:
    """An expression in RE2's syntax that matches something, but not everything."""
    options = re2.Options()
    options.log_errors = False
    try:
        empty = re2.compile(value, options).match("")
    except re2.error as error:
        raise ValueError(f"is no expression of RE2: {error}") from None
    if empty is not None:
        raise ValueError("would match where there is nothing")
    return value


MetricPattern = Annotated[str, Field(pattern=r"^[a-zA-Z_:*][a-zA-Z0-9_:*]{0,200}$")]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,100}$")]
Expression = Annotated[str, AfterValidator(_expression)]


class TokenPrice(Section):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_write: Decimal | None = Field(default=None, ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)


def _promql(value: str) -> str:
    """A query that may take labels of the incident, as a policy's signal does."""
    try:
        labels_of(value)
    except BadSignal as error:
        raise ValueError(str(error)) from None
    return value


PromQL = Annotated[str, AfterValidator(_promql)]


class Diagnosis(Section):
    model: str = "claude-sonnet-5-5"
    api_key: SecretStr | None = None
    base_url: WebAddress | None = None
    daily_budget_usd: float = Field(default=5.0, ge=0)
    incident_budget_usd: float = Field(default=0.5, ge=0)
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    max_tokens: int = Field(default=1_500, ge=500, le=32_000)
    concurrency: int = Field(default=2, ge=1, le=32)
    metrics: tuple[MetricPattern, ...] = ()
    labels: tuple[LabelName, ...] = ()
    redact: tuple[Expression, ...] = ()
    prices: Mapping[str, TokenPrice] = {}
    candidates: tuple[PromQL, ...] = ()
    deploys: tuple[PromQL, ...] = ()


class Twilio(Section):
    account_sid: AccountSid
    auth_token: SecretStr
    previous_auth_token: SecretStr | None = None
    sender: Sender
    voice_sender: Number | None = None
    sms_sender: SmsSender | None = None
    base_url: WebAddress | None = None
    daily_message_limit: int = Field(default=200, ge=1)
    daily_person_limit: int = Field(default=100, ge=0)
    person_pace: Seconds = 6.0
    poll: Seconds | None = Field(default=None, ge=2)
    prices: Mapping[Channel, Price] = {}


class Heartbeat(Section):
    """An alert that must keep arriving; when it does not, `notify` hears of it."""

    matchers: tuple[str, ...] = Field(min_length=1)
    within: Seconds
    notify: tuple[str, ...] = Field(min_length=1)


class Person(Section):
    whatsapp: Phone
    phone: Number | None = None
    notices: SecretStr | None = None
    roles: tuple[Name, ...] = ()
    timezone: TimeZone = "UTC"
    language: Language = "en"
    pin: PinHash | None = None

    def reached_by(self, channel: str) -> bool:
        """Whether there is a number of theirs on `channel`."""
        known = self.phone is not None
        return {"whatsapp": True, "voice": known, "sms": known, "notice": self.notices is not None}[channel]


class Rotation(Section):
    """Who takes turns at `role`. `every` is whole days; `from` is the day on or after which the first shift begins."""

    role: Name
    people: tuple[Name, ...] = Field(min_length=1)
    handover: Handover
    timezone: TimeZone = "UTC"
    every: TurnLength
    since: Day = Field(alias="from")

    @model_validator(mode="after")
    def _weekday_where_weeks(self) -> Rotation:
        if (self.every % (7 * DAY_SECONDS) == 0) != (self.handover.weekday is not None):
            raise ValueError("handover names a weekday where every is in weeks, as in monday 09:00, and none where not")
        return self

    @property
    def first(self) -> date:
        """The day on which the first shift begins."""
        weekday = self.handover.weekday
        return self.since + timedelta(days=(weekday - self.since.weekday()) % 7 if weekday is not None else 0)


class Override(Section):
    """One who has the duty of `role` for a while. A time without an offset is on the clocks of the role's rotation."""

    role: Name
    person: Name
    since: Moment = Field(alias="from")
    until: Moment


class Tenant(Section):
    token: SecretStr
    notices: SecretStr | None = None
    alertmanagers: tuple[Server, ...] = ()
    prometheus: Server | None = None
    policy: FilePath
    shadow_policy: FilePath | None = None
    observe: bool = False
    heartbeat: Heartbeat | None = None
    link_origins: tuple[LinkOrigin, ...] = ()
    people: Mapping[Name, Person] = {}
    rotations: Mapping[Name, Rotation] = {}
    overrides: tuple[Override, ...] = ()
    executors: Mapping[Name, Executor] = {}

    def roles_of(self, person: str) -> frozenset[str]:
        """The roles that `person` has, at whatever time: their own, and those that they take turns at."""
        turns = {rotation.role for rotation in self.rotations.values() if person in rotation.people}
        turns |= {override.role for override in self.overrides if override.person == person}
        return frozenset(turns | set(self.people[person].roles))


def missing_keys(ledger: Ledger) -> list[Misplaced]:
    """What to do where a key is not there: one that was lost is put back, since a ledger that stands takes no other."""
    found = []
    key, personal, people = ledger.key_file, ledger.personal_key_file, people_path(ledger.path)
    if not key.is_file():
        lost = (
            f"put it back from where you keep its copy, for {ledger.path} takes no other; where it is lost for good, "
            f"nothing can be appended: keep that file and its anchor, and begin a new ledger by another url, origin "
            f"and anchor_file"
        )
        hint = lost if ledger.path.exists() else "put it there, or run `counterfoil init`"
        found.append(Misplaced(("ledger", "key_file"), f"key_file: there is no file {key}: {hint}"))
    if not personal.is_file():
        lost = (
            f"put it back from where you keep its copy, for nothing else opens {people}; where it is lost for good, "
            f"move that file away and run `counterfoil init`: what was written to and by people is unreadable then"
        )
        hint = lost if people.exists() else "put it there, or run `counterfoil init`"
        said = f"personal_key_file: there is no file {personal}: {hint}"
        found.append(Misplaced(("ledger", "personal_key_file"), said))
    return found
