"""Where the anthropic package is missing, diagnosis says so, and nothing else is missing."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from datetime import UTC, datetime
from importlib.util import find_spec

import ledger
import policy_rules
import receiver
from receiver.diagnosis.claude import Claude
from receiver.papers import CaseFile, Exhibit, NoDiagnosis

EXTRAS = {"rfc3161_client", "apprise"}  # of the distribution: not in a plain installation either
NEEDS = {"receiver.diagnosis.bounded"}  # the transport that comes with it


def main() -> None:
    assert find_spec("anthropic") is None, "anthropic is installed here"
    for package in (ledger, policy_rules, receiver):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in NEEDS and not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except ModuleNotFoundError as error:
                    if str(error.name).partition(".")[0] not in EXTRAS:
                        raise
    now = datetime.now(UTC)
    exhibits = (Exhibit("q1", "what policy found", "", now, {"now": "it fails"}),)
    case = CaseFile("default", "inc-0", "rule", "it fails", now, {}, {}, (), exhibits, {})
    claude = Claude(api_key="a-key", model="m", base_url=None, daily_budget_usd=5, clock=lambda: now)
    answer = asyncio.run(claude.diagnose(case, timeout_seconds=5))
    assert isinstance(answer, NoDiagnosis), answer
    assert answer.outcome == "not_installed", answer
    print(f"every module is imported; {answer.outcome}: {answer.detail}")


if __name__ == "__main__":
    main()
