"""Our templates in Twilio's Content API: found by name and contents, created where missing, submitted for approval."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.authorization.templates import CATEGORY, TEMPLATES, Template

if TYPE_CHECKING:
    from twilio.rest import Client  # type: ignore[import-untyped]

_LOG = logging.getLogger("counterfoil.whatsapp")
_PAGE, _MOST = 500, 5_000  # contents asked for at once, and in all
APPROVED, MISSING, OTHER_WORDS, UNSUBMITTED = "approved", "missing", "other words", "unsubmitted"


@dataclass(frozen=True, slots=True)
class Standing:
    """One of our templates at Twilio.

    status: "missing", "other words" (one of that name says something else), or WhatsApp's word: "unsubmitted",
      "received", "pending", "approved", "rejected", "paused", "disabled".
    reason: why it was rejected, in WhatsApp's words.
    """

    template: Template
    status: str
    sid: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    sid: str
    friendly_name: str
    language: str
    types: Mapping[str, object]
    status: str = UNSUBMITTED
    reason: str = ""


class Contents:
    """Twilio's contents, as far as they are ours. client: the SDK's, made on first use; its errors are raised."""

    def __init__(self, client: Callable[[], Awaitable[Client]], templates: Sequence[Template] = TEMPLATES) -> None:
        """templates: those that are sent."""
        self._client = client
        self._templates = templates
        self._sids: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def sid(self, template: Template) -> str:
        """The content sid of `template`: found by name and contents, created when missing, then kept.

        A session of WhatsApp's sandbox needs no approval; outside a session Twilio sends approved templates only.
        """
        async with self._lock:
            name = template.friendly_name
            if name not in self._sids:
                contents = await self._listed()
                found = next((content.sid for content in contents if _says(content, template)), None)
                for content in contents:
                    if found is None and _named(content, template):
                        _LOG.warning("template %s (%s) has other words than ours; it is left alone", content.sid, name)
                self._sids[name] = found or await self.create(template)
            return self._sids[name]

    async def create(self, template: Template) -> str:
        """Create the content of `template`, whether or not there is one; its sid."""
        from twilio.rest.content.v1.content import ContentList  # type: ignore[import-untyped]

        request = ContentList.ContentCreateRequest(
            {
                "friendly_name": template.friendly_name,
                "language": template.carrier_language,
                "variables": template.sample_variables(),
                "types": template.types(),
            }
        )
        created = await (await self._client()).content.v1.contents.create_async(content_create_request=request)
        if not created.sid:
            raise ValueError("a content template was created without a sid")
        _LOG.info("created the template %s as %s", template.friendly_name, created.sid)
        return str(created.sid)

    async def submit(self, sid: str, template: Template) -> str:
        """Ask WhatsApp to approve the content `sid`; the status that it then has."""
        from twilio.rest.content.v1.content.approval_create import ApprovalCreateList  # type: ignore[import-untyped]

        request = ApprovalCreateList.ContentApprovalRequest({"name": template.friendly_name, "category": CATEGORY})
        content = (await self._client()).content.v1.contents(sid)
        submitted = await content.approval_create.create_async(content_approval_request=request)
        return str(submitted.status or "received").lower()

    async def standings(self) -> tuple[Standing, ...]:
        """Each of our templates, as it stands at Twilio and at WhatsApp now."""
        found = await self._with_approvals()
        return tuple(_standing(template, found) for template in self._templates)

    async def _listed(self) -> list[_Found]:
        contents = (await self._client()).content.v1.contents
        rows = await contents.list_async(page_size=_PAGE, limit=_MOST)
        return [_Found(str(row.sid), str(row.friendly_name), str(row.language), row.types or {}) for row in rows]

    async def _with_approvals(self) -> list[_Found]:
        contents = (await self._client()).content.v1.content_and_approvals
        found = []
        for row in await contents.list_async(page_size=_PAGE, limit=_MOST):
            approval = row.approval_requests if isinstance(row.approval_requests, dict) else {}
            status = str(approval.get("status") or UNSUBMITTED).lower()
            reason = str(approval.get("rejection_reason") or "")
            name, language = str(row.friendly_name), str(row.language)
            found.append(_Found(str(row.sid), name, language, row.types or {}, status, reason))
        return found


def _standing(template: Template, found: list[_Found]) -> Standing:
    ours = [content for content in found if _says(content, template)]
    # Of several copies the one that got furthest speaks: it is the one that can be sent.
    best = next((c for c in ours if c.status == APPROVED), None) or next(
        (c for c in ours if c.status != UNSUBMITTED), ours[0] if ours else None
    )
    if best is not None:
        return Standing(template, best.status, best.sid, best.reason)
    other = next((content for content in found if _named(content, template)), None)
    return Standing(template, OTHER_WORDS, other.sid) if other is not None else Standing(template, MISSING)


def _named(content: _Found, template: Template) -> bool:
    return (content.friendly_name, content.language) == (template.friendly_name, template.carrier_language)


def _says(content: _Found, template: Template) -> bool:
    """Whether a stored content is this template. The API returns types that are not set as null, or not at all."""
    types = {name: without_nulls(value) for name, value in content.types.items() if value is not None}
    return _named(content, template) and types == template.types()


def without_nulls(value: object) -> object:
    """`value` without the members of its objects that are null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
