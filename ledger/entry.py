"""An entry: one canonical JSON object, stored and hashed as its exact bytes. Pure."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

MAX_ENTRY_BYTES = 65_535  # as in C2SP tlog-tiles; what is larger goes into a blob
SALT_BYTES = 16
MAX_INTEGER = 2**53 - 1  # RFC 8785: beyond it a number is not the same for every reader
MAX_DEPTH = 64  # deeper than any entry of ours, and well within what every JSON reader takes
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}(\.\d{1,12})?", re.ASCII)


class NotCanonical(ValueError):
    """No canonical form in this profile: a float, a large integer, a key that is no text, or too deep."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is larger or more personal than an entry may be. It stands beside the log, under its digest."""

    name: str
    data: bytes
    digest: str = field(init=False)  # SHA-256 of `data`, in hex; computed once, by whoever makes the blob

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True)
class BlobRef:
    """How an entry names a blob: what it is, its SHA-256 in hex, its length in bytes."""

    name: str
    digest: str
    length: int


@dataclass(frozen=True, slots=True)
class Back:
    """The entry at `position` (from 0) of the same post, whose index is not known before the post."""

    position: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that is asked for: all but what the ledger gives (index, time, salt)."""

    id: str
    stage: str
    actor: str
    incident_id: str | None = None
    decision: str | None = None
    reason: str = ""
    confidence: str | None = None
    policy_version: str | None = None
    policy_digest: str | None = None
    settles: int | Back | None = None
    cites: tuple[int | Back, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    blobs: tuple[Blob, ...] = ()

    def document(self, first: int) -> dict[str, Any]:
        """Every field but index, timestamp and salt, where the post of this draft begins at index `first`."""

        def place(reference: int | Back) -> int:
            return first + reference.position if isinstance(reference, Back) else reference

        return {
            "id": self.id,
            "stage": self.stage,
            "actor": self.actor,
            "incident_id": self.incident_id,
            "decision": self.decision,
            "reason": self.reason,
            "confidence": self.confidence,
            "policy_version": self.policy_version,
            "policy_digest": self.policy_digest,
            "settles": None if self.settles is None else place(self.settles),
            "cites": [place(reference) for reference in self.cites],
            "body": dict(self.body),
            "blobs": [{"name": blob.name, "digest": blob.digest, "length": len(blob.data)} for blob in self.blobs],
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it stands in the log. `raw` are its exact bytes; everything else was read from them."""

    ledger: str
    tenant_id: str
    index: int
    id: str
    timestamp: datetime
    incident_id: str | None
    stage: str
    actor: str
    decision: str | None
    reason: str
    confidence: str | None
    policy_version: str | None
    policy_digest: str | None
    settles: int | None
    cites: tuple[int, ...]
    body: Mapping[str, Any]
    blobs: tuple[BlobRef, ...]
    salt: str
    raw: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Entry:
        """Read an entry's bytes. Raises ValueError where they are not an entry."""
        try:
            return cls.of(orjson.loads(raw), raw)
        except RecursionError as error:
            raise ValueError(f"not an entry: {error!r}") from error

    @classmethod
    def of(cls, data: Any, raw: bytes) -> Entry:
        """The entry that `data`, read from `raw`, is. Raises ValueError where it is none."""
        try:
            if type(data["cites"]) is not list or type(data["blobs"]) is not list:
                raise TypeError("cites and blobs are lists")  # an object iterates, too
            entry: Entry = object.__new__(cls)
            for name, put in _AS_IT_STANDS:
                put(entry, data[name])
            _put_timestamp(entry, parse_time(data["timestamp"]))
            _put_cites(entry, tuple(data["cites"]))
            _put_blobs(entry, tuple([BlobRef(b["name"], b["digest"], b["length"]) for b in data["blobs"]]))
            _put_raw(entry, raw)
            return entry
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an entry: {error!r}") from error

    def document(self) -> dict[str, Any]:
        """The fields that a draft decides, for comparing a repeated post with the first."""
        data: dict[str, Any] = orjson.loads(self.raw)
        for given in ("ledger", "tenant_id", "index", "timestamp", "salt"):
            data.pop(given, None)
        return data

    @property
    def well_formed(self) -> bool:
        """Whether every field is of its type: `parse` reads whatever JSON somebody has written."""
        return (
            type(self.ledger) is type(self.tenant_id) is type(self.id) is type(self.stage) is str
            and type(self.actor) is type(self.reason) is type(self.salt) is str
            and (self.incident_id is None or type(self.incident_id) is str)
            and (self.decision is None or type(self.decision) is str)
            and (self.confidence is None or type(self.confidence) is str)
            and (self.policy_version is None or type(self.policy_version) is str)
            and (self.policy_digest is None or type(self.policy_digest) is str)
            and type(self.index) is int  # True is no number here
            and (self.settles is None or type(self.settles) is int)
            and type(self.body) is dict
            and (not self.cites or all(type(cited) is int for cited in self.cites))
            and all(type(b.name) is type(b.digest) is str and type(b.length) is int for b in self.blobs)
        )

    def to_json(self) -> dict[str, Any]:
        """The entry for the API: as in the log, but `confidence` as a number, or null where it is none."""
        data: dict[str, Any] = orjson.loads(self.raw)
        known = self.confidence is not None and _NUMBER.fullmatch(self.confidence)
        data["confidence"] = float(self.confidence) if self.confidence is not None and known else None
        return data


