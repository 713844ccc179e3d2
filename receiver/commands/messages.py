"""`counterfoil messages`: how many messages went to people, what became of them, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import click

from ledger.audit import NotALedger
from ledger.logfile import open_log
from receiver.auditor.message_report import Row, rows
from receiver.commands.client import fail
from receiver.commands.ledger.common import Moment, json_option, settings_of, tenant_option
from receiver.settings_sections import Twilio

DAYS = 7


@click.command()
@tenant_option
@click.option("--since", metavar="TIME", type=Moment(), help=f"From then on.  [default: {DAYS} days ago]")
@click.option("--until", metavar="TIME", type=Moment(), help="Before then.  [default: now]")
@json_option
@click.pass_obj
def messages(config: Path, tenant: str, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Messages to people by day, channel and kind: how many, what became of them, and their price.

    From the ledger's file, with the service or without. Prices are those of twilio.prices in the configuration, by the
    message that the carrier took; what Twilio bills is in its console.
    """
    settings = settings_of(config)
    end = until or datetime.now(UTC)
    prices = {str(channel): price for channel, price in settings.twilio.prices.items()}
    try:
        with open_log(settings.ledger.path, tenant) as log:
            if not log.size:
                fail(f"there is no tenant {tenant} in {settings.ledger.path}", 2)
            found = rows(log.entries(), prices, since or end - timedelta(days=DAYS), end)
    except NotALedger as error:
        fail(str(error), 2)
    if as_json:
        limits = {
            "daily_message_limit": settings.twilio.daily_message_limit,
            "daily_person_limit": settings.twilio.daily_person_limit,
        }
        click.echo(json.dumps({"messages": [row.to_json() for row in found], "limits": limits}, indent=2))
        return
    for line in _lines(found, settings.twilio):
        click.echo(line)


def _lines(found: Sequence[Row], twilio: Twilio) -> list[str]:
    if not found:
        return ["no message in that time"]
    lines = [f"{'day':<11}{'channel':<9}{'kind':<8}{'sent':>6}{'delivered':>10}{'read':>6}{'USD':>10}  undelivered"]
    for row in found:
        price = f"{row.price:.4f}" if row.price is not None else "-"
        lost = ", ".join(f"{why.replace('_', ' ')} {number}" for why, number in sorted(row.lost.items()))
        waiting = f"{row.waiting} not known yet" if row.waiting else ""
        rest = "; ".join(part for part in (lost, waiting) if part)
        figures = f"{row.sent:>6}{row.delivered:>10}{row.read:>6}{price:>10}"
        lines.append(f"{row.day:<11}{row.channel:<9}{row.kind:<8}{figures}  {rest}".rstrip())
    days = {day: [row for row in found if row.day == day] for day in dict.fromkeys(row.day for row in found)}
    for day, those in days.items():
        known = [row.price for row in those if row.price is not None]
        price = f", {sum(known, Decimal(0)):.4f} USD" if known else ""
        lines.append(f"{day}: {sum(row.sent for row in those)} of {twilio.daily_message_limit} a day{price}")
    if not twilio.prices:
        lines.append("no price is known: set twilio.prices, as in {whatsapp: 0.0134}")
    return lines
