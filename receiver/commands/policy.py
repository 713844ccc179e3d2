"""`counterfoil policy`: validate policies, and show what one says after substitution."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from policy_rules.differences import differences
from policy_rules.loading import PolicyErrors, Problem, load, warnings
from policy_rules.permission import Person
from policy_rules.rulebook import Rulebook
from receiver.commands import Wrong, settings_or_exit
from receiver.commands.policy_replay import replay
from receiver.commands.policy_test import test
from receiver.commands.policy_today import Answers, ask_all
from receiver.configuration import persons

_WEB_ADDRESS = re.compile(r"https?://[^/?#\s]")


@dataclass(frozen=True, slots=True)
class _Subject:
    """One policy file, with the people and executors of the tenant whose policy it is (None: not known)."""

    file: Path
    people: Sequence[Person] | None = None
    executors: Collection[str] | None = None
    channels: Mapping[str, Collection[str]] | None = None


@click.group()
def policy() -> None:
    """Check and show policies."""


@policy.command()
@click.argument("files", nargs=-1, metavar="[FILE]…", type=click.Path(path_type=Path))
@click.option("--prometheus", "url", metavar="URL", help="Ask this server too: are there such series, and what now?")
@click.option("--key", "labels", multiple=True, metavar="LABEL=VALUE", help="With --prometheus: the key to decide on.")
@click.option("--keys", "keys_max", default=3, show_default=True, type=click.IntRange(1), help="How many keys a rule.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_obj
@click.pass_context
def check(
    ctx: click.Context,
    config: Path,
    files: tuple[Path, ...],
    *,
    url: str | None,
    labels: tuple[str, ...],
    keys_max: int,
    as_json: bool,
) -> None:
    """Say everything that is wrong or doubtful with each FILE, with its line.

    Without FILE: the policies of the configuration, against its people and executors too. Exit code 1 where a policy
    is refused; a warning alone is no failure.

    With --prometheus it also says which series are missing, and for keys that have some (of firing alerts first, or
    the one of --key) what each signal is now and what policy would decide, were an alert firing. The configuration's
    http_config is used where it names the same address. Exit code 1 too where the server does not answer or refuses a
    query.
    """
    key = _key(labels)
    if url is not None and not _WEB_ADDRESS.match(url):
        raise click.UsageError(f"--prometheus {url!r} is no address like http://127.0.0.1:9090")
    checked = [_checked(subject) for subject in _subjects(config, files)]
    results = [result for result, _ in checked]
    today: list[Answers | None] = [None] * len(checked)
    if url is not None:
        asked = iter(ask_all([book for _, book in checked if book is not None], url, config, key, keys_max))
        today = [next(asked) if book is not None else None for _, book in checked]
    for result, answers in zip(results, today, strict=True):
        if answers is not None:
            result["errors"] = _rows(answers.errors)
            result["warnings"] += _rows(answers.warnings)
            result["today"] = [one.to_json() for one in answers.today]
            result["not_shown"] = list(answers.more)
    failed = any(result["errors"] for result in results)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "policies": results}, indent=2))
    else:
        for result, answers in zip(results, today, strict=True):
            for line in (*_lines(result), *(answers.lines() if answers is not None else ())):
                click.echo(line)
    ctx.exit(1 if failed else 0)


@policy.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.pass_obj
def show(config: Path, file: Path | None, *, as_json: bool) -> None:
    """Print name, version, digest and effective text of FILE, or of the configuration's policies.

    The effective text is the file after ${NAME:-default}: what is adopted, hashed and recorded.
    """
    shown = []
    for subject in _subjects(config, (file,) if file is not None else ()):
        try:
            shown.append((subject.file, _load(subject.file)))
        except PolicyErrors as error:
            raise Wrong(str(error)) from None
    if as_json:
        rows = [
            {"file": str(path), "name": book.name, "version": book.version, "digest": book.digest, "text": book.text}
            for path, book in shown
        ]
        click.echo(json.dumps({"policies": rows}, indent=2))
        return
    for path, book in shown:
        click.echo(f"# {path}: {book.name} {book.version}, sha256 {book.digest}")
        click.echo(book.text, nl=not book.text.endswith("\n"))


def _subjects(config: Path, files: Sequence[Path]) -> list[_Subject]:
    if files:
        return [_Subject(file) for file in files]
    found: dict[tuple[Path, str], _Subject] = {}
    settings = settings_or_exit(config)
    for name, tenant in settings.tenants.items():
        people = persons(tenant)
        found[(tenant.policy, name)] = _Subject(
            tenant.policy, people, tuple(tenant.executors), settings.channels(tenant)
        )
    return list(found.values())


def _load(file: Path) -> Rulebook:
    """The rulebook in `file`. Raises PolicyErrors, and Wrong where the file cannot be read."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise Wrong(f"{file}: {error.strerror}") from None
    return load(text, file=str(file), environment=os.environ)


