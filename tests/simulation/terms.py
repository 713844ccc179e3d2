"""What a tenant has agreed, as plain values: a policy, the people, the executors.

The service reads the policy's text; whoever judges the service reads `Terms`, so that a mistake of one reader is not
also the other's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from policy_rules.loading import load
from policy_rules.rulebook import Rulebook
from receiver.authorization import codes
from receiver.governor.desk import Charter, Member
from receiver.papers import Recipient

SECRET = b"simulation"
PUBLIC_URL = "https://sim.example"
SERVICES = ("checkout", "wallet", "")  # the last is an alert that bears no such label
BAD, FAIR, GOOD = "0.31", "0.03", "0.004"  # detected at 0.05, recovered under 0.02
HOLD_SECONDS = 60  # of recovery
DIAGNOSIS_WAIT_SECONDS = 10
POLICIES = 40
Ways = tuple[str, str, str]  # the channel of each step of the ladder
BY_MESSAGE: Ways = ("whatsapp", "whatsapp", "whatsapp")
BY_CALL: tuple[Ways, ...] = (("voice", "sms", "notice"), ("sms", "voice", "voice"))
BY_NOTICE: tuple[Ways, ...] = (("sms", "whatsapp", "notice"), ("whatsapp", "notice", "sms"))

_POLICY = """
policy: {{name: {tenant}, version: "1.{version}"}}
signals:
  error_ratio: {{max_age: 2m, promql: 'error_ratio{{tenant="{tenant}",service="$service"}}'}}
unmatched: notify
rules:
  - name: watchdog
    matchers: ['alertname="Watchdog"']
    record: true
  - name: {rule}
    matchers: ['alertname="HighErrorRate"']
    group_by: [service]
    detect: {{when: [error_ratio >= 0.05], for: 30s, if_unknown: {detect_unknown}, unknown_after: 1m}}
    recover: {{when: [error_ratio < 0.02], for: 1m}}
    diagnosis_wait: 10s
    actions:
      {first}:
        executor: {executor}
        title: {first} the service
        risk: requests in flight are lost
        params: {{service: {{label: service, allow: [{allow}]}}}}
        approvers: {{roles: [oncall], people: [farai], quorum: {quorum}}}
        expires: 10m
        limit: {{max: {limit}, per: 1h, cooldown: {cooldown}m}}
        blocked_during: [{blocked}]
        idempotent: {idempotent}
        if_unknown: {if_unknown}
        execute_within: 2m
        verify: {{within: 5m}}
      rollback:
        executor: {executor}
        title: roll the service back
        params: {{service: {{label: service, allow: [{allow}]}}}}
        approvers: {{roles: [leads], quorum: 1}}
        expires: 10m
        execute_within: 2m
        verify: {{within: 5m}}
    escalation:
      - {{after: 0s, notify: ["role:oncall"]{ways[0]}}}
      - {{after: 5m, notify: ["role:leads"]{ways[1]}}}
      - {{after: 9m, notify: [everyone]{ways[2]}}}
time_intervals:
  - name: freeze
    time_intervals: [{{times: [{freeze}]}}]
