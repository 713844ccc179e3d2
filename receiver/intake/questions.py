"""The page behind a question's link: GET shows it and changes nothing, POST takes a decision with the person's code.

Whoever fetches a link before a person does (a preview, a prefetcher, a scanner of links) sees what the person would
see, and moves nothing. What is posted is booked as HEARD first and judged by the governor, as a tap is.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from ledger.entry import Draft, Entry
from ledger.journal import Conflict, Journal, LedgerError
from receiver.authorization import codes
from receiver.authorization.page import HEADERS, QuestionView, read_by, render, words_of
from receiver.intake.admission import BodyRefused, bounded_body
from receiver.intake.calls import came_to, judgement

PATH = "/q/"
WEB = "web"
BODY_BYTES = 2_048
BODY_SECONDS = 10.0  # a place is not held for long by one who has shown no code
JUDGED_SECONDS = 5.0
VERBS = ("approve", "reject", "onit")
_LOG = logging.getLogger("counterfoil.questions")


class QuestionBook(Protocol):
    """One tenant's questions, as the governor knows them."""

    async def view(self, index: int) -> QuestionView | None:
        """What the person of the message `index` is shown; None where there is nothing to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The two handlers. books: one for each tenant. codes_secret, address_key: as for Replies."""

    journal: Journal
    books: Callable[[], Sequence[tuple[str, QuestionBook]]]
    public_url: str
    codes_secret: bytes
    address_key: Callable[[str, str | None], bytes]
    count: Callable[[str], None] = field(default=lambda outcome: None)

    async def show(self, request: web.Request) -> web.Response:
        """200 with the page; 404 for no link of ours, 410 once the question is closed, 503 without the ledger."""
        try:
            found = await self._find(request)
        except LedgerError as error:
            return self._unavailable(request, error)
        if found is None:
            return self._page(request, 404, None, "unknown")
        _, view = found
        if not view.open:
            return self._page(request, 410, view, "closed")
        return self._page(request, 200, view, "" if view.asked else "yours", good=True, form=self._form(request))

    async def decide(self, request: web.Request) -> web.Response:
        """200 with what came of it; 400, 403, 404, 409, 410, 413, 429 with the page again; 503 without the ledger, or
        where the form came too slowly."""
        if not self._from_here(request):
            return self._page(request, 403, None, "not counted")
        try:
            body = await bounded_body(request, BODY_BYTES, seconds=BODY_SECONDS)
        except BodyRefused as refused:
            return self._page(request, refused.status, None, "later" if refused.status == 503 else "unknown")
        try:
            found = await self._find(request)
            if found is None:
                return self._page(request, 404, None, "unknown")
            tenant, view = found
            if not view.open:
                return self._page(request, 410, view, "closed")
            if view.locked:
                # No entry either: whoever has a link and no code fills no ledger.
                return self._page(request, 429, view, "locked")
            return await self._decide(request, tenant, view, _fields(body))
        except LedgerError as error:
            return self._unavailable(request, error)

    async def _decide(
        self, request: web.Request, tenant: str, view: QuestionView, fields: dict[str, str]
    ) -> web.Response:
        verb, code, form = fields.get("verb", ""), fields.get("code", "").strip().upper(), fields.get("form", "")
        if not codes.is_form(self.codes_secret, request.match_info["token"], form):
            return self._page(request, 409, view, "used", form=self._form(request))
        if verb not in VERBS or not 1 <= len(code) <= 8 or not code.isalnum():
            return self._page(request, 400, view, "incomplete", form=self._form(request))
        index = codes.page_of(self.codes_secret, tenant, request.match_info["token"])
        addressed = await self.journal.get(tenant, index) if index is not None else None
        if addressed is None:
            return self._page(request, 404, None, "unknown")
        heard = self._heard(tenant, view.person, addressed, verb, code, form)
        try:
            receipt = await self.journal.post(tenant, [heard])
        except Conflict:
            return self._page(request, 409, view, "used", form=self._form(request))
        judged = await judgement(self.journal, tenant, receipt.entries[0].index, JUDGED_SECONDS)
        return await self._told(request, judged)

    async def _told(self, request: web.Request, judged: Entry | None) -> web.Response:
        found = await self._find(request)
        view = found[1] if found is not None else None
        if judged is None:
            return self._page(request, 202, view, "said later", good=True)
        if judged.stage != "REFUSED":
            came = came_to(judged)
            return self._page(request, 200, view, f"said {came}", good=came != "pin")
        if judged.body.get("why") == "wrong code":
            return self._page(request, 403, view, "wrong code", form=self._form(request))
        return self._page(request, 403, view, "not counted")

    def _heard(self, tenant: str, person: str, addressed: Entry, verb: str, code: str, form: str) -> Draft:
        address = f"{WEB}:{addressed.index}"
        return Draft(
            id=f"heard:{WEB}:{addressed.index}:{form}",
            stage="HEARD",
            actor=f"carrier:{WEB}",
            reason=f"{person}: {verb}",
            body={
                "person": person,
                "verb": verb,
                "token": None,
                "code": code,
                "original_sid": None,
                "from_hmac": codes.address_hmac(self.address_key(tenant, person), address),
                "external_id_hmac": None,
                "via": WEB,
                "delivery": addressed.index,
            },
        )

    async def _find(self, request: web.Request) -> tuple[str, QuestionView] | None:
        token = request.match_info["token"]
        for tenant, book in self.books():
            index = codes.page_of(self.codes_secret, tenant, token)
            if index is not None:
                view = await book.view(index)
                return (tenant, view) if view is not None else None
        return None

    def _form(self, request: web.Request) -> str:
        """A new form of this page. It counts once, so that a page that is sent twice is heard once."""
        return codes.form(self.codes_secret, request.match_info["token"], secrets.token_hex(8))

    def _from_here(self, request: web.Request) -> bool:
        """Whether the form that is posted may be ours. No cookie signs anybody in, so a foreign page has nothing to
        misuse; a browser that says that a request comes from elsewhere is believed all the same."""
        site, origin = request.headers.get("Sec-Fetch-Site", "same-origin"), request.headers.get("Origin")
        parts = urlsplit(self.public_url)
        # Under "no-referrer" a browser names its own pages as "null".
        return site in ("same-origin", "none") and origin in (None, "null", f"{parts.scheme}://{parts.netloc}")

    def _page(
        self,
        request: web.Request,
        status: int,
        view: QuestionView | None,
        said: str,
        *,
        good: bool = False,
        form: str = "",
    ) -> web.Response:
        self.count(said or "shown")
        language = view.language if view is not None else _reads(request)
        shown = view if view is not None and view.open else None  # who comes too late is shown nothing any more
        if shown is None or not shown.asked or shown.locked:
            form = ""
        text = render(language, shown, said=said, good=good, form=form)
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=HEADERS)

    def _unavailable(self, request: web.Request, error: LedgerError) -> web.Response:
        _LOG.error("a question cannot be shown or answered: %s", error)
        self.count("unavailable")
        return web.Response(
            status=503, text=f"{words_of(_reads(request))['later']}\n", headers={**HEADERS, "Retry-After": "60"}
        )


def _reads(request: web.Request) -> str:
    return read_by(request.headers.get("Accept-Language", ""))


def _fields(body: bytes) -> dict[str, str]:
    """The form's fields; none where it cannot be read, or one comes twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError:
        return {}
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}
