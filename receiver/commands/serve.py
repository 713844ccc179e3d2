"""`counterfoil serve`: the service, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import click

from receiver.commands import Wrong

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.pass_obj
def serve(config: Path, log_level: str) -> None:
    """Run the service in the foreground.

    SIGTERM and SIGINT stop it: no new step is begun, what was sent is waited for, and the ledger is closed. SIGHUP
    reads the configuration and the policies again; a file that does not hold changes nothing.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from ledger.journal import LedgerError
    from policy_rules.loading import PolicyErrors
    from receiver.configuration import ConfigErrors

    try:
        asyncio.run(_serve(config))
    except (ConfigErrors, PolicyErrors, LedgerError) as error:
        raise Wrong(str(error)) from None


async def _serve(config: Path) -> None:
    from receiver.app import Service
    from receiver.configuration import load_config

    loaded = load_config(config, os.environ)
    service = Service(loaded, reread=lambda: load_config(config, os.environ))
    stop = asyncio.Event()
    hangups: set[asyncio.Task[bool]] = set()

    def hang_up() -> None:
        task = asyncio.ensure_future(service.reload())
        hangups.add(task)
        task.add_done_callback(hangups.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await service.start()
    try:
        click.echo(f"counterfoil listens on {service.private_url} (private) and {service.public_url} (public)")
        failed = asyncio.ensure_future(service.failed())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if failed.done():
            failed.result()
        failed.cancel()
    finally:
        await service.stop()
