"""An action's own condition, and each kind of the unknown, against a slow reader of the rules as README.md has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.advice import warnings
from policy_rules.detection import should_detect
from policy_rules.differences import differences
from policy_rules.permission import Permission, may_ask, may_authorize, may_propose
from policy_rules.readings import Reading, ReadingState
from policy_rules.recovery import should_recover
from policy_rules.rulebook import Rulebook
from policy_rules.unknown import KINDS, OnUnknown
from policy_rules.verdict import Memory, Outcome, Verdict
from tests.policy_rules.helpers import KEY, NOW, POLICY, alert, people, policy

RULE, ACTION = "checkout-errors", "restart"
BROKEN = Verdict(Outcome.PERSIST, "error_ratio 0.5 not < 0.02", (), RULE, "1", "0")
LINE = "        idempotent: false\n"


def needed(when: str, *more: str) -> Rulebook:
    lines = "".join(f"        {line}\n" for line in (f"when: {when}", *more))
    return policy((LINE, LINE + lines))


def told(value: str | ReadingState, name: str = "error_ratio") -> Reading:
    state = value if isinstance(value, ReadingState) else ReadingState.VALUE
    return Reading(name, "", state, None if state is not ReadingState.VALUE else str(value), NOW, NOW)


def propose(book: Rulebook, *readings: Reading, in_force: Rulebook | None = None) -> Permission:
    return may_propose(book, in_force or book, RULE, ACTION, KEY, [alert()], people(), (), False, NOW, readings)


def authorize(book: Rulebook, *readings: Reading, in_force: Rulebook | None = None) -> Permission:
    books = book, in_force or book
    alerts, who = [alert()], people()
    return may_authorize(*books, RULE, ACTION, KEY, alerts, who, ("tendai",), 1, (), False, BROKEN, NOW, readings)


@pytest.mark.parametrize("question", [propose, authorize])
def test_an_action_is_permitted_only_while_it_is_needed(question):
    book = needed("[error_ratio >= 0.2, {any: [p95_seconds > 2, alerts.firing >= 5]}]")
    both = told("0.3"), told("3", "p95_seconds")
    assert question(book, *both).outcome is Outcome.PERMIT
    found = question(book, told("0.1"), told("3", "p95_seconds"))
    assert (found.outcome, found.reason) == (Outcome.DENY, "it is not needed: error_ratio 0.1 not >= 0.2")
    names = [(row["name"], row["value"], row["operator"], row["threshold"]) for row in found.to_body()["evidence"]]
    assert names == [
        ("error_ratio", "0.1", ">=", "0.2"),
        ("p95_seconds", "3", ">", "2"),
        ("alerts.firing", "1", ">=", "5"),
    ]
    assert question(book, told("0.3"), told("1", "p95_seconds")).outcome is Outcome.DENY


def test_an_action_without_a_condition_asks_nothing_and_its_permission_is_what_it_always_was():
    assert may_ask(policy(), policy(), RULE, ACTION, KEY) == ()
    assert "evidence" not in propose(policy()).to_body()
    assert all(finding.name != "when" for finding in propose(policy()).findings)


def test_what_cannot_be_told_waits_and_does_not_stop_people_who_have_answered():
    book = needed("[error_ratio >= 0.2]")
    for readings in ((), (told(ReadingState.NAN),)):
        found = propose(book, *readings)
        assert found.outcome is Outcome.DENY
        assert found.reason.startswith("whether it is needed cannot be told: error_ratio unknown")
        assert authorize(book, *readings).outcome is Outcome.PERMIT
        assert "cannot be told" in authorize(book, *readings).reason


def test_the_stricter_of_the_two_policies_wins_and_each_reads_its_own_signals():
    loose, strict = needed("[error_ratio >= 0.2]"), needed("[error_ratio >= 0.4]")
    for question in (propose, authorize):
        assert question(loose, told("0.3")).outcome is Outcome.PERMIT
        assert question(loose, told("0.3"), in_force=strict).outcome is Outcome.DENY
        assert question(strict, told("0.3"), in_force=loose).outcome is Outcome.DENY
    other = POLICY.replace(LINE, LINE + "        when: [error_ratio >= 0.2]\n").replace("rate(errors", "rate(failures")
    newer = policy(text=other)
    asked = may_ask(loose, newer, RULE, ACTION, KEY)
    assert [query.name for query in asked] == ["error_ratio", "in_force/error_ratio"]
    assert ["errors" in asked[0].promql, "failures" in asked[1].promql] == [True, True]
    assert may_ask(loose, loose, RULE, ACTION, KEY) == asked[:1]
    for old, new, permits in (("0.3", "0.3", True), ("0.3", "0.1", False), ("0.1", "0.3", False)):
        found = propose(loose, told(old), told(new, "in_force/error_ratio"), in_force=newer)
        assert (found.outcome is Outcome.PERMIT) is permits
    assert propose(loose, told("0.3"), in_force=newer).outcome is Outcome.DENY


STATES = st.one_of(
    st.sampled_from(["0.1", "0.2", "0.3"]), st.sampled_from([s for s in ReadingState if s is not ReadingState.VALUE])
)
WORDS = {"when_unknown": ("wait", "propose"), "if_unknown": ("refuse", "proceed")}


@st.composite
def unknowns(draw, key):
    """(the line of the policy, what it says by kind)."""
    of = draw(st.dictionaries(st.sampled_from(KINDS), st.sampled_from(WORDS[key]), max_size=4))
    otherwise = draw(st.sampled_from([None, *WORDS[key]]))
    default = {"when_unknown": "wait", "if_unknown": "proceed"}[key]
    said = {kind: of.get(kind, otherwise or default) for kind in KINDS}
    if not of:
        return (f"{key}: {otherwise or default}", said)
    inner = ", ".join(f"{kind}: {word}" for kind, word in (*of.items(), *([("else", otherwise)] if otherwise else [])))
    return (f"{key}: {{{inner}}}", said)


def expected(readings: Mapping[str, str | ReadingState], said: Mapping[str, str], yes: str, any_of: bool) -> bool:
    """error_ratio >= 0.2 and (or) p95_seconds >= 0.2, decided by trying what each unknown could have been."""
    options = [["0", "9"] if isinstance(v, ReadingState) else [v] for v in readings.values()]
    truths = {
        (any if any_of else all)(Decimal(v) >= Decimal("0.2") for v in (one, other))
        for one in options[0]
        for other in options[1]
    }
    if len(truths) == 1:
        return truths.pop()
    kinds = [v.value for v in readings.values() if isinstance(v, ReadingState)]
    return all(said[kind] == yes for kind in kinds)


@given(STATES, STATES, unknowns("when_unknown"), unknowns("if_unknown"), st.booleans())
def test_against_a_slow_reader(one, other, waits, refuses, any_of):
    terms = "error_ratio >= 0.2, p95_seconds >= 0.2"
    book = needed(f"{{any: [{terms}]}}" if any_of else f"[{terms}]", waits[0], refuses[0])
    readings = {"error_ratio": one, "p95_seconds": other}
    given_ = [told(value, name) for name, value in readings.items()]
    for question, said, yes in ((propose, waits[1], "propose"), (authorize, refuses[1], "proceed")):
        found = question(book, *given_)
        assert (found.outcome is Outcome.PERMIT) is expected(readings, said, yes, any_of), found.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_for_each_kind_at_detection_and_at_the_tap(kind):
    rest = "detect" if kind != "stale" else "hold"
    book = policy(("for: 1m, if_unknown: detect", f"if_unknown: {{{kind}: ignore, else: {rest}}}"))
    rule = book.rules[0]
    for state in (s for s in ReadingState if s is not ReadingState.VALUE):
        found = should_detect(book, rule, [alert()], [told(state)], NOW, Memory())
        wanted = Outcome.IGNORE if state.value == kind else Outcome.UNKNOWN if rest == "detect" else Outcome.HOLD
        assert found.outcome is wanted, state
        assert state.value in found.reason
    refusing = policy((LINE, LINE + f"        if_unknown: {{{kind}: refuse}}\n"))
    for state in (s for s in ReadingState if s is not ReadingState.VALUE):
        verdict = should_recover_of(refusing, told(state))
        alerts, who = [alert()], people()
        found = may_authorize(
            refusing, refusing, RULE, ACTION, KEY, alerts, who, ("tendai",), 1, (), False, verdict, NOW
        )
        assert (found.outcome is Outcome.DENY) is (state.value == kind)


def should_recover_of(book: Rulebook, reading: Reading) -> Verdict:

    return should_recover(book, book.rules[0], [alert()], [reading], NOW, Memory())


def test_a_reading_that_grew_old_by_itself_is_stale():
    book = policy(("for: 1m, if_unknown: detect", "if_unknown: {stale: ignore, else: detect}"))
    old = Reading("error_ratio", "", ReadingState.VALUE, "0.5", NOW - timedelta(minutes=3), NOW)
    found = should_detect(book, book.rules[0], [alert()], [old], NOW, Memory())
    assert (found.outcome, "stale: sampled 180 s ago" in found.reason) == (Outcome.IGNORE, True)


def test_the_most_careful_word_of_several_kinds():
    said = OnUnknown("ignore", (("nan", "hold"), ("error", "detect")))
    careful: Sequence[str] = ("detect", "hold", "ignore")
    assert said.say({"nan", "error", "stale"}, careful) == "detect"
    assert said.say({"nan", "stale"}, careful) == "hold"
    assert said.say({"stale"}, careful) == "ignore"
    assert said.say((), careful) == "ignore"
    assert said.text() == "nan hold, error detect, else ignore"


def test_a_score_is_unknown_of_every_kind_that_its_parts_are():
    book = needed("[score < 50]", "when_unknown: {nan: propose, stale: wait}")
    both = told(ReadingState.NAN), told(ReadingState.STALE, "p95_seconds")
    assert propose(book, *both).outcome is Outcome.DENY
    assert propose(book, told(ReadingState.NAN), told("0.1", "p95_seconds")).outcome is Outcome.PERMIT


def test_what_changes_is_said_and_what_can_never_be_is_warned_of():
    assert differences(policy(), needed("[error_ratio >= 0.2]", "when_unknown: {nan: propose}")) == [
        "checkout-errors: restart: is offered when error_ratio >= 0.2, was always",
        "checkout-errors: restart: where that is unknown: nan propose, else wait, was wait",
    ]
    (said,) = warnings(needed("[error_ratio < 0.01]"))
    assert (said.line, "offered only while recover holds" in said.message) == (29, True)


def test_the_example_of_the_readme_is_read():
    page = files("policy_rules").joinpath("README.md").read_text(encoding="utf-8")
    line = next(
        line for line in page.splitlines() if line.startswith("detect: {when: [error_ratio >= 0.05], if_unknown")
    )
    book = policy(("detect: {when: [error_ratio >= 0.05], for: 1m, if_unknown: detect, unknown_after: 1m}", line))
    assert book.rules[0].detect.if_unknown == OnUnknown("detect", (("no_data", "ignore"), ("many_series", "hold")))
