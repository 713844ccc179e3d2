"""A person lets an action be offered again that its breaker holds back: once, by name, and in the ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from policy_rules.casebook.cases import read_cases
from policy_rules.loading import load
from receiver.governor.changes import GovernorChanges
from receiver.governor.desk import Desk
from receiver.intake.admission import Admission
from receiver.intake.alerts import AlertIntake
from receiver.intake.changes import ChangeDesk
from receiver.intake.routes import private_app
from receiver.metrics import Metrics
from receiver.rehearsal.running import _Run

SHOWN = Path(__file__).parents[1] / "policy_rules" / "shown" / "breaker.cases.yml"
CASES = read_cases(SHOWN.read_bytes(), SHOWN.name)
POLICY = load(SHOWN.with_name(CASES.policy).read_text(), file=CASES.policy, environment={})
ADMIN = {"Authorization": "Bearer admin"}


async def held_back() -> Desk:
    """A desk whose `restart` did not help twice."""
    case = CASES.cases[0]
    case = replace(case, events=tuple(event for event in case.events if event.what == "answer"), expectations=())
    run = _Run(case, POLICY, {"tendai": ("oncall",)})
    await run.run()
    return run.desk


async def post(client: TestClient[Any, Any], action: str, **fields: str) -> tuple[int, Any]:
    answer = await client.post(f"/api/v1/actions/{action}/resumes", json=fields, headers=ADMIN)
    return answer.status, await answer.json()


@pytest.fixture
async def desk() -> Desk:
    return await held_back()


async def test_once_by_name(desk: Desk) -> None:
    assert desk.book.held_back("restart")
    admission = Admission({}, "admin", desk.clock.now)
    app = private_app(
        alerts=AlertIntake(lambda: desk.journal, lambda: admission, desk.metrics),
        changes=ChangeDesk(lambda tenant: GovernorChanges(desk), lambda: admission),
        admission=lambda: admission,
        metrics=Metrics(),
        not_ready=list,
        reload=lambda: None,  # type: ignore[arg-type,return-value]
        reading=lambda app: None,
        measure=lambda: None,
    )
    async with TestClient(TestServer(app)) as client:
        assert (await post(client, "reboot", by="ruth", reason="why not"))[0] == 409
        assert (await post(client, "restart", by="ruth"))[0] == 400
        status, said = await post(client, "restart", by="tendai", reason="the disk was full")
        assert status == 200
        (entry,) = said["entries"]
        assert (entry["stage"], entry["actor"], entry["decision"]) == ("NOTED", "engineer:tendai", "resume")
        assert entry["body"] == {"kind": "resumed action", "action": "restart", "text": "the disk was full"}
        await desk.fold()
        assert not desk.book.held_back("restart")
        assert [run.as_past().forgiven for run in desk.book.runs] == [True, True]
        status, said = await post(client, "restart", by="ruth", reason="again")
        assert (status, said["error"]["code"]) == (409, "refused")
        assert (await client.post("/api/v1/actions/restart/resumes", json={})).status == 401
