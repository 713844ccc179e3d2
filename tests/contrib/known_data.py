"""Samples of the exporters that contrib/policies reads, and the number that each signal must make of them.

A world is a text of samples. Each exporter writes into it what it would expose of one target, scaled by a number, and
says what the signals of its policy then are: worked out by hand, not by PromQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
STEP_SECONDS, SPAN_SECONDS = 15, 960
HOUR_STEP_SECONDS, HOUR_SECONDS = 60, 3600
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
Labels = Mapping[str, str]
Key = dict[str, str]
Numbers = dict[str, float]


@dataclass
class World:
    """lines: OpenMetrics without its end. ended_seconds: the newest sample is so old. as_nan: every value is NaN."""

    lines: list[str] = field(default_factory=list)
    ended_seconds: int = 0
    as_nan: bool = False

    def text(self) -> str:
        return "\n".join([*self.lines, "# EOF", ""])

    def series(self, name: str, labels: Labels, points: Iterable[tuple[int, float]]) -> None:
        """points: (seconds before now, value), oldest first."""
        inside = ",".join(f'{label}="{value.translate(ESCAPES)}"' for label, value in labels.items())
        for ago, value in points:
            if ago >= self.ended_seconds:
                said = "NaN" if self.as_nan else repr(float(value))
                self.lines.append(f"{name}{{{inside}}} {said} {int(NOW.timestamp()) - ago}")

    def gauge(self, name: str, labels: Labels, value: float, per_second: float = 0, *, hour: bool = False) -> None:
        """It is `value` now, and came there by `per_second`."""
        self.series(name, labels, ((ago, value - per_second * ago) for ago in times(hour=hour)))

    def counter(self, name: str, labels: Labels, per_second: float, reset_ago: int | None = None) -> None:
        """It counts `per_second`; it began anew right after the sample of `reset_ago` seconds before now."""
        for_ever = 1_000_000.0

        def value(ago: int) -> float:
            if reset_ago is not None and ago < reset_ago:
                return per_second * (reset_ago - ago)
            return for_ever - per_second * ago

        self.series(name, labels, ((ago, value(ago)) for ago in times()))


def times(*, hour: bool = False) -> Iterator[int]:
    span, step = (HOUR_SECONDS, HOUR_STEP_SECONDS) if hour else (SPAN_SECONDS, STEP_SECONDS)
    return iter(range(span, -1, -step))


def error_rate(world: World, key: Key, n: int) -> Numbers:
    """Two instances, 16 requests a second, n of them fail, 4 ask for what is not there; two counters begin anew."""
    a, b = {**key, "instance": "a"}, {**key, "instance": "b"}
    world.counter("http_requests_total", {**a, "code": "200"}, 12 - n, reset_ago=120)
    world.counter("http_requests_total", {**a, "code": "503"}, n / 2)
    world.counter("http_requests_total", {**b, "code": "404"}, 4)
    world.counter("http_requests_total", {**b, "code": "511"}, n / 2, reset_ago=90)
    return {"error_ratio": n / 16, "requests_per_second": 16}


def latency(world: World, key: Key, n: int) -> Numbers:
    """20 requests a second on two instances: 18 within n, the rest within 3 n. The 19th lies half way between."""
    for instance, part in (("a", 0.25), ("b", 0.75)):
        labels = {**key, "instance": instance}
        for bound, rate in ((n, 18), (3 * n, 20), (float("inf"), 20)):
            le = "+Inf" if bound == float("inf") else repr(float(bound))
            world.counter("http_request_duration_seconds_bucket", {**labels, "le": le}, rate * part, reset_ago=60)
        world.counter("http_request_duration_seconds_count", labels, 20 * part, reset_ago=60)
    return {"p95_seconds": 2 * n, "answers_per_second": 20}


def connection_pool(world: World, key: Key, n: int) -> Numbers:
    """Of three instances one is full to n of 16, the others to 1 of 64; two have threads that wait."""
    for instance, (active, most, pending) in {"a": (n, 16, n), "b": (1, 64, 2), "c": (1, 64, 0)}.items():
        labels = {**key, "instance": instance, "pool": "HikariPool-1"}
        world.gauge("hikaricp_connections_active", labels, active)
        world.gauge("hikaricp_connections_max", labels, most)
        world.gauge("hikaricp_connections_pending", labels, pending)
        world.counter("hikaricp_connections_timeout_total", labels, n / 4, reset_ago=120)
    return {"pool_use": n / 16, "waiting": n + 2, "timeouts_per_minute": 60 * 3 * n / 4}


def disk_filling(world: World, key: Key, n: int) -> Numbers:
    """Scraped by two jobs; the worse has n/32 free, and loses 1/32 of the whole in an hour."""
    size = 32 * 3600.0
    for job, free in (("node", n), ("node-old", n + 8)):
        labels = {**key, "job": job, "device": "/dev/sda1", "fstype": "ext4"}
        world.gauge("node_filesystem_avail_bytes", labels, free * 3600, per_second=-1, hour=True)
        world.gauge("node_filesystem_size_bytes", labels, size, hour=True)
    return {"free_ratio": n / 32, "free_ratio_in_4h": (n - 4) / 32}


def queue_backlog(world: World, key: Key, n: int) -> Numbers:
    """Its leader has moved: two nodes tell of it, the old one of what it last knew."""
    for instance, ready, consumers in (("rabbit@a", 10_000 + n, n), ("rabbit@b", 17, 1)):
        labels = {**key, "instance": instance}
        world.gauge("rabbitmq_queue_messages_ready", labels, ready, per_second=n if ready > 17 else 0)
        world.gauge("rabbitmq_queue_consumers", labels, consumers)
    return {"ready": 10_000 + n, "consumers": n, "growth_per_second": n}


def consumer_lag(world: World, key: Key, n: int) -> Numbers:
    """Three partitions, one of them never committed; two exporters see the same."""
    for instance in ("exporter-a", "exporter-b"):
        for partition, lag, per_second in (("0", 1000 * n, n), ("1", 5, 2), ("2", -1, 0)):
            labels = {**key, "instance": instance, "partition": partition}
            world.gauge("kafka_consumergroup_lag", labels, lag)
            world.gauge("kafka_consumergroup_current_offset", labels, 100_000, per_second=per_second)
        labels = {"consumergroup": key["consumergroup"], "instance": instance}
        world.gauge("kafka_consumergroup_members", labels, n)
    return {"lag": 1000 * n + 5, "members": n, "committed_per_second": n + 2}


def certificate_expiry(world: World, key: Key, n: int) -> Numbers:
    """Two probes of one address: by IPv6 it is served an older certificate, and one probe in all fails for n = 2."""
    for job, days in (("blackbox-4", n + 60), ("blackbox-6", n)):
        world.gauge("probe_ssl_earliest_cert_expiry", {**key, "job": job}, NOW.timestamp() + days * 86_400)
        world.gauge("probe_success", {**key, "job": job}, 0 if n == 2 and job == "blackbox-4" else 1)
    return {"days_left": n, "answers": 0 if n == 2 else 1}


def pod_crash_loop(world: World, key: Key, n: int) -> Numbers:
    """Four pods, the newest of which waits after crashes; n restarts a pod in 400 s, and one pod was replaced."""
    for pod in range(4):
        labels = {**key, "pod": f"pod-{pod}", "uid": f"{pod}"}
        world.gauge("kube_pod_container_status_ready", labels, 0 if pod == 3 else 1)
        restarts = ((ago, 7 + (n if ago < 400 else 0)) for ago in times())
        world.series("kube_pod_container_status_restarts_total", labels, restarts)
    world.gauge("kube_pod_container_status_waiting_reason", {**labels, "reason": "CrashLoopBackOff"}, 1)
    world.gauge("kube_pod_container_status_waiting_reason", {**labels, "reason": "ContainerCreating"}, 1)
    return {"crash_looping": 1, "restarts_in_15m": 4 * n, "ready_ratio": 0.75}


def replication_lag(world: World, key: Key, n: int) -> Numbers:
    """One server, scraped by two jobs of which one is a little behind."""
    for job, lag, heard in (("postgres", n, 8), ("postgres-old", n / 2, 20)):
        world.gauge("pg_replication_lag_seconds", {**key, "job": job}, lag)
        world.gauge("pg_replication_is_replica", {**key, "job": job}, 1)
        labels = {**key, "job": job, "upstream_host": "db-1", "slot_name": "replica"}
        world.gauge("pg_stat_wal_receiver_last_msg_receipt_time", labels, NOW.timestamp() - heard, per_second=1)
    return {"lag_seconds": n, "is_replica": 1, "heard_ago_seconds": 8}


EXPORTERS: Mapping[str, Callable[[World, Key, int], Numbers]] = {
    "certificate-expiry": certificate_expiry,
    "connection-pool": connection_pool,
    "consumer-lag": consumer_lag,
    "disk-filling": disk_filling,
    "error-rate": error_rate,
    "latency": latency,
    "pod-crash-loop": pod_crash_loop,
    "queue-backlog": queue_backlog,
    "replication-lag": replication_lag,
}
