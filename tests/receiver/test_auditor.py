"""The auditor's pages and API over a real ledger: what stands in it is shown, to admins alone, whatever is asked."""

from __future__ import annotations

import hashlib
import json
import random
import re
import unicodedata
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from yarl import URL

from ledger import merkle
from ledger.entry import Back, Blob, Draft, Entry, canonical
from ledger.journal import Unavailable
from ledger.stores.sqlite import SqliteJournal
from receiver.auditor import openapi, presenting, questions, searching, telling
from receiver.auditor.pages import Auditor
from receiver.auditor.questions import BadQuestion
from receiver.auditor.reading import Reader
from receiver.auditor.standing import standing_of
from receiver.auditor.timeline import all_entries
from receiver.intake.admission import Admission
from receiver.intake.routes import private_app

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TOKEN = "admin-token-of-the-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
INCIDENT = "inc-7f3a9c0000"
POLICY_TEXT = b"""policy: {name: payments, version: '1.4.0'}
# <b>threshold</b>
rules:
  - name: checkout-errors
    matchers: ['alertname="HighErrorRate"']
    group_by: [service]
    detect: {when: [alerts.firing >= 1]}
    recover: {when: [alerts.firing == 0]}
    actions:
      restart: {executor: restart, title: restart the checkout service, approvers: {roles: [oncall]}}
"""
ROSTER = canonical({name: {"roles": ["oncall"], "address_hmac": "0" * 64} for name in ("tendai", "rudo")})
POLICY = {"policy_version": "1.4.0", "policy_digest": hashlib.sha256(POLICY_TEXT).hexdigest()}
HOSTILE = "<script>alert(1)</script> \u202egnp.exe\u2066\u200b '\"&"
CASE, PROMPT = b'{"exhibits":[]}', b'{"model":"claude-x"}'
PAGES = (
    "/",
    f"/incidents/{INCIDENT}",
    f"/incidents/{INCIDENT}/report",
    "/ledger",
    "/ledger/6",
    "/balance",
    "/blobs/" + "0" * 64,
)
READS = (
    "/api/v1/incidents",
    f"/api/v1/incidents/{INCIDENT}",
    f"/api/v1/incidents/{INCIDENT}/report",
    "/api/v1/ledger",
    "/api/v1/ledger/6",
    "/api/v1/ledger/6/proof",
    "/api/v1/ledger/checkpoint",
    "/api/v1/reconciliation",
    "/api/v1/openapi.json",
)


