"""What `check` can say without asking anybody: policies, people, modes of secrets, ports; and what the ledger says."""

from __future__ import annotations

import errno
import http.client
import socket
import sqlite3
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path

from policy_rules import loading, strict_yaml
from policy_rules.rulebook import Rulebook
from receiver.commands import checks_of_ledger
from receiver.commands.checks_of_notices import notices
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.commands.init import (
    PLACEHOLDER_ACCOUNT,
    PLACEHOLDER_NUMBERS,
    PLACEHOLDER_TOKEN,
    PLACEHOLDER_URL,
)
from receiver.configuration import persons, targets, unknown_names
from receiver.execution.addresses import forbidden_target
from receiver.settings import Settings
from receiver.settings_sections import Tenant
from receiver.settings_values import Address, secret_files

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))  # the first and the last version that have it
TOKEN_CHARACTERS = 16  # a bearer token of fewer may be guessed


def all_of(settings: Settings, config: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Every finding, in the order in which one would mend them."""
    return [
        *placeholders(settings),
        *(
            finding
            for name, tenant in settings.tenants.items()
            for finding in tenant_findings(name, tenant, environment, settings.channels(tenant))
        ),
        *notices(settings),
        *checks_of_ledger.all_of(settings),
        sqlite_version(sqlite3.sqlite_version_info),
        *modes(settings, config),
        *(port(name, address) for name, address in _listeners(settings)),
    ]


def placeholders(settings: Settings) -> Iterator[Finding]:
    """What `init` wrote so that the file can be read, and nobody has replaced."""
    if settings.public_url == PLACEHOLDER_URL:
        yield Finding("public_url", WARN, "is still the example", "write the address at which Twilio reaches you")
    elif settings.public_url.startswith("http://"):
        yield Finding("public_url", WARN, "is not https", "Twilio and people's answers go over it in clear text")
    if settings.twilio.account_sid == PLACEHOLDER_ACCOUNT:
        yield Finding("twilio", WARN, "account_sid is still the placeholder", "copy yours from console.twilio.com")
    if settings.twilio.auth_token.get_secret_value() == PLACEHOLDER_TOKEN:
        yield Finding("twilio", WARN, "the auth token is still the placeholder", "write yours into auth_token_file")
    if settings.twilio.sender.startswith(PLACEHOLDER_NUMBERS):
        yield Finding("twilio", WARN, "sender is still the placeholder", "use yours, or `counterfoil init --sandbox`")
    for tenant in settings.tenants.values():
        for name, person in tenant.people.items():
            if person.whatsapp.startswith(PLACEHOLDER_NUMBERS):
                yield Finding("people", WARN, f"the number of {name} is still the example", "write a real one")
    tokens = {f"tenants.{name}.token": tenant.token for name, tenant in settings.tenants.items()}
    tokens["admin_token"] = settings.admin_token
    for name in (name for name, token in tokens.items() if len(token.get_secret_value()) < TOKEN_CHARACTERS):
        text = f"{name} has fewer than {TOKEN_CHARACTERS} characters and may be guessed"
        yield Finding("secrets", WARN, text, "make one with `openssl rand -hex 32`")
    if settings.diagnosis.api_key is None:
        yield Finding(
            "diagnosis",
            WARN,
            "no API key: people are told what moved first, and nothing is explained",
            "set diagnosis.api_key",
        )


def tenant_findings(
    name: str, tenant: Tenant, environment: Mapping[str, str], channels: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """The tenant's policy, and whether its people and executors can do what the policy asks of them."""
    rulebook = yield from _policy(name, "policy", tenant.policy, environment)
    if tenant.shadow_policy is not None:
        shadow = yield from _policy(name, "shadow_policy", tenant.shadow_policy, environment)
        if rulebook is not None and shadow is not None and shadow.digest == rulebook.digest:
            yield Finding(
                "shadow_policy", WARN, f"{tenant.shadow_policy} says what policy says", "change it or leave it out"
            )
    if tenant.observe:
        yield Finding(
            "observe", WARN, f"tenant {name} only observes: nothing is proposed", "leave observe out to govern"
        )
    for executor, target in targets(tenant).items():
        why = forbidden_target(target.url, private=target.private)
        if why is not None:
            yield Finding("executors", FAIL, f"{executor}: {why}", f"mend tenants.{name}.executors.{executor}")
    if rulebook is None:
        return
    unfilled = unknown_names(name, tenant, [rulebook])
    yield from (Finding("executors", FAIL, problem.message, "name a parameter that it has") for problem in unfilled)
    people = persons(tenant)
    advice = loading.warnings(rulebook)
    yield from (Finding("policy", WARN, str(problem)) for problem in advice)
    unfit = [
        problem for problem in loading.warnings(rulebook, people, tuple(tenant.executors)) if problem not in advice
    ]
    yield from (Finding("people", FAIL, str(problem), f"mend it or tenants.{name}") for problem in unfit)
    every = loading.warnings(rulebook, people, tuple(tenant.executors), channels)
    unreached = [problem for problem in every if problem not in advice and problem not in unfit]
    remedy = f"give them what the channel needs, in tenants.{name}.people and twilio, or change the step"
    yield from (Finding("channels", WARN, str(problem), remedy) for problem in unreached)
    if not tenant.people:
        yield Finding("people", FAIL, f"tenant {name} has nobody to ask", f"add tenants.{name}.people")
    elif not unfit:
        yield Finding("people", OK, f"tenant {name}: everybody who is asked or told exists, and every executor")
    used = {action.executor for rule in rulebook.rules for action in rule.actions.values()}
    for executor in sorted(set(tenant.executors) - used):
        yield Finding("executors", WARN, f"no action uses the executor {executor}", "remove it and its secret")


def _policy(
    tenant: str, key: str, path: Path, environment: Mapping[str, str]
) -> Generator[Finding, None, Rulebook | None]:
    """What `tenants.*.{key}` says, or None and what is wrong with it."""
    try:
        rulebook = loading.load(path.read_bytes(), file=str(path), environment=environment)
    except OSError as error:
        yield Finding(
            key,
            FAIL,
            f"{path}: {error.strerror}",
            f"tenant {tenant} needs it: write it, or change tenants.{tenant}.{key}",
        )
        return None
    except loading.PolicyErrors as error:
        yield from (Finding(key, FAIL, str(problem)) for problem in error.problems)
        return None
    summary = f"{rulebook.name} {rulebook.version}, {len(rulebook.rules)} rule(s), sha256 {rulebook.digest[:12]}"
    yield Finding(key, OK, f"{path}: {summary}")
    return rulebook


def sqlite_version(version: tuple[int, int, int]) -> Finding:
    """SQLite's WAL-reset bug wants two connections that write or checkpoint at once; this service has one writer."""
    text = f"SQLite {'.'.join(map(str, version))}"
    first, last = WAL_RESET_BUG
    if first <= version <= last:
        why = "has the WAL-reset bug (3.7.0 to 3.51.2), which needs two writers at once; the service writes with one"
        return Finding("sqlite", WARN, f"{text} {why}", "let nothing else write this file")
    return Finding("sqlite", OK, text)


def modes(settings: Settings, config: Path) -> Iterator[Finding]:
    """Whether others on this machine can read a secret."""
    data, _ = strict_yaml.read(config.read_text(encoding="utf-8"), str(config))
    found = [*secret_files(data, config.parent), settings.ledger.key_file]
    found.append(settings.ledger.personal_key_file)
    loose = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in loose:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding("secrets", WARN, f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}")
    if not loose:
        yield Finding("secrets", OK, f"{len(found)} file(s), for their owner alone")


def _listeners(settings: Settings) -> Iterator[tuple[str, Address]]:
    yield "listen", settings.listen
    yield "public_listen", settings.public_listen


def port(name: str, address: Address) -> Finding:
    """Whether the port is free, or this service has it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return Finding(name, FAIL, f"{address}: {error.strerror}", "choose an address of this machine")
        else:
            return Finding(name, OK, f"{address} is free")
    if name == "public_listen":  # which answers nobody who does not sign
        return Finding(name, OK, f"{address} is in use: right if the service runs")
    if is_counterfoil(address):
        return Finding(name, OK, f"{address}: the service runs")
    return Finding(name, FAIL, f"{address} is used by something else", "stop it, or choose another port")


def is_counterfoil(address: Address) -> bool:
    """Whether what answers there has our metrics. Takes two seconds at the most."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=2)
    try:
        connection.request("GET", "/metrics")
        return b"counterfoil_build_info" in connection.getresponse().read(1_000_000)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
