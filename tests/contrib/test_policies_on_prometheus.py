"""The signals of contrib/policies, asked of a real Prometheus whose samples are known: exact numbers, or no number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import aiohttp
import pytest

from policy_rules import detection
from policy_rules.readings import Alert, Query, Reading, ReadingState
from policy_rules.recovery import should_recover
from policy_rules.rulebook import UNMATCHED, Rulebook
from policy_rules.verdict import Memory, Outcome
from receiver.evidence.prometheus import Prometheus
from tests.contrib.known_data import EXPORTERS, NOW, Key, Numbers, World, times
from tests.contrib.test_policies import POLICIES, each_policy, read
from tests.filled_prometheus import filled_prometheus

LONG = 20.0  # seconds: no test waits for it
# Each is a label's value that would read something else if it were not escaped, or were read as a pattern.
HOSTILE = (
    "plain",
    'x"} or vector(1) #',
    'x",instance=~".+',
    "x\\",
    'x\\"} or vector(1) or up{a="',
    "new\nline",
    ".*",
    "plain|x",
    "$service",
    "${HOME}`'",
    "日本 😀",
)
GONE, NOT_A_NUMBER, NOWHERE = "gone", "not a number", "nowhere"
Wanted = dict[str, float | ReadingState]  # what each signal is: a number, or why there is none


def key_of(book: Rulebook, value: str) -> Key:
    """Every label of the policy's incidents with a value of its own that holds `value`."""
    (labels,) = {rule.group_by for rule in book.rules}
    return {label: value if number == 0 else f"{value}{number}" for number, label in enumerate(labels)}


def limit_of(book: Rulebook) -> int:
    """How long ago the samples of a target that is gone must end: too long, and still in the reach of a query."""
    return 240 if all(signal.max_age_seconds < 240 for signal in book.signals.values()) else 315


def ordinary(world: World) -> dict[tuple[str, str], Numbers]:
    """Every policy's targets under every hostile name, each with numbers of its own, and one gone and one all NaN."""
    wanted = {}
    for path in POLICIES:
        book, write = read(path), EXPORTERS[path.stem]
        for n, value in enumerate(HOSTILE, 1):
            wanted[path.stem, value] = write(world, key_of(book, value), n)
        ended, spoilt = World(ended_seconds=limit_of(book)), World(as_nan=True)
        write(ended, key_of(book, GONE), 5)
        write(spoilt, key_of(book, NOT_A_NUMBER), 5)
        world.lines += [*ended.lines, *spoilt.lines]
    return wanted


NAN, NO_DATA = ReadingState.NAN, ReadingState.NO_DATA


