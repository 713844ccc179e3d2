"""Outages that begin beneath the services: a store, a disk, a certificate, a name server, a queue."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.outages.making import cause, errors, outage, slowness
from tests.outages.signals import PAGE, Change
from tests.outages.town import GIB, Town

PROBED = "https://payments.town.example"


def _disk_full(town: Town) -> None:
    town.gauge("postgres", "pg_replication_slots_pg_wal_lsn_diff", 0.05 * GIB, 1.0, slot_name="reports")
    town.move("pg_replication_slots_pg_wal_lsn_diff", Change(3900, 2160, plus=36.5 * GIB))
    town.still("node-3", "node_filesystem_size_bytes", 80 * GIB, node="node-3", mountpoint="/data")
    town.move("node_filesystem_avail_bytes", Change(3900, 2160, plus=-39 * GIB), node="node-3")
    town.counter("node-3", "node_disk_written_bytes_total", 3e6, node="node-3", device="sdb")
    town.move("node_disk_written_bytes_total", Change(3900, 60, times=4.0, until=6060))
    town.move("pg_stat_database_xact_commit_total", Change(6060, 30, times=0.05))
    town.move("pg_stat_activity_count", Change(6075, 90, times=5.0))
    town.fail("wallet", 0.6, 6075, 60)
    town.slow("wallet", Change(6075, 60, times=9.0))
    town.fail("checkout", 0.35, 6120, 60)
    town.fail("gateway", 0.1, 6150, 60)
    town.move("db_pool_connections_in_use", Change(6075, 90, plus=14.0))
    town.move("kafka_topic_messages_in_total", Change(6105, 90, times=0.4))


def _certificate_expired(town: Town) -> None:
    of = {"service": "checkout", "namespace": "shop", "peer": "payments"}
    town.counter("checkout", "tls_handshake_errors_total", 0.003, reason="certificate_expired", **of).noise = 1.0
    expiry = town.first_clock + 5880.0
    town.move("probe_ssl_earliest_cert_expiry", Change(0, 0, plus=expiry - (town.first_clock + 40 * 86_400)))
    town.move("probe_success", Change(5880, 0, plus=-1.0), instance=PROBED)
    town.move("tls_handshake_errors_total", Change(5880, 60, plus=1.5))
    # Connections that were open live on for a while, so the requests fail later.
    town.move("tls_handshake_errors_total", Change(6000, 120, plus=9.0))
    town.fail("checkout", 0.7, 6000, 240)
    town.move("http_requests_total", Change(6000, 240, times=0.08), service="payments", code="200")
    town.move("http_request_duration_seconds", Change(6000, 240, times=0.08), service="payments")
    town.fail("gateway", 0.2, 6060, 240)
    town.move("kafka_topic_messages_in_total", Change(6090, 200, times=0.3))
    town.move("container_cpu_usage_seconds_total", Change(6000, 240, times=0.3), service="payments")


def _dns_failure(town: Town) -> None:
    town.counter("coredns", "coredns_forward_healthcheck_failures_total", 0.004, to="10.0.0.2:53").noise = 1.0
    town.gauge("coredns", "coredns_cache_entries", 1900.0, 1.0, type="success", zone=".")
    town.move("coredns_forward_healthcheck_failures_total", Change(5820, 30, plus=1.9))
    town.move("coredns_dns_responses_total", Change(5850, 60, plus=120.0), rcode="SERVFAIL")
    town.move("coredns_dns_responses_total", Change(5880, 120, times=0.55), rcode="NOERROR")
    town.move("coredns_cache_entries", Change(5880, 300, times=0.3))
    town.fail("payments", 0.5, 5970, 90)
    town.fail("checkout", 0.4, 6000, 90)
    town.fail("wallet", 0.15, 6030, 90)
    town.fail("gateway", 0.14, 6060, 90)
    for service, at in (("payments", 5970), ("checkout", 6000), ("wallet", 6030)):
        town.slow(service, Change(at, 90, times=8.0))
    town.move("redis_connected_clients", Change(6090, 120, times=0.6))


def _lock_contention(town: Town) -> None:
    town.gauge("postgres", "pg_stat_activity_max_tx_duration", 0.4, datname="orders", state="active").noise = 0.4
    town.move("pg_locks_count", Change(5700, 0, plus=2.0), mode="accessexclusivelock")
    town.move("pg_stat_activity_max_tx_duration", Change(5700, 1500, plus=1500.0))
    town.move("pg_locks_count", Change(5760, 240, times=7.0), mode="accesssharelock")
    town.move("pg_stat_activity_count", Change(5790, 240, times=8.0))
    town.move("pg_stat_database_xact_commit_total", Change(5760, 120, times=0.3))
    town.slow("checkout", Change(5820, 200, times=20.0))
    town.move("db_pool_connections_in_use", Change(5820, 200, plus=14.0), service="checkout")
    town.move("http_requests_in_flight", Change(5850, 200, times=30.0), service="checkout")
    town.slow("gateway", Change(5910, 200, times=8.0))
    town.slow("wallet", Change(5880, 200, times=3.0))
    town.fail("checkout", 0.15, 6090)


def _queue_backlog(town: Town) -> None:
    group = {"consumergroup": "ledger-writer", "topic": "moves"}
    town.still("kafka", "kafka_consumergroup_members", 3.0, consumergroup="ledger-writer")
    town.counter("wallet", "kafka_consumer_records_consumed_total", 70.0, service="wallet", namespace="money")
    town.gauge("wallet", "wallet_balance_age_seconds", 1.4, service="wallet", namespace="money").noise = 0.3
    town.move("kafka_consumergroup_members", Change(5490, 0, plus=-2.0))
    town.move("kafka_consumer_records_consumed_total", Change(5490, 30, times=0.34))
    town.move("kafka_consumergroup_lag", Change(5550, 1650, plus=74_000.0), **group)
    town.move("wallet_balance_age_seconds", Change(5730, 1470, plus=1050.0))
    town.move("process_resident_memory_bytes", Change(5760, 900, times=1.3), service="wallet")
    town.slow("wallet", Change(5910, 300, times=1.9))
    town.move("redis_memory_used_bytes", Change(5940, 1200, times=1.35))
    town.slow("checkout", Change(6000, 300, times=1.6))
    town.gauge("kafka", "kafka_log_size_bytes", 12 * GIB, PAGE, topic="moves").drift = 0.01


OUTAGES = (
    outage(
        "disk_full",
        "a forgotten replication slot keeps the log of postgres until the disk of node-3 is full and nothing commits",
        alert=("WalletErrorRatioHigh", "wallet"),
        alert_at=datetime(2026, 6, 21, 5, 55, tzinfo=UTC),
        begins=3900,
        symptom=errors("wallet"),
        causes=(
            cause("node_filesystem_avail_bytes", node="node-3", mountpoint="/data"),
            cause("pg_replication_slots_pg_wal_lsn_diff", slot_name="reports"),
        ),
        play=_disk_full,
    ),
    outage(
        "certificate_expired",
        "the certificate of payments runs out; checkout fails as its open connections end one after the other",
        alert=("CheckoutErrorRatioHigh", "checkout"),
        alert_at=datetime(2026, 7, 1, 0, 12, tzinfo=UTC),
        begins=5880,
        symptom=errors("checkout"),
        causes=(
            cause("probe_success", instance=PROBED),
            cause("probe_ssl_earliest_cert_expiry", instance=PROBED),
            cause("tls_handshake_errors_total", reason="certificate_expired"),
        ),
        play=_certificate_expired,
        step=15,
    ),
    outage(
        "dns_failure",
        "the upstream name server goes away; payments, checkout and wallet cannot find each other once caches age out",
        alert=("PaymentsErrorRatioHigh", "payments"),
        alert_at=datetime(2026, 7, 22, 13, 26, tzinfo=UTC),
        begins=5820,
        symptom=errors("payments"),
        causes=(
            cause("coredns_forward_healthcheck_failures_total"),
            cause("coredns_dns_responses_total", rcode="SERVFAIL"),
        ),
        play=_dns_failure,
    ),
    outage(
        "lock_contention",
        "a schema change holds an exclusive lock on orders; every query queues behind it",
        alert=("CheckoutSlow", "checkout"),
        alert_at=datetime(2026, 8, 4, 9, 50, tzinfo=UTC),
        begins=5700,
        symptom=slowness("checkout"),
        causes=(
            cause("pg_locks_count", mode="accessexclusivelock", datname="orders"),
            cause("pg_stat_activity_max_tx_duration", datname="orders"),
        ),
        play=_lock_contention,
    ),
    outage(
        "queue_backlog",
        "two of three consumers of the ledger's queue die on a poisonous message; balances grow old",
        alert=("WalletBalancesOld", "wallet"),
        alert_at=datetime(2026, 9, 15, 16, 33, tzinfo=UTC),
        begins=5490,
        symptom='max(wallet_balance_age_seconds{service="wallet"})',
        causes=(
            cause("kafka_consumergroup_members", consumergroup="ledger-writer"),
            cause("kafka_consumer_records_consumed_total", service="wallet"),
        ),
        play=_queue_backlog,
    ),
)