# The setters of the slots themselves: `__init__` of a frozen dataclass takes twice as long, and all reading ends here.
_put: Mapping[str, Callable[[Entry, Any], None]] = {n: Entry.__dict__[n].__set__ for n in Entry.__dataclass_fields__}
_MADE = ("timestamp", "cites", "blobs", "raw")
_put_timestamp, _put_cites, _put_blobs, _put_raw = (_put[name] for name in _MADE)
_AS_IT_STANDS = tuple((name, put) for name, put in _put.items() if name not in _MADE)


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a value without floats, with text keys and integers below 2^53.

    In this profile JSON with sorted keys has the same bytes, as long as keys sort alike in UTF-16 and by code point.
    Keys that are all ASCII do; others are sorted here by their UTF-16 units. Raises NotCanonical.
    """
    try:
        if _check(value, MAX_DEPTH):
            return orjson.dumps(value, default=_plain, option=_SORTED)
        return orjson.dumps(_ordered(value))
    except orjson.JSONEncodeError as error:
        raise NotCanonical(f"text with a lone surrogate: {error}") from error


def read_canonical(raw: bytes) -> tuple[Any, bool]:
    """What JSON bytes say, and whether they are its canonical form. Raises ValueError, NotCanonical among them.

    What is plain is read and written once; what is odd in any way is told by `canonical` itself.
    """
    if raw.isascii() or not _SORTS_OTHERWISE.search(raw):
        try:
            data = orjson.loads(raw)
            if _is_plain(data):
                return data, bool(orjson.dumps(data, option=_SORTED) == raw)
        except orjson.JSONEncodeError:  # an integer beyond MAX_INTEGER, which is named below
            pass
        except orjson.JSONDecodeError:
            if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:  # else it may be that it is too deep for this reader
                raise
    data = json.loads(raw)
    return data, canonical(data) == raw


def _is_plain(value: Any) -> bool:
    """Whether no float is in it, and so few objects and lists that it cannot be deeper than MAX_DEPTH."""
    pending = [value] if type(value) is dict else [[value]]
    for holder in pending:
        for item in holder.values() if type(holder) is dict else holder:
            kind = type(item)
            if kind is float:
                return False
            if kind is not str and item and (kind is dict or kind is list):  # there is room for an empty one
                pending.append(item)  # the loop goes on to it
    return len(pending) < MAX_DEPTH


_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SORTS_OTHERWISE = re.compile(rb"[\xee-\xff]")  # U+E000 and beyond: in UTF-16 they do not all stand as by code point


def _plain(value: Any) -> dict[str, Any] | list[Any]:
    return list(value) if isinstance(value, tuple) else dict(value)  # `_check` let it through, orjson does not know it


def _check(value: Any, deeper: int) -> bool:
    """Whether every key is plain ASCII text. Raises NotCanonical on what has no canonical form."""
    kind = type(value)
    if kind is dict or isinstance(value, Mapping):
        ascii_keys = True
        for key in value:
            if not isinstance(key, str):
                raise NotCanonical(f"key {key!r} is no text")
            ascii_keys = ascii_keys and type(key) is str and key.isascii()
        items: Iterable[Any] = value.values()
    elif isinstance(value, (list, tuple)):
        ascii_keys, items = True, value
    else:
        _check_plain(value)
        return True
    if not deeper:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
    for item in items:
        kind = type(item)
        if kind is str or item is None:  # most of them, of which nothing is to be said
            continue
        if kind is int or kind is bool:
            _check_plain(item)
        else:
            ascii_keys &= _check(item, deeper - 1)
    return ascii_keys


def _check_plain(value: Any) -> None:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise NotCanonical("an integer beyond 2^53")
    if value is not None and not isinstance(value, (str, int)):
        raise NotCanonical(f"{type(value).__name__} has no canonical form: write it as text")


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str.__str__(key): _ordered(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    return value


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, microseconds: "2026-11-23T08:58:38.425307Z". Raises ValueError on a naive time."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@functools.lru_cache(maxsize=1024)  # the entries of a post have one time
def parse_time(text: str) -> datetime:
    """The reverse of `format_time`, and nothing else. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a ledger time")
    return datetime.fromisoformat(text)