"""
_FROZEN = ", ".join(
    f"{{start_time: '{hour:02d}:{minute}', end_time: '{hour:02d}:{minute + 10}'}}"
    for hour in range(7, 14)
    for minute in (10, 30, 49)
)


@dataclass(frozen=True)
class Terms:
    """The numbers of one version of a policy. blocked: whether ten minutes of every twenty are frozen."""

    tenant: str
    version: int = 0
    rule: str = "errors"
    first: str = "restart"
    quorum: int = 1
    idempotent: bool = False
    if_unknown: str = "proceed"
    detect_unknown: str = "detect"
    limit: int = 6
    cooldown_minutes: int = 1
    blocked: bool = False
    allow: tuple[str, ...] = ("checkout", "wallet")
    executor: str = "restart"
    ways: Ways = BY_MESSAGE

    def text(self) -> str:
        return _POLICY.format(
            tenant=self.tenant,
            version=self.version,
            rule=self.rule,
            first=self.first,
            quorum=self.quorum,
            idempotent=str(self.idempotent).lower(),
            if_unknown=self.if_unknown,
            detect_unknown=self.detect_unknown,
            limit=self.limit,
            cooldown=self.cooldown_minutes,
            blocked="freeze" if self.blocked else "",
            freeze=_FROZEN if self.blocked else "{start_time: '03:00', end_time: '04:00'}",
            allow=", ".join(self.allow),
            executor=self.executor,
            ways=["" if way == "whatsapp" else f", channel: {way}" for way in self.ways],
        )

    def has(self, rule: str, action: str) -> bool:
        return rule == self.rule and action in (self.first, "rollback")

    def quorum_of(self, action: str) -> int:
        return self.quorum if action == self.first else 1

    def runs(self) -> tuple[str, tuple[str, ...]]:
        """What an action would run: two policies must agree on it."""
        return self.executor, self.allow

    def retries(self, action: str) -> bool:
        return self.idempotent if action == self.first else False

    def refuses_unknown(self, action: str) -> bool:
        return action == self.first and self.if_unknown == "refuse"

    def frozen(self, action: str, now: datetime) -> bool:
        """Whether the action must not run at `now`."""
        windows = (10 <= now.minute < 20, 30 <= now.minute < 40, 49 <= now.minute < 59)
        return action == self.first and self.blocked and 7 <= now.hour < 14 and any(windows)


@cache
def catalogue(tenant: str, ladders: tuple[Ways, ...] = (BY_MESSAGE,)) -> tuple[Terms, ...]:
    """Every policy that the tenant ever has, by version. Few, so that each process reads each of them once.

    ladders: the ways of each version's ladder, in turn.
    """
    rng = random.Random(tenant)
    found = [Terms(tenant, ways=ladders[0])]
    for version in range(1, POLICIES):
        changed: dict[str, Any] = {}
        for _ in range(rng.choice([1, 1, 2, 3])):
            changed |= rng.choice(
                [
                    {"quorum": rng.choice([2, 2, 3])},
                    {"idempotent": True},
                    {"idempotent": True},
                    {"if_unknown": "refuse"},
                    {"detect_unknown": rng.choice(["hold", "ignore"])},
                    {"limit": rng.choice([1, 2]), "cooldown_minutes": rng.choice([1, 8])},
                    {"blocked": True},
                    {"allow": ("checkout",)},
                    {"executor": "other"},
                    {"first": "reboot"},
                    {"rule": "faults"},
                ]
            )
        found.append(replace(found[0], version=version, ways=ladders[version % len(ladders)], **changed))
    return tuple(found)


@cache
def rulebook(terms: Terms) -> Rulebook:
    return load(terms.text(), file=f"{terms.tenant}.yml", environment={})


@dataclass(frozen=True)
class Person:
    """One of the staff. `phone` is where they are reached and what they answer from.

    called: whether their number is known for calls and SMS. noticed: whether they have an address for notices.
    """

    name: str
    phone: str
    roles: frozenset[str]
    suspended: bool = False
    called: bool = True
    noticed: bool = True

    def at(self, channel: str) -> str | None:
        """Where a message to them goes by `channel`."""
        if channel == "notice":
            return f"mailto://{self.name}" if self.noticed else None
        if channel in ("voice", "sms"):
            return self.phone.removeprefix("whatsapp:") if self.called else None
        return self.phone


Staff = Mapping[str, Person]


def staff(tenant: str) -> dict[str, Person]:
    """Two tenants share a person with one phone (tendai), and have different people of one name (rudo)."""
    own = {"acme": "1", "bravo": "2"}[tenant]
    oncall, leads = frozenset({"oncall"}), frozenset({"leads"})
    return {
        person.name: person
        for person in (
            Person("tendai", "whatsapp:+263771000000", oncall),
            Person("rudo", f"whatsapp:+26377200000{own}", oncall, noticed=False),
            Person("chipo", f"whatsapp:+26377300000{own}", oncall | leads),
            Person("farai", f"whatsapp:+26377400000{own}", leads, called=False),
        )
    }


def eligible(terms: Terms, action: str, person: Person) -> bool:
    """Whether the person may approve the action under `terms`."""
    if person.suspended:
        return False
    if action == terms.first:
        return "oncall" in person.roles or person.name == "farai"
    return "leads" in person.roles


def recipient(person: Person) -> Recipient:
    notices = person.at("notice")
    return Recipient(
        person.name, person.phone, phone=person.at("voice"), notices=(notices,) if notices is not None else ()
    )


def charter(terms: Terms, people: Staff, executors: Mapping[str, str]) -> Charter:
    """The same, as the service takes it."""
    members = {
        p.name: Member(recipient(p), p.roles, codes.address_hmac(SECRET, p.phone), p.suspended) for p in people.values()
    }
    return Charter(rulebook(terms), members, executors)
