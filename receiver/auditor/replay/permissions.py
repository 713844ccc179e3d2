"""Permissions, decided again: what was proposed, authorized and dispatched, under both policies and the roster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from ledger.entry import Entry, canonical, format_time
from policy_rules import permission
from policy_rules.muting import may_tell
from policy_rules.permission import PastRun, Permission
from policy_rules.rulebook import Action
from policy_rules.verdict import Outcome
from receiver.auditor.charters import Charters
from receiver.auditor.replay import looks
from receiver.auditor.replay.difference import Difference, unlike
from receiver.incident.basis import Basis
from receiver.incident.book import Book
from receiver.incident.states import Incident, Proposal, key_of

GRACE = timedelta(minutes=2)
STAGES = ("PROPOSED", "AUTHORIZED", "DISPATCHED")
Blobs = Callable[[str], bytes | None]


def again(entry: Entry, book: Book, charters: Charters, blob: Blobs) -> Iterator[Difference]:
    """What comes out otherwise in an entry of STAGES. book, charters: as they stood when it was decided."""
    wrong: str | None = None
    incident = book.incidents.get(entry.incident_id or "")
    proposal = _proposal(entry, book)
    if incident is None or not incident.open or (entry.stage != "PROPOSED" and proposal is None):
        yield Difference(entry.index, entry.stage, "permit", "nothing", "what it is about was not open then")
        return
    if proposal is None:
        permitted = _may_propose(entry, incident, book, charters)
    else:
        permitted, wrong = _may_act(entry, incident, proposal, book, charters)
    if permitted.outcome is not Outcome.PERMIT:
        yield Difference(entry.index, entry.stage, "permit", permitted.outcome.value, permitted.reason)
        return
    wrong = wrong or unlike(entry.body.get("verdict"), permitted.to_body())
    if wrong is None and entry.policy_digest != incident.policy_digest:
        wrong = f"it names the policy {entry.policy_digest}, and its incident was opened under {incident.policy_digest}"
    if wrong is None:
        terms = _terms(entry, incident, permitted, charters) if proposal is None else _facts(entry, proposal)
        wrong = unlike(entry.body, terms)
    if wrong is None and proposal is None:
        wrong = _request(entry, blob)
    if wrong is not None:
        yield Difference(entry.index, entry.stage, "permit", "permit", wrong)


def is_request(entry: Entry) -> bool:
    """Whether the entry opens an incident that a person asked for by hand."""
    return entry.stage == "DETECTED" and "requested_by" in entry.body


def requested_again(entry: Entry, book: Book, charters: Charters) -> Iterator[Difference]:
    """What comes out otherwise where policy let a person ask for an action by hand."""
    body, basis, rulebook = entry.body, Basis.of(entry.body["verdict"]), charters.in_force()
    key = key_of(body["key"])
    may = permission.may_request(
        rulebook,
        body["rule"],
        body["requested_action"],
        body["key"],
        book.alerts_of(body["rule"], key),
        charters.people(),
        past_runs(book),
        book.halted(),
        basis.now,
        basis.readings,
        body["requested_by"],
    )
    wrong = unlike(body["verdict"], may.to_body())
    if wrong is None and entry.policy_digest != rulebook.digest:
        wrong = f"it names the policy {entry.policy_digest}, and {rulebook.digest} was in force"
    if may.outcome is not Outcome.PERMIT or wrong is not None:
        yield Difference(entry.index, entry.stage, "request", may.outcome.value, wrong or may.reason)


def is_mute(entry: Entry) -> bool:
    """Whether the entry says that nobody is told for now, and why."""
    return entry.stage == "NOTED" and entry.body.get("kind") == "muted"


def muted_again(entry: Entry, book: Book, charters: Charters) -> Iterator[Difference]:
    """What comes out otherwise where it was noted that nobody is told."""
    incident = book.incidents.get(entry.incident_id or "")
    if incident is None or not incident.open:
        yield Difference(entry.index, entry.stage, "mute", "nothing", "what it is about was not open then")
        return
    alerts, now = book.alerts_of(incident.rule, incident.key), Basis.of(entry.body["verdict"]).now
    may = may_tell(charters.rulebook(incident.policy_digest), charters.in_force(), alerts, now)
    wrong = unlike(entry.body["verdict"], may.to_body())
    if may.outcome is Outcome.PERMIT or wrong is not None:
        yield Difference(entry.index, entry.stage, "mute", may.outcome.value, wrong or may.reason)


def _proposal(entry: Entry, book: Book) -> Proposal | None:
    if entry.stage == "AUTHORIZED":
        found = book.proposals.get(entry.settles if entry.settles is not None else -1)
    else:
        # DISPATCHED in one post with its AUTHORIZED was decided before that stood, so it is known by what it cites.
        found = book.proposals.get(entry.cites[0]) if entry.stage == "DISPATCHED" and entry.cites else None
    return found


def _may_propose(entry: Entry, incident: Incident, book: Book, charters: Charters) -> Permission:
    basis = Basis.of(entry.body["verdict"])
    return permission.may_propose(
        charters.rulebook(incident.policy_digest),
        charters.in_force(),
        incident.rule,
        entry.body["action"],
        dict(incident.key),
        book.alerts_of(incident.rule, incident.key),
        charters.people(),
        past_runs(book),
        book.halted(),
        basis.now,
        basis.readings,
        str(entry.body.get("requested_by", "")),
    )


def _may_act(
    entry: Entry, incident: Incident, proposal: Proposal, book: Book, charters: Charters
) -> tuple[Permission, str | None]:
    """What policy says, and what is wrong with the look that it rests on."""
    service, wrong = looks.service_again(entry, incident, book, charters)
    question = permission.may_authorize if entry.stage == "AUTHORIZED" else permission.may_dispatch
    permitted = question(
        charters.rulebook(incident.policy_digest),
        charters.in_force(),
        incident.rule,
        proposal.body["action"],
        dict(incident.key),
        book.alerts_of(incident.rule, incident.key),
        charters.people(),
        tuple(proposal.approvals),
        int(proposal.body["quorum"]),
        past_runs(book),
        # A halt stops dispatch, and not people.
        book.halted() and entry.stage == "DISPATCHED",
        service,
        Basis.of(entry.body["verdict"]).now,
        Basis.of(entry.body["service"]).readings,
        str(proposal.body.get("requested_by", "")),
    )
    return permitted, wrong


def past_runs(book: Book) -> tuple[PastRun, ...]:
    """Every dispatch so far, as policy is told of it."""
    return tuple(run.as_past() for run in book.runs)


def _terms(entry: Entry, incident: Incident, permitted: Permission, charters: Charters) -> dict[str, Any]:
    """What a proposal must say by the incident's policy and by what was permitted."""
    rule = charters.rulebook(incident.policy_digest).rule(incident.rule)
    action: Action = rule.actions[entry.body["action"]]
    expires = Basis.of(entry.body["verdict"]).now + timedelta(seconds=action.expires_seconds)
    return {
        "title": action.title,
        "risk": action.risk,
        "executor": action.executor,
        "params": dict(permitted.params),
        "expires_at": format_time(expires),
        "authorize_until": format_time(expires + GRACE),
        "quorum": permitted.quorum,
        "levels": [level.to_body() for level in permitted.levels] or None,
        "approvers": list(permitted.approvers),
        "idempotent": action.idempotent,
        "pin": permitted.pin or None,
        "execute_within_seconds": int(action.execute_within_seconds),
        "verify_within_seconds": int(action.verify_within_seconds),
        "in_force": charters.in_force().digest,
    }


