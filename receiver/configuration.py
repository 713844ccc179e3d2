"""The configuration and the policies that it names, read together: what a service, a reload and a check start from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, SecretStr

from ledger import checkpoint
from ledger.entry import canonical
from ledger.journal import Broken
from ledger.stores.locks import Locks
from ledger.stores.people import People, load_secret, people_path
from policy_rules.approval import Person
from policy_rules.loading import PolicyErrors, load
from policy_rules.matchers import parse_matchers
from policy_rules.rulebook import Rulebook
from receiver.authorization import codes, notices
from receiver.executor_papers import Learning
from receiver.governor.desk import Charter, Member
from receiver.incident.duty import Duty, Override, Rotation
from receiver.incident.heartbeat import Heartbeat
from receiver.papers import ExecutorTarget, Recipient
from receiver.settings import Settings, load_settings, placed
from receiver.settings_executors import Executor
from receiver.settings_sections import Ledger, Tenant
from receiver.settings_sections import Person as PersonSection
from receiver.settings_templates import Compiler
from receiver.settings_values import DAY_SECONDS, Misplaced, SettingsErrors, in_zone


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration and the policies that it names, read and found to hold."""

    settings: Settings
    policies: Mapping[str, str]  # tenant → text
    charters: Mapping[str, Charter]
    secret: bytes = field(repr=False)


class ConfigErrors(Exception):
    """The configuration or a policy does not hold; one line a problem."""


def load_config(path: Path, environment: Mapping[str, str]) -> Loaded:
    """Read counterfoil.yml and every policy. Raises ConfigErrors with all problems of the first file that has any."""
    try:
        settings = load_settings(path, environment)
        key = checkpoint.load_key_file(settings.ledger.key_file)
    except (SettingsErrors, checkpoint.BadKey) as error:
        raise ConfigErrors(str(error)) from error
    secret = hashlib.sha256(b"counterfoil codes" + key.private_bytes_raw()).digest()
    charters, texts, unfilled = {}, {}, list[Misplaced]()
    for name, tenant in settings.tenants.items():
        texts[name], rulebook = _policy(tenant.policy, environment)
        shadow = _policy(tenant.shadow_policy, environment)[1] if tenant.shadow_policy is not None else None
        executors = {executor: target.described() for executor, target in tenant.executors.items()}
        unfilled += unknown_names(name, tenant, [book for book in (rulebook, shadow) if book is not None])
        people = members(tenant, secret)
        links = frozenset(tenant.link_origins)
        heartbeat, duty = _heartbeat(tenant), duty_of(tenant)
        charters[name] = Charter(rulebook, people, executors, tenant.observe, shadow, heartbeat, links, duty)
    if unfilled:
        raise ConfigErrors("\n".join(str(problem) for problem in placed(path, unfilled)))
    return Loaded(settings, texts, charters, secret)


def people_of(ledger: Ledger) -> People:
    """The keys of what was written to and by people. Raises Broken, which says what to put back."""
    try:
        secret = load_secret(ledger.personal_key_file)
    except Broken as error:
        why = "no personal key as `counterfoil init` writes one: put it back from where you keep its copy"
        raise Broken(f"{ledger.personal_key_file}: {why}") from error
    return People(people_path(ledger.path), secret)


def take_locks(locks: Locks, tenants: Iterable[str]) -> None:
    """Take those of all tenants, or none. Raises Broken, which says what to do."""
    try:
        locks.take(tenants)
    except Broken as error:
        if isinstance(error.__cause__, BlockingIOError):
            raise Broken(f"{error}: stop it first; the file itself says nothing, and may stay") from error
        raise


def unknown_names(name: str, tenant: Tenant, policies: Sequence[Rulebook]) -> list[Misplaced]:
    """The placeholders of each executor that an action which uses it could not fill."""
    found = []
    for executor, section in tenant.executors.items():
        users = [
            (f"action {action} of rule {rule.name}", {param.name for param in about.params})
            for book in policies
            for rule in book.rules
            for action, about in rule.actions.items()
            if about.executor == executor
        ]
        for place, wanted in Compiler(section, ("tenants", name, "executors", executor)).names():
            for user, params in users:
                if wanted not in params:
                    message = f"{'.'.join(map(str, place))}: {{{wanted}}}: {user} has no parameter {wanted}"
                    found.append(Misplaced(place, message))
    return list(dict.fromkeys(found))


