"""Files of cases: promtool's notation, and every mistake with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_rules.casebook.cases import DEFAULT_START, CaseErrors, read_cases
from policy_rules.casebook.series import SAMPLES_MAX, BadSeries, Sample, parse_series
from policy_rules.readings import ReadingState

GOOD = """
policy: policy.yml
people: {tendai: [oncall], rudo: [leads]}
tests:
  - name: opens
    start: 2026-01-05T10:00:00Z
    interval: 15s
    labels: {alertname: HighErrorRate, service: checkout}
    signals: {error_ratio: 0.004x3 0.06x9, p95_seconds: 0.3}
    events:
      - {at: 5m, diagnosis: {recommend: restart, confidence: 1.0}}
      - {at: 4m, answer: approve, action: restart, by: tendai}
      - {at: 6m, fire: {alertname: Other}}
    expect:
      - {at: 2m, state: detected, by: policy, key: {service: checkout}}
      - {never: [recovered]}
"""


def values(text: str) -> list[str | None]:
    return [sample.value for sample in parse_series(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.06", ["0.06"]),
        ("0.06x9", ["0.06"] * 10),
        ("1+2x3", ["1", "3", "5", "7"]),
        ("5-1.5x2 0", ["5.0", "3.5", "2.0", "0"]),
        ("-1x1 +Inf -Inf", ["-1", "-1", "+Inf", "-Inf"]),
        ("1e3", ["1000"]),
    ],
)
def test_numbers_as_promtool_writes_them(text, wanted):
    assert values(text) == wanted


def test_the_answers_that_are_no_number():
    states = [sample.state for sample in parse_series("_x1 NaN stale many down error")]
    assert states == [
        *(ReadingState.NO_DATA, ReadingState.NO_DATA, ReadingState.NAN, ReadingState.STALE),
        *(ReadingState.MANY, ReadingState.UNREACHABLE, ReadingState.ERROR),
    ]
    assert parse_series("_")[0] == Sample(ReadingState.NO_DATA, None)


@pytest.mark.parametrize("text", ["", "x", "0.06x", "0.06 x9", "1+2", "_+1x2", "1x99999", "1,5", "0x10x2x", "٣"])
def test_what_is_no_series(text):
    with pytest.raises(BadSeries):
        parse_series(text)


def test_a_series_has_a_limit():
    assert len(parse_series(f"1x{SAMPLES_MAX - 1}")) == SAMPLES_MAX
    with pytest.raises(BadSeries, match="at most"):
        parse_series(f"1x{SAMPLES_MAX}")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_series(text)
    except BadSeries:
        return
    assert 1 <= len(found) <= SAMPLES_MAX


def test_a_whole_file():
    found = read_cases(GOOD, "cases.yml")
    (case,) = found.cases
    assert (found.policy, found.people) == ("policy.yml", {"tendai": ("oncall",), "rudo": ("leads",)})
    assert (case.start, case.interval_seconds) == (DEFAULT_START, 15)
    assert [len(case.signals[name]) for name in ("error_ratio", "p95_seconds")] == [14, 1]
    assert [event.what for event in case.events] == ["answer", "diagnosis", "fire"]  # in the order of their times
    assert case.expectations[0].wanted == {"state": "detected", "by": "policy"}
    assert case.expectations[0].key == {"service": "checkout"}
    assert (case.expectations[1].at_seconds, case.expectations[1].never) == (None, ("recovered",))


WRONG = [
    ("policy: policy.yml", "polcy: policy.yml", "unknown key 'polcy'; did you mean 'policy'?"),
    ("tests:", "test:", "did you mean 'tests'?"),
    ("start: 2026-01-05T10:00:00Z", "start: 2026-01-05", "date"),
    ("start: 2026-01-05T10:00:00Z", 'start: "2026-01-05T10:00:00"', "needs its zone"),
    ("interval: 15s", "interval: 15", "did you mean 15s?"),
    ("labels: {alertname: HighErrorRate, service: checkout}", "labels: {}", "at least one label"),
    ("    labels: {alertname: HighErrorRate, service: checkout}\n", "", "a test needs one"),
    ("0.004x3", "0.004y3", "is no sample"),
    ("answer: approve", "answer: aprove", "did you mean 'approve'?"),
    (", by: tendai", "", "by is missing"),
    ("answer: approve", "answer: approve, halt: x", "one of answer"),
    ("{at: 4m, ", "{", "at is missing"),
    ("state: detected", "state: detcted", "did you mean 'detected'?"),
    ("never: [recovered]", "never: [recoverd]", "did you mean 'recovered'?"),
    ("{at: 2m, state: detected, by: policy, key: {service: checkout}}", "{at: 2m}", "nothing is expected"),
    ("confidence: 1.0", "confidence: high", "must be a number"),
    ("tendai: [oncall]", "tendai: oncall", "must be a list"),
    ("name: opens", "name: 5", "quote it"),
]


@pytest.mark.parametrize(("good", "bad", "says"), WRONG)
def test_a_mistake_is_told_with_its_line(good, bad, says):
    assert good in GOOD
    with pytest.raises(CaseErrors) as refused:
        read_cases(GOOD.replace(good, bad, 1), "cases.yml")
    assert says in str(refused.value)
    assert all(problem.line >= 1 for problem in refused.value.problems)


def test_all_mistakes_are_told_at_once():
    text = GOOD.replace("state: detected", "state: x").replace("0.004x3", "0.004y3")
    with pytest.raises(CaseErrors) as refused:
        read_cases(text, "cases.yml")
    assert [problem.line for problem in refused.value.problems] == [9, 15]


def test_a_name_stands_once_and_a_test_expects_something():
    with pytest.raises(CaseErrors, match="there is a test 'opens' already"):
        read_cases(GOOD + GOOD.partition("tests:\n")[2], "cases.yml")
    with pytest.raises(CaseErrors, match="proves nothing"):
        read_cases(GOOD.partition("    expect:")[0] + "    expect: []\n", "cases.yml")


@given(st.binary(max_size=60), st.integers(0, len(GOOD)))
def test_any_bytes_are_read_or_refused(noise, place):
    raw = GOOD.encode()
    try:
        found = read_cases(raw[:place] + noise + raw[place:], "cases.yml")
    except CaseErrors:
        return
    assert found.cases
