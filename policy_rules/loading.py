"""YAML text → Rulebook, or everything that is wrong with it at once, each with its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from policy_rules.advice import warnings
from policy_rules.fields import NAME, NAME_HINT, Fields, Notes
from policy_rules.loading_intervals import read_intervals
from policy_rules.loading_mutes import read_mutes
from policy_rules.loading_rules import Names, read_rules
from policy_rules.loading_score import read_score
from policy_rules.problems import FileErrors, Problem
from policy_rules.rulebook import (
    SCORE,
    UNMATCHED,
    Rule,
    Rulebook,
    Signal,
    signals_used,
)
from policy_rules.signals import BadSignal, labels_of
from policy_rules.strict_yaml import TEXT_MAX, collect, substitute

__all__ = ["PolicyErrors", "Problem", "load", "warnings"]

SIGNALS_MAX = 200
SIGNAL = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
SIGNAL_HINT = "1 to 64 of letters, digits and _, not beginning with a digit"


class PolicyErrors(FileErrors):
    """A policy was refused. `problems` holds everything that is wrong with it."""


def load(text: str | bytes, *, file: str, environment: Mapping[str, str]) -> Rulebook:
    """Read a policy. file: how to name it in problems. environment: what `${NAME:-default}` may take.

    The digest is SHA-256 over the text after substitution, and loading that text again gives the same rulebook.
    Raises PolicyErrors and nothing else, whatever the text is.
    """
    try:
        raw = text if isinstance(text, str) else text.decode()
        raw.encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise PolicyErrors([Problem(file, 1, 0, f"not UTF-8: {error.reason} at position {error.start}")]) from None
    if len(raw) > TEXT_MAX:
        raise PolicyErrors([Problem(file, 1, 0, f"the file has {len(raw)} characters; at most {TEXT_MAX} are read")])
    effective, problems = substitute(raw, file, environment)
    if problems:
        raise PolicyErrors(problems)
    data, positions, problems = collect(effective, file)
    notes = Notes(file, positions, problems)
    if data is None and problems:
        raise PolicyErrors(problems)
    rulebook = _read(notes, data, effective)
    if notes.problems:
        raise PolicyErrors(notes.problems)
    return rulebook


def _read(notes: Notes, data: Any, text: str) -> Rulebook:
    top = Fields(notes, (), data, ("policy", "signals", "score", "unmatched", "rules", "mute", "time_intervals"))
    name, version = _identity(top)
    signals, bad_signals = _signals(top)
    score = read_score(top, signals, bad_signals)
    intervals = read_intervals(top)
    names = Names(tuple(signals), bad_signals, tuple(intervals), score, has_score=SCORE in top)
    top.required("rules")
    rules = read_rules(top, names)
    for path, rule in rules:
        _check_labels(notes, path, rule, signals)
    return Rulebook(
        name=name,
        version=version,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        rules=tuple(rule for _, rule in rules),
        signals=MappingProxyType(signals),
        score=score,
        intervals=MappingProxyType(intervals),
        unmatched=top.choice(UNMATCHED, ("notify", "record"), "notify"),
        mutes=read_mutes(top, names.intervals),
        file=notes.file,
    )


def _identity(top: Fields) -> tuple[str, str]:
    if not top.required("policy"):
        return "", ""
    policy = Fields(top.notes, (*top.path, "policy"), top.data["policy"], ("name", "version"))
    hint = "1 to 64 of letters, digits, _ . + and -"
    return policy.text("name", pattern=NAME, hint=NAME_HINT), policy.text(
        "version", pattern=r"[A-Za-z0-9_.+-]{1,64}", hint=hint
    )


def _signals(top: Fields) -> tuple[dict[str, Signal], tuple[str, ...]]:
    """The signals by name, and the names of those that could not be read: to use them is no second mistake."""
    signals: dict[str, Signal] = {}
    bad: list[str] = []
    for count, (name, path, value) in enumerate(top.entries("signals", SIGNAL, SIGNAL_HINT)):
        if count == SIGNALS_MAX:
            top.notes.add(path, f"a policy has at most {SIGNALS_MAX} signals")
            break
        if name in (SCORE, "alerts"):
            top.notes.add(path, f"{name!r} has a meaning of its own and cannot name a signal")
            continue
        fields = Fields(top.notes, path, value, ("promql", "max_age"))
        promql = fields.text("promql")
        max_age = fields.duration("max_age", 120, least=1, most=86400)
        try:
            labels = labels_of(promql) if promql else frozenset()
        except BadSignal as error:
            fields.wrong("promql", f"the promql of {name} {error}")
            promql = ""
        if promql:
            signals[name] = Signal(name, promql, max_age, labels)
        else:
            bad.append(name)
    return signals, tuple(bad)


def _check_labels(
    notes: Notes,
    path: tuple[str | int, ...],
    rule: Rule,
    signals: Mapping[str, Signal],
) -> None:
    """Every `$label` of every signal that `rule` uses must be one of its `group_by` labels."""
    for name in signals_used(rule):
        signal = signals.get(name)
        for label in sorted(signal.labels - set(rule.group_by)) if signal is not None else ():
            message = f"the signal {name} needs ${label}, which is not in group_by of {rule.name}: add {label} to it"
            notes.add((*path, "group_by"), message)
