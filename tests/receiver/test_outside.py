"""The ledger against what others recorded: every way in which they can differ is found, and agreement is silence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from ledger.entry import Entry, canonical, format_time
from ledger.findings import Finding
from receiver.auditor.outside import RULES, BadRecord
from receiver.auditor.outside.message_log import Logged, read_messages
from receiver.auditor.outside.messages import Messages
from receiver.auditor.outside.receipts import Receipt, Receipts, read_receipts
from receiver.execution.run_log import RunLog
from tests.tools import ROOT

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
OURS, TENDAI = "whatsapp:+14155238886", "whatsapp:+263771234567"


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


class Log:
    """Entries of one log, written down as they come."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def post(self, stage: str, actor: str = "policy", minutes: float = 0.0, **fields: Any) -> int:
        index = len(self.entries)
        given = {"ledger": "l", "tenant_id": "t", "index": index, "id": f"{stage}:{index}", "salt": ""}
        none = dict.fromkeys(("incident_id", "decision", "confidence", "policy_version", "policy_digest", "settles"))
        document = {**none, **given, "timestamp": format_time(at(minutes)), "stage": stage, "actor": actor}
        document |= {"reason": "", "cites": [], "body": {}, "blobs": []}
        self.entries.append(Entry.parse(canonical(document | fields)))
        return index

    def ran(self, webhook_id: str, *ends: str, minutes: float = 0.0, by: str = "executor:restart", **body: Any) -> int:
        """PROPOSED, DISPATCHED and what came of it; the index of the last."""
        named = {"webhook_id": webhook_id, "executor": "restart"}
        self.post("PROPOSED", minutes=minutes, body=named)
        index = self.post("DISPATCHED", minutes=minutes, body=named)
        for stage in ends:
            index = self.post(stage, by, minutes, settles=index, body=body)
        return index

    def sent(self, sid: str, *ends: str, minutes: float = 0.0) -> int:
        """ADDRESSED, SENT and what was reported; the index of the last."""
        index = addressed = self.post("ADDRESSED", "system", minutes)
        index = self.post("SENT", "carrier:whatsapp", minutes, body={"message": addressed, "sid": sid})
        for stage in ends:
            index = self.post(stage, "carrier:whatsapp", minutes, settles=addressed, body={"sid": sid})
        return index

    def heard(self, sid: str, minutes: float = 0.0) -> int:
        return self.post("HEARD", "carrier:whatsapp", minutes, id=f"heard:{sid}", body={"verb": "approve"})


def compared(log: Log, outside: Receipts | Messages) -> list[Finding]:
    for entry in log.entries:
        outside.take(entry)
    return list(outside.findings())


# --- an executor's log -----------------------------------------------------------------------------------------------


def receipts(*rows: tuple[str, int | None], minutes: float = 0.0) -> dict[str, Receipt]:
    return {id: Receipt(id, "restart", at(minutes), code, begun=1) for id, code in rows}


def test_what_agrees_with_the_executor_is_no_finding() -> None:
    log = Log()
    log.ran("worked", "EXECUTED")
    log.ran("did-not", "FAILED", ran=True)
    log.ran("refused", "FAILED", ran=True)
    log.ran("never-sent", "FAILED", ran=False)
    log.ran("runs", by="")
    log.ran("settled", "UNRESOLVED", "EXECUTED")
    log.ran("in-doubt", "UNRESOLVED")
    log.ran("given-up", "UNRESOLVED", "WRITTEN_OFF")
    theirs = receipts(("worked", 0), ("did-not", 1), ("settled", 0), ("in-doubt", None), ("given-up", None))
    outside = Receipts(theirs)
    assert compared(log, outside) == []
    assert outside.told() == "executor's log: 5 runs, and 5 of the 8 dispatched here"


