"""A storm of alerts: nobody gets more than the limit, nothing is dropped, and everything can be seen."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from ledger.entry import Blob, Draft
from ledger.journal import Receipt
from receiver.auditor.pages import PAGE
from receiver.auditor.reading import Reader
from receiver.authorization.wording import clean, reply_text
from receiver.governor.answering import NAMED_PER_HOUR
from receiver.governor.changes import GovernorChanges
from receiver.governor.loop import STEPS_OF_A_KIND_A_TURN
from receiver.governor.naming import incident_name
from receiver.governor.steps import still
from receiver.governor.words import STATUS_INCIDENTS, STATUS_PAGE
from receiver.incident.agenda import Due, Kind
from receiver.incident.outbox import DIGEST_OVER, KEPT_SHARE, Pace
from receiver.incident.overflow import OVER_LIMIT
from tests.receiver.governed import SECRET, Governed

PACE = Pace(6.0, burst=10, daily=100)
FIVE = {"tendai": ("oncall",), "farai": ("oncall",), "rudo": ("oncall",), "ruth": ("leads",), "thabo": ("leads",)}


async def started(pace: Pace = PACE) -> Governed:
    governed = Governed(people=FIVE, pace=pace)
    await governed.governor.start()
    return governed


def sent(governed: Governed) -> dict[str, list[float]]:
    """When each person got each message, in seconds."""
    book, times = governed.desk.book, {name: list[float]() for name in FIVE}
    for entry in governed.entries("SENT"):
        person = book.messages[entry.body["message"]].person
        times[person].append((entry.timestamp - governed.journal.log[0].timestamp).total_seconds())
    return times


def limited_to(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    for office in ("watching", "words", "requesting"):
        monkeypatch.setattr(f"receiver.governor.{office}.OPEN_INCIDENTS_MAX", limit)


async def test_a_thousand_incidents_in_a_minute() -> None:
    governed = await started()
    for group in range(5):
        await governed.fire(*(f"db{group * 200 + number}" for number in range(200)))
        governed.clock.advance(governed.clock.now() + timedelta(seconds=12))
    for _ in range(3):
        await governed.after(30)
    book = governed.desk.book
    # nothing is dropped and nothing waits: each is an incident, and somebody was asked about it or told
    assert (len(book.open), len(book.watches)) == (1000, 0)
    assert all(incident.told_at is not None for incident in book.open.values())
    kept = PACE.burst - PACE.burst // KEPT_SHARE
    for times in sent(governed).values():
        assert 0 < len(times) <= PACE.daily
        # never more than the burst, less what is kept for answers, within the time that the burst takes at the pace
        assert all(later - first >= 59.999 for first, later in zip(times, times[kept:], strict=False))
    for name in FIVE:
        assert any("more incidents: reply STATUS" in text for text in governed.told(name))
    # In the middle of it somebody asks: the answer, and the question that a digest stood for, come at once.
    incident = list(book.open.values())[150]
    before = len(governed.told("ruth"))
    await governed.hear("ruth", f"DETAIL {incident.id}")
    assert len(governed.told("ruth")) == before + 2
    question = governed.question("ruth")
    assert question.variables["reference"] == incident.id
    await governed.hear("ruth", "Approve", payload=f"approve.{question.token}")
    assert [entry.incident_id for entry in governed.entries("AUTHORIZED")] == [incident.id]
    governed.desk.pace = Pace()  # no page need wait for its turn
    await every_one_is_seen(governed, "rudo")


async def every_one_is_seen(governed: Governed, person: str) -> None:
    """By STATUS, page by page, and on the auditor's pages."""
    book, seen = governed.desk.book, ""
    pages = 1 + -(-(len(book.open) - STATUS_INCIDENTS) // STATUS_PAGE)
    assert pages <= NAMED_PER_HOUR
    before = len(governed.told(person))
    for page in range(1, 1 + pages):
        await governed.desk.post(heard(person, "status", page, about=str(page) if page > 1 else None))
    await governed.rest()
    answers = governed.told(person)[before:]
    assert len(answers) == pages
    for answer in answers:
        seen += reply_text({"text": answer})  # as it is sent, cut where it is too long
    assert [incident for incident in book.open if incident not in seen] == []
    reader, size, there = Reader(governed.journal), book.size, list[str]()
    while size:
        found, following = await reader.incidents("default", before=size, limit=PAGE)
        size = following or 0
        there += [view.id for view in found]
    assert sorted(there) == sorted(book.open)


async def test_what_is_more_than_the_limit_is_watched_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    limited_to(monkeypatch, 7)
    governed = await started(Pace())
    await governed.fire(*(f"db{number}" for number in range(10)))
    book = governed.desk.book
    assert (len(book.open), len(book.watches)) == (7, 3)
    governed.governor.measure()
    waiting = governed.desk.metrics.incidents_waiting.labels("default")
    assert waiting._value.get() == 3
    await governed.hear("ruth", "STATUS")
    assert "And 2 more: STATUS 2. 3 more alerts are watched" in governed.told("ruth")[-1]
    for incident in list(book.open)[:2]:
        await GovernorChanges(governed.desk).close(incident, "ruth", "over")
    await governed.after(30)
    assert (len(book.open), len(book.watches)) == (7, 1)
    governed.governor.measure()
    assert waiting._value.get() == 1


async def test_looks_beside_each_other_open_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limited_to(monkeypatch, 7)
    governed = await started(Pace())
    release, full, posted = asyncio.Event(), asyncio.Event(), governed.journal.post

    async def slowly(tenant: str, drafts: Sequence[Draft]) -> Receipt:
        if drafts[0].stage == "DETECTED":
            await release.wait()
        elif drafts[0].stage == "LOOKED":
            full.set()  # it finds no room while the others are under way
        return await posted(tenant, drafts)

    monkeypatch.setattr(governed.journal, "post", slowly)
    fired = asyncio.create_task(governed.fire(*(f"db{number}" for number in range(20))))
    await full.wait()
    release.set()
    await fired
    assert (len(governed.desk.book.open), len(governed.desk.book.watches)) == (7, 13)


def keys_limited_to(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    for place in ("governor.watching", "governor.overflowing", "incident.overflow"):
        monkeypatch.setattr(f"receiver.{place}.KEYS_MAX", limit)


async def restarted(governed: Governed) -> Governed:
    again = Governed(people=FIVE, pace=Pace(), journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    await again.rest()
    return again


def over_limit(governed: Governed) -> list[tuple[dict[str, int], list[str]]]:
    noted = [entry.body for entry in governed.entries("NOTED") if entry.body["kind"] == OVER_LIMIT]
    return [(body["left"], body["people"]) for body in noted]


async def test_what_more_than_the_limit_one_notification_brings_is_watched_next() -> None:
    """Alertmanager says it again only after hours."""
    governed = await started(Pace(daily=0))
    hosts = [f"db{number}" for number in range(620)]
    await governed.fire(*hosts)
    await governed.after(2)
    opened = [dict(incident.key)["host"] for incident in governed.desk.book.open.values()]
    assert opened == hosts
    assert over_limit(governed) == [({}, [])]
    assert governed.desk.book.overflow is None


async def test_what_waits_for_a_watch_is_said_once_and_watched_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys_limited_to(monkeypatch, 5)
    limited_to(monkeypatch, 4)
    governed = await started(Pace())
    book = governed.desk.book
    await governed.fire(*(f"db{number}" for number in range(8)))
    await governed.after(2)
    assert (len(book.open), len(book.watches)) == (4, 4)
    await governed.fire(*(f"web{number}" for number in range(8)))
    await governed.after(59)
    assert (len(book.open), len(book.watches)) == (4, 9)
    assert over_limit(governed) == [({}, [])]
    await governed.after(1)
    assert over_limit(governed)[1:] == [({"disk": 3}, ["farai", "rudo", "tendai"])]
    (said,) = [text for text in governed.told("tendai") if "more fire" in text]
    assert said.startswith("3 more fire of disk than are watched at once (5), so nothing looks at them yet.")
    # Said again by Alertmanager, and after a restart: nobody hears of the same twice.
    again = await restarted(governed)
    await again.fire(*(f"web{number}" for number in range(8)))
    await again.after(120)
    assert [text for text in again.told("tendai") if "more fire" in text] == []
    # As incidents end, what is watched opens, and what waits is watched; at last nothing waits.
    book = again.desk.book
    while book.overflow is not None:
        await GovernorChanges(again.desk).close(next(iter(book.open)), "ruth", "over")
        await again.after(31)
    fire = {f"db{number}" for number in range(8)} | {f"web{number}" for number in range(8)}
    seen = [dict(one.key)["host"] for one in (*book.incidents.values(), *book.watches.values())]
    assert sorted(seen) == sorted(fire)
    assert over_limit(again)[-1] == ({}, [])


async def test_what_ended_while_it_waited_is_never_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    keys_limited_to(monkeypatch, 2)
    limited_to(monkeypatch, 0)
    governed = await started(Pace())
    await governed.fire("db1", "db2", "db3")
    await governed.fire("db3", firing=False)
    await governed.after(60)
    assert len(governed.entries("WATCHED")) == 2
    assert over_limit(governed) == [({}, [])]


async def test_a_step_that_has_ended_since_the_agenda_was_asked_is_not_taken_again() -> None:
    governed = await started(Pace())
    await governed.fire("db1")
    (incident,) = governed.desk.book.open.values()
    assert not still(governed.desk.book, Due(Kind.PROPOSE, incident.index, governed.clock.now()))
    assert not still(governed.desk.book, Due(Kind.CONSULT, incident.index, governed.clock.now()))
    assert still(governed.desk.book, Due(Kind.REMIND, incident.index, governed.clock.now()))


async def test_a_turn_leaves_the_rest_of_many_to_the_next_but_hears_everybody() -> None:
    governed = await started(Pace())
    await governed.fire("db1")
    question = governed.question("ruth")
    for number in range(3 * STEPS_OF_A_KIND_A_TURN):
        await governed.desk.post(received(number))
    for number in range(2 * STEPS_OF_A_KIND_A_TURN):
        await governed.desk.post(heard("ruth", "approve", number, token=question.token))
    await governed.governor.turn()
    assert len(governed.desk.book.received) == 2 * STEPS_OF_A_KIND_A_TURN
    assert not governed.desk.book.heard
    await governed.rest()
    assert not governed.desk.book.received
    assert len(governed.entries("AUTHORIZED")) == 1


def test_no_name_of_an_incident_is_taken_for_a_number() -> None:
    names = [incident_name(SECRET, f"seed {number}") for number in range(2_000)]
    assert len(set(names)) == len(names)
    assert any(re.search(r"\d{8}", name) for name in names)
    for name in names:
        assert re.fullmatch("inc-[0-9a-f]{10}", name)
        assert clean(name, 40) == name


def received(number: int) -> Draft:
    body = {"source": "alertmanager", "receiver": "x", "alerts": 0, "firing": 0, "resolved": 0, "truncated": 0}
    payload = Blob("payload", b'{"version": "4", "alerts": []}')
    return Draft(
        id=f"receive:{number}",
        stage="RECEIVED",
        actor="alertmanager",
        body={**body, "unreadable": []},
        blobs=(payload,),
    )


def heard(person: str, verb: str, number: int, **said: str | None) -> Draft:
    body = {"person": person, "verb": verb, "token": None, "code": None, "original_sid": None} | said
    return Draft(
        id=f"heard:SM{number + 1000:032x}",
        stage="HEARD",
        actor="carrier:whatsapp",
        body={**body, "from_hmac": f"hmac-{person}", "external_id_hmac": None},
        blobs=(Blob("text", b"words"),),
    )


async def test_a_few_are_sent_one_by_one() -> None:
    governed = await started(Pace(6.0, burst=2))
    for number in range(2 + DIGEST_OVER):
        await governed.fire(f"db{number}")
    assert [len(times) for times in sent(governed).values()] == [2] * 5
    for _ in range(20):
        await governed.after(3)
    assert [len(times) for times in sent(governed).values()] == [5] * 5
    assert not [entry for entry in governed.entries("UNDELIVERED") if entry.decision == "digested"]


async def test_one_digest_stands_for_all_that_was_not_sent_yet() -> None:
    governed = await started(Pace(6.0, burst=2))
    for number in range(12):
        await governed.fire(f"db{number}")
    await governed.after(12)
    digests = [text for text in governed.told("ruth") if "reply STATUS" in text]
    assert digests == [
        "There are 10 more incidents: reply STATUS for what is open, DETAIL and an id for one of them and its question."
    ]
    kept = Counter(entry.decision for entry in governed.entries("UNDELIVERED"))
    assert kept["digested"] >= 50
    for outcome, number in (("digested", kept["digested"]), ("undelivered", 0)):  # which is no failure of a channel
        labels = {"channel": "whatsapp", "outcome": outcome}
        assert governed.desk.metrics.registry.get_sample_value("counterfoil_messages_total", labels) == number
    assert not governed.desk.book.unsettled_messages or all(
        message.sids for message in governed.desk.book.unsettled_messages.values()
    )


async def test_an_answer_to_what_was_written_does_not_wait_behind_the_rest() -> None:
    governed = await started(Pace(6.0, burst=2))
    for number in range(4):
        await governed.fire(f"db{number}")
    await governed.hear("ruth", "status")
    await governed.after(11)
    assert len(governed.told("ruth")) == 2
    await governed.after(1)
    assert any("proposed: " in text for text in governed.told("ruth")[2:4])


async def test_the_limit_of_a_day_counts_anew_at_midnight_and_the_ladder_goes_on() -> None:
    governed = await started(Pace(daily=2))
    for number in range(3):
        await governed.fire(f"db{number}")
    assert len(governed.told("ruth")) == 2
    limited = [entry for entry in governed.entries("UNDELIVERED") if entry.decision == "person_limit"]
    assert {entry.incident_id for entry in limited} >= {list(governed.desk.book.incidents)[2]}
    await governed.hear("ruth", "status")  # what a person asks for is no call
    assert len(governed.told("ruth")) == 3
    for incident in list(governed.desk.book.open):
        await GovernorChanges(governed.desk).close(incident, "ruth", "over")
    await governed.rest()
    await governed.after(24 * 3600)
    before = len(governed.told("ruth"))
    await governed.fire("another")
    assert len(governed.told("ruth")) == before + 1
