"""What `check --online` asks of Twilio: the account, its clock, where answers go, the templates, people's windows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import aiohttp

from receiver.authorization.account import Account, AccountError
from receiver.authorization.contents import APPROVED, Standing
from receiver.authorization.templates import OPENED, language_of
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.commands.init import PLACEHOLDER_ACCOUNT
from receiver.commands.whatsapp import MESSAGE_PATH, WAITING, account_of
from receiver.settings import Settings

SKEW = timedelta(seconds=5)  # Twilio's Date is whole seconds, and the answer takes a while
WINDOW = timedelta(hours=24)  # after a person's last message, in which the sandbox may write to them
PEOPLE_AT_ONCE = 4


async def all_of(session: aiohttp.ClientSession, settings: Settings) -> list[Finding]:
    """Ask the account first: without it nothing else of Twilio's can be known."""
    if settings.twilio.account_sid == PLACEHOLDER_ACCOUNT:
        return [
            Finding(
                "twilio", WARN, "not asked: account_sid is still the placeholder", "copy yours from console.twilio.com"
            )
        ]
    account = account_of(settings, session)
    try:
        status, its_time = await account.clock()
    except AccountError as error:
        remedy = "see twilio.account_sid and twilio.auth_token_file" if error.outcome == "unauthorized" else ""
        return [Finding("twilio", FAIL, str(error), remedy)]
    found = [*_account(status, its_time, datetime.now(UTC))]
    others = (callback(account, settings), templates(account, settings), windows(account, settings))
    for findings in await asyncio.gather(*others):
        found += findings
    return found


def _account(status: str, its_time: datetime | None, now: datetime) -> Iterator[Finding]:
    if status != "active":
        yield Finding("twilio", FAIL, f"the account is {status}", "see console.twilio.com")
    else:
        yield Finding("twilio", OK, "signed in, and the account is active")
    if its_time is None:
        yield Finding("clock", WARN, "Twilio's answer has no date to compare with")
    elif abs(its_time - now) > SKEW:
        text = f"Twilio's clock is {(its_time - now).total_seconds():+.0f} s from ours"
        yield Finding("clock", WARN, text, "set the clock by NTP: what expires, and what is stale, goes by it")
    else:
        yield Finding("clock", OK, f"within {SKEW.seconds} s of Twilio's")


async def callback(account: Account, settings: Settings) -> list[Finding]:
    """Where people's answers go."""
    if not settings.public_url:
        every = f"every {settings.twilio.poll:g} s" if settings.twilio.poll is not None else "never"
        return [Finding("sender", OK, f"answers of people are read from Twilio's list, {every}")]
    wanted = settings.public_url.rstrip("/") + MESSAGE_PATH
    try:
        found = await account.callback()
    except AccountError as error:
        return [Finding("sender", FAIL, str(error), "see twilio.sender")]
    if found.kind == "sandbox":
        text = "the sandbox's address for messages cannot be asked"
        return [Finding("sender", WARN, text, "`counterfoil whatsapp setup` says what to paste where")]
    findings = []
    if found.kind == "sender" and not found.state.startswith("ONLINE"):
        findings.append(Finding("sender", FAIL, f"{settings.twilio.sender} is {found.state or 'in no state'}"))
    if found.is_set_to(wanted):
        findings.append(Finding("sender", OK, f"answers of people go to {wanted}"))
    else:
        text = f"answers of people go to {found.url or 'nobody'}, and not to {wanted}"
        findings.append(Finding("sender", FAIL, text, "`counterfoil whatsapp setup --set` sets it"))
    return findings


async def templates(account: Account, settings: Settings) -> list[Finding]:
    """Whether the messages are approved in the languages that people read."""
    if account.sandbox:
        return [Finding("templates", OK, "the sandbox needs no approval, for who wrote to it within a day")]
    try:
        standings = await account.asked(lambda contents: contents.standings())
    except AccountError as error:
        return [Finding("templates", FAIL, str(error))]
    read = {language_of(p.language) for tenant in settings.tenants.values() for p in tenant.people.values()}
    wanted = [standing for standing in standings if standing.template.language in read]
    return [*_standings(wanted)] or [Finding("templates", WARN, "nobody is there to read any")]


def _standings(standings: Sequence[Standing]) -> Iterator[Finding]:
    for standing in standings:
        if standing.status == APPROVED:
            continue
        reason = f": {standing.reason}" if standing.reason else ""
        text = f"{standing.template.friendly_name} is {standing.status}{reason}"
        waits = standing.status in WAITING
        remedy = "wait for WhatsApp" if waits else "`counterfoil whatsapp templates push`, then `status`"
        yield Finding("templates", WARN if waits or standing.template.stem != OPENED.stem else FAIL, text, remedy)
    if standings and all(standing.status == APPROVED for standing in standings):
        yield Finding("templates", OK, f"{len(standings)} approved, in each language that people read")


async def windows(account: Account, settings: Settings) -> list[Finding]:
    """When each person last wrote: within 24 hours the sandbox may write to them, and replies may be free in form."""
    places = asyncio.Semaphore(PEOPLE_AT_ONCE)

    async def window(name: str, address: str) -> Finding:
        async with places:
            try:
                last = await account.last_word(address)
            except AccountError as error:
                return Finding("people", WARN, f"{name}: {error}")
        return _window(name, last, datetime.now(UTC), sandbox=account.sandbox)

    people = [(name, p.whatsapp) for tenant in settings.tenants.values() for name, p in tenant.people.items()]
    return list(await asyncio.gather(*(window(name, address) for name, address in dict.fromkeys(people))))


def _window(name: str, last: datetime | None, now: datetime, *, sandbox: bool) -> Finding:
    since = now - last if last is not None else None
    if since is not None and since < WINDOW:
        left = int((WINDOW - since).total_seconds() // 60)
        return Finding("people", OK, f"{name} wrote lately: the window is open for {left // 60} h {left % 60} min")
    when = (
        f"{name} last wrote {int(since.total_seconds() // 3600)} h ago" if since is not None else f"{name} never wrote"
    )
    if sandbox:
        return Finding("people", WARN, f"{when}: the sandbox cannot reach them", 'they text it "join …" or any word')
    return Finding("people", OK, f"{when}: approved templates reach them")
