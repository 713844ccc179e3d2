"""`counterfoil init`: what a new installation starts from. It adds what is missing and never overwrites."""

from __future__ import annotations

import base64
import os
import pwd
import re
import secrets
import shlex
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import click

from ledger.checkpoint import make_key_file
from ledger.stores.people import make_secret
from receiver.commands import Wrong
from receiver.papers import SANDBOX_SENDER

LISTEN = "127.0.0.1:9877"
PUBLIC_LISTEN = "127.0.0.1:9878"
SERVICE_USER = "counterfoil"  # whom the units name where root runs `init`
PLACEHOLDER_SENDER = "whatsapp:+12025550100"
PLACEHOLDER_NUMBERS = "whatsapp:+1202555010"  # numbers that are nobody's: +1 202 555 0100 to 0109
PLACEHOLDER_ACCOUNT = "AC" + "0" * 32
PLACEHOLDER_TOKEN = "replace-me-with-the-auth-token-of-your-twilio-account"  # noqa: S105 - says that there is none
PLACEHOLDER_URL = "https://counterfoil.example.org"

NEXT_STEPS = """\
Next:
  1. counterfoil.yml: what is marked CHANGE: public_url, Twilio's account, {sender_step}people
     secrets/twilio.token: the auth token of that account
  2. policy.yml: your services and thresholds
  3. counterfoil --config {config} check      says what is still missing
  4. counterfoil --config {config} serve      systemd/ has units, nginx.conf the reverse proxy
  5. on the machine to be recovered: executor.yml, then
     counterfoil executor serve --config {folder}/executor.yml
  6. alertmanager-receiver.yml: paste it into alertmanager.yml
Keep a copy of secrets/ledger.key elsewhere: nothing can be appended to the ledger without it.
Whoever audits you needs the verifier key that `counterfoil ledger checkpoint` shows.\
"""


SANDBOX_STEPS = """\

With Twilio's sandbox:
  - counterfoil --config {config} whatsapp setup
    says which address to paste where in the console, so that answers come here
  - each person texts "join …", as console.twilio.com says, to +1 415 523 8886; again every three days, and the
    sandbox reaches only who has written to it within 24 hours
  - counterfoil --config {config} person enrol NAME --by YOU
    prints a word, by which they show that the phone is theirs
  - counterfoil --config {config} drill --person NAME
    asks them about nothing, in earnest: a tap, and the whole way has been tried\
"""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file to be written: its name in the folder, its mode, and what makes its contents."""

    name: str
    mode: int
    make: Callable[[], str]


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--sandbox", is_flag=True, help="Use Twilio's WhatsApp sandbox: no sender of your own is needed.")
def init(folder: Path, sandbox: bool) -> None:
    """Write what a new installation starts from into DIR (default: here).

    counterfoil.yml, policy.yml, executor.yml, secrets/ with tokens and the ledger's key, the receiver to paste into
    alertmanager.yml, systemd units and a reverse proxy. A file that is there already is kept as it is.
    """
    folder = folder.absolute()
    try:
        kept = write_folder(folder, sandbox=sandbox)
    except OSError as error:
        raise Wrong(f"{error.filename or folder}: {error.strerror}") from None
    for name in kept:
        click.echo(f"kept {folder / name}: it was there already")
    click.echo(f"Counterfoil's configuration stands in {folder}\n")
    config = shlex.quote(str(folder / "counterfoil.yml"))
    sender_step = "" if sandbox else "its sender, "
    click.echo(NEXT_STEPS.format(config=config, folder=shlex.quote(str(folder)), sender_step=sender_step))
    if sandbox:
        click.echo(SANDBOX_STEPS.format(config=config))


def write_folder(folder: Path, *, sandbox: bool = False) -> tuple[str, ...]:
    """Write every file that is not there. Returns the names of those that were. Raises OSError."""
    words = _words(folder, sandbox)
    sheets = [
        Sheet("counterfoil.yml", 0o640, lambda: _template("counterfoil.yml", words)),
        Sheet("policy.yml", 0o640, lambda: files("policy_rules").joinpath("starter.yml").read_text(encoding="utf-8")),
        Sheet("executor.yml", 0o640, lambda: _template("executor.yml", words)),
        Sheet("alertmanager-receiver.yml", 0o644, lambda: _template("alertmanager-receiver.yml", words)),
        Sheet("nginx.conf", 0o644, lambda: _template("nginx.conf", words)),
        Sheet("systemd/counterfoil.service", 0o644, lambda: _template("counterfoil.service", words)),
        Sheet("systemd/counterfoil-executor.service", 0o644, lambda: _template("counterfoil-executor.service", words)),
        Sheet("secrets/admin.token", 0o600, _token),
        Sheet("secrets/default.token", 0o600, _token),
        Sheet("secrets/twilio.token", 0o600, lambda: PLACEHOLDER_TOKEN + "\n"),
        Sheet("secrets/restart.whsec", 0o600, _signing_secret),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    (folder / "systemd").mkdir(exist_ok=True)
    kept = tuple(sheet.name for sheet in sheets if not _write(folder / sheet.name, sheet))
    for name, make in (("secrets/ledger.key", make_key_file), ("secrets/personal.key", make_secret)):
        try:
            make(folder / name)
        except FileExistsError:
            kept = (*kept, name)
    return kept


def _write(path: Path, sheet: Sheet) -> bool:
    """False: the file is there, and stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, sheet.mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(sheet.make())
    return True


def _words(folder: Path, sandbox: bool) -> dict[str, str]:
    """What the templates' @WORDS@ stand for."""
    script = Path(sys.executable).parent / "counterfoil"
    host = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()) or "localhost"
    return {
        "DIR": str(folder),
        "ORIGIN": f"{host}/counterfoil",
        "SENDER": SANDBOX_SENDER if sandbox else PLACEHOLDER_SENDER,
        "SENDER_NOTE": "Twilio's sandbox, the same for everybody" if sandbox else "CHANGE: your WhatsApp sender",
        "LISTEN": LISTEN,
        "PUBLIC_LISTEN": PUBLIC_LISTEN,
        "USER": pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else SERVICE_USER,
        "COUNTERFOIL": str(script) if script.is_file() else f"{sys.executable} -m receiver",
    }


def _template(name: str, words: dict[str, str]) -> str:
    text = files("receiver.commands").joinpath("templates", name).read_text(encoding="utf-8")
    for word, meaning in words.items():
        text = text.replace(f"@{word}@", meaning)
    return text


def _token() -> str:
    return secrets.token_urlsafe(32) + "\n"


def _signing_secret() -> str:
    """A secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii") + "\n"