def odd_services(world: World) -> Iterator[tuple[str, Key, Wanted]]:
    """Requests and pools as they go wrong."""
    world.counter("http_requests_total", {"service": "well", "code": "200"}, 4)
    yield "error-rate", {"service": "well"}, {"error_ratio": 0, "requests_per_second": 4}
    for code in ("200", "500"):
        world.counter("http_requests_total", {"service": "idle", "code": code}, 0)
    yield "error-rate", {"service": "idle"}, {"error_ratio": NAN, "requests_per_second": 0}
    world.series("http_requests_total", {"service": "new", "code": "500"}, [(10, 7)])
    yield "error-rate", {"service": "new"}, {"error_ratio": NO_DATA, "requests_per_second": NO_DATA}
    burst = [(ago, 8.0 * max(0, 60 - ago)) for ago in times()]  # all of it in the last minute of five
    world.series("http_requests_total", {"service": "burst", "code": "200"}, burst)
    world.series("http_requests_total", {"service": "burst", "code": "500"}, burst)
    yield "error-rate", {"service": "burst"}, {"error_ratio": 0.5, "requests_per_second": 3.2}
    world.series("http_request_duration_seconds_bucket", {"service": "burst", "le": "0.5"}, burst)
    world.series("http_request_duration_seconds_bucket", {"service": "burst", "le": "+Inf"}, burst)
    world.series("http_request_duration_seconds_count", {"service": "burst"}, burst)
    yield "latency", {"service": "burst"}, {"p95_seconds": 0.475, "answers_per_second": 1.6}
    for bound, rate in (("0.5", 0), ("1.0", 0), ("+Inf", 8)):
        world.counter("http_request_duration_seconds_bucket", {"service": "slow", "le": bound}, rate)
    world.counter("http_request_duration_seconds_count", {"service": "slow"}, 8)
    yield "latency", {"service": "slow"}, {"p95_seconds": 1, "answers_per_second": 8}  # the largest finite bucket
    for bound in ("0.5", "+Inf"):
        world.counter("http_request_duration_seconds_bucket", {"service": "idle", "le": bound}, 0)
    world.counter("http_request_duration_seconds_count", {"service": "idle"}, 0)
    yield "latency", {"service": "idle"}, {"p95_seconds": NAN, "answers_per_second": 0}
    for instance, active in (("a", 3.0), ("b", float("nan"))):  # Micrometer says NaN of a pool that is gone
        labels = {"service": "half", "instance": instance, "pool": "HikariPool-1"}
        world.gauge("hikaricp_connections_active", labels, active)
        world.gauge("hikaricp_connections_max", labels, 4)
        world.gauge("hikaricp_connections_pending", labels, active)
    wanted: Wanted = {"pool_use": 0.75, "waiting": NAN, "timeouts_per_minute": NO_DATA}
    yield "connection-pool", {"service": "half"}, wanted


def odd_machines(world: World) -> Iterator[tuple[str, Key, Wanted]]:
    """Disks, certificates, pods and replicas as they go wrong."""
    fresh = {"instance": "fresh", "mountpoint": "/"}
    for name, value in (("avail", 64.0), ("size", 256.0)):
        world.series(f"node_filesystem_{name}_bytes", fresh, [(10, value)])
    yield "disk-filling", fresh, {"free_ratio": 0.25, "free_ratio_in_4h": NO_DATA}  # one sample is no line
    empty = {"instance": "fresh", "mountpoint": "/proc"}
    for name in ("avail", "size"):
        world.gauge(f"node_filesystem_{name}_bytes", empty, 0, hour=True)
    yield "disk-filling", empty, {"free_ratio": NAN, "free_ratio_in_4h": NAN}
    expired = {"instance": "https://expired"}  # verified: no handshake, no number
    world.gauge("probe_success", expired, 0)
    yield "certificate-expiry", expired, {"days_left": NO_DATA, "answers": 0}
    passed = {"instance": "https://passed"}
    world.gauge("probe_success", passed, 1)
    world.gauge("probe_ssl_earliest_cert_expiry", passed, NOW.timestamp() - 43_200)
    yield "certificate-expiry", passed, {"days_left": -0.5, "answers": 1}
    well = {"namespace": "shop", "container": "well"}
    for pod in ("a", "b"):
        world.gauge("kube_pod_container_status_ready", {**well, "pod": pod}, 1)
        world.counter("kube_pod_container_status_restarts_total", {**well, "pod": pod}, 0)
    yield "pod-crash-loop", well, {"crash_looping": 0, "restarts_in_15m": 0, "ready_ratio": 1}
    primary = {"instance": "db-1"}
    world.gauge("pg_replication_lag_seconds", primary, 0)
    world.gauge("pg_replication_is_replica", primary, 0)
    yield "replication-lag", primary, {"lag_seconds": 0, "is_replica": 0, "heard_ago_seconds": NO_DATA}
    cut_off = {"instance": "db-3"}  # all that came is replayed, and nothing comes
    world.gauge("pg_replication_lag_seconds", cut_off, 0)
    world.gauge("pg_replication_is_replica", cut_off, 1)
    labels = {**cut_off, "upstream_host": "db-1", "slot_name": "three"}
    world.gauge("pg_stat_wal_receiver_last_msg_receipt_time", labels, NOW.timestamp() - 600)
    yield "replication-lag", cut_off, {"lag_seconds": 0, "is_replica": 1, "heard_ago_seconds": 600}


