"""What can happen in a history. Who asks the service for something does so while it works on.

How often each comes stands in events.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from ledger.journal import LedgerError
from tests.simulation import listing, terms
from tests.simulation.doors import ACCOUNT
from tests.simulation.history import Broken, History
from tests.simulation.model import Question
from tests.simulation.world import Crash, Site, Tap, Text

STRANGER = "whatsapp:+263779999999"
ENDINGS = ("ran", "did_not_run", "written_off")


def _site(history: History) -> Site:
    return history.rng.choice(history.sites)


def open_questions(history: History, site: Site) -> list[Question]:
    return [q for q in history.models[site.tenant].questions.values() if q.outcome is None]


# --- shops, and what Alertmanager says of them -----------------------------------------------------------------------


async def breaks(history: History) -> None:
    site = _site(history)
    await history.passes(1)
    site.breaks(history.rng.choice(["checkout", "checkout", "checkout", "wallet", ""]))
    await notify(history, site)


async def heals(history: History) -> None:
    site = _site(history)
    for name in site.shops:
        site.heals(name)
    await notify(history, site)


async def limps(history: History) -> None:
    """Neither bad nor well."""
    site = _site(history)
    for shop in site.shops.values():
        shop.health = terms.FAIR if shop.health == terms.BAD else shop.health


async def others_fire(history: History) -> None:
    site = _site(history)
    site.other_fires(history.rng.choice(["Watchdog", "DiskFull", "DiskFull"]))
    await notify(history, site)


async def notify(history: History, site: Site | None = None) -> None:
    """Alertmanager posts the group as it stands, in one of the ways in which it may go wrong."""
    site = site or _site(history)
    world, alerts = history.world, site.alerts()
    if not alerts:
        return
    left_out = 0
    if len(alerts) > 1 and world.fault("alertmanager: truncated", 0.2):
        left_out = 1
        alerts = history.rng.sample(alerts, len(alerts) - 1)
    if world.fault("alertmanager: malformed", 0.03):
        await history.during(history.doors.alerts(site, b'{"alerts": ['))
    if world.fault("alertmanager: wrong token", 0.03):
        await history.during(history.doors.alerts(site, b"{}", token="another"))
    body = _payload(alerts, left_out, "http://one")
    await _deliver(history, site, body)
    if world.fault("alertmanager: twice", 0.15):
        await _deliver(history, site, _payload(alerts, left_out, "http://two"))
    if history.delivered and world.fault("alertmanager: late", 0.1):
        tenant, old = history.rng.choice(history.delivered)
        await _deliver(history, world.sites[tenant], old)


def _payload(alerts: list[dict[str, Any]], left_out: int, sender: str) -> bytes:
    status = "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved"
    common = {"version": "4", "receiver": "counterfoil", "truncatedAlerts": left_out, "externalURL": sender}
    return json.dumps({**common, "status": status, "alerts": alerts}).encode()


async def _deliver(history: History, site: Site, body: bytes) -> None:
    """What is not answered with 200 is sent again later, as Alertmanager does."""
    history.undelivered.append((site.tenant, body))
    if await history.during(history.doors.alerts(site, body)) == 200:
        history.undelivered.remove((site.tenant, body))
        history.delivered.append((site.tenant, body))


async def again(history: History) -> None:
    for tenant, body in list(history.undelivered):
        history.undelivered.remove((tenant, body))
        await _deliver(history, history.world.sites[tenant], body)


async def vanishes(history: History) -> None:
    """An alert is gone without a word: a rule was deleted, or a silence was made."""
    site = _site(history)
    firing = [shop for shop in site.shops.values() if shop.alert is not None and shop.alert["status"] == "firing"]
    if not firing:
        return
    history.reached.faults["alertmanager: alert vanished"] += 1
    history.rng.choice(firing).alert = None
    for _ in range(4):
        await compare(history)
        await history.passes(130)
        await history.rest()


async def compare(history: History) -> None:
    for governor in history.governors.values():
        try:
            await history.during(governor.compare())
        except LedgerError as error:
            history.reached.turned_away[f"compare: {type(error).__name__}"] += 1


async def prometheus(history: History) -> None:
    site = _site(history)
    site.prometheus_up = not site.prometheus_up
    history.reached.faults["prometheus: down for a while"] += 1


# --- time ------------------------------------------------------------------------------------------------------------


async def wait_a_little(history: History) -> None:
    await history.passes(history.rng.choice([1, 5, 11, 30, 31]))


async def wait_long(history: History) -> None:
    for _ in range(history.rng.choice([2, 4, 10])):
        await history.passes(35)
        await history.rest()


async def asleep(history: History) -> None:
    """A stretch without any look, as a machine that was stopped leaves it."""
    history.reached.faults["clock: asleep"] += 1
    await history.passes(history.rng.choice([301, 601, 721, 1801]))


async def clock_steps(history: History) -> None:
    await history.settle()  # no step takes minutes
    by = history.rng.choice([-3, -30, -120, 90, 600])
    history.reached.faults[f"clock: {'forward' if by > 0 else 'back'}"] += 1
    history.world.clock.step(by)
    history.world.jumped_at = history.world.clock.elapsed


# --- people and their phones -----------------------------------------------------------------------------------------


async def approve(history: History) -> None:
    await tap(history, ("approve",))


async def tap(history: History, verbs: tuple[str, ...] = ("approve", "approve", "reject", "onit")) -> None:
    """Somebody answers a message of theirs, or of somebody else's, now or once more, by button or by code."""
    world, rng = history.world, history.rng
    asked = [text for text in world.texts if text.token]
    if not asked:
        return
    fresh = [text for text in asked if is_open(history, text)]
    text = rng.choice(fresh) if fresh and rng.random() < 0.85 else rng.choice(asked[-8:])
    if text not in fresh:
        world.fault("people: old question", 1.0)
    phone, verb = text.phone, rng.choice(verbs)
    if world.fault("people: somebody else's button", 0.06):
        phone = rng.choice([t.phone for t in world.texts])
    elif world.fault("people: a stranger's button", 0.03):
        phone = STRANGER
    original: str | None = text.sid if rng.random() < 0.9 else None
    if world.fault("people: another message", 0.03):
        theirs = [t for t in world.texts if (t.tenant, t.phone) == (text.tenant, text.phone)]
        original = rng.choice([t.sid for t in theirs if t.channel == "whatsapp"])
    by_code = verb != "onit" and rng.random() < (0.9 if history.flavour.polled else 0.25)
    body = {"approve": "A", "reject": "R"}.get(verb, "") + f" {text.code}"
    form = {"Body": body} if by_code else button(verb, text.token, original)
    await say(history, phone, form, verb, text, by_code=by_code, original=None if by_code else original)


