"""Whether WhatsApp approves of our templates, asked again and again: it may withdraw its approval at any time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from receiver.authorization.contents import APPROVED
from receiver.authorization.whatsapp import WhatsApp
from receiver.metrics import Metrics
from receiver.papers import NotSent

log = logging.getLogger(__name__)

FIRST_SECONDS = 5.0  # after the start, which has other things to do
EVERY_SECONDS = 3_600.0
AGAIN_SECONDS = 300.0  # where Twilio did not answer


async def watch_forever(
    carrier: Callable[[], WhatsApp],
    metrics: Metrics,
    *,
    first_seconds: float = FIRST_SECONDS,
    every_seconds: float = EVERY_SECONDS,
    again_seconds: float = AGAIN_SECONDS,
) -> None:
    """Set `template_approved` of each template and language until cancelled; where nobody answers it stands still."""
    await asyncio.sleep(first_seconds)
    while True:  # noqa: ASYNC110 - an hour is what it waits for
        await asyncio.sleep(every_seconds if await watch(carrier(), metrics) else again_seconds)


async def watch(carrier: WhatsApp, metrics: Metrics) -> bool:
    """Ask once, and set the metric. False where Twilio did not say."""
    standings = await carrier.standings()
    if isinstance(standings, NotSent):
        log.warning("the templates' approval is not known: %s", standings.detail)
        return False
    for standing in standings:
        approved = standing.status == APPROVED
        metrics.template_approved.labels(standing.template.stem, standing.template.language).set(int(approved))
    return True
