"""The laws of incidents, questions and actions: what must be true at the commit of each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from ledger.entry import Entry, parse_time
from tests.simulation import terms
from tests.simulation.model import FRESH, NO_EXECUTOR, Case, Model, Question, Rule

GAP = timedelta(seconds=76)  # two looks that are further apart do not make a hold


def adopted(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    digests = {blob.name: blob.digest for blob in entry.blobs}
    key = (digests["policy"], digests["roster"], digests["executors"])
    if key not in model.site.agreements:
        model.wrong(entry, "law 5: nobody agreed to this")
        return
    before, model.agreed = model.agreed.staff, model.site.agreements[key]
    for name, person in model.agreed.staff.items():
        if before.get(name) != person:
            model.changed_at[name] = entry.timestamp
    model.in_force = entry.policy_digest or ""
    model.known_terms[model.in_force] = model.agreed.terms


# --- law 1: policy decides -------------------------------------------------------------------------------------------


def evaluated(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    (payload,) = [blob for blob in model.entries[entry.settles or 0].blobs if blob.name == "payload"]
    for alert in json.loads(model.world.papers[payload.digest])["alerts"]:
        labels, began = alert["labels"], parse_time(alert["startsAt"])
        if labels["alertname"] == "HighErrorRate":
            service = labels.get("service", "")
            model.broke[service] = max(began, model.broke.get(service, began))


def detected(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    rule, key = entry.body["rule"], entry.body["key"]
    service = key["service"] if rule != "unmatched" else None
    alike = [c for c in model.cases.values() if (c.rule, c.entry.body["key"]) == (rule, key)]
    former = [c for c in alike if not c.requested_by]
    case = Case(entry, service, model.known_terms[entry.policy_digest or ""])
    model.need(entry.actor == "policy", entry, "law 1: not by policy")
    model.need(entry.incident_id not in model.cases, entry, "law 5: the incident is known")
    model.cases[entry.incident_id or ""] = case
    if case.requested_by:
        requested(model, case, alike)
        return
    model.need(all(c.ended is not None for c in former), entry, "law 1: a second incident of one key")
    if service is None:
        return
    episodes = model.site.shops[service].episodes
    model.need(bool(episodes), entry, "law 1: no alert of this service ever fired")
    last = former[-1] if former else None
    if last is not None and last.ended is not None and last.ended.stage == "CLOSED":
        known = last.told_of is not None and episodes[-1] <= last.told_of
        model.need(not known, entry, "law 3: a person closed this episode, and it opened again")
    value = number(entry.body["verdict"])
    if value is None:
        waited = entry.timestamp - model.entries[entry.settles or 0].timestamp
        patient = case.terms.detect_unknown == "detect" and waited >= timedelta(minutes=1)
        model.need(patient, entry, "law 1: detected on the unknown at once, or against the rule")
    else:
        model.need(Decimal(value) >= Decimal("0.05"), entry, f"law 1: {value} is no reason")
        model.need(value in model.lately(service), entry, f"law 1: Prometheus did not say {value}")


def requested(model: Model, case: Case, alike: Sequence[Case]) -> None:
    """A person asked for it by hand: one of the staff did, policy forbids nothing, and nobody is asked it already."""
    entry, action, by = case.entry, case.entry.body["requested_action"], case.requested_by
    model.need(case.service != "", entry, "law 1: asked for by hand, and the key is not whole")
    said = model.world.said[f"request {model.site.tenant} {action} {case.service} {by}"]
    model.need(said > 0, entry, f"law 3: {by} did not ask for it")
    person = model.agreed.staff.get(by)
    model.need(person is not None and not person.suspended, entry, f"law 3: {by} may ask for nothing")
    model.need(not model.halts, entry, "law 3: asked for while halted")
    live = [q for c in alike for q in c.questions if q.live and c.ended is None]
    model.need(not live, entry, "law 3: a second question about one thing")
    for why in model.denials(case, action, entry.timestamp):
        model.wrong(entry, f"law 1: asked for by hand, although {why}")


def number(verdict: Mapping[str, Any]) -> str | None:
    """The one number that a verdict rests on, or None where it was unknown."""
    (value,) = [f["value"] for f in verdict["findings"] if f["name"] == "error_ratio"]
    return value if isinstance(value, str) else None


def recovered(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    case, verdict = model.case(entry), entry.body["verdict"]
    model.need(entry.actor == "policy", entry, "law 1: not by policy")
    model.need(verdict["outcome"] == "recover", entry, "law 1: no verdict says that it recovered")
    model.need(all(f["holds"] for f in verdict["findings"]), entry, "law 1: recovered on the unknown, or against it")
    if case.service is not None:
        hold = [(parse_time(look["at"]), look["values"]["error_ratio"]) for look in entry.body["hold"]]
        known = all(value != "unknown" and Decimal(value) < Decimal("0.02") for _, value in hold)
        model.need(known, entry, "law 1: a look of the hold did not find it well")
        long = bool(hold) and hold[-1][0] - hold[0][0] >= timedelta(seconds=terms.HOLD_SECONDS)
        model.need(long, entry, "law 1: the looks that it shows do not last for the whole hold")
        gaps = [after[0] - before[0] for before, after in pairwise(hold)]
        model.need(all(gap <= GAP for gap in gaps), entry, "law 1: nobody looked for a part of the hold")
        model.need(terms.GOOD in model.lately(case.service), entry, "law 1: Prometheus did not say that it is well")
    ended(model, entry, post)


def closed(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    by, case = entry.actor.partition(":")[2], model.case(entry)
    if entry.actor == "policy":
        model.need(bool(case.requested_by), entry, "law 1: policy closed what a person did not ask for")
        over = all(not q.live for q in case.questions)
        checking = [e for e in model.standing.values() if e.stage == "EXECUTED" and e.incident_id == entry.incident_id]
        model.need(over and not checking, entry, "law 1: policy closed what is under way")
        ended(model, entry, post)
        return
    model.need(model.world.said[f"close {entry.incident_id} {by}"] > 0, entry, f"law 3: {by} did not close it")
    ended(model, entry, post)


def ended(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    """The end of an incident settles in the same post whatever was open because of it."""
    case = model.case(entry)
    case.ended = entry
    case.told_of = model.broke.get(case.service) if case.service is not None else None
    left = [e.stage for e in model.standing.values() if e.incident_id == entry.incident_id]
    wrong = sorted({"PROPOSED", "AUTHORIZED", "EXECUTED"} & set(left))
    model.need(not wrong, entry, f"law 5: it ended, and {wrong} stays open")


# --- law 3: a human authorizes ---------------------------------------------------------------------------------------


def proposed(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    case, body = model.case(entry), entry.body
    same = [c for c in model.cases.values() if (c.rule, c.service) == (case.rule, case.service) and c.ended is None]
    others = [q for q in case.questions if q.live]
    beside = [q for c in same if c is not case for q in c.questions if q.live and q.dispatched is None]
    question = Question(entry, case)
    case.questions.append(question)
    model.questions[entry.index] = question
    model.need(body["webhook_id"] not in model.by_webhook, entry, "law 4: a webhook-id twice")
    model.by_webhook[body["webhook_id"]] = question
    model.need(case.ended is None, entry, "law 3: the incident has ended")
    model.need(not model.halts, entry, "law 3: asked while halted")
    model.need(not beside or case.service is None, entry, "law 3: asked beside a question about the same thing")
    model.need(not case.requested_by or len(case.questions) == 1, entry, "law 3: asked again, and a person asked once")
    model.need(not others, entry, "law 3: a second question beside one that lives, or beside a doubt")
    model.need(body["in_force"] == model.in_force, entry, "law 3: asked under a policy that is not in force")
    approvers = model.able(case, question.action)
    model.need(body["approvers"] == approvers, entry, f"law 3: {body['approvers']} may answer, not {approvers}")
    both = (case.terms, model.agreed.terms)
    quorum = max(t.quorum_of(question.action) for t in both)
    model.need(body["quorum"] == quorum, entry, f"law 3: the quorum is {body['quorum']}, not {quorum}")
    model.need(body["idempotent"] == case.terms.retries(question.action), entry, "law 4: idempotent or not")
    asked = sorted(e.body["person"] for e in post if is_question(e) and e.body["channel"] == "whatsapp")
    model.need(asked == approvers, entry, f"law 3: {asked} are asked, not {approvers}")
    for why in model.denials(case, question.action, entry.timestamp):
        model.wrong(entry, f"law 1: proposed, although {why}")


def is_question(entry: Entry) -> bool:
    return entry.stage == "ADDRESSED" and bool(entry.body["kind"] == "opened")


def explained(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    """What Claude said, or kept to itself, decides nothing at whatever time it comes; which times came is counted."""
    case, asked = model.case(entry), entry.settles or 0
    answers = [index for question in case.questions for index in question.approvals.values()]
    when = "after the end" if case.ended is not None else "after an approval" if answers else "in time"
    model.world.reached.explained[f"{entry.stage} {when}"] += 1
    until = parse_time(model.entries[asked].body["until"])
    if entry.stage == "UNDIAGNOSED" and entry.timestamp >= until:
        model.world.reached.explained["given up"] += 1


def authorized(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    question = model.questions[entry.settles or 0]
    question.outcome = entry
    able = model.able(question.case, question.action)
    counted = [name for name in sorted(question.approvals, key=question.approvals.__getitem__) if name in able]
    last = counted[min(model.quorum(question), len(counted)) - 1] if counted else "nobody"
    model.need(entry.actor == f"engineer:{last}", entry, f"law 3: by {entry.actor}; {last} completed the quorum")
    model.need(entry.timestamp <= question.until("authorize_until"), entry, "law 3: too late")
    still_permitted(model, entry, question)
    if question.case.requested_by:
        return  # nobody said that the service is broken
    verdict = entry.body["service"]
    value = number(verdict)
    if value is None:
        refuses = any(t.refuses_unknown(question.action) for t in (question.case.terms, model.agreed.terms))
        model.need(not refuses, entry, "law 1: authorized on the unknown, which the policy refuses")
        model.need(None in model.lately(question.case.service), entry, "law 1: Prometheus did say something")
    else:
        model.need(verdict["outcome"] == "persist", entry, f"law 1: authorized, and policy says {verdict['outcome']}")
        model.need(value in model.lately(question.case.service), entry, f"law 1: Prometheus did not say {value}")
        model.need(value != terms.GOOD, entry, "law 1: authorized although the service is well")


def still_permitted(model: Model, entry: Entry, question: Question) -> None:
    """What is asked again before an authorization and before a dispatch."""
    model.need(question.case.ended is None, entry, "law 3: the incident has ended")
    model.need(question.entry.body["in_force"] == model.in_force, entry, "law 3: another policy is in force")
    model.need(not model.too_few(question), entry, "law 3: fewer than the quorum of those who may have approved")
    model.need(model.clock_is_right(), entry, "law 5: while the clock is behind the ledger")
    for why in model.denials(question.case, question.action, entry.timestamp):
        # An executor that is gone meanwhile is not asked, and its execution fails.
        model.need(why == NO_EXECUTOR, entry, f"law 1: although {why}")


def rejected(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    model.questions[entry.settles or 0].outcome = entry
    model.need(any(e.stage == "DECLINED" for e in post), entry, "law 3: rejected, and nobody declined")


def expired(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    question = model.questions[entry.settles or 0]
    question.outcome = entry
    model.need(entry.timestamp >= question.until("expires_at"), entry, "law 3: expired before its time")
    if len(question.approvals) >= question.entry.body["quorum"]:
        late = entry.timestamp > question.until("authorize_until")
        model.need(late, entry, "law 3: expired, and the quorum was met in time")


def withdrawn(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    question = model.questions[entry.settles or 0]
    question.outcome = entry
    if any(e.stage in ("RECOVERED", "CLOSED") for e in post) or question.entry.body["in_force"] != model.in_force:
        return
    case, action = question.case, question.action
    reads = model.lately(case.service, FRESH)
    refuses = any(t.refuses_unknown(action) for t in (case.terms, model.agreed.terms))
    reason = model.denials(case, action, entry.timestamp) or model.too_few(question)
    reason = reason or overtaken(model, case) or terms.GOOD in reads or (refuses and None in reads)
    model.need(bool(reason), entry, f"law 3: a question was withdrawn without a reason: {entry.reason}")


def overtaken(model: Model, case: Case) -> bool:
    """Whether an alert opened an incident about what a person asked for by hand."""
    others = [c for c in model.cases.values() if not c.requested_by and c.ended is None and case.requested_by]
    return any((c.rule, c.service) == (case.rule, case.service) and c.entry.index > case.entry.index for c in others)


def voided(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    question = _of_authorization(model, entry)
    question.voided = True
    late = entry.timestamp > question.until("authorize_until")
    over = any(e.stage in ("RECOVERED", "CLOSED") for e in post)
    other = question.entry.body["in_force"] != model.in_force
    other = other or overtaken(model, question.case)
    model.need(late or over or other, entry, "law 3: an authorization was voided without a reason")


def _of_authorization(model: Model, entry: Entry) -> Question:
    return model.questions[model.entries[entry.settles or 0].settles or 0]


# --- law 4: the webhook executes -------------------------------------------------------------------------------------


def dispatched(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    question = _of_authorization(model, entry)
    model.need(not model.halts, entry, "law 4: dispatched while halted")
    model.need(entry.timestamp <= question.until("authorize_until"), entry, "law 4: too late")
    still_permitted(model, entry, question)
    question.dispatched = entry
    for name in ("digest", "webhook_id", "executor"):
        model.need(entry.body[name] == question.entry.body[name], entry, f"law 4: another {name} than was proposed")


def result(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    opened = model.entries[entry.settles or 0]
    question = model.by_webhook[_dispatched_of(model, opened).body["webhook_id"]]
    question.result = entry
    webhook_id = question.entry.body["webhook_id"]
    known = [good for id, good in model.site.finished if id == webhook_id]
    knocks = [k for k in model.world.knocks if k.webhook_id == webhook_id]
    who, _, name = entry.actor.partition(":")
    if who == "executor":
        good = entry.stage == "EXECUTED"
        model.need(good in known, entry, f"law 4: the executor did not say {entry.stage}")
    elif who in ("engineer", "operator"):
        model.need(opened.stage == "UNRESOLVED", entry, "law 4: a person settled what was not in doubt")
        model.need(model.world.said[f"resolve {entry.incident_id} {name}"] > 0, entry, f"law 4: {name} did not say so")
    elif entry.stage == "FAILED":
        model.need(not knocks, entry, "law 4: it says that nothing was sent, and something was")
    elif entry.stage == "UNRESOLVED" and not model.restarted_since(opened.index):
        model.need(bool(knocks), entry, "law 4: in doubt, although this very process knows that nothing was sent")
        model.need(webhook_id not in model.site.told, entry, "law 4: in doubt, although this very process was told")
    over = question.case.ended is not None
    if entry.stage == "EXECUTED" and over:
        model.need(any(e.settles == entry.index for e in post), entry, "law 5: it came late and stays to be verified")


def _dispatched_of(model: Model, entry: Entry) -> Entry:
    return entry if entry.stage == "DISPATCHED" else model.entries[entry.settles or 0]


def verified(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    executed, case = model.entries[entry.settles or 0], model.case(entry)
    end = case.ended or next((e for e in post if e.stage in ("RECOVERED", "CLOSED")), None)
    if entry.stage == "UNCONFIRMED":
        model.need(entry.timestamp >= parse_time(executed.body["verify_until"]), entry, "law 1: too early")
        model.need(end is None, entry, "law 1: unconfirmed, and the incident has ended")
    else:
        stage = "RECOVERED" if entry.stage == "CONFIRMED" else "CLOSED"
        model.need(end is not None and end.stage == stage, entry, f"law 1: {entry.stage} without {stage}")


LAWS: dict[str, Rule] = {
    "ADOPTED": adopted,
    "EVALUATED": evaluated,
    "DIAGNOSED": explained,
    "UNDIAGNOSED": explained,
    "DETECTED": detected,
    "RECOVERED": recovered,
    "CLOSED": closed,
    "PROPOSED": proposed,
    "AUTHORIZED": authorized,
    "REJECTED": rejected,
    "EXPIRED": expired,
    "WITHDRAWN": withdrawn,
    "VOIDED": voided,
    "DISPATCHED": dispatched,
    "EXECUTED": result,
    "FAILED": result,
    "UNRESOLVED": result,
    "WRITTEN_OFF": result,
    "CONFIRMED": verified,
    "UNCONFIRMED": verified,
    "WAIVED": verified,
}
