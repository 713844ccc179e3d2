"""What became of a run, as a sentence with its values: the ledger has it in English, people in their language. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from receiver.papers import ExecutionOutcome, ExecutionResult, Words

ENGLISH: Mapping[str, str] = MappingProxyType(
    {
        "run gateway": "a gateway before the executor answered {status}",
        "run answered": "the executor answered {status}",
        "run answered before": "it had run before: the executor answered {status}",
        "run taken": "the executor took it ({status}); policy looks whether it helped",
        "run too long": "the executor answered {status}, and with more than 64 kB, so its exit code is not known",
        "run bad JSON": (
            "the executor answered {status}, and with JSON that cannot be read, so its exit code is not known"
        ),
        "run says nothing": "the executor answered {status}, and says nothing at {path}",
        "run says": "the executor says {word} at {path}",
        "run says neither": "the executor says {word} at {path}, which is neither success nor failure",
        "run cannot be polled": "the executor answered {status}, and its result cannot be asked for: {error}",
        "run bad exit code": "the executor's exit code is not a number",
        "run exit code": "exit code {code}",
        "run exit code before": "it had run before: exit code {code}",
        "run begun before": "the executor began it before and does not know how it ended",
        "run other executor": "executor {executor} is configured differently now",
        "run other poll": "executor {executor} is configured differently now: its result cannot be asked for",
        "run forbidden": "{why}",
        "run fault": "executor {executor}: {error}",
        "run no answer": "no answer within {seconds} s",
        "run no connection": "cannot connect: {error}",
        "run broken": "{error} while talking to the executor",
    }
)


def text(said: Words) -> str:
    return ENGLISH[said.key].format(**said.values)


def result(
    outcome: ExecutionOutcome, said: Words, http_status: int | None = None, output: str = "", **more: Any
) -> ExecutionResult:
    """An ExecutionResult whose detail is the English of `said`."""
    return ExecutionResult(outcome, text(said), http_status, output, said=said, **more)
