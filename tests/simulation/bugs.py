"""Planted bugs: each takes one rule away from the service, and names the law that the histories must find broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from policy_rules import checks, permission, recovery
from policy_rules.verdict import Outcome
from receiver.authorization import codes, voice
from receiver.governor import acting, asking, enrolling, folding, judging, steps, timekeeping, watching
from receiver.governor.desk import Desk
from receiver.governor.memo import Memo
from receiver.incident import agenda as agenda_module
from receiver.incident import book as book_module
from receiver.incident.agenda import Kind
from receiver.intake import calls, polling, questions
from receiver.papers import RenderedRequest
from tests.simulation import terms
from tests.simulation.history import Flavour


@dataclass(frozen=True)
class Bug:
    """plant: the service has it within this context. law: what a history that finds it says."""

    plant: Callable[[], Any]
    law: str
    flavour: Flavour


BUGS: dict[str, Bug] = {}
CALLED: Mapping[str, Any] = {"ladders": terms.BY_CALL, "answer": "phone_rings", "often": {"phone_rings": 12}}
PAGED: Mapping[str, Any] = {"answer": "opens_page", "often": {"opens_page": 12}}
REFUSING = {"executor: refuses the connection": 0.8}  # so that a request waits between DISPATCHED and the executor


def breaks(law: str, **flavour: Any) -> Callable[[Callable[[], Iterator[None]]], Any]:
    """Enter a bug with the law that it breaks, and with what a history needs more of to meet it soon."""

    def enter(bug: Callable[[], Iterator[None]]) -> Any:
        planted = contextmanager(bug)
        # What people ask for by hand would only make the history longer in which another bug shows.
        often = {"requests": 0.0, **flavour.pop("often", {})}
        BUGS[bug.__name__] = Bug(planted, law, Flavour(often=often, **flavour))
        return planted

    return enter


def _never(kind: Kind) -> Any:
    """A step that is never taken."""

    async def nothing(desk: Any, due: Any) -> None:
        desk.defer(due.name, 7200)

    return patch.dict(steps.STEPS, {kind: nothing})


# --- law 1: policy decides -------------------------------------------------------------------------------------------


@breaks("law 1: recovered on the unknown")
def recovers_on_the_unknown() -> Iterator[None]:
    real = recovery.should_recover

    def should_recover(*given: Any) -> Any:
        verdict = real(*given)
        return replace(verdict, outcome=Outcome.RECOVER) if verdict.outcome is Outcome.UNKNOWN else verdict

    with patch.object(recovery, "should_recover", should_recover):
        yield


@breaks("law 1: the looks that it shows do not last for the whole hold", often={"killed": 3, "heals": 2})
def forgets_the_hold_at_a_restart() -> Iterator[None]:
    with patch.object(book_module, "hold_of", lambda verdict, memory: []):
        yield


@breaks("the limit is reached", terms={"limit": 1}, often={"approve": 12})
def ignores_the_limit() -> Iterator[None]:
    with patch.object(checks, "limits", lambda *given: iter(())):
        yield


@breaks("law 1: authorized, and policy says", often={"heals": 3, "approve": 6})
def does_not_look_again_at_the_tap() -> Iterator[None]:
    real = checks.recovery
    with patch.object(checks, "recovery", lambda verdict, actions: real(None, ())):
        yield


@breaks("no incident is open", often={"heals": 3})
def opens_an_incident_of_a_key_only_once() -> Iterator[None]:
    with patch.object(watching, "_begins", lambda desk, rule, key, alert: desk.book.last_of.get((rule, key)) is None):
        yield


# --- law 3: a human authorizes ---------------------------------------------------------------------------------------


@breaks("law 3: an answer counts on another's message", often={"tap": 12})
def counts_anybodys_tap() -> Iterator[None]:
    real = judging._message_of

    async def message_of(desk: Any, heard: Any, person: str) -> Any:
        book, message = await real(desk, heard, person)
        if message is not None:
            message.person = person
        return book, message

    with patch.object(judging, "_message_of", message_of):
        yield


@breaks("tenants: the message of", both=True, often={"tap": 12})
def takes_the_taps_of_other_tenants() -> Iterator[None]:
    def delivery_of(secret: bytes, tenant: str, given: str) -> int | None:
        index = given.partition("-")[0]
        return int(index) if index.isdigit() else None

    with patch.object(codes, "delivery_of", delivery_of):
        yield


@breaks("may answer, not", often={"requests": 30.0})
def lets_whoever_asks_approve() -> Iterator[None]:
    real = permission._approvers

    def approvers(actions: Any, people: Any, requester: str) -> Any:
        return real(actions, people, "")

    with patch.object(permission, "_approvers", approvers):
        yield


@breaks("law 3: fewer than the quorum", terms={"quorum": 2}, often={"changes_hands": 10})
def counts_people_who_were_suspended() -> Iterator[None]:
    real = permission.eligible

    def eligible(action: Any, people: Any, *requester: Any) -> Any:
        return real(action, [replace(person, suspended=False) for person in people], *requester)

    with patch.object(permission, "eligible", eligible):
        yield


@breaks("law 3: a good answer did not count", often={"tap": 12})
def loses_an_answer_by_code() -> Iterator[None]:
    with patch.object(enrolling, "locked", lambda desk, person: True):
        yield


@breaks("law 3: another policy is in force", often={"reload": 20, "approve": 6, "heals": 0}, terms={"quorum": 1})
def keeps_the_question_of_an_old_policy() -> Iterator[None]:
    real = agenda_module._of_proposal

    def of_proposal(proposal: Any, view: Any, now: Any, **more: Any) -> Any:
        body = {**proposal.body, "in_force": view.in_force.digest}
        before, proposal.body = proposal.body, body
        yield from list(real(proposal, view, now, **more))
        proposal.body = before

    # The steps look at it once more before they post.
    outdated = patch.object(acting, "_outdated", lambda desk, proposal, readings: False)
    with patch.object(agenda_module, "_of_proposal", of_proposal), outdated:
        yield


# --- law 4: the webhook executes -------------------------------------------------------------------------------------


@breaks("law 3: sent while halted", often={"halt_in_flight": 12}, faults=REFUSING)
def sends_while_halted() -> Iterator[None]:
    real = acting.execute

    async def execute(desk: Any, due: Any) -> None:
        with patch.object(desk.book, "halted", lambda: False):
            await real(desk, due)

    with patch.dict(steps.STEPS, {Kind.EXECUTE: execute}):
        yield


@breaks("law 4: sent", often={"killed": 4, "approve": 8})
def sends_again_after_a_crash() -> Iterator[None]:
    real = acting.execute

    async def execute(desk: Any, due: Any) -> None:
        desk.mine.add(desk.book.executions[due.subject].index)
        await real(desk, due)

    with patch.dict(steps.STEPS, {Kind.EXECUTE: execute}):
        yield


@breaks("was sent without its DISPATCHED")
def acts_before_it_posts() -> Iterator[None]:
    real = acting.authorize

    async def authorize(desk: Any, due: Any) -> None:
        proposal = desk.book.proposals[due.subject]
        request = RenderedRequest(**json.loads(await desk.journal.blob(desk.tenant, proposal.request_digest)))
        webhook_id = proposal.body["webhook_id"]
        await desk.executors.send(request, webhook_id=webhook_id, deadline=proposal.authorize_until)
        await real(desk, due)

    with patch.dict(steps.STEPS, {Kind.AUTHORIZE: authorize}):
        yield


@breaks("law 4: in doubt, although this very process knows", often={"approve": 8})
def doubts_what_it_posted_itself() -> Iterator[None]:
    real = Desk.post

    async def post(desk: Any, *drafts: Any) -> Any:
        mine = set(desk.mine)
        desk.mine.clear()
        receipt = await real(desk, *drafts)
        desk.mine |= mine
        return receipt

    with patch.object(Desk, "post", post):
        yield


@breaks("law 4: in doubt, although this very process was told", often={"approve": 8, "disk": 6})
def forgets_an_answer_that_cannot_be_booked_now() -> Iterator[None]:
    real = acting.execute

    async def execute(desk: Any, due: Any) -> None:
        desk.answered.clear()
        await real(desk, due)

    with patch.dict(steps.STEPS, {Kind.EXECUTE: execute}):
        yield


@breaks("the agenda does not come to rest")
def forgets_the_deadline_of_executions() -> Iterator[None]:
    with _never(Kind.UNRESOLVE):
        yield


# --- law 5: the ledger records; nothing ends in silence --------------------------------------------------------------


@breaks(
    "law 5: it came late and stays to be verified",
    often={"late_result": 1.5, "heals": 3},  # so that an incident ends before the word comes
    faults={"executor: accepts": 0.6},
)
def leaves_a_late_result_open() -> Iterator[None]:
    real = acting.result_drafts

    def result_drafts(desk: Any, proposal: Any, *given: Any, **how: Any) -> Any:
        return real(desk, proposal, *given, **how)[:1]

    with patch.object(acting, "result_drafts", result_drafts):
        yield


@breaks("law 5: while the clock is behind the ledger", often={"clock_steps": 6, "approve": 12})
def trusts_any_clock() -> Iterator[None]:
    with patch.object(timekeeping.Timekeeper, "trusted", True):
        yield


@breaks("does not follow")
def folds_twice_at_once() -> Iterator[None]:
    async def fold(desk: Any) -> int:
        page = await folding._page(desk)
        for entry in page.entries:
            folding._take(desk, entry, page.blobs, counted=False)
        return len(page.entries)

    with patch.object(Desk, "fold", fold):
        yield


@breaks("are not what the entries say")
def remembers_no_halt() -> Iterator[None]:
    real = Memo.read

    def read(memo: Memo) -> Any:
        book = real(memo)
        book.halts.clear()
        return book

    with patch.object(Memo, "read", read):
        yield


@breaks("the message should be given up")
def forgets_to_send() -> Iterator[None]:
    with _never(Kind.GIVE_UP_MESSAGE), patch.object(asking, "NOTICE_VALID", timedelta(minutes=5)):
        yield


@breaks("it is silent since", often={"wait_long": 8, "heals": 0.2})
def falls_silent() -> Iterator[None]:
    with _never(Kind.REMIND):
        yield


@breaks("never heard of it")
def climbs_no_ladder() -> Iterator[None]:
    with _never(Kind.ESCALATE):
        yield


@breaks("nobody was told of")
def tells_nobody_what_became_of_it() -> Iterator[None]:
    with _never(Kind.TELL):
        yield


@breaks("is open, and nobody was told", often={"wait_a_little": 12}, faults={"diagnosis: slow": 0.9})
def waits_for_claude() -> Iterator[None]:
    real = agenda_module._ask_at

    def ask_at(incident: Any, rule: Any) -> Any:
        answered = incident.consultations and incident.consultations[-1].outcome is not None
        return real(incident, rule) if answered else None

    with patch.object(agenda_module, "_ask_at", ask_at):
        yield


# --- calls, pages, and the carrier's list ----------------------------------------------------------------------------


@breaks("law 3: an answer counts about nothing of ours", **CALLED, faults={"call: wrong digits": 0.8})
def takes_whatever_is_keyed() -> Iterator[None]:
    with patch.object(codes, "same", lambda expected, given: True):
        yield


@breaks("law 3: a machine is told something", **CALLED, faults={"call: a machine": 0.5})
def speaks_to_machines() -> Iterator[None]:
    with patch.object(voice, "MACHINES", ()):
        yield


@breaks("is said, and", **CALLED)
def says_that_it_counts() -> Iterator[None]:
    with patch.object(calls, "came_to", lambda judged: "approve"):
        yield


@breaks("and the ladder says", ladders=terms.BY_CALL, often={"wait_long": 12})
def climbs_by_message_alone() -> Iterator[None]:
    real = asking.rungs

    def rungs(rule: Any) -> Any:
        return [replace(step, channel="whatsapp") for step in real(rule)]

    with patch.object(asking, "rungs", rungs):
        yield


@breaks("law 3: nobody said this", **PAGED)
def approves_by_a_link() -> Iterator[None]:
    real = questions.Questions.show

    async def show(page: Any, request: Any) -> Any:
        found, token = await page._find(request), request.match_info["token"]
        if found is not None and found[1].asked:
            tenant, view = found
            addressed = await page.journal.get(tenant, codes.page_of(page.codes_secret, tenant, token))
            code = codes.code(page.codes_secret, tenant, addressed.cites[0], view.person)
            await page.journal.post(tenant, [page._heard(tenant, view.person, addressed, "approve", code, "seen")])
        return await real(page, request)

    with patch.object(questions.Questions, "show", show):
        yield


@breaks("and nobody heard it", polled=True, faults={"list: lags": 0.5, "executor: accepts": 0.0}, often={"tap": 12})
def reads_the_list_without_overlap() -> Iterator[None]:
    with patch.object(polling, "OVERLAP", timedelta(0)):
        yield


@breaks("the diagnosis should be given up", faults={"diagnosis: never": 0.6}, often={"wait_long": 12})
def waits_for_an_answer_for_ever() -> Iterator[None]:
    with _never(Kind.GIVE_UP_DIAGNOSIS):
        yield
