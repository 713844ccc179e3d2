"""Every refusal of the database has its attack, by every kind of INSERT, past the journal and its application."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ledger import signatures_audit
from ledger.accounts import BOOKS, OFFICES, OPENS, SETTLES
from ledger.stores import schema, transaction
from tests.ledger.books import DIGEST, VERBS, Scribe, at, connection


def contents(store: sqlite3.Connection) -> list[Any]:
    return store.execute("SELECT tenant, n, bytes FROM entry ORDER BY 1, 2").fetchall()


def refused(scribe: Scribe, why: str, attack: Callable[[], Any]) -> None:
    """`attack`, whatever it posts, is refused by every kind of INSERT, for this reason, and nothing has changed."""
    before = contents(scribe.store)
    for verb in VERBS:
        scribe.verb = verb
        with pytest.raises((sqlite3.IntegrityError, sqlite3.OperationalError), match=why):
            attack()
        assert contents(scribe.store) == before, verb
    scribe.verb = VERBS[0]


@pytest.fixture
def done() -> Scribe:
    return Scribe(connection()).story("RECOVERED")


@pytest.fixture
def proposed() -> Scribe:
    return Scribe(connection()).story("PROPOSED")


def test_the_good_way_goes_through_and_leaves_nothing_outstanding(done: Scribe) -> None:
    assert done.store.execute("SELECT count(*) FROM outstanding").fetchone() == (0,)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET bytes = '{}' WHERE n = 3",
        "UPDATE entry SET n = 99 WHERE n = 3",
        "UPDATE OR REPLACE entry SET n = 2 WHERE n = 3",
        "UPDATE OR IGNORE entry SET bytes = '{}' WHERE n = 3",
        "DELETE FROM entry WHERE n = 3",
        "DELETE FROM entry",
        *(f"UPDATE {table} SET {column} = {column}" for table, column in
          (("stage", "opens"), ("settlement", "book"), ("office", "actor"), ("meta", "value"))),
        *(f"DELETE FROM {table}" for table in ("stage", "settlement", "office", "meta")),
        "INSERT INTO office VALUES ('AUTHORIZED', 'claude')",
        "INSERT OR REPLACE INTO stage VALUES ('AUTHORIZED', 'x', 0)",
        "INSERT INTO meta VALUES ('x', 'y')",
    ],
)  # fmt: skip
def test_nothing_is_changed_or_taken_out(done: Scribe, sql: str) -> None:
    refused(done, "never|fixed", lambda: done.store.execute(sql))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"index": 3}, "number"),
        ({"index": 99}, "number"),
        ({"index": -1}, "number"),
        ({"id": "DETECTED:5"}, "id: already"),
        ({"stage": "RECOVERED", "incident_id": "inc1", "settles": 4, "id": "again"}, "already settled"),
    ],
)
def test_no_kind_of_insert_replaces_an_entry(done: Scribe, change: dict[str, Any], why: str) -> None:
    refused(done, why, lambda: done.put(done.entry("REMINDED", "policy") | change))


def test_an_upsert_and_an_explicit_rowid_change_nothing(done: Scribe) -> None:
    raw = json.dumps(done.entry("REMINDED", "policy"))
    upsert = "INSERT INTO entry (tenant, n, bytes) VALUES ('default', 3, ?) ON CONFLICT DO UPDATE SET bytes = '{}'"
    refused(done, "number", lambda: done.store.execute(upsert, (raw,)))
    rowid = "INSERT OR REPLACE INTO entry (rowid, tenant, n, bytes) VALUES (1, 'default', 3, ?)"
    refused(done, "rowid", lambda: done.store.execute(rowid, (raw,)))
    generated = "INSERT INTO entry (tenant, n, bytes, stage) VALUES ('default', 13, '{}', 'X')"
    refused(done, "generated", lambda: done.store.execute(generated))


@pytest.mark.parametrize(
    "pragma",
    ["ignore_check_constraints = ON", "recursive_triggers = OFF", "foreign_keys = OFF", "defer_foreign_keys = ON"],
)
def test_no_setting_of_a_connection_switches_a_rule_off(done: Scribe, pragma: str) -> None:
    done.store.execute(f"PRAGMA {pragma}")
    refused(done, "number", lambda: done.put(done.entry("REMINDED", "policy", index=3)))
    refused(done, "id: already", lambda: done.put(done.entry("REMINDED", "policy", id="open")))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tenant_id": "other"}, "tenant: differs|number"),
        ({"ledger": "elsewhere"}, "another origin"),
        ({"timestamp": at(-5)}, "backwards"),
        ({"timestamp": "2026-11-23T08:00:00Z"}, "timestamp: form"),
        ({"timestamp": "2026-11-23 08:00:00.000000Z"}, "timestamp: form"),
        ({"timestamp": None}, "timestamp: form"),
        ({"timestamp": 5}, "timestamp: form"),
        ({"id": None}, "id: missing"),
        ({"id": ""}, "id: missing"),
        ({"id": 5}, "id: missing"),
        ({"stage": "BLESSED"}, "actor: may not"),
        ({"stage": None}, "actor: may not"),
        ({"actor": "mallory"}, "actor: may not"),
        ({"actor": None}, "actor: may not"),
        ({"actor": "policyx"}, "actor: may not"),
        ({"actor": "policy:"}, "no name of its own"),
        ({"actor": "policy:eve"}, "no name of its own"),
        ({"stage": "CLOSED", "actor": "engineer:"}, "has no name"),
        ({"stage": "CLOSED", "actor": "engineer"}, "has no name"),
        ({"stage": "OPENED", "actor": "system"}, "OPENED"),
        ({"cites": [99]}, "cites"),
        ({"cites": ["0"]}, "cites"),
        ({"cites": None}, "form"),
        ({"body": []}, "form"),
        ({"blobs": {}}, "form"),
        ({"reason": "x" * 65_536}, "too long"),
        ({"reason": "é" * 33_000}, "too long"),
        ({"settles": 1}, "not an obligation"),
    ],
)
def test_the_form_of_an_entry(done: Scribe, fields: dict[str, Any], why: str) -> None:
    entry = done.entry("REMINDED", "policy") | fields
    refused(done, why, lambda: done.put(entry, key=("default", done.next)))


def test_bytes_that_are_no_json_object(done: Scribe) -> None:
    sql = "INSERT INTO entry (tenant, n, bytes) VALUES ('default', ?, ?)"
    for raw in ("{", "", "nonsense", None, b"{}", "[]", "5", "null"):
        refused(done, ".", partial(done.store.execute, sql, (done.next, raw)))


def test_claude_posts_diagnosed_and_nothing_else() -> None:
    """Law 2, in the table that the database asks."""
    assert [stage for stage, actors in OFFICES.items() if "claude" in actors] == ["DIAGNOSED"]


@pytest.mark.parametrize("stage", sorted(OFFICES))
def test_an_actor_outside_its_office_is_refused(stage: str) -> None:
    every = {"policy", "claude", "alertmanager", "system", "engineer:x", "executor:x", "carrier:x", "operator:x"}
    scribe = Scribe(connection()).story("RECOVERED")
    for actor in every:
        if actor.partition(":")[0] not in OFFICES[stage] and stage != "OPENED":
            refused(scribe, "actor: may not", partial(scribe.post, stage, actor, "inc1"))


@pytest.mark.parametrize("value", [13, 99, -1, "0", 1.5, True, [], {}])
def test_a_settlement_of_nothing(done: Scribe, value: Any) -> None:
    refused(done, "settles|incident", lambda: done.post("RECOVERED", "policy", "inc1", settles=value))


def test_a_stage_that_must_settle_settles(done: Scribe) -> None:
    for stage in {stage for stages in SETTLES.values() for stage in stages}:
        actor = (
            OFFICES[stage][0] + ":x" if OFFICES[stage][0] in ("engineer", "carrier", "executor") else OFFICES[stage][0]
        )
        refused(done, "must settle|incident|answer|proposal", partial(done.post, stage, actor, "inc1"))


def test_every_settlement_in_the_wrong_book_is_refused(done: Scribe) -> None:
    opened = {book: done.marks[stage] for stage, book in OPENS.items() if stage in done.marks}
    for book in BOOKS:
        for stage in SETTLES[book]:
            for other, index in opened.items():
                if stage not in SETTLES[other]:
                    actor = OFFICES[stage][0]
                    actor += ":x" if actor in ("engineer", "carrier", "executor", "operator") else ""
                    refused(
                        done,
                        "settles",
                        partial(done.post, stage, actor, "inc1", settles=index),
                    )


def test_of_another_tenant_or_incident(proposed: Scribe) -> None:
    other = Scribe(proposed.store, "other")
    other.seconds = 9
    halted = other.post("HALTED", "engineer:x")
    refused(proposed, "settles", lambda: proposed.post("RESUMED", "engineer:y", settles=halted))
    watched = proposed.post("WATCHED", "policy")
    proposed.post("DETECTED", "policy", "inc2", settles=watched)
    refused(
        proposed,
        "another incident",
        lambda: proposed.post("WITHDRAWN", "policy", "inc2", settles=proposed.marks["PROPOSED"]),
    )


def test_incidents_open_once_and_close_clean(proposed: Scribe) -> None:
    watched = proposed.post("WATCHED", "policy")
    refused(proposed, "already detected", lambda: proposed.post("DETECTED", "policy", "inc1", settles=watched))
    refused(proposed, "missing", lambda: proposed.post("DETECTED", "policy", settles=watched))
    detected = proposed.marks["DETECTED"]
    for stage, actor in (("RECOVERED", "policy"), ("CLOSED", "operator:x")):
        refused(proposed, "outstanding", partial(proposed.post, stage, actor, "inc1", settles=detected))
    refused(proposed, "one at a time", lambda: proposed.post("PROPOSED", "policy", "inc1", body=proposed.proposal()))


def test_nothing_leads_to_an_action_beside_a_closed_incident(done: Scribe) -> None:
    refused(done, "not open", lambda: done.post("CONSULTED", "system", "inc1"))
    refused(done, "not open", lambda: done.post("PROPOSED", "policy", "inc1", body=done.proposal()))
    refused(done, "not open", lambda: done.post("PROPOSED", "policy", "inc9", body=done.proposal()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": None}, "no digest"),
        ({"digest": "abc"}, "no digest"),
        ({"digest": 5}, "no digest"),
        ({"expires_at": None}, "no expiry"),
        ({"expires_at": at(-1)}, "no expiry"),
        ({"expires_at": "z" * 27, "authorize_until": "z" * 27}, "no expiry"),
        ({"expires_at": "9999-99-99T99:99:99.999999Z"}, "no expiry"),
        ({"expires_at": "2026-19-39T29:00:00.000000Z"}, "no expiry"),
        ({"authorize_until": at(721)}, "no expiry"),
        ({"authorize_until": "9999-12-31T23:59:59.999999Z"}, "no expiry"),
        ({"authorize_until": at(1)}, "no expiry"),
        ({"authorize_until": None}, "no expiry"),
        ({"quorum": 0}, "quorum"),
        ({"quorum": 3}, "quorum"),
        ({"quorum": None}, "quorum"),
        ({"quorum": "1"}, "quorum"),
        ({"quorum": 1.5}, "quorum"),
        ({"approvers": None}, "quorum"),
        ({"approvers": []}, "quorum"),
        ({"quorum": 2, "approvers": ["a", "a"]}, "quorum"),
    ],
)
def test_a_proposal_says_what_by_whom_and_until_when(change: dict[str, Any], why: str) -> None:
    scribe = Scribe(connection()).story("DETECTED")
    body = scribe.proposal(**change)
    refused(scribe, f"proposal: .*{why}", lambda: scribe.post("PROPOSED", "policy", "inc1", body=body))


def test_answers_count_from_whom_the_proposal_names_and_in_time(proposed: Scribe) -> None:
    p = proposed.marks["PROPOSED"]
    heard = proposed.post("HEARD", "carrier:whatsapp")

    def answer(who: str, cites: list[int], incident: str = "inc1", stage: str = "APPROVED") -> None:
        proposed.post(stage, f"engineer:{who}", incident, settles=heard, cites=cites)

    detected = proposed.marks["DETECTED"]
    for stage in ("APPROVED", "DECLINED"):
        refused(proposed, "not an approver", partial(answer, "eve", [p], stage=stage))
        refused(proposed, "no outstanding", partial(answer, "tendai", [], stage=stage))
        refused(proposed, "no outstanding", partial(answer, "tendai", [detected], stage=stage))
        refused(proposed, "no outstanding", partial(answer, "tendai", [p], "inc2", stage))
    proposed.seconds = 600
    refused(proposed, "too late", lambda: answer("tendai", [p]))
    proposed.post("EXPIRED", "policy", "inc1", settles=p)
    refused(proposed, "no outstanding", lambda: answer("tendai", [p]))


def test_a_decline_comes_with_its_rejection(proposed: Scribe) -> None:
    heard = proposed.post("HEARD", "carrier:whatsapp")
    p = proposed.marks["PROPOSED"]
    proposed.post("DECLINED", "engineer:rudo", "inc1", settles=heard, cites=[p])
    refused(proposed, "comes with REJECTED", lambda: proposed.post("REMINDED", "policy", "inc1"))
    refused(proposed, "comes with REJECTED", lambda: proposed.post("WITHDRAWN", "policy", "inc1", settles=p))
    sign = "INSERT INTO checkpoint VALUES ('default', ?, 'x')"
    refused(proposed, "comes with REJECTED", lambda: proposed.store.execute(sign, (proposed.next,)))
    proposed.post("REJECTED", "policy", "inc1", settles=p)
    proposed.store.execute(sign, (proposed.next,))


def test_a_quorum_is_of_distinct_people_for_this_proposal() -> None:
    scribe = Scribe(connection()).story("APPROVED", quorum=2)
    p, first = scribe.marks["PROPOSED"], scribe.marks["APPROVED"]

    def approve(who: str, proposal: int) -> int:
        heard = scribe.post("HEARD", "carrier:whatsapp")
        return scribe.post("APPROVED", f"engineer:{who}", "inc1", settles=heard, cites=[proposal])

    def authorize(who: str, cites: list[int], proposal: int) -> None:
        scribe.post("AUTHORIZED", f"engineer:{who}", "inc1", settles=proposal, cites=cites)

    refused(scribe, "no quorum", lambda: authorize("tendai", [], p))
    refused(scribe, "no quorum", lambda: authorize("tendai", [first], p))
    refused(scribe, "no quorum", lambda: authorize("tendai", [first, first], p))
    again = approve("tendai", p)
    refused(scribe, "no quorum", lambda: authorize("tendai", [first, again], p))
    second = approve("rudo", p)
    refused(scribe, "no quorum", lambda: authorize("rudo", [second], p))
    refused(scribe, "not by one who approved", lambda: authorize("eve", [first, second], p))
    scribe.seconds = 601
    refused(scribe, "quorum was met", lambda: scribe.post("EXPIRED", "policy", "inc1", settles=p))
    scribe.seconds = 721
    refused(scribe, "authorization: too late", lambda: authorize("rudo", [first, second], p))
    scribe.post("EXPIRED", "policy", "inc1", settles=p)
    body = scribe.proposal(quorum=2, expires_at=at(2000), authorize_until=at(2120))
    later = scribe.post("PROPOSED", "policy", "inc1", body=body)
    refused(scribe, "no quorum", lambda: authorize("rudo", [first, second], later))
    refused(scribe, "not yet", lambda: scribe.post("EXPIRED", "policy", "inc1", settles=later))


@pytest.mark.parametrize("digest", ["b" * 64, None, 5])
def test_only_what_was_proposed_is_dispatched(digest: Any) -> None:
    scribe = Scribe(connection()).story("AUTHORIZED")
    settles = scribe.marks["AUTHORIZED"]
    refused(
        scribe,
        "not what was proposed",
        lambda: scribe.post("DISPATCHED", "policy", "inc1", settles=settles, body={"digest": digest}),
    )


def test_nothing_is_dispatched_while_halted_or_late() -> None:
    scribe = Scribe(connection()).story("AUTHORIZED")
    settles = scribe.marks["AUTHORIZED"]

    def dispatch() -> int:
        return scribe.post("DISPATCHED", "policy", "inc1", settles=settles, body={"digest": DIGEST})

    refused(scribe, "not an obligation", lambda: scribe.post(
        "DISPATCHED", "policy", "inc1", settles=scribe.marks["DETECTED"], body={"digest": DIGEST}))  # fmt: skip
    first, second = scribe.post("HALTED", "engineer:rudo"), scribe.post("HALTED", "engineer:tendai")
    refused(scribe, "dispatch: halted", dispatch)
    refused(scribe, "another person", lambda: scribe.post("RESUMED", "engineer:rudo", settles=first))
    refused(scribe, "another person", lambda: scribe.post("RESUMED", "operator:rudo", settles=first))
    scribe.post("RESUMED", "engineer:tendai", settles=first)
    refused(scribe, "dispatch: halted", dispatch)
    scribe.post("RESUMED", "engineer:rudo", settles=second)
    refused(scribe, "outstanding", lambda: scribe.post("RECOVERED", "policy", "inc1", settles=scribe.marks["DETECTED"]))
    now, scribe.seconds = scribe.seconds, 721
    refused(scribe, "dispatch: too late", dispatch)
    scribe.seconds = now
    dispatch()
    refused(scribe, "already settled|not open", dispatch)


def test_a_doubt_holds_the_next_question_and_a_late_result_settles_it() -> None:
    scribe = Scribe(connection()).story("DISPATCHED")
    doubt = scribe.post("UNRESOLVED", "system", "inc1", settles=scribe.marks["DISPATCHED"])
    refused(scribe, "one at a time", lambda: scribe.post("PROPOSED", "policy", "inc1", body=scribe.proposal()))
    scribe.post("RECOVERED", "policy", "inc1", settles=scribe.marks["DETECTED"])
    executed = scribe.post("EXECUTED", "executor:restart", "inc1", settles=doubt)
    scribe.post("WAIVED", "policy", "inc1", settles=executed)
    assert scribe.store.execute("SELECT count(*) FROM outstanding").fetchone() == (0,)


def test_rules_that_others_keep_out_of_reach_hold_by_themselves() -> None:
    """Each is a second lock: the attack comes to it only where the rule before it is gone."""
    scribe = Scribe(connection()).story("APPROVED")
    scribe.store.execute("DROP TRIGGER entry_together")
    p, approved = scribe.marks["PROPOSED"], scribe.marks["APPROVED"]
    heard = scribe.post("HEARD", "carrier:whatsapp")
    scribe.post("DECLINED", "engineer:rudo", "inc1", settles=heard, cites=[p])
    authorize = partial(scribe.post, "AUTHORIZED", "engineer:tendai", "inc1", settles=p, cites=[approved])
    refused(scribe, "authorization: declined", authorize)

    scribe = Scribe(connection()).story("DISPATCHED")
    scribe.store.execute("DROP TRIGGER entry_proposed")
    p = scribe.post("PROPOSED", "policy", "inc1", body=scribe.proposal())
    heard = scribe.post("HEARD", "carrier:whatsapp")
    approved = scribe.post("APPROVED", "engineer:tendai", "inc1", settles=heard, cites=[p])
    authorized = scribe.post("AUTHORIZED", "engineer:tendai", "inc1", settles=p, cites=[approved])
    dispatch = partial(scribe.post, "DISPATCHED", "policy", "inc1", settles=authorized, body={"digest": DIGEST})
    refused(scribe, "dispatch: one at a time", dispatch)
    doubt = scribe.post("UNRESOLVED", "system", "inc1", settles=scribe.marks["DISPATCHED"])
    refused(scribe, "dispatch: one at a time", lambda: dispatch())
    scribe.post("WRITTEN_OFF", "engineer:rudo", "inc1", settles=doubt)
    dispatch()


def test_a_version_has_one_content() -> None:
    scribe = Scribe(connection())
    scribe.post("ADOPTED", "operator:x", body={"name": "p"}, policy_digest="1" * 64)
    refused(
        scribe,
        "other contents",
        lambda: scribe.post("ADOPTED", "operator:x", body={"name": "p"}, policy_digest="2" * 64),
    )
    scribe.post("ADOPTED", "operator:x", body={"name": "p"}, policy_digest="2" * 64, policy_version="1.0.1")
    scribe.post("ADOPTED", "operator:x", body={"name": "p"}, policy_digest="1" * 64)


def test_checkpoints_and_blobs_are_never_changed(done: Scribe) -> None:
    store = done.store
    store.execute("INSERT INTO checkpoint VALUES ('default', ?, 'x')", (done.next,))
    refused(done, "not the size", lambda: store.execute("INSERT INTO checkpoint VALUES ('default', 3, 'x')"))
    sql = "INSERT OR REPLACE INTO checkpoint VALUES ('default', ?, 'y')"
    refused(done, "already signed", lambda: store.execute(sql, (done.next,)))
    refused(done, "never", lambda: store.execute("UPDATE checkpoint SET note = 'y'"))
    refused(done, "never", lambda: store.execute("DELETE FROM checkpoint"))
    digest = schema.sha256_hex(b"data")
    store.execute("INSERT INTO blob VALUES ('default', ?, ?)", (digest, b"data"))
    refused(
        done, "not its digest", lambda: store.execute("INSERT INTO blob VALUES ('default', ?, ?)", ("0" * 64, b"x"))
    )
    again = "INSERT OR REPLACE INTO blob VALUES ('default', ?, ?)"
    refused(done, "already there", lambda: store.execute(again, (digest, b"other")))
    refused(done, "never", lambda: store.execute("UPDATE blob SET data = x'00'"))
    refused(done, "never", lambda: store.execute("DELETE FROM blob"))


# --- no rule and no question of the journal walks the log ------------------------------------------------------------

# The last number of a tenant: max(n) is one step down the primary key, though a plan has no other word for it.
ONE_STEP = "SEARCH entry USING PRIMARY KEY (tenant=?)"
SMALL = {"stage", "settlement", "office", "meta", "s", "r"}  # the rule tables, and their names in the rules
QUESTIONS = (
    transaction._STANDING,
    "SELECT bytes FROM outstanding WHERE tenant = ? ORDER BY n",
    "SELECT bytes FROM entry INDEXED BY entry_incident WHERE tenant = ? AND n > ? AND incident = ? ORDER BY n LIMIT ?",
    "SELECT bytes FROM entry INDEXED BY entry_stage WHERE tenant = ? AND n > ? AND stage = ? ORDER BY n LIMIT ?",
    signatures_audit.SPEAKING,
)


def walks(store: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of the plan that read a table, or one tenant's part of it, from end to end."""
    plan = [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {sql}")]
    scanned = [
        step
        for step in plan
        if (found := re.match(r"SCAN (\w+)", step)) and "VIRTUAL TABLE" not in step and found[1] not in SMALL
        if "CONSTANT ROW" not in step
    ]
    return scanned + [step for step in plan if step.startswith("SEARCH") and step.endswith("(tenant=?)")]


def selects(sql: str) -> list[str]:
    """A trigger's SELECTs, with a constant for each NEW.x and for what refuses, so that each can be planned alone."""
    body = sql[sql.index("BEGIN") + len("BEGIN") : sql.rindex("END")]
    body = re.sub(r"RAISE\(ABORT, '[^']*'\)", "1", body)
    body = re.sub(r"NEW\.(n|settles|size)\b", "7", body)
    return [part for part in re.sub(r"NEW\.\w+", "'x'", body).split(";") if part.strip()]


def rules() -> list[tuple[str, str]]:
    store = connection()
    return store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name").fetchall()


@pytest.mark.parametrize(("name", "sql"), rules())
def test_no_rule_walks_the_log(name: str, sql: str) -> None:
    store = connection()
    found = [walk for select in selects(sql) for walk in walks(store, select)]
    assert found == ([ONE_STEP] if name in ("entry_form", "checkpoint_form") else [])


@pytest.mark.parametrize("sql", QUESTIONS)
def test_no_question_of_the_journal_walks_the_log(sql: str) -> None:
    store = connection()
    found = store.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * (2 if "?2" in sql else sql.count("?"))).fetchall()
    assert [row[3] for row in found if "PRIMARY KEY" in row[3] or row[3] in ("SCAN e", "SCAN entry")] == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM entry o WHERE o.actor = 'x'",
        "SELECT 1 FROM entry o WHERE o.tenant = 'x' AND o.actor = 'x'",
        "SELECT EXISTS (SELECT 1 FROM entry d WHERE d.tenant = 'x' AND d.incident = 'x' AND d.actor = 'x')",
    ],
)
def test_a_walk_would_be_seen(sql: str) -> None:
    assert walks(connection(), sql) != []


