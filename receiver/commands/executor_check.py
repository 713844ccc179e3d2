"""`counterfoil executor check`: what an executor of counterfoil.yml would be sent, and whether it could be."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

from policy_rules.rulebook import Action
from receiver.commands.findings import FAIL, OK, Finding
from receiver.configuration import ConfigErrors, Loaded, load_config, target
from receiver.execution.addresses import GuardedResolver, forbidden_target
from receiver.execution.credentials import masked
from receiver.execution.rendering import JSON_TYPE, render
from receiver.papers import ExecutorTarget, Order, RenderedRequest, Unrenderable
from receiver.placeholders import OWN_NAMES
from receiver.settings_executors import Executor
from receiver.settings_templates import Compiler

ID, INCIDENT = "exec-00000000000000000000", "inc-0000000000"  # of nothing: what they look like


def examine(
    path: Path, name: str, tenant: str | None, action: str | None, given: Mapping[str, str], dry_run: bool
) -> tuple[list[Finding], str | None]:
    """The findings, and the request with its secrets masked where `dry_run` asks for it. Raises ClickException.

    action: whose request, as NAME or RULE/NAME; None for the first that uses the executor.
    """
    try:
        loaded = load_config(path, os.environ)
    except ConfigErrors as error:
        raise click.UsageError(str(error)) from error
    tenant, section = _section(loaded, name, tenant)
    found = [Finding("executor", OK, f"{tenant}/{name}: {_words(section)}")]
    built = target(name, section)
    users = _users(loaded, tenant, name)
    found.append(_used(name, users))
    found.append(asyncio.run(_reachable(built)))
    if section.result.url is not None:
        found.append(asyncio.run(_reachable(built, urlsplit(section.result.url).netloc, "result.url")))
    if not dry_run:
        return found, None
    of, asked = _chosen(users, action)
    params = _params(asked, given)
    wanted = sorted({name for _, name in Compiler(section).names()} - set(params))
    if wanted:
        raise click.UsageError(f"give --param {wanted[0]}=VALUE: the request needs it")
    public = loaded.settings.public_url
    order = Order(ID, tenant, INCIDENT, of.rpartition("/")[2], name, params, f"{public}/executions/{ID}", _now())
    try:
        request = render(built, order)
    except Unrenderable as error:
        return [*found, Finding("request", FAIL, str(error), "give a value that may stand there")], None
    what = ", ".join(f"{key}={value}" for key, value in params.items())
    found.append(Finding("request", OK, f"as for {of}, with {what or 'no parameter'}"))
    return found, shown(request, built)


def shown(request: RenderedRequest, built: ExecutorTarget) -> str:
    """The request as it would be on the wire, and how its result would be learnt."""
    parts = urlsplit(request.address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Content-Type": JSON_TYPE, "User-Agent": "Counterfoil", **request.headers}
    headers |= {
        key: value.replace("{id}", ID).replace("{now}", str(int(datetime.now(UTC).timestamp())))
        for key, value in masked(built.signing).items()
    }
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    lines += [f"Content-Length: {len(request.body.encode())}", "", request.body]
    if request.result:
        lines += ["", f"# its result: {json.dumps(request.result, sort_keys=True, ensure_ascii=False)}"]
    return "\n".join(lines)


def _section(loaded: Loaded, name: str, tenant: str | None) -> tuple[str, Executor]:
    held = {
        key: section.executors[name]
        for key, section in loaded.settings.tenants.items()
        if name in section.executors and tenant in (None, key)
    }
    if not held:
        known = sorted({executor for section in loaded.settings.tenants.values() for executor in section.executors})
        raise click.UsageError(f"there is no executor {name}; there is {', '.join(known) or 'none'}")
    if len(held) > 1:
        raise click.UsageError(f"{name} is an executor of {', '.join(sorted(held))}: say --tenant NAME")
    return next(iter(held.items()))


def _words(section: Executor) -> str:
    signing = section.credentials().type
    client = ", with a client certificate" if section.tls_config is not None and section.tls_config.cert_file else ""
    return f"{section.method} {section.url}, signed in by {signing}{client}, result by {section.result.mode}"


def _users(loaded: Loaded, tenant: str, name: str) -> dict[str, Action]:
    """The actions that use the executor, as RULE/NAME."""
    rules = loaded.charters[tenant].rulebook.rules
    return {f"{rule.name}/{key}": a for rule in rules for key, a in rule.actions.items() if a.executor == name}


def _used(name: str, users: Mapping[str, Action]) -> Finding:
    if users:
        return Finding("policy", OK, f"used by {', '.join(users)}; every placeholder has its parameter")
    return Finding("policy", FAIL, "no action of the policy uses it", f"name it: `executor: {name}`")


def _chosen(users: Mapping[str, Action], action: str | None) -> tuple[str, Action | None]:
    """The action whose request is shown. Raises UsageError where none of `users` is meant."""
    fits = [of for of in users if action in (None, of, of.partition("/")[2])]
    if action is not None and not fits:
        raise click.UsageError(f"no action {action} uses it; used by {', '.join(users) or 'none'}")
    return (fits[0], users[fits[0]]) if fits else ("ACTION", None)


def _params(action: Action | None, given: Mapping[str, str]) -> dict[str, str]:
    """What the action would send: its constants, the first that it allows of a label, the least of a reading.

    given: values in their place. Raises UsageError for one of a parameter that it has not.
    """
    if action is None:
        return dict(given)
    usual = {
        param.name: param.constant if param.constant is not None else (*param.allow, str(param.least))[0]
        for param in action.params
    }
    strange = next((name for name in given if name not in usual), None)
    if strange is not None:
        raise click.UsageError(f"--param {strange}: the action has {', '.join(usual) or 'no parameter'}")
    return usual | dict(given)


async def _reachable(built: ExecutorTarget, netloc: str | None = None, what: str = "address") -> Finding:
    """Whether its host is where an executor may be. Nothing is sent."""
    parts = urlsplit(f"//{netloc}" if netloc is not None else built.url)
    host = parts.hostname or ""
    forbidden = forbidden_target(f"http://{parts.netloc}", private=built.private)
    if forbidden is not None:
        return Finding(what, FAIL, forbidden, "another address, or `private: true`")
    resolver = GuardedResolver(private=built.private)
    try:
        found = await resolver.resolve(host, parts.port or 443, socket.AF_UNSPEC)
    except OSError as error:
        return Finding(what, FAIL, f"{host}: {error.strerror or error}", "is the name right?")
    finally:
        await resolver.close()
    return Finding(what, OK, f"{host} is {', '.join(sorted({row['host'] for row in found}))}")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_params(pairs: tuple[str, ...]) -> dict[str, str]:
    """K=V of the command line. Raises UsageError."""
    given = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name or name in OWN_NAMES:
            raise click.UsageError(f"--param {pair[:40]}: it is NAME=VALUE, of a parameter of the action")
        given[name] = value
    return given