async def last_minute(history: History) -> None:
    """Somebody answers about when the question expires; nobody has looked at it since."""
    text = open_text(history)
    if text is None:
        return
    model = history.models[text.tenant]
    expires = model.questions[model.entries[text.index].cites[0]].until("expires_at")
    left = (expires - history.world.clock.now()).total_seconds() + history.rng.choice([-1, 0, 1, 60])
    if left > 0:
        history.reached.faults["people: at the last minute"] += 1
        await history.passes(left)
        await say(history, text.phone, button("approve", text.token, text.sid), "approve", text, original=text.sid)


async def changes_hands(history: History) -> None:
    """Somebody who was asked, or has approved, loses the right to; then they, or the others, answer."""
    text = open_text(history)
    if text is None:
        return
    site, model = history.world.sites[text.tenant], history.models[text.tenant]
    question = model.questions[model.entries[text.index].cites[0]]
    name = history.rng.choice([text.name, *question.approvals])
    if name not in site.staff:
        return
    history.reached.faults["change: in the middle"] += 1
    if history.rng.random() < 0.5:
        site.changed(name, suspended=True)
    else:
        site.changed(name, roles=frozenset())
    await _reload(history, site)
    await tap(history, ("approve",))


def open_text(history: History) -> Text | None:
    """A message with a question that is open, to anybody."""
    fresh = [text for text in history.world.texts if text.token and is_open(history, text)]
    return history.rng.choice(fresh) if fresh else None


async def nobodys_button(history: History) -> None:
    """A button that no message of ours has."""
    site = _site(history)
    phone = history.rng.choice(list(site.staff.values())).phone
    history.reached.faults["people: nobody's button"] += 1
    await say(history, phone, button("approve", f"7-{'a' * 24}", None), "approve")


def is_open(history: History, text: Text) -> bool:
    model = history.models[text.tenant]
    question = model.questions.get(model.entries[text.index].cites[0])
    return question is not None and question.outcome is None


def button(verb: str, token: str | None, original: str | None) -> dict[str, str]:
    form = {"Body": verb, "ButtonText": verb, "ButtonPayload": f"{verb}.{token}", "MessageType": "button"}
    return form | ({"OriginalRepliedMessageSid": original} if original else {})


