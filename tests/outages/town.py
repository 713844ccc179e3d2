"""A small town of services on an ordinary day, into which an outage is put by moving some of its series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from tests.outages.signals import PAGE, Beat, Change, Counter, Gauge, Histogram, Series, Signal, Unset

WINDOW = 7200.0  # seconds of samples
ALERT = 6600.0  # seconds into the window at which the alert fires
MISSED = 0.006  # the share of scrapes that fail on an ordinary day
GIB = float(2**30)

# service: namespace, requests a second, median seconds, memory bytes, node
SERVICES = {
    "gateway": ("edge", 120.0, 0.09, 0.30 * GIB, "node-1"),
    "checkout": ("shop", 30.0, 0.14, 0.62 * GIB, "node-1"),
    "search": ("shop", 55.0, 0.11, 1.40 * GIB, "node-2"),
    "wallet": ("money", 24.0, 0.07, 0.41 * GIB, "node-2"),
    "payments": ("money", 12.0, 0.21, 0.55 * GIB, "node-3"),
}


@dataclass(frozen=True)
class Scene:
    """The outage whose samples are made. seed: its name; alert_at: UTC."""

    seed: str
    alert_at: datetime
    step: int  # seconds between scrapes


class Town:
    """Its series, each with the target that is scraped for it."""

    def __init__(self, scene: Scene) -> None:
        """An ordinary day."""
        self.scene = scene
        self.first_clock = (scene.alert_at - timedelta(seconds=ALERT)).replace(tzinfo=UTC).timestamp()
        self.series: list[tuple[str, Series]] = []
        self.restarts: dict[str, list[float]] = {}
        self.gaps: dict[str, list[tuple[float, float]]] = {}
        self._random = Random(f"{scene.seed}/town")
        for service in SERVICES:
            self._service(service)
        self._stores()
        self._nodes()
        self._unrelated()

    def gauge(self, target: str, name: str, base: float, grain: float = 0.0, **labels: str) -> Signal:
        """Add one; its signal can be shaped further."""
        signal = Signal(base)
        self.series.append((target, Gauge(name, labels, signal, grain)))
        return signal

    def still(self, target: str, name: str, base: float, grain: float = 1.0, **labels: str) -> Signal:
        """Add a gauge that has neither noise nor drift: a limit, a version, a state."""
        signal = self.gauge(target, name, base, grain, **labels)
        signal.noise = signal.jitter = signal.drift = 0.0
        return signal

    def counter(self, target: str, name: str, rate: float, whole: bool = True, **labels: str) -> Signal:
        """Add one; the signal is its rate a second."""
        signal = Signal(rate)
        self.series.append((target, Counter(name, labels, signal, whole)))
        return signal

    def histogram(self, target: str, name: str, rate: float, median: float, **labels: str) -> Signal:
        """Add one; the signal is its median."""
        shown = Histogram(name, labels, Signal(rate), Signal(median))
        self.series.append((target, shown))
        return shown.median

    def move(self, name: str, *changes: Change, **labels: str) -> None:
        """Change every series of the name that bears the labels; of a histogram, its requests."""
        found = [one for _, one in self.series if one.name == name and labels.items() <= one.labels.items()]
        assert found, (name, labels)
        for one in found:
            assert not isinstance(one, Unset)
            one.signal.changes += changes

    def slow(self, service: str, *changes: Change) -> None:
        """Change how long the requests of a service take."""
        for _, one in self.series:
            if isinstance(one, Histogram) and one.labels == self._of(service):
                one.median.changes += changes
                return
        raise AssertionError(service)

    def fail(self, service: str, share: float, at: float, over: float = 90.0) -> None:
        """From `at` on this share of a service's requests answers 500."""
        rate = SERVICES[service][1]
        self.move("http_requests_total", Change(at, over, plus=rate * share), service=service, code="500")
        self.move("http_requests_total", Change(at, over, times=1.0 - share), service=service, code="200")

    def restart(self, service: str, at: float) -> None:
        """Its counters begin at 0, its start time moves, and it misses the scrapes of a minute."""
        self.restarts.setdefault(service, []).append(at)
        self.gaps.setdefault(service, []).append((at - self.scene.step, at + self.scene.step))
        for _, one in self.series:
            if isinstance(one, Gauge) and one.name == "process_start_time_seconds" and one.labels["service"] == service:
                since = one.signal.base + sum(change.plus for change in one.signal.changes)
                one.signal.changes.append(Change(at, 0.0, plus=self.first_clock + at - since))

    def lines(self) -> Iterator[str]:
        """OpenMetrics, family by family, `# EOF` at the end."""
        targets = list(dict.fromkeys(target for target, _ in self.series))
        beats = {target: self._beat(target) for target in targets}
        families: dict[tuple[str, str], list[tuple[str, Series]]] = {}
        for target, one in self.series:
            family = one.name.removesuffix("_total") if one.kind == "counter" else one.name
            families.setdefault((family, one.kind), []).append((target, one))
        for (family, kind), members in families.items():
            yield f"# TYPE {family} {kind}"
            for target, one in members:
                random = Random(f"{self.scene.seed}/{one.name}/{sorted(one.labels.items())}")
                yield from one.lines(beats[target], random)
        yield "# TYPE up gauge"
        for target in targets:
            head = f'up{{instance="{target}",job="{target.split("-")[0]}"}}'
            yield from (f"{head} {0 if missed else 1} {clock}" for _, clock, missed in beats[target].ticks)
        yield "# EOF"

    def _beat(self, target: str) -> Beat:
        random = Random(f"{self.scene.seed}/scrapes of {target}")
        offset = int(1000.0 * self.scene.step * random.random()) / 1000.0
        ticks = []
        for number in range(int(WINDOW) // self.scene.step):
            second = number * self.scene.step + offset
            missed = random.random() < MISSED
            missed = missed or any(begin <= second < end for begin, end in self.gaps.get(target, ()))
            ticks.append((second, f"{self.first_clock + second:.3f}", missed))
        return Beat(ticks, self.first_clock, self.restarts.get(target, ()))

    @staticmethod
    def _of(service: str) -> dict[str, str]:
        return {"namespace": SERVICES[service][0], "service": service}

    def _service(self, service: str) -> None:
        _, rate, median, memory, node = SERVICES[service]
        of = self._of(service)
        up_since = self.first_clock - 50_000.0 - int(400_000.0 * self._random.random())
        self.counter(service, "http_requests_total", rate, code="200", **of)
        self.counter(service, "http_requests_total", rate / 900.0, code="500", **of).noise = 0.5
        self.histogram(service, "http_request_duration_seconds", rate, median, **of)
        self.gauge(service, "process_resident_memory_bytes", memory, PAGE, **of).drift = 0.02
        self.still(service, "process_start_time_seconds", up_since, **of)
        self.gauge(service, "http_requests_in_flight", max(2.0, 1.4 * rate * median), 1.0, **of).noise = 0.2
        self.counter(
            "kubelet", "container_cpu_usage_seconds_total", rate * 0.006, False, pod=f"{service}-0", node=node, **of
        )

    def _stores(self) -> None:
        for service, in_use in (("checkout", 8.0), ("wallet", 6.0)):
            pool = self.gauge(service, "db_pool_connections_in_use", in_use, 1.0, pool="main", **self._of(service))
            pool.noise, pool.cap = 0.2, 20.0
        self.gauge("postgres", "pg_stat_activity_count", 14.0, 1.0, datname="orders", state="active").noise = 0.2
        self.gauge("postgres", "pg_locks_count", 40.0, 1.0, datname="orders", mode="accesssharelock").noise = 0.2
        self.still("postgres", "pg_locks_count", 0.0, datname="orders", mode="accessexclusivelock")
        self.counter("postgres", "pg_stat_database_xact_commit_total", 160.0, datname="orders")
        self.still("postgres", "pg_settings_max_connections", 200.0)
        self.gauge("redis", "redis_memory_used_bytes", 0.8 * GIB, 1.0)
        self.gauge("redis", "redis_connected_clients", 64.0, 1.0)
        lag = self.gauge("kafka", "kafka_consumergroup_lag", 30.0, 1.0, consumergroup="ledger-writer", topic="moves")
        lag.noise, lag.jitter = 0.4, 0.2
        self.counter("kafka", "kafka_topic_messages_in_total", 70.0, topic="moves")
        self.counter("coredns", "coredns_dns_responses_total", 210.0, rcode="NOERROR", zone=".")
        self.counter("coredns", "coredns_dns_responses_total", 0.05, rcode="SERVFAIL", zone=".").noise = 0.8
        probed = "https://payments.town.example"
        self.still("blackbox", "probe_success", 1.0, instance=probed)
        self.still("blackbox", "probe_ssl_earliest_cert_expiry", self.first_clock + 40 * 86_400, instance=probed)

    def _nodes(self) -> None:
        for node in ("node-1", "node-2", "node-3"):
            disk = self.gauge(node, "node_filesystem_avail_bytes", 38 * GIB, PAGE, node=node, mountpoint="/data")
            disk.noise, disk.jitter, disk.drift = 0.0005, 0.001, 0.01
            self.gauge(node, "node_memory_MemAvailable_bytes", 9 * GIB, PAGE, node=node).drift = 0.02
            self.gauge(node, "node_load1", 2.2, node=node).noise = 0.12

    def _unrelated(self) -> None:
        # They step because of nothing in the outage: a backup grows, a flag is flipped, somebody prints.
        early, late = (1000.0 + 1900.0 * self._random.random(), 3100.0 + 700.0 * self._random.random())
        queued = 4700.0 + 1500.0 * self._random.random()
        self.gauge("backup", "backup_last_size_bytes", 4 * GIB, 1.0, store="photos").changes += [Change(early, 0, 1.6)]
        self.still("flags", "feature_flags_enabled", 17.0, app="newsletter").changes += [Change(late, 0, plus=5.0)]
        self.gauge("printer", "print_queue_pages", 22.0, 1.0, room="basement").changes += [
            Change(queued, 30.0, 3.0, until=queued + 500.0)
        ]
        unset = Unset("render_duration_quantile_seconds", {"quantile": "0.99", "app": "newsletter"})
        self.series.append(("flags", unset))
