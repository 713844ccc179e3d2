"""A storm of alerts: nobody gets more than the limit, nothing is dropped, and everything can be seen."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from receiver.auditor.pages import PAGE
from receiver.auditor.reading import Reader
from receiver.governor.answering import REPLIES_PER_HOUR
from receiver.governor.changes import GovernorChanges
from receiver.governor.words import STATUS_INCIDENTS, STATUS_PAGE
from receiver.incident.agenda import OPEN_INCIDENTS_MAX
from receiver.incident.outbox import DIGEST_OVER, Pace
from tests.receiver.governed import Governed

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


async def test_a_thousand_incidents_in_a_minute() -> None:
    governed = await started()
    for group in range(20):
        await governed.fire(*(f"db{group * 50 + number}" for number in range(50)))
        governed.clock.advance(governed.clock.now() + timedelta(seconds=3))
    for _ in range(60):
        await governed.after(10)
    for times in sent(governed).values():
        assert 0 < len(times) <= PACE.daily
        # never more than the burst within the time that the burst takes at the pace
        assert all(later - first >= 59.999 for first, later in zip(times, times[PACE.burst :], strict=False))
    book = governed.desk.book
    assert len(book.open) == OPEN_INCIDENTS_MAX
    assert len(book.open) + len(book.watches) == 1000  # nothing is dropped: what is not opened yet is watched
    for name in FIVE:
        assert any("more incidents: reply STATUS" in text for text in governed.told(name))
    await governed.hear("ruth", "STATUS")
    rest = OPEN_INCIDENTS_MAX - STATUS_INCIDENTS
    assert f"And {rest} more: STATUS 2. 800 more alerts are watched" in governed.told("ruth")[-1]
    # A question that a digest stood for is had by asking, and its answer counts.
    incident = list(book.open.values())[150]
    await governed.hear("ruth", f"DETAIL {incident.id}")
    await governed.after(60)
    question = governed.question("ruth")
    assert question.variables["reference"] == incident.id
    await governed.hear("ruth", "Approve", payload=f"approve.{question.token}")
    assert [entry.incident_id for entry in governed.entries("AUTHORIZED")] == [incident.id]


async def test_every_incident_is_seen_by_status_and_on_the_page() -> None:
    governed = Governed(people={"ruth": ("leads",)})
    await governed.governor.start()
    await governed.fire(*(f"db{number}" for number in range(OPEN_INCIDENTS_MAX + 7)))
    await governed.hear("ruth", "STATUS")
    seen = governed.told("ruth")[-1]
    assert "7 more alerts are watched" in seen
    pages = -(-(OPEN_INCIDENTS_MAX - STATUS_INCIDENTS) // STATUS_PAGE)
    assert 1 + pages <= REPLIES_PER_HOUR
    for page in range(2, 2 + pages):
        await governed.hear("ruth", f"STATUS {page}")
        assert len(governed.told("ruth")[-1]) <= 900
        seen += governed.told("ruth")[-1]
    book = governed.desk.book
    assert len(book.open) == OPEN_INCIDENTS_MAX
    assert [incident for incident in book.open if incident not in seen] == []
    reader, before, there = Reader(governed.journal), book.size, list[str]()
    for _ in range(OPEN_INCIDENTS_MAX // PAGE):
        found, following = await reader.incidents("default", before=before, limit=PAGE)
        before = following or 0
        there += [view.id for view in found]
    assert sorted(there) == sorted(book.open)


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
