"""The laws of people: whose word counts, who is told, who halts and who may resume."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.entry import Entry
from tests.simulation import terms
from tests.simulation.model import Case, Model, Rule
from tests.simulation.world import Tap

CODE_TRIES = 5
STEPS = ("oncall", "leads", None)  # whom each step of the ladder names; None: everyone


def why_not(model: Model, tap: Tap, name: str | None, now: datetime) -> str | None:
    """Why the answer cannot count; None where it is a permitted person's word on an open question of theirs."""
    person, text = model.agreed.staff.get(name or ""), tap.about
    if name is None or person is None or person.suspended:
        return "not one of the staff"
    if text is None or text.tenant != model.site.tenant:
        return "about nothing of ours"
    tries = sum(who == name and now - at < timedelta(hours=1) for who, at in model.wrong_codes)
    if tap.by_code and tries >= CODE_TRIES:
        return "after too many wrong codes"
    known = model.sids.get(tap.original or "", {text.index})
    if text.name != name or (not tap.by_code and known != {text.index}):
        return "on another's message"
    question = model.questions.get(model.entries[text.index].cites[0])
    if question is None or question.outcome is not None or now >= question.until("expires_at"):
        return "on a question that is over"
    if name in question.approvals or name not in question.entry.body["approvers"]:
        return "of somebody who was not asked, or is counted already"
    agreed = model.agreed.terms
    if not agreed.has(question.case.rule, question.action) or not terms.eligible(agreed, question.action, person):
        return "of somebody who may not approve it any more"
    return None


def heard(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    model.heard[entry.id] = entry
    tap = model.world.taps.get(entry.id.partition(":")[2])
    model.need(tap is not None, entry, "law 3: nobody said this")
    name = entry.body["person"]
    if tap is not None and name is not None:
        phones = {a.staff[name].phone for a in model.site.agreements.values() if name in a.staff}
        model.need(tap.phone in phones, entry, f"tenants: {tap.phone} is not {name}'s")


def answered(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    said = model.entries[entry.settles or 0]
    model.judged[said.index] = entry
    tap = model.world.taps.get(said.id.partition(":")[2])
    counts = entry.stage in ("APPROVED", "DECLINED")
    if tap is None or tap.verb not in ("approve", "reject"):
        model.need(not counts, entry, "law 3: nobody approved or rejected")
        return
    why = why_not(model, tap, said.body["person"], entry.timestamp)
    if not counts:
        model.need(why is not None, entry, f"law 3: a good answer did not count: {entry.reason}")
        if entry.body.get("why") == "wrong code":
            model.wrong_codes.append((said.body["person"], entry.timestamp))
        return
    model.need(why is None, entry, f"law 3: an answer counts {why}")
    model.need(entry.actor == f"engineer:{said.body['person']}", entry, "law 3: by another than said it")
    model.need((entry.stage == "APPROVED") is (tap.verb == "approve"), entry, "law 3: the other answer")
    question = model.questions[entry.cites[0]]
    asked = model.entries[tap.about.index].cites[0] if tap.about is not None else None
    model.need(asked == question.entry.index, entry, "law 3: it counts for another question")
    if entry.stage == "APPROVED":
        question.approvals[said.body["person"]] = entry.index
    else:
        rejected = any(e.stage == "REJECTED" and e.settles == question.entry.index for e in post)
        model.need(rejected, entry, "law 3: DECLINED without REJECTED")


def acknowledged(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    model.case(entry).acknowledged = True


def addressed(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    for cited in entry.cites:
        model.untold.pop(cited, None)
    name = entry.body["person"]
    model.need(name in model.agreed.staff, entry, "tenants: to somebody who is not of the staff")
    case = model.cases.get(entry.incident_id or "")
    way = "whatsapp" if case is None or not entry.id.startswith("address:escalate:") else step_way(model, case, name)
    model.need(entry.body["channel"] == way, entry, f"people: by {entry.body['channel']}, and the ladder says {way}")
    if case is not None:
        case.told.setdefault(name, entry.timestamp)
        case.last_told = entry.timestamp


def escalated(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    case = model.case(entry)
    case.climbed = case.climbed[1], entry.body["step"]


def step_way(model: Model, case: Case, name: str) -> str:
    """How the ladder reaches a person at its last step, and at those before it that were missed: the last one."""
    if case.service is None:
        return "whatsapp"  # no rule of ours took the alert, and so there is no ladder
    before, now = case.climbed
    roles = model.agreed.staff[name].roles if name in model.agreed.staff else frozenset()
    ways = [case.terms.ways[step] for step in range(before + 1, now + 1) if STEPS[step] is None or STEPS[step] in roles]
    return ways[-1] if ways else case.terms.ways[0]  # nobody has the role: the first word goes to everybody


def sent(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    sid, index = entry.body["sid"], entry.body["message"]
    model.sids.setdefault(sid, set()).add(index)
    of = {text.tenant for text in model.world.texts if text.sid == sid}
    model.need(bool(of), entry, "law 5: the carrier took no such message")
    model.need(not of or model.site.tenant in of, entry, f"tenants: the message of {of}")


def delivered(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    if entry.body.get("sid"):
        model.sids.setdefault(entry.body["sid"], set()).add(entry.settles or 0)
    model.world.reached.fates[f"{model.entries[entry.settles or 0].body['channel']}: {entry.body['outcome']}"] += 1
    if entry.actor.startswith("carrier:"):
        said = model.world.said[f"{entry.stage} {model.site.tenant} {entry.settles}"]
        model.need(said > 0, entry, f"law 5: the carrier did not report {entry.stage}")


def reminded(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    case = model.case(entry)
    if case.reminded:
        early = entry.timestamp - case.reminded[-1] < timedelta(minutes=30)
        model.need(not early, entry, "people are reminded more often than every 30 minutes")
    case.reminded.append(entry.timestamp)


def halted(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    name = entry.actor.partition(":")[2]
    model.halts[entry.index] = name
    model.need(model.world.said[f"halt {model.site.tenant} {name}"] > 0, entry, f"law 3: {name} did not halt")


def resumed(model: Model, entry: Entry, post: Sequence[Entry]) -> None:
    name, by = entry.actor.partition(":")[2], model.halts.pop(entry.settles or 0, "")
    model.need(name != by, entry, "law 3: whoever halted resumed")
    model.need(model.world.said[f"resume {model.site.tenant} {name}"] > 0, entry, f"law 3: {name} did not resume")


ANSWERS: dict[str, Rule] = {
    "HEARD": heard,
    "APPROVED": answered,
    "DECLINED": answered,
    "REFUSED": answered,
    "HEEDED": answered,
    "ACKNOWLEDGED": acknowledged,
    "ADDRESSED": addressed,
    "ESCALATED": escalated,
    "SENT": sent,
    "DELIVERED": delivered,
    "UNDELIVERED": delivered,
    "REMINDED": reminded,
    "HALTED": halted,
    "RESUMED": resumed,
}
