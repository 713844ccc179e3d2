"""What single values of counterfoil.yml look like: durations, addresses, secrets, and a problem with any of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from policy_rules.durations import parse_duration

SECRET_NAMES = frozenset(
    {"admin_token", "api_key", "auth_token", "previous_auth_token", "token", "secret", "previous_secret"}
    | {"credentials", "password", "notices", "pin", "value"}
)
# Of an executor these are what others are sent, and no keys of ours: a "token" in them is no secret to be read.
_OTHERS = frozenset({"json", "form", "query", "headers"})
OPTIONAL_SECRETS = frozenset({"api_key"})  # unset in the environment means: do without (law 2: AI only explains)
MAX_SECRET_BYTES = 8_192
DAY_SECONDS, TURN_DAYS_MAX = 86_400, 366  # the longest shift
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_HANDOVER = re.compile(rf"(?:(?P<day>{'|'.join(WEEKDAYS)})\s+)?(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)")
_PIN_HASH = re.compile(
    r"scrypt\$32768\$8\$1\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}="
)  # as authorization.pins makes it
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Place = tuple[str | int, ...]  # where a value stands: the keys and indices that lead to it


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """One thing that is wrong. `line` counts from 1; None where it is about the file as a whole."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class SettingsErrors(Exception):
    """The configuration does not hold. `problems` are all that were found; the text has one line for each."""

    def __init__(self, problems: tuple[SettingsProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Address(NamedTuple):
    """Where a listener stands. Port 0 lets the system choose; an empty host in the file (":9877") means all."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def in_zone(moment: datetime, zone: str) -> datetime:
    """`moment` in UTC; without an offset it is on the clocks of `zone`."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def _seconds(value: Any) -> float:
    """Seconds of a duration as Prometheus writes it: "5m", "1h30m", "500ms", "0"."""
    found = None if isinstance(value, bool) else parse_duration(str(value))
    if found is None:
        raise ValueError(f"{value!r} is not a duration like 30s, 5m or 1h30m")
    return float(found)


def _address(value: Any) -> Any:
    if isinstance(value, Address):
        return value
    host, separator, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{value!r} is not HOST:PORT, e.g. 127.0.0.1:9877")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what ":9877" means in Prometheus


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not an http:// or https:// address without query")
    if parts.username is not None:
        raise ValueError("an address must not hold a user or a password: use http_config")
    return value.rstrip("/")


def _link_origin(value: str) -> str:
    """Scheme, host and port, and nothing else: what a link must begin with to be put into a message."""
    parts = urlsplit(_web_address(value).lower())
    if parts.path:
        raise ValueError(f"{value!r} is not an origin like https://runbooks.example.org, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def _ledger_url(value: str) -> str:
    if value.startswith(("postgresql:", "postgres:")):
        raise ValueError("PostgreSQL is not there yet: use sqlite:///FILE")
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError(f"{value!r} is not sqlite:///FILE (four slashes for an absolute path)")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone; a name like Africa/Harare or UTC is") from error
    return value


def is_signing_secret(value: SecretStr) -> SecretStr:
    """`value`, if it is a secret of Standard Webhooks. Raises ValueError."""
    kind, _, encoded = value.get_secret_value().partition("_")
    try:
        length = len(base64.b64decode(encoded, validate=True))
    except ValueError:
        length = 0
    if kind != "whsec" or not 24 <= length <= 64:
        raise ValueError('a signing secret is "whsec_" and the base64 of 24 to 64 bytes (`counterfoil init` makes one)')
    return value


def _pin_hash(value: SecretStr) -> SecretStr:
    if not _PIN_HASH.fullmatch(value.get_secret_value()):
        raise ValueError("that is not what `counterfoil person pin NAME` writes: a PIN itself is kept nowhere")
    return value


def _matching(pattern: str, hint: str) -> AfterValidator:
    """A check that the whole text matches `pattern`; `hint` says what would."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{value!r} is not {hint}")
        return value

    return AfterValidator(check)


def _absolute(value: Path, info: ValidationInfo) -> Path:
    folder = info.context  # of the file that is read
    return folder / value if isinstance(folder, Path) else value


def _turn(value: Any) -> float:
    seconds = _seconds(value)
    if seconds <= 0 or seconds % DAY_SECONDS or seconds > TURN_DAYS_MAX * DAY_SECONDS:
        raise ValueError(f"{value!r} is not a length of whole days or weeks, like 1d, 1w or 2w, up to a year")
    return seconds


class HandoverTime(NamedTuple):
    weekday: int | None  # Monday is 0; None: any day
    minute: int  # of the day, when a shift begins


def _handover(value: Any) -> Any:
    found = _HANDOVER.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a time to hand over, like monday 09:00, or 09:00 for shifts of days")
    day = WEEKDAYS.index(found["day"]) if found["day"] else None
    return HandoverTime(day, int(found["hour"]) * 60 + int(found["minute"]))


def _as_iso(parse: Callable[[str], Any], hint: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"{value!r} is not {hint}") from None

    return BeforeValidator(check)


Seconds = Annotated[float, BeforeValidator(_seconds)]
TurnLength = Annotated[float, BeforeValidator(_turn)]
Handover = Annotated[HandoverTime, BeforeValidator(_handover)]
Day = Annotated[date, _as_iso(date.fromisoformat, "a day like 2026-01-05")]
Moment = Annotated[datetime, _as_iso(datetime.fromisoformat, "a time like 2026-12-24T09:00 or 2026-12-24T09:00+02:00")]
Listener = Annotated[Address, BeforeValidator(_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Channel = Literal["whatsapp", "voice", "sms", "notice"]
Price = Annotated[Decimal, Field(ge=0, le=100)]  # US dollars a message
LinkOrigin = Annotated[str, AfterValidator(_link_origin)]
FilePath = Annotated[Path, AfterValidator(_absolute)]
SigningSecret = Annotated[SecretStr, AfterValidator(is_signing_secret)]
PinHash = Annotated[SecretStr, AfterValidator(_pin_hash)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Language = Annotated[str, _matching(r"[a-z]{2,3}(_[A-Z]{2})?", "a language like en or pt_BR")]
Phone = Annotated[str, _matching(r"whatsapp:\+[1-9][0-9]{6,14}", 'a number like "whatsapp:+263771234567"')]
Number = Annotated[str, _matching(r"\+[1-9][0-9]{6,14}", 'a number like "+263771234567"')]
SmsSender = Annotated[str, _matching(r"\+[1-9][0-9]{6,14}|MG[0-9a-fA-F]{32}", "a number, or MG and 32 hex digits")]
Sender = Annotated[
    str,
    _matching(r"whatsapp:\+[1-9][0-9]{6,14}|MG[0-9a-fA-F]{32}", 'a sender like "whatsapp:+14155238886" or MG + 32 hex'),
]
AccountSid = Annotated[str, _matching(r"AC[0-9a-fA-F]{32}", "an account sid, AC and 32 hex digits")]
Origin = Annotated[str, _matching(r"[!-*,-~]{1,200}", "a ledger's origin: printable ASCII without space or plus")]
Name = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of letters, digits, _ . and -")]
TenantName = Annotated[str, _matching(r"[a-z0-9-]{1,32}", "a tenant's name: 1 to 32 of a-z, 0-9 and -")]
LedgerUrl = Annotated[str, AfterValidator(_ledger_url)]


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A secret that cannot be had: where the key stands, and why."""

    place: Place
    message: str


def take_secrets(data: Any, base: Path, environment: Mapping[str, str]) -> tuple[Any, list[Misplaced]]:
    """Replace every `NAME_file` and every `NAME: ${VARIABLE}` of a secret in `data` by `NAME: SecretStr`.

    data: plain mappings, lists and scalars, left as they are. base: the folder that file names are relative to.
    """
    problems: list[Misplaced] = []
    return _taken(data, (), base, environment, problems), problems


def secret_files(data: Any, base: Path) -> list[Path]:
    """Every file that a `NAME_file` of a secret in `data` names."""
    if isinstance(data, list):
        return [path for item in data for path in secret_files(item, base)]
    if not isinstance(data, dict):
        return []
    found = []
    for key, item in data.items():
        if str(key).endswith("_file") and str(key).removesuffix("_file") in SECRET_NAMES and isinstance(item, str):
            found.append(base / item)
        else:
            found += secret_files(item, base)
    return found


def _taken(value: Any, place: Place, base: Path, environment: Mapping[str, str], problems: list[Misplaced]) -> Any:
    if isinstance(value, list):
        return [_taken(item, (*place, at), base, environment, problems) for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    taken: dict[Any, Any] = {}
    for key, item in value.items():
        name = str(key).removesuffix("_file")
        if key in _OTHERS and len(place) == 4 and (place[0], place[2]) == ("tenants", "executors"):
            taken[key] = item
        elif name not in SECRET_NAMES or isinstance(item, dict | list):  # a person may be called "token"
            taken[key] = _taken(item, (*place, key), base, environment, problems)
        elif item is None:
            taken.setdefault(name, None)
        elif taken.get(name) is not None:
            problems.append(Misplaced((*place, key), f"{name} and {name}_file exclude each other"))
        else:
            try:
                found = _from_file(base / str(item)) if name != key else _from_environment(name, item, environment)
            except ValueError as error:
                problems.append(Misplaced((*place, key), f"{key}: {error}"))
                found = SecretStr("")  # so that one mistake is told once
            taken[name] = found
    return taken


def _from_file(path: Path) -> SecretStr:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        text = content.decode("utf-8").strip()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}: write the secret into it (`counterfoil init` makes them)") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text") from None
    if not text or len(content) > MAX_SECRET_BYTES or any(ord(character) < 32 for character in text):
        raise ValueError(f"{path} must hold one line of at most {MAX_SECRET_BYTES} bytes")
    return SecretStr(text)


def _from_environment(name: str, value: Any, environment: Mapping[str, str]) -> SecretStr | None:
    match = _VARIABLE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"a secret must not stand in this file: use {name}_file: PATH, or {name}: ${{VARIABLE}}")
    found = environment.get(match[1], "")
    if not found and name not in OPTIONAL_SECRETS:
        raise ValueError(f"the environment variable {match[1]} is not set")
    return SecretStr(found) if found else None
