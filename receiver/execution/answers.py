"""What an executor's answer means. Pure.

| answer | outcome |
|---|---|
| 503 with Retry-After | NOT_SENT: the executor says that it did not take the request, so it may be sent again |
| 502, 504, and 409 to a webhook-id whose run is not known to have ended | UNKNOWN: nobody says what the executor did |
| a code that does not mean "taken", redirects too | FAILED, with its status |
| taken, and the result comes later (202 where nothing else is said, `callback`, `poll`) | ACCEPTED |
| taken, `none` | EXECUTED: whether it helped is policy's to say |
| taken, `answer` with words | EXECUTED or FAILED by the word; UNKNOWN where it is neither |
| taken, `answer`, and 409 to a webhook-id that was run before, with an exit code | EXECUTED if it is 0, else FAILED |
| taken, `answer`, else | EXECUTED |
| an answer that breaks off, or JSON that cannot be read to its end, where its contents count | UNKNOWN |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from receiver.execution.polling import complete, word_at
from receiver.execution.reasons import result
from receiver.filling import BadValue
from receiver.papers import ExecutionOutcome, ExecutionResult, words

ANSWER_BYTES = 65_536
OUTPUT_CHARACTERS = 2_000
RETRY_AFTER_MAX_SECONDS = 60.0
TOO_LONG = "with more than 64 kB"
BEGUN_BEFORE = "begun_before"  # what `executor serve` says of a webhook-id whose result it does not know


def judge(
    status: int, headers: Mapping[str, str], raw: bytes, plan: Mapping[str, Any] | None = None
) -> ExecutionResult:
    """What an answer means: the table at the top. plan: how the result is learnt, as the request says it."""
    plan = plan or {}
    text = clean(raw[:ANSWER_BYTES].decode("utf-8", "replace"))
    if status in (502, 504):
        return result(ExecutionOutcome.UNKNOWN, words("run gateway", status=status), status)
    wait = headers.get("Retry-After", "")
    if status == 503 and wait.isascii() and wait.isdigit():
        seconds = min(RETRY_AFTER_MAX_SECONDS, float(wait))
        return ExecutionResult(ExecutionOutcome.NOT_SENT, "the executor is busy", status, text, seconds)
    taken = status in plan["taken"] if "taken" in plan else 200 <= status < 300
    mode = plan.get("mode", "answer")
    if not taken and (status != 409 or mode != "answer" or "path" in plan):
        return result(ExecutionOutcome.FAILED, words("run answered", status=status), status, text)
    if mode == "none":
        return result(ExecutionOutcome.EXECUTED, words("run taken", status=status), status, text)
    if mode == "callback" or (status == 202 and mode == "answer" and "taken" not in plan and "path" not in plan):
        return ExecutionResult(ExecutionOutcome.ACCEPTED, "accepted, the result comes later", status, text)
    data = _json(raw, headers)
    if mode == "poll":
        return _to_poll(status, data, plan, text)
    if isinstance(data, str):
        key = "run too long" if data == TOO_LONG else "run bad JSON"
        return result(ExecutionOutcome.UNKNOWN, words(key, status=status), status, text)
    if "path" in plan:
        nothing = words("run says nothing", status=status, path=plan["path"])
        return by_word(status, data, plan, text) or result(ExecutionOutcome.UNKNOWN, nothing, status, text)
    return _by_exit_code(status, data if isinstance(data, Mapping) else {}, text)


def judge_poll(status: int, headers: Mapping[str, str], raw: bytes, plan: Mapping[str, Any]) -> ExecutionResult:
    """What an answer to the question after a result means: ACCEPTED while it is none yet, or cannot be told."""
    text = clean(raw[:ANSWER_BYTES].decode("utf-8", "replace"))
    if not 200 <= status < 300:
        return ExecutionResult(ExecutionOutcome.ACCEPTED, f"asked for its result, it answered {status}", status)
    data = _json(raw, headers)
    if isinstance(data, str):
        return ExecutionResult(ExecutionOutcome.ACCEPTED, f"asked for its result, it answered {data}", status)
    word = word_at(data, plan["path"])
    if word in plan["success"] or word in plan["failure"]:
        found = by_word(status, data, plan, text)
        if found is not None:
            return found
    said = "nothing" if word is None else repr(clean(word)[:60])
    return ExecutionResult(ExecutionOutcome.ACCEPTED, f"asked for its result, it says {said} at {plan['path']}", status)


def by_word(status: int, data: Any, plan: Mapping[str, Any], text: str) -> ExecutionResult | None:
    """EXECUTED or FAILED by the word at the plan's path; UNKNOWN where it is neither; None where there is none."""
    word = word_at(data, plan["path"])
    if word is None:
        return None
    says = {"word": repr(clean(word)[:60]), "path": plan["path"]}
    if word in plan["success"]:
        return result(ExecutionOutcome.EXECUTED, words("run says", **says), status, text)
    if word in plan["failure"] or not plan["failure"]:
        return result(ExecutionOutcome.FAILED, words("run says", **says), status, text)
    return result(ExecutionOutcome.UNKNOWN, words("run says neither", **says), status, text)


def clean(text: str) -> str:
    kept = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return kept[:OUTPUT_CHARACTERS]


def _to_poll(status: int, data: Any, plan: Mapping[str, Any], text: str) -> ExecutionResult:
    try:
        url = complete(plan["url"], None if isinstance(data, str) else data)
    except BadValue as error:
        cannot = words("run cannot be polled", status=status, error=str(error)[:400])
        return result(ExecutionOutcome.UNKNOWN, cannot, status, text)
    return ExecutionResult(ExecutionOutcome.ACCEPTED, "accepted, its result is asked for", status, text, poll=url)


def _by_exit_code(status: int, data: Mapping[str, Any], text: str) -> ExecutionResult:
    code, output = data.get("exit_code"), data.get("output")
    text = clean(output) if isinstance(output, str) else text
    if code is None:
        return _without_exit_code(status, data, text)
    if not isinstance(code, int) or isinstance(code, bool):
        return result(ExecutionOutcome.UNKNOWN, words("run bad exit code"), status, text)
    before = " before" if status == 409 else ""
    if code:
        return result(ExecutionOutcome.FAILED, words(f"run exit code{before}", code=code), status, text)
    return result(ExecutionOutcome.EXECUTED, words(f"run answered{before}", status=status), status, text)


def _without_exit_code(status: int, data: Mapping[str, Any], text: str) -> ExecutionResult:
    if status != 409:
        return result(ExecutionOutcome.EXECUTED, words("run answered", status=status), status, text)
    error = data.get("error")
    if isinstance(error, dict) and error.get("code") == BEGUN_BEFORE:
        return result(ExecutionOutcome.UNKNOWN, words("run begun before"), status)
    return result(ExecutionOutcome.FAILED, words("run answered", status=status), status, text)


def _json(raw: bytes, headers: Mapping[str, str]) -> Any:
    """The JSON that the answer is; an empty object where it is none; what is wrong with it, as text."""
    says_json = "json" in headers.get("Content-Type", "").lower()
    if says_json and len(raw) > ANSWER_BYTES:
        return TOO_LONG
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return "with JSON that cannot be read" if says_json and raw.strip() else {}
    return data if isinstance(data, dict | list) else {}
