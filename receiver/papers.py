"""The frozen values that travel between offices. No behaviour beyond what a value knows of itself."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from receiver.executor_papers import Credentials, Learning, RequestTemplate
from receiver.placeholders import Address


class ChangeRefused(Exception):
    """What a person asked for cannot be done as things stand; the message says why and what to do."""


class UnknownSubject(ChangeRefused):
    """There is no such incident or halt."""


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence to people, before it is in anybody's language: its key in the catalogue, and what stands in it.

    values: text and numbers as they are; Words; a tuple of Words, which follow each other; or a list of them, which
    stand with commas between.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


def words(key: str, /, **values: Any) -> Words:
    return Words(key, values)


# --- authorization: what is sent to a person, and what came of it ------------------------------------------------


SANDBOX_SENDER = "whatsapp:+14155238886"  # Twilio's, the same for everybody


class MessageKind(StrEnum):
    """What a message is for. Only OPENED and DRILL carry buttons, and they are made of one template."""

    OPENED = "opened"  # an incident and a proposal: Approve, Reject, On it, and the text code
    DRILL = "drill"  # the same question about nothing, which says so
    NOTICE = "notice"  # an incident, a reminder or a decision that asks for no tap
    REPLY = "reply"  # an answer to what the person just wrote (always inside the carrier's session window)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person as the roster names them. `address` is the carrier's own form: "whatsapp:+263771234567".

    phone: the number for calls and SMS, "+263771234567", where there is one. notices: addresses for a notice of last
    resort; they are secrets.
    """

    name: str
    address: str
    language: str = "en"
    timezone: str = "UTC"
    phone: str | None = None
    notices: tuple[str, ...] = field(default=(), repr=False)

    def reached_by(self, channel: str) -> bool:
        """Whether there is an address of theirs on `channel`."""
        ways = {"voice": self.phone, "sms": self.phone, "notice": self.notices}
        return bool(ways.get(channel, self.address))


CHANNELS = WHATSAPP, VOICE, SMS, NOTICE = "whatsapp", "voice", "sms", "notice"


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to one person. `message_id` is ours, constant over retries, and travels in the status callback.

    channel: one of CHANNELS. Only whatsapp and voice take an answer.
    variables: the template's variables by name, in plain text; the carrier cleans, shortens and numbers them.
      OPENED, DRILL: incident, summary, finding, diagnosis, action, risk, links, expires, reference, code
        and where a page shows the whole of it, link; over voice `code` is digits
      NOTICE, REPLY: text, reference (may be empty)
    token: opaque id of this delivery, at most 40 characters; a button's payload is VERB + "." + token
      with the verbs "approve", "reject" and "onit". None for kinds without buttons.
    """

    message_id: str
    kind: MessageKind
    recipient: Recipient
    variables: Mapping[str, str]
    token: str | None = None
    valid_seconds: int = 900
    channel: str = WHATSAPP


@dataclass(frozen=True, slots=True)
class Sent:
    """The carrier accepted the message; that is not delivery. `sid` is the carrier's id ("SM…" or "MM…")."""

    sid: str
    content_digest: str
    content: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """The carrier did not take the message. `outcome` is a word from a closed list that metrics may use.

    outcome: "opted_out", "outside_window", "bad_recipient", "rate_limited", "daily_limit", "unauthorized",
      "rejected" (any other 4xx), "unreachable" (no answer, or 5xx), "no_channel" (not set up), "no_number".
    retry_seconds: wait before another try makes sense; None where none does.
    """

    outcome: str
    detail: str
    retry_seconds: float | None = None


# --- execution: the request that a person authorizes, byte for byte ------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutorTarget:
    """One executor of the configuration. `secret` is "whsec_" + base64; it is never logged, posted or shown.

    address, request: None where it gets Counterfoil's own body at `url`. credentials: None where `secret` signs, as
    Standard Webhooks has it. success: the codes that mean "taken"; empty for every 2xx. private: whether it may stand
    in a private range. proof: whether it is given the proof of the authorization. settings: digest of all of this but
    the secrets; empty where url is all.
    """

    name: str
    url: str
    secret: str = field(default="", repr=False)
    timeout_seconds: float = 10.0
    previous_secret: str | None = field(default=None, repr=False)
    address: Address | None = None
    request: RequestTemplate | None = None
    credentials: Credentials | None = None
    tls: ssl.SSLContext | None = None
    success: frozenset[int] = frozenset()
    private: bool = False
    learning: Learning = field(default_factory=Learning)
    concurrency: int = 8
    proof: bool = False
    settings: str = ""

    @property
    def signing(self) -> Credentials:
        """How it is signed in to."""
        own = (self.secret, *([self.previous_secret] if self.previous_secret else []))
        return self.credentials or Credentials("standard_webhooks", own)


