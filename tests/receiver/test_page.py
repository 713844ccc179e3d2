"""The page behind a question: a GET shows and changes nothing, a POST with the person's own code decides once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from ledger.entry import Entry
from receiver.authorization import codes, page
from receiver.authorization.page import BYTES_MAX, LINE_UNITS, QuestionView
from receiver.commands.demo_stage import free_port
from receiver.governor.changes import GovernorChanges
from receiver.governor.viewing import QuestionDesk
from receiver.intake.questions import Questions
from receiver.papers import MessageKind, OutgoingMessage
from tests.receiver.governed import POLICY, SECRET, TENANT, Governed, GrowingJournal

TYPICAL_BYTES = 6_000  # what a person on a slow phone waits for
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Site:
    """A governor that runs, and its pages on a listener."""

    def __init__(self, policy: str = POLICY) -> None:
        self.journal = GrowingJournal()
        self.governed = Governed(policy, journal=self.journal)
        self.journal.at(self.governed.clock)
        self.desk = self.governed.desk
        people = {name: replace(member, pin="a hash") for name, member in self.desk.charter.people.items()}
        self.governed.governor.reload(replace(self.desk.charter, people=people))

    async def start(self) -> None:
        self.session = aiohttp.ClientSession()
        self.url = self.desk.public_url = f"http://127.0.0.1:{(port := free_port())}"
        questions = Questions(
            journal=self.journal,
            books=lambda: [(TENANT, QuestionDesk(self.desk))],
            public_url=self.url,
            codes_secret=SECRET,
            address_key=lambda tenant, person: b"key",
        )
        app = web.Application()
        app.router.add_get("/q/{token}", questions.show)
        app.router.add_post("/q/{token}", questions.decide)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        await self.governed.governor.start()
        await self.governed.fire()
        self._task = asyncio.create_task(self.governed.governor.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._runner.cleanup()
        await self.session.close()

    def link(self, person: str) -> str:
        return self.governed.question(person).variables["page"]

    def code(self, person: str) -> str:
        return self.governed.question(person).variables["code"]

    async def get(self, url: str, method: str = "GET", **headers: str) -> tuple[int, str, CIMultiDict[str]]:
        async with self.session.request(method, url, headers=headers) as answer:
            return answer.status, await answer.text(), CIMultiDict(answer.headers)

    async def form(self, person: str) -> str:
        _, text, _ = await self.get(self.link(person))
        return found[1] if (found := re.search(r'name="form" value="([0-9a-f.]+)"', text)) else ""

    async def post(self, person: str, verb: str, code: str, form: str | None = None, **headers: str) -> tuple[int, str]:
        fields = {"verb": verb, "code": code, "form": await self.form(person) if form is None else form}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.link(person), data=fields, headers=named) as answer:
            return answer.status, await answer.text()

    async def until(self, stage: str, count: int = 1) -> list[Entry]:
        async with asyncio.timeout(10):
            while len(found := self.governed.entries(stage)) < count:
                await self.journal.wait(TENANT, await self.journal.size(TENANT))
        return found


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_it_shows_the_whole_incident_in_a_few_kilobytes_and_loads_nothing(site: Site) -> None:
    status, text, headers = await site.get(site.link("tendai"))
    assert status == 200
    for said in ("DiskFilling", "host=db1", "the disk of db1 fills", "remove old files", "1: ruth, tendai", "PROPOSED"):
        assert said in text
    (proposal,) = site.governed.entries("PROPOSED")
    assert proposal.body["digest"] in text
    assert len(text.encode()) < TYPICAL_BYTES
    assert re.findall(r"<script|<img|<link|src=|@import|url\(|http", text) == []
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "noindex" in headers["X-Robots-Tag"]
    assert "Set-Cookie" not in headers


async def test_the_code_stands_in_the_message_and_never_on_the_page(site: Site) -> None:
    _, text, _ = await site.get(site.link("tendai"))
    assert site.code("tendai") not in text


async def test_previews_and_prefetchers_change_nothing(site: Site) -> None:
    size = await site.journal.size(TENANT)
    for agent in ("WhatsApp/2.24", "facebookexternalhit/1.1", "Mozilla/5.0", "TelegramBot"):
        assert (await site.get(site.link("tendai"), **{"User-Agent": agent, "Purpose": "prefetch"}))[0] == 200
    status, text, _ = await site.get(site.link("tendai"), "HEAD")
    assert (status, text) == (200, "")
    assert (await site.get(site.link("tendai") + "?verb=approve&code=" + site.code("tendai")))[0] == 200
    assert await site.journal.size(TENANT) == size


async def test_another_link_shows_nothing(site: Site) -> None:
    mine = site.link("tendai")
    changed = mine[:-1] + ("a" if mine[-1] != "a" else "b")
    button = codes.token(SECRET, site.governed.question("tendai").message_id)
    for url in (changed, f"{site.url}/q/{button}", f"{site.url}/q/x", f"{site.url}/q/1-{'a' * 24}", mine + "0"):
        status, text, headers = await site.get(url)
        assert status == 404
        assert "DiskFilling" not in text
        assert headers["Cache-Control"] == "no-store"


async def test_the_link_ends_with_the_question(site: Site) -> None:
    link = site.link("ruth")
    assert (await site.post("tendai", "approve", site.code("tendai")))[0] == 200
    await site.until("AUTHORIZED")
    status, text, _ = await site.get(link)
    assert status == 410
    assert "This question is closed." in text
    assert "DiskFilling" not in text


async def test_the_link_ends_with_the_time_of_the_question(site: Site) -> None:
    form = await site.form("tendai")
    site.governed.clock.advance(site.governed.clock.now() + timedelta(minutes=15))
    assert (await site.get(site.link("tendai")))[0] == 410
    assert (await site.post("tendai", "approve", site.code("tendai"), form))[0] == 410
    assert site.governed.entries("HEARD") == []


async def test_text_of_alerts_is_escaped_and_short(site: Site) -> None:
    incident = next(iter(site.desk.book.open.values()))
    incident.summary = "<script>alert(1)</script>\u202e" + "x" * 50_000
    incident.title = '"><form action=https://evil.example>'
    status, text, _ = await site.get(site.link("tendai"))
    assert status == 200
    assert "<script" not in text
    assert "action=https://evil.example>" not in text.replace("&gt;", "")
    assert "\u202e" not in text
    assert len(text.encode()) < TYPICAL_BYTES + 1_000


def test_no_page_is_larger_than_it_may_be() -> None:
    line = "字" * LINE_UNITS
    view = QuestionView(
        person="p",
        language="fr",
        reference="inc-1",
        title=line,
        summary=line,
        facts=[(name, line) for name in ("finding", "state", "diagnosis", "action", "params", "people", "digest")],
        claims=[line] * page.CLAIMS_MAX,
        action=line,
        risk=line,
        alerts=[line] * (page.ALERTS_MAX + 1),
        history=[line] * page.HISTORY_MAX,
        open=True,
        asked=True,
        locked=False,
    )
    for language in page.WORDS:
        assert len(page.render(language, view, said="wrong code", form="x" * 49).encode()) < 3 * BYTES_MAX
    latin = page.render("fr", view, form="x" * 49).replace("字", "x")
    assert len(latin.encode()) < BYTES_MAX


def test_every_language_has_every_word() -> None:
    assert {frozenset(words) for words in page.WORDS.values()} == {frozenset(page.WORDS["en"])}


# --- what is decided --------------------------------------------------------------------------------------------------


async def test_a_code_that_is_typed_approves(site: Site) -> None:
    status, text = await site.post("tendai", "approve", f" {site.code('tendai').lower()} ")
    assert status == 200
    assert "Your approval is counted." in text
    (authorized,) = await site.until("AUTHORIZED")
    assert authorized.actor == "engineer:tendai"
    (heard,) = site.governed.entries("HEARD")
    assert (heard.actor, heard.body["via"]) == ("carrier:web", "web")


async def test_rejecting_and_being_on_it(site: Site) -> None:
    status, text = await site.post("ruth", "onit", site.code("ruth"))
    assert (status, "It authorizes nothing" in text) == (200, True)
    status, text = await site.post("tendai", "reject", site.code("tendai"))
    assert (status, "Rejected. Nothing runs." in text) == (200, True)
    await site.until("REJECTED")
    assert site.governed.entries("AUTHORIZED") == []


async def test_the_first_of_two_sees_that_theirs_is_counted() -> None:
    site = Site(POLICY.replace("roles: [oncall, leads]}", "roles: [oncall, leads], quorum: 2}"))
    await site.start()
    try:
        assert (await site.post("tendai", "approve", site.code("tendai")))[0] == 200
        status, text, _ = await site.get(site.link("tendai"))
        assert status == 200
        assert "You have approved this already." in text
        assert "<form" not in text
        status, text, _ = await site.get(site.link("ruth"))
        assert "Approved so far<dd>tendai" in text
        assert (await site.post("ruth", "approve", site.code("ruth")))[0] == 200
        await site.until("AUTHORIZED")
    finally:
        await site.stop()


async def test_another_persons_code_is_wrong_and_tries_are_counted(site: Site) -> None:
    for _ in range(5):
        status, text = await site.post("tendai", "approve", site.code("ruth"))
        assert status == 403
        assert "not your code" in text
    size = await site.journal.size(TENANT)
    form = codes.form(SECRET, site.link("tendai").rpartition("/")[2], "0" * 16)
    status, text = await site.post("tendai", "approve", site.code("tendai"), form)
    assert status == 429
    assert "Too many wrong codes." in text
    assert await site.journal.size(TENANT) == size
    # The buttons need no code, and the other person is not locked out.
    assert (await site.post("ruth", "approve", site.code("ruth")))[0] == 200


async def test_wrong_codes_by_text_and_on_the_page_are_counted_together(site: Site) -> None:
    for _ in range(5):
        await site.governed.hear("tendai", "A 3333")
    await site.until("REFUSED", 5)
    assert (await site.post("tendai", "approve", site.code("tendai"), "x"))[0] == 429


async def test_a_form_counts_once(site: Site) -> None:
    form = await site.form("tendai")
    assert (await site.post("tendai", "onit", site.code("tendai"), form))[0] == 200
    assert (await site.post("tendai", "onit", site.code("tendai"), form))[0] == 200
    assert len(site.governed.entries("HEARD")) == 1
    assert (await site.post("tendai", "approve", site.code("tendai"), form))[0] == 409
    assert site.governed.entries("APPROVED") == []


async def test_a_form_of_another_page_is_none(site: Site) -> None:
    form = await site.form("ruth")
    for given in (form, "", "0" * 49, form[:-1]):
        assert (await site.post("tendai", "approve", site.code("tendai"), given))[0] == 409
    assert site.governed.entries("HEARD") == []


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
async def test_another_sites_page_posts_nothing(site: Site, headers: dict[str, str]) -> None:
    status, _ = await site.post("tendai", "approve", site.code("tendai"), **headers)
    assert status == 403
    assert site.governed.entries("HEARD") == []


async def test_our_own_page_posts_as_browsers_name_it(site: Site) -> None:
    status, _ = await site.post("tendai", "approve", site.code("tendai"), Origin="null", Sec_Fetch_Site="same-origin")
    assert status == 200


@pytest.mark.parametrize(
    ("verb", "code"), [("", "7K3P"), ("approve", ""), ("run", "7K3P"), ("approve", "x" * 9), ("approve", "a b;c")]
)
async def test_what_is_incomplete_is_asked_for_again(site: Site, verb: str, code: str) -> None:
    status, text = await site.post("tendai", verb, code)
    assert status == 400
    assert "Choose one of the three, and type your code." in text
    assert "<form" in text
    assert site.governed.entries("HEARD") == []


@pytest.mark.parametrize("body", [b"x" * 3_000, b"verb=approve&verb=reject", b"\xff", b"a=1&" * 20])
async def test_bodies_that_are_no_form_of_ours(site: Site, body: bytes) -> None:
    async with site.session.post(site.link("tendai"), data=body, headers=FORM) as answer:
        assert answer.status in (409, 413)
    assert site.governed.entries("HEARD") == []


async def test_whoever_is_suspended_sees_nothing(site: Site) -> None:
    link = site.link("tendai")
    await site.governed.hear("tendai", "hello", identity="one")
    site.desk.book.enrolled.suspended["tendai"] = "a test"
    site.governed.governor._wake.set()
    await site.until("WITHDRAWN")
    assert (await site.get(link))[0] == 404


async def test_an_action_that_needs_a_pin_is_not_approved_by_a_code_alone() -> None:
    site = Site(POLICY.replace("roles: [oncall, leads]}", "roles: [oncall, leads]}, pin: true"))
    await site.start()
    try:
        status, text = await site.post("tendai", "approve", site.code("tendai"))
        assert status == 200
        assert "This needs your PIN" in text
        assert "counted" not in text
        assert site.governed.entries("APPROVED") == []
    finally:
        await site.stop()


async def drilled(site: Site) -> OutgoingMessage:
    await GovernorChanges(site.desk).drill("ops", "tendai")
    async with asyncio.timeout(10):
        while (question := site.governed.question("tendai")).kind is not MessageKind.DRILL:
            await site.journal.wait(TENANT, len(site.journal.log))
    return question


async def test_a_drill_has_a_page_of_which_every_line_says_so(site: Site) -> None:
    question = await drilled(site)
    status, text, _ = await site.get(site.link("tendai"))
    assert status == 200
    for line in ("this is a drill, asked for by ops", "nothing, for this is a drill", "none, this is a drill"):
        assert line in text
    assert question.variables["code"] not in text
    assert "<h2>Alerts" not in text
    status, text = await site.post("tendai", "approve", site.code("ruth"))
    assert status == 403
    status, text = await site.post("tendai", "approve", site.code("tendai"))
    assert (status, "This is a drill: nothing runs." in text) == (200, True)
    assert [e.body["kind"] for e in site.governed.entries("NOTED")][-2:] == ["drill ran", "drill over"]
    assert site.governed.entries("APPROVED") == site.governed.entries("DISPATCHED") == []
    status, text, _ = await site.get(site.link("tendai"))
    assert status == 410
    assert "drill-" not in text
