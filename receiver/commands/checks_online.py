"""What `check --online` asks: a query of each Prometheus, the status of each Alertmanager, any answer of executors.

What is asked of Twilio stands in checks_twilio.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from receiver.commands import checks_twilio
from receiver.commands.client import service_address
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.configuration import targets
from receiver.execution.signature import signed_headers
from receiver.papers import ExecutorTarget, NoDiagnosis
from receiver.settings import Settings
from receiver.settings_http import Server

ASK_SECONDS = 5.0
SKEW_SECONDS = 5.0  # more than this between two clocks, and "two minutes old" means little
RUN = "/run/"  # in the addresses of `executor serve`, whose pings stand beside it
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
            questions += [executor(session, key, target) for key, target in targets(tenant).items()]
        questions += [public_address(session, settings), claude(settings)]
        asked = asyncio.gather(checks_twilio.all_of(session, settings), asyncio.gather(*questions))
        twilio, found = await asked
        return [*found, *twilio]


async def public_address(session: aiohttp.ClientSession, settings: Settings) -> Finding:
    """Whether public_url reaches the running service: it answers a path that it has just made up, and told us alone."""
    if not settings.public_url:
        return Finding("public_url", OK, "none: Twilio's list of messages is read (twilio.poll)")
    base = service_address(settings.listen)
    headers = {"Authorization": f"Bearer {settings.admin_token.get_secret_value()}"}
    try:
        async with session.post(f"{base}/api/v1/nonces", json={}, headers=headers) as response:
            made = json.loads(await _body(response)) if response.status == 200 else {}
            path, expected = str(made["path"]), str(made["answer"])
    except _NO_ANSWER:
        text = f"cannot be tried: the service does not answer at {base}"
        return Finding("public_url", WARN, text, "start `counterfoil serve`, then check again")
    address = f"{settings.public_url.rstrip('/')}{path}"
    try:
        async with session.get(address, allow_redirects=False) as response:
            body = await _body(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _silent("public_url", settings.public_url, error)
    if response.status == 200 and body.decode("utf-8", "replace") == expected:
        return Finding("public_url", OK, f"{settings.public_url} reaches this service, as seen from this machine")
    text = f"{settings.public_url} answers HTTP {response.status}, and not as this service would"
    return Finding("public_url", FAIL, text, "let the proxy pass /twilio/ and /executions/ to public_listen")


async def claude(settings: Settings) -> Finding:
    """Whether the key is taken and the model is there; the lookup costs nothing and sends nothing of ours."""
    from receiver.diagnosis.reaching import look_up

    diagnosis = settings.diagnosis
    if diagnosis.api_key is None:
        text = "no API key: people are told what moved first, and nothing is explained"
        return Finding("claude", WARN, text, "set diagnosis.api_key, or leave it so")
    found = await look_up(
        api_key=diagnosis.api_key.get_secret_value(),
        model=diagnosis.model,
        base_url=diagnosis.base_url,
        timeout_seconds=ASK_SECONDS,
    )
    if isinstance(found, NoDiagnosis):
        return Finding("claude", FAIL, f"{diagnosis.model}: {found.outcome}, {found.detail}", "see diagnosis")
    lifecycle, retires = found
    if lifecycle != "active":
        when = f", and retires on {retires:%Y-%m-%d}" if retires is not None else ""
        return Finding("claude", WARN, f"{diagnosis.model} is {lifecycle}{when}", "choose another diagnosis.model")
    return Finding("claude", OK, f"the key is taken, and {diagnosis.model} is there")


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


async def executor(session: aiohttp.ClientSession, name: str, target: ExecutorTarget) -> Finding:
    """Whether it is there; of `executor serve` also whether it knows our secret, by a signed ping that runs nothing.

    Of any other executor nothing is asked but a GET: who knows what a signed POST would run there.
    """
    signs = target.credentials is not None and target.credentials.type == "standard_webhooks"
    if signs and target.request is None and RUN in target.url:
        pinged = await _pinged(session, name, target, target.credentials.secrets if target.credentials else ())
        if pinged is not None:
            return pinged
    url = target.url if target.request is None or target.address is None else f"{target.address.origin}/"
    context = target.tls if target.tls is not None else True
    try:
        async with session.get(url, allow_redirects=False, ssl=context) as response:
            return Finding("executors", OK, f"{name}: {url} answers HTTP ({response.status} to an unsigned GET)")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _silent("executors", f"{name}: {url}", error)


async def _pinged(
    session: aiohttp.ClientSession, name: str, target: ExecutorTarget, keys: Sequence[str]
) -> Finding | None:
    """What a signed ping is answered; None where nobody there knows of pings."""
    before, _, action = target.url.rpartition(RUN)
    url, body = f"{before}/ping/{action}", json.dumps({"type": "counterfoil.ping"})
    webhook_id = f"ping-{secrets.token_hex(8)}"
    headers = signed_headers(keys, webhook_id, datetime.now(UTC), body)
    context = target.tls if target.tls is not None else True
    headers["Content-Type"] = "application/json"
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False, ssl=context) as response:
            said = json.loads(await _body(response))
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _silent("executors", f"{name}: {url}", error)
    except ValueError:
        return None
    if status == 200 and isinstance(said, dict) and said.get("ran") is False:
        return Finding("executors", OK, f"{name}: {url} knows our secret, and ran nothing")
    told = said.get("error") if isinstance(said, dict) else None
    code = told.get("code") if isinstance(told, dict) else None
    if not isinstance(told, dict) or code not in ("unauthorized", "unknown_action"):
        return None
    text = f"{name}: {url} refuses our signature: {told.get('message')}"
    remedy = "the same secret on both machines, and both clocks set by NTP"
    if code == "unknown_action":
        text, remedy = f"{name}: {url}: {told.get('message')}", "name it in executor.yml there, or change the url"
    return Finding("executors", FAIL, text, remedy)


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
        body = await _body(response)
        if response.status != 200:
            raise _Odd(f"HTTP {response.status}")
        return json.loads(body)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The answer, in however many pieces it comes; what is longer than ANSWER_BYTES is cut there."""
    body = bytearray()
    async for piece in response.content.iter_chunked(65_536):
        body += piece
        if len(body) >= ANSWER_BYTES:
            break
    return bytes(body[:ANSWER_BYTES])


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
