"""Outages that begin in a service of the town: its code, its load, its memory, its neighbours."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.outages.making import cause, errors, outage, slowness
from tests.outages.signals import NEVER, PAGE, Change, Gauge
from tests.outages.town import GIB, Town


def _pool_exhausted(town: Town) -> None:
    of = {"service": "checkout", "namespace": "shop", "pool": "main"}
    town.gauge("checkout", "db_pool_connections_pending", 0.2, 1.0, **of).noise = 1.0
    town.still("checkout", "db_pool_connections_max", 20.0, **of)
    town.move("db_pool_connections_in_use", Change(5640, 240, plus=16.0), service="checkout")
    town.move("db_pool_connections_pending", Change(5850, 200, plus=45.0))
    town.slow("checkout", Change(5910, 180, times=14.0))
    town.move("http_requests_in_flight", Change(5930, 180, times=20.0), service="checkout")
    town.fail("checkout", 0.32, 6060, 150)
    town.slow("gateway", Change(6000, 200, times=6.0))
    town.fail("gateway", 0.08, 6120, 150)
    town.move("pg_stat_activity_count", Change(5900, 200, times=0.8))
    town.move("http_requests_total", Change(6240, 200, times=0.75), service="wallet", code="200")


def _bad_deploy(town: Town) -> None:
    of = {"service": "payments", "namespace": "money"}
    town.still("kubelet", "kube_deployment_status_observed_generation", 41.0, deployment="payments", namespace="money")
    town.move("kube_deployment_status_observed_generation", Change(5970, 0, plus=1.0))
    for version, since, gone in (("2.7.3", 0.0, 5990.0), ("2.8.0", 5990.0, NEVER)):
        signal = town.still("payments", "app_build_info", 1.0, version=version, **of)
        shown = town.series[-1][1]
        assert isinstance(shown, Gauge)
        assert shown.signal is signal
        shown.since, shown.gone = since, gone
    town.restart("payments", 5990)
    town.fail("payments", 0.22, 6090, 60)
    town.slow("payments", Change(6090, 60, times=0.8))  # a failure is quick
    town.move("process_resident_memory_bytes", Change(5990, 0, times=0.7), service="payments")
    town.fail("checkout", 0.12, 6150, 60)
    town.slow("checkout", Change(6150, 90, times=2.5))  # it tries again
    town.fail("gateway", 0.03, 6180, 60)
    town.move("kafka_topic_messages_in_total", Change(6150, 120, times=0.8))


def _slow_dependency(town: Town) -> None:
    of = {"service": "payments", "namespace": "money", "peer": "bank"}
    median = town.histogram("payments", "http_client_request_duration_seconds", 9.0, 0.12, **of)
    median.changes.append(Change(5760, 120, times=18.0))
    town.slow("payments", Change(5880, 150, times=10.0))
    town.move("http_requests_in_flight", Change(5880, 150, times=12.0), service="payments")
    town.slow("checkout", Change(5970, 120, times=15.0))
    town.move("http_requests_in_flight", Change(5970, 120, times=25.0), service="checkout")
    town.move("process_resident_memory_bytes", Change(6000, 300, times=1.4), service="checkout")
    town.slow("gateway", Change(6030, 120, times=9.0))
    town.move("db_pool_connections_in_use", Change(6000, 200, plus=7.0), service="checkout")
    town.fail("gateway", 0.05, 6210)


def _memory_leak(town: Town) -> None:
    town.move("process_resident_memory_bytes", Change(3000, 3150, times=2.7, until=6150, back=0), service="search")
    town.move("node_memory_MemAvailable_bytes", Change(3000, 3150, plus=-2.3 * GIB, until=6150, back=0), node="node-2")
    town.still("kubelet", "kube_pod_container_status_restarts_total", 2.0, pod="search-0", namespace="shop")
    town.move("kube_pod_container_status_restarts_total", Change(6150, 0, plus=1.0))
    town.restart("search", 6150)
    town.slow("search", Change(5700, 400, times=6.0, until=6480))
    town.fail("search", 0.45, 6120, 60)
    town.move("container_cpu_usage_seconds_total", Change(5640, 400, times=3.0, until=6150, back=0), service="search")
    town.fail("gateway", 0.16, 6150, 60)
    town.slow("gateway", Change(5760, 400, times=3.0))


def _noisy_neighbour(town: Town) -> None:
    pod = {"pod": "report-builder-28", "namespace": "batch", "node": "node-2"}
    town.counter("kubelet", "container_cpu_usage_seconds_total", 0.12, False, **pod)
    town.gauge("kubelet", "container_memory_working_set_bytes", 0.9 * GIB, PAGE, **pod)
    throttled = {"pod": "wallet-0", "namespace": "money", "node": "node-2"}
    town.counter("kubelet", "container_cpu_cfs_throttled_seconds_total", 0.02, False, **throttled)
    town.move("container_cpu_usage_seconds_total", Change(5700, 60, plus=6.4), pod=pod["pod"])
    town.move("node_load1", Change(5730, 180, plus=14.0), node="node-2")
    town.move("container_cpu_cfs_throttled_seconds_total", Change(5820, 120, times=40.0))
    town.slow("wallet", Change(5850, 150, times=11.0))
    town.move("http_requests_in_flight", Change(5850, 150, times=13.0), service="wallet")
    town.slow("search", Change(5880, 150, times=1.8))
    town.slow("checkout", Change(5940, 150, times=5.0))
    town.move("kafka_consumergroup_lag", Change(5940, 300, plus=2400.0))
    town.fail("checkout", 0.04, 6180)


def _traffic_surge(town: Town) -> None:
    edge = {"ingress": "town", "namespace": "edge"}
    town.counter("ingress", "nginx_ingress_controller_requests_total", 118.0, status="200", **edge)
    town.gauge("ingress", "nginx_ingress_controller_nginx_process_connections", 340.0, 1.0, state="active", **edge)
    town.move("nginx_ingress_controller_requests_total", Change(5580, 300, times=4.2))
    town.move("nginx_ingress_controller_nginx_process_connections", Change(5610, 300, times=4.0))
    for name in ("http_requests_total", "http_request_duration_seconds"):
        for service, at, times in (("gateway", 5600, 4.1), ("search", 5640, 3.6), ("checkout", 5760, 1.3)):
            rest = {"code": "200"} if name.endswith("_total") else {}
            town.move(name, Change(at, 300, times=times), service=service, **rest)
    town.move("container_cpu_usage_seconds_total", Change(5670, 300, times=3.2), service="search")
    town.move("container_cpu_usage_seconds_total", Change(5640, 300, times=3.4), service="gateway")
    town.move("node_load1", Change(5700, 300, plus=9.0), node="node-2")
    town.slow("search", Change(5850, 240, times=16.0))
    town.move("http_requests_in_flight", Change(5850, 240, times=40.0), service="search")
    town.slow("gateway", Change(5910, 240, times=7.0))
    town.fail("search", 0.25, 6180)
    town.move("redis_connected_clients", Change(5760, 240, times=1.7))


def _gc_pauses(town: Town) -> None:
    of = {"service": "search", "namespace": "shop"}
    town.gauge("search", "jvm_memory_bytes_used", 0.7 * GIB, 1.0, area="heap", **of).noise = 0.05
    town.still("search", "jvm_memory_bytes_max", 1.25 * GIB, area="heap", **of)
    town.counter("search", "jvm_gc_pause_seconds_total", 0.015, False, gc="G1 Old Generation", **of)
    town.counter("search", "jvm_gc_collections_total", 0.05, gc="G1 Old Generation", **of)
    town.move("jvm_memory_bytes_used", Change(5400, 360, plus=0.5 * GIB))
    town.move("jvm_gc_pause_seconds_total", Change(5610, 240, times=38.0))
    town.move("jvm_gc_collections_total", Change(5610, 240, times=9.0))
    town.move("container_cpu_usage_seconds_total", Change(5640, 240, times=2.6), service="search")
    town.slow("search", Change(5760, 200, times=12.0))
    town.move("http_requests_in_flight", Change(5790, 200, times=14.0), service="search")
    town.slow("gateway", Change(5850, 200, times=6.0))
    town.fail("search", 0.07, 6060)
    town.fail("gateway", 0.03, 6120)


OUTAGES = (
    outage(
        "pool_exhausted",
        "checkout leaks connections until its pool of 20 is empty; requests wait, then fail, and the gateway with them",
        alert=("CheckoutErrorRatioHigh", "checkout"),
        alert_at=datetime(2026, 3, 3, 10, 12, tzinfo=UTC),
        begins=5640,
        symptom=errors("checkout"),
        causes=(
            cause("db_pool_connections_in_use", service="checkout"),
            cause("db_pool_connections_pending", service="checkout"),
        ),
        play=_pool_exhausted,
    ),
    outage(
        "bad_deploy",
        "payments 2.8.0 is rolled out and rejects a fifth of its requests; checkout tries again and then fails too",
        alert=("PaymentsErrorRatioHigh", "payments"),
        alert_at=datetime(2026, 3, 11, 15, 47, tzinfo=UTC),
        begins=5970,
        symptom=errors("payments"),
        causes=(
            cause("kube_deployment_status_observed_generation", deployment="payments"),
            cause("app_build_info", service="payments"),
            cause("process_start_time_seconds", service="payments"),
        ),
        play=_bad_deploy,
        step=15,
    ),
    outage(
        "slow_dependency",
        "the bank answers payments eighteen times slower; everything that waits for payments fills up, checkout most",
        alert=("CheckoutSlow", "checkout"),
        alert_at=datetime(2026, 4, 2, 8, 31, tzinfo=UTC),
        begins=5760,
        symptom=slowness("checkout"),
        causes=tuple(
            cause(f"http_client_request_duration_seconds_{end}", service="payments", peer="bank")
            for end in ("sum", "bucket")
        ),
        play=_slow_dependency,
    ),
    outage(
        "memory_leak",
        "search leaks for an hour, thrashes, is killed for its memory and comes back failing",
        alert=("SearchErrorRatioHigh", "search"),
        alert_at=datetime(2026, 4, 19, 3, 5, tzinfo=UTC),
        begins=3000,
        symptom=errors("search"),
        causes=(cause("process_resident_memory_bytes", service="search"),),
        play=_memory_leak,
    ),
    outage(
        "noisy_neighbour",
        "a report builder takes the processors of node-2; wallet, which lives there, is throttled and slow",
        alert=("WalletSlow", "wallet"),
        alert_at=datetime(2026, 5, 6, 22, 18, tzinfo=UTC),
        begins=5700,
        symptom=slowness("wallet"),
        causes=(cause("container_cpu_usage_seconds_total", pod="report-builder-28"),),
        play=_noisy_neighbour,
    ),
    outage(
        "traffic_surge",
        "four times the visitors arrive within five minutes; search cannot serve them",
        alert=("SearchSlow", "search"),
        alert_at=datetime(2026, 5, 29, 18, 2, tzinfo=UTC),
        begins=5580,
        symptom=slowness("search"),
        causes=(
            cause("nginx_ingress_controller_requests_total", ingress="town"),
            cause("nginx_ingress_controller_nginx_process_connections", ingress="town"),
            cause("http_requests_total", service="gateway", code="200"),
            cause("http_request_duration_seconds_count", service="gateway"),
        ),
        play=_traffic_surge,
        step=15,
    ),
    outage(
        "gc_pauses",
        "search's heap fills with a new index and its collector stops the world; requests wait for it",
        alert=("SearchSlow", "search"),
        alert_at=datetime(2026, 6, 8, 12, 40, tzinfo=UTC),
        begins=5400,
        symptom=slowness("search"),
        causes=(
            cause("jvm_memory_bytes_used", service="search", area="heap"),
            cause("jvm_gc_pause_seconds_total", service="search"),
            cause("jvm_gc_collections_total", service="search"),
        ),
        play=_gc_pauses,
    ),
)
