"""`policy check --prometheus` against a real Prometheus whose samples are known."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.__main__ import counterfoil
from tests.filled_prometheus import filled_prometheus

POLICY = """\
policy: {name: payments, version: "1"}
signals:
  error_ratio:
    promql: sum(rate(errors_total{svc="$service"}[5m])) / sum(rate(all_total{svc="$service"}[5m]))
  queue: {max_age: 2m, promql: 'max(queue_lenght{svc="$service"})'}
  slow: {max_age: 2m, promql: 'max(p95{svc="$service",path="/none"}) or vector(0.3)'}
score: [{signal: error_ratio, weight: 1, good: 0.01, bad: 0.10}]
rules:
  - name: errors
    matchers: ['alertname="HighErrorRate"']
    group_by: [service]
    detect: {when: [error_ratio >= 0.05, slow < 1], for: 1m}
    recover: {when: [score > 70]}
  - name: backlog
    matchers: ['alertname="Backlog"']
    group_by: [service]
    detect: {when: [queue > 100]}
    recover: {when: [queue < 10]}
"""
STEP, SAMPLES = 15, 30


def samples() -> str:
    """Ten requests a second each for checkout (0.1 errors a second: 1 %) and wallet (1: 10 %), and one firing alert."""
    end = int(time.time())
    times = [end - STEP * number for number in reversed(range(SAMPLES))]
    rates = {"errors": {"checkout": 0.1, "wallet": 1.0}, "all": {"checkout": 10.0, "wallet": 10.0}}
    lines = []
    for name, services in rates.items():
        lines.append(f"# TYPE {name} counter")
        for service, rate in services.items():
            lines += [f'{name}_total{{svc="{service}"}} {rate * (at - times[0])} {at}' for at in times]
    lines += ["# TYPE queue_length gauge", *(f'queue_length{{svc="wallet"}} 7 {at}' for at in times)]
    lines += ["# TYPE p95 gauge", *(f'p95{{svc="wallet",path="/pay"}} 0.2 {at}' for at in times)]
    labels = 'alertname="HighErrorRate",alertstate="firing",service="wallet"'
    lines += ["# TYPE ALERTS gauge", *(f"ALERTS{{{labels}}} 1 {at}" for at in times)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(
    tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[str]:
    with filled_prometheus(tool, tmp_path_factory.mktemp("prometheus"), free_port, samples()) as url:
        yield url


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Result]:
    (tmp_path / "policy.yml").write_text(POLICY, encoding="utf-8")

    def run(*words: str, policy: str | None = None) -> Result:
        if policy is not None:
            (tmp_path / "policy.yml").write_text(policy, encoding="utf-8")
        config = str(tmp_path / "absent.yml")
        return CliRunner().invoke(
            counterfoil, ["policy", "check", "--config", config, str(tmp_path / "policy.yml"), *words]
        )

    return run


def lines_with(result: Result, words: Sequence[str]) -> list[str]:
    return [line for line in result.output.splitlines() if all(word in line for word in words)]


def test_the_values_of_today_and_what_policy_would_decide(check: Callable[..., Result], prometheus: str) -> None:
    result = check("--prometheus", prometheus)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    wallet, checkout = (
        lines.index(f'rule errors, service="{name}": were an alert firing now') for name in ("wallet", "checkout")
    )
    assert wallet < checkout, "the key of a firing alert comes first"
    assert lines[wallet + 3].split(maxsplit=1) == ["detect", "hold: error_ratio 0.1 >= 0.05, slow 0.3 < 1 for 0s of 1m"]
    assert lines[wallet + 4].split(maxsplit=1) == ["recover", "persist: score 0 not > 70"]
    assert lines[checkout + 3].split(maxsplit=1) == ["detect", "ignore: error_ratio 0.01 not >= 0.05"]
    assert lines[checkout + 4].split(maxsplit=1) == ["recover", "recover: score 100 > 70"]


def test_series_that_do_not_exist_are_named_with_the_nearest_that_does(
    check: Callable[..., Result], prometheus: str
) -> None:
    result = check("--prometheus", prometheus)
    (queue,) = lines_with(result, ["warning", "queue_lenght"])
    assert ":5:" in queue
    assert queue.endswith("queue: no series of the last 1h matches queue_lenght; did you mean 'queue_length'?")
    (slow,) = lines_with(result, ["warning", "/none"])
    assert slow.endswith('matches p95{path="/none"}; there are series of p95, and none has these labels')
    assert not lines_with(result, ["no series", "error_ratio"])
    (nothing,) = lines_with(result, ["rule backlog"])
    assert nothing.endswith("try --key service=VALUE")


def test_a_key_of_ones_own_and_json(check: Callable[..., Result], prometheus: str) -> None:
    result = check("--prometheus", prometheus, "--key", "service=elsewhere", "--json")
    assert result.exit_code == 0
    (policy,) = json.loads(result.output)["policies"]
    assert [(one["rule"], one["key"]) for one in policy["today"]] == [
        ("errors", {"service": "elsewhere"}),
        ("backlog", {"service": "elsewhere"}),
    ]
    assert policy["today"][0]["detect"]["outcome"] == "unknown"
    assert {one["signal"]: one["state"] for one in policy["today"][0]["readings"]} == {
        "error_ratio": "no_data",
        "slow": "value",
    }
    limited = check("--prometheus", prometheus, "--keys", "1")
    assert lines_with(limited, ["rule errors: 1 of 2 keys are shown"])


def test_what_the_server_refuses_and_a_server_that_is_silent_are_failures(
    check: Callable[..., Result], prometheus: str, free_port: Callable[[], int]
) -> None:
    # A function that the parser knows and Prometheus 2.42 does not.
    newer = POLICY.replace("max(queue_lenght", "mad_over_time(queue_length[5m]) + max(queue_lenght")
    result = check("--prometheus", prometheus, "--key", "service=wallet", policy=newer)
    assert result.exit_code == 1, result.output
    assert lines_with(result, ["error: queue: prometheus refuses it", "mad_over_time"])
    silent = check("--prometheus", f"http://127.0.0.1:{free_port()}", policy=POLICY)
    assert silent.exit_code == 1
    assert lines_with(silent, ["error: prometheus does not answer"])


def test_what_is_no_address_is_a_wrong_call(check: Callable[..., Result]) -> None:
    result = check("--prometheus", "nonsense")
    said = "Error: --prometheus 'nonsense' is no address like http://127.0.0.1:9090"
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, said)


def test_a_key_without_a_value_is_a_wrong_call(check: Callable[..., Result]) -> None:
    result = check("--prometheus", "http://127.0.0.1:1", "--key", "service")
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, "Error: --key 'service' is not LABEL=VALUE")
