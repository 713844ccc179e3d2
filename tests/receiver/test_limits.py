"""Limits on what comes from outside that no other test meets exactly: at one it passes, above it does not."""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from receiver.auditor import pages
from receiver.auditor.questions import BadQuestion
from receiver.diagnosis import bounded
from receiver.execution import rendering, signature
from receiver.intake import admission
from receiver.papers import Unrenderable
from receiver.settings_values import MAX_SECRET_BYTES
from tests.receiver.test_executor_requests import rendered
from tests.receiver.test_settings import SMALLEST, Folder, folder

__all__ = ["folder"]  # a fixture


@pytest.mark.parametrize(("more", "why"), [(0, None), (1, "the body has more than 65536 bytes")])
def test_the_body_of_a_request_to_an_executor(more: int, why: str | None) -> None:
    parts = ["x" * 4_000] * 16  # as much as one text may have
    parts.append("x" * (rendering.BODY_BYTES_MAX - len(rendered(json=[*parts, ""]).body) + more))
    if why is None:
        assert len(rendered(json=parts).body) == rendering.BODY_BYTES_MAX
        return
    with pytest.raises(Unrenderable, match=why):
        rendered(json=parts)


@pytest.mark.parametrize(("number", "why"), [(8, None), (9, "there are too many signatures")])
def test_signatures_of_a_webhook(number: int, why: str | None) -> None:
    assert signature.SIGNATURES_MAX == 8
    secrets = ["whsec_" + base64.b64encode(hashlib.sha256(bytes([n])).digest()).decode() for n in range(number)]
    headers = signature.signed_headers(secrets, "exec-1", datetime.now(UTC), "{}")
    assert signature.refusal(secrets[-1:], b"{}", headers) == why


@pytest.mark.parametrize(("length", "why"), [(8_192, None), (8_193, "must hold one line of at most 8192 bytes")])
def test_the_file_of_a_secret(folder: Folder, length: int, why: str | None) -> None:
    assert MAX_SECRET_BYTES == 8_192
    (folder.path / "secrets" / "default.token").write_text("x" * length, encoding="utf-8")
    environment = {"TWILIO": "twilio-secret"}
    if why is None:
        assert len(folder.load(SMALLEST, environment).tenants["default"].token.get_secret_value()) == length
        return
    (said,) = folder.complaints(SMALLEST, environment)
    assert why in said


@pytest.mark.parametrize(("length", "status"), [(pages.FORM_BYTES_MAX, 200), (pages.FORM_BYTES_MAX + 1, 400)])
async def test_the_form_of_a_page(length: int, status: int) -> None:
    async def read(request: web.Request) -> web.Response:
        try:
            return web.Response(text=(await pages.read_form(request))["field"])
        except BadQuestion as error:
            return web.Response(status=400, text=str(error))

    app = web.Application()
    app.router.add_post("/", read)
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with client.post("/", data=b"field=".ljust(length, b"x"), headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            assert text == ("x" * (length - 6) if status == 200 else "the form is longer than 4096 bytes")


class Chunks(httpx2.AsyncByteStream):
    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for length in self._lengths:
            yield bytes(length)


async def test_what_the_server_of_a_model_sends_back() -> None:
    async def read(*lengths: int) -> int:
        return sum([len(chunk) async for chunk in bounded.BoundedStream(Chunks(*lengths))])

    assert await read(bounded.RESPONSE_BYTES_MAX - 1, 1) == bounded.RESPONSE_BYTES_MAX
    with pytest.raises(bounded.TooLarge, match="the response is longer than 2,000,000 bytes"):
        await read(bounded.RESPONSE_BYTES_MAX, 1)


def test_the_bodies_of_notifications_together() -> None:
    room = admission.Room()
    with room.held() as first, room.held() as second:
        assert first(admission.BYTES_AT_ONCE - 10)
        assert not second(11)
        assert second(10)
        assert not first(1)
    assert room.bytes_free == admission.BYTES_AT_ONCE  # both gave back what they had taken


ROW = re.compile(r"^\| [^|]+ \| ([0-9,]+) \| [^|]+ \| `([a-z_.]+)\.([A-Z_]+)` \|$", re.MULTILINE)


def test_the_figures_that_the_readme_gives_are_those_that_hold() -> None:
    text = (Path(__file__).parents[2] / "receiver" / "README.md").read_text(encoding="utf-8")
    said = {(module, name): figure for figure, module, name in ROW.findall(text)}
    assert len(said) == text.count("` |\n", text.index("## Limits"), text.index("## Who imports whom"))
    assert said == {(module, name): f"{getattr(importlib.import_module(module), name):,.0f}" for module, name in said}
