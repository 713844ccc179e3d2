"""The outages are frozen: the same bytes every time, and shaped as they say."""

from __future__ import annotations

import hashlib
import re
import statistics
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.outages import outages
from tests.outages.__main__ import main

SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+) (\d+\.\d{3})")
LABEL = re.compile(r'(\w+)="([^"]*)"')
MATCHER = re.compile(r'(\w+)=(~?)"([^"]*)"')
TRIED = ("bad_deploy", "certificate_expired", "queue_backlog")  # on promtool
SMOOTH = 120.0  # seconds over which a counter's rate is taken
QUIET = 2700.0  # seconds of the window's beginning in which no cause moves

SHA256 = {
    "pool_exhausted": "09aa58a6a9fae5a2a212e95a08a68b48ff22d75b94e732f6eecf17fe1b9a9849",
    "bad_deploy": "2e3f98db5cabeb220480ecf75252e451f2b2c2bccc6ae6ec89f80fec5df418db",
    "slow_dependency": "467102c0c9f27872025f1cdf069108028f046cca27236989c8681adb82839b4b",
    "memory_leak": "1edbb9d68fe3d435da5a48105e0b43cdc35e741f5e8177c8669c13732b10820b",
    "noisy_neighbour": "bd96c89aa78b8c4db9d8ffbeef5bf68c35cdbec59a149cf57116ed09cdfb7f94",
    "traffic_surge": "2b23c31d9f056964914a7c90fc5fcb455ee5b929e51fcc3a391128f8cd6e7222",
    "gc_pauses": "a56965080847fb0c892dd191e71bb609e72c63343858fe2994088091e377cf04",
    "disk_full": "91dbbcb8aa91835e28dd4bc7d9418275787b612577d622d586909ed4d6868f0f",
    "certificate_expired": "7c39b603bbbd4481f97c35dc10dd272713a466f137053efb9d9e403f46c8bfba",
    "dns_failure": "4b1ac05b1a09228bb6304837f4971a18554c1d2e45a9ec2d11a9f48f8930e184",
    "lock_contention": "00159b71ba9cf01e632bf78a0232d32a3b16bdee85a1859de1daa5e1dee74527",
    "queue_backlog": "190c95d6c78d2ab4d2cdee26f44ed85e72596d9f04a4e15ce01cb2229aef58e6",
}

Points = list[tuple[float, float]]
Shown = Mapping[tuple[str, str], Points]


@cache
def lines(name: str) -> tuple[str, ...]:
    """Its text, made once."""
    return tuple(outages()[name].samples())


@cache
def shown(name: str) -> Shown:
    """(metric, labels as they are written): (Unix seconds, value)."""
    found: dict[tuple[str, str], Points] = {}
    for line in lines(name):
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            metric, labels, value, clock = match.groups()
            found.setdefault((metric, labels), []).append((float(clock), float(value)))
    return found


@cache
def kinds(name: str) -> Mapping[str, str]:
    """Family: kind."""
    return {line.split()[2]: line.split()[3] for line in lines(name) if line.startswith("# TYPE")}


def counts(name: str, metric: str) -> bool:
    """Whether the metric never falls but at a restart."""
    known = kinds(name)
    if known.get(metric.removesuffix("_total")) == "counter":
        return True
    return known.get(re.sub("_(bucket|count|sum)$", "", metric)) == "histogram"


def moved(points: Points, counter: bool) -> float:
    """When the values (a counter's rates) leave what they were in the quiet beginning, for three scrapes on end."""
    if counter:
        rated, old = [], 0
        for clock, value in points:
            while points[old][0] < clock - SMOOTH:
                old += 1
            gone = clock - points[old][0]
            if gone > SMOOTH / 2:
                rated.append((clock, (value - points[old][1]) / gone))
        points = rated
    begin = points[0][0]
    quiet = [value for clock, value in points if clock < begin + QUIET]
    middle = statistics.median(quiet)
    width = max(6.0 * statistics.pstdev(quiet), 0.02 * abs(middle), 1e-6)
    away = [clock for clock, value in points if abs(value - middle) > width]
    for first, third in zip(away, away[2:], strict=False):
        if third - first < 150.0:
            return first
    return float("inf")


def first_move(name: str, metric: str, fits: Callable[[Mapping[str, str]], bool]) -> float:
    """When the first of the series moves."""
    found = [p for (m, text), p in shown(name).items() if m == metric and fits(dict(LABEL.findall(text)))]
    assert found, (name, metric)
    return min(moved(points, counts(name, metric)) for points in found)