class Clock:
    """A second passes with every look at it, so that every post has its own time."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def later(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def verdict(outcome: str, value: str | None, holds: bool | None) -> dict[str, Any]:
    finding = {"name": "error_ratio", "operator": ">=", "threshold": "0.05", "value": value, "holds": holds}
    return {"outcome": outcome, "reason": "error_ratio 0.31 >= 0.05", "findings": [{**finding, "detail": ""}]}


def draft(id: str, stage: str, actor: str, **fields: Any) -> Draft:
    decided = actor == "policy" or stage in ("ADOPTED", "APPROVED", "AUTHORIZED", "CONSULTED")
    return Draft(id, stage, actor, **({**POLICY, **fields} if decided else fields))


def of(id: str, stage: str, actor: str, **fields: Any) -> Draft:
    return draft(id, stage, actor, incident_id=INCIDENT, **fields)


def story() -> Iterator[list[Draft]]:
    """The posts of one incident: entry 6 is DETECTED, entry 18 is RECOVERED."""
    texts = (Blob("policy", POLICY_TEXT), Blob("roster", ROSTER))
    yield [draft("adopt:-1", "ADOPTED", "operator:root", blobs=texts, body={"name": "payments"})]
    yield [draft("receive:1", "RECEIVED", "alertmanager", body={"source": "alertmanager"}, reason="1 alerts, 1 firing")]
    watched = {"rule": "checkout-errors", "key": {"service": "checkout"}}
    evaluated = draft("evaluate:2", "EVALUATED", "policy", settles=2)
    yield [evaluated, draft("watch:2", "WATCHED", "policy", cites=(2,), body=watched)]
    yield [draft("look:4:0", "LOOKED", "policy", body={"subject": 4, "verdict": verdict("hold", None, None)})]
    words = {"title": "HighErrorRate service=checkout", "summary": HOSTILE, "severity": "critical"}
    detected = {**watched, **words, "verdict": verdict("detect", "0.31", True)}
    yield [
        of("detect:4", "DETECTED", "policy", settles=4, cites=(2,), body=detected, reason="error_ratio 0.31 >= 0.05")
    ]
    moved = {"ref": "q3", "what": HOSTILE, "before": "3", "now": "19", "z": "8.1", "moved_at": later(-420)}
    case = {"moved": [moved], "cut": ["a part was not answered in time"]}
    consulted = {"model": "m", "until": later(60), "case": case}
    yield [of("consult:1", "CONSULTED", "system", body=consulted, blobs=(Blob("case", CASE),))]
    diagnosis = {"summary": "the pool is exhausted", "claims": [{"text": "it is 0.31", "refs": ["q1"]}]}
    diagnosis |= {"usage": {"input_tokens": 9, "cost_usd": "0.000120"}, "duration_ms": 2100, "model": "claude-x"}
    diagnosis |= {"asked": [{"ref": "q9", "what": "pool_max", "now": "20"}], "redacted": {"email": 2}}
    prompt = (Blob("prompt", PROMPT),)
    yield [of("diagnose:7", "DIAGNOSED", "claude", settles=7, body=diagnosis, confidence="0.87", blobs=prompt)]
    limits = {"expires_at": later(900), "authorize_until": later(1020), "quorum": 1, "approvers": ["tendai", "rudo"]}
    action = {"action": "restart", "title": "restart the checkout service"}
    proposal = {**limits, **action, "digest": "e" * 64, "webhook_id": "exec-1"}
    addressed = {"person": "tendai", "kind": "opened", "until": later(900)}
    yield [
        of("propose:1", "PROPOSED", "policy", cites=(8,), body={**proposal, "verdict": verdict("permit", "1", True)}),
        of("address:9:tendai:1", "ADDRESSED", "system", cites=(Back(0),), body=addressed),
    ]
    yield [draft("heard:SM1", "HEARD", "carrier:whatsapp", body={"person": "tendai", "verb": "approve"})]
    yield [of("answer:11", "APPROVED", "engineer:tendai", decision="approve", settles=11, cites=(9,))]
    approved = {"approved_by": ["tendai"], "quorum": 1, "service": verdict("persist", "0.31", False)}
    dispatched = {"digest": "e" * 64, "webhook_id": "exec-1", "executor": "restart", "until": later(300)}
    yield [
        of("authorize:9", "AUTHORIZED", "engineer:tendai", settles=9, cites=(12, 8), body=approved, confidence="0.87"),
        of("dispatch:9", "DISPATCHED", "policy", settles=Back(0), body=dispatched),
    ]
    result = {"http_status": 200, "output": "restarted", "verify_until": later(600)}
    yield [of("result:14", "EXECUTED", "executor:restart", settles=14, body=result)]
    yield [of("look:6:0", "LOOKED", "policy", body={"subject": 6, "verdict": verdict("persist", "0.004", False)})]
    recovered = of("recover:6", "RECOVERED", "policy", settles=6, reason="error_ratio 0.004 for 2m")
    yield [of("confirm:15", "CONFIRMED", "policy", settles=15), recovered]


STATES = {6: "detected", 8: "detected", 9: "proposed", 12: "proposed", 13: "authorized", 14: "executing"}
STATES |= {15: "verifying", 16: "verifying", 17: "detected", 18: "recovered"}


@pytest.fixture
async def journal() -> AsyncIterator[SqliteJournal]:
    journal = await SqliteJournal.open(
        ":memory:",
        origin="test.example",
        key=Ed25519PrivateKey.from_private_bytes(b"a" * 32),
        anchor_path=None,
        clock=Clock(),
        tenants=["default"],
        durable=False,
    )
    for drafts in story():
        await journal.post("default", drafts)
    yield journal
    await journal.close()


@pytest.fixture
async def browser(journal: SqliteJournal) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Signed in; it follows no redirect, and keeps cookies."""
    admission = Admission({"default": "token"}, TOKEN, lambda: START)
    app = web.Application()
    Auditor(journal, lambda: admission, lambda: ["default"]).add_routes(app)
    jar = aiohttp.CookieJar(unsafe=True)
    async with TestClient(TestServer(app), cookie_jar=jar) as client:
        await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
        yield client


