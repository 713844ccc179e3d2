"""`counterfoil policy test`: run files of cases against their policies, and say what no case reached."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from policy_rules.casebook.cases import Case, CaseErrors, CaseFile, read_cases
from policy_rules.durations import duration
from policy_rules.loading import PolicyErrors, load
from policy_rules.rulebook import UNMATCHED_RULE, Rulebook, terms_of
from receiver.commands import Wrong

PROCESSES_FROM = 40  # so many cases make it worth to start other processes
FILES_MAX = 500


@dataclass(frozen=True, slots=True)
class Result:
    """One case's result, as it travels between processes. failures: one text of lines each."""

    file: str
    name: str
    line: int
    failures: tuple[str, ...]
    rules: frozenset[str]
    terms: frozenset[tuple[str, str, bool]]
    actions: frozenset[tuple[str, str]]
    seconds: float


@click.command("test")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--init", "init", is_flag=True, help="FILE is a policy: write a first file of cases beside it, and stop.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the results as JUnit XML.")
@click.option("-k", "only", metavar="TEXT", default="", help="Run only the cases whose name holds TEXT.")
@click.option("-v", "--verbose", is_flag=True, help="Name the cases that pass, too.")
@click.option("--fail-uncovered", is_flag=True, help="Fail where no case reaches a rule, a comparison or an action.")
@click.pass_context
def test(
    ctx: click.Context,
    files: tuple[Path, ...],
    *,
    init: bool,
    junit: Path | None,
    only: str,
    verbose: bool,
    fail_uncovered: bool,
) -> None:
    """Run the cases in each FILE against the policy that it names.

    A case says what happens (alerts, readings, answers) and what must have become of it. The service's own governor
    plays it, on a clock of its own: nothing is asked, sent or written. Exit code 1 where a case fails.

    \b
    policy: policy.yml
    tests:
      - name: opens at 5%
        labels: {alertname: HighErrorRate, service: checkout}
        signals: {error_ratio: 0.004x3 0.06x9}       # four samples, then ten; one each 30s
        expect: [{at: 1m, state: none}, {at: 2m, state: detected, by: policy}]
    """
    if init:
        from receiver.rehearsal.beginning import first_cases

        for file in files:
            click.echo(f"{_write_first(file, first_cases(_policy(file), file.name))}: written; read it, and change it")
        return
    books, found = _read(files, only)
    results = list(_progress(_run(books, found), sum(len(f.cases) for f, _ in found)))
    for result in results:
        if result.failures:
            click.echo(f"FAIL {result.file}:{result.line} {result.name}")
            for failure in result.failures:
                click.echo("  " + failure.replace("\n", "\n  "))
        elif verbose:
            click.echo(f"ok   {result.file}:{result.line} {result.name}")
    failed = sum(bool(result.failures) for result in results)
    uncovered = [line for path, book in books.items() for line in _uncovered(path, book, results, found)]
    for line in uncovered:
        click.echo(line)
    click.echo(f"{len(results)} case(s), {failed} failed" + (f", {len(uncovered)} not reached" if uncovered else ""))
    if junit is not None:
        _write_junit(junit, results)
    ctx.exit(1 if failed or (fail_uncovered and uncovered) else 0)


def _read(files: Sequence[Path], only: str) -> tuple[dict[Path, Rulebook], list[tuple[CaseFile, Path]]]:
    """The policies by path, and each file of cases with its policy's path. Raises Wrong with everything amiss."""
    if len(files) > FILES_MAX:
        raise Wrong(f"{len(files)} files; at most {FILES_MAX} are run at once")
    books: dict[Path, Rulebook] = {}
    found: list[tuple[CaseFile, Path]] = []
    for file in files:
        try:
            cases = read_cases(file.read_bytes(), str(file))
        except OSError as error:
            raise Wrong(f"{file}: {error.strerror}") from None
        except CaseErrors as errors:
            raise Wrong(str(errors)) from None
        path = file.parent / cases.policy
        if path not in books:
            books[path] = _policy(path)
        _check_names(cases, books[path])
        chosen = tuple(case for case in cases.cases if only in case.name)
        found.append((CaseFile(cases.file, cases.policy, cases.people, chosen), path))
    if not any(cases.cases for cases, _ in found):
        raise Wrong("there is no case to run" + (f" whose name holds {only!r}" if only else ""))
    return books, found


def _policy(path: Path) -> Rulebook:
    try:
        return load(path.read_bytes(), file=str(path), environment=os.environ)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None
    except PolicyErrors as errors:
        raise Wrong(str(errors)) from None


