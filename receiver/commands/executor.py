"""`counterfoil executor serve`: the receiver of recovery webhooks on the machine that is to be recovered."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click


@click.group()
def executor() -> None:
    """The machine that is to be recovered: run what was authorized, once, from an allow-list."""


@executor.command()
@click.option(
    "--config", "executor_config", type=click.Path(path_type=Path), default=Path("executor.yml"), show_default=True
)
def serve(executor_config: Path) -> None:
    """Take signed webhooks and run the commands that executor.yml allows, without a shell.

    A webhook-id that was seen is never run again, across restarts too: the log file remembers it.
    """
    from receiver.execution.runner_config import RunnerConfigError, load_runner_config

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load_runner_config(executor_config)
    except RunnerConfigError as error:
        click.echo(f"counterfoil: {error}", err=True)
        sys.exit(2)
    try:
        asyncio.run(_serve(config))
    except OSError as error:
        click.echo(f"counterfoil: cannot listen on {config.host}:{config.port}: {error.strerror}", err=True)
        sys.exit(2)


async def _serve(config: object) -> None:
    from aiohttp import web

    from receiver.execution.runner import Runner
    from receiver.execution.runner_config import RunnerConfig

    if not isinstance(config, RunnerConfig):
        raise TypeError("not a runner configuration")
    runner = web.AppRunner(Runner(config).app(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        host, port = runner.addresses[0][:2]
        click.echo(f"executor listens on http://{host}:{port}, actions: {', '.join(sorted(config.actions))}")
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
    finally:
        await runner.cleanup()