async def read(browser: TestClient[web.Request, web.Application], path: str, status: int = 200) -> str:
    async with browser.get(URL(path, encoded=True)) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return text


async def ask(browser: TestClient[web.Request, web.Application], path: str, status: int = 200) -> Any:
    return json.loads(await read(browser, path, status))


# --- where an incident stands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "state"), STATES.items())
async def test_an_incident_is_shown_as_it_stood(browser: Any, index: int, state: str) -> None:
    then = await ask(browser, f"/api/v1/incidents/{INCIDENT}?at={index}")
    assert then["state"] == state
    assert then["timeline"][-1]["index"] == index
    at = then["timeline"][-1]["timestamp"]
    by_time = (await ask(browser, f"/api/v1/incidents/{INCIDENT}?at={at}"))["timeline"]
    assert by_time[: len(then["timeline"])] == then["timeline"]
    page = await read(browser, f"/incidents/{INCIDENT}?at={index}")
    assert f'<span class="state {state}">' in page
    assert f"As it stood after entry {index}." in page


async def test_a_diagnosis_is_shown_with_its_case_its_digests_and_its_cost(browser: Any) -> None:
    page = await read(browser, f"/incidents/{INCIDENT}")
    assert "What moved first, ranked without a model" in page
    assert "not looked at: a part was not answered in time" in page
    for data in (CASE, PROMPT):
        assert f"<code>{hashlib.sha256(data).hexdigest()[:12]}</code>" in page
    assert "cost_usd=0.000120, input_tokens=9" in page
    assert "claude-x" in page
    assert "Claude looked up: pool_max 20 q9" in page
    assert "email=2" in page


async def test_an_incident_that_was_not_open_yet_is_not_there(browser: Any) -> None:
    await ask(browser, f"/api/v1/incidents/{INCIDENT}?at=5", 404)
    await ask(browser, "/api/v1/incidents/inc-another", 404)
    await read(browser, "/incidents/inc-another", 404)


async def test_the_timeline_holds_what_its_entries_rest_on(browser: Any) -> None:
    timeline = (await ask(browser, f"/api/v1/incidents/{INCIDENT}"))["timeline"]
    assert [entry["index"] for entry in timeline] == [2, *range(4, 19)]
    assert timeline[-7]["stage"] == "APPROVED"
    assert timeline[5]["confidence"] == 0.87


async def test_an_older_proposal_that_is_verified_does_not_hide_a_newer_one(journal: SqliteJournal) -> None:
    entries = (await all_entries(journal, "default"))[:16]
    proposed = Entry.parse(entries[9].raw.replace(b'"index":9', b'"index":16'))
    unconfirmed = Entry.parse(
        (await all_entries(journal, "default"))[17].raw.replace(b'"stage":"CONFIRMED"', b'"stage":"UNCONFIRMED"')
    )
    standing = standing_of([*entries, proposed, unconfirmed])
    assert standing is not None
    assert standing.state == "proposed"


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_every_verdict_is_explained(browser: Any) -> None:
    page = await read(browser, f"/incidents/{INCIDENT}")
    row = re.sub(r"\s+", " ", page)
    assert '<td>error_ratio</td> <td class="number">0.31</td><td class="operator">&gt;=</td><td>0.05</td>' in row
    assert page.count('class="verdict"') == 5
    assert "unknown</span>" in page
    for words in ("Policy decides", "the pool is exhausted", "it is 0.31", "tendai", "restarted", "0.004 for 2m"):
        assert words in page


