"""Two levels of approval, and who asked: against a slow reader that tries every way to share people out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from importlib.resources import files
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry, canonical
from policy_rules.advice import warnings
from policy_rules.approval import Levels, Person, eligible, levels, levels_of, needed
from policy_rules.casebook.cases import read_cases
from policy_rules.differences import differences
from policy_rules.loading import load
from policy_rules.permission import Permission, may_answer, may_authorize, may_propose
from policy_rules.rulebook import Approvers, Rulebook
from policy_rules.verdict import Outcome, Verdict
from receiver.auditor.permitted import Permitted
from receiver.auditor.replay import Replay
from receiver.rehearsal.running import _Run
from tests.policy_rules.helpers import KEY, NOW, alert, policy
from tests.policy_rules.test_shown import SHOWN, Kept

RULE, ACTION = "checkout-errors", "restart"
BROKEN = Verdict(Outcome.PERSIST, "error_ratio 0.5 not < 0.02", (), RULE, "1", "0")
OLD = "approvers: {roles: [oncall, leads], quorum: 1}"
NAMES = ("ada", "ben", "cyn", "dan", "eve")
ROLES = ("oncall", "leads", "audit")


def with_approvers(text: str) -> Rulebook:
    return policy((OLD, f"approvers: {text}"))


TWO = "{roles: [oncall], quorum: 1, second: {roles: [leads], quorum: 1}}"
STAFF = (
    Person("ada", frozenset({"oncall"})),
    Person("ben", frozenset({"oncall"})),
    Person("cyn", frozenset({"leads"})),
    Person("dan", frozenset({"oncall", "leads"})),
)


def propose(book: Rulebook, people: Sequence[Person] = STAFF, requester: str = "") -> Permission:
    return may_propose(book, book, RULE, ACTION, KEY, [alert()], people, (), False, NOW, (), requester)


def authorize(
    book: Rulebook,
    by: Sequence[str],
    people: Sequence[Person] = STAFF,
    *,
    in_force: Rulebook | None = None,
    quorum: int = 1,
    requester: str = "",
) -> Permission:
    books = book, in_force or book
    return may_authorize(
        *books, RULE, ACTION, KEY, [alert()], people, by, quorum, (), False, BROKEN, NOW, (), requester
    )


def shared_out(first: set[str], quorum: int, second: set[str], second_quorum: int, approved: set[str]) -> bool:
    """Whether some of `approved` can stand for the first level and others of them for the second."""
    return any(
        len((second & approved) - set(some)) >= second_quorum for some in combinations(sorted(first & approved), quorum)
    )


SETS = st.sets(st.sampled_from(NAMES))


@given(SETS, st.integers(1, 3), SETS, st.integers(0, 3), SETS)
def test_levels_against_every_way_to_share_people_out(first, quorum, second, second_quorum, approved):
    found = Levels(frozenset(first), quorum, frozenset(second), second_quorum)
    assert found.met(approved) is shared_out(first, quorum, second, second_quorum, approved)
    assert levels_of({"levels": [found.to_body()]}) == (found,)


PEOPLE = st.lists(
    st.builds(
        Person,
        st.sampled_from(NAMES),
        st.frozensets(st.sampled_from(ROLES), max_size=2),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda person: person.name,
)
LEVEL = st.tuples(st.sets(st.sampled_from(ROLES), max_size=2), st.sets(st.sampled_from(NAMES), max_size=2)).filter(any)


def written(roles: set[str], names: set[str], quorum: int, more: str = "") -> str:
    return f"{{roles: [{', '.join(sorted(roles))}], people: [{', '.join(sorted(names))}], quorum: {quorum}{more}}}"


@given(PEOPLE, LEVEL, st.integers(1, 2), LEVEL, st.integers(1, 2), SETS, st.sampled_from(["", *NAMES]))
def test_what_is_permitted_against_a_slow_reader(people, first, quorum, second, second_quorum, approved, requester):
    inner = written(*second, second_quorum)
    book = with_approvers(written(*first, quorum, f", second: {inner}"))
    able = [p for p in people if not p.suspended and p.name != requester]
    one = {p.name for p in able if p.name in first[1] or p.roles & first[0]}
    two = {p.name for p in able if p.name in second[1] or p.roles & second[0]}
    asked = propose(book, people, requester)
    assert (asked.outcome is Outcome.PERMIT) is shared_out(one, quorum, two, second_quorum, one | two)
    if asked.outcome is Outcome.PERMIT:
        assert set(asked.approvers) == one | two
        assert asked.quorum == quorum + second_quorum
    found = authorize(book, sorted(approved), people, requester=requester)
    assert (found.outcome is Outcome.PERMIT) is shared_out(one, quorum, two, second_quorum, approved & (one | two))


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (("ada",), "1 of 2 needed approvals count"),
        (("ada", "ben"), "1 of the second level must approve, and approved have 0"),
        (("cyn", "cyn"), "1 of 2 needed approvals count"),
        (("dan",), "1 of 2 needed approvals count"),
        (("cyn", "eve"), "1 of 2 needed approvals count"),
    ],
)
def test_what_is_not_enough(by, reason):
    found = authorize(with_approvers(TWO), by)
    assert (found.outcome, found.reason) == (Outcome.DENY, reason)


@pytest.mark.parametrize("by", [("ada", "cyn"), ("dan", "ada"), ("cyn", "dan"), ("ada", "ben", "dan")])
def test_what_is_enough(by):
    assert authorize(with_approvers(TWO), by).outcome is Outcome.PERMIT


def test_the_stricter_of_the_two_policies_wins():
    one, two = with_approvers("{roles: [oncall, leads], quorum: 2}"), with_approvers(TWO)
    assert authorize(one, ("ada", "ben")).outcome is Outcome.PERMIT
    assert authorize(one, ("ada", "ben"), in_force=two).outcome is Outcome.DENY
    assert authorize(two, ("ada", "ben"), in_force=one).outcome is Outcome.DENY
    found = may_propose(one, two, RULE, ACTION, KEY, [alert()], STAFF, (), False, NOW)
    assert (found.quorum, [level.second_quorum for level in found.levels]) == (2, [1])


def test_one_level_is_what_it_always_was():
    body = propose(policy()).to_body()
    assert "levels" not in body
    assert [row["name"] for row in body["findings"] if "approve" in row["name"]] == ["approvers"]
    assert policy().rules[0].actions[ACTION].approvers.second is None


def test_who_asked_for_it_may_not_approve_it():
    book = policy()
    assert set(propose(book, requester="ada").approvers) == {"ben", "cyn", "dan"}
    assert authorize(book, ("ada",), requester="ada").outcome is Outcome.DENY
    assert authorize(book, ("ada",), requester="ben").outcome is Outcome.PERMIT
    expires = NOW + timedelta(minutes=1)
    for who, outcome, reason in (("ada", Outcome.DENY, "you asked for it"), ("ben", Outcome.PERMIT, "ada may answer")):
        found = may_answer(("ada",), STAFF[0], book, RULE, ACTION, NOW, expires, who)
        assert (found.outcome, found.reason) == (outcome, reason)


def test_what_changes_is_said_and_what_cannot_be_met_is_warned_of():
    assert differences(policy(), with_approvers(TWO)) == [
        "checkout-errors: restart: is approved by 1 of role oncall and beside them 1 of role leads, "
        "was 1 of role oncall, role leads"
    ]
    assert warnings(with_approvers(TWO), STAFF, ["restart"]) == ()
    (said,) = warnings(with_approvers(TWO), STAFF[:2], ["restart"])
    assert "1 of the first level (ada, ben) and 1 of the second (nobody)" in said.message
    (said,) = warnings(with_approvers(TWO), STAFF[3:], ["restart"])
    assert "needs 2 to approve, and only dan can" in said.message


def test_the_example_of_the_readme_is_read():
    page = files("policy_rules").joinpath("README.md").read_text(encoding="utf-8")
    line = next(
        line for line in page.splitlines() if line.startswith("approvers: {roles: [oncall], quorum: 1, second:")
    )
    action = policy((OLD, line)).rules[0].actions[ACTION]
    assert action.approvers == Approvers(("oncall",), (), 1, Approvers(("leads",), ("nyasha",), 1))
    assert needed(action) == 2
    assert eligible(action, STAFF) == {"ada", "ben", "cyn", "dan"}
    assert levels(action, STAFF, "cyn").second == {"dan"}


def test_the_auditor_asks_for_both_levels():
    """The ledger counts heads; that they are of both levels, the auditor decides from the texts that were adopted."""
    found = read_cases((SHOWN / "second-level.cases.yml").read_bytes(), "second-level.cases.yml")
    book = load((SHOWN / "second-level.yml").read_text(), file="second-level.yml", environment={})
    run = _Run(found.cases[0], book, found.people or {})
    log = list(asyncio.run(run.run()).log)
    (index,) = [e.index for e in log if e.stage == "APPROVED" and e.actor == "engineer:farai"]
    document = json.loads(log[index].raw) | {"actor": "engineer:rudo"}
    log[index] = Entry.parse(canonical(document))
    archive = Kept(log, run.journal._blobs)
    permitted = Permitted(archive.blob)
    findings = [finding for entry in log for finding in permitted.take(entry)]
    wanted = [e.index for e in log if e.stage in ("AUTHORIZED", "DISPATCHED")]
    assert [finding.index for finding in findings] == wanted
    assert all("rudo, tendai, who are not enough at both levels for failover" in f.detail for f in findings)
    assert any("AUTHORIZED" in str(one) for one in Replay(archive).differences())