async def say(
    history: History,
    phone: str,
    form: dict[str, str],
    verb: str,
    about: Text | None = None,
    *,
    by_code: bool = False,
    original: str | None = None,
) -> None:
    history.number += 1
    sid = f"SM{history.seed % 2**32:08x}{history.number:024x}"
    if history.flavour.polled:
        listing.writes(history, sid, phone, form, Tap(sid, phone, verb, about, by_code, original))
        return
    history.world.taps[sid] = Tap(sid, phone, verb, about, by_code, original)
    full = {"MessageSid": sid, "AccountSid": ACCOUNT, "From": phone, "To": "whatsapp:+1", **form}
    for _ in range(2 if history.world.fault("people: the same message twice", 0.1) else 1):
        await history.during(history.doors.twilio("/twilio/message", full))


async def many_wrong_codes(history: History) -> None:
    """Somebody tries codes, and then the right one."""
    text = open_text(history)
    if text is None:
        return
    tries = history.rng.choice([1, 6])
    history.reached.faults["people: wrong code" if tries == 1 else "people: many wrong codes"] += 1
    for _ in range(tries):
        await say(history, text.phone, {"Body": "A YYYY"}, "approve", by_code=True)
    await say(history, text.phone, {"Body": f"A {text.code}"}, "approve", text, by_code=True)


async def stranger(history: History) -> None:
    history.reached.faults["people: a stranger"] += 1
    await say(history, STRANGER, {"Body": "A 3333"}, "approve", by_code=True)


async def forged(history: History) -> None:
    if not history.flavour.polled and history.world.fault("carrier: wrong signature", 1.0):
        form = {"MessageSid": "SM" + "0" * 32, "AccountSid": ACCOUNT, "From": STRANGER, "Body": "HALT"}
        await history.during(history.doors.twilio("/twilio/message", form, signed=False))


async def words(history: History) -> None:
    """HALT, RESUME, STATUS and nonsense from an enrolled person, to every tenant of theirs."""
    site = _site(history)
    person = history.rng.choice(list(site.staff.values()))
    verb = history.rng.choice(["halt", "resume", "status", "other"])
    await _word(history, person.phone, verb)
    if verb == "halt" and history.rng.random() < 0.3:
        await _word(history, person.phone, "resume")


async def requests(history: History) -> None:
    """Somebody asks for an action by hand: by message or at a keyboard, for what there is and for what there is not."""
    site, rng = _site(history), history.rng
    person = rng.choice(list(site.staff.values()))
    action = rng.choice([site.terms.first, site.terms.first, "rollback", "demolish"])
    service = rng.choice(["checkout", "wallet", "warehouse"])
    for tenant in {site.tenant for site in history.sites if site.named(person.phone) is not None}:
        name = history.world.sites[tenant].named(person.phone)
        history.world.said[f"request {tenant} {action} {service} {name}"] += 1
    if rng.random() < 0.6:
        await say(history, person.phone, {"Body": f"RUN {action} {service}"}, "run")
    else:
        fields = {"by": rng.choice([person.name, person.name, "operator"]), "text": f"{action} {service}"}
        await history.during(history.doors.change(site, "request", "requests", fields))


async def _word(history: History, phone: str, verb: str) -> None:
    for site in history.sites:
        history.world.said[f"{verb} {site.tenant} {site.named(phone)}"] += 1
    text = {"halt": "HALT because of a drill", "resume": "RESUME", "status": "status", "other": "yes"}[verb]
    await say(history, phone, {"Body": text}, verb)


async def people_resume(history: History) -> None:
    for site in history.sites:
        await by_hand(history, site, "resume", history.rng.choice([*site.staff, "operator"]))


async def carrier_reports(history: History) -> None:
    """A status callback, for any message: delivered, read or not; twice, or in the wrong order."""
    world = history.world
    told = [text for text in world.texts if text.channel in ("whatsapp", "sms")]
    if not told:
        return
    text = history.rng.choice(told[-12:])
    bad = world.fault("carrier: reports failure", 0.25)
    for status in ["undelivered"] if bad else history.rng.choice([["sent", "delivered"], ["read"], ["delivered"] * 2]):
        stage = {"undelivered": "UNDELIVERED", "sent": "SENT"}.get(status, "DELIVERED")
        world.said[f"{stage} {text.tenant} {text.index}"] += 1
        world.statuses[text.sid] = status, "63016" if bad else ""
        if history.flavour.polled:
            continue  # it stands in the carrier's list
        form = {"MessageSid": text.sid, "AccountSid": ACCOUNT, "MessageStatus": status}
        form |= {"ErrorCode": "63016"} if bad else {}
        await history.during(history.doors.twilio(f"/twilio/status?m={text.tenant}-{text.index}", form))


