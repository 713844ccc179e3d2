"""An executor that demands the proof: what a person authorized runs, once; a stolen webhook secret runs nothing."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint, proofs
from ledger.entry import Draft, Entry
from ledger.merkle import inclusion_ranges, leaf_hash, tree_root
from ledger.stores.sqlite import SqliteJournal
from receiver.commands.proving_keys import verifier
from receiver.configuration import target
from receiver.execution.authorized import Demand, NotProved, demanded, unwrapped
from receiver.execution.rendering import with_proof
from receiver.execution.runner import Runner
from receiver.execution.runner_config import RunnerConfigError, load_runner_config
from receiver.execution.signature import signed_headers
from receiver.execution.webhook import Webhooks
from receiver.governor import proving
from receiver.papers import RenderedRequest
from receiver.rehearsal.memory import MemoryJournal
from receiver.rehearsal.outside import CaseClock
from receiver.settings_executors import Executor
from tests.receiver.governed import TENANT, Governed

SECRET = "whsec_YXR0YWNrLXNldC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="
RAN = 'import sys; open(sys.argv[1], "a").write("ran\\n")'


class SignedJournal(MemoryJournal):
    """A log in memory under a key: each checkpoint is of all of it."""

    key: Ed25519PrivateKey

    async def checkpoint(self, tenant: str) -> str | None:
        return note_of(self.log, self.key)


def name_of(log: list[Entry]) -> str:
    return checkpoint.log_origin(log[0].ledger, log[0].tenant_id)


def note_of(log: list[Entry], key: Ed25519PrivateKey) -> str:
    root = tree_root([leaf_hash(entry.raw) for entry in log])
    return checkpoint.sign(checkpoint.Checkpoint(name_of(log), len(log), root), name_of(log), key)


def proof_of(log: list[Entry], index: int, key: Ed25519PrivateKey) -> str:
    leaves = [leaf_hash(entry.raw) for entry in log]
    path = tuple(tree_root(leaves[begin:end]) for begin, end in inclusion_ranges(index, len(log)))
    return proofs.Proof(log[index].raw, index, path, note_of(log, key)).text()


@dataclass
class Wired(Webhooks):
    """The office itself, which keeps what it sent."""

    office: Webhooks
    sent: list[tuple[RenderedRequest, str, str | None]] = field(default_factory=list)

    def render(self, order: Any) -> RenderedRequest:
        return self.office.render(order)

    async def send(self, request: RenderedRequest, *, webhook_id: str, deadline: datetime, proof: Any = None) -> Any:
        self.sent.append((request, webhook_id, proof))
        return await self.office.send(request, webhook_id=webhook_id, deadline=deadline, proof=proof)


@dataclass
class Machine:
    """The executor on its machine, the governor that calls it, and a thief who has the webhook's secret."""

    governed: Governed
    office: Wired
    key: Ed25519PrivateKey
    file: Path
    address: str
    vkey: str
    session: aiohttp.ClientSession

    @property
    def runs(self) -> int:
        return self.file.read_text(encoding="utf-8").count("ran") if self.file.exists() else 0

    @property
    def log(self) -> list[Entry]:
        return self.governed.journal.log

    async def approve(self) -> None:
        await self.governed.fire()
        await self.governed.hear("tendai", "Approve", payload=f"approve.{self.governed.question('tendai').token}")

    async def steal(self, body: str, webhook_id: str) -> tuple[int, str]:
        """Post what the thief likes, signed with the stolen secret."""
        headers = signed_headers([SECRET], webhook_id, datetime.now(UTC), body)
        async with self.session.post(f"{self.address}/run/clean", data=body.encode(), headers=headers) as answer:
            return answer.status, str((await answer.json())["error"]["message"])


@pytest.fixture
async def machine(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Machine]:
    key, clock = Ed25519PrivateKey.generate(), CaseClock(datetime.now(UTC))
    journal = SignedJournal(TENANT, clock.now)
    journal.key = key
    governed = Governed(journal=journal, clock=clock)
    await governed.governor.start()
    vkey = checkpoint.verifier_key(name_of(journal.log), key.public_key())
    address = f"http://127.0.0.1:{free_port()}"
    section = Executor.model_validate({"url": f"{address}/run/clean", "secret": SECRET, "proof": True})
    governed.desk.executors = office = Wired(Webhooks({"clean": target("clean", section)}, lambda: datetime.now(UTC)))
    (tmp_path / "secret").write_text(SECRET, encoding="ascii")
    (tmp_path / "secret").chmod(0o600)
    data = {
        "proof": {"keys": [vkey], "address": address},
        "log_file": "executor.log",
        "actions": {"clean": {"secret_file": "secret", "command": [sys.executable, "-c", RAN, str(tmp_path / "ran")]}},
    }
    (tmp_path / "executor.yml").write_text(json.dumps(data), encoding="utf-8")
    config = load_runner_config(tmp_path / "executor.yml")
    runner = web.AppRunner(Runner(config, verifier(config.proof_keys)).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(address.rpartition(":")[2])).start()
    async with aiohttp.ClientSession() as session:
        yield Machine(governed, office, key, tmp_path / "ran", address, vkey, session)
    await runner.cleanup()


