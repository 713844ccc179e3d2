"""The canonical form, times, and what is not an entry."""

from __future__ import annotations

import json
from collections import namedtuple
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import (
    MAX_DEPTH,
    Back,
    Blob,
    Draft,
    Entry,
    NotCanonical,
    canonical,
    format_time,
    parse_time,
    read_canonical,
)
from tests.ledger.books import START, Scribe, connection

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
ASCII = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | KEYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(ASCII)
def test_with_ascii_keys_it_is_what_json_writes(value: Any) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == expected.encode()


@given(VALUES)
def test_it_is_read_back_as_it_was_and_is_its_own_canonical_form(value: Any) -> None:
    raw = canonical(value)
    assert json.loads(raw) == value
    assert canonical(json.loads(raw)) == raw


def exact(raw: bytes) -> bool | None:
    """Whether bytes are the canonical form of what they say, by the standard library; None where they say nothing."""
    try:
        data = json.loads(raw)
        return canonical(data) == raw
    except (NotCanonical, ValueError, RecursionError):
        return None


def read(raw: bytes) -> bool | None:
    try:
        return read_canonical(raw)[1]
    except (NotCanonical, ValueError, RecursionError):
        return None


@given(VALUES, st.integers(0, 200), st.sampled_from([*b' 0129.-+eE"\\,:[]{}tu', 0, 0x1F, 0x7F, 0xC3, 0xEE, 0xF0]))
def test_bytes_are_read_as_canonical_exactly_where_they_are(value: Any, place: int, byte: int) -> None:
    raw = bytearray(canonical(value))
    assert read(bytes(raw)) is True
    for changed in (raw[:place] + bytes([byte]) + raw[place + 1 :], raw[:place] + bytes([byte]) + raw[place:]):
        assert bool(read(bytes(changed))) is bool(exact(bytes(changed)))


@pytest.mark.parametrize(
    "text",
    ["1.0", "[1e2]", "-0", "[-0.0]", '{"a":1,"a":1}', '{"a": 1}', '{"b":1,"a":2}', '"\\u0041"', '"\\/"', '"\\u001F"',
     "NaN",
     "[9007199254740992]", "[18446744073709551616]", '{"a":{"b":[{"c":0.5}]}}', "[" * 65 + "]" * 65, '"\\ud800"',
     '{"a":' * 64 + "[]" + "}" * 64, "[0," * 64 + '{"a":0}' + "]" * 64],
)  # fmt: skip
def test_what_is_not_canonical_is_never_read_as_if_it_were(text: str) -> None:
    assert not read(text.encode())


@pytest.mark.parametrize(
    "text",
    ["[" * 64 + "]" * 64, '{"a":' * 63 + "[]" + "}" * 63, '{"a":' * 64 + "0" + "}" * 64, "[" + "[0]," * 99 + "[]]",
     '"' + "[" * 99 + '"'],
)  # fmt: skip
def test_what_is_as_deep_as_it_may_be_is_canonical(text: str) -> None:
    assert read(text.encode())


def test_every_character_is_written_as_the_standard_library_writes_it() -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000), 0x10FFFF]))
    assert canonical([everything]) == json.dumps([everything], ensure_ascii=False).encode()


def test_a_named_tuple_is_a_list() -> None:
    pair = namedtuple("pair", "left right")
    assert canonical([pair(1, 2), pair(("x", 1), ("y", 2))]) == b'[[1,2],[["x",1],["y",2]]]'


def test_the_order_of_rfc_8785() -> None:
    """RFC 8785, 3.2.3: keys are sorted by their UTF-16 units, so an emoji stands before U+FB33."""
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    keys = list(json.loads(canonical(value)))
    assert keys == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert keys != sorted(value)
    assert list(json.loads(canonical({"a": [value]}))["a"][0]) == keys


def test_the_escapes_of_rfc_8785() -> None:
    """RFC 8785, 3.2.2.2."""
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f\u2028\u007f"
    assert canonical(text) == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u2028\u007f"'.encode()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": [0.5]},
        2**53,
        -(2**53),
        10**5000,
        "\ud800",
        {"\udfff": 1},
        {"a": {"b": "\ud800x"}},
        {1: "a"},
        {None: "a"},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {"a": datetime(2026, 1, 1, tzinfo=UTC)},
        nested(MAX_DEPTH + 1),
        nested(100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)


def test_the_borders_of_the_canonical_form() -> None:
    assert canonical([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"
    assert json.loads(canonical(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    assert canonical((1, (2,))) == b"[1,[2]]"


def test_times() -> None:
    east = timezone(timedelta(hours=2))
    assert format_time(datetime(2026, 11, 23, 10, 58, 38, 425307, east)) == "2026-11-23T08:58:38.425307Z"
    assert format_time(datetime(2026, 11, 23, tzinfo=UTC)) == "2026-11-23T00:00:00.000000Z"
    with pytest.raises(ValueError, match="without a zone"):
        format_time(datetime(2026, 11, 23))  # noqa: DTZ001 - a naive time is what is tested


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - naive by contract
def test_a_time_is_read_back_as_it_was(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T08:58:38Z",
        "2026-11-23 08:58:38.425307Z",
        "2026-11-23T08:58:38.425307",
        "2026-11-23T08:58:38.425+00:00",
        "2026-13-23T08:58:38.425307Z",
        "2026-11-23T24:58:38.425307Z",
        "2026-11-23T08:58:38,425307Z",
    ],
)
def test_what_is_no_ledger_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        parse_time(text)


def entry_bytes(**changed: Any) -> bytes:
    return canonical(Scribe(connection()).entry("REMINDED", "policy", "inc1") | changed)


def test_an_entry_keeps_its_bytes_and_shows_numbers() -> None:
    raw = entry_bytes(confidence="0.87", cites=[0, 1], body={"a": "1"}, settles=None)
    entry = Entry.parse(raw)
    assert entry.raw == raw
    assert (entry.index, entry.stage, entry.incident_id, entry.cites) == (1, "REMINDED", "inc1", (0, 1))
    assert entry.timestamp.tzinfo is not None
    assert entry.timestamp >= START
    assert entry.to_json()["confidence"] == 0.87
    assert Entry.parse(entry_bytes()).to_json()["confidence"] is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b"\xff",
        b'"text"',
        b"[" * 200_000,
        entry_bytes(timestamp=5),
        entry_bytes(timestamp="yesterday"),
        entry_bytes(cites=None),
        entry_bytes(cites=5),
        entry_bytes(blobs=[{}]),
        entry_bytes(blobs=[5]),
        entry_bytes().replace(b'"salt"', b'"pepper"'),
    ],
    ids=lambda raw: raw[:12].decode("latin-1"),
)
def test_what_is_not_an_entry(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        Entry.parse(raw)


def test_a_draft_finds_its_places() -> None:
    blob = Blob("payload", b"data")
    draft = Draft("id", "REMINDED", "policy", settles=Back(1), cites=(Back(0), 3), blobs=(blob,))
    document = draft.document(10)
    assert (document["settles"], document["cites"]) == (11, [10, 3])
    assert document["blobs"] == [
        {
            "name": "payload",
            "digest": "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",
            "length": 4,
        }
    ]
    assert not {"index", "timestamp", "salt", "ledger", "tenant_id"} & document.keys()
