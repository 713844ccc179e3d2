"""Diagnosis against the stand-in: every fault is a named outcome in time; no claim says more than its evidence."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.demo.claude import ClaudeStandIn
from receiver.diagnosis import claude as claude_module
from receiver.diagnosis.budget import Breaker
from receiver.diagnosis.citations import Answer, BadAnswer, check, read_answer
from receiver.diagnosis.claude import FAILURES, Claude
from receiver.diagnosis.failures import retry_after
from receiver.diagnosis.prompt import DOCUMENT_CHARACTERS_MAX, answer_schema, evidence
from receiver.diagnosis.redaction import PATTERNS, Redactor
from receiver.diagnosis.text import clean
from receiver.papers import CaseFile, Diagnosis, Exhibit, NoDiagnosis

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
KEY = "sk-ant-stand-in-0123456789"
ORDINARY = 5.0
EXHIBITS = (
    Exhibit("q1", "what policy found", "", NOW, {"now": "error_ratio 0.31 >= 0.05"}),
    Exhibit("q2", "error ratio", 'sum(rate(errors_total{pod="web-7f9c"}[5m]))', NOW, {"now": "0.31", "max": "0.42"}),
    Exhibit("q3", "p99 latency in seconds", "latency:p99", NOW, {"now": "2.5"}),
)
CASE = CaseFile(
    tenant="default",
    incident_id="inc-0123456789",
    rule="checkout-errors",
    summary="checkout fails",
    opened_at=NOW,
    labels={"alertname": "CheckoutErrors", "pod": "web-7f9c", "customer_name": "Tendai"},
    annotations={"summary": "checkout <b>fails</b>", "internal": "hidden"},
    alerts=({"labels": {"alertname": "CheckoutErrors"}, "firing": True, "starts_at": "2026-11-02T08:59:00Z"},),
    exhibits=EXHIBITS,
    actions={"restart": "Restart the checkout"},
)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def vendor() -> AsyncIterator[ClaudeStandIn]:
    stand_in = ClaudeStandIn(api_key=KEY)
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
async def office(vendor: ClaudeStandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Claude]:
    monkeypatch.setattr(claude_module, "RETRY_SECONDS", 0.01)
    claude = make(vendor)
    yield claude
    await claude.close()


def make(vendor: ClaudeStandIn, **changes: Any) -> Claude:
    values: dict[str, Any] = {
        "api_key": KEY,
        "model": "claude-sonnet-5-5",
        "base_url": vendor.url,
        "daily_budget_usd": 5,
        "clock": Clock(),
    }
    return Claude(**(values | changes))


async def ask(office: Claude, seconds: float = 20) -> Diagnosis | NoDiagnosis:
    return await office.diagnose(CASE, timeout_seconds=seconds)


# --- one question ----------------------------------------------------------------------------------------------------


async def test_a_diagnosis_is_rendered_from_the_exhibits(vendor: ClaudeStandIn, office: Claude) -> None:
    answer = await ask(office)
    assert isinstance(answer, Diagnosis), answer
    assert [claim.text for claim in answer.claims] == [
        "what policy found is error_ratio 0.31 >= 0.05",
        "error ratio is 0.31",
        "p99 latency in seconds is 2.5",
    ]
    assert [claim.refs for claim in answer.claims] == [("q1",), ("q2",), ("q3",)]
    assert (answer.recommended_action, answer.confidence, answer.dropped_claims) == ("restart", "0.62", 0)
    assert answer.request_id == "req_0001"
    assert answer.model == "claude-sonnet-5-5"
    assert float(answer.usage.cost_usd) > 0
    assert json.loads(answer.prompt)["messages"] == vendor.requests[0].body["messages"]
    assert "{q2.now}" in answer.answer
    assert answer.duration_seconds > 0


async def test_what_is_sent_is_what_the_vendor_takes(vendor: ClaudeStandIn, office: Claude) -> None:
    await ask(office)
    call = vendor.requests[0]
    assert call.refused is None
    assert call.headers["authorization"] == f"Bearer {KEY}"
    sent = json.dumps(call.body)
    assert "Tendai" not in sent
    assert "hidden" not in sent
    assert "<" not in call.body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("spend_limit", "spend_limit"),
        ("billing", "spend_limit"),
        ("forbidden", "unauthorized"),
        ("html", "bad_answer"),
        ("truncated_json", "bad_answer"),
        ("enormous", "bad_answer"),
        ("refusal", "refusal"),
        ("max_tokens", "truncated"),
        ("context_exceeded", "truncated"),
        ("tool_use", "bad_answer"),
        ("only_unknown", "bad_answer"),
        ("null_usage", "bad_answer"),
        ("no_usage", "bad_answer"),
        ("prose", "bad_answer"),
        ("half_answer", "bad_answer"),
        ("bad_confidence", "bad_answer"),
        ("wrong_numbers", "no_claims"),
        ("unknown_refs", "no_claims"),
        ("no_citations", "no_claims"),
    ],
)
async def test_a_fault_has_its_name(vendor: ClaudeStandIn, office: Claude, kind: str, outcome: str) -> None:
    vendor.next(kind)
    answer = await ask(office)
    assert isinstance(answer, NoDiagnosis), answer
    assert (answer.outcome, len(vendor.requests)) == (outcome, 1), answer.detail
    assert answer.detail
    assert answer.prompt


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate_limited", "rate_limited"),
        ("overloaded", "overloaded"),
        ("server_error", "api_error"),
        ("drop", "unreachable"),
    ],
)
async def test_what_may_pass_is_tried_once_more(vendor: ClaudeStandIn, office: Claude, kind: str, outcome: str) -> None:
    vendor.next(kind)
    assert isinstance(await ask(office), Diagnosis)
    vendor.next(kind)
    vendor.next(kind)
    answer = await ask(office)
    assert isinstance(answer, NoDiagnosis)
    assert (answer.outcome, len(vendor.requests)) == (outcome, 4)


@pytest.mark.parametrize("kind", ["thinking_first", "unknown_blocks"])
async def test_odd_blocks_are_passed_over(vendor: ClaudeStandIn, office: Claude, kind: str) -> None:
    vendor.next(kind)
    assert isinstance(await ask(office), Diagnosis)


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_the_deadline_holds(vendor: ClaudeStandIn, office: Claude, kind: str) -> None:
    await ask(office)  # the SDK is imported
    fault = vendor.next(kind)
    started = asyncio.get_running_loop().time()
    answer = await ask(office, 0.4)
    assert asyncio.get_running_loop().time() - started < 0.8
    assert fault.met.is_set()
    assert isinstance(answer, NoDiagnosis)
    assert answer.outcome == "timeout"


async def test_a_retry_after_is_honoured_within_the_deadline(vendor: ClaudeStandIn, office: Claude) -> None:
    vendor.next("rate_limited", retry_after="0.3")
    answer = await ask(office)
    assert isinstance(answer, Diagnosis)
    assert answer.duration_seconds > 0.3
    vendor.next("rate_limited", retry_after="3600")
    late = await ask(office)
    assert isinstance(late, NoDiagnosis)
    assert (late.outcome, len(vendor.requests)) == ("rate_limited", 3)
    assert late.duration_seconds < 2


async def test_hostile_text_reaches_nobody(vendor: ClaudeStandIn, office: Claude) -> None:
    vendor.next("hostile_text")
    answer = await ask(office)
    assert isinstance(answer, Diagnosis)
    shown = answer.summary + "".join(claim.text for claim in answer.claims)
    assert not set(shown) & set("\u202e\u2066\u200b\x1b\x00\ud800")
    answer.answer.encode()
    vendor.next("huge_text")
    long = await ask(office)
    assert isinstance(long, NoDiagnosis | Diagnosis)
    assert all(len(claim.text) <= 300 for claim in getattr(long, "claims", ()))


async def test_a_wrong_key_and_no_key_are_named(vendor: ClaudeStandIn) -> None:
    for key, outcome in (
        (None, "no_key"),
        (" ", "no_key"),
        ("sk-ant-another-key", "unauthorized"),
        ("sk-ant\nsecret-part", "unauthorized"),
        ("sk-änt", "unauthorized"),
    ):
        claude = make(vendor, api_key=key)
        answer = await ask(claude)
        await claude.close()
        assert isinstance(answer, NoDiagnosis)
        assert answer.outcome == outcome
        assert "secret-part" not in answer.detail


async def test_nobody_there_is_unreachable(vendor: ClaudeStandIn, free_port: Any) -> None:
    claude = make(vendor, base_url=f"http://127.0.0.1:{free_port()}")
    answer = await ask(claude)
    await claude.close()
    assert isinstance(answer, NoDiagnosis)
    assert answer.outcome == "unreachable"
    assert claude.budget.spent == 0


async def test_the_environment_gives_no_key_and_no_header(
    vendor: ClaudeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("ANTHROPIC_API_KEY", "sk-ant-of-the-environment"),
        ("ANTHROPIC_AUTH_TOKEN", "token-of-the-environment"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1"),
        ("ANTHROPIC_PROFILE", "another"),
        ("ANTHROPIC_CUSTOM_HEADERS", "x-extra: 1\nAuthorization: Bearer of-the-environment\nanthropic-version: 1"),
    ):
        monkeypatch.setenv(name, value)
    claude = make(vendor)
    assert isinstance(await ask(claude), Diagnosis)
    await claude.close()
    (call,) = vendor.requests
    assert "environment" not in str(call)
    assert "x-extra" not in call.headers


async def test_no_key_stands_in_what_is_shown_of_the_office(vendor: ClaudeStandIn) -> None:
    claude = make(vendor, secrets=["another-secret"])
    answers = [await ask(claude)]
    vendor.api_key = "sk-ant-rotated"
    answers.append(await ask(claude))
    for shown in (repr(claude), str(claude), *map(repr, answers)):
        assert KEY not in shown
        assert "another-secret" not in shown
    await claude.close()


async def test_no_sdk_is_named(vendor: ClaudeStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(key: str, base_url: str) -> None:
        raise ImportError("No module named 'anthropic'")

    monkeypatch.setattr(claude_module, "make_client", missing)
    claude = make(vendor)
    answer = await ask(claude)
    assert isinstance(answer, NoDiagnosis)
    assert answer.outcome == "not_installed"
    assert claude.budget.spent == 0


# --- budget, breaker, concurrency ------------------------------------------------------------------------------------


async def test_the_budget_of_a_day(vendor: ClaudeStandIn) -> None:
    clock = Clock()
    claude = make(vendor, clock=clock, daily_budget_usd=0.03)
    answers = [await ask(claude) for _ in range(40)]
    outcomes = [getattr(answer, "outcome", "diagnosed") for answer in answers]
    assert outcomes[0] == "diagnosed"
    assert outcomes[-1] == "budget"
    assert sum(float(answer.usage.cost_usd) for answer in answers) <= 0.03
    clock.now -= timedelta(days=2)
    assert getattr(await ask(claude), "outcome", None) == "budget"
    clock.now = NOW + timedelta(days=1)
    assert isinstance(await ask(claude), Diagnosis)
    await claude.close()


async def test_a_model_without_a_price_is_dear_and_that_is_said(vendor: ClaudeStandIn) -> None:
    for model, said in (("claude-sonnet-5-5", False), ("some-other-model", True)):
        claude = make(vendor, model=model, daily_budget_usd=0.01)
        answer = await ask(claude)
        assert isinstance(answer, NoDiagnosis)
        assert answer.outcome == "budget"
        assert ("some-other-model is not in the price table" in answer.detail) is said


async def test_a_call_without_an_answer_counts_as_spent(vendor: ClaudeStandIn, office: Claude) -> None:
    await ask(office)
    spent = office.budget.spent
    vendor.next("hang")
    await ask(office, 0.3)
    assert office.budget.spent > spent


async def test_three_failures_in_a_row_make_a_pause(vendor: ClaudeStandIn) -> None:
    clock = Clock()
    claude = make(vendor, clock=clock)
    for _ in range(3):
        vendor.next("prose")
        await ask(claude)
    assert getattr(await ask(claude), "outcome", None) == "busy"
    assert len(vendor.requests) == 3
    clock.now += timedelta(minutes=5)
    vendor.next("prose")
    assert getattr(await ask(claude), "outcome", None) == "bad_answer"
    assert getattr(await ask(claude), "outcome", None) == "busy"
    clock.now += timedelta(minutes=5)
    assert isinstance(await ask(claude), Diagnosis)
    assert isinstance(await ask(claude), Diagnosis)
    await claude.close()


def test_a_breaker_lets_one_trial_through_and_forgives_a_clock() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker.note(failed=True, now=NOW)
    later = NOW + timedelta(minutes=6)
    assert breaker.wait(later) is None
    assert breaker.wait(later) is not None
    assert breaker.wait(NOW - timedelta(days=1)) is None


async def test_a_script_of_faults_is_met_in_order(vendor: ClaudeStandIn, office: Claude) -> None:
    faults = vendor.script(["prose", "refusal"])
    assert [getattr(await ask(office), "outcome", None) for _ in range(3)] == ["bad_answer", "refusal", None]
    assert all(fault.met.is_set() for fault in faults)


async def test_two_at_once_and_the_third_is_told(vendor: ClaudeStandIn, office: Claude) -> None:
    await ask(office)
    faults = [vendor.next("hang"), vendor.next("hang")]
    first = [asyncio.create_task(ask(office, 5)) for _ in faults]
    await asyncio.gather(*(fault.met.wait() for fault in faults))
    third = await ask(office, 0.2)
    assert isinstance(third, NoDiagnosis)
    assert (third.outcome, len(vendor.requests)) == ("busy", 3)
    for fault in faults:
        fault.release.set()
    # A connection that is closed without an answer is tried once more, and then answered.
    assert all(isinstance(answer, Diagnosis) for answer in await asyncio.gather(*first))


def test_every_failure_is_of_the_closed_list() -> None:
    listed = set(re.findall(r'"([a-z_]+)"', (NoDiagnosis.__doc__ or "").partition("outcome:")[2]))
    assert listed >= FAILURES


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Mon, 02 Nov 2026 09:00:07 GMT", 7.0),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


# --- the stand-in is strict ------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
VERSION = {"anthropic-version": "2026-10-21"}
BEARER = {"authorization": f"Bearer {KEY}"}


def schema(**words: Any) -> dict[str, Any]:
    inner = {"type": "object", "properties": {"a": {"type": "string"} | words}, "additionalProperties": False}
    return {"output_config": {"format": {"type": "json_schema", "schema": inner}}}


@pytest.mark.parametrize(
    ("headers", "change", "status"),
    [
        (VERSION | BEARER, {}, 200),
        (VERSION | {"x-api-key": KEY}, {}, 200),
        (VERSION | BEARER, {"thinking": {"type": "between_tools"}}, 200),
        (VERSION | BEARER, schema(), 200),
        (VERSION, {}, 401),
        (VERSION | {"authorization": "Bearer x"}, {}, 401),
        (BEARER, {}, 400),
        (VERSION | BEARER, {"temperature": 0}, 400),
        (VERSION | BEARER, {"top_p": 1}, 400),
        (VERSION | BEARER, {"top_k": 1}, 400),
        (VERSION | BEARER, {"max_tokens": 0}, 400),
        (VERSION | BEARER, {"thinking": {"type": "disabled"}}, 400),
        (VERSION | BEARER, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, 400),
        (VERSION | BEARER, {"tool_choice": {"type": "any"}}, 400),
        (VERSION | BEARER, {"tool_choice": {"type": "tool", "name": "x"}}, 400),
        (VERSION | BEARER, {"messages": [*GOOD["messages"], {"role": "assistant", "content": "{"}]}, 400),
        (VERSION | BEARER, {"messages": []}, 400),
        *[
            (VERSION | BEARER, schema(**{w: 1}), 400)
            for w in ("maxLength", "minimum", "maximum", "maxItems", "pattern")
        ],
        (VERSION | BEARER, {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, 400),
    ],
)
async def test_the_stand_in_refuses_what_the_vendor_refuses(
    vendor: ClaudeStandIn, headers: dict[str, str], change: dict[str, Any], status: int
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{vendor.url}/v1/messages", json=GOOD | change, headers=headers) as response,
    ):
        assert response.status == status, await response.text()
        assert (await response.json())["type"] == ("message" if status == 200 else "error")


# --- citations -------------------------------------------------------------------------------------------------------

SHOWN = evidence(CASE)


def answer_of(text: str, refs: tuple[str, ...] = ("q2",), **changes: Any) -> Answer:
    values = {
        "summary": "It may be the pool",
        "likely_cause": "pool",
        "claims": [{"text": text, "refs": list(refs)}],
        "recommended_action": "none",
        "confidence": 0.5,
        "falsified_by": "nothing",
    }
    return read_answer(json.dumps(values | changes), SHOWN.actions)


def rendered(text: str, refs: tuple[str, ...] = ("q2",)) -> str | None:
    checked = check(answer_of(text, refs), SHOWN.exhibits, SHOWN.document)
    return checked.claims[0].text if checked else None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("errors at {q2.now} , most {q2.max}.", "errors at 0.31 , most 0.42."),
        ("errors at 0.31", "errors at 0.31"),
        ("errors at 0.310.", "errors at 0.310."),
        ("over 5m it is {q2.now}", "over 5m it is 0.31"),
        ("pod web-7f9c has {q2.now}", "pod web-7f9c has 0.31"),
        ("also {q3.now} there", "also 2.5 there"),
        ("see https://evil.example/x now", "see [link] now"),
        ("see evil.example/x now", "see [link] now"),
        ("see ..evil.example/x now", "see [link] now"),
        ("see (a..evil.example/x) now", "see ([link] now"),
        ("errors at 31%", "errors at 31%"),
        ("errors at 3.1%", None),
        ("errors at 0.32", None),
        ("errors at -0.31", None),
        ("errors at 1{q2.now}", None),
        ("errors at {q2.now}9", None),
        ("errors at {q2.now}%", None),
        ("errors at {q2.now}e9", None),
        ("errors at {q2.now}{q2.max}", None),
        ("errors at {q2.mean}", None),
        ("errors at {q9.now}", None),
        ("errors at {q2.now", None),
        ("errors at ½ of all", None),
        ("errors at ٩ of all", None),
        ("errors at 0.31/s and 7/s", None),
        ("pod web-8a has failed", None),
        ("it takes 2.5", None),
        ("", None),
        ("\u200b", None),
    ],
)
def test_a_claim_says_what_its_exhibits_hold(text: str, shown: str | None) -> None:
    assert rendered(text) == shown


def test_a_claim_without_a_known_exhibit_is_dropped_and_counted() -> None:
    assert rendered("It is slow", ()) is None
    assert rendered("It is slow", ("q9",)) is None
    claims = [{"text": "It is slow", "refs": ["q2"]}, {"text": "It is 7", "refs": ["q2"]}]
    checked = check(answer_of("", claims=claims), SHOWN.exhibits, SHOWN.document)
    assert checked is not None
    assert (len(checked.claims), checked.dropped) == (1, 1)


def test_a_summary_with_an_unfounded_number_gives_way_to_the_first_claim() -> None:
    answer = answer_of("errors at {q2.now}", summary="97% fail", likely_cause="since 04:13", falsified_by="{q3.now}")
    checked = check(answer, SHOWN.exhibits, SHOWN.document)
    assert checked is not None
    assert (checked.summary, checked.likely_cause, checked.falsified_by) == ("errors at 0.31", "", "2.5")


def test_what_a_value_holds_is_not_rendered_again() -> None:
    exhibits = (replace(EXHIBITS[1], values={"now": "{q3.now}"}), EXHIBITS[2])
    checked = check(answer_of("it is {q2.now}"), exhibits, "")
    assert checked is not None
    assert checked.claims[0].text == "it is {q3.now}"


NUMBER = re.compile(r"\d+(?:\.\d+)?")


@given(st.text(alphabet="0123456789.,%eE+-{}q now_max/½٣²\u200b", max_size=60))
@settings(max_examples=400, deadline=None)
def test_no_number_is_shown_that_the_evidence_does_not_hold(text: str) -> None:
    shown = rendered(text)
    measured = [0.31, 31, 0.42, 42, 5]  # as a ratio and in percent, and the five minutes of the query
    for number in NUMBER.findall(shown or ""):
        assert any(abs(float(number) - value) <= 0.06 * value for value in measured), shown


@given(st.text(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
@settings(max_examples=200, deadline=None)
def test_any_answer_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_answer(text, ["restart"])


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "9" * 5_000, "x" * 70_000, '"\ud800"', json.dumps({"claims": []})],
)
def test_a_spiteful_answer_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_answer(text, [])


@pytest.mark.parametrize("confidence", ["NaN", "Infinity", "-0.1", "1.1", "true", '"0.5"', "1" + "0" * 400])
def test_a_confidence_is_a_number_between_0_and_1(confidence: str) -> None:
    text = answer_of("x").model_dump_json().replace("0.5", confidence)
    with pytest.raises(BadAnswer):
        read_answer(text, [])


@pytest.mark.parametrize("part", ["a-", "a.", ".", "aa.aa-", "{q2.now} ", "http://", "9e999 ", "-"])
def test_an_answer_made_to_be_slow_is_read_at_once(part: str) -> None:
    """The event loop waits while an answer is checked; a regular expression must not go over it again and again."""
    claim = {"text": part * (1_200 // len(part)), "refs": ["q2"]}
    answer = answer_of("", claims=[claim] * 40)
    started = time.process_time()
    check(answer, SHOWN.exhibits, SHOWN.document)
    assert time.process_time() - started < 0.5


def test_an_action_that_was_not_offered_is_refused() -> None:
    with pytest.raises(BadAnswer, match="recommended_action"):
        answer_of("x", recommended_action="drop the database")


# --- redaction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"),
        ("jwt", "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"),
        ("dsn", "postgresql://app:pa/ss@wd@db:5432/shop"),
        ("hook_address", "https://hooks.slack.com/services/T0/B0/xyz"),
        ("authorization", "Authorization: Basic dXNlcg=="),
        ("bearer", "bearer abcdefghijk1"),
        ("model_key", "sk-ant-api03-abcdefghijkl"),
        ("aws_key", "AKIAIOSFODNN7EXAMPLE"),
        ("github_token", "ghp_abcdefghijklmnopqrstuvwx"),
        ("gitlab_token", "glpat-abcdefghijklmnopqrst"),
        ("slack_token", "xoxb-123456789-abcdef"),
        ("google_key", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
        ("twilio_id", "AC0123456789abcdef0123456789abcdef"),
        ("stripe_key", "sk_live_abcdefghijkl"),
        ("webhook_secret", "whsec_MfKQ9r8GKYqrTwjU"),
        ("assignment", "password=hunter2"),
        ("email", "tendai@example.co.zw"),
        ("phone", "+263 77 123 4567"),
    ],
)
def test_what_looks_like_a_secret_goes(kind: str, secret: str) -> None:
    redactor = Redactor([])
    text = redactor.text(f"seen: {secret} in the log")
    assert text.startswith("seen: [redacted:")
    assert text.endswith(" in the log")
    assert redactor.counts[kind] == 1


@pytest.mark.parametrize(
    "text", ["id-eyJhbGciOi.eyJzdWIiOi.c2ln", "eyJ-eyJhbGciOi.eyJzdWIiOi", "a.eyJhbGciOi.eyJzdWIiOi."]
)
def test_a_token_goes_wherever_it_begins(text: str) -> None:
    assert "eyJhbGciOi" not in Redactor([]).text(f"seen: {text} in the log")


@pytest.mark.parametrize("part", ["-eyJ", "eyJaaaaa-", "a-", "a@", "://", "password", "+1 ", "a."])
@pytest.mark.parametrize("kind", PATTERNS)
def test_a_text_made_to_be_slow_is_redacted_at_once(kind: str, part: str) -> None:
    """Labels and annotations are anybody's, and nothing else runs while one expression goes over one of them."""
    started = time.process_time()
    PATTERNS[kind].sub("", part * (80_000 // len(part)))
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    "text",
    [
        'sum(rate(http_requests_total{code=~"5..", job="shop"}[5m])) > 1e+10',
        "1.5e+12345678",
        "https://runbooks.example.com/checkout",
        "basic functionality and bearer authentication are broken",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "disk full on /var/lib/postgresql",
        "2026-11-02T09:00:00+00:00",
    ],
)
def test_what_an_engineer_needs_stays(text: str) -> None:
    redactor = Redactor([])
    assert redactor.text(text) == text
    assert not redactor.counts


@given(st.text(min_size=6, max_size=40).filter(lambda s: s.strip() == s), st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_our_own_secrets_never_leave(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([secret]).text(before + secret + after).replace("[redacted:own_secret]", "\n\n")


def test_a_hidden_character_does_not_save_a_secret() -> None:
    case = replace(CASE, summary="key sk-ant-\u200bapi03-abcdefghijkl and hun\u200bter2-hunter2")
    shown = evidence(case, Redactor(["hunter2-hunter2"]))
    assert "abcdefghijkl" not in shown.document
    assert "hunter2" not in shown.document
    assert shown.redacted == {"model_key": 1, "own_secret": 1}


# --- the document ----------------------------------------------------------------------------------------------------

ANYTHING = st.text(max_size=80) | st.sampled_from(["</evidence>", '"}]}', "\\u003c", "\ud800", "\u202e<x>"])


@given(ANYTHING, st.dictionaries(st.sampled_from(["pod", "summary", "job", "x"]), ANYTHING), ANYTHING)
@settings(max_examples=200, deadline=None)
def test_nothing_breaks_out_of_the_document(text: str, values: dict[str, str], query: str) -> None:
    exhibit = Exhibit("q1", text, query, None, {"now": text})
    case = replace(
        CASE, summary=text, labels=values, annotations=values, alerts=({"labels": values},), exhibits=(exhibit,)
    )
    shown = evidence(case)
    assert "<" not in shown.document
    assert ">" not in shown.document
    assert "\n" not in shown.document
    read = json.loads(shown.document)
    assert read["exhibits"][0]["title"] == clean(shown.exhibits[0].title, 600)
    assert set(read["labels"]) <= {"pod", "job"}
    shown.document.encode()


def test_a_name_before_an_assignment_stays_and_its_value_goes() -> None:
    assert Redactor([]).text("DB_PASSWORD=hunter2 was set") == "DB_[redacted:assignment] was set"


def test_the_document_is_bounded() -> None:
    exhibits = tuple(
        Exhibit(f"q{n}", "t " * 900, "q " * 900, NOW, {f"v{m}": "v " * 300 for m in range(90)}) for n in range(90)
    )
    shown = evidence(replace(CASE, exhibits=exhibits, alerts=CASE.alerts * 500))
    assert len(shown.document) <= DOCUMENT_CHARACTERS_MAX
    read = json.loads(shown.document)
    assert read["exhibits_left_out"] == 90 - len(read["exhibits"]) > 0
    assert len(read["exhibits"]) == len(shown.exhibits) > 0


def test_what_was_measured_over_time_is_shown_short_and_its_labels_are_allow_listed() -> None:
    candidate = Exhibit(
        "q1",
        "pool_in_use",
        'pool_in_use{service="checkout"}',
        NOW,
        {"now": "19.123456", "z": "8.2"},
        kind="candidate",
        unit="connections",
        labels={"pod": "web-7f9c", "customer": "acme"},
        points=("3.000001", "", "19.123456", "NaN", "x"),
        since=NOW,
        step_seconds=30,
    )
    shown = evidence(replace(CASE, exhibits=(candidate,), cut=("200 series were not asked for",), follow_up=True))
    read = json.loads(shown.document)
    (exhibit,) = read["exhibits"]
    assert exhibit["kind"] == "candidate"
    assert exhibit["unit"] == "connections"
    assert exhibit["labels"] == {"pod": "web-7f9c"}
    assert exhibit["values"]["now"] == "19.123456"
    assert exhibit["points"]["values"] == "3 - 19.12 - -"
    assert exhibit["points"]["step_seconds"] == 30
    assert read["not_gathered"] == ["200 series were not asked for"]
    assert read["incident"]["follow_up"] is True


def test_the_schema_offers_the_actions_and_none() -> None:
    assert answer_schema(["restart", "none"])["properties"]["recommended_action"] == {"enum": ["restart", "none"]}
    assert answer_schema([])["properties"]["recommended_action"] == {"enum": ["none"]}


@given(st.text(max_size=300), st.integers(5, 50))
def test_clean_text_is_one_bounded_line(text: str, limit: int) -> None:
    line = clean(text, limit)
    assert len(line) <= limit
    assert line == clean(line, limit)
    assert not re.search(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", line)
