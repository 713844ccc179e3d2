"""How often each thing happens in a history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation import calls, happenings, pages, terms
from tests.simulation.history import History

Event = Callable[[History], Awaitable[None]]


def next_event(history: History) -> Event:
    """What happens next: often what brings the story on, else anything."""
    if history.rng.random() < 0.35:
        shops = [shop for site in history.sites for shop in site.shops.values()]
        if all(shop.health != terms.BAD for shop in shops):
            return happenings.breaks
        if any(model.halts for model in history.models.values()):
            return happenings.people_resume
        if any(happenings.open_questions(history, site) for site in history.sites):
            return next(event for event in EVENTS if event.__name__ == history.flavour.answer)
        return happenings.wait_a_little
    often = history.flavour.often
    weights = [often.get(event.__name__, weight) for event, weight in EVENTS.items()]
    return history.rng.choices(list(EVENTS), weights)[0]


EVENTS: dict[Any, float] = {
    happenings.breaks: 3,
    happenings.heals: 0.5,
    happenings.limps: 0.2,
    happenings.others_fire: 0.3,
    happenings.notify: 1,
    happenings.again: 1,
    happenings.vanishes: 0.15,
    happenings.compare: 0.5,
    happenings.prometheus: 0.4,
    happenings.wait_a_little: 5,
    happenings.wait_long: 3,
    happenings.asleep: 0.7,
    happenings.clock_steps: 0.25,
    happenings.approve: 3,
    happenings.tap: 3,
    happenings.last_minute: 0.3,
    happenings.changes_hands: 0.4,
    happenings.nobodys_button: 0.1,
    happenings.many_wrong_codes: 0.2,
    happenings.stranger: 0.15,
    happenings.forged: 0.1,
    happenings.words: 0.6,
    happenings.requests: 1,
    happenings.people_resume: 0.6,
    happenings.carrier_reports: 1.5,
    happenings.late_result: 1.5,
    happenings.person_acts: 1,
    happenings.halt_in_flight: 1.5,
    happenings.stranded: 0.15,
    happenings.reload: 1,
    happenings.disk: 0.3,
    happenings.killed: 0.4,
    happenings.killed_soon: 0.6,
    happenings.gone_while_it_waits: 0,  # of flavours alone, as all that follow
    happenings.closes_early: 0,
    calls.phone_rings: 0,
    calls.call_ends: 0,
    pages.opens_page: 0,
    pages.forged_link: 0,
}
