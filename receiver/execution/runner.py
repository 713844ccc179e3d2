"""`counterfoil executor serve`: the small receiver on the machine that is to be recovered.

It verifies the signature, refuses a webhook-id that it has seen, and runs an argument list from its own allow-list,
without a shell. The log of webhook-ids is written and synced before anything runs, so a restart cannot run twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from receiver.execution.runner_config import ActionConfig, RunnerConfig
from receiver.execution.signature import ID_HEADER, refusal

log = logging.getLogger(__name__)

BODY_BYTES = 65_536
KILL_WAIT_SECONDS = 5.0


class RunLog:
    """The webhook-ids that were begun, and the results of those that ended: JSON lines, appended and synced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any] | None] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # the last line of a crash: it was begun before this one was written
                self._known[row["id"]] = row.get("result") or self._known.get(row["id"])

    def __contains__(self, webhook_id: str) -> bool:
        return webhook_id in self._known

    def result(self, webhook_id: str) -> dict[str, Any] | None:
        """The result of an id that has ended, else None."""
        return self._known.get(webhook_id)

    def begin(self, webhook_id: str, action: str) -> None:
        self._known[webhook_id] = None
        self._append({"id": webhook_id, "action": action, "begun": True})

    def end(self, webhook_id: str, result: dict[str, Any]) -> None:
        self._known[webhook_id] = result
        self._append({"id": webhook_id, "result": result})

    def _append(self, row: Mapping[str, Any]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, json.dumps(row, sort_keys=True).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Runner:
    """The HTTP side: POST /run/{action}, GET /-/healthy."""

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._log = RunLog(config.log_file)
        self._places = {name: asyncio.Semaphore(action.concurrency) for name, action in config.actions.items()}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_post("/run/{action}", self.run)
        app.router.add_get("/-/healthy", self._healthy)
        return app

    async def _healthy(self, request: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def run(self, request: web.Request) -> web.Response:
        """200 with exit code and output; 401, 404, 400, 409 (an id that was begun before), 413, 503 when busy."""
        name = request.match_info["action"]
        action = self._config.actions.get(name)
        if action is None:
            return _error(404, "unknown_action", f"there is no action {name[:60]}")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", "a request has at most 64 kB")
        headers = {key.lower(): value for key, value in request.headers.items()}
        why = refusal(action.secrets, body, headers)
        if why is not None:
            log.warning("refused a request for %s: %s", name, why)
            return _error(401, "unauthorized", why)
        webhook_id = headers[ID_HEADER]
        order = _order(body, webhook_id, name)
        if isinstance(order, str):
            return _error(400, "malformed", order)
        arguments = action.arguments(order)
        if isinstance(arguments, str):
            return _error(400, "not_allowed", arguments)
        if webhook_id in self._log:
            return self._seen(webhook_id)
        if self._places[name].locked():
            return _error(503, "busy", f"{action.concurrency} runs of {name} are under way", {"Retry-After": "5"})
        async with self._places[name]:
            # Crash here: the id was begun and has no result. It is never run again.
            self._log.begin(webhook_id, name)
            # A caller that hangs up does not stop what was begun.
            result = await asyncio.shield(asyncio.ensure_future(self._finish(webhook_id, name, action, arguments)))
        return web.json_response(result)

    async def _finish(
        self, webhook_id: str, name: str, action: ActionConfig, arguments: tuple[str, ...]
    ) -> dict[str, Any]:
        result = await run_command(arguments, action.timeout_seconds, action.output_limit_bytes)
        self._log.end(webhook_id, result)
        log.info("ran %s for %s: exit code %s", name, webhook_id, result["exit_code"])
        return result

    def _seen(self, webhook_id: str) -> web.Response:
        earlier = self._log.result(webhook_id)
        if earlier is None:
            return _error(409, "begun_before", "this webhook-id was begun before and its result is not known")
        # The same answer as the first time: whoever asks again learns what happened, and nothing runs.
        return web.json_response({**earlier, "repeated": True})


async def run_command(arguments: tuple[str, ...], timeout_seconds: float, limit: int) -> dict[str, Any]:
    """Run an argument list in a process group of its own: {"exit_code": int, "output": str}. Never raises OSError.

    exit_code is 124 after the time limit, as with timeout(1), and 127 where the program cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return {"exit_code": 127, "output": f"cannot start {arguments[0]}: {error.strerror}"}
    output = bytearray()

    async def collect() -> None:
        stream = process.stdout
        while stream is not None and (chunk := await stream.read(4096)):
            output.extend(chunk[: max(0, limit - len(output))])

    try:
        async with asyncio.timeout(timeout_seconds):
            await collect()
            code = await process.wait()
    except TimeoutError:
        code = 124
        output.extend(f"\nstopped after {timeout_seconds:.0f} s".encode())
        await _kill(process)
    return {"exit_code": code, "output": output.decode("utf-8", "replace")}


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the whole process group: politely, then for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            async with asyncio.timeout(KILL_WAIT_SECONDS):
                await process.wait()
                break
        except TimeoutError:
            continue


def _order(body: bytes, webhook_id: str, action: str) -> Mapping[str, str] | str:
    """The parameters of a signed order, or what is wrong with it."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(data, dict) or data.get("id") != webhook_id or data.get("action") != action:
        return "id and action of the body must be those of the request"
    params = data.get("params")
    if not isinstance(params, dict) or not all(isinstance(v, str) for v in params.values()):
        return "params is not an object of texts"
    return params


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
