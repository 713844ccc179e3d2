"""A full recovery leaves no number and no message in the ledger's files; who is erased stays so, and all verifies."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from receiver.__main__ import counterfoil
from receiver.commands.demo_stage import PEOPLE
from tests.journeys.town import Town, audit_of

WORDS = "STATUS, and my grandmother is ill tonight"


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    town = Town(tmp_path / "town")
    yield town
    await town.stop()


async def run(town: Town, *words: str) -> Result:
    command = [*words, "--config", str(town.folder / "counterfoil.yml")]
    runner = CliRunner(env=dict(town.environment()))
    return await asyncio.to_thread(runner.invoke, counterfoil, command)


async def recovery(town: Town) -> None:
    """From the alert to RECOVERED, with a word from each of two people that is no answer."""
    await town.start()
    town.shop.break_()
    for who in PEOPLE:
        await town.phones.phone(who).next_message(lambda m: bool(m.buttons), timeout=60)
        await town.phones.phone(who).say(WORDS)
    await town.until("HEARD", 2)
    await town.phones.phone("tendai").tap("Approve")
    await town.until("RECOVERED")
    for who in PEOPLE:
        await town.phones.phone(who).next_message(says="Recovered", timeout=60)


def everything(town: Town) -> bytes:
    """Every byte of the ledger's files, and every entry and blob once more as SQLite reads it, escapes undone."""
    parts = [path.read_bytes() for path in town.folder.glob("counterfoil.*") if path.suffix != ".yml"]
    with closing(sqlite3.connect(f"file:{town.folder}/counterfoil.db?mode=ro", uri=True)) as store:
        for (raw,) in store.execute("SELECT bytes FROM entry"):
            parts.append(json.dumps(json.loads(raw), ensure_ascii=False).encode())
        for (data,) in store.execute("SELECT data FROM blob"):
            parts += [data, data.replace(b"\\n", b"\n").replace(b'\\"', b'"')]
    return b"\n\n".join(parts)


async def blob_of(town: Town, stage: str, name: str, person: str) -> tuple[str, bytes]:
    """Digest and readable bytes of the first such blob."""
    entry = next(entry for entry in await town.entries(stage) if entry.body["person"] == person)
    digest = next(blob.digest for blob in entry.blobs if blob.name == name)
    return digest, await town.service.journal.blob("default", digest) or b""


async def test_no_number_and_no_text_of_a_message_stands_in_the_ledgers_files(town: Town) -> None:
    await recovery(town)
    found = everything(town)
    assert b"HighErrorRate" in found  # the search finds what is there
    for address in (*PEOPLE.values(), "whatsapp:+14155238886"):
        assert address.partition("+")[2].encode() not in found
    texts = [message.body for message in town.phones.messages.values()]
    assert len(texts) >= 6
    for text in (*texts, WORDS, WORDS.partition("my ")[2]):
        assert text.encode() not in found
        assert json.dumps(text)[1:-1].encode() not in found
    # Who holds the keys reads all of it.
    assert (await blob_of(town, "HEARD", "text", "rudo"))[1].decode() == WORDS
    assert b"reference" in (await blob_of(town, "ADDRESSED", "content", "tendai"))[1]
    await town.ends_well()


async def test_who_is_erased_cannot_be_read_and_everything_verifies(town: Town) -> None:
    await recovery(town)
    before = (town.folder / "counterfoil.db.people").read_bytes()
    refused = await run(town, "person", "erase", "rudo", "--by", "root")
    assert (refused.exit_code, "is in the roster" in refused.stderr) == (1, True)
    unknown = await run(town, "person", "erase", "nobody", "--by", "root")
    assert (unknown.exit_code, "no key of nobody" in unknown.stderr) == (2, True)

    config = town.folder / "counterfoil.yml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.strip().startswith("rudo:")), encoding="utf-8")
    assert await town.service.reload()
    await town.until("ADOPTED", 2)
    listed = await run(town, "person", "list")
    assert "rudo                 readable, and no longer in the roster: can be erased" in listed.output
    done = await run(town, "person", "erase", "rudo", "--by", "root")
    assert done.exit_code == 0, done.output
    (erased,) = await town.entries("ERASED")
    assert (erased.actor, erased.body["person"]) == ("operator:root", "rudo")
    assert (await run(town, "person", "erase", "rudo", "--by", "root")).exit_code == 2

    for stage, name in (("HEARD", "text"), ("ADDRESSED", "content")):
        digest, said = await blob_of(town, stage, name, "rudo")
        assert json.loads(said) == {"erased": f"with the key of rudo, by entry {erased.index}"}
        headers = {"Authorization": f"Bearer {town.admin_token}"}
        url = f"{town.service.private_url}/blobs/{digest}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as page:
            assert (page.status, "with the key of rudo" in await page.text()) == (200, True)
    assert (await blob_of(town, "HEARD", "text", "tendai"))[1].decode() == WORDS
    assert erased.body["key"].encode() in before
    assert erased.body["key"].encode() not in (town.folder / "counterfoil.db.people").read_bytes()
    assert audit_of(town).fault is None
    rows = json.loads((await run(town, "person", "list", "--json")).output)
    assert [(row["person"], row["state"].split()[0]) for row in rows] == [
        ("tendai", "readable"), ("(stranger)", "readable"), ("rudo", "erased")
    ]  # fmt: skip

    # An older copy of the keys that comes back does not bring them back: the ledger says that they are gone.
    await town.service.stop()
    (town.folder / "counterfoil.db.people").write_bytes(before)
    await town.restart_service()
    assert b"erased" in (await blob_of(town, "HEARD", "text", "rudo"))[1]
    config.write_text("".join(lines), encoding="utf-8")  # whose numbers the export must not tell
    await town.ends_well()
    assert '"ERASED"' in (town.folder / "export/entries.jsonl").read_text(encoding="utf-8")
