"""What is forgotten leaves nothing undone, lets a book grow no more, and is answered from the ledger when asked for."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from ledger.entry import Blob, Draft, format_time
from policy_rules.past import by_range, failed_in_a_row
from policy_rules.permission import PastRun
from policy_rules.rulebook import REOPEN_WITHIN_MOST_SECONDS
from receiver.governor.changes import ExecutionDesk, GovernorChanges
from receiver.governor.drilling import DRILL_VALID
from receiver.governor.viewing import QuestionDesk
from receiver.incident import forgetting
from receiver.incident.assigned import assigned_of
from receiver.incident.book import UNTOLD, Book
from receiver.incident.forgetting import KEPT_CLOSED, KEPT_RUNS, needed
from receiver.incident.runs import Run
from receiver.incident.states import Proposal
from receiver.papers import ChangeRefused
from receiver.rehearsal.memory import MemoryJournal
from tests.benchmarks.histories import Clock, Outage
from tests.receiver.dumped import differing
from tests.receiver.governed import TENANT, Governed
from tests.receiver.test_book import START, Drawn, entry

MONTH = KEPT_CLOSED.total_seconds() + 2 * 86_400


def test_what_may_be_reopened_is_kept() -> None:
    assert timedelta(seconds=REOPEN_WITHIN_MOST_SECONDS) < KEPT_CLOSED < KEPT_RUNS


# --- two books, entry by entry ---------------------------------------------------------------------------------------


class Both(Drawn):
    """A log over years, drawn entry by entry, in a book that keeps all and in one that forgets."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.forgets, self.at = Book("acme", kept=KEPT_CLOSED), START

    def take(self, stage: str, incident: str, settles: int | None = None, **body: object) -> None:
        index = self.book.size
        self.at += timedelta(days=self.rng.choice((0, 0, 0, 0, 0, 1, 20, 35)), minutes=1)
        later = format_time(self.at + timedelta(days=1))
        until = dict.fromkeys(("until", "expires_at", "authorize_until", "verify_until"), later)
        words = {"person": "tendai", "kind": "text", "sid": f"SM{index}", "executor": "x", "params": {}}
        made = entry(index, stage, incident, **{**until, **words, **body, "webhook_id": f"wh-{index}"})
        cites = tuple(self.book.news) if stage == "ADDRESSED" else ()
        made = replace(made, settles=settles, timestamp=self.at, cites=cites, id=f"address:{index}")
        self.book.take(made)
        self.forgets.take(made)
        self.compare()

    def goes_on(self) -> Any:
        roll, messages = self.rng.random(), list(self.book.unsettled_messages.values())
        if roll < 0.15 and messages:
            self.take("DELIVERED", self.rng.choice(messages).incident_id or "", self.rng.choice(messages).index)
        elif roll < 0.3 and self.book.news:
            self.take("ADDRESSED", next(iter(self.book.news.values())).incident_id)
        elif roll < 0.33:
            self.take("NOTED", "", kind="resumed action", action=self.rng.choice("ab"))
        else:
            return super().goes_on()
        return []

    def compare(self) -> None:
        kept, forgets = self.book, self.forgets
        for name in ("open", "consultations", "authorizations", "executions", "suspense", "verifications", "news"):
            assert getattr(forgets, name) == getattr(kept, name), name
        assert forgets.unsettled_messages == kept.unsettled_messages
        outstanding = [p for of in (kept.executions, kept.suspense, kept.verifications) for p in of.values()]
        assert {p.incident_id for p in outstanding} <= forgets.incidents.keys()
        assert {p.index for p in outstanding} <= forgets.proposals.keys()
        assert {news.incident_id for news in kept.news.values()} <= forgets.incidents.keys()
        assert {message.incident_id for message in kept.unsettled_messages.values()} <= forgets.incidents.keys()
        assert [counted(forgets, action) for action in "ab"] == [counted(kept, action) for action in "ab"]
        for of, tally in kept.tallies.items():
            if of in forgets.tallies or tally.so_far(kept.size).made:
                assert forgets.tallies[of].so_far(kept.size) == tally.so_far(kept.size)


def counted(book: Book, action: str) -> Any:
    """What limits, cool-downs and breakers look at."""
    past, now = [run.as_past() for run in book.runs], book.last_time or START
    looked = []
    for key in ({"service": "shop"}, {"service": "mail"}):
        for runs in by_range(past, "slow", action, key).values():
            late = [run.at for run in runs if now - run.at < KEPT_RUNS]
            looked.append((late, max((run.at for run in runs), default=None), failed_in_a_row(runs)))
    return looked, [run for run in past if run.open], book.held_back(action)


