"""What a new log holds of the sealed one beside its obligations: how each incident stood, what was run, which alerts.

Pure. It stands as one text in a blob of OPENED, and the fold takes it from there. Of what people and Claude said only
the outcome is carried, so nothing of it can be answered, authorized or dispatched again.

An index of the former log is written as its distance from that log's end, which is negative: it keeps its order among
others, is smaller than any index of this log, and can be taken for none of it. What may be cited is said to be entry 0,
which is where it stands in this log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ledger.entry import Entry, canonical, format_time, parse_time
from receiver.incident.assigned import Assigned, read_assigned, write_assigned
from receiver.incident.consulting import Consultation, Standing
from receiver.incident.runs import Run
from receiver.incident.states import Incident, KnownAlert, Proposal, key_of

BLOB = "carried"  # its name under OPENED
FORM = 1  # of the text; another one is read by another version
TRIES = ("wrong_pins", "wrong_codes")  # by person, when; a key of the text where there are any
OF_A_RUN = ("action", "executor", "params")  # what of a proposal limits and cool-downs look at
_INCIDENT_TIMES = ("told_at", "reminded_at", "held_until", "ladder_from")
_INCIDENT_PLAIN = ("escalated", "reminders", "lost", "mutes", "muted", "part", "continues")
_INCIDENT_SETS = ("tried_before", "people", "gone")
_PROPOSAL_TIMES = ("proposed_at", "expires_at", "authorize_until", "dispatched_at", "execute_until", "verify_until")
_PROPOSAL_PLAIN = ("incident_id", "number", "declined_by", "outcome", "decided_by", "result", "ran", "verified")
_PROPOSAL_INDICES = ("outcome_index", "authorization", "dispatched", "result_index")
_FORMER = -1  # stands for every message of the former log that may still reach somebody


Tries = Mapping[str, Sequence[datetime]]


@dataclass(frozen=True, slots=True)
class State:
    """What OPENED brings. incidents: by id, for `restore`. tries: by the name in TRIES and person, when each was.

    ended: the last incident of a rule and key, where it is closed and may be reopened.
    """

    alerts: Mapping[str, KnownAlert] = field(default_factory=dict)
    runs: Sequence[Run] = ()
    incidents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tries: Mapping[str, Tries] = field(default_factory=dict)
    ended: Sequence[Incident] = ()


def write_state(
    alerts: Iterable[KnownAlert],
    runs: Sequence[Run],
    incidents: Iterable[Incident],
    size: int,
    *,
    tries: Mapping[str, Tries] | None = None,
    ended: Iterable[Incident] = (),
) -> bytes:
    """The text of a log of `size` entries. tries, ended: as in State."""
    optional: dict[str, Any] = {"ended": [_ended(incident) for incident in ended]}
    optional |= {
        name: {person: [format_time(at) for at in times] for person, times in found.items()}
        for name, found in (tries or {}).items()
    }
    return canonical(
        {
            "form": FORM,
            "alerts": [_alert(known) for known in sorted(alerts, key=lambda known: known.alert.fingerprint)],
            "runs": [
                {"rule": run.rule, "key": dict(run.key), "at": format_time(run.at), "forgiven": run.forgiven}
                | {"proposal": _proposal(run.proposal, size, OF_A_RUN)}
                for run in runs
            ],
            "incidents": {incident.id: _incident(incident, size) for incident in incidents},
        }
        | {name: said for name, said in optional.items() if said}
    )


def read_state(raw: bytes) -> State:
    """The reverse. Raises ValueError and KeyError where it is none of this form."""
    data = json.loads(raw)
    if data["form"] != FORM:
        raise ValueError(f"what was carried forward is of form {data['form']}, and this version reads {FORM}")
    alerts = [
        KnownAlert(row.alert, row.assignments, _time(said["ended_at"]))
        for said in data["alerts"]
        for row in read_assigned(canonical([said["alert"]]))
    ]
    runs = [
        Run(r["rule"], key_of(r["key"]), parse_time(r["at"]), _read_proposal(r["proposal"]), r["forgiven"])
        for r in data["runs"]
    ]
    tries = {
        name: {person: [parse_time(at) for at in times] for person, times in data.get(name, {}).items()}
        for name in TRIES
    }
    ended = [_read_ended(row) for row in data.get("ended", ())]
    return State({known.alert.fingerprint: known for known in alerts}, runs, data["incidents"], tries, ended)


def state_from(digest: str, raw: bytes | None) -> State:
    """What an OPENED that names `digest` brings. Raises ValueError and KeyError, also where the bytes are missing.

    Without them no limit, lock or ladder would be as it was, so nothing goes on.
    """
    if raw is None:
        raise ValueError(f"the blob {digest} is missing")
    return read_state(raw)


def blob_of(entry: Entry) -> str | None:
    """The digest of the text, where `entry` is an OPENED that brings one."""
    return next((ref.digest for ref in entry.blobs if ref.name == BLOB), None) if entry.stage == "OPENED" else None


def restore(incident: Incident, said: Mapping[str, Any]) -> None:
    """Let an incident go on as it stood in the former log."""
    for name in _INCIDENT_TIMES:
        setattr(incident, name, _time(said[name]))
    for name in _INCIDENT_PLAIN:
        setattr(incident, name, said[name])
    incident.tried_before = frozenset(said["tried_before"])
    incident.people, incident.gone = set(said["people"]), set(said["gone"])
    incident.called = {_FORMER} if said["called"] else set()
    incident.proposals = [_read_proposal(row) for row in said["proposals"]]
    incident.consultations = [_read_consultation(row) for row in said["consultations"]]


def _alert(known: KnownAlert) -> dict[str, Any]:
    row = json.loads(write_assigned([Assigned(known.alert, known.assignments)]))[0]
    return {"alert": row, "ended_at": _text(known.ended_at)}


def _incident(incident: Incident, size: int) -> dict[str, Any]:
    return (
        {name: _text(getattr(incident, name)) for name in _INCIDENT_TIMES}
        | {name: getattr(incident, name) for name in _INCIDENT_PLAIN}
        | {name: sorted(getattr(incident, name)) for name in _INCIDENT_SETS}
        | {
            "called": bool(incident.called),
            "proposals": [_proposal(proposal, size) for proposal in incident.proposals],
            "consultations": [_consultation(consultation, size) for consultation in incident.consultations],
        }
    )


def _ended(incident: Incident) -> dict[str, Any]:
    """What the part that follows it takes over, and what tells its episodes from new ones."""
    return {
        "id": incident.id,
        "rule": incident.rule,
        "key": dict(incident.key),
        "part": incident.part,
        "tried": sorted(incident.tried),
        "people": sorted(incident.people),
        "held_until": _text(incident.held_until),
        "closed": incident.closed,
        "closed_at": _text(incident.closed_at),
        "closed_with": {fingerprint: format_time(at) for fingerprint, at in incident.closed_with.items()},
    }


def _read_ended(said: Mapping[str, Any]) -> Incident:
    """It is closed, so nothing looks at the rest of it. What may be cited for its end is OPENED."""
    at = parse_time(said["closed_at"])
    incident = Incident(said["id"], 0, said["rule"], key_of(said["key"]), "", "", "", "", at, "", "")
    incident.part, incident.tried_before, incident.people = said["part"], frozenset(said["tried"]), set(said["people"])
    incident.held_until = _time(said["held_until"])
    incident.closed, incident.closed_at, incident.closed_index = said["closed"], at, 0
    incident.closed_with = {fingerprint: parse_time(began) for fingerprint, began in said["closed_with"].items()}
    return incident


def _proposal(proposal: Proposal, size: int, of_body: Sequence[str] = ()) -> dict[str, Any]:
    body = proposal.body
    return (
        {name: _text(getattr(proposal, name)) for name in _PROPOSAL_TIMES}
        | {name: getattr(proposal, name) for name in _PROPOSAL_PLAIN}
        | {name: _away(getattr(proposal, name), size) for name in _PROPOSAL_INDICES}
        | {
            "approvals": {who: index - size for who, index in proposal.approvals.items()},
            "body": {name: body[name] for name in of_body or body if name in body},
        }
    )


def _read_proposal(said: Mapping[str, Any]) -> Proposal:
    given: dict[str, Any] = {name: _time(said[name]) for name in _PROPOSAL_TIMES}
    given |= {name: said[name] for name in (*_PROPOSAL_PLAIN, *_PROPOSAL_INDICES, "body", "approvals")}
    return Proposal(index=0, request_digest="", **given)


def _consultation(consultation: Consultation, size: int) -> dict[str, Any]:
    earlier = consultation.earlier
    return {
        "index": consultation.index - size,
        "until": format_time(consultation.until),
        "outcome": consultation.outcome,
        "body": dict(consultation.body),
        "confidence": consultation.confidence,
        "case": dict(consultation.case),
        "earlier": [earlier.made, earlier.tried, earlier.confirmed],
    }


def _read_consultation(said: Mapping[str, Any]) -> Consultation:
    return Consultation(
        index=said["index"],
        until=parse_time(said["until"]),
        outcome=said["outcome"],
        outcome_index=0,
        body=said["body"],
        confidence=said["confidence"],
        case=said["case"],
        earlier=Standing(*said["earlier"]),
    )


def _away(index: int | None, size: int) -> int | None:
    return index - size if index is not None else None


def _text(moment: datetime | None) -> str | None:
    return format_time(moment) if moment is not None else None


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text is not None else None
