"""The command line. A command's module is imported when that command is called, so that help and errors are fast."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import click

PACKAGES = ("receiver", "policy_rules", "ledger")

# name → (module, object, what --help says); the help stands here so that listing imports nothing
COMMANDS = {
    "init": ("receiver.commands.init", "init", "Write a configuration, a policy, secrets and keys to start from."),
    "check": ("receiver.commands.check", "check", "Say what is right and wrong with a configuration."),
    "serve": ("receiver.commands.serve", "serve", "Run the service."),
    "demo": ("receiver.commands.demo", "demo", "Run the whole story on this machine, with nothing configured."),
    "executor": ("receiver.commands.executor", "executor", "Run recovery webhooks on the machine to be recovered."),
    "policy": ("receiver.commands.policy", "policy", "Check and show policies."),
    "incident": ("receiver.commands.incident", "incident", "List, show and close incidents."),
    "diagnosis": ("receiver.commands.diagnosis", "diagnosis", "Show what would be sent to Claude."),
    "drill": ("receiver.commands.drill", "drill", "Ask a person about nothing, in earnest."),
    "halt": ("receiver.commands.halt", "halt", "Stop all dispatch: the kill switch."),
    "resume": ("receiver.commands.halt", "resume", "End a halt, as another person than the one who halted."),
    "person": ("receiver.commands.person", "person", "List people, and erase what was written to and by one."),
    "messages": ("receiver.commands.messages", "messages", "Say how many messages went out, and what they cost."),
    "whatsapp": ("receiver.commands.whatsapp", "whatsapp", "Set Twilio up, and have the messages approved."),
    "duty": ("receiver.commands.duty", "duty", "Say who is on duty, by rotations, overrides and handovers."),
    "ledger": ("receiver.commands.ledger", "ledger", "Verify, reconcile and show the ledger."),
}
WITHOUT_CONFIGURATION = frozenset({"init", "demo"})


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        if cmd_name not in WITHOUT_CONFIGURATION:
            accept_config(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


def accept_config(command: click.Command) -> None:
    """Give `command`, or each command of that group, `--config FILE`, unless it has one of its own.

    The path is the context's object: a command that wants it says `@click.pass_obj`.
    """
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accept_config(below)
    elif not any("--config" in parameter.opts for parameter in command.params):
        command.params.append(
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                expose_value=False,
                callback=_choose,
                help="The configuration.  [env: COUNTERFOIL_CONFIG; default: counterfoil.yml]",
            )
        )


def _choose(ctx: click.Context, _: click.Parameter, config: Path | None) -> None:
    if config is not None:
        ctx.obj = config


def _version() -> str:
    try:
        return version("counterfoil")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="counterfoil", message="%(prog)s %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="COUNTERFOIL_CONFIG",
    default=Path("counterfoil.yml"),
    show_default=True,
    show_envvar=True,
    help="The configuration; may also stand after the command.",
)
@click.pass_context
def counterfoil(ctx: click.Context, config: Path) -> None:
    """Counterfoil: an Alertmanager receiver that governs recovery.

    Policy decides, AI explains, a human authorizes, a webhook executes, a ledger records.
    """
    ctx.obj = config
    os.environ["COUNTERFOIL_CONFIG"] = str(config)  # for a command that has a --config of its own


def strangers() -> str | None:
    """Why the three packages are not one distribution's, or None. Other distributions install a `ledger` too."""
    places = {}
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            return f"the package {name} is missing: install counterfoil into a virtual environment of its own"
        places[name] = Path(spec.origin).resolve().parent.parent
    if len(set(places.values())) == 1:
        return None
    where = ", ".join(f"{name} in {place}" for name, place in places.items())
    return f"these packages belong to different installations: {where}; use a virtual environment of its own"


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 a check failed, 2 the call or the configuration is wrong."""
    sys.exit(_run())


def _run() -> int:
    wrong = strangers()
    if wrong is not None:
        return _say(wrong, 2)
    try:
        code = counterfoil.main(prog_name="counterfoil", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx is not None else "counterfoil"
        return _say(f"{error.format_message().rstrip('.')} (see {place} --help)", error.exit_code)
    except click.ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `counterfoil ledger show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _say(said or f"{type(error).__name__}, of which the system says no more", 2)
    return code if isinstance(code, int) else 0


def _say(message: str, code: int) -> int:
    click.echo(f"counterfoil: {message}", err=True)
    return code


if __name__ == "__main__":
    main()
