"""What a run of histories has reached: a fault or a refusal that never happened was not tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Reached:
    """Counts by what was reached. `missing` says what of that which must be reached was not."""

    histories: int = 0
    entries: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    denials: Counter[str] = field(default_factory=Counter)  # policy's: "propose: limit"
    refusals: Counter[str] = field(default_factory=Counter)  # of answers, by the word that the ledger has for it
    turned_away: Counter[str] = field(default_factory=Counter)  # at the doors: "close: an execution is under way"
    calls: Counter[str] = field(default_factory=Counter)  # what each step of a call was answered with
    pages: Counter[str] = field(default_factory=Counter)  # and each look at, or form of, a question's page
    fates: Counter[str] = field(default_factory=Counter)  # of messages: "voice: busy"
    explained: Counter[str] = field(default_factory=Counter)  # when Claude's answer came: "DIAGNOSED after the end"

    def add(self, other: Reached) -> None:
        """Count in what another run has reached."""
        self.histories += other.histories
        self.entries += other.entries
        for name in KINDS:
            getattr(self, name).update(getattr(other, name))

    def missing(self) -> Mapping[str, list[str]]:
        """What must be reached by a run of full size, and was not, by kind."""
        lacking = {name: sorted(set(MUST[name]) - set(getattr(self, name))) for name in KINDS}
        return {name: words for name, words in lacking.items() if words}

    def __str__(self) -> str:
        lines = [f"{self.histories} histories, {self.entries} entries"]
        for name in KINDS:
            counts: Counter[str] = getattr(self, name)
            words = ", ".join(f"{word} {number}" for word, number in sorted(counts.items()))
            reached = len(set(MUST[name]) & set(counts))
            lines.append(f"{name.replace('_', ' ')} ({reached} of {len(MUST[name])} that must be reached): {words}")
        return "\n".join(lines)


KINDS = ("stages", "crashes", "faults", "denials", "refusals", "turned_away", "calls", "pages", "fates", "explained")

# ERASED is not here: nothing posts it yet.
STAGES = {
    *("OPENED", "ADOPTED", "RECEIVED", "EVALUATED", "WATCHED", "LOOKED", "DETECTED", "CLEARED", "RECOVERED", "CLOSED"),
    *("CONSULTED", "DIAGNOSED", "UNDIAGNOSED", "HEARD", "APPROVED", "DECLINED", "REFUSED", "HEEDED", "ACKNOWLEDGED"),
    *("PROPOSED", "AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN", "DISPATCHED", "VOIDED", "EXECUTED", "FAILED"),
    *("UNRESOLVED", "WRITTEN_OFF", "CONFIRMED", "UNCONFIRMED", "WAIVED", "ADDRESSED", "SENT", "DELIVERED", "READ"),
    *("UNDELIVERED", "HALTED", "RESUMED", "ESCALATED", "REMINDED", "REGRESSED", "NOTED"),
}
# Every post of the service can be the last that is tried, and the last that stands.
_POSTS = STAGES - {"OPENED", "REGRESSED"}
CRASHES = {f"{when} {stage}" for stage in _POSTS for when in ("before", "after")}


def _all(prefix: str, words: Iterable[str]) -> set[str]:
    return {f"{prefix}: {word}" for word in words}


FAULTS = {
    *_all("prometheus", ("unreachable", "error", "no_data", "nan", "many_series", "stale", "down for a while", "slow")),
    *_all("alertmanager", ("unreachable", "truncated", "twice", "late", "malformed", "wrong token", "alert vanished")),
    *_all("diagnosis", ("overloaded", "refusal", "timeout", "bad_answer", "slow")),
    *_all(
        "carrier", ("refuses", "unreachable", "loses the answer", "limit", "slow", "reports failure", "wrong signature")
    ),
    *_all("executor", ("refuses the connection", "busy", "request lost", "fails", "accepts", "does not help")),
    *_all("executor", ("answer lost", "gateway error", "slow", "late result", "second result", "wrong secret")),
    *_all("disk", ("full", "answer lost", "full once it is heard")),
    *_all("process", ("killed", "killed in a request", "killed while the executor is asked", "started from a memo")),
    *_all("clock", ("forward", "back", "asleep")),
    *_all("people", ("the same message twice", "somebody else's button", "a stranger's button", "a stranger")),
    *_all("people", ("wrong code", "many wrong codes", "old question", "halt in flight", "another message")),
    *_all("people", ("at the last minute", "nobody's button", "closed before it is explained")),
    *_all("call", ("not placed", "nobody", "busy", "failed", "a machine", "nobody knows who", "hung up", "silence")),
    *_all("call", ("wrong digits", "no digits of ours", "after the close", "after the end", "step twice")),
    *_all("call", ("step changed", "result twice", "result late", "result first", "wrong signature")),
    *_all("call", ("of a message", "to another number", "wrong to the end")),
    *_all(
        "page", ("a scanner", "wrong code", "many wrong codes", "another's code", "form twice", "form twice at once")
    ),
    *_all("page", ("form changed", "form of nobody", "incomplete", "from elsewhere", "after the close")),
    *_all("page", ("no longer asked", "forged link")),
    *_all("list", ("unreachable", "lags", "a tap without its payload")),
    *_all("diagnosis", ("late", "never")),
    *_all("change", ("policy", "roster", "suspended", "left", "executor gone", "nothing", "in the middle")),
}

_DENIED = ("in_force", "same_action", "blocked_during", "limit", "cooldown", "param", "approvers")
DENIALS = {
    *_all("propose", ("halt", *_DENIED)),
    # Answers of people who are unknown or suspended are refused before policy is asked, and only who was asked has a
    # button or a code: `person` and `asked` stand behind these.
    *_all("answer", ("expires_at", "in_force")),
    # Another policy withdraws the question before this is asked, so `in_force` and `same_action` stand behind that;
    # time only helps `limit` and `cooldown`, and `approvers` stands behind `approved`.
    *_all("request", ("halt", "limit", "cooldown", "param", "blocked_during", "requester")),
    *_all("authorize", ("recovery", "approved", "blocked_during")),
    *_all("dispatch", ("halt", "recovery", "approved", "blocked_during")),
}

REFUSALS = {
    *("unknown sender", "suspended", "wrong code", "no such message", "not the recipient", "another message"),
    *("already approved", "already rejected", "already expired", "already withdrawn", "you have approved this already"),
    *("the question has expired", "the policy in force does not let you approve it"),
    *("whoever halted cannot resume", "nothing is halted"),
}

TURNED_AWAY = {
    *_all("close", ("there is no incident", "has ended already", "an execution is under way")),
    *_all("request", ("is not in the roster", "there is no action", "asked for it already", "has its own question")),
    *_all("request", ("its own question comes",)),
    *_all("note", ("there is no incident",)),
    *_all("resolve", ("there is no incident", "has no unresolved execution")),
    *_all("resume", ("nothing is halted", "so somebody else must resume")),
    *_all("alertmanager", ("malformed", "unauthorized", "unavailable")),
    *_all("executions", ("unknown", "unauthorized", "duplicate", "unavailable")),
    *_all("twilio", ("stranger", "bad signature", "unavailable")),
}

# "too large", "malformed" and "conflict" of messages are held by tests of the handlers.
CALLS = {"asked", "heard", "said later", "said", "closed", "gave up", "greeted", "machine"}
CALLS |= {"conflict", "no call of ours", "bad signature", "unavailable"}

PAGES = {"shown", "yours", "closed", "unknown", "said approve", "said reject", "said onit", "said later"}
PAGES |= {"wrong code", "locked", "incomplete", "used", "not counted", "unavailable"}

FATES = {
    *_all("whatsapp", ("delivered", "opted_out", "outside_window", "not in the roster", "no report")),
    *_all("voice", ("delivered", "answering_machine", "busy", "no_answer", "bad_recipient", "no_number", "no report")),
    *_all("sms", ("delivered", "no_number", "no report")),
    *_all("notice", ("delivered", "no_number")),
}

# "DIAGNOSED after the end" is seldom, and has a story of its own.
EXPLAINED = {"DIAGNOSED in time", "DIAGNOSED after an approval", "given up"}
EXPLAINED |= {"UNDIAGNOSED in time", "UNDIAGNOSED after an approval", "UNDIAGNOSED after the end"}

MUST: Mapping[str, set[str]] = {
    "stages": STAGES,
    "crashes": CRASHES,
    "faults": FAULTS,
    "denials": DENIALS,
    "refusals": REFUSALS,
    "turned_away": TURNED_AWAY,
    "calls": CALLS,
    "pages": PAGES,
    "fates": FATES,
    "explained": EXPLAINED,
}
