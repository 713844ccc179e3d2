"""Histories in which nothing reaches the service from outside: it reads the carrier's list of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ledger.journal import LedgerError
from tests.simulation.history import History
from tests.simulation.world import Row, Tap

LAGS = (20, 100, 200)  # seconds until the list shows a message; less than two looks overlap


def writes(history: History, sid: str, phone: str, form: Mapping[str, str], tap: Tap) -> None:
    """Somebody writes. A tap on a button comes without its payload there, so it is a word that is no answer."""
    world = history.world
    if "ButtonPayload" in form:
        world.fault("list: a tap without its payload", 1.0)
        tap = replace(tap, verb="other")
    world.taps[sid] = tap
    lag = history.rng.choice(LAGS) if world.fault("list: lags", 0.2) else 0
    world.listed.append(Row(sid, phone, form["Body"], world.clock.elsewhere(), world.clock.elapsed + lag))


async def look(history: History) -> None:
    """The service reads the list; what stood there before, of anybody of the staff, is heard now."""
    world = history.world
    there = [row for row in world.listed if row.shown <= world.clock.elapsed and row.sid not in world.read]
    known = [row for row in there if any(site.named(row.sender) for site in history.sites)]
    try:
        trouble = await history.during(history.poller.look())
    except LedgerError as error:
        history.reached.turned_away[f"list: {type(error).__name__}"] += 1
        return
    if trouble:
        return
    world.read |= {row.sid for row in there}
    for row in known:
        heard = [model for model in history.models.values() if f"heard:{row.sid}" in model.heard]
        for model in history.models.values() if not heard else ():
            model.wrong(None, f"law 3: the carrier lists {row.sid}, and nobody heard it")
