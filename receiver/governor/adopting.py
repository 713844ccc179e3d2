"""What is in force, as an entry: the text of the policy, who may be asked, and what may be run."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

from ledger.entry import Blob, Draft, Entry
from receiver.governor.desk import Charter


def adoption(charter: Charter, before: Entry | None, blobs: tuple[Blob, ...], duty: Mapping[str, Any]) -> Draft:
    """ADOPTED: the policy, the people and the executors from here on, by the account that runs the service.

    duty: what the body says of who is on duty.
    """
    rulebook = charter.rulebook
    on_duty = duty.get("duty", {}).get("on_duty", {})
    turns = "".join(f", on duty for {role}: {' and '.join(names) or 'nobody'}" for role, names in on_duty.items())
    return Draft(
        id=f"adopt:{before.index if before else -1}",
        stage="ADOPTED",
        actor=f"operator:{_account()}",
        decision="adopt",
        reason=f"policy {rulebook.name} {rulebook.version}, {len(charter.people)} people, "
        f"{len(charter.executors)} executors" + (", observes" if charter.observe else "") + turns,
        policy_version=rulebook.version,
        policy_digest=rulebook.digest,
        body={"name": rulebook.name, "people": sorted(charter.people)}
        | ({"observe": True} if charter.observe else {})
        | dict(duty),
        blobs=blobs,
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database, as in a bare container
        return "unknown"
