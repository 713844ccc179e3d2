"""A dead man's switch outside is pinged while all is well; when it hears nothing, it raises its own alarm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import aiohttp

from receiver.metrics import Metrics

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0


async def ping_forever(
    url: Callable[[], str | None],
    session: Callable[[], aiohttp.ClientSession],
    not_ready: Callable[[], Sequence[str]],
    metrics: Metrics,
    *,
    every_seconds: float = EVERY_SECONDS,
) -> None:
    """GET `url` now and every `every_seconds` until cancelled, only while nothing is not ready.

    A ping that fails is said in the log when it begins to fail, and seen in the metric, which stands still.
    """
    fails = False
    while True:
        address = url()
        if address is not None and not not_ready():
            problem = await _ping(address, session())
            if problem is None:
                metrics.health_ping_last_success_timestamp_seconds.set_to_current_time()
            elif not fails:
                log.warning("health_ping_url: %s", problem)
            fails = problem is not None
        await asyncio.sleep(every_seconds)


async def _ping(address: str, session: aiohttp.ClientSession) -> str | None:
    """Why it does not count, or None. The address may hold a secret, so it is not repeated."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with session.get(address, timeout=timeout, allow_redirects=False) as response:
            return None if response.status < 300 else f"it answers HTTP {response.status}"
    except TimeoutError:
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return f"it cannot be reached ({type(error).__name__})"
