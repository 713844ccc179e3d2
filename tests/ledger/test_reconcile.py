"""Each finding has a list of entries that makes it happen; the good way has none; the figures balance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from ledger.accounts import BOOKS, OPENS
from ledger.entry import Entry, canonical
from ledger.findings import RULES
from ledger.reconcile import Balance, findings, trial_balance
from tests.ledger.books import START, Scribe, at, connection
from tests.tools import ROOT

Change = Callable[[list[dict[str, Any]], dict[str, int]], None]


def story(until: str = "RECOVERED", quorum: int = 1) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The entries of a whole recovery as documents, and the index of each stage. ADOPTED stands first, as it must."""
    scribe = Scribe(connection())
    scribe.marks["OPENED"] = 0
    scribe.marks["ADOPTED"] = scribe.post("ADOPTED", "operator:x", body={"name": "p"})
    scribe.story(until, quorum)
    rows = scribe.store.execute("SELECT bytes FROM entry ORDER BY n")
    documents = [Entry.parse(raw.encode()).to_json() for (raw,) in rows]
    documents[0] |= {"policy_version": None, "policy_digest": None}  # nothing is adopted before the log begins
    return documents, scribe.marks


def parsed(documents: list[dict[str, Any]]) -> list[Entry]:
    return [Entry.parse(canonical(document)) for document in documents]


def changed(change: Change) -> list[Entry]:
    documents, marks = story()
    change(documents, marks)
    return parsed(documents)


