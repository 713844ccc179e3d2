"""Why policy said what it said: each verdict with what was asked, what was answered, and every comparison. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ledger.entry import Entry, format_time
from policy_rules.offers import NEWER
from policy_rules.rulebook import Rulebook
from receiver.auditor.telling import Comparison, comparisons

Rulebooks = Callable[[str | None], Rulebook | None]  # by digest; None where its text is not to be had


@dataclass(frozen=True, slots=True)
class Asked:
    """One reading. query: as it was asked, None where the policy's text is not to be had. at: UTC, as in the ledger."""

    name: str
    query: str | None
    value: str | None
    state: str
    detail: str
    at: str

    def text(self) -> str:
        why = ": ".join(filter(None, (self.state, self.detail)))
        warned = f" ({self.detail})" if self.detail else ""
        got = f"{self.value}{warned}" if self.value is not None else f"unknown ({why})"
        return f"{self.name} = {got} at {_clock(self.at)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One verdict. about: empty, or what it is about beside the entry's own decision. policy: "name version"."""

    index: int
    at: str
    stage: str
    actor: str
    about: str
    outcome: str
    reason: str
    rule: str
    policy: str
    readings: tuple[Asked, ...]
    findings: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """As text, for a person."""
        about = f" ({self.about})" if self.about else ""
        yield f"entry {self.index}, {_clock(self.at)}: {self.stage} by {self.actor}{about}"
        yield f"  {self.policy}, rule {self.rule}, says {self.outcome}: {self.reason}"
        for reading in self.readings:
            yield f"  read  {reading.text()}"
            if reading.query is not None:
                yield f"        {' '.join(reading.query.split())}"
        for row in self.findings:
            holds = row.get("holds")
            held = "cannot be told" if holds is None else "holds" if holds else "does not hold"
            value = row.get("value") if row.get("value") is not None else "unknown"
            why = row.get("detail") or row.get("meaning")
            detail = f" ({why})" if why else ""
            yield f"  {row.get('name')} {value} {row.get('operator')} {row.get('threshold')}: {held}{detail}"


def explanations(
    entries: Iterable[Entry], rule: str, key: Mapping[str, str], rulebooks: Rulebooks
) -> Iterator[Explanation]:
    """Every verdict of the entries of one incident, in their order. rule, key: those of its DETECTED."""
    for entry in entries:
        for told in comparisons(entry):
            body = entry.body["service" if told.told else "verdict"]
            book = rulebooks(_text(body.get("policy_digest")) or entry.policy_digest)
            newer = rulebooks(_text(entry.body.get("in_force")))
            version = body.get("policy_version") or entry.policy_version or ""
            yield Explanation(
                index=entry.index,
                at=format_time(entry.timestamp),
                stage=entry.stage,
                actor=entry.actor,
                about=told.told,
                outcome=told.outcome,
                reason=told.reason,
                rule=str(body.get("rule") or rule),
                policy=f"{book.name} {version}" if book is not None else f"policy {version}",
                readings=tuple(_asked(body.get("basis"), key, book, newer)),
                findings=_plain(told),
            )


def _asked(basis: Any, key: Mapping[str, str], book: Rulebook | None, newer: Rulebook | None) -> Iterator[Asked]:
    rows = basis.get("readings") if isinstance(basis, Mapping) else None
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, Mapping):
            continue
        name = str(row.get("name"))
        of, plain = (newer, name.removeprefix(NEWER)) if name.startswith(NEWER) else (book, name)
        signal = of.signals.get(plain) if of is not None else None
        value = row.get("value")
        yield Asked(
            name=name,
            query=signal.query(key).promql if signal is not None else None,
            value=None if value is None else str(value),
            state=str(row.get("state", "")),
            detail=str(row.get("detail") or ""),
            at=str(row.get("at", "")),
        )


def _plain(told: Comparison) -> tuple[Mapping[str, Any], ...]:
    return tuple(dict(row) for row in told.findings)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _clock(time: str) -> str:
    return f"{time[:10]} {time[11:19]} UTC"