def odd_queues(world: World) -> Iterator[tuple[str, Key, Wanted]]:
    """Queues and groups as they go wrong."""
    draining = {"vhost": "/", "queue": "draining"}
    world.gauge("rabbitmq_queue_messages_ready", draining, 4000, per_second=-8)
    world.gauge("rabbitmq_queue_consumers", draining, 3)
    yield "queue-backlog", draining, {"ready": 4000, "consumers": 3, "growth_per_second": -8}
    never = {"consumergroup": "never", "topic": "orders"}
    for partition in ("0", "1"):
        world.gauge("kafka_consumergroup_lag", {**never, "partition": partition}, -1)
    world.gauge("kafka_consumergroup_members", {"consumergroup": "never"}, 0)
    yield "consumer-lag", never, {"lag": NO_DATA, "members": 0, "committed_per_second": NO_DATA}
    rewound = {"consumergroup": "rewound", "topic": "orders"}
    world.gauge("kafka_consumergroup_lag", {**rewound, "partition": "0"}, 70_000)
    world.gauge("kafka_consumergroup_members", {"consumergroup": "rewound"}, 2)
    offsets = ((ago, 90_000 - 30 * (900 - ago)) for ago in times())
    world.series("kafka_consumergroup_current_offset", {**rewound, "partition": "0"}, offsets)
    yield "consumer-lag", rewound, {"lag": 70_000, "members": 2, "committed_per_second": -30}


@cache
def a_world() -> tuple[World, dict[tuple[str, str], Numbers], list[tuple[str, Key, Wanted]]]:
    world = World()
    numbers = ordinary(world)
    return world, numbers, [*odd_services(world), *odd_machines(world), *odd_queues(world)]


