"""Calls to the running service: while it runs it alone writes the ledger, so commands that change something ask it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from receiver.settings import Settings, load_settings
from receiver.settings_values import Address, SettingsErrors

TIMEOUT_SECONDS = 15


def call(config: Path, method: str, path: str, *, tenant: str, body: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The service's JSON answer. Says what is wrong in one line and exits: 2 for the call, 1 where it was refused."""
    try:
        settings = load_settings(config, os.environ)
    except SettingsErrors as error:
        fail(str(error), 2)
    return asyncio.run(_call(settings, method, path, tenant, body))


async def _call(
    settings: Settings, method: str, path: str, tenant: str, body: Mapping[str, str] | None
) -> dict[str, Any]:
    import aiohttp

    base = service_address(settings.listen)
    headers = {"Authorization": f"Bearer {settings.admin_token.get_secret_value()}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
            session.request(method, base + path, params={"tenant": tenant}, json=body, headers=headers) as answer,
        ):
            data = await answer.json(content_type=None)
            if answer.status != 200:
                said = data.get("error", {}).get("message") if isinstance(data, dict) else None
                fail(f"{base}: {said or answer.reason}", 2 if answer.status in (400, 401, 404) else 1)
    except TimeoutError:
        fail(f"{base} does not answer within {TIMEOUT_SECONDS} s", 1)
    except (aiohttp.ClientError, ValueError) as error:
        fail(
            f"{base} does not answer as the service would ({type(error).__name__}): is `counterfoil serve` running?", 1
        )
    if not isinstance(data, dict):
        fail(f"{base} answers something that is not the service's", 1)
    return data


def service_address(listen: Address) -> str:
    """Where the private listener answers on this machine: "http://127.0.0.1:9877"."""
    host = "127.0.0.1" if listen.host in ("0.0.0.0", "::") else listen.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}"


def fail(message: str, code: int) -> NoReturn:
    click.echo(f"counterfoil: {message}", err=True)
    sys.exit(code)
