"""Policy's own speed: `python -m tests.benchmarks.policy`; `--help` has its options.

Which rules take the alerts of a group, and a verdict for each, with 10, 100 and 1,000 rules, beside a probe of the same
run: parsing the notification that brought them as JSON. And the time of `counterfoil policy test` for many cases.
Nothing is asserted: machines differ, ratios less so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from policy_rules import detection
from policy_rules.loading import load
from policy_rules.readings import Alert, Reading, ReadingState
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Memory

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GROUP = 100
ROUNDS = 21
RULE = """\
  - name: rule-{number}
    matchers: ['alertname="Broken"', 'service="service-{number}"', 'severity=~"critical|page"']
    group_by: [service]
    detect: {{when: [error_ratio >= 0.05, {{any: [alerts.firing >= 1, p95_seconds > 2]}}]}}
    recover: {{when: [error_ratio < 0.02], for: 2m}}
"""
POLICY = """\
policy: {name: benchmark, version: "1"}
signals:
  error_ratio: {max_age: 2m, promql: 'sum(rate(errors{service="$service"}[5m]))'}
  p95_seconds: {max_age: 2m, promql: 'max(latency{service="$service"})'}
rules:
"""
CASE = """\
  - name: case {number}
    start: 2026-01-05T10:00:00Z
    interval: 30s
    labels: {{alertname: Broken, service: service-1, severity: critical}}
    signals: {{error_ratio: '0.06x9 0.01x12', p95_seconds: 0.3x21}}
    expect: [{{at: 1m, state: detected}}, {{at: 9m, state: recovered}}]
"""


def policy(rules: int) -> str:
    return POLICY + "".join(RULE.format(number=number) for number in range(rules))


def alerts(rules: int) -> list[Alert]:
    """A group of alerts, each of another rule as far as there are so many."""
    found = []
    for number in range(GROUP):
        labels = {"alertname": "Broken", "service": f"service-{number * 7 % rules}", "severity": "critical"}
        labels |= {"instance": f"10.0.0.{number}:9100", "job": "node", "cluster": "one"}
        found.append(Alert(f"{number:016x}", labels, {"summary": "broken"}, True, NOW - timedelta(minutes=1), None))
    return found


def decide(rulebook: Rulebook, group: list[Alert]) -> int:
    """What the governor asks of policy for a group: the rules of each alert, and a verdict for each key."""
    keys: dict[tuple[str, tuple[tuple[str, str], ...]], list[Alert]] = {}
    for alert in group:
        detection.recorded_by(rulebook, alert)
        for found in detection.assign(rulebook, alert):
            keys.setdefault((found.rule, tuple(found.key.items())), []).append(alert)
    for (name, key), own in keys.items():
        rule = rulebook.rule(name)
        asked = detection.queries(rulebook, rule, dict(key))
        readings = [Reading(q.name, q.promql, ReadingState.VALUE, "0.31", NOW, NOW) for q in asked]
        verdict = detection.should_detect(rulebook, rule, own, readings, NOW, Memory())
        if verdict.outcome.value != "detect":
            raise SystemExit(f"{name}: {verdict.reason}")
    return len(keys)


def median(work: Callable[[], object]) -> float:
    """Seconds of the middle one of ROUNDS."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def cases(number: int) -> float:
    """Seconds of `counterfoil policy test` for so many cases, its start included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yml").write_text(policy(3), encoding="utf-8")
        text = "policy: policy.yml\ntests:\n" + "".join(CASE.format(number=at) for at in range(number))
        (folder / "policy.cases.yml").write_text(text, encoding="utf-8")
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "receiver", "policy", "test", str(folder / "policy.cases.yml")],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        return time.perf_counter() - began


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.policy", description=__doc__)
    parser.add_argument("--rules", type=int, nargs="+", default=[10, 100, 1000], help="sizes (default 10 100 1000)")
    parser.add_argument("--cases", type=int, default=1000, help="cases of policy test (default 1000)")
    given = parser.parse_args(words)
    for rules in given.rules:
        rulebook, group = load(policy(rules), file="policy.yml", environment={}), alerts(rules)
        body = json.dumps([{"labels": dict(a.labels), "annotations": dict(a.annotations)} for a in group])
        probe = median(lambda body=body: json.loads(body))  # type: ignore[misc]
        took = median(lambda rulebook=rulebook, group=group: decide(rulebook, group))  # type: ignore[misc]
        number = decide(rulebook, group)
        print(
            f"{rules} rules, {GROUP} alerts: {took * 1000:.1f} ms, {number / took:.0f} verdicts/s, "
            f"{took / probe:.0f} times the parsing of their JSON" + (" (aim 20 ms)" if rules == 1000 else "")
        )
    print(f"policy test, {given.cases} cases: {cases(given.cases):.1f} s (aim: seconds)")


if __name__ == "__main__":
    main()