ENDED: dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Receipt], str]] = {
    "it never ran": (("EXECUTED",), {}, {}, "does not know w"),
    "it failed there": (("EXECUTED",), {}, receipts(("w", 1)), "has exit code 1"),
    "it never ended there": (("EXECUTED",), {}, receipts(("w", None)), "has no end"),
    "it worked there": (("FAILED",), {}, receipts(("w", 0)), "has exit code 0"),
    "it was begun there": (("FAILED",), {"ran": False}, receipts(("w", None)), "never ran, and the executor began it"),
    "its end is known there": (("UNRESOLVED",), {}, receipts(("w", 0)), "nobody knew how it ended"),
    "its end was known there": (("UNRESOLVED", "WRITTEN_OFF"), {}, receipts(("w", 3)), "has exit code 3"),
    "it never began there": (("UNRESOLVED",), {}, {}, "never began w"),
    "it ran before it was dispatched": (("EXECUTED",), {}, receipts(("w", 0), minutes=-2), "before it was dispatched"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDED)
def test_another_end_at_the_executor_is_a_finding(name: str) -> None:
    stages, body, theirs, says = ENDED[name]
    log = Log()
    last = log.ran("w", *stages, **body)
    (found,) = compared(log, Receipts(theirs))
    assert (found.rule, says in found.detail, bool(found.remedy)) == ("receipt", True, True), str(found)
    assert found.index == (1 if "before" in name else last)


def test_what_ran_past_the_service_is_a_finding() -> None:
    log = Log()
    log.post("PROPOSED", body={"webhook_id": "asked", "executor": "restart"})
    log.ran("done", "EXECUTED")
    theirs = receipts(("done", 0), ("asked", 0), ("stolen", 0), ("of-another-tenant", 0))
    found = compared(log, Receipts(theirs, elsewhere={"of-another-tenant"}))
    assert [(f.index, "never dispatched" in f.detail, "no entry names it" in f.detail) for f in found] == [
        (0, True, False),
        (None, False, True),
    ]
    assert all("change the executor's secret" in f.remedy for f in found)


def test_the_log_of_one_executor_says_nothing_of_the_others() -> None:
    log = Log()
    log.ran("w", "EXECUTED")
    assert len(compared(log, Receipts({}))) == 1
    assert len(compared(log, Receipts({}, ["restart"]))) == 1
    assert compared(log, Receipts({}, ["drain"])) == []


def test_the_executors_own_log_is_read(tmp_path: Path) -> None:
    """What `executor serve` writes, with a begin that a crash tore."""
    path = tmp_path / "executor.log"
    own = RunLog(path)
    own.begin("one", "restart")
    own.end("one", {"exit_code": 0, "output": "done"})
    own.begin("two", "drain")
    own.close()
    before = path.read_bytes() + b'{"begun": true, "id": "thr'
    path.write_bytes(before)
    found = read_receipts(path)
    assert [(r.id, r.action, r.exit_code, r.begun) for r in found.values()] == [
        ("one", "restart", 0, 1),
        ("two", "drain", None, 1),
    ]
    assert path.read_bytes() == before


def test_what_was_begun_twice_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "executor.log"
    row = {"id": "w", "action": "restart", "begun": True, "at": "2026-11-23T08:00:00+00:00"}
    path.write_text(f"{json.dumps(row)}\n" * 2)
    log = Log()
    log.ran("w")
    (found,) = compared(log, Receipts(read_receipts(path)))
    assert "begun 2 times" in found.detail


@pytest.mark.parametrize("line", ["x", "[]", "{}", '{"id": "w"}', '{"id": "w", "at": "noon"}', '{"id": 1, "at": 5}'])
def test_what_is_no_log_of_an_executor(tmp_path: Path, line: str) -> None:
    path = tmp_path / "executor.log"
    path.write_text(f"{line}\n")
    with pytest.raises(BadRecord, match=r"executor.log: line 1 is none"):
        read_receipts(path)
    with pytest.raises(BadRecord, match="No such file"):
        read_receipts(tmp_path / "nothing")


# --- the carrier's log -----------------------------------------------------------------------------------------------


def sid(number: int) -> str:
    return f"SM{number:032x}"


def logged(
    *rows: tuple[int, str, float], inbound: bool = False, other: str = TENDAI, **changed: str
) -> dict[str, Logged]:
    ends = {"sender": other, "recipient": OURS} if inbound else {"sender": OURS, "recipient": other}
    given = {**ends, "service": "MG1", **changed}
    return {sid(n): Logged(sid(n), status, inbound, at=at(minutes), **given) for n, status, minutes in rows}


def against(log: Log, theirs: dict[str, Logged], **known: Any) -> list[Finding]:
    return compared(log, Messages(theirs, OURS, [TENDAI], **known))


def test_what_agrees_with_the_carrier_is_no_finding() -> None:
    log = Log()
    log.sent(sid(1), "DELIVERED", minutes=1)
    log.sent(sid(2), "UNDELIVERED", minutes=2)
    log.sent(sid(3), minutes=3)
    log.heard(sid(4), minutes=4)
    log.sent(sid(5), "DELIVERED", minutes=90)
    log.heard("not-a-sid", minutes=4)
    theirs = logged((1, "read", 1), (2, "undelivered", 2), (3, "sent", 3), (9, "delivered", 9))
    theirs |= logged((4, "received", 4), inbound=True)
    outside = Messages(theirs, OURS, [TENDAI], {sid(9)})
    assert compared(log, outside) == []
    period = "from 2026-11-23 08:01:00+00:00 to 2026-11-23 08:09:00+00:00"
    assert outside.told() == f"carrier's log: 5 messages {period}, 4 of them known here"


@pytest.mark.parametrize(
    ("stages", "status", "says"),
    [
        (["DELIVERED"], "undelivered", "was delivered, and the carrier says undelivered"),
        (["DELIVERED"], "failed", "was delivered, and the carrier says failed"),
        (["UNDELIVERED"], "delivered", "gave SM00000000000000000000000000000001 up"),
        (["UNDELIVERED"], "read", "and the carrier says read"),
        ([], "delivered", "waits for"),
        ([], "failed", "waits for"),
    ],
)
def test_another_state_at_the_carrier_is_a_finding(stages: list[str], status: str, says: str) -> None:
    log = Log()
    last = log.sent(sid(1), *stages)
    (found,) = against(log, logged((1, status, 0)))
    assert (found.rule, found.index) == ("message", last if stages else 0)
    assert says in found.detail
    assert found.remedy


def test_one_of_two_copies_that_arrived_is_enough() -> None:
    log = Log()
    log.sent(sid(1), "DELIVERED")
    log.post("SENT", "carrier:whatsapp", body={"message": 0, "sid": sid(2)})
    assert against(log, logged((1, "failed", 0), (2, "delivered", 0))) == []


def test_a_call_and_a_notice_stand_in_no_log_of_messages() -> None:
    log = Log()
    log.sent("CA" + "1" * 32, "DELIVERED", minutes=5)
    log.sent("notice-default-7", "DELIVERED", minutes=5)
    assert [f for f in against(log, logged((1, "delivered", 0), (2, "delivered", 10))) if f.index is not None] == []


def test_what_only_one_side_knows_is_a_finding() -> None:
    log = Log()
    log.sent(sid(1), "DELIVERED", minutes=5)
    forged = log.heard(sid(2), minutes=5)
    theirs = logged((8, "delivered", 0), (9, "delivered", 10)) | logged((7, "received", 7), inbound=True)
    found = {f.detail.partition(",")[0]: f for f in against(log, theirs)}
    assert {detail: f.index for detail, f in found.items()} == {
        f"the ledger says that {sid(1)} was sent": 1,
        f"the ledger heard {sid(2)}": forged,
        f"{sid(8)} went out at {at(0)} (delivered)": None,
        f"{sid(9)} went out at {at(10)} (delivered)": None,
        f"{sid(7)} came in at {at(7)} from a person of the roster": None,
    }
    assert "rotate Twilio's auth token" in found[f"the ledger heard {sid(2)}"].remedy
    assert not any(address in str(f) for f in found.values() for address in (OURS, TENDAI))


def test_a_tap_that_is_one_of_our_own_messages_is_forged() -> None:
    log = Log()
    log.sent(sid(1), "DELIVERED")
    log.heard(sid(1))
    (found,) = against(log, logged((1, "delivered", 0)))
    assert "the carrier never took it in" in found.detail


@pytest.mark.parametrize(
    "theirs",
    [
        logged((1, "delivered", 0), sender="whatsapp:+15550000000"),  # another sender of the account
        logged((1, "received", 0), inbound=True, other="whatsapp:+15551111111"),  # a stranger, whom nobody answers
        logged((1, "received", 0), inbound=True, recipient="+15550000000"),  # to another number of the account
        {},  # an empty export says nothing of any time
    ],
)
def test_what_is_not_ours_is_no_finding(theirs: dict[str, Logged]) -> None:
    log = Log()
    log.sent(sid(5), "DELIVERED", minutes=99)
    assert against(log, theirs) == []


def test_a_messaging_service_is_a_sender() -> None:
    theirs = logged((1, "delivered", 0))
    assert len(compared(Log(), Messages(theirs, "MG1"))) == 1
    assert compared(Log(), Messages(theirs, "MG2")) == []
    assert len(compared(Log(), Messages(theirs))) == 1


# --- the exports of Twilio -------------------------------------------------------------------------------------------


@cache
def message() -> dict[str, Any]:
    """One message as GET …/Messages.json answers it."""
    return {
        "account_sid": "AC" + "0" * 32,
        "api_version": "2010-04-01",
        "body": "Approve?\nor not",
        "date_created": "Mon, 23 Nov 2026 08:00:00 +0000",
        "date_sent": "Mon, 23 Nov 2026 08:00:01 +0000",
        "date_updated": "Mon, 23 Nov 2026 08:00:02 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": OURS,
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": sid(1),
        "status": "delivered",
        "subresource_uris": {"media": "/…"},
        "to": TENDAI,
        "uri": "/…",
    }


def test_our_example_is_what_twilio_documents() -> None:
    folder = os.environ.get("TWILIO_OPENAPI")
    if folder is None:
        pytest.skip("TWILIO_OPENAPI names no folder")
    contract = json.loads((Path(folder) / "twilio_messages_calls.slice.json").read_text(encoding="utf-8"))
    schema = {"$ref": "#/components/schemas/api.v2010.account.message", "components": contract["components"]}
    assert [error.message for error in OAS30Validator(schema).iter_errors(message())] == []


def rows(*names: str) -> str:
    values = [
        str(message().get(name) or "") for name in ("from", "to", "body", "status", "date_sent", "sid", "direction")
    ]
    quoted = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    return ",".join(names) + "\r\n" + quoted + "\r\n"


def exports() -> Iterator[tuple[str, str]]:
    bulk = message() | {"date_sent": "2026-11-23T08:00:01Z"}
    yield "the API's list", json.dumps({"messages": [message()], "next_page_uri": None, "page": 0})
    yield "a list", json.dumps([message()], indent=2)
    yield "bulk export", f"{json.dumps(bulk)}\n\n"
    yield "bulk export of two", f"{json.dumps(bulk)}\n{json.dumps(bulk)}\n"
    yield "the console's CSV", rows("From", "To", "Body", "Status", "SentDate", "Sid", "Direction")
    yield "the API's CSV", rows("From", "To", "Body", "Status", "DateSent", "Sid", "Direction")
    yield "CSV with a mark and spaces", "\ufeff" + rows("from", "to", "body", "status", "Date Sent", "sid", "direction")


@pytest.mark.parametrize(("name", "text"), list(exports()))
def test_each_kind_of_export_is_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "export"
    path.write_text(text, encoding="utf-8", newline="")
    found, more = read_messages(path)
    assert list(found) == [sid(1)]
    logged = found[sid(1)]
    assert (logged.status, logged.inbound, logged.sender, logged.recipient) == ("delivered", False, OURS, TENDAI)
    assert logged.at == datetime(2026, 11, 23, 8, 0, 1, tzinfo=UTC)
    assert not more


def test_a_page_that_is_not_the_last_says_so(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_text(json.dumps({"messages": [message()], "next_page_uri": "/2010-04-01/…Page=1"}))
    assert read_messages(path)[1]


WRONG: Sequence[str] = (
    "",
    "Sid,Status\nSM1,sent\n",
    "Sid,Status,Direction\nSM1,sent\n",
    'Sid,Status,Direction\nSM1,sent,"outb',
    "Sid,Status,Direction\n,sent,inbound\n",
    '{"messages": 5}',
    '{"error": "unauthorized"}',
    '[{"sid": "SM1"}]',
    "[1]",
    "{",
)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_export_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "export"
    path.write_text(text)
    with pytest.raises(BadRecord) as error:
        read_messages(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(b"\xff\xfe")
    for name in ("export", "nothing"):
        with pytest.raises(BadRecord, match="cannot be read"):
            read_messages(tmp_path / name)


def test_both_rules_stand_on_the_page() -> None:
    page = (ROOT / "ledger/README.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"| {rule} | {RULES[rule]} |" not in page] == []
