"""What was not looked at, as a sentence with its values: a case file has it in English, people in theirs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from receiver.papers import Words

ENGLISH: Mapping[str, str] = MappingProxyType(
    {
        "nothing looked up": "nothing was looked up: {count} other incidents came first",
        "no prometheus": "no prometheus is configured: nothing was looked up",
        "rehearsed": "a rehearsal has no Prometheus: nothing was looked up",
        "looked in part": "{what}: not all of it was answered in time",
        "look failed": "{what}: {why}",
        "more series moved": "{count} more series moved",
        "more deploys": "{count} more deploys",
        "more signals": "{count} more signals over time",
        "more alerts": "{count} more alerts fire",
        "more candidates": "{count} more configured candidates",
        "more series": "{count} more series of {of}",
        "more labels": "{count} more labels of the incident",
        "more neighbours": "{count} more neighbours of the incident",
        "too many series": "{name} over time: {count} series where one is needed",
        "no label to look by": "the incident has no label by which series could be found",
        "server too large": "series that share no label with the incident: the server is large",
        "selector too large": "{of} has {count} series, too many to look at",
        "series not asked for": "{count} series of {of} were not asked for",
        "too many questions": "more than {most} questions would have been needed",
        "too many bytes": "more than {most} bytes would have been read",
        # --- what was looked for ---
        "the alert's rule": "the alert's rule",
        "the policy's signals": "the policy's signals",
        "other alerts": "other alerts",
        "deploys": "deploys",
        "candidates": "candidates",
        "the alert's history": "the alert's history",
        "a configured candidate": "a configured candidate",
        "neighbours": "neighbours",
        "the size of the server": "the size of the server",
        "candidates, hours before": "candidates, hours before",
        "over time": "{name} over time",
        "over an hour": "{name} over an hour",
        "series of": "series of {of}",
        # --- why it was not found; what a server says of it stands as it is ---
        "not answered": "no answer within {seconds} s",
        "answers nothing": "{error}: it does not answer",
        "answer too long": "an answer of more than {most} bytes",
        "no answer of Prometheus": "it answers {status}, and not as Prometheus does",
    }
)


def text(said: Words | str) -> str:
    if isinstance(said, str):
        return said
    values = {name: text(value) if isinstance(value, Words) else value for name, value in said.values.items()}
    return ENGLISH[said.key].format(**values)
