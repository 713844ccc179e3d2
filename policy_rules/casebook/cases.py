"""A file of policy tests, read strictly: what happens, when, and what must have become of it.

The values here travel between processes, so their mappings are plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from policy_rules.casebook.series import BadSeries, Sample, parse_series
from policy_rules.fields import Fields, Notes
from policy_rules.problems import FileErrors, Problem, nearest
from policy_rules.strict_yaml import TEXT_MAX, Path, collect

CASES_MAX = 5_000
SECONDS_MAX = 14 * 86_400  # of one case
STATES = (
    *("none", "detected", "proposed", "authorized", "executing", "unresolved", "verifying", "recovered", "closed"),
)
QUESTIONS = ("authorized", "rejected", "expired", "withdrawn")
ANSWERS = ("approve", "reject", "onit")
SETTLEMENTS = ("ran", "did_not_run", "written_off")
EXECUTORS = ("succeeds", "fails", "is silent", "accepts")
DEFAULT_START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)  # a Monday
_BY_SOMEBODY = ("answer", "halt", "resume", "resume_action", "close", "settle")
_EVENTS = (*_BY_SOMEBODY, "diagnosis", "executor", "fire", "resolve", "prometheus")
_EXPECTED = ("state", "rule", "by", "reason", "question", "action", "asked", "told", "untold", "never")


class CaseErrors(FileErrors):
    """A file of cases was refused. `problems` holds everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class CaseAlert:
    """One alert of a case: it fires from `from_seconds` after the start until `until_seconds` (None: to the end)."""

    labels: Mapping[str, str]
    from_seconds: float = 0
    until_seconds: float | None = None
    signals: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens `at_seconds` after the start. `what` is one of the keys of an event, `value` its value.

    by: who did it. action: for an answer, the action that must be asked about. details: the rest, for a diagnosis.
    """

    at_seconds: float
    what: str
    value: str
    by: str = ""
    action: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must hold `at_seconds` after the start; None only for `never`, which then holds to the end.

    wanted: key → what is wanted, of state, rule, by, reason, question, action, told, untold. asked: exactly these.
    key: labels that choose one of several incidents. never: states that must not have been reached until then.
    """

    at_seconds: float | None
    line: int
    wanted: Mapping[str, str]
    asked: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()
    key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a policy. signals: the samples of each, `interval_seconds` apart, the first at `start`."""

    name: str
    line: int
    start: datetime
    interval_seconds: float
    alerts: tuple[CaseAlert, ...]
    signals: Mapping[str, tuple[Sample, ...]]
    events: tuple[Event, ...]
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True, slots=True)
class CaseFile:
    """policy: the path of the policy as the file has it. people: name → roles; None where the file names none."""

    file: str
    policy: str
    people: Mapping[str, tuple[str, ...]] | None
    cases: tuple[Case, ...]


def read_cases(text: str | bytes, file: str) -> CaseFile:
    """Read a file of cases. Raises CaseErrors and nothing else, whatever the text is."""
    try:
        raw = text if isinstance(text, str) else text.decode()
        raw.encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise CaseErrors([Problem(file, 1, 0, f"not UTF-8: {error.reason} at position {error.start}")]) from None
    if len(raw) > TEXT_MAX:
        raise CaseErrors([Problem(file, 1, 0, f"the file has {len(raw)} characters; at most {TEXT_MAX} are read")])
    data, positions, problems = collect(raw, file, times=True)
    notes = Notes(file, positions, problems)
    if data is None and problems:
        raise CaseErrors(problems)
    top = Fields(notes, (), data, ("policy", "people", "tests"))
    found = CaseFile(file, top.text("policy"), _people(top), tuple(_cases(top)))
    if notes.problems:
        raise CaseErrors(notes.problems)
    return found


def _people(top: Fields) -> Mapping[str, tuple[str, ...]] | None:
    if "people" not in top:
        return None
    people: dict[str, tuple[str, ...]] = {}
    for name, path, _ in top.entries("people", r"[a-z0-9][a-z0-9_-]{0,31}", "letters, digits, _ and -"):
        people[name] = Fields(top.notes, path[:-1], top.data["people"], top.data["people"]).texts(name)
    return people


def _cases(top: Fields) -> list[Case]:
    top.required("tests")
    cases: list[Case] = []
    names: set[str] = set()
    for number, (path, item) in enumerate(top.items("tests")):
        if number == CASES_MAX:
            top.notes.add(path, f"a file has at most {CASES_MAX} tests")
            break
        known = ("name", "start", "interval", "labels", "until", "alerts", "signals", "events", "expect")
        fields = Fields(top.notes, path, item, known)
        case = _case(fields, top.notes, path)
        if case.name in names:
            fields.wrong("name", f"there is a test {case.name!r} already")
        names.add(case.name)
        cases.append(case)
    return cases


def _case(fields: Fields, notes: Notes, path: Path) -> Case:
    name = fields.text("name")
    alerts = _alerts(fields)
    signals = _signals(fields)
    events = tuple(sorted((_event(notes, p, i) for p, i in fields.items("events")), key=lambda e: e.at_seconds))
    fields.required("expect")
    expectations = tuple(_expectation(notes, p, i) for p, i in fields.items("expect"))
    if fields.readable and "expect" in fields and not expectations:
        fields.wrong("expect", "a test that expects nothing proves nothing")
    return Case(
        name=name,
        line=notes.positions[path].line if path in notes.positions else 1,
        start=_moment(fields, "start"),
        interval_seconds=fields.duration("interval", 30, least=1, most=86_400),
        alerts=alerts,
        signals=signals,
        events=events,
        expectations=expectations,
    )


def _moment(fields: Fields, name: str) -> datetime:
    text = fields.text(name, "")
    if not text:
        return DEFAULT_START
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fields.wrong(name, f"{name} must be a time like 2026-01-05T10:00:00Z; this is {text[:40]!r}")
        return DEFAULT_START
    if moment.tzinfo is None:
        fields.wrong(name, f"{name} needs its zone, as in 2026-01-05T10:00:00Z")
        return DEFAULT_START
    return moment.astimezone(UTC)


def _alerts(fields: Fields) -> tuple[CaseAlert, ...]:
    """`labels` and `until` are short for one alert; `alerts` names several. At least one is needed."""
    alerts: list[CaseAlert] = []
    if "labels" in fields:
        until = fields.duration("until", -1, most=SECONDS_MAX)
        alerts.append(CaseAlert(_labels(fields, "labels"), 0, None if until < 0 else until))
    elif "until" in fields:
        fields.wrong("until", "until belongs to labels; an alert of alerts has its own")
    for path, item in fields.items("alerts"):
        inner = Fields(fields.notes, path, item, ("labels", "from", "until", "signals"))
        inner.required("labels")
        until = inner.duration("until", -1, most=SECONDS_MAX)
        begins = inner.duration("from", 0, most=SECONDS_MAX)
        alerts.append(CaseAlert(_labels(inner, "labels"), begins, None if until < 0 else until, _signals(inner)))
    if fields.readable and not alerts:
        fields.notes.add(fields.path, "labels is missing: policy decides about alerts, so a test needs one")
    return tuple(alerts)


def _labels(fields: Fields, name: str) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for key, path, value in fields.entries(name, r"[^\x00-\x1f]{1,128}", "a label's name"):
        if isinstance(value, str):
            labels[key] = value
        else:
            fields.notes.add(path, f"the value of {key} must be text: quote it")
    if not labels and name in fields:
        fields.wrong(name, "an alert has at least one label")
    return labels


def _signals(fields: Fields) -> Mapping[str, tuple[Sample, ...]]:
    signals: dict[str, tuple[Sample, ...]] = {}
    for name, path, value in fields.entries("signals", r"[A-Za-z_][A-Za-z0-9_]{0,63}", "the name of a signal"):
        # A single number is what YAML reads as one; everything longer is text.
        text = value if isinstance(value, str) else "" if isinstance(value, bool) or value is None else str(value)
        try:
            signals[name] = parse_series(text)
        except BadSeries as error:
            fields.notes.add(path, f"{name}: {error}")
    return signals


def _event(notes: Notes, path: Path, item: Any) -> Event:
    fields = Fields(notes, path, item, ("at", "by", "action", *_EVENTS))
    fields.required("at")
    at = fields.duration("at", 0, most=SECONDS_MAX)
    kinds = [kind for kind in _EVENTS if kind in fields]
    if fields.readable and len(kinds) != 1:
        notes.add(path, f"an event says one of {', '.join(_EVENTS)}; this says {' and '.join(kinds) or 'none'}")
    what = kinds[0] if kinds else "halt"
    by = fields.text("by", "") if "by" in fields else ""
    action = fields.text("action", "") if "action" in fields else ""
    if what in _BY_SOMEBODY and kinds and not by:
        notes.add(path, f"by is missing: who does it? ({what})")
    if what == "diagnosis":
        return _diagnosis(notes, fields, at)
    if what in ("fire", "resolve"):
        return Event(at, what, "", details=_labels(fields, what))
    choices = {"answer": ANSWERS, "executor": EXECUTORS, "settle": SETTLEMENTS, "prometheus": ("up", "down")}
    value = fields.text(what, "") if what in fields else ""
    if what in choices and value and value not in choices[what]:
        fields.wrong(what, f"{what} is {value!r}{nearest(value, choices[what])}")
    return Event(at, what, value, by, action)


def _diagnosis(notes: Notes, fields: Fields, at: float) -> Event:
    path = (*fields.path, "diagnosis")
    inner = Fields(notes, path, fields.data["diagnosis"], ("recommend", "confidence", "cause"))
    details = {"recommend": inner.text("recommend", "") if "recommend" in inner else ""}
    details["confidence"] = inner.number("confidence") if "confidence" in inner else "0"
    details["cause"] = inner.text("cause", "") if "cause" in inner else ""
    return Event(at, "diagnosis", "", details=details)


def _expectation(notes: Notes, path: Path, item: Any) -> Expectation:
    fields = Fields(notes, path, item, ("at", "key", *_EXPECTED))
    never = fields.texts("never") if "never" in fields else ()
    if "at" not in fields and not never:
        fields.required("at")
    if fields.readable and not any(name in fields for name in _EXPECTED):
        notes.add(path, f"nothing is expected: say one of {', '.join(_EXPECTED)}")
    wanted = {name: fields.text(name) for name in _EXPECTED if name in fields and name not in ("asked", "never")}
    for name, options in (("state", STATES), ("question", QUESTIONS)):
        if wanted.get(name) and wanted[name] not in options:
            fields.wrong(name, f"{name} is {wanted[name]!r}{nearest(wanted[name], options)}")
    for place, state in enumerate(never):
        if state not in STATES:
            notes.add((*path, "never", place), f"{state!r} is no state{nearest(state, STATES)}")
    return Expectation(
        at_seconds=fields.duration("at", 0, most=SECONDS_MAX) if "at" in fields else None,
        line=notes.positions[path].line if path in notes.positions else 1,
        wanted=wanted,
        asked=fields.texts("asked") if "asked" in fields else None,
        never=never,
        key=_labels(fields, "key") if "key" in fields else {},
    )