async def test_hostile_text_is_shown_and_does_nothing(browser: Any) -> None:
    for path in (f"/incidents/{INCIDENT}", "/ledger/6"):
        page = await read(browser, path)
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "\\u202egnp.exe\\u2066\\u200b" in page
        assert not [c for c in page if unicodedata.category(c) in ("Cf", "Cc") and c != "\n"]


async def test_a_page_needs_nothing_from_elsewhere(browser: Any) -> None:
    for path in (*PAGES[:-1], "/login", "/static/auditor.css", "/static/icon.svg"):
        async with browser.get(path) as answer:
            page = await answer.text()
            assert answer.status == 200
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(
            r"""(?:src|href|action)=(?!["'](?:/(?!/)|#))|url\(|@import|<script| style=| on\w+=""", page
        ), path
        if not path.startswith("/static"):
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert answer.headers["Cache-Control"] == "no-store"


async def test_the_links_of_every_page_lead_somewhere(browser: Any) -> None:
    seen, todo = set[str](), ["/"]
    while todo:
        path = todo.pop()
        seen.add(path)
        page = await read(browser, path.replace("&amp;", "&"))
        todo += {link for link in re.findall(r'href="(/[^"]*)"', page) if link not in seen}
    assert {path.partition("?")[0] for path in seen} >= {*PAGES[:-1], *(f"/ledger/{n}" for n in range(19))}
    assert any(path.startswith("/blobs/") for path in seen)


async def test_the_policy_that_decided_is_one_link_away(browser: Any) -> None:
    page = await read(browser, f"/incidents/{INCIDENT}")
    (link,) = {link for link in re.findall(r'href="(/blobs/[^"]*)"', page) if "entry=" not in link}
    text = await read(browser, link)
    assert "# &lt;b&gt;threshold&lt;/b&gt;" in text
    entry = await read(browser, "/ledger/1")
    named, _ = re.findall(r'href="(/blobs/[^"]*entry=1)"', entry)  # the policy, and the roster behind it
    assert "<h1>policy <small>" in await read(browser, named.replace("&amp;", "&"))


async def test_a_halt_is_seen_first(browser: Any, journal: SqliteJournal) -> None:
    assert "Halted" not in await read(browser, "/")
    await journal.post("default", [draft("halt:1", "HALTED", "engineer:rudo", reason="wait for the bank")])
    assert "<b>Halted</b> by engineer:rudo: wait for the bank" in await read(browser, "/")
    await journal.post("default", [draft("resume:19", "RESUMED", "engineer:tendai", settles=19)])
    assert "Halted" not in await read(browser, "/")


async def test_the_balance_and_its_findings(browser: Any, journal: SqliteJournal) -> None:
    page = await read(browser, "/balance")
    assert ">balances</span>" in page
    assert "None: nothing in the entries" in page
    assert "test.example" in page
    await journal.post("default", [draft("regress:1", "REGRESSED", "system", reason="the clock stepped back")])
    books = await ask(browser, "/api/v1/reconciliation")
    assert books["entries"] == 20
    assert books["balanced"] is True
    assert books["books"]["messages"] == {
        "opened": 1,
        "settled": {"DELIVERED": 0, "UNDELIVERED": 0},
        "outstanding": 1,
    }
    assert [finding["index"] for finding in books["findings"]] == [19]
    assert "clock stepped" in await read(browser, "/balance")


# --- pages of pages --------------------------------------------------------------------------------------------------


@pytest.fixture
async def long(journal: SqliteJournal) -> SqliteJournal:
    """120 notes more, by two people in turn."""
    for number in range(120):
        name = ("tendai", "rudo")[number % 2]
        await journal.post(
            "default", [draft(f"note:{number}", "NOTED", f"engineer:{name}", body={"text": f"{number}"})]
        )
    return journal


