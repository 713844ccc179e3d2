"""What comes back: errors, and a Message built from the evidence and the schema of the request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

CITED_MAX = 3
STOPS = {
    "refusal": "refusal",
    "max_tokens": "max_tokens",
    "context_exceeded": "model_context_window_exceeded",
    "pause_turn": "pause_turn",
}
# Of a request for the tool: how many uses, by which name, with which input; "" for the first metric that may be read.
TOOL_CHANGES: Mapping[str, tuple[int, str, Any]] = {
    "tool_use": (1, "promql_query", ""),
    "tool_loop": (1, "promql_query", ""),
    "parallel_tools": (3, "promql_query", ""),
    "many_tools": (9, "promql_query", ""),
    "unknown_tool": (1, "shell", {"command": "id"}),
    "bad_tool_input": (1, "promql_query", {"query": ["up"], "as": "root"}),
    "forbidden_metric": (1, "promql_query", {"query": "secret_metric_of_another_team"}),
}

# kind → status, error type, message; "error_code" of `details` where there is one


def reply(number: str, message: Mapping[str, Any]) -> web.Response:
    return web.json_response(message, headers={"request-id": number})


def error(
    number: str, status: int, kind: str, text: str, code: str | None = None, retry_after: str | None = None
) -> web.Response:
    inner: dict[str, Any] = {"type": kind, "message": text}
    headers = {"request-id": number, "x-should-retry": "true" if status in (429, 500, 529) and not code else "false"}
    if code is not None:
        inner["details"] = {"error_code": code}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return web.json_response({"type": "error", "error": inner, "request_id": number}, status=status, headers=headers)


def message_for(body: Mapping[str, Any], change: str | None) -> dict[str, Any]:
    """The Message for a request that is in order, with one thing made wrong by `change`."""
    schema = (body.get("output_config") or {}).get("format", {}).get("schema")
    text = json.dumps(answer_for(body, schema, change)) if schema else "Ask with a schema for a structured answer."
    text = {"prose": "The service is slow.", "half_answer": text[: len(text) // 2]}.get(change or "", text)
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if change == "thinking_first":
        content.insert(0, {"type": "thinking", "thinking": "First the error ratio.", "signature": "c2ln"})
    if change in ("unknown_blocks", "only_unknown"):
        content = [{"type": "hologram", "shape": 3}, *(content if change == "unknown_blocks" else [])]
    if change is not None and change in TOOL_CHANGES:
        content = tool_uses(body, change)
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [] if change == "refusal" else content,
        "stop_reason": STOPS.get(change or "", "tool_use" if change in TOOL_CHANGES else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": max(1, len(json.dumps(body)) // 4), "output_tokens": max(1, len(text) // 4)},
    }
    if change == "null_usage":
        message["usage"] = None
    if change == "no_usage":
        del message["usage"]
    return message


def answer_for(body: Mapping[str, Any], schema: Mapping[str, Any], change: str | None) -> dict[str, Any]:
    """An answer in the shape of `schema` that cites the first exhibits of the evidence by reference."""
    exhibits = [item for item in evidence_of(body).get("exhibits", []) if item.get("values")]
    looked_up = [item for item in results_of(body) if item.get("values")]
    cited = [*exhibits[: CITED_MAX - len(looked_up[:1])], *looked_up[:1]]
    claims = []
    for item in cited:
        ref, name = item["ref"], next(iter(item["values"]))
        text = f"{item['title']} is {{{ref}.{name}}}"
        refs = [ref]
        if change == "wrong_numbers":
            text = f"{item['title']} is 918273.645"
        if change == "unknown_refs":
            text, refs = "It is {q999.now}", ["q999"]
        if change == "no_citations":
            refs, text = [], "It is broken"
        if change == "hostile_text":
            text = f"\u202e{text}\u2066\u200b\x1b[K\x00\ud800"
        claims.append({"text": text * 500 if change == "huge_text" else text, "refs": refs})
    first = claims[0]["text"] if claims else "The evidence does not show a cause"
    properties = schema.get("properties", {})
    actions = properties.get("recommended_action", {}).get("enum", ["none"])
    known: dict[str, Any] = {
        "summary": first,
        "likely_cause": f"Not known. Look first at {cited[-1]['title']}" if cited else "unknown",
        "claims": claims,
        "recommended_action": next((name for name in actions if name != "none"), "none") if claims else "none",
        "confidence": 7 if change == "bad_confidence" else 0.62,
        "falsified_by": "The signal goes back to normal without any action",
    }
    empty = {"string": "", "number": 0, "integer": 0, "boolean": False, "array": [], "object": {}}
    return {name: known.get(name, empty.get(str(part.get("type")))) for name, part in properties.items()}


def evidence_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The first JSON object with exhibits in the texts of the user; an empty one where there is none."""
    for text in texts_of(body.get("messages", [])):
        start = text.find("{")
        if start < 0:
            continue
        try:
            document, _ = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            continue
        if isinstance(document, dict) and isinstance(document.get("exhibits"), list):
            return document
    return {}


def results_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The exhibits that the tool answered with."""
    found: list[dict[str, Any]] = []
    for message in body.get("messages", []):
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block.get("type") == "tool_result" and not block.get("is_error"):
                found += json.loads(block["content"]).get("exhibits", [])
    return found


def tool_uses(body: Mapping[str, Any], change: str) -> list[dict[str, Any]]:
    """Uses of the tool; each has an id that no other of the dialogue has."""
    times, name, given = TOOL_CHANGES[change]
    metrics = [name for name in evidence_of(body).get("metrics", []) if "*" not in name] or ["up"]
    before = len(body.get("messages", []))
    return [
        {
            "type": "tool_use",
            "id": f"toolu_{before}_{number}",
            "name": name,
            "input": given or {"query": f"sum({metrics[number % len(metrics)]})", "minutes": 15},
        }
        for number in range(times)
    ]


def texts_of(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
        else:
            yield from (block["text"] for block in content if block.get("type") == "text")