# --- executors and people at keyboards -------------------------------------------------------------------------------


async def late_result(history: History) -> None:
    """The word of an executor that had answered 202: once, twice, or from somebody else."""
    world = history.world
    for site in history.sites:
        if site.running:
            webhook_id, shop = site.running.pop()
            world.fault("executor: late result", 1.0)
            good = history.rng.random() < 0.7
            if good:
                site.heals(shop)
            if world.fault("executor: wrong secret", 0.2):
                await history.during(history.doors.result(site, webhook_id, good, secret=b"another"))
            site.finished.append((webhook_id, good))
            for _ in range(2 if world.fault("executor: second result", 0.4) else 1):
                if await history.during(history.doors.result(site, webhook_id, good)) == 503:
                    site.running.append((webhook_id, shop))
    if world.fault("executor: unknown result", 0.05):
        await history.during(history.doors.result(_site(history), "exec-unknown", True))


async def by_hand(
    history: History, site: Site, what: str, by: str, incident: str = "inc-none", outcome: str | None = None
) -> int:
    said = {"close": f"close {incident} {by}", "resolve": f"resolve {incident} {by}"}
    history.world.said[said.get(what, f"{what} {site.tenant} {by}")] += 1
    path, field = {
        "close": (f"incidents/{incident}/close", "reason"),
        "note": (f"incidents/{incident}/notes", "text"),
        "resolve": (f"incidents/{incident}/resolutions", "text"),
        "halt": ("halts", "reason"),
        "resume": ("resumes", "reason"),
    }[what]
    fields = {"by": by, field: "by hand"}
    fields |= {"outcome": outcome or history.rng.choice(ENDINGS)} if what == "resolve" else {}
    return await history.during(history.doors.change(site, what, path, fields))


async def person_acts(history: History) -> None:
    """Somebody at a keyboard closes, notes, halts, resumes or settles a doubt, of any incident or of none."""
    site = _site(history)
    by = history.rng.choice([*site.staff, "operator"])
    cases = history.models[site.tenant].cases
    open_now = [incident for incident, case in cases.items() if case.ended is None]
    among = open_now if open_now and history.rng.random() < 0.7 else [*cases, "inc-none"]
    what = history.rng.choice(["close", "note", "halt", "resume", "resolve", "resolve"])
    await by_hand(history, site, what, by, history.rng.choice(among))


async def before_the_end(history: History) -> None:
    """What is seldom met otherwise, while anything may still fail: doubts are written off, and questions stranded."""
    drawn = random.Random(history.seed)  # its own, so that nothing before or beside it is drawn otherwise
    if drawn.random() < 0.15:
        await breaks(history)
        await wait_long(history)
        await stranded(history)
        await too_late(history)
    for site in history.sites:
        for entry in [e for e in history.models[site.tenant].standing.values() if e.stage == "UNRESOLVED"]:
            if drawn.random() < 0.4:
                await by_hand(history, site, "resolve", "operator", entry.incident_id or "", "written_off")


async def closes_early(history: History) -> None:
    """Somebody closes an incident before Claude has said a word, which comes all the same."""
    for site in history.sites:
        for entry in [e for e in history.models[site.tenant].standing.values() if e.stage == "CONSULTED"]:
            history.reached.faults["people: closed before it is explained"] += 1
            await by_hand(history, site, "close", history.rng.choice(list(site.staff)), entry.incident_id or "")
    await history.passes(30)


async def halt_in_flight(history: History) -> None:
    """A halt while something is asked, authorized or under way."""
    stages = history.rng.choice([("PROPOSED",), ("AUTHORIZED", "DISPATCHED")])
    for site in history.sites:
        if any(e.stage in stages for e in history.models[site.tenant].standing.values()):
            history.world.fault("people: halt in flight", 1.0)
            await by_hand(history, site, "halt", "operator")


async def stranded(history: History) -> None:
    """What people authorized cannot be sent, because of a halt, until it is too late."""
    for site in history.sites:
        await by_hand(history, site, "halt", "operator")
    for _ in range(4):
        await approve(history)
    if history.rng.random() < 0.3:
        await reload(history)
    await wait_long(history)