async def test_the_ledger_is_read_page_by_page(browser: Any, long: SqliteJournal) -> None:
    stages: list[str] = []
    place: str | None = ""
    steps = 0
    while place is not None:
        page = await ask(browser, f"/api/v1/ledger?limit=50{place}")
        stages += [entry["stage"] for entry in page["entries"]]
        place = f"&after={page['next']}" if page["next"] is not None else None
        steps += 1
    assert (len(stages), steps) == (139, 3)
    whole = await ask(browser, "/api/v1/ledger?limit=139")
    assert (len(whole["entries"]), whole["next"]) == (139, None)


@pytest.mark.parametrize("chosen", ["", "stage=NOTED", "actor=engineer%3Arudo", "stage=NOTED&actor=engineer%3Atendai"])
async def test_the_pages_show_every_entry_once(browser: Any, long: SqliteJournal, chosen: str) -> None:
    shown: list[int] = []
    path: str | None = f"/ledger?{chosen}"
    while path is not None:
        page = await read(browser, path)
        shown += [int(index) for index in re.findall(r'<td class="number"><a href="/ledger/(\d+)', page)]
        following = re.search(r'class="more"><a href="([^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    expected = await ask(browser, f"/api/v1/ledger?limit=1000&{chosen}")
    indices = [entry["index"] for entry in expected["entries"]]
    assert shown == (indices if chosen else indices[::-1])


@pytest.mark.parametrize("actor", ["engineer:rudo", "engineer:nobody", "operator:root"])
async def test_who_asks_for_an_actor_reads_so_far_and_no_further(
    browser: Any, long: SqliteJournal, monkeypatch: pytest.MonkeyPatch, actor: str
) -> None:
    size, read_at_once = await long.size("default"), list[int]()
    entries = long.entries

    async def counted(tenant: str, **chosen: Any) -> list[Entry]:
        found = await entries(tenant, **chosen)
        read_at_once.append(len(found))
        return found

    monkeypatch.setattr(long, "entries", counted)
    monkeypatch.setattr(searching, "SCANNED_MAX", 50)
    monkeypatch.setattr(searching, "PAGE_ENTRIES", 20)
    found: list[int] = []
    place: str | None = ""
    steps = 0
    while place is not None:
        read_at_once.clear()
        page = await ask(browser, f"/api/v1/ledger?limit=30&actor={actor}{place}")
        assert sum(read_at_once) <= 50
        found += [entry["index"] for entry in page["entries"]]
        place = f"&after={page['next']}" if page["next"] is not None else None
        steps += 1
    assert found == [entry.index for entry in await entries("default", after=-1, limit=size, actor=actor)]
    assert steps == 3  # of 139 entries


async def test_incidents_are_listed_the_newest_first(browser: Any, journal: SqliteJournal) -> None:
    for number in range(3):
        watch = draft(f"watch:r:{number}", "WATCHED", "policy")
        body = {"title": f"number {number}", "rule": "r"}
        detect = Draft(f"detect:r:{number}", "DETECTED", "policy", f"inc-{number}", settles=Back(0), body=body)
        await journal.post("default", [watch, detect])
    titles, place = [], ""
    while True:
        page = await ask(browser, f"/api/v1/incidents?limit=2{place}")
        titles += [incident["title"] for incident in page["incidents"]]
        if page["next"] is None:
            break
        place = f"&before={page['next']}"
    assert titles == ["number 2", "number 1", "number 0", "HighErrorRate service=checkout"]
    for state, count in (("open", 3), ("ended", 1), ("recovered", 1), ("detected", 3), ("closed", 0)):
        assert len((await ask(browser, f"/api/v1/incidents?state={state}"))["incidents"]) == count
        assert (await read(browser, f"/?state={state}")).count('<li class="open">') == count * (
            state in ("open", "detected")
        )


# --- who may read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, *READS])
async def test_nothing_is_shown_to_a_stranger(browser: Any, path: str) -> None:
    browser.session.cookie_jar.clear()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "counterfoil=1.2"}):
        async with browser.get(path, headers=headers) as answer:
            text = await answer.text()
        assert answer.status == 401
        assert INCIDENT not in text.replace(path, "")
        assert "checkout" not in text
        if path.startswith("/api"):
            assert json.loads(text)["error"]["code"] == "unauthorized"
    async with browser.get(path, headers=BEARER) as answer:
        assert answer.status in (200, 404)


