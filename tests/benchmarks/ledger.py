"""The ledger beside a bare disk and beside Redis: `python -m tests.benchmarks.ledger`; `--help` has its options.

Posts a second with 1 and 32 writers against write and fdatasync of as many bytes, and, where redis-server is on PATH,
against RPUSH under `appendfsync always` with as many clients: redis-py in threads, by which the aim was set; redis-py
in one event loop; and bare sockets, as fast as Python can ask and no client of anybody. Bytes on disk for each byte of
an entry; `ledger verify`, its time and its memory; an inclusion proof; the start with open incidents, without a memo of
the fold and from one, and its memory (starting.py). It is made of whole incidents (histories.py). Nothing is asserted:
machines differ, ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path

import redis.asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint, merkle
from ledger.entry import Draft
from ledger.stores.sqlite import SqliteJournal
from tests.benchmarks import histories

ORIGIN, TENANT = "benchmark.example", "default"
PROBE_WRITES = 500
VERIFY = """
import os, resource, sys, time
from pathlib import Path
from ledger import checkpoint
from ledger.audit import verify_store

def look(tenant, entries):
    if entries % 10_000 == 0:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            words = Path(f"/proc/{pid}/status").read_text().split()
            if "VmHWM:" in words:  # else it has ended
                peaks[pid] = int(words[words.index("VmHWM:") + 1])

path, key, peaks = Path(sys.argv[1]), checkpoint.load_key_file(Path(sys.argv[2])), {}
began = time.perf_counter()
(audit,) = verify_store(path, origin=sys.argv[3], public=key.public_key(), anchor_path=None, tell=look)
if audit.fault is not None:
    raise SystemExit(str(audit))
took = time.perf_counter() - began
here, largest = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
beside = [largest, *sorted(peaks.values())[:-1]]  # the largest may have grown since it was looked at
print(took, here, sum(beside), len(peaks))
"""


def draft(number: int) -> Draft:
    """An entry of some 400 bytes, as most of them are."""
    text = (
        f"the look number {number} found error_ratio 0.31 >= 0.05 and p95_seconds 0.7 < 2.0, as the one before it did"
    )
    return Draft(id=f"note:{number}", stage="NOTED", actor="system", reason=text, body={"kind": "note", "text": text})


async def opened(
    folder: Path, key: Ed25519PrivateKey, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> SqliteJournal:
    return await SqliteJournal.open(
        folder / "ledger.db",
        origin=ORIGIN,
        key=key,
        anchor_path=folder / "anchor",
        clock=clock,
        tenants=[TENANT],
    )


async def per_second(writers: int, each: int, write: Callable[[int], Awaitable[object]]) -> float:
    """How often `write` is done in a second by `writers` that each do it `each` times, one after the other."""

    async def writer(first: int) -> None:
        for number in range(first, first + each):
            await write(number)

    began = time.perf_counter()
    await asyncio.gather(*(writer(n * each) for n in range(writers)))
    return writers * each / (time.perf_counter() - began)


def fdatasync_rate(folder: Path, size: int) -> float:
    """Appends of `size` bytes a second, each with its fdatasync."""
    descriptor = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(PROBE_WRITES):
            os.write(descriptor, b"x" * size)
            os.fdatasync(descriptor)
        return PROBE_WRITES / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[Path | None]:
    """The socket of a Redis under `appendfsync always`; None where there is no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    socket = folder / "redis.sock"
    words = ["--port", "0", "--unixsocket", str(socket), "--appendonly", "yes", "--appendfsync", "always"]
    words += ["--dir", str(folder), "--save", "", "--daemonize", "no"]
    process = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        # "Ready to accept connections", or "The server is now ready to accept connections at" a socket.
        while b"eady to accept" not in (line := await process.stdout.readline()):
            if not line:
                raise SystemExit("redis-server ended before it was ready")
        yield socket
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def threads_rate(socket: Path, size: int, clients: int, each: int) -> float:
    """RPUSH of `size` bytes a second by clients of redis-py, each in a thread of its own, waiting for each answer."""
    pool = [redis.Redis(unix_socket_path=str(socket)) for _ in range(clients)]

    def push(client: redis.Redis) -> None:
        for _ in range(each):
            client.execute_command("RPUSH", "l", b"x" * size)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(redis.Redis.ping, pool))
        began = time.perf_counter()
        list(threads.map(push, pool))
        took = time.perf_counter() - began
    for client in pool:
        client.close()
    return clients * each / took


