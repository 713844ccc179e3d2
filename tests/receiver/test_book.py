"""What the book keeps by an index says what a look at everything would say."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry
from policy_rules.readings import Alert
from receiver.incident.assigned import Assigned
from receiver.incident.book import Book
from receiver.incident.consulting import Consultation, Standing
from receiver.incident.past import standing
from receiver.incident.states import Incident

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


def test_a_late_word_of_an_older_end_takes_the_known_end_not_back() -> None:
    """Or the older episode, whose firing comes later still, would fire without an end."""
    book = Book("acme")
    for one in (("a", True, 1), ("a", False, 9), ("a", False, 3)):
        book.take(entry(book.size, "EVALUATED"), [row(*one, takers=())])
    book.take(entry(book.size, "EVALUATED"), [row("a", True, 6, ())])
    assert not book.alerts["a"].alert.firing
    assert book.alerts["a"].ended_at == START + timedelta(minutes=9)
    for one in (("a", True, 12), ("a", False, 14)):
        book.take(entry(book.size, "EVALUATED"), [row(*one, takers=())])
    assert book.alerts["a"].ended_at == START + timedelta(minutes=14)


LATER = "2026-11-24T08:00:00.000000Z"
UNTIL = {"until": LATER, "expires_at": LATER, "authorize_until": LATER, "verify_until": LATER}
ENDS = ("EXECUTED", "FAILED", "UNRESOLVED")
VERIFIED = ("CONFIRMED", "UNCONFIRMED")


class Drawn:
    """A log that grows by what may come next, drawn one after the other."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.book = rng, Book("acme")

    def take(self, stage: str, incident: str, settles: int | None = None, **body: object) -> None:
        index = self.book.size
        body = {**UNTIL, **body, "webhook_id": f"wh-{index}"}
        self.book.take(replace(entry(index, stage, incident, **body), settles=settles))

    def goes_on(self) -> list[tuple[Incident, Consultation]]:
        """One entry more; what was diagnosed by it."""
        book, rng = self.book, self.rng
        may = [partial(self.detected)] if len(book.open) < 4 else []
        for index, (incident, _) in book.consultations.items():
            stage, action = rng.choice(("DIAGNOSED", "UNDIAGNOSED")), rng.choice("ab")
            may.append(partial(self.take, stage, incident.id, index, recommended_action=action))
        for incident in book.open.values():
            may += [partial(self.take, "CONSULTED", incident.id)]
            if incident.last is None or not incident.last.live:
                may.append(partial(self.take, "PROPOSED", incident.id, action=rng.choice("ab")))
            if incident.last is None or not (incident.last.open or incident.last.authorized):
                may.append(partial(self.take, "RECOVERED", incident.id, incident.index))
        for stages, outstanding in (
            (("AUTHORIZED", "REJECTED"), {i: p for i, p in book.proposals.items() if p.open}),
            (("DISPATCHED",), book.authorizations),
            (ENDS, book.executions),
            (ENDS[:2], book.suspense),
            (VERIFIED, book.verifications),
        ):
            for index, proposal in outstanding.items():
                stage = rng.choice(stages)
                may.append(partial(self.take, stage, proposal.incident_id, index, ran=rng.random() < 0.7))
        before = dict(book.consultations)
        rng.choice(may)()
        return [before[index] for index in before.keys() - book.consultations.keys()]

    def detected(self) -> None:
        words = {"title": "t", "summary": "s", "severity": "critical", "rule": "slow"}
        self.take(
            "DETECTED",
            f"inc-{self.book.size}",
            self.book.size,
            key={"service": self.rng.choice(("shop", "mail"))},
            **words,
        )


def test_what_earlier_diagnoses_were_worth_is_counted_as_a_look_at_every_incident_would() -> None:
    best = Standing()
    for seed in range(60):
        drawn = Drawn(random.Random(seed))
        for _ in range(250):
            for incident, consultation in drawn.goes_on():
                earlier = standing(drawn.book.of_key[incident.rule, incident.key], consultation.index)
                assert consultation.earlier == earlier, (seed, drawn.book.size)
                best = max(best, earlier, key=lambda s: (min(s.confirmed, s.tried - s.confirmed), s.made))
    assert 0 < best.confirmed < best.tried < best.made, best
