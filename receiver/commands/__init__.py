"""One file, or one folder, a command group. What they share stands here: how a wrong configuration is told.

A command gets the configuration's path by `@click.pass_obj`; `--config` is given to each by `receiver.__main__`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from receiver.settings import Settings, load_settings
from receiver.settings_values import SettingsErrors


class Wrong(click.ClickException):
    """The call or the configuration is wrong: exit code 2, and lines that say what, where and what to do."""

    exit_code = 2


def why(error: OSError) -> str:
    """What the system says, without its number, and of which file."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {said}" if error.filename else said


def settings_or_exit(config: Path) -> Settings:
    """The configuration, or Wrong with every problem on a line of its own."""
    try:
        return load_settings(config, os.environ)
    except SettingsErrors as error:
        raise Wrong(str(error)) from None
