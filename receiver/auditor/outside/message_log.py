"""An export of Twilio's message log: the REST API's JSON list, bulk export's JSON lines, or CSV with a header.

What is read of a message is its sid, status, direction, sender, recipient and date; never its text. Columns and fields
are known by their letters alone: `DateSent`, `date_sent` and `Date Sent` are one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from receiver.auditor.outside import BadRecord

_DATES = ("datesent", "sentdate", "datecreated", "dateupdated")


@dataclass(frozen=True, slots=True)
class Logged:
    """One message as the carrier has it. at: when it was sent or came in; None where the export does not say."""

    sid: str
    status: str
    inbound: bool
    sender: str
    recipient: str
    service: str
    at: datetime | None


def read_messages(path: Path) -> tuple[dict[str, Logged], bool]:
    """Every message of the export by its sid, and whether it goes on in a page that is not in the file.

    Raises BadRecord.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecord(f"{path}: it cannot be read: {error}") from error
    rows, more = _json(path, text) if text.lstrip()[:1] in ("{", "[") else (_csv(path, text), False)
    found = {}
    for number, row in enumerate(rows, 1):
        logged = _logged(row)
        if logged is None:
            raise BadRecord(f"{path}: message {number} has no sid, status or direction; its columns: {', '.join(row)}")
        found[logged.sid] = logged
    return found, more


def _json(path: Path, text: str) -> tuple[list[Mapping[str, Any]], bool]:
    try:
        data: Any = json.loads(text)
    except ValueError:
        try:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise BadRecord(f"{path}: neither a JSON list nor a JSON object a line: {error}") from error
    more = isinstance(data, dict) and bool(data.get("next_page_uri"))
    if isinstance(data, dict):
        data = data.get("messages", [data] if "sid" in data else None)
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise BadRecord(f"{path}: no list of messages: it is to be what GET …/Messages.json answers")
    return [{_letters(name): value for name, value in row.items()} for row in data], more


def _csv(path: Path, text: str) -> Iterable[Mapping[str, Any]]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        names = [_letters(name) for name in next(reader, [])]
        if not {"sid", "status", "direction"} <= set(names):
            raise BadRecord(f"{path}: its first line must name the columns Sid, Status and Direction")
        return [dict(zip(names, row, strict=True)) for row in reader if row]
    except (csv.Error, ValueError) as error:
        if isinstance(error, BadRecord):
            raise
        raise BadRecord(f"{path}: not CSV: {error}") from error


def _logged(row: Mapping[str, Any]) -> Logged | None:
    sid, status, direction = (str(row.get(name) or "").strip() for name in ("sid", "status", "direction"))
    if not (sid and status and direction):
        return None
    dates = (_date(row.get(name)) for name in _DATES)
    return Logged(
        sid=sid,
        status=status.lower(),
        inbound=direction.lower() == "inbound",
        sender=str(row.get("from") or ""),
        recipient=str(row.get("to") or ""),
        service=str(row.get("messagingservicesid") or ""),
        at=next((date for date in dates if date is not None), None),
    )


def _date(value: object) -> datetime | None:
    """RFC 2822, as the REST API writes it, or ISO 8601; without a zone it is UTC."""
    text = str(value or "").strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except ValueError:
            return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
