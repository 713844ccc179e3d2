"""What is in force, as an entry: the text of the policy, who may be asked, and what may be run."""

from __future__ import annotations

import getpass
from collections.abc import Collection
from dataclasses import replace

from ledger.entry import Blob, Draft, Entry
from receiver.governor.desk import Charter


def suspending(charter: Charter, names: Collection[str]) -> Charter:
    """`charter` with `names` suspended beside whom it suspends itself."""
    people = {
        name: replace(member, suspended=member.suspended or name in names) for name, member in charter.people.items()
    }
    return replace(charter, people=people)


def adoption(charter: Charter, before: Entry | None, blobs: tuple[Blob, ...]) -> Draft:
    """ADOPTED: the policy, the people and the executors from here on, by the account that runs the service."""
    rulebook = charter.rulebook
    return Draft(
        id=f"adopt:{before.index if before else -1}",
        stage="ADOPTED",
        actor=f"operator:{_account()}",
        decision="adopt",
        reason=f"policy {rulebook.name} {rulebook.version}, {len(charter.people)} people, "
        f"{len(charter.executors)} executors" + (", observes" if charter.observe else ""),
        policy_version=rulebook.version,
        policy_digest=rulebook.digest,
        body={"name": rulebook.name, "people": sorted(charter.people)} | ({"observe": True} if charter.observe else {}),
        blobs=blobs,
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database, as in a bare container
        return "unknown"
