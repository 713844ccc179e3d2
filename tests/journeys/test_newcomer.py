"""What README tells a newcomer to do, done from the outside: init, what is marked CHANGE, check, serve, executor."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from receiver.commands.demo_stage import PROGRAM, TIMES
from receiver.demo.monitoring import Monitoring
from receiver.demo.phone import PhoneNetwork
from receiver.demo.shop import Shop
from tests.tools import find_tool

ACCOUNT = "AC" + "0" * 31 + "7"
PEOPLE = {"tendai": "whatsapp:+263771234567", "rudo": "whatsapp:+263772345678"}
SENDER = "whatsapp:+14155238886"
WAIT_SECONDS = 60.0


class Installation:
    """A folder that `init` wrote, and the processes that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, **TIMES}
        for name in ("ANTHROPIC_API_KEY", "COUNTERFOIL_CONFIG"):
            self.environment.pop(name, None)

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        for before, after in changes:
            assert before in text, f"{name} has no {before!r} to change"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")

    async def run(self, *words: str) -> tuple[int, str]:
        """A command from begin to end: its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", *words),
            cwd=self.folder.parent if not self.folder.exists() else self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    async def serve(self, stack: AsyncExitStack, *words: str) -> None:
        """A command that stays, once it says where it listens; it must end with 0 when it is told to."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", *words),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = ""
        async with asyncio.timeout(WAIT_SECONDS):
            while "listens" not in said:
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended: {said}"
                said += line

        async def end() -> None:
            process.terminate()
            out, _ = await process.communicate()
            assert process.returncode == 0, out.decode()

        stack.push_async_callback(end)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    yield shop
    await shop.stop()


async def test_readme_leads_to_a_recovery(
    tmp_path: Path, shop: Shop, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if (program := find_tool("prometheus")) is not None:
        monkeypatch.setenv("COUNTERFOIL_TOOLS", str(program.parent))
    place = Installation(tmp_path / "counterfoil")
    code, said = await place.run("init", str(place.folder))
    assert code == 0, said
    private, public, executor = free_port(), free_port(), free_port()
    shop_url = await shop.start("127.0.0.1")
    async with AsyncExitStack() as stack:
        phones = PhoneNetwork(account_sid=ACCOUNT, auth_token="f" * 32, sender=SENDER, people=PEOPLE)
        twilio = await phones.start("127.0.0.1")
        stack.push_async_callback(phones.stop)
        phones.message_url = f"http://127.0.0.1:{public}/twilio/message"
        token = (place.folder / "secrets/default.token").read_text(encoding="utf-8").strip()
        monitoring = Monitoring(
            folder=tmp_path / "monitoring",
            shop_url=shop_url,
            webhook_url=f"http://127.0.0.1:{private}/alertmanager",
            webhook_token=token,
        )
        await monitoring.start()
        stack.push_async_callback(monitoring.stop)

        # 1 and 2 of what `init` says: what is marked CHANGE. The rest is this machine's ports and stand-ins.
        (place.folder / "secrets/twilio.token").write_text("f" * 32 + "\n", encoding="utf-8")
        place.edit(
            "counterfoil.yml",
            ("https://counterfoil.example.org", f"http://127.0.0.1:{public}"),
            ("AC" + "0" * 32, ACCOUNT),
            ("whatsapp:+12025550100", f'{SENDER}"\n  base_url: "{twilio}'),
            ("whatsapp:+12025550101", PEOPLE["tendai"]),
            ("whatsapp:+12025550102", PEOPLE["rudo"]),
            (":9877", f":{private}"),
            (":9878", f":{public}"),
            (":9879", f":{executor}"),
            ("http://127.0.0.1:9093", monitoring.alertmanager_url),
            ("http://127.0.0.1:9090", monitoring.prometheus_url),
        )
        command = f'[{sys.executable}, "-c", "{PROGRAM}", "{shop_url}/restart", "{{service}}"]'
        place.edit(
            "executor.yml", (":9879", f":{executor}"), ('[/usr/bin/systemctl, restart, "{service}.service"]', command)
        )
        code, said = await place.run("check")
        assert (code, "FAIL" in said, "placeholder" in said, "example" in said) == (0, False, False, False), said

        await place.serve(stack, "executor", "serve", "--config", "executor.yml")
        await place.serve(stack, "serve")
        if monitoring.real:
            code, said = await place.run("check", "--online")
            assert code == 0, said
        shop.break_()
        await phones.phone("tendai").next_message(lambda m: bool(m.buttons), timeout=WAIT_SECONDS)
        code, said = await place.run("incident", "list")
        assert (code, "checkout" in said) == (0, True), said
        assert await phones.phone("tendai").tap("Approve") in (200, 204)
        await phones.phone("tendai").next_message(says="Recovered", timeout=WAIT_SECONDS)
        assert shop.restarts == 1
        incident = next(word for word in said.split() if word.startswith("inc-"))
        code, said = await place.run("incident", "show", incident)
        assert code == 0, said
        for stage in ("DETECTED", "PROPOSED", "APPROVED", "AUTHORIZED", "DISPATCHED", "EXECUTED", "RECOVERED"):
            assert stage in said, said
        code, said = await place.run("halt", "--by", "tendai", "--reason", "the database is being moved")
        assert code == 0, said
        code, said = await place.run("resume", "--by", "tendai", "--reason", "moved")
        assert (code, "somebody else" in said) == (1, True), said
        code, said = await place.run("resume", "--by", "rudo", "--reason", "moved")
        assert code == 0, said
        code, said = await place.run("ledger", "reconcile")
        assert code == 0, said
    # Everything has ended with 0; the ledger is whole, and says so without the service.
    code, said = await place.run("ledger", "verify")
    assert (code, said.startswith("OK: ")) == (0, True), said