@pytest.fixture(scope="module")
def address(
    tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[str]:
    with filled_prometheus(tool, tmp_path_factory.mktemp("prometheus"), free_port, a_world()[0].text()) as url:
        yield url


@pytest.fixture
async def prometheus(address: str) -> AsyncIterator[Prometheus]:
    async with aiohttp.ClientSession() as session:
        yield Prometheus(url=address, session=lambda: session, clock=lambda: NOW)


def queries(book: Rulebook, key: Mapping[str, str]) -> list[Query]:
    return [signal.query(key) for signal in book.signals.values()]


async def asked(prometheus: Prometheus, wanted: Sequence[Query]) -> dict[str, Reading]:
    return {reading.name: reading for reading in await prometheus.ask(wanted, timeout_seconds=LONG)}


def said(reading: Reading) -> float | ReadingState:
    return reading.state if reading.value is None else float(reading.value)


def test_every_policy_has_data() -> None:
    assert set(EXPORTERS) == {path.stem for path in POLICIES}
    _, numbers, odd = a_world()
    for path in POLICIES:
        assert set(numbers[path.stem, "plain"]) == set(read(path).signals)
    assert {policy for policy, _, _ in odd} == set(EXPORTERS)


@each_policy
async def test_each_target_has_its_own_numbers_whatever_it_is_called(path: Path, prometheus: Prometheus) -> None:
    """Many series, counters that begin anew and names that try to break out: one number, and the right one."""
    book = read(path)
    for value in HOSTILE:
        readings = await asked(prometheus, queries(book, key_of(book, value)))
        got = {name: said(reading) for name, reading in readings.items()}
        assert got == pytest.approx(a_world()[1][path.stem, value], rel=1e-9, abs=1e-9), value


@each_policy
async def test_a_target_that_is_like_another_but_for_one_label_has_no_number(
    path: Path, prometheus: Prometheus
) -> None:
    book = read(path)
    for value in HOSTILE:
        key = key_of(book, value)
        for label in key:
            for other in (f"{key[label]}x", key[label][:-1] + "\x07", NOWHERE):
                found = [s.query({**key, label: other}) for s in book.signals.values() if label in s.labels]
                readings = await asked(prometheus, found)
                assert found
                assert {said(reading) for reading in readings.values()} == {NO_DATA}, (value, other)


@each_policy
async def test_a_target_that_is_gone_has_no_number(path: Path, prometheus: Prometheus) -> None:
    """Its samples still lie in the windows of the queries, and are older than max_age."""
    book = read(path)
    readings = await asked(prometheus, queries(book, key_of(book, GONE)))
    assert set(readings) == set(book.signals)
    assert {reading.state for reading in readings.values()} <= {ReadingState.STALE, NO_DATA}


@each_policy
async def test_a_target_whose_samples_are_no_numbers_has_none(path: Path, prometheus: Prometheus) -> None:
    book = read(path)
    readings = await asked(prometheus, queries(book, key_of(book, NOT_A_NUMBER)))
    # Of buckets that are all NaN Prometheus makes a quantile. The rate beside it is NaN, so no rule is told a lie.
    readings.pop("p95_seconds", None)
    assert {reading.state for reading in readings.values()} <= {NAN, NO_DATA}


@each_policy
@pytest.mark.parametrize("value", [GONE, NOT_A_NUMBER, NOWHERE])
async def test_nothing_recovers_on_what_cannot_be_read(path: Path, value: str, prometheus: Prometheus) -> None:
    """And what cannot be read is said to be unknown, so that the alert's word counts."""
    book = read(path)
    readings = tuple((await asked(prometheus, queries(book, key_of(book, value)))).values())
    alert = Alert("1", key_of(book, value), {}, True, NOW, None)
    for rule in book.rules:
        end = should_recover(book, rule, [alert], readings, NOW, Memory())
        begin = detection.should_detect(book, rule, [alert], readings, NOW, Memory())
        assert begin.outcome is Outcome.UNKNOWN, begin.reason
        assert end.outcome in (Outcome.UNKNOWN, Outcome.PERSIST), end.reason


@each_policy
async def test_what_goes_wrong_is_a_number_or_none(path: Path, prometheus: Prometheus) -> None:
    """Idle, new, bursting, expired, promoted, cut off, drained, set back: each as the functions above have it."""
    for key, wanted in [(key, wanted) for policy, key, wanted in a_world()[2] if policy == path.stem]:
        readings = await asked(prometheus, queries(read(path), key))
        got = {name: said(reading) for name, reading in readings.items()}
        assert words(got) == words(wanted), key
        assert numbers_of(got) == pytest.approx(numbers_of(wanted), rel=1e-9, abs=1e-9), key


def words(of: Mapping[str, float | ReadingState]) -> dict[str, ReadingState]:
    return {name: one for name, one in of.items() if isinstance(one, ReadingState)}


def numbers_of(of: Mapping[str, float | ReadingState]) -> Numbers:
    return {name: one for name, one in of.items() if not isinstance(one, ReadingState)}


@each_policy
def test_an_alert_without_a_label_of_the_key_is_told_and_not_taken(path: Path) -> None:
    """Its empty value would select the series that lack the label, which are of something else."""
    book = read(path)
    for rule in book.rules:
        (name, *_) = (matcher.value for matcher in rule.matchers if matcher.name == "alertname")
        whole = {"alertname": name.partition("|")[0], **dict.fromkeys(rule.group_by, "x")}
        for missing in (None, *rule.group_by):
            labels = {label: value for label, value in whole.items() if label != missing}
            (taken,) = detection.assign(book, Alert("1", labels, {}, True, NOW, None))
            assert taken.rule == (rule.name if missing is None else UNMATCHED), missing
