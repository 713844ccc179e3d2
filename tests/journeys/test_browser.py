"""A person's whole way in a real browser: the phone, the tap, and the auditor's pages of the service itself.

COUNTERFOIL_PICTURES names a folder for pictures of every page, at the width of a desk and of a phone.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from receiver.commands.demo_stage import STEP
from tests.journeys.browser import TEXT, Browser
from tests.journeys.town import Town

WIDE, NARROW = (1280, 900), (360, 740)
PICTURES = os.environ.get("COUNTERFOIL_PICTURES")


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
    town = Town(tmp_path / "town")
    await town.start()
    yield town
    await town.stop()


@pytest.fixture
async def calling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """A town where whoever has not decided is called after 20 seconds."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "calling")
    town.write_policy({STEP: STEP.replace("5m", "20s").replace("}", ", channel: voice}")})
    await town.start()
    yield town
    await town.stop()


@pytest.fixture
async def browser(tmp_path: Path, tool: Callable[[str], Path]) -> AsyncIterator[Browser]:
    async with Browser(tool("chromium"), tmp_path / "browser") as browser:
        yield browser


async def fits(browser: Browser, name: str) -> None:
    """The page fits a desk and a narrow phone; pictures of both are kept where somebody wants to look at them."""
    for width, height in (WIDE, NARROW):
        await browser.size(width, height)
        beyond = await browser.overflow()
        assert beyond <= 0, f"{name} at {width}: {beyond} pixels too wide"
        if PICTURES:
            await browser.picture(Path(PICTURES) / f"{name}-{width}.png")
    await browser.size(*WIDE)


async def shows_every_number(browser: Browser) -> None:
    """On a narrow phone, too, each person's number stands whole beside their name."""
    await browser.size(*NARROW)
    shown = await browser.ask(
        "[...document.querySelectorAll('#people small')].map((one) => { const box = one.getBoundingClientRect();"
        " return [one.textContent, box.left >= 0 && box.right <= document.documentElement.clientWidth"
        " && one.scrollWidth <= one.clientWidth && document.elementFromPoint(box.right - 2, box.top + 2) === one] })"
    )
    assert len(shown) > 1
    assert [number for number, whole in shown if not whole] == []
    await browser.size(*WIDE)


