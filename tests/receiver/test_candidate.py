"""`policy replay`: what another policy would have decided on a ledger's history, and what cannot be known of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ledger.entry import Entry
from policy_rules.casebook.cases import DEFAULT_START, Case, CaseAlert, Event, Expectation
from policy_rules.casebook.series import parse_series
from policy_rules.loading import load
from policy_rules.rulebook import Rulebook
from receiver.__main__ import counterfoil
from receiver.auditor.charters import Archive
from receiver.auditor.replay.candidate import OTHERWISE, SAME, UNKNOWN, Judged, judge_episode
from receiver.auditor.replay.episodes import History
from receiver.rehearsal.running import TENANT, _Run
from tests.ledger.house import ENVIRONMENT, House
from tests.policy_rules.helpers import POLICY, policy
from tests.receiver.insider import house
from tests.receiver.test_replay import story

FIRES = {"alertname": "HighErrorRate", "severity": "critical", "service": "checkout"}
PEOPLE = {"tendai": ("oncall",), "rudo": ("leads",)}
SLOW = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@dataclass
class Kept:
    """What a rehearsal left in its journal."""

    log: Sequence[Entry]
    blobs: dict[str, bytes]
    tenant: str = TENANT

    def entries(self) -> Iterator[Entry]:
        return iter(self.log)

    def blob(self, digest: str) -> bytes | None:
        return self.blobs.get(digest)

    def times(self) -> tuple[datetime | None, datetime | None]:
        """When the first incident opened, and when it recovered."""
        opened = next((e for e in self.log if e.stage == "DETECTED"), None)
        ended = next((e for e in self.log if e.stage == "RECOVERED"), None)
        return (opened.timestamp if opened else None), (ended.timestamp if ended else None)


def played(rulebook: Rulebook, errors: str, *, minutes: int = 20, until: float | None = None, tap: str = "") -> Kept:
    """The real governor on a shop whose error ratio is a sample every 30 s."""
    events = (Event(240.0, "answer", "approve", by=tap),) if tap else ()
    case = Case(
        name="one",
        line=1,
        start=DEFAULT_START,
        interval_seconds=30,
        alerts=(CaseAlert(FIRES, 0, until),),
        signals={"error_ratio": parse_series(errors), "p95_seconds": parse_series("0.3x200")},
        events=events,
        expectations=(Expectation(minutes * 60.0, 1, {}),),
    )
    run = _Run(case, rulebook, PEOPLE)
    asyncio.run(run.run())
    return Kept(run.journal.log, run.journal._blobs)


def judged(archive: Archive, candidate: Rulebook) -> list[Judged]:
    history = History(archive, candidate)
    assert history.collect() == []
    return [judge_episode(episode, candidate) for episode in history.episodes]


def first(archive: Archive, *edits: tuple[str, str]) -> Judged:
    return judged(archive, policy(*edits, ('"1.4.0"', '"1.5.0"')))[0]


BROKEN = "0.06x13 0.001x60"  # 6 % for seven minutes, then well


def test_the_same_policy_gives_no_difference() -> None:
    found = judged(played(policy(), BROKEN, tap="tendai"), policy())
    assert {(one.result, one.text) for one in found} == {(SAME, "")}
    assert found[0].episode.ended == "RECOVERED"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("error_ratio >= 0.05", "error_ratio >= 0.10", "would not open then: error_ratio 0.06 not >= 0.10"),
        ("for: 1m, if_unknown", "for: 3m, if_unknown", "would not open then: error_ratio 0.06 >= 0.05 for 1m of 3m"),
        ("for: 1m, if_unknown", "for: 0s, if_unknown", "would open an incident: error_ratio 0.06 >= 0.05"),
        (
            "error_ratio < 0.02], for: 2m",
            "error_ratio < 0.02], for: 4m",
            "would not be recovered then: error_ratio 0.001",
        ),
        (
            "error_ratio < 0.02], for: 2m",
            "error_ratio < 0.02], for: 0s",
            "would be recovered: error_ratio 0.001 < 0.02",
        ),
        ("roles: [oncall, leads], quorum: 1", "roles: [leads], quorum: 1", "restart: approvers rudo, was rudo, tendai"),
        ("roles: [oncall, leads], quorum: 1", "roles: [oncall, leads], quorum: 2", "restart: quorum 2, was 1"),
        ("allow: [checkout, wallet]", "allow: [wallet]", "restart would be denied"),
        ("      restart:\n", "      reboot:\n", "restart would be denied"),
        (
            'alertname="HighErrorRate"',
            'alertname="Other"',
            "its alerts would be taken by unmatched, alertname=HighErrorRate",
        ),
        ("group_by: [service]", "group_by: [service, severity]", "its alerts would be taken by checkout-errors"),
    ],
)
def test_where_a_candidate_first_differs(old: str, new: str, words: str) -> None:
    one = first(played(policy(), BROKEN, tap="tendai"), (old, new))
    assert one.result == OTHERWISE, one
    assert one.text.startswith(words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sum(rate(errors{", "max(rate(errors{", "it asks for error_ratio, which was not read"),
        # Between two looks that came to the same nothing was kept, and 0.03 would have been well for a laxer policy.
        ("error_ratio < 0.02], for: 2m", "error_ratio < 0.055], for: 2m", "whether it would be recovered between"),
    ],
)
def test_what_cannot_be_known_is_said(old: str, new: str, words: str) -> None:
    one = first(played(policy(), BROKEN, tap="tendai"), (old, new))
    assert (one.result, one.text.startswith(words)) == (UNKNOWN, True), one


def test_an_incident_that_only_the_candidate_would_have_opened() -> None:
    cleared = played(policy(), "0.04x60", until=300)
    assert [entry.stage for entry in cleared.log if entry.stage in ("DETECTED", "CLEARED")] == ["CLEARED"]
    one = first(cleared, ("error_ratio >= 0.05", "error_ratio >= 0.03"), ("for: 1m, if_unknown", "for: 0s, if_unknown"))
    assert (one.result, one.text) == (OTHERWISE, "would open an incident: error_ratio 0.04 >= 0.03; none was opened")
    assert first(cleared, ("error_ratio >= 0.05", "error_ratio >= 0.06")).result == SAME


def test_an_answer_that_would_not_have_been_enough() -> None:
    one = first(played(policy(), BROKEN, tap="tendai"), ("[oncall, leads], quorum: 1", "[leads, oncall], quorum: 1"))
    assert one.result == SAME
    kept = played(policy(("quorum: 1", "quorum: 2")), BROKEN, tap="tendai")
    assert not any(entry.stage == "AUTHORIZED" for entry in kept.log)


LEVELS = ("0.001", "0.015", "0.03", "0.06", "0.2")
SERIES = st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 8)), min_size=1, max_size=6)
TERMS = st.fixed_dictionaries(
    {
        "error_ratio >= 0.05": st.sampled_from([f"error_ratio >= {n}" for n in ("0.02", "0.05", "0.1")]),
        "for: 1m, if_unknown": st.sampled_from([f"for: {t}, if_unknown" for t in ("0s", "30s", "1m", "2m")]),
        "error_ratio < 0.02], for: 2m": st.sampled_from(
            [f"error_ratio < {n}], for: {t}" for n in ("0.01", "0.02") for t in ("0s", "1m", "2m")]
        ),
    }
)


@SLOW
@given(SERIES, TERMS, TERMS)
def test_what_is_said_is_what_the_candidate_really_decides(
    series: list[tuple[str, int]], old: dict[str, str], new: dict[str, str]
) -> None:
    """Whatever is said to be the same or otherwise is so, when the candidate governs the same shop for real."""
    assume(old != new)
    errors = " ".join(f"{level}x{times}" for level, times in series) + f" {series[-1][0]}x80"
    before, after = policy(*old.items()), policy(*new.items(), ('"1.4.0"', '"1.5.0"'))
    history = played(before, errors)
    really = played(after, errors).times()
    (one, *_) = judged(history, after)
    if one.result == SAME:
        assert really == history.times(), one
    elif one.result == OTHERWISE:
        assert really != history.times(), one
        if one.text.startswith("would open"):
            assert really[0] == one.at, one
        elif one.text.startswith("would be recovered"):
            assert really[1] == one.at, one


# --- the command -----------------------------------------------------------------------------------------------------


def run(found: House, *words: str) -> Result:
    return CliRunner(env=ENVIRONMENT).invoke(counterfoil, ["policy", "replay", "--config", str(found.config), *words])


def adopted() -> str:
    digest = next(e for e in story().log if e.stage == "ADOPTED").blobs
    return next(story().blobs[blob.digest].decode() for blob in digest if blob.name == "policy")


def test_the_command_on_a_ledger_and_on_an_exported_folder(tmp_path: Path) -> None:
    found = house(tmp_path / "house", story())
    file = tmp_path / "candidate.yml"
    file.write_text(adopted(), encoding="utf-8")
    same = run(found, "--policy", str(file))
    assert same.exit_code == 0, same.output
    assert "on 1 incident(s) and 1 cleared watch(es): 2 the same, 0 otherwise, 0 cannot be known" in same.output
    stricter = adopted().replace("error_ratio >= 0.05", "error_ratio >= 0.5")
    assert stricter != adopted()
    file.write_text(stricter, encoding="utf-8")
    other = run(found, "--policy", str(file), "--json")
    assert other.exit_code == 1, other.output
    (incident, watch) = json.loads(other.output)["episodes"]
    assert (incident["result"], watch["result"]) == ("otherwise", "same")
    folder = tmp_path / "export"
    assert found.run("export", str(folder)).exit_code == 0
    offline = run(found, "--policy", str(file), "--export", str(folder), "--json")
    assert json.loads(offline.output) == json.loads(other.output)
    later = run(found, "--policy", str(file), "--since", "2027-01-01T00:00:00Z")
    assert (later.exit_code, "on 0 incident(s)" in later.output) == (0, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--policy", "absent.yml"), "absent.yml: No such file"),
        (("--policy", "POLICY", "--since", "yesterday"), "yesterday"),
        (("--policy", "POLICY", "--tenant", "nobody"), "nobody"),
        (("--policy", "POLICY", "--export", "FOLDER"), "no folder that `counterfoil ledger export` wrote: it has no"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    found = house(tmp_path / "house", story())
    (tmp_path / "policy.yml").write_text(POLICY, encoding="utf-8")
    words = tuple(word.replace("POLICY", str(tmp_path / "policy.yml")) for word in words)
    result = run(found, *(word.replace("FOLDER", str(tmp_path)) for word in words))
    assert (result.exit_code, says in result.output.splitlines()[-1]) == (2, True), result.output


def test_an_alert_that_was_only_recorded_and_would_be_watched(tmp_path: Path) -> None:
    recorded = policy(('alertname="HighErrorRate"', 'alertname="Other"'), ("unmatched: notify", "unmatched: record"))
    history = History(played(recorded, BROKEN), policy())
    assert history.collect() == []
    assert [alert.labels["alertname"] for alert in history.unwatched.values()] == ["HighErrorRate"]
    assert load(POLICY, file="x", environment={}).digest == policy().digest
