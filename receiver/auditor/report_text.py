"""A report as Markdown, to be pasted into a post-mortem. Text from outside stays text: no link, no heading, no HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

from receiver.auditor.presenting import visible
from receiver.auditor.report import Attempt, Explained, Line, Report, Verdict
from receiver.auditor.telling import lasted

# Marks that mean something within a line, and those that do at its beginning.
_MARKS = re.compile(r"([\\`*\[\]<|~&$@]|(?<!\w)_|_(?!\w)|:(?=/)|(?<=www)\.)")
_FIRST = re.compile(r"^(\d*)([#>+=.)-])")
TIMES = {
    "detect": "to detect: from the notification to the incident",
    "notify": "to notify: until a carrier took a message to a person",
    "decide": "to decide: from the question to the decision of people",
    "execute": "to execute: from the authorization to its result",
    "recover": "to recover: from the incident to policy's word",
}


def markdown(report: Report) -> str:
    """The whole report; every statement with the index of the entry that says so."""
    return "\n".join([*_head(report), *_times(report), *_readings(report), *_tried(report), *_rest(report)]) + "\n"


def _head(report: Report) -> Iterator[str]:
    view = report.view
    yield f"# {safe(view.title)}"
    yield ""
    yield f"- {first(view.summary)}"
    yield f"- incident `{view.id}`, {view.state.value}"
    yield f"- rule {safe(view.rule)}, {safe(report.policy)}"
    if report.key:
        yield f"- of {safe(', '.join(f'{name}={value}' for name, value in report.key.items()))}"
    if view.severity:
        yield f"- severity {safe(view.severity)}"
    if report.requested_by:
        yield f"- asked for by hand, by {safe(report.requested_by)}: no alert opened it"
    yield f"- opened {_day(view.opened_at)} (entry {view.index})"
    if view.carried_from is not None:
        yield f"- carried forward from entry {view.carried_from} of the sealed log before, which tells what came before"
    if view.ended_at is not None:
        yield f"- ended {_day(view.ended_at)}, after {lasted(view.opened_at, view.ended_at)}"
    if len(report.parts) > 1:
        yield ""
        whole = report.parts[-1].ended_at
        span = f", over {lasted(report.parts[0].opened_at, whole)}" if whole is not None else ""
        yield f"It broke again: one incident in {len(report.parts)} parts{span}."
        yield ""
        for number, part in enumerate(report.parts, 1):
            here = " (this report)" if part.incident_id == view.id else ""
            until = f"to {_day(part.ended_at)}" if part.ended_at is not None else "still open"
            yield f"{number}. `{part.incident_id}`{here}: {_day(part.opened_at)} {until}, {part.state}"
    yield ""


def _times(report: Report) -> Iterator[str]:
    yield "## Times"
    yield ""
    yield "| time | took | ended by entry |"
    yield "|---|---|---|"
    for step, seconds in report.times.items():
        took = lasted(report.as_of, report.as_of + timedelta(seconds=seconds)) if seconds is not None else "did not end"
        yield f"| {TIMES[step]} | {took} | {report.ended_by.get(step, '')} |"
    yield ""


def _readings(report: Report) -> Iterator[str]:
    yield "## What opened it and what ended it"
    yield ""
    yield from _said("Opened", report.opened)
    if report.ended is not None:
        yield from _said("Recovered, says policy", report.ended)
    elif report.closed_by:
        end = next(line for line in report.timeline if line.stage == "CLOSED")
        yield f"Closed by {safe(report.closed_by)} (entry {end.index}): {safe(end.text)}."
        yield "Policy did not say that it recovered."
        yield ""
    else:
        yield "It is still open."
        yield ""


def _said(what: str, verdict: Verdict) -> Iterator[str]:
    looks = f", {verdict.looks} looks of the hold" if verdict.looks > 1 else ""
    yield f"{what} (entry {verdict.index}, {_day(verdict.at)}{looks}): {safe(verdict.reason)}"
    yield ""
    if verdict.readings:
        yield "| reading | value | asked | holds |"
        yield "|---|---|---|---|"
        for row in verdict.readings:
            holds = "cannot be told" if row.holds is None else "yes" if row.holds else "no"
            yield f"| {safe(row.name)} | {safe(row.value)} | {safe(row.compared)} | {holds} |"
        yield ""


def _tried(report: Report) -> Iterator[str]:
    yield "## What was tried"
    yield ""
    if not report.attempts:
        yield "Nothing was proposed."
        yield ""
    for number, attempt in enumerate(report.attempts, 1):
        yield from _attempt(number, attempt)


def _attempt(number: int, attempt: Attempt) -> Iterator[str]:
    yield f"### {number}. {safe(attempt.title)}"
    yield ""
    params = ", ".join(f"{name}={value}" for name, value in attempt.params.items())
    by = f", asked for by {attempt.requested_by}" if attempt.requested_by else ""
    what = f"{safe(attempt.action)} by executor {safe(attempt.executor)}"
    yield f"- proposed by policy{safe(by)} (entry {attempt.index}): {what}"
    if params:
        yield f"- with {safe(params)}"
    yield f"- asked: {safe(', '.join(attempt.asked))}; {attempt.quorum} must approve"
    yield f"- did it help: {attempt.helped}"
    yield ""
    yield from _lines(attempt.course)


def _rest(report: Report) -> Iterator[str]:
    yield "## Who decided what"
    yield ""
    if report.people:
        yield from _lines(report.people)
    else:
        yield "No person decided anything."
        yield ""
    yield "## What the model said"
    yield ""
    if report.diagnosis is not None:
        yield from _model(report.diagnosis)
    else:
        why = f": {report.no_diagnosis.replace('_', ' ')}" if report.no_diagnosis else ""
        yield f"There is no diagnosis{safe(why)}."
    yield ""
    yield "## In order"
    yield ""
    yield "Messages on their way are left out; the ledger has them."
    yield ""
    yield from _lines(report.timeline)
    where = f"ledger {safe(report.ledger)}, tenant {safe(report.tenant)}"
    yield f"From the {where}, up to entry {report.last} of {_day(report.as_of)}."


def _model(said: Explained) -> Iterator[str]:
    sure = f", its own confidence {said.confidence}" if said.confidence else ""
    yield f"The opinion of {safe(said.model)}{safe(sure)} (entry {said.index}). It decided nothing."
    yield ""
    yield f"- {first(said.summary)}"
    yield f"- likely cause: {safe(said.likely_cause)}"
    if said.falsified_by:
        yield f"- would be wrong if: {safe(said.falsified_by)}"
    if said.recommended:
        stands = "policy proposed it" if said.proposed else "policy did not propose it"
        yield f"- it recommended {safe(said.recommended)}; {stands}"
    for text, refs in said.claims:
        yield f"- claim: {safe(text)} ({safe(', '.join(refs))})"
    if said.dropped:
        yield f"- {said.dropped} claims were dropped: the evidence that they cite does not say so"


def _lines(lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    yield "| entry | time | what | by | |"
    yield "|---|---|---|---|---|"
    for line in lines:
        yield f"| {line.index} | {line.at:%H:%M:%S} | {line.stage} | {safe(line.actor)} | {safe(line.text)} |"
    yield ""


def safe(text: str) -> str:
    """Text that stays text in Markdown: one line, every mark escaped, and what cannot be seen spelt out."""
    return _MARKS.sub(r"\\\1", str(visible(" ".join(text.split()))))


def first(text: str) -> str:
    """The same where it begins a line, or a point of a list."""
    return _FIRST.sub(r"\1\\\2", safe(text))


def _day(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
