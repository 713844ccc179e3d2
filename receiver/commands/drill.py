"""`counterfoil drill`: a real message to a real phone about nothing, and what becomes of it, line by line."""

from __future__ import annotations

import getpass
import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click

from policy_rules.durations import parse_duration
from receiver.commands.client import call

POLL_SECONDS = 0.5
PAGE = 1_000
REPORT_SECONDS = 5.0  # after the answer, for the carrier's report on the message, which may come later
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_.@-]")


@click.command()
@click.option("--person", required=True, help="Who is asked: a name of the roster.")
@click.option("--by", help="Who asks; it stands in the ledger.  [default: you, by the name of your account]")
@click.option("--timeout", default="10m", show_default=True, help="How long to wait for the answer.")
@click.option("--tenant", default="default", show_default=True, help="Whose roster.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.pass_obj
@click.pass_context
def drill(
    ctx: click.Context, config: Path, *, person: str, by: str | None, timeout: str, tenant: str, as_json: bool
) -> None:
    """Ask PERSON about nothing, in earnest, through the running service, and tell what becomes of it.

    The message, its delivery, the tap and its judgement are real; every line of the message says that it is a drill.
    No incident is opened, no executor is called, and no rule, limit or breaker sees it. Exit code 0 only if the tap
    came and the drill was closed.
    """
    seconds = parse_duration(timeout)
    if seconds is None:
        raise click.BadParameter(f"{timeout!r} is no duration like 30s or 10m", param_hint="--timeout")
    asker = by or _NOT_OF_A_NAME.sub("-", getpass.getuser())
    posted = call(config, "POST", "/api/v1/drills", tenant=tenant, body={"by": asker, "person": person})["entries"]
    course = Course(person, posted[0], posted[1])
    lines = []
    told = _watch(config, tenant, course, time.monotonic() + seconds)
    for line in chain([course.begun()], told):
        lines.append(line)
        if not as_json:
            click.echo(line)
    if as_json:
        click.echo(
            json.dumps(
                {"drill": course.id, "outcome": course.outcome, "delivered": course.delivered, "course": lines},
                indent=2,
            )
        )
    elif course.outcome is not None:
        click.echo(course.ended())
    elif not course.lost:
        click.echo(f"No answer within {timeout}. {course.advice()}")
    ctx.exit(0 if course.outcome in ("approved", "rejected") else 1)


def _watch(config: Path, tenant: str, course: Course, deadline: float) -> Iterator[str]:
    after = course.message["index"]
    while not course.done:
        page = call(config, "GET", f"/api/v1/ledger?after={after}&limit={PAGE}", tenant=tenant)["entries"]
        for entry in page:
            after = entry["index"]
            line = course.take(entry)
            if line is not None:
                yield line
        if course.outcome is not None:
            deadline = min(deadline, time.monotonic() + REPORT_SECONDS)
        if time.monotonic() > deadline:
            return
        if len(page) < PAGE:
            time.sleep(POLL_SECONDS)  # the ledger is read over HTTP, where nothing tells that it has grown


class Course:
    """One drill, as its entries tell it. outcome: "approved", "rejected" or "expired" once it is over."""

    def __init__(self, person: str, began: Mapping[str, Any], message: Mapping[str, Any]) -> None:
        self.person, self.began, self.message = person, began, message
        self.id = str(began["body"]["drill"])
        self.outcome: str | None = None
        self.lost = self.delivered = False
        self._reached = "the message was not handed over yet"

    def begun(self) -> str:
        return _line(self.began, f"DRILL {self.id}: {self.person} is asked about nothing")

    def take(self, entry: Mapping[str, Any]) -> str | None:
        """What the next entry says of this drill; None where it is about something else."""
        stage, body = entry["stage"], entry["body"]
        if stage in ("SENT", "READ") and body.get("message") == self.message["index"]:
            self._reached = "Twilio took the message" if stage == "SENT" else f"{self.person} has read the message"
            return _line(entry, f"{self._reached} ({body['sid']})")
        if stage in ("DELIVERED", "UNDELIVERED") and entry["settles"] == self.message["index"]:
            self.lost, self.delivered = stage == "UNDELIVERED", stage == "DELIVERED"
            self._reached = "it is on the phone" if not self.lost else f"it was not delivered: {body['detail']}"
            return _line(entry, self._reached)
        if stage == "NOTED" and body.get("drill") == self.id:
            self.outcome = body.get("outcome", self.outcome)
            return _line(entry, str(body["text"]))
        return None

    @property
    def done(self) -> bool:
        """Nothing more is to be waited for: the answer and the carrier's report are there, or the message is lost."""
        return self.lost or (self.outcome is not None and self.delivered)

    def ended(self) -> str:
        """What the drill showed, once it is over."""
        if self.delivered or self.outcome == "expired":
            return f"The drill is over: {self.outcome}."
        why = (
            "and Twilio reported no delivery: its status callbacks do not arrive here, see `counterfoil check --online`"
        )
        return f"The drill is over: {self.outcome}, {why}."

    def advice(self) -> str:
        """Where it stopped, for whoever asks why no answer came."""
        return f"How far it got: {self._reached}. The drill ends by itself; `counterfoil check --online` looks further."


def _line(entry: Mapping[str, Any], text: str) -> str:
    at = datetime.fromisoformat(str(entry["timestamp"])).strftime("%H:%M:%S")
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"{at}  entry {entry['index']:<6} {shown}"
