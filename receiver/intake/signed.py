"""A request that Twilio signed: its form and its query, or the answer to give to whoever sent it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from multidict import MultiDict

from receiver.authorization import codes
from receiver.authorization.signatures import is_signed
from receiver.intake.admission import BodyRefused, bounded_body

BODY_BYTES = 65_536
BODY_SECONDS = 10.0  # a place is not held for long by one who has shown no signature
_FORM_FIELDS = 100
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_LOG = logging.getLogger("counterfoil.replies")

Done = Callable[[web.Request, str, int], web.Response]  # (request, outcome, status) → the answer, counted


@dataclass(frozen=True, slots=True)
class Post:
    """A request that Twilio signed: the form, and the parsed query."""

    form: MultiDict[str]
    query: MultiDict[str]

    def message(self) -> tuple[str, int] | None:
        """Tenant and index of the message of ours that the query names as `m`, once; else None."""
        ids = self.query.getall("m", [])
        return codes.split_message_id(ids[0]) if len(ids) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Reads requests. auth_tokens: a sequence, or a function for tokens that a reload may change; the current one and
    the previous one."""

    account_sid: str
    auth_tokens: Sequence[str] | Callable[[], Sequence[str]]
    public_url: str

    async def read(self, request: web.Request, done: Done) -> Post | web.Response:
        """The form, if Twilio signed it for our public address; else the answer to give, which `done` makes."""
        try:
            body = await bounded_body(request, BODY_BYTES, seconds=BODY_SECONDS)
        except BodyRefused as refused:
            return done(request, refused.code.replace("_", " "), refused.status)
        raw_path = request.raw_path
        url = self.public_url.rstrip("/") + raw_path
        is_form = request.content_type == "application/x-www-form-urlencoded"
        form: MultiDict[str] = MultiDict()
        query: MultiDict[str] = MultiDict()
        try:
            text = body.decode()
            query.extend(_parse(urlsplit(raw_path).query))
            form.extend(_parse(text) if is_form else [])
        except ValueError:
            return _forbidden(request, url, done)
        signature = request.headers.getall("X-Twilio-Signature", [])
        tokens = self.auth_tokens() if callable(self.auth_tokens) else self.auth_tokens
        # An absolute-form request line ("POST http://elsewhere/…") is not the path that Twilio was told.
        if len(signature) != 1 or not raw_path.startswith("/"):
            return _forbidden(request, url, done)
        if not is_signed(tokens, url, form if is_form else text, signature[0]):
            return _forbidden(request, url, done)
        if not is_form or not self._is_shaped(form):
            return done(request, "malformed", 400)
        return Post(form, query)

    def _is_shaped(self, form: MultiDict[str]) -> bool:
        """The signature joins names and values without a mark between them, so their shape has to be checked.

        `A=1B2` and `A=1&B=2` sign alike: a name is a word, none comes twice, and the account is ours.
        """
        if len(set(form)) != len(form) or not all(_FIELD_NAME.fullmatch(name) for name in form):
            return False
        return form.get("AccountSid") == self.account_sid


def _forbidden(request: web.Request, url: str, done: Done) -> web.Response:
    _LOG.warning("bad Twilio signature; the address that should have been signed: %r (public_url)", url[:500])
    return done(request, "bad signature", 403)


def _parse(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS)
