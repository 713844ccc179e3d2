"""One file a command group. What they share stands here: where the configuration is, and how a wrong one is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors

Command = TypeVar("Command", bound=Callable[..., Any])


class Wrong(click.ClickException):
    """The call or the configuration is wrong: exit code 2, and lines that say what, where and what to do."""

    exit_code = 2


def config_option(command: Command) -> Command:
    """`--config FILE`, or COUNTERFOIL_CONFIG, or counterfoil.yml; the command's parameter is `config: Path`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="COUNTERFOIL_CONFIG",
        default=Path("counterfoil.yml"),
        show_default=True,
        show_envvar=True,
        help="The configuration.",
    )(command)


def settings_or_exit(config: Path) -> Settings:
    """The configuration, or Wrong with every problem on a line of its own."""
    try:
        return load_settings(config, os.environ)
    except SettingsErrors as error:
        raise Wrong(str(error)) from None
