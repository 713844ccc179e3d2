"""A workload that posts and says what it was told: `python -m tests.ledger.posting FOLDER`, under a disk that fails.

Each line is one answer: "ACK id …", "UNKNOWN id …" or "REFUSED id …"; what is unknown is asked again under its id.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.entry import Blob, Draft
from ledger.journal import LedgerError, Refused
from ledger.stores.sqlite import SqliteJournal

KEY = Ed25519PrivateKey.from_private_bytes(b"f" * 32)
ORIGIN, TENANT = "faults.example", "default"
POSTS = 8
TRIES = 4


def drafts(number: int) -> list[Draft]:
    """The `number`th post: one entry, one with a blob, several at once, or one that the books refuse."""
    note = Draft(id=f"note:{number}", stage="NOTED", actor="system", reason="a note " * 40, body={"kind": "note"})
    if number % 4 == 1:
        blob = Blob("payload", bytes(6_000) + str(number).encode())
        return [Draft(id=f"receive:{number}", stage="RECEIVED", actor="alertmanager", blobs=(blob,))]
    if number % 4 == 2:
        return [note, Draft(id=f"halt:{number}", stage="HALTED", actor="operator:root", reason="a drill")]
    if number % 4 == 3:
        return [Draft(id=f"evaluate:{number}", stage="EVALUATED", actor="policy", settles=9_999)]
    return [note]


async def open_journal(folder: Path) -> SqliteJournal:
    return await SqliteJournal.open(
        folder / "ledger.db",
        origin=ORIGIN,
        key=KEY,
        anchor_path=folder / "anchor",
        clock=lambda: datetime.now(UTC),
        tenants=[TENANT],
    )


async def post_all(folder: Path) -> None:
    journal = await open_journal(folder)
    try:
        for number in range(POSTS):
            post = drafts(number)
            ids = " ".join(draft.id for draft in post)
            for _ in range(TRIES):
                say(f"ASKED {ids}")
                try:
                    receipt = await journal.post(TENANT, post)
                except Refused:
                    say(f"REFUSED {ids}")
                    break
                except LedgerError:
                    say(f"UNKNOWN {ids}")
                else:
                    say(f"ACK {ids}")
                    await journal.anchored(TENANT, receipt.entries[-1].index)  # as before something is sent
                    break
    finally:
        await journal.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    try:
        asyncio.run(post_all(Path(sys.argv[1])))
    except LedgerError as error:
        say(f"STOPPED {error}")
        sys.exit(3)


if __name__ == "__main__":
    main()