def _facts(entry: Entry, proposal: Proposal) -> dict[str, Any]:
    """What an authorization or a dispatch must repeat of the proposal and its answers."""
    body = proposal.body
    if entry.stage == "AUTHORIZED":
        facts = {"proposal": proposal.index, "quorum": body["quorum"], "approved_by": sorted(proposal.approvals)}
        # An executor that demands a proof reads here what was authorized; older entries do not say it.
        return facts | {name: body[name] for name in ("digest", "webhook_id") if name in entry.body}
    until = Basis.of(entry.body["verdict"]).now + timedelta(seconds=int(body["execute_within_seconds"]))
    same = {name: body[name] for name in ("digest", "webhook_id", "executor")}
    return {**same, "until": format_time(until)}


def _request(entry: Entry, blob: Blobs) -> str | None:
    """What is wrong with the stored request: its digest is that of all that it is."""
    reference = next((ref for ref in entry.blobs if ref.name == "request"), None)
    data = blob(reference.digest) if reference is not None else None
    if data is None:
        return "the request that it proposes is missing"
    request: Mapping[str, Any] = json.loads(data)
    parts = {name: value for name, value in request.items() if name != "digest"}
    digest = hashlib.sha256(canonical(parts)).hexdigest()
    if digest != entry.body["digest"] or request["executor"] != entry.body["executor"]:
        return f"the stored request has the digest {digest}, and it proposes {entry.body['digest']}"
    return None