async def test_a_browser_signs_in_once_and_out(browser: Any) -> None:
    browser.session.cookie_jar.clear()
    path = f"/incidents/{INCIDENT}?at=9&tenant=default"
    page = await read(browser, path, 401)
    (place,) = re.findall(r'name="next" value="([^"]*)"', page)
    wrong = await browser.post("/login", data={"token": "wrong", "next": place.replace("&amp;", "&")})
    assert wrong.status == 401
    assert f'name="next" value="{place}"' in await wrong.text()
    form = {"token": f" {TOKEN}\n", "next": place.replace("&amp;", "&")}
    async with browser.post("/login", data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, path)
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    await read(browser, path)
    async with browser.post("/logout", allow_redirects=False) as answer:
        assert answer.status == 303
    await read(browser, path, 401)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "https://evil.example",
        "/%0d\n",
        "javascript:alert(1)",
        "/./\u202e",
        "/?\n",
        "/a" * 400,
        "",
    ],
)
async def test_signing_in_leads_to_no_other_place(browser: Any, target: str) -> None:
    form = {"token": TOKEN, "next": target}
    async with browser.post("/login", data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"token=" + b"x" * 5_000, "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe=%ff&token=%00", "application/x-www-form-urlencoded; charset=nonsense", 401),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", 400),
        (b"nonsense", "multipart/form-data", 400),
        (b"{}", "application/json", 400),
        (b"", "application/x-www-form-urlencoded", 401),
    ],
)
async def test_what_is_no_form_is_refused(browser: Any, body: bytes, kind: str, status: int) -> None:
    async with browser.post("/login", data=body, headers={"Content-Type": kind}, allow_redirects=False) as answer:
        assert answer.status == status
        assert "Set-Cookie" not in answer.headers


