"""`counterfoil policy replay`: what a candidate would have decided on the history that a ledger holds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ledger.audit import NotALedger
from ledger.logfile import open_log
from policy_rules.loading import PolicyErrors, load
from policy_rules.rulebook import Rulebook
from receiver.auditor.charters import Archive
from receiver.auditor.replay.candidate import OTHERWISE, SAME, UNKNOWN, Judged, judge_episode
from receiver.auditor.replay.episodes import History
from receiver.commands import Wrong, settings_or_exit, why
from receiver.commands.ledger.common import Moment
from receiver.commands.ledger.replayed import Folder

TOLD_EVERY = 5_000  # entries, on a terminal


@click.command()
@click.option(
    "--policy",
    "candidate",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The candidate.",
)
@click.option(
    "--since", metavar="TIME", type=Moment(), help="Only what began at or after it, like 2026-08-23T00:00:00Z."
)
@click.option("--tenant", default="default", show_default=True, help="Whose history.")
@click.option(
    "--export",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read a folder that `ledger export` wrote of a whole log, and no ledger.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_obj
@click.pass_context
def replay(
    ctx: click.Context,
    config: Path,
    *,
    candidate: Path,
    since: datetime | None,
    tenant: str,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Decide a ledger's history again with another policy, and say per incident where it first differs.

    Opened or not, earlier or later; recovered earlier or later; an action newly permitted or denied; other approvers.
    The ledger keeps the readings of the looks that changed something: what hangs on others is said to be unknown, and
    never guessed. The service may run meanwhile. Exit code 1 where anything differs or is unknown.
    """
    rulebook = _candidate(candidate)
    try:
        if folder is not None:
            history = _collect(Folder(folder), rulebook)
        else:
            with open_log(settings_or_exit(config).ledger.path, tenant) as log:
                history = _collect(log, rulebook)
    except OSError as error:
        raise Wrong(why(error)) from None
    except (NotALedger, ValueError) as error:
        raise Wrong(str(error)) from None
    found = [judge_episode(one, rulebook) for one in history.episodes if since is None or one.began >= since]
    if as_json:
        click.echo(json.dumps(_document(found, rulebook, history), indent=2))
    else:
        for line in _lines(found, rulebook, history, since):
            click.echo(line)
    ctx.exit(0 if all(one.result == SAME for one in found) and not history.unwatched else 1)


def _candidate(file: Path) -> Rulebook:
    try:
        return load(file.read_bytes(), file=str(file), environment=os.environ)
    except OSError as error:
        raise Wrong(f"{file}: {error.strerror}") from None
    except PolicyErrors as error:
        raise Wrong(str(error)) from None


def _collect(archive: Archive, candidate: Rulebook) -> History:
    history = History(archive, candidate, _progress())
    unreadable = history.collect()
    _clear()
    if not history.episodes and next(iter(archive.entries()), None) is None:
        raise NotALedger(f"there is no log of {archive.tenant or 'any tenant'}")
    if unreadable:
        raise ValueError(f"{archive.tenant}: entry {unreadable[0].index}: {unreadable[0].comparison}")
    return history


def _progress() -> Callable[[int], None]:
    if not sys.stderr.isatty():
        return lambda index: None

    def tell(index: int) -> None:
        if index % TOLD_EVERY == 0:
            click.echo(f"\r{index} entries read", err=True, nl=False)

    return tell


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r" + " " * 40 + "\r", err=True, nl=False)


def _lines(found: Sequence[Judged], rulebook: Rulebook, history: History, since: datetime | None) -> Iterator[str]:
    words = {OTHERWISE: "otherwise", UNKNOWN: "cannot be known"}
    for one in found:
        if one.result != SAME:
            episode = one.episode
            key = " ".join(f"{name}={value}" for name, value in episode.key)
            name = episode.incident or f"watch {episode.index}"
            when = f"{one.at:%Y-%m-%d %H:%M:%S}" if one.at is not None else ""
            yield f"{name} {episode.rule} {key}: {words[one.result]} at {when}: {one.text}"
    for alert in history.unwatched.values():
        labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
        yield f"an alert that was only recorded would be watched; its readings were never taken: {labels}"
    count = {result: sum(one.result == result for one in found) for result in (SAME, OTHERWISE, UNKNOWN)}
    incidents = sum(one.episode.incident is not None for one in found)
    when = f" since {since:%Y-%m-%d %H:%M:%S} UTC" if since is not None else ""
    yield (
        f"{rulebook.name} {rulebook.version} on {incidents} incident(s) and {len(found) - incidents} cleared watch(es)"
        f"{when}: {count[SAME]} the same, {count[OTHERWISE]} otherwise, {count[UNKNOWN]} cannot be known"
    )


def _document(found: Sequence[Judged], rulebook: Rulebook, history: History) -> dict[str, Any]:
    return {
        "policy": {"name": rulebook.name, "version": rulebook.version, "digest": rulebook.digest},
        "episodes": [one.to_json() for one in found],
        "unwatched": [dict(alert.labels) for alert in history.unwatched.values()],
        "same": all(one.result == SAME for one in found) and not history.unwatched,
    }