async def redis_rate(socket: Path, size: int, clients: int, each: int) -> float:
    """The same by clients of redis-py in this process's event loop, each on a connection of its own."""
    pool = [redis.asyncio.Redis(unix_socket_path=str(socket)) for _ in range(clients)]
    try:
        for client in pool:
            await client.ping()

        async def push(number: int) -> None:
            await pool[number // each].execute_command("RPUSH", "l", b"x" * size)

        return await per_second(clients, each, push)
    finally:
        for client in pool:
            await client.aclose()


async def socket_rate(socket: Path, size: int, clients: int, each: int) -> float:
    """The same by bare sockets: the bytes of the command, and a line of the answer that nobody reads."""
    command = b"*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$%d\r\n%s\r\n" % (size, b"x" * size)
    pool = [await asyncio.open_unix_connection(str(socket)) for _ in range(clients)]

    async def push(number: int) -> None:
        reader, writer = pool[number // each]
        writer.write(command)
        await reader.readline()

    try:
        return await per_second(clients, each, push)
    finally:
        for _, writer in pool:
            writer.close()
            await writer.wait_closed()


async def posting(folder: Path, key: Ed25519PrivateKey, each: int) -> None:
    for writers in (1, 32):
        place = folder / f"writers-{writers}"
        place.mkdir()
        journal = await opened(place, key)

        async def post(number: int, journal: SqliteJournal = journal) -> object:
            return await journal.post(TENANT, [draft(number)])

        size = len((await journal.post(TENANT, [draft(10**9)])).entries[0].raw)
        before = fdatasync_rate(place, size)
        rate = await per_second(writers, each, post)
        probe = (before + fdatasync_rate(place, size)) / 2
        await journal.close()
        print(f"posts with {writers} writer(s): {rate:.0f}/s, {rate / probe:.2f} of fdatasync's {probe:.0f}/s", end="")
        async with redis_server(place) as socket:
            if socket is None:
                print("; no redis-server here", end="")
            else:
                for name, found in (
                    ("in threads", await asyncio.to_thread(threads_rate, socket, size, writers, each)),
                    ("in one loop", await redis_rate(socket, size, writers, each)),
                    ("by bare sockets", await socket_rate(socket, size, writers, each)),
                ):
                    print(f", {rate / found:.2f} of Redis's {found:.0f}/s {name}", end="")
        print(" (aim 0.3 of fdatasync)" if writers == 1 else " (aim 1.2 of Redis in threads)")


async def reading(folder: Path, key_file: Path, entries: int, open_incidents: int) -> None:
    place = folder / "large"
    place.mkdir()
    key = checkpoint.load_key_file(key_file)
    outage, clock = await histories.Outage.play(), histories.Clock()
    await (await opened(place, key, clock)).close()
    wanted = histories.posts(outage, clock, 1, entries, open_incidents)
    histories.write(place / "ledger.db", ORIGIN, TENANT, key, clock, wanted)
    on_disk = sum(path.stat().st_size for path in place.iterdir() if path.name.startswith("ledger.db"))
    with closing(sqlite3.connect(place / "ledger.db")) as store:
        ((entries, size),) = store.execute("SELECT count(*), sum(length(CAST(bytes AS BLOB))) FROM entry")
        ((beside,),) = store.execute("SELECT coalesce(sum(length(data)), 0) FROM blob")
        ((signed,),) = store.execute("SELECT count(*) FROM checkpoint")
    print(f"{entries} entries of {size / entries:.0f} bytes and {beside / entries:.0f} in blobs, ", end="")
    print(f"under {signed} checkpoints: ", end="")
    print(f"bytes on disk: {on_disk / (size + beside):.2f} for each byte of these (aim under 2)")
    words = [sys.executable, "-m", "tests.benchmarks.starting", str(place), str(key_file), ORIGIN, TENANT]
    for how in ("without a memo, which it writes", "from the memo (aim 3 s for 1,000,000)"):
        result = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
        opening, beginning, held, standing, peak = (float(word) for word in result.stdout.split())
        print(
            f"start on {entries} entries, {standing:.0f} incidents open, {how}: {opening + beginning:.2f} s: ", end=""
        )
        print(f"open {opening:.2f} s, begin {beginning:.2f} s, {held:.0f} entries held, {peak / 1024:.0f} MB")
    journal, waits = await opened(place, key), []
    for number in range(20):
        began = time.perf_counter()
        await journal.tree_hashes(TENANT, merkle.inclusion_ranges(number * entries // 20, entries))
        waits.append(time.perf_counter() - began)
    print(f"an inclusion proof: median {statistics.median(waits) * 1000:.1f} ms, the first {waits[0]:.2f} s (aim 5 ms)")
    await journal.close()
    words = [sys.executable, "-c", VERIFY, str(place / "ledger.db"), str(key_file), ORIGIN]
    result = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    seconds, here, beside, processes = (float(word) for word in result.stdout.split())
    memory = f"{here / 1024:.0f} MB, and {beside / 1024:.0f} MB in {processes:.0f} processes beside"
    print(f"verify: {seconds:.1f} s, {entries / seconds:.0f} entries/s, {memory} ", end="")
    print("(aim 8 s and 300 MB for 1,000,000)")


async def measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key_file = folder / "ledger.key"
        checkpoint.make_key_file(key_file)
        await posting(folder, checkpoint.load_key_file(key_file), arguments.posts)
        await reading(folder, key_file, arguments.entries, arguments.open)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of this process: {peak:.0f} MB")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger", description=__doc__)
    parser.add_argument("--posts", type=int, default=300, help="posts of each writer (default 300)")
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the ledger that is verified")
    parser.add_argument("--open", type=int, default=1000, help="incidents that are open there (default 1000)")
    asyncio.run(measure(parser.parse_args(words)))


if __name__ == "__main__":
    main()
