"""What the book keeps by an index says what a look at everything would say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry
from policy_rules.readings import Alert
from receiver.incident.assigned import Assigned
from receiver.incident.book import Book

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TAKERS = [(rule, (("service", service),)) for rule in ("slow", "errors") for service in ("shop", "mail")]
ROWS = st.tuples(
    st.sampled_from([f"{number:016x}" for number in range(8)]),
    st.booleans(),
    st.integers(0, 9),
    st.lists(st.sampled_from(TAKERS), unique=True).map(tuple),
)


def entry(index: int, stage: str, incident: str | None = None, **body: object) -> Entry:
    return Entry(
        ledger="test.example/acme",
        tenant_id="acme",
        index=index,
        id=f"it:{index}",
        timestamp=START + timedelta(seconds=index),
        incident_id=incident,
        stage=stage,
        actor="policy",
        decision=None,
        reason="",
        confidence=None,
        policy_version="1",
        policy_digest="d",
        settles=index,
        cites=(),
        body=body,
        blobs=(),
        salt="",
        raw=b"",
    )


def row(
    fingerprint: str, firing: bool, minute: int, takers: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
) -> Assigned:
    at = START + timedelta(minutes=minute)
    return Assigned(Alert(fingerprint, {}, {}, firing, at, None if firing else at, ""), takers)


@given(st.lists(st.lists(ROWS, max_size=6), max_size=12))
def test_the_alerts_of_a_rule_and_key_are_those_of_all_that_it_takes_in_their_order(posts: list[list[object]]) -> None:
    book = Book("acme")
    for rows in posts:
        book.take(entry(book.size, "EVALUATED"), [row(*one) for one in rows])  # type: ignore[misc]
        for taker in TAKERS:
            scanned = [known.alert for known in book.alerts.values() if taker in known.assignments]
            assert book.alerts_of(*taker) == scanned


def test_an_alert_that_came_back_is_missing_from_no_open_incident() -> None:
    book = Book("acme")
    words = {"title": "t", "summary": "s", "severity": "critical", "rule": "slow", "key": {"service": "shop"}}
    for name in ("ended", "open", "other"):
        book.take(entry(book.size, "DETECTED", name, **words))
        book.take(entry(book.size, "NOTED", name, kind="gone", fingerprints=["a", "b"]))
    book.take(entry(book.size, "REGRESSED"))
    end = entry(book.size, "RECOVERED", "ended")
    book.take(replace(end, settles=0))
    book.take(entry(book.size, "EVALUATED"), [row("a", True, 1, ())])
    assert {name: one.gone for name, one in book.incidents.items()} == {
        "ended": {"a", "b"},
        "open": {"b"},
        "other": {"b"},
    }
