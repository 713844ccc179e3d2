"""`tenants.*.executors`: how each executor wants to be called, signed in to, and asked what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from receiver.executor_papers import Credentials
from receiver.settings_http import Section, TlsConfig
from receiver.settings_values import Seconds, SigningSecret, is_signing_secret

SUCCESS_MIN, SUCCESS_MAX = 200, 299  # an answer outside of it never means that a request was taken
POLL_EVERY_LEAST_SECONDS = 1.0
CONCURRENCY_MAX = 8  # of one executor; the tenant's own limit is as high
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}")  # a header's name, as RFC 9110 has it
VISIBLE = re.compile(r"[!-~](?:[ -~]{0,4000}[!-~])?")
_PATH = re.compile(r"[A-Za-z0-9_-]+(?:\[[A-Za-z0-9_-]+=[A-Za-z0-9_. -]+\])?")
# auth type → the keys that it needs, and those that it may have beside them
_AUTH_KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": ((), ()),
    "bearer": (("token",), ()),
    "basic": (("username", "password"), ()),
    "header": (("name", "value"), ()),
    "hmac": (("header", "secret"), ("encoding", "prefix")),
    "standard_webhooks": (("secret",), ("previous_secret",)),
}


def _header_name(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a header")
    return value


def _words(value: Any) -> Any:
    """What JSON would write, since that is what an answer is compared with: true, 0, Succeeded."""
    if not isinstance(value, list):
        return value
    return tuple(("true" if word else "false") if isinstance(word, bool) else str(word) for word in value)


def _path(value: str) -> str:
    if not 0 < len(value) <= 200 or not all(_PATH.fullmatch(step) for step in value.split(".")):
        raise ValueError(f"{value!r} is no path like status.phase, or status.conditions[type=Ready].status")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
AnswerPath = Annotated[str, AfterValidator(_path)]


class ExecutorAuth(Section):
    """How a request is signed in or signed."""

    type: Literal["none", "bearer", "basic", "header", "hmac", "standard_webhooks"]
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    name: HeaderName | None = None
    value: SecretStr | None = None
    header: HeaderName | None = None
    secret: SecretStr | None = None
    previous_secret: SecretStr | None = None
    encoding: Literal["hex", "base64"] | None = None
    prefix: str | None = None

    @model_validator(mode="after")
    def _of_its_type(self) -> ExecutorAuth:
        needed, more = _AUTH_KEYS[self.type]
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"type {self.type} needs {key}{'_file' if key in _SECRET_KEYS else ''}")
        given = {key for key in self.model_fields_set if getattr(self, key) is not None} - {"type"}
        if odd := sorted(given - set(needed) - set(more)):
            raise ValueError(f"type {self.type} knows no {odd[0]}")
        for key in ("token", "value"):
            secret = getattr(self, key)
            if _text(secret) and not VISIBLE.fullmatch(_text(secret)):
                raise ValueError(f"{key}: a header carries visible ASCII only")
        if self.username is not None and (":" in self.username or not VISIBLE.fullmatch(self.username)):
            raise ValueError("username: visible ASCII without a colon")
        if self.prefix is not None and not re.fullmatch(r"[!-~]{0,40}", self.prefix):
            raise ValueError("prefix: at most 40 characters of visible ASCII")
        for key in (*_SECRET_KEYS, "username", "prefix"):
            if _PLACEHOLDER.search(_text(getattr(self, key))):
                raise ValueError(f"{key}: no placeholder may stand in auth")
        if self.type == "standard_webhooks":
            for signing in (self.secret, self.previous_secret):
                if signing is not None:
                    is_signing_secret(signing)
        return self


_SECRET_KEYS = ("token", "password", "value", "secret", "previous_secret")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.:-]*\}")


def _text(value: SecretStr | str | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""


class IdempotencyKey(Section):
    """Where the webhook-id goes, so that whoever runs it can tell a repetition: exactly one of these."""

    header: HeaderName | None = None
    query: str | None = None
    json_key: str | None = Field(default=None, alias="json")
    form: str | None = None

    @model_validator(mode="after")
    def _one(self) -> IdempotencyKey:
        if len(self.places()) != 1:
            raise ValueError("exactly one of header, query, json and form names where the webhook-id goes")
        return self

    def places(self) -> list[tuple[str, str]]:
        given = {"header": self.header, "query": self.query, "json": self.json_key, "form": self.form}
        return [(place, name) for place, name in given.items() if name is not None]


class ExecutorResult(Section):
    """How it is learnt what became of a request that was taken."""

    mode: Literal["answer", "poll", "callback", "none"] = "answer"
    url: str | None = None
    every: Seconds = Field(default=5.0, ge=POLL_EVERY_LEAST_SECONDS)
    timeout: Seconds = Field(default=600.0, gt=0)
    path: AnswerPath | None = None
    success: Words = ()
    failure: Words = ()
    secret: SigningSecret | None = None
    previous_secret: SigningSecret | None = None

    @model_validator(mode="after")
    def _of_its_mode(self) -> ExecutorResult:
        if (self.path is None) != (not self.success):
            raise ValueError("path and success go together: where the word stands, and which words mean success")
        if self.failure and not self.success:
            raise ValueError("failure needs path and success")
        if set(self.success) & set(self.failure):
            raise ValueError(f"{min(set(self.success) & set(self.failure))!r} cannot mean both success and failure")
        if self.mode == "poll" and (self.url is None or self.path is None):
            raise ValueError("mode poll needs url, path and success")
        if self.mode != "poll" and self.model_fields_set & {"url", "every", "timeout"}:
            raise ValueError("url, every and timeout are for mode poll")
        if self.mode in ("callback", "none") and self.path is not None:
            raise ValueError("path, success and failure are for the modes answer and poll")
        if self.secret is None and self.previous_secret is not None:
            raise ValueError("previous_secret needs secret")
        return self


class Executor(Section):
    """One executor. Without `auth` it is signed as Standard Webhooks has it, and gets Counterfoil's own body."""

    url: str
    secret: SigningSecret | None = None
    previous_secret: SigningSecret | None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    query: Mapping[str, str] = {}
    headers: Mapping[HeaderName, str] = {}
    json_body: Any = Field(default=None, alias="json")
    form: Mapping[str, str] | None = None
    auth: ExecutorAuth | None = None
    tls_config: TlsConfig | None = None
    success: tuple[Annotated[int, Field(ge=SUCCESS_MIN, le=SUCCESS_MAX)], ...] = ()
    idempotency_key: IdempotencyKey | None = None
    private: bool = False
    result: ExecutorResult = ExecutorResult()
    timeout: Seconds = Field(default=10.0, gt=0)
    concurrency: int = Field(default=4, ge=1, le=CONCURRENCY_MAX)
    proof: bool = False

    def credentials(self) -> Credentials:
        """How it is signed in to: `auth`, or Standard Webhooks under its own secret."""
        auth = self.auth
        if auth is None:
            return Credentials("standard_webhooks", plain(self.secret, self.previous_secret))
        secrets = plain(auth.token, auth.password, auth.value, auth.secret, auth.previous_secret)
        name = auth.username or auth.name or auth.header or ""
        return Credentials(auth.type, secrets, name, auth.encoding or "hex", auth.prefix or "")

    def callback_secrets(self) -> tuple[str, ...]:
        """What a result that comes later must be signed with; none where no result can come."""
        own = plain(self.result.secret, self.result.previous_secret)
        credentials = self.credentials()
        return own or (credentials.secrets if credentials.type == "standard_webhooks" else ())

    @property
    def own_form(self) -> bool:
        """Whether it is called as Counterfoil calls its own executor."""
        return not self.model_fields_set & {"method", "query", "headers", "json_body", "form", "idempotency_key"}

    def described(self) -> str | Mapping[str, Any]:
        """What an ADOPTED says of it, without secrets: its address where that is all."""
        if not self.model_fields_set - {"url", "secret", "previous_secret", "timeout", "concurrency"}:
            return self.url
        return dict(_without_secrets(self.model_dump(mode="python", by_alias=True, exclude_unset=True)))


def plain(*secrets: SecretStr | None) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in secrets if secret is not None)


def _without_secrets(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield key, dict(_without_secrets(item))
        elif not isinstance(item, SecretStr) and item is not None:
            yield key, _recorded(item)


def _recorded(value: Any) -> Any:
    """As the ledger takes it: numbers that are not whole are texts."""
    if isinstance(value, list | tuple):
        return [_recorded(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _recorded(item) for key, item in value.items()}
    return str(value) if isinstance(value, float | Path) else value
