"""The walk through a log: each verdict is decided again on the book that it was decided on.

A governor decides on what it has folded, and others post meanwhile: a verdict says how many entries it knew. So the
walk looks ahead a little, and decides each one again when the book has come that far.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import timedelta

from ledger.carried import is_carried
from ledger.entry import Entry
from policy_rules import detection
from receiver.auditor.charters import Archive, Charters, Unreadable
from receiver.auditor.replay import looks, permissions
from receiver.auditor.replay.difference import Difference
from receiver.incident.assigned import assigned_of
from receiver.incident.basis import Basis, NoBasis
from receiver.incident.book import Book
from receiver.incident.carrying import state_of
from receiver.incident.states import key_of

AHEAD = 2_000  # entries that may come between what a verdict knew and itself
UNSEEN_MAX = timedelta(seconds=60)  # how long one of them may have stood, and how late a verdict may be posted


class Replay:
    """One log, decided again. `verdicts` counts what was decided, by stage, as `differences` is walked through."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._book = Book(archive.tenant)
        self._charters = Charters(archive.blob)
        self._ahead: deque[Entry] = deque()  # read, and not folded yet
        self._due: defaultdict[int, list[Entry]] = defaultdict(list)  # by the size of the book that each knew
        self._adopted = -1
        self._stuck = False
        self.verdicts: dict[str, int] = dict.fromkeys((*looks.STAGES, *permissions.STAGES, "EVALUATED"), 0)

    def differences(self) -> Iterator[Difference]:
        """Every verdict that comes out otherwise, in the order of the books that they were decided on."""
        for entry in self._archive.entries():
            if entry.index != self._book.size + len(self._ahead):
                yield _cannot(entry, "it does not follow the one before it")
                return
            self._ahead.append(entry)
            if entry.stage == "ADOPTED":
                self._adopted = entry.index
            elif is_carried(entry):
                continue  # decided in the former log; whether it stood there is for `verify --former`
            elif (entry.stage in self.verdicts and entry.stage != "NOTED") or permissions.is_mute(entry):
                yield from self._plan(entry)
            if len(self._ahead) > AHEAD:
                yield from self._step()
            if self._stuck:
                return
        while self._ahead and not self._stuck:
            yield from self._step()

    def _plan(self, entry: Entry) -> Iterator[Difference]:
        """Find out when an entry is to be decided again, or why it cannot be."""
        self.verdicts[entry.stage] = self.verdicts.get(entry.stage, 0) + 1
        if entry.stage == "EVALUATED":
            self._due[entry.index].append(entry)
            return
        try:
            basis = Basis.of(entry.body.get("verdict"))
        except NoBasis as error:
            yield _cannot(entry, str(error))
            return
        late = entry.timestamp - basis.now
        if not self._book.size <= basis.entries <= entry.index or not timedelta() <= late <= UNSEEN_MAX:
            when = f"on the first {basis.entries} entries at {basis.now}"
            yield _cannot(entry, f"it says that it was decided {when}, and was posted at {entry.timestamp}")
            return
        unseen = self._ahead[basis.entries - entry.index - 1]  # the first that it did not know, or itself
        if basis.now - unseen.timestamp > UNSEEN_MAX:
            yield _cannot(entry, f"it was decided without entry {unseen.index}, which stood since {unseen.timestamp}")
        elif (entry.stage in permissions.STAGES or permissions.is_request(entry)) and self._adopted >= basis.entries:
            yield _cannot(entry, f"it was decided before {self._adopted} put another policy or roster in force")
        else:
            self._due[basis.entries].append(entry)

    def _step(self) -> Iterator[Difference]:
        """Decide what was decided on the book as it stands, then fold the next entry into it."""
        for entry in self._due.pop(self._book.size, ()):
            yield from self._again(entry)
        entry = self._ahead.popleft()
        try:
            self._fold(entry)
            blob = self._archive.blob
            self._book.take(entry, assigned_of(entry, blob), state_of(entry, blob))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            yield _cannot(entry, f"it does not fit the book, so nothing behind it is decided again: {error!r}")
            self._stuck = True
        self._charters.take(entry)

    def _fold(self, entry: Entry) -> None:
        """What else is to be done with an entry before it is folded into the book."""

    def _again(self, entry: Entry) -> Iterator[Difference]:
        try:
            if entry.stage == "EVALUATED":
                found = list(self._evaluated(entry))
            elif entry.stage == "NOTED":
                found = list(permissions.muted_again(entry, self._book, self._charters))
            elif permissions.is_request(entry):
                found = list(permissions.requested_again(entry, self._book, self._charters))
            elif entry.stage in looks.STAGES:
                found = list(looks.again(entry, self._book, self._charters))
            else:
                found = list(permissions.again(entry, self._book, self._charters, self._archive.blob))
        except (Unreadable, NoBasis) as error:
            found = [_cannot(entry, str(error))]
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            found = [_cannot(entry, f"its body is not what it should be: {error!r}")]
        yield from found

    def _evaluated(self, entry: Entry) -> Iterator[Difference]:
        """Which rule and which key take each alert, by the policy in force."""
        rulebook = self._charters.in_force()
        if entry.policy_digest != rulebook.digest:
            why = f"it names the policy {entry.policy_digest}, and {rulebook.digest} was in force"
            yield Difference(entry.index, entry.stage, "matched", "unknown", why)
        for row in assigned_of(entry, self._archive.blob):
            ours = tuple((a.rule, key_of(a.key)) for a in detection.assign(rulebook, row.alert))
            if ours != row.assignments:
                said, says = (_rules(assignments) for assignments in (row.assignments, ours))
                yield Difference(entry.index, entry.stage, said, says, f"alert {row.alert.fingerprint}")


def _rules(assignments: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> str:
    return ", ".join(rule for rule, _ in assignments) or "no rule"


def _cannot(entry: Entry, why: str) -> Difference:
    return Difference(entry.index, entry.stage, entry.decision or entry.stage.lower(), "nothing", why)