def draw(seeds: int) -> int:
    """How many incidents were forgotten."""
    gone = 0
    for seed in range(seeds):
        both = Both(random.Random(seed))
        for _ in range(400):
            both.goes_on()
        gone += len(both.book.incidents) - len(both.forgets.incidents)
    return gone


def test_whatever_is_drawn_nothing_is_forgotten_on_which_something_rests() -> None:
    assert draw(20) > 100


def rests_on_no(name: str) -> Any:
    """A mistake: what is outstanding in the book `name` keeps nothing."""
    real = forgetting._incidents

    def incidents(book: Book, before: datetime) -> set[str]:
        with patch.object(book, name, {}):
            return real(book, before)

    return patch.object(forgetting, "_incidents", incidents)


@pytest.mark.parametrize(
    "mistake",
    [
        rests_on_no("news"),
        rests_on_no("unsettled_messages"),
        patch.object(forgetting, "is_final", lambda incident, oldest: True),
        patch.object(forgetting, "needed", lambda runs, since: [run for run in runs if run.at >= since]),
    ],
    ids=["news", "messages", "runs in doubt", "old runs"],
)
def test_a_planted_mistake_is_found(mistake: Any) -> None:
    with mistake, pytest.raises((AssertionError, KeyError)):
        draw(20)


def test_the_runs_that_are_kept_say_what_all_of_them_would() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        runs = [run(rng, number) for number in range(rng.randrange(30))]
        since = START + timedelta(days=rng.randrange(40))
        kept = needed(runs, since)
        assert seed < 50 or len(runs) < 20 or len(kept) < len(runs) or since < START + timedelta(days=20)
        for action in "ab":
            for key in ({"service": "shop"}, {"service": "mail"}):
                for found, of in zip(*(ranges(some, action, key) for some in (kept, runs)), strict=True):
                    assert failed_in_a_row(found) == failed_in_a_row(of), seed
                    assert [r.at for r in found if r.at >= since] == [r.at for r in of if r.at >= since], seed
                    assert max((r.at for r in found), default=None) == max((r.at for r in of), default=None), seed
            failed = [any(r.helped is False and not r.forgiven and r.proposal.body["action"] == action for r in some)
                      for some in (kept, runs)]  # fmt: skip
            assert failed[0] == failed[1], seed
        # Whoever folds on from what was kept keeps the same.
        assert needed(kept, since) == kept


def run(rng: random.Random, number: int) -> Run:
    at = START + timedelta(days=number)
    made = Proposal(number, "inc", 0, {"action": rng.choice("ab"), "executor": "x", "params": {}}, "", at, at, at)
    made.dispatched, made.outcome = number, "AUTHORIZED"
    made.result = rng.choice(("EXECUTED", "EXECUTED", "FAILED", "UNRESOLVED", "WRITTEN_OFF"))
    made.verified = rng.choice(("CONFIRMED", "UNCONFIRMED", "WAIVED", None)) if made.result == "EXECUTED" else None
    key = (("service", rng.choice(("shop", "mail"))),)
    return Run(rng.choice(("slow", "slow", "other")), key, at, made, forgiven=rng.random() < 0.1)


def ranges(runs: Sequence[Run], action: str, key: dict[str, str]) -> Iterator[list[PastRun]]:
    yield from by_range([run.as_past() for run in runs], "slow", action, key).values()


# --- years of outages ------------------------------------------------------------------------------------------------