class Unrenderable(ValueError):
    """A request cannot be made of these parameters; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Order:
    """What policy proposes to run. Everything in it is known when it is proposed; `webhook_id` never changes.

    proposed_at: RFC 3339, in UTC, of the moment at which people are asked.
    """

    webhook_id: str
    tenant: str
    incident_id: str
    action: str
    executor: str
    params: Mapping[str, str]
    callback_url: str | None
    proposed_at: str = ""


@dataclass(frozen=True, slots=True)
class RenderedRequest:
    """The exact request: `digest` is SHA-256 hex over the canonical JSON of all that stands beside it and is not empty.

    headers: what the configuration adds to it; credentials are none of it. result: how its result is learnt, where the
    answer alone does not tell. settings: digest of the executor's settings under which it was rendered. proof: "yes"
    where the proof of its authorization goes with it.
    """

    executor: str
    method: str
    address: str
    body: str
    digest: str
    headers: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""
    proof: str = ""


class ExecutionOutcome(StrEnum):
    EXECUTED = "executed"  # 2xx, done
    ACCEPTED = "accepted"  # taken: the result comes to POST /executions/{id}, or is asked for at `poll`
    FAILED = "failed"  # the executor says it did not work, or refused
    NOT_SENT = "not_sent"  # no byte left this machine: may be tried again by anyone
    UNKNOWN = "unknown"  # bytes were sent and no answer came: only an idempotent action may be tried again


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    outcome: ExecutionOutcome
    detail: str
    http_status: int | None = None
    output: str = ""  # at most 2,000 characters of what the executor answered, cleaned
    retry_after_seconds: float | None = None
    poll: str | None = None  # where to ask for the result
    said: Words | None = field(default=None, compare=False)  # what `detail` says, for people


# --- evidence: what Alertmanager is asked to say nothing of ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silence:
    """Of the alerts with all of `labels` nobody is notified from `starts_at` until `ends_at`."""

    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str


@dataclass(frozen=True, slots=True)
class NotSilenced:
    """Why Alertmanager did not take a silence. again: whether another try makes sense."""

    why: Words
    again: bool


# --- diagnosis ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One item of evidence, `q1`…`qN`. `values` are the strings that the source sent: at least "now".

    kind: a word of EXHIBIT_KINDS. unit: of its numbers, as far as it is known: "seconds", "bytes", "per second".
    labels: of the series or the alert that it is about, not allow-listed yet; never part of title or query.
    values of what was measured over time: now, min, max, mean, at_start, peak_at (a time), and of a candidate also
      before (the median of its quiet time), z (robust deviations from it) and moved_at (a time).
    points: the same over time, oldest first, `step_seconds` apart from `since` on; "" where there is no sample.
    """

    ref: str
    title: str
    query: str
    taken_at: datetime | None
    values: Mapping[str, str]
    kind: str = "signal"
    unit: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    points: tuple[str, ...] = ()
    since: datetime | None = None
    step_seconds: int = 0


# finding: what policy found. rule: the alert's expression and its recent history. signal: what policy reads.
# candidate: what moved before or with the incident, in order. alert: another that fires. incident: a former one of the
# same key. deploy: a change that was made. tried: an action of this incident that did not help. asked: a series that
# Claude asked for.
EXHIBIT_KINDS = ("finding", "rule", "signal", "candidate", "alert", "incident", "deploy", "tried", "asked")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is to be looked up around an incident.

    at: the end of what is looked at. labels: what all of its alerts share. alertnames: theirs. signals: name → PromQL,
      as policy asks. candidates, deploys: PromQL of the configuration, with the incident's labels in it.
    """

    at: datetime
    labels: Mapping[str, str]
    alertnames: tuple[str, ...]
    signals: Mapping[str, str]
    candidates: tuple[str, ...] = ()
    deploys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was found, not numbered yet: the rules, the signals by name, the candidates in order, the rest.

    cut: what was left out or could not be had, one sentence each. left_out: the same for people.
    """

    rules: tuple[Exhibit, ...] = ()
    signals: Mapping[str, Exhibit] = field(default_factory=dict)
    candidates: tuple[Exhibit, ...] = ()
    alerts: tuple[Exhibit, ...] = ()
    deploys: tuple[Exhibit, ...] = ()
    cut: tuple[str, ...] = ()
    left_out: tuple[Words, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All that Claude may know of an incident. Text in it comes from outside and is data, never an instruction.

    cut: what was left out or could not be had, one sentence each. follow_up: an action was tried and did not help.
    spent_usd: what earlier diagnoses of this incident cost.
    """

    tenant: str
    incident_id: str
    rule: str
    summary: str
    opened_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    alerts: tuple[Mapping[str, Any], ...]
    exhibits: tuple[Exhibit, ...]
    actions: Mapping[str, str]  # permitted action name → its title from the configuration
    cut: tuple[str, ...] = ()
    left_out: tuple[Words, ...] = field(default=(), compare=False)  # what `cut` says, for people
    follow_up: bool = False
    spent_usd: str = "0"


@dataclass(frozen=True, slots=True)
class Answered:
    """What Prometheus answers to a query of Claude's: an exhibit a series, not numbered yet.

    left_out: series that were too many. fault: why there is no answer; empty where there is one.
    """

    exhibits: tuple[Exhibit, ...] = ()
    left_out: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: str = "0"


@dataclass(frozen=True, slots=True)
class Claim:
    text: str  # numbers already rendered from the exhibits
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What Claude said, after every claim was checked against the exhibits it cites."""

    summary: str
    likely_cause: str
    claims: tuple[Claim, ...]
    recommended_action: str | None
    confidence: str  # "0.87": the model's own opinion
    falsified_by: str
    dropped_claims: int
    model: str
    request_id: str
    usage: Usage
    duration_seconds: float
    prompt: str  # exactly what was sent last, with all that was said before it (kept as a blob)
    answer: str  # exactly what came back
    asked: tuple[Exhibit, ...] = ()  # what it asked for itself: the exhibits after those of the case file
    redacted: Mapping[str, int] = field(default_factory=dict)  # what was taken out of the evidence, by kind


@dataclass(frozen=True, slots=True)
class NoDiagnosis:
    """Why there is none. `outcome` is a word from a closed list that metrics may use.

    outcome: "no_key", "timeout", "overloaded", "rate_limited", "spend_limit", "refusal", "truncated", "bad_answer",
      "no_claims", "unauthorized", "api_error", "unreachable", "busy", "budget", "not_installed".
    """

    outcome: str
    detail: str
    usage: Usage = field(default_factory=Usage)
    duration_seconds: float = 0.0
    prompt: str = ""
    answer: str = ""
    asked: tuple[Exhibit, ...] = ()
    redacted: Mapping[str, int] = field(default_factory=dict)