async def test_what_a_person_authorized_runs_once(machine: Machine) -> None:
    await machine.approve()
    (executed,) = machine.governed.entries("EXECUTED")
    assert machine.runs == 1
    (authorized,) = machine.governed.entries("AUTHORIZED")
    (dispatched,) = machine.governed.entries("DISPATCHED")
    assert authorized.body["digest"] == dispatched.body["digest"] == machine.office.sent[0][0].digest
    assert authorized.actor == "engineer:tendai"
    # The signature and the proof of a request that ran are in the thief's hands, and run nothing more.
    (request, webhook_id, proof) = machine.office.sent[0]
    assert proof is not None
    status, why = await machine.steal(wrapped(request, proof), webhook_id)
    assert (status, machine.runs) == (409, 1), why
    assert executed.body["http_status"] == 200


def wrapped(request: RenderedRequest, proof: str, **changed: Any) -> str:
    return with_proof(replace(request, **changed), proof)


async def test_a_stolen_secret_runs_nothing(machine: Machine) -> None:
    await machine.governed.fire()
    order = {"id": "exec-mine", "action": "clean", "params": {}, "tenant": TENANT}
    status, why = await machine.steal(json.dumps(order), "exec-mine")
    assert (status, why.partition(":")[0]) == (403, "this executor demands the proof that the request was authorized")
    # Nobody has approved yet; what is in the log so far authorizes nothing, whatever it is wrapped around.
    (proposed,) = machine.governed.entries("PROPOSED")
    raw = await machine.governed.journal.blob(TENANT, proposed.blobs[0].digest)
    request = RenderedRequest(**json.loads(raw or b"{}"))
    for entry in machine.log:
        text = wrapped(request, proof_of(machine.log, entry.index, machine.key))
        status, why = await machine.steal(text, proposed.body["webhook_id"])
        assert status == 403, f"{entry.stage}: {why}"
    assert machine.runs == 0
    assert not machine.governed.entries("AUTHORIZED")


async def test_a_proof_of_one_request_runs_no_other(machine: Machine) -> None:
    await machine.approve()
    (request, webhook_id, proof) = machine.office.sent[0]
    assert proof is not None
    other_body = request.body.replace(webhook_id, "exec-other")
    stranger = Ed25519PrivateKey.generate()
    (authorized,) = machine.governed.entries("AUTHORIZED")
    (dispatched,) = machine.governed.entries("DISPATCHED")
    attacks = {
        "another webhook-id": (wrapped(request, proof, body=other_body), "exec-other", "another request"),
        "other parameters": (
            wrapped(request, proof, body=request.body.replace('"params":{}', '"params":{"a":"b"}')),
            webhook_id,
            "another request",
        ),
        "another address": (
            wrapped(request, proof, address="http://x.example/run/clean"),
            webhook_id,
            "another request",
        ),
        "more in it": (json.dumps({"request": {}, "proof": proof}), webhook_id, "demands the proof"),
        "no proof": (json.dumps({"request": {"body": request.body}, "proof": ""}), webhook_id, "does not hold"),
        "another key": (
            wrapped(request, proof_of(machine.log, authorized.index, stranger)),
            webhook_id,
            "does not hold",
        ),
        "another entry": (
            wrapped(request, proof_of(machine.log, dispatched.index, machine.key)),
            webhook_id,
            "not that a person authorized it",
        ),
    }
    for name, (body, id, why) in attacks.items():
        status, told = await machine.steal(body, id)
        assert status == 403, name
        assert why in told, name
    assert machine.runs == 1