def beside(number: int, first: int, at: datetime) -> Iterator[Draft]:
    """What else happens beside an outage: drills, wrong PINs and codes, notices, silences, a candidate."""
    until = format_time(at + timedelta(minutes=10))
    heard = 0

    def draft(stage: str, settles: int | None = None, cites: tuple[int, ...] = (), **body: object) -> Draft:
        name = f"beside:{stage}:{number}:{heard}:{body.get('kind', body.get('why', ''))}"
        about = f"inc-{number:010x}" if body.get("kind") in ("text", "silence", "silenced") else None
        return Draft(id=name, stage=stage, actor="system", incident_id=about, settles=settles, cites=cites, body=body)

    addressed = {"person": "tendai", "until": until, "channel": "whatsapp", "subject": "s"}
    yield draft("NOTED", kind="drill", drill=f"drill-{number}", person="tendai", until=until)
    yield draft("ADDRESSED", cites=(first,), kind="drill", **addressed)
    yield draft("SENT", message=first + 1, sid=f"SMd{number}", content_digest="")
    yield draft("DELIVERED", settles=first + 1, sid=f"SMd{number}")
    yield draft("NOTED", cites=(first,), kind="drill over", drill=f"drill-{number}", outcome="expired")
    yield draft("ADDRESSED", cites=(), kind="text", **addressed)
    yield replace(draft("UNDELIVERED", settles=first + 5, sid=None), decision="digested")
    for heard, why in enumerate(("wrong PIN", "wrong code"), 7):
        yield draft("HEARD", person="rudo", verb="pin")
        yield draft("REFUSED", settles=first + 2 * heard - 7, why=why, person="rudo")
    yield draft("NOTED", kind="silence", person="rudo", until=until)
    yield draft("NOTED", cites=(first + 11,), kind="silenced", ids=["x"])
    body = {"rule": "errors", "key": {"service": "checkout"}, "in_force": [number], "event": "wait"}
    yield draft("NOTED", kind="shadow", **body)


def sizes(book: Book) -> dict[str, int]:
    """How many things there are of each kind, in the book and in what it holds."""
    found = {name: len(value) for name, value in vars(book).items() if hasattr(value, "__len__")}
    for name in ("drills", "duties", "silences", "shadow", "enrolled"):
        held = {field: getattr(getattr(book, name), field) for field in getattr(book, name).__slots__}
        found |= {f"{name}.{field}": len(value) for field, value in held.items() if hasattr(value, "__len__")}
    for name in ("questions", "of_key", "former", "wrong_pins", "wrong_codes", "_taken_by"):
        found[f"all of {name}"] = sum(map(len, getattr(book, name).values()))
    found["digested"] = sum(len(outbox.digested) for outbox in book.outboxes.values())
    found["bytes"] = len(pickle.dumps(book))
    found["tallied"] = sum(len(tally._open) for tally in book.tallies.values())
    return found


async def test_over_years_a_book_grows_no_more() -> None:
    outage, clock = await Outage.play(), Clock()
    began, journal = clock.now, MemoryJournal(TENANT, clock)
    book, keeps = Book(TENANT, kept=KEPT_CLOSED), Book(TENANT)
    await journal.post(TENANT, [outage.in_force()])
    early: list[dict[str, int]] = []
    for number in range(450):
        clock.now += timedelta(days=2)
        first, service = len(journal.log), f"service-{number % 7}"
        commits = outage.again(number, service, first, clock.now - began, whole=True)
        drafts = [draft for _, commit in commits for draft in commit]
        drafts += beside(number, first + len(drafts), clock.now)
        drafts.append(of_nobody(number, first + len(drafts), clock.now))
        blobs = {blob.digest: blob.data for one in drafts for blob in one.blobs}
        await journal.post(TENANT, drafts)
        for one in journal.log[book.size :]:
            rows = assigned_of(one, blobs.get)
            book.take(one, rows)
            keeps.take(one, rows)
        if number == 230:
            early = [sizes(book), sizes(keeps)]
    assert len(journal.log) > 450 * 60
    assert sizes(book)["runs"] > 150
    assert grown(early[0], sizes(book)) == set()
    assert grown(early[1], sizes(keeps)) >= {
        *("alerts", "bytes", "by_index", "by_sid", "by_webhook", "digested", "drills.known", "incidents", "messages"),
        *("proposals", "runs", "silences.until", "shadow.missed", "all of questions", "all of of_key"),
        *("all of wrong_pins", "all of wrong_codes"),
    }


def grown(early: dict[str, int], late: dict[str, int]) -> set[str]:
    return {name for name, number in late.items() if number > early[name] * 1.1 + 3}


def of_nobody(number: int, first: int, at: datetime) -> Draft:
    """An alert that no rule takes, once, with a fingerprint of its own."""
    row = {"fingerprint": f"{number:016x}", "firing": False, "labels": {"pod": f"p{number}"}, "annotations": {}}
    row |= {"starts_at": at.isoformat(), "ends_at": at.isoformat(), "generator_url": "", "assignments": []}
    blob = Blob("alerts", json.dumps([row]).encode())
    return Draft(
        id=f"evaluate:nobody:{number}", stage="EVALUATED", actor="policy", settles=first, body={}, blobs=(blob,)
    )


