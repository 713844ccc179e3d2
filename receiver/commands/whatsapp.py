"""`counterfoil whatsapp`: what must be set at Twilio before anybody can be asked, and how it stands there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from receiver.authorization import linting
from receiver.authorization.account import METHOD, Account, AccountError, Callback
from receiver.authorization.contents import APPROVED, MISSING, OTHER_WORDS, UNSUBMITTED, Contents, Standing
from receiver.authorization.templates import TEMPLATES, templates_for, without_buttons
from receiver.commands.client import fail
from receiver.commands.ledger.common import json_option, settings_of
from receiver.settings import Settings

MESSAGE_PATH = "/twilio/message"
T = TypeVar("T")
WHERE_TO_PASTE = {
    "sandbox": "console.twilio.com: Messaging, Try it out, Send a WhatsApp message, Sandbox settings, "
    '"When a message comes in"',
    "service": 'console.twilio.com: Messaging, Services, yours, Integration, "Send a webhook"',
    "sender": 'console.twilio.com: Messaging, Senders, WhatsApp senders, yours, "Webhook URL for incoming messages"',
}
NO_SANDBOX_API = "Twilio's sandbox has no API for this address: paste it into the console once"
STATUS_CALLBACKS = "Status callbacks need no setting: each message that is sent names its own."
WAITING = {"received", "pending", "in_appeal", "under_review"}


@click.group()
def whatsapp() -> None:
    """What must be set at Twilio, and how it stands there.

    Begin with `setup`, which says where people's answers must be sent to. In Twilio's sandbox that is all. With a
    sender of your own, `templates push` then asks WhatsApp to approve the messages, and `templates status` tells when
    it has. contrib/first-hour.md takes you through it.
    """


@whatsapp.command()
@click.option("--set", "setting", is_flag=True, help="Also set it at Twilio, and read it back.")
@json_option
@click.pass_obj
@click.pass_context
def setup(ctx: click.Context, config: Path, setting: bool, as_json: bool) -> None:
    """Print where people's answers must go, and how that is set at Twilio now.

    With --set it is set there: for a messaging service (MG…) and for a WhatsApp sender of yours. The sandbox's address
    cannot be set through Twilio's API, so what to paste is printed, and where. Exit code 1 where Twilio sends answers
    elsewhere, or where that cannot be known.
    """
    settings = settings_of(config)
    if not settings.public_url:
        click.echo("nothing to set up: without public_url answers are read from Twilio's list (twilio.poll)")
        return
    wanted = settings.public_url.rstrip("/") + MESSAGE_PATH
    callback = _ask(settings, lambda account: _set_up(account, wanted, setting=setting))
    is_set = callback.is_set_to(wanted)
    known = callback.kind != "sandbox"
    where = WHERE_TO_PASTE[callback.kind]
    if as_json:
        answer = {
            "wanted": wanted,
            "method": METHOD,
            "kind": callback.kind,
            "is_set": is_set if known else None,
            "found": callback.url or None,
            "found_method": callback.method or None,
            "where": where,
            "sender_state": callback.state or None,
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        for line in _told(callback, wanted, setting=setting):
            click.echo(line)
    ctx.exit(0 if is_set or (not known and not setting) else 1)


async def _set_up(account: Account, wanted: str, *, setting: bool) -> Callback:
    if setting and not account.sandbox:
        before = await account.callback()
        if not before.is_set_to(wanted):
            await account.set_callback(wanted)
    return await account.callback()


def _told(callback: Callback, wanted: str, *, setting: bool) -> Iterable[str]:
    yield f"When a message comes in:  {wanted}  (HTTP {METHOD})"
    if callback.kind == "sandbox":
        yield f"  {NO_SANDBOX_API}:"
        yield f"  {WHERE_TO_PASTE['sandbox']}"
    elif callback.is_set_to(wanted):
        yield f"  set at Twilio, as read back from the {callback.kind}"
    else:
        there = f"{callback.url} (HTTP {callback.method})" if callback.url else callback.state or "nothing"
        how = "it was set, and Twilio says otherwise:" if setting else "set it with --set, or paste it at"
        yield f"  NOT set at Twilio, which has: {there}"
        yield f"  {how} {WHERE_TO_PASTE[callback.kind]}"
    if callback.kind == "sender" and callback.state:
        yield f"The sender is {callback.state}."
    yield STATUS_CALLBACKS


@whatsapp.group()
def templates() -> None:
    """The texts of messages, which WhatsApp must approve before they reach who has not written within a day."""


@templates.command()
@json_option
@click.pass_context
def lint(ctx: click.Context, as_json: bool) -> None:
    """Check each template against WhatsApp's rules, without asking anybody. Exit code 1 where one breaks them."""
    every = (*TEMPLATES, *(without_buttons(template) for template in TEMPLATES if template.buttons))
    found = {template.friendly_name: linting.problems(template) for template in every}
    missing = linting.missing()
    if as_json:
        click.echo(json.dumps({"templates": found, "missing": missing}, indent=2))
    else:
        for name, problems in found.items():
            click.echo(f"{'FAIL' if problems else 'ok':<4}  {name}{''.join(f'; {text}' for text in problems)}")
        for name in missing:
            click.echo(f"FAIL  {name}; there is none")
    ctx.exit(1 if missing or any(found.values()) else 0)


