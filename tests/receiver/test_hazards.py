"""What an approval must survive: each hazard is brought about from outside, through HTTP, on the running service.

One test for each row of the table in contrib/decisions/hazards.md, and in its order.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from receiver.authorization import pins
from receiver.governor.answering import REPLIES_PER_HOUR
from tests.receiver.hazardous import EXPIRES, PUBLIC, QUIET, STRANGER, TENANT, TWILIO_TOKEN, Place
from tests.tools import ROOT


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "installation")


async def test_a_replay_a_double_tap_and_two_approvers_at_once(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        ada, ben = await place.asked("ada"), await place.asked("ben")
        tap = place.tap("ada", ada)
        statuses = await asyncio.gather(*(place.post(tap) for _ in range(3)), place.post(place.tap("ben", ben)))
        assert statuses == [204] * 4
        await place.entry("EXECUTED")
        assert await place.post(tap) == 204  # the captured request again
        assert await place.post(tap | {"Body": "Approve!"}) == 204  # and changed
        assert await place.post(place.tap("ada", ada)) == 204  # and a tap of one's own again
        await place.judged()
        assert len(await place.entries("HEARD")) == 3
        (authorized,) = await place.entries("AUTHORIZED")
        assert place.ran.total() == 1
        winner = authorized.actor.removeprefix("engineer:")
        assert set(await place.refusals()) == {f"already approved by {winner}"}
        loser = "ben" if winner == "ada" else "ada"
        await place.phone(loser).next_message(says=f"already approved by {winner}")


async def test_a_wrong_number_and_a_forwarded_message(place: Place) -> None:
    async with place.open():
        place.network.faults.next("lost")  # what is sent first is taken, and nobody hears that it was
        await place.fire("h0")
        ada, ben = await place.asked("ada"), await place.asked("ben")
        await place.post(place.tap("ben", ada))
        await place.post(place.tap(STRANGER, ada))
        await place.post(place.tap("ada", ada, OriginalRepliedMessageSid=ben.sid))
        payload = ada.button("Approve").payload
        other = payload[:-1] + ("3" if payload[-1] == "2" else "2")
        await place.post(place.tap("ada", ada) | {"ButtonPayload": other})
        await place.say("ben", f"A {_code(ada.body)}")
        assert await place.refusals() == [
            *("not the recipient", "unknown sender", "another message", "no such message", "wrong code"),
        ]
        assert place.ran.total() == 0
        await place.post(place.tap("ada", ada))
        await place.entry("EXECUTED")
        assert place.ran.total() == 1


async def test_a_changed_number_or_sim(place: Place) -> None:
    async with place.open():
        word = str((await place.admin("/api/v1/people/ada/enrolments", by="operator"))["text"])
        await place.say("ada", word)
        await place.phone("ada").next_message(says="this phone is yours now")
        await place.fire("h0")
        ada = await place.asked("ada")
        await place.post(place.tap("ada", ada, ExternalUserId="whatsapp:US.another"))
        assert await place.refusals() == ["another identity"]
        await place.post(place.tap("ada", ada))  # back to the first: suspended until they enrol again
        assert (await place.refusals())[-1] == "suspended"
        assert place.ran.total() == 0
        await place.phone("ben").next_message(says="ada is suspended")
        await place.entry("PROPOSED", 2)
        assert (await place.entries("PROPOSED"))[-1].body["approvers"] == ["ben", "cyn"]


async def test_a_phone_in_other_hands_has_no_pin(place: Place) -> None:
    (place.folder / "secrets").mkdir(parents=True)
    (place.folder / "secrets/pin").write_text(pins.hashed("481516") + "\n", encoding="utf-8")
    async with place.open(more=", pin: true", pins="ada ben"):
        await place.fire("h0")
        ada = await place.asked("ada")
        await place.post(place.tap("ada", ada))
        await place.phone("ada").next_message(says="this needs your PIN")
        await place.say("ada", "481517")
        assert await place.refusals() == ["wrong PIN"]
        assert place.ran.total() == 0
        await place.say("ada", f"A {_code(ada.body)} 481516")
        await place.entry("EXECUTED")
    everything = b"".join(file.read_bytes() for file in place.folder.rglob("*") if file.is_file())
    assert b"481516" not in everything
    assert b"481517" not in everything
    assert not any("48151" in message.body for message in place.network.messages.values())


async def test_a_link_preview(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        ada = await place.asked("ada")
        await place.entry("DELIVERED", 4)
        await place.network.settled()
        size = await place.service.journal.size(TENANT)
        token = ada.button("Approve").payload.partition(".")[2]
        paths = {word.removeprefix(PUBLIC) for word in ada.body.split() if word.startswith(PUBLIC)}
        paths |= {
            "/twilio/message",
            f"/twilio/message?ButtonPayload=approve.{token}",
            "/twilio/status",
            "/twilio/voice",
        }
        paths |= {f"/q/{token}", f"/approve/{token}", f"/executions/{token}"}
        for path in sorted(paths):
            for method in ("GET", "HEAD", "OPTIONS"):
                address = f"{place.service.public_url}{path}"
                async with place.session.request(method, address, allow_redirects=False) as answer:
                    assert answer.status < 500
        assert await place.service.journal.size(TENANT) == size
        assert place.ran.total() == 0


async def test_recovered_superseded_and_policy_changed(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        recovered = await place.asked("ada", "h0")
        await place.fire("h0", firing=False)
        await place.entry("RECOVERED")
        await place.post(place.tap("ada", recovered))
        await place.fire("h1")
        superseded = await place.asked("ada", "h1")
        await place.another_policy()
        await place.entry("PROPOSED", 3)
        await place.post(place.tap("ada", superseded))
        assert await place.refusals() == ["already withdrawn", "already withdrawn"]
        assert place.ran.total() == 0
        await place.post(place.tap("ada", await place.asked("ada", "h1")))
        await place.entry("EXECUTED")
        assert place.hosts == ["h1"]


async def test_n_of_m_one_rejection_and_whoever_asked(place: Place) -> None:
    async with place.open(quorum=2):
        await place.fire("h0")
        ada, ben, cyn = [await place.asked(name) for name in ("ada", "ben", "cyn")]
        for _ in range(3):
            await place.post(place.tap("ada", ada))
        await place.post(place.tap("dan", ada))
        await place.judged()
        assert (len(await place.entries("APPROVED")), place.ran.total()) == (1, 0)
        await place.phone("cyn").next_message(says="ada approved mend it. 1 more of ben, cyn must approve.")
        await place.post(place.tap("ben", ben, "Reject"))
        await place.post(place.tap("cyn", cyn))
        assert (await place.refusals())[-1] == "already rejected by ben"
        assert place.ran.total() == 0
        # What ada asks for by hand, ada does not approve.
        await place.say("ada", "RUN mend host=h1")
        asked = await place.entry("PROPOSED", 2)
        assert asked.body["approvers"] == ["ben", "cyn"]
        ben, cyn = await place.asked("ben", "h1"), await place.asked("cyn", "h1")
        await place.post(place.tap("ada", ben))
        await place.post(place.tap("ben", ben))
        await place.say("ada", f"A {_code(ben.body)}")
        await place.judged()
        assert place.ran.total() == 0
        await place.post(place.tap("cyn", cyn))
        await place.entry("EXECUTED")
        assert place.hosts == ["h1"]


async def test_expiry_is_said_and_is_no_rejection(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        ada = await place.asked("ada")
        place.later(EXPIRES.total_seconds() - 20)
        await place.say("ada", "status")
        await place.judged()
        assert await place.entries("EXPIRED") == []
        place.later(20)
        expired = await place.entry("EXPIRED")
        assert expired.body.get("by") is None
        assert await place.entries("REJECTED") == []
        await place.phone("ada").next_message(says="nobody decided in time. Nothing ran.")
        await place.post(place.tap("ada", ada))
        assert await place.refusals() == ["already expired"]
        assert place.ran.total() == 0


async def test_text_instead_of_a_button(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        ada, ben = await place.asked("ada"), await place.asked("ben")
        for text in ("yes", "ok", "approve", "Approve", "1", "A", f"approve it {_code(ada.body)}", _code(ada.body)):
            await place.say("ada", text)
        await place.judged()
        assert (await place.entries("APPROVED"), place.ran.total()) == ([], 0)
        for guess in ("AAAA", "CCCC", "DDDD", "EEEE", "FFFF"):
            await place.say("ben", f"A {guess}")
        await place.say("ben", f"A {_code(ben.body)}")  # right, and too late: five were tried
        assert await place.refusals() == ["wrong code"] * 6
        assert place.ran.total() == 0
        await place.say("ada", f"a {_code(ada.body).lower()}")
        await place.entry("EXECUTED")


async def test_the_kill_switch(place: Place) -> None:
    async with place.open():
        await place.fire("h0")
        ada = await place.asked("ada")
        await place.say("dan", "HALT now")  # may approve nothing, and may halt
        await place.entry("HALTED")
        await place.post(place.tap("ada", ada))
        await place.entry("AUTHORIZED")
        await place.say("dan", "RESUME")
        assert await place.refusals() == ["whoever halted cannot resume"]
        assert (await place.entries("DISPATCHED"), place.ran.total()) == ([], 0)
        await place.say("ben", "RESUME")
        await place.entry("RESUMED")
        place.later(2)  # it is looked at again so often
        await place.entry("EXECUTED")
        assert place.ran.total() == 1


async def test_strangers_get_silence_and_loops_end(place: Place) -> None:
    async with place.open():
        size = await place.service.journal.size(TENANT)
        for text in ("HALT", "STATUS", "A 7K3P", "JOIN 7K3P", "help"):
            assert await place.say(STRANGER, text) == 204
        for form in (place.form("ada", "HALT"), place.form(STRANGER, "x")):
            assert await place.post(form, token=TWILIO_TOKEN[:-1] + "0") == 403
        assert await place.service.journal.size(TENANT) == size
        for _ in range(REPLIES_PER_HOUR + 10):
            await place.say("ada", "status")
        await place.judged()
        await place.entry("SENT", REPLIES_PER_HOUR)
        await place.network.settled()
        assert len(place.phone("ada").messages) == REPLIES_PER_HOUR
        assert place.phone(STRANGER).messages == ()


async def test_quiet_hours_are_for_low_severity_alone_and_times_are_each_ones_own(place: Place) -> None:
    async with place.open(mute=QUIET):
        await place.fire("h0", severity="info")
        muted = await place.entry("NOTED")
        assert muted.body["kind"] == "muted"
        assert place.network.messages == {}
        await place.fire("h1", severity="critical")
        ada = await place.asked("ada", "h1")
        expires = (await place.entries("PROPOSED"))[-1].body["expires_at"]
        there = f"{(int(expires[11:13]) + 2) % 24:02}:{expires[14:16]} CAT"
        assert there in ada.body
        assert not any("host=h0" in message.body for message in place.network.messages.values())


def test_each_row_of_the_table_has_its_test() -> None:
    page = (ROOT / "contrib/decisions/hazards.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`test_" in line]
    named = [row.rsplit("`", 2)[1] for row in rows]
    here = [
        name for name in globals() if name.startswith("test_") and name != "test_each_row_of_the_table_has_its_test"
    ]
    assert named == here


def _code(body: str) -> str:
    """The code that a question gives for those who cannot tap."""
    found = re.search(r"\*A ([0-9A-Z]{4})\*", body)
    assert found is not None, body
    return found[1]
