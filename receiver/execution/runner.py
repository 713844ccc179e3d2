"""`counterfoil executor serve`: the small receiver on the machine that is to be recovered.

It verifies the signature, refuses a webhook-id that it has seen, and runs an argument list from its own allow-list,
without a shell. The log of webhook-ids is written and synced before anything runs, so a restart cannot run twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from receiver.execution.authorized import NotProved, Verify, demanded, unwrapped
from receiver.execution.callback import Callbacks
from receiver.execution.process import run_command
from receiver.execution.run_log import RunLog
from receiver.execution.runner_config import ActionConfig, RunnerConfig, origin_of
from receiver.execution.signature import ID_HEADER, refusal

log = logging.getLogger(__name__)

BODY_BYTES = 65_536  # of an order
BODY_SECONDS = 10.0  # for it to arrive: who has shown no signature holds no connection for long
PROVED_BODY_BYTES = 3 * BODY_BYTES  # with the entry that authorizes it, which has at most 64 kB, in base64
ANSWER_OUTPUT_BYTES = 60_000  # of the output as JSON: with the rest around it whoever asked reads 64 kB
BUSY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Run:
    """One order that may run. callback_url: where the result goes; None where it is the answer."""

    webhook_id: str
    name: str
    action: ActionConfig
    arguments: tuple[str, ...]
    callback_url: str | None


class Runner:
    """The HTTP side: POST /run/{action} and /ping/{action}, GET /-/healthy.

    Setting up its app opens the log and raises RunLogError.

    verify: checks proofs, where the configuration demands one. Raises ValueError where it does and there is none.
    """

    def __init__(self, config: RunnerConfig, verify: Verify | None = None) -> None:
        if config.proof is not None and verify is None:
            raise ValueError("proofs are demanded, and nothing checks them")
        self._config = config
        self._verify = verify
        self._log: RunLog
        self._callbacks = Callbacks()
        self._running = dict.fromkeys(config.actions, 0)
        self._tasks: set[asyncio.Task[dict[str, Any]]] = set()

    def app(self) -> web.Application:
        most = BODY_BYTES if self._config.proof is None else PROVED_BODY_BYTES
        app = web.Application(client_max_size=most)
        app.router.add_post("/run/{action}", self.run)
        app.router.add_post("/ping/{action}", self.ping)
        app.router.add_get("/-/healthy", self._healthy)
        app.cleanup_ctx.append(self._lifetime)
        return app

    async def _lifetime(self, app: web.Application) -> AsyncIterator[None]:
        self._log = RunLog(self._config.log_file)
        yield
        # What was begun ends, or reaches its time limit, and its result is kept. Crash here: it stays begun.
        await asyncio.gather(*self._tasks)
        await self._callbacks.close()
        self._log.close()

    async def _healthy(self, request: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def run(self, request: web.Request) -> web.Response:
        """200 with exit code and output, or 202 where the result is posted later.

        401, 403 without the proof that is demanded, 404, 400, 413; 409 to an id that was begun before, with its result
        if there is one; 503 with Retry-After when nothing was begun and another try may be.
        """
        signed = await self._signed(request)
        if isinstance(signed, web.Response):
            return signed
        name, action, headers, body = signed
        carried = unwrapped(body)
        if self._config.proof is not None and self._verify is not None:
            # Law 3: a human authorizes. The signature says who sent it, and the proof that a person agreed to it.
            try:
                body = demanded(
                    self._config.proof, self._verify, carried, request.path, headers[ID_HEADER], datetime.now(UTC)
                )
            except NotProved as error:
                log.warning("refused a request for %s: %s", name, error)
                return _error(403, "unproved", str(error))
        elif carried is not None:
            body = str(carried[0]["body"]).encode("utf-8", "replace")
        order = self._order(body, headers[ID_HEADER], name, action)
        return order if isinstance(order, web.Response) else await self._take(order)

    async def ping(self, request: web.Request) -> web.Response:
        """200 where the request is signed as an order must be; 401, 404, 400, 413 as for one. Nothing runs.

        What a ping says is no order, so one that was overheard runs nothing at /run either.
        """
        signed = await self._signed(request)
        return signed if isinstance(signed, web.Response) else web.json_response({"action": signed[0], "ran": False})

    async def _signed(self, request: web.Request) -> tuple[str, ActionConfig, dict[str, str], bytes] | web.Response:
        """The action, its configuration, the headers and the body of a request that is signed for it."""
        name = request.match_info["action"]
        action = self._config.actions.get(name)
        if action is None:
            return _error(404, "unknown_action", f"there is no action {name[:60]}")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            return _busy(f"the request did not arrive within {BODY_SECONDS:g} s")
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", "a request has at most 64 kB")
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            return _error(400, "malformed", "the body cannot be read to its end")
        headers = {key.lower(): value for key, value in request.headers.items()}
        why = refusal(action.secrets, body, headers)
        if why is not None:
            log.warning("refused a request for %s: %s", name, why)
            return _error(401, "unauthorized", why)
        return name, action, headers, body

    def _order(self, body: bytes, webhook_id: str, name: str, action: ActionConfig) -> _Run | web.Response:
        """What a signed body orders, or why it is not taken."""
        data = _read(body, webhook_id, name)
        if isinstance(data, str):
            return _error(400, "malformed", data)
        arguments = action.arguments(data["params"])
        if isinstance(arguments, str):
            return _error(400, "not_allowed", arguments)
        url = data.get("callback_url") if action.callback else None
        if url is not None and (not isinstance(url, str) or origin_of(url) != self._config.callback_origin):
            return _error(400, "not_allowed", "callback_url is not at this executor's callback_origin")
        return _Run(webhook_id, name, action, arguments, url)

    async def _take(self, run: _Run) -> web.Response:
        # Law 4: at most once. Nothing is awaited between looking for the id and writing it.
        if run.webhook_id in self._log:
            return self._seen(run.webhook_id)
        if self._running[run.name] >= run.action.concurrency:
            return _busy(f"{run.action.concurrency} of {run.name} run already")
        try:
            self._log.begin(run.webhook_id, run.name)
        except OSError as error:
            log.error("the log cannot be written, so nothing runs: %s", error.strerror)
            return _busy("the log of webhook-ids cannot be written")
        # Crash here: the id was begun and has no result. It is never run again.
        self._running[run.name] += 1
        task = asyncio.create_task(self._finish(run), name=f"run {run.webhook_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if run.callback_url is not None:
            return web.json_response({"status": "accepted"}, status=202)
        # Shielded: a caller that hangs up does not stop what was begun.
        return web.json_response(await asyncio.shield(task), dumps=_dumps)

    async def _finish(self, run: _Run) -> dict[str, Any]:
        try:
            result = await run_command(run.arguments, run.action.timeout_seconds, run.action.output_limit_bytes)
        finally:
            self._running[run.name] -= 1
        result["output"] = _fitting(result["output"])
        try:
            self._log.end(run.webhook_id, result)
        except OSError as error:
            log.error("the result of %s is not kept: %s", run.webhook_id, error.strerror)
        log.info("ran %s for %s: exit code %s", run.name, run.webhook_id, result["exit_code"])
        if run.callback_url is not None:
            self._callbacks.post(run.callback_url, run.action.secrets, run.webhook_id, result)
        return result

    def _seen(self, webhook_id: str) -> web.Response:
        earlier = self._log.result(webhook_id)
        if earlier is None:
            return _error(409, "begun_before", "this webhook-id was begun before and its result is not known")
        # Whoever asks again learns what happened the first time, and nothing runs.
        error = {"code": "run_before", "message": "this webhook-id was run before; this is how it ended"}
        return web.json_response({**earlier, "error": error}, status=409, dumps=_dumps)


def _read(body: bytes, webhook_id: str, action: str) -> Mapping[str, Any] | str:
    """The order that a signed body is, its params an object of texts; or what is wrong with it."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(data, dict) or data.get("id") != webhook_id:
        return "the id of the body is not the webhook-id"
    # The signature does not cover the address: a body for one action is not taken at another's.
    if data.get("action") != action:
        return f"the body is for another action than {action[:60]}, which this address runs"
    params = data.get("params")
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        return "params is not an object of texts"
    return data


def _fitting(output: str) -> str:
    """`output` without control characters, and no longer than an answer may be."""
    text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in output)
    while len(_dumps(text).encode()) > ANSWER_OUTPUT_BYTES:
        text = text[: len(text) * 9 // 10]
    return text


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _busy(message: str) -> web.Response:
    return _error(503, "busy", message, {"Retry-After": str(BUSY_SECONDS)})


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
