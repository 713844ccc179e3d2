"""`counterfoil executor serve`: the receiver of recovery webhooks on the machine that is to be recovered."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from receiver.execution.authorized import Verify
    from receiver.execution.runner_config import RunnerConfig


@click.group()
def executor() -> None:
    """The machine that is to be recovered: run what was authorized, once; and what an executor would be sent."""


@executor.command()
@click.option(
    "--config", "executor_config", type=click.Path(path_type=Path), default=Path("executor.yml"), show_default=True
)
def serve(executor_config: Path) -> None:
    """Take signed webhooks and run the commands that executor.yml allows, without a shell.

    A webhook-id that was seen is never run again, across restarts too: the log file remembers it.
    """
    from receiver.commands.proving_keys import verifier
    from receiver.execution.run_log import RunLogError
    from receiver.execution.runner_config import RunnerConfigError, load_runner_config

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load_runner_config(executor_config)
        for warning in config.warnings:
            click.echo(f"counterfoil: warning: {warning}", err=True)
        asyncio.run(_serve(config, verifier(config.proof_keys) if config.proof is not None else None))
    except (RunnerConfigError, RunLogError) as error:
        _refuse(str(error))
    except OSError as error:
        said = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        _refuse(f"cannot listen on {config.host}:{config.port}: {said}: choose another address, or stop what has it")


@executor.command()
@click.argument("name")
@click.option("--tenant", help="Whose executor it is, where several have one of that name.")
@click.option("--dry-run", is_flag=True, help="Print the exact request, with its secrets masked. Nothing is sent.")
@click.option("--action", metavar="[RULE/]NAME", help="Whose request, where several actions use it; else the first.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; else a value that the policy allows."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_obj
def check(
    config: Path,
    name: str,
    tenant: str | None,
    dry_run: bool,
    action: str | None,
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say whether the executor NAME of counterfoil.yml could be called, and with --dry-run how.

    Its name is resolved, and nothing is sent. Exit code 1 where anything is FAIL.
    """
    from receiver.commands.executor_check import examine, parse_params
    from receiver.commands.findings import FAIL

    found, request = examine(config, name, tenant, action, parse_params(params), dry_run)
    failed = any(finding.state == FAIL for finding in found)
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in found]
        click.echo(json.dumps({"ok": not failed, "findings": rows, "request": request}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(str(finding) for finding in found))
        if request is not None:
            click.echo(f"\n{request}")
    sys.exit(1 if failed else 0)


def _refuse(message: str) -> NoReturn:
    click.echo(f"counterfoil: {message}", err=True)
    sys.exit(2)


async def _serve(config: RunnerConfig, verify: Verify | None) -> None:
    from aiohttp import web

    from receiver.execution.runner import Runner

    runner = web.AppRunner(Runner(config, verify).app(), access_log=None)
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