async def test_guessing_the_token_is_slowed_down(browser: Any) -> None:
    for _ in range(30):
        await browser.post("/login", data={"token": "guess"})
    async with browser.post("/login", data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 401


# --- what is asked wrongly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/ledger?limit=0", "limit: '0' is not a whole number from 1 to 1000"),
        ("/api/v1/ledger?limit=1001", "limit: '1001' is not a whole number from 1 to 1000"),
        ("/api/v1/ledger?limit=ten", "limit: 'ten' is not a whole number from 1 to 1000"),
        ("/api/v1/ledger?limit=%D9%A9", "limit: '\\u0669' is not"),
        ("/api/v1/ledger?after=-2", "after: '-2' is not a whole number from -1 to"),
        ("/api/v1/ledger?after=99999999999999999999", "after: '99999999999999999999' is not"),
        ("/api/v1/ledger?stage=detected", "stage: 'detected' is none of ACKNOWLEDGED"),
        ("/api/v1/ledger?actor=a%20b", "actor: 'a b' is not a name of 1 to 128 characters"),
        ("/api/v1/ledger?incident=" + "x" * 129, "incident: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'… is not a name"),
        (
            "/api/v1/ledger?incidnet=x",
            "'incidnet' is no parameter of this address: actor, after, incident, limit, stage",
        ),
        ("/api/v1/incidents/x?stage=NOTED", "'stage' is no parameter of this address: at, tenant"),
        ("/api/v1/reconciliation?at=3", "'at' is no parameter of this address: tenant"),
        ("/api/v1/ledger?tenant=other", "tenant: there is no tenant 'other'"),
        ("/api/v1/ledger/x", "index: 'x' is not a whole number from 0"),
        ("/api/v1/ledger/-1", "index: '-1' is not"),
        ("/api/v1/incidents?state=broken", "state: 'broken' is none of detected, proposed"),
        (f"/api/v1/incidents/{INCIDENT}?at=yesterday", "at: 'yesterday' is neither an index nor a time like"),
        (f"/api/v1/incidents/{INCIDENT}?at=2026-11-23T08:00:00", "at: a time needs its zone"),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_limits(browser: Any, path: str, said: str) -> None:
    answer = await ask(browser, path, 400)
    assert answer["error"]["code"] == "malformed"
    assert answer["error"]["message"].startswith(said)
    assert "\n" not in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/api/v1/ledger/19", "/api/v1/ledger/19/proof", f"/blobs/{'0' * 64}", "/static/x.py"])
async def test_what_is_not_there_is_404(browser: Any, path: str) -> None:
    assert await read(browser, path, 404)


async def test_no_request_is_an_error_of_ours(browser: Any) -> None:
    """400 requests of a seed: odd bytes in every place of the path and the query."""
    rng = random.Random(7)
    places = [*PAGES, *READS, "/ledger/{}", "/blobs/{}", "/incidents/{}", "/api/v1/ledger/{}/proof", "/static/{}"]
    names = ("tenant", "limit", "after", "before", "until", "stage", "actor", "incident", "at", "state", "entry")
    odd: tuple[str, ...] = (
        "",
        "-0",
        "1e9",
        "0" * 30,
        "9" * 15,
        "\x00",
        "\ud800",
        "‮",
        "../../etc/passwd",
        "٣",
        "2026-13-40T99Z",
        "é" * 500,
    )
    odd += ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "default", "NOTED", "open", "5")
    for _ in range(400):
        path = rng.choice(places).replace("{}", quote(rng.choice(odd[1:]).encode("utf-8", "surrogatepass"), safe=""))
        asked = [
            f"{rng.choice(names)}={quote(rng.choice(odd).encode('utf-8', 'surrogatepass'), safe='')}"
            for _ in range(rng.randrange(4))
        ]
        async with browser.get(URL(f"{path}?{'&'.join(asked)}", encoded=True)) as answer:
            assert answer.status in (200, 400, 404), (path, asked)


@given(st.text(max_size=60) | st.integers().map(str) | st.datetimes().map(str))
def test_a_parameter_is_read_or_refused(text: str) -> None:
    for question in (
        lambda: questions.number({"n": text}, "n", 1, 0, 100),
        lambda: questions.tenant({"tenant": text}, ["default"]),
        lambda: questions.stage({"stage": text}),
        lambda: questions.name({"actor": text}, "actor"),
        lambda: questions.states({"state": text}),
        lambda: questions.moment({"at": text}),
    ):
        try:
            question()
        except BadQuestion as refused:
            said = str(refused)
            assert said.isprintable()
            assert len(said) < 700


async def test_a_ledger_that_cannot_be_read_is_said_so(browser: Any, journal: SqliteJournal) -> None:
    async def broken(*given: Any, **chosen: Any) -> Any:
        raise Unavailable("the disk is gone")

    for name in ("entries", "get", "blob", "checkpoint"):
        setattr(journal, name, broken)
    for path in (*PAGES, *READS[:-1]):
        assert "the disk is gone" in await read(browser, path, 503)


# --- for programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in READS if not path.endswith("checkpoint")])
async def test_what_is_answered_is_what_the_document_says(browser: Any, path: str) -> None:
    document = await ask(browser, "/api/v1/openapi.json")
    template = path.replace(INCIDENT, "{id}").replace("/6", "/{index}")
    described = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    schema = {**described, "components": document["components"]}
    OAS31Validator.check_schema(described)
    answer = await ask(browser, path)
    assert [error.message for error in OAS31Validator(schema).iter_errors(answer)] == []
    emptied = {} if path.endswith("openapi.json") else {"x": 1}
    assert path.endswith("openapi.json") or list(OAS31Validator(schema).iter_errors(emptied))


