"""counterfoil.yml as frozen values: every key, every default, and every error at once with its file and line.

A secret never stands in the file. Wherever one is asked for, the file has either `NAME_file: PATH`, relative to the
file, or `NAME: ${ENVIRONMENT_VARIABLE}`; its value is read when the file is, and is a SecretStr from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationError

from policy_rules import strict_yaml
from policy_rules.matchers import BadMatcher, parse_matchers
from policy_rules.problems import nearest
from policy_rules.rulebook import EVERYONE
from receiver.papers import CHANNELS, NOTICE, SMS, VOICE, WHATSAPP
from receiver.settings_http import Section, Server
from receiver.settings_sections import Diagnosis, Ledger, Tenant, Twilio, missing_keys
from receiver.settings_templates import Compiler
from receiver.settings_values import (
    SECRET_NAMES,
    Address,
    Listener,
    Misplaced,
    Place,
    SettingsErrors,
    SettingsProblem,
    TenantName,
    WebAddress,
    in_zone,
    take_secrets,
)


class Settings(Section):
    """The whole file. Paths are resolved against its folder; durations are seconds."""

    listen: Listener = Address("127.0.0.1", 9877)
    public_listen: Listener = Address("127.0.0.1", 9878)
    public_url: WebAddress = ""
    admin_token: SecretStr
    ledger: Ledger
    diagnosis: Diagnosis = Diagnosis()
    twilio: Twilio
    health_ping_url: WebAddress | None = None
    tenants: Mapping[TenantName, Tenant] = Field(min_length=1)

    def channels(self, tenant: Tenant) -> Mapping[str, frozenset[str]]:
        """By which channels each person of `tenant` can be reached: a channel needs a sender and a number of theirs."""
        twilio = self.twilio
        set_up = {WHATSAPP: True, VOICE: twilio.voice_sender is not None, SMS: twilio.sms_sender is not None}
        set_up[NOTICE] = find_spec("apprise") is not None
        by_tenant = {NOTICE} if tenant.notices is not None else set()
        return {
            name: frozenset(c for c in CHANNELS if set_up[c] and (person.reached_by(c) or c in by_tenant))
            for name, person in tenant.people.items()
        }


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


def placed(path: Path, found: Iterable[Misplaced]) -> list[SettingsProblem]:
    """Problems that were found beside the file, such as against the policies, each with its line in it."""
    _, positions, _ = strict_yaml.collect(path.read_text(encoding="utf-8"), str(path))
    problems = [SettingsProblem(str(path), _line(positions, p.place), p.message) for p in found]
    return sorted(problems, key=lambda problem: problem.line or 0)


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
    names = [field.alias or name for name, field in section.model_fields.items()]
    return names + [f"{name}_file" for name in names if name in SECRET_NAMES]


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _secret_place(place: Place) -> Place:
    return (*place[:-1], str(place[-1]).removesuffix("_file"))


def _across(settings: Settings) -> list[Misplaced]:
    """What no key shows by itself."""
    found = []
    if settings.listen == settings.public_listen and settings.listen.port:
        found.append(Misplaced(("public_listen",), "listen and public_listen must differ: one of them is published"))
    found += _heard(settings)
    found += missing_keys(settings.ledger)
    found += _timestamps(settings.ledger)
    holders = {settings.admin_token.get_secret_value(): "admin_token"}
    for name, tenant in settings.tenants.items():
        holder = holders.setdefault(tenant.token.get_secret_value(), f"tenants.{name}.token")
        if holder != f"tenants.{name}.token":
            found.append(Misplaced(("tenants", name, "token_file"), f"tenants.{name}.token is the same as {holder}"))
        found += _shared_numbers(name, tenant)
        found += _certificates(name, tenant)
        for executor, section in tenant.executors.items():
            found += Compiler(section, ("tenants", name, "executors", executor)).problems
        found += _heartbeat(name, tenant)
        found += _duty(name, tenant)
    return found


def _heartbeat(name: str, tenant: Tenant) -> list[Misplaced]:
    """Whether its matchers can be read, and whether whoever is to hear of it is named as a policy names people."""
    if tenant.heartbeat is None:
        return []
    place: Place = ("tenants", name, "heartbeat")
    found = []
    for at, text in enumerate(tenant.heartbeat.matchers):
        try:
            parse_matchers(text)
        except BadMatcher as error:
            found.append(Misplaced((*place, "matchers", at), f"heartbeat.matchers: {text!r} {error}"))
    for at, who in enumerate(tenant.heartbeat.notify):
        kind, _, named = who.partition(":")
        roles = {role for person in tenant.people.values() for role in person.roles}
        roles |= {rotation.role for rotation in tenant.rotations.values()}
        known = {"role": roles, "person": tenant.people}
        if who != EVERYONE and named not in known.get(kind, ()):
            said = f"heartbeat.notify: {who!r} is nobody of people: role:NAME, person:NAME or {EVERYONE}"
            found.append(Misplaced((*place, "notify", at), said))
    return found


def _duty(name: str, tenant: Tenant) -> list[Misplaced]:
    """Whether rotations and overrides name people who are there, and overrides a role that somebody takes turns at."""
    place: Place = ("tenants", name)
    found = []
    for key, rotation in tenant.rotations.items():
        for at, person in enumerate(rotation.people):
            if person not in tenant.people:
                said = f"rotations.{key}.people: there is no {person} among people{nearest(person, tenant.people)}"
                found.append(Misplaced((*place, "rotations", key, "people", at), said))
    zones = {rotation.role: rotation.timezone for rotation in tenant.rotations.values()}
    for at, override in enumerate(tenant.overrides):
        here: Place = (*place, "overrides", at)
        if override.role not in zones:
            said = f"overrides.{at}.role: no rotation has the role {override.role}{nearest(override.role, zones)}"
            found.append(Misplaced((*here, "role"), said))
        elif override.person not in tenant.people:
            said = f"overrides.{at}.person: there is no {override.person} among people"
            found.append(Misplaced((*here, "person"), said + nearest(override.person, tenant.people)))
        elif in_zone(override.until, zones[override.role]) <= in_zone(override.since, zones[override.role]):
            found.append(Misplaced((*here, "until"), f"overrides.{at}.until: it ends before it begins"))
    return found


def _heard(settings: Settings) -> list[Misplaced]:
    """Whether there is any way on which answers come in, and no call where none of its steps can."""
    if settings.public_url:
        return []
    if settings.twilio.poll is None:
        said = "public_url is missing: the address at which Twilio reaches you, or else set twilio.poll"
        return [Misplaced(("public_url",), said)]
    if settings.twilio.voice_sender is not None:
        said = "twilio.voice_sender: a call needs public_url, since Twilio asks there what it is to say"
        return [Misplaced(("twilio", "voice_sender"), said)]
    said = "a callback needs public_url, since the executor posts its result there: use mode poll, answer or none"
    return [
        Misplaced(("tenants", name, "executors", executor, "result"), f"{executor}.result: {said}")
        for name, tenant in settings.tenants.items()
        for executor, section in tenant.executors.items()
        if section.result.mode == "callback"
    ]


def _timestamps(ledger: Ledger) -> list[Misplaced]:
    """Whether time-stamps can be asked for and checked, where they are wanted."""
    if ledger.timestamps is None:
        return []
    place: Place = ("ledger", "timestamps")
    found = []
    if find_spec("rfc3161_client") is None:
        found.append(Misplaced(place, "timestamps: rfc3161-client is missing: install counterfoil[timestamps]"))
    try:
        ledger.timestamps.certificates()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        found.append(Misplaced((*place, "ca_file"), f"ca_file: {ledger.timestamps.ca_file}: {why}"))
    return found


def _certificates(name: str, tenant: Tenant) -> list[Misplaced]:
    """Whether the files of each `tls_config` can be used: found when the file is read, not when the server is asked."""
    servers: list[tuple[Place, Server]] = [
        (("tenants", name, "alertmanagers", at), server) for at, server in enumerate(tenant.alertmanagers)
    ]
    if tenant.prometheus is not None:
        servers.append((("tenants", name, "prometheus"), tenant.prometheus))
    found = []
    for place, server in servers:
        problem = server.http_config.tls_config.problem() if server.http_config.tls_config else None
        if problem is not None:
            found.append(Misplaced((*place, "http_config", "tls_config"), f"tls_config: {problem}"))
    return found


def _shared_numbers(name: str, tenant: Tenant) -> list[Misplaced]:
    """Law 3 needs to know who answered, so no two people share a number, neither to write to nor to call."""
    owners: dict[str, str] = {}
    found = []
    for person, record in tenant.people.items():
        for key, number in (("whatsapp", record.whatsapp.removeprefix("whatsapp:")), ("phone", record.phone)):
            owner = owners.setdefault(number, person) if number is not None else person
            if owner != person:
                message = f"{person} has the number of {owner}: an answer could not be told apart"
                found.append(Misplaced(("tenants", name, "people", person, key), message))
    return found


def _line(positions: Mapping[Place, tuple[int, int]], place: Place) -> int | None:
    """The line of `place`, or of the nearest thing around it that stands in the file."""
    candidates = [place, (*place[:-1], f"{place[-1]}_file")] if place else []
    candidates += [place[:length] for length in range(len(place) - 1, -1, -1)]
    return next((positions[candidate][0] for candidate in candidates if candidate in positions), None)
