"""A process of our own beside this one, for work on a long log that another core can do meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Unsaid(Exception):
    """The process came to no answer, as where it was ended from outside: then it is done here."""


def can_be_told(tenant: str) -> bool:
    """Whether a process may be told of `tenant`: no argument holds the character 0."""
    return "\0" not in tenant


@contextmanager
def beside(module: str, *given: str) -> Iterator[Callable[[], Any]]:
    """`main` of `module`, called in a process with these arguments, which writes its answer as JSON.

    What is called for the answer waits for it, and raises Unsaid. Whoever leaves before does not wait.
    """
    with _begun(module, given) as process:
        yield lambda: _read(process.communicate()[0] if process is not None else b"")


@contextmanager
def telling(module: str, *given: str) -> Iterator[Callable[[], Any]]:
    """The same where `main` writes answer after answer, a line each: every call waits for the next one."""
    with _begun(module, given) as process:
        yield lambda: _read(process.stdout.readline() if process is not None and process.stdout is not None else b"")


@contextmanager
def _begun(module: str, given: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes] | None]:
    """None where no other process is allowed here."""
    # -P: never from the folder in which somebody calls this, where anybody may have put a module of such a name.
    words = [sys.executable, "-P", "-c", f"from {module} import main; main()", *given]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    silent = subprocess.DEVNULL  # where it fails, the same work fails here, and says why
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=silent, env=environment)
    except OSError:
        yield None
        return
    with process:
        try:
            yield process
        finally:
            process.kill()


def _read(said: bytes) -> Any:
    try:
        return json.loads(said)
    except ValueError as error:
        raise Unsaid from error
