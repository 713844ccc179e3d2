"""The exact request of an order: what a person authorizes, byte for byte, and what is sent later, unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from receiver.execution.polling import partly
from receiver.executor_papers import Learning, RequestTemplate
from receiver.filling import BadValue, Values, fill, fill_address, fill_json, fill_pairs, in_header
from receiver.papers import ExecutorTarget, Order, RenderedRequest, Unrenderable

ADDRESS_CHARACTERS_MAX = 8_000
BODY_BYTES_MAX = 65_536  # as much as `executor serve` takes
ALWAYS = ("executor", "method", "address", "body")  # parts of every request; the others where they are not empty
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"


def render(target: ExecutorTarget, order: Order) -> RenderedRequest:
    """The request, the same bytes for the same order and settings. Raises Unrenderable."""
    try:
        parts = _parts(target, order)
    except BadValue as error:
        raise Unrenderable(str(error)) from error
    except KeyError as error:
        raise Unrenderable(f"the action has no parameter {error.args[0]}") from error
    if len(parts["address"]) > ADDRESS_CHARACTERS_MAX:
        raise Unrenderable(f"the address has more than {ADDRESS_CHARACTERS_MAX} characters")
    try:
        body = parts["body"].encode()
    except UnicodeEncodeError as error:
        raise Unrenderable("a value holds half of a character") from error
    if len(body) > BODY_BYTES_MAX:
        raise Unrenderable(f"the body has more than {BODY_BYTES_MAX} bytes")
    present = {name: value for name, value in parts.items() if value or name in ALWAYS}
    return RenderedRequest(**present, digest=digest_of(present))


def digest_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 hex over the canonical JSON of a request's parts."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _parts(target: ExecutorTarget, order: Order) -> dict[str, Any]:
    values = _values(order)
    parts = {
        "executor": target.name,
        "result": _plan(target, values),
        "settings": target.settings,
        "proof": "yes" if target.proof else "",
    }
    template = target.request
    if template is None:
        return parts | {"method": "POST", "address": target.url, "body": own_body(order)}
    if target.address is None:
        raise Unrenderable(f"executor {target.name} has no address")
    address = fill_address(target.address, values)
    pairs = fill_pairs(template.query, values)
    if template.key is not None and template.key[0] == "query":
        pairs.append((template.key[1], order.webhook_id))
    if pairs:
        address += f"?{_encoded(pairs)}"
    body, kind = _body(template, order, values)
    headers = {name: fill(value, values, in_header) for name, value in template.headers}
    if template.key is not None and template.key[0] == "header":
        headers[template.key[1]] = order.webhook_id
    if "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = kind
    return parts | {"method": template.method, "address": address, "headers": headers, "body": body}


def _values(order: Order) -> Values:
    # Counterfoil's own names come last: no parameter takes the place of one.
    own = {
        "id": order.webhook_id,
        "incident": order.incident_id,
        "action": order.action,
        "tenant": order.tenant,
        "proposed_at": order.proposed_at,
        "callback_url": order.callback_url or "",
    }
    return {**order.params, **own}


def _body(template: RequestTemplate, order: Order, values: Values) -> tuple[str, str]:
    place, name = template.key or ("", "")
    if template.form is not None:
        pairs = fill_pairs(template.form, values)
        pairs += [(name, order.webhook_id)] if place == "form" else []
        return _encoded(pairs), FORM_TYPE
    if template.json is None:
        return own_body(order), JSON_TYPE
    data = fill_json(template.json, values)
    return canonical(data | {name: order.webhook_id} if place == "json" else data), JSON_TYPE


def _encoded(pairs: Sequence[tuple[str, str]]) -> str:
    """Percent-encoded, spaces too, so that whatever reads a query or a form reads the same."""
    return urlencode(pairs, quote_via=quote, safe="")


def own_body(order: Order) -> str:
    """What Counterfoil sends where the configuration says nothing else."""
    return canonical(
        {
            "type": "counterfoil.execution",
            "id": order.webhook_id,
            "tenant": order.tenant,
            "incident_id": order.incident_id,
            "action": order.action,
            "params": dict(order.params),
            "callback_url": order.callback_url,
        }
    )


def _plan(target: ExecutorTarget, values: Values) -> dict[str, Any]:
    """How the result is learnt: nothing where the answer of our own protocol tells it."""
    learning = target.learning
    plan: dict[str, Any] = {}
    if target.success:
        plan["taken"] = sorted(target.success)
    if learning == Learning():
        return plan
    plan["mode"] = learning.mode
    if learning.path is not None:
        plan |= {"path": learning.path, "success": list(learning.success), "failure": list(learning.failure)}
    if learning.url is not None:
        plan |= {
            "url": partly(learning.url, values),
            "every_seconds": int(learning.every_seconds),
            "timeout_seconds": int(learning.timeout_seconds),
        }
    return plan


def with_proof(request: RenderedRequest, proof: str) -> str:
    """The body for an executor that demands a proof: the request as it was authorized, and the proof that it was."""
    parts = {"executor": request.executor, "method": request.method, "address": request.address, "body": request.body}
    more = {
        "headers": dict(request.headers),
        "result": dict(request.result),
        "settings": request.settings,
        "proof": request.proof,
    }
    return canonical({"request": parts | {name: value for name, value in more.items() if value}, "proof": proof})
