"""What `check --online` asks: a query of each Prometheus, the status of each Alertmanager, any answer of executors."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.settings import Settings
from receiver.settings_sections import Server

ASK_SECONDS = 5.0
SKEW_SECONDS = 5.0  # more than this between two clocks, and "two minutes old" means little
ANSWER_BYTES = 1_000_000


async def all_of(settings: Settings) -> list[Finding]:
    """Ask everything at once; a server that does not answer costs ASK_SECONDS."""
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        questions = []
        for name, tenant in settings.tenants.items():
            if tenant.prometheus is None:
                questions.append(_nothing_to_ask("prometheus", f"tenant {name}: none; policy decides on alerts alone"))
            else:
                questions.append(prometheus(session, tenant.prometheus))
            questions += [alertmanager(session, server) for server in tenant.alertmanagers]
            questions += [executor(session, key, target.url) for key, target in tenant.executors.items()]
        return list(await asyncio.gather(*questions))


async def prometheus(session: aiohttp.ClientSession, server: Server) -> Finding:
    """Whether it answers a query, and whether its clock is ours."""
    address = f"{server.url}/api/v1/query"
    try:
        answer = await _ask(session, "POST", address, server, data={"query": "vector(1)"})
        its_time = float(answer["data"]["result"][0]["value"][0])
    except _NO_ANSWER as error:
        return _silent("prometheus", server.url, error)
    skew = its_time - time.time()
    if abs(skew) > SKEW_SECONDS:
        text = f"{server.url} answers, and its clock is {skew:+.0f} s from ours"
        return Finding("prometheus", WARN, text, "set both by NTP: readings would look stale")
    return Finding("prometheus", OK, f"{server.url} answers queries")


async def alertmanager(session: aiohttp.ClientSession, server: Server) -> Finding:
    """Whether it tells its status."""
    try:
        answer = await _ask(session, "GET", f"{server.url}/api/v2/status", server)
        version = str(answer["versionInfo"]["version"])
    except _NO_ANSWER as error:
        return _silent("alertmanager", server.url, error)
    return Finding("alertmanager", OK, f"{server.url} answers, version {version}")


async def executor(session: aiohttp.ClientSession, name: str, url: str) -> Finding:
    """Whether anything speaks HTTP there. Nothing is asked of it: a GET runs nothing."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            return Finding("executors", OK, f"{name}: {url} answers HTTP ({response.status} to an unsigned GET)")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _silent("executors", f"{name}: {url}", error)


class _Odd(Exception):
    """The answer is not what such a server says."""


_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, _Odd, LookupError, TypeError, ValueError)


async def _ask(
    session: aiohttp.ClientSession, method: str, url: str, server: Server, data: Mapping[str, str] | None = None
) -> Any:
    context = server.http_config.ssl_context()
    async with session.request(
        method,
        url,
        data=data,
        headers=server.http_config.headers(),
        ssl=context if context is not None else True,
        allow_redirects=False,
    ) as response:
        body = await response.content.read(ANSWER_BYTES)
        if response.status != 200:
            raise _Odd(f"HTTP {response.status}")
        return json.loads(body)


async def _nothing_to_ask(check: str, message: str) -> Finding:
    return Finding(check, WARN, message)


def _silent(check: str, what: str, error: BaseException) -> Finding:
    if isinstance(error, TimeoutError):
        why = f"no answer within {ASK_SECONDS:g} s"
    elif isinstance(error, LookupError | TypeError | ValueError):
        why = "the answer is not one of such a server"
    elif isinstance(error, aiohttp.ClientConnectorError):
        why = os.strerror(error.os_error.errno) if error.os_error.errno else "cannot be reached"
    else:
        why = str(error) or type(error).__name__
    return Finding(check, FAIL, f"{what}: {why}", "is the address right, and is it up?")
