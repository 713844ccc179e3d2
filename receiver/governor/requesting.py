"""What a person asks for by hand: policy says whether it may be asked, and others are asked as for any action.

Law 1 holds: the incident is opened by a verdict of policy, `may_request`, about a person's word; it says so, and claims
nothing about the service. Law 3 holds: whoever asks is not among the approvers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ledger.entry import Back, Draft
from policy_rules import permission
from policy_rules.readings import Reading
from policy_rules.rulebook import Rulebook
from policy_rules.verdict import Outcome
from receiver.governor.answering import heed, refuse
from receiver.governor.desk import Desk, by_policy, key_text
from receiver.governor.naming import incident_name
from receiver.governor.phrases import ENGLISH, of_policy, said
from receiver.incident.agenda import OPEN_INCIDENTS_MAX
from receiver.incident.requested import REQUEST, Wanted, wanted
from receiver.incident.states import Heard, key_of
from receiver.papers import Words, words

ASK_SECONDS = 1.0  # the turn waits for it, and only where an action has a condition of its own
FRESH_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted, under which policy, and what its own condition rests on."""

    wanted: Wanted
    rulebook: Rulebook
    readings: tuple[Reading, ...]


async def understand(desk: Desk, text: str) -> Asked | Words:
    """What `text` asks for, with what must be known for it; or why it cannot be told."""
    rulebook = desk.charter.rulebook
    found = wanted(rulebook, text)
    if isinstance(found, Words):
        return found
    queries = permission.may_ask(rulebook, rulebook, found.rule, found.action, found.key)
    if not queries:
        return Asked(found, rulebook, ())
    read = await desk.evidence.ask(queries, timeout_seconds=ASK_SECONDS, fresh_seconds=FRESH_SECONDS)
    return Asked(found, rulebook, tuple(read))


def request(desk: Desk, asked: Asked, by: str, heard: Heard | None = None) -> tuple[str, list[Draft]] | Words:
    """The id and the drafts of the incident that `by` asks for; or why it cannot be asked for.

    heard: the message in which it was asked. To be called inside `desk.deciding()`, and the drafts posted there.
    """
    book, rulebook, found = desk.book, asked.rulebook, asked.wanted
    key, readings = key_of(found.key), asked.readings
    if rulebook.digest != desk.charter.rulebook.digest:
        return words("run again")
    beside = book.requested(found.rule, found.action, key)
    if beside is not None:
        what = {"by": beside.requested_by, "id": beside.id}
        if beside.requested_action == found.action:
            return words("run asked", **what)
        return words("run asked other", **what, action=beside.requested_action)
    opened = book.open_incident(found.rule, key)
    if opened is not None and opened.last is not None and opened.last.live:
        return words("run has question", id=opened.id)
    if opened is not None and opened.told_at is None and not opened.muted:
        # Its question would have to wait for this one, and nobody would hear of it meanwhile.
        return words("run question comes", id=opened.id)
    if desk.charter.observe:
        return words("only observed")
    if rulebook.rule(found.rule).actions[found.action].executor not in desk.charter.executors:
        return words("no executor")
    if len(book.open) >= OPEN_INCIDENTS_MAX:
        return words("run full", count=OPEN_INCIDENTS_MAX)
    now, persons = desk.now(), desk.persons()
    alerts = book.alerts_of(found.rule, key)
    may = permission.may_request(
        rulebook,
        found.rule,
        found.action,
        found.key,
        alerts,
        persons,
        desk.past_runs(),
        book.halted(),
        now,
        readings,
        by,
    )
    if may.outcome is not Outcome.PERMIT:
        return of_policy(may.said())
    return _drafts(desk, found, by, heard, desk.basis(now, readings=readings).under(may.to_body()))


def _drafts(
    desk: Desk, found: Wanted, by: str, heard: Heard | None, verdict: dict[str, object]
) -> tuple[str, list[Draft]]:
    rulebook = desk.charter.rulebook
    name = str(heard.index) if heard is not None else secrets.token_hex(8)
    incident_id = incident_name(desk.secret, f"requested:{desk.tenant}:{name}")
    about = {"rule": found.rule, "key": dict(found.key), "requested_by": by}
    asks = Draft(
        id=f"request:{name}",
        stage="NOTED",
        actor=f"engineer:{by}",
        incident_id=incident_id,
        decision="request",
        reason=f"asks for {found.text()}"[:500],
        cites=(heard.index,) if heard is not None else (),
        body={"kind": REQUEST, "rule": found.rule, "action": found.action, "key": dict(found.key)},
    )
    watched = by_policy(
        rulebook,
        id=f"watch:request:{name}",
        stage="WATCHED",
        decision="watch",
        reason=f"{by} asks for {found.text()}"[:500],
        cites=(Back(0),),
        body=about,
    )
    detected = by_policy(
        rulebook,
        id=f"detect:request:{name}",
        stage="DETECTED",
        incident_id=incident_id,
        decision="request",
        reason=f"{found.rule}: {by} asks for it by hand"[:500],
        settles=Back(1),
        cites=(Back(0),),
        body=about
        | {
            "requested_action": found.action,
            "title": f"{found.action} {key_text(key_of(found.key))}"[:200],
            "summary": "asked for by hand: no alert opened it",
            "severity": "",
            "firing": sum(alert.firing for alert in desk.book.alerts_of(found.rule, key_of(found.key))),
            "verdict": verdict,
        },
    )
    return incident_id, [asks, watched, detected]


async def run(desk: Desk, heard: Heard, person: str) -> None:
    """RUN ACTION KEY, by message. The words stand with the HEARD; what they ask for stands in the entries."""
    entry = await desk.journal.get(desk.tenant, heard.index)
    digest = next((blob.digest for blob in entry.blobs if blob.name == "text"), "") if entry is not None else ""
    text = (await desk.journal.blob(desk.tenant, digest) or b"").decode("utf-8", "replace")
    asked = await understand(desk, text)
    async with desk.deciding():
        made = request(desk, asked, person, heard) if isinstance(asked, Asked) else asked
        if isinstance(made, Words):
            await refuse(desk, heard, said(ENGLISH, made), reply=made)
            return
        incident_id, drafts = made
        await heed(
            desk, heard, person, "run", words("asked for", id=incident_id), incident_id=incident_id, extra=tuple(drafts)
        )
