"""The auditor's own fold and the governor's book say the same of every incident, after every entry of a history."""

from __future__ import annotations

import pytest

from receiver.auditor.reading import Register
from receiver.incident.book import Book
from receiver.incident.states import IncidentState
from tests.simulation.history import History
from tests.simulation.reached import Reached


async def test_two_folds_agree_on_where_every_incident_stands() -> None:
    """History after history, until an incident has stood in every state there is."""
    seen = set[IncidentState]()
    for seed in range(2029, 2149):
        register, book = Register(), Book("acme")
        for entry in await History(seed, Reached(), tenants=("acme",)).run(40):
            register.take(entry)
            book.take(entry)
            expected = {name: incident.state for name, incident in book.incidents.items()}
            assert {name: standing.state for name, standing in register.incidents.items()} == expected, entry
            assert set(register.halts) == set(book.halts)
            assert register.policies == book.policies
            seen |= set(expected.values())
        if seen == set(IncidentState):
            return
    pytest.fail(f"never reached: {set(IncidentState) - seen}")