# --- asked for what is forgotten -------------------------------------------------------------------------------------


@pytest.fixture
async def governed() -> Governed:
    """A month and more after an incident that tendai approved the action of."""
    made = Governed()
    await made.governor.start()
    await made.fire()
    await made.hear("tendai", "Approve", payload=f"approve.{made.question('tendai').token}")
    await made.fire(firing=False)
    await made.after(60)
    assert len(made.entries("RECOVERED")) == 1
    await a_month_passes(made)
    assert (made.desk.book.incidents, made.desk.book.proposals, made.desk.book.of_key) == ({}, {}, {})
    assert len(made.desk.book.messages) == 1
    return made


async def a_month_passes(governed: Governed) -> None:
    """On its first day what nobody answered is given up, and on the next the book looks at it."""
    await governed.after(MONTH)
    await governed.after(86_400)
    await governed.hear("ruth", "help")


def incident_of(governed: Governed) -> str:
    return str(governed.entries("DETECTED")[0].incident_id)


@pytest.mark.parametrize("verb", ["approve", "reject", "onit"])
async def test_a_tap_on_an_old_message_is_refused_and_says_what_became_of_it(governed: Governed, verb: str) -> None:
    token = governed.question("tendai").token
    heard = await governed.hear("tendai", verb, payload=f"{verb}.{token}")
    (refused,) = governed.entries("REFUSED")
    assert (refused.settles, refused.reason) == (heard.index, "already approved by tendai")
    assert refused.body["proposal"] == governed.entries("PROPOSED")[0].index
    assert "already approved by tendai" in governed.told("tendai")[-1]
    assert len(governed.executors.ran) == 1
    assert len(governed.entries("APPROVED")) == len(governed.entries("AUTHORIZED")) == 1


async def test_a_tap_by_another_on_an_old_message_is_refused_as_ever(governed: Governed) -> None:
    token = governed.question("tendai").token
    await governed.hear("ruth", "approve", payload=f"approve.{token}")
    assert [entry.reason for entry in governed.entries("REFUSED")] == ["not the recipient"]


async def test_an_old_code_fits_no_open_question(governed: Governed) -> None:
    await governed.hear("tendai", f"A {governed.question('tendai').variables['code']}")
    assert [entry.reason for entry in governed.entries("REFUSED")] == ["wrong code"]
    assert "fits no open question" in governed.told("tendai")[-1]


async def test_what_was_decided_of_an_old_incident_is_told_to_whoever_names_it(governed: Governed) -> None:
    name = incident_of(governed)
    await governed.hear("ruth", f"WHY {name}")
    text = governed.told("ruth")[-1]
    assert all(words in text for words in ("DETECTED by policy", "CONFIRMED by policy", "RECOVERED by policy")), text
    await governed.hear("ruth", f"DETAIL {name.removeprefix('inc-')}")
    assert governed.told("ruth")[-1].startswith("Recovered: DiskFilling host=db1")
    await governed.hear("ruth", f"SILENCE {name} 2h")
    assert name in governed.told("ruth")[-1]
    await governed.hear("ruth", f"NOTE {name} it was the disk")
    assert governed.told("ruth")[-1] == "Noted."
    assert governed.entries("NOTED")[-1].incident_id == name
    await governed.hear("ruth", "WHY inc-0000000000")
    assert governed.told("ruth")[-1].startswith("Which incident?")


async def test_what_is_asked_of_an_old_incident_by_hand_is_refused_as_of_any_that_has_ended(governed: Governed) -> None:
    changes, name = GovernorChanges(governed.desk), incident_of(governed)
    with pytest.raises(ChangeRefused, match=r"has ended already \(RECOVERED\)"):
        await changes.close(name, "ops", "over")
    with pytest.raises(ChangeRefused, match="has no unresolved execution"):
        await changes.settle(name, "ops", "ran", "it did")
    await changes.note(name, "ops", "a note")
    assert governed.entries("NOTED")[-1].incident_id == name


async def test_the_page_of_an_old_question_is_closed_and_of_no_question_there_is_none(governed: Governed) -> None:
    desk = QuestionDesk(governed.desk)
    asked = next(
        e for e in governed.entries("ADDRESSED") if e.body["kind"] == "opened" and e.body["person"] == "tendai"
    )
    view = await desk.view(asked.index)
    assert view is not None
    assert (view.open, view.asked, view.reference, view.person) == (False, False, incident_of(governed), "tendai")
    assert await desk.view(governed.entries("DETECTED")[0].index) is None
    assert await desk.view(len(governed.journal.log) + 5) is None