async def test_a_look_outlives_the_document_that_it_asks(browser: Browser) -> None:
    async def turn(request: web.Request) -> web.Response:
        rest, other = int(request.query["rest"]), "localhost" if request.url.host == "127.0.0.1" else "127.0.0.1"
        after = f"<script>location = '//{other}:{request.url.port}/?rest={rest - 1}'</script>" if rest else "there"
        return web.Response(text=after, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", turn)
    async with TestServer(app) as server:
        await browser.call("Page.navigate", url=str(server.make_url("/?rest=40")))
        await browser.until_it_says("there")


async def test_from_the_tap_to_the_ledger(town: Town, browser: Browser) -> None:
    phone, pages = town.phones.url, town.service.private_url
    await browser.size(*WIDE)
    await browser.go(f"{phone}/#tendai")
    await browser.until_it_says("online")
    town.shop.break_()
    await browser.until_it_says("Proposed action:")
    await fits(browser, "phone-question")
    await shows_every_number(browser)
    await browser.click(".choices button", "Approve")
    await town.shop.wait_restarted()
    await browser.until_it_says("Recovered")
    await browser.type(".text", "STATUS")
    await browser.until_it_says("No open incident")
    await fits(browser, "phone")

    # The auditor: nothing is seen without signing in, and a wrong token says so.
    await browser.call("Page.navigate", url=f"{pages}/ledger")
    await browser.until_it_says("Admin token")
    await browser.type("#token", "wrong")
    await browser.until_it_says("That is not the admin token")
    assert [c for c in browser.complaints if "401" not in c] == []
    browser.complaints.clear()
    await fits(browser, "sign-in")
    await browser.type("#token", town.admin_token)
    await browser.until("location.pathname === '/ledger'")
    await browser.until_it_says("RECOVERED")
    await fits(browser, "ledger")

    # The ledger grows while it is looked at: the newest entry stands on the page after the next look.
    size = await town.service.journal.size("default")
    await town.phones.phone("rudo").say("STATUS")
    await town.until("HEEDED", 2)
    await browser.go(f"{pages}/ledger")
    await browser.until(f"document.querySelector('a[href*=\"/ledger/{size}\"]') !== null")

    await browser.go(f"{pages}/")
    await browser.until_it_says("HighErrorRate")
    await fits(browser, "incidents")
    (incident,) = {entry.incident_id for entry in await town.entries("DETECTED")}
    await browser.click("a", "HighErrorRate")
    await browser.until(f"location.pathname === '/incidents/{incident}'")
    for said in ("error_ratio", ">= 0.05", "< 0.02", "tendai", "Approve"):
        await browser.until(f"{TEXT}.toLowerCase().includes({said.lower()!r})")
    await fits(browser, "incident")
    for page, said in (("why", "rate(http_requests_total"), ("report", "Recovered")):
        await browser.go(f"{pages}/incidents/{incident}/{page}")
        await browser.until_it_says(said)
        await fits(browser, page)

    detected = (await town.entries("DETECTED"))[0]
    await browser.go(f"{pages}/ledger/{detected.index}")
    await browser.until_it_says("DETECTED")
    await fits(browser, "entry")
    await browser.go(f"{pages}/balance")
    await browser.until_it_says("verifications")
    await fits(browser, "balance")

    # With the keyboard alone: the first stop of every page leads somewhere, and it can be seen.
    await browser.key("Tab")
    assert await browser.ask("document.activeElement.tagName") == "A"
    assert await browser.ask("getComputedStyle(document.activeElement).outlineStyle") != "none"

    assert browser.complaints == []
    ours = (phone, pages, "about:", "data:")
    assert [url for url in browser.requested if not url.startswith(ours)] == []
    await town.ends_well()


async def test_the_page_of_a_question_a_call_and_what_can_go_wrong(calling: Town, browser: Browser) -> None:
    """Two phones side by side: rudo reads the page, tendai's has no signal and then rings, and the call decides."""
    town, phone = calling, calling.phones.url
    await browser.size(*WIDE)
    await browser.go(f"{phone}/#tendai")
    await browser.until_it_says("online")
    await browser.click("summary", "What can go wrong")
    await browser.click("#signal")
    await browser.until_it_says("no signal")
    town.shop.break_()
    await town.until("PROPOSED")
    await browser.go(f"{phone}/#rudo")
    await browser.until_it_says("Proposed action:")
    await browser.go(f"{phone}/#all")
    await browser.until("document.querySelectorAll('.phone').length === 2")
    # What was sent to tendai waits for a signal.
    assert "Proposed action:" not in await browser.ask("document.querySelectorAll('.messages')[0].innerText")
    await fits(browser, "phones-one-without-signal")
    await town.phones.phone("tendai").find_signal()
    await browser.until("document.querySelectorAll('.messages')[0].innerText.includes('Proposed action:')")

    # rudo reads all of it on the page behind the link, which loads nothing and changes nothing.
    size = len(await town.entries("HEARD"))
    link = await browser.ask("document.querySelector('.bubble a[href*=\"/q/\"]').href")
    await browser.go(link)
    await browser.until_it_says("What was decided")
    await fits(browser, "question-page")
    await browser.click("button", "Send")  # nothing is chosen, so nothing is sent
    assert await browser.ask("document.querySelector('form :invalid') !== null")
    assert len(await town.entries("HEARD")) == size

    await browser.go(f"{phone}/#all")
    await browser.until("[...document.querySelectorAll('.call .answer')].filter(e => e.offsetParent).length > 0")
    await fits(browser, "phones-ringing")
    await browser.click(".answer")
    await browser.until_it_says("Your code for this question is")
    await fits(browser, "phone-call")
    text = await browser.ask("[...document.querySelectorAll('.speech')].map(e => e.innerText).join(' ')")
    (said,) = re.findall(r"question is ((?:\d, ){5}\d)", text)
    for key in ["1", *said.split(", ")]:
        await browser.click(".keys button", key)
    await browser.until_it_says("Your approval is counted.")
    await town.shop.wait_restarted()
    (authorized,) = await town.entries("AUTHORIZED")
    (heard,) = await town.entries("HEARD")
    assert heard.body["via"] == "voice"
    assert authorized.actor == f"engineer:{heard.body['person']}"

    # The link has ended with its question, and another SIM suspends its person.
    await browser.call("Page.navigate", url=link)
    await browser.until_it_says("This question is closed.")
    assert [c for c in browser.complaints if "410" not in c] == []
    assert [url for url in browser.requested if not url.startswith(("http://127.0.0.1", "about:", "data:"))] == []
    await town.ends_well()
