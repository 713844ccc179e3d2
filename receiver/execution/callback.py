"""The result of a long run, posted to the service that ordered it: signed, and repeated until it is taken."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from receiver.execution.signature import signed_headers

log = logging.getLogger(__name__)

OUTPUT_CHARACTERS = 2_000  # the service keeps no more
ATTEMPT_SECONDS = 10.0
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0, 60.0)  # five minutes in all


class Callbacks:
    """The posts that are under way. `close` gives up what was not taken: the service's own deadline then speaks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, url: str, secrets: Sequence[str], webhook_id: str, result: Mapping[str, Any]) -> None:
        """Begin to post `result`, as {"status": "succeeded" or "failed", "output": …}."""
        code = result["exit_code"]
        output = result["output"] if code == 0 else f"exit code {code}\n{result['output']}"
        status = "succeeded" if code == 0 else "failed"
        body = json.dumps({"output": output[:OUTPUT_CHARACTERS], "status": status}, sort_keys=True)
        task = asyncio.create_task(_post_until_taken(url, secrets, webhook_id, body), name=f"result {webhook_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _post_until_taken(url: str, secrets: Sequence[str], webhook_id: str, body: str) -> None:
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for wait_seconds in (*RETRY_SECONDS, None):
            # Signed anew each time: the other side takes a signature of the last five minutes.
            headers = signed_headers(secrets, webhook_id, datetime.now(UTC), body)
            headers["Content-Type"] = "application/json"
            try:
                async with session.post(url, data=body.encode(), headers=headers, allow_redirects=False) as answer:
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("the result of %s cannot be posted: %s", webhook_id, type(error).__name__)
                status = 0
            if 200 <= status < 300:
                return
            if 300 <= status < 500:
                log.error("the result of %s is refused with %s", webhook_id, status)
                return
            if wait_seconds is not None:
                await asyncio.sleep(wait_seconds)
        log.error("the result of %s was not taken", webhook_id)
