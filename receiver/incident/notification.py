"""Read what Alertmanager and Grafana post. Pure: any bytes give a Notification or Malformed, nothing else.

Sources: Alertmanager's webhook version "4" and the ancient integer group key of version 3, Grafana's version "1".
Unknown fields are accepted; one alert that cannot be read never costs its neighbours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from policy_rules.readings import Alert

MAX_ALERTS = 10_000
MAX_LABELS = 128
MAX_LABEL_CHARACTERS = 4_096
MAX_NESTING = 50
MAX_BAD_ALERTS_NAMED = 20

_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_FINGERPRINT = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FNV_OFFSET, _FNV_PRIME, _SIXTY_FOUR = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


class Malformed(ValueError):
    """The body is not a notification; the message says what is wrong with it, in one line."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery. alerts: those that could be read. bad_alerts: why each of the others could not.

    content_digest: SHA-256 over the content without externalURL, so that the same delivery by two peers of a cluster is
    one.
    """

    source: str
    receiver: str
    alerts: tuple[Alert, ...]
    bad_alerts: tuple[str, ...]
    truncated: int
    content_digest: str


def read_notification(body: bytes) -> Notification:
    """Read a webhook's body. Raises Malformed."""
    data = _json(body)
    if not isinstance(data, dict):
        raise Malformed(f"the body is {_kind(data)}, not an object")
    rows = data.get("alerts", [])
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        raise Malformed(f"alerts is {_kind(rows)}, not a list")
    if len(rows) > MAX_ALERTS:
        raise Malformed(f"{len(rows)} alerts in one notification; at most {MAX_ALERTS} are taken (see max_alerts)")
    alerts, bad = [], []
    for number, row in enumerate(rows):
        try:
            alerts.append(_alert(row))
        except Malformed as error:
            bad.append(f"alert {number}: {error}")
    if bad and not alerts:
        raise Malformed(f"none of {len(bad)} alerts can be read; {bad[0]}")
    truncated = data.get("truncatedAlerts", 0)
    receiver = data.get("receiver", "")
    return Notification(
        source="grafana" if "orgId" in data else "alertmanager",
        receiver=receiver[:200] if isinstance(receiver, str) else "",
        alerts=tuple(alerts),
        bad_alerts=tuple(bad[:MAX_BAD_ALERTS_NAMED]),
        truncated=truncated if isinstance(truncated, int) and 0 <= truncated < 2**31 else 0,
        content_digest=_digest(data),
    )


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Alertmanager's own fingerprint: FNV-1a 64 over the sorted label pairs, each name 0xff value 0xff."""
    value = _FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            value = ((value ^ byte) * _FNV_PRIME) & _SIXTY_FOUR
    return f"{value:016x}"


def read_time(text: object) -> datetime | None:
    """A time of any offset with up to nine fractional digits, in UTC; None for year 1, which means "none".

    Raises Malformed.
    """
    if not isinstance(text, str):
        raise Malformed(f"a time is {_kind(text)}, not text")
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed(f"{text[:40]!r} is not a time like 2026-11-23T08:58:38Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if year == 1:
        return None
    microseconds = int((match[7] or "0").ljust(9, "0")[:6])
    zone: timezone = UTC
    try:
        if match[8] is None:
            offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
            zone = timezone(offset if match[9] == "+" else -offset)
        return datetime(year, month, day, hour, minute, second, microseconds, zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{text[:40]!r} is not a time: {error}") from error


def _alert(row: object) -> Alert:
    if not isinstance(row, dict):
        raise Malformed(f"it is {_kind(row)}, not an object")
    labels = _texts(row.get("labels"), "labels")
    if not labels:
        raise Malformed("it has no labels")
    annotations = _texts(row.get("annotations"), "annotations")
    starts_at = read_time(row.get("startsAt"))
    if starts_at is None:
        raise Malformed("startsAt is missing")
    ends_at = read_time(row["endsAt"]) if row.get("endsAt") else None
    status = row.get("status")
    if status not in ("firing", "resolved"):
        raise Malformed(f"status is {str(status)[:40]!r}, not firing or resolved")
    fingerprint = row.get("fingerprint")
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        fingerprint = fingerprint_of(labels)
    url = row.get("generatorURL")
    firing = status == "firing"
    return Alert(
        fingerprint=fingerprint,
        labels=labels,
        annotations=annotations,
        firing=firing,
        starts_at=starts_at,
        ends_at=None if firing else ends_at,
        generator_url=url[:2_000] if isinstance(url, str) else "",
    )


def _texts(value: object, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{what} is {_kind(value)}, not an object")
    if len(value) > MAX_LABELS:
        raise Malformed(f"{len(value)} {what}; at most {MAX_LABELS} are taken")
    for name, text in value.items():
        if not isinstance(text, str):
            raise Malformed(f"{what}.{name[:40]} is {_kind(text)}, not text")
        if len(text) > MAX_LABEL_CHARACTERS or len(name) > MAX_LABEL_CHARACTERS:
            raise Malformed(f"{what}.{name[:40]} is longer than {MAX_LABEL_CHARACTERS} characters")
    return dict(value)


def _json(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from error
    _check_nesting(text)
    try:
        data = json.loads(text, parse_constant=_constant, object_pairs_hook=_once)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {str(error)[:120]}") from error
    _check_text(text)
    return data


def _check_nesting(text: str) -> None:
    """Refuse deep nesting before the parser walks into it."""
    depth = 0
    for mark in re.finditer(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', text, re.DOTALL):
        if mark[0] in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise Malformed(f"nested deeper than {MAX_NESTING} levels")
        elif mark[0] in "]}":
            depth -= 1


def _check_text(text: str) -> None:
    """A lone surrogate is no character and could be neither stored nor sent on."""
    for escape in re.finditer(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([0-9a-fA-F]{4}))?|.)", text, re.DOTALL):
        first, second = escape[1], escape[2]
        if first is None or not 0xD800 <= int(first, 16) <= 0xDFFF:
            if second is not None and 0xD800 <= int(second, 16) <= 0xDFFF:
                _check_text(text[escape.start() + 6 :])
                return
            continue
        if int(first, 16) > 0xDBFF or second is None or not 0xDC00 <= int(second, 16) <= 0xDFFF:
            raise Malformed("text with a lone surrogate")


def _constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise Malformed("a key stands twice in an object")
    return data


def _digest(data: Mapping[str, Any]) -> str:
    content = {name: value for name, value in data.items() if name != "externalURL"}
    try:
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    except ValueError as error:  # an integer of thousands of digits
        raise Malformed(f"a number that cannot be read: {str(error)[:80]}") from error
    return hashlib.sha256(encoded.encode()).hexdigest()


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
