"""The log as a row of entries: numbers, times, ids, actors, what cites and settles what, and which policy decides."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from ledger.accounts import OFFICES, OPENS, SETTLES, STAGES, must_settle
from ledger.entry import Entry
from ledger.findings.finding import THE_CLOCK, WHO_WROTE, Finding
from ledger.findings.standing import Obligation

PARTS = 8  # in which ids are sorted
_NUMBERS = {stage: number for number, stage in enumerate(STAGES)}
_UNKNOWN = len(STAGES)
_MUST_SETTLE = frozenset(filter(must_settle, STAGES))
_NAMED = frozenset({"engineer", "operator", "executor", "carrier"})  # actors that are somebody


class Order:
    """What has to hold of every entry beside the ones before it. It keeps 17 bytes an entry."""

    def __init__(self) -> None:
        self.size = 0
        self._stages = bytearray()
        self._settled_by: array[int] = array("q")
        self._ids: array[int] = array("q")
        self._time: datetime | None = None
        self._tenant: str | None = None
        self._adopted: set[str | None] = {None}
        self._digests: dict[tuple[str, str | None], str | None] = {}

    def take(self, entry: Entry, target: Obligation | None) -> list[Finding]:
        """target: the outstanding obligation that the entry settles."""
        found: list[Finding] = []
        index, stage = entry.index, entry.stage
        if self._time is not None and entry.timestamp < self._time:
            found.append(Finding(index, "clock", "its time is before that of the entry before it", THE_CLOCK))
        if stage == "REGRESSED":
            remedy = "check NTP; nothing was authorized or dispatched until the clock ran evenly again"
            found.append(Finding(index, "clock stepped", entry.reason, remedy))
        if (stage == "OPENED") is not (index == 0):
            found.append(Finding(index, "opened", f"{stage} is entry {index}", WHO_WROTE))
        if not entry.id:
            found.append(Finding(index, "id", "it has none", WHO_WROTE))
        if wrong := _of_its_office(stage, entry.actor):
            found.append(Finding(index, "office", wrong, WHO_WROTE))
        if entry.cites and not (0 <= min(entry.cites) <= max(entry.cites) < index):
            found.append(Finding(index, "cites", f"it cites {list(entry.cites)}", WHO_WROTE))
        if entry.tenant_id != self._tenant or target is not None:
            found += self._of_its_tenant(entry, target)
        if entry.settles is not None or stage in _MUST_SETTLE:
            found += self._of_its_settlement(entry, target)
        if entry.policy_digest not in self._adopted or stage == "ADOPTED":
            found += self._of_its_policy(entry)
        self.size = index + 1
        self._time = entry.timestamp
        self._stages.append(_NUMBERS.get(stage, _UNKNOWN))
        self._settled_by.append(-1)
        self._ids.append(hash(entry.id))
        if entry.settles is not None and 0 <= entry.settles < index and self._settled_by[entry.settles] < 0:
            self._settled_by[entry.settles] = index
        return found

    def end(self) -> Iterator[Finding]:
        """What only shows when all ids are known: one that stands twice."""
        double: set[int] = set()
        for part in range(PARTS):  # a number of its own for each id takes twice as much as all that is kept
            ordered = sorted([each for each in self._ids if each % PARTS == part])
            double |= {ours for ours, following in pairwise(ordered) if ours == following}
        first: dict[int, int] = {}
        for index, each in enumerate(self._ids if double else ()):
            if each in double and first.setdefault(each, index) != index:
                yield Finding(index, "id", f"its id is that of entry {first[each]}", WHO_WROTE)

    def _of_its_tenant(self, entry: Entry, target: Obligation | None) -> Iterator[Finding]:
        if self._tenant is None:
            self._tenant = entry.tenant_id
        if entry.tenant_id != self._tenant:
            yield Finding(entry.index, "tenant", f"it is of {entry.tenant_id} in the log of {self._tenant}", WHO_WROTE)
        if target is not None and target.tenant != entry.tenant_id:
            detail = f"{entry.tenant_id} settles {target.index} of {target.tenant}"
            yield Finding(entry.index, "tenant", detail, WHO_WROTE)

    def _of_its_settlement(self, entry: Entry, target: Obligation | None) -> Iterator[Finding]:
        settles = entry.settles
        if settles is None:
            if entry.stage in _MUST_SETTLE:
                yield Finding(entry.index, "settlement", f"{entry.stage} settles nothing", WHO_WROTE)
            return
        if not 0 <= settles < entry.index:
            detail = f"it settles {settles}, which is not before it"
            yield Finding(entry.index, "settlement", detail, WHO_WROTE)
            return
        number = self._stages[settles]
        stage = STAGES[number] if number != _UNKNOWN else "a stage that nobody knows"
        if entry.stage not in SETTLES.get(OPENS.get(stage, ""), ()):
            yield Finding(entry.index, "settlement", f"{entry.stage} cannot settle {stage}", WHO_WROTE)
        if self._settled_by[settles] >= 0:
            detail = f"{settles} was settled by {self._settled_by[settles]}"
            yield Finding(entry.index, "settlement", detail, WHO_WROTE)
        elif target is not None and target.incident is not None and target.incident != entry.incident_id:
            yield Finding(entry.index, "settlement", f"{settles} is of {target.incident}", WHO_WROTE)

    def _of_its_policy(self, entry: Entry) -> Iterator[Finding]:
        digest = entry.policy_digest
        if entry.stage == "ADOPTED":
            self._adopted.add(digest)
            version = (str(entry.body.get("name")), entry.policy_version)
            if self._digests.setdefault(version, digest) != digest:
                remedy = "find which text was meant, and raise the version with every change"
                yield Finding(entry.index, "policy version", f"{version[1]} stands with two digests", remedy)
        elif digest not in self._adopted:
            remedy = "find the text with that digest, and who decided by it"
            yield Finding(entry.index, "policy unknown", f"{entry.policy_version} was never adopted", remedy)


@lru_cache(maxsize=1024)  # few people post, and in few stages
def _of_its_office(stage: str, actor: str) -> str | None:
    """Why that actor does not post that stage, or None."""
    kind, mark, name = actor.partition(":")
    if kind not in OFFICES.get(stage, ()):
        return f"{actor} posted {stage}"
    if (kind in _NAMED) is not bool(name) or bool(mark) is not bool(name):
        return f"{actor!r} is nobody"
    return None
