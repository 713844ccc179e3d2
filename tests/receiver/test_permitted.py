"""Who may ask, answer and authorize, decided again from the policy and the roster that an entry stood under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger.entry import Entry, canonical
from ledger.findings import Finding
from receiver.auditor.permitted import RULES, Permitted
from tests.receiver.test_replay import story
from tests.simulation.audited import findings
from tests.tools import ROOT

Change = Callable[[list[dict[str, Any]], dict[str, bytes]], None]


def found(change: Change) -> list[Finding]:
    """What is found in the story where somebody changed its entries or its blobs."""
    documents, blobs = [json.loads(entry.raw) for entry in story().log], dict(story().blobs)
    change(documents, blobs)
    permitted = Permitted(blobs.get)
    return [finding for document in documents for finding in permitted.take(Entry.parse(canonical(document)))]


def on(stage: str, nth: int = 0, /, **fields: Any) -> Change:
    def change(documents: list[dict[str, Any]], blobs: dict[str, bytes]) -> None:
        [document for document in documents if document["stage"] == stage][nth].update(fields)

    return change


def cites_one_of_two(documents: list[dict[str, Any]], blobs: dict[str, bytes]) -> None:
    approved = next(document["index"] for document in documents if document["stage"] == "APPROVED")
    on("AUTHORIZED", cites=[approved])(documents, blobs)


def in_body(stage: str, /, **fields: Any) -> Change:
    def change(documents: list[dict[str, Any]], blobs: dict[str, bytes]) -> None:
        next(document for document in documents if document["stage"] == stage)["body"].update(fields)

    return change


def adopted(place: str, name: str, data: bytes, **fields: Any) -> Change:
    """Another ADOPTED in front of the first `place`, with another text in the blob `name`."""

    def change(documents: list[dict[str, Any]], blobs: dict[str, bytes]) -> None:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        first = next(document for document in documents if document["stage"] == "ADOPTED")
        other = [
            {"name": b["name"], "digest": digest if b["name"] == name else b["digest"], "length": 1}
            for b in first["blobs"]
        ]
        at = next(number for number, document in enumerate(documents) if document["stage"] == place)
        documents.insert(at, first | {"blobs": other, "id": "adopt:x"} | fields)

    return change


def roster(**roles: list[str]) -> bytes:
    return canonical({name: {"roles": given, "address_hmac": "0"} for name, given in roles.items()})


def policy(change: Callable[[str], str]) -> bytes:
    first = story().log[1]
    return change(story().blobs[first.policy_digest or ""].decode()).encode()


def text(name: str, data: bytes | None) -> Change:
    """The blob of the first ADOPTED under that name is another, or gone."""

    def change(documents: list[dict[str, Any]], blobs: dict[str, bytes]) -> None:
        digest = next(b["digest"] for b in documents[1]["blobs"] if b["name"] == name)
        if data is None:
            del blobs[digest]
        else:
            blobs[digest] = data

    return change


STRICTER = policy(lambda text: text.replace("quorum: 2", "quorum: 3").replace('version: "1.0"', 'version: "1.1"'))
WITHOUT = policy(lambda text: text.replace("restart:\n", "reboot:\n").replace('version: "1.0"', 'version: "1.1"'))
ALL = {"tendai": ["oncall"], "rudo": ["oncall"], "chipo": ["oncall"]}
SUSPENDED = canonical({name: {"roles": ["oncall"], "address_hmac": "0", "suspended": name == "rudo"} for name in ALL})


def of(data: bytes) -> dict[str, Any]:
    return {"policy_digest": hashlib.sha256(data).hexdigest(), "policy_version": "1.1"}


# name → (change, the stage of the entry that is found, rule, what it says)
CASES: dict[str, tuple[Change, str, str, str]] = {
    "a stranger is asked": (in_body("PROPOSED", approvers=["eve", "rudo"]), "PROPOSED", "approver", "it asks eve"),
    "too few are asked for": (in_body("PROPOSED", quorum=1), "PROPOSED", "approver", "policy for 2"),
    "an action that nobody wrote": (in_body("PROPOSED", action="wipe"), "PROPOSED", "approver", "an action wipe"),
    "a stranger answers": (on("APPROVED", actor="engineer:eve"), "APPROVED", "approver", "eve may not answer"),
    "a stranger declines": (
        on("APPROVED", stage="DECLINED", actor="engineer:eve"), "DECLINED", "approver", "eve may not answer"
    ),
    "who answers has lost the role": (
        adopted("APPROVED", "roster", roster(**{**ALL, "tendai": ["sales"]})), "APPROVED", "approver", "tendai may not"
    ),
    "who answers is suspended": (
        adopted("APPROVED", "roster", SUSPENDED), "APPROVED", "approver", "rudo may not answer"
    ),
    "who approved has lost the role": (
        adopted("AUTHORIZED", "roster", roster(**{**ALL, "tendai": ["sales"]})), "AUTHORIZED", "approver", "1 of 2 may"
    ),
    "who approved is gone before the dispatch": (
        adopted("DISPATCHED", "roster", roster(tendai=["oncall"])), "DISPATCHED", "approver", "1 of 2 may"
    ),
    "a stricter policy before the authorization": (
        adopted("AUTHORIZED", "policy", STRICTER, **of(STRICTER)), "AUTHORIZED", "approver", "2 of 3 may"
    ),
    "a policy without the action": (
        adopted("AUTHORIZED", "policy", WITHOUT, **of(WITHOUT)), "AUTHORIZED", "approver", "0 of 1 may"
    ),
    "fewer are cited than approved": (cites_one_of_two, "AUTHORIZED", "approver", "1 of 2 may"),
    "the policy's text is gone": (text("policy", None), "ADOPTED", "policy text", "is missing among the blobs"),
    "the policy's text is another": (text("policy", STRICTER), "ADOPTED", "policy text", "has another digest"),
    "the policy's text is none": (text("policy", b"\xff"), "ADOPTED", "policy text", "is no text"),
    "the policy cannot be read": (text("policy", b"rules: 5"), "ADOPTED", "policy text", "cannot be read"),
    "the policy is called otherwise": (on("ADOPTED", policy_version="9"), "ADOPTED", "policy text", "it says acme 9"),
    "the roster is gone": (text("roster", None), "ADOPTED", "policy text", "the roster"),
    "the roster is none": (text("roster", b"[]"), "ADOPTED", "policy text", "cannot be read"),
    "on duty by no rotation": (in_body("ADOPTED", duty={"on_duty": {}}), "ADOPTED", "duty", "not by which rotations"),
    "the roster was never there": (on("ADOPTED", blobs=[]), "ADOPTED", "policy text", "has no text"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_was_not_permitted_is_found(name: str) -> None:
    change, stage, rule, says = CASES[name]
    documents: list[dict[str, Any]] = [json.loads(entry.raw) for entry in story().log]
    change(documents, dict(story().blobs))
    indices = {document["index"] for document in documents if document["stage"] == stage}
    own = [finding for finding in found(change) if finding.index in indices and finding.rule == rule]
    assert any(says in finding.detail for finding in own), [str(finding) for finding in found(change)]
    assert all(finding.remedy for finding in own)


def test_what_was_permitted_is_no_finding() -> None:
    assert found(lambda documents, blobs: None) == []
    assert [finding for finding in findings(story()) if finding.rule != "overdue"] == []


def test_every_rule_has_a_case_and_a_place_on_the_page() -> None:
    assert {rule for _, _, rule, _ in CASES.values()} == set(RULES)
    page = (ROOT / "ledger/README.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"| {rule} | {RULES[rule]} |" not in page] == []


def test_what_is_no_entry_is_passed_over() -> None:
    assert found(on("EVALUATED", settles="2", policy_digest=5)) == []