@pytest.mark.parametrize("name", outages())
def test_the_bytes_are_frozen(name: str) -> None:
    text = "\n".join(lines(name)) + "\n"
    assert outages()[name].text() == text
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256[name]


def test_no_outage_is_missing() -> None:
    assert list(outages()) == list(SHA256)
    assert len(SHA256) == 12


@pytest.mark.parametrize("name", outages())
def test_shapes(name: str) -> None:
    outage, series = outages()[name], shown(name)
    assert 60 <= len(series) <= 120
    assert lines(name)[-1] == "# EOF"
    assert sum(line == "# EOF" for line in lines(name)) == 1
    alert = outage.alert_at.timestamp()
    clocks = [clock for points in series.values() for clock, _ in points]
    assert alert - 6600 <= min(clocks) < alert - 6500
    assert alert + 500 < max(clocks) <= alert + 600
    assert outage.started_at < outage.alert_at
    assert outage.labels.keys() == {"alertname", "severity", "service", "namespace"}
    assert any(all(value != value for _, value in points) for points in series.values()), "a series of NaN"
    assert any(len({value for _, value in points}) == 1 for points in series.values()), "a constant series"
    up = [value for (metric, _), points in series.items() if metric == "up" for _, value in points]
    assert 0.9 < sum(up) / len(up) < 1.0, "missed scrapes"
    for points in series.values():
        assert all(one < two for (one, _), (two, _) in pairwise(points))


@pytest.mark.parametrize("name", outages())
def test_counters_fall_only_where_their_process_began_anew(name: str) -> None:
    fell: dict[str, set[float]] = {}
    for (metric, text), points in shown(name).items():
        if counts(name, metric):
            assert all(value >= 0 for _, value in points)
            falls = {two for (two, now), (_, was) in zip(points[1:], points, strict=False) if now < was}
            if falls:
                fell.setdefault(dict(LABEL.findall(text))["service"], set()).update(falls)
    restarts = {
        dict(LABEL.findall(text))["service"]: {
            clock for (clock, now), (_, was) in zip(points[1:], points, strict=False) if now != was
        }
        for (metric, text), points in shown(name).items()
        if metric == "process_start_time_seconds"
    }
    assert fell == {service: clocks for service, clocks in restarts.items() if clocks}


@pytest.mark.parametrize("name", outages())
def test_a_cause_moves_before_the_symptom_and_the_symptom_before_the_alert(name: str) -> None:
    outage = outages()[name]
    metric, matchers = re.findall(r"(\w+)\{([^}]*)\}", outage.symptom)[0]
    wanted = [(label, value if tilde else re.escape(value)) for label, tilde, value in MATCHER.findall(matchers)]
    symptom = first_move(
        name, metric, lambda labels: all(re.fullmatch(value, labels.get(label, "")) for label, value in wanted)
    )
    causes = [
        first_move(name, one.metric, lambda labels, one=one: one.labels.items() <= labels.items())  # type: ignore[misc]
        for one in outage.cause
    ]
    assert outage.started_at.timestamp() <= min(causes) < symptom < outage.alert_at.timestamp()


@pytest.mark.parametrize("name", outages())
def test_two_unrelated_series_step_at_another_time(name: str) -> None:
    started = outages()[name].started_at.timestamp()
    for metric in ("backup_last_size_bytes", "feature_flags_enabled"):
        (points,) = (points for (found, _), points in shown(name).items() if found == metric)
        steps = [abs(now - was) for (_, now), (_, was) in pairwise(points)]
        assert max(steps) > 0.2 * points[0][1]
        assert abs(points[steps.index(max(steps))][0] - started) > 60.0


@pytest.mark.parametrize("name", TRIED)
def test_promtool_takes_them(name: str, tool: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "samples").write_text(outages()[name].text(), encoding="utf-8")
    fill = [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", tmp_path / "samples", tmp_path / "data"]
    subprocess.run(fill, check=True, capture_output=True)
    assert list((tmp_path / "data").glob("*/meta.json"))


def test_the_command_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(()) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(outages())
    assert main(("dns_failure",)) == 0
    assert tuple(capsys.readouterr().out.splitlines()) == lines("dns_failure")
    assert main(("nothing",)) == 2
    assert "dns_failure" in capsys.readouterr().err