def test_the_document_names_every_route_of_the_api(journal: SqliteJournal) -> None:
    class Anything(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            async def handler(request: web.Request) -> web.Response:
                return web.Response()

            return handler

    anything: Any = Anything
    auditor = Auditor(journal, anything, lambda: ["default"])
    app = private_app(
        alerts=anything(),
        changes=anything(),
        admission=anything,
        metrics=anything(),
        not_ready=list,
        reload=anything().reload,
        reading=auditor.add_routes,
        measure=lambda: None,
        nonces=anything(),
    )
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
    }
    described = {(path, method) for path, methods in openapi.document("1")["paths"].items() for method in methods}
    assert described == routes


async def test_a_proof_holds_under_the_checkpoint(browser: Any, journal: SqliteJournal) -> None:
    note = await read(browser, "/api/v1/ledger/checkpoint")
    for index in (0, 6, 18):
        answer = await ask(browser, f"/api/v1/ledger/{index}/proof")
        assert answer["checkpoint"] == note
        entry = await journal.get("default", index)
        assert entry is not None
        leaves = [merkle.leaf_hash(one.raw) for one in await all_entries(journal, "default")]
        path = [bytes.fromhex(step) for step in answer["proof"]]
        assert answer["leaf_hash"] == merkle.leaf_hash(entry.raw).hex()
        assert merkle.verify_inclusion(leaves[index], index, answer["tree_size"], path, merkle.tree_root(leaves))


# --- words -----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_nothing_hidden_is_shown(text: str) -> None:
    shown = presenting.visible(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c not in "\n\t"]
    assert text != shown or text == shown.encode("utf-8", "replace").decode()


@given(st.binary(max_size=200) | st.just(b"[" * 60_000) | st.just(b'{"a":1}' + b" " * 70_000))
def test_any_blob_is_laid_out(data: bytes) -> None:
    assert isinstance(presenting.laid_out(data), str)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (4.26, "4.3 s"), (59.96, "60.0 s"), (125, "2 min 5 s"), (7_800, "2 h 10 min"), (-65, "-1 min 5 s")],
)
def test_a_span_is_told_in_words(seconds: float, said: str) -> None:
    assert telling.lasted(START, START + timedelta(seconds=seconds)) == said


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["verdict", "claims", "text", "summary", "person", "until", "quorum"]), ODD))
def test_a_body_of_any_shape_can_be_told(body: dict[str, Any]) -> None:
    for stage in ("DETECTED", "DIAGNOSED", "PROPOSED", "ADDRESSED", "EXECUTED", "NOTED"):
        entry = Entry(
            "l", "t", 1, "i", START, "inc", stage, "policy", None, "", None, None, None, None, (), body, (), "", b""
        )
        telling.comparisons(entry), telling.claims(entry), telling.said(entry)
        assert all(name and text for name, text in telling.details(entry, everything=True))
        standing = standing_of([Entry.parse(FIRST), entry])
        assert standing is not None
        view = standing.view([Entry.parse(FIRST), entry])
        assert len(telling.steps(view)) == 5
        assert sum(len(moment.entries) for moment in telling.moments(view)) == 2


FIRST = json.dumps(
    {
        **dict.fromkeys(("decision", "confidence", "policy_version", "policy_digest", "settles")),
        "ledger": "l",
        "tenant_id": "t",
        "index": 0,
        "id": "detect:0",
        "timestamp": later(0),
        "incident_id": "inc",
        "stage": "DETECTED",
        "actor": "policy",
        "reason": "",
        "cites": [],
        "body": {},
        "blobs": [],
        "salt": "",
    }
).encode()


async def test_a_reader_catches_up_and_reads_nothing_twice(journal: SqliteJournal) -> None:
    reader = Reader(journal)
    asked: list[int] = []
    entries = journal.entries

    async def counted(tenant: str, *, after: int = -1, **chosen: Any) -> list[Entry]:
        asked.append(after)
        return await entries(tenant, after=after, **chosen)

    journal.entries = counted  # type: ignore[method-assign]
    assert (await reader.register("default")).size == 19
    assert (await reader.register("default")).size == 19
    assert asked == [-1, 18, 18]
    first = await reader.books("default")
    assert await reader.books("default") == first
