"""Permission, as tables: who may be asked, whose answer counts, and what may still run."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules import permission
from policy_rules.permission import PastRun, Person, may_answer, may_authorize, may_dispatch, may_propose, notified
from policy_rules.verdict import Outcome, Verdict
from tests.policy_rules.helpers import GUEST, KEY, LEAD, NOW, ONCALL, alert, people, policy

RULE, ACTION = "checkout-errors", "restart"
MONTH_END = datetime(2026, 1, 31, 17, 0, tzinfo=UTC)  # 19:00 in Harare
UNRELATED = PastRun(RULE, ACTION, {"service": "wallet"}, NOW)


def ran(*minutes):
    return [PastRun(RULE, ACTION, KEY, NOW - timedelta(minutes=ago)) for ago in minutes]


def propose(book=None, in_force=None, *, rule=RULE, action=ACTION, key=KEY, who=None, past=(), halted=False, now=NOW):
    book = book or policy()
    who = people() if who is None else who
    return may_propose(book, in_force or book, rule, action, key, [alert()], who, past, halted, now)


def verdict(outcome, reason="error_ratio 0.5 not < 0.02"):
    return Verdict(outcome, reason, (), RULE, "1", "0")


BROKEN = verdict(Outcome.PERSIST)


def authorize(
    book=None, in_force=None, *, who=None, by=("tendai",), quorum=1, past=(), halted=False,
    recovery=BROKEN, now=NOW, question=may_authorize,
):  # fmt: skip
    book = book or policy()
    who = people() if who is None else who
    return question(book, in_force or book, RULE, ACTION, KEY, [alert()], who, by, quorum, past, halted, recovery, now)


def test_a_permission_names_whom_to_ask_and_what_to_pass_on():
    found = propose()
    assert (found.outcome, found.approvers, found.quorum) == (Outcome.PERMIT, ("rudo", "tendai"), 1)
    assert dict(found.params) == {"service": "checkout"}
    body = found.to_body()
    assert body["approvers"] == ["rudo", "tendai"]
    assert all(finding["holds"] for finding in body["findings"])


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"halted": True}, "halted"),
        ({"now": MONTH_END}, "blocked during month-end"),
        ({"past": ran(20, 40)}, "limit: 2 runs in 1h, 2 are allowed"),
        ({"past": ran(9)}, "cooldown: the last run was 9m ago, 10m must pass"),
        ({"key": {"service": ""}}, "the alert has no service"),
        ({"key": {}}, "the alert has no service"),
        ({"key": {"service": "mail"}}, "the value 'mail' of service is not in allow"),
        ({"who": [GUEST]}, "1 must approve, and only 0 can"),
        ({"who": []}, "1 must approve, and only 0 can"),
        ({"who": [replace(ONCALL, suspended=True)]}, "1 must approve, and only 0 can"),
        ({"rule": "gone"}, "no action restart in a rule gone"),
        ({"action": "gone"}, "no action gone in a rule"),
        ({"rule": "unmatched"}, "no action restart in a rule unmatched"),
    ],
)
def test_what_may_not_be_proposed(asked, reason):
    found = propose(**asked)
    assert found.outcome is Outcome.DENY
    assert reason in found.reason
    assert found.approvers == ()
    assert dict(found.params) == {}


@pytest.mark.parametrize(
    "asked",
    [
        {"past": ran(11)},
        {"past": ran(10)},
        {"past": ran(20, 60)},
        {"past": [UNRELATED, UNRELATED]},
        {"past": [PastRun("other", ACTION, KEY, NOW), PastRun(RULE, "other", KEY, NOW)]},
        {"now": MONTH_END - timedelta(hours=1, minutes=1)},
        {"now": MONTH_END + timedelta(hours=5)},
        {"key": {"service": "wallet"}},
    ],
)
def test_what_may_be_proposed(asked):
    assert propose(**asked).outcome is Outcome.PERMIT


STRICTER = [
    ("quorum: 1", "quorum: 2"),
    ("roles: [oncall, leads]", "roles: [leads]"),
    ("allow: [checkout, wallet]", "allow: [wallet]"),
    ("executor: restart", "executor: other"),
    ("      restart:\n", "      reboot:\n"),
    ("name: checkout-errors", "name: other-errors"),
    ("max: 2, per: 1h", "max: 1, per: 2h"),
]


@pytest.mark.parametrize("edit", STRICTER)
def test_the_stricter_of_the_two_policies_wins_whichever_it_is(edit):
    """With one approver, tendai, and one run an hour and a half ago, each of these edits is enough to deny."""
    loose, strict = policy(), policy(edit)
    arguments = {"who": [ONCALL], "past": ran(90)}
    assert propose(loose, **arguments).outcome is Outcome.PERMIT
    assert propose(loose, strict, **arguments).outcome is Outcome.DENY
    assert propose(strict, loose, **arguments).outcome is Outcome.DENY
    assert authorize(loose, **arguments).outcome is Outcome.PERMIT
    assert authorize(loose, strict, **arguments).outcome is Outcome.DENY
    assert authorize(strict, loose, **arguments).outcome is Outcome.DENY


def test_an_action_that_is_not_idempotent_any_more_is_not_run_by_the_looser_word():
    looser = policy(("idempotent: false", "idempotent: true"))
    assert propose(looser, policy()).outcome is Outcome.DENY
    assert propose(policy(), looser).outcome is Outcome.PERMIT


def test_approvers_are_those_of_both_policies_and_the_quorum_is_the_greater():
    found = propose(
        policy(), policy(("roles: [oncall, leads], quorum: 1", "roles: [oncall], people: [rudo], quorum: 2"))
    )
    assert (found.approvers, found.quorum) == (("rudo", "tendai"), 2)
    assert propose(policy(), policy(("[oncall, leads]", "[leads]"))).approvers == ("rudo",)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"halted": True}, "halted"),
        ({"now": MONTH_END}, "blocked during"),
        ({"past": ran(1)}, "cooldown"),
        ({"by": ()}, "0 of 1 needed approvals count"),
        ({"by": ("guest",)}, "0 of 1 needed approvals count"),
        ({"by": ("stranger",)}, "0 of 1 needed approvals count"),
        ({"by": ("tendai", "tendai"), "quorum": 2}, "1 of 2 needed approvals count"),
        ({"by": ("tendai", "guest"), "quorum": 2}, "1 of 2 needed approvals count"),
        ({"who": (replace(ONCALL, suspended=True), LEAD)}, "0 of 1 needed approvals count"),
        ({"recovery": verdict(Outcome.RECOVER, "error_ratio 0.01 < 0.02 for 2m")}, "recovered: error_ratio 0.01"),
        ({"recovery": verdict(Outcome.HOLD, "error_ratio 0.01 < 0.02 for 30s of 2m")}, "recovered: error_ratio 0.01"),
    ],
)
@pytest.mark.parametrize("question", [may_authorize, may_dispatch])
def test_what_may_not_be_authorized_or_dispatched(asked, reason, question):
    found = authorize(question=question, **asked)
    assert found.outcome is Outcome.DENY
    assert reason in found.reason


def test_a_quorum_of_two_distinct_people():
    assert authorize(by=("tendai", "rudo"), quorum=2).outcome is Outcome.PERMIT
    assert authorize(policy(("quorum: 1", "quorum: 2")), by=("tendai",)).outcome is Outcome.DENY


@pytest.mark.parametrize("recovery", [None, verdict(Outcome.UNKNOWN, "error_ratio unknown (unreachable)")])
def test_missing_evidence_does_not_stop_a_person_unless_the_action_refuses(recovery):
    found = authorize(recovery=recovery)
    assert found.outcome is Outcome.PERMIT
    assert "unknown" in found.reason
    refusing = policy(("idempotent: false", "if_unknown: refuse"))
    for books in ((refusing, refusing), (refusing, policy()), (policy(), refusing)):
        found = authorize(*books, recovery=recovery)
        assert found.outcome is Outcome.DENY
        assert "unknown" in found.reason
        assert authorize(*books).outcome is Outcome.PERMIT


def answer(
    approvers=("tendai",),
    person=ONCALL,
    book=None,
    rule=RULE,
    action=ACTION,
    now=NOW,
    expires=NOW + timedelta(minutes=1),
):
    return may_answer(approvers, person, book or policy(), rule, action, now, expires)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"person": None}, "not in the roster"),
        ({"person": replace(ONCALL, suspended=True)}, "suspended"),
        ({"person": LEAD}, "you were not asked"),
        ({"approvers": ()}, "you were not asked"),
        ({"expires": NOW}, "expired"),
        ({"expires": NOW - timedelta(seconds=1)}, "expired"),
        ({"book": policy(("[oncall, leads]", "[leads]"))}, "does not let you approve"),
        ({"book": policy(("      restart:\n", "      reboot:\n"))}, "does not let you approve"),
        ({"rule": "gone"}, "does not let you approve"),
        ({"person": Person("tendai", frozenset())}, "does not let you approve"),
    ],
)
def test_whose_answer_does_not_count(asked, reason):
    found = answer(**asked)
    assert found.outcome is Outcome.DENY
    assert reason in found.reason


def test_whose_answer_counts():
    assert answer().outcome is Outcome.PERMIT
    assert answer(expires=NOW + timedelta(microseconds=1)).outcome is Outcome.PERMIT


@pytest.mark.parametrize("question", [may_propose, may_answer, may_authorize])
def test_no_question_has_room_for_what_a_model_says(question):
    words = ("diagnos", "confidence", "model", "claude", "recommend", "advice")
    assert not [name for name in inspect.signature(question).parameters if any(word in name for word in words)]
    assert not [name for name in vars(permission) if any(word in name.lower() for word in words)]


NAMES = st.sampled_from(["tendai", "rudo", "guest", "stranger"])


@given(st.lists(NAMES, max_size=5), st.integers(1, 3), st.sets(NAMES), st.booleans())
def test_nothing_is_authorized_without_its_quorum_of_people_who_may(by, quorum, suspended, halted):
    who = [replace(person, suspended=person.name in suspended) for person in people()]
    found = authorize(who=who, by=by, quorum=quorum, halted=halted)
    counted = set(by) & {"tendai", "rudo"} - suspended
    assert (found.outcome is Outcome.PERMIT) == (len(counted) >= quorum and not halted)


@pytest.mark.parametrize(
    ("notify", "names"),
    [
        (["role:oncall"], ("tendai",)),
        (["role:oncall", "role:leads"], ("rudo", "tendai")),
        (["person:guest", "person:nobody"], ("guest",)),
        (["everyone"], ("guest", "rudo", "tendai")),
        (["role:nobody"], ()),
        ([], ()),
    ],
)
def test_who_is_notified(notify, names):
    gone = Person("gone", frozenset({"oncall"}), suspended=True)
    assert notified(policy(), notify, people(gone)) == names


def test_a_hostile_label_in_a_finding_can_be_kept():
    found = propose(key={"service": "x\ud800\n" * 1000})
    (finding,) = [row for row in found.to_body()["findings"] if row["name"] == "param service"]
    assert len(finding["value"].encode()) <= 400
    assert "\n" not in found.reason
    found.reason.encode()


BLOCKED = "        blocked_during:"
WIDER = (BLOCKED, "        limits: [{{of: {of}, max: 2, per: 1h, cooldown: 5m}}]\n" + BLOCKED)
ELSEWHERE = {
    "action": PastRun(RULE, ACTION, {"service": "wallet"}, NOW - timedelta(minutes=20)),
    "rule": PastRun(RULE, "other", KEY, NOW - timedelta(minutes=20)),
    "tenant": PastRun("other", "other", {}, NOW - timedelta(minutes=20)),
}


@pytest.mark.parametrize("of", ELSEWHERE)
def test_a_wider_limit_counts_runs_of_others(of):
    book = policy((WIDER[0], WIDER[1].format(of=of)))
    ranges = list(ELSEWHERE)
    for place, other in enumerate(ranges):
        counts = place <= ranges.index(of)  # a run of the action is one of the rule, too, and of the tenant
        found = propose(book, past=[ELSEWHERE[other]] * 2)
        assert (found.outcome is Outcome.DENY) is counts, (of, other)
        assert propose(book, past=[ELSEWHERE[other]]).outcome is Outcome.PERMIT
    lately = replace(ELSEWHERE[of], at=NOW - timedelta(minutes=4))
    assert propose(book, past=[lately]).reason == f"cooldown of the {of}: the last run was 4m ago, 5m must pass"
    assert propose(book, past=[ELSEWHERE[of]] * 2).reason == f"limit of the {of}: 2 runs in 1h, 2 are allowed"


def test_a_target_is_worked_on_by_one_execution_at_a_time():
    beside = PastRun("other", "reboot", {}, NOW - timedelta(hours=3), "restart", {"service": "checkout"}, True)
    found = propose(past=[beside])
    assert (found.outcome, found.reason) == (
        Outcome.DENY,
        "restart with service=checkout is under way, or nobody knows how it ended",
    )
    assert authorize(past=[beside], question=may_dispatch).outcome is Outcome.DENY
    for other in (
        replace(beside, open=False),
        replace(beside, executor="scale"),
        replace(beside, params={"service": "wallet"}),
    ):
        assert propose(past=[other]).outcome is Outcome.PERMIT


HELD = (BLOCKED, "        breaker: {{failures: {failures}, of: {of}}}\n" + BLOCKED)
RUN = st.builds(
    PastRun,
    rule=st.sampled_from([RULE, "other"]),
    action=st.sampled_from([ACTION, "other"]),
    key=st.sampled_from([KEY, {"service": "wallet"}]),
    at=st.integers(60, 100_000).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    helped=st.sampled_from([True, False, False, None]),
    forgiven=st.sampled_from([False, False, False, True]),
)


@given(st.lists(RUN, max_size=8, unique_by=lambda run: run.at), st.integers(1, 4), st.sampled_from(["key", "action"]))
def test_a_breaker_against_a_slow_reader(past, failures, of):
    book = policy(
        (HELD[0], HELD[1].format(failures=failures, of=of)), ("        limit: {max: 2, per: 1h, cooldown: 10m}\n", "")
    )
    told = sorted(past, key=lambda run: run.at)  # of the past, the oldest first
    count = 0
    for run in told:
        if (run.rule, run.action) == (RULE, ACTION) and (of == "action" or run.key == KEY):
            count = 0 if run.forgiven or run.helped is True else count + (run.helped is False)
    found = propose(book, past=past)
    assert (found.outcome is Outcome.DENY) is (count >= failures)
    if count >= failures:
        assert found.reason == f"breaker: {count} runs in a row failed or did not help; somebody must resume restart"
        assert authorize(book, past=past, question=may_dispatch).outcome is Outcome.DENY