async def test_a_late_result_is_noted_for_as_long_as_its_run_counts(governed: Governed) -> None:
    webhook_id, book = governed.entries("PROPOSED")[0].body["webhook_id"], ExecutionDesk(governed.desk)
    assert await book.executor_of(webhook_id) == "clean"
    assert not await book.settle(webhook_id, False, "the executor reports failure", "")
    noted = governed.entries("NOTED")[-1]
    assert (noted.body["kind"], noted.incident_id) == ("late result", incident_of(governed))
    assert noted.reason.startswith("a result came after EXECUTED")
    assert [run.as_past().helped for run in governed.desk.book.runs] == [True]
    assert await book.executor_of("exec-0") is None


async def test_what_a_carrier_reports_of_an_old_message_is_booked(governed: Governed) -> None:
    sent, size = governed.entries("SENT")[0], governed.desk.book.size
    body = {"message": sent.body["message"], "sid": sent.body["sid"]}
    for stage in ("SENT", "READ"):
        await governed.desk.post(Draft(id=f"late:{stage}", stage=stage, actor="carrier:whatsapp", body=body))
    await governed.rest()
    assert governed.desk.book.size == size + 2
    assert governed.desk.book.message_by_sid(sent.body["sid"]) is None


async def test_a_tap_on_an_old_drill_hears_that_it_is_over(governed: Governed) -> None:
    await GovernorChanges(governed.desk).drill("ops", "tendai")
    await governed.rest()
    token = governed.question("tendai").token
    await governed.after(DRILL_VALID.total_seconds() + 1)
    await a_month_passes(governed)
    assert governed.desk.book.drills.known == {}
    await governed.hear("tendai", "Approve", payload=f"approve.{token}")
    assert governed.told("tendai")[-1] == "DRILL: that one is over already."
    assert governed.entries("HEEDED")[-1].body["what"] == "drill"


async def test_it_breaks_again_as_if_nothing_were_forgotten(governed: Governed) -> None:
    """A restart folds the same; Claude is told of what was before."""
    again = Governed(journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    assert differing(again.desk.book, governed.desk.book) == []
    await again.fire(since=again.clock.now())
    (incident,) = again.desk.book.open.values()
    (former,) = again.desk.book.past(incident)
    assert (former.closed, former.runs) == ("RECOVERED", (("clean", True),))
    assert (incident.part, incident.last is not None) == (1, True)


async def test_what_a_person_closed_long_ago_is_not_opened_by_the_same_episode() -> None:
    governed = Governed()
    await governed.governor.start()
    await governed.fire()
    (incident,) = governed.desk.book.open
    await GovernorChanges(governed.desk).close(incident, "ops", "we live with it")
    await governed.rest()
    await a_month_passes(governed)
    assert governed.desk.book.incidents == {}
    await governed.fire(annotations={"summary": "said again"})
    assert len(governed.entries("WATCHED")) == 1
    await governed.fire(since=governed.clock.now())
    assert len(governed.entries("WATCHED")) == 2


# --- what nobody is left to hear, and times at the ends of all time --------------------------------------------------


async def test_news_that_nobody_is_left_to_hear_is_over_by_an_entry_so_whoever_folds_has_the_same_book() -> None:
    governed = Governed()
    await governed.fire()
    governed.governor.reload(replace(governed.desk.charter, people={}))
    await governed.rest()
    await governed.after(60)
    await governed.fire(firing=False)
    await governed.after(600)
    (untold,) = (entry for entry in governed.journal.log if entry.body.get("kind") == UNTOLD)
    assert untold.reason == "RECOVERED: nobody is left to be told"
    assert governed.desk.book.news == {}
    folded = Governed(journal=governed.journal).desk
    await folded.fold()
    assert differing(folded.book, governed.desk.book) == []


@pytest.mark.parametrize("year", [1, 2, 9998, 9999])
def test_a_book_folds_entries_of_any_time_that_can_be_written(year: int) -> None:
    book = Book(TENANT, kept=KEPT_CLOSED)
    for index, (month, day) in enumerate([(1, 1), (6, 1), (12, 30), (12, 31)]):
        at = START.replace(year=year, month=month, day=day)
        book.take(replace(entry(index, "NOTED", kind="note"), timestamp=at))
    assert book.size == 4