async def test_a_proof_is_of_one_place_and_of_a_while(machine: Machine) -> None:
    await machine.approve()
    (request, webhook_id, proof) = machine.office.sent[0]
    assert proof is not None
    carried = unwrapped(wrapped(request, proof).encode())
    verify, now = verifier([machine.vkey]), datetime.now(UTC)
    here = Demand(machine.address, 900)

    def asked(demand: Demand = here, path: str = "/run/clean", id: str = webhook_id, at: datetime = now) -> bytes:
        return demanded(demand, verify, carried, path, id, at)

    assert asked().decode() == request.body
    for elsewhere in (Demand("http://other.example:9879", 900), replace(here, address=machine.address + "0")):
        with pytest.raises(NotProved, match="another address"):
            asked(elsewhere)
    with pytest.raises(NotProved, match="another address"):
        asked(path="/run/stop")
    with pytest.raises(NotProved, match="another webhook-id"):
        asked(id="exec-2")
    with pytest.raises(NotProved, match="longer ago than 900 s"):
        asked(at=now + timedelta(seconds=902))
    with pytest.raises(NotProved, match="in the future"):
        asked(at=now - timedelta(seconds=3600))
    other = checkpoint.verifier_key("other.example/default", machine.key.public_key())
    with pytest.raises(NotProved, match="whose key is not pinned here"):
        demanded(here, verifier([other]), carried, "/run/clean", webhook_id, now)
    # While a key is changed both are pinned, and either holds.
    new = checkpoint.verifier_key(name_of(machine.log), Ed25519PrivateKey.generate().public_key())
    for keys in ([new, machine.vkey], [machine.vkey, new]):
        assert demanded(here, verifier(keys), carried, "/run/clean", webhook_id, now).decode() == request.body


async def test_no_changed_byte_of_a_proof_is_believed(machine: Machine) -> None:
    await machine.approve()
    (request, webhook_id, proof) = machine.office.sent[0]
    assert proof is not None
    drawn, verify, now = random.Random(6), verifier([machine.vkey]), datetime.now(UTC)
    here = Demand(machine.address, 900)
    good = wrapped(request, proof).encode()
    for _ in range(300):
        at = drawn.randrange(len(proof))
        changed = proof[:at] + drawn.choice("AZaz09+/=\n ") + proof[at + 1 :]
        if changed == proof:
            continue
        carried = unwrapped(wrapped(request, changed).encode())
        with pytest.raises(NotProved):
            demanded(here, verify, carried, "/run/clean", webhook_id, now)
    assert demanded(here, verify, unwrapped(good), "/run/clean", webhook_id, now).decode() == request.body


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ({"keys": [], "address": "http://x.example"}, "proof.keys: "),
        ({"keys": ["k"], "address": "x.example"}, "proof.address: it is http:// or https://"),
        ({"keys": ["k"], "address": "http://x.example/run"}, "proof.address: it is http:// or https://"),
        ({"keys": ["k"], "address": "http://x.example", "max_age": "2d"}, "proof.max_age: '2d' is not a duration"),
        ({"key": "k", "address": "http://x.example"}, "proof.keys: "),
    ],
)
def test_a_demand_that_cannot_be_held_is_refused(tmp_path: Path, proof: dict[str, Any], why: str) -> None:
    (tmp_path / "secret").write_text(SECRET, encoding="ascii")
    actions = {"clean": {"secret_file": "secret", "command": ["true"]}}
    file = tmp_path / "executor.yml"
    file.write_text(json.dumps({"proof": proof, "actions": actions}), encoding="utf-8")
    with pytest.raises(RunnerConfigError, match=why):
        load_runner_config(file)


def test_a_pinned_key_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(RunnerConfigError, match=r"proof\.keys: .* is not a verifier key"):
        verifier(["counterfoil.example/default+nonsense"])


def test_a_runner_that_cannot_check_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET, encoding="ascii")
    actions = {"clean": {"secret_file": "secret", "command": ["true"]}}
    file = tmp_path / "executor.yml"
    file.write_text(json.dumps({"proof": {"keys": ["k"], "address": "http://x.example"}, "actions": actions}))
    with pytest.raises(ValueError, match="nothing checks them"):
        Runner(load_runner_config(file))


async def test_the_service_proves_from_its_real_ledger_beside_other_writers(tmp_path: Path) -> None:
    """The proof is of the newest checkpoint at the moment; entries that come meanwhile do not spoil it."""
    key = Ed25519PrivateKey.generate()
    journal = await SqliteJournal.open(
        tmp_path / "ledger.db",
        origin="counterfoil.example",
        key=key,
        anchor_path=None,
        clock=lambda: datetime.now(UTC),
        tenants=[TENANT],
    )
    desk: Any = SimpleNamespace(journal=journal, tenant=TENANT)
    vkey = checkpoint.verifier_key(f"counterfoil.example/{TENANT}", key.public_key())
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            draft = Draft(f"note:{number}", "NOTED", "system", reason="r", body={"kind": "note", "text": "t"})
            await journal.post(TENANT, [draft])
            number += 1
        return number

    writing = asyncio.create_task(write())
    try:
        proven = size = 0
        while proven < 60 or size <= 12:  # however slow the writer is, it has written before the last proof
            proven, size = proven + 1, await journal.size(TENANT)
            index = size // 2
            text = await proving.proof_of(desk, index)
            assert text is not None
            assert proofs.verify(text, vkey).entry.index == index
        assert await proving.proof_of(desk, 10**6) is None
    finally:
        stop.set()
        written = await writing
        await journal.close()
    assert written > 10, "nothing was written beside it"