def _check_names(cases: CaseFile, book: Rulebook) -> None:
    """A signal that the policy does not have would silently play no part. Raises Wrong."""
    for case in cases.cases:
        given = {name for signals in (case.signals, *(a.signals for a in case.alerts)) for name in signals}
        for name in sorted(given - set(book.signals)):
            known = ", ".join(sorted(book.signals)) or "none"
            raise Wrong(f"{cases.file}:{case.line}: the policy has no signal {name!r}; it has {known}")
        rules = {rule.name for rule in book.rules} | {"unmatched", "none"}
        for expected in case.expectations:
            if expected.wanted.get("rule", "none") not in rules:
                raise Wrong(f"{cases.file}:{expected.line}: the policy has no rule {expected.wanted['rule']!r}")


def _run(books: Mapping[Path, Rulebook], found: Sequence[tuple[CaseFile, Path]]) -> Iterator[Result]:
    jobs = [(cases.file, case, books[path].text, path, cases.people) for cases, path in found for case in cases.cases]
    workers = min(len(os.sched_getaffinity(0)), len(jobs))
    if len(jobs) < PROCESSES_FROM or workers < 2:
        for job in jobs:
            yield run_one(job)
        return
    from receiver.rehearsal import running  # noqa: F401 - imported here once, for all that are forked from this process

    # What is loaded stays: without this the collector walks through all of it again and again in each of them.
    with ProcessPoolExecutor(workers, initializer=gc.freeze) as pool:
        yield from pool.map(run_one, jobs, chunksize=8)


Job = tuple[str, Case, str, Path, Mapping[str, tuple[str, ...]] | None]
_BOOKS: dict[str, Rulebook] = {}  # of this process, by text


def run_one(job: Job) -> Result:
    """Run one case, in whichever process. The policy travels as its text."""
    import time

    from receiver.rehearsal.running import run_case

    file, case, text, path, people = job
    began = time.monotonic()
    if text not in _BOOKS:
        _BOOKS[text] = load(text, file=str(path), environment={})
    outcome = run_case(case, _BOOKS[text], people)
    failures = tuple(
        f"at {duration(m.at_seconds)}, {m.what}: expected {m.expected!r}, got {m.got!r} (line {m.line})"
        + (f"\n{m.decided}" if m.decided else "")
        for m in outcome.missed
    )
    reached = outcome.reached
    spent = time.monotonic() - began
    return Result(file, case.name, case.line, failures, reached.rules, reached.terms, reached.actions, spent)


def _progress(results: Iterator[Result], count: int) -> Iterator[Result]:
    """Pass the results on; on a terminal say how far they are."""
    shown = sys.stderr.isatty() and count >= PROCESSES_FROM
    for number, result in enumerate(results, 1):
        if shown and (number % 20 == 0 or number == count):
            click.echo(f"\r{number} of {count} cases", err=True, nl=number == count)
        yield result


def _uncovered(
    path: Path, book: Rulebook, results: Sequence[Result], found: Sequence[tuple[CaseFile, Path]]
) -> Iterator[str]:
    """A line for each rule that opened nothing, each comparison never true or never false, each action never asked."""
    files = {cases.file for cases, where in found if where == path}
    mine = [result for result in results if result.file in files]
    rules = {rule for result in mine for rule in result.rules}
    seen = {term for result in mine for term in result.terms}
    actions = {action for result in mine for action in result.actions}
    for rule in book.rules:
        if rule.record:
            continue
        if rule.name not in rules:
            yield f"not reached: {path}: rule {rule.name}"
            continue
        # What the file leaves to the default is not for its cases to reach: nobody opens without a firing alert.
        written = terms_of(rule) if rule.detect != UNMATCHED_RULE.detect else terms_of(rule)[1:]
        for term in dict.fromkeys(written):
            text = f"{term.name} {term.operator} {term.threshold}"
            for holds in (True, False):
                if (rule.name, text, holds) not in seen:
                    yield f"not reached: {path}: rule {rule.name}: {text} is never {str(holds).lower()}"
        for action in rule.actions:
            if (rule.name, action) not in actions:
                yield f"not reached: {path}: rule {rule.name}: {action} is never proposed"


def _write_junit(path: Path, results: Sequence[Result]) -> None:
    from xml.etree import ElementTree

    failed = sum(bool(result.failures) for result in results)
    whole = f"{sum(result.seconds for result in results):.3f}"
    suite = ElementTree.Element(
        "testsuite", name="counterfoil policy test", tests=str(len(results)), failures=str(failed), time=whole
    )
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.file, name=result.name, time=f"{result.seconds:.3f}"
        )
        if result.failures:
            failure = ElementTree.SubElement(case, "failure", message=result.failures[0].splitlines()[0])
            failure.text = "\n".join(result.failures)
    try:
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None


def _write_first(policy: Path, text: str) -> Path:
    """Write the first cases beside `policy`; what is there is kept. Raises Wrong."""
    path = policy.with_name(f"{policy.stem}.cases.yml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Wrong(f"{path} is there already, and is kept") from None
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None
    return path
