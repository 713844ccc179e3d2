"""What must not leave this machine is taken out of the evidence: our own secrets first, then what looks like one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

import re2

SECRET_CHARACTERS_MIN = 6  # a shorter value would take ordinary words with it
TEXT_CHARACTERS_MAX = 20_000  # far above what prompt.py shows of one text, so that no secret is cut in its middle

_NAME = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"

# name → expression. The order counts: a whole address with its password goes before the e-mail address in it.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "private_key": re.compile(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.S
    ),
    # Looked for where a run of its letters begins, and only if a dot ends that run, or a row of "-eyJ" would take the
    # square of its length. What stands before it in the run goes with it.
    "jwt": re.compile(
        r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*+\.[A-Za-z0-9_-]{5})(?:[A-Za-z0-9_-]*?-)?"
        r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"
    ),
    "dsn": re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s\"'<>]{1,300}@"),
    "hook_address": re.compile(
        r"https://(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|[\w.-]{1,80}\.webhook\.office\.com)/\S+"
    ),
    "authorization": re.compile(
        r"(?i)\bauthorization\b[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:basic|bearer|token)\s{1,3})?[^\s\"',;]{4,}"
    ),
    # A capital or a digit tells a credential from "basic functionality".
    "bearer": re.compile(r"\b(?i:bearer|basic)\s{1,3}(?=[A-Za-z0-9._~+/-]{0,60}[A-Z0-9=])[A-Za-z0-9._~+/-]{8,}={0,2}"),
    "model_key": re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    "aws_key": re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}\b"),
    "github_token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    "gitlab_token": re.compile(r"\bgl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{16,}"),
    "slack_token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}"),
    "google_key": re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"),
    "twilio_id": re.compile(r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    "stripe_key": re.compile(r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{10,}"),
    "webhook_secret": re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{8,}"),
    "assignment": re.compile(
        rf"(?i){_NAME}[\w.-]{{0,40}}"
        r"[\"']?\s{0,3}(?:=~|!=|[=:])\s{0,3}[\"']?[^\s\"',;&]{3,}"
    ),
    "email": re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"),
    "phone": re.compile(r"(?<![\w.+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)"),
}


def re2_options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


class Redactor:
    """Takes secrets out of texts and counts them by kind; one for each case.

    secrets: exact values of our own, also found in their URL-encoded form. patterns: expressions of the configuration,
    in RE2's syntax, which takes no time that an attacker could choose. labels: names that may be shown beside ours.
    """

    def __init__(self, secrets: Sequence[str], patterns: Sequence[str] = (), labels: Sequence[str] = ()) -> None:
        self.labels = frozenset(labels)
        self._configured = [re2.compile(pattern, re2_options()) for pattern in patterns]
        long = [secret for secret in secrets if len(secret) >= SECRET_CHARACTERS_MIN]
        quoted = [spell(secret, errors="replace") for secret in long for spell in (quote, quote_plus)]
        forms = {*long, *quoted}
        # The longest first: a secret that begins like another goes as a whole.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._own = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None
        self.counts: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """`text` with `[redacted:KIND]` in the place of each secret."""
        text = text[:TEXT_CHARACTERS_MAX]
        if self._own is not None:
            text = self._replace("own_secret", self._own, text)
        if self._configured:
            text = text.encode("utf-8", "replace").decode()  # a lone surrogate is nothing that RE2 reads
        for expression in self._configured:
            text = self._replace("configured", expression, text)
        for kind, pattern in PATTERNS.items():
            text = self._replace(kind, pattern, text)
        return text

    def _replace(self, kind: str, pattern: Any, text: str) -> str:
        text, count = pattern.subn(f"[redacted:{kind}]", text)
        if count:
            self.counts[kind] += count
        return text