def test_a_key_is_retired_by_the_next_and_never_comes_back() -> None:
    store = connection()
    scribe = Scribe(store)
    body = scribe.entry("OPENED", "system", id="open")["body"]
    assert body == {}  # this log has no key yet, so any REKEYED retires nothing
    scribe.post("REKEYED", "operator:root", body={"key": "one"})
    scribe.post("REKEYED", "operator:root", body={"key": "two", "retires": "one"})
    for actor, body, why in (
        ("operator:root", {"key": "three"}, "key: retires another"),
        ("operator:root", {"key": "three", "retires": "one"}, "key: retires another"),
        ("operator:root", {"key": "one", "retires": "two"}, "key: was in force"),
        ("operator:root", {"key": "two", "retires": "two"}, "key: was in force"),
        ("operator:root", {"retires": "two"}, "key: missing"),
        ("operator:root", {"key": 3, "retires": "two"}, "key: missing"),
        ("engineer:tendai", {"key": "three", "retires": "two"}, "actor: may not"),
        ("system", {"key": "three", "retires": "two"}, "actor: may not"),
    ):
        refused(scribe, why, partial(scribe.post, "REKEYED", actor, body=body))
    scribe.post("REKEYED", "operator:root", body={"key": "three", "retires": "two"})
    Scribe(store, "other").post("REKEYED", "operator:root", body={"key": "one"})