@templates.command()
@json_option
@click.pass_obj
@click.pass_context
def status(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Say of each template and language whether WhatsApp approved it. Exit code 1 unless all are.

    The running service asks the same at its start and every hour: counterfoil_template_approved.
    """
    settings = settings_of(config)
    standings = _ask(settings, lambda account: account.asked(lambda contents: contents.standings()))
    _show(settings, standings, as_json)
    ctx.exit(0 if all(standing.status == APPROVED for standing in standings) else 1)


@templates.command()
@json_option
@click.pass_obj
@click.pass_context
def push(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Create what is missing at Twilio, and submit it to WhatsApp for approval (category UTILITY).

    Without public_url no tap can be heard, so the question is the one without buttons.

    What is there already, by its name and its words, is left as it is; one of our names with other words is named and
    left alone. Approval takes minutes to a day: see `status`. Exit code 1 where a template can go no further by itself.
    """
    settings = settings_of(config)
    broken = [
        template.friendly_name
        for template in templates_for(buttons=bool(settings.public_url))
        if linting.problems(template)
    ]
    if broken:
        fail(f"{', '.join(broken)}: WhatsApp would refuse them; see counterfoil whatsapp templates lint", 1)
    standings = _ask(settings, lambda account: account.asked(_push))
    _show(settings, standings, as_json)
    ctx.exit(0 if all(standing.status in {APPROVED, *WAITING} for standing in standings) else 1)


async def _push(contents: Contents) -> tuple[Standing, ...]:
    for standing in await contents.standings():
        sid = standing.sid
        if standing.status == MISSING:
            sid = await contents.create(standing.template)
        if standing.status in (MISSING, UNSUBMITTED) and sid is not None:
            await contents.submit(sid, standing.template)
    return await contents.standings()


def _show(settings: Settings, standings: Iterable[Standing], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "template": s.template.stem,
                "language": s.template.language,
                "name": s.template.friendly_name,
                "status": s.status,
                "sid": s.sid,
                "reason": s.reason or None,
            }
            for s in standings
        ]
        click.echo(json.dumps({"templates": rows}, indent=2))
        return
    for standing in standings:
        reason = f"  {standing.reason}" if standing.reason else ""
        line = f"{standing.template.friendly_name:<30}  {standing.status:<12}  {standing.sid or '-'}{reason}"
        click.echo("".join(letter if letter.isprintable() else " " for letter in line).rstrip())
    left = {standing.status for standing in standings} - {APPROVED}
    for status_, text in _NEXT.items():
        if status_ in left:
            click.echo(f"{status_}: {text}")
    if left and account_of(settings, None).sandbox:
        click.echo("In Twilio's sandbox no approval is needed: everybody who has joined it can be asked for a day.")


_NEXT = {
    MISSING: "`counterfoil whatsapp templates push` creates and submits it",
    UNSUBMITTED: "`counterfoil whatsapp templates push` submits it",
    OTHER_WORDS: "delete that content in the console (Content Template Builder), then push again",
    "rejected": "the reason stands beside it; WhatsApp takes an appeal in its Business Manager",
    "pending": "WhatsApp is reading it; that takes minutes to a day",
    "received": "Twilio has it and hands it to WhatsApp",
}


def account_of(settings: Settings, session: Any) -> Account:
    """The configuration's Twilio account, asked over `session`, an aiohttp.ClientSession."""
    twilio = settings.twilio
    return Account(
        account_sid=twilio.account_sid,
        auth_token=twilio.auth_token.get_secret_value(),
        sender=twilio.sender,
        session=lambda: session,
        base_url=twilio.base_url,
        templates=templates_for(buttons=bool(settings.public_url)),
    )


def _ask(settings: Settings, ask: Callable[[Account], Awaitable[T]]) -> T:
    """What Twilio says, or one line on why it does not: 2 where the configuration is wrong, else 1."""

    async def asked() -> T:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            return await ask(account_of(settings, session))

    try:
        return asyncio.run(asked())
    except AccountError as error:
        wrong = error.outcome in ("unauthorized", "bad_recipient")
        remedy = "; see twilio.account_sid and twilio.auth_token_file" if error.outcome == "unauthorized" else ""
        fail(f"{error}{remedy}", 2 if wrong else 1)
