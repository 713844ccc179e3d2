"""The chart of accounts is one whole, and the store's own tables say the same."""

from __future__ import annotations

from ledger.accounts import BOOKS, OFFICES, OPENS, SETTLES, STAGES, must_settle, settled_books
from tests.ledger.books import ORIGIN, connection

NAMED = {"engineer", "executor", "carrier", "operator"}
ACTORS = {"policy", "claude", "alertmanager", "system"} | NAMED


def test_every_book_is_opened_and_settled_by_stages_that_someone_may_post() -> None:
    assert set(OPENS.values()) == set(BOOKS) == set(SETTLES)
    assert len(set(OPENS.values())) == len(OPENS), "one stage opens a book"
    assert OPENS.keys() <= OFFICES.keys()
    assert {stage for stages in SETTLES.values() for stage in stages} <= OFFICES.keys()
    assert set(STAGES) == set(OFFICES)
    assert {actor for actors in OFFICES.values() for actor in actors} == ACTORS
    assert all(OFFICES.values())


def test_what_must_settle_is_what_settles() -> None:
    for stage in STAGES:
        assert must_settle(stage) == any(stage in stages for stages in SETTLES.values())
        assert all(stage in SETTLES[book] for book in settled_books(stage))
    assert settled_books("EXECUTED") == ("executions", "suspense")
    assert settled_books("NOTED") == ()


def test_the_way_from_question_to_action_leads_through_people() -> None:
    """Law 3: an execution is opened by DISPATCHED alone, which settles an authorization, which settles a proposal."""
    assert [stage for stage, book in OPENS.items() if book == "executions"] == ["DISPATCHED"]
    assert settled_books("DISPATCHED") == ("authorizations",)
    assert [stage for stage, book in OPENS.items() if book == "authorizations"] == ["AUTHORIZED"]
    assert settled_books("AUTHORIZED") == ("proposals",)
    for stage in ("AUTHORIZED", "APPROVED", "DECLINED", "ACKNOWLEDGED"):
        assert OFFICES[stage] == ("engineer",)


def test_policy_alone_decides_what_policy_decides() -> None:
    """Law 1."""
    for stage in ("DETECTED", "RECOVERED", "PROPOSED", "DISPATCHED", "VOIDED", "EXPIRED", "CONFIRMED"):
        assert OFFICES[stage] == ("policy",)


def test_the_store_has_the_same_tables() -> None:
    store = connection()
    stages = {(s, OPENS.get(s), int(must_settle(s))) for s in STAGES}
    assert set(store.execute("SELECT name, opens, must_settle FROM stage")) == stages
    settlements = {(stage, book) for book, stages in SETTLES.items() for stage in stages}
    assert set(store.execute("SELECT stage, book FROM settlement")) == settlements
    offices = {(stage, actor) for stage, actors in OFFICES.items() for actor in actors}
    assert set(store.execute("SELECT stage, actor FROM office")) == offices
    assert set(store.execute("SELECT name, value FROM meta")) == {("format", "1"), ("origin", ORIGIN)}