def _policy(path: Path, environment: Mapping[str, str]) -> tuple[str, Rulebook]:
    """The text of a policy as it stands in the file, and what it says."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, load(text, file=str(path), environment=environment)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigErrors(f"{path}: cannot be read: {error}") from error
    except PolicyErrors as error:
        raise ConfigErrors(str(error)) from error


def _heartbeat(tenant: Tenant) -> Heartbeat | None:
    if tenant.heartbeat is None:
        return None
    matchers = tuple(parse_matchers(text) for text in tenant.heartbeat.matchers)
    return Heartbeat(matchers, tenant.heartbeat.within, tenant.heartbeat.notify)


def duty_of(tenant: Tenant) -> Duty:
    """The rotations and overrides of a tenant, with their times in UTC."""
    rotations = tuple(
        Rotation(
            name,
            rotation.role,
            rotation.people,
            rotation.first,
            int(rotation.every // DAY_SECONDS),
            rotation.handover.minute,
            rotation.timezone,
        )
        for name, rotation in tenant.rotations.items()
    )
    zones = {rotation.role: rotation.timezone for rotation in rotations}
    return Duty(
        rotations,
        tuple(
            Override(o.role, o.person, in_zone(o.since, zones[o.role]), in_zone(o.until, zones[o.role]))
            for o in tenant.overrides
        ),
    )


def persons(tenant: Tenant) -> tuple[Person, ...]:
    """The people as policy sees them, each with every role that they may hold at whatever time."""
    return tuple(
        Person(name, tenant.roles_of(name), pin=person.pin is not None) for name, person in tenant.people.items()
    )


def _notices(tenant: Tenant, person: PersonSection) -> tuple[str, ...]:
    """Where a notice of last resort for a person goes: to their own addresses, or else to the tenant's."""
    given = person.notices or tenant.notices
    return notices.addresses(given.get_secret_value()) if given is not None else ()


def members(tenant: Tenant, secret: bytes) -> dict[str, Member]:
    return {
        name: Member(
            Recipient(name, person.whatsapp, person.language, person.timezone, person.phone, _notices(tenant, person)),
            frozenset(person.roles),
            codes.address_hmac(secret, person.whatsapp),
            pin=person.pin.get_secret_value() if person.pin is not None else None,
        )
        for name, person in tenant.people.items()
    }


def check_same(before: Loaded, after: Loaded) -> None:
    """What a reload cannot change is refused, so that nothing of it is changed by halves. Raises ConfigErrors."""
    old, new = before.settings, after.settings
    same = {
        "listen": old.listen == new.listen,
        "public_listen": old.public_listen == new.public_listen,
        "public_url": old.public_url == new.public_url,
        "ledger": old.ledger == new.ledger and before.secret == after.secret,
        "twilio.account_sid": old.twilio.account_sid == new.twilio.account_sid,
        "tenants": set(old.tenants) == set(new.tenants),
    }
    changed = [name for name, holds in same.items() if not holds]
    if changed:
        raise ConfigErrors(f"{', '.join(changed)} cannot change while the service runs: restart it")


class Roster:
    """Who is enrolled, over all tenants of the configuration in force."""

    def __init__(self, loaded: Callable[[], Loaded]) -> None:
        self._loaded = loaded

    def pin_of(self, tenant: str, person: str | None) -> str | None:
        """The hash of a person's PIN; None where they have none."""
        member = self._loaded().charters[tenant].people.get(person or "")
        return member.pin if member is not None else None

    def person_by_address(self, address: str) -> Sequence[tuple[str, str]]:
        return [
            (tenant, name)
            for tenant, charter in self._loaded().charters.items()
            for name, member in charter.people.items()
            if member.recipient.address == address
        ]

    def recipient(self, tenant: str, person: str) -> Recipient | None:
        charter = self._loaded().charters.get(tenant)
        member = charter.people.get(person) if charter is not None else None
        return member.recipient if member is not None else None


def targets(tenant: Tenant) -> dict[str, ExecutorTarget]:
    return {name: target(name, executor) for name, executor in tenant.executors.items()}


def target(name: str, executor: Executor) -> ExecutorTarget:
    """The executor as the office that calls it knows it. Raises OSError where a file of its `tls_config` is gone."""
    compiled = Compiler(executor)
    described = executor.described()
    result = executor.result
    learning = Learning(
        result.mode, result.path, result.success, result.failure, compiled.poll, result.every, result.timeout
    )
    return ExecutorTarget(
        name,
        executor.url,
        timeout_seconds=executor.timeout,
        address=compiled.url,
        request=compiled.request,
        credentials=executor.credentials(),
        tls=executor.tls_config.context() if executor.tls_config is not None else None,
        success=frozenset(executor.success),
        private=executor.private,
        learning=learning,
        concurrency=executor.concurrency,
        proof=executor.proof,
        settings="" if isinstance(described, str) else hashlib.sha256(canonical(described)).hexdigest(),
    )


def all_secrets(settings: Settings) -> list[str]:
    """Every secret of ours, so that none of them can travel to the model inside an alert."""
    return [secret.get_secret_value() for secret in _secrets_in(settings)]


def _secrets_in(value: object) -> Iterator[SecretStr]:
    if isinstance(value, SecretStr):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets_in(item)
