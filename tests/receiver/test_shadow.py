"""A candidate beside the policy in force decides live and moves nothing; who only observes proposes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ledger.entry import Entry
from policy_rules.casebook.cases import Case, Event, read_cases
from policy_rules.loading import load
from policy_rules.rulebook import Rulebook
from receiver.governor.loop import Governor
from receiver.metrics import Metrics
from receiver.rehearsal.running import Outcome, _Run

PEOPLE = {"tendai": ("oncall",), "rudo": ("oncall",)}
TEXT = """
policy: {name: shop, version: "1"}
signals:
  error_ratio: {promql: 'error_ratio{service="$service"}'}
rules:
  - name: errors
    matchers: ['alertname="HighErrorRate"']
    group_by: [service]
    detect: {when: [error_ratio >= 0.05]}
    recover: {when: [error_ratio < 0.02]}
    actions:
      restart:
        executor: restart
        title: restart the service
        approvers: {roles: [oncall]}
        verify: {within: 5m}
"""
CASES = """
policy: policy.yml
tests:
  - name: it breaks, a person approves, it is well
    labels: {alertname: HighErrorRate, service: checkout}
    signals: {error_ratio: 0.06x4 0.12x4 0.01x9}
    events: [{at: 1m, answer: approve, by: tendai}]
    expect: [{at: 8m, state: recovered}]
"""
CASE = read_cases(CASES.encode(), "cases.yml").cases[0]


def book(*changes: tuple[str, str]) -> Rulebook:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return load(text, file="policy.yml", environment={})


def started(shadow: Rulebook | None = None, *, observe: bool = False, case: Case = CASE) -> _Run:
    run = _Run(case, book(), PEOPLE)
    run.desk.charter = replace(run.desk.charter, shadow=shadow, observe=observe)
    run.governor = Governor(run.desk, poll=False)
    return run


def played(shadow: Rulebook | None = None, *, observe: bool = False) -> tuple[_Run, Outcome]:
    run = started(shadow, observe=observe)
    return run, asyncio.run(run.run())


def without_shadow(log: Sequence[Entry]) -> list[tuple[object, ...]]:
    """What was done and decided, when and by whom, but for what says that a candidate decided."""
    kept = [e for e in log if not str(e.body.get("kind", "")).startswith("shadow")]
    return [(e.timestamp, e.stage, e.actor, e.decision) for e in kept]


def shadows(log: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in log if entry.body.get("kind") == "shadow"]


STRICTER = book(('version: "1"', 'version: "2"'), ("error_ratio >= 0.05", "error_ratio >= 0.10"))
MUCH_STRICTER = book(('version: "1"', 'version: "3"'), ("error_ratio >= 0.05", "error_ratio >= 0.90"))


def test_it_moves_nothing() -> None:
    _, alone = played()
    for shadow in (STRICTER, MUCH_STRICTER, book(('version: "1"', 'version: "4"'), ("[oncall]", "[leads]"))):
        _, beside = played(shadow)
        assert without_shadow(beside.log) == without_shadow(alone.log)
        assert shadows(beside.log)
    assert any(entry.stage == "CONFIRMED" for entry in alone.log)


def test_what_it_would_do_stands_in_the_ledger() -> None:
    run = started(STRICTER)
    run.desk.metrics = Metrics()  # of its own: cases share one
    outcome = asyncio.run(run.run())
    (adopted,) = [e for e in outcome.log if e.body.get("kind") == "shadow adopted"]
    assert adopted.body["policy"] == {"name": "shop", "version": "2", "digest": STRICTER.digest}
    (text,) = [blob for blob in adopted.blobs if blob.name == "policy"]
    assert run.journal._blobs[text.digest] == STRICTER.text.encode()
    wait, detect, recover = shadows(outcome.log)
    opened = next(e for e in outcome.log if e.stage == "DETECTED")
    assert [e.body["event"] for e in (wait, detect, recover)] == ["wait", "detect", "recover"]
    assert {e.actor for e in (wait, detect, recover)} == {"system"}
    assert wait.body["in_force"] == detect.body["in_force"] == [opened.index]
    assert "would not be open yet: error_ratio 0.06 not >= 0.10" in wait.reason
    assert f"would open: error_ratio 0.12 >= 0.10; open by the policy in force: {opened.incident_id}" in detect.reason
    assert detect.body["verdict"]["policy_version"] == "2"
    (offer,) = detect.body["offers"]
    assert offer == {
        "action": "restart",
        "outcome": "permit",
        "reason": "restart by rudo, tendai",
        "approvers": ["rudo", "tendai"],
        "quorum": 1,
    }
    assert recover.cites == (detect.index,)
    assert run.desk.book.shadow.open == {}
    counted = run.desk.metrics.shadow_decisions.labels("rehearsal", "errors", "recover")._value.get()
    assert counted == 1


def test_a_restart_goes_on_with_what_it_has_open() -> None:
    run, _ = played(STRICTER)
    log = run.journal.log
    there = next(e for e in shadows(log) if e.body["event"] == "detect")
    again = type(run.desk.book)(run.desk.tenant)
    for entry in log[: there.index + 1]:
        again.take(entry)
    assert again.shadow.open == {("errors", (("service", "checkout"),)): there.index}
    assert again.shadow.digest == STRICTER.digest
    for entry in log[there.index + 1 :]:
        again.take(entry)
    assert again.shadow.open == {}


def test_another_candidate_begins_anew_and_none_is_said_too() -> None:
    async def story() -> list[Entry]:
        run = started(STRICTER)
        await run.run()
        for shadow in (MUCH_STRICTER, MUCH_STRICTER, None, None):
            run.governor.reload(replace(run.desk.charter, shadow=shadow))
            await run.governor.turn()
        assert run.desk.shadow is None
        return [e for e in run.journal.log if e.body.get("kind") == "shadow adopted"]

    named = [e.body["policy"] and e.body["policy"]["version"] for e in asyncio.run(story())]
    assert named == ["2", "3", None]


def test_who_only_observes_is_told_and_never_asked() -> None:
    run, outcome = played(observe=True)
    stages = {entry.stage for entry in outcome.log}
    assert {"DETECTED", "RECOVERED", "ADDRESSED", "SENT"} <= stages
    assert not stages & {"PROPOSED", "AUTHORIZED", "DISPATCHED"}
    adopted = next(e for e in outcome.log if e.stage == "ADOPTED")
    assert adopted.body["observe"] is True
    texts = [bytes(blob).decode() for blob in run.journal._blobs.values()]
    assert any("restart: would be proposed to rudo, tendai; only observed here" in text for text in texts)


def test_a_question_that_is_open_when_it_is_switched_on_is_withdrawn_at_the_tap() -> None:
    class Switched(_Run):
        async def _happen(self, event: Event) -> None:
            if event.what == "answer":
                self.governor.reload(replace(self.desk.charter, observe=True))
            await super()._happen(event)  # type: ignore[misc]

    run = Switched(CASE, book(), PEOPLE)
    log = asyncio.run(run.run()).log
    assert [e.stage for e in log if e.stage in ("PROPOSED", "APPROVED", "AUTHORIZED", "DISPATCHED")] == [
        "PROPOSED",
        "APPROVED",
    ]
    (withdrawn,) = [e for e in log if e.stage == "WITHDRAWN"]
    assert withdrawn.reason == "nothing is run: this tenant only observes"