def on(stage: str, /, **fields: Any) -> Change:
    def change(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
        documents[marks[stage]] |= fields

    return change


def in_body(stage: str, **fields: Any) -> Change:
    def change(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
        documents[marks[stage]]["body"] |= fields

    return change


def settles(stage: str, other: str) -> Change:
    def change(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
        documents[marks[stage]]["settles"] = marks[other]

    return change


def removed(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
    del documents[marks["HEARD"]]


def added(place: str, stage: str, actor: str, **fields: Any) -> Change:
    """One more entry in front of `place`'s, everything behind it numbered anew."""

    def change(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
        index = marks[place]
        new = documents[index] | {"stage": stage, "actor": actor, "id": "added", "settles": None, "cites": []} | fields
        for document in documents[index:]:
            document["index"] += 1
            if document["settles"] is not None and document["settles"] >= index:
                document["settles"] += 1
            document["cites"] = [cite + (cite >= index) for cite in document["cites"]]
        documents.insert(index, new | {"index": index})

    return change


def at_the_end(stage: str, actor: str, **fields: Any) -> Change:
    def change(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
        last = documents[-1]
        document = last | {"stage": stage, "actor": actor, "id": "added", "settles": None, "index": last["index"] + 1}
        documents.append(document | fields)

    return change


def halted_and_resumed(documents: list[dict[str, Any]], marks: dict[str, int]) -> None:
    at_the_end("HALTED", "engineer:rudo", incident_id=None)(documents, marks)
    halted = documents[-1]["index"]
    at_the_end("RESUMED", "operator:rudo", incident_id=None, id="added too", settles=halted)(documents, marks)


def other_incident(documents: list[dict[str, Any]], marks: dict[str, int], *, closed: bool = False) -> None:
    """Two incidents of one rule and key, each with a question; closed: the first one before the second one asks."""
    about = {"rule": "checkout-errors", "key": {"service": "checkout"}}
    documents[marks["DETECTED"]]["body"] = about
    at_once = {"incident_id": "inc2", "timestamp": documents[marks["PROPOSED"]]["timestamp"]}
    question = documents[marks["PROPOSED"]]["body"]
    watched = marks["PROPOSED"] + 1
    added("HEARD", "PROPOSED", "policy", body=question, id="p2", **at_once)(documents, marks)
    if closed:
        first = {**at_once, "incident_id": documents[marks["DETECTED"]]["incident_id"]}
        added("HEARD", "CLOSED", "operator:x", id="c1", settles=marks["DETECTED"], **first)(documents, marks)
    added("HEARD", "DETECTED", "policy", body=about, id="d2", settles=watched, **at_once)(documents, marks)
    added("HEARD", "WATCHED", "policy", body={}, id="w2", **{**at_once, "incident_id": None})(documents, marks)


FINDINGS: dict[str, tuple[Change, str, str]] = {
    "an entry is missing": (removed, "gap", "missing"),
    "time steps back": (on("CONFIRMED", timestamp=at(-1)), "clock", "before"),
    "the clock stepped": (at_the_end("REGRESSED", "system", reason="by 9 s"), "clock stepped", "9 s"),
    "an actor outside its office": (on("AUTHORIZED", actor="claude"), "office", "claude posted AUTHORIZED"),
    "a stage that nobody knows": (at_the_end("WISHED", "policy"), "office", "WISHED"),
    "it settles what comes after it": (settles("EVALUATED", "RECOVERED"), "settlement", "not before it"),
    "it settles itself": (settles("EVALUATED", "EVALUATED"), "settlement", "not before it"),
    "it settles nothing that is": (on("EVALUATED", settles=999), "settlement", "not before it"),
    "it settles a number below 0": (on("EVALUATED", settles=-1), "settlement", "not before it"),
    "it settles in the wrong book": (settles("RECOVERED", "RECEIVED"), "settlement", "cannot settle RECEIVED"),
    "it settles what is settled": (
        at_the_end("CLEARED", "policy", settles=4, incident_id=None), "settlement", "was settled by"
    ),
    "it settles for another incident": (on("CONFIRMED", incident_id="inc2"), "settlement", "is of inc1"),
    "it must settle and does not": (on("RECOVERED", settles=None), "settlement", "settles nothing"),
    "another tenant in the log": (on("CONFIRMED", tenant_id="other"), "tenant", "in the log of default"),
    "one version with two contents": (
        at_the_end("ADOPTED", "operator:x", body={"name": "p"}, policy_digest="e" * 64), "policy version", "two digests"
    ),
    "a policy that nobody adopted": (on("CONFIRMED", policy_digest="e" * 64), "policy unknown", "never adopted"),
    "an execution without authorization": (settles("DISPATCHED", "PROPOSED"), "law 3", "without authorization"),
    "an execution of nothing": (on("DISPATCHED", settles=None), "law 3", "without authorization"),
    "another request than the proposed one": (in_body("DISPATCHED", digest="b" * 64), "law 3", "not the proposed one"),
    "a dispatch after its time": (in_body("PROPOSED", authorize_until=at(0)), "late", "run out"),
    "a dispatch while halted": (added("DISPATCHED", "HALTED", "engineer:rudo", incident_id=None), "halt", "halted"),
    "an authorization of nothing": (settles("AUTHORIZED", "DETECTED"), "law 3", "an authorization of nothing"),
    "an authorization that nobody approved": (on("AUTHORIZED", cites=[]), "law 3", "0 of 1 approved"),
    "too few for the quorum": (in_body("PROPOSED", quorum=2), "law 3", "1 of 2 approved"),
    "an authorization by one who did not approve": (on("AUTHORIZED", actor="engineer:x"), "law 3", "did not approve"),
    "an authorization after its time": (in_body("PROPOSED", authorize_until=at(0)), "late", "authorized after"),
    "an answer to nothing": (on("APPROVED", cites=[]), "answer", "an answer to nothing"),
    "an answer by a stranger": (on("APPROVED", actor="engineer:eve"), "answer", "not an approver"),
    "an answer after the question": (in_body("PROPOSED", expires_at=at(0)), "late", "expired"),
    "one id twice": (at_the_end("NOTED", "system", id="open"), "id", "that of entry 0"),
    "an incident twice": (at_the_end("DETECTED", "policy", settles=4), "incident", "detected before"),
    "an incident without a name": (on("DETECTED", incident_id=None), "incident", "is none"),
    "a question about a closed incident": (at_the_end("PROPOSED", "policy"), "incident", "not open"),
    "a consultation about a closed incident": (at_the_end("CONSULTED", "system"), "incident", "not open"),
    "a dispatch for no incident": (on("DISPATCHED", incident_id="inc9"), "incident", "not open"),
    "a recovery over an open question": (on("AUTHORIZED", settles=None), "incident", "over an open"),
    "a second question": (added("AUTHORIZED", "PROPOSED", "policy", body={}), "one at a time", "a second question"),
    "an expiry before its time": (on("AUTHORIZED", stage="EXPIRED", actor="policy"), "early", "before its time"),
    "a decline without its rejection": (on("APPROVED", stage="DECLINED"), "declined", "not rejected"),
    "a decline at the end": (at_the_end("DECLINED", "engineer:rudo"), "declined", "not rejected"),
    "an authorization of what was declined": (on("APPROVED", stage="DECLINED"), "declined", "had been declined"),
    "a number as text": (on("EVALUATED", settles="1"), "form", "another type"),
    "a body that is a list": (on("PROPOSED", body=[]), "form", "another type"),
    "a second beginning": (at_the_end("OPENED", "system"), "opened", "OPENED is entry"),
    "another beginning": (on("OPENED", stage="NOTED"), "opened", "NOTED is entry 0"),
    "an engineer without a name": (on("AUTHORIZED", actor="engineer:"), "office", "is nobody"),
    "a policy with a name": (on("EVALUATED", actor="policy:x"), "office", "is nobody"),
    "it cites what is not before it": (on("APPROVED", cites=[5, 99]), "cites", "[5, 99]"),
    "another tenant's obligation": (on("EVALUATED", tenant_id="other"), "tenant", "other settles 2 of default"),
    "a question without a digest": (in_body("PROPOSED", digest="d"), "question", "no digest"),
    "a question to nobody": (in_body("PROPOSED", approvers="tendai"), "question", "no approvers"),
    "a question to too few": (in_body("PROPOSED", quorum=3), "question", "quorum of 3"),
    "a question to one person twice": (in_body("PROPOSED", quorum=2, approvers=["x", "x"]), "question", "quorum of 2"),
    "a question for ever": (in_body("PROPOSED", expires_at="never"), "question", "until when"),
    "a question that has expired": (in_body("PROPOSED", expires_at=at(0)), "question", "expire"),
    "a question with a long grace": (in_body("PROPOSED", authorize_until=at(721)), "question", "expire"),
    "a question about the same elsewhere": (other_incident, "one at a time", "another incident of the same target"),
    "an execution beside another": (
        added("DISPATCHED", "UNRESOLVED", "system", body={}), "one at a time", "dispatched beside an open UNRESOLVED"
    ),
    "an answer to what is decided": (
        added("DISPATCHED", "APPROVED", "engineer:rudo", cites=[6]), "answer", "nothing that is open"
    ),
    "an expiry of what was approved": (
        on("AUTHORIZED", stage="EXPIRED", actor="policy", timestamp=at(610)), "early", "could be authorized"
    ),
    "a halt that its own author ends": (halted_and_resumed, "halt", "the same person"),
    "a halt that another log is said to have had": (
        at_the_end("HALTED", "engineer:rudo", incident_id=None, body={"carried": {"index": 3}}),
        "carried", "does not stand first"
    ),
    "a halt that is listed and does not stand": (
        in_body("OPENED", carries={"halts": [3]}), "carried", "stands behind it {}"
    ),
    "a beginning that goes on from nothing": (
        in_body("OPENED", carries={"halts": [3]}), "carried", "goes on from no other"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_can_happen(name: str) -> None:
    change, rule, detail = FINDINGS[name]
    found = findings(changed(change))
    assert any(f.rule == rule and detail in f.detail for f in found), [str(f) for f in found]
    assert [f.index for f in found] == sorted(f.index for f in found)
    for finding in found:
        assert finding.remedy
        assert str(finding).startswith(f"entry {finding.index}: ")
        assert finding.to_json()["rule"] == finding.rule


def test_a_question_of_an_incident_that_was_closed_does_not_stand_in_the_way_of_another() -> None:
    found = findings(changed(partial(other_incident, closed=True)))
    assert any("CLOSED over an open PROPOSED" in each.detail for each in found)
    assert not any("another incident" in each.detail for each in found)


def test_every_rule_has_a_case_and_a_place_on_the_page() -> None:
    assert {rule for _, rule, _ in FINDINGS.values()} | {"overdue"} == set(RULES)
    page = (ROOT / "ledger/README.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"| {rule} | {RULES[rule]} |" not in page] == []


DEADLINES = {"RECEIVED": 300, "HEARD": 300, "PROPOSED": 720, "AUTHORIZED": 720, "DISPATCHED": 60, "EXECUTED": 90}


@pytest.mark.parametrize("until", DEADLINES)
def test_what_is_outstanding_past_its_deadline(until: str) -> None:
    documents, marks = story(until)
    for stage, body in (("DISPATCHED", {"until": at(60)}), ("EXECUTED", {"verify_until": at(90)})):
        if stage in marks:
            documents[marks[stage]]["body"] |= body
    entries = parsed(documents)
    deadline = START + timedelta(seconds=DEADLINES[until])
    assert findings(entries, deadline + timedelta(seconds=59)) == ()
    (found,) = findings(entries, deadline + timedelta(seconds=61))
    assert (found.index, found.rule) == (marks[until], "overdue")
    assert until in found.detail
    assert findings(entries) == ()


@pytest.mark.parametrize("until", ["WATCHED", "DETECTED", "RECOVERED"])
def test_what_waits_for_the_world_is_never_overdue(until: str) -> None:
    assert findings(parsed(story(until)[0]), START + timedelta(days=999)) == ()


@pytest.mark.parametrize("until", ["RECEIVED", "DETECTED", "PROPOSED", "AUTHORIZED", "DISPATCHED", "RECOVERED"])
def test_the_good_way_has_no_finding_and_balances_wherever_it_stops(until: str) -> None:
    entries = parsed(story(until)[0])
    assert findings(entries) == ()
    balance = trial_balance(entries)
    assert balance.balanced
    outstanding = {book.book for book in balance.books if book.outstanding}
    assert (OPENS.get(until) in outstanding) == (until in OPENS)
    assert (not outstanding) == (until == "RECOVERED")


def figures(balance: Balance) -> dict[str, tuple[int, int, int]]:
    return {book.book: (book.opened, sum(book.settled.values()), book.outstanding) for book in balance.books}


def test_the_figures_of_a_whole_recovery() -> None:
    balance = trial_balance(parsed(story()[0]))
    assert [book.book for book in balance.books] == list(BOOKS)
    assert figures(balance)["proposals"] == figures(balance)["executions"] == (1, 1, 0)
    assert figures(balance)["halts"] == (0, 0, 0)
    assert all(equality.holds for equality in balance.across)
    assert [(e.left_figure, e.right_figure) for e in balance.across] == [(1, 1), (1, 1), (1, 1), (0, 0)]


@pytest.mark.parametrize(
    ("stage", "book"),
    [("AUTHORIZED", "authorizations"), ("DISPATCHED", "executions"), ("EXECUTED", "verifications")],
)
def test_an_obligation_out_of_nothing_makes_the_books_differ(stage: str, book: str) -> None:
    """A stage that settles in one book and opens in the next, posted without settling anything."""
    entries = changed(on(stage, settles=None))
    balance = trial_balance(entries)
    assert not balance.balanced
    assert [e.right for e in balance.across if not e.holds] == [book]
    assert "DIFFERS FROM" in str(balance)


def test_a_doubt_out_of_nothing_makes_the_books_differ() -> None:
    balance = trial_balance(changed(at_the_end("UNRESOLVED", "system")))
    assert [e.right for e in balance.across if not e.holds] == ["suspense"]


def test_an_obligation_that_is_settled_twice_does_not_balance() -> None:
    balance = trial_balance(changed(at_the_end("CLEARED", "policy", settles=4, incident_id=None)))
    assert not balance.balanced
    assert [book.book for book in balance.books if not book.balanced] == ["watches"]
    assert "DOES NOT BALANCE" in str(balance)


def test_the_table_fits_a_terminal_and_loses_no_figure() -> None:
    documents, _ = story()
    assert max(map(len, str(trial_balance(parsed(documents))).splitlines())) <= 80
    many = trial_balance(parsed(documents))
    wide = Balance(
        tuple(
            type(book)(book.book, 1_234_567, dict.fromkeys(book.settled, 1_234_567), 1_234_567) for book in many.books
        ),
        tuple(type(e)(e.left, 1_234_567, e.right, 7_654_321) for e in many.across),
    )
    text = str(wide)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("1234567") == sum(2 + len(book.settled) for book in wide.books) + len(wide.across)
    assert text.count("DOES NOT BALANCE") == len(wide.books)
    assert text.count("DIFFERS FROM") == text.count("7654321") == len(wide.across)


def test_it_is_json() -> None:
    data = trial_balance(parsed(story()[0])).to_json()
    assert data["balanced"] is True
    assert data["books"]["proposals"] == {
        "opened": 1,
        "settled": {"AUTHORIZED": 1, "REJECTED": 0, "EXPIRED": 0, "WITHDRAWN": 0},
        "outstanding": 0,
    }
    assert {e["right"] for e in data["across"]} == {"authorizations", "executions", "verifications", "suspense"}
    assert canonical(data)


def test_nothing_at_all_balances() -> None:
    assert trial_balance([]).balanced
    assert findings([]) == ()


@pytest.mark.parametrize("stage", ["PROPOSED", "AUTHORIZED", "DISPATCHED", "APPROVED", "ADOPTED"])
@pytest.mark.parametrize("body", [{}, {"quorum": "x", "approvers": 5, "authorize_until": 5, "expires_at": None}])
def test_a_body_of_any_shape_is_a_finding_and_never_a_crash(stage: str, body: dict[str, Any]) -> None:
    entries = changed(on(stage, body=body))
    found = findings(entries)
    assert found or stage in ("AUTHORIZED", "APPROVED", "ADOPTED")
    trial_balance(entries)
