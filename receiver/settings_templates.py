"""The templates of an executor, read: what no key of its configuration shows by itself, each problem in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from receiver import placeholders
from receiver.executor_papers import RequestTemplate
from receiver.placeholders import Address, BadTemplate, Template
from receiver.settings_executors import VISIBLE, Executor, plain
from receiver.settings_values import Misplaced, Place

# What decides where a request ends, where it goes and who sends it is never written by hand.
_RESERVED_HEADERS = frozenset(
    {"authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive", "te", "trailer"}
    | {"proxy-authorization", "proxy-connection", "transfer-encoding", "upgrade", "user-agent"}
    | {"webhook-id", "webhook-signature", "webhook-timestamp"}
)
_CREDENTIALS = frozenset(
    {"token", "secret", "password", "passwd", "api_key", "apikey", "access_key", "private_key", "authorization"}
)
_CREDENTIAL_HEADER = re.compile(r"token|secret|passw|api[-_]?key|signature", re.I)
_T = TypeVar("_T")


class Compiler:
    """Reads the templates of one executor, and keeps what is wrong with them, each in its place."""

    def __init__(self, executor: Executor, place: Place = ()) -> None:
        self._executor = executor
        self._place = place
        self.problems: list[Misplaced] = []
        self._whole()
        self.url = self._read(("url",), lambda: placeholders.parse_address(executor.url))
        self.poll = self._poll()
        self.request = self._request()

    def names(self) -> Iterator[tuple[Place, str]]:
        """Every placeholder that policy must fill: where it stands, and its name."""
        for key, template in self._templates():
            for place in template.places():
                if not place.answer and place.name not in placeholders.OWN_NAMES:
                    yield (*self._place, *key), place.name

    def _templates(self) -> Iterator[tuple[Place, Template]]:
        for key, address in ((("url",), self.url), (("result", "url"), self.poll)):
            for template in address.templates() if address is not None else ():
                yield key, template
        if self.request is None:
            return
        for section, pairs in (("query", self.request.query), ("headers", self.request.headers)):
            for name, template in pairs:
                yield (section, name), template
        for name, template in self.request.form or ():
            yield ("form", name), template
        for template in placeholders.templates_in(self.request.json):
            yield ("json",), template

    def _say(self, key: Place, message: str) -> None:
        self.problems.append(Misplaced((*self._place, *key), f"{'.'.join(map(str, key))}: {message}"))

    def _read(self, key: Place, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except BadTemplate as error:
            self._say(key, str(error))
            return None

    def _whole(self) -> None:
        executor = self._executor
        if (executor.auth is None) == (executor.secret is None):
            self._say(("secret_file",), "give secret_file: PATH, or auth: {type: …}, and not both")
        if executor.auth is not None and executor.previous_secret is not None:
            self._say(("previous_secret",), "it belongs under auth")
        if executor.json_body is not None and executor.form is not None:
            self._say(("form",), "json and form exclude each other")
        if executor.tls_config is not None:
            if executor.tls_config.insecure_skip_verify:
                self._say(("tls_config",), "the certificate of an executor is always verified: use ca_file")
            elif (problem := executor.tls_config.problem()) is not None:
                self._say(("tls_config",), problem)
        if executor.result.mode == "callback" and not executor.callback_secrets():
            self._say(("result",), "mode callback needs secret_file: what the result is signed with")
        if executor.proof and not (executor.own_form and executor.credentials().type == "standard_webhooks"):
            self._say(("proof",), "only Counterfoil's own body, signed as Standard Webhooks, carries a proof")
        if self._secret_is_short():
            self._say(("auth",), "the secret of an HMAC has at least 16 characters")

    def _secret_is_short(self) -> bool:
        auth = self._executor.auth
        return auth is not None and auth.type == "hmac" and any(len(text) < 16 for text in plain(auth.secret))

    def _poll(self) -> Address | None:
        url = self._executor.result.url
        if url is None:
            return None
        return self._read(("result", "url"), lambda: placeholders.parse_address(url, query=True, answer=True))

    def _request(self) -> RequestTemplate | None:
        executor = self._executor
        if executor.own_form and (self.url is None or not any(any(t.places()) for t in self.url.templates())):
            return None
        taken = {executor.credentials().name.lower()} if executor.credentials().type in ("header", "hmac") else set()
        headers, query, form = self._pairs("headers"), self._pairs("query"), self._pairs("form")
        for name, _ in headers:
            if name.lower() in _RESERVED_HEADERS | taken or _CREDENTIAL_HEADER.search(name):
                self._say(("headers", name), "this header is not written by hand; what signs in stands under auth")
        body = executor.json_body
        parsed = self._read(("json",), lambda: placeholders.parse_json(body)) if body is not None else None
        self._no_secrets_in_clear(("json",), body)
        self._no_secrets_in_clear(("form",), executor.form)
        self._no_secrets_in_clear(("query",), executor.query)
        key = executor.idempotency_key.places()[0] if executor.idempotency_key is not None else None
        if key is not None:
            self._key_has_room(*key)
        return RequestTemplate(
            executor.method,
            tuple(query),
            tuple(headers),
            parsed,
            tuple(form) if executor.form is not None else None,
            key,
        )

    def _pairs(self, section: str) -> list[tuple[str, Template]]:
        found = []
        for name, text in (getattr(self._executor, section) or {}).items():
            template = self._read((section, name), lambda name=name, text=text: _pair(name, text))  # type: ignore[misc]
            if template is not None:
                found.append((placeholders.literal(name), template))
                if section == "headers" and not all(VISIBLE.fullmatch(p) for p in template.parts if isinstance(p, str)):
                    self._say((section, name), "a header carries visible ASCII only")
        return found

    def _key_has_room(self, place: str, name: str) -> None:
        executor = self._executor
        section = {"header": executor.headers, "query": executor.query, "json": executor.json_body}.get(
            place, executor.form
        )
        self._read(("idempotency_key", place), lambda: placeholders.literal(name))
        if place == "header" and name.lower() in _RESERVED_HEADERS - {"webhook-id"}:
            self._say(("idempotency_key",), f"{name} is not written by hand")
        elif place in ("json", "form") and not isinstance(section, Mapping):
            self._say(("idempotency_key",), f"there is no {place} that could carry it")
        elif name.lower() in {str(key).lower() for key in section or ()}:
            self._say(("idempotency_key",), f"{name} stands there already")

    def _no_secrets_in_clear(self, place: Place, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                if str(key).lower() in _CREDENTIALS and isinstance(item, str) and "{" not in item and item:
                    self._say((*place, key), "a secret must not stand in this file, nor in the ledger: use auth")
                self._no_secrets_in_clear((*place, key), item)


def _pair(name: str, text: str) -> Template:
    placeholders.literal(name)
    return placeholders.parse(text)
