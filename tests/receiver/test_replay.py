"""Policy decides again from the ledger alone, and every planted verdict comes out otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from ledger.entry import Entry, canonical, format_time
from policy_rules.readings import Reading, ReadingState
from policy_rules.verdict import Memory
from receiver.auditor.replay import Difference, Replay
from receiver.execution.webhook import Webhooks
from receiver.incident.basis import Basis, NoBasis
from receiver.papers import ExecutorTarget, Order
from tests.simulation.audited import Copy, differences
from tests.simulation.stories import recovery

Document = dict[str, Any]
Change = Callable[[Document], None]


@cache
def story() -> Copy:
    return asyncio.run(recovery(quorum=2))


def entry_of(stage: str, nth: int = 0) -> Entry:
    return [entry for entry in story().log if entry.stage == stage][nth]


def planted(stage: str, change: Change, nth: int = 0) -> list[Difference]:
    """What the replay finds where somebody changed one entry."""
    index = entry_of(stage, nth).index
    log = list(story().log)
    document = json.loads(log[index].raw)
    change(document)
    log[index] = Entry.parse(canonical(document))
    return differences(replace(story(), log=log))


def body(**fields: Any) -> Change:
    return lambda document: document["body"].update(fields)


def verdict(**fields: Any) -> Change:
    return lambda document: document["body"]["verdict"].update(fields)


def basis(**fields: Any) -> Change:
    return lambda document: document["body"]["verdict"]["basis"].update(fields)


def memory(**fields: Any) -> Change:
    return lambda document: document["body"]["verdict"]["basis"]["memory"].update(fields)


def finding(place: int, **fields: Any) -> Change:
    return lambda document: document["body"]["verdict"]["findings"][place].update(fields)


def reading(value: str) -> Change:
    def change(document: Document) -> None:
        document["body"]["verdict"]["basis"]["readings"][0]["value"] = value

    return change


def service(**fields: Any) -> Change:
    return lambda document: document["body"]["service"].update(fields)


def service_reading(value: str) -> Change:
    def change(document: Document) -> None:
        document["body"]["service"]["basis"]["readings"][0]["value"] = value

    return change


def held(value: str) -> Change:
    def change(document: Document) -> None:
        document["body"]["hold"][0]["values"]["error_ratio"] = value

    return change


def fields(**changed: Any) -> Change:
    return lambda document: document.update(changed)


def without(*names: str) -> Change:
    def change(document: Document) -> None:
        place = document["body"]
        for name in names[:-1]:
            place = place[name]
        del place[names[-1]]

    return change


def earlier(seconds: float) -> str:
    """So long before the first DETECTED."""
    return format_time(entry_of("DETECTED").timestamp - timedelta(seconds=seconds))


# name → (stage, change, what the difference says)
PLANTS: dict[str, tuple[str, Change, str]] = {
    "detected on a good number": ("DETECTED", reading("0.004"), "error_ratio 0.004 not >= 0.05"),
    "detected on a number that nobody knows": ("DETECTED", reading("NaN"), "is no number"),
    "detected on an old number": ("DETECTED", lambda d: reading_at(d, earlier(200)), "sampled 200 s ago"),
    "detected before its time": ("DETECTED", memory(true_since=earlier(9)), "for 9s of 30s"),
    "detected without having been looked at": ("DETECTED", basis(memory={}), "for 0s of 30s"),
    "detected on a memory of before the watch": ("DETECTED", lambda d: since(d, earlier(31)), "and the ledger says"),
    "detected on a look of before the watch": ("DETECTED", memory(looked_at=earlier(31)), "a look at"),
    "detected by another threshold": ("DETECTED", finding(0, threshold="0.5"), "error_ratio 0.31 >= 0.5 holds"),
    "detected by another outcome": ("DETECTED", verdict(outcome="hold"), "outcome was recorded as 'hold'"),
    "detected for another reason": ("DETECTED", fields(reason="checkout-errors: because"), "its reason says"),
    "detected by another policy": ("DETECTED", fields(policy_digest="e" * 64), "it names the policy eeee"),
    "detected with another decision": ("DETECTED", fields(decision="hold"), "error_ratio 0.31 >= 0.05 for 30s"),
    "detected on nothing": ("DETECTED", without("verdict", "basis"), "does not say what it was decided on"),
    "detected on what it does not say": ("DETECTED", without("verdict", "basis", "readings"), "unknown"),
    "detected on a time that is none": ("DETECTED", basis(now="noon"), "cannot be read"),
    "detected without a verdict": ("DETECTED", without("verdict"), "does not say what it was decided on"),
    "detected on what came after it": ("DETECTED", basis(entries=99), "it says that it was decided"),
    "detected on what came long before it": ("DETECTED", basis(entries=2), "was not open then"),
    "detected in the future": ("DETECTED", basis(now=earlier(-1)), "it says that it was decided"),
    "a look that says otherwise": ("LOOKED", verdict(outcome="ignore"), "error_ratio 0.31 >= 0.05 for 0s of 30s"),
    "a look that decides otherwise": ("LOOKED", fields(decision="ignore"), "error_ratio 0.31 >= 0.05"),
    "a look at another thing": ("LOOKED", body(subject=2), "was not open then"),
    "a look for another purpose": ("LOOKED", body(purpose="recover"), "was not open then"),
    "recovered on a bad number": ("RECOVERED", reading("0.31"), "error_ratio 0.31 not < 0.02"),
    "recovered on the unknown": ("RECOVERED", reading("NaN"), "error_ratio unknown"),
    "recovered after a bad number": ("RECOVERED", held("0.31"), "of its hold: error_ratio 0.31 not < 0.02"),
    "recovered after an unknown number": ("RECOVERED", held("unknown"), "of its hold: error_ratio unknown"),
    "recovered without a hold": ("RECOVERED", body(hold=[]), "no look of its hold"),
    "recovered with half a hold": ("RECOVERED", lambda d: d["body"]["hold"].pop(), "the looks of its hold are from"),
    "cleared while it fires": ("CLEARED", basis(entries=-1), "it says that it was decided"),
    "matched by another rule": ("EVALUATED", fields(policy_digest="e" * 64), "was in force"),
    "a question with a smaller quorum": ("PROPOSED", body(quorum=1), "quorum was recorded as 1, and is 2"),
    "a question to one more": ("PROPOSED", body(approvers=["chipo", "eve", "rudo"]), "approvers was recorded"),
    "a question with a longer life": ("PROPOSED", body(expires_at=earlier(-900)), "expires_at was recorded"),
    "a question about another executor": ("PROPOSED", body(executor="wipe"), "executor was recorded as 'wipe'"),
    "a question about another request": ("PROPOSED", body(digest="d" * 64), "the stored request has the digest"),
    "a question in other words": ("PROPOSED", body(title="feed the cat"), "title was recorded as 'feed the cat'"),
    "a question that may be repeated": ("PROPOSED", body(idempotent=True), "idempotent was recorded as True"),
    "a question without its request": ("PROPOSED", fields(blobs=[]), "the request that it proposes is missing"),
    "authorized though it had recovered": ("AUTHORIZED", service_reading("0.004"), "recovered: error_ratio 0.004"),
    "authorized on another look": ("AUTHORIZED", service(reason="well"), "reason was recorded as 'well'"),
    "authorized in other names": ("AUTHORIZED", body(approved_by=["eve"]), "approved_by was recorded"),
    "authorized with a smaller quorum": ("AUTHORIZED", body(quorum=1), "quorum was recorded as 1"),
    "authorized with another check": ("AUTHORIZED", finding(0, value="x"), "halt x == none"),
    "authorized on fewer answers": (
        "AUTHORIZED", lambda d: both(d, entry_of("APPROVED", 1).index), "1 of 2 needed approvals count"
    ),
    "authorized on an old look": (
        "AUTHORIZED", lambda d: d["body"]["service"]["basis"].update(entries=20), "policy looked at"
    ),
    "dispatched under a halt": ("DISPATCHED", lambda d: both(d, 26), "halted: nothing is dispatched"),
    "dispatched to another executor": ("DISPATCHED", body(executor="wipe"), "executor was recorded as 'wipe'"),
    "dispatched under another name": ("DISPATCHED", body(webhook_id="exec-9"), "webhook_id was recorded"),
    "dispatched for longer": ("DISPATCHED", body(until=earlier(-9000)), "until was recorded"),
    "dispatched without a look": ("DISPATCHED", without("service"), "its body is not what it should be"),
    "dispatched for nothing": ("DISPATCHED", fields(cites=[]), "was not open then"),
}  # fmt: skip


def reading_at(document: Document, at: str) -> None:
    document["body"]["verdict"]["basis"]["readings"][0]["at"] = at


def since(document: Document, at: str) -> None:
    """A hold that began earlier, before the look and after it."""
    for memory in (document["body"]["verdict"]["basis"]["memory"], document["body"]["verdict"]["memory"]):
        memory["true_since"] = at


def both(document: Document, entries: int) -> None:
    """The permission and the look that it rests on, as if they had been decided on so many entries."""
    for name in ("verdict", "service"):
        document["body"][name]["basis"]["entries"] = entries


def test_what_policy_decided_comes_out_the_same() -> None:
    replay = Replay(story())
    assert list(replay.differences()) == []
    assert all(replay.verdicts.values()), replay.verdicts
    assert sum(replay.verdicts.values()) == len([e for e in story().log if e.stage in replay.verdicts])


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_verdict_is_found_with_the_comparison_that_decided(name: str) -> None:
    stage, change, says = PLANTS[name]
    index = entry_of(stage).index
    found = planted(stage, change)
    own = [difference for difference in found if difference.index == index]
    assert own, [str(difference) for difference in found]
    assert says in own[0].comparison, str(own[0])
    assert own[0].stage == stage
    assert str(own[0]).startswith(f"entry {index}: {stage}: recorded ")
    assert own[0].to_json()["comparison"] == own[0].comparison


def test_an_entry_that_fits_no_book_ends_the_replay() -> None:
    (found,) = planted("SENT", without("message"))
    assert "does not fit the book" in found.comparison


def test_a_log_with_a_gap_is_not_decided_again() -> None:
    log = list(story().log)
    del log[12]
    (found,) = differences(replace(story(), log=log))
    assert (found.index, "follow" in found.comparison) == (13, True)


@pytest.mark.parametrize("name", ["policy", "roster", "alerts"])
def test_a_blob_that_is_missing_is_said(name: str) -> None:
    gone = {blob.digest for entry in story().log for blob in entry.blobs if blob.name == name}
    blobs = {digest: data for digest, data in story().blobs.items() if digest not in gone}
    found = differences(replace(story(), blobs=blobs))
    assert found, name
    if name != "alerts":
        assert f"the {name}" in found[0].comparison


def test_the_digest_of_a_request_is_the_webhooks_own() -> None:
    """The replay makes it again by itself; it must be what the office makes."""
    target = ExecutorTarget("restart", "http://127.0.0.1/run", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    webhooks = Webhooks({"restart": target}, lambda: entry_of("PROPOSED").timestamp)
    order = Order("exec-1", "default", "inc-1", "restart", "restart", {"service": "käse"}, None)
    request = webhooks.render(order)
    parts = {"executor": "restart", "method": "POST", "address": target.url, "body": request.body}
    assert hashlib.sha256(canonical(parts)).hexdigest() == request.digest


def test_a_basis_comes_back_as_it_was_written() -> None:
    now = entry_of("DETECTED").timestamp
    readings = (
        Reading("a", "", ReadingState.VALUE, "0.31", now, now, ""),
        Reading("b", "", ReadingState.UNREACHABLE, None, now, now, "no route"),
        Reading("c", "", ReadingState.VALUE, "0", now, now, "Prometheus warns: a store is missing", partial=True),
    )
    for basis in (Basis(7, now), Basis(7, now, Memory(now, None, now), readings)):
        assert Basis.of(basis.under({"outcome": "hold"})) == basis
    for wrong in (None, {}, {"basis": 5}, {"basis": {"entries": "x", "now": format_time(now)}}):
        with pytest.raises(NoBasis):
            Basis.of(wrong)
