"""What the vendor refuses: 401 and 400, with the vendor's reasons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VERSIONS = frozenset({"2023-06-01", "2026-10-21"})
FIELDS = frozenset(
    [
        "model",
        "max_tokens",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "stop_sequences",
        "service_tier",
        "cache_control",
        "stream",
    ]
)
THINKING_KINDS = frozenset({"between_tools", "adaptive"})
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
CACHE_MARKS_MAX = 4
BLOCKS = {
    "text": {"type", "text"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input"},
    "tool_result": {"type", "tool_use_id", "content"},
}
SCHEMA_WORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "$ref",
        "$defs",
        "description",
        "title",
        "format",
        "default",
    ]
)


def refusal_of(headers: Mapping[str, str], body: Any, api_key: str | None) -> tuple[int, str | None]:
    """(status, why), or (200, None) for a request that is in order."""
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key or (api_key is not None and key != api_key):
        return 401, "invalid x-api-key"
    if headers.get("anthropic-version") not in VERSIONS:
        return 400, "anthropic-version: header is required"
    if not isinstance(body, dict):
        return 400, "The request body is not valid JSON"
    why = next((why for check in CHECKS if (why := check(body)) is not None), None)
    return (200, None) if why is None else (400, why)


def check_fields(body: Mapping[str, Any]) -> str | None:
    extra = sorted(set(body) - FIELDS)
    if extra:  # temperature, top_p and top_k are among them
        return f"{extra[0]}: Extra inputs are not permitted"
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "model: Field required"
    tokens = body.get("max_tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        return "max_tokens: Input should be a positive integer"
    return "stream: this stand-in does not stream" if body.get("stream") else None


def check_messages(body: Mapping[str, Any]) -> str | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not content or not isinstance(content, str | list) or message.get("role") not in ("user", "assistant"):
            return "messages: a role of user or assistant and some content are required"
        if isinstance(content, list) and (why := check_blocks(content)) is not None:
            return why
    if messages[0]["role"] != "user":
        return "messages: first message must use the user role"
    if messages[-1]["role"] != "user":
        return "messages: prefilling assistant messages is not supported"
    return check_results(messages, bool(body.get("tools")))


def check_blocks(content: list[Any]) -> str | None:
    for block in content:
        parts = BLOCKS.get(str(block.get("type"))) if isinstance(block, dict) else None
        if parts is None:
            return "messages: every block needs a type that is known"
        missing = sorted(parts - set(block))
        if missing:
            return f"messages: {block['type']}.{missing[0]}: Field required"
        extra = sorted(set(block) - parts - {"cache_control", "is_error", "caller"})
        if extra:
            return f"messages: {block['type']}.{extra[0]}: Extra inputs are not permitted"
        if block["type"] == "text" and not block["text"]:
            return "messages: text content blocks must be non-empty"
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            return "messages: tool_use.input: Input should be an object"
    return None


def check_results(messages: list[Any], tools: bool) -> str | None:
    """Every use of a tool is answered in the next message, before anything else, and nothing else is."""
    wanted: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        told = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(told) != sorted(wanted):
            return "messages: tool_use ids were found without tool_result blocks immediately after, or the reverse"
        if any(block["type"] != "tool_result" for block in blocks[: len(told)]):
            return "messages: tool_result blocks must come first"
        wanted = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if wanted and message["role"] != "assistant":
            return "messages: tool_use blocks can only be in assistant messages"
        if wanted and not tools:
            return "messages: requests with tool_use blocks must define tools"
    return None


def check_cache(body: Mapping[str, Any]) -> str | None:
    marks = [block["cache_control"] for block in blocks_of(body) if "cache_control" in block]
    if len(marks) > CACHE_MARKS_MAX:
        return f"cache_control: at most {CACHE_MARKS_MAX} blocks may carry it"
    good = all(
        isinstance(mark, dict) and mark.get("type") == "ephemeral" and not set(mark) - {"type", "ttl"} for mark in marks
    )
    return None if good else "cache_control: only type ephemeral is supported"


def blocks_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is cached by prefix, in its order: the tools, the system's blocks, the messages' blocks."""
    found = [*(body.get("tools") or [])]
    texts = [body.get("system") or [], *(message["content"] for message in body["messages"])]
    for text in texts:
        found += [{"type": "text", "text": text}] if isinstance(text, str) else text
    return found


def check_thinking(body: Mapping[str, Any]) -> str | None:
    thinking = body.get("thinking")
    if thinking is None:
        return None
    if not isinstance(thinking, dict) or thinking.get("type") not in THINKING_KINDS or "budget_tokens" in thinking:
        return "thinking.type: only between_tools and adaptive are supported on this model"
    return None


def check_tools(body: Mapping[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    if choice is not None and (not isinstance(choice, dict) or choice.get("type") not in ("auto", "none")):
        return "tool_choice: forcing tool use is not supported on this model"
    for tool in body.get("tools") or []:
        if not isinstance(tool, dict) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(tool.get("name", ""))):
            return "tools: a name of letters, digits, _ and - is required"
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            return "tools.input_schema: a schema of type object is required"
        if set(tool) - {"name", "description", "input_schema", "cache_control", "strict", "type"}:
            return "tools: Extra inputs are not permitted"
    if choice is not None and not body.get("tools"):
        return "tool_choice: may only be specified while providing tools"
    return None


def check_output(body: Mapping[str, Any]) -> str | None:
    config = body.get("output_config")
    if config is None:
        return None
    if not isinstance(config, dict) or set(config) - {"format", "effort"}:
        return "output_config: only format and effort are permitted"
    if config.get("effort") is not None and config["effort"] not in EFFORTS:
        return "output_config.effort: unknown"
    form = config.get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        return "output_config.format: a json_schema is required"
    return schema_fault(form["schema"], "schema")


def schema_fault(schema: Any, where: str) -> str | None:
    """The first word that structured outputs do not support, with its place."""
    if not isinstance(schema, dict):
        return f"output_config.format.{where}: must be an object"
    extra = sorted(set(schema) - SCHEMA_WORDS)
    if extra:
        return f"output_config.format.{where}: property '{extra[0]}' is not supported"
    if not {"type", "enum", "const", "anyOf", "allOf", "$ref"} & set(schema):
        return f"output_config.format.{where}: a type is required"
    if isinstance(schema.get("type"), list) or ("enum" in schema and not schema["enum"]):
        return f"output_config.format.{where}: one type, and an enum that is not empty"
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return f"output_config.format.{where}: additionalProperties must be false"
    below = [(f"{where}.{name}", part) for name, part in schema.get("properties", {}).items()]
    below += [(f"{where}.{name}", part) for name, part in schema.get("$defs", {}).items()]
    below += [(f"{where}.items", schema["items"])] if "items" in schema else []
    below += [(f"{where}.{word}", part) for word in ("anyOf", "allOf") for part in schema.get(word, [])]
    return next((fault for place, part in below if (fault := schema_fault(part, place)) is not None), None)


CHECKS = (check_fields, check_messages, check_thinking, check_tools, check_output, check_cache)
