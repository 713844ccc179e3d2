"""Messages as obligations: what was never confirmed is found, what was lost is told in words, and nothing goes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from ledger.entry import Entry
from ledger.findings import HARMLESS, Finding
from receiver.auditor import confirming
from receiver.auditor.counting import Count
from receiver.auditor.message_report import rows
from receiver.authorization import carrier_codes
from receiver.authorization.twilio_http import outcome_of_code
from receiver.intake.delivery import book_status
from receiver.papers import NotSent
from tests.receiver.governed import NOW, TENANT, Governed
from tests.tools import ROOT

SID = "SM" + "a" * 32


@pytest.fixture
async def governed() -> Governed:
    made = Governed()
    await made.governor.start()
    return made


def unconfirmed(log: Sequence[Entry], days: float = 0) -> list[Finding]:
    count = Count({}.get)
    for entry in log:
        count.take(entry)
    return [f for f in count.books(log[-1].timestamp + timedelta(days=days)).findings if f.rule == "unconfirmed"]


def question(governed: Governed) -> Entry:
    return next(e for e in governed.entries("ADDRESSED") if e.body["person"] == "tendai" and e.body["kind"] == "opened")


async def test_what_the_carrier_took_and_never_reported_is_one_finding(governed: Governed) -> None:
    await governed.fire()
    assert unconfirmed(governed.journal.log) == []  # its time is not over yet
    await governed.after(2 * 3600)
    assert {entry.decision for entry in governed.entries("UNDELIVERED")} == {"no report"}
    (found,) = unconfirmed(governed.journal.log)
    assert "to 2 person(s) were taken by the carrier, and nobody knows whether they arrived" in found.detail
    assert found.index == governed.entries("UNDELIVERED")[-1].index
    assert "public_url" in found.remedy
    assert "unconfirmed" in HARMLESS  # callbacks that are lost are no fault of the ledger
    assert unconfirmed(governed.journal.log, days=8) == []  # and history one day


async def test_a_word_however_late_and_a_refusal_are_no_finding(governed: Governed) -> None:
    governed.outside.refuses["ruth"] = NotSent("bad_recipient", "Twilio answered 400", None)
    await governed.fire()
    await governed.after(2 * 3600)
    mine = [e for e in governed.entries("ADDRESSED") if e.body["person"] == "tendai"]
    (found,) = unconfirmed(governed.journal.log)
    assert "to 1 person(s)" in found.detail
    for number, addressed in enumerate(mine):
        await book_status(governed.journal, TENANT, addressed, f"SM{number:032x}", "delivered", "")
    assert unconfirmed(governed.journal.log) == []


async def test_a_status_never_goes_back(governed: Governed) -> None:
    await governed.fire()
    addressed = question(governed)
    for status, code in (("read", ""), ("sent", ""), ("undelivered", "63016"), ("delivered", ""), ("failed", "30008")):
        await book_status(governed.journal, TENANT, addressed, SID, status, code)
    assert [e.stage for e in governed.journal.log if e.body.get("sid") == SID] == ["SENT", "DELIVERED", "READ"]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("undelivered", "63024", "undelivered, error 63024: the number has no WhatsApp"),
        ("failed", "63016", "failed, error 63016: the person wrote longer than 24 hours ago"),
        ("failed", "99999", "failed, error 99999"),
        ("canceled", "", "canceled"),
        ("failed", "x" * 50, "failed"),
    ],
)
async def test_the_carriers_code_is_told_in_words(governed: Governed, status: str, code: str, said: str) -> None:
    await governed.fire()
    addressed = question(governed)
    await book_status(governed.journal, TENANT, addressed, SID, status, code)
    (lost,) = [e for e in governed.entries("UNDELIVERED") if e.settles == addressed.index]
    assert lost.body["detail"].startswith(said)


def test_every_code_that_means_something_to_us_has_its_words() -> None:
    from receiver.authorization import twilio_http

    assert set(twilio_http._CODES) - {20403} <= set(carrier_codes.WORDS)
    assert outcome_of_code(63016)[0] == "outside_window"


async def test_a_report_counts_by_day_channel_and_kind(governed: Governed) -> None:
    governed.outside.refuses["ruth"] = NotSent("bad_recipient", "Twilio answered 400", None)
    await governed.fire()
    await book_status(governed.journal, TENANT, question(governed), SID, "read", "")
    await governed.after(86_400)
    await governed.fire("db2")
    end = NOW + timedelta(days=3)
    found = rows(governed.journal.log, {"whatsapp": Decimal("0.01")}, NOW, end)
    first = next(row for row in found if (row.day, row.kind) == ("2026-11-23", "opened"))
    assert (first.channel, first.delivered, first.read) == ("whatsapp", 1, 1)
    assert first.lost["bad_recipient"] >= 1
    assert first.price == Decimal("0.01") * first.sent
    assert {row.day for row in found} == {"2026-11-23", "2026-11-24"}
    addressed = len(governed.entries("ADDRESSED"))
    assert sum(row.addressed for row in found) == addressed
    assert sum(row.delivered + row.lost.total() + row.waiting for row in found) == addressed
    assert rows(governed.journal.log, {}, NOW - timedelta(days=9), NOW) == []
    assert all(row.price is None for row in rows(governed.journal.log, {"voice": Decimal(1)}, NOW, end))


def test_the_rule_stands_in_the_ledgers_page() -> None:
    page = (ROOT / "ledger/README.md").read_text(encoding="utf-8")
    assert all(f"| {rule} | {text} |" in page for rule, text in confirming.RULES.items())
