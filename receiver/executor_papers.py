"""How an executor wants to be called, signed in to and asked: frozen values, made of the configuration once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from receiver.placeholders import Address, Template


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a request is signed in or signed. `secrets` are never logged, posted or shown.

    type: "none", "bearer", "basic" (name: the user), "header" (name: the header), "hmac" (name: the header; encoding
      "hex" or "base64"; prefix before it), "standard_webhooks" (secrets: the current one, and the one before).
    """

    type: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    name: str = ""
    encoding: str = "hex"
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What an executor wants to be sent beside its address. At most one of json and form is not None.

    json: plain data whose texts are templates. key: where the webhook-id goes, as ("header",
    NAME); or query, json, form.
    """

    method: str = "POST"
    query: tuple[tuple[str, Template], ...] = ()
    headers: tuple[tuple[str, Template], ...] = ()
    json: Any = None
    form: tuple[tuple[str, Template], ...] | None = None
    key: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Learning:
    """How it is learnt what became of a request that was taken.

    mode: "answer", "poll", "callback" or "none". path: where the word stands in the JSON answer, or in the one that is
    polled; success and failure: the words. url, every_seconds, timeout_seconds: of a poll.
    """

    mode: str = "answer"
    path: str | None = None
    success: tuple[str, ...] = ()
    failure: tuple[str, ...] = ()
    url: Address | None = None
    every_seconds: float = 5.0
    timeout_seconds: float = 600.0
