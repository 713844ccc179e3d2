"""`counterfoil drill`: a real message and a real tap about nothing, which nobody can take for an incident."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from ledger.reconcile import trial_balance
from receiver.__main__ import counterfoil
from receiver.app import Service
from receiver.auditor.timeline import all_entries
from receiver.commands.init import PLACEHOLDER_NUMBERS, write_folder
from receiver.configuration import load_config
from receiver.demo.phone import PhoneNetwork
from receiver.governor import drilling
from receiver.governor.changes import GovernorChanges
from receiver.papers import ChangeRefused
from tests.receiver.governed import Governed

SENDER, TENDAI, RUDO = "whatsapp:+14155550199", "whatsapp:+263771234567", "whatsapp:+263772345678"


@dataclass
class Place:
    config: Path
    network: PhoneNetwork
    service: Service

    async def command(self, *words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, counterfoil, ["--config", str(self.config), *words])

    def drill(self, *words: str) -> asyncio.Task[Result]:
        return asyncio.create_task(self.command("drill", "--person", "tendai", "--by", "ops", *words))

    async def get(self, path: str) -> Any:
        token = (self.config.parent / "secrets/admin.token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(self.service.private_url + path) as a:
            return await a.json() if a.content_type == "application/json" else await a.text()


@pytest.fixture
async def place(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Place]:
    write_folder(tmp_path)
    config = tmp_path / "counterfoil.yml"
    private, public = free_port(), free_port()
    network = PhoneNetwork(
        account_sid="AC" + "1" * 32,
        auth_token="f" * 32,
        sender=SENDER,
        people={"tendai": TENDAI, "rudo": RUDO},
        message_url=f"http://127.0.0.1:{public}/twilio/message",
    )
    await network.start()
    (tmp_path / "secrets/twilio.token").write_text("f" * 32, encoding="utf-8")
    text = config.read_text(encoding="utf-8")
    for before, after in (
        ("AC" + "0" * 32, "AC" + "1" * 32),
        ('"whatsapp:+12025550100"', f'"{SENDER}"\n  base_url: "{network.url}"'),
        ("https://counterfoil.example.org", f"http://127.0.0.1:{public}"),
        (f"{PLACEHOLDER_NUMBERS}1", TENDAI),
        (f"{PLACEHOLDER_NUMBERS}2", RUDO),
        (":9877", f":{private}"),
        (":9878", f":{public}"),
        (":9093", ":1"),
        (":9090", ":1"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    config.write_text(text, encoding="utf-8")
    service = Service(load_config(config, {}))
    await service.start()
    yield Place(config, network, service)
    await service.stop()
    await network.stop()


async def test_a_drill_is_told_from_the_message_to_the_tap(place: Place) -> None:
    drill = place.drill()
    phone = place.network.phone("tendai")
    question = await phone.next_message(says="DRILL", timeout=60)
    assert "DRILL, nothing will be done whatever you tap" in question.body
    assert await phone.tap("Approve") == 204
    result = await drill
    assert result.exit_code == 0, result.output
    *lines, last = result.output.splitlines()
    assert last == "The drill is over: approved."
    told = [line.split(maxsplit=3)[3] for line in lines]
    assert told[0].startswith("DRILL drill-")
    assert told[1].startswith("Twilio took the message (MM")
    assert "it is on the phone" in told
    course = ["tendai approved it", "the executor of drills did nothing, as always", "it is over: approved"]
    assert [line for line in told if line in course] == course
    thanks = await phone.next_message(says="Nothing ran", timeout=60)
    assert thanks.body.startswith("DRILL: your approval arrived")
    assert not place.network.phone("rudo").messages  # nobody else is woken


async def test_nothing_of_a_drill_is_taken_for_an_incident(place: Place) -> None:
    drill = place.drill("--json")
    phone = place.network.phone("tendai")
    question = await phone.next_message(says="DRILL", timeout=60)
    # The text code does as well as a tap.
    code = question.body.partition("reply *A ")[2][:4]
    await phone.say(f"A {code}")
    result = await drill
    told = json.loads(result.output)
    assert (result.exit_code, told["outcome"]) == (0, "approved")

    entries = await all_entries(place.service.journal, "default")
    stages = {entry.stage for entry in entries}
    assert not stages & {"DETECTED", "PROPOSED", "APPROVED", "AUTHORIZED", "DISPATCHED", "EXECUTED", "CONSULTED"}
    assert all(entry.incident_id is None for entry in entries)
    opened = {book.book: book.opened for book in trial_balance(entries).books}
    assert opened["messages"] >= 1
    assert not any(opened[book] for book in ("incidents", "proposals", "authorizations", "executions", "diagnoses"))
    assert (await place.get("/api/v1/incidents"))["incidents"] == []
    assert (await place.get("/api/v1/reconciliation"))["findings"] == []
    assert "drill" not in (await place.get("/")).lower()
    metrics = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in (await place.get("/metrics")).splitlines()}
    assert metrics['counterfoil_drills_total{outcome="approved",tenant="default"}'] == "1.0"
    assert metrics['counterfoil_proposals_total{outcome="proposed",tenant="default"}'] == "0.0"
    assert metrics['counterfoil_proposals_total{outcome="authorized",tenant="default"}'] == "0.0"
    assert place.service.governors["default"].desk.book.runs == []
    assert not any(line.startswith("counterfoil_answers_refused") and value != "0.0" for line, value in metrics.items())
    await place.service.stop()
    verified = await place.command("ledger", "verify", "--replay")
    assert verified.exit_code == 0, verified.output


async def test_what_a_drill_cost_stands_with_the_messages(place: Place) -> None:
    drill = place.drill()
    await place.network.phone("tendai").next_message(says="DRILL", timeout=60)
    await place.network.phone("tendai").tap("Approve")
    await drill
    await place.network.phone("tendai").next_message(says="Nothing ran", timeout=60)
    await place.network.settled()
    plain = await place.command("messages")
    assert plain.exit_code == 0, plain.output
    assert "no price is known: set twilio.prices" in plain.output
    text = place.config.read_text(encoding="utf-8")
    place.config.write_text(
        text.replace("daily_message_limit: 200", "daily_message_limit: 200\n  prices: {whatsapp: 0.0134}")
    )
    told = json.loads((await place.command("messages", "--json")).output)
    rows = {row["kind"]: row for row in told["messages"]}
    assert {kind: (row["sent"], row["delivered"], row["price_usd"]) for kind, row in rows.items()} == {
        "drill": (1, 1, "0.0134"),
        "reply": (1, 1, "0.0134"),
    }
    assert told["limits"] == {"daily_message_limit": 200, "daily_person_limit": 100}
    assert "2 of 200 a day, 0.0268 USD" in (await place.command("messages")).output
    assert (await place.command("messages", "--until", "2020-01-01T00:00:00Z")).output == "no message in that time\n"
    wrong = place.config.read_text(encoding="utf-8").replace("{whatsapp: 0.0134}", "{pigeon: 1}")
    place.config.write_text(wrong, encoding="utf-8")
    assert (await place.command("messages")).exit_code == 2


async def test_a_rejection_ends_it_too_and_a_tap_afterwards_hears_so(place: Place) -> None:
    drill = place.drill()
    phone = place.network.phone("tendai")
    question = await phone.next_message(says="DRILL", timeout=60)
    await phone.tap("On it", question)
    assert "in earnest nobody else would be called" in (await phone.next_message(says="DRILL", timeout=60)).body
    await phone.tap("Reject", question)
    result = await drill
    assert result.exit_code == 0
    assert result.output.rstrip().endswith("The drill is over: rejected.")
    assert "did nothing" not in result.output
    await phone.next_message(says="your rejection arrived", timeout=60)
    await phone.tap("Approve", question)
    assert (await phone.next_message(says="over already", timeout=60)).body.startswith(
        "DRILL: that one is over already."
    )


async def test_a_message_that_does_not_arrive_is_told_with_the_carriers_reason(place: Place) -> None:
    place.network.faults.undeliverable[TENDAI] = 63024
    result = await place.drill()
    assert result.exit_code == 1
    assert "it was not delivered: undelivered, error 63024" in result.output


async def test_an_answer_without_a_report_of_the_delivery_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.commands.drill.REPORT_SECONDS", 0.2)
    place.network.faults.status_callbacks = False
    drill = place.drill()
    await place.network.phone("tendai").next_message(says="DRILL", timeout=60)
    await place.network.phone("tendai").tap("Approve")
    result = await drill
    assert result.exit_code == 0
    assert "approved, and Twilio reported no delivery: its status callbacks do not arrive" in result.output


async def test_no_answer_in_time_is_exit_1_and_says_how_far_it_got(place: Place) -> None:
    drill = place.drill("--timeout", "1s")
    await place.network.phone("tendai").next_message(says="DRILL", timeout=60)
    result = await drill
    assert result.exit_code == 1
    assert "No answer within 1s. How far it got: it is on the phone." in result.output
    again = await place.drill()
    assert (again.exit_code, again.output.count("\n")) == (1, 1)
    assert "has not answered the drill" in again.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--person", "nobody"), 2, "nobody is not in the roster"),
        (("--person", "tendai", "--timeout", "soon"), 2, "is no duration"),
        (("--person", "tendai", "--tenant", "other"), 2, "there is no such tenant"),
        ((), 2, "--person"),
    ],
)
async def test_a_wrong_call_is_told(place: Place, words: tuple[str, ...], code: int, said: str) -> None:
    result = await place.command("drill", *words)
    assert result.exit_code == code
    assert said in result.output


# --- the governor alone -----------------------------------------------------------------------------------------------


@pytest.fixture
async def governed() -> Governed:
    made = Governed()
    await made.governor.start()
    return made


async def begin(governed: Governed) -> str:
    receipt = await GovernorChanges(governed.desk).drill("ops", "tendai")
    await governed.rest()
    return str(receipt.entries[0].body["drill"])


def over(governed: Governed) -> list[str]:
    return [entry.body["outcome"] for entry in governed.entries("NOTED") if entry.body["kind"] == "drill over"]


async def test_it_ends_by_itself_and_a_restart_knows(governed: Governed) -> None:
    await begin(governed)
    await governed.after(drilling.DRILL_VALID.total_seconds() - 1)
    assert over(governed) == []
    again = Governed(journal=governed.journal, clock=governed.clock)
    await again.governor.start()
    await again.after(2)
    assert over(again) == ["expired"]
    assert "no answer came in time" in again.told("tendai")[-1]
    await begin(again)  # and another may begin


async def test_only_the_one_who_was_asked_can_answer(governed: Governed) -> None:
    await begin(governed)
    question = governed.question("tendai")
    await governed.hear("ruth", "Approve", payload=f"approve.{question.token}")
    await governed.hear(None, "Approve", payload=f"approve.{question.token}")
    await governed.hear("ruth", f"A {question.variables['code']}")
    assert over(governed) == []
    await governed.hear("tendai", "approve")  # a bare word never counts, in a drill neither
    assert over(governed) == []
    await governed.hear("tendai", "Approve", payload=f"approve.{question.token}")
    await governed.hear("tendai", "Approve", payload=f"approve.{question.token}")
    assert over(governed) == ["approved"]


async def test_a_drill_beside_an_incident_moves_nothing_of_it(governed: Governed) -> None:
    await governed.fire()
    await begin(governed)
    drill = governed.question("tendai")
    await governed.hear("tendai", "Approve", payload=f"approve.{drill.token}")
    assert governed.executors.ran == []
    assert [p.open for p in governed.desk.book.proposals.values()] == [True]


async def test_who_cannot_be_asked_is_told_to_the_asker(governed: Governed) -> None:
    changes = GovernorChanges(governed.desk)
    await governed.hear("tendai", "STOP")
    with pytest.raises(ChangeRefused, match="opted out"):
        await changes.drill("ops", "tendai")
    await changes.suspend("ops", "ruth", "left")
    await governed.rest()
    with pytest.raises(ChangeRefused, match="suspended"):
        await changes.drill("ops", "ruth")
