"""Detection and recovery over time: holds, gaps, flapping, and what the unknown means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.detection import assign, queries, recorded_by, should_detect
from policy_rules.recovery import should_recover
from policy_rules.verdict import Memory, Outcome, memory_from_body
from tests.policy_rules.helpers import KEY, NOW, alert, policy, reading

GAP_SECONDS = 2 * 30 + 15
BAD, FAIR, GOOD = "0.5", "0.03", "0.01"  # detects; neither; recovers
LOOKS = st.lists(st.tuples(st.integers(5, 120), st.sampled_from([BAD, FAIR, GOOD, None])), min_size=1, max_size=25)


def run(decide, looks, rulebook=None, alerts=None):
    """One verdict a look; looks are (seconds since the last one, reading or None)."""
    rulebook = rulebook or policy()
    rule = rulebook.rule("checkout-errors")
    memory, now, verdicts = Memory(), NOW, []
    for seconds, value in looks:
        now += timedelta(seconds=seconds)
        verdict = decide(rulebook, rule, alerts or [alert()], [reading(value, now)], now, memory)
        memory = memory_from_body(verdict.to_body())  # what the ledger keeps is enough to go on with
        verdicts.append((now, verdict))
    return verdicts


def outcomes(decide, looks, *edits):
    return [verdict.outcome.value for _, verdict in run(decide, looks, policy(*edits))]


@given(LOOKS)
def test_recovery_was_seen_at_every_look_of_the_hold_without_a_gap_and_never_on_the_unknown(looks):
    verdicts = run(should_recover, looks)
    for index, (now, verdict) in enumerate(verdicts):
        if verdict.outcome is not Outcome.RECOVER:
            continue
        start = index
        while start > 0 and looks[start][1] == GOOD and looks[start - 1][1] == GOOD and looks[start][0] <= GAP_SECONDS:
            start -= 1
        assert looks[index][1] == GOOD
        assert (now - verdicts[start][0]).total_seconds() >= 120


@given(LOOKS)
def test_recovery_is_declared_as_soon_as_the_hold_is_over(looks):
    verdicts = run(should_recover, looks)
    since = None
    for (now, verdict), (seconds, value) in zip(verdicts, looks, strict=True):
        since = None if value != GOOD else now if since is None or seconds > GAP_SECONDS else since
        if value is None:
            expected = Outcome.UNKNOWN
        elif since is None:
            expected = Outcome.PERSIST
        else:
            expected = Outcome.RECOVER if (now - since).total_seconds() >= 120 else Outcome.HOLD
        assert verdict.outcome is expected


@given(LOOKS, st.sampled_from(["detect", "hold", "ignore"]))
def test_detection_against_a_model(looks, if_unknown):
    verdicts = run(should_detect, looks, policy(("if_unknown: detect", f"if_unknown: {if_unknown}")))
    true_since = unknown_since = None
    for (now, verdict), (seconds, value) in zip(verdicts, looks, strict=True):
        if seconds > GAP_SECONDS:
            true_since = None
        if value == BAD:
            true_since, unknown_since = true_since or now, None
            expected = Outcome.DETECT if (now - true_since).total_seconds() >= 60 else Outcome.HOLD
        elif value is None and if_unknown == "detect":
            unknown_since = unknown_since or now
            expected = Outcome.DETECT if (now - unknown_since).total_seconds() >= 60 else Outcome.UNKNOWN
        elif value is None and if_unknown == "hold":
            true_since, expected = None, Outcome.HOLD
        else:
            true_since, unknown_since, expected = None, None, Outcome.IGNORE
        assert verdict.outcome is expected


def partly(value):
    return replace(reading(value, detail="Prometheus warns: a store did not answer"), partial=True)


def decided(decide, told, *edits, alerts=None):
    book = policy(*edits)
    return decide(book, book.rule("checkout-errors"), alerts or [alert()], [told], NOW, Memory())


def test_what_is_read_in_part_opens_an_incident_and_keeps_it_open_and_never_ends_it():
    """With a store missing `or vector(0)` reads as a service that is well."""
    assert decided(should_detect, partly(BAD), ("for: 1m, if_unknown", "for: 0s, if_unknown")).outcome is Outcome.DETECT
    assert decided(should_recover, partly(BAD)).outcome is Outcome.PERSIST
    verdict = decided(should_recover, partly(GOOD))
    assert verdict.outcome is Outcome.UNKNOWN
    why = "partial: it says 0.01; Prometheus warns: a store did not answer"
    assert [(finding.value, finding.detail) for finding in verdict.findings] == [(None, why)]
    assert verdict.memory.true_since is None
    assert decided(should_recover, reading(GOOD)).outcome is Outcome.HOLD


def test_a_negation_takes_no_part_for_the_whole_either():
    edit = ("when: [error_ratio < 0.02]", "when: [{not: error_ratio >= 0.02}]")
    found = [decided(should_recover, told, edit).outcome for told in (partly(GOOD), partly(BAD), reading(GOOD))]
    assert found == [Outcome.UNKNOWN, Outcome.PERSIST, Outcome.HOLD]


def test_what_the_whole_decides_alone_needs_no_part():
    edit = ("when: [error_ratio < 0.02]", "when: [{any: [error_ratio < 0.02, alerts.firing == 0]}]")
    assert decided(should_recover, partly(GOOD), edit, alerts=[alert(firing=False)]).outcome is Outcome.HOLD
    assert decided(should_recover, partly(GOOD), edit).outcome is Outcome.UNKNOWN


def test_flapping_never_opens_and_never_recovers():
    assert set(outcomes(should_detect, [(30, BAD), (30, FAIR)] * 10)) == {"hold", "ignore"}
    assert set(outcomes(should_recover, [(30, GOOD), (30, GOOD), (30, FAIR)] * 10)) == {"hold", "persist"}


def test_a_gap_begins_the_hold_anew():
    assert outcomes(should_recover, [(30, GOOD), (60, GOOD), (60, GOOD)]) == ["hold", "hold", "recover"]
    assert outcomes(should_recover, [(30, GOOD), (60, GOOD), (76, GOOD)]) == ["hold", "hold", "hold"]
    assert outcomes(should_recover, [(30, GOOD), (60, GOOD), (75, GOOD)]) == ["hold", "hold", "recover"]


def test_one_unknown_look_begins_recovery_anew():
    looks = [(30, GOOD)] * 4 + [(30, None)] + [(30, GOOD)] * 5
    assert outcomes(should_recover, looks) == ["hold"] * 4 + ["unknown"] + ["hold"] * 4 + ["recover"]


def test_for_0s_decides_at_the_first_look():
    assert outcomes(should_detect, [(30, BAD)], ("for: 1m", "for: 0s")) == ["detect"]
    assert outcomes(should_recover, [(30, GOOD)], ("for: 2m", "for: 0s")) == ["recover"]


def test_the_alerts_word_counts_after_unknown_after():
    verdicts = run(should_detect, [(1, None), (30, None), (30, None)])
    assert [verdict.outcome.value for _, verdict in verdicts] == ["unknown", "unknown", "detect"]
    assert "the alert's word counts" in verdicts[-1][1].reason
    assert "unreachable" in verdicts[-1][1].reason


def test_a_signal_that_comes_and_goes_does_not_keep_an_incident_from_opening():
    assert outcomes(should_detect, [(30, BAD), (30, None), (30, BAD)]) == ["hold", "unknown", "detect"]


def test_a_restart_between_two_unknown_looks_does_not_begin_the_wait_anew():
    assert outcomes(should_detect, [(30, None), (300, None)]) == ["unknown", "detect"]


def test_hold_and_ignore_never_open_on_the_unknown():
    for word, outcome in (("hold", "hold"), ("ignore", "ignore")):
        found = outcomes(should_detect, [(60, None)] * 30, ("if_unknown: detect", f"if_unknown: {word}"))
        assert set(found) == {outcome}


def test_a_clock_that_stepped_back_gives_no_hold_for_free():
    rulebook = policy()
    rule = rulebook.rule("checkout-errors")
    ahead = Memory(true_since=NOW + timedelta(hours=1), looked_at=NOW + timedelta(hours=1))
    verdict = should_recover(rulebook, rule, [alert()], [reading(GOOD)], NOW, ahead)
    assert verdict.outcome is Outcome.HOLD
    assert verdict.memory.true_since == NOW


def test_without_a_firing_alert_nothing_is_detected():
    assert outcomes(should_detect, [(30, BAD)] * 5) == ["hold", "hold", "detect", "detect", "detect"]
    verdicts = run(should_detect, [(30, BAD)] * 5, alerts=[alert(firing=False)])
    assert {verdict.outcome for _, verdict in verdicts} == {Outcome.IGNORE}
    verdicts = run(should_detect, [(60, None)] * 5, alerts=[alert(firing=False)])
    assert {verdict.outcome for _, verdict in verdicts} == {Outcome.IGNORE}


def test_a_verdict_explains_itself():
    (_, verdict), *_ = run(should_detect, [(30, "0.3103448275862069")], policy(("for: 1m", "for: 0s")))
    body = verdict.to_body()
    assert verdict.reason == "error_ratio 0.31 >= 0.05"
    assert body["findings"] == [
        {
            "name": "error_ratio",
            "operator": ">=",
            "threshold": "0.05",
            "value": "0.3103448275862069",
            "holds": True,
        }
    ]
    assert (body["policy_version"], len(body["policy_digest"]), body["rule"]) == ("1.4.0", 64, "checkout-errors")


def test_hold_and_recovery_in_words():
    verdicts = run(should_recover, [(30, GOOD)] * 5)
    assert verdicts[2][1].reason == "error_ratio 0.01 < 0.02 for 1m of 2m"
    assert verdicts[4][1].reason == "error_ratio 0.01 < 0.02 for 2m"
    (_, verdict), *_ = run(should_recover, [(30, BAD)])
    assert verdict.reason == "error_ratio 0.5 not < 0.02"


def test_a_rule_without_signals_decides_on_the_alerts_alone():
    rulebook = policy()
    rule = rulebook.rule("unmatched")
    assert queries(rulebook, rule, {"alertname": "X"}) == ()
    assert should_detect(rulebook, rule, [alert()], [], NOW, Memory()).outcome is Outcome.DETECT
    assert should_recover(rulebook, rule, [alert()], [], NOW, Memory()).outcome is Outcome.PERSIST
    assert should_recover(rulebook, rule, [alert(firing=False)], [], NOW, Memory()).outcome is Outcome.RECOVER


def test_queries_ask_for_the_score_only_where_it_is_used():
    rulebook = policy()
    assert [query.name for query in queries(rulebook, rulebook.rule("checkout-errors"), KEY)] == ["error_ratio"]
    rulebook = policy(("[error_ratio < 0.02]", "[error_ratio < 0.02, score > 70]"))
    found = queries(rulebook, rulebook.rule("checkout-errors"), KEY)
    assert [query.name for query in found] == ["error_ratio", "p95_seconds"]
    assert found[1].promql == 'max(p95{service="checkout"})'
    assert found[1].max_age_seconds == 120


@pytest.mark.parametrize("labels", [{}, {"service": ""}])
def test_a_missing_group_label_is_the_empty_value(labels):
    rulebook = policy()
    (assignment,) = assign(rulebook, alert({"alertname": "HighErrorRate", "severity": "page", **labels}))
    assert assignment.key == {"service": ""}


TWO_RULES = (
    "rules:\n",
    "rules:\n"
    "  - {name: all, matchers: ['severity=\"page\"'], group_by: [], continue: true}\n"
    "  - {name: watchdog, matchers: ['alertname=\"Watchdog\"'], record: true}\n",
)


def test_the_first_rule_takes_the_alert_unless_it_says_continue():
    rulebook = policy(TWO_RULES)
    assert [a.rule for a in assign(rulebook, alert())] == ["all", "checkout-errors"]
    assert [a.rule for a in assign(policy(), alert())] == ["checkout-errors"]


def test_a_watchdog_is_recorded_and_opens_nothing():
    rulebook = policy(TWO_RULES)
    watchdog = alert({"alertname": "Watchdog"})
    assert assign(rulebook, watchdog) == ()
    assert recorded_by(rulebook, watchdog) == "watchdog"
    assert recorded_by(rulebook, alert()) is None


def test_an_alert_that_no_rule_takes_is_never_swallowed():
    stranger = alert({"alertname": "DiskFull"})
    (assignment,) = assign(policy(), stranger)
    assert (assignment.rule, assignment.key) == ("unmatched", {"alertname": "DiskFull"})
    recording = policy(("unmatched: notify", "unmatched: record"))
    assert assign(recording, stranger) == ()
    assert recorded_by(recording, stranger) == "unmatched"
    assert recorded_by(policy(), stranger) is None
