"""What fires at Alertmanager and never came here is found; one alert that cannot be read costs none of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from receiver.governor import missed
from receiver.governor.missed import GONE_AFTER
from tests.receiver.governed import NOW, Governed


class Alertmanager:
    """What fires there now: the disks of `hosts`, and rows that are written by hand."""

    def __init__(self, *hosts: str, more: Sequence[Mapping[str, Any]] = ()) -> None:
        self.rows = [*more, *(row(host) for host in hosts)]

    async def active(self) -> Sequence[Mapping[str, Any]] | None:
        return self.rows


def row(host: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "DiskFilling", "host": host, "severity": "critical"},
        "annotations": {"summary": f"the disk of {host} fills"},
        "startsAt": NOW.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": host.encode().hex().rjust(16, "0"),
    }


UNREADABLE = row("bad") | {"labels": {"alertname": "DiskFilling", "host": "x" * 5_000}}


@pytest.fixture
async def governed() -> Governed:
    made = Governed()
    await made.governor.start()
    return made


async def polled(governed: Governed, alertmanager: Alertmanager) -> list[str]:
    """The hosts of which an incident is open after a poll."""
    governed.desk.alert_source = alertmanager
    await governed.governor.compare()
    await governed.rest()
    return sorted(dict(incident.key)["host"] for incident in governed.desk.book.open.values())


async def test_a_poll_of_which_no_alert_can_be_read_changes_nothing(
    governed: Governed, caplog: pytest.LogCaptureFixture
) -> None:
    assert await polled(governed, Alertmanager(more=[UNREADABLE])) == []
    assert "at Alertmanager cannot be read: labels: 'host' is longer than 4096 characters" in caplog.text
    assert await polled(governed, Alertmanager("db1")) == ["db1"]


async def test_what_stands_behind_an_unreadable_alert_is_found_and_nothing_else(governed: Governed) -> None:
    await governed.fire("db1")
    size = governed.desk.book.size
    assert await polled(governed, Alertmanager("db1", more=[UNREADABLE])) == ["db1"]
    assert governed.desk.book.size == size
    assert await polled(governed, Alertmanager("db1", "db2", more=[UNREADABLE])) == ["db1", "db2"]


async def test_an_alert_that_cannot_be_read_any_more_is_not_taken_for_gone(governed: Governed) -> None:
    await governed.fire("db1")
    grown = Alertmanager(more=[UNREADABLE | {"fingerprint": row("db1")["fingerprint"]}])
    for there in (grown, grown, Alertmanager(), Alertmanager()):
        await polled(governed, there)
        noted = [entry.body["kind"] for entry in governed.entries("NOTED")]
        assert noted == ([] if there is grown else noted)
        await governed.after(GONE_AFTER.total_seconds())
    assert noted == ["gone"]


async def test_more_than_one_notification_may_hold_are_found_by_and_by(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "MAX_ALERTS", 2)
    assert await polled(governed, Alertmanager("db1", "db2", "db3")) == ["db1", "db2"]
    assert await polled(governed, Alertmanager("db1", "db2", "db3")) == ["db1", "db2", "db3"]
