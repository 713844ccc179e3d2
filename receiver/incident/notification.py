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
MAX_LABELS = 128  # of one alert; of annotations, too
MAX_LABEL_CHARACTERS = 4_096  # a longer label is another label, so it is refused; a longer annotation is cut
MAX_NESTING = 50
MAX_BAD_ALERTS_NAMED = 20

_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_FINGERPRINT = re.compile(r"[0-9A-Za-z_-]{1,64}")
# A string (to the end of the text where nothing closes it, so that no text is walked twice) or a bracket.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_FNV_OFFSET, _FNV_PRIME, _SIXTY_FOUR = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


class Malformed(ValueError):
    """The body is not a notification; the message says what is wrong with it, in one line."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery. alerts: those that could be read. unreadable: how many could not. bad_alerts: why, of the first.

    source: "alertmanager" or "grafana". truncated: how many alerts its sender left out.
    content_digest: SHA-256 over the content without externalURL, so that the same delivery by two peers of a cluster is
    one.
    """

    source: str
    receiver: str
    alerts: tuple[Alert, ...]
    bad_alerts: tuple[str, ...]
    truncated: int
    content_digest: str
    unreadable: int = 0


class _Repeating(dict[str, Any]):
    """An object in which a key stands twice: which of the values is meant cannot be known."""


def read_notification(body: bytes) -> Notification:
    """Read a webhook's body. Raises Malformed where it is not a notification, or none of its alerts can be read."""
    data = _object(_json(body), "the body")
    if "alerts" not in data:
        raise Malformed("the body has no alerts: it is not a notification of Alertmanager's webhook")
    rows = [] if data["alerts"] is None else data["alerts"]
    if not isinstance(rows, list):
        raise Malformed(f"alerts is {_kind(rows)}, not a list")
    if len(rows) > MAX_ALERTS:
        raise Malformed(f"{len(rows)} alerts in one notification; at most {MAX_ALERTS} are taken (see max_alerts)")
    alerts, bad = [], []
    for number, row in enumerate(rows):
        try:
            alerts.append(read_alert(row))
        except Malformed as error:
            bad.append(f"alert {number}: {error}")
    if bad and not alerts:
        raise Malformed(f"none of {len(bad)} alerts can be read; {bad[0]}")
    truncated = data.get("truncatedAlerts")
    return Notification(
        source="grafana" if "orgId" in data or data.get("version") == "1" else "alertmanager",
        receiver=_shown(data.get("receiver"), 200),
        alerts=tuple(alerts),
        bad_alerts=tuple(bad[:MAX_BAD_ALERTS_NAMED]),
        truncated=truncated if type(truncated) is int and 0 <= truncated < 2**31 else 0,
        content_digest=_digest(data),
        unreadable=len(bad),
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


def read_alert(row: object) -> Alert:
    """One element of `alerts`. Each alert's own status counts, never its group's. Raises Malformed."""
    data = _object(row, "it")
    labels = _texts(data.get("labels"), "labels")
    if not labels:
        raise Malformed("it has no labels")
    starts_at = read_time(data["startsAt"]) if data.get("startsAt") else None
    if starts_at is None:
        raise Malformed("startsAt is missing")
    firing = _fires(data)
    fingerprint = data.get("fingerprint")
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        fingerprint = fingerprint_of(labels)
    return Alert(
        fingerprint=fingerprint,
        labels=labels,
        annotations=_texts(data.get("annotations"), "annotations", cut=True),
        firing=firing,
        starts_at=starts_at,
        ends_at=None if firing or not data.get("endsAt") else read_time(data["endsAt"]),
        generator_url=_shown(data.get("generatorURL"), 2_000),
    )


def _fires(data: Mapping[str, Any]) -> bool:
    status = data.get("status")
    if status in ("firing", "resolved"):
        return bool(status == "firing")
    # Without a status an alert that has no end fires. One with an end may or may not: the end may lie ahead.
    if status is None and (not data.get("endsAt") or read_time(data["endsAt"]) is None):
        return True
    said = "missing" if status is None else f"{status[:40]!r}" if isinstance(status, str) else _kind(status)
    raise Malformed(f"status is {said}, not firing or resolved")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{what} is {_kind(value)}, not an object")
    if isinstance(value, _Repeating):
        raise Malformed(f"{what} has a key twice")
    return value


def _texts(value: object, what: str, *, cut: bool = False) -> dict[str, str]:
    """Labels or annotations. cut: shorten what is too long and drop what is too many, instead of refusing it."""
    pairs = {} if value is None else _object(value, what)
    if len(pairs) > MAX_LABELS and not cut:
        raise Malformed(f"{len(pairs)} {what}; at most {MAX_LABELS} are taken")
    texts = {}
    for name, text in list(pairs.items())[:MAX_LABELS]:
        if not isinstance(text, str):
            raise Malformed(f"{what}: {name[:40]!r} is {_kind(text)}, not text")
        if not (_is_unicode(name) and _is_unicode(text)):
            raise Malformed(f"{what}: {name[:40]!r} holds a lone surrogate, which is no character")
        if len(name) > MAX_LABEL_CHARACTERS or (len(text) > MAX_LABEL_CHARACTERS and not cut):
            raise Malformed(f"{what}: {name[:40]!r} is longer than {MAX_LABEL_CHARACTERS} characters")
        texts[name] = text[:MAX_LABEL_CHARACTERS]
    return texts


def _shown(value: object, limit: int) -> str:
    """Text that is only shown: what is no text is none."""
    return value[:limit] if isinstance(value, str) and _is_unicode(value) else ""


def _is_unicode(text: str) -> bool:
    """Whether `text` can be stored and sent on: JSON may escape half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from error
    _check_nesting(text)
    try:
        return json.loads(text, parse_constant=_constant, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed("a number has thousands of digits") from error


def _check_nesting(text: str) -> None:
    """Refuse deep nesting before the parser walks into it: how deep it could go depends on who calls it."""
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return
    depth = 0
    for mark in _STRING_OR_BRACKET.finditer(text):
        if mark[0] in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise Malformed(f"nested deeper than {MAX_NESTING} levels")
        elif mark[0] in "]}":
            depth -= 1


def _constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    return data if len(data) == len(pairs) else _Repeating(pairs)


def _digest(data: Mapping[str, Any]) -> str:
    content = {name: value for name, value in data.items() if name != "externalURL"}
    encoded = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(encoded.encode()).hexdigest()


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
