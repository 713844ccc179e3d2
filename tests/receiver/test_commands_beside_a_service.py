"""Commands beside a running service: `resume` says what stays halted, `person list` who is suspended."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from receiver.__main__ import counterfoil
from receiver.app import Service
from receiver.commands.init import write_folder
from receiver.configuration import load_config
from receiver.settings import load_settings

Run = Callable[..., Awaitable[tuple[int, str]]]
OTHER = """\
  wallet:
    token: "${WALLET_TOKEN}"
    policy: policy.yml
    people: {tafara: {whatsapp: "whatsapp:+12025550109", roles: [oncall]}}
    executors: {restart: {url: "http://127.0.0.1:1/run/restart", secret_file: secrets/restart.whsec}}
"""


@pytest.fixture
async def run(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Run]:
    """Runs a command beside a service of two tenants: the exit code, and all that was printed."""
    write_folder(tmp_path)
    config = tmp_path / "counterfoil.yml"
    text = config.read_text(encoding="utf-8").replace(":9877", f":{free_port()}").replace(":9878", ":0")
    config.write_text(text + OTHER, encoding="utf-8")
    environment = {"WALLET_TOKEN": "a token that is long enough"}
    service = Service(load_config(config, environment))
    await service.start()

    async def command(*words: str) -> tuple[int, str]:
        call = ["--config", str(config), *words]
        done = await asyncio.to_thread(CliRunner(env=environment).invoke, counterfoil, call)
        return done.exit_code, done.output

    try:
        yield command
    finally:
        await service.stop()


async def test_what_stays_halted_is_said(run: Run) -> None:
    for who, tenant in (("tendai", "default"), ("rudo", "default"), ("root", "wallet")):
        code, said = await run("halt", "--by", who, "--tenant", tenant, "--reason", f"{who} looks at the database")
        assert code == 0, said
    code, said = await run("resume", "--by", "tendai", "--reason", "it is well")
    assert code == 0, said
    posted, left, others = said.splitlines()
    assert re.fullmatch(r"entry \d+: RESUMED by engineer:tendai", posted)
    assert left.startswith("still halted: entry ")
    assert left.endswith(" UTC: tendai looks at the database; somebody else than tendai must resume it")
    assert others.startswith("halted too, and resumed by --tenant wallet: entry ")
    code, said = await run("resume", "--by", "rudo", "--reason", "it is well")
    assert (code, said.splitlines()[-2]) == (0, "nothing of default is halted any more")
    code, said = await run("resume", "--by", "rudo", "--tenant", "wallet", "--reason", "it is well")
    assert (code, said.splitlines()[-1]) == (0, "nothing of wallet is halted any more")


async def test_who_is_suspended_is_listed(run: Run) -> None:
    code, said = await run("person", "suspend", "rudo", "--by", "root", "--reason", "the phone is lost")
    assert code == 0, said
    code, said = await run("person", "list")
    tendai, rudo = (line for line in said.splitlines() if line.startswith(("tendai", "rudo")))
    assert (code, tendai.endswith("(oncall)")) == (0, True)
    assert rudo.endswith("(leads); rudo is suspended: the phone is lost (`person enrol` is the way back)")
    rows = {row["person"]: row for row in json.loads((await run("person", "list", "--json"))[1])}
    assert (rows["tendai"]["suspended"], rows["tendai"]["opted_out"]) == (None, False)
    assert rows["rudo"]["suspended"] == "rudo is suspended: the phone is lost"


async def test_a_change_with_a_parameter_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    """`?tennant=wallet` would halt the tenant that nobody meant."""
    settings = load_settings(tmp_path / "counterfoil.yml", {"WALLET_TOKEN": "a token that is long enough"})
    headers = {"Authorization": f"Bearer {settings.admin_token.get_secret_value()}"}
    async with (
        aiohttp.ClientSession(f"http://{settings.listen}", headers=headers) as session,
        session.post("/api/v1/halts?tennant=wallet", json={"by": "root", "reason": "x"}) as answer,
    ):
        error = (await answer.json())["error"]
    assert (answer.status, error["message"]) == (400, "'tennant' is no parameter of this address: tenant")
    assert (await run("ledger", "show", "--stage", "HALTED"))[1] == "counterfoil: no entry there is HALTED\n"