def _checked(subject: _Subject) -> tuple[dict[str, Any], Rulebook | None]:
    """What is wrong and doubtful, and the rulebook where nothing is wrong."""
    try:
        book = _load(subject.file)
    except PolicyErrors as error:
        return {"file": str(subject.file), "errors": _rows(error.problems), "warnings": []}, None
    result = {
        "file": str(subject.file),
        "name": book.name,
        "version": book.version,
        "digest": book.digest,
        "rules": len(book.rules),
        "signals": len(book.signals),
        "errors": [],
        "warnings": _rows(warnings(book, subject.people, subject.executors, subject.channels)),
    }
    return result, book


def _key(labels: Sequence[str]) -> dict[str, str] | None:
    """["service=checkout"] as a mapping; None where nothing was said. Raises click.UsageError."""
    pairs = [label.partition("=") for label in labels]
    wrong = [label for label, (name, equal, _) in zip(labels, pairs, strict=True) if not name or not equal]
    if wrong:
        raise click.UsageError(f"--key {wrong[0]!r} is not LABEL=VALUE")
    return {name: value for name, _, value in pairs} or None


def _rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"line": problem.line, "column": problem.column, "message": problem.message} for problem in problems]


def _lines(result: dict[str, Any]) -> Iterator[str]:
    for word, rows in (("error", result["errors"]), ("warning", result["warnings"])):
        for row in rows:
            yield f"{result['file']}:{row['line']}:{row['column']}: {word}: {row['message']}"
    if result["errors"]:
        yield f"{result['file']}: FAIL, {len(result['errors'])} error(s)"
    else:
        size = f"{result['rules']} rule(s), {result['signals']} signal(s)"
        yield f"{result['file']}: ok, {result['name']} {result['version']}, {size}, sha256 {result['digest'][:12]}"


@policy.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_context
def diff(ctx: click.Context, old: Path, new: Path, *, as_json: bool) -> None:
    """Say in words what NEW decides otherwise than OLD.

    Comments, order of keys and layout do not count. Exit code 1 where there is a difference.
    """
    before, after = _loaded(old), _loaded(new)
    found = differences(before, after)
    if as_json:
        versions = {"old": before.version, "new": after.version}
        click.echo(json.dumps({"same": not found, **versions, "differences": found}, indent=2))
    else:
        for line in found:
            click.echo(line)
        same = "the same decisions" if not found else f"{len(found)} difference(s)"
        click.echo(f"{before.name} {before.version} → {after.name} {after.version}: {same}")
        if found and (before.name, before.version) == (after.name, after.version):
            click.echo("raise the version: the same version with other contents is refused")
    ctx.exit(1 if found else 0)


def _loaded(file: Path) -> Rulebook:
    try:
        return _load(file)
    except PolicyErrors as error:
        raise Wrong(str(error)) from None


policy.add_command(replay)
policy.add_command(test)
