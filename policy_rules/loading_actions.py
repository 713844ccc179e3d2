"""The actions of a rule: what may be proposed, who may approve it, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from policy_rules.checks import READING_MAX
from policy_rules.fields import NAME, NAME_HINT, Fields, read_text
from policy_rules.problems import nearest
from policy_rules.rulebook import NOT_STATED, Action, Approvers, Breaker, Condition, Limit, Param
from policy_rules.strict_yaml import Path

PARAM = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
PARAM_HINT = "1 to 64 of letters, digits, _ and -, beginning with a letter or _"
TITLE_MAX, VALUE_MAX = 120, 256
_LIMIT_KEYS = ("max", "per", "cooldown")
_KEYS = frozenset(
    {
        "executor",
        "title",
        "risk",
        "params",
        "approvers",
        "expires",
        "limit",
        "limits",
        "blocked_during",
        "idempotent",
        "pin",
        "if_unknown",
        "breaker",
        "when",
        "when_unknown",
        "verify",
        "execute_within",
    }
)


def read_actions(
    rule: Fields,
    group_by: Collection[str],
    intervals: Collection[str],
    signals: Collection[str],
    read_when: Callable[[Fields], Condition],
) -> dict[str, Action]:
    """The actions of `rule` in the order of the file, which is the order in which they are proposed.

    read_when: reads the condition under `when` of an action.
    """
    found: dict[str, Action] = {}
    for name, path, value in rule.entries("actions", NAME, NAME_HINT):
        fields = Fields(rule.notes, path, value, _KEYS)
        when = read_when(fields) if "when" in fields else None
        if when is None and "when_unknown" in fields:
            fields.wrong("when_unknown", "when_unknown belongs to when, which is missing")
        found[name] = _action(fields, name, group_by, intervals, signals, when)
    return found


def _action(
    fields: Fields,
    name: str,
    group_by: Collection[str],
    intervals: Collection[str],
    signals: Collection[str],
    when: Condition | None,
) -> Action:
    blocked = fields.texts("blocked_during")
    for index, interval in enumerate(blocked):
        if interval not in intervals:
            path = (*fields.path, "blocked_during", index)
            fields.notes.add(path, f"there is no time interval {interval!r}{nearest(interval, intervals)}")
    verify = fields.data.get("verify", {})
    return Action(
        name=name,
        executor=fields.text("executor", pattern=NAME, hint=NAME_HINT),
        title=_one_line(fields, "title", fields.text("title")),
        approvers=_approvers(fields),
        risk=_one_line(fields, "risk", fields.text("risk", NOT_STATED), 300),
        params=_params(fields, group_by, signals),
        expires_seconds=fields.duration("expires", 900, least=60, most=86400),
        limit=_limit(fields),
        limits=_limits(fields),
        breaker=_breaker(fields),
        blocked_during=blocked,
        idempotent=fields.boolean("idempotent", False),
        pin=fields.boolean("pin", False),
        if_unknown=fields.on_unknown("if_unknown", ("proceed", "refuse"), "proceed"),
        when=when,
        when_unknown=fields.on_unknown("when_unknown", ("wait", "propose"), "wait"),
        verify_within_seconds=Fields(fields.notes, (*fields.path, "verify"), verify, ("within",)).duration(
            "within", 600, least=1, most=86400
        ),
        execute_within_seconds=fields.duration("execute_within", 300, least=1, most=86400),
    )


def _one_line(fields: Fields, name: str, text: str, most: int = TITLE_MAX) -> str:
    if len(text) > most or "\n" in text or "\t" in text:
        fields.wrong(name, f"{name} must be one line of at most {most} characters: it is shown on a phone")
    return text


def _approvers(fields: Fields) -> Approvers:
    if not fields.required("approvers"):
        return Approvers()
    return _level(fields, "approvers", ("roles", "people", "quorum", "second"))


def _level(fields: Fields, name: str, known: Collection[str]) -> Approvers:
    path = (*fields.path, name)
    approvers = Fields(fields.notes, path, fields.data[name], known)
    found = Approvers(
        roles=approvers.texts("roles"),
        people=approvers.texts("people"),
        quorum=approvers.whole("quorum", 1, least=1, most=20),
        second=_level(approvers, "second", ("roles", "people", "quorum")) if "second" in approvers else None,
    )
    if approvers.readable and not approvers.data.get("roles") and not approvers.data.get("people"):
        # Law 3: a human authorizes. There is no action that nobody need approve.
        fields.notes.add(path, f"{name} names nobody: give roles or people")
    return found


def _limit(fields: Fields) -> Limit:
    if "limit" not in fields:
        return Limit()
    limit = Fields(fields.notes, (*fields.path, "limit"), fields.data["limit"], _LIMIT_KEYS)
    return _read_limit(limit, "key")


def _breaker(fields: Fields) -> Breaker | None:
    if "breaker" not in fields:
        return None
    breaker = Fields(fields.notes, (*fields.path, "breaker"), fields.data["breaker"], ("failures", "of"))
    breaker.required("failures")
    return Breaker(breaker.whole("failures", 1, least=1, most=100), breaker.choice("of", ("key", "action"), "key"))


def _limits(fields: Fields) -> tuple[Limit, ...]:
    """The limits beside `limit`, each of a wider range of runs."""
    found = []
    for path, item in fields.items("limits"):
        limit = Fields(fields.notes, path, item, ("of", *_LIMIT_KEYS))
        limit.required("of")
        if limit.readable and not {"max", "cooldown"} & set(limit.data):
            limit.notes.add(path, "a limit without max and cooldown limits nothing")
        found.append(_read_limit(limit, limit.choice("of", ("action", "rule", "tenant"), "action")))
    return tuple(found)


def _read_limit(limit: Fields, of: str) -> Limit:
    if ("max" in limit) != ("per" in limit):
        limit.notes.add(limit.path, "max and per belong together, like {max: 2, per: 1h}")
    return Limit(
        max=limit.whole("max", 1, least=1, most=1000) if "max" in limit else None,
        per_seconds=limit.duration("per", 0, least=1),
        cooldown_seconds=limit.duration("cooldown", 0),
        of=of,
    )


def _params(fields: Fields, group_by: Collection[str], signals: Collection[str]) -> tuple[Param, ...]:
    found: list[Param] = []
    for name, path, value in fields.entries("params", PARAM, PARAM_HINT):
        if isinstance(value, dict) and "signal" in value:
            param = _read_param(Fields(fields.notes, path, value, ("signal", "min", "max")), name, signals)
        elif isinstance(value, dict):
            param = _label_param(Fields(fields.notes, path, value, ("label", "allow")), name, group_by)
        else:
            param = Param(name, constant=_value(fields, path, value))
        found.append(param)
    return tuple(found)


def _label_param(fields: Fields, name: str, group_by: Collection[str]) -> Param:
    label = fields.text("label")
    if label and label not in group_by:
        fields.wrong("label", f"the label {label!r} is not in group_by of the rule: its value is not one and the same")
    fields.required("allow")
    allow = tuple(_value(fields, path, item) for path, item in fields.items("allow"))
    if "allow" in fields and fields.data["allow"] == []:
        fields.wrong("allow", "allow is empty: name every value that may be passed on")
    return Param(name, label=label, allow=allow)


def _read_param(fields: Fields, name: str, signals: Collection[str]) -> Param:
    signal = fields.text("signal")
    if signal and signal not in signals:
        fields.wrong("signal", f"there is no signal {signal!r}{nearest(signal, signals)}")
    for bound in ("min", "max"):
        fields.required(bound)
    least = fields.whole("min", 0, least=0, most=READING_MAX)
    most = fields.whole("max", READING_MAX, least=0, most=READING_MAX)
    if most < least:
        fields.wrong("max", "max must not be less than min")
    return Param(name, signal=signal, least=least, most=most)


def _value(fields: Fields, path: Path, value: Any) -> str:
    text = read_text(fields.notes, path, value) or ""
    if len(text) > VALUE_MAX or "\n" in text or "\t" in text:
        fields.notes.add(path, f"a parameter is one line of at most {VALUE_MAX} characters")
    return text
