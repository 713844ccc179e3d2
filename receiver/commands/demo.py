"""`counterfoil demo`: the main job on one machine, with nothing configured."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from receiver.commands.demo_stage import Stage

MESSAGE_SECONDS, RESTART_SECONDS, RECOVERY_SECONDS = 90.0, 90.0, 120.0  # a busy machine may starve it for half a minute


class _Late(Exception):
    """What the story waited for did not come; the message says what, and after how long."""


@click.command()
@click.option("--auto", is_flag=True, help="Unattended, told line by line; exit code 0 only if all of it held.")
@click.option("--port", type=click.IntRange(0, 65535), default=9877, show_default=True, help="Of the auditor's page.")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the demo's files in this folder."
)
def demo(auto: bool, port: int, folder: Path | None) -> None:
    """A shop breaks, a phone rings, you approve, the shop recovers, and the ledger shows who decided what.

    Nothing is configured and nothing leaves this machine (but for questions to Claude where ANTHROPIC_API_KEY is set).
    """
    logging.basicConfig(level="ERROR", format="%(levelname)s %(name)s: %(message)s")
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="counterfoil-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "counterfoil.db").exists():
            click.echo(f"counterfoil: {folder} holds the ledger of an earlier demo; give another --dir", err=True)
            sys.exit(2)
        held = asyncio.run(_run(folder.absolute(), auto, 0 if auto else port))
    sys.exit(0 if held else 1)


async def _run(folder: Path, auto: bool, port: int) -> bool:
    from receiver.commands.demo_stage import Stage

    stage = Stage(folder, port)
    try:
        await stage.start()
        if auto:
            try:
                return await _unless_it_ends(stage, _story(stage))
            except _Late as late:
                await _broken_off(stage, late)
                return False
        _addresses(stage, folder)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await _unless_it_ends(stage, stop.wait())
        click.echo("stopping")
        return True
    finally:
        await stage.stop()


async def _unless_it_ends(stage: Stage, work: Coroutine[Any, Any, bool]) -> bool:
    """What `work` gives. Raises what ends the service before, so that nobody waits for a service that is dead."""
    failed, working = asyncio.create_task(stage.service.failed()), asyncio.create_task(work)
    try:
        await asyncio.wait({failed, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and failed.done() and not failed.cancelled():  # the story's own stop cancels it
            failed.result()
        return await working
    finally:
        for task in (failed, working):
            task.cancel()
        await asyncio.gather(failed, working, return_exceptions=True)


def _addresses(stage: Stage, folder: Path) -> None:
    claude = "Claude" if stage.real_claude else "a stand-in for Claude (set ANTHROPIC_API_KEY for the real one)"
    watched = "real Prometheus and Alertmanager" if stage.monitoring.real else "stand-ins for Prometheus, Alertmanager"
    click.echo(f"Running with {watched} and {claude}.\n")
    click.echo(f"  1. the phones     {stage.phones.url}/#all")
    click.echo(f"  2. the shop       {stage.shop_url}/   press Break")
    click.echo(f"  3. the auditor    {stage.service.private_url}/   token: {stage.admin_token}")
    click.echo("\nBreak the shop, wait for the message (about 20 s), tap Approve; or wait a minute for a call.")
    click.echo(f"Files: {folder}. Ctrl-C ends it.")


@asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    """At most so long. Raises _Late, which says `otherwise`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _Late(f"{otherwise} in {seconds:g} s") from None


async def _broken_off(stage: Stage, late: _Late) -> None:
    """What was missed, and the ledger as far as it came."""
    from receiver.auditor.timeline import all_entries
    from receiver.commands.ledger.common import line_of

    entries = await all_entries(stage.service.journal, "default")
    click.echo("\nThe ledger as far as it came:")
    for entry in entries:
        click.echo(line_of(entry))
    click.echo(f"something did NOT hold: {late}")


async def _story(stage: Stage) -> bool:
    """The same story without hands. True only if every part of it held."""
    from ledger import checkpoint
    from ledger.audit import verify_store
    from ledger.reconcile import findings, trial_balance
    from receiver.auditor.timeline import all_entries
    from receiver.commands.ledger.common import line_of

    clock = asyncio.get_running_loop().time
    began = clock()

    def say(text: str) -> None:
        click.echo(f"[{clock() - began:5.1f} s] {text}")

    watched = "Prometheus and Alertmanager" if stage.monitoring.real else "stand-ins for Prometheus and Alertmanager"
    if stage.monitoring.trouble:
        say(f"not used: {stage.monitoring.trouble.splitlines()[0][:200]}")
    say(f"the service listens on {stage.service.private_url}; {watched} watch the shop at {stage.shop_url}")
    phone, journal = stage.phones.phone("tendai"), stage.service.journal
    stage.shop.break_()
    say("the shop breaks: checkout answers with errors")
    async with _within(MESSAGE_SECONDS, "no question came to tendai's phone"):
        message = await phone.next_message(lambda m: bool(m.buttons), timeout=MESSAGE_SECONDS + 1)
    say("tendai's phone:")
    for line in message.body.splitlines():
        click.echo(f"            | {line}")
    click.echo(f"            | {'   '.join(f'[{button.title}]' for button in message.buttons)}")
    await phone.tap("Approve", message)
    say("tendai taps Approve")
    async with _within(RESTART_SECONDS, "nothing restarted the shop"):
        await stage.shop.wait_restarted()
    say("the signed webhook restarted the shop; policy watches whether it helped")
    async with _within(RECOVERY_SECONDS, "policy did not declare recovery"):
        while not await journal.entries("default", stage="RECOVERED"):
            await journal.wait("default", await journal.size("default"))
    recovered = (await journal.entries("default", stage="RECOVERED"))[0]
    say(f"policy declares recovery: {recovered.reason}")
    async with _within(RECOVERY_SECONDS, "no word of the recovery came to tendai's phone"):
        await phone.next_message(says="Recovered", timeout=RECOVERY_SECONDS + 1)
    say("tendai's phone says so")
    entries = await all_entries(journal, "default")
    await stage.service.stop()
    click.echo("\nThe ledger:")
    for entry in entries:
        click.echo(line_of(entry))
    balance, found = trial_balance(entries), findings(entries)
    click.echo(f"\nThe trial balance:\n{balance}")
    settings = stage.service.loaded.settings
    public = checkpoint.load_key_file(settings.ledger.key_file).public_key()
    audit = verify_store(
        settings.ledger.path, origin=settings.ledger.origin, public=public, anchor_path=settings.ledger.anchor_file
    )[0]
    click.echo(f"\nVerification: {audit}")
    for finding in found:
        click.echo(f"finding: {finding}")
    held = audit.fault is None and balance.balanced and not found and stage.shop.restarts == 1
    click.echo("all of it held" if held else "something did NOT hold")
    return held
