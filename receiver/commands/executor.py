"""`counterfoil executor serve`: the receiver of recovery webhooks on the machine that is to be recovered."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from receiver.execution.runner_config import RunnerConfig


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
    from receiver.execution.run_log import RunLogError
    from receiver.execution.runner_config import RunnerConfigError, load_runner_config

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load_runner_config(executor_config)
        for warning in config.warnings:
            click.echo(f"counterfoil: warning: {warning}", err=True)
        asyncio.run(_serve(config))
    except (RunnerConfigError, RunLogError) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"cannot listen on {config.host}:{config.port}: {error.strerror}")


def _refuse(message: str) -> NoReturn:
    click.echo(f"counterfoil: {message}", err=True)
    sys.exit(2)


async def _serve(config: RunnerConfig) -> None:
    from aiohttp import web

    from receiver.execution.runner import Runner

    runner = web.AppRunner(Runner(config).app(), access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, config.host, config.port).start()
        host, port = runner.addresses[0][:2]
        address = f"[{host}]" if ":" in host else host
        click.echo(f"executor listens on http://{address}:{port}, actions: {', '.join(sorted(config.actions))}")
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
    finally:
        await runner.cleanup()
