"""The statistics behind the candidates: rates, robust scales, moves and their times, marks, and the order."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.evidence.grid import Grid, Row, read_rows
from receiver.evidence.measured import measured, short, unit_of
from receiver.evidence.moving import Z_MAX, median, move, quotients, rates, reach, rises, spread
from receiver.evidence.ranking import Candidate, Series, Symptom, candidate, exhibit, rank

END = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GRID = Grid.before(END, 3_600)
VALUES = st.floats(-1e9, 1e9, allow_nan=False)


def noisy(level: float, count: int, seed: int = 1, share: float = 0.05) -> list[float | None]:
    rng = random.Random(seed)
    return [level * (1 + share * rng.uniform(-1, 1)) for _ in range(count)]


def series(name: str, values: list[float | None], distance: int = 0, **labels: str) -> Series:
    texts = tuple("" if value is None else repr(value) for value in values)
    return Series(Row(labels, texts), name, distance, name)


# --- rates -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1_000), min_size=3, max_size=40), st.integers(1, 5))
def test_a_counter_that_never_resets_grows_by_what_it_shows(steps: list[int], window: int) -> None:
    counter = [float(sum(steps[: at + 1])) for at in range(len(steps))]
    found = rates(counter, 10.0, window)
    assert found[0] is None
    for at in range(1, len(counter)):
        since = max(0, at - window)
        assert found[at] == pytest.approx((counter[at] - counter[since]) / ((at - since) * 10.0))


@given(st.lists(st.integers(1, 1_000), min_size=6, max_size=40), st.data())
def test_a_reset_and_a_missing_sample_make_no_rate_negative(steps: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(steps) - 1))
    counter: list[float | None] = []
    total = 0.0
    for place, step in enumerate(steps):
        total = 0.0 if place == at else total + step
        counter.append(total)
    counter[data.draw(st.integers(0, len(steps) - 1))] = None
    assert all(rate is None or 0 <= rate <= 1_000 for rate in rates(counter, 1.0, 2))


def test_after_a_reset_a_counter_has_grown_by_what_it_shows() -> None:
    assert rates([100.0, 110.0, 4.0, 14.0], 2.0, 1) == [None, 5.0, 2.0, 5.0]
    assert rates([100.0, None, 120.0], 2.0, 2) == [None, None, 5.0]
    assert rates([None, None, 3.0], 1.0, 2) == [None, None, None]


def test_a_mean_is_unknown_where_nothing_was_counted() -> None:
    assert quotients([6.0, 1.0, None], [3.0, 0.0, 2.0]) == [2.0, None, None]


# --- scales ----------------------------------------------------------------------------------------------------------


@given(st.lists(VALUES, min_size=1, max_size=50), st.randoms())
def test_median_and_spread_do_not_depend_on_the_order(values: list[float], rng: random.Random) -> None:
    mixed = list(values)
    rng.shuffle(mixed)
    assert median(values) == median(mixed)
    assert spread(values) == spread(mixed) >= 0
    assert min(values) <= median(values) <= max(values)


@given(st.lists(st.floats(1, 2), min_size=9, max_size=30), st.lists(VALUES, min_size=1, max_size=4))
def test_fewer_wild_samples_than_half_move_the_median_by_nothing_much(calm: list[float], wild: list[float]) -> None:
    assert 1 <= median([*calm, *wild]) <= 2
    assert spread([*calm, *wild]) <= 1.5


def test_a_few_whole_numbers_vary_although_more_than_half_are_equal() -> None:
    assert spread([2.0] * 18 + [3.0] * 6) == 0
    assert reach([2.0] * 18 + [3.0] * 6) > 0
    assert reach([2.0] * 23 + [900.0]) == 0


# --- moves -----------------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 1e6), st.integers(0, 1_000))
@settings(max_examples=60)
def test_what_goes_on_as_before_does_not_move(level: float, seed: int) -> None:
    points = noisy(level, 60, seed)
    found = move(points, points[:24])
    assert found is not None
    assert found.moved_at is None


@given(st.floats(0.01, 1e6), st.integers(26, 50), st.sampled_from([0.2, 3.0, 10.0]), st.integers(0, 1_000))
@settings(max_examples=60)
def test_a_step_is_found_where_it_is(level: float, at: int, times: float, seed: int) -> None:
    points = [*noisy(level, at, seed), *noisy(level * times, 60 - at, seed + 1)]
    found = move(points, points[:24])
    assert found is not None
    assert found.moved_at == at
    assert (found.z > 0) == (times > 1)
    assert abs(found.z) <= Z_MAX


def test_one_wild_sample_is_no_move() -> None:
    points = noisy(10.0, 60)
    points[40] = 1e6
    found = move(points, points[:24])
    assert found is not None
    assert found.moved_at is None


def test_what_always_drifts_does_not_move_and_what_begins_to_does() -> None:
    drifting: list[float | None] = [100.0 + at for at in range(60)]
    assert (found := move(drifting, drifting[:24])) is not None
    assert found.moved_at is None
    leaking: list[float | None] = [100.0 + max(0, at - 30) * 10 for at in range(60)]
    assert (found := move(leaking, leaking[:24])) is not None
    assert found.moved_at is not None
    assert 31 <= found.moved_at <= 34


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_a_constant_does_not_move(value: float) -> None:
    points: list[float | None] = [value] * 60
    assert (found := move(points, points[:24])) is not None
    assert (found.z, found.moved_at) == (0.0, None)


def test_of_too_little_nothing_is_said() -> None:
    points: list[float | None] = [None] * 20 + noisy(5.0, 40)
    assert move(points, points[:24]) is None
    assert move([], []) is None
    assert move([1.0, 2.0], noisy(5.0, 24)) is None


def test_missing_samples_are_bridged() -> None:
    points = [*noisy(10.0, 35), *noisy(90.0, 25)]
    for at in range(0, 60, 3):
        points[at] = None
    found = move(points, points[:24])
    assert found is not None
    assert found.moved_at in (35, 36, 37)


def test_a_few_events_more_are_no_move() -> None:
    rare: list[float | None] = [0.0] * 40 + [2 / 120] * 20  # two events in two minutes
    assert (found := move(rare, rare[:24], 120.0)) is not None
    assert found.moved_at is None
    many: list[float | None] = [0.0] * 40 + [2.0] * 20
    assert (found := move(many, many[:24], 120.0)) is not None
    assert found.moved_at == 40


def test_a_leak_is_still_on_its_way_and_a_step_is_over() -> None:
    leak: list[float | None] = [float(at) for at in range(60)]
    step: list[float | None] = [0.0] * 5 + [50.0] * 55
    assert rises(leak, 5, 50)
    assert not rises(step, 5, 50)
    assert not rises(leak, 50, 52)


# --- what a candidate is ---------------------------------------------------------------------------------------------


def found_of(one: Series) -> Candidate:
    found = candidate(one, GRID)
    assert found is not None, one.name
    return found


def test_a_counter_is_read_as_its_rate() -> None:
    grown = [float(at * 600) for at in range(35)]
    counter: list[float | None] = [*grown, *(grown[-1] + 6_000 * (at + 1) for at in range(25))]
    found = found_of(series("jobs_total", counter))
    assert found.title == "jobs_total per second"
    assert (found.move.before, found.move.after) == (10.0, 100.0)
    assert found.unit == "per second"
    assert found.texts[-1] == "100"


def test_a_version_that_comes_a_restart_and_a_time_that_passes_are_marks() -> None:
    version: list[float | None] = [None] * 40 + [1.0] * 20
    assert found_of(series("app_build_info", version, version="2")).move.moved_at == 40
    began = END.timestamp()
    restart: list[float | None] = [began - 90_000.0] * 45 + [began - 900.0] * 15
    assert found_of(series("process_start_time_seconds", restart)).move.moved_at == 45
    passed: list[float | None] = [(END - timedelta(minutes=10)).timestamp()] * 60
    assert found_of(series("probe_ssl_earliest_cert_expiry", passed)).move.moved_at == 49
    later: list[float | None] = [(END + timedelta(days=10)).timestamp()] * 60
    assert candidate(series("probe_ssl_earliest_cert_expiry", later), GRID) is None


def test_a_stock_that_is_used_up_is_a_mark_even_if_it_always_fell() -> None:
    disk: list[float | None] = [max(0.0, 1_000.0 - 18 * at) for at in range(60)]
    found = found_of(series("node_filesystem_avail_bytes", disk))
    assert found.move.moved_at is not None
    assert found.move.moved_at >= 54


def test_nan_and_infinity_are_no_samples() -> None:
    texts = ("NaN",) * 30 + ("+Inf",) * 30
    assert candidate(Series(Row({}, texts), "x", 0, "x"), GRID) is None


def test_what_moved_before_the_symptom_comes_before_what_moved_after_it() -> None:
    before = series("first", [*noisy(10, 38), *noisy(40, 22)])
    after = series("second", [*noisy(10, 50, 2), *noisy(40, 10, 2)])
    long_ago = series("unrelated", [*noisy(10, 25, 3), *noisy(40, 35, 3)])
    ranked = rank([after, long_ago, before], GRID, Symptom(42))
    assert [one.series.name for one in ranked] == ["first", "unrelated", "second"]


def test_what_was_over_before_the_symptom_counts_for_less_and_so_does_the_symptom_itself() -> None:
    stays = series("stays", [*noisy(10, 38), *noisy(40, 22)])
    over = series("over", [*noisy(10, 30, 2), *noisy(400, 5, 2), *noisy(10, 25, 2)])
    own = series("errors", [*noisy(10, 38, 3), *noisy(400, 22, 3)])
    far = replace(series("far", [*noisy(10, 38, 4), *noisy(40, 22, 4)]), distance=2)
    ranked = rank([over, own, far, stays], GRID, Symptom(40, frozenset({"errors"})))
    assert ranked[0].series.name == "stays"
    scores = {one.series.name: one.score for one in ranked}
    assert scores["stays"] > scores["far"] > scores["over"]
    alone = rank([own], GRID, Symptom(40))
    assert alone[0].score > scores["errors"]


def test_one_metric_of_many_series_does_not_fill_the_list() -> None:
    crowd = [series("requests", [*noisy(10, 38, at), *noisy(400, 22, at)], pod=f"web-{at}") for at in range(6)]
    other = series("pool", [*noisy(10, 38, 9), *noisy(20, 22, 9)])
    assert [one.series.name for one in rank([*crowd, other], GRID, Symptom(42))][:3] == ["requests", "requests", "pool"]


def test_the_same_series_found_twice_counts_once() -> None:
    one = series("pool", [*noisy(10, 38), *noisy(40, 22)], pod="a")
    (ranked,) = rank([replace(one, distance=2), one], GRID, Symptom(42))
    assert ranked.series.distance == 0


# --- the grid, and what is told --------------------------------------------------------------------------------------


def test_samples_stand_in_the_places_of_their_times_and_nothing_else_is_read() -> None:
    first = int(GRID.since.timestamp())
    values = [[first, "1"], [first + 60, "2"], [first - 60, "9"], ["x", "9"], [first], None]
    data = {"result": [{"metric": {"a": "b"}, "values": values}, {"metric": None, "values": []}, 7]}
    (row,) = read_rows(data, GRID)
    assert row.labels == {"a": "b"}
    assert row.texts[:3] == ("1", "2", "")
    assert read_rows(None, GRID) == read_rows({"result": 1}, GRID) == []


def test_a_signal_is_told_by_samples_as_they_were_sent() -> None:
    grid = Grid.before(END, 180, 3)
    told = measured("ratio", "q", ["0.010", "0.31", "0.250"], grid)
    assert told.values == {
        "now": "0.250",
        "at_start": "0.010",
        "min": "0.010",
        "max": "0.31",
        "mean": "0.19",
        "peak_at": (END - timedelta(minutes=1)).isoformat(timespec="seconds"),
    }
    assert measured("ratio", "q", ["0.1", "0.2", "NaN"], grid).values["now"] == "unknown"
    assert measured("ratio", "q", ["", "", ""], grid).points == ()


@given(st.floats(-1e15, 1e15, allow_nan=False))
def test_a_number_of_ours_is_plain_and_near(value: float) -> None:
    text = short(value)
    assert "e" not in text
    assert math.isclose(float(text), value, rel_tol=1e-5, abs_tol=1e-11)


def test_a_unit_is_what_the_name_ends_with() -> None:
    assert unit_of("process_cpu_seconds_total") == "seconds"
    assert unit_of("node_filesystem_avail_bytes") == "bytes"
    assert unit_of("http_request_duration_seconds_count") == ""
    assert unit_of("jobs_total") == ""


ODD = st.sampled_from(
    ["", "NaN", "+Inf", "-Inf", "0", "-0", "1", "3.5", "1e308", "-1e308", "5e-324", "1763888400", "x"]
)
NAMES = st.sampled_from(["a", "a_total", "a_sum", "a_count", "a_info", "a_timestamp_seconds", "a_bytes"])


@given(st.lists(st.tuples(NAMES, st.lists(ODD, min_size=60, max_size=60)), max_size=4), st.integers(0, 59))
@settings(max_examples=150, deadline=None)
def test_whatever_the_samples_are_they_are_ranked_and_told(drawn: list[tuple[str, list[str]]], at: int) -> None:
    found = [Series(Row({"n": str(n)}, tuple(texts)), name, n % 3, name) for n, (name, texts) in enumerate(drawn)]
    ranked = rank(found, GRID, Symptom(at))
    assert all(math.isfinite(one.score) for one in ranked)
    for one in ranked:
        told = exhibit(one, GRID)
        assert set(told.values) >= {"now", "before", "z", "moved_at"}
        assert abs(float(told.values["z"])) <= Z_MAX