async def too_late(history: History) -> None:
    """The time goes by in which what people authorized could be sent."""
    for model in history.models.values():
        for question in list(model.questions.values()):
            if question.live and question.outcome is not None and question.dispatched is None:
                left = question.until("authorize_until") - history.world.clock.now()
                await history.passes(max(left.total_seconds(), 0) + 1)
                await history.rest()


async def gone_while_it_waits(history: History) -> None:
    """A halt holds back what people authorized; one of them loses the right to, and then it may go on."""
    for site in history.sites:
        await by_hand(history, site, "halt", "operator")
    for _ in range(6):
        await approve(history)
    for site in history.sites:
        waiting = [
            question
            for question in history.models[site.tenant].questions.values()
            if question.live and question.outcome is not None and question.dispatched is None
        ]
        for question in waiting:
            name = history.rng.choice(sorted(question.approvals))
            if name in site.staff:
                history.reached.faults["change: in the middle"] += 1
                site.changed(name, roles=frozenset())
        await _reload(history, site)
    await people_resume(history)
    await wait_a_little(history)


# --- what is agreed --------------------------------------------------------------------------------------------------


async def reload(history: History) -> None:
    """Another policy, another roster, other executors, or the same again."""
    site, rng = _site(history), history.rng
    what = rng.choice(
        ["policy", "policy", "policy", "roster", "suspended", "suspended", "left", "executor gone", "nothing"]
    )
    history.reached.faults[f"change: {what}"] += 1
    name = rng.choice(list(site.staff))
    if what == "policy":
        site.terms = rng.choice(site.catalogue)
    elif what == "roster":
        site.changed(name, roles=frozenset(rng.choice([("oncall",), ("leads",), ("oncall", "leads"), ()])))
    elif what == "suspended":
        site.changed(name, suspended=not site.staff[name].suspended)
    elif what == "left" and len(site.staff) > 2:
        del site.staff[name]
    elif what == "left":
        site.staff = terms.staff(site.tenant)
    elif what == "executor gone":
        gone = site.executors.pop("restart", None)
        if gone is None:
            site.executors["restart"] = f"https://{site.tenant}.example/restart"

    await _reload(history, site)


async def _reload(history: History, site: Site) -> None:
    async def ask() -> None:
        history.governors[site.tenant].reload(site.charter())

    await history.during(ask())


# --- the process -----------------------------------------------------------------------------------------------------


async def disk(history: History) -> None:
    history.journal.full = 0.0 if history.journal.full else 0.3


async def killed(history: History) -> None:
    history.reached.faults["process: killed"] += 1
    raise Crash("killed")


async def killed_soon(history: History) -> None:
    """The next posts die with a good chance, before or after their commit."""
    history.journal.crashes = 0.25


# --- the end ---------------------------------------------------------------------------------------------------------


async def all_break(history: History) -> None:
    """No alert is lost: whatever is broken now, and is told, is an open incident after a few minutes."""
    await history.passes(1)
    name = history.rng.choice(["checkout", "wallet"])
    for site in history.sites:
        site.shops[name].alert = None
        site.breaks(name)
        await notify(history, site)
    for _ in range(8):
        await history.passes(30)
        await history.rest()
    for site in history.sites:
        model = history.models[site.tenant]
        there = {case.service for case in model.cases.values() if case.ended is None and not case.requested_by}
        if site.shops[name].health == terms.BAD and name not in there:
            raise Broken(f"{site.tenant}: {name} broke four minutes ago, and no incident is open")


async def all_heals(history: History, number: int) -> None:
    """All is well, everybody says so, and somebody settles what only a person can."""
    for site in history.sites:
        for name in site.shops:
            site.heals(name)
        site.others_end()
        if number == 0:
            await notify(history, site)
        await compare(history)
        model = history.models[site.tenant]
        while site.running:
            webhook_id, _ = site.running.pop()
            site.finished.append((webhook_id, True))
            await history.during(history.doors.result(site, webhook_id, True))
        for name in ("operator-a", "operator-b"):
            if model.halts:
                await by_hand(history, site, "resume", name)
        for incident in [i for i, case in model.cases.items() if _in_doubt(case.questions)]:
            await by_hand(history, site, "resolve", "rudo", incident)
        for incident in [i for i, case in model.cases.items() if case.ended is None] if number > 10 else ():
            await by_hand(history, site, "close", "rudo", incident)


def _in_doubt(questions: list[Question]) -> Iterator[Question] | bool:
    return any(q.result is not None and q.result.stage == "UNRESOLVED" for q in questions)
