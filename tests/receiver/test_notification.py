"""What Alertmanager and Grafana post is read alert by alert; any bytes give a Notification or Malformed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.incident import notification as module
from receiver.incident.notification import (
    Malformed,
    Notification,
    fingerprint_of,
    read_alert,
    read_notification,
    read_time,
)

START = datetime(2026, 11, 23, 8, 58, 38, tzinfo=UTC)


def alert(**fields: Any) -> dict[str, Any]:
    """One alert as Alertmanager 0.25 writes it."""
    return {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate", "service": "checkout"},
        "annotations": {"summary": "many errors"},
        "startsAt": "2026-11-23T08:58:38Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
        "fingerprint": "aabbccdd00112233",
        **fields,
    }


def payload(*alerts: Any, **fields: Any) -> bytes:
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="HighErrorRate"}',
            "truncatedAlerts": 0,
            "receiver": r"team\.x",
            "status": "firing",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://am-1:9093",
            "alerts": list(alerts),
            **fields,
        }
    ).encode()


def read_one(**fields: Any) -> Any:
    return read_notification(payload(alert(**fields))).alerts[0]


def refusal(body: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        read_notification(body)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


# --- versions --------------------------------------------------------------------------------------------------------


def test_alertmanager_version_4() -> None:
    read = read_notification(payload(alert(), truncatedAlerts=3, notification_reason="repeat interval elapsed"))
    assert (read.source, read.receiver, read.truncated) == ("alertmanager", r"team\.x", 3)
    assert (read.bad_alerts, read.unreadable) == ((), 0)
    (one,) = read.alerts
    assert one.fingerprint == "aabbccdd00112233"
    assert one.labels == {"alertname": "HighErrorRate", "service": "checkout"}
    assert one.annotations == {"summary": "many errors"}
    assert (one.firing, one.starts_at, one.ends_at) == (True, START, None)
    assert one.generator_url == "http://prometheus:9090/graph?g0.expr=x"


def test_grafana_version_1() -> None:
    """Grafana adds fields at the top and in each alert, among them floats, nulls and objects."""
    row = alert(values={"A": 0.31, "B": None}, valueString="[ var='A' value=0.31 ]", imageURL=None, dashboardURL="")
    for sign in ({"orgId": 1}, {"version": "1"}):
        read = read_notification(payload(row, **{"version": "4", **sign, "title": "[FIRING:1]", "appVersion": "11"}))
        assert read.source == "grafana"
        assert len(read.alerts) == 1


def test_the_ancient_version_3_has_an_integer_group_key_and_no_fingerprint() -> None:
    row = alert()
    del row["fingerprint"], row["generatorURL"]
    body = {"version": "3", "groupKey": 2**64 - 1, "status": "firing", "receiver": "x", "alerts": [row]}
    (one,) = read_notification(json.dumps(body).encode()).alerts
    assert one.fingerprint == fingerprint_of(row["labels"])
    assert one.generator_url == ""


def test_the_least_that_an_alert_needs() -> None:
    read = read_notification(b'{"alerts":[{"labels":{"alertname":"a"},"startsAt":"2026-11-23T08:58:38Z"}]}')
    assert read.alerts[0].firing
    assert read.alerts[0].annotations == {}
    assert (read.receiver, read.truncated, read.source) == ("", 0, "alertmanager")


@pytest.mark.parametrize("none", ["[]", "null"])
def test_no_alerts_are_nothing_to_do(none: str) -> None:
    assert read_notification(f'{{"version":"4","alerts":{none}}}'.encode()).alerts == ()


@pytest.mark.parametrize("odd", [{"truncatedAlerts": True}, {"truncatedAlerts": -1}, {"truncatedAlerts": "2"}])
def test_odd_fields_beside_the_alerts_cost_nothing(odd: dict[str, Any]) -> None:
    read = read_notification(payload(alert(), receiver=["x"], status=7, groupLabels=None, **odd))
    assert (read.truncated, read.receiver, len(read.alerts)) == (0, "", 1)


# --- one alert -------------------------------------------------------------------------------------------------------


def test_each_alert_s_own_status_counts() -> None:
    """Under max_alerts the group says "resolved" while truncated alerts fire; so its word is not asked."""
    resolved = alert(status="resolved", endsAt="2026-11-23T09:00:00Z", fingerprint="b")
    first, second = read_notification(payload(alert(), resolved, status="resolved")).alerts
    assert (first.firing, second.firing) == (True, False)
    assert second.ends_at == START + timedelta(seconds=82)


def test_an_end_says_nothing_while_the_alert_fires() -> None:
    assert read_one(endsAt="2026-11-23T09:00:00Z").ends_at is None
    assert read_one(endsAt="some day").firing


def test_without_a_status_an_alert_that_has_no_end_fires() -> None:
    row = alert()
    del row["status"]
    assert read_alert(row).firing
    with pytest.raises(Malformed, match="status is missing"):
        read_alert({**row, "endsAt": "2026-11-23T09:00:00Z"})


@pytest.mark.parametrize("fingerprint", [None, "", 7, "not a fingerprint", "f" * 65, "a\nb"])
def test_a_missing_fingerprint_is_computed(fingerprint: Any) -> None:
    row = alert(fingerprint=fingerprint)
    assert read_alert(row).fingerprint == fingerprint_of(row["labels"])


def test_a_fingerprint_that_does_not_match_is_kept() -> None:
    """Grafana hashes labels that it hides."""
    assert read_one(fingerprint="00000000000000ff").fingerprint == "00000000000000ff"


def test_the_fingerprint_is_prometheus_s() -> None:
    """The vectors of prometheus/common, model/signature_test.go."""
    assert int(fingerprint_of({}), 16) == 14695981039346656037
    assert int(fingerprint_of({"name": "garland, briggs", "fear": "love is not enough"}), 16) == 5799056148416392346


def test_a_fingerprint_has_sixteen_digits_and_is_of_the_set_of_labels() -> None:
    found = {fingerprint_of({"a": str(number), "é": "日本"}) for number in range(300)}
    assert len(found) == 300
    assert all(re.fullmatch(r"[0-9a-f]{16}", text) for text in found)
    assert fingerprint_of({"a": "1", "b": "2"}) == fingerprint_of({"b": "2", "a": "1"})
    assert fingerprint_of({"a": "1b", "c": ""}) != fingerprint_of({"a": "1", "bc": ""})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, "it is null, not an object"),
        ("text", "it is text, not an object"),
        ({}, "it has no labels"),
        (alert(labels={}), "it has no labels"),
        (alert(labels=["a"]), "labels is a list, not an object"),
        (alert(labels={"a": 1}), "labels: 'a' is a number, not text"),
        (alert(labels={"a": "v" * 4_097}), "labels: 'a' is longer than 4096 characters"),
        (alert(labels={"n" * 4_097: "v"}), "is longer than 4096 characters"),
        (alert(labels={str(n): "v" for n in range(129)}), "129 labels; at most 128 are taken"),
        (alert(labels={"a": "\ud800"}), "labels: 'a' holds a lone surrogate"),
        (alert(labels={"\udc00": "v"}), r"labels: '\udc00' holds a lone surrogate"),
        (alert(annotations={"a": None}), "annotations: 'a' is null, not text"),
        (alert(annotations={"a": "\udfff"}), "holds a lone surrogate"),
        (alert(startsAt=None), "startsAt is missing"),
        (alert(startsAt="0001-01-01T00:00:00Z"), "startsAt is missing"),
        (alert(startsAt=1700000000), "a time is a number, not text"),
        (alert(startsAt="yesterday"), "'yesterday' is not a time like 2026-11-23T08:58:38Z"),
        (alert(status="pending"), "status is 'pending', not firing or resolved"),
        (alert(status=True), "status is a boolean, not firing or resolved"),
        (alert(status="resolved", endsAt="x"), "'x' is not a time"),
    ],
)
def test_a_bad_alert_never_costs_its_neighbours(row: Any, said: str) -> None:
    read = read_notification(payload(alert(fingerprint="before"), row, alert(fingerprint="after")))
    assert [one.fingerprint for one in read.alerts] == ["before", "after"]
    assert read.unreadable == 1
    assert read.bad_alerts[0].startswith("alert 1: ")
    assert said in read.bad_alerts[0]
    assert said in refusal(payload(row))  # alone there is nothing left of the notification


def test_a_key_that_stands_twice_in_an_alert_costs_that_alert() -> None:
    good = json.dumps(alert())
    twice = good.replace('"service": "checkout"', '"service": "checkout", "service": "wallet"')
    read = read_notification(f'{{"alerts": [{twice}, {good}]}}'.encode())
    assert (len(read.alerts), read.bad_alerts) == (1, ("alert 0: labels has a key twice",))
    elsewhere = good.replace('"status"', '"values": {"A": 1, "A": 2}, "status"')
    assert len(read_notification(f'{{"alerts": [{elsewhere}]}}'.encode()).alerts) == 1


def test_many_bad_alerts_are_counted_and_the_first_are_named() -> None:
    read = read_notification(payload(alert(), *[None] * 1_000))
    assert (read.unreadable, len(read.bad_alerts)) == (1_000, module.MAX_BAD_ALERTS_NAMED)


def test_long_annotations_are_cut_because_an_alert_is_worth_more_than_its_words() -> None:
    many = {f"a{number}": "w" * 10_000 for number in range(200)}
    one = read_one(annotations=many)
    assert len(one.annotations) == module.MAX_LABELS
    assert {len(text) for text in one.annotations.values()} == {module.MAX_LABEL_CHARACTERS}


def test_labels_are_kept_as_they_are() -> None:
    hostile = {
        "quote": 'a"b\\"}',
        "promql": '"} or vector(1) #',
        "lines": "a\r\nb\x00c",
        "bidi": "\u202egnp.exe\u2066",
        "markup": "*bold* ~no~ `code`",
        "emoji": "é😀" * 1_000,
        "empty": "",
    }
    assert read_one(labels=hostile).labels == hostile


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T08:58:38Z", START),
        ("2026-11-23t08:58:38z", START),
        ("2026-11-23T10:58:38+02:00", START),
        ("2026-11-22T23:28:38-09:30", START),
        ("2026-11-23T08:58:38.1Z", START + timedelta(microseconds=100_000)),
        ("2026-11-23T08:58:38.123456789Z", START + timedelta(microseconds=123_456)),
        ("2026-11-23T08:58:38.000000999+00:00", START),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+02:00", None),
    ],
)
def test_times_of_any_offset_and_up_to_nine_digits(text: str, expected: datetime | None) -> None:
    assert read_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-23", "2026-11-23T08:58:38", "2026-11-23T08:58Z", "2026-11-23T08:58:38.1234567890Z"),
        *("2026-02-30T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T08:58:38+24:00", "0000-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59-01:00", "٢٠٢٦-11-23T08:58:38Z", "2026-11-23T08:58:38Z\n", "2026-11-23T08:58:60Z"),
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Malformed, match="is not a time"):
        read_time(text)


@given(
    st.datetimes(min_value=START.replace(year=1970, tzinfo=None), max_value=START.replace(year=2200, tzinfo=None)),
    st.integers(-1439, 1439),
)
def test_a_time_is_the_same_in_every_zone(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    there = (moment + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat(timespec="microseconds")
    hours, rest = divmod(abs(minutes), 60)
    assert read_time(f"{there}{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}") == moment


# --- the same delivery -----------------------------------------------------------------------------------------------


def test_two_peers_of_a_cluster_deliver_the_same() -> None:
    first, second = (
        read_notification(payload(alert(), externalURL=url)).content_digest for url in ("http://am-1", "http://am-2")
    )
    assert first == second
    reordered = dict(reversed(json.loads(payload(alert())).items()))
    assert read_notification(json.dumps(reordered, indent=1).encode()).content_digest == first


@pytest.mark.parametrize(
    "changed",
    [
        *({"startsAt": "2026-11-23T08:58:39Z"}, {"status": "resolved"}, {"endsAt": "2026-11-23T09:00:00Z"}),
        *({"labels": {"alertname": "x"}}, {"annotations": {}}, {"fingerprint": "0"}),
    ],
)
def test_whatever_differs_in_an_alert_is_another_delivery(changed: dict[str, Any]) -> None:
    assert (
        read_notification(payload(alert())).content_digest
        != read_notification(payload(alert(**changed))).content_digest
    )


# --- what is no notification -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b"{", "not JSON"),
        (b'{"alerts": [], }', "not JSON"),
        (b"null", "the body is null, not an object"),
        (b"[]", "the body is a list, not an object"),
        (b"7", "the body is a number, not an object"),
        (b"{}", "the body has no alerts"),
        (b'{"alert": [{}]}', "the body has no alerts"),
        (b'{"alerts": {}}', "alerts is an object, not a list"),
        (b'{"alerts": "x"}', "alerts is text, not a list"),
        (b'{"alerts": [], "alerts": []}', "the body has a key twice"),
        (b'{"alerts": [NaN]}', "NaN is not JSON"),
        (b'{"alerts": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"alerts": [' + b"9" * 5_000 + b"]}", "a number has thousands of digits"),
        (b'\xff{"alerts": []}', "not UTF-8 at byte 0"),
        (b'{"alerts": [], "x": "\xc3"}', "not UTF-8 at byte 21"),
        (b'\xef\xbb\xbf{"alerts": []}', "not JSON: Unexpected UTF-8 BOM"),
        (json.dumps({"alerts": []}).encode("utf-16"), "not UTF-8"),
        (b'{"alerts": [], "x": "\n"}', "not JSON: Invalid control character"),
    ],
)
def test_what_is_no_notification_is_said(body: bytes, said: str) -> None:
    assert said in refusal(body)


def test_depth_is_limited_and_brackets_in_text_are_none() -> None:
    def nested(levels: int) -> bytes:
        return payload(alert(), x=json.loads("[" * levels + "]" * levels))

    limit = module.MAX_NESTING
    assert len(read_notification(nested(limit - 1)).alerts) == 1
    assert refusal(nested(limit)) == f"nested deeper than {limit} levels"
    assert refusal(b'{"alerts":' + b"[" * 1_000_000) == f"nested deeper than {limit} levels"
    brackets = alert(annotations={"a": "[{" * 500 + '\\"' + "[{" * 500, "b": "\\"})
    assert len(read_notification(payload(brackets)).alerts) == 1


def test_a_hundred_thousand_alerts_are_too_many_and_ten_thousand_are_not() -> None:
    row = json.dumps({"labels": {"a": "b"}, "startsAt": "2026-11-23T08:58:38Z"})
    assert "100000 alerts in one notification; at most 10000" in refusal(
        f'{{"alerts":[{",".join([row] * 100_000)}]}}'.encode()
    )
    assert len(read_notification(f'{{"alerts":[{",".join([row] * 10_000)}]}}'.encode()).alerts) == 10_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"alerts":[' + b"[" * 60 + b'"' + b'\\"' * 500_000,  # a string that nothing closes
        b'{"alerts":[],"x":"' + b"\\u0041\\ud83d\\ude00" * 100_000 + b'"}',  # escaped pairs
        b'{"alerts":[],"x":[' + b'"\\\\",' * 200_000 + b"1]}",
    ],
)
def test_no_body_takes_more_than_linear_time(body: bytes) -> None:
    """Each of these would take minutes, or the whole stack, if anything walked it twice."""
    before = process_time()
    with suppress(Malformed):
        read_notification(body)
    assert process_time() - before < 5


# --- any bytes -------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["firing", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
FIELDS = st.sampled_from([*alert(), "orgId", "other"])
ALERTS = st.builds(lambda changes: {**alert(), **changes}, st.dictionaries(FIELDS, JSON, max_size=4)) | JSON
TOP = st.sampled_from([*json.loads(payload()), "orgId"])


def either(body: bytes) -> Notification | None:
    try:
        return read_notification(body)
    except Malformed as error:
        said = str(error)
    assert said.isprintable()
    return None


@given(st.binary())
def test_any_bytes_give_a_notification_or_malformed(body: bytes) -> None:
    either(body)


@given(st.lists(ALERTS, max_size=5), st.dictionaries(TOP, JSON, max_size=3))
def test_any_json_gives_a_notification_or_malformed(rows: list[Any], fields: dict[str, Any]) -> None:
    read = either(payload(*rows, **fields))
    if read is not None:
        text = json.dumps([read.receiver, list(read.bad_alerts), [dict(one.labels) for one in read.alerts]])
        assert json.loads(text.encode())
        assert all(one.labels and one.starts_at.tzinfo is UTC for one in read.alerts)
        if "alerts" not in fields:
            assert len(read.alerts) + read.unreadable == len(rows)


@given(st.data())
def test_a_body_that_was_damaged_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(payload(alert(), alert(status="resolved", endsAt="2026-11-23T09:00:00Z")))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    either(bytes(body))
