"""A start that must not happen: one line that says what is wrong, where, and what to do; exit 2; no file is changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from receiver.app import Service
from receiver.commands.init import write_folder
from receiver.configuration import load_config

SECONDS = 60


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose service has run once."""
    folder = tmp_path_factory.mktemp("lived") / "installation"
    write_folder(folder)
    edit(folder / "counterfoil.yml", ":9877", ":0")
    edit(folder / "counterfoil.yml", ":9878", ":0")

    async def live() -> None:
        service = Service(load_config(folder / "counterfoil.yml", {}))
        await service.start()
        await service.stop()

    asyncio.run(live())
    return folder


@pytest.fixture
def installation(lived_in: Path, tmp_path: Path) -> Path:
    shutil.copytree(lived_in, tmp_path / "installation")
    return tmp_path / "installation"


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text, before
    path.write_text(text.replace(before, after), encoding="utf-8")


def serve(folder: Path, *, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """`counterfoil serve` until it ends by itself."""
    return call(folder, "serve", limit=limit)


def call(folder: Path, *words: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command until it ends by itself. limit: the largest file that it may write, in bytes."""

    def confine() -> None:
        import resource

        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return subprocess.run(
        [sys.executable, "-m", "receiver", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        preexec_fn=confine,  # no thread runs here
    )


def contents(folder: Path) -> dict[str, str]:
    """What stands in the folder: everything but SQLite's side files and the empty lock files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def no_key(folder: Path) -> None:
    (folder / "secrets/ledger.key").unlink()


def another_key(folder: Path) -> None:
    write_folder(folder.parent / "other")
    shutil.copy(folder.parent / "other/secrets/ledger.key", folder / "secrets/ledger.key")


def no_token(folder: Path) -> None:
    (folder / "secrets/default.token").unlink()


def another_origin(folder: Path) -> None:
    text = (folder / "counterfoil.yml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.strip().startswith("origin:"))
    edit(folder / "counterfoil.yml", line, "  origin: somebody.else.example")


def another_anchor(folder: Path) -> None:
    """The anchor is ahead of the ledger: the ledger is an older copy."""

    async def go_on() -> None:
        service = Service(load_config(folder / "counterfoil.yml", {}))
        await service.start()
        for _ in range(3):
            await service._changes("default").halt("tendai", "a reason")  # type: ignore[union-attr]
        await service.stop()

    saved = {name: (folder / name).read_bytes() for name in ("counterfoil.db",)}
    asyncio.run(go_on())
    for name, data in saved.items():
        (folder / name).write_bytes(data)
        for side in ("-wal", "-shm"):
            (folder / f"{name}{side}").unlink(missing_ok=True)


def no_database(folder: Path) -> None:
    (folder / "counterfoil.db").write_bytes(b"this is no database, however long it may be" * 100)


def a_changed_entry(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "counterfoil.db")) as store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {name}")
        store.execute("UPDATE entry SET bytes = replace(bytes, 'adopt', 'adapt') WHERE n = 1")
        store.commit()


def a_wrong_policy(folder: Path) -> None:
    edit(folder / "policy.yml", "error_ratio >= 0.05", "error_ration >= 0.05")


def the_same_version_otherwise(folder: Path) -> None:
    edit(folder / "policy.yml", "error_ratio >= 0.05", "error_ratio >= 0.06")


def no_policy(folder: Path) -> None:
    (folder / "policy.yml").unlink()


def unknown_key(folder: Path) -> None:
    edit(folder / "counterfoil.yml", "admin_token_file", "admin_tokn_file")


STARTS: list[tuple[Callable[[Path], None], str]] = [
    (no_key, "ledger.key"),
    (another_key, "key"),
    (no_token, "default.token"),
    (another_origin, "somebody.else.example"),
    (another_anchor, "anchor"),
    (no_database, "counterfoil.db"),
    (a_changed_entry, "counterfoil.db"),
    (a_wrong_policy, "did you mean 'error_ratio'"),
    (the_same_version_otherwise, "version"),
    (no_policy, "policy.yml"),
    (unknown_key, "did you mean 'admin_token_file'"),
]


@pytest.mark.parametrize(("spoil", "says"), STARTS, ids=[spoil.__name__ for spoil, _ in STARTS])
def test_a_start_that_must_not_happen(installation: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(installation)
    before = contents(installation)
    ended = serve(installation)
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert says in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr
    after = contents(installation)
    if spoil is the_same_version_otherwise:
        # The ledger itself is whole and was opened: the anchor stands at the same place, written once more.
        before.pop("counterfoil.anchor.default")
        after.pop("counterfoil.anchor.default")
    assert after == before


def live(folder: Path) -> None:
    async def once() -> None:
        service = Service(load_config(folder / "counterfoil.yml", {}))
        await service.start()
        await service.stop()

    asyncio.run(once())


def test_a_lost_key_of_the_ledger_is_put_back_or_another_ledger_begun(installation: Path) -> None:
    """A fresh key would be refused, so no message leads to one while the ledger stands."""
    no_key(installation)
    said = serve(installation).stderr
    assert "put it back from where you keep its copy" in said
    assert "counterfoil init" not in said
    write_folder(installation)  # whoever runs `init` all the same
    assert serve(installation).returncode == 2
    edit(installation / "counterfoil.yml", "sqlite:///counterfoil.db", "sqlite:///next.db")
    edit(installation / "counterfoil.yml", "counterfoil.anchor", "next.anchor")
    config = installation / "counterfoil.yml"
    origin = next(line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("  origin:"))
    edit(config, origin, "  origin: the.next.one")
    live(installation)


def test_a_lost_personal_key_is_put_back_or_what_it_opened_given_up(installation: Path) -> None:
    kept = installation / "secrets/personal.key"
    kept.unlink()
    said = serve(installation).stderr
    assert "put it back from where you keep its copy" in said
    assert "move that file away and run `counterfoil init`" in said
    write_folder(installation)
    assert "put back the personal_key_file" in serve(installation).stderr
    (installation / "counterfoil.db.people").rename(installation / "unreadable.people")
    live(installation)


@pytest.mark.parametrize("name", ["ledger", "personal"])
def test_a_key_that_is_none_is_put_back(installation: Path, name: str) -> None:
    (installation / f"secrets/{name}.key").write_text("this is no key", encoding="utf-8")
    ended = serve(installation)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"counterfoil: secrets/{name}.key: no ")
    assert ended.stderr.endswith("as `counterfoil init` writes one: put it back from where you keep its copy\n")
    assert ended.stderr.count("\n") == 1


REFUSED_LEDGERS = [another_key, another_origin, another_anchor, no_database, a_changed_entry]


@pytest.mark.parametrize("spoil", REFUSED_LEDGERS, ids=[spoil.__name__ for spoil in REFUSED_LEDGERS])
def test_check_says_what_a_start_would_say_and_changes_nothing(
    installation: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(installation)
    before = contents(installation)
    checked = call(installation, "check")
    assert contents(installation) == before
    assert checked.returncode == 1, checked
    refused = serve(installation).stderr.removeprefix("counterfoil: ").rstrip("\n")
    (failed,) = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
    assert failed == f"FAIL  ledger         {refused}" or spoil is no_database


def test_check_says_what_cannot_be_written(lived_in: Path) -> None:
    """Root may write anywhere, so it gives up being root first, once all is imported and read."""
    code = (
        "import os, pathlib\n"
        "from receiver.commands import checks_of_ledger\n"
        "from receiver.settings import load_settings\n"
        "settings = load_settings(pathlib.Path('counterfoil.yml'), {})\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "for found in checks_of_ledger.writable(settings): print(found)\n"
    )

    def said(folder: Path) -> str:
        words = [sys.executable, "-c", code]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout

    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # pytest's own folder is closed to others
        Path(place).chmod(0o755)
        folder = Path(place) / "installation"
        shutil.copytree(lived_in, folder)
        for path in (folder, *folder.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
        assert said(folder) == ""
        folder.chmod(0o555)
        (folder / "counterfoil.db").chmod(0o444)
        spoilt = f"FAIL  ledger         {folder}, {folder}/counterfoil.db cannot be written; give it to whoever runs"
        assert said(folder).startswith(spoilt)
        folder.chmod(0o755)


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use(installation: Path) -> None:
    with listening() as port:
        edit(installation / "counterfoil.yml", "public_listen: 127.0.0.1:0", f"public_listen: 127.0.0.1:{port}")
        ended = serve(installation)
    assert ended.returncode == 2, ended
    said = "something else listens there: stop it, or choose another port"
    assert ended.stderr.splitlines()[-1] == f"counterfoil: public_listen: 127.0.0.1:{port}: {said}"


def test_two_services_on_one_ledger(installation: Path) -> None:
    async def both() -> subprocess.CompletedProcess[str]:
        service = Service(load_config(installation / "counterfoil.yml", {}))
        await service.start()
        try:
            return await asyncio.to_thread(serve, installation)
        finally:
            await service.stop()

    ended = asyncio.run(both())
    assert ended.returncode == 2, ended
    assert "another service governs this tenant: stop it first" in ended.stderr


def test_a_disk_that_is_full_at_the_start(installation: Path) -> None:
    """Nothing can be written: the start says so, and the ledger is as it was."""
    edit(installation / "policy.yml", 'version: "1.0.0"', 'version: "1.0.1"')  # so that something must be written
    ended = serve(installation, limit=4096)
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2, ended.stderr

    async def size() -> int:
        service = Service(load_config(installation / "counterfoil.yml", {}))
        await service.start()
        found = await service.journal.size("default")
        await service.stop()
        return found

    assert asyncio.run(size()) > 1
