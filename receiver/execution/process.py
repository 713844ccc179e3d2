"""Run one argument list: no shell, a process group of its own, a limit on its time and on its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

KILL_WAIT_SECONDS = 5.0  # between asking a process group to end and ending it
LAST_WORDS_SECONDS = 0.5  # for output that is still in the pipe when the command has ended
TIMED_OUT, CANNOT_START = 124, 127  # as timeout(1) and a shell have it


async def run_command(arguments: tuple[str, ...], timeout_seconds: float, limit: int) -> dict[str, Any]:
    """{"exit_code": int, "output": str}; at most `limit` bytes of standard output and error together are kept.

    exit_code is 124 after the time limit, 127 where the program cannot be started, -N where signal N ended it. What the
    command leaves in the background is not waited for. Never raises OSError.
    """
    reading, writing = os.pipe()
    try:
        # A pipe of ours, not asyncio's: with that one a background process would keep the wait for the command waiting.
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing, start_new_session=True
        )
    except (OSError, ValueError) as error:
        os.close(reading)
        why = error.strerror if isinstance(error, OSError) else "an argument cannot be passed"
        return {"exit_code": CANNOT_START, "output": f"cannot start {arguments[0]}: {why}"}
    finally:
        os.close(writing)
    output = bytearray()
    collecting = asyncio.create_task(_collect(reading, output, limit))
    last_words = ""
    try:
        async with asyncio.timeout(timeout_seconds):
            code = await process.wait()
    except TimeoutError:
        code = TIMED_OUT
        last_words = f"\nstopped after {timeout_seconds:g} s"
        await _end_group(process)
    finally:
        if process.returncode is None:
            # Cancelled, because the service stops: what was begun is not left running on its own.
            _signal_group(process, signal.SIGKILL)
            await process.wait()
        await asyncio.wait([collecting], timeout=LAST_WORDS_SECONDS)
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    return {"exit_code": code, "output": output.decode("utf-8", "replace") + last_words}


async def _collect(descriptor: int, output: bytearray, limit: int) -> None:
    """Read until nobody holds the other end, so that a full pipe stops no command; keep the first `limit` bytes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        while chunk := await reader.read(4096):
            output.extend(chunk[: max(0, limit - len(output))])
    finally:
        transport.close()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Ask the whole group to end; then end what is left of it, a child that ignored the question too."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_WAIT_SECONDS):
            await process.wait()
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
